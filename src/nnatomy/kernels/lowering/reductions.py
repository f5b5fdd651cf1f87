"""Sums and extreme values along axes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from nnatomy.kernels.lowering import Array, Emitter, Shape, address, lowers
from nnatomy.kernels.lowering.copies import can_copy, emit_copy
from nnatomy.kernels.lowering.pointwise import overlap
from nnatomy.kernels.processor import LANES

PARALLEL = 65_536
"""Elements from which threads pay."""

TALL = 8192
"""Rows that are summed one after another; more are divided, since each addition rounds."""


def _axes(args: Sequence[Any], kwargs: dict[str, Any]) -> tuple[int, ...]:
    x, axis = args[0], args[1] if len(args) > 1 else kwargs.get("axis")
    if axis is None:
        return tuple(range(x.ndim))
    return tuple(sorted(i % x.ndim for i in (axis if isinstance(axis, tuple | list) else (axis,))))


def _kept(args: Sequence[Any], kwargs: dict[str, Any]) -> list[tuple[Shape, Any]]:
    x, axes = args[0], _axes(args, kwargs)
    if kwargs.get("keepdims", False):
        return [(tuple(1 if i in axes else n for i, n in enumerate(x.shape)), x.dtype)]
    return [(tuple(n for i, n in enumerate(x.shape) if i not in axes), x.dtype)]


def _order(args: Sequence[Any], kwargs: dict[str, Any]) -> list[tuple[int, ...] | None]:
    x, axes = args[0], _axes(args, kwargs)
    left = list(range(x.ndim)) if kwargs.get("keepdims", False) else [i for i in range(x.ndim) if i not in axes]
    order = tuple(sorted(range(len(left)), key=lambda i: -abs(x.strides[left[i]])))
    return [None if order == tuple(range(len(left))) else order]


def _reduction(name: str) -> None:
    def emit(emitter: Emitter, outs: Sequence[Array], args: Sequence[Any], kwargs: dict[str, Any]) -> bool:
        x, out = args[0], outs[0]
        if not isinstance(x, np.ndarray) or x.dtype != np.float32 or out.dtype != np.float32 or not x.size:
            return False
        if set(kwargs) - {"axis", "keepdims"} or any(s % 4 for a in (x, out) for s in a.strides) or overlap(x, out):
            return False
        axes = _axes(args, kwargs)
        whole = kwargs.get("keepdims", False)
        left = iter([s for i, s in enumerate(out.strides) if i not in axes] if whole else out.strides)
        return _emit(emitter, name, x, out, [None if i in axes else next(left) // 4 for i in range(x.ndim)])

    lowers(name, outputs=_kept, work=lambda args, kwargs: args[0].size, order=_order)(emit)


def _emit(emitter: Emitter, name: str, x: Array, out: Array, to: Sequence[int | None]) -> bool:
    axes = _merged(x, to)
    kept, gone = [a for a in axes if a[2] is not None], [a for a in axes if a[2] is None]
    if not gone:
        return _as_copy(emitter, x, out)
    inner = axes[-1]
    direct = inner[1] == 1 and all(a[1] > 0 for a in axes)
    if direct and inner[2] is None and len(kept) <= 2 and len(gone) <= 2:
        _rows(emitter, name, x, out, kept, gone)
    elif direct and inner[2] == 1 and len(kept) <= 2 and len(gone) == 1:
        _columns(emitter, name, x, out, kept, gone[0])
    else:  # any other layout: the axes that go come last in a copy
        stay = [i for i in range(x.ndim) if to[i] is not None]
        ordered = x.transpose(*stay, *(i for i in range(x.ndim) if to[i] is None))
        count = math.prod(x.shape[i] for i in stay)
        flat, short = emitter.scratch(x.size), emitter.scratch(count)
        copied = flat.reshape(ordered.shape)
        result = short.reshape([x.shape[i] for i in stay])
        if not can_copy(ordered, copied):
            return False
        emit_copy(emitter, ordered, copied)
        run = x.size // count
        _rows(emitter, name, flat, short, [(count, run, 1)], [(run, 1, None)])
        emit_copy(emitter, result, out.reshape(result.shape) if out.shape != result.shape else out)
    return True


Axis = tuple[int, int, Any]
"""Length, step of x, step of the out or None."""


def _merged(x: Array, to: Sequence[int | None]) -> list[Axis]:
    """The axes of x in the order of its memory, those that can be walked as one merged."""
    axes: list[Axis] = []
    every = sorted(range(x.ndim), key=lambda i: -abs(x.strides[i]))
    for i in every:
        n, step, out_step = x.shape[i], x.strides[i] // 4, to[i]
        if n == 1:
            continue
        if axes and axes[-1][1] == step * n:
            before = axes[-1]
            both_go = before[2] is None and out_step is None
            both_stay = before[2] is not None and out_step is not None and before[2] == out_step * n
            if both_go or both_stay:
                axes[-1] = (before[0] * n, step, out_step)
                continue
        axes.append((n, step, out_step))
    return axes


def _as_copy(emitter: Emitter, x: Array, out: Array) -> bool:
    return emit_copy(emitter, x.reshape(out.shape), out)  # axes of length 1 went: a view


def _two(axes: Sequence[Axis]) -> tuple[Axis, Axis]:
    """At most two axes as exactly two."""
    return (axes[0], axes[1]) if len(axes) == 2 else ((1, 0, 0), axes[0] if axes else (1, 0, 0))


def _rows(emitter: Emitter, name: str, x: Array, out: Array, kept: Sequence[Axis], gone: Sequence[Axis]) -> None:
    keep, keep2 = _two(kept)
    outer, run = _two(gone)
    count, size = keep[0] * keep2[0], keep[0] * keep2[0] * outer[0] * run[0]
    parallel = size > PARALLEL
    parts = emitter.threads if parallel and count < 8 * emitter.threads and count % emitter.threads else 1
    divided = int(outer[0] < 4 * parts)
    target, step = (out, (keep[2], keep2[2])) if parts == 1 else (emitter.scratch(parts * count), (keep2[0], 1))
    arguments = [
        address(target), address(x), keep[0], keep2[0], outer[0], run[0], *step, keep[1], keep2[1], outer[1],
        parts, divided, count,
    ]  # fmt: skip
    emitter.add("reductions", f"{name}_rows", arguments, parallel)
    if parts > 1:
        _add_parts(emitter, name, target, parts, out, keep, keep2)


def _add_parts(emitter: Emitter, name: str, parts: Array, n: int, out: Array, keep: Axis, keep2: Axis) -> None:
    """out = the parts (n, keep, keep2) put together."""
    count = keep[0] * keep2[0]
    for k in range(keep[0] if keep2[2] == 1 or keep2[0] == 1 else count):  # each a run of the out
        width = keep2[0] if keep2[2] == 1 or keep2[0] == 1 else 1
        at = k * keep[2] if width == keep2[0] else k // keep2[0] * keep[2] + k % keep2[0] * keep2[2]
        arguments = [address(out) + 4 * at, address(parts) + 4 * k * width, 1, n, width, 0, 0, count, 1, 0]
        emitter.add("reductions", f"{name}_columns", arguments)


def _columns(emitter: Emitter, name: str, x: Array, out: Array, kept: Sequence[Axis], gone: Axis) -> None:
    keep, row = _two(kept)
    rows, columns = gone[0], row[0]
    panels = keep[0] * ((columns + 4 * LANES - 1) // (4 * LANES))
    parallel = keep[0] * rows * columns > PARALLEL
    divide = parallel and panels < 4 * emitter.threads and panels % emitter.threads and rows >= 64
    parts = max(emitter.threads if divide else 1, (rows + TALL - 1) // TALL)
    count = keep[0] * columns
    target, step = (out, keep[2]) if parts == 1 else (emitter.scratch(parts * count), columns)
    arguments = [address(target), address(x), keep[0], rows, columns, step, keep[1], gone[1], parts, count]
    emitter.add("reductions", f"{name}_columns", arguments, parallel)
    if parts > 1:
        _add_parts(emitter, name, target, parts, out, keep, row)


for _name in ("sum", "max", "min"):
    _reduction(_name)
