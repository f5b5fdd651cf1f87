"""Rows of a table by number: embeddings and their gradients."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from nnatomy.kernels.lowering import Array, Emitter, address, lowers
from nnatomy.kernels.lowering.copies import can_copy, emit_copy
from nnatomy.kernels.lowering.pointwise import overlap

PARALLEL = 65_536
"""Elements from which threads pay."""


def _run(shape: Sequence[int], strides: Sequence[int]) -> bool:
    """Return True if axes of these lengths and strides in bytes are one run of 4-byte elements."""
    step = 4
    for n, s in zip(reversed(shape), reversed(strides)):
        if n != 1 and s != step:
            return False
        step *= n
    return True


def _numbers(emitter: Emitter, rows: Any) -> Array | None:
    """The numbers of the rows in one piece."""
    if rows.flags.c_contiguous:
        return rows
    copied = emitter.scratch(rows.size, np.int64).reshape(rows.shape)
    return copied if emit_copy(emitter, rows, copied) else None


def _is_number(rows: Any) -> bool:
    return isinstance(rows, np.ndarray) and rows.dtype == np.int64 and rows.size > 0 and not any(s % 8 for s in rows.strides)


@lowers(
    "take_rows", outputs=lambda args, kwargs: [((*args[1].shape, *args[0].shape[1:]), args[0].dtype)],
    work=lambda args, kwargs: args[1].size * math.prod(args[0].shape[1:]),
)  # fmt: skip
def take_rows(emitter: Emitter, outs: Sequence[Array], args: Sequence[Any], kwargs: dict[str, Any]) -> bool:
    """weight[rows]; NaN for rows that `weight` has not."""
    (weight, rows), out = args, outs[0]
    if not _is_number(rows) or weight.dtype != np.float32 or out.dtype != np.float32 or not weight.size or kwargs:
        return False
    if not out.flags.c_contiguous or not _run(weight.shape[1:], weight.strides[1:]) or weight.strides[0] % 4:
        return False
    if overlap(out, weight) or overlap(out, rows):
        return False
    numbers = _numbers(emitter, rows)
    if numbers is None:
        return False
    width = math.prod(weight.shape[1:])
    arguments = [address(out), address(weight), address(numbers), len(weight), weight.strides[0] // 4, width, rows.size]
    emitter.add("indexing", "take_rows", arguments, out.size > PARALLEL)
    return True


@lowers(
    "add_rows", outputs=lambda args, kwargs: [(tuple(args[0]), args[2].dtype)],
    work=lambda args, kwargs: args[2].size + math.prod(args[0]),
)  # fmt: skip
def add_rows(emitter: Emitter, outs: Sequence[Array], args: Sequence[Any], kwargs: dict[str, Any]) -> bool:
    """Zeros of `shape` with `values[i]` added to row `rows[i]`; rows that it has not are left out."""
    (shape, rows, values), out = args, outs[0]
    if not _is_number(rows) or values.dtype != np.float32 or out.dtype != np.float32 or not out.size or kwargs:
        return False
    if values.shape != (*rows.shape, *shape[1:]) or not out.flags.c_contiguous or overlap(out, values) or overlap(out, rows):
        return False
    width = math.prod(shape[1:])
    step = width
    if not values.flags.c_contiguous:
        if rows.ndim == 1 and _run(values.shape[1:], values.strides[1:]) and values.strides[0] % 4 == 0:
            step = values.strides[0] // 4
        else:
            copied = emitter.scratch(values.size).reshape(values.shape)
            if not can_copy(values, copied):
                return False
            emit_copy(emitter, values, copied)
            values = copied
    numbers = _numbers(emitter, rows)
    if numbers is None:
        return False
    arguments = [address(out), address(values), address(numbers), shape[0], width, step, rows.size]
    emitter.add("indexing", "add_rows", arguments, values.size + out.size > PARALLEL)
    return True
