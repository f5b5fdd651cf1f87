"""Ordinary functions on the NumPy backend: their traces, compared, and the plan made of them."""

from __future__ import annotations

from typing import Any

import numpy as np

from nnatomy.plan.ordinary import DIFFERENT, Outcome, Run
from nnatomy.plan.ready import Ready, Recording, aligned_copy
from nnatomy.plan.state import Place
from nnatomy.plan.trace import Trace, TracedArray, TracedNumber, Unplannable, Var, recording


class Recorded:
    """A trace with the stand-ins that it started with."""

    def __init__(self, trace: Trace, inputs: list[Any], leaves: list[Any]) -> None:
        self.trace, self.inputs, self.leaves = trace, inputs, leaves


class PlanRecorder:
    """Traces with stand-ins of our own, and plans."""

    arrays: tuple[type, ...] = (np.ndarray,)
    in_place = True

    def __init__(self) -> None:
        self._trace: Trace | None = None

    def record(self, run: Run, places: list[Place], values: list[Any], leaves: list[Any]) -> Recorded:
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
        self, recorded: Recorded, places: list[Place], values: list[Any], outcome: Outcome, leaves: list[Any],
        updated: list[int], in_place: list[int],
    ) -> PlanProgram:  # fmt: skip
        return PlanProgram(recorded, places, values, outcome, leaves, updated, in_place)


class PlanProgram:
    """A plan with its own memory for all places, so that arrays that were handed out keep their values."""

    def __init__(
        self, recorded: Recorded, places: list[Place], values: list[Any], outcome: Outcome, leaves: list[Any],
        updated: list[int], in_place: list[int],
    ) -> None:  # fmt: skip
        used = _used(recorded, outcome)
        wanted = [i for i, s in enumerate(recorded.inputs) if s.var in used or i in updated]
        self.tree: dict[int, Any] = {
            i: aligned_copy(values[i]) if isinstance(values[i], np.ndarray) else values[i] for i in wanted
        }
        self.copied = [(i, array) for i, array in self.tree.items() if isinstance(array, np.ndarray)]
        self.numbers = [i for i in wanted if not isinstance(values[i], np.ndarray)]
        self.shared = {i for i in updated if places[i].shared or i in self.numbers}
        self.updated = updated
        others = [i for i in range(len(leaves)) if i not in in_place]
        named = {str(i): leaves[i] for i in in_place}
        known: dict[tuple[Any, ...], Var] = {(0, i): recorded.inputs[i].var for i in wanted}
        known |= {(1, str(i)): recorded.leaves[i].var for i in in_place}
        known |= {(2, k): recorded.leaves[i].var for k, i in enumerate(others)}
        returned = ({i: outcome.after[i] for i in wanted}, outcome.results)
        self.ready = Ready(Recording(recorded.trace, known, returned), self, (named, [leaves[i] for i in others]), True)
        order = [*in_place, *others]
        self.ready.copies = [(order[k], array) for k, array in self.ready.copies]

    @property
    def memory(self) -> int:
        """Bytes for intermediate results."""
        return self.ready.plan.memory

    def parts(self) -> list[tuple[str, bool]]:
        """The calls in order, and whether each runs as a kernel."""
        return self.ready.plan.parts()

    def fits(self, values: list[Any]) -> bool:
        if self.ready.stale():
            return False
        return all(_fits(values[i], array) for i, array in self.copied)

    def __call__(self, values: list[Any], leaves: list[Any]) -> tuple[list[Any], list[Any]]:
        tree = self.tree
        for i, array in self.copied:
            if values[i] is not array:
                np.copyto(array, values[i])
        for i in self.numbers:
            tree[i] = values[i]
        _, results = self.ready(leaves)
        return [tree[i] if i in self.shared else tree[i].copy() for i in self.updated], results


def _fits(value: Any, array: np.ndarray[Any, Any]) -> bool:
    return isinstance(value, np.ndarray) and value.shape == array.shape and value.dtype == array.dtype


def _used(recorded: Recorded, outcome: Outcome) -> set[Var]:
    """Return the values that calls read, that are left, or that are returned unchanged."""
    found = {v for call in recorded.trace.calls for v in call.inputs()}
    left = [new for old, new in zip(recorded.inputs, outcome.after) if new is not old]
    return found | {value.var for value in [*left, *outcome.results]}


def _stand_in(trace: Trace, value: Any) -> Any:
    return trace.array(value.shape, value.dtype) if isinstance(value, np.ndarray) else trace.number(type(value))


def alike(a: Any, b: Any) -> bool:
    """Return True if two recorded calls have the same arguments: the same values of the trace, equal constants."""
    if a is b:
        return True
    if isinstance(a, Var) or isinstance(b, Var):
        return isinstance(a, Var) and isinstance(b, Var) and a.id == b.id
    if isinstance(a, np.ndarray | np.generic):
        return isinstance(b, np.ndarray | np.generic) and a.dtype == b.dtype and _same_bytes(a, b)
    if isinstance(a, list | tuple):
        return isinstance(b, list | tuple) and len(a) == len(b) and all(map(alike, a, b))
    if isinstance(a, dict):
        return isinstance(b, dict) and list(a) == list(b) and all(map(alike, a.values(), b.values()))
    if isinstance(a, slice):
        return isinstance(b, slice) and alike((a.start, a.stop, a.step), (b.start, b.stop, b.step))
    return type(a) is type(b) and (not isinstance(a, int | float | str) or repr(a) == repr(b))


def _same_bytes(a: Any, b: Any) -> bool:
    return bool(np.array_equal(a, b, equal_nan=np.asarray(a).dtype.kind == "f"))


