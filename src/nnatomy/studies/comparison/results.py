"""Results of a comparison, from the results of all units: scores with their spread, costs, paired tests, curves."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nnatomy.errors import UserError
from nnatomy.runs.folder import finite
from nnatomy.runs.progress import counted
from nnatomy.showing import Face, Shown, label
from nnatomy.studies.comparison.protocol import Plan, Protocol, Unit
from nnatomy.studies.statistics import LEVEL, corrected_t_test, holm, variance_components

Array = npt.NDArray[Any]
Found = Mapping[Unit, Mapping[str, Any]]


@dataclass(frozen=True)
class Candidate:
    """An architecture or a baseline: its scores[folds, seeds] and its cost."""

    name: str
    is_architecture: bool
    scores: Array
    metrics: Mapping[str, float]
    """Every metric of the task, averaged over folds and seeds."""
    seconds: float
    """Median training time of a fit."""
    parameters: int
    multiply_adds: int
    """For one example."""
    latency_one: float | None
    """Median seconds for one example; None where it was not measured."""
    latency_many: float | None
    epochs: str = ""
    chosen: str = ""
    curve: tuple[tuple[float, float, float], ...] = ()
    """(training examples, mean score, deviation over folds), by fraction of the rows; first seeds only."""

    @property
    def mean(self) -> float:
        return float(self.scores.mean())

    @property
    def std(self) -> float:
        """The standard deviation of the folds' scores, each averaged over its seeds; NaN of a single fold."""
        return float(self.scores.mean(axis=1).std(ddof=1)) if len(self.scores) > 1 else math.nan

    @property
    def deviations(self) -> tuple[float, float | None]:
        """Standard deviations that splits and seeds cause, from `variance_components`."""
        if len(self.scores) < 2:
            return math.nan, None
        split, seed = variance_components(self.scores)
        return math.sqrt(split), None if seed is None else math.sqrt(seed)

    def to_json(self) -> dict[str, Any]:
        split, seed = self.deviations
        return {
            "name": self.name, "type": "architecture" if self.is_architecture else "baseline",
            "mean": self.mean, "std_over_folds": self.std,
            "std_of_splits": split, "std_of_seeds": seed, "scores": self.scores.tolist(), "metrics": dict(self.metrics),
            "training_seconds": self.seconds, "parameters": self.parameters, "multiply_adds": self.multiply_adds,
            "latency_one_seconds": self.latency_one, "latency_many_seconds": self.latency_many, "epochs": self.epochs,
            "chosen": self.chosen,
            "curve": [dict(zip(("examples", "mean", "std_over_folds"), point, strict=True)) for point in self.curve],
        }  # fmt: skip


@dataclass(frozen=True)
class Pair:
    """Two candidates tested against each other on the same folds; `difference` is the first's mean score minus the second's."""

    first: str
    second: str
    difference: float
    t: float
    p: float
    p_holm: float
    low: float
    high: float
    better: str | None
    """The one that is better, where that is shown."""

    def sentence(self, metric: str) -> str:
        """The verdict as text."""
        if math.isnan(self.p):
            return f"{self.first} and {self.second} differ by the same {self.difference:+.4g} in every fold: no test applies."
        detail = f"p = {shown_p(self.p_holm)}, difference in {metric} {{:+.4g}}, 95 % interval {{:.4g}} to {{:.4g}}"
        if self.better == self.second:
            return f"{self.second} is better than {self.first} ({detail.format(-self.difference, -self.high, -self.low)})."
        text = detail.format(self.difference, self.low, self.high)
        if self.better is None:
            return f"No difference shown between {self.first} and {self.second} ({text})."
        return f"{self.first} is better than {self.second} ({text})."

    def to_json(self) -> dict[str, Any]:
        return dict(vars(self))


@dataclass(frozen=True, repr=False)
class Comparison(Shown):
    """A comparison; candidates are sorted, the best first.

    Where too few folds are whole for a test, each candidate has the folds that it finished, and there are no pairs.
    """

    folder: Path
    protocol: Protocol
    plan: Plan
    candidates: tuple[Candidate, ...]
    pairs: tuple[Pair, ...]
    folds: int
    seeds: int
    sizes: tuple[float, float, float]
    """Training, validation and test examples, averaged over the folds."""
    refused: Mapping[str, str]
    notices: tuple[str, ...]
    seconds: float
    many: int = 256
    environment: Mapping[str, Any] = field(default_factory=dict)

    @property
    def higher(self) -> bool:
        """True if more of the metric is better."""
        return self.plan.judged_by.better == "higher"

    @property
    def best_baseline(self) -> Candidate | None:
        return next((c for c in self.candidates if not c.is_architecture), None)

    @property
    def report(self) -> Path:
        return self.folder / "report.html"

    def pair(self, a: str, b: str) -> Pair | None:
        """The test of two candidates, in whichever order."""
        return next((pair for pair in self.pairs if {pair.first, pair.second} == {a, b}), None)

    def face(self) -> Face:
        first = self.verdicts()[0] if self.pairs else ""
        title = f"{self.plan.name}: {label(self.plan.metric)}, {self.plan.judged_by.better} is better"
        return Face.of(title, [(c.name, c.mean) for c in self.candidates], first, str(self.report))

    def verdicts(self) -> list[str]:
        """All tests as text, those that show a difference first."""
        ordered = sorted(self.pairs, key=lambda pair: (pair.better is None, pair.p_holm if pair.p_holm == pair.p_holm else 2))
        return [pair.sentence(self.plan.metric) for pair in ordered]

    def to_json(self) -> dict[str, Any]:
        """Return the values that `nnatomy compare --json` prints."""
        value = {
            "folder": str(self.folder), "data": self.plan.name, "kind": self.plan.kind, "task": self.plan.task,
            "metric": self.plan.metric, "higher_is_better": self.higher, "folds": self.folds, "seeds": self.seeds,
            "examples": dict(zip(("train", "validation", "test"), self.sizes, strict=True)),
            "candidates": [candidate.to_json() for candidate in self.candidates],
            "pairs": [pair.to_json() for pair in self.pairs], "verdicts": self.verdicts(), "refused": dict(self.refused),
            "notices": list(self.notices), "seconds": round(self.seconds, 2), "command": self.protocol.command(),
            "environment": dict(self.environment),
        }  # fmt: skip
        return _finite(value)  # type: ignore[no-any-return]


def _finite(value: Any) -> Any:
    return [_finite(v) for v in value] if isinstance(value, list) else finite(
        {k: _finite(v) for k, v in value.items()} if isinstance(value, dict) else value
    )  # fmt: skip


def shown_p(p: float) -> str:
    """A p-value with as many places as it deserves."""
    return "< 0.0001" if p < 1e-4 else f"{p:.2g}" if p < 0.1 else f"{p:.2f}"


def concluded(
    folder: Path, protocol: Protocol, plan: Plan, found: Found, seconds: float, environment: Mapping[str, Any],
    stopped: Sequence[Unit] = (),
) -> Comparison:  # fmt: skip
    """Return the conclusions from all units. Raises UserError where none was finished."""
    refused, notices = dict(plan.refused), [*plan.notices, *_stopped(stopped)]
    for unit, answer in found.items():
        if "failed" in answer and unit.candidate not in refused and unit.what in ("fit", "baseline"):
            refused[unit.candidate] = f"{answer['failed']} (fold {unit.fold + 1})"
    names = [name for name in (*plan.architectures, *plan.does.baselines) if name not in refused]
    table: dict[str, dict[tuple[int, int], Mapping[str, Any]]] = {name: {} for name in names}
    for unit, answer in found.items():
        if unit.what in ("fit", "baseline") and unit.share == 1 and unit.candidate in table:
            table[unit.candidate][unit.fold, unit.seed - protocol.seed if unit.what == "fit" else 0] = answer
    architectures = [name for name in names if name in plan.architectures]
    if not architectures:
        raise _none(refused)
    folds, seeds = _whole(protocol, plan, table, architectures, notices)
    tested = len(folds) > 1
    for name in [name for name in names if name not in plan.architectures]:
        done = _finished(table[name], plan.metric)
        if tested and not set(folds) <= {fold for fold, _ in table[name]}:
            refused[name] = f"The time ended after {len(done)} of its {protocol.cv} folds. {_continue(protocol)}"
            names.remove(name)
    if tested:
        for name in list(names):
            used = [table[name][fold, seed] for fold in folds for seed in range(seeds if name in plan.architectures else 1)]
            if any(_score(answer, plan.metric) is None for answer in used):
                refused[name] = f"Its {plan.metric} is not a finite number in every fold."
                names.remove(name)
        if not set(names) & set(plan.architectures):
            raise _none(refused)
        own = dict.fromkeys(names, folds)
    else:
        own = {name: _finished(table[name], plan.metric) for name in names}
        refused |= {name: "None of its folds was finished." for name in names if not own[name]}
        names = [name for name in names if own[name]]
        if not names:
            raise UserError(
                f"A comparison needs a fold with a finite {plan.metric}. Received none. Continue with --resume"
                f"{'' if protocol.budget is None else ' and a larger --budget'}, or choose another --metric or more data."
            )
    candidates = [_candidate(name, protocol, plan, found, table[name], own[name], seeds) for name in names]
    sign = 1 if plan.judged_by.better == "higher" else -1
    candidates.sort(key=lambda c: -sign * c.mean)
    first = [table[names[0]][fold, 0] for fold in own[names[0]]]
    train, validation, test = (float(np.mean([a[key] for a in first])) for key in ("train", "validation", "test"))
    pairs = _pairs(candidates, test / (train + validation), sign) if tested else []
    least = min(len(own[name]) for name in names)
    many = next((int(a["many"]) for u, a in found.items() if u.what == "cost" and "many" in a), 256)
    return Comparison(
        folder, protocol, plan, tuple(candidates), tuple(pairs), least, seeds, (train, validation, test), refused,
        tuple(notices), seconds, many, environment,
    )  # fmt: skip


def _continue(protocol: Protocol) -> str:
    return f"--resume{'' if protocol.budget is None else ' with a --budget'} does the rest."


def _stopped(units: Sequence[Unit]) -> list[str]:
    """The notice about fits that the end of the time stopped."""
    fits = [
        f"{unit.candidate} (fold {unit.fold + 1}" + (f", seed {unit.seed})" if unit.what == "fit" else ")")
        for unit in units
        if unit.what in ("fit", "baseline")
    ]
    return [f"The end of the time stopped {', '.join(fits)}: without a score."] if fits else []


def _finished(answers: Mapping[tuple[int, int], Mapping[str, Any]], metric: str) -> list[int]:
    """The folds that have a finite score from the first seed."""
    return sorted(fold for (fold, seed), answer in answers.items() if seed == 0 and _score(answer, metric) is not None)


def _none(refused: Mapping[str, str]) -> UserError:
    reasons = "; ".join(f"{name}: {reason.rstrip('.')}" for name, reason in refused.items())
    return UserError(f"A comparison needs an architecture with a finite score. Received none ({reasons}). Choose others.")


def _score(answer: Mapping[str, Any], metric: str) -> float | None:
    value = answer["metrics"].get(metric)
    return None if value is None else float(value)


def _whole(
    protocol: Protocol,
    plan: Plan,
    table: Mapping[str, Mapping[tuple[int, int], Any]],
    architectures: list[str],
    notices: list[str],
) -> tuple[list[int], int]:
    """The folds and the number of seeds for which every architecture has a result; adds a notice about the rest.

    Fewer than two folds are no base for a test.
    """
    scored = {fold for answers in table.values() for (fold, _), a in answers.items() if _score(a, plan.metric) is not None}
    judged = sorted(scored)
    done = {
        seed: [fold for fold in judged if all((fold, seed) in table[architecture] for architecture in architectures)]
        for seed in range(protocol.seeds)
    }
    if len(done[0]) < 2:
        finished = ", ".join(f"{name} {len(_finished(table[name], plan.metric))}" for name in table)
        notices.append(
            f"Nothing was tested: a test needs two folds that every architecture has finished, with a finite {plan.metric}. Of "
            f"{protocol.cv} folds were finished: {finished}. Each score is over its own folds. {_continue(protocol)}"
        )
        return done[0], 1
    seeds = next(s for s in range(protocol.seeds, 0, -1) if s == 1 or all(done[k] == done[0] for k in range(s)))
    unjudged = sorted(set(range(protocol.cv)) - scored)
    if unjudged:
        listed = ", ".join(str(fold + 1) for fold in unjudged)
        notices.append(f"Not every test part can be judged by {plan.metric}: left out fold {listed}.")
    missing = protocol.cv * protocol.seeds - len(unjudged) * protocol.seeds - len(done[0]) * seeds
    if missing:
        notices.append(
            f"The time was spent before all fits were done: {counted(len(done[0]), 'fold')} and {counted(seeds, 'seed')} are "
            f"whole and count. {_continue(protocol)}"
        )
    return done[0], seeds


def _candidate(
    name: str, protocol: Protocol, plan: Plan, found: Found, answers: Mapping[tuple[int, int], Mapping[str, Any]],
    folds: list[int], seeds: int,
) -> Candidate:  # fmt: skip
    is_architecture = name in plan.architectures
    seeds = seeds if is_architecture else 1
    used = [answers[fold, seed] for fold in folds for seed in range(seeds)]
    scores = np.array([_score(answer, plan.metric) for answer in used], dtype=np.float64).reshape(len(folds), seeds)
    metrics = {
        key: float(np.mean([answer["metrics"][key] for answer in used]))
        for key in used[0]["metrics"]
        if all(answer["metrics"].get(key) is not None for answer in used)
    }
    cost = found.get(Unit("cost", name), {})
    source = {**used[0], **cost}
    chosen = ", ".join(dict.fromkeys(answer["chosen"] for answer in used if answer.get("chosen")))
    epochs = ""
    if is_architecture:
        least, most = min(a["epochs"] for a in used), max(a["epochs"] for a in used)
        epochs = f"{least}" if least == most else f"{least} to {most}"
    return Candidate(
        name, is_architecture, scores, metrics, float(np.median([a["seconds"] for a in used])),
        int(source.get("parameters", 0)), int(source.get("multiply_adds",
        0)), cost.get("latency_one"), cost.get("latency_many"), epochs, chosen,
        _curve(name, protocol, plan, found, answers, folds),
    )  # fmt: skip


def _curve(
    name: str, protocol: Protocol, plan: Plan, found: Found, answers: Mapping[tuple[int, int], Mapping[str, Any]],
    folds: list[int],
) -> tuple[tuple[float, float, float], ...]:  # fmt: skip
    what, seed = ("fit", protocol.seed) if name in plan.architectures else ("baseline", 0)
    points = []
    for share in plan.shares:
        at = [found.get(Unit(what, name, fold, seed, share)) for fold in folds]
        points.append(_point([a for a in at if a is not None and "metrics" in a], len(folds), plan.metric))
    if plan.shares:
        points.append(_point([answers[fold, 0] for fold in folds], len(folds), plan.metric))
    return tuple(point for point in points if point is not None)


def _point(answers: list[Mapping[str, Any]], folds: int, metric: str) -> tuple[float, float, float] | None:
    scores = [_score(answer, metric) for answer in answers]
    known = [score for score in scores if score is not None]
    if len(known) < folds:
        return None
    spread = float(np.std(known, ddof=1)) if len(known) > 1 else math.nan
    return float(np.mean([a["train"] for a in answers])), float(np.mean(known)), spread


def _pairs(candidates: list[Candidate], test_over_train: float, sign: int) -> list[Pair]:
    """Architectures against each other and against the best baseline, on the folds' scores averaged over seeds."""
    architectures = [c for c in candidates if c.is_architecture]
    yardstick = [c for c in candidates if not c.is_architecture][:1]
    tested = [
        *itertools.combinations(architectures, 2),
        *((architecture, base) for architecture in architectures for base in yardstick),
    ]
    found = [corrected_t_test(a.scores.mean(axis=1) - b.scores.mean(axis=1), test_over_train) for a, b in tested]
    pairs = []
    for (a, b), d, p in zip(tested, found, holm([d.p for d in found]), strict=True):
        ahead = a.name if sign * d.mean > 0 else b.name
        pairs.append(Pair(a.name, b.name, d.mean, d.t, d.p, p, d.low, d.high, ahead if p < LEVEL else None))
    return pairs
