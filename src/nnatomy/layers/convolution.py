"""Convolutions and transposed convolutions in 1 to 3 dimensions, on (batch, channels, *space) or (channels, *space)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from nnatomy import init, ops
from nnatomy.errors import UserError
from nnatomy.functional.images import batched
from nnatomy.layers import checks
from nnatomy.layers.module import Module
from nnatomy.random import Generator
from nnatomy.tensor import Parameter

__all__ = ["Conv1d", "Conv2d", "Conv3d", "ConvTranspose1d", "ConvTranspose2d", "ConvTranspose3d"]

Size = int | Sequence[int]
_MODES = {"zeros": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}


def _parameters(shape: tuple[int, ...], outputs: int, bias: bool, generator: Generator | None) -> tuple[Any, Any]:
    """weight and bias from U(-1/sqrt(fan in), 1/sqrt(fan in)), PyTorch's default."""
    bound = 1 / math.sqrt(init.calculate_fan(shape)[0])
    weight = Parameter(init.uniform(shape, -bound, bound, generator))
    return weight, Parameter(init.uniform((outputs,), -bound, bound, generator)) if bias else None


def _check_groups(layer: str, in_channels: int, out_channels: int, groups: int) -> None:
    checks.sizes(layer, in_channels=in_channels, out_channels=out_channels, groups=groups)
    if in_channels % groups or out_channels % groups:
        raise UserError(
            f"{layer} needs channels that divide into {groups} groups. Received {in_channels} in and {out_channels} out. "
            "Choose groups that divide both."
        )


class _Conv(Module):
    """The common part of the three dimensions. weight (out, in / groups, *kernel), bias (out)."""

    axes: int

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: Size, stride: Size = 1, padding: Size | str = 0,
        dilation: Size = 1, groups: int = 1, bias: bool = True, padding_mode: str = "zeros", *,
        generator: Generator | None = None,
    ) -> None:  # fmt: skip
        name = type(self).__name__
        _check_groups(name, in_channels, out_channels, groups)
        if padding_mode not in _MODES:
            raise UserError(
                f"{name} needs padding_mode {', '.join(_MODES)}. Received {padding_mode!r}. "
                'Use padding_mode="zeros".'
            )
        self.in_channels, self.out_channels, self.groups, self.padding_mode = in_channels, out_channels, groups, padding_mode
        self.kernel_size = checks.each(name, "kernel_size", kernel_size, self.axes)
        self.stride = checks.each(name, "stride", stride, self.axes)
        self.dilation = checks.each(name, "dilation", dilation, self.axes)
        self.padding: tuple[int, ...] | str
        if isinstance(padding, str):
            if padding not in ("same", "valid") or (padding == "same" and any(s > 1 for s in self.stride)):
                raise UserError(
                    f'{name} needs padding to be a number, "valid", or "same" with stride 1. '
                    f"Received {padding!r} and stride {stride}. Give the padding as a number."
                )
            self.padding = padding
        else:
            self.padding = checks.each(name, "padding", padding, self.axes, least=0)
        self.weight, self.bias = _parameters(
            (out_channels, in_channels // groups, *self.kernel_size), out_channels, bias, generator
        )

    def forward(self, x: Any) -> Any:
        return batched(x, self.axes + 1, self._mapped)

    def _mapped(self, x: Any) -> Any:
        checks.image(type(self).__name__, x, self.axes, self.in_channels)
        padding: Size | str = self.padding
        if self.padding_mode != "zeros":
            x, padding = ops.pad(x, [(0, 0), (0, 0), *self._widths()], mode=_MODES[self.padding_mode]), 0
        return ops.conv(
            x, self.weight, self.bias, stride=self.stride, padding=padding, dilation=self.dilation, groups=self.groups
        )

    def _widths(self) -> list[tuple[int, int]]:
        if isinstance(self.padding, str):
            totals = [d * (k - 1) if self.padding == "same" else 0 for k, d in zip(self.kernel_size, self.dilation)]
            return [(t // 2, t - t // 2) for t in totals]
        return [(p, p) for p in self.padding]


class Conv1d(_Conv):
    """y_o = b_o + sum over channels c of weight_oc correlated with x_c, along (batch, channels, length)."""

    axes = 1


class Conv2d(_Conv):
    """y_o = b_o + sum over channels c of weight_oc correlated with x_c, on (batch, channels, height, width)."""

    axes = 2


class Conv3d(_Conv):
    """y_o = b_o + sum over channels c of weight_oc correlated with x_c, in (batch, channels, depth, height, width)."""

    axes = 3


class _ConvTranspose(Module):
    """The common part of the three dimensions. weight (in, out / groups, *kernel), bias (out)."""

    axes: int

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: Size, stride: Size = 1, padding: Size = 0,
        output_padding: Size = 0, groups: int = 1, bias: bool = True, dilation: Size = 1, padding_mode: str = "zeros", *,
        generator: Generator | None = None,
    ) -> None:  # fmt: skip
        name = type(self).__name__
        _check_groups(name, in_channels, out_channels, groups)
        if padding_mode != "zeros":
            raise UserError(f'{name} knows padding_mode "zeros" only. Received {padding_mode!r}. Leave it out.')
        self.in_channels, self.out_channels, self.groups = in_channels, out_channels, groups
        self.kernel_size = checks.each(name, "kernel_size", kernel_size, self.axes)
        self.stride = checks.each(name, "stride", stride, self.axes)
        self.dilation = checks.each(name, "dilation", dilation, self.axes)
        self.padding = checks.each(name, "padding", padding, self.axes, least=0)
        self.output_padding = checks.each(name, "output_padding", output_padding, self.axes, least=0)
        if any(o >= max(s, d) for o, s, d in zip(self.output_padding, self.stride, self.dilation)):
            raise UserError(
                f"{name} needs output_padding below stride or dilation. Received {output_padding!r}. "
                "Use a smaller output_padding."
            )
        self.weight, self.bias = _parameters(
            (in_channels, out_channels // groups, *self.kernel_size), out_channels, bias, generator
        )

    def forward(self, input: Any, output_size: Sequence[int] | None = None) -> Any:
        """The map; of the sizes that the stride leaves open, `output_size` (*space) names one."""
        extra = self.output_padding if output_size is None else self._extra(input, tuple(output_size)[-self.axes :])
        return batched(input, self.axes + 1, lambda x: self._mapped(x, extra))

    def _extra(self, input: Any, wanted: tuple[int, ...]) -> tuple[int, ...]:
        """The output_padding that gives the space `wanted`."""
        sizes = zip(input.shape[-self.axes :], self.stride, self.padding, self.dilation, self.kernel_size)
        least = [(n - 1) * s - 2 * p + d * (k - 1) + 1 for n, s, p, d, k in sizes]
        extra = tuple(w - m for w, m in zip(wanted, least))
        if len(wanted) != self.axes or any(not 0 <= e < s for e, s in zip(extra, self.stride)):
            most = [m + s - 1 for m, s in zip(least, self.stride)]
            raise UserError(
                f"{type(self).__name__} needs output_size from {least} to {most} here. Received {list(wanted)}. "
                "Choose one of these, or another stride."
            )
        return extra

    def _mapped(self, x: Any, extra: tuple[int, ...]) -> Any:
        checks.image(type(self).__name__, x, self.axes, self.in_channels)
        return ops.conv_transpose(
            x, self.weight, self.bias, stride=self.stride, padding=self.padding, output_padding=extra,
            dilation=self.dilation, groups=self.groups,
        )  # fmt: skip


class ConvTranspose1d(_ConvTranspose):
    """The adjoint of Conv1d in its input: length (n - 1) stride - 2 padding + dilation (kernel - 1) + output_padding + 1."""

    axes = 1


class ConvTranspose2d(_ConvTranspose):
    """The adjoint of Conv2d in its input; sizes as in ConvTranspose1d for each axis."""

    axes = 2


class ConvTranspose3d(_ConvTranspose):
    """The adjoint of Conv3d in its input; sizes as in ConvTranspose1d for each axis."""

    axes = 3
