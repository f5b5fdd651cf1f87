"""Convolution and pooling in one, two and three dimensions, and interpolation. Images are (batch, channels, *space)."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

from nnatomy.backends import B
from nnatomy.ops import indexing, reductions, shapes
from nnatomy.ops.primitive import primitive

Size = int | Sequence[int]
Padding = Size | str

# conv is linear in x and in w. Its two adjoints are each linear in their two arguments, and the three derive into one another.


@primitive(
    lambda g, y, x, w, **how: _conv_input(g, w, space=x.shape[2:], **how),
    lambda g, y, x, w, **how: _conv_weight(x, g, kernel=w.shape[2:], **how),
)
def _conv(x: Any, w: Any, **how: Any) -> Any:
    return B.conv(x, w, **how)


@primitive(
    lambda u, y, g, w, space, **how: _conv(u, w, **how),
    lambda u, y, g, w, space, **how: _conv_weight(u, g, kernel=w.shape[2:], **how),
)
def _conv_input(g: Any, w: Any, *, space: tuple[int, ...], **how: Any) -> Any:
    return B.conv_input(g, w, space=space, **how)


@primitive(
    lambda u, y, x, g, kernel, **how: _conv_input(g, u, space=x.shape[2:], **how),
    lambda u, y, x, g, kernel, **how: _conv(x, u, **how),
)
def _conv_weight(x: Any, g: Any, *, kernel: tuple[int, ...], **how: Any) -> Any:
    return B.conv_weight(x, g, kernel=kernel, **how)


def conv(
    x: Any, weight: Any, bias: Any = None, *, stride: Size = 1, padding: Padding = 0, dilation: Size = 1, groups: int = 1
) -> Any:
    """Cross-correlation of x (batch, channels, *space) with weight (out, channels / groups, *kernel), plus bias (out).

    `padding`: zeros on both sides of each axis, or "same" (stride 1) or "valid". Raises ValueError where shapes do not fit.
    """
    n = len(weight.shape) - 2
    kernel = tuple(weight.shape[2:])
    _check(x, weight, n, groups)
    strides, dilations = _each(stride, n), _each(dilation, n)
    how = {"stride": strides, "padding": _pairs(padding, kernel, strides, dilations), "dilation": dilations, "groups": groups}
    _check_space(x.shape[2:], kernel, how)
    return _with_bias(_conv(x, weight, **how), bias)


def conv_transpose(
    x: Any, weight: Any, bias: Any = None, *, stride: Size = 1, padding: Size = 0, output_padding: Size = 0,
    dilation: Size = 1, groups: int = 1,
) -> Any:  # fmt: skip
    """The adjoint of `conv` in its input: x (batch, in, *space), weight (in, out / groups, *kernel).

    Space out = (n - 1) stride - 2 padding + dilation (kernel - 1) + output_padding + 1.
    """
    n = len(weight.shape) - 2
    if len(x.shape) != n + 2 or x.shape[1] != weight.shape[0]:
        raise ValueError(f"conv_transpose() needs (batch, {weight.shape[0]}, *space) with {n} axes of space. Received {x.shape}.")
    strides, dilations, pads, extra = (_each(v, n) for v in (stride, dilation, padding, output_padding))
    sizes = zip(x.shape[2:], strides, pads, dilations, weight.shape[2:], extra, strict=True)
    space = tuple((m - 1) * s - 2 * p + d * (k - 1) + e + 1 for m, s, p, d, k, e in sizes)
    pairs = tuple((p, p) for p in pads)
    y = _conv_input(x, weight, space=space, stride=strides, padding=pairs, dilation=dilations, groups=groups)
    return _with_bias(y, bias)


def _with_bias(y: Any, bias: Any) -> Any:
    return y if bias is None else y + shapes.reshape(bias, (-1,) + (1,) * (len(y.shape) - 2))


def _each(value: Size, n: int) -> tuple[int, ...]:
    return (value,) * n if isinstance(value, int) else tuple(value)


def _pairs(padding: Padding, kernel: Sequence[int], stride: Sequence[int], dilation: Sequence[int]) -> tuple[Any, ...]:
    if padding == "valid":
        return ((0, 0),) * len(kernel)
    if padding == "same":
        if any(s != 1 for s in stride):
            raise ValueError(f'padding="same" needs stride 1. Received {tuple(stride)}; give the padding as a number.')
        totals = [d * (k - 1) for k, d in zip(kernel, dilation, strict=True)]
        return tuple((t // 2, t - t // 2) for t in totals)
    if isinstance(padding, str):
        raise ValueError(f'padding must be a number, "same" or "valid". Received {padding!r}.')
    return tuple((p, p) for p in _each(padding, len(kernel)))


def _check(x: Any, weight: Any, n: int, groups: int) -> None:
    if len(x.shape) != n + 2:
        raise ValueError(f"A {n}-D convolution needs (batch, channels and {n} axes of space). Received shape {tuple(x.shape)}.")
    if x.shape[1] != weight.shape[1] * groups:
        raise ValueError(f"This convolution takes {weight.shape[1] * groups} channels. Received shape {tuple(x.shape)}.")


def _check_space(space: Sequence[int], kernel: Sequence[int], how: dict[str, Any]) -> None:
    out = B.conv_shape(space, kernel, how["stride"], how["padding"], how["dilation"])
    if any(n < 1 for n in out):
        raise ValueError(f"A kernel of {tuple(kernel)} does not fit an input of {tuple(space)}; pad the input or use a smaller kernel.")


# Pooling


@primitive(lambda gs, ys, x, **how: _pool_scatter(gs[0], position=_plain(ys[1]), space=x.shape[2:], **how))
def _max_pool(x: Any, **how: Any) -> Any:
    return B.max_pool(x, **how)


@primitive(lambda u, y, g, position, space, **how: _pool_gather(u, position=position, **how))
def _pool_scatter(g: Any, *, position: Any, space: tuple[int, ...], **how: Any) -> Any:
    return B.pool_scatter(g, position, space=space, **how)


@primitive(lambda g, y, x, position, **how: _pool_scatter(g, position=position, space=x.shape[2:], **how))
def _pool_gather(x: Any, *, position: Any, **how: Any) -> Any:
    return B.pool_gather(x, position, **how)


@primitive(lambda g, y, x, **how: _sum_pool_input(g, space=x.shape[2:], **how))
def _sum_pool(x: Any, **how: Any) -> Any:
    return B.sum_pool(x, **how)


@primitive(lambda u, y, g, space, **how: _sum_pool(u, **how))
def _sum_pool_input(g: Any, *, space: tuple[int, ...], **how: Any) -> Any:
    return B.sum_pool_input(g, space=space, **how)


def _plain(t: Any) -> Any:
    return getattr(t, "data", t) if not hasattr(t, "strides") else t


def _pooling(x: Any, kernel: Size, stride: Size | None, padding: Size) -> dict[str, Any]:
    n = len(x.shape) - 2
    kernels = _each(kernel, n)
    pads = _each(padding, n)
    if any(2 * p > k for p, k in zip(pads, kernels, strict=True)):
        raise ValueError(f"Pooling needs padding of at most half the kernel {kernels}. Received {pads}.")
    return {"kernel": kernels, "stride": _each(kernel if stride is None else stride, n), "padding": tuple((p, p) for p in pads)}


def max_pool(x: Any, kernel: Size, stride: Size | None = None, padding: Size = 0, dilation: Size = 1) -> Any:
    """The largest value of each window; the gradient goes to the first of ties. `stride` is the kernel if None."""
    how = _pooling(x, kernel, stride, padding) | {"dilation": _each(dilation, len(x.shape) - 2)}
    _check_space(x.shape[2:], how["kernel"], how)
    return _max_pool(x, **how)[0]


def avg_pool(x: Any, kernel: Size, stride: Size | None = None, padding: Size = 0, count_include_pad: bool = True) -> Any:
    """The mean of each window; zeros of the padding count unless `count_include_pad` is False."""
    how = _pooling(x, kernel, stride, padding)
    _check_space(x.shape[2:], how["kernel"], how | {"dilation": (1,) * len(how["kernel"])})
    total = _sum_pool(x, **how)
    if count_include_pad:
        return total / math.prod(how["kernel"])
    return total / B.sum_pool(B.ones((1, 1, *x.shape[2:]), dtype=x.dtype), **how)


def _adaptive(x: Any, size: Size, reduce: Any) -> Any:
    """Reduces the cells floor(i n / m) to ceil((i + 1) n / m) of each axis, as PyTorch does."""
    n = len(x.shape) - 2
    sizes = _each(size, n)
    if all(s % m == 0 for s, m in zip(x.shape[2:], sizes, strict=True)):
        parts = [p for s, m in zip(x.shape[2:], sizes, strict=True) for p in (m, s // m)]
        return reduce(shapes.reshape(x, (*x.shape[:2], *parts)), tuple(range(3, 3 + 2 * n, 2)))
    bounds = [[(i * s // m, -(-(i + 1) * s // m)) for i in range(m)] for s, m in zip(x.shape[2:], sizes, strict=True)]
    cells = [
        reduce(x[(..., *(slice(*b) for b in cell))], tuple(range(2, 2 + n))) for cell in itertools.product(*bounds)
    ]
    return shapes.reshape(shapes.stack(cells, axis=-1), (*x.shape[:2], *sizes))


def adaptive_avg_pool(x: Any, size: Size) -> Any:
    """Means over cells so that the result has the given size."""
    return _adaptive(x, size, reductions.mean)


def adaptive_max_pool(x: Any, size: Size) -> Any:
    """Maxima over cells so that the result has the given size."""
    return _adaptive(x, size, reductions.max)


# Patches and interpolation


def unfold(x: Any, kernel: Size, stride: Size = 1, padding: Size = 0, dilation: Size = 1) -> Any:
    """The patches under each kernel position as columns: (batch, channels x kernel, positions), as torch.nn.functional.unfold."""
    n, channels = len(x.shape) - 2, x.shape[1]
    kernels = _each(kernel, n)
    size = math.prod(kernels)
    one_hot = B.asarray(B.arange(size)[:, None] == B.arange(size)[None, :]).astype(x.dtype).reshape(size, 1, *kernels)
    picked = conv(
        shapes.reshape(x, (x.shape[0] * channels, 1, *x.shape[2:])), one_hot,
        stride=stride, padding=padding, dilation=dilation,
    )  # fmt: skip
    return shapes.reshape(picked, (x.shape[0], channels * size, -1))


def interpolate(
    x: Any, size: Size | None = None, scale: float | None = None, mode: str = "nearest", align_corners: bool = False
) -> Any:
    """Images at another size: "nearest", "linear" (bilinear, trilinear) or "area", as torch.nn.functional.interpolate."""
    n = len(x.shape) - 2
    if (size is None) == (scale is None):
        raise ValueError("interpolate() needs either size or scale. Received both or neither.")
    sizes = _each(size, n) if size is not None else tuple(int(m * float(scale or 1)) for m in x.shape[2:])
    if mode == "area":
        return adaptive_avg_pool(x, sizes)
    if mode not in ("nearest", "linear"):
        raise ValueError(f'interpolate() mode must be "nearest", "linear" or "area". Received {mode!r}.')
    for axis, (old, new) in enumerate(zip(x.shape[2:], sizes, strict=True), start=2):
        step = 1 / scale if scale is not None else old / new
        place = B.arange(new)
        if mode == "nearest":
            x = indexing.take(x, B.minimum(B.floor(place * step).astype("int64"), old - 1), axis)
            continue
        at = place * ((old - 1) / max(new - 1, 1)) if align_corners else B.maximum((place + 0.5) * step - 0.5, 0)
        low = B.minimum(B.floor(at).astype("int64"), old - 1)
        share = (at - low).astype(x.dtype).reshape((-1,) + (1,) * (len(x.shape) - axis - 1))
        high = B.minimum(low + 1, old - 1)
        x = indexing.take(x, low, axis) * (1 - share) + indexing.take(x, high, axis) * share
    return x
