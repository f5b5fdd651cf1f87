"""Initial weights: each function draws a new array of the given shape from a generator, by default the shared one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from nnatomy import random
from nnatomy.backends import B
from nnatomy.errors import UserError

__all__ = [
    "calculate_fan", "calculate_gain", "constant", "kaiming_normal", "kaiming_uniform", "lecun_normal", "lecun_uniform",
    "normal", "ones", "orthogonal", "trunc_normal", "uniform", "xavier_normal", "xavier_uniform", "zeros",
]  # fmt: skip

Shape = Sequence[int]
Generator = random.Generator | None


def calculate_fan(shape: Shape) -> tuple[int, int]:
    """(inputs, outputs) that meet in a weight of shape (out, in, *kernel), each times the kernel's size."""
    if len(shape) < 2:
        raise UserError(f"Fans need a weight with at least two axes (out, in). Received shape {tuple(shape)}.")
    size = math.prod(shape[2:])
    return shape[1] * size, shape[0] * size


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """The factor on the standard deviation that keeps signals of one size through a nonlinearity, as in PyTorch.

    `param` is the slope of leaky_relu (0.01 if None).
    """
    gains = {"linear": 1.0, "conv": 1.0, "sigmoid": 1.0, "tanh": 5 / 3, "relu": math.sqrt(2), "selu": 3 / 4}
    gains["leaky_relu"] = math.sqrt(2 / (1 + (0.01 if param is None else param) ** 2))
    if nonlinearity not in gains:
        raise UserError(f"calculate_gain() knows {', '.join(sorted(gains))}. Received {nonlinearity!r}.")
    return gains[nonlinearity]


def zeros(shape: Shape, dtype: Any = "float32") -> Any:
    """All 0."""
    return B.zeros(tuple(shape), dtype=dtype)


def ones(shape: Shape, dtype: Any = "float32") -> Any:
    """All 1."""
    return B.ones(tuple(shape), dtype=dtype)


def constant(shape: Shape, value: float, dtype: Any = "float32") -> Any:
    """All `value`."""
    return B.full(tuple(shape), value, dtype=dtype)


def uniform(shape: Shape, low: float = 0.0, high: float = 1.0, generator: Generator = None, dtype: Any = "float32") -> Any:
    """U(low, high)."""
    return (generator or random.default).uniform(tuple(shape), low, high, dtype=dtype)


def normal(shape: Shape, mean: float = 0.0, std: float = 1.0, generator: Generator = None, dtype: Any = "float32") -> Any:
    """N(mean, std^2)."""
    return (generator or random.default).normal(tuple(shape), mean, std, dtype=dtype)


def trunc_normal(
    shape: Shape, mean: float = 0.0, std: float = 1.0, a: float = -2.0, b: float = 2.0, generator: Generator = None,
    dtype: Any = "float32",
) -> Any:  # fmt: skip
    """N(mean, std^2) conditioned on lying in [a, b]."""
    if not a < b:
        raise UserError(f"trunc_normal() needs a < b. Received {a} and {b}.")
    return (generator or random.default).truncated_normal(tuple(shape), mean, std, a, b, dtype=dtype)


def xavier_uniform(shape: Shape, gain: float = 1.0, generator: Generator = None, dtype: Any = "float32") -> Any:
    """U(-a, a), a = gain sqrt(6 / (fan in + fan out)) (Glorot and Bengio 2010, eq. 16)."""
    bound = gain * math.sqrt(6 / sum(calculate_fan(shape)))
    return uniform(shape, -bound, bound, generator, dtype)


def xavier_normal(shape: Shape, gain: float = 1.0, generator: Generator = None, dtype: Any = "float32") -> Any:
    """N(0, std^2), std = gain sqrt(2 / (fan in + fan out)) (Glorot and Bengio 2010, eq. 12)."""
    return normal(shape, 0.0, gain * math.sqrt(2 / sum(calculate_fan(shape))), generator, dtype)


def _kaiming_std(shape: Shape, a: float, mode: str, nonlinearity: str) -> float:
    if mode not in ("fan_in", "fan_out"):
        raise UserError(f'mode must be "fan_in" or "fan_out". Received {mode!r}.')
    fan = calculate_fan(shape)[mode == "fan_out"]
    return calculate_gain(nonlinearity, a) / math.sqrt(fan) if fan else 0.0


def kaiming_uniform(
    shape: Shape, a: float = 0.0, mode: str = "fan_in", nonlinearity: str = "leaky_relu", generator: Generator = None,
    dtype: Any = "float32",
) -> Any:  # fmt: skip
    """U(-c, c), c = gain sqrt(3 / fan), `a` being the slope of leaky_relu (He et al. 2015, eq. 10 and 14)."""
    bound = math.sqrt(3) * _kaiming_std(shape, a, mode, nonlinearity)
    return uniform(shape, -bound, bound, generator, dtype)


def kaiming_normal(
    shape: Shape, a: float = 0.0, mode: str = "fan_in", nonlinearity: str = "leaky_relu", generator: Generator = None,
    dtype: Any = "float32",
) -> Any:  # fmt: skip
    """N(0, std^2), std = gain / sqrt(fan), `a` being the slope of leaky_relu (He et al. 2015, eq. 10 and 14)."""
    return normal(shape, 0.0, _kaiming_std(shape, a, mode, nonlinearity), generator, dtype)


def lecun_uniform(shape: Shape, generator: Generator = None, dtype: Any = "float32") -> Any:
    """U(-a, a), a = sqrt(3 / fan in) (LeCun et al. 1998, "Efficient BackProp", eq. 16)."""
    return kaiming_uniform(shape, nonlinearity="linear", generator=generator, dtype=dtype)


def lecun_normal(shape: Shape, generator: Generator = None, dtype: Any = "float32") -> Any:
    """N(0, 1 / fan in) (LeCun et al. 1998, "Efficient BackProp", eq. 16)."""
    return kaiming_normal(shape, nonlinearity="linear", generator=generator, dtype=dtype)


def orthogonal(shape: Shape, gain: float = 1.0, generator: Generator = None, dtype: Any = "float32") -> Any:
    """gain times a random (out, in x kernel) with orthonormal rows or columns, whichever are fewer (Saxe et al. 2014)."""
    if len(shape) < 2:
        raise UserError(f"orthogonal() needs at least two axes. Received shape {tuple(shape)}.")
    rows, columns = shape[0], math.prod(shape[1:])
    drawn = np.asarray(normal((max(rows, columns), min(rows, columns)), generator=generator, dtype="float64"))
    q, r = np.linalg.qr(drawn)
    q = q * np.where(np.diag(r) < 0, -1.0, 1.0)  # makes the law uniform (Mezzadri 2007)
    return B.asarray(gain * (q if rows >= columns else q.T).reshape(tuple(shape)), dtype=dtype)
