"""Ordinary functions on the NumPy backend: their traces, compared, and the plan made of them."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np

from nnatomy.plan.ordinary import DIFFERENT, Outcome
from nnatomy.plan.ready import Ready, Recording, aligned_copy
from nnatomy.plan.state import Place
from nnatomy.plan.trace import Trace, TracedArray, TracedNumber, Unplannable, Var, recording


class Recorded:
    """A trace with the stand-ins that it began with."""

    def __init__(self, trace: Trace, inputs: list[Any], leaves: list[Any]) -> None:
        self.trace, self.inputs, self.leaves = trace, inputs, leaves


class PlanRecorder:
    """Traces with stand-ins of our own, and plans."""

    arrays: tuple[type, ...] = (np.ndarray,)

    def __init__(self) -> None:
        self._trace: Trace | None = None

    def record(
        self, run: Callable[[list[Any], list[Any]], Any], places: list[Place], values: list[Any], leaves: list[Any]
    ) -> Recorded:
        trace = self._trace = Trace()
        recorded = Recorded(trace, [_stand_in(trace, v) for v in values], [_stand_in(trace, v) for v in leaves])
        try:
            with recording(trace), np.errstate(all="ignore"):
                run(recorded.inputs, recorded.leaves)
        finally:
            self._trace = None
        return recorded

    def traced(self, value: Any) -> bool:
        return isinstance(value, TracedArray | TracedNumber)

    def constant(self, old: Any, value: Any) -> Any:
        assert self._trace is not None
        return self._trace.record("array", np.array, (np.ascontiguousarray(value).reshape(np.shape(value)),), {})

    def refuse_differences(self, first: Recorded, second: Recorded) -> None:
        if len(first.trace.calls) != len(second.trace.calls):
            raise Unplannable(DIFFERENT)
        for a, b in zip(first.trace.calls, second.trace.calls):
            if a.name != b.name or not alike((a.args, a.kwargs), (b.args, b.kwargs)):
                raise Unplannable(f"{DIFFERENT} (in {a.name})")

    def program(
        self, recorded: Recorded, places: list[Place], values: list[Any], outcome: Outcome, leaves: list[Any], updated: list[int]
    ) -> PlanProgram:
        return PlanProgram(recorded, places, values, outcome, leaves, updated)


class PlanProgram:
    """A plan with memory of its own for all places, so that arrays that were handed out keep their values."""

    count = itertools.count()

    def __init__(
        self, recorded: Recorded, places: list[Place], values: list[Any], outcome: Outcome, leaves: list[Any],
        updated: list[int],
    ) -> None:  # fmt: skip
        self.tree: dict[int, Any] = {i: aligned_copy(v) if isinstance(v, np.ndarray) else v for i, v in enumerate(values)}
        self.number = next(PlanProgram.count)
        self.numbers = [i for i, v in enumerate(values) if not isinstance(v, np.ndarray)]
        self.shared = {i for i, place in enumerate(places) if place.shared}
        self.copied = [(i, self.tree[i]) for i, v in enumerate(values) if isinstance(v, np.ndarray)]
        self.updated = updated
        known: dict[tuple[Any, ...], Var] = {(0, i): s.var for i, s in enumerate(recorded.inputs)}
        known |= {(1, i): s.var for i, s in enumerate(recorded.leaves)}
        returned = (dict(enumerate(outcome.after)), outcome.results)
        self.ready = Ready(Recording(recorded.trace, known, returned), self, (leaves,), False)

    def fits(self, values: list[Any]) -> bool:
        if self.ready.stale():
            return False
        return all(
            isinstance(v := values[i], np.ndarray) and v.shape == array.shape and v.dtype == array.dtype for i, array in self.copied
        )

    def __call__(self, values: list[Any], leaves: list[Any]) -> tuple[list[Any], list[Any]]:
        tree = self.tree
        for i, array in self.copied:
            if values[i] is not array:
                np.copyto(array, values[i])
        for i in self.numbers:
            tree[i] = values[i]
        _, results = self.ready(leaves)
        return [tree[i] if i in self.shared or i in self.numbers else tree[i].copy() for i in self.updated], results


def _stand_in(trace: Trace, value: Any) -> Any:
    return trace.array(value.shape, value.dtype) if isinstance(value, np.ndarray) else trace.number(type(value))


def alike(a: Any, b: Any) -> bool:
    """Whether two recorded calls have the same arguments: the same values of the trace, equal constants."""
    if a is b:
        return True
    if isinstance(a, Var) or isinstance(b, Var):
        return isinstance(a, Var) and isinstance(b, Var) and a.id == b.id
    if isinstance(a, np.ndarray | np.generic):
        return isinstance(b, np.ndarray | np.generic) and a.dtype == b.dtype and np.shape(a) == np.shape(b) and _same_bytes(a, b)
    if isinstance(a, list | tuple):
        return isinstance(b, list | tuple) and len(a) == len(b) and all(map(alike, a, b))
    if isinstance(a, dict):
        return isinstance(b, dict) and list(a) == list(b) and all(map(alike, a.values(), b.values()))
    if isinstance(a, slice):
        return isinstance(b, slice) and alike((a.start, a.stop, a.step), (b.start, b.stop, b.step))
    return type(a) is type(b) and (not isinstance(a, int | float | str) or repr(a) == repr(b))


def _same_bytes(a: Any, b: Any) -> bool:
    return bool(np.array_equal(a, b, equal_nan=np.asarray(a).dtype.kind == "f"))


