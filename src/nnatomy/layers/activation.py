"""Activations as layers, for Sequential and for named places; the formulas are in functional/activations.py."""

from __future__ import annotations

from typing import Any

from nnatomy import functional as F
from nnatomy import init
from nnatomy.errors import UserError
from nnatomy.layers import checks
from nnatomy.layers.module import Module
from nnatomy.random import Generator
from nnatomy.tensor import Parameter

__all__ = [
    "CELU", "ELU", "GELU", "GLU", "Hardshrink", "Hardsigmoid", "Hardswish", "Hardtanh", "LeakyReLU", "LogSigmoid",
    "LogSoftmax", "Maxout", "Mish", "PReLU", "RReLU", "ReLU", "ReLU6", "SELU", "SiLU", "Sigmoid", "Softmax", "Softmax2d",
    "Softmin", "Softplus", "Softshrink", "Softsign", "Step", "Tanh", "Tanhshrink", "Threshold",
]  # fmt: skip


class Step(Module):
    """y = 1 where x >= 0, else 0; no gradient."""

    def forward(self, x: Any) -> Any:
        return F.step(x)


class Sigmoid(Module):
    """y = 1 / (1 + e^-x)."""

    def forward(self, x: Any) -> Any:
        return F.sigmoid(x)


class Tanh(Module):
    """y = tanh x."""

    def forward(self, x: Any) -> Any:
        return F.tanh(x)


class RReLU(Module):
    """y = x where x >= 0, else a x: in training a is uniform from lower to upper, else their mean (Xu et al. 2015)."""

    def __init__(self, lower: float = 1 / 8, upper: float = 1 / 3, *, generator: Generator | None = None) -> None:
        if not lower <= upper:
            raise UserError(f"RReLU needs lower <= upper. Received {lower} and {upper}. Exchange them.")
        self.lower, self.upper = lower, upper
        self._generator = generator

    def forward(self, x: Any) -> Any:
        return F.rrelu(x, self.lower, self.upper, self.training, self._generator)


class ReLU(Module):
    """y = max(x, 0)."""

    def forward(self, x: Any) -> Any:
        return F.relu(x)


class ReLU6(Module):
    """y = min(max(x, 0), 6)."""

    def forward(self, x: Any) -> Any:
        return F.relu6(x)


class LeakyReLU(Module):
    """y = x where x > 0, else negative_slope x."""

    def __init__(self, negative_slope: float = 0.01) -> None:
        self.negative_slope = negative_slope

    def forward(self, x: Any) -> Any:
        return F.leaky_relu(x, self.negative_slope)


class PReLU(Module):
    """y = x where x > 0, else weight x, with one weight or one for each channel of axis 1."""

    def __init__(self, num_parameters: int = 1, init: float = 0.25) -> None:
        checks.sizes("PReLU", num_parameters=num_parameters)
        self.num_parameters = num_parameters
        self.weight = Parameter(_constant((num_parameters,), init))

    def forward(self, x: Any) -> Any:
        return F.prelu(x, self.weight)


_constant = init.constant  # PReLU's argument is called init, as in PyTorch


class ELU(Module):
    """y = x where x > 0, else alpha (e^x - 1)."""

    def __init__(self, alpha: float = 1.0) -> None:
        self.alpha = alpha

    def forward(self, x: Any) -> Any:
        return F.elu(x, self.alpha)


class CELU(Module):
    """y = x where x > 0, else alpha (e^(x / alpha) - 1)."""

    def __init__(self, alpha: float = 1.0) -> None:
        if alpha == 0:
            raise UserError("CELU needs alpha other than 0. Received 0. Use alpha=1.0.")
        self.alpha = alpha

    def forward(self, x: Any) -> Any:
        return F.celu(x, self.alpha)


class SELU(Module):
    """y = 1.0507 elu(x, 1.6733)."""

    def forward(self, x: Any) -> Any:
        return F.selu(x)


class GELU(Module):
    """y = x Phi(x), exactly ("none") or by tanh ("tanh")."""

    def __init__(self, approximate: str = "none") -> None:
        if approximate not in ("none", "tanh"):
            raise UserError(f'GELU needs approximate "none" or "tanh". Received {approximate!r}. Use approximate="none".')
        self.approximate = approximate

    def forward(self, x: Any) -> Any:
        return F.gelu(x, self.approximate)


class SiLU(Module):
    """y = x sigmoid(x)."""

    def forward(self, x: Any) -> Any:
        return F.silu(x)


class Mish(Module):
    """y = x tanh(ln(1 + e^x))."""

    def forward(self, x: Any) -> Any:
        return F.mish(x)


class Softplus(Module):
    """y = ln(1 + e^(beta x)) / beta, and x where beta x > threshold."""

    def __init__(self, beta: float = 1.0, threshold: float = 20.0) -> None:
        self.beta, self.threshold = beta, threshold

    def forward(self, x: Any) -> Any:
        return F.softplus(x, self.beta, self.threshold)


class Softsign(Module):
    """y = x / (1 + |x|)."""

    def forward(self, x: Any) -> Any:
        return F.softsign(x)


class LogSigmoid(Module):
    """y = ln sigmoid(x)."""

    def forward(self, x: Any) -> Any:
        return F.logsigmoid(x)


class Hardtanh(Module):
    """y = x clipped to [min_val, max_val]."""

    def __init__(self, min_val: float = -1.0, max_val: float = 1.0) -> None:
        if not max_val > min_val:
            raise UserError(f"Hardtanh needs min_val below max_val. Received {min_val} and {max_val}. Exchange them.")
        self.min_val, self.max_val = min_val, max_val

    def forward(self, x: Any) -> Any:
        return F.hardtanh(x, self.min_val, self.max_val)


class Hardsigmoid(Module):
    """y = min(max(x + 3, 0), 6) / 6."""

    def forward(self, x: Any) -> Any:
        return F.hardsigmoid(x)


class Hardswish(Module):
    """y = x min(max(x + 3, 0), 6) / 6."""

    def forward(self, x: Any) -> Any:
        return F.hardswish(x)


class Tanhshrink(Module):
    """y = x - tanh x."""

    def forward(self, x: Any) -> Any:
        return F.tanhshrink(x)


class Softshrink(Module):
    """y = x moved toward 0 by lambd, and 0 where it would cross."""

    def __init__(self, lambd: float = 0.5) -> None:
        if lambd < 0:
            raise UserError(f"Softshrink needs lambd of at least 0. Received {lambd}. Use lambd=0.5.")
        self.lambd = lambd

    def forward(self, x: Any) -> Any:
        return F.softshrink(x, self.lambd)


class Hardshrink(Module):
    """y = x where |x| > lambd, else 0."""

    def __init__(self, lambd: float = 0.5) -> None:
        self.lambd = lambd

    def forward(self, x: Any) -> Any:
        return F.hardshrink(x, self.lambd)


def _dim(layer: str, dim: int | None) -> int:
    """The axis of a softmax. Raises UserError for None, for which PyTorch guesses by the number of axes, with a warning."""
    if dim is None:
        raise UserError(f"{layer} needs the axis that it sums over. Received none. Give dim=1 for classes, or dim=-1.")
    return dim


class Softmax(Module):
    """e^x divided by its sum over `dim`."""

    def __init__(self, dim: int | None = None) -> None:
        self.dim = _dim(type(self).__name__, dim)

    def forward(self, x: Any) -> Any:
        return F.softmax(x, axis=self.dim)


class Softmax2d(Module):
    """The softmax over the channels of (batch, channels, height, width) or (channels, height, width), at each place."""

    def forward(self, x: Any) -> Any:
        if len(x.shape) not in (3, 4):
            raise UserError(
                f"Softmax2d takes (batch, channels, height, width). Received shape {tuple(x.shape)}. "
                "Use Softmax(dim=...) for other shapes."
            )
        return F.softmax(x, axis=-3)


class LogSoftmax(Module):
    """ln of the softmax over `dim`."""

    def __init__(self, dim: int | None = None) -> None:
        self.dim = _dim(type(self).__name__, dim)

    def forward(self, x: Any) -> Any:
        return F.log_softmax(x, axis=self.dim)


class Softmin(Module):
    """e^-x divided by its sum over `dim`."""

    def __init__(self, dim: int | None = None) -> None:
        self.dim = _dim(type(self).__name__, dim)

    def forward(self, x: Any) -> Any:
        return F.softmin(x, axis=self.dim)


class GLU(Module):
    """y = a sigmoid(b) with a, b the two halves of `dim`."""

    def __init__(self, dim: int = -1) -> None:
        self.dim = dim

    def forward(self, x: Any) -> Any:
        return F.glu(x, axis=self.dim)


class Threshold(Module):
    """y = x where x > threshold, else value."""

    def __init__(self, threshold: float, value: float) -> None:
        self.threshold, self.value = threshold, value

    def forward(self, x: Any) -> Any:
        return F.threshold(x, self.threshold, self.value)


class Maxout(Module):
    """The largest of each `pieces` neighboring features on `axis` (Goodfellow et al. 2013)."""

    def __init__(self, pieces: int, axis: int = 1) -> None:
        checks.sizes("Maxout", pieces=pieces)
        self.pieces, self.axis = pieces, axis

    def forward(self, x: Any) -> Any:
        return F.maxout(x, self.pieces, self.axis)
