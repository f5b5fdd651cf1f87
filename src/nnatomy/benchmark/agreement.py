"""Comparison of losses, gradients and outputs: an implementation that differs is not timed."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from nnatomy.benchmark.implementation import Array, Arrays

TOLERANCE = 1e-3

Answer = tuple[list[float], Arrays]


@dataclass(frozen=True)
class Agreement:
    """The differences of two outcomes: losses relative to the loss, others relative to the largest of their array."""

    first: float
    """Of the first step's loss."""
    loss: float
    """Of the worst step's."""
    moment: float
    worst: str
    """The parameter that moment is of."""
    allowed: float = TOLERANCE
    """For all but the first loss."""
    allowed_first: float = TOLERANCE

    def __bool__(self) -> bool:
        return self.first <= self.allowed_first and self.loss <= self.allowed and self.moment <= self.allowed

    def to_json(self) -> dict[str, Any]:
        return {"first_loss": self.first, "loss": self.loss, "gradient": self.moment, "gradient_in": self.worst}


def compare(ours: Answer, theirs: Answer, one: bool = False, allowed: float = TOLERANCE) -> Agreement:
    """Losses of several steps (of `one` only), and Adam's first moments after the first. NaN on any side is a difference."""
    losses = _apart(ours, theirs)[: 1 if one else None]
    first, loss = losses[0], float(np.max(losses))
    moment, worst = 0.0, ""
    # A bias before a batch norm has a gradient of rounding errors only: tiny gradients are compared on the others' scale.
    floor = 0.05 * max(float(np.abs(m).max()) for m in theirs[1].values())
    for name in sorted(ours[1].keys() | theirs[1].keys()):
        if name not in ours[1] or name not in theirs[1]:
            return Agreement(first, loss, math.inf, name, allowed)
        mine, other = ours[1][name], theirs[1][name]
        apart = float(np.abs(mine - other).max()) / max(float(np.abs(other).max()), floor)
        if not apart <= moment:
            moment, worst = apart, name
            if math.isnan(apart):
                break
    return Agreement(first, loss, moment, worst, allowed)


def compare_losses(ours: Answer, theirs: Answer, allowed: float) -> Agreement:
    """The losses alone, where numbers have too few digits for more."""
    losses = _apart(ours, theirs)
    return Agreement(losses[0], float(np.max(losses)), 0.0, "", allowed, allowed)


def compare_outputs(ours: Array, theirs: Array) -> Agreement:
    """Of inference: what is called a gradient above is the output here."""
    if ours.shape != theirs.shape:
        return Agreement(0.0, 0.0, math.inf, f"output of shape {ours.shape} and {theirs.shape}")
    return Agreement(0.0, 0.0, float(np.abs(ours - theirs).max() / np.abs(theirs).max()), "output")


def _apart(ours: Answer, theirs: Answer) -> list[float]:
    return [abs(a - b) / abs(b) for a, b in zip(ours[0], theirs[0], strict=True)]
