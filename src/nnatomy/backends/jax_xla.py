"""The JAX backend: the array functions as jax.numpy and jax.lax calls, which run one by one or are traced whole by jax.jit.

They mean what numpy_reference.py says. Normalizations, softmax and attention of 16-bit floats compute in float32 inside.
Functions that JAX has no namesake of are compiled as one each, so that they cost one dispatch where nothing is traced.
"""

# ruff: noqa: I001  (names packed, not one a line)

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.numpy import (  # noqa: F401  (these names are the backend; interface.py lists them)
    abs, all, any, arange, arccos, arcsin, arctan, arctan2, arctanh, argmax, argmin, argsort, array, asarray, bitwise_and,
    bitwise_not, bitwise_or, bitwise_xor, broadcast_to, left_shift, right_shift,
    ceil, clip, concatenate, cos, cosh, divide, einsum, equal, exp, expm1, flip, floor, floor_divide, full,
    greater, greater_equal, isfinite, isinf, isnan, less, less_equal, log, log10, log1p, log2, logaddexp, logical_and,
    logical_not,
    logical_or, logical_xor, matmul, maximum, minimum, moveaxis, nonzero, not_equal, ones, ones_like, remainder, round, sign,
    sin, sinh, sqrt, square, stack, tan, tanh, tril, triu, trunc, where, zeros, zeros_like,
)  # fmt: skip
from jax.nn import sigmoid  # noqa: F401
from jax.numpy.linalg import det, inv, qr, slogdet, solve, svd  # noqa: F401
from jax.scipy.special import erf  # noqa: F401

from nnatomy.backends.jax_recurrent import (  # noqa: F401
    gru_scan, gru_scan_vjp, lstm_scan, lstm_scan_vjp, rnn_scan, rnn_scan_vjp,
)  # fmt: skip
from nnatomy.backends.jax_devices import compute_capability as _compute_capability
from nnatomy.backends.jax_recurrent import compiled as _compiled
from nnatomy.kernels.shapes import conv_shape

Array = Any
Pairs = Sequence[tuple[int, int]]
name = "jax"


def known(x: Any) -> Any:
    """The values of a concrete array, None of a traced one."""
    return None if isinstance(x, jax.core.Tracer) or not isinstance(x, jax.Array) else np.asarray(x)


def cumsum(x: Array, *, axis: int) -> Array:
    """Sums up to each element; small integers are added as NumPy adds them, in the widest type."""
    return jnp.cumsum(x, axis=axis, dtype=_added(x.dtype))


def cumprod(x: Array, *, axis: int) -> Array:
    """Products up to each element, in the type of `cumsum`."""
    return jnp.cumprod(x, axis=axis, dtype=_added(x.dtype))


def _added(dtype: Any) -> Any:
    """The type in which NumPy adds up: the widest of integers."""
    return {"b": "int64", "i": "int64", "u": "uint64"}.get(dtype.kind, dtype)


# Writing. Where an index is outside, a compiled step can neither raise nor write: all that it writes is then NaN, the least
# integer, or True, at the nearest place inside.


def scatter_add(x: Array, index: Any, values: Array) -> Array:
    """A copy of `x` with `values` added at `index`, repeated positions adding up."""
    x = jnp.asarray(x)
    return x.at[index].add(_marked(x, index, values), mode="clip")


def index_put(x: Array, index: Any, values: Array) -> Array:
    """A copy of `x` with `values` at `index`."""
    x = jnp.asarray(x)
    return x.at[index].set(_marked(x, index, values), mode="clip")


def _marked(x: Array, index: Any, values: Any) -> Array:
    """The values to write at an index of x, or marks in their place if a part of the index is outside."""
    values, shape = values if hasattr(values, "dtype") else jnp.asarray(values, x.dtype), x.shape
    outside, axis = jnp.asarray(False), 0
    parts = index if isinstance(index, tuple) else (index,)
    for number, part in enumerate(parts):
        kind = part.dtype.kind if hasattr(part, "dtype") else ""
        if part is Ellipsis:
            axis = len(shape) - sum(_axes_of(p) for p in parts[number + 1 :])
            continue
        if kind in ("i", "u") and known(part) is None:
            outside |= ((part < -shape[axis]) | (part >= shape[axis])).any()
        axis += _axes_of(part)
    dtype = values.dtype
    mark = math.nan if jnp.issubdtype(dtype, jnp.inexact) else True if dtype.kind == "b" else jnp.iinfo(dtype).min
    return jnp.where(outside, jnp.asarray(mark, dtype), values)


def _axes_of(part: Any) -> int:
    """The number of axes that a part of an index reads."""
    if part is None:
        return 0
    return int(part.ndim) if hasattr(part, "dtype") and part.dtype == bool else 1


@_compiled("shape")
def add_rows(shape: tuple[int, ...], rows: Array, values: Array) -> Array:
    """Zeros of `shape` with `values[i]` added to row `rows[i]`."""
    flat = values.reshape(rows.size, *shape[1:])
    index = rows.reshape(-1)
    nothing = jnp.zeros(shape, values.dtype)
    return nothing.at[index].add(_marked(nothing, index, flat), mode="clip")


@_compiled()
def qr_r(a: Array) -> Array:
    """R (min(m, n), n) of a = Q R for a (m, n); rows are negated where R_ii < 0."""
    r = jnp.linalg.qr(a, mode="r")
    return r * jnp.where(jnp.diagonal(r) < 0, -1, 1).astype(a.dtype)[:, None]


def cholesky(a: Array) -> Array:
    """The lower L with a = L L^T; NaN where there is none."""
    return jnp.linalg.cholesky(a, symmetrize_input=False)


def eigh(a: Array) -> tuple[Array, Array]:
    """The eigenvalues of symmetric matrices, ascending, and their eigenvectors."""
    values, vectors = jnp.linalg.eigh(a, symmetrize_input=False)
    return values, vectors


@_compiled("shape")
def max_rows(shape: tuple[int, ...], rows: Array, values: Array) -> Array:
    """The largest of the `values[i]` with row `rows[i]`, in each row of `shape`; 0 in a row that has none."""
    used = jnp.zeros(shape[:1], bool).at[rows].set(True, mode="clip").reshape(-1, *(1,) * (len(shape) - 1))
    least = jnp.full(shape, -jnp.inf, values.dtype)
    found = least.at[rows].max(_marked(least, rows, values), mode="clip")
    return jnp.where(used, found, 0).astype(values.dtype)


# Convolution. x is (batch, channels, *space), w is (channels out, channels in / groups, *kernel).


@_compiled("stride", "padding", "dilation", "groups")
def conv(x: Array, w: Array, *, stride: Sequence[int], padding: Pairs, dilation: Sequence[int], groups: int) -> Array:
    """y[b, o, p] = sum over c, k of w[o, c, k] x[b, c, stride p + dilation k - padding]."""
    return lax.conv_general_dilated(x, w, stride, padding, rhs_dilation=dilation, feature_group_count=groups)


@_compiled("space", "stride", "padding", "dilation", "groups")
def conv_input(g: Array, w: Array, *, space: Sequence[int], groups: int, **how: Any) -> Array:
    """The adjoint of `conv` in x."""
    w, how["padding"] = _clear_of_a_fault(w, **how)
    shape = (g.shape[0], w.shape[1] * groups, *space)
    return _adjoint(lambda x: conv(x, w, groups=groups, **how), shape, g)


@_compiled("kernel", "stride", "padding", "dilation", "groups")
def conv_weight(x: Array, g: Array, *, kernel: Sequence[int], groups: int, **how: Any) -> Array:
    """The adjoint of `conv` in w."""
    shape = (g.shape[1], x.shape[1] // groups, *kernel)
    return _adjoint(lambda w: conv(x, w, groups=groups, **how), shape, g)


def _clear_of_a_fault(w: Array, *, stride: Sequence[int], padding: Pairs, dilation: Sequence[int]) -> tuple[Array, Pairs]:
    """The same convolution with a zero at the end of each kernel of 2 that steps by 2 from padding of 1, and more padding.

    XLA's simplifier for CPUs takes the adjoint of such a one for something else, and ends the process.
    """
    axes = zip(w.shape[2:], stride, padding, dilation, strict=True)
    more = [int((k, s, before, d) == (2, 2, 1, 1)) for k, s, (before, _), d in axes]
    if not sum(more):
        return w, padding
    wider = lax.pad(w, jnp.zeros((), w.dtype), ((0, 0, 0), (0, 0, 0), *((0, m, 0) for m in more)))
    return wider, tuple((before, after + m) for (before, after), m in zip(padding, more, strict=True))


def _adjoint(linear: Callable[[Array], Array], shape: tuple[int, ...], g: Array) -> Array:
    return jax.linear_transpose(linear, jax.ShapeDtypeStruct(shape, g.dtype))(g)[0]


# Pooling. Window by window position, as element-wise passes that XLA fuses into one.


def _offsets(
    kernel: Sequence[int], stride: Sequence[int], dilation: Sequence[int], out: Sequence[int]
) -> Iterator[tuple[int, tuple[Any, ...]]]:
    """Each kernel position with the index of the inputs that it meets, one for each position of the result."""
    for k, offset in enumerate(itertools.product(*map(range, kernel))):
        axes = zip(offset, stride, dilation, out, strict=True)
        yield k, (..., *(slice(o * d, o * d + s * (n - 1) + 1, s) for o, s, d, n in axes))


def _padded(x: Array, padding: Pairs, value: float) -> Array:
    return lax.pad(x, jnp.asarray(value, x.dtype), ((0, 0, 0), (0, 0, 0), *((before, after, 0) for before, after in padding)))


def _spread(g: Array, here: tuple[Any, ...], space: Sequence[int], padding: Pairs) -> Array:
    """Zeros of the padded space with g at the strided index `here`."""
    ends = zip(here[1:], space, padding, strict=True)
    widths = [(part.start, n + before + after - part.stop, part.step - 1) for part, n, (before, after) in ends]
    return lax.pad(g, jnp.zeros((), g.dtype), ((0, 0, 0), (0, 0, 0), *widths))


def _cropped(x: Array, padding: Pairs, space: Sequence[int]) -> Array:
    return x[(..., *(slice(before, before + n) for n, (before, _) in zip(space, padding, strict=True)))]


@_compiled("kernel", "stride", "padding", "dilation")
def max_pool(
    x: Array, *, kernel: Sequence[int], stride: Sequence[int], padding: Pairs, dilation: Sequence[int]
) -> tuple[Array, Array]:
    """The largest value of each window (NaN where there is one), and the flat kernel position where it is first."""
    out = conv_shape(x.shape[2:], kernel, stride, padding, dilation)
    padded = _padded(x, padding, -math.inf)
    best = jnp.full((*x.shape[:2], *out), -math.inf, x.dtype)
    position = jnp.zeros(best.shape, "int32")
    for k, here in _offsets(kernel, stride, dilation, out):
        value = padded[here]
        better = (value > best) | jnp.isnan(value)
        best, position = jnp.where(better, value, best), jnp.where(better, jnp.int32(k), position)
    return best, position


@_compiled("kernel", "stride", "padding", "dilation")
def pool_gather(
    x: Array, position: Array, *, kernel: Sequence[int], stride: Sequence[int], padding: Pairs, dilation: Sequence[int]
) -> Array:
    """The value of each window at the given kernel position."""
    padded, y = _padded(x, padding, 0.0), jnp.zeros(position.shape, x.dtype)
    for k, here in _offsets(kernel, stride, dilation, position.shape[2:]):
        y = jnp.where(position == k, padded[here], y)
    return y


@_compiled("space", "kernel", "stride", "padding", "dilation")
def pool_scatter(
    g: Array, position: Array, *, space: Sequence[int], kernel: Sequence[int], stride: Sequence[int], padding: Pairs,
    dilation: Sequence[int],
) -> Array:  # fmt: skip
    """The adjoint of `pool_gather`: adds each g to the input that its window chose."""
    parts = (
        _spread(jnp.where(position == k, g, jnp.zeros((), g.dtype)), here, space, padding)
        for k, here in _offsets(kernel, stride, dilation, g.shape[2:])
    )
    return _cropped(functools.reduce(jnp.add, parts), padding, space)


@_compiled("kernel", "stride", "padding")
def sum_pool(x: Array, *, kernel: Sequence[int], stride: Sequence[int], padding: Pairs) -> Array:
    """The sum of each window."""
    out = conv_shape(x.shape[2:], kernel, stride, padding, (1,) * len(kernel))
    padded = _padded(x, padding, 0.0)
    return functools.reduce(jnp.add, (padded[here] for _, here in _offsets(kernel, stride, (1,) * len(kernel), out)))


@_compiled("space", "kernel", "stride", "padding")
def sum_pool_input(g: Array, *, space: Sequence[int], kernel: Sequence[int], stride: Sequence[int], padding: Pairs) -> Array:
    """The adjoint of `sum_pool`: adds each g to every input of its window."""
    once = (1,) * len(kernel)
    parts = (_spread(g, here, space, padding) for _, here in _offsets(kernel, stride, once, g.shape[2:]))
    return _cropped(functools.reduce(jnp.add, parts), padding, space)


# Normalization. Forward functions also return what their adjoints need, in float32 at least.


def _wide(x: Array | None) -> Array:
    """16-bit floats as float32; everything else as it is."""
    return x.astype("float32") if x is not None and x.dtype.itemsize == 2 and jnp.issubdtype(x.dtype, jnp.floating) else x


@_compiled("eps")
def layer_norm(x: Array, weight: Array | None, bias: Array | None, *, eps: float) -> tuple[Array, Array, Array]:
    """w (x - mean) / sqrt(variance + eps) + b over the last axis; the mean and 1 / sqrt(variance + eps), without that axis."""
    wide = _wide(x)
    mean = wide.mean(axis=-1, keepdims=True)
    centered = wide - mean
    rstd = 1 / jnp.sqrt(jnp.square(centered).mean(axis=-1, keepdims=True) + eps)
    return _affine(centered * rstd, weight, bias).astype(x.dtype), mean[..., 0], rstd[..., 0]


@_compiled()
def layer_norm_vjp(g: Array, x: Array, weight: Array | None, mean: Array, rstd: Array) -> Any:
    """With n = (x - mean) rstd and h = g w: rstd (h - mean(h) - n mean(h n)), sum(g n), sum(g)."""
    wide = _wide(g)
    n = (_wide(x) - mean[..., None]) * rstd[..., None]
    h = wide if weight is None else wide * _wide(weight)
    dx = (h - h.mean(axis=-1, keepdims=True) - n * (h * n).mean(axis=-1, keepdims=True)) * rstd[..., None]
    dx = dx.astype(x.dtype)
    if weight is None:
        return dx
    lead = tuple(range(x.ndim - 1))
    return dx, (wide * n).sum(axis=lead).astype(weight.dtype), wide.sum(axis=lead).astype(weight.dtype)


@_compiled("eps")
def rms_norm(x: Array, weight: Array | None, *, eps: float) -> tuple[Array, Array]:
    """w x / sqrt(mean(x^2) + eps) over the last axis; 1 / sqrt(mean(x^2) + eps), without that axis."""
    wide = _wide(x)
    rstd = 1 / jnp.sqrt(jnp.square(wide).mean(axis=-1, keepdims=True) + eps)
    return _affine(wide * rstd, weight, None).astype(x.dtype), rstd[..., 0]


@_compiled()
def rms_norm_vjp(g: Array, x: Array, weight: Array | None, rstd: Array) -> Any:
    """With n = x rstd and h = g w: rstd (h - n mean(h n)), sum(g n); it has no bias."""
    wide = _wide(g)
    n = _wide(x) * rstd[..., None]
    h = wide if weight is None else wide * _wide(weight)
    dx = ((h - n * (h * n).mean(axis=-1, keepdims=True)) * rstd[..., None]).astype(x.dtype)
    return dx if weight is None else (dx, (wide * n).sum(axis=tuple(range(x.ndim - 1))).astype(weight.dtype))


@_compiled("eps")
def batch_norm(x: Array, weight: Array | None, bias: Array | None, *, eps: float) -> tuple[Array, Array, Array]:
    """w (x - mean) / sqrt(variance + eps) + b for each channel of axis 1; the moments, of shape (channels)."""
    axes, shape = _channels(x)
    wide = _wide(x)
    mean = wide.mean(axis=axes)
    centered = wide - mean.reshape(shape)
    variance = jnp.square(centered).mean(axis=axes)
    scale = 1 / jnp.sqrt(variance + eps)
    y = centered * (scale if weight is None else scale * _wide(weight)).reshape(shape)
    y = y if bias is None else y + _wide(bias).reshape(shape)
    return y.astype(x.dtype), mean, variance


@_compiled("eps")
def batch_norm_vjp(g: Array, x: Array, weight: Array | None, mean: Array, variance: Array, *, eps: float) -> Any:
    """With n = (x - mean) / sqrt(variance + eps): w (g - mean(g) - n mean(g n)) / sqrt(variance + eps), sum(g n), sum(g)."""
    axes, shape = _channels(x)
    wide = _wide(g)
    rstd = 1 / jnp.sqrt(variance + eps)
    n = (_wide(x) - mean.reshape(shape)) * rstd.reshape(shape)
    dw, db = (wide * n).sum(axis=axes), wide.sum(axis=axes)
    count = math.prod(x.shape[a] for a in axes)
    scale = rstd if weight is None else rstd * _wide(weight)
    dx = (wide - (db / count).reshape(shape) - n * (dw / count).reshape(shape)) * scale.reshape(shape)
    dx = dx.astype(x.dtype)
    return dx if weight is None else (dx, dw.astype(weight.dtype), db.astype(weight.dtype))


def _affine(y: Array, weight: Array | None, bias: Array | None) -> Array:
    if weight is not None:
        y = y * _wide(weight)
    return y if bias is None else y + _wide(bias)


def _channels(x: Array) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """All axes but axis 1, and the shape in which a number for each channel broadcasts."""
    return (0, *range(2, x.ndim)), (x.shape[1],) + (1,) * (x.ndim - 2)


# Softmax, and the cross-entropy of its logarithm


@_compiled("axis")
def softmax(x: Array, *, axis: int) -> Array:
    """e^x divided by its sum over `axis`."""
    wide = _wide(x)
    e = jnp.exp(wide - wide.max(axis=axis, keepdims=True))
    return (e / e.sum(axis=axis, keepdims=True)).astype(x.dtype)


@_compiled("axis")
def softmax_vjp(g: Array, y: Array, *, axis: int) -> Array:
    """y (g - sum(g y))."""
    wide = _wide(y)
    gy = _wide(g) * wide
    return (gy - wide * gy.sum(axis=axis, keepdims=True)).astype(y.dtype)


@_compiled("axis")
def log_softmax(x: Array, *, axis: int) -> Array:
    """x minus the logarithm of the sum of e^x over `axis`."""
    wide = _wide(x)
    shifted = wide - wide.max(axis=axis, keepdims=True)
    return (shifted - jnp.log(jnp.exp(shifted).sum(axis=axis, keepdims=True))).astype(x.dtype)


@_compiled("axis")
def log_softmax_vjp(g: Array, y: Array, *, axis: int) -> Array:
    """g - e^y sum(g)."""
    wide = _wide(g)
    return (wide - jnp.exp(_wide(y)) * wide.sum(axis=axis, keepdims=True)).astype(y.dtype)


@_compiled()
def softmax_cross_entropy(x: Array, labels: Array) -> tuple[Array, Array]:
    """-log_softmax(x)[i, labels[i]] of each row i, NaN where the class does not exist; the logarithms of the sums of e^x."""
    wide = _wide(x)
    top = wide.max(axis=1)
    log_total = jnp.log(jnp.exp(wide - top[:, None]).sum(axis=1))
    at = _classes(x, labels)
    picked = jnp.take_along_axis(wide, jnp.maximum(at, 0)[:, None], axis=1)[:, 0]
    losses = log_total - (picked - top)
    return jnp.where(at >= 0, losses, jnp.asarray(math.nan, losses.dtype)).astype(x.dtype), log_total + top


@_compiled()
def softmax_cross_entropy_vjp(g: Array, x: Array, labels: Array, lse: Array) -> Array:
    """g (softmax(x) - onehot(labels)) in each row; a label without a class is nowhere 1."""
    p = jnp.exp(_wide(x) - lse[:, None])
    hit = _classes(x, labels)[:, None] == jnp.arange(x.shape[1], dtype="int32")
    return (_wide(g)[:, None] * (p - hit.astype(p.dtype))).astype(x.dtype)


def _classes(x: Array, labels: Array) -> Array:
    """The labels, -1 where the class does not exist."""
    wide = labels.astype("int64")
    return jnp.where((wide >= 0) & (wide < x.shape[1]), wide, -1).astype("int32")


# Attention: softmax(scale q k^T) v for q (..., T, d), k (..., S, d), v (..., S, e). `causal` hides key j from query i if j > i.


@_compiled("causal", "scale")
def attention(q: Array, k: Array, v: Array, *, causal: bool, scale: float) -> tuple[Array, Array]:
    """y_i = sum over j of P_ij v_j with P_ij = e^(scale q_i . k_j - L_i); and L_i = ln sum over j of e^(scale q_i . k_j)."""
    if _has_a_kernel(q, k, v):
        y, logs = jax.nn.dot_product_attention(
            *map(_turned, (q, k, v)), scale=scale, is_causal=causal, implementation="cudnn", return_residual=True
        )
        return _turned(y), jnp.swapaxes(logs, 1, 2)
    scores = _scores(q, k, causal, scale)
    top = scores.max(axis=-1, keepdims=True)
    weights = jnp.exp(scores - top)
    total = weights.sum(axis=-1, keepdims=True)
    y = jnp.matmul(weights.astype(v.dtype), v, preferred_element_type=weights.dtype) / total
    return y.astype(q.dtype), (top + jnp.log(total))[..., 0]


@_compiled("causal", "scale")
def attention_vjp(
    g: Array, q: Array, k: Array, v: Array, y: Array, logs: Array, *, causal: bool, scale: float
) -> tuple[Array, Array, Array]:
    """dv = P^T g, dq = scale dS k, dk = scale dS^T q with dS_ij = P_ij (g_i . v_j - g_i . y_i) (Dao et al. 2022, B.2)."""
    if _has_a_kernel(q, k, v):
        fused = functools.partial(jax.nn.dot_product_attention, scale=scale, is_causal=causal, implementation="cudnn")
        found = jax.vjp(fused, *map(_turned, (q, k, v)))[1](_turned(g))
        dq, dk, dv = map(_turned, found)
        return dq, dk, dv
    weights = jnp.exp(_scores(q, k, causal, scale) - logs[..., None])
    along = (_wide(g) * _wide(y)).sum(axis=-1, keepdims=True)
    product = functools.partial(jnp.matmul, preferred_element_type=weights.dtype)
    change = (weights * (product(g, jnp.swapaxes(v, -1, -2)) - along)).astype(q.dtype)
    dv = product(jnp.swapaxes(weights.astype(g.dtype), -1, -2), g)
    dq, dk = product(change, k) * scale, product(jnp.swapaxes(change, -1, -2), q) * scale
    return dq.astype(q.dtype), dk.astype(k.dtype), dv.astype(v.dtype)


def _scores(q: Array, k: Array, causal: bool, scale: float) -> Array:
    """scale q k^T, in float32 at least, -inf where hidden."""
    wide = jnp.promote_types(q.dtype, "float32")
    scores = jnp.matmul(q, jnp.swapaxes(k, -1, -2), preferred_element_type=wide) * scale
    if causal:
        seen = jnp.arange(k.shape[-2]) <= jnp.arange(q.shape[-2])[:, None]
        scores = jnp.where(seen, scores, jnp.asarray(-math.inf, wide))
    return scores


def _has_a_kernel(q: Array, k: Array, v: Array) -> bool:
    """Return True if cuDNN fuses this attention: 16-bit floats, a GPU since Ampere, head sizes of a multiple of 8 up to 128."""
    fits = q.ndim == 4 and q.dtype.itemsize == 2 and q.shape[-1] % 8 == 0 and q.shape[-1] <= 128
    return fits and q.shape[-1] == v.shape[-1] and q.size > 0 and _compute_capability() >= 8


def _turned(a: Array) -> Array:
    """(batch, heads, steps, features) as (batch, steps, heads, features), or back."""
    return jnp.swapaxes(a, 1, 2)


# Random bits: Threefry-2x32 (Salmon et al. 2011), a keyed counter, so that streams are the same on every machine.

_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))


def random_bits(key: Any, counter: Any, count: int) -> Array:
    """`count` random uint32: the blocks numbered `counter`, `counter` + 1, ... of the stream with this key."""
    k0, k1 = (jnp.asarray(k, "uint32") for k in key)
    return _threefry(k0, k1, jnp.asarray(counter, "uint64"), count=count)


@_compiled("count")
def _threefry(k0: Array, k1: Array, counter: Array, *, count: int) -> Array:
    numbers = jnp.arange((count + 1) // 2, dtype="uint64") + counter
    keys = (k0, k1, k0 ^ k1 ^ jnp.uint32(0x1BD11BDA))
    x0, x1 = (numbers >> 32).astype("uint32") + k0, numbers.astype("uint32") + k1
    for group in range(5):
        for r in _ROTATIONS[group % 2]:
            x0 = x0 + x1
            x1 = ((x1 << r) | (x1 >> (32 - r))) ^ x0
        x0 = x0 + keys[(group + 1) % 3]
        x1 = x1 + keys[(group + 2) % 3] + jnp.uint32(group + 1)
    return jnp.stack([x0, x1], axis=1).reshape(-1)[:count]
