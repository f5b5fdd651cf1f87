"""The steps that an implementation takes from given weights, and how two of them are compared number by number."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from nnatomy.training.recipe import Case
from nnatomy.verification.implementations import Arrays, CannotLearn, Implementation, Ours


@dataclass(frozen=True)
class Trajectory:
    """The values that one implementation computed on the way."""

    outputs: list[np.ndarray[Any, Any]]
    loss: float | None
    gradients: Arrays
    state: Arrays
    own: Arrays | str
    """Parameters and buffers after the steps of the own learner, or why there are none."""


def travel(side: Implementation, case: Case, start: Arrays, batch: tuple[Any, ...], steps: int) -> Trajectory:
    """Run one side from the starting weights: outputs, a gradient, some steps, then steps of its own learner."""
    side.load(start)
    outputs = side.outputs(case.inputs(batch))
    loss, gradients = None, Arrays()
    try:
        loss, gradients = side.gradients(batch)
        for step in range(steps):
            if step:
                side.gradients(batch)
            side.update()
    except CannotLearn:
        pass
    state = side.state()
    own: Arrays | str
    try:
        side.start(start, steps)
        for step in range(steps):
            side.learn(batch, step)
        own = side.state()
    except CannotLearn as why:
        own = str(why)
    return Trajectory(outputs, loss, gradients, state, own)


def draw_weights(ours: Ours, rng: np.random.Generator) -> Arrays:
    """Random parameters around the mean and with the spread of the model's own, and random buffers.

    What the model holds constant at first (zeros, ones) is spread by 0.1; positive constant buffers, as a running variance,
    are scaled by 0.5 to 2; buffers that hold a fixed table stay as they are.
    """
    drawn = {}
    for name, own in ours.state().items():
        spread = float(own.std()) if own.size else 0.0
        if name in ours.parameters:
            new = own.mean() + (spread if spread > 1e-6 else 0.1) * rng.normal(size=own.shape)
        elif own.dtype.kind != "f" or spread > 1e-6:
            new = own
        else:
            new = own * rng.uniform(0.5, 2, own.shape) if (own > 0).all() else own + 0.1 * rng.normal(size=own.shape)
        drawn[name] = np.asarray(new).astype(own.dtype)
    return drawn


def cast(batch: Iterable[Any], precision: str) -> tuple[Any, ...]:
    """A batch whose floating-point arrays have the given precision."""
    return tuple(a.astype(precision) if a.dtype.kind == "f" else a for a in map(np.asarray, batch))


def difference(a: Any, b: Any, floor: float = 0.0) -> float:
    """max|a - b| / max(largest |b|, floor); infinite where shapes differ or a number is not finite."""
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if a.shape != b.shape or not (np.isfinite(a).all() and np.isfinite(b).all()):
        return math.inf
    gap = float(np.abs(a - b).max(initial=0.0))
    scale = max(float(np.abs(b).max(initial=0.0)), floor)
    return 0.0 if gap == 0 else gap / scale if scale > 0 else math.inf


def floor_of(name: str, mine: Trajectory, theirs: Trajectory, precision: str) -> float:
    """The floor of a gradient's scale; see `verify`."""
    top = max((float(np.abs(g).max(initial=0.0)) for g in theirs.gradients.values()), default=0.0)
    own = max(float(np.abs(side.gradients[name]).max(initial=0.0)) for side in (mine, theirs))
    return top if own < 100 * float(np.finfo(precision).eps) * top else 1e-3 * top
