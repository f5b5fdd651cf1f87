"""Gradients of a whole model against central differences: along a random direction in each parameter, and at single entries."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from nnatomy.tensor import Tensor

Array = np.ndarray[Any, Any]


def wrong_gradients(
    loss: Callable[[], Tensor], leaves: dict[str, Tensor], rng: np.random.Generator, *, entries: int = 3, eps: float = 1e-6
) -> list[str]:
    """Sentences that name each leaf and place where d loss / d leaf differs from (loss(x + eps u) - loss(x - eps u)) / (2 eps).

    u is a random unit vector over the whole leaf, then the unit vector of a few random entries. Everything is float64.
    Differences up to 1e-6 of the largest slope of all leaves pass.
    """
    for leaf in leaves.values():
        leaf.grad = None
    loss().backward()
    slopes: list[tuple[str, str, float, float]] = []
    without = [f"{name}: no gradient reaches it" for name, leaf in leaves.items() if leaf.grad is None]
    for name, leaf in leaves.items():
        if leaf.grad is None:
            continue
        gradient = np.array(leaf.grad.data)
        spread = rng.normal(size=leaf.shape)
        directions = [("along a random direction", spread / np.linalg.norm(spread))]
        for flat in rng.choice(leaf.size, size=min(entries, leaf.size), replace=False):
            at = tuple(int(k) for k in np.unravel_index(flat, leaf.shape))
            unit = np.zeros(leaf.shape)
            unit[at] = 1
            directions.append((f"at {list(at)}", unit))
        slopes += [(name, where, float((gradient * u).sum()), _central(loss, leaf, u, eps)) for where, u in directions]
    steepest = max(abs(expected) for *_, expected in slopes)
    return without + [
        f"{name} {where}: got {got:.10g}, expected {expected:.10g}"
        for name, where, got, expected in slopes
        if not abs(got - expected) <= 1e-6 * steepest
    ]


def _central(loss: Callable[[], Tensor], leaf: Tensor, u: Array, eps: float) -> float:
    start = np.array(leaf.data)
    sides = []
    for sign in (1, -1):  # with recording on: a loss may take a gradient itself
        leaf.data = start + sign * eps * u
        sides.append(float(loss().item()))
    leaf.data = start
    return (sides[0] - sides[1]) / (2 * eps)
