"""Layers that move values between channels, places and patches; the formulas are in functional/images.py."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nnatomy import functional as F
from nnatomy.layers import checks
from nnatomy.layers.module import Module

__all__ = ["ChannelShuffle", "Fold", "PixelShuffle", "PixelUnshuffle", "Unfold"]

Size = int | Sequence[int]


class PixelShuffle(Module):
    """(..., c r^2, h, w) as (..., c, h r, w r) (Shi et al. 2016)."""

    def __init__(self, upscale_factor: int) -> None:
        checks.sizes("PixelShuffle", upscale_factor=upscale_factor)
        self.upscale_factor = upscale_factor

    def forward(self, input: Any) -> Any:
        return F.pixel_shuffle(input, self.upscale_factor)


class PixelUnshuffle(Module):
    """(..., c, h r, w r) as (..., c r^2, h, w)."""

    def __init__(self, downscale_factor: int) -> None:
        checks.sizes("PixelUnshuffle", downscale_factor=downscale_factor)
        self.downscale_factor = downscale_factor

    def forward(self, input: Any) -> Any:
        return F.pixel_unshuffle(input, self.downscale_factor)


class ChannelShuffle(Module):
    """Channels with the members of the groups in turn (Zhang et al. 2018)."""

    def __init__(self, groups: int) -> None:
        checks.sizes("ChannelShuffle", groups=groups)
        self.groups = groups

    def forward(self, input: Any) -> Any:
        return F.channel_shuffle(input, self.groups)


class Unfold(Module):
    """The patches of (batch, channels, height, width) as columns (batch, channels x kernel, positions)."""

    def __init__(self, kernel_size: Size, dilation: Size = 1, padding: Size = 0, stride: Size = 1) -> None:
        self.kernel_size, self.dilation, self.padding, self.stride = kernel_size, dilation, padding, stride

    def forward(self, input: Any) -> Any:
        return F.unfold(input, self.kernel_size, self.dilation, self.padding, self.stride)


class Fold(Module):
    """Patches (batch, channels x kernel, positions) added up into (batch, channels, *output_size): the adjoint of Unfold."""

    def __init__(self, output_size: Size, kernel_size: Size, dilation: Size = 1, padding: Size = 0, stride: Size = 1) -> None:
        self.output_size, self.kernel_size = output_size, kernel_size
        self.dilation, self.padding, self.stride = dilation, padding, stride

    def forward(self, input: Any) -> Any:
        return F.fold(input, self.output_size, self.kernel_size, self.dilation, self.padding, self.stride)
