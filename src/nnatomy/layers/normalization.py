"""Normalization layers: functional/normalization.py with weights and running statistics."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nnatomy import functional as F
from nnatomy import init
from nnatomy.backends import B
from nnatomy.errors import UserError
from nnatomy.functional.images import batched
from nnatomy.layers import checks
from nnatomy.layers.module import Module
from nnatomy.ops.shapes import for_each
from nnatomy.tensor import Parameter, Tensor

__all__ = [
    "BatchNorm1d", "BatchNorm2d", "BatchNorm3d", "GroupNorm", "InstanceNorm1d", "InstanceNorm2d", "InstanceNorm3d",
    "LayerNorm", "LocalResponseNorm", "RMSNorm",
]  # fmt: skip


class _BatchNorm(Module):
    """The common part of the three dimensions. momentum=None averages all batches; `num_batches_tracked` counts them.

    With another momentum nothing depends on the count: it is not kept, and left out of a state of PyTorch's, which fills it in.
    """

    axes: tuple[int, ...]
    _optional = ("num_batches_tracked",)

    def __init__(
        self, num_features: int, eps: float = 1e-5, momentum: float | None = 0.1, affine: bool = True,
        track_running_stats: bool = True, *, bias: bool = True,
    ) -> None:  # fmt: skip
        checks.sizes(type(self).__name__, num_features=num_features)
        self.num_features, self.eps, self.momentum = num_features, eps, momentum
        self.weight = Parameter(init.ones((num_features,))) if affine else None
        self.bias = Parameter(init.zeros((num_features,))) if affine and bias else None
        self.running_mean = Tensor(init.zeros((num_features,))) if track_running_stats else None
        self.running_var = Tensor(init.ones((num_features,))) if track_running_stats else None
        if track_running_stats and momentum is None:
            self.num_batches_tracked = Tensor(B.zeros((), dtype="int64"))

    def forward(self, x: Any) -> Any:
        if len(x.shape) - 2 not in self.axes or x.shape[1] != self.num_features:
            space = " or ".join({0: "", 1: ", length", 2: ", height, width", 3: ", depth, height, width"}[n] for n in self.axes)
            raise UserError(
                f"{type(self).__name__} takes (batch, {self.num_features}{space}). Received shape {tuple(x.shape)}. "
                "Reshape the input, or build the layer for it."
            )
        momentum = self.momentum
        if momentum is None:
            momentum = 0.0
            if self.training and self.running_mean is not None:
                self.num_batches_tracked.copy_(self.num_batches_tracked.data + 1)
                momentum = 1 / self.num_batches_tracked.data.astype(self.running_mean.dtype)
        return F.batch_norm(
            x, self.running_mean, self.running_var, self.weight, self.bias, self.training or self.running_mean is None,
            momentum, self.eps,
        )  # fmt: skip


class BatchNorm1d(_BatchNorm):
    """Each channel of (batch, channels) or (batch, channels, length) by the batch's moments (Ioffe and Szegedy 2015)."""

    axes = (0, 1)


class BatchNorm2d(_BatchNorm):
    """Each channel of (batch, channels, height, width) by the batch's moments (Ioffe and Szegedy 2015)."""

    axes = (2,)


class BatchNorm3d(_BatchNorm):
    """Each channel of (batch, channels, depth, height, width) by the batch's moments (Ioffe and Szegedy 2015)."""

    axes = (3,)


class _InstanceNorm(Module):
    """The common part of the three dimensions."""

    axes: int

    def __init__(
        self, num_features: int, eps: float = 1e-5, momentum: float = 0.1, affine: bool = False,
        track_running_stats: bool = False, *, bias: bool = True,
    ) -> None:  # fmt: skip
        checks.sizes(type(self).__name__, num_features=num_features)
        self.num_features, self.eps, self.momentum = num_features, eps, momentum
        self.weight = Parameter(init.ones((num_features,))) if affine else None
        self.bias = Parameter(init.zeros((num_features,))) if affine and bias else None
        self.running_mean = Tensor(init.zeros((num_features,))) if track_running_stats else None
        self.running_var = Tensor(init.ones((num_features,))) if track_running_stats else None

    def forward(self, x: Any) -> Any:
        return batched(x, self.axes + 1, self._normalized)

    def _normalized(self, x: Any) -> Any:
        checks.image(type(self).__name__, x, self.axes, self.num_features)
        return F.instance_norm(
            x, self.running_mean, self.running_var, self.weight, self.bias, self.training or self.running_mean is None,
            self.momentum, self.eps,
        )  # fmt: skip


class InstanceNorm1d(_InstanceNorm):
    """Each channel of each example of (batch, channels, length) by its own moments (Ulyanov et al. 2016)."""

    axes = 1


class InstanceNorm2d(_InstanceNorm):
    """Each channel of each example of (batch, channels, height, width) by its own moments (Ulyanov et al. 2016)."""

    axes = 2


class InstanceNorm3d(_InstanceNorm):
    """Each channel of each example of (batch, channels, depth, height, width) by its own moments (Ulyanov et al. 2016)."""

    axes = 3


def _shape(layer: str, normalized_shape: int | Sequence[int]) -> tuple[int, ...]:
    shape = for_each(normalized_shape, 1)
    return checks.each(layer, "normalized_shape", shape, max(len(shape), 1))


class LayerNorm(Module):
    """Each example by the moments of its last axes, which have `normalized_shape` (Ba et al. 2016)."""

    def __init__(
        self, normalized_shape: int | Sequence[int], eps: float = 1e-5, elementwise_affine: bool = True, bias: bool = True
    ) -> None:
        self.normalized_shape, self.eps = _shape("LayerNorm", normalized_shape), eps
        self.weight = Parameter(init.ones(self.normalized_shape)) if elementwise_affine else None
        self.bias = Parameter(init.zeros(self.normalized_shape)) if elementwise_affine and bias else None

    def forward(self, x: Any) -> Any:
        return F.layer_norm(x, self.normalized_shape, self.weight, self.bias, self.eps)


class RMSNorm(Module):
    """Each example by the root mean square of its last axes (Zhang and Sennrich 2019); eps None is the dtype's epsilon."""

    def __init__(
        self, normalized_shape: int | Sequence[int], eps: float | None = None, elementwise_affine: bool = True
    ) -> None:
        self.normalized_shape, self.eps = _shape("RMSNorm", normalized_shape), eps
        self.weight = Parameter(init.ones(self.normalized_shape)) if elementwise_affine else None

    def forward(self, x: Any) -> Any:
        return F.rms_norm(x, self.normalized_shape, self.weight, self.eps)


class GroupNorm(Module):
    """Each example by the moments of each group of its channels (Wu and He 2018); x (batch, channels, ...)."""

    def __init__(
        self, num_groups: int, num_channels: int, eps: float = 1e-5, affine: bool = True, *, bias: bool = True
    ) -> None:
        checks.sizes("GroupNorm", num_groups=num_groups, num_channels=num_channels)
        if num_channels % num_groups:
            raise UserError(
                f"GroupNorm needs channels that divide into {num_groups} groups. Received {num_channels}. "
                "Choose a num_groups that divides num_channels."
            )
        self.num_groups, self.num_channels, self.eps = num_groups, num_channels, eps
        self.weight = Parameter(init.ones((num_channels,))) if affine else None
        self.bias = Parameter(init.zeros((num_channels,))) if affine and bias else None

    def forward(self, x: Any) -> Any:
        if len(x.shape) < 2 or x.shape[1] != self.num_channels:
            raise UserError(
                f"GroupNorm takes (batch, {self.num_channels}, ...). Received shape {tuple(x.shape)}. "
                "Reshape the input, or build the layer for it."
            )
        return F.group_norm(x, self.num_groups, self.weight, self.bias, self.eps)


class LocalResponseNorm(Module):
    """Each channel by the activity of its `size` neighbors (Krizhevsky et al. 2012, section 3.3)."""

    def __init__(self, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> None:
        checks.sizes("LocalResponseNorm", size=size)
        self.size, self.alpha, self.beta, self.k = size, alpha, beta, k

    def forward(self, x: Any) -> Any:
        return F.local_response_norm(x, self.size, self.alpha, self.beta, self.k)
