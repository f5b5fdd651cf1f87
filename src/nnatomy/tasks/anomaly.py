"""Anomalies: windows that a model of ordinary data reconstructs badly."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from nnatomy.data import fields
from nnatomy.tasks.reconstruction import Reconstruction
from nnatomy.tasks.task import Array, Batch, Joined, Meter
from nnatomy.training.evaluation import Evaluation, Metric


class Anomaly(Reconstruction):
    """The error of each window as its anomaly score; AUC where the data set labels the test windows."""

    name = "anomaly"
    needs_targets = True
    metrics: ClassVar[tuple[Metric, ...]] = (
        Metric("auc", "higher", says="chance that a labeled anomaly scores above an ordinary window"),
        Metric("average_precision", "higher", says="area under the precision-recall curve"),
        *Reconstruction.metrics,
    )

    def meter(self) -> Meter:
        return _Scores(self)


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
