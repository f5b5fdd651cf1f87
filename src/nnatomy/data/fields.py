"""The fields of a batch. Only this file knows which arrays are inputs, which are targets and which may be padded."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from nnatomy.errors import UserError

__all__ = [
    "DEFAULT", "IGNORE", "Field", "count", "joined", "named", "pad_rows", "parts", "per_row", "ragged", "require_rows",
    "round_lengths", "select", "spare", "take", "where",
]  # fmt: skip

Array = npt.NDArray[Any]
Role = Literal["input", "given", "target", "weight"]
IGNORE = 255
"""The number of a mask's pixels that belong to no class: no loss and no metric counts them."""


@dataclass(frozen=True)
class Field:
    """One array of a batch: what it is for, what one entry of its first axis is, and how it may be padded."""

    name: str
    role: Role = "input"
    """"given" is an input in training that prediction does not have, such as the words that a decoder is forced to follow.
    "weight", the last field, is each example's weight in the loss: models and losses do not get it."""
    per: Literal["example", "node", "edge", "whole"] = "example"
    """The meaning of one entry of the first axis; "whole": the array belongs to the batch as a whole."""
    ragged: int | None = None
    """The axis along which examples differ in length; None where all are alike. 0 for the nodes and edges of many graphs."""
    fill: float | int | None = 0
    """The value that pads the ragged axis; None repeats the last entry."""
    points_to: str | None = None
    """The field whose rows these integers number, such as the nodes that an edge joins; they follow these rows."""
    like: Literal["", "image", "mask", "boxes", "tokens"] = ""
    """The form that an augmentation may know."""


DEFAULT = (Field("inputs"), Field("targets", role="target"))
"""The fields of a split that names none: inputs, targets."""


def named(arrays: int) -> tuple[Field, ...]:
    """Return default fields for a batch of so many arrays: inputs, and the targets last."""
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
    return any(field.ragged is not None for field in fields)


def count(fields: tuple[Field, ...], batch: tuple[Any, ...]) -> int:
    """Return the number of examples in a batch: the rows of the first field with one entry an example; 1 where none has."""
    return next((len(array) for field, array in zip(fields, batch) if field.per == "example"), 1)


def pad_rows(fields: tuple[Field, ...], batch: tuple[Array, ...], rows: int) -> tuple[tuple[Array, ...], Array]:
    """Return a batch padded to `rows` examples with copies of its examples, and booleans (rows,) that mark the real examples.

    Arrays with one entry a node or an edge stay as they are: a copy of a graph is an example without nodes.
    Raises UserError for a batch without arrays that have one entry an example.
    """
    examples = count(fields, batch)
    if examples == rows:
        return batch, np.ones(rows, bool)
    if all(field.per != "example" for field in fields):
        require_rows(fields, "padded")
    filled = np.arange(rows) % examples
    padded = (array[filled] if field.per == "example" else array for field, array in zip(fields, batch))
    return tuple(padded), np.arange(rows) < examples


def spare(fields: tuple[Field, ...]) -> int:
    """Return how many examples more than its own a padded batch needs: 1 where the nodes that pad it belong to an example."""
    examples = {field.name for field in fields if field.per == "example"}
    return int(any(field.per == "node" and field.points_to in examples for field in fields))


def round_lengths(fields: tuple[Field, ...], batch: tuple[Array, ...], to: Callable[[int], int]) -> tuple[Array, ...]:
    """Return a batch whose ragged axes have the length `to(length)`, padded with each field's `fill`.

    There is at least one node more than before, and what points to rows points to the first that pads: the edges that pad a
    batch join a node that pads it, and this node belongs to an example that pads it (see `spare`).
    """
    rows = {field.name: len(array) for field, array in zip(fields, batch)}
    return tuple(_lengthened(field, array, to, rows) for field, array in zip(fields, batch))


def _lengthened(field: Field, array: Array, to: Callable[[int], int], rows: dict[str, int]) -> Array:
    if field.ragged is None:
        return array
    if not 0 <= field.ragged < array.ndim:
        raise UserError(
            f"A ragged field has lengths along one of its axes. Received axis {field.ragged} for {field.name!r} of shape "
            f"{array.shape}. Correct its description."
        )
    length = array.shape[field.ragged]
    more = to(length + (field.per == "node")) - length
    if more <= 0:
        return array
    width = [(0, more if axis == field.ragged else 0) for axis in range(array.ndim)]
    if field.fill is None:
        return np.pad(array, width, mode="edge")
    return np.pad(array, width, constant_values=field.fill if field.points_to is None else rows[field.points_to])


def take(fields: tuple[Field, ...], batch: tuple[Array, ...], indices: Array) -> tuple[Array, ...]:
    """Return some examples of a batch, in the order of `indices`; one may come several times.

    Nodes that belong to examples come with them, and edges with their nodes, renumbered; other nodes and edges stay.
    """
    arrays = dict(zip((field.name for field in fields), batch))
    examples = [field.name for field in fields if field.per == "example"]
    owner = next((arrays[f.name] for f in fields if f.per == "node" and f.points_to in examples and f.name in arrays), None)
    if owner is None:
        return tuple(array[indices] if field.per == "example" else array for field, array in zip(fields, batch))
    indices = np.arange(len(arrays[examples[0]]))[indices]
    nodes, sizes, rank = _members(owner, indices, len(arrays[examples[0]]))
    offsets = np.cumsum(sizes) - sizes  # of each chosen example's nodes
    ends = next((arrays[f.name] for f in fields if f.per == "edge" and f.points_to), np.zeros((0, 2), np.int64))
    edges, counts, _ = _members(owner[ends[:, 0]], indices, len(arrays[examples[0]]))
    found = []
    for field, array in zip(fields, batch):
        if field.per == "example":
            found.append(array[indices])
        elif field.per == "node":
            chosen = array[nodes] if field.points_to is None else np.repeat(np.arange(len(indices)), sizes)
            found.append(chosen.astype(array.dtype))
        elif field.per == "edge":
            chosen = array[edges] if field.points_to is None else rank[array[edges]] + np.repeat(offsets, counts)[:, None]
            found.append(chosen.astype(array.dtype))
        else:
            found.append(array)
    return tuple(found)


def _members(owner: Array, indices: Array, owners: int) -> tuple[Array, Array, Array]:
    """The rows of each chosen owner in turn, how many each has, and the place of every row among those of its owner."""
    order, sizes = np.argsort(owner, kind="stable"), np.bincount(owner, minlength=owners)
    starts = np.cumsum(sizes) - sizes
    rank = np.empty(len(owner), np.int64)
    rank[order] = np.arange(len(owner)) - np.repeat(starts, sizes)
    chosen = sizes[indices]
    places = np.arange(chosen.sum()) + np.repeat(starts[indices] - (np.cumsum(chosen) - chosen), chosen)
    return order[places], chosen, rank


def joined(fields: tuple[Field, ...], batches: Sequence[tuple[Array, ...]]) -> tuple[Array, ...]:
    """Return several batches as one, with what points to rows shifted by the rows before them. Ragged axes must be alike."""
    arrays = dict(zip((field.name for field in fields), zip(*batches)))
    found = []
    for field in fields[: len(arrays)]:
        parts = list(arrays[field.name])
        if field.per == "whole":
            found.append(parts[0])
            continue
        if field.points_to is not None:
            rows = [len(part) for part in arrays[field.points_to]]
            parts = [part + shift for part, shift in zip(parts, np.cumsum(rows) - rows)]
        found.append(np.concatenate(parts))
    return tuple(found)


def parts(fields: tuple[Field, ...], batch: tuple[Any, ...], n: int) -> Iterator[tuple[Any, ...]]:
    """Yield at most `n` parts of a batch; part k has every n-th example from the k-th on.

    Parts differ by one example at most, those of a padded batch as well, and where rows are spread over devices each device
    has its fraction of every part. Raises UserError for a batch whose arrays do not all have one entry an example.
    """
    if n == 1:
        yield batch
        return
    require_rows(fields, "cut into parts")
    for k in range(min(n, count(fields, batch))):
        yield tuple(array[k::n] for array in batch)


def require_rows(fields: tuple[Field, ...], what: str) -> None:
    """Raises UserError where not all arrays have one entry an example, so that rows are not examples; `what` is not done."""
    other = next((field for field in fields if field.per != "example"), None)
    if other is not None:
        raise UserError(
            f"A batch is {what} by examples. Received the field {other.name!r}, which has one entry for each {other.per}. "
            "Use --batch-size, or leave out --accumulate and --devices."
        )
