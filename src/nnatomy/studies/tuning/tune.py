"""Tuning an architecture's recipe: a search in every outer fold, the score of what it found there, and a search on all data."""

from __future__ import annotations

import math
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from nnatomy import backends
from nnatomy.catalog import architecture as find_architecture
from nnatomy.command import began
from nnatomy.errors import UserError
from nnatomy.printing import print_text, shown
from nnatomy.runs.fitting import fit_recipe
from nnatomy.runs.folder import Ownership, environment, finite, new_folder, owned, starting
from nnatomy.runs.known import KnownData, remember
from nnatomy.runs.options import SOURCE, parse_option, parse_options, to_plain
from nnatomy.runs.own import named_only
from nnatomy.runs.progress import clock
from nnatomy.showing import Face, Shown
from nnatomy.studies.files import read_values, write_json
from nnatomy.studies.processes import environment_of, processes
from nnatomy.studies.statistics import LEVEL, Difference, corrected_t_test
from nnatomy.studies.time import Spending
from nnatomy.studies.tuning.plan import ALL_ROWS, Plan
from nnatomy.studies.tuning.search import (
    AGAIN,
    PLACE,
    REFUSED,
    Search,
    abandon_trials,
    optuna,
    search_all,
    searching_ends,
    storage,
    time_for,
    working_time,
)
from nnatomy.studies.tuning.space import Settings, applied
from nnatomy.training.evaluation import Metric
from nnatomy.training.settings import plain

NOT_TRIED = "not tried in the time"


@dataclass(frozen=True)
class Outer:
    """One outer fold: what the search inside it found, and how that and the recipe's own settings score on its test part."""

    settings: Settings
    tuned: list[float]
    """By seed."""
    own: list[float]
    test_over_train: float


@dataclass(frozen=True, repr=False)
class Tuning(Shown):
    """The result of a tuning."""

    folder: Path
    plan: Plan
    metric: Metric
    """On the outer folds' test parts; the searches go by the recipe's own, `searched_by`."""
    searched_by: Metric
    best: Settings
    own: Settings
    value: float
    """Of the best trial on all data: optimistic, because it was optimized."""
    outer: list[Outer]
    trials: dict[str, int]
    """The numbers of trials of all searches that "finished", were "given up", "refused", or "lost" with their process.

    With a time budget, those that were "not tried in the time", too.
    """
    seconds: float
    importance: dict[str, float] = field(default_factory=dict)

    @property
    def recipe(self) -> Path:
        """The file that `nnatomy train --recipe` takes."""
        return self.folder / "recipe.json"

    @property
    def report(self) -> Path:
        return self.folder / "report.html"

    def face(self) -> Face:
        return Face.of(f"{self.plan.architecture}: best settings", self.best, self.verdict(), str(self.report))

    def scores(self, which: str) -> tuple[float, float]:
        """Mean and standard deviation over the outer folds of "tuned" or "own"."""
        means = [float(np.mean(getattr(o, which))) for o in self.outer]
        return float(np.mean(means)), float(np.std(means, ddof=1))

    def difference(self) -> Difference | None:
        """By how much the tuned settings are better than the recipe's own, on the outer folds."""
        if not self.outer:
            return None
        sign = 1 if self.metric.better == "higher" else -1
        gains = np.array([sign * (np.mean(o.tuned) - np.mean(o.own)) for o in self.outer])
        return corrected_t_test(gains, float(np.mean([o.test_over_train for o in self.outer])))

    def verdict(self) -> str:
        """In a sentence: whether tuning helped."""
        found = self.difference()
        if found is None:
            return (
                f"The best trial's validation {self.searched_by.name} is {self.value:.4g}; it was optimized, and new data will "
                "show a worse one: give --cv 3 to measure that."
            )
        (tuned, std), (own, other) = self.scores("tuned"), self.scores("own")
        told = f"{self.metric.name} {tuned:.4g} ± {std:.2g} tuned, {own:.4g} ± {other:.2g} with the recipe's own settings"
        where = f"over {len(self.outer)} outer folds that no search saw"
        p = "all differences are equal" if math.isnan(found.p) else f"p = {found.p:.2g}, corrected resampled t-test"
        if found.mean > 0 and (found.p < LEVEL or math.isnan(found.p)):
            return f"Tuning beats the recipe: {told}, {where} ({p})."
        better = "better in the mean, but that is not shown" if found.mean > 0 else "no better"
        return f"Tuning does not beat the recipe: {told}, {where}: {better} ({p})."

    def to_json(self) -> dict[str, Any]:
        found = self.difference()
        return {
            "architecture": self.plan.architecture,
            "folder": str(self.folder),
            "recipe": str(self.recipe),
            "best": self.best,
            "own": self.own,
            "metric": self.metric.name,
            "searched_by": self.searched_by.name,
            "best_validation": self.value,
            "outer": [finite(asdict(o)) for o in self.outer],
            "gain": None if found is None else finite(asdict(found)),
            "verdict": self.verdict(),
            "importance": self.importance,
            "trials": self.trials,
            "seconds": round(self.seconds, 3),
        }


def tune(
    architecture: str,
    data: str | Path | None = None,
    *,
    out: str | Path | None = None,
    jobs: int | None = None,
    progress: bool = False,
    report: bool = True,
    **asked: Any,
) -> Tuning:
    """Search an architecture's settings for some data, and measure the gain; write a folder with the best recipe.

    >>> found = nn.tune("mlp", "wine", trials=20)  # doctest: +SKIP
    >>> found.best, found.verdict(), found.recipe  # doctest: +SKIP

    What can be requested is in `Plan`. `jobs`: processes that try settings in parallel, one a processor if not given; with one,
    equal seeds give equal results. Raises UserError where the data do not fit the architecture, or Optuna is not installed.
    """
    started = began()
    optuna()
    found = find_architecture(named_only(architecture, "tune"))
    source = parse_option(SOURCE, "data", found.recipes[0].data if data is None else data, "tune")
    plan = Plan(found.key, data=source, **parse_options(Plan, asked, "tune"))
    count, threads = processes(jobs, "tune")
    backends.use(plan.backend)
    recipe, dataset = plan.load(0 if plan.cv else ALL_ROWS)
    if not plan.searched(recipe):
        raise UserError(f"A tuning needs settings to search. Received {architecture}, whose recipe has none. Add --space.")
    own = applied(recipe, plan.own(recipe))
    own.build(dataset, **own.options)
    unknown_settings(plan, recipe)
    if plan.storage is not None:
        storage(Path(), plan)
    folder = new_folder("tunings", f"{found.name}-{dataset.name}", out, "tuning")
    with owned(folder, shared=True) as lock:
        with starting(folder):
            write_json(folder / "environment.json", environment())
            remember(folder, dataset)
            write_json(folder / "tuning.json", {"plan": to_plain(plan), "command": plan.command()})
        return _carry_on(folder, plan, lock, count, threads, Spending(folder, started), started, progress, report)


def resume_tuning(
    folder: str | Path,
    *,
    jobs: int | None = None,
    budget: float | str | None = None,
    progress: bool = False,
    report: bool = True,
) -> Tuning:
    """Continue a tuning, or join one that runs: several processes share its trials, also on several machines.

    `budget`: the time of this call; without one, the rest of the tuning's own.
    """
    started = began()
    given = parse_options(Plan, {"budget": budget}, "resume_tuning")["budget"]
    path = Path(folder)
    plan = Plan.of(path)
    spending = Spending(path, started)
    since = spending.since(plan.budget, given)
    plan = plan if given is None else replace(plan, budget=given)
    count, threads = processes(jobs, "tune")
    backends.use(plan.backend)
    find_architecture(plan.architecture)  # first: it may bring its kind of data
    KnownData.of(path, AGAIN).check_files(str(plan.data), plan.labels)
    with owned(path, shared=True) as lock:
        return _carry_on(path, plan, lock, count, threads, spending, since, progress, report)


def unknown_settings(plan: Plan, recipe: Any) -> None:
    """Raise UserError for a searched setting that the recipe does not have, before anything is tried."""
    for name, part in plan.searched(recipe).items():
        value = part.grid()[0]
        applied(recipe, {name: value if isinstance(value, str) else f"{value:.4g}"})


def _carry_on(
    folder: Path, plan: Plan, lock: Ownership, jobs: int, threads: int, spending: Spending, since: float,
    progress: bool, report: bool,
) -> Tuning:  # fmt: skip
    """`since`: when the time of the budget began."""
    line, end = ProgressLine(plan, progress, spending), searching_ends(plan, since)
    storage(folder, plan)  # its tables are made before others come
    if lock.alone:
        abandon_trials(folder, plan)
        lock.share()
    try:
        with _helpers(folder, jobs - 1, threads, end):
            search_all(folder, plan, line, end)
        search_all(folder, plan, line, end, others=False)  # trials that processes left when they died
        outer = [_judged(folder, plan, number, line, since) for number in range(plan.cv)]
    except KeyboardInterrupt:
        print_text(f"\nStopped; finished trials are kept. Continue with: nnatomy tune --resume {folder}", file=sys.stderr)
        raise
    result = _concluded(folder, plan, outer, spending.save())
    recipe, _ = plan.load(ALL_ROWS)
    saved = {"architecture": plan.architecture, "data": plan.data, "settings": {**plan.settings, **result.best}}
    write_json(result.recipe, saved | {"epochs": plan.epochs, "resolved": plain(applied(recipe, result.best))})
    write_json(folder / "result.json", result.to_json())
    if report:
        from nnatomy.studies.tuning.report import write_report

        write_report(result, Search(folder, plan, ALL_ROWS))
    return result


@contextmanager
def _helpers(folder: Path, count: int, threads: int, end: float) -> Iterator[None]:
    """So many further processes that try settings until `end`; none outlives this one."""
    env = environment_of(threads)
    command = [sys.executable, "-m", "nnatomy.studies.tuning.search", str(folder), repr(end)]
    helpers = [subprocess.Popen(command, stdin=subprocess.PIPE, env=env) for _ in range(count)]
    try:
        yield
        for helper in helpers:
            helper.wait()
    finally:
        for helper in helpers:
            helper.kill()
            helper.wait()
            if helper.stdin is not None:
                helper.stdin.close()


class ProgressLine:
    """Says how far the tuning is: a line for each trial."""

    def __init__(self, plan: Plan, progress: bool, spending: Spending) -> None:
        self.plan, self.progress, self.spending, self.started, self.mine = plan, progress, spending, time.perf_counter(), 0

    def __call__(self, search: Search, trial: Any) -> None:
        """After a trial of this process."""
        self.mine += 1
        self.spending.save()
        if not self.progress:
            return
        done, best = len(search.finished()), search.best()
        place = self.plan.searches.index(search.number)
        spent = time.perf_counter() - self.started
        left = (len(self.plan.searches) - place) * self.plan.trials - done
        pace = spent / max(1, place * self.plan.trials + done)
        about = max(0.0, left * pace)
        if self.plan.budget is not None:
            about = min(about, max(0.0, self.plan.budget - spent))
        value = "given up" if trial.value is None else f"{trial.value:.4g}"
        best_value = "none yet" if best is None else f"{best.value:.4g}"
        self.echo(f"{search.title}: trial {done} of {self.plan.trials}: {value} (best {search.metric.name} {best_value}; "
                 f"about {clock(about)} left)")  # fmt: skip

    def echo(self, line: str) -> None:
        if self.progress:
            print_text(line, file=sys.stderr, flush=True)


def _judged(folder: Path, plan: Plan, number: int, line: ProgressLine, since: float) -> Outer:
    """Return the result of an outer fold's search on the fold's test part; it is kept in the folder.

    The fits that are left share the rest of a time budget.
    """
    path = folder / "outer" / f"fold{number}.json"
    search = Search(folder, plan, number)
    settings = search.best_settings()
    if path.is_file():
        kept = read_values(path, Outer)
        if kept.settings == settings:
            return kept
    metric = search.task.metrics[0].name
    line.echo(f"{search.title}: scores on its test part")
    scores: dict[str, list[float]] = {}
    left = 2 * plan.seeds * (plan.cv - number)
    for name, chosen in (("tuned", settings), ("own", plan.own(search.recipe))):
        recipe = applied(search.recipe, chosen)
        scores[name] = []
        for seed in range(plan.seeds):
            seconds = time_for(since + working_time(plan.budget), left) if plan.budget is not None else None
            fitted = fit_recipe(recipe, search.dataset, plan.seed + seed, budget=seconds)
            scores[name].append(float(fitted.test().metrics[metric]))
            left -= 1
    rest = len(search.dataset.train) + len(search.dataset.validation)
    found = Outer(settings, scores["tuned"], scores["own"], len(search.dataset.test) / rest)
    write_json(path, asdict(found))
    line.spending.save()
    return found


def _concluded(folder: Path, plan: Plan, outer: list[Outer], seconds: float) -> Tuning:
    whole = Search(folder, plan, ALL_ROWS)
    counts = dict.fromkeys(("finished", "given up", "refused", "lost"), 0)
    for number in plan.searches:
        search = whole if number == ALL_ROWS else Search(folder, plan, number)
        trials = search.study.get_trials(deepcopy=False)
        finished = {trial.user_attrs.get(PLACE) for trial in search.finished()}
        for trial in trials:
            if REFUSED in trial.user_attrs:
                counts["refused"] += 1
            elif trial.state.name in ("COMPLETE", "PRUNED"):
                counts["finished" if trial.state.name == "COMPLETE" else "given up"] += 1
            elif trial.user_attrs.get(PLACE) not in finished:  # else it was done again
                counts["lost"] += 1
    if plan.budget is not None:
        tried = counts["finished"] + counts["given up"] + counts["refused"]
        counts[NOT_TRIED] = max(plan.trials * len(plan.searches) - tried, 0)
    best, value = whole.best_settings(), float(whole.best().value)
    return Tuning(
        folder, plan, whole.task.metrics[0], whole.metric, best, plan.own(whole.recipe), value, outer, counts, seconds,
        importance(whole),
    )  # fmt: skip


def importance(search: Search) -> dict[str, float]:
    """The fraction of each setting in the spread of the trials' scores (fANOVA, Hutter et al. 2014); none with few trials."""
    found = optuna()
    done = [t for t in search.finished() if t.state.name == "COMPLETE"]
    if len(done) < 4 or len({t.value for t in done}) < 2:
        return {}
    try:
        evaluator = found.importance.FanovaImportanceEvaluator(seed=0)
        shares = found.importance.get_param_importances(search.study, evaluator=evaluator)
    except (ValueError, RuntimeError):
        return {}
    return {name: round(float(share), 4) for name, share in shares.items()}


@dataclass(frozen=True)
class RecipeRecord:
    """recipe.json."""

    architecture: str
    settings: Mapping[str, str]
    data: str | None = None
    epochs: int | None = None
    resolved: Mapping[str, Any] = field(default_factory=dict)
    """The whole recipe, for people."""


def read_recipe(path: str | Path, architecture: str) -> dict[str, Any]:
    """The request to `train` in a recipe's file: settings, lr, batch_size and epochs. Raises UserError where it is none."""
    place = Path(path)
    if not place.is_file():
        raise UserError(f"--recipe names a file. Received {place}, which does not exist. Write one with nnatomy tune.")
    saved = read_values(place, RecipeRecord, "Name a recipe that nnatomy tune wrote.")
    if saved.architecture != find_architecture(architecture).key:
        raise UserError(
            f"{place} is a recipe of {shown(saved.architecture)}. Received it for {architecture}. Name that architecture."
        )
    settings = dict(saved.settings)
    found: dict[str, Any] = {} if saved.epochs is None else {"epochs": saved.epochs}
    for name, convert in (("lr", float), ("batch_size", int), ("epochs", int)):
        if name in settings:
            text = settings.pop(name)
            try:
                found[name] = convert(text)
            except ValueError:
                raise UserError(f"{place}: settings.{name} must be a number. Received {shown(text)}. Correct it.") from None
    return found | {"settings": settings}
