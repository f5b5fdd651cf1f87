"""Solving and factorizing with NumPy's LAPACK, where a matrix that has no result is refused in one sentence."""

from __future__ import annotations

from typing import Any

import numpy as np

from nnatomy.errors import UserError

Array = Any
_NEEDS = {
    "inv": ("matrices that have an inverse", "nn.linalg.pinv()"),
    "solve": ("matrices that have an inverse", "nn.linalg.lstsq()"),
    "cholesky": ("positive definite matrices", "nn.linalg.eigh()"),
}


def refusal(name: str, shape: tuple[int, ...]) -> UserError:
    """The error of matrices of which one has no result."""
    needs, other = _NEEDS[name]
    return UserError(
        f"linalg.{name}() needs {needs}. Received shape {tuple(shape)} with one that is not. "
        f"Add a small multiple of nn.eye(n), or use {other}."
    )


def inv(a: Array) -> Array:
    """The inverse."""
    try:
        return np.linalg.inv(a)
    except np.linalg.LinAlgError:
        raise refusal("inv", a.shape) from None


def solve(a: Array, b: Array) -> Array:
    """x with a x = b."""
    try:
        return np.linalg.solve(a, b)
    except np.linalg.LinAlgError:
        raise refusal("solve", a.shape) from None


def cholesky(a: Array) -> Array:
    """The lower L with a = L L^T."""
    try:
        return np.linalg.cholesky(a)
    except np.linalg.LinAlgError:
        raise refusal("cholesky", a.shape) from None
