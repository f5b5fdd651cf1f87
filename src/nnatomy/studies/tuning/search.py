"""One search: trials of a recipe's settings, each a fit that is judged on the validation part and given up early where it lags.

Trials are kept by Optuna in a database, which several processes share: one that dies loses the trial that it was running.

    python -m nnatomy.studies.tuning.search FOLDER END         # a process that helps until there is nothing left to try
"""

from __future__ import annotations

import itertools
import math
import os
import sys
import threading
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from nnatomy import backends
from nnatomy.errors import UserError
from nnatomy.runs.fitting import fit_recipe
from nnatomy.runs.known import KnownData
from nnatomy.studies.tuning.plan import ALL_ROWS, Plan
from nnatomy.studies.tuning.space import Settings, Space, applied
from nnatomy.tasks import task_for
from nnatomy.training.callbacks import Callback
from nnatomy.training.loop import Loop

EARLY = 2  # epochs before a trial may be given up
TRIES, MEANWHILE = 10, ("already exists", "locked", "UNIQUE constraint", "no such table")
"""Attempts to open a database while another process makes its tables, and the error that shows it."""
AGAIN = "Restore them, or tune again."
PLACE = "place"
"""The attribute of a trial that decides its random state: how many trials come before it, if none had died."""
REFUSED = "refused"
"""The attribute of a trial whose settings do not go together, or whose loss was not finite: why."""

SCORES = 0.3
"""The part of a time budget that is kept for the scores on the outer folds."""


def working_time(budget: float) -> float:
    """Return the seconds of a time budget without those that conclusions and the report take."""
    return budget - min(8.0, 0.2 * budget)


def time_for(end: float, fits: int = 1) -> float:
    """Return the seconds that each of so many fits may take until `end`; at least for one step."""
    return max((end - time.perf_counter()) / fits, 1e-3)


def optuna() -> Any:
    """Return the module optuna with its log reduced."""
    try:
        import optuna as found
    except ImportError:
        raise UserError('Tuning needs Optuna. Received an environment without it. Run pip install "nnatomy[tune]".') from None
    found.logging.set_verbosity(found.logging.ERROR)
    return found


class Search:
    """The trials of one outer fold, or of the whole."""

    def __init__(self, folder: Path, plan: Plan, number: int) -> None:
        self.plan, self.number = plan, number
        self.recipe, self.dataset = plan.load(number)
        KnownData.of(folder, AGAIN).check(self.dataset, splits=False)
        self.task = task_for(self.recipe, self.dataset)
        self.metric = self.task.metric(self.recipe.metric)
        self.space: Space = plan.searched(self.recipe)
        self.study = self._opened(folder)
        self._deadline = math.inf

    @property
    def title(self) -> str:
        """The name for people."""
        return "all data" if self.number == ALL_ROWS else f"fold {self.number + 1} of {self.plan.cv}"

    def _opened(self, folder: Path) -> Any:
        """The study, made by the first process that comes, with the recipe's own settings as its first trial."""
        found = optuna()
        direction = "maximize" if self.metric.better == "higher" else "minimize"
        pruner = found.pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=EARLY)
        return found.create_study(
            study_name=f"{folder.resolve().name}-{'whole' if self.number == ALL_ROWS else self.number}",
            storage=storage(folder, self.plan), direction=direction, load_if_exists=True,
            pruner=pruner if self.plan.prune else found.pruners.NopPruner(),
        )  # fmt: skip

    def _sampler(self, place: int) -> Any:
        """Return what chooses the settings of the trial at a place, by its place alone and the trials that have ended.

        The first trial has the recipe's own settings; those of a grid come in an order that the seed shuffles.
        """
        found = optuna()
        seed = int(np.random.SeedSequence([self.plan.seed, self.number + 2, place]).generate_state(1)[0])
        if self.plan.how == "grid":
            points = list(itertools.product(*(part.grid() for part in self.space.values())))
            order = np.random.default_rng([self.plan.seed, self.number + 2]).permutation(len(points))
            return _fixed(dict(zip(self.space, points[order[place % len(points)]])), found.samplers.RandomSampler(seed))
        base = found.samplers.RandomSampler(seed) if self.plan.how == "random" else found.samplers.TPESampler(seed=seed)
        own = {name: self.space[name].holds(value) for name, value in self.plan.own(self.recipe).items()}
        return _fixed(own, base) if place == 0 and own else base

    def _place(self, number: int) -> int:
        """Return the place of a trial among those that count: the first that no other has; a trial that died leaves its own."""
        counting = [t for t in self.study.get_trials(deepcopy=False) if t.state.name != "FAIL" and t.number != number]
        taken = {t.user_attrs[PLACE] for t in counting if PLACE in t.user_attrs}
        before = sum(PLACE not in t.user_attrs and t.number < number for t in counting)  # they are about to take theirs
        return next(itertools.islice((n for n in itertools.count() if n not in taken), before, None))

    def finished(self) -> list[Any]:
        """The trials that came to an end: with a score, or given up."""
        states = optuna().trial.TrialState
        return list(self.study.get_trials(deepcopy=False, states=(states.COMPLETE, states.PRUNED)))

    def run(self, deadline: float, log: Callable[[Search, Any], None], others: bool = True) -> None:
        """Run trials until there are enough of them, or the time is over; at least one has a score then.

        `others`: what seems to run elsewhere counts as done. A process that died has left such a trial.
        """
        while self._count(others) < self.plan.trials and not (self.plan.how == "grid" and self._all_tried()):
            if time.perf_counter() > deadline and self.best() is not None:
                return
            self.study.sampler = self._sampler(self._place(sys.maxsize))
            self._deadline = deadline
            self.study.optimize(self._trial, n_trials=1, callbacks=[lambda study, trial: log(self, trial)])

    def _count(self, others: bool) -> int:
        states = optuna().trial.TrialState
        running = self.study.get_trials(deepcopy=False, states=(states.RUNNING,)) if others else ()
        return len(self.finished()) + len(running)

    def _all_tried(self) -> bool:
        return len(self.finished()) >= math.prod(len(part.grid()) for part in self.space.values())

    def _trial(self, trial: Any) -> float:
        place = self._place(trial.number)
        trial.set_user_attr(PLACE, place)
        self.study.sampler = self._sampler(place)
        settings = {name: part.suggest(trial, name) for name, part in self.space.items()}
        trial.set_user_attr("settings", settings)
        try:
            recipe = applied(self.recipe, settings)
            seconds = None if math.isinf(self._deadline) else time_for(self._deadline)
            watching = [_GivingUp(trial, recipe.metric)]
            fitted = fit_recipe(recipe, self.dataset, self.plan.seed, budget=seconds, callbacks=watching)
        except UserError as reason:
            trial.set_user_attr(REFUSED, str(reason))
            raise optuna().TrialPruned from None
        trial.set_user_attr("epochs", fitted.position.epoch)
        trial.set_user_attr("seconds", round(fitted.position.seconds, 3))
        if fitted.position.best is None or not math.isfinite(fitted.position.best):
            trial.set_user_attr(REFUSED, "The metric was not finite.")
            raise optuna().TrialPruned
        return float(fitted.position.best)

    def best(self) -> Any:
        """The trial with the best score, or None."""
        states = optuna().trial.TrialState
        done = self.study.get_trials(deepcopy=False, states=(states.COMPLETE,))
        if not done:
            return None
        return (max if self.metric.better == "higher" else min)(done, key=lambda trial: trial.value)

    def best_settings(self) -> Settings:
        """The settings of the best trial. Raises UserError where none has a score."""
        found = self.best()
        if found is None:
            reasons = [t.user_attrs[REFUSED] for t in self.finished() if REFUSED in t.user_attrs]
            why = f" ({reasons[0].rstrip('.')})" if reasons else ""
            raise UserError(f"A tuning needs a trial with a score. Received none on {self.title}{why}. Change --space.")
        return dict(found.user_attrs["settings"])


def _fixed(settings: dict[str, Any], base: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Optuna calls this sampler experimental
        return optuna().samplers.PartialFixedSampler(settings, base)


def abandon_trials(folder: Path, plan: Plan) -> None:
    """Give up the trials of processes that have died, so that they are done again; for a process that works alone."""
    found = optuna()
    kept = storage(folder, plan)
    names = {f"{folder.resolve().name}-{'whole' if number == ALL_ROWS else number}" for number in plan.searches}
    for known in kept.get_all_studies():
        if known.study_name in names:
            for trial in kept.get_all_trials(known._study_id, deepcopy=False, states=(found.trial.TrialState.RUNNING,)):
                kept.set_trial_state_values(trial._trial_id, found.trial.TrialState.FAIL)


class _GivingUp(Callback):
    """Reports each epoch's validation metric, and gives a trial up whose metric lags behind the others' median."""

    def __init__(self, trial: Any, metric: str) -> None:
        self.trial, self.metric, self.state = trial, metric, {}

    def after_epoch(self, loop: Loop, line: dict[str, Any]) -> None:
        value = line["validation"].get(self.metric, math.nan)
        if math.isfinite(value):
            self.trial.report(value, loop.position.epoch)
            if self.trial.should_prune():
                raise optuna().TrialPruned


def storage(folder: Path, plan: Plan) -> Any:
    """Return the storage of the trials: a file in the folder, or the database that --storage names."""
    url = plan.storage or f"sqlite:///{(folder / 'trials.db').resolve()}"
    patience = {"connect_args": {"timeout": 60}} if url.startswith("sqlite") else None
    found = optuna()
    for attempt in range(TRIES):
        try:
            return found.storages.RDBStorage(url, engine_kwargs=patience)
        except Exception as problem:  # any error of the database's library
            what = str(problem).splitlines()[0][:120]
            if not any(sign in str(problem) for sign in MEANWHILE):
                break
            time.sleep(0.1 * (attempt + 1))
    raise UserError(f"Trials are kept in a database. Received {url}, which cannot be opened ({what}). Correct --storage.")


def searching_ends(plan: Plan, started: float) -> float:
    """Return when the last search must end, by time.perf_counter, in the time of a budget that runs since `started`."""
    if plan.budget is None:
        return math.inf
    return started + working_time(plan.budget) * (1 - SCORES * bool(plan.cv))


def search_all(folder: Path, plan: Plan, log: Callable[[Search, Any], None], end: float, others: bool = True) -> None:
    """Run what is left of every search, each in an equal part of the time that is then left until `end`; see `Search.run`."""
    for place, number in enumerate(plan.searches):
        now = time.perf_counter()
        Search(folder, plan, number).run(now + (end - now) / (len(plan.searches) - place), log, others)


def _help(folder: Path, end: float) -> None:
    """The work of a helping process, in the time of the one that started it, with which it ends."""
    threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
    plan = Plan.of(folder)
    backends.use(plan.backend)
    search_all(folder, plan, lambda search, trial: None, end)


if __name__ == "__main__":
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the first process ends it
    _help(Path(sys.argv[1]), float(sys.argv[2]))
