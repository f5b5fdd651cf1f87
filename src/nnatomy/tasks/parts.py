"""Parts of a task: meters of a split, predictions for users, and the values that pictures show of predictions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from nnatomy.data import fields
from nnatomy.showing import Face, Shown
from nnatomy.training.evaluation import Evaluation

if TYPE_CHECKING:
    from nnatomy.tensor import Tensor

Array = np.ndarray[Any, Any]
Batch = tuple[Array, ...]


class Meter(Protocol):
    """Measures a split batch by batch; keeps only the parts that its metrics need."""

    def add(self, outputs: Any, batch: Batch) -> None:
        """Take the decided outputs of a batch, and the batch itself with its targets."""
        ...

    def result(self) -> Evaluation:
        """Return the metrics of all that was added."""
        ...


class Joined:
    """A meter that keeps outputs and targets, for metrics that cannot be summed: an AUC, a coefficient of determination."""

    def __init__(self, measure: Callable[[Array, Array], Evaluation], named: tuple[fields.Field, ...], *roles: Any) -> None:
        self._measure, self._named, self._roles = measure, named, roles or ("target",)
        self._outputs: list[Array] = []
        self._targets: list[Array] = []

    def add(self, outputs: Array, batch: Batch) -> None:
        self._outputs.append(outputs)
        self._targets.append(fields.select(self._named, batch, *self._roles)[0])

    def result(self) -> Evaluation:
        return self._measure(np.concatenate(self._outputs), np.concatenate(self._targets))


@dataclass(frozen=True, repr=False)
class Answer(Shown):
    """A model's prediction, as a user wants it: columns with one value a line, or files."""

    columns: dict[str, Array]
    rows: Array | None = None
    """Which input each line belongs to, counted from 0, where an input has several lines or none; None: one line each."""
    files: dict[str, Callable[[Path], None]] = field(default_factory=dict)
    """Functions that write a file, by the file's name: a mask as PNG, a sound as WAV."""
    file_rows: Mapping[str, int] = field(default_factory=dict)
    """The row of the input, from 0, by the file's name; `runs.answers.named` names the file after that input."""

    def face(self) -> Face:
        lines = list(zip(*self.columns.values(), strict=True))
        files = f"files: {', '.join(self.files)}" if self.files else ""
        return Face(f"{len(lines):,} predictions", ", ".join(self.columns), [tuple(self.columns), *lines], files)


@dataclass(frozen=True)
class Score:
    """A number that an input's parts raise or lower: what saliency explains for one example."""

    of: Callable[[Tensor, Tensor], Tensor]
    """of(outputs, inputs) -> (rows,), from decided outputs and the inputs that they belong to."""
    says: str
    """The predicted and the true value, for a person."""


@dataclass(frozen=True)
class Mistakes:
    """The examples of a split, the worst first."""

    order: Array
    """Numbers of examples by falling error."""
    says: Mapping[int, str]
    """The mistake, by number of example, for the first ones at least."""
    title: str
    note: str
    """The meaning of `says`."""


@dataclass(frozen=True)
class Coloring:
    """Values of examples, for a picture with a point for each: numbers on a scale, or places in `names`."""

    what: str
    """"the true class"."""
    values: Array
    names: tuple[str, ...] = ()
