"""Ordinary functions on the jax backend: their traces, compared, and the XLA program made of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend import core

from nnatomy.backends import jax_cache
from nnatomy.plan.jitted import shape, shown, unplannable
from nnatomy.plan.ordinary import DIFFERENT, Outcome, Run
from nnatomy.plan.state import Place
from nnatomy.plan.trace import Unplannable


class Recorded:
    """A program as JAX writes it down, with the stand-ins that it started with."""

    def __init__(self) -> None:
        self.inputs: list[Any] = []
        self.jaxpr: Any = None


class XlaRecorder:
    """Traces with JAX's own stand-ins."""

    arrays: tuple[type, ...] = (np.ndarray, jax.Array)
    in_place = False

    def record(self, run: Run, places: list[Place], values: list[Any], leaves: list[Any]) -> Recorded:
        recorded = Recorded()

        def flat(state: list[Any], arguments: list[Any]) -> Any:
            recorded.inputs = state
            return run(state, arguments)

        try:
            recorded.jaxpr = jax.make_jaxpr(flat)(values, leaves)
        except Exception as error:
            why = unplannable(error)
            if why is None:
                raise
            raise why from error
        return recorded

    def traced(self, value: Any) -> bool:
        return isinstance(value, jax.core.Tracer)

    def constant(self, old: Any, value: Any) -> Any:
        return jnp.asarray(value)

    def refuse_differences(self, first: Recorded, second: Recorded) -> None:
        a, b = (list(_constants(recorded.jaxpr)) for recorded in (first, second))
        if len(a) != len(b) or not all(map(_alike, a, b)):
            raise Unplannable(DIFFERENT)

    def program(
        self, recorded: Recorded, places: list[Place], values: list[Any], outcome: Outcome, leaves: list[Any],
        updated: list[int], in_place: list[int],
    ) -> XlaProgram:  # fmt: skip
        return XlaProgram(recorded, places, updated, values, leaves)


class XlaProgram:
    """A compiled program. What an optimizer keeps is donated, once it is an array that the program returned itself."""

    def __init__(
        self, recorded: Recorded, places: list[Place], updated: list[int], values: list[Any], leaves: list[Any]
    ) -> None:
        compute = core.jaxpr_as_fun(recorded.jaxpr)
        self.donated = [i for i in updated if places[i].shared]
        self.kept = [i for i in range(len(places)) if i not in self.donated]
        self.updated, self.numbers = updated, {i for i in updated if places[i].number is not None}
        self.kinds = [place.number for place in places]
        self._shapes = [shape(v) for v in values], [shape(v) for v in leaves]
        self._owned: dict[int, Any] = {}
        self._warm = False
        self.outlines = [_outline(v) for v in values]

        def run(donated: list[Any], kept: list[Any], leaves: list[Any]) -> tuple[list[Any], list[Any]]:
            state = dict(zip(self.donated, donated)) | dict(zip(self.kept, kept))
            found = compute(*[state[i] for i in range(len(state))], *leaves)
            return [found[i] for i in updated], found[len(places) :]

        self.run = jax.jit(run, donate_argnums=0)

    @property
    def memory(self) -> int:
        """Bytes that the program takes for intermediate results."""
        values, leaves = self._shapes
        lowered = self.run.lower([values[i] for i in self.donated], [values[i] for i in self.kept], leaves)
        found = lowered.compile().memory_analysis()
        return 0 if found is None else int(found.temp_size_in_bytes)

    def parts(self) -> str:
        """The shapes of the arguments that it was compiled for."""
        return ", ".join(shown(leaf) for leaf in self._shapes[1])

    def fits(self, values: list[Any]) -> bool:
        return all(before is None or _outline(v) == before for v, before in zip(values, self.outlines))

    def __call__(self, values: list[Any], leaves: list[Any]) -> tuple[list[Any], list[Any]]:
        donated = [v if (v := values[i]) is self._owned.get(i) else jnp.array(v) for i in self.donated]
        with nullcontext() if self._warm else jax_cache.reporting():
            new, results = self.run(donated, [values[i] for i in self.kept], leaves)
        self._warm = True
        self._owned = {i: v for i, v in zip(self.updated, new) if i in self.donated}
        if self.numbers:  # waits for the program: schedules and files want numbers of Python's own
            numbers = iter(jax.device_get([v for i, v in zip(self.updated, new) if i in self.numbers]))
            new = [self.kinds[i](next(numbers)) if i in self.numbers else v for i, v in zip(self.updated, new)]  # type: ignore[misc]
        return new, results


def _outline(value: Any) -> Any:
    return (value.shape, value.dtype) if isinstance(value, np.ndarray | jax.Array) else None


def _constants(closed: Any) -> Iterator[Any]:
    """Whatever of a program does not depend on its inputs: names of calls, literals, constants, settings."""
    jaxpr = getattr(closed, "jaxpr", closed)
    yield from getattr(closed, "consts", ())
    for equation in jaxpr.eqns:
        yield equation.primitive.name
        for v in equation.invars:
            if isinstance(v, core.Literal):
                yield v.val
        for value in equation.params.values():
            for part in value if isinstance(value, tuple | list) else (value,):
                if hasattr(part, "eqns") or hasattr(part, "jaxpr"):
                    yield from _constants(part)
                elif isinstance(part, str | int | float | np.ndarray | np.generic):
                    yield part


def _alike(a: Any, b: Any) -> bool:
    if a is b:
        return True
    if hasattr(a, "dtype") and hasattr(b, "dtype"):
        a, b = np.asarray(a), np.asarray(b)
        return bool(a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes())
    return type(a) is type(b) and repr(a) == repr(b)
