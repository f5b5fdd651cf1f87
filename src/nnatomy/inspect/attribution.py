"""Attribution of a score: its change when parts of the input are hidden, and its sum from integrated gradients."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nnatomy.errors import UserError
from nnatomy.graph import no_grad
from nnatomy.tensor import Tensor, grad

Array = np.ndarray[Any, Any]
Score = Callable[[Tensor], Tensor]
"""score(x) for examples x [n, ...]: one number for each, [n], that does not depend on the other examples."""


@dataclass(frozen=True)
class Attribution:
    """The parts of a score at x against that at the baseline: sum(values) + gap = score - baseline_score."""

    values: Array
    """One number for each element of x, in float64."""
    score: float
    baseline_score: float
    steps: int
    """At how many points between baseline and x the gradient was taken."""

    @property
    def gap(self) -> float:
        """The part that the attributions do not explain: 0 with the exact integral (completeness)."""
        return self.score - self.baseline_score - float(self.values.sum())


def integrated_gradients(
    score: Score, x: Array, baseline: Array, *, steps: int = 32, tolerance: float = 0.01, most: int = 16384
) -> Attribution:
    """values_i = (x_i - b_i) integral over a in [0, 1] of d score / d x_i at b + a (x - b) (Sundararajan et al. 2017, eq. 1).

    x, baseline: one example each, of equal shape. The integral is taken by the midpoint rule over `steps` points, and again
    over twice as many until |gap| <= tolerance |score - baseline_score| (of rounding, at least 1e-4 of the larger score), the
    completeness that proposition 1 promises. Raises UserError where `most` points do not reach it.
    """
    if x.shape != baseline.shape:
        raise UserError(f"x and its baseline have one shape. Received {x.shape} and {baseline.shape}. Give one like the other.")
    with no_grad():
        ends = np.asarray(score(Tensor(np.stack([x, baseline]).astype(x.dtype))).data, np.float64)
    found = None
    while found is None or steps <= most:
        found = Attribution(_integral(score, x, baseline, steps), float(ends[0]), float(ends[1]), steps)
        allowed = max(tolerance * abs(ends[0] - ends[1]), 1e-4 * abs(ends).max(), 1e-7)
        if abs(found.gap) <= allowed:
            return found
        steps *= 2
    raise UserError(
        f"Integrated gradients must add up to {ends[0] - ends[1]:.4g}, the change of the score. Received "
        f"{found.gap:.2g} more or less with {found.steps} points. Give another baseline or more steps."
    )


PIECE = 64  # points at which gradients are taken in one call


def _integral(score: Score, x: Array, baseline: Array, steps: int) -> Array:
    total = np.zeros(x.shape, np.float64)
    places = (np.arange(steps) + 0.5) / steps
    for first in range(0, steps, PIECE):
        a = places[first : first + PIECE].reshape(-1, *[1] * x.ndim)
        points = Tensor((baseline + a * (x - baseline)).astype(x.dtype), requires_grad=True)
        slopes = grad(score(points).sum(), points)
        if slopes is not None:
            total += np.asarray(slopes.data, np.float64).sum(axis=0)
    return np.asarray((x - baseline) * total / steps)


def occlusion(score: Score, x: Array, baseline: Array, masks: Sequence[Array], *, batch_size: int = 128) -> Array:
    """For each mask the fall of the score when the elements under it take the baseline's values: score(x) - score(x hidden).

    x, baseline: one example each. masks: boolean, each of x's shape. Returns float64 [masks] (Zeiler & Fergus 2014, 4.2).
    """
    scores: list[float] = []
    with no_grad():
        whole = float(np.asarray(score(Tensor(x[None])).data).reshape(-1)[0])
        for first in range(0, len(masks), batch_size):
            hidden = np.stack([np.where(mask, baseline, x) for mask in masks[first : first + batch_size]]).astype(x.dtype)
            scores += np.asarray(score(Tensor(hidden)).data, np.float64).reshape(-1).tolist()
    return whole - np.array(scores)


def windows(shape: tuple[int, ...], size: int, stride: int) -> list[Array]:
    """Return masks of squares that cover an image [channels, height, width], of `size` pixels, one every `stride` pixels."""
    _, height, width = shape
    masks = []
    for top in _starts(height, size, stride):
        for left in _starts(width, size, stride):
            mask = np.zeros(shape, bool)
            mask[:, top : top + size, left : left + size] = True
            masks.append(mask)
    return masks


def _starts(length: int, size: int, stride: int) -> list[int]:
    last = max(length - size, 0)
    return sorted({*range(0, last + 1, stride), last})
