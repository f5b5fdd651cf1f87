"""Writing into a part of an array that slices name: the gradient of slicing, padding, assignment."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from nnatomy.kernels.lowering import Array, Emitter, Shape, find, lowers
from nnatomy.kernels.lowering.copies import can_copy, emit_copy


def _like_first(args: Sequence[Any], kwargs: dict[str, Any]) -> list[tuple[Shape, Any]]:
    return [(args[0].shape, args[0].dtype)]


def _size(args: Sequence[Any], kwargs: dict[str, Any]) -> float:
    return float(np.prod(args[0].shape))


def _plain(index: Any) -> bool:
    """Return True if an index names its part by slices and integers alone, each element once."""
    parts = index if isinstance(index, tuple) else (index,)
    return all(p is Ellipsis or isinstance(p, slice | int | np.integer) for p in parts)


def _part(out: Array, index: Any, values: Any) -> Array | None:
    """The view of `out` that is written, if `values` can be; None if not."""
    if not _plain(index) or not isinstance(values, np.ndarray) or out.dtype != np.float32 or values.dtype != np.float32:
        return None
    part = np.asarray(out[index])
    return part if part.size and np.broadcast_shapes(values.shape, part.shape) == part.shape else None


@lowers("scatter_add", outputs=_like_first, work=_size)
def scatter_add(emitter: Emitter, outs: Sequence[Array], args: Sequence[Any], kwargs: dict[str, Any]) -> bool:
    """out = x, with `values` added to the part that the index names."""
    x, index, values = args
    part = _part(outs[0], index, values)
    pointwise = find("pointwise")
    if part is None or pointwise is None or not isinstance(x, np.ndarray) or not can_copy(x, outs[0]):
        return False
    emit_copy(emitter, x, outs[0])
    code = {"code": [("add", ("in", 0), ("in", 1))], "results": [("tmp", 0)]}
    if pointwise.emit(emitter, [part], [part, np.broadcast_to(values, part.shape)], code):
        return True
    raise AssertionError("pointwise addition takes any strides")


@lowers("index_put", outputs=_like_first, work=_size)
def index_put(emitter: Emitter, outs: Sequence[Array], args: Sequence[Any], kwargs: dict[str, Any]) -> bool:
    """out = x, with `values` in the part that the index names."""
    x, index, values = args
    part = _part(outs[0], index, values)
    if part is None or not isinstance(x, np.ndarray) or not can_copy(x, outs[0]):
        return False
    given = np.broadcast_to(values, part.shape)
    return can_copy(given, part) and emit_copy(emitter, x, outs[0]) and emit_copy(emitter, given, part)
