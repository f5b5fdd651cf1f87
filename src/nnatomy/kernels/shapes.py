"""The shapes that convolutions and poolings give: plain numbers, which kernels and backends share."""

from __future__ import annotations

from collections.abc import Sequence


def conv_shape(
    space: Sequence[int], kernel: Sequence[int], stride: Sequence[int], padding: Sequence[tuple[int, int]],
    dilation: Sequence[int],
) -> tuple[int, ...]:  # fmt: skip
    """Return floor((n + padding - dilation (kernel - 1) - 1) / stride) + 1 for each axis."""
    axes = zip(space, kernel, stride, padding, dilation, strict=True)
    return tuple((n + p[0] + p[1] - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in axes)
