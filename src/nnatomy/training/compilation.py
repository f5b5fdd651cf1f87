"""The execution of a run's steps: eager, as a plan, or as XLA's program. The choice depends on the work alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

from nnatomy.backends import B, activate, compiles_by_shape, kernels
from nnatomy.training.batches import PlacedBatch
from nnatomy.training.learners import Learner

WORTH_PLANNING = 10.0  # seconds that a run would take eagerly; below, even loading the kernels is not worth it
SECONDS_A_CALL, OPERATIONS_A_SECOND = 6e-6, 1e10  # of the reference kernels, roughly

Function = Callable[..., Any]


class Steps:
    """learner(state, *batch) as this run takes it: planned where that pays, which is the same on every machine.

    What compiles by shape is always compiled. Batches of graphs run eagerly on the host: each would want its own plan.
    """

    def __init__(self, learner: Learner, steps: int, alike: bool, budget: float | None = None) -> None:
        self.learner, self.steps, self.alike, self.budget = learner, steps, alike, budget or math.inf
        self.planned: bool | None = None
        self.function: Function | None = None
        self._version = learner.version

    def __call__(self, state: dict[str, Any], batch: PlacedBatch) -> tuple[dict[str, Any], dict[str, Any]]:
        if self.planned is None:
            self.planned = compiles_by_shape() or (self.alike and (kernels() == "fast" or self._pays(state, batch)))
        if self.function is None or self._version != self.learner.version:
            self.function, self._version = compiled(self.learner) if self.planned else self.learner, self.learner.version
        return self.function(state, *batch.args)

    def _pays(self, state: dict[str, Any], batch: PlacedBatch) -> bool:
        if kernels() == "reference":
            return False
        return min(self.steps * eager_seconds(self.learner, state, batch), self.budget) >= WORTH_PLANNING


def compiled(function: Function) -> Function:
    """Return the function compiled; where that is impossible it runs as it is. The only way into plan/."""
    from nnatomy.plan import compile

    return compile(function, warn=False)


def eager_seconds(learner: Learner, state: dict[str, Any], batch: PlacedBatch) -> float:
    """Return roughly what one step takes eagerly: counted from what it computes and never measured, so the same each time."""
    with counted() as work:
        learner(state, *batch.args)
    learner.bind(state)
    return work[0] * SECONDS_A_CALL + work[1] / OPERATIONS_A_SECOND


@contextmanager
def counted() -> Iterator[list[float]]:
    """A block in which the calls of the backend's functions, and their floating-point operations, are counted."""
    from nnatomy.kernels.lowering import find

    before = SimpleNamespace(**vars(B))
    work = [0.0, 0.0]

    def counting(name: str, function: Function) -> Function:
        def call(*args: Any, **kwargs: Any) -> Any:
            out = function(*args, **kwargs)
            lowering = find(name)
            work[0] += 1
            elements = sum(getattr(a, "size", 0) for a in out) if isinstance(out, tuple) else getattr(out, "size", 0)
            try:
                work[1] += elements if lowering is None else lowering.work(args, kwargs)
            except (TypeError, AttributeError):
                work[1] += elements
            return out

        return call

    plain = {"name", "conv_shape"}
    activate(SimpleNamespace(**{
        name: counting(name, value) if callable(value) and name not in plain and not isinstance(value, type) else value
        for name, value in vars(before).items()
    }))  # fmt: skip
    try:
        yield work
    finally:
        activate(before)
