"""Anomalies: windows that a model of ordinary data reconstructs badly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from nnatomy.data import fields
from nnatomy.data.dataset import Dataset
from nnatomy.layers.module import Module
from nnatomy.tasks.baselines import Baseline, FittedBaseline
from nnatomy.tasks.figures import BLUE, GRAY, ORANGE
from nnatomy.tasks.parts import Array, Batch, Coloring, Joined, Meter
from nnatomy.tasks.reconstruction import Reconstruction
from nnatomy.training.evaluation import Evaluation, Metric
from nnatomy.training.recipe import Recipe

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def z_score(dataset: Dataset, recipes: Sequence[Recipe]) -> FittedBaseline:
    """The training mean, which is 0 in standardized windows: the error is the mean squared z-score of a window."""
    return FittedBaseline(np.zeros_like, 0, int(np.prod(dataset.input_shape)))


class Anomaly(Reconstruction):
    """The error of each window as its anomaly score; AUC where the data set labels the test windows."""

    name = "anomaly"
    needs_targets = True
    metrics: ClassVar[tuple[Metric, ...]] = (
        Metric("auc", "higher", says="chance that a labeled anomaly scores above an ordinary window"),
        Metric("average_precision", "higher", says="area under the precision-recall curve"),
        *Reconstruction.metrics,
    )
    baselines: ClassVar[Mapping[str, Baseline]] = {"z-score": z_score}

    def meter(self) -> Meter:
        return _Scores(self)

    def errors(self, evaluation: Evaluation) -> None:
        """Return nothing: an AUC is of all examples together."""

    def figure(self, evaluation: Evaluation) -> Figure:
        return anomalies(evaluation.arrays)

    def coloring(self, model: Module, batch: Batch) -> Coloring:
        names = ("ordinary window", "labeled an anomaly")
        return Coloring("whether the window is labeled an anomaly", self.targets(batch)[0], names)


class _Scores(Joined):
    """Reconstructions, and the labels of their windows."""

    def __init__(self, task: Anomaly) -> None:
        super().__init__(task.measure, task.dataset.fields, "input")
        self._flags: list[Array] = []

    def add(self, outputs: Array, batch: Batch) -> None:
        super().add(outputs, batch)
        self._flags.append(fields.select(self._named, batch, "target")[0])

    def result(self) -> Evaluation:
        found = super().result()
        flags, scores = np.concatenate(self._flags), found.arrays["errors"]
        return Evaluation(found.metrics | detection(flags, scores), found.arrays | {"labels": flags, "scores": scores})


def detection(flags: Array, scores: Array) -> dict[str, float]:
    """Return how well scores (n,) separate examples with flag 1 from those with 0; nothing where all flags are the same."""
    from sklearn.metrics import average_precision_score, roc_auc_score

    if len(np.unique(flags)) < 2:
        return {}
    return {
        "auc": float(roc_auc_score(flags, scores)),
        "average_precision": float(average_precision_score(flags, scores)),
    }


def anomalies(arrays: dict[str, Array]) -> Figure:
    """Return the scores of ordinary and of labeled windows, and what each threshold would find and wrongly report."""
    from matplotlib.figure import Figure
    from sklearn.metrics import roc_curve

    scores, labels = np.maximum(arrays["scores"], 1e-12), arrays["labels"]
    figure = Figure(figsize=(10, 3.8), layout="constrained")
    left, right = figure.subplots(1, 2)
    bins = np.geomspace(scores.min(), max(scores.max(), 1.01 * scores.min()), 40)
    for label, color, name in ((0, BLUE, "not labeled"), (1, ORANGE, "labeled an anomaly")):
        left.hist(scores[labels == label], bins=bins, color=color, alpha=0.65, label=f"{name}: {(labels == label).sum()}")
    left.set(title="Scores of the test windows", xlabel="reconstruction error", ylabel="windows", xscale="log")
    left.legend(frameon=False, fontsize=9)
    if len(np.unique(labels)) == 2:
        wrong, found, _ = roc_curve(labels, scores)
        right.plot(wrong, found, color=BLUE)
        right.plot([0, 1], [0, 1], color=GRAY, ls="--", lw=1)
        right.set(title="ROC curve over all thresholds", xlabel="ordinary windows reported", ylabel="labeled windows found")
    else:
        right.set_axis_off()
        right.text(0.5, 0.5, "No labeled anomalies among the test windows:\nscores can be drawn, not judged.", ha="center")
    for axes in (left, right):
        axes.grid(alpha=0.25)
    return figure
