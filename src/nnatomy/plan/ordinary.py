"""Compiles ordinary functions: those that read and write a model, an optimizer or a generator next to their arguments.

The function is traced while a Watch notices what it touches. That becomes its state: inputs of the next trace and, where it was
changed, results that are written back after each call. The function is traced until nothing new is found, and then once more:
two traces that differ come from something that a replay would not repeat.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import numpy as np

from nnatomy.plan.state import Data, Found, Place, refuse_new_settings, settings, stepped
from nnatomy.plan.surroundings import Surroundings
from nnatomy.plan.trace import Unplannable, rebuilt
from nnatomy.plan.trace import leaves as leaves_of
from nnatomy.plan.watch import LOCK, Watch, engine

Tree = Any
Run = Callable[[list[Any], list[Any]], Any]
DIFFERENT = "two traces of it differ, so that a replay would not do what it does"
MOST_TRACES = 8
"""After so many traces, everything that a function touches must be known."""
MOST_ENTRIES = 16
MOST_CHANGES = 8
"""Limit on new traces in a row for a reason other than the shapes of the arguments."""


class Program(Protocol):
    """A backend's program of traces: run(values of the places, leaves of the arguments) -> (new values, results)."""

    memory: int

    def parts(self) -> Any: ...

    def __call__(self, values: list[Any], leaves: list[Any]) -> tuple[list[Any], list[Any]]: ...

    def fits(self, values: list[Any]) -> bool: ...


class Recorder(Protocol):
    """A backend's way to trace and to compile."""

    arrays: tuple[type[Any], ...]
    in_place: bool  # whether programs can read arguments where they are

    def record(self, run: Run, places: list[Place], values: list[Any], leaves: list[Any]) -> Any:
        """Call run(stand-ins, stand-ins) once and return what was recorded."""

    def constant(self, recorded: Any, value: Any) -> Any:
        """A constant as a value of the trace that is on."""

    def traced(self, value: Any) -> bool: ...

    def refuse_differences(self, first: Any, second: Any) -> None:
        """Raise Unplannable where two traces are not the same."""

    def program(
        self, recorded: Any, places: list[Place], values: list[Any], outcome: Outcome, leaves: list[Any], updated: list[int],
        in_place: list[int],
    ) -> Program: ...  # fmt: skip


class Outcome:
    """The outcome of one trace: the new values of the places, results, and what else is to be done after a call."""

    def __init__(self) -> None:
        self.after: list[Any] = []  # of each place, a value of the trace
        self.given: list[tuple[int, int]] = []  # (place, leaf): the place takes the argument itself
        self.constants: list[tuple[int, Any]] = []  # (place, number)
        self.results: list[Any] = []  # values of the trace
        self.returned: Any = None  # puts what is returned together
        self.raw: Tree = None
        self.gradients: list[tuple[Any, int | None]] = []  # (Tensor, result or None)
        self.requirements: list[tuple[Any, bool]] = []
        self.modes: list[tuple[Any, bool]] = []
        self.looked: list[tuple[Any, bool, bool | None]] = []  # Tensors with what was taken for granted of them

    def finish(self, places: list[Place], leaves: list[Any], new: list[Any], results: list[Any], updated: list[int]) -> Tree:
        """Write back, and return what the function returns."""
        for i, value in zip(updated, new):
            places[i].set(value)
        for i, leaf in self.given:
            places[i].set(leaves[leaf])
        for i, number in self.constants:
            places[i].set(number)
        kind = engine("tensor", "Tensor")
        for tensor, result in self.gradients:
            tensor.grad = None if result is None else kind(results[result])
        for tensor, required in self.requirements:
            tensor.requires_grad = required
        for module, training in self.modes:
            module.training = training
        return self.returned(results, leaves)

    @property
    def acts(self) -> bool:
        """True if a call does more than to return something."""
        return bool(self.gradients or self.requirements or self.modes)


class Made:
    """A program with the conditions under which it may run."""

    count = itertools.count()

    def __init__(
        self, program: Program, outcome: Outcome, places: list[Place], updated: list[int], found: Found,
        guard: Callable[[], bool],
    ) -> None:  # fmt: skip
        self.program, self.outcome, self.places, self.updated, self.guard = program, outcome, places, updated, guard
        self.number = next(Made.count)
        self.settings = [(optimizer, settings(optimizer)) for optimizer, _ in found.optimizers.values()]

    def values(self) -> list[Any] | None:
        """Return the values of the places, if the program may run on them."""
        for tensor, required, absent in self.outcome.looked:
            if tensor.requires_grad is not required or (absent is not None and (tensor.grad is None) is not absent):
                return None
        if any(settings(optimizer) != before for optimizer, before in self.settings) or not self.guard():
            return None
        values = _values(self.places)
        return values if self.program.fits(values) else None

    def __call__(self, values: list[Any], leaves: list[Any]) -> Tree:
        new, results = self.program(values, leaves)
        return self.outcome.finish(self.places, leaves, new, results, self.updated)


class Ordinary:
    """An ordinary function with the programs made of it."""

    def __init__(self, function: Callable[..., Any], recorder: Recorder) -> None:
        self.function, self.recorder = function, recorder
        self.found = Found()
        self.made: dict[Any, list[Made]] = {}
        self._changes = 0
        self._by_reference = recorder.in_place

    def begin(self, args: tuple[Tree, ...], kwargs: dict[str, Tree]) -> Callable[[], Tree]:
        """The call, ready to run. Raises Unplannable, or the error that prevents the call, before anything has changed."""
        leaves, key = self._flattened(args, kwargs)
        known = self.made.get(key, [])
        self.found.prepare()
        for made in known:
            values = made.values()
            if values is not None:
                self._changes = 0
                return functools.partial(made, values, leaves)
        self._changes += bool(known)
        if self._changes > MOST_CHANGES:
            raise Unplannable("what it closes over is different at each call")
        made, values = self._make(args, kwargs, leaves)
        if sum(map(len, self.made.values())) >= MOST_ENTRIES:
            if self._by_reference:  # other parameters at each call: from now on they are copied in
                self._by_reference = False
                self.made.clear()
                return self.begin(args, kwargs)
            oldest = next(iter(self.made))
            self.made[oldest].pop(0)
            if not self.made[oldest]:
                del self.made[oldest]
        leaves, key = self._flattened(args, kwargs)  # arrays are no longer read in place if it has a state
        self.made.setdefault(key, []).insert(0, made)
        return functools.partial(made, values, leaves)

    def _flattened(self, args: tuple[Tree, ...], kwargs: dict[str, Tree]) -> tuple[list[Any], tuple[Any, ...]]:
        """The leaves that may differ from call to call, and all that a trace depends on."""
        leaves: list[Any] = []
        key: list[Any] = [engine("graph", "is_grad_enabled")()]
        for tree in args:
            start = len(leaves)
            self._flat(tree, leaves, key)
            if self._by_reference and isinstance(tree, dict):
                key += [(id(leaf), leaf.strides) for leaf in leaves[start:] if isinstance(leaf, np.ndarray)]
        self._flat(kwargs, leaves, key)
        return leaves, tuple(key)

    def _in_place(self, args: tuple[Tree, ...]) -> list[int]:
        """Which leaves are parameters, in dictionaries, that a program may read where they are."""
        found: list[int] = []
        leaves: list[Any] = []
        for tree in args if self._by_reference else ():
            start = len(leaves)
            self._flat(tree, leaves, [])
            found += [i for i in range(start, len(leaves)) if isinstance(tree, dict) and isinstance(leaves[i], np.ndarray)]
        return found

    def touches_nothing(self, args: tuple[Tree, ...]) -> Outcome | None:
        """Return a trace's result, if the function is pure: arrays and numbers in and out, and nothing else."""
        leaves: list[Any] = []
        self._flat((args, {}), leaves, [])
        _, outcome, grew, _ = self._trace((args, {}), leaves, [], [])
        pure = not grew and not outcome.acts and not self.found.tensors and not _holds_tensors((args, outcome.raw))
        return outcome if pure else None

    def programs(self) -> list[Program]:
        """All programs, the newest last."""
        return [made.program for made in sorted(itertools.chain(*self.made.values()), key=lambda made: made.number)]

    # Making

    def _make(self, args: tuple[Tree, ...], kwargs: dict[str, Tree], leaves: list[Any]) -> tuple[Made, list[Any]]:
        prepared: list[tuple[Any, str]] = []
        try:
            recorded = None
            for _ in range(MOST_TRACES):
                prepared += self.found.prepare()
                places = self.found.places()
                values = _values(places)
                again, outcome, grew, surroundings = self._trace((args, kwargs), leaves, places, values)
                if grew:
                    recorded = None
                elif recorded is None:
                    recorded = again
                else:
                    self.recorder.refuse_differences(recorded, again)
                    break
            else:
                raise Unplannable("it touches other Tensors each time it is traced")
            kept = {i for i, _ in outcome.given} | {i for i, _ in outcome.constants}
            changed = (i for i, (old, new) in enumerate(zip(again.inputs, outcome.after)) if new is not old)
            updated = [i for i in changed if i not in kept]
            self._by_reference = self._by_reference and not self.found.read
            program = self.recorder.program(again, places, values, outcome, leaves, updated, self._in_place(args))
        except BaseException:
            for optimizer, name in prepared:
                optimizer.state.pop(name, None)
                optimizer.steps.pop(name, None)
            raise
        return Made(program, outcome, places, updated, self.found, surroundings.guard()), values

    def _trace(
        self, given: tuple[tuple[Tree, ...], dict[str, Tree]], leaves: list[Any], places: list[Place], values: list[Any]
    ) -> tuple[Any, Outcome, bool, Surroundings]:
        """One trace: its record, its outcome, and whether it touched anything new."""
        outcome = Outcome()
        grew = False
        surroundings: Any = None

        def run(state: list[Any], arguments: list[Any]) -> list[Any]:
            nonlocal grew, surroundings
            surroundings = Surroundings(self.function)
            with Watch() as watch:
                for tensor in {**self.found.tensors, **self.found.gradients}.values():
                    watch.note(tensor)
                for owner, _ in self.found.optimizers.values():
                    watch.keep(owner)
                for owner in self.found.generators.values():
                    watch.keep(owner)
                for place, value in zip(places, state):
                    place.put(watch, value)
                made: list[Any] = []
                inside = _with_stand_ins(given, iter(arguments), made, self.recorder.arrays)
                try:
                    outcome.raw = self.function(*inside[0], **inside[1])
                except Exception:
                    grew = self.found.grow(watch)
                    raise
                finally:
                    surroundings.add(watch)
                    changed, outcome.modes = surroundings.restore()
                if changed:
                    raise Unplannable(f"it changes {changed}, which is not a state and would not change in a replay")
                watch.refuse_randomness()
                if any(watch.grad.__get__(t) is not None for t in made):
                    raise Unplannable("it leaves a gradient in an argument; return the gradient")
                refuse_new_settings(watch)
                self._take(watch, outcome, places, state, arguments)
                grew = self.found.grow(watch)
            return [*outcome.after, *outcome.results]

        recorded = None
        with LOCK:
            try:
                recorded = self.recorder.record(run, places, values, leaves)
            except Exception:
                if not grew:  # else the next trace may succeed, with stand-ins for all that is touched
                    raise
        return recorded, outcome, grew, surroundings

    def _take(self, watch: Watch, outcome: Outcome, places: list[Place], state: list[Any], arguments: list[Any]) -> None:
        """Reads the values that a call leaves in the state and returns, while all stand-ins are still in place."""
        which = {id(a): i for i, a in enumerate(arguments)}
        for i, (place, old) in enumerate(zip(places, state)):
            new = place.take(watch)
            if new is not old and id(new) in which and isinstance(place, Data):
                outcome.given.append((i, which[id(new)]))
                new = old
            elif not self.recorder.traced(new):
                if place.number is not None:
                    outcome.constants.append((i, new))
                    new = old
                else:
                    new = self.recorder.constant(old, new)
            if place.number is None and (tuple(new.shape) != tuple(old.shape) or new.dtype != old.dtype):
                raise Unplannable("it gives a Tensor of its state another shape or type")
            outcome.after.append(new)
        used = _stepped(watch)
        kind = engine("tensor", "Tensor")
        for key, seen in watch.tensors.items():
            absent = None
            if seen.grad_read:
                absent = seen.grad is None
            outcome.looked.append((seen.tensor, seen.requires_grad, absent))
            required = watch.requires_grad.__get__(seen.tensor)
            if required is not seen.requires_grad:
                outcome.requirements.append((seen.tensor, required))
            if seen.grad_written:
                left = watch.grad.__get__(seen.tensor)
                if left is None or (key in used and not seen.grad_read):
                    outcome.gradients.append((seen.tensor, None))
                else:
                    outcome.gradients.append((seen.tensor, self._result(watch.data.__get__(left), outcome)))
        outcome.returned = self._template(outcome.raw, watch, outcome, kind, which)

    def _result(self, value: Any, outcome: Outcome) -> int:
        outcome.results.append(value if self.recorder.traced(value) else self.recorder.constant(None, value))
        return len(outcome.results) - 1

    def _template(self, tree: Tree, watch: Watch, outcome: Outcome, kind: Any, which: dict[int, int]) -> Any:
        """A function of the results (and the arguments) that builds the returned value."""
        if isinstance(tree, dict):
            parts = [(key, self._template(part, watch, outcome, kind, which)) for key, part in tree.items()]
            return lambda results, leaves: {key: part(results, leaves) for key, part in parts}
        if isinstance(tree, list | tuple):
            inner = [self._template(part, watch, outcome, kind, which) for part in tree]
            if hasattr(tree, "_fields"):
                named = type(tree)
                return lambda results, leaves: named(*[part(results, leaves) for part in inner])
            shape = list if isinstance(tree, list) else tuple
            return lambda results, leaves: shape([part(results, leaves) for part in inner])
        if isinstance(tree, kind):
            if id(tree) in watch.tensors:
                return lambda results, leaves: tree
            place = self._result(watch.data.__get__(tree), outcome)
            if watch.requires_grad.__get__(tree):
                sealed = engine("graph", "Sealed")

                def live(results: list[Any], leaves: list[Any]) -> Any:
                    t = kind(results[place], True)
                    t.node = sealed()
                    return t

                return live
            return lambda results, leaves: kind(results[place])
        if self.recorder.traced(tree):
            if id(tree) in which and not hasattr(tree, "shape"):
                number = which[id(tree)]
                return lambda results, leaves: leaves[number]
            at = self._result(tree, outcome)
            return lambda results, leaves: results[at]
        if self._is_array(tree):
            return lambda results, leaves: tree.copy()
        if tree is None or isinstance(tree, str | int | float | complex | np.generic | np.dtype):
            return lambda results, leaves: tree
        if id(tree) in watch.objects:
            return lambda results, leaves: tree
        raise Unplannable(f"a {type(tree).__name__} among the results, which are to be Tensors, arrays and numbers")

    def _is_array(self, leaf: Any) -> bool:
        return isinstance(leaf, self.recorder.arrays)

    def _flat(self, tree: Tree, leaves: list[Any], key: list[Any]) -> None:
        if self._is_array(tree):
            leaves.append(tree)
            if getattr(tree, "weak_type", False) and not tree.shape:  # a number that XLA has computed
                key.append(int if tree.dtype.kind in "iu" else float)
            else:
                key.append((tree.shape, tree.dtype))
        elif isinstance(tree, dict):
            key.append((dict, *tree))
            for part in tree.values():
                self._flat(part, leaves, key)
        elif isinstance(tree, list | tuple):
            key.append((type(tree), len(tree)))
            for part in tree:
                self._flat(part, leaves, key)
        elif type(tree) is int or type(tree) is float:
            leaves.append(tree)
            key.append(type(tree))
        elif _is_given(tree):
            leaves.append(tree.data)
            key.append(("tensor", tree.shape, tree.dtype, tree.requires_grad))
        else:
            key.append(_Same(tree))


class _Same:
    """An argument that stays fixed: plain values by their value, others by which object they are."""

    def __init__(self, thing: Any) -> None:
        self.thing = thing

    def __hash__(self) -> int:
        return hash(self.thing) if isinstance(self.thing, str | bool | np.generic) else id(self.thing)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, _Same):
            return NotImplemented
        a, b = self.thing, other.thing
        return a is b or (isinstance(a, str | bool | np.generic) and type(a) is type(b) and bool(a == b))


def _is_given(leaf: Any) -> bool:
    """Return True if an argument is a Tensor whose values are inputs; a Parameter is state, as it is when closed over."""
    return isinstance(leaf, engine("tensor", "Tensor")) and not isinstance(leaf, engine("tensor", "Parameter"))


def _with_stand_ins(tree: Tree, values: Iterator[Any], made: list[Any], arrays: tuple[type, ...]) -> Tree:
    """The arguments with stand-ins for their leaves; `made` receives the Tensors among them."""

    def stand_in(path: tuple[Any, ...], leaf: Any) -> Any:
        if isinstance(leaf, arrays) or type(leaf) is int or type(leaf) is float:
            return next(values)
        if _is_given(leaf):
            made.append(engine("tensor", "Tensor")(next(values), leaf.requires_grad))
            return made[-1]
        return leaf

    return rebuilt(tree, stand_in)


def _holds_tensors(tree: Tree) -> bool:
    return any(isinstance(leaf, engine("tensor", "Tensor")) for _, leaf in leaves_of(tree))


def _values(places: list[Place]) -> list[Any]:
    values = [place.get() for place in places]
    return [v if p.number is None or type(v) is p.number else p.number(v) for p, v in zip(places, values)]


def _stepped(watch: Watch) -> set[int]:
    """The Tensors that an optimizer has updated in this trace: their gradients are not needed any more."""
    found: set[int] = set()
    for kept in watch.objects.values():
        if isinstance(kept.owner, engine("optim.optimizer", "Optimizer")):
            names = set(stepped(kept))
            for group in kept.owner.param_groups:
                found |= {id(p) for name, p in zip(group["names"], group["params"]) if name in names}
    return found
