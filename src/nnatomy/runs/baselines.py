"""Predictors without a network next to a run: what they reach on the same rows, and whether the network earns its keep.

The predictors are those of the task. What they reached is kept in the user's cache, by the digest of the rows.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import math
import time
import warnings
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

from nnatomy import __version__
from nnatomy.data import fields
from nnatomy.data.dataset import Dataset, Split, SubsetSplit
from nnatomy.data.fingerprints import digest
from nnatomy.errors import UserError
from nnatomy.runs.folder import finite, load_arrays, save_arrays
from nnatomy.runs.limits import OutOfTime, within
from nnatomy.tasks import Evaluation, Metric, Task
from nnatomy.training.settings import plain

Array = np.ndarray[Any, Any]
WORK = 20_000_000
"""Numbers of the training rows, times classes, that baselines are fitted on at most: they take some seconds."""
PART = 0.2
"""The part of a time budget after which a baseline is stopped."""
BLOCKS, CHANCE = 30, 2.0
"""Test rows are taken in this many blocks; a mean difference of fewer standard errors than this may be chance."""
CLOSE = 0.01
"""Where examples have no error each, scores that differ by less than this part of them are level."""


@dataclass(frozen=True)
class Baselines:
    """What the baselines of a task reached on a split."""

    scores: Mapping[str, Mapping[str, float]]
    chosen: Mapping[str, str]
    """What the validation part chose, and on how many rows they were fitted where not on all."""
    errors: Mapping[str, Array]
    """The error of each example, where the task has such."""
    left_out: Mapping[str, str]
    """The reasons, by name."""
    seconds: float = 0.0

    def reached(self, task: Task) -> str:
        """Return their scores by the task's first metric that they have, as text."""
        for metric in task.metrics:
            known = {name: own[metric.name] for name, own in self.scores.items() if metric.name in own}
            if known:
                return f"{metric.name} " + ", ".join(f"{value:.4g} ({name})" for name, value in known.items())
        return ""


@dataclass(frozen=True)
class Beside:
    """A network's scores next to those of its task's baselines."""

    verdict: Literal["ahead", "level", "behind"]
    """Of the network, compared with the best baseline by the task's first metric."""
    headline: str
    metric: str
    best: str
    scores: Mapping[str, Mapping[str, float]]
    chosen: Mapping[str, str] = field(default_factory=dict)
    left_out: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return the part of `--json` that is about baselines."""
        return {name: finite(dict(value) if isinstance(value, Mapping) else value) for name, value in vars(self).items()}


def measure(
    task: Task, split: Split, seconds: float | None = None, fitted_on: Callable[[], Task] | None = None
) -> Baselines | None:
    """Fit the task's baselines on the training rows and measure them on a split; None for a task without any.

    `seconds`: those that a time budget has for them. `fitted_on`: returns the task with the training rows, where this one has
    none. What the data do not allow is left out, with the reason.
    """
    if not task.baselines:
        return None
    started = time.perf_counter()
    try:
        task = task if fitted_on is None else fitted_on()
    except UserError as reason:
        return Baselines({}, {}, {}, dict.fromkeys(task.baselines, f"the run's training rows are needed. {reason}"))
    dataset, says = _limited(task)
    kept = _kept_at(task, dataset, split)
    if kept is not None and (found := _kept(kept)) is not None:
        return found
    scores, chosen, errors, left_out = {}, {}, {}, {}
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a fit that has not converged is measured as it is
        for name, baseline in task.baselines.items():
            left = None if seconds is None else started + seconds - time.perf_counter()
            try:
                with within(left):
                    fitted = baseline(dataset, [task.recipe])
                    evaluation = task.score(fitted.outputs, split)
            except OutOfTime:
                left_out[name] = "the time budget had none left for it"
                continue
            except (UserError, ValueError, ArithmeticError, MemoryError) as reason:
                left_out[name] = str(reason)
                continue
            scores[name] = evaluation.metrics
            chosen[name] = ", ".join(filter(None, (fitted.chosen, says)))
            if (own := _errors(task, evaluation)) is not None:
                errors[name] = np.asarray(own, np.float32)
    found = Baselines(scores, chosen, errors, left_out, time.perf_counter() - started)
    if kept is not None and seconds is None:
        with suppress(UserError):
            save_arrays(kept, errors, {"scores": finite(scores), "chosen": chosen, "left_out": left_out})
    return found


def beside(task: Task, evaluation: Evaluation, found: Baselines | None) -> Beside | None:
    """Return a network's evaluation next to that of the baselines; None where there is nothing to compare it with."""
    metric = None if found is None else _judge(task, evaluation, found.scores)
    if found is None or metric is None:
        return None
    known = {name: own[metric.name] for name, own in found.scores.items() if math.isfinite(own.get(metric.name, math.nan))}
    best = max(known, key=lambda name: known[name] if metric.better == "higher" else -known[name])
    first = next(iter(known))
    value, own = evaluation.metrics[metric.name], _errors(task, evaluation)

    def place(name: str) -> Literal["ahead", "level", "behind"]:
        return _place(metric, value, known[name], own, found.errors.get(name))

    headline = _headline(metric, value, known, best, first, place(best), place(first))
    return Beside(place(best), headline, metric.name, best, found.scores, found.chosen, found.left_out)


def _errors(task: Task, evaluation: Evaluation) -> Array | None:
    try:
        return task.errors(evaluation)
    except KeyError:  # the meter of a user's task does not keep what the task that it extends does
        return None


def _judge(task: Task, evaluation: Evaluation, scores: Mapping[str, Mapping[str, float]]) -> Metric | None:
    """The first metric of the task that the network and a baseline have."""
    for metric in task.metrics:
        known = [own[metric.name] for own in scores.values() if metric.name in own]
        if metric.name in evaluation.metrics and any(map(math.isfinite, known)):
            return metric
    return None


def _place(
    metric: Metric, value: float, other: float, errors: Array | None, others: Array | None
) -> Literal["ahead", "level", "behind"]:
    """Where a network's score is compared with a baseline's."""
    if not math.isfinite(value):
        return "behind"
    if errors is not None and others is not None and len(errors) == len(others) > 1:
        difference = np.asarray(errors, np.float64) - others
        means = np.array([block.mean() for block in np.array_split(difference, min(BLOCKS, len(difference)))])
        level = abs(means.mean()) <= CHANCE * means.std(ddof=1) / math.sqrt(len(means))
    else:
        level = abs(value - other) <= CLOSE * max(abs(value), abs(other))
    if level or value == other:
        return "level"
    return "ahead" if metric.improves(value, other) else "behind"


def _headline(metric: Metric, value: float, known: Mapping[str, float], best: str, first: str, place: str, start: str) -> str:
    mine = f"{metric.name} {value:.4g}"
    if start != "ahead" and place != "ahead":
        more = "" if best == first else f"; {best} reaches {known[best]:.4g} without a network"
        if metric.improves(value, known[first]):
            said = f"{mine}, and {known[first]:.4g} by that{more}"
            return f"The network is level with the baseline {first}, within chance: {said}."
        return f"The network learned nothing beyond the baseline {first}: {mine}, and {known[first]:.4g} by that{more}."
    if place == "ahead":
        return f"The network earns its keep: {mine}, ahead of the best baseline without a network, {best} ({known[best]:.4g})."
    if place == "level":
        return (
            f"The network is level with the best baseline: {mine}, and {known[best]:.4g} by {best} without a network; "
            "the difference may be chance."
        )
    return f"The network does not earn its keep: {mine}, behind {best}, which reaches {known[best]:.4g} without a network."


def _limited(task: Task) -> tuple[Dataset, str]:
    """The data with as many training rows, evenly spaced, as baselines take in some seconds, and the note on that."""
    dataset, train = task.dataset, task.dataset.train
    if not len(train) or not fields.per_row(train.fields) or train.ragged:
        return dataset, ""
    one = fields.select(train.fields, train.take(np.arange(1)), "input")
    numbers = sum(array.size for array in one) * (max(len(dataset.classes), 1) if task.outputs_are == "class scores" else 1)
    rows = max(WORK // max(numbers, 1), 500)
    if rows >= len(train):
        return dataset, ""
    some = np.unique(np.linspace(0, len(train) - 1, rows).astype(int))
    return replace(dataset, train=SubsetSplit(train, some)), f"fitted on {len(some):,} of {len(train):,} training rows"


# What is kept


def _kept_at(task: Task, dataset: Dataset, split: Split) -> Any:
    """The file for these baselines on these rows; None where scores depend on more than rows, or there is no folder."""
    if type(task).meter_for is not Task.meter_for or type(task).score is not Task.score:
        return None
    from nnatomy.kernels.library import usable_folder

    folder = usable_folder("baselines")
    if folder is None:
        return None
    sources = [inspect.getsource(inspect.getmodule(b) or b) for b in task.baselines.values()]
    rows = digest(replace(dataset, test=split))
    known = [__version__, task.name, list(task.baselines), sources, rows, plain(task.recipe)]
    return folder / f"{hashlib.sha256(json.dumps(known, default=str).encode()).hexdigest()[:32]}.safetensors"


def _kept(path: Any) -> Baselines | None:
    """What was kept; None where there is nothing that can be read."""
    try:
        errors, saved = load_arrays(path)
        scores = {
            name: {key: math.nan if value is None else float(value) for key, value in own.items()}
            for name, own in saved["scores"].items()
        }
        return Baselines(scores, dict(saved["chosen"]), errors, dict(saved["left_out"]))
    except (UserError, KeyError, AttributeError, TypeError, ValueError):
        return None
