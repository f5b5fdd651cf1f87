"""Layer, RMS and batch norm."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from nnatomy.kernels.lowering import Array, Emitter, Shape, address, lowers
from nnatomy.kernels.lowering.copies import emit_copy
from nnatomy.kernels.machine import number
from nnatomy.kernels.processor import LANES

PARALLEL = 16_384
"""Elements from which threads pay."""


def readable(*arrays: Any) -> bool:
    """Return True if kernels can read them, if need be by a copy: float32 that is not empty, strides in whole elements."""
    return all(
        isinstance(x, np.ndarray) and x.dtype == np.float32 and x.size > 0 and all(s % 4 == 0 for s in x.strides)
        for x in arrays if x is not None
    )  # fmt: skip


def merged(x: Array, axes: Sequence[int] | None = None) -> int | None:
    """The stride, in elements, of these axes (all) taken as one, or None if they are not evenly spaced; 0 for one element."""
    numbers = range(x.ndim) if axes is None else axes
    there = [(x.shape[i], x.strides[i] // x.itemsize) for i in numbers if x.shape[i] > 1]
    if any(s != m * t for (_, s), (m, t) in itertools.pairwise(there)):
        return None
    return there[-1][1] if there else 0


def rows_of(emitter: Emitter, x: Array) -> tuple[Array, int]:
    """x, or a copy of it, such that its last axis is in one piece, and the distance between such rows in elements."""
    step = merged(x, range(x.ndim - 1))
    if step is None or (x.strides[-1] != x.itemsize and x.shape[-1] > 1):
        x = copied(emitter, x, tuple(range(x.ndim)))
        step = x.shape[-1]
    return x, step


def copied(emitter: Emitter, x: Array, order: Sequence[int]) -> Array:
    """A copy of x whose axes are in memory in this order."""
    flat = emitter.scratch(x.size, x.dtype)
    copy = flat.reshape([x.shape[i] for i in order]).transpose([order.index(i) for i in range(x.ndim)])
    emit_copy(emitter, x, copy)
    return copy


def vector(emitter: Emitter, x: Array | None, n: int, default: float) -> int:
    """The address of n numbers in one piece: x, or `default` for each where there is none."""
    if x is None:
        return address(emitter.constant(np.full(n, default, np.float32)))
    return address(x if x.strides[0] == x.itemsize or n == 1 else copied(emitter, x, (0,)))


def work(args: Sequence[Any], kwargs: dict[str, Any]) -> float:
    """A pass or two over the first argument."""
    return 10.0 * args[0].size


# Over the last axis


def _norm_outputs(args: Sequence[Any], kwargs: dict[str, Any]) -> list[tuple[Shape, Any]]:
    x = args[0]
    return [(x.shape, x.dtype), (x.shape[:-1], x.dtype), (x.shape[:-1], x.dtype)]


def _norm_vjp_outputs(args: Sequence[Any], kwargs: dict[str, Any]) -> list[tuple[Shape, Any]]:
    x, weight = args[1], args[2]
    return [(x.shape, x.dtype)] + ([] if weight is None else [(weight.shape, x.dtype)] * 2)


@lowers("layer_norm", outputs=_norm_outputs, work=work)
def layer_norm(emitter: Emitter, outs: Sequence[Array], args: Sequence[Any], kwargs: dict[str, Any]) -> bool:
    """y, mean and rstd of x, weight, bias."""
    x, weight, bias = args
    return _norm(emitter, outs, x, weight, bias, kwargs["eps"])


@lowers("rms_norm", outputs=lambda args, kwargs: _norm_outputs(args, kwargs)[:2], work=work)
def rms_norm(emitter: Emitter, outs: Sequence[Array], args: Sequence[Any], kwargs: dict[str, Any]) -> bool:
    """y and rstd of x, weight."""
    x, weight = args
    return _norm(emitter, outs, x, weight, None, kwargs["eps"])


def _norm(
    emitter: Emitter, outs: Sequence[Array], x: Array, weight: Array | None, bias: Array | None, eps: float
) -> bool:
    if not readable(x, weight, bias) or not _dense(*outs):
        return False
    y, rstd = outs[0], outs[-1]
    mean = outs[1] if len(outs) > 2 else None
    n = x.shape[-1]
    x, step = rows_of(emitter, x)
    arguments = [
        x.size // n, n, address(x), step, address(y), n, 0 if mean is None else address(mean), address(rstd),
        vector(emitter, weight, n, 1.0), vector(emitter, bias, n, 0.0), number(eps), mean is not None,
    ]  # fmt: skip
    emitter.add("normalization", "layer_norm", arguments, x.size > PARALLEL)
    return True


@lowers("layer_norm_vjp", outputs=_norm_vjp_outputs, work=work)
def layer_norm_vjp(emitter: Emitter, outs: Sequence[Array], args: Sequence[Any], kwargs: dict[str, Any]) -> bool:
    """dx, or dx, dweight and dbias, of g, x, weight, mean, rstd."""
    return _norm_vjp(emitter, outs, *args)


@lowers("rms_norm_vjp", outputs=lambda args, kwargs: _norm_vjp_outputs(args, kwargs)[:2], work=work)
def rms_norm_vjp(emitter: Emitter, outs: Sequence[Array], args: Sequence[Any], kwargs: dict[str, Any]) -> bool:
    """dx, or dx and dweight, of g, x, weight, rstd."""
    g, x, weight, rstd = args
    return _norm_vjp(emitter, outs, g, x, weight, None, rstd)


def _norm_vjp(
    emitter: Emitter, outs: Sequence[Array], g: Array, x: Array, weight: Array | None, mean: Array | None, rstd: Array
) -> bool:
    if not readable(g, x, weight, mean, rstd) or not _dense(*outs):
        return False
    n = x.shape[-1]
    rows = x.size // n
    g, g_step = rows_of(emitter, g)
    x, x_step = rows_of(emitter, x)
    means = 0 if mean is None else vector(emitter, _flat(emitter, mean), rows, 0.0)
    rstds = vector(emitter, _flat(emitter, rstd), rows, 0.0)
    parallel = x.size > PARALLEL
    parts = min(emitter.threads if parallel else 1, rows)
    sums = address(emitter.scratch(4 * parts * (-(-n // LANES) * LANES))) if len(outs) > 1 else 0
    arguments = [
        rows, n, address(g), g_step, address(x), x_step, address(outs[0]), n, means, rstds,
        vector(emitter, weight, n, 1.0), mean is not None, sums, parts,
    ]  # fmt: skip
    emitter.add("normalization", "layer_norm_vjp", arguments, parallel)
    if sums:
        dbias = address(outs[2]) if len(outs) > 2 else 0
        emitter.add("normalization", "add_parts", [n, sums, parts, address(outs[1]), dbias])
    return True


def _flat(emitter: Emitter, x: Array) -> Array:
    """x as a vector."""
    step = merged(x)
    if step is None:
        return copied(emitter, x, tuple(range(x.ndim))).reshape(-1)
    return np.lib.stride_tricks.as_strided(x, (x.size,), (step * x.itemsize,))


def _dense(*arrays: Array | None) -> bool:
    return all(x is None or (x.flags.c_contiguous and x.dtype == np.float32) for x in arrays)


# For each channel. In memory an array is (outer, channels, inner), each of several axes or none.


def _memory_order(x: Array) -> tuple[int, ...]:
    order = sorted(range(x.ndim), key=lambda i: -abs(x.strides[i]))
    if x.shape[1] == 1:  # an axis of 1 may have any place; in the first, it makes one long run of all
        order = [1, *(i for i in order if i != 1)]
    return tuple(order)


def _batch_norm_outputs(args: Sequence[Any], kwargs: dict[str, Any]) -> list[tuple[Shape, Any]]:
    x = args[0]
    return [(x.shape, x.dtype), ((x.shape[1],), x.dtype), ((x.shape[1],), x.dtype)]


def _batch_norm_vjp_outputs(args: Sequence[Any], kwargs: dict[str, Any]) -> list[tuple[Shape, Any]]:
    x, weight = args[1], args[2]
    return [(x.shape, x.dtype)] + ([] if weight is None else [((x.shape[1],), x.dtype)] * 2)


class _Channels:
    """A walk channel by channel over arrays of one layout, or copies of them."""

    def __init__(self, emitter: Emitter, like: Array) -> None:
        self.emitter, self.order = emitter, _memory_order(like)
        at = self.order.index(1)
        self.before, self.after = self.order[:at], self.order[at + 1 :]
        self.channels = like.shape[1]
        self.outer = math.prod(like.shape[i] for i in self.before)
        self.inner = math.prod(like.shape[i] for i in self.after)

    def steps(self, x: Array) -> tuple[int, int, int] | None:
        """Strides of outer, channels, inner."""
        outer, inner = merged(x, self.before), merged(x, self.after)
        return None if outer is None or inner is None else (outer, x.strides[1] // x.itemsize, inner)

    @property
    def columns(self) -> bool:
        """True if the channels of a place are side by side."""
        return self.inner == 1 and self.channels > 1

    def fits(self, x: Array) -> bool:
        steps = self.steps(x)
        return steps is not None and (steps[1] == 1 if self.columns else steps[2] == 1 or self.inner == 1)

    def __call__(self, x: Array) -> list[int]:
        """Address and strides for the kernel, of x or of a copy."""
        if not self.fits(x):
            x = copied(self.emitter, x, self.order)
        outer, channel, _ = self.steps(x) or (0, 0, 0)
        return [address(x), outer] if self.columns else [address(x), channel, outer]


@lowers("batch_norm", outputs=_batch_norm_outputs, work=work,
        order=lambda args, kwargs: [_memory_order(args[0]), None, None])  # fmt: skip
def batch_norm(emitter: Emitter, outs: Sequence[Array], args: Sequence[Any], kwargs: dict[str, Any]) -> bool:
    """y, mean and variance of x, weight, bias; y = max(y, 0) with activation="relu"."""
    x, weight, bias = args
    y, mean, variance = outs
    if kwargs.get("activation") not in (None, "relu") or not readable(x, weight, bias) or not _dense(mean, variance):
        return False
    walk = _Channels(emitter, y)
    if not walk.fits(y):
        return False
    c = walk.channels
    rest = [
        address(mean), address(variance), vector(emitter, weight, c, 1.0), vector(emitter, bias, c, 0.0),
        number(kwargs["eps"]), kwargs.get("activation") == "relu",
    ]  # fmt: skip
    if walk.columns:
        arguments, kernel = [walk.outer, c, *walk(x), *walk(y), *rest], "batch_norm_columns"
    else:
        arguments, kernel = [c, walk.outer, walk.inner, *walk(x), *walk(y), *rest], "batch_norm"
    emitter.add("normalization", kernel, arguments, x.size > PARALLEL)
    return True


@lowers("batch_norm_vjp", outputs=_batch_norm_vjp_outputs, work=work,
        order=lambda args, kwargs: [_memory_order(args[1]), None, None][: 1 if args[2] is None else 3])  # fmt: skip
def batch_norm_vjp(emitter: Emitter, outs: Sequence[Array], args: Sequence[Any], kwargs: dict[str, Any]) -> bool:
    """dx, or dx, dweight and dbias, of g, x, weight, mean, variance; with y=, g counts only where y > 0."""
    g, x, weight, mean, variance = args
    dx, y = outs[0], kwargs.get("y")
    if not readable(g, x, weight, mean, variance, y) or not _dense(*outs[1:]):
        return False
    walk = _Channels(emitter, dx)
    if not walk.fits(dx):
        return False
    c = walk.channels
    dweight, dbias = outs[1:] if len(outs) > 1 else (emitter.scratch(c), emitter.scratch(c))
    mask = ([0, 0] if walk.columns else [0, 0, 0]) if y is None else walk(y)
    rest = [
        *mask, vector(emitter, mean, c, 0.0), vector(emitter, variance, c, 0.0), vector(emitter, weight, c, 1.0),
        address(dweight), address(dbias), number(kwargs["eps"]),
    ]  # fmt: skip
    if walk.columns:
        arguments, kernel = [walk.outer, c, *walk(g), *walk(x), *walk(dx), *rest], "batch_norm_columns_vjp"
    else:
        arguments, kernel = [c, walk.outer, walk.inner, *walk(g), *walk(x), *walk(dx), *rest], "batch_norm_vjp"
    emitter.add("normalization", kernel, arguments, x.size > PARALLEL)
    return True
