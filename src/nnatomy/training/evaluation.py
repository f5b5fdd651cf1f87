"""Measurements: metrics with a direction, the result of evaluating, and the loop's view of a task."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Protocol

import numpy as np

from nnatomy.data.dataset import Split
from nnatomy.errors import unknown_name
from nnatomy.layers.module import Module

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Metric:
    """A number that measures a model, and the direction in which it is better."""

    name: str
    better: Literal["higher", "lower"]
    unit: str = ""
    says: str = ""
    """One short phrase for reports: "fraction of examples whose class is predicted"."""

    def improves(self, value: float, than: float | None) -> bool:
        """Return True if `value` is better than `than`; any number improves on None and NaN, and NaN on nothing."""
        if than is None or math.isnan(than):
            return not math.isnan(value)
        return value > than if self.better == "higher" else value < than

    def reaches(self, value: float, goal: float) -> bool:
        """Return True if `value` is as good as `goal` or better."""
        return value >= goal if self.better == "higher" else value <= goal


@dataclass(frozen=True)
class Evaluation:
    """Metrics by name, and what they were computed from: arrays by name, for pictures and tests."""

    metrics: dict[str, float]
    arrays: dict[str, Array] = field(default_factory=dict)


class Measures(Protocol):
    """The loop's view of a task."""

    metrics: ClassVar[tuple[Metric, ...]]
    planned: bool

    def evaluate(self, model: Module, split: Split, batch_size: int = 256, part: str = "test") -> Evaluation:
        """Return the metrics of a model on a split; the same ones each time."""
        ...

    def metric(self, name: str) -> Metric:
        """Return the metric of that name. Raises UserError, with the nearest name, where the task has none."""
        ...


def metric_named(name: str, known: tuple[Metric, ...], losses: Mapping[str, Any], what: str) -> Metric:
    """Return one of a task's metrics, or a loss, which is better where it is lower.

    Raises UserError for another name: a number whose direction is unknown is never minimized by default.
    """
    found = {metric.name: metric for metric in known} | {loss: Metric(loss, "lower") for loss in losses}
    if name not in found:
        raise unknown_name(f"metric of {what}", name, found)
    return found[name]
