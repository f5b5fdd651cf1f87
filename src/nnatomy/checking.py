"""Gradients against central differences: an oracle that depends on no framework."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from nnatomy.tensor import Tensor, grad


class GradientError(AssertionError):
    """A gradient differs from central differences; the message names input, position, computed and expected value."""


def check_gradients(
    f: Callable[..., Tensor], inputs: Sequence[Any], *,
    eps: float = 1e-6, tolerance: float = 1e-6, order: int = 1, seed: int = 0,
) -> None:  # fmt: skip
    """Raise GradientError unless d f / d input = (f(x + eps) - f(x - eps)) / (2 eps), element by element, in float64.

    `order=2` checks the gradient of a random contraction of the gradient as well. Tolerance is relative to 1 + |expected|.
    """
    points = [np.array(x.data if isinstance(x, Tensor) else x) for x in inputs]
    points = [x.astype(np.float64) if x.dtype.kind == "f" else x for x in points]
    wanted = [i for i, x in enumerate(points) if x.dtype.kind == "f"]
    rng = np.random.default_rng(seed)
    y = f(*[Tensor(x) for x in points])
    weights = rng.normal(size=y.shape)

    def scalar(*args: Tensor) -> Tensor:
        return (f(*args) * weights).sum()

    def compare(g: Callable[..., Tensor], depth: int) -> None:
        leaves = [Tensor(x.copy(), requires_grad=i in wanted) for i, x in enumerate(points)]
        y = g(*leaves)
        found = grad(y, [leaves[i] for i in wanted]) if y.requires_grad else [None] * len(wanted)
        for i, got in zip(wanted, found, strict=True):
            expected = _central(g, points, i, eps)
            actual = np.zeros_like(points[i]) if got is None else np.asarray(got.data)
            wrong = ~(np.abs(actual - expected) <= tolerance * (1 + np.abs(expected)))
            if wrong.any():
                at = tuple(int(k) for k in np.argwhere(wrong)[0])
                raise GradientError(
                    f"{getattr(f, '__name__', 'f')}: order {depth} gradient of input {i} at {at}: "
                    f"got {actual[at]:.10g}, expected {expected[at]:.10g} ({int(wrong.sum())} of {wrong.size} wrong)."
                )

    compare(scalar, 1)
    if order > 1:
        mixes = [rng.normal(size=points[i].shape) for i in wanted]

        def contracted(*args: Tensor) -> Tensor:
            live = [a if a.requires_grad else Tensor(a.data, requires_grad=i in wanted) for i, a in enumerate(args)]
            gs = grad(scalar(*live), [live[i] for i in wanted], create_graph=True)
            total = Tensor(np.zeros(()))
            for g, mix in zip(gs, mixes, strict=True):
                if g is not None:
                    total = total + (g * mix).sum()
            return total

        compare(contracted, 2)


def _central(g: Callable[..., Tensor], points: list[Any], i: int, eps: float) -> Any:
    expected = np.zeros_like(points[i])
    for at in np.ndindex(points[i].shape):
        sides = []
        for sign in (1, -1):
            moved = [x.copy() for x in points]
            moved[i][at] += sign * eps
            sides.append(float(g(*[Tensor(x) for x in moved]).item()))
        expected[at] = (sides[0] - sides[1]) / (2 * eps)
    return expected
