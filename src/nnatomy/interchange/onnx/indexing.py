"""Reading and writing chosen elements in ONNX: NumPy's indices as Slice, Gather, GatherND, ScatterND and Pad."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nnatomy.errors import UserError
from nnatomy.interchange.onnx.batch import Follows, Repeated, Size, Value
from nnatomy.interchange.onnx.graph import Graph, Operand

BEYOND = np.iinfo(np.int64).max


def take_rows(g: Graph, out: Value, a: Value, rows: Value) -> str:
    return g.node("Gather", g.operand(a, out.dtype), g.operand(rows, np.int64), axis=0)


@dataclass
class _Part:
    """The effect of an index on one axis of the array, or where it makes a new one (axis None)."""

    axis: int | None
    index: Any  # a slice, a whole number, an array; None for a new axis


def _parts(index: Any, ndim: int) -> list[_Part]:
    """The index written out for every axis, truth values converted to the places where they hold."""
    given = list(index) if isinstance(index, tuple) else [index]
    expanded: list[Any] = []
    for part in given:
        if np.dtype(getattr(part, "dtype", np.int64)).kind == "b":
            if not isinstance(part, np.ndarray):
                raise UserError(
                    "Export to ONNX needs to know how many elements are picked. Received a mask, which says so only when the "
                    "model runs. Use where() in its place."
                )
            expanded += list(np.nonzero(part))
        else:
            expanded.append(part)
    used = sum(part is not None and part is not Ellipsis for part in expanded)
    where = next((i for i, part in enumerate(expanded) if part is Ellipsis), len(expanded))
    expanded[where : where + 1] = [slice(None)] * (ndim - used)
    parts, axis = [], 0
    for part in expanded:
        parts.append(_Part(None if part is None else axis, part))
        axis += part is not None
    return parts


def getitem(g: Graph, out: Value, a: Value, index: Any) -> str:
    parts = _parts(index, a.ndim)
    name = _sliced(g, g.operand(a, out.dtype), [p for p in parts if isinstance(p.index, slice)])
    chosen = [p for p in parts if p.axis is not None and not isinstance(p.index, slice)]
    arrays = [p for p in chosen if not isinstance(p.index, int | Follows)]
    if len(chosen) > 1 and arrays:
        return _gathered(g, out, name, a.ndim, parts, chosen)
    for part in reversed(chosen):
        name = g.node("Gather", name, g.operand(part.index, np.int64), axis=part.axis)
    new, place = [], 0
    for part in parts:
        new += [place] if part.index is None else []
        place += part.index.ndim if part in arrays else not isinstance(part.index, int | Follows)
    return g.node("Unsqueeze", name, g.ints(*new)) if new else name


def _sliced(g: Graph, name: str, parts: Sequence[_Part]) -> str:
    """One Slice for all axes of which less than everything is taken."""
    parts = [p for p in parts if p.index != slice(None)]
    if not parts:
        return name
    steps = [p.index.step or 1 for p in parts]
    starts = [s.index.start if s.index.start is not None else 0 if step > 0 else BEYOND for s, step in zip(parts, steps)]
    stops = [s.index.stop if s.index.stop is not None else BEYOND if step > 0 else -BEYOND for s, step in zip(parts, steps)]
    axes = g.ints(*(p.axis for p in parts if p.axis is not None))
    return g.node("Slice", name, g.sizes(starts), g.sizes(stops), axes, *([g.ints(*steps)] if set(steps) != {1} else []))


def _gathered(g: Graph, out: Value, name: str, ndim: int, parts: Sequence[_Part], chosen: Sequence[_Part]) -> str:
    """Several axes read at places that go together: these axes first, GatherND, and the places' axes put where NumPy does."""
    axes = [p.axis for p in chosen if p.axis is not None]
    rest = [i for i in range(ndim) if i not in axes]
    places = max(p.index.ndim for p in chosen if not isinstance(p.index, int | Follows))
    order = [i for i, p in enumerate(parts) if p in chosen]
    together = order == list(range(order[0], order[0] + len(order)))
    first = sum(1 for p in parts[: order[0]]) if together else 0  # slices and new axes before them stay before them
    if any(p.index is None for p in parts):
        raise UserError(
            "Export to ONNX takes several arrays as an index, or a new axis. Received both. Index first, then expand_dims()."
        )
    if axes + rest != list(range(ndim)):
        name = g.node("Transpose", name, perm=axes + rest)
    name = g.node("GatherND", name, _places(g, [p.index for p in chosen], out.shape[first : first + places]))
    if first:
        back = [*range(places, places + first), *range(places), *range(places + first, out.ndim)]
        name = g.node("Transpose", name, perm=back)
    return name


def _places(g: Graph, indices: Sequence[Any], shape: Sequence[Any]) -> str:
    """The indices of several axes side by side on a new last axis, all in one shape."""
    if all(isinstance(i, np.ndarray | int) for i in indices):
        return g.constant(np.stack(np.broadcast_arrays(*indices), axis=-1).astype(np.int64))
    sizes = g.sizes(shape)
    wide = [g.node("Expand", g.operand(i, np.int64), sizes) for i in indices]
    return g.node("Concat", *(g.node("Unsqueeze", w, g.ints(-1)) for w in wide), axis=-1)


# Writing


def index_put(g: Graph, out: Value, x: Any, index: Any, values: Operand) -> str:
    parts, around = _parts(index, out.ndim), _uniform(x)
    widths = [_widths(part.index, size) for part, size in zip(parts, out.shape)]
    if around is not None and isinstance(values, Value) and values.ndim == out.ndim and None not in widths:
        pads = [w[0] for w in widths if w] + [w[1] for w in widths if w]
        return g.node("Pad", g.operand(values, out.dtype), g.ints(*pads), g.constant(around, out.dtype))
    return _scattered(g, out, x, parts, values, "none")


def _widths(part: Any, size: Size) -> tuple[int, int] | None:
    """Return the lengths before and after a slice on an axis; None where the index is not such a slice."""
    if not isinstance(part, slice) or part.step not in (None, 1):
        return None
    start, stop = part.start or 0, size if part.stop is None else part.stop
    if stop == size and start == 0:
        return 0, 0
    if isinstance(start, int) and isinstance(stop, int) and isinstance(size, int):
        return start, size - stop
    return None


def scatter_add(g: Graph, out: Value, x: Any, index: Any, values: Operand) -> str:
    return _scattered(g, out, x, _parts(index, out.ndim), values, "add")


def add_rows(g: Graph, out: Value, shape: Any, rows: Operand, values: Any) -> str:
    places = g.node("Reshape", g.operand(rows, np.int64), g.ints(-1, 1))
    zeros = g.node("Expand", g.constant(0, out.dtype), g.sizes(out.shape))
    flat = g.node("Reshape", g.operand(values, out.dtype), g.ints(-1, *out.shape[1:]))  # type: ignore[arg-type]
    return g.node("ScatterND", zeros, places, flat, reduction="add")


def max_rows(g: Graph, out: Value, shape: Any, rows: Operand, values: Any) -> str:
    """The largest in each row; rows that have none keep -infinity until the end, where they become 0."""
    lowest = g.constant(-np.inf, out.dtype)
    places = g.node("Reshape", g.operand(rows, np.int64), g.ints(-1, 1))
    empty = g.node("Expand", lowest, g.sizes(out.shape))
    found = g.node("ScatterND", empty, places, g.operand(values, out.dtype), reduction="max")
    return g.node("Where", g.node("Equal", found, lowest), g.constant(0, out.dtype), found)


def _uniform(x: Any) -> Any:
    """The number that a constant holds everywhere, None where it is another array."""
    base = x.base if isinstance(x, Repeated) and x.axis is None else x
    if isinstance(base, np.ndarray) and base.size and (base == base.flat[0]).all():
        return base.flat[0]
    return None


def _scattered(g: Graph, out: Value, x: Any, parts: Sequence[_Part], values: Any, reduction: str) -> str:
    """ScatterND over the places of the axes that do not follow the batch, which comes last meanwhile."""
    follows = [i for i, n in enumerate(out.shape) if isinstance(n, Follows)]
    fixed = [i for i in range(out.ndim) if i not in follows]
    if any(p.index != slice(None) for p in parts if p.axis in follows) or not all(
        isinstance(p.index, slice | int | np.ndarray) for p in parts
    ):
        raise UserError(
            "Export to ONNX writes at places that are known beforehand and the same for each example. Received others. "
            "Use where() instead."
        )
    shape = [int(n) for n in out.shape if isinstance(n, int)]
    numbers = np.arange(int(np.prod(shape, dtype=np.int64))).reshape(shape)
    index = tuple(p.index for p in parts if p.axis not in follows)
    places = numbers[index]
    if follows and follows != [0]:
        raise UserError(
            "Export to ONNX writes into arrays whose first axis is the batch. Received another. "
            "Move that axis with transpose()."
        )
    name = g.operand(x, out.dtype)
    given = g.operand(values, out.dtype)
    lead: list[Any] = [out.shape[i] for i in follows]
    if follows:
        name = g.node("Transpose", name, perm=fixed + follows)
        wide = g.node("Expand", given, g.sizes([*lead, *places.shape]))
        given = g.node("Transpose", wide, perm=[*range(1, places.ndim + 1), 0])
    else:
        given = g.node("Expand", given, g.sizes(places.shape))
    flat = g.reshaped(name, (numbers.size, *lead))
    updates = g.reshaped(given, (places.size, *lead))
    flat = g.node("ScatterND", flat, g.constant(places.reshape(-1, 1)), updates, reduction=reduction)
    back = g.reshaped(flat, (*shape, *lead))
    return g.node("Transpose", back, perm=[len(fixed), *range(len(fixed))]) if follows else back
