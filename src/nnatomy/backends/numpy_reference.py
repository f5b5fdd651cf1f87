"""The reference backend: every array function in plain NumPy, written to be read as its specification."""

# ruff: noqa: I001  (names packed, not one a line)

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy import (  # noqa: F401  (these names are the backend; interface.py lists them)
    abs, all, any, arange, arccos, arcsin, arctan, arctan2, arctanh, argmax, argmin, argsort, array, asarray, bitwise_and,
    bitwise_not, bitwise_or, bitwise_xor, broadcast_to, left_shift, right_shift,
    ceil, clip, concatenate, cos, cosh, cumprod, cumsum, divide, einsum, equal, exp, expm1, flip, floor, floor_divide, full,
    greater, greater_equal, isfinite, isinf, isnan, less, less_equal, log, log10, log1p, log2, logaddexp, logical_and,
    logical_not,
    logical_or, logical_xor, matmul, maximum, minimum, moveaxis, nonzero, not_equal, ones, ones_like, remainder, round, sign,
    sin, sinh, sqrt, square, stack, tan, tanh, tril, triu, trunc, where, zeros, zeros_like,
)  # fmt: skip

from numpy.linalg import det, eigh, qr, slogdet, svd  # noqa: F401

from nnatomy.kernels.shapes import conv_shape as conv_shape
from nnatomy.backends.factorizations import cholesky, inv, solve  # noqa: F401
from nnatomy.backends.recurrent_reference import (  # noqa: F401
    gru_scan, gru_scan_vjp, lstm_scan, lstm_scan_vjp, rnn_scan, rnn_scan_vjp,
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


def qr_r(a: Array) -> Array:
    """R (min(m, n), n) of a = Q R for a (m, n), by Householder's reflections; rows are negated where R_ii < 0."""
    r = np.linalg.qr(a, mode="r")
    return r * np.where(np.diagonal(r) < 0, -1, 1).astype(a.dtype)[:, None]


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
    return (one_hot @ values.reshape(flat.size, math.prod(shape[1:]))).reshape(shape)


def max_rows(shape: tuple[int, ...], rows: Array, values: Array) -> Array:
    """The largest of the `values[i]` with row `rows[i]`, in each row of `shape`; 0 in a row that has none."""
    out = np.full(shape, -np.inf, values.dtype)
    np.maximum.at(out, rows, values)
    out[np.bincount(rows, minlength=shape[0]) == 0] = 0
    return out


# Convolution and pooling. x is (batch, channels, *space), w is (channels out, channels in / groups, *kernel).
# `padding` is a (before, after) pair for each axis of space. conv, conv_input and conv_weight are each other's adjoints.
# Inside, the batch is the last axis, so that a window's elements are next to each other for all examples; results are
# views that put it first again.

Pairs = Sequence[tuple[int, int]]


def _batch_last(x: Array) -> Array:
    return x.transpose(*range(1, x.ndim), 0)


def _batch_first(x: Array) -> Array:
    return x.transpose(-1, *range(x.ndim - 1))


def _padded(x: Array, padding: Pairs, value: float = 0.0) -> Array:
    """x (channels, *space, batch) with `value` around its space."""
    if not np.any(padding):
        return x
    space = zip(x.shape[1:-1], padding, strict=True)
    out = np.full((len(x), *(n + before + after for n, (before, after) in space), x.shape[-1]), value, x.dtype)
    _cropped(out, padding, x.shape[1:-1])[...] = x
    return out


def _cropped(x: Array, padding: Pairs, space: Sequence[int]) -> Array:
    """The view of x (channels, *space, batch) that `_padded` filled."""
    return x[(slice(None), *(slice(before, before + n) for n, (before, _) in zip(space, padding, strict=True)))]


def _offsets(
    kernel: Sequence[int], stride: Sequence[int], dilation: Sequence[int], out: Sequence[int]
) -> Iterator[tuple[int, tuple[slice, ...]]]:
    """Each kernel position with the index of the inputs that it meets, one for each position of the result."""
    for k, offset in enumerate(itertools.product(*map(range, kernel))):
        axes = zip(offset, stride, dilation, out, strict=True)
        yield k, (slice(None), *(slice(o * d, o * d + s * (n - 1) + 1, s) for o, s, d, n in axes))


def _windows(x: Array, kernel: Sequence[int], stride: Sequence[int], dilation: Sequence[int], out: Sequence[int]) -> Array:
    """Copies of the inputs that each kernel position meets: (channels, kernel positions, *positions out, batch)."""
    cols = np.empty((len(x), math.prod(kernel), *out, x.shape[-1]), x.dtype)
    for k, here in _offsets(kernel, stride, dilation, out):
        cols[:, k] = x[here]
    return cols


def conv(
    x: Array, w: Array, *, stride: Sequence[int], padding: Pairs, dilation: Sequence[int], groups: int
) -> Array:
    """y[b, o, p] = sum over c, k of w[o, c, k] x[b, c, stride p + dilation k - padding]."""
    kernel, n, outputs = w.shape[2:], len(x), len(w)
    out = conv_shape(x.shape[2:], kernel, stride, padding, dilation)
    cols = _windows(_padded(_batch_last(x), padding), kernel, stride, dilation, out)
    inner = math.prod(w.shape[1:])
    y = np.matmul(w.reshape(groups, outputs // groups, inner), cols.reshape(groups, inner, math.prod(out) * n))
    return _batch_first(y.reshape(outputs, *out, n))


def conv_input(
    g: Array, w: Array, *, space: Sequence[int], stride: Sequence[int], padding: Pairs, dilation: Sequence[int], groups: int
) -> Array:
    """The adjoint of `conv` in x: spreads each g[b, o, p] over the inputs that made it. Also the transposed convolution."""
    kernel, out, n, outputs = w.shape[2:], g.shape[2:], len(g), len(w)
    inner, channels = math.prod(w.shape[1:]), groups * w.shape[1]
    wt = w.reshape(groups, outputs // groups, inner).swapaxes(1, 2)
    cols = np.matmul(wt, _batch_last(g).reshape(groups, outputs // groups, math.prod(out) * n))
    cols = cols.reshape(channels, math.prod(kernel), *out, n)
    padded = np.zeros((channels, *(s + p[0] + p[1] for s, p in zip(space, padding, strict=True)), n), cols.dtype)
    for k, here in _offsets(kernel, stride, dilation, out):
        padded[here] += cols[:, k]
    return _batch_first(_cropped(padded, padding, space))


def conv_weight(
    x: Array, g: Array, *, kernel: Sequence[int], stride: Sequence[int], padding: Pairs, dilation: Sequence[int], groups: int
) -> Array:
    """The adjoint of `conv` in w: correlates inputs with output gradients."""
    n, outputs, out = len(x), g.shape[1], g.shape[2:]
    channels = x.shape[1] // groups
    inner, positions = channels * math.prod(kernel), math.prod(out) * n
    cols = _windows(_padded(_batch_last(x), padding), kernel, stride, dilation, out).reshape(groups, inner, positions)
    gs = _batch_last(g).reshape(groups, outputs // groups, positions)
    return np.matmul(gs, cols.swapaxes(1, 2)).reshape(outputs, channels, *kernel)


# Pooling. Windows as in convolution, each channel by itself.


def max_pool(
    x: Array, *, kernel: Sequence[int], stride: Sequence[int], padding: Pairs, dilation: Sequence[int]
) -> tuple[Array, Array]:
    """The largest value of each window (NaN where there is one), and the flat kernel position where it is first."""
    out = conv_shape(x.shape[2:], kernel, stride, padding, dilation)
    padded = _padded(_batch_last(x), padding, -math.inf)
    best = np.full((len(padded), *out, len(x)), -math.inf, x.dtype)
    position = np.zeros(best.shape, np.int32)
    for k, here in _offsets(kernel, stride, dilation, out):
        value = padded[here]
        better = (value > best) | (value != value)
        best = np.where(better, value, best)
        position = np.where(better, np.int32(k), position)
    return _batch_first(best), _batch_first(position)


def pool_gather(
    x: Array, position: Array, *, kernel: Sequence[int], stride: Sequence[int], padding: Pairs, dilation: Sequence[int]
) -> Array:
    """The value of each window at the given kernel position."""
    padded, chosen = _padded(_batch_last(x), padding), _batch_last(position)
    y = np.zeros(chosen.shape, x.dtype)
    for k, here in _offsets(kernel, stride, dilation, position.shape[2:]):
        y = np.where(chosen == k, padded[here], y)
    return _batch_first(y)


def pool_scatter(
    g: Array, position: Array, *, space: Sequence[int], kernel: Sequence[int], stride: Sequence[int], padding: Pairs,
    dilation: Sequence[int],
) -> Array:  # fmt: skip
    """The adjoint of `pool_gather`: adds each g to the input that its window chose."""
    gs, chosen = _batch_last(g), _batch_last(position)
    padded = np.zeros((len(gs), *(s + p[0] + p[1] for s, p in zip(space, padding, strict=True)), len(g)), g.dtype)
    for k, here in _offsets(kernel, stride, dilation, g.shape[2:]):
        padded[here] += np.where(chosen == k, gs, 0)
    return _batch_first(_cropped(padded, padding, space))


def sum_pool(x: Array, *, kernel: Sequence[int], stride: Sequence[int], padding: Pairs) -> Array:
    """The sum of each window."""
    once = (1,) * len(kernel)
    out = conv_shape(x.shape[2:], kernel, stride, padding, once)
    padded = _padded(_batch_last(x), padding)
    y = np.zeros((len(padded), *out, len(x)), x.dtype)
    for _, here in _offsets(kernel, stride, once, out):
        y += padded[here]
    return _batch_first(y)


def sum_pool_input(
    g: Array, *, space: Sequence[int], kernel: Sequence[int], stride: Sequence[int], padding: Pairs
) -> Array:
    """The adjoint of `sum_pool`: adds each g to every input of its window."""
    gs = _batch_last(g)
    padded = np.zeros((len(gs), *(s + p[0] + p[1] for s, p in zip(space, padding, strict=True)), len(g)), g.dtype)
    for _, here in _offsets(kernel, stride, (1,) * len(kernel), g.shape[2:]):
        padded[here] += gs
    return _batch_first(_cropped(padded, padding, space))


# Normalization. Forward functions also return what their adjoints need; adjoints return the gradient of x, and with a weight
# (dx, dweight, dbias). A bias comes only with a weight.


def layer_norm(x: Array, weight: Array | None, bias: Array | None, *, eps: float) -> tuple[Array, Array, Array]:
    """w (x - mean) / sqrt(variance + eps) + b over the last axis; the mean and 1 / sqrt(variance + eps), without that axis."""
    mean = x.mean(axis=-1, keepdims=True)
    centered = x - mean
    rstd = 1 / np.sqrt(np.square(centered).mean(axis=-1, keepdims=True) + eps)
    return _affine(centered * rstd, weight, bias), mean[..., 0], rstd[..., 0]


def layer_norm_vjp(g: Array, x: Array, weight: Array | None, mean: Array, rstd: Array) -> Any:
    """With n = (x - mean) rstd and h = g w: rstd (h - mean(h) - n mean(h n)), sum(g n), sum(g)."""
    n = (x - mean[..., None]) * rstd[..., None]
    h = g if weight is None else g * weight
    dx = (h - h.mean(axis=-1, keepdims=True) - n * (h * n).mean(axis=-1, keepdims=True)) * rstd[..., None]
    if weight is None:
        return dx
    lead = tuple(range(x.ndim - 1))
    return dx, (g * n).sum(axis=lead), g.sum(axis=lead)


def rms_norm(x: Array, weight: Array | None, *, eps: float) -> tuple[Array, Array]:
    """w x / sqrt(mean(x^2) + eps) over the last axis; 1 / sqrt(mean(x^2) + eps), without that axis."""
    rstd = 1 / np.sqrt(np.square(x).mean(axis=-1, keepdims=True) + eps)
    return _affine(x * rstd, weight, None), rstd[..., 0]


def rms_norm_vjp(g: Array, x: Array, weight: Array | None, rstd: Array) -> Any:
    """With n = x rstd and h = g w: rstd (h - n mean(h n)), sum(g n); it has no bias."""
    n = x * rstd[..., None]
    h = g if weight is None else g * weight
    dx = (h - n * (h * n).mean(axis=-1, keepdims=True)) * rstd[..., None]
    return dx if weight is None else (dx, (g * n).sum(axis=tuple(range(x.ndim - 1))))


def batch_norm(x: Array, weight: Array | None, bias: Array | None, *, eps: float) -> tuple[Array, Array, Array]:
    """w (x - mean) / sqrt(variance + eps) + b for each channel of axis 1; the moments, of shape (channels)."""
    axes, shape = _channels(x)
    mean = x.mean(axis=axes)
    centered = x - mean.reshape(shape)
    variance = np.square(centered).mean(axis=axes)
    scale = 1 / np.sqrt(variance + eps)
    y = centered * (scale if weight is None else scale * weight).reshape(shape)
    return y if bias is None else y + bias.reshape(shape), mean, variance


def batch_norm_vjp(g: Array, x: Array, weight: Array | None, mean: Array, variance: Array, *, eps: float) -> Any:
    """With n = (x - mean) / sqrt(variance + eps): w (g - mean(g) - n mean(g n)) / sqrt(variance + eps), sum(g n), sum(g)."""
    axes, shape = _channels(x)
    rstd = 1 / np.sqrt(variance + eps)
    n = (x - mean.reshape(shape)) * rstd.reshape(shape)
    dw, db = (g * n).sum(axis=axes), g.sum(axis=axes)
    count = math.prod(x.shape[a] for a in axes)
    dx = (g - (db / count).reshape(shape) - n * (dw / count).reshape(shape)) * (
        rstd if weight is None else rstd * weight
    ).reshape(shape)
    return dx if weight is None else (dx, dw, db)


def _affine(y: Array, weight: Array | None, bias: Array | None) -> Array:
    if weight is not None:
        y = y * weight
    return y if bias is None else y + bias


def _channels(x: Array) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """All axes but axis 1, and the shape in which a number for each channel broadcasts."""
    return (0, *range(2, x.ndim)), (x.shape[1],) + (1,) * (x.ndim - 2)


# Softmax, and the cross-entropy of its logarithm


def softmax(x: Array, *, axis: int) -> Array:
    """e^x divided by its sum over `axis`."""
    e = np.exp(x - x.max(axis=axis, keepdims=True))
    return e / e.sum(axis=axis, keepdims=True)


def softmax_vjp(g: Array, y: Array, *, axis: int) -> Array:
    """y (g - sum(g y))."""
    gy = g * y
    return gy - y * gy.sum(axis=axis, keepdims=True)


def log_softmax(x: Array, *, axis: int) -> Array:
    """x minus the logarithm of the sum of e^x over `axis`."""
    shifted = x - x.max(axis=axis, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=axis, keepdims=True))


def log_softmax_vjp(g: Array, y: Array, *, axis: int) -> Array:
    """g - e^y sum(g)."""
    return g - np.exp(y) * g.sum(axis=axis, keepdims=True)


def softmax_cross_entropy(x: Array, labels: Array) -> tuple[Array, Array]:
    """-log_softmax(x)[i, labels[i]] of each row i, NaN where the class does not exist; the logarithms of the sums of e^x."""
    top = x.max(axis=1)
    log_total = np.log(np.exp(x - top[:, None]).sum(axis=1))
    known, picked = _picked(x, labels)
    losses = log_total - (x[picked] - top)
    return np.where(known, losses, losses.dtype.type(math.nan)), log_total + top


def softmax_cross_entropy_vjp(g: Array, x: Array, labels: Array, lse: Array) -> Array:
    """g (softmax(x) - onehot(labels)) in each row; a label without a class is nowhere 1."""
    p = np.exp(x - lse[:, None])
    known, picked = _picked(x, labels)
    p[picked] -= known
    p *= g[:, None]
    return p


def _picked(x: Array, labels: Array) -> tuple[Array, tuple[Array, Array]]:
    """Which labels are classes, and the index of each row's score at its label, or at 0 where that is none."""
    known = (labels >= 0) & (labels < x.shape[1])
    return known, (np.arange(len(x)), np.where(known, labels, 0))


# Attention: softmax(scale q k^T) v for q (..., T, d), k (..., S, d), v (..., S, e). `causal` hides key j from query i if j > i.

_SCORES = 1 << 20
"""The number of scores that attention holds: it goes block by block, so that (..., T, S) is never in memory as a whole."""


def _score_blocks(q: Array, k: Array, causal: bool, scale: float) -> Iterator[tuple[slice, slice, Array, Array]]:
    """(heads, queries, their scores, which of these are hidden), for q and k with one leading axis."""
    rows = min(q.shape[1], max(1, _SCORES // k.shape[1])) or 1
    heads = max(1, _SCORES // (rows * k.shape[1]))
    for h, i in itertools.product(range(0, len(q), heads), range(0, q.shape[1], rows)):
        block = slice(h, h + heads), slice(i, i + rows)
        scores = np.matmul(q[block], k[block[0]].swapaxes(1, 2)) * scale
        hidden = np.zeros(scores.shape[1:], bool)
        if causal:
            hidden = np.arange(k.shape[1]) > np.arange(i, i + scores.shape[1])[:, None]
        yield *block, scores, hidden


def _one_lead(*arrays: Array) -> Iterator[Array]:
    return (a.reshape(math.prod(a.shape[:-2]), *a.shape[-2:]) for a in arrays)


def attention(q: Array, k: Array, v: Array, *, causal: bool, scale: float) -> tuple[Array, Array]:
    """y_i = sum over j of P_ij v_j with P_ij = e^(scale q_i . k_j - L_i); and L_i = ln sum over j of e^(scale q_i . k_j)."""
    lead, (qs, ks, vs) = q.shape[:-1], _one_lead(q, k, v)
    y, logs = np.empty((*qs.shape[:2], v.shape[-1]), q.dtype), np.empty(qs.shape[:2], q.dtype)
    for heads, rows, scores, hidden in _score_blocks(qs, ks, causal, scale):
        scores[:, hidden] = -math.inf
        top = scores.max(axis=-1, keepdims=True)
        weights = np.exp(scores - top)
        total = weights.sum(axis=-1, keepdims=True)
        y[heads, rows] = np.matmul(weights, vs[heads]) / total
        logs[heads, rows] = (top + np.log(total))[..., 0]
    return y.reshape(*lead, v.shape[-1]), logs.reshape(lead)


def attention_vjp(
    g: Array, q: Array, k: Array, v: Array, y: Array, logs: Array, *, causal: bool, scale: float
) -> tuple[Array, Array, Array]:
    """dv = P^T g, dq = scale dS k, dk = scale dS^T q with dS_ij = P_ij (g_i . v_j - g_i . y_i) (Dao et al. 2022, B.2)."""
    shapes, (gs, qs, ks, vs, ys) = (q.shape, k.shape, v.shape), _one_lead(g, q, k, v, y)
    dq, dk, dv = np.empty(qs.shape, q.dtype), np.zeros(ks.shape, k.dtype), np.zeros(vs.shape, v.dtype)
    along = (gs * ys).sum(axis=-1, keepdims=True)
    totals = logs.reshape(along.shape)
    for heads, rows, scores, hidden in _score_blocks(qs, ks, causal, scale):
        weights = np.exp(scores - totals[heads, rows])
        weights[:, hidden] = 0
        change = weights * (np.matmul(gs[heads, rows], vs[heads].swapaxes(1, 2)) - along[heads, rows])
        change[:, hidden] = 0
        dv[heads] += np.matmul(weights.swapaxes(1, 2), gs[heads, rows])
        dq[heads, rows] = np.matmul(change, ks[heads]) * scale
        dk[heads] += np.matmul(change.swapaxes(1, 2), qs[heads, rows]) * scale
    return dq.reshape(shapes[0]), dk.reshape(shapes[1]), dv.reshape(shapes[2])


# Random bits: Threefry-2x32 (Salmon et al. 2011), a keyed counter, so that streams are the same on every machine.

_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))


def random_bits(key: tuple[int, int], counter: int, count: int) -> Array:
    """`count` random uint32: the blocks numbered `counter`, `counter` + 1, ... of the stream with this key."""
    blocks = (count + 1) // 2
    numbers = np.arange(blocks, dtype=np.uint64) + np.uint64(counter)
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
