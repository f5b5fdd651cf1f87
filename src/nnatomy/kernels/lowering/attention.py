"""Scaled dot-product attention and its gradients."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from nnatomy.kernels.lowering import Array, Emitter, Shape, address, lowers, steps
from nnatomy.kernels.lowering.copies import emit_copy
from nnatomy.kernels.machine import number
from nnatomy.kernels.processor import LANES, ROWS
from nnatomy.kernels.sources.attention_blocks import PANEL, QUERIES, STEP

PARALLEL = 400_000
"""Multiply-adds from which threads pay."""


def _work(q: Any, k: Any, v: Any, *, causal: bool, scale: float) -> int:
    """Multiply-adds of the result: two products over the pairs of a query and a key that it sees."""
    queries, keys = q.shape[-2], k.shape[-2]
    seen = min(queries, keys)
    pairs = seen * (seen + 1) // 2 + (queries - seen) * keys if causal else queries * keys
    return math.prod(q.shape[:-2]) * pairs * (q.shape[-1] + v.shape[-1])


def _order(array: Any) -> tuple[int, ...] | None:
    """(batch, heads, steps, features) is stored as (batch, steps, heads, features), as products before and after it."""
    return (0, 2, 1, 3) if len(array.shape) == 4 else None


def _fits(inputs: Sequence[Array], outs: Sequence[Array], lse: Array) -> bool:
    arrays = (*inputs, *outs)
    if any(a.dtype != np.float32 or not 2 <= a.ndim <= 4 or not a.size or any(s % 4 for s in a.strides) for a in arrays):
        return False
    return lse.dtype == np.float32 and lse.flags.c_contiguous and all(map(_neighbors, outs))


def _neighbors(array: Array) -> bool:
    """Return True if features are neighbors in memory."""
    return array.shape[-1] == 1 or array.strides[-1] == array.itemsize


def _readable(emitter: Emitter, array: Array) -> Array:
    """The array, or a copy of it whose features are neighbors."""
    if _neighbors(array):
        return array
    copied = emitter.scratch(array.size).reshape(array.shape)
    emit_copy(emitter, array, copied)
    return copied


def _heads(array: Array) -> tuple[int, ...]:
    """Steps to the next head on the outer axis, on the inner axis, and to the next row."""
    return (0,) * (4 - array.ndim) + steps(array)[:-1]


def _sizes(q: Array, k: Array, v: Array, causal: bool, scale: float) -> list[int]:
    """Heads (outer, inner), queries, keys, features of q, of v, these as multiples of LANES, causal, scale."""
    outer, inner, queries, features = ((1, 1, *q.shape))[-4:]
    columns = v.shape[-1]
    widths = _up(features, LANES), _up(columns, LANES)
    return [outer, inner, queries, k.shape[-2], features, columns, *widths, int(causal), number(scale)]


def _up(count: int, grain: int) -> int:
    return -(-count // grain) * grain


def _memory(emitter: Emitter, *parts: int) -> list[int]:
    """Scratch memory for each thread: its address, its size for a thread, and where its parts of these sizes start."""
    starts = [0, *itertools.accumulate(_up(part, 16) for part in parts)]
    size = starts.pop()
    return [address(emitter.scratch(size * emitter.threads)), size, *starts]


def _results(args: Sequence[Any], kwargs: dict[str, Any]) -> list[tuple[Shape, Any]]:
    q, _, v = args
    return [((*q.shape[:-1], v.shape[-1]), q.dtype), (q.shape[:-1], q.dtype)]


@lowers(
    "attention",
    outputs=_results,
    work=lambda args, kwargs: 2 * _work(*args, **kwargs),
    order=lambda args, kwargs: [_order(args[0]), None],
)
def _attention(emitter: Emitter, outs: Sequence[Array], args: Sequence[Array], kwargs: dict[str, Any]) -> bool:
    (q, k, v), (y, lse) = args, outs
    if not _fits(args, [y], lse):
        return False
    sizes = _sizes(q, k, v, **kwargs)
    _, _, _, keys, features, _, width, y_width, *_ = sizes
    memory = _memory(
        emitter, QUERIES * width, QUERIES * y_width, QUERIES * STEP, QUERIES, QUERIES, _up(keys, PANEL) * features,
        keys * y_width,
    )  # fmt: skip
    q, k, v = (_readable(emitter, a) for a in args)
    emitter.add("attention", "forward", [
        *map(address, (q, k, v, y, lse)), *memory, *sizes, *(step for a in (q, k, v, y) for step in _heads(a)),
    ], parallel=_work(q, k, v, **kwargs) > PARALLEL)  # fmt: skip
    return True


@lowers(
    "attention_vjp",
    outputs=lambda args, kwargs: [(a.shape, a.dtype) for a in args[1:4]],
    work=lambda args, kwargs: 5 * _work(*args[1:4], **kwargs),
    order=lambda args, kwargs: [_order(a) for a in args[1:4]],
)
def _attention_vjp(emitter: Emitter, outs: Sequence[Array], args: Sequence[Array], kwargs: dict[str, Any]) -> bool:
    g, q, k, v, y, lse = args
    if not _fits([g, q, k, v, y], outs, lse):
        return False
    sizes = _sizes(q, k, v, **kwargs)
    _, _, queries, keys, features, columns, width, y_width, *_ = sizes
    rows, panels = _up(keys, ROWS), _up(keys, PANEL)
    memory = _memory(
        emitter, _up(queries, ROWS) * width, _up(queries, ROWS) * y_width, QUERIES * width, QUERIES * STEP, QUERIES * STEP,
        keys * width, rows * width, rows * y_width, panels * features, panels * columns,
    )  # fmt: skip
    inputs = [_readable(emitter, a) for a in (g, q, k, v, y)]
    emitter.add("attention", "backward", [
        *map(address, (*inputs, lse, *outs)), *memory, *sizes, *(step for a in (*inputs, *outs) for step in _heads(a)),
    ], parallel=_work(q, k, v, **kwargs) > PARALLEL)  # fmt: skip
    return True
