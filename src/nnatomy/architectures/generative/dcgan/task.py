"""Generation of images of a class: whether a classifier that never saw the generator finds the requested class in them."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from nnatomy.data import fields
from nnatomy.data.dataset import Dataset
from nnatomy.tasks import Generation
from nnatomy.tasks.baselines import arrays_of
from nnatomy.tasks.parts import Array, Batch, Meter
from nnatomy.tasks.scoring import quietly
from nnatomy.training.evaluation import Evaluation, Metric

ROWS = 5000
"""Training examples that the classifier learns from at most."""


def classifier(dataset: Dataset) -> Any:
    """Return a support vector machine with a Gaussian kernel, fitted to the training examples' flattened pixels."""
    from sklearn.svm import SVC

    x, y = arrays_of(dataset.train, "input", "target", most=ROWS)
    return quietly(SVC(C=5.0).fit, x.reshape(len(x), -1), y)


class LabeledGeneration(Generation):
    """Distances of samples to held-out examples, and how often a classifier sees the class that was requested."""

    metrics: ClassVar[tuple[Metric, ...]] = (
        *Generation.metrics,
        Metric("agreement", "higher", says="fraction of samples in which a classifier sees the requested class"),
    )

    def meter(self) -> Meter:
        return _Agreement(super().meter(), self) if self.dataset.classes else super().meter()

    @property
    def judge(self) -> Any:
        """The classifier, fitted at its first use."""
        if not hasattr(self, "_judge"):
            self._judge = classifier(self.dataset)
        return self._judge


class _Agreement:
    """The metrics of generation, and the fraction of samples that the classifier gives their label."""

    def __init__(self, others: Meter, task: LabeledGeneration) -> None:
        self._others, self._task = others, task
        self._hits, self._count = 0, 0

    def add(self, outputs: Array, batch: Batch) -> None:
        self._others.add(outputs, batch)
        labels = fields.select(self._task.dataset.fields, batch, "target")[0]
        seen = self._task.judge.predict(np.asarray(outputs).reshape(len(labels), -1))
        self._hits += int((seen == labels).sum())
        self._count += len(labels)

    def result(self) -> Evaluation:
        found = self._others.result()
        return Evaluation(found.metrics | {"agreement": self._hits / max(self._count, 1)}, found.arrays)
