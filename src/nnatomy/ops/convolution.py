"""Convolution and pooling in one, two and three dimensions, and interpolation. Images are (batch, channels, *space)."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

from nnatomy.backends import B
from nnatomy.errors import UserError
from nnatomy.ops import indexing, pointwise, reductions, shapes
from nnatomy.ops.primitive import primitive
from nnatomy.tensor import Tensor

Size = int | Sequence[int]
Padding = Size | str

# conv is linear in x and in w. Its two adjoints are each linear in their two arguments, and the three derive into each other.


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

    `padding`: zeros on both sides of each axis, or "same" (stride 1) or "valid". Raises UserError where shapes do not fit.
    """
    n = _space(weight)
    if len(x.shape) != n + 2:
        raise UserError(
            f"A {n}-D convolution needs (batch, channels and {n} axes of space). Received shape {tuple(x.shape)}. "
            "Reshape the input to that."
        )
    if x.shape[1] != weight.shape[1] * groups or weight.shape[0] % groups:
        raise UserError(
            f"Weights of shape {tuple(weight.shape)} in {groups} group(s) take {weight.shape[1] * groups} channels and need "
            f"a first axis divisible by the groups. Received an input of shape {tuple(x.shape)}. "
            "Give an input with these channels, or other weights."
        )
    kernel, strides, dilations = tuple(weight.shape[2:]), _positive("stride", stride, n), _positive("dilation", dilation, n)
    how = {"stride": strides, "padding": _pairs(padding, kernel, strides, dilations), "dilation": dilations}
    _check_fit(x.shape[2:], kernel, **how)
    return _with_bias(_conv(x, weight, groups=groups, **how), bias)


def conv_transpose(
    x: Any, weight: Any, bias: Any = None, *, stride: Size = 1, padding: Size = 0, output_padding: Size = 0,
    dilation: Size = 1, groups: int = 1,
) -> Any:  # fmt: skip
    """The adjoint of `conv` in its input: x (batch, in, *space), weight (in, out / groups, *kernel).

    Space out = (n - 1) stride - 2 padding + dilation (kernel - 1) + output_padding + 1.
    """
    n = _space(weight)
    if len(x.shape) != n + 2 or x.shape[1] != weight.shape[0] or x.shape[1] % groups:
        raise UserError(
            f"Weights of shape {tuple(weight.shape)} in {groups} group(s) take (batch, {weight.shape[0]}, {n} axes of space). "
            f"Received shape {tuple(x.shape)}. Give an input with these channels, or other weights."
        )
    strides, dilations = _positive("stride", stride, n), _positive("dilation", dilation, n)
    pads, extra = _each("padding", padding, n), _each("output_padding", output_padding, n)
    if any(not 0 <= e < max(s, d) for e, s, d in zip(extra, strides, dilations, strict=True)):
        raise UserError(
            f"output_padding must be smaller than the stride or the dilation. Received {extra}. "
            "Use a smaller output_padding."
        )
    sizes = zip(x.shape[2:], strides, pads, dilations, weight.shape[2:], extra, strict=True)
    space = tuple((m - 1) * s - 2 * p + d * (k - 1) + e + 1 for m, s, p, d, k, e in sizes)
    if any(m < 1 for m in space):
        raise UserError(
            f"A transposed convolution gives at least one place an axis. Received an input that gives the space {space}. "
            "Use less padding or a larger input."
        )
    beyond = [max(e - p, 0) for p, e in zip(pads, extra, strict=True)]  # output that no input reaches
    reached = tuple(m - b for m, b in zip(space, beyond, strict=True))
    pairs = tuple((p, max(p - e, 0)) for p, e in zip(pads, extra, strict=True))
    y = _conv_input(x, weight, space=reached, stride=strides, padding=pairs, dilation=dilations, groups=groups)
    if any(beyond):
        y = shapes.pad(y, [(0, 0), (0, 0), *((0, b) for b in beyond)])
    return _with_bias(y, bias)


def _space(weight: Any) -> int:
    if len(weight.shape) < 3:
        raise UserError(
            f"A convolution needs weights (out, in, *kernel). Received shape {tuple(weight.shape)}. "
            "Reshape the weights to that."
        )
    return len(weight.shape) - 2


def _with_bias(y: Any, bias: Any) -> Any:
    return y if bias is None else y + shapes.reshape(bias, (-1,) + (1,) * (len(y.shape) - 2))


def _each(name: str, value: Size, n: int) -> tuple[int, ...]:
    """One number for each of n axes of space."""
    values = shapes.for_each(value, n)
    if len(values) != n or any(v < 0 for v in values):
        raise UserError(f"{name} must be a number >= 0, or {n} of them. Received {value}. Use {name}=1, for example.")
    return values


def _positive(name: str, value: Size, n: int) -> tuple[int, ...]:
    values = _each(name, value, n)
    if 0 in values:
        raise UserError(f"{name} must be at least 1. Received {value}. Use {name}=1, for example.")
    return values


def _pairs(padding: Padding, kernel: Sequence[int], stride: Sequence[int], dilation: Sequence[int]) -> tuple[Any, ...]:
    if padding == "valid":
        return ((0, 0),) * len(kernel)
    if padding == "same":
        if any(s != 1 for s in stride):
            raise UserError(f'padding="same" needs stride 1. Received {tuple(stride)}. Give the padding as a number.')
        totals = [d * (k - 1) for k, d in zip(kernel, dilation, strict=True)]
        return tuple((t // 2, t - t // 2) for t in totals)
    if isinstance(padding, str):
        raise UserError(f'padding must be a number, "same" or "valid". Received {padding!r}. Use padding=0, for example.')
    return tuple((p, p) for p in _each("padding", padding, len(kernel)))


def _check_fit(space: Sequence[int], kernel: Sequence[int], stride: Any, padding: Any, dilation: Any) -> None:
    if any(n < 1 for n in B.conv_shape(space, kernel, stride, padding, dilation)):
        raise UserError(
            f"A kernel must fit into its input. Received a kernel of {tuple(kernel)} for an input of {tuple(space)}. "
            "Pad the input or use a smaller kernel."
        )


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
    return t.data if isinstance(t, Tensor) else t


def _pooling(x: Any, kernel: Size, stride: Size | None, padding: Size, dilation: Size, ceil_mode: bool) -> dict[str, Any]:
    """The windows of a pooling; with `ceil_mode` the padding grows for a last window that starts inside the input."""
    n = len(x.shape) - 2
    if n < 1:
        raise UserError(
            f"Pooling needs (batch, channels, *space). Received shape {tuple(x.shape)}. "
            "Reshape the input to that."
        )
    kernels, pads, dilations = _positive("kernel", kernel, n), _each("padding", padding, n), _positive("dilation", dilation, n)
    strides = kernels if stride is None else _positive("stride", stride, n)
    if any(2 * p > k for p, k in zip(pads, kernels, strict=True)):
        raise UserError(
            f"Pooling needs padding of at most half the kernel {kernels}. Received {pads}. "
            "Use less padding or a larger kernel."
        )
    pairs = []
    for m, k, s, p, d in zip(x.shape[2:], kernels, strides, pads, dilations, strict=True):
        left = (m + 2 * p - d * (k - 1) - 1) % s
        wider = ceil_mode and left > 0 and m + p > (m + 2 * p - d * (k - 1) - 1) // s * s + s
        pairs.append((p, p + s - left if wider else p))
    how = {"stride": strides, "padding": tuple(pairs), "dilation": dilations}
    _check_fit(x.shape[2:], kernels, **how)
    return {"kernel": kernels, **how}


def max_pool(
    x: Any, kernel: Size, stride: Size | None = None, padding: Size = 0, dilation: Size = 1, ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:  # fmt: skip
    """The largest value of each window; the gradient goes to the first of ties. `stride` is the kernel if None.

    With `return_indices` also its flat place in the space of x, int64.
    """
    how = _pooling(x, kernel, stride, padding, dilation, ceil_mode)
    y, position = _max_pool(x, **how)
    return (y, _places(position, x.shape[2:], **how)) if return_indices else y


def _places(
    position: Any, space: Sequence[int], kernel: Sequence[int], stride: Sequence[int], padding: Any, dilation: Sequence[int]
) -> Any:
    """Flat places in space, from flat positions in each window's kernel."""
    left, flat, n = _plain(position).astype("int64"), B.zeros((), dtype="int64"), len(space)
    for i in reversed(range(n)):
        inside, left = left % kernel[i], left // kernel[i]
        windows = B.arange(position.shape[2 + i]).reshape((-1,) + (1,) * (n - i - 1))
        flat = flat + (windows * stride[i] - padding[i][0] + inside * dilation[i]) * math.prod(space[i + 1 :])
    return Tensor(flat) if isinstance(position, Tensor) else flat


def avg_pool(
    x: Any, kernel: Size, stride: Size | None = None, padding: Size = 0, count_include_pad: bool = True,
    ceil_mode: bool = False, divisor: int | None = None,
) -> Any:  # fmt: skip
    """The mean of each window, or its sum over `divisor`; zeros of the padding count unless `count_include_pad` is False."""
    x = pointwise.real(x)
    how = _pooling(x, kernel, stride, padding, 1, ceil_mode)
    del how["dilation"]
    total = _sum_pool(x, **how)
    if divisor is not None:
        return total / divisor
    beyond = [(0, after - before) for before, after in how["padding"]]  # of ceil_mode: never counted
    if count_include_pad and not any(after for _, after in beyond):
        return total / math.prod(how["kernel"])
    counted = [n + 2 * before if count_include_pad else n for n, (before, _) in zip(x.shape[2:], how["padding"], strict=True)]
    around = tuple(beyond) if count_include_pad else how["padding"]
    return total / B.sum_pool(B.ones((1, 1, *counted), dtype=x.dtype), **how | {"padding": around})


def adaptive_avg_pool(x: Any, size: Size) -> Any:
    """Means over the cells floor(i n / m) to ceil((i + 1) n / m) of each axis, so that the result has `size`."""
    return _adaptive(x, size, avg_pool, lambda cell: reductions.mean(cell, -1))


def adaptive_max_pool(x: Any, size: Size, return_indices: bool = False) -> Any:
    """Maxima over the same cells; the gradient goes to the first of ties. With `return_indices` also their flat places."""
    y = _adaptive(x, size, max_pool, _first_max)
    if not return_indices:
        return y
    # each place's own number, cut into cells as the values are
    places = B.broadcast_to(B.arange(math.prod(x.shape[2:])).reshape(x.shape[2:]), x.shape)
    sizes = _positive("size", size, len(x.shape) - 2)
    found = [_place_of_max(*cells) for cells in zip(_cells(_plain(x), sizes), _cells(places, sizes))]
    flat = B.stack(found, axis=-1).reshape((*x.shape[:2], *sizes))
    return y, Tensor(flat) if isinstance(x, Tensor) else flat


def _place_of_max(cell: Any, places: Any) -> Any:
    at = reductions.argmax(cell, -1, keepdims=True)
    return shapes.squeeze(indexing.gather(places, at, -1), -1)


def _first_max(cell: Any) -> Any:
    at = reductions.argmax(cell, -1, keepdims=True)
    return shapes.squeeze(indexing.gather(cell, at, -1), -1)


def _adaptive(x: Any, size: Size, pool: Any, reduce: Any) -> Any:
    sizes = _positive("size", size, len(x.shape) - 2)
    space = x.shape[2:]
    if all(s % m == 0 for s, m in zip(space, sizes, strict=True)):
        return pool(x, tuple(s // m for s, m in zip(space, sizes, strict=True)))
    return shapes.reshape(shapes.stack([reduce(cell) for cell in _cells(x, sizes)], axis=-1), (*x.shape[:2], *sizes))


def _cells(x: Any, sizes: Sequence[int]) -> list[Any]:
    """The cells of space, each (batch, channels, places)."""
    space = x.shape[2:]
    bounds = [[slice(i * s // m, -(-(i + 1) * s // m)) for i in range(m)] for s, m in zip(space, sizes, strict=True)]
    return [shapes.flatten(x[(..., *cell)], 2) for cell in itertools.product(*bounds)]


# Patches and interpolation


def unfold(x: Any, kernel: Size, stride: Size = 1, padding: Size = 0, dilation: Size = 1) -> Any:
    """The patches under the kernel as columns: (batch, channels x kernel, positions), as torch.nn.functional.unfold."""
    n, channels = len(x.shape) - 2, x.shape[1]
    kernels = _positive("kernel", kernel, n)
    size = math.prod(kernels)
    one_hot = B.asarray(B.arange(size)[:, None] == B.arange(size)[None, :]).astype(x.dtype).reshape(size, 1, *kernels)
    picked = conv(
        shapes.reshape(x, (x.shape[0] * channels, 1, *x.shape[2:])), one_hot,
        stride=stride, padding=padding, dilation=dilation,
    )  # fmt: skip
    return shapes.reshape(picked, (x.shape[0], channels * size, math.prod(picked.shape[2:])))


def interpolate(
    x: Any, size: Size | None = None, scale: float | Sequence[float] | None = None, mode: str = "nearest",
    align_corners: bool = False,
) -> Any:  # fmt: skip
    """Images at another size: "nearest", "linear" (bilinear, trilinear), "cubic" (bicubic) or "area", as in PyTorch.

    "cubic" is Keys' convolution (1981) with a = -0.75, one axis after another.
    """
    n = len(x.shape) - 2
    if (size is None) == (scale is None):
        raise UserError("interpolate() needs either size or scale. Received both or neither. Give one of them.")
    scales = (scale,) * n if isinstance(scale, int | float) else tuple(scale or ())
    if scales:
        sizes = tuple(int(m * s) for m, s in zip(x.shape[2:], scales, strict=True))
        if min(sizes) < 1:
            raise UserError(
                f"interpolate() must leave one place an axis. Received scale {scale} for {tuple(x.shape[2:])}. "
                "Use a larger scale."
            )
    else:
        sizes = _positive("size", size or 0, n)
    if mode == "area":
        return adaptive_avg_pool(x, sizes)
    if mode not in ("nearest", "linear", "bilinear", "trilinear", "cubic", "bicubic"):
        known = '"nearest", "linear", "cubic" or "area"'
        raise UserError(f'interpolate() mode must be {known}. Received {mode!r}. Use mode="nearest".')
    for axis, (old, new) in enumerate(zip(x.shape[2:], sizes, strict=True), start=2):
        step = 1 / scales[axis - 2] if scales else old / new
        if mode == "nearest":
            sources = B.arange(new).astype("float32") * B.asarray(step, dtype="float32")  # as PyTorch rounds them
            x = indexing.take(x, B.minimum(sources.astype("int64"), old - 1), axis)
            continue
        x = pointwise.real(x)
        # in Python's numbers: a compiler that rounds `at` in two ways would take a fraction that does not belong to `low`
        corners = (old - 1) / max(new - 1, 1)
        at = [i * corners if align_corners else (i + 0.5) * step - 0.5 for i in range(new)]
        if mode in ("cubic", "bicubic"):
            x = _cubic(x, axis, at)
            continue
        at = [max(a, 0.0) for a in at]
        low = [min(int(a), old - 1) for a in at]
        share = B.asarray([a - i for a, i in zip(at, low)], dtype=x.dtype).reshape((-1,) + (1,) * (len(x.shape) - axis - 1))
        below, above = (indexing.take(x, B.asarray(rows), axis) for rows in (low, [min(i + 1, old - 1) for i in low]))
        x = below * (1 - share) + above * share
    return x


def _cubic(x: Any, axis: int, at: list[float]) -> Any:
    """Values between the places of an axis: each from the two places on either side; those at the ends are repeated."""

    def near(t: float) -> float:
        return (1.25 * t - 2.25) * t * t + 1

    def far(t: float) -> float:
        return ((-0.75 * t + 3.75) * t - 6) * t + 3

    last, lows = x.shape[axis] - 1, [math.floor(a) for a in at]
    shares = [a - low for a, low in zip(at, lows, strict=True)]
    parts = []
    for offset, weigh in ((-1, lambda t: far(1 + t)), (0, near), (1, lambda t: near(1 - t)), (2, lambda t: far(2 - t))):
        rows = B.asarray([min(max(low + offset, 0), last) for low in lows])
        weight = B.asarray([weigh(t) for t in shares], dtype=x.dtype).reshape((-1,) + (1,) * (len(x.shape) - axis - 1))
        parts.append(indexing.take(x, rows, axis) * weight)
    return parts[0] + parts[1] + parts[2] + parts[3]
