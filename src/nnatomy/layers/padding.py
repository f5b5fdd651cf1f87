"""Padding of (batch, channels, *space) or (channels, *space), in PyTorch's order: the last axis first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nnatomy import ops
from nnatomy.errors import UserError
from nnatomy.layers import checks
from nnatomy.layers.module import Module

__all__ = [
    "CircularPad1d", "CircularPad2d", "CircularPad3d", "ConstantPad1d", "ConstantPad2d", "ConstantPad3d", "ReflectionPad1d",
    "ReflectionPad2d", "ReflectionPad3d", "ReplicationPad1d", "ReplicationPad2d", "ReplicationPad3d", "ZeroPad1d", "ZeroPad2d",
    "ZeroPad3d",
]  # fmt: skip

Widths = int | Sequence[int]


class _Pad(Module):
    """`padding`: a width for all sides, or (left, right, top, bottom, front, back), as axes there are; below 0 it cuts."""

    axes: int
    mode = "constant"
    value = 0.0

    def __init__(self, padding: Widths) -> None:
        name = type(self).__name__
        widths = tuple(padding) if isinstance(padding, Sequence) else (padding,) * (2 * self.axes)
        if len(widths) != 2 * self.axes or not all(map(checks.is_whole, widths)):
            raise UserError(
                f"{name} needs one whole number, or {2 * self.axes}: two for each axis. Received {padding!r}. "
                "Give, for example, padding=1."
            )
        self.padding = tuple(int(n) for n in widths)

    def forward(self, x: Any) -> Any:
        name, n = type(self).__name__, self.axes
        if len(x.shape) not in (n + 1, n + 2):
            raise UserError(
                f"{name} takes (batch, channels, *space) with {n} axes of space. Received shape {tuple(x.shape)}. "
                "Reshape the input to that."
            )
        pairs = [(0, 0)] * (len(x.shape) - n) + [(self.padding[2 * i], self.padding[2 * i + 1]) for i in reversed(range(n))]
        for size, pair in zip(x.shape, pairs):
            most = {"reflect": size - 1, "wrap": size}.get(self.mode)
            if size + sum(pair) < 1 or (most is not None and max(pair) > most):
                raise UserError(
                    f"{name} needs widths that leave one place, and repeat no place twice. Received {self.padding} for "
                    f"{tuple(x.shape)}. Pad less."
                )
        cut = tuple(slice(max(-a, 0), size - max(-b, 0)) for size, (a, b) in zip(x.shape, pairs))
        if any(min(pair) < 0 for pair in pairs):
            x = x[cut]
        return ops.pad(x, [(max(a, 0), max(b, 0)) for a, b in pairs], self.mode, self.value)


class _ConstantPad(_Pad):
    def __init__(self, padding: Widths, value: float) -> None:
        super().__init__(padding)
        self.value = value


class _ReflectionPad(_Pad):
    mode = "reflect"


class _ReplicationPad(_Pad):
    mode = "edge"


class _CircularPad(_Pad):
    mode = "wrap"


class ZeroPad1d(_Pad):
    """Zeros around (batch, channels, length)."""

    axes = 1


class ZeroPad2d(_Pad):
    """Zeros around (batch, channels, height, width)."""

    axes = 2


class ZeroPad3d(_Pad):
    """Zeros around (batch, channels, depth, height, width)."""

    axes = 3


class ConstantPad1d(_ConstantPad):
    """`value` around (batch, channels, length)."""

    axes = 1


class ConstantPad2d(_ConstantPad):
    """`value` around (batch, channels, height, width)."""

    axes = 2


class ConstantPad3d(_ConstantPad):
    """`value` around (batch, channels, depth, height, width)."""

    axes = 3


class ReflectionPad1d(_ReflectionPad):
    """The mirror image, without the edge, around (batch, channels, length)."""

    axes = 1


class ReflectionPad2d(_ReflectionPad):
    """The mirror image, without the edge, around (batch, channels, height, width)."""

    axes = 2


class ReflectionPad3d(_ReflectionPad):
    """The mirror image, without the edge, around (batch, channels, depth, height, width)."""

    axes = 3


class ReplicationPad1d(_ReplicationPad):
    """Copies of the edge around (batch, channels, length)."""

    axes = 1


class ReplicationPad2d(_ReplicationPad):
    """Copies of the edge around (batch, channels, height, width)."""

    axes = 2


class ReplicationPad3d(_ReplicationPad):
    """Copies of the edge around (batch, channels, depth, height, width)."""

    axes = 3


class CircularPad1d(_CircularPad):
    """The other end around (batch, channels, length)."""

    axes = 1


class CircularPad2d(_CircularPad):
    """The other end around (batch, channels, height, width)."""

    axes = 2


class CircularPad3d(_CircularPad):
    """The other end around (batch, channels, depth, height, width)."""

    axes = 3
