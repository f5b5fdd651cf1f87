"""Functions of images (batch, channels, *space) in PyTorch's names and arguments; the operations are in ops/convolution.py.

One image (channels, *space) is a batch of one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from nnatomy import ops, random
from nnatomy.backends import B, known
from nnatomy.errors import UserError
from nnatomy.ops.indexing import raw
from nnatomy.ops.shapes import for_each
from nnatomy.tensor import Tensor

__all__ = [
    "adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d", "adaptive_max_pool1d", "adaptive_max_pool2d",
    "adaptive_max_pool3d", "avg_pool1d", "avg_pool2d", "avg_pool3d", "channel_shuffle", "conv1d", "conv2d", "conv3d",
    "conv_transpose1d", "conv_transpose2d", "conv_transpose3d", "fold", "fractional_max_pool2d", "fractional_max_pool3d",
    "lp_pool1d", "lp_pool2d", "lp_pool3d", "max_pool1d", "max_pool2d", "max_pool3d",
    "max_unpool1d", "max_unpool2d", "max_unpool3d", "pixel_shuffle", "pixel_unshuffle", "unfold",
]  # fmt: skip

Size = int | Sequence[int]


def batched(x: Any, axes: int, function: Callable[[Any], Any]) -> Any:
    """function(x), and where x has no more than `axes` axes, that of a batch of one, which is taken off the results again."""
    if len(x.shape) != axes:
        return function(x)
    found = function(ops.expand_dims(x, 0))
    return tuple(ops.squeeze(y, 0) for y in found) if isinstance(found, tuple) else ops.squeeze(found, 0)


def _conv(
    input: Any, weight: Any, bias: Any = None, stride: Size = 1, padding: Size | str = 0, dilation: Size = 1, groups: int = 1
) -> Any:
    """Cross-correlation of input (batch, channels, *space) with weight (out, channels / groups, *kernel), plus bias (out)."""
    how: dict[str, Any] = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    return batched(input, len(weight.shape) - 1, lambda x: ops.conv(x, weight, bias, **how))


def _conv_transpose(
    input: Any, weight: Any, bias: Any = None, stride: Size = 1, padding: Size = 0, output_padding: Size = 0, groups: int = 1,
    dilation: Size = 1,
) -> Any:  # fmt: skip
    """The adjoint of a convolution in its input; weight (in, out / groups, *kernel)."""
    how: dict[str, Any] = {
        "stride": stride, "padding": padding, "output_padding": output_padding, "dilation": dilation, "groups": groups
    }
    return batched(input, len(weight.shape) - 1, lambda x: ops.conv_transpose(x, weight, bias, **how))


conv1d = conv2d = conv3d = _conv
conv_transpose1d = conv_transpose2d = conv_transpose3d = _conv_transpose


def _pools(axes: int) -> tuple[Callable[..., Any], ...]:
    """The poolings of one number of axes of space."""

    def max_pool(
        input: Any, kernel_size: Size, stride: Size | None = None, padding: Size = 0, dilation: Size = 1,
        ceil_mode: bool = False, return_indices: bool = False,
    ) -> Any:  # fmt: skip
        """The largest value of each window, and with `return_indices` its flat place in the space of the input."""
        how = (kernel_size, stride, padding, dilation, ceil_mode, return_indices)
        return batched(input, axes + 1, lambda x: ops.max_pool(x, *how))

    def avg_pool(
        input: Any, kernel_size: Size, stride: Size | None = None, padding: Size = 0, ceil_mode: bool = False,
        count_include_pad: bool = True, divisor_override: int | None = None,
    ) -> Any:  # fmt: skip
        """The mean of each window, or its sum divided by `divisor_override`."""
        if divisor_override == 0:
            raise UserError("avg_pool() needs divisor_override other than 0. Received 0. Leave it out for the mean.")
        how = (kernel_size, stride, padding, count_include_pad, ceil_mode, divisor_override)
        return batched(input, axes + 1, lambda x: ops.avg_pool(x, *how))

    def adaptive_max_pool(input: Any, output_size: Any, return_indices: bool = False) -> Any:
        """The largest value of each of `output_size` cells, and with `return_indices` its flat place in the input's space."""
        return batched(input, axes + 1, lambda x: ops.adaptive_max_pool(x, _sizes(x, output_size), return_indices))

    def adaptive_avg_pool(input: Any, output_size: Any) -> Any:
        """The mean of each of `output_size` cells; None is the input's own size."""
        return batched(input, axes + 1, lambda x: ops.adaptive_avg_pool(x, _sizes(x, output_size)))

    def max_unpool(
        input: Any, indices: Any, kernel_size: Size, stride: Size | None = None, padding: Size = 0,
        output_size: Sequence[int] | None = None,
    ) -> Any:  # fmt: skip
        """Zeros with each value at its flat place `indices` in space, as `max_pool` returned it: a partial inverse.

        Space is (n - 1) stride - 2 padding + kernel unless `output_size` says another.
        """
        sizes = [for_each(v, axes) for v in (kernel_size, stride or kernel_size, padding)]
        given = input.shape[len(input.shape) - axes :]
        space = [(n - 1) * s - 2 * p + k for n, k, s, p in zip(given, *sizes)]
        if output_size is not None:
            wanted = [int(n) for n in tuple(output_size)[-axes:]]
            if len(wanted) != axes or any(abs(n - m) >= s for n, m, s in zip(wanted, space, sizes[1])):
                raise UserError(
                    f"max_unpool{axes}d() needs output_size near {tuple(space)}, less than a stride away. "
                    f"Received {tuple(output_size)}. Leave output_size out for that."
                )
            space = wanted
        return _placed(input, raw(indices), axes, space)

    return max_pool, avg_pool, adaptive_max_pool, adaptive_avg_pool, max_unpool


def _sizes(x: Any, size: Any) -> tuple[int, ...]:
    space = x.shape[2:]
    sizes = for_each(size, len(space)) if size is not None else (None,) * len(space)
    if len(sizes) != len(space):
        raise UserError(
            f"output_size must be one number, or {len(space)}: one for each axis of space. Received {size!r}. "
            "Give as many numbers as there are axes of space."
        )
    return tuple(own if n is None else n for own, n in zip(space, sizes))


def _placed(input: Any, places: Any, axes: int, space: Sequence[int]) -> Any:
    lead = tuple(input.shape[: len(input.shape) - axes])
    rows, inside = math.prod(lead), math.prod(input.shape[len(lead) :])
    if tuple(places.shape) != tuple(input.shape) or places.dtype.kind not in "iu":
        raise UserError(
            f"max_unpool{axes}d() needs an integer index for each value, {tuple(input.shape)}. "
            f"Received {tuple(places.shape)} of {places.dtype}. Give those of return_indices=True."
        )
    size, found = math.prod(space), known(places)
    if found is not None and found.size and not (found.min() >= 0 and found.max() < size):
        raise UserError(
            f"max_unpool{axes}d() needs indices below {size}, the places of {tuple(space)}. Received {found.max()}. "
            "Give the pooled input's size as output_size."
        )
    flat = B.zeros((rows, size), dtype=input.dtype)
    index = (B.arange(rows)[:, None], places.reshape((rows, inside)))
    values = ops.reshape(input, (rows, inside))
    return ops.reshape(ops.index_put(flat, index, values), (*lead, *space))


max_pool1d, avg_pool1d, adaptive_max_pool1d, adaptive_avg_pool1d, max_unpool1d = _pools(1)
max_pool2d, avg_pool2d, adaptive_max_pool2d, adaptive_avg_pool2d, max_unpool2d = _pools(2)
max_pool3d, avg_pool3d, adaptive_max_pool3d, adaptive_avg_pool3d, max_unpool3d = _pools(3)


def unfold(input: Any, kernel_size: Size, dilation: Size = 1, padding: Size = 0, stride: Size = 1) -> Any:
    """The patches under the kernel as columns: (batch, channels x kernel, positions) of (batch, channels, height, width)."""
    return batched(input, 3, lambda x: ops.unfold(x, kernel_size, stride, padding, dilation))


def fold(
    input: Any, output_size: Size, kernel_size: Size, dilation: Size = 1, padding: Size = 0, stride: Size = 1
) -> Any:
    """The adjoint of `unfold`: patches (batch, channels x kernel, positions) added up where they overlap.

    The result is (batch, channels, *output_size). Raises UserError where the positions are not those of such an image.
    """
    if len(input.shape) == 2:
        return ops.squeeze(fold(ops.expand_dims(input, 0), output_size, kernel_size, dilation, padding, stride), 0)
    space = for_each(output_size, 2)
    kernel, dilations, pads, strides = (
        for_each(v, len(space)) for v in (kernel_size, dilation, padding, stride)
    )
    positions = [(n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, d, p, s in zip(space, kernel, dilations, pads, strides)]
    size = math.prod(kernel)
    if len(input.shape) != 3 or input.shape[1] % size or min(positions) < 1 or input.shape[2] != math.prod(positions):
        raise UserError(
            f"fold() needs patches (batch, channels x {size}, {math.prod(positions)}) for an image of {space}. "
            f"Received shape {tuple(input.shape)}. Give the kernel_size, stride and padding of unfold()."
        )
    batch, channels = input.shape[0], input.shape[1] // size
    one_hot = B.asarray(B.arange(size)[:, None] == B.arange(size)[None, :]).astype(input.dtype).reshape(size, 1, *kernel)
    maps = ops.reshape(input, (batch * channels, size, *positions))
    reached = [(m - 1) * s - 2 * p + d * (k - 1) + 1 for m, k, d, p, s in zip(positions, kernel, dilations, pads, strides)]
    more = [max(n - r, 0) for n, r in zip(space, reached)]  # what no patch reaches
    y = ops.conv_transpose(maps, one_hot, stride=strides, padding=pads, output_padding=more, dilation=dilations)
    return ops.reshape(y, (batch, channels, *space))


def pixel_shuffle(input: Any, upscale_factor: int) -> Any:
    """(..., c r^2, h, w) as (..., c, h r, w r): channels become places (Shi et al. 2016, equation 4)."""
    r = upscale_factor
    if len(input.shape) < 3 or r < 1 or input.shape[-3] % (r * r):
        raise UserError(
            f"pixel_shuffle() needs (..., channels divisible by {r * r}, height, width). Received {tuple(input.shape)}. "
            "Choose another upscale_factor."
        )
    *lead, c, h, w = input.shape
    parts = ops.reshape(input, (math.prod(lead), c // (r * r), r, r, h, w))
    return ops.reshape(ops.transpose(parts, (0, 1, 4, 2, 5, 3)), (*lead, c // (r * r), h * r, w * r))


def pixel_unshuffle(input: Any, downscale_factor: int) -> Any:
    """(..., c, h r, w r) as (..., c r^2, h, w): the inverse of `pixel_shuffle`."""
    r = downscale_factor
    if len(input.shape) < 3 or r < 1 or input.shape[-2] % r or input.shape[-1] % r:
        raise UserError(
            f"pixel_unshuffle() needs (..., channels, height, width), both divisible by {r}. Received {tuple(input.shape)}. "
            "Pad the image, or choose another downscale_factor."
        )
    *lead, c, h, w = input.shape
    parts = ops.reshape(input, (math.prod(lead), c, h // r, r, w // r, r))
    return ops.reshape(ops.transpose(parts, (0, 1, 3, 5, 2, 4)), (*lead, c * r * r, h // r, w // r))


def channel_shuffle(input: Any, groups: int) -> Any:
    """Channels of (batch, channels, ...) with the members of the groups in turn (Zhang et al. 2018, section 3.1)."""
    if len(input.shape) < 2 or groups < 1 or input.shape[1] % groups:
        raise UserError(
            f"channel_shuffle() needs channels that divide into {groups} groups. Received {tuple(input.shape)}. "
            "Choose another number of groups."
        )
    batch, c, *rest = input.shape
    return ops.reshape(ops.swapaxes(ops.reshape(input, (batch, groups, c // groups, *rest)), 1, 2), input.shape)


def _lp_pool(
    input: Any, norm_type: float, kernel_size: Size, stride: Size | None = None, ceil_mode: bool = False, *, axes: int
) -> Any:
    """(sum over each window of x^p)^(1/p) with p = norm_type (Gulcehre et al. 2014); the stride is the kernel if None."""
    if not norm_type:
        raise UserError("A pooling by a norm needs norm_type other than 0. Received 0. Use norm_type=2.")
    kernel = for_each(kernel_size, axes)

    def pooled(x: Any) -> Any:
        means = ops.avg_pool(x ** float(norm_type), kernel, stride, 0, True, ceil_mode)
        return (means * math.prod(kernel)) ** (1 / norm_type)

    return batched(input, axes + 1, pooled)


def lp_pool1d(input: Any, norm_type: float, kernel_size: Size, stride: Size | None = None, ceil_mode: bool = False) -> Any:
    """(sum over each window of x^p)^(1/p) of (batch, channels, length), p = norm_type; the stride is the kernel if None."""
    return _lp_pool(input, norm_type, kernel_size, stride, ceil_mode, axes=1)


def lp_pool2d(input: Any, norm_type: float, kernel_size: Size, stride: Size | None = None, ceil_mode: bool = False) -> Any:
    """As `lp_pool1d`, of (batch, channels, height, width)."""
    return _lp_pool(input, norm_type, kernel_size, stride, ceil_mode, axes=2)


def lp_pool3d(input: Any, norm_type: float, kernel_size: Size, stride: Size | None = None, ceil_mode: bool = False) -> Any:
    """As `lp_pool1d`, of (batch, channels, depth, height, width)."""
    return _lp_pool(input, norm_type, kernel_size, stride, ceil_mode, axes=3)


def _fractional_max_pool(
    input: Any, kernel_size: Size, output_size: Size | None, output_ratio: float | Sequence[float] | None,
    return_indices: bool, samples: Any, generator: random.Generator | None, axes: int,
) -> Any:  # fmt: skip
    """The largest value of windows whose starts are drawn again: their number is `output_size`, or a fraction of the input's.

    Window i of m along an axis of n begins at floor(a (i + u)) - floor(a u) with a = (n - k) / (m - 1), and u uniform for each
    channel; the last one ends with the axis. Source: Graham (2014), section 2.
    """
    if (output_size is None) == (output_ratio is None):
        raise UserError(
            f"Fractional pooling needs either output_size or output_ratio. Received {output_size!r} and {output_ratio!r}. "
            "Give one of them."
        )

    def pooled(x: Any) -> Any:
        kernel = for_each(kernel_size, axes)
        space = tuple(x.shape[2:])
        if output_ratio is not None:
            ratios = (output_ratio,) * axes if isinstance(output_ratio, int | float) else tuple(output_ratio)
            sizes = tuple(int(n * ratio) for n, ratio in zip(space, ratios))
        else:
            sizes = for_each(output_size or (), axes)
        if len(space) != axes or not all(m >= 1 and m + k - 1 <= n for m, k, n in zip(sizes, kernel, space)):
            raise UserError(
                f"Fractional pooling to {sizes} with a kernel of {kernel} needs an input at least as large. "
                f"Received shape {tuple(x.shape)}. Use a smaller output or kernel."
            )
        drawn = raw(samples) if samples is not None else (generator or random.default).uniform((*x.shape[:2], axes))
        order = range(axes) if axes == 3 else range(axes - 1, -1, -1)  # of the numbers, as in PyTorch
        places = B.zeros((), dtype="int64")
        for axis, (n, k, m, own) in enumerate(zip(space, kernel, sizes, order)):
            a, i = ((n - k) / (m - 1) if m > 1 else 0.0), B.arange(m)
            u = drawn[:, :, own][:, :, None]
            starts = B.floor((i + u) * a).astype("int64") - B.floor(u * a).astype("int64")
            starts = B.where(i == m - 1, n - k, starts)  # (batch, channels, m)
            inside = starts[..., None] + B.arange(k)
            shape = [*x.shape[:2], *(1,) * (2 * axes)]
            shape[2 + axis], shape[2 + axes + axis] = m, k
            places = places * n + inside.reshape(shape)
        windows = math.prod(kernel)
        flat = B.broadcast_to(places, (*x.shape[:2], *sizes, *kernel)).reshape((*x.shape[:2], -1))
        values = ops.reshape(ops.gather(ops.flatten(x, 2), flat, 2), (*x.shape[:2], *sizes, windows))
        best = raw(ops.argmax(values, -1, keepdims=True))
        y = ops.squeeze(ops.gather(values, best, -1), -1)
        if not return_indices:
            return y
        found = raw(ops.squeeze(ops.gather(flat.reshape(values.shape), best, -1), -1))
        return y, Tensor(found) if isinstance(x, Tensor) else found

    return batched(input, axes + 1, pooled)


def fractional_max_pool2d(
    input: Any, kernel_size: Size, output_size: Size | None = None, output_ratio: float | Sequence[float] | None = None,
    return_indices: bool = False, _random_samples: Any = None, generator: random.Generator | None = None,
) -> Any:  # fmt: skip
    """The largest value of windows of (batch, channels, height, width) at random places (Graham 2014)."""
    how = (kernel_size, output_size, output_ratio, return_indices, _random_samples, generator)
    return _fractional_max_pool(input, *how, axes=2)


def fractional_max_pool3d(
    input: Any, kernel_size: Size, output_size: Size | None = None, output_ratio: float | Sequence[float] | None = None,
    return_indices: bool = False, _random_samples: Any = None, generator: random.Generator | None = None,
) -> Any:  # fmt: skip
    """The largest value of windows of (batch, channels, depth, height, width) at random places (Graham 2014)."""
    how = (kernel_size, output_size, output_ratio, return_indices, _random_samples, generator)
    return _fractional_max_pool(input, *how, axes=3)
