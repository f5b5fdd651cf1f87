"""Dropout in its forms: noise during training, nothing after it. Masks come from `generator`, by default the shared one."""

from __future__ import annotations

import math
from typing import Any

from nnatomy import ops, random
from nnatomy.errors import UserError
from nnatomy.functional.activations import SELU_ALPHA, SELU_SCALE, leaky_relu

__all__ = [
    "alpha_dropout", "dropout", "dropout1d", "dropout2d", "dropout3d", "feature_alpha_dropout", "rrelu", "stochastic_depth",
]  # fmt: skip


def _check(p: float) -> None:
    if not 0 <= p <= 1:
        raise UserError(f"A dropout probability must be between 0 and 1. Received {p}. Use p=0.5.")


def _drop(x: Any, shape: tuple[int, ...], p: float, generator: random.Generator | None) -> Any:
    """x times 1 / (1 - p) or, with probability p, times 0; one draw for each element of `shape`, which broadcasts against x."""
    keep = (generator or random.default).bernoulli(shape, 1 - p).astype(x.dtype)
    return x * (keep * (1 / (1 - p) if p < 1 else 0.0))


def dropout(x: Any, p: float = 0.5, training: bool = True, generator: random.Generator | None = None) -> Any:
    """Each element is 0 with probability p, else divided by 1 - p (Srivastava et al. 2014)."""
    _check(p)
    return _drop(x, x.shape, p, generator) if training and p > 0 else x


def _dropout_channels(x: Any, p: float, training: bool, generator: random.Generator | None, axes: int) -> Any:
    _check(p)
    if len(x.shape) not in (axes + 1, axes + 2):
        raise UserError(
            f"dropout{axes}d() needs (batch, channels and {axes} axes of space). Received shape {tuple(x.shape)}. "
            "Reshape the input to that."
        )
    return _drop(x, (*x.shape[: len(x.shape) - axes], *(1,) * axes), p, generator) if training and p > 0 else x


def dropout1d(x: Any, p: float = 0.5, training: bool = True, generator: random.Generator | None = None) -> Any:
    """Whole channels of (batch, channels, length) are dropped (Tompson et al. 2015)."""
    return _dropout_channels(x, p, training, generator, 1)


def dropout2d(x: Any, p: float = 0.5, training: bool = True, generator: random.Generator | None = None) -> Any:
    """Whole channels of (batch, channels, height, width) are dropped (Tompson et al. 2015)."""
    return _dropout_channels(x, p, training, generator, 2)


def dropout3d(x: Any, p: float = 0.5, training: bool = True, generator: random.Generator | None = None) -> Any:
    """Whole channels of (batch, channels, depth, height, width) are dropped (Tompson et al. 2015)."""
    return _dropout_channels(x, p, training, generator, 3)


def alpha_dropout(x: Any, p: float = 0.5, training: bool = True, generator: random.Generator | None = None) -> Any:
    """Elements become SELU's lower limit with probability p; then scaled and shifted to the same mean and variance.

    Klambauer et al. (2017), section "New dropout technique": a = (q + limit^2 q (1 - q))^(-1/2), b = -a (1 - q) limit.
    """
    return _alpha_dropped(x, x.shape, p, training, generator)


def feature_alpha_dropout(x: Any, p: float = 0.5, training: bool = True, generator: random.Generator | None = None) -> Any:
    """alpha_dropout of whole channels of (batch, channels, ...)."""
    if len(x.shape) < 2:
        raise UserError(
            f"feature_alpha_dropout() needs (batch, channels, ...). Received shape {tuple(x.shape)}. Reshape the input to that."
        )
    return _alpha_dropped(x, (*x.shape[:2], *(1,) * (len(x.shape) - 2)), p, training, generator)


def _alpha_dropped(x: Any, shape: tuple[int, ...], p: float, training: bool, generator: random.Generator | None) -> Any:
    _check(p)
    if not training or p == 0:
        return x
    if p == 1:
        return 0.0 * x
    limit = -SELU_SCALE * SELU_ALPHA
    keep = (generator or random.default).bernoulli(shape, 1 - p).astype(x.dtype)
    a = 1 / math.sqrt((1 - p) * (1 + p * limit * limit))
    return x * (keep * a) + ((1 - keep) * (a * limit) - a * p * limit)


def rrelu(
    x: Any, lower: float = 1 / 8, upper: float = 1 / 3, training: bool = False, generator: random.Generator | None = None
) -> Any:
    """y = x where x >= 0, else a x: in training a is uniform from lower to upper for each element, else their mean.

    Source: Xu et al. (2015), section 2.4.
    """
    if not lower <= upper:
        raise UserError(f"rrelu() needs lower <= upper. Received {lower} and {upper}. Exchange them.")
    if not training:
        return leaky_relu(x, (lower + upper) / 2)
    slopes = (generator or random.default).uniform(x.shape, lower, upper, dtype=x.dtype)
    return ops.where(x >= 0, x, x * slopes)


def stochastic_depth(
    x: Any, p: float, mode: str = "row", training: bool = True, generator: random.Generator | None = None
) -> Any:
    """A residual branch is 0 with probability p, else divided by 1 - p: per example ("row") or per batch (Huang et al. 2016).

    The paper instead multiplies the branch by 1 - p after training.
    """
    _check(p)
    if mode not in ("row", "batch"):
        raise UserError(f'stochastic_depth() needs mode "row" or "batch". Received {mode!r}. Use mode="row".')
    if not training or p == 0:
        return x
    shape = ((x.shape[0] if mode == "row" else 1), *(1,) * (len(x.shape) - 1))
    return _drop(x, shape, p, generator)
