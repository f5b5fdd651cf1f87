"""Activation functions, element by element or along an axis. Their layers are in layers/activation.py."""

from __future__ import annotations

import math
from typing import Any

from nnatomy import ops
from nnatomy.backends import B
from nnatomy.errors import UserError
from nnatomy.ops import log_softmax, relu, sigmoid, softmax, tanh
from nnatomy.ops.pointwise import real
from nnatomy.ops.primitive import primitive

__all__ = [
    "celu", "elu", "gelu", "glu", "hardshrink", "hardsigmoid", "hardswish", "hardtanh", "leaky_relu", "log_softmax",
    "logsigmoid", "maxout", "mish", "prelu", "relu", "relu6", "selu", "sigmoid", "silu", "softmax", "softmin", "softplus",
    "softshrink", "softsign", "step", "tanh", "tanhshrink", "threshold",
]  # fmt: skip

# Klambauer et al. (2017), eq. 14: the fixed point at which mean 0 and variance 1 reproduce themselves.
SELU_ALPHA = 1.6732632423543772848170429916717
SELU_SCALE = 1.0507009873554804934193349852946

RSQRT2, RSQRT_2PI = math.sqrt(0.5), math.sqrt(0.5 / math.pi)
GELU_SCALE, GELU_CUBIC = math.sqrt(2 / math.pi), 0.044715


def step(x: Any) -> Any:
    """y = 1 where x >= 0, else 0: the threshold of McCulloch and Pitts (1943); no gradient."""
    return ops.astype(ops.greater_equal(x, 0), dtype=x.dtype)


def relu6(x: Any) -> Any:
    """y = min(max(x, 0), 6)."""
    return hardtanh(x, 0.0, 6.0)


def threshold(x: Any, threshold: float, value: float) -> Any:
    """y = x where x > threshold, else value."""
    return ops.where(ops.greater(x, threshold), x, value)


def leaky_relu(x: Any, negative_slope: float = 0.01) -> Any:
    """y = x where x > 0, else negative_slope x (Maas et al. 2013)."""
    return ops.where(ops.greater(x, 0), x, negative_slope * x)


def prelu(x: Any, weight: Any) -> Any:
    """y = x where x > 0, else weight x, with one weight for all or one for each channel of axis 1 (He et al. 2015, eq. 1)."""
    if weight.size > 1:
        channels = x.shape[1] if len(x.shape) > 1 else 1
        if weight.shape != (channels,):
            raise UserError(
                f"prelu() needs one weight, or one for each of the {channels} channels. Received {tuple(weight.shape)}. "
                "Reshape it to (1,) or to the channels."
            )
        weight = ops.reshape(weight, (-1,) + (1,) * (len(x.shape) - 2))
    return ops.where(ops.greater(x, 0), x, weight * x)


def elu(x: Any, alpha: float = 1.0) -> Any:
    """y = x where x > 0, else alpha (e^x - 1) (Clevert et al. 2016, eq. 15)."""
    return ops.where(ops.greater(x, 0), x, alpha * ops.expm1(ops.clip(x, None, 0)))


def celu(x: Any, alpha: float = 1.0) -> Any:
    """y = x where x > 0, else alpha (e^(x / alpha) - 1) (Barron 2017)."""
    return ops.where(ops.greater(x, 0), x, alpha * ops.expm1(ops.clip(x, None, 0) / alpha))


def selu(x: Any) -> Any:
    """y = 1.0507 elu(x, 1.6733): activations keep mean 0 and variance 1 through layers (Klambauer et al. 2017, eq. 2)."""
    return SELU_SCALE * elu(x, SELU_ALPHA)


# A fused activation's derivative needs nothing but x, which is kept anyway.


@primitive(lambda g, y, x: g * (0.5 * (1 + ops.erf(x * RSQRT2)) + x * (RSQRT_2PI * ops.exp(-0.5 * ops.square(x)))), real=True)
def _gelu(x: Any) -> Any:
    return 0.5 * x * (1 + B.erf(x * RSQRT2))


def _gelu_tanh_slope(x: Any) -> Any:
    s = ops.square(x)
    t = ops.tanh(GELU_SCALE * x * (1 + GELU_CUBIC * s))
    return 0.5 * (1 + t) + (0.5 * GELU_SCALE) * x * (1 - ops.square(t)) * (1 + 3 * GELU_CUBIC * s)


@primitive(lambda g, y, x: g * _gelu_tanh_slope(x), real=True)
def _gelu_tanh(x: Any) -> Any:
    return 0.5 * x * (1 + B.tanh(GELU_SCALE * x * (1 + GELU_CUBIC * B.square(x))))


def gelu(x: Any, approximate: str = "none") -> Any:
    """y = x Phi(x), exactly by the error function, or with approximate="tanh" (Hendrycks and Gimpel 2016, section 2)."""
    if approximate == "none":
        return _gelu(x)
    if approximate == "tanh":
        return _gelu_tanh(x)
    raise UserError(f'gelu() needs approximate "none" or "tanh". Received {approximate!r}. Use approximate="none".')


def _silu_slope(x: Any) -> Any:
    s = ops.sigmoid(x)
    return s * (1 + x * (1 - s))


@primitive(lambda g, y, x: g * _silu_slope(x), real=True)
def _silu(x: Any) -> Any:
    return x * B.sigmoid(x)


def silu(x: Any) -> Any:
    """y = x sigmoid(x), also called swish (Elfwing et al. 2018; Ramachandran et al. 2017)."""
    return _silu(x)


def mish(x: Any) -> Any:
    """y = x tanh(ln(1 + e^x)) (Misra 2019)."""
    return x * ops.tanh(ops.softplus(x))


def softplus(x: Any, beta: float = 1.0, threshold: float = 20.0) -> Any:
    """y = ln(1 + e^(beta x)) / beta, and x itself where beta x > threshold, as in PyTorch."""
    return ops.where(ops.greater(x * beta, threshold), x, ops.softplus(x * beta) / beta)


def softsign(x: Any) -> Any:
    """y = x / (1 + |x|)."""
    return x / (1 + ops.abs(x))


def logsigmoid(x: Any) -> Any:
    """y = ln sigmoid(x), without overflow."""
    return -ops.softplus(-real(x))


def hardtanh(x: Any, min_val: float = -1.0, max_val: float = 1.0) -> Any:
    """y = x clipped to [min_val, max_val]; slope 0 at both ends, as in PyTorch."""
    if not min_val <= max_val:
        raise UserError(f"hardtanh() needs min_val <= max_val. Received {min_val!r} and {max_val!r}. Exchange them.")
    return ops.where(ops.less_equal(x, min_val), min_val, ops.where(ops.greater_equal(x, max_val), max_val, x))


def hardsigmoid(x: Any) -> Any:
    """y = min(max(x + 3, 0), 6) / 6 (Howard et al. 2019)."""
    return relu6(x + 3) / 6


def hardswish(x: Any) -> Any:
    """y = x min(max(x + 3, 0), 6) / 6 (Howard et al. 2019, section 5.2)."""
    return x * relu6(x + 3) / 6


def tanhshrink(x: Any) -> Any:
    """y = x - tanh x."""
    return x - ops.tanh(x)


def softshrink(x: Any, lambd: float = 0.5) -> Any:
    """y = x - lambd above lambd, x + lambd below -lambd, 0 between: the proximal step of an L1 penalty."""
    _width("softshrink", lambd)
    return ops.where(ops.greater(x, lambd), x - lambd, ops.where(ops.less(x, -lambd), x + lambd, 0.0 * x))


def _width(name: str, lambd: float) -> None:
    if not lambd >= 0:
        raise UserError(f"{name}() needs lambd >= 0. Received {lambd!r}. Give its size.")


def hardshrink(x: Any, lambd: float = 0.5) -> Any:
    """y = x where |x| > lambd, else 0."""
    _width("hardshrink", lambd)
    return ops.where(ops.greater(ops.abs(x), lambd), x, 0.0 * x)


def softmin(x: Any, axis: int = -1) -> Any:
    """e^-x divided by its sum over `axis`."""
    return ops.softmax(-real(x), axis=axis)


def glu(x: Any, axis: int = -1) -> Any:
    """y = a sigmoid(b) with a, b the two halves of `axis` (Dauphin et al. 2017, eq. 1)."""
    if x.shape[axis] % 2:
        raise UserError(
            f"glu() needs an axis of even length to halve. Received shape {tuple(x.shape)} and axis {axis}. "
            "Choose another dim, or pad it to an even length."
        )
    a, b = ops.split(x, x.shape[axis] // 2, axis=axis)
    return a * ops.sigmoid(b)


def maxout(x: Any, pieces: int, axis: int = 1) -> Any:
    """y_i = the largest of the `pieces` features that follow each other from pieces * i on `axis` (Goodfellow et al. 2013)."""
    axis %= len(x.shape)
    if pieces < 1 or x.shape[axis] % pieces:
        raise UserError(
            f"maxout() needs an axis whose length is a multiple of pieces. Received shape {tuple(x.shape)}, axis {axis}, "
            f"pieces {pieces}. Choose another number of pieces."
        )
    split = (*x.shape[:axis], x.shape[axis] // pieces, pieces, *x.shape[axis + 1 :])
    return ops.max(ops.reshape(x, split), axis=axis + 1)
