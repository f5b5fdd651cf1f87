"""Pooling and resizing of (batch, channels, *space)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nnatomy import ops
from nnatomy.errors import UserError
from nnatomy.layers import checks
from nnatomy.layers.module import Module

__all__ = [
    "AdaptiveAvgPool1d", "AdaptiveAvgPool2d", "AdaptiveAvgPool3d", "AdaptiveMaxPool1d", "AdaptiveMaxPool2d",
    "AdaptiveMaxPool3d", "AvgPool1d", "AvgPool2d", "AvgPool3d", "MaxPool1d", "MaxPool2d", "MaxPool3d", "Upsample",
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
            raise UserError(f"{name} needs padding of at most half the kernel {self.kernel_size}. Received {padding!r}.")


class _MaxPool(_Pool):
    def __init__(
        self, kernel_size: Size, stride: Size | None = None, padding: Size = 0, dilation: Size = 1, ceil_mode: bool = False
    ) -> None:
        self._take(kernel_size, stride, padding, ceil_mode)
        self.dilation = checks.each(type(self).__name__, "dilation", dilation, self.axes)

    def forward(self, x: Any) -> Any:
        checks.image(type(self).__name__, x, self.axes)
        return ops.max_pool(x, self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode)


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
    def __init__(
        self, kernel_size: Size, stride: Size | None = None, padding: Size = 0, ceil_mode: bool = False,
        count_include_pad: bool = True,
    ) -> None:  # fmt: skip
        self._take(kernel_size, stride, padding, ceil_mode)
        self.count_include_pad = count_include_pad

    def forward(self, x: Any) -> Any:
        checks.image(type(self).__name__, x, self.axes)
        return ops.avg_pool(x, self.kernel_size, self.stride, self.padding, self.count_include_pad, self.ceil_mode)


class AvgPool1d(_AvgPool):
    """The mean of each window of (batch, channels, length); the stride is the kernel if None."""

    axes = 1


class AvgPool2d(_AvgPool):
    """The mean of each window of (batch, channels, height, width); the stride is the kernel if None."""

    axes = 2


class AvgPool3d(_AvgPool):
    """The mean of each window of (batch, channels, depth, height, width); the stride is the kernel if None."""

    axes = 3


class _AdaptivePool(Module):
    """Cell i of m covers floor(i n / m) to ceil((i + 1) n / m) of an axis; None means the input's size."""

    axes: int

    def __init__(self, output_size: int | Sequence[int | None] | None) -> None:
        sizes = (output_size,) * self.axes if output_size is None or isinstance(output_size, int) else tuple(output_size)
        checks.each(type(self).__name__, "output_size", [1 if n is None else n for n in sizes], self.axes)
        self.output_size = sizes

    def _sizes(self, x: Any) -> tuple[int, ...]:
        checks.image(type(self).__name__, x, self.axes)
        return tuple(own if n is None else n for own, n in zip(x.shape[2:], self.output_size))


class _AdaptiveAvgPool(_AdaptivePool):
    def forward(self, x: Any) -> Any:
        return ops.adaptive_avg_pool(x, self._sizes(x))


class _AdaptiveMaxPool(_AdaptivePool):
    def forward(self, x: Any) -> Any:
        return ops.adaptive_max_pool(x, self._sizes(x))


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


class Upsample(Module):
    """Another size, given as `size` or by `scale_factor`: "nearest", or "linear", "bilinear", "trilinear" interpolation."""

    def __init__(
        self, size: Size | None = None, scale_factor: float | None = None, mode: str = "nearest",
        align_corners: bool | None = None,
    ) -> None:  # fmt: skip
        if (size is None) == (scale_factor is None):
            raise UserError(f"Upsample needs either size or scale_factor. Received {size!r} and {scale_factor!r}.")
        if mode not in ("nearest", "linear", "bilinear", "trilinear"):
            raise UserError(f"Upsample needs mode nearest, linear, bilinear or trilinear. Received {mode!r}.")
        if align_corners is not None and mode == "nearest":
            raise UserError("Upsample takes align_corners with linear modes only. Received mode 'nearest'. Leave it out.")
        if scale_factor is not None:
            checks.positive("Upsample", "scale_factor", scale_factor)
        self.size, self.scale_factor, self.mode, self.align_corners = size, scale_factor, mode, align_corners

    def forward(self, x: Any) -> Any:
        axes = {"nearest": len(x.shape) - 2, "linear": 1, "bilinear": 2, "trilinear": 3}[self.mode]
        checks.image(f'Upsample with mode "{self.mode}"', x, axes)
        mode = "nearest" if self.mode == "nearest" else "linear"
        return ops.interpolate(x, self.size, self.scale_factor, mode, bool(self.align_corners))
