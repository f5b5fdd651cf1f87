"""Copies from one layout to another, and what is made of copies: concatenation and stacking."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from nnatomy.kernels.lowering import Array, Emitter, Shape, address, lowers
from nnatomy.kernels.lowering.pointwise import common_axes, evenly, overlap, round_up

BLOCK = 4096
"""Elements of a block."""
TILE = 64
"""Rows and columns of a block that is transposed: its cache lines stay in the first cache."""
PARALLEL = 32_768
"""Elements from which threads pay."""


def can_copy(source: Array, target: Array) -> bool:
    """Return True if `emit_copy` can."""
    if source.shape != target.shape or source.dtype != target.dtype or source.itemsize not in (1, 4, 8):
        return False
    if any(s % x.itemsize for x in (source, target) for s in x.strides) or overlap(source, target):
        return False
    return not any(s == 0 and n > 1 for s, n in zip(target.strides, target.shape))


def emit_copy(emitter: Emitter, source: Array, target: Array) -> bool:
    """Copy `source` to `target`, of one shape and type, any strides; False where they share memory or have odd strides."""
    if not can_copy(source, target):
        return False
    if not source.size:
        return True
    lengths, (to, at) = common_axes(source.shape, [[s // x.itemsize for s in x.strides] for x in (target, source)])
    while len(lengths) < 2:
        lengths.insert(0, 1)
        to.insert(0, 0)
        at.insert(0, 0)
    if 1 in at and at[-1] != 1:  # the source's rows are across the target's: a transposition of these two axes
        across = at.index(1)
        for values in (lengths, to, at):
            values[-1:-1] = [values.pop(across)]
    elif lengths[-1] == 1:
        to[-1] = at[-1] = 1
    *outer, rows, columns = lengths
    if at[-2] == 1 and at[-1] != 1:
        height, width = round_up(evenly(rows, TILE), 16), round_up(evenly(columns, TILE), 16)
    elif columns >= BLOCK:
        height, width = 1, evenly(columns, BLOCK)
    else:
        height, width = evenly(rows, BLOCK // columns), columns
    arguments = [
        address(target), address(source), source.itemsize, rows, columns, height, width, to[-2], to[-1], at[-2], at[-1],
        len(outer), *outer, *to[:-2], *at[:-2],
    ]  # fmt: skip
    emitter.add("copies", "copy", arguments, source.size > PARALLEL)
    return True


def _order_of(x: Array) -> tuple[int, ...]:
    return tuple(sorted(range(x.ndim), key=lambda i: -abs(x.strides[i])))


@lowers("copy", outputs=lambda args, kwargs: [(args[0].shape, args[0].dtype)], work=lambda args, kwargs: args[0].size)
def copy(emitter: Emitter, outs: Sequence[Array], args: Sequence[Any], kwargs: dict[str, Any]) -> bool:
    """out = x."""
    return emit_copy(emitter, args[0], outs[0])


def _joined(args: Sequence[Any], kwargs: dict[str, Any]) -> list[tuple[Shape, Any]]:
    parts, axis = args[0], _axis(args, kwargs)
    shape = list(parts[0].shape)
    shape[axis] = sum(p.shape[axis] for p in parts)
    return [(tuple(shape), np.result_type(*parts))]


def _joined_order(args: Sequence[Any], kwargs: dict[str, Any]) -> list[tuple[int, ...] | None]:
    first = args[0][0]
    return [None if first.flags.c_contiguous else _order_of(first)]


def _total(args: Sequence[Any], kwargs: dict[str, Any]) -> float:
    return float(sum(p.size for p in args[0]))


@lowers("concatenate", outputs=_joined, work=_total, order=_joined_order)
def concatenate(emitter: Emitter, outs: Sequence[Array], args: Sequence[Any], kwargs: dict[str, Any]) -> bool:
    """Arrays one after another along `axis`."""
    parts, axis, out = list(args[0]), _axis(args, kwargs), outs[0]
    if axis is None or set(kwargs) - {"axis"} or not all(isinstance(p, np.ndarray) for p in parts):
        return False
    ends = np.cumsum([p.shape[axis] for p in parts])
    slices = [_along(out, axis, slice(int(end) - p.shape[axis], int(end))) for p, end in zip(parts, ends)]
    return _emit_all(emitter, parts, slices)


def _stacked(args: Sequence[Any], kwargs: dict[str, Any]) -> list[tuple[Shape, Any]]:
    parts = args[0]
    shape = list(parts[0].shape)
    axis = _axis(args, kwargs)
    shape.insert(axis % (len(shape) + 1), len(parts))
    return [(tuple(shape), np.result_type(*parts))]


@lowers("stack", outputs=_stacked, work=_total)
def stack(emitter: Emitter, outs: Sequence[Array], args: Sequence[Any], kwargs: dict[str, Any]) -> bool:
    """Arrays of one shape along a new axis."""
    parts, axis, out = list(args[0]), _axis(args, kwargs), outs[0]
    if axis is None or set(kwargs) - {"axis"} or not all(isinstance(p, np.ndarray) for p in parts):
        return False
    return _emit_all(emitter, parts, [_along(out, axis, i) for i in range(len(parts))])


def _axis(args: Sequence[Any], kwargs: dict[str, Any]) -> int:
    return args[1] if len(args) > 1 else kwargs.get("axis", 0)


def _along(x: Array, axis: int, index: int | slice) -> Array:
    return x[((slice(None),) * (axis % x.ndim)) + (index, ...)]  # with ..., one element is a view too


def _emit_all(emitter: Emitter, sources: Sequence[Array], targets: Sequence[Array]) -> bool:
    if any(not can_copy(s, t) for s, t in zip(sources, targets)):
        return False
    for source, target in zip(sources, targets):
        emit_copy(emitter, source, target)
    return True
