"""Recall: a stored pattern of -1 and 1 comes back from a corrupted copy of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from nnatomy import ops
from nnatomy.data.dataset import Dataset
from nnatomy.data.kinds import kind_of
from nnatomy.functional import mse_loss
from nnatomy.tasks.baselines import Baseline, FittedBaseline, arrays_of
from nnatomy.tasks.figures import BLUE
from nnatomy.tasks.parts import Answer, Array, Batch, Meter, Mistakes
from nnatomy.tasks.task import Task
from nnatomy.training.evaluation import Evaluation, Metric
from nnatomy.training.recipe import Recipe

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHOWN = 8
"""Examples in the figure, and the most that a meter keeps for it."""


def unchanged(dataset: Dataset, recipes: Sequence[Recipe]) -> FittedBaseline:
    """The corrupted copy itself."""
    return FittedBaseline(lambda x: x, 0, 0)


def nearest(dataset: Dataset, recipes: Sequence[Recipe]) -> FittedBaseline:
    """The stored pattern with the fewest signs that differ, found by comparing the copy with all of them."""
    stored = arrays_of(dataset.train, "target")[0]
    rows = np.sign(stored.reshape(len(stored), -1))

    def outputs(x: Array) -> Array:
        return np.asarray(stored[(np.sign(x.reshape(len(x), -1)) @ rows.T).argmax(axis=1)])

    return FittedBaseline(outputs, rows.size, rows.size, f"{len(rows):,} patterns")


class Recall(Task):
    """The fraction of corrupted patterns that come back without a wrong sign; outputs are shaped as a pattern, or flat."""

    name = "recall"
    metrics: ClassVar[tuple[Metric, ...]] = (
        Metric("recalled", "higher", says="fraction of examples that come back without a wrong sign"),
        Metric("wrong", "lower", says="fraction of signs that are wrong"),
    )
    baselines: ClassVar[Mapping[str, Baseline]] = {"unchanged": unchanged, "nearest stored pattern": nearest}
    gives = (
        ("pattern", "the recalled pattern, in the units of the user's data"),
        ("output", "the same pattern as the network gives it"),
    )
    by_row = False

    @classmethod
    def loss(cls, outputs: Any, *batch: Any) -> Any:
        """Return the mean squared difference from the stored pattern."""
        return mse_loss(outputs.reshape(batch[-1].shape), batch[-1])

    def meter(self) -> Meter:
        return _Signs(self)

    def interpret(self, outputs: Any, inputs: tuple[Any, ...]) -> Any:
        """Return the patterns in the units of the user's data."""
        return self.dataset.preprocessing.inverse(ops.reshape(outputs, inputs[0].shape))

    def present(self, meant: Any, inputs: Batch) -> Answer:
        """Return each pattern in the form of the data's kind, and the fraction of its signs that are positive."""
        patterns = np.concatenate(self.dataset.preprocessing.prepare(meant))
        columns, files = kind_of(self.dataset).made(patterns, self.dataset)
        each = {name: write for name, write in files.items() if not name.startswith("samples.")}  # not that of all together
        positive = (patterns.reshape(len(patterns), -1) > 0).mean(axis=1)
        return Answer({"positive": positive, **columns}, files=each, file_rows={name: n for n, name in enumerate(each)})

    def errors(self, evaluation: Evaluation) -> Array:
        return evaluation.arrays["errors"]

    def mistakes(self, evaluation: Evaluation) -> Mistakes:
        """Return the examples by the fraction of their signs that are wrong."""
        errors = evaluation.arrays["errors"]
        title = f"What is recalled worst, of {len(errors):,} test examples ({(errors > 0).mean():.1%} have a wrong sign)"
        order = np.argsort(-errors, kind="stable")
        return Mistakes(order, {int(i): f"{errors[i]:.1%} wrong" for i in order[:24]}, title, "the fraction of wrong signs")

    def figure(self, evaluation: Evaluation) -> Figure:
        """Return corrupted copies above what was recalled from them and what was stored, and how many signs were wrong."""
        from matplotlib.figure import Figure

        figure, kind = Figure(figsize=(10, 6.4), layout="constrained"), kind_of(self.dataset)
        parts: Any = figure.subfigures(2, 1, height_ratios=(3, 1.6))
        grid = parts[0].subplots(3, SHOWN, squeeze=False)
        for row, name in zip(grid, ("copy", "recalled", "stored"), strict=True):
            for axes, example in zip(row, evaluation.arrays[name], strict=False):
                kind.show(axes, (example[None],), self.dataset)
            for axes in row:
                axes.set_axis_off()
            row[0].text(-0.1, 0.5, name, rotation=90, ha="right", va="center", transform=row[0].transAxes, fontsize=11)
        axes = parts[1].subplots()
        axes.hist(evaluation.arrays["errors"], bins=40, color=BLUE)
        axes.set(xlabel="fraction of wrong signs", ylabel="examples", title="Errors of the test examples")
        return figure


class _Signs:
    """The fraction of wrong signs of each example, and the first examples."""

    def __init__(self, task: Recall) -> None:
        self._task = task
        self._errors: list[Array] = []
        self._first: dict[str, list[Array]] = {"copy": [], "recalled": [], "stored": []}

    def add(self, outputs: Array, batch: Batch) -> None:
        copies, stored = self._task.model_inputs(batch)[0], self._task.targets(batch)[0]
        self._errors.append(_differ(outputs, stored).mean(axis=1))
        if sum(map(len, self._first["copy"])) < SHOWN:
            for name, some in (("copy", copies), ("recalled", outputs), ("stored", stored)):
                self._first[name].append(some.reshape(stored.shape)[:SHOWN])

    def result(self) -> Evaluation:
        errors = np.concatenate(self._errors)
        metrics = {"recalled": float((errors == 0).mean()), "wrong": float(errors.mean())}
        return Evaluation(metrics, {"errors": errors, **{n: np.concatenate(a)[:SHOWN] for n, a in self._first.items()}})


def _differ(outputs: Array, patterns: Array) -> Array:
    """Return booleans (examples, numbers): True where signs differ, or an output has none."""
    rows = len(patterns)
    return np.asarray(outputs.reshape(rows, -1) * patterns.reshape(rows, -1) <= 0)
