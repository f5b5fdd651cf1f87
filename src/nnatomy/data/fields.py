"""The fields of a batch. Only this file knows which arrays are inputs, which are targets and which may be padded."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from nnatomy.errors import UserError

__all__ = ["DEFAULT", "Field", "count", "named", "pad_rows", "parts", "per_row", "ragged", "round_lengths", "select", "where"]

Array = npt.NDArray[Any]
Role = Literal["input", "given", "target"]


@dataclass(frozen=True)
class Field:
    """One array of a batch: what it is for, what one entry of its first axis is, and how it may be padded."""

    name: str
    role: Role = "input"
    """"given" is an input in training that prediction does not have, such as the words that a decoder is forced to follow."""
    per: Literal["example", "node", "edge", "whole"] = "example"
    """The meaning of one entry of the first axis; "whole": the array belongs to the batch as a whole."""
    ragged: int | None = None
    """The axis along which examples differ in length; None where all are alike."""
    fill: float | int | None = 0
    """The value that pads the ragged axis; None repeats the last entry."""
    like: Literal["", "image", "mask", "boxes", "tokens"] = ""
    """The form that an augmentation may know."""


DEFAULT = (Field("inputs"), Field("targets", role="target"))
"""The fields of a split that names none: inputs, targets."""


def named(arrays: int) -> tuple[Field, ...]:
    """Return the fields of a batch of so many arrays that nothing is known of: inputs, and the targets last."""
    return (*(Field(f"inputs{i or ''}") for i in range(arrays - 1)), DEFAULT[-1])


def select(fields: tuple[Field, ...], batch: tuple[Any, ...], *roles: Role) -> tuple[Any, ...]:
    """Return the arrays of a batch whose fields have one of `roles`, in order; a batch may end before the last fields."""
    return tuple(array for field, array in zip(fields, batch) if field.role in roles)


def where(fields: tuple[Field, ...], *roles: Role) -> list[int]:
    """Return the positions in a batch of the fields that have one of `roles`."""
    return [i for i, field in enumerate(fields) if field.role in roles]


def per_row(fields: tuple[Field, ...]) -> bool:
    """Return True if every array has one entry an example on its first axis, so that rows can be padded, cut and counted."""
    return all(field.per == "example" for field in fields)


def ragged(fields: tuple[Field, ...]) -> bool:
    """Return True if batches of equally many examples may differ in shape."""
    return any(field.ragged is not None for field in fields) or not per_row(fields)


def count(fields: tuple[Field, ...], batch: tuple[Any, ...]) -> int:
    """Return the number of examples in a batch: the rows of the first field with one entry an example; 1 where none has."""
    return next((len(array) for field, array in zip(fields, batch) if field.per == "example"), 1)


def pad_rows(fields: tuple[Field, ...], batch: tuple[Array, ...], rows: int) -> tuple[tuple[Array, ...], Array]:
    """Return a batch padded to `rows` examples with copies of its examples, and booleans (rows,) that mark the real examples.

    Raises UserError for a batch whose arrays do not all have one entry an example: copies of a graph's nodes are not examples.
    """
    examples = count(fields, batch)
    if examples == rows:
        return batch, np.ones(rows, bool)
    _refuse_others(fields, "padded")
    filled = np.arange(rows) % examples
    return tuple(array[filled] for array in batch), np.arange(rows) < examples


def round_lengths(fields: tuple[Field, ...], batch: tuple[Array, ...], to: Callable[[int], int]) -> tuple[Array, ...]:
    """Return a batch whose ragged axes have the length `to(length)`, padded with each field's `fill`."""
    return tuple(_lengthened(field, array, to) for field, array in zip(fields, batch))


def _lengthened(field: Field, array: Array, to: Callable[[int], int]) -> Array:
    if field.ragged is None:
        return array
    more = to(array.shape[field.ragged]) - array.shape[field.ragged]
    if more <= 0:
        return array
    width = [(0, more if axis == field.ragged else 0) for axis in range(array.ndim)]
    if field.fill is None:
        return np.pad(array, width, mode="edge")
    return np.pad(array, width, constant_values=field.fill)


def parts(fields: tuple[Field, ...], batch: tuple[Any, ...], n: int) -> Iterator[tuple[Any, ...]]:
    """Yield at most `n` parts of a batch; part k has every n-th example from the k-th on.

    Parts differ by one example at most, those of a padded batch as well, and where rows are spread over devices each device
    has its fraction of every part. Raises UserError for a batch whose arrays do not all have one entry an example.
    """
    if n == 1:
        yield batch
        return
    _refuse_others(fields, "cut into parts")
    for k in range(min(n, count(fields, batch))):
        yield tuple(array[k::n] for array in batch)


def _refuse_others(fields: tuple[Field, ...], what: str) -> None:
    other = next((field for field in fields if field.per != "example"), None)
    if other is not None:
        raise UserError(
            f"A batch is {what} by examples. Received the field {other.name!r}, which has one entry for each {other.per}. "
            "Use --batch-size, or leave out --accumulate and --devices."
        )
