"""Pooling of (batch, channels, *space) or (channels, *space), its partial inverse, and resizing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nnatomy import functional as F
from nnatomy import ops
from nnatomy.errors import UserError
from nnatomy.functional.images import batched
from nnatomy.layers import checks
from nnatomy.layers.module import Module
from nnatomy.ops.shapes import for_each
from nnatomy.random import Generator

__all__ = [
    "AdaptiveAvgPool1d", "AdaptiveAvgPool2d", "AdaptiveAvgPool3d", "AdaptiveMaxPool1d", "AdaptiveMaxPool2d",
    "AdaptiveMaxPool3d", "AvgPool1d", "AvgPool2d", "AvgPool3d", "FractionalMaxPool2d", "FractionalMaxPool3d",
    "LPPool1d", "LPPool2d", "LPPool3d", "MaxPool1d", "MaxPool2d", "MaxPool3d", "MaxUnpool1d",
    "MaxUnpool2d", "MaxUnpool3d", "Upsample", "UpsamplingBilinear2d", "UpsamplingNearest2d",
]  # fmt: skip

Size = int | Sequence[int]


class _Pool(Module):
    """The common part of windows: their sizes, and whether the last one may reach beyond the end (`ceil_mode`)."""

    axes: int

    def _take(self, kernel_size: Size, stride: Size | None, padding: Size, ceil_mode: bool) -> None:
        name = type(self).__name__
        self.kernel_size = checks.each(name, "kernel_size", kernel_size, self.axes)
        self.stride = self.kernel_size if stride is None else checks.each(name, "stride", stride, self.axes)
        self.padding = checks.each(name, "padding", padding, self.axes, least=0)
        self.ceil_mode = ceil_mode
        if any(2 * p > k for p, k in zip(self.padding, self.kernel_size)):
            raise UserError(
                f"{name} needs padding of at most half the kernel {self.kernel_size}. Received {padding!r}. "
                "Use less padding or a larger kernel."
            )


class _MaxPool(_Pool):
    def __init__(
        self, kernel_size: Size, stride: Size | None = None, padding: Size = 0, dilation: Size = 1,
        return_indices: bool = False, ceil_mode: bool = False,
    ) -> None:  # fmt: skip
        self._take(kernel_size, stride, padding, ceil_mode)
        self.dilation = checks.each(type(self).__name__, "dilation", dilation, self.axes)
        self.return_indices = return_indices

    def forward(self, x: Any) -> Any:
        return batched(x, self.axes + 1, self._pooled)

    def _pooled(self, x: Any) -> Any:
        checks.image(type(self).__name__, x, self.axes)
        how = (self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode, self.return_indices)
        return ops.max_pool(x, *how)


class MaxPool1d(_MaxPool):
    """The largest value of each window of (batch, channels, length); the stride is the kernel if None."""

    axes = 1


class MaxPool2d(_MaxPool):
    """The largest value of each window of (batch, channels, height, width); the stride is the kernel if None."""

    axes = 2


class MaxPool3d(_MaxPool):
    """The largest value of each window of (batch, channels, depth, height, width); the stride is the kernel if None."""

    axes = 3


class _AvgPool(_Pool):
    divisor_override: int | None = None

    def __init__(
        self, kernel_size: Size, stride: Size | None = None, padding: Size = 0, ceil_mode: bool = False,
        count_include_pad: bool = True,
    ) -> None:  # fmt: skip
        self._take(kernel_size, stride, padding, ceil_mode)
        self.count_include_pad = count_include_pad

    def forward(self, x: Any) -> Any:
        return batched(x, self.axes + 1, self._pooled)

    def _pooled(self, x: Any) -> Any:
        checks.image(type(self).__name__, x, self.axes)
        how = (self.kernel_size, self.stride, self.padding, self.count_include_pad, self.ceil_mode, self.divisor_override)
        return ops.avg_pool(x, *how)


class AvgPool1d(_AvgPool):
    """The mean of each window of (batch, channels, length); the stride is the kernel if None."""

    axes = 1


class _DividedAvgPool(_AvgPool):
    """With `divisor_override`, the sum of each window divided by that."""

    def __init__(
        self, kernel_size: Size, stride: Size | None = None, padding: Size = 0, ceil_mode: bool = False,
        count_include_pad: bool = True, divisor_override: int | None = None,
    ) -> None:  # fmt: skip
        super().__init__(kernel_size, stride, padding, ceil_mode, count_include_pad)
        if divisor_override is not None:
            checks.sizes(type(self).__name__, divisor_override=divisor_override)
        self.divisor_override = divisor_override


class AvgPool2d(_DividedAvgPool):
    """The mean of each window of (batch, channels, height, width); the stride is the kernel if None."""

    axes = 2


class AvgPool3d(_DividedAvgPool):
    """The mean of each window of (batch, channels, depth, height, width); the stride is the kernel if None."""

    axes = 3


class _LPPool(Module):
    axes: int

    def __init__(self, norm_type: float, kernel_size: Size, stride: Size | None = None, ceil_mode: bool = False) -> None:
        name = type(self).__name__
        checks.positive(name, "norm_type", norm_type)
        self.norm_type, self.ceil_mode = norm_type, ceil_mode
        self.kernel_size = checks.each(name, "kernel_size", kernel_size, self.axes)
        self.stride = self.kernel_size if stride is None else checks.each(name, "stride", stride, self.axes)

    def forward(self, x: Any) -> Any:
        pool = (F.lp_pool1d, F.lp_pool2d, F.lp_pool3d)[self.axes - 1]
        return pool(x, self.norm_type, self.kernel_size, self.stride, self.ceil_mode)


class LPPool1d(_LPPool):
    """(sum over each window of x^p)^(1/p) of (batch, channels, length) with p = norm_type (Gulcehre et al. 2014)."""

    axes = 1


class LPPool2d(_LPPool):
    """(sum over each window of x^p)^(1/p) of (batch, channels, height, width) with p = norm_type (Gulcehre et al. 2014)."""

    axes = 2


class LPPool3d(_LPPool):
    """(sum over each window of x^p)^(1/p) of (batch, channels, depth, height, width) with p = norm_type."""

    axes = 3


class _FractionalMaxPool(Module):
    axes: int

    def __init__(
        self, kernel_size: Size, output_size: Size | None = None, output_ratio: float | Sequence[float] | None = None,
        return_indices: bool = False, _random_samples: Any = None, *, generator: Generator | None = None,
    ) -> None:  # fmt: skip
        name = type(self).__name__
        if (output_size is None) == (output_ratio is None):
            raise UserError(
                f"{name} needs either output_size or output_ratio. Received {output_size!r} and {output_ratio!r}. "
                "Give one of them."
            )
        self.kernel_size = checks.each(name, "kernel_size", kernel_size, self.axes)
        self.output_size = None if output_size is None else checks.each(name, "output_size", output_size, self.axes)
        self.output_ratio: tuple[float, ...] | None = None
        if output_ratio is not None:
            ratios = tuple(output_ratio) if isinstance(output_ratio, Sequence) else (output_ratio,) * self.axes
            if len(ratios) != self.axes or not all(0 < ratio < 1 for ratio in ratios):
                raise UserError(f"{name} needs output_ratio between 0 and 1. Received {output_ratio!r}. Use 0.5, for example.")
            self.output_ratio = ratios
        self.return_indices = return_indices
        self._samples, self._generator = _random_samples, generator

    def forward(self, x: Any) -> Any:
        pool = (F.fractional_max_pool2d, F.fractional_max_pool3d)[self.axes - 2]
        return pool(
            x, self.kernel_size, self.output_size, self.output_ratio, self.return_indices, self._samples, self._generator
        )


class FractionalMaxPool2d(_FractionalMaxPool):
    """The largest value of windows of (batch, channels, height, width) whose places are drawn each time (Graham 2014)."""

    axes = 2


class FractionalMaxPool3d(_FractionalMaxPool):
    """The largest value of windows of (batch, channels, depth, height, width) at random places (Graham 2014)."""

    axes = 3


class _AdaptivePool(Module):
    """Cell i of m covers floor(i n / m) to ceil((i + 1) n / m) of an axis; None means the input's size."""

    axes: int

    def __init__(self, output_size: int | Sequence[int | None] | None) -> None:
        sizes = (None,) * self.axes if output_size is None else for_each(output_size, self.axes)
        checks.each(type(self).__name__, "output_size", [1 if n is None else n for n in sizes], self.axes)
        self.output_size = sizes

    def _sizes(self, x: Any) -> tuple[int, ...]:
        checks.image(type(self).__name__, x, self.axes)
        return tuple(own if n is None else n for own, n in zip(x.shape[2:], self.output_size))


class _AdaptiveAvgPool(_AdaptivePool):
    def forward(self, x: Any) -> Any:
        return batched(x, self.axes + 1, lambda images: ops.adaptive_avg_pool(images, self._sizes(images)))


class _AdaptiveMaxPool(_AdaptivePool):
    def __init__(self, output_size: int | Sequence[int | None] | None, return_indices: bool = False) -> None:
        super().__init__(output_size)
        self.return_indices = return_indices

    def forward(self, x: Any) -> Any:
        return batched(
            x, self.axes + 1, lambda images: ops.adaptive_max_pool(images, self._sizes(images), self.return_indices)
        )


class AdaptiveAvgPool1d(_AdaptiveAvgPool):
    """Means over cells of (batch, channels, length), as many as `output_size` says."""

    axes = 1


class AdaptiveAvgPool2d(_AdaptiveAvgPool):
    """Means over cells of (batch, channels, height, width), as many as `output_size` says."""

    axes = 2


class AdaptiveAvgPool3d(_AdaptiveAvgPool):
    """Means over cells of (batch, channels, depth, height, width), as many as `output_size` says."""

    axes = 3


class AdaptiveMaxPool1d(_AdaptiveMaxPool):
    """Maxima over cells of (batch, channels, length), as many as `output_size` says."""

    axes = 1


class AdaptiveMaxPool2d(_AdaptiveMaxPool):
    """Maxima over cells of (batch, channels, height, width), as many as `output_size` says."""

    axes = 2


class AdaptiveMaxPool3d(_AdaptiveMaxPool):
    """Maxima over cells of (batch, channels, depth, height, width), as many as `output_size` says."""

    axes = 3


class _MaxUnpool(_Pool):
    def __init__(self, kernel_size: Size, stride: Size | None = None, padding: Size = 0) -> None:
        self._take(kernel_size, stride, padding, False)
        del self.ceil_mode

    def forward(self, x: Any, indices: Any, output_size: Sequence[int] | None = None) -> Any:
        unpool = (F.max_unpool1d, F.max_unpool2d, F.max_unpool3d)[self.axes - 1]
        return unpool(x, indices, self.kernel_size, self.stride, self.padding, output_size)


class MaxUnpool1d(_MaxUnpool):
    """Zeros with the values (batch, channels, length) at the places `indices` that MaxPool1d(return_indices=True) gave."""

    axes = 1


class MaxUnpool2d(_MaxUnpool):
    """Zeros with the values (batch, channels, height, width) at the places `indices` of MaxPool2d(return_indices=True)."""

    axes = 2


class MaxUnpool3d(_MaxUnpool):
    """Zeros with the values (batch, channels, depth, height, width) at the places `indices` of MaxPool3d."""

    axes = 3


class Upsample(Module):
    """Another size, given as `size` or by `scale_factor`.

    `mode`: "nearest", or interpolation: "linear", "bilinear", "bicubic" or "trilinear".
    """

    def __init__(
        self, size: Size | None = None, scale_factor: float | Sequence[float] | None = None, mode: str = "nearest",
        align_corners: bool | None = None,
    ) -> None:  # fmt: skip
        if (size is None) == (scale_factor is None):
            raise UserError(
                f"Upsample needs either size or scale_factor. Received {size!r} and {scale_factor!r}. "
                "Give one of them."
            )
        if mode not in ("nearest", "linear", "bilinear", "bicubic", "trilinear"):
            raise UserError(
                f"Upsample needs mode nearest, linear, bilinear, bicubic or trilinear. Received {mode!r}. "
                'Use mode="nearest".'
            )
        if align_corners is not None and mode == "nearest":
            raise UserError("Upsample takes align_corners with linear modes only. Received mode 'nearest'. Leave it out.")
        if scale_factor is not None:
            for factor in scale_factor if isinstance(scale_factor, Sequence) else (scale_factor,):
                checks.positive("Upsample", "scale_factor", factor)
        self.size, self.scale_factor, self.mode, self.align_corners = size, scale_factor, mode, align_corners

    def forward(self, x: Any) -> Any:
        axes = {"nearest": len(x.shape) - 2, "linear": 1, "bilinear": 2, "bicubic": 2, "trilinear": 3}[self.mode]
        checks.image(f'Upsample with mode "{self.mode}"', x, axes)
        return ops.interpolate(x, self.size, self.scale_factor, self.mode, bool(self.align_corners))


class UpsamplingNearest2d(Upsample):
    """Upsample with mode "nearest" of (batch, channels, height, width)."""

    def __init__(self, size: Size | None = None, scale_factor: float | Sequence[float] | None = None) -> None:
        super().__init__(size, scale_factor)


class UpsamplingBilinear2d(Upsample):
    """Upsample with mode "bilinear" and aligned corners of (batch, channels, height, width)."""

    def __init__(self, size: Size | None = None, scale_factor: float | Sequence[float] | None = None) -> None:
        super().__init__(size, scale_factor, "bilinear", align_corners=True)
