"""Linear maps and the layers that only rearrange."""

from __future__ import annotations

import math
from typing import Any

from nnatomy import init, ops
from nnatomy.errors import UserError
from nnatomy.layers import checks
from nnatomy.layers.module import Module
from nnatomy.random import Generator
from nnatomy.tensor import Parameter

__all__ = ["Bilinear", "Flatten", "Identity", "Linear", "Unflatten"]


class Identity(Module):
    """y = x. It takes the arguments of any layer whose place it has."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        pass

    def forward(self, x: Any) -> Any:
        return x


class Flatten(Module):
    """Axes `start_dim` to `end_dim` as one; by default all but the batch."""

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        self.start_dim, self.end_dim = start_dim, end_dim

    def forward(self, x: Any) -> Any:
        return ops.flatten(x, self.start_dim, self.end_dim)


class Unflatten(Module):
    """Axis `dim` in the shape `unflattened_size`, of which one entry may be -1."""

    def __init__(self, dim: int, unflattened_size: tuple[int, ...]) -> None:
        self.dim, self.unflattened_size = dim, tuple(unflattened_size)

    def forward(self, x: Any) -> Any:
        dim = self.dim % len(x.shape)
        return ops.reshape(x, (*x.shape[:dim], *self.unflattened_size, *x.shape[dim + 1 :]))


class Linear(Module):
    """y = x W^T + b. weight (out, in), bias (out), both from U(-1/sqrt(in), 1/sqrt(in)); x (..., in)."""

    def __init__(self, in_features: int, out_features: int, bias: bool = True, *, generator: Generator | None = None) -> None:
        checks.sizes("Linear", in_features=in_features, out_features=out_features)
        self.in_features, self.out_features = in_features, out_features
        bound = 1 / math.sqrt(in_features)
        self.weight = Parameter(init.uniform((out_features, in_features), -bound, bound, generator))
        self.bias = Parameter(init.uniform((out_features,), -bound, bound, generator)) if bias else None

    def forward(self, x: Any) -> Any:
        try:
            return ops.linear(x, self.weight, self.bias)
        except UserError:
            checks.last_axis("Linear", x, self.in_features)  # the same fault, in this layer's words
            raise


class Bilinear(Module):
    """y_k = x1^T W_k x2 + b_k. weight (out, in1, in2), bias (out), both from U(-1/sqrt(in1), 1/sqrt(in1))."""

    def __init__(
        self, in1_features: int, in2_features: int, out_features: int, bias: bool = True, *, generator: Generator | None = None
    ) -> None:
        checks.sizes("Bilinear", in1_features=in1_features, in2_features=in2_features, out_features=out_features)
        self.in1_features, self.in2_features, self.out_features = in1_features, in2_features, out_features
        bound = 1 / math.sqrt(in1_features)
        self.weight = Parameter(init.uniform((out_features, in1_features, in2_features), -bound, bound, generator))
        self.bias = Parameter(init.uniform((out_features,), -bound, bound, generator)) if bias else None

    def forward(self, x1: Any, x2: Any) -> Any:
        checks.last_axis("Bilinear", x1, self.in1_features)
        checks.last_axis("Bilinear", x2, self.in2_features)
        if x1.shape[:-1] != x2.shape[:-1]:
            raise UserError(
                f"Bilinear needs inputs that agree in all but the last axis. Received {x1.shape} and {x2.shape}. "
                "Reshape or expand one of them."
            )
        y = ops.einsum("...i,kij,...j->...k", x1, self.weight, x2)
        return y if self.bias is None else y + self.bias
