"""Limits on gradients and weights: clipping by norm and by value, and the max-norm constraint."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from nnatomy.backends import B
from nnatomy.errors import UserError
from nnatomy.graph import no_grad
from nnatomy.tensor import Array, Tensor

Parameters = Tensor | Iterable[Tensor]


def clip_grad_norm(
    parameters: Parameters, max_norm: float, norm_type: float = 2.0, error_if_nonfinite: bool = False
) -> Array:
    """Scale all gradients by min(1, max_norm / (n + 1e-6)), n being their norm as one long vector (Pascanu et al. 2013).

    Returns n from before, a 0-d array. Raises UserError for max_norm < 0, and with `error_if_nonfinite` where n is not finite.
    """
    _at_least_0("max_norm", max_norm)
    _positive("norm_type", norm_type)
    owners = _with_gradient(parameters)
    if not owners:
        return B.zeros((), dtype="float32")
    parts = B.stack([_norm(p.grad.data, norm_type) for p in owners if p.grad is not None])
    total = _norm(parts, norm_type)
    if error_if_nonfinite and not bool(B.isfinite(total)):
        raise UserError(f"The norm of the gradients must be finite. Received {float(total)}. Lower the learning rate.")
    coefficient = B.minimum(max_norm / (total + 1e-6), 1.0)
    for p in owners:
        if p.grad is not None:
            p.grad = Tensor(p.grad.data * coefficient.astype(p.grad.dtype))
    return total


def clip_grad_value(parameters: Parameters, clip_value: float) -> None:
    """Hold every element of the gradients between -clip_value and clip_value."""
    _at_least_0("clip_value", clip_value)
    for p in _with_gradient(parameters):
        if p.grad is not None:
            p.grad = Tensor(B.clip(p.grad.data, -float(clip_value), float(clip_value)))


def constrain_max_norm(parameters: Parameters, max_norm: float) -> None:
    """Shrink each unit's incoming weights w = p[i] to |w| <= max_norm (Srivastava et al. 2014, section 5.1; torch.renorm).

    To be called after a step. Parameters with fewer than two axes (biases, norms) have no incoming weights and are left alone.
    """
    _at_least_0("max_norm", max_norm)
    with no_grad():
        for p in _listed(parameters):
            if p.ndim >= 2:
                w = p.data
                norms = B.sqrt(B.square(w).sum(axis=tuple(range(1, w.ndim)), keepdims=True))
                p.copy_(Tensor(B.where(norms > max_norm, w * (max_norm / (norms + 1e-7)), w)))


def _norm(x: Array, p: float) -> Array:
    if p == math.inf:
        return B.abs(x).max()
    return B.sqrt(B.square(x).sum()) if p == 2 else (B.abs(x) ** p).sum() ** (1 / p)


def _listed(parameters: Parameters) -> list[Tensor]:
    return [parameters] if isinstance(parameters, Tensor) else list(parameters)


def _with_gradient(parameters: Parameters) -> list[Tensor]:
    return [p for p in _listed(parameters) if p.grad is not None]


def _at_least_0(name: str, value: Any) -> None:
    if not value >= 0:
        raise UserError(f"{name} must be at least 0. Received {value!r}. The usual one is 1.0.")


def _positive(name: str, value: Any) -> None:
    if not value > 0:
        raise UserError(f"{name} must be positive, or infinity. Received {value!r}. The usual one is 2.")
