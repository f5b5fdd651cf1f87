"""The JSON files of a run's folder, as types that they are compared with when they are read again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from nnatomy.data.fields import Field
from nnatomy.saved import Count, Natural

Figures = Mapping[str, float | None]
"""Numbers by name; None where one is not finite."""


@dataclass(frozen=True)
class OwnRecord:
    """The names of a user's objects, in place of which the folder has nothing."""

    model: str | None = None
    data: str | None = None
    task: str | None = None
    loss: str | None = None
    optimizer: Mapping[str, Any] | None = None
    fingerprint: str | None = None


@dataclass(frozen=True)
class AverageRecord:
    """What an average was made of."""

    how: str
    runs: tuple[str, ...] = ()
    members: tuple[str, ...] = ()
    """Folders inside this one, of averaged predictions."""


@dataclass(frozen=True)
class RunRecord:
    """run.json."""

    command: str = ""
    request: Mapping[str, Any] | None = None
    """A `Request`; None for averaged predictions."""
    recipe: Mapping[str, Any] = field(default_factory=dict)
    own: OwnRecord = OwnRecord()
    average: AverageRecord | None = None


@dataclass(frozen=True)
class DataRecord:
    """dataset.json: a data set without its examples and its preprocessing."""

    name: str
    kind: str
    task: str
    classes: tuple[str, ...]
    input_shape: tuple[Natural, ...]
    outputs: Natural
    description: str
    fields: tuple[Field, ...]


@dataclass(frozen=True)
class ResultRecord:
    """result.json, as far as it is read again."""

    epochs: Natural
    seconds: float
    metrics: Figures


@dataclass(frozen=True)
class EpochRecord:
    """A line of metrics.jsonl."""

    epoch: Count
    step: int
    lr: float | None
    seconds: float
    train_loss: float | None
    validation: Figures
    best_epoch: int


@dataclass(frozen=True)
class GradientRecord:
    """A line of gradients.jsonl: norms by layer."""

    epoch: Count
    examples: Natural
    gradients: Figures
    weights: Figures


@dataclass(frozen=True)
class LogRecord:
    """log-<name>.json: the id by which a log is continued, and the last epoch that it has."""

    id: str | None = None
    epoch: Natural = 0
