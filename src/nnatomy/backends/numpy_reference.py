"""The reference backend: every array function in plain NumPy, written to be read as its specification."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy import (  # noqa: F401  (these names are the backend)
    abs, add, all, any, arange, arccos, arcsin, arctan, arctanh, argmax, argmin, argsort, array, asarray, broadcast_to, ceil,
    clip, concatenate, cos, cosh, cumprod, cumsum, divide, einsum, equal, exp, expm1, flip, floor, floor_divide, full,
    greater, greater_equal, isfinite, isinf, isnan, less, less_equal, log, log1p, logaddexp, logical_and, logical_not,
    logical_or, matmul, max, maximum, mean, min, minimum, moveaxis, multiply, negative, nonzero, not_equal, ones, ones_like,
    power, prod, remainder, reshape, round, sign, sin, sinh, sort, sqrt, square, stack, subtract, sum, take_along_axis, tan,
    tanh, transpose, tril, triu, where, zeros, zeros_like,
)  # fmt: skip

Array = Any
name = "numpy"


def sigmoid(x: Array) -> Array:
    """1 / (1 + exp(-x)), without overflow: exp is taken of non-positive numbers only."""
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, 1 / (1 + e), e / (1 + e)).astype(x.dtype, copy=False)


def erf(x: Array) -> Array:
    """The error function, from SciPy."""
    from scipy.special import erf

    return erf(x)


def scatter_add(x: Array, index: Any, values: Array) -> Array:
    """A copy of `x` with `values` added at `index`, repeated positions adding up."""
    out = np.array(x)
    if _is_basic(index):
        out[index] += values
    else:
        np.add.at(out, index, values)
    return out


def index_put(x: Array, index: Any, values: Array) -> Array:
    """A copy of `x` with `values` at `index`."""
    out = np.array(x)
    out[index] = values
    return out


def _is_basic(index: Any) -> bool:
    parts = index if isinstance(index, tuple) else (index,)
    return not np.any([isinstance(p, list | np.ndarray) for p in parts])


def add_rows(shape: tuple[int, ...], rows: Array, values: Array) -> Array:
    """Zeros of `shape` with `values[i]` added to row `rows[i]`: the gradient of an embedding.

    One product with a sparse one-hot matrix, since `np.add.at` takes the rows one by one.
    """
    from scipy.sparse import csr_matrix

    flat = rows.reshape(-1)
    one_hot = csr_matrix((np.ones(flat.size, values.dtype), (flat, np.arange(flat.size))), shape=(shape[0], flat.size))
    return (one_hot @ values.reshape(flat.size, -1)).reshape(shape)


# Convolution. x is (batch, channels, *space), w is (channels out, channels in / groups, *kernel).
# `padding` is a (before, after) pair for each axis of space; the three functions are one another's adjoints.

Pairs = Sequence[tuple[int, int]]


def _windows(x: Array, kernel: Sequence[int], stride: Sequence[int], dilation: Sequence[int], out: Sequence[int]) -> Array:
    """Copies of the inputs that each kernel position meets: (batch, channels, kernel positions, positions out)."""
    positions = list(itertools.product(*map(range, kernel)))
    cols = np.empty((*x.shape[:2], len(positions), *out), x.dtype)
    for k, offset in enumerate(positions):
        cols[:, :, k] = x[(..., *_slices(offset, stride, dilation, out))]
    return cols.reshape(*x.shape[:2], len(positions), math.prod(out))


def _slices(offset: Sequence[int], stride: Sequence[int], dilation: Sequence[int], out: Sequence[int]) -> list[slice]:
    return [slice(o * d, o * d + s * (n - 1) + 1, s) for o, s, d, n in zip(offset, stride, dilation, out, strict=True)]


def _pad(x: Array, padding: Pairs, value: float = 0.0) -> Array:
    if not np.any(padding):
        return x
    return np.pad(x, [(0, 0), (0, 0), *padding], constant_values=value)


def conv_shape(
    space: Sequence[int], kernel: Sequence[int], stride: Sequence[int], padding: Pairs, dilation: Sequence[int]
) -> tuple[int, ...]:
    """floor((n + padding - dilation (kernel - 1) - 1) / stride) + 1, for each axis."""
    axes = zip(space, kernel, stride, padding, dilation, strict=True)
    return tuple((n + p[0] + p[1] - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in axes)


def conv(
    x: Array, w: Array, *, stride: Sequence[int], padding: Pairs, dilation: Sequence[int], groups: int
) -> Array:
    """y[b, o, p] = sum over c, k of w[o, c, k] x[b, c, stride p + dilation k - padding]."""
    kernel = w.shape[2:]
    out = conv_shape(x.shape[2:], kernel, stride, padding, dilation)
    cols = _windows(_pad(x, padding), kernel, stride, dilation, out)
    n, g = len(x), groups
    cols = cols.reshape(n, g, -1, math.prod(out))
    return np.matmul(w.reshape(g, len(w) // g, -1), cols).reshape(n, len(w), *out)


def conv_input(
    g: Array, w: Array, *, space: Sequence[int], stride: Sequence[int], padding: Pairs, dilation: Sequence[int], groups: int
) -> Array:
    """The adjoint of `conv` in x: spreads each g[b, o, p] over the inputs that made it. Also the transposed convolution."""
    kernel, out, n = w.shape[2:], g.shape[2:], len(g)
    wt = w.reshape(groups, len(w) // groups, -1).swapaxes(1, 2)
    cols = np.matmul(wt, g.reshape(n, groups, len(w) // groups, -1)).reshape(n, -1, math.prod(kernel), *out)
    padded = np.zeros((*cols.shape[:2], *(s + p[0] + p[1] for s, p in zip(space, padding, strict=True))), g.dtype)
    for k, offset in enumerate(itertools.product(*map(range, kernel))):
        padded[(..., *_slices(offset, stride, dilation, out))] += cols[:, :, k]
    return padded[(..., *(slice(p[0], p[0] + s) for s, p in zip(space, padding, strict=True)))]


def conv_weight(
    x: Array, g: Array, *, kernel: Sequence[int], stride: Sequence[int], padding: Pairs, dilation: Sequence[int], groups: int
) -> Array:
    """The adjoint of `conv` in w: correlates inputs with output gradients."""
    n, outputs, out = len(x), g.shape[1], g.shape[2:]
    cols = _windows(_pad(x, padding), kernel, stride, dilation, out).reshape(n, groups, -1, math.prod(out))
    gs = g.reshape(n, groups, outputs // groups, -1)
    return np.matmul(gs, cols.swapaxes(2, 3)).sum(axis=0).reshape(outputs, x.shape[1] // groups, *kernel)


# Pooling. Windows as in convolution, each channel by itself.


def max_pool(
    x: Array, *, kernel: Sequence[int], stride: Sequence[int], padding: Pairs, dilation: Sequence[int]
) -> tuple[Array, Array]:
    """The largest value of each window, and the flat kernel position where it stands first."""
    out = conv_shape(x.shape[2:], kernel, stride, padding, dilation)
    padded = _pad(x, padding, -math.inf)
    best: Array = None
    for k, offset in enumerate(itertools.product(*map(range, kernel))):
        here = padded[(..., *_slices(offset, stride, dilation, out))]
        if best is None:
            best, where_best = np.array(here), np.zeros(here.shape, np.int64)
            continue
        better = (here > best) | np.isnan(here)
        where_best[better] = k
        best = np.where(better, here, best)
    return best, where_best


def pool_gather(
    x: Array, position: Array, *, kernel: Sequence[int], stride: Sequence[int], padding: Pairs, dilation: Sequence[int]
) -> Array:
    """The value of each window at the given kernel position."""
    out = position.shape[2:]
    padded = _pad(x, padding)
    y = np.zeros(position.shape, x.dtype)
    for k, offset in enumerate(itertools.product(*map(range, kernel))):
        y = np.where(position == k, padded[(..., *_slices(offset, stride, dilation, out))], y)
    return y


def pool_scatter(
    g: Array, position: Array, *, space: Sequence[int], kernel: Sequence[int], stride: Sequence[int], padding: Pairs,
    dilation: Sequence[int],
) -> Array:  # fmt: skip
    """The adjoint of `pool_gather`: adds each g to the input that its window chose."""
    out = g.shape[2:]
    padded = np.zeros((*g.shape[:2], *(s + p[0] + p[1] for s, p in zip(space, padding, strict=True))), g.dtype)
    for k, offset in enumerate(itertools.product(*map(range, kernel))):
        padded[(..., *_slices(offset, stride, dilation, out))] += np.where(position == k, g, 0)
    return padded[(..., *(slice(p[0], p[0] + s) for s, p in zip(space, padding, strict=True)))]


def sum_pool(x: Array, *, kernel: Sequence[int], stride: Sequence[int], padding: Pairs) -> Array:
    """The sum of each window."""
    once = (1,) * len(kernel)
    out = conv_shape(x.shape[2:], kernel, stride, padding, once)
    padded = _pad(x, padding)
    y = np.zeros((*x.shape[:2], *out), x.dtype)
    for offset in itertools.product(*map(range, kernel)):
        y += padded[(..., *_slices(offset, stride, once, out))]
    return y


def sum_pool_input(
    g: Array, *, space: Sequence[int], kernel: Sequence[int], stride: Sequence[int], padding: Pairs
) -> Array:
    """The adjoint of `sum_pool`: adds each g to every input of its window."""
    once, out = (1,) * len(kernel), g.shape[2:]
    padded = np.zeros((*g.shape[:2], *(s + p[0] + p[1] for s, p in zip(space, padding, strict=True))), g.dtype)
    for offset in itertools.product(*map(range, kernel)):
        padded[(..., *_slices(offset, stride, once, out))] += g
    return padded[(..., *(slice(p[0], p[0] + s) for s, p in zip(space, padding, strict=True)))]


# Random bits: Threefry-2x32 (Salmon et al. 2011), a keyed counter, so that streams are the same on every machine.

_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))


def random_bits(key: tuple[int, int], counter: int, count: int) -> Array:
    """`count` random uint32: the blocks numbered `counter`, `counter` + 1, ... of the stream with this key."""
    blocks = (count + 1) // 2
    numbers = np.arange(counter, counter + blocks, dtype=np.uint64)
    x0, x1 = (numbers >> np.uint64(32)).astype(np.uint32), numbers.astype(np.uint32)
    k0, k1 = np.uint32(key[0]), np.uint32(key[1])
    keys = (k0, k1, k0 ^ k1 ^ np.uint32(0x1BD11BDA))
    scratch = np.empty_like(x1)
    np.add(x0, keys[0], out=x0)
    np.add(x1, keys[1], out=x1)
    for group in range(5):
        for r in _ROTATIONS[group % 2]:  # x0 += x1; x1 = rotate(x1, r) ^ x0
            np.add(x0, x1, out=x0)
            np.left_shift(x1, np.uint32(r), out=scratch)
            np.right_shift(x1, np.uint32(32 - r), out=x1)
            np.bitwise_or(x1, scratch, out=x1)
            np.bitwise_xor(x1, x0, out=x1)
        np.add(x0, keys[(group + 1) % 3], out=x0)
        np.add(x1, np.uint32((int(keys[(group + 2) % 3]) + group + 1) & 0xFFFFFFFF), out=x1)
    return np.stack([x0, x1], axis=1).reshape(-1)[:count]
