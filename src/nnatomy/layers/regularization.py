"""Penalties on weights, to be added to a loss. Clipping and the max-norm constraint are in optim/, since they act on a step."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from nnatomy import ops
from nnatomy.errors import UserError

__all__ = ["l1_penalty", "l2_penalty"]


def l1_penalty(parameters: Iterable[Any]) -> Any:
    """The sum of |w| over all parameters (Tibshirani 1996)."""
    return _total([ops.sum(ops.abs(w)) for w in parameters])


def l2_penalty(parameters: Iterable[Any]) -> Any:
    """The sum of w^2 over all parameters: half of it times a factor is weight decay in plain gradient descent."""
    return _total([ops.sum(ops.square(w)) for w in parameters])


def _total(terms: list[Any]) -> Any:
    if not terms:
        raise UserError("A penalty needs at least one parameter. Received none. Give, for example, model.parameters().")
    total = terms[0]
    for term in terms[1:]:
        total = total + term
    return total
