"""Initial weights: each function draws a new array of the given shape from a generator, by default the shared one.

The same names with "_" fill a Tensor or Parameter in place, as in torch.nn.init.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from nnatomy import random
from nnatomy.backends import B
from nnatomy.errors import UserError
from nnatomy.foreign import face, understood
from nnatomy.graph import no_grad
from nnatomy.tensor import Tensor

__all__ = [
    "constant_", "dirac_", "eye_", "kaiming_normal_", "kaiming_uniform_", "lecun_normal_", "lecun_uniform_", "normal_", "ones_",
    "orthogonal_", "trunc_normal_", "uniform_", "xavier_normal_", "xavier_uniform_", "zeros_",
    "calculate_fan", "calculate_gain", "constant", "kaiming_normal", "kaiming_uniform", "lecun_normal", "lecun_uniform",
    "normal", "ones", "orthogonal", "trunc_normal", "uniform", "xavier_normal", "xavier_uniform", "zeros",
]  # fmt: skip

Shape = Sequence[int]
Generator = random.Generator | None


def calculate_fan(shape: Shape) -> tuple[int, int]:
    """(inputs, outputs) that meet in a weight of shape (out, in, *kernel), each times the kernel's size."""
    _of_a_shape("calculate_fan", shape)
    if len(shape) < 2:
        raise UserError(
            f"Fans need a weight with at least two axes (out, in). Received shape {tuple(shape)}. "
            "Use init.zeros_() or init.uniform_() for a bias."
        )
    size = math.prod(shape[2:])
    return shape[1] * size, shape[0] * size


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """The factor on the standard deviation that keeps signals of one size through a nonlinearity, as in PyTorch.

    `param` is the slope of leaky_relu (0.01 if None).
    """
    gains = {"linear": 1.0, "conv": 1.0, "sigmoid": 1.0, "tanh": 5 / 3, "relu": math.sqrt(2), "selu": 3 / 4}
    gains["leaky_relu"] = math.sqrt(2 / (1 + (0.01 if param is None else param) ** 2))
    if nonlinearity not in gains:
        raise UserError(
            f"calculate_gain() knows {', '.join(sorted(gains))}. Received {nonlinearity!r}. "
            "Choose one of them, or give the gain as a number."
        )
    return gains[nonlinearity]


def _of_a_shape(name: str, shape: Any) -> None:
    if hasattr(shape, "dtype"):
        raise UserError(
            f"This function of nn.init makes a new array of a shape. Received an array of shape {tuple(shape.shape)} in "
            f"{name}(). Use the name with _ at its end, such as {name.replace('calculate_fan', 'xavier_uniform')}_()."
        )


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
    _of_a_shape("uniform", shape)
    return (generator or random.default).uniform(tuple(shape), low, high, dtype=dtype)


def normal(shape: Shape, mean: float = 0.0, std: float = 1.0, generator: Generator = None, dtype: Any = "float32") -> Any:
    """N(mean, std^2)."""
    _of_a_shape("normal", shape)
    return (generator or random.default).normal(tuple(shape), mean, std, dtype=dtype)


def trunc_normal(
    shape: Shape, mean: float = 0.0, std: float = 1.0, a: float = -2.0, b: float = 2.0, generator: Generator = None,
    dtype: Any = "float32",
) -> Any:  # fmt: skip
    """N(mean, std^2) conditioned on lying in [a, b]."""
    if not a < b:
        raise UserError(f"trunc_normal() needs a < b. Received {a} and {b}. Use a=-2.0 and b=2.0.")
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
        raise UserError(f'mode must be "fan_in" or "fan_out". Received {mode!r}. Use mode="fan_in".')
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
        raise UserError(
            f"orthogonal() needs at least two axes. Received shape {tuple(shape)}. "
            "Use init.normal_() for a vector."
        )
    rows, columns = shape[0], math.prod(shape[1:])
    drawn = np.asarray(normal((max(rows, columns), min(rows, columns)), generator=generator, dtype="float64"))
    q, r = np.linalg.qr(drawn)
    q = q * np.where(np.diag(r) < 0, -1.0, 1.0)  # makes the law uniform (Mezzadri 2007)
    return B.asarray(gain * (q if rows >= columns else q.T).reshape(tuple(shape)), dtype=dtype)


def _eye(shape: Shape, dtype: Any = "float32") -> Any:
    """1 where row and column are equal, 0 elsewhere."""
    rows, columns = shape
    return (B.arange(rows)[:, None] == B.arange(columns)[None, :]).astype(dtype)


def _dirac(shape: Shape, groups: int = 1, dtype: Any = "float32") -> Any:
    """Kernels (out, in, *kernel) that pass their inputs through: 1 in the middle of channel i of output i of each group."""
    if len(shape) < 3 or shape[0] % groups:
        raise UserError(
            f"dirac_() fills kernels (out, in, *kernel), out a multiple of groups. Received {tuple(shape)}. "
            "Give such a kernel, or other groups."
        )
    made = np.zeros(tuple(shape), "float32")
    middle = tuple(n // 2 for n in shape[2:])
    for out in range(shape[0]):
        if (channel := out % (shape[0] // groups)) < shape[1]:
            made[(out, channel, *middle)] = 1
    return B.asarray(made, dtype=dtype)


def _in_place(draw: Callable[..., Any]) -> Callable[..., Tensor]:
    """The same values written into a Tensor, which is returned."""
    name = draw.__name__.strip("_") + "_"
    draw = understood(draw)

    def fill(tensor: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        if not isinstance(tensor, Tensor):
            raise UserError(f"{name}() fills a Tensor. Received {type(tensor).__name__}. Use {name[:-1]}(shape) for an array.")
        dtype = "float64" if tensor.dtype == "float64" else "float32"
        with no_grad():
            return tensor.copy_(Tensor(draw(tensor.shape, *args, dtype=dtype, **kwargs).astype(tensor.dtype)))

    fill.__name__ = fill.__qualname__ = name
    fill.__doc__ = f"In place: {draw.__doc__}"
    return fill


constant_, ones_, zeros_, eye_, dirac_ = (_in_place(f) for f in (constant, ones, zeros, _eye, _dirac))
uniform_, normal_, trunc_normal_, orthogonal_ = (_in_place(f) for f in (uniform, normal, trunc_normal, orthogonal))
xavier_uniform_, xavier_normal_ = (_in_place(f) for f in (xavier_uniform, xavier_normal))
kaiming_uniform_, kaiming_normal_ = (_in_place(f) for f in (kaiming_uniform, kaiming_normal))
lecun_uniform_, lecun_normal_ = (_in_place(f) for f in (lecun_uniform, lecun_normal))

__getattr__ = face("nn.init", __all__)
