"""compile(): what a user calls. A Compiled function chooses the plan that fits its arguments, or makes it."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from nnatomy.backends import B, kernels
from nnatomy.plan.trace import Call, Trace, TracedArray, TracedNumber, Unplannable, Var, leaves, rebuilt, recording

Array = np.ndarray[Any, Any]
Tree = Any
Path = tuple[Any, ...]
MOST_PLANS = 16
SECONDS_A_CALL, OPERATIONS_A_SECOND = 6e-6, 1e10  # of the reference, roughly


def compile(function: Callable[..., Any], *, warn: bool = True) -> Compiled:
    """The same function, traced once for each shape of its arguments, then run without Python between kernels.

    On the numpy backend the trace is replayed as a plan, on the jax backend XLA compiles it (`jitted.py`).

    `function(*trees) -> tree`: nested dictionaries, lists and tuples of arrays and numbers; it must be pure. If it returns
    `(state, ...)` with a state that is a dictionary shaped like its first argument, as a training step does, the state is
    donated: what a call returns is updated in place by the next. Other arguments that are dictionaries (parameters) are read
    where they lie. Where a function cannot be planned, because it asks for values, it runs as it is; `reason` and, with `warn`,
    a RuntimeWarning say why.
    """
    return function if isinstance(function, Compiled) else Compiled(function, warn)


class Compiled:
    """A function with its plans, one for each shape of its arguments; `reason` says why there are none."""

    def __init__(self, function: Callable[..., Any], warn: bool) -> None:
        self.function, self._warn = function, warn
        self.reason: str | None = None
        self._plans: dict[Any, _Ready] = {}
        self._donates: bool | None = None  # whether the first argument is a state that comes back
        self._state: _State | None = None
        self._by_reference = True  # parameters are read where they lie
        self._jitted: Any = None  # on the jax backend

    def __call__(self, *args: Tree) -> Tree:
        if self.reason is not None:
            return self.function(*args)
        if B.name == "jax":
            return self._compiled_by_xla(args)
        if not active():
            return self.function(*args)
        if self._donates is None:
            self._donates = self._learn(args)
            if self.reason is not None:
                return self.function(*args)
        state = self._adopted(args[0]) if self._donates else None
        rest = args[1:] if state is not None else args
        given: list[Any] = []
        signature: list[Any] = []
        for tree in rest:
            _signed(tree, self._by_reference and isinstance(tree, dict), given, signature)
        key = tuple(signature) if state is None else (state.number, *signature)
        ready = self._plans.get(key)
        if ready is None or ready.stale():
            if len(self._plans) >= MOST_PLANS:
                if state is None and self._by_reference:  # other parameters at each call: from now on they are copied in
                    self._by_reference = False
                    self._plans.clear()
                    return self(*args)
                self._plans.pop(next(iter(self._plans)))
            whole = (state.tree, *rest) if state else rest
            by_reference = self._by_reference
            made = self._planned(lambda: _Ready(_Recorded(self.function, whole), state, rest, by_reference))
            if made is None:
                return self.function(*args)
            ready = self._plans[key] = made
        return ready(given)

    def eager_seconds(self, *args: Tree) -> float:
        """Roughly what one call takes without a plan, counted from what it computes and never measured: the same every time."""
        recorded = self._planned(lambda: _Recorded(self.function, args)) if active() else None
        if recorded is None:
            return 0.0
        return sum(SECONDS_A_CALL + _work(call) / OPERATIONS_A_SECOND for call in recorded.trace.calls)

    def _learn(self, args: tuple[Tree, ...]) -> bool:
        recorded = self._planned(lambda: _Recorded(self.function, args))
        return recorded is not None and recorded.donates

    def _planned(self, make: Callable[[], Any]) -> Any:
        try:
            return make()
        except Unplannable as why:
            self._give_up(why, "without a plan")
            return None

    def _compiled_by_xla(self, args: tuple[Tree, ...]) -> Tree:
        if self._jitted is None:
            from nnatomy.plan.jitted import Jitted

            self._jitted = Jitted(self.function)
        try:
            return self._jitted(*args)
        except Unplannable as why:
            self._give_up(why, "not compiled")
            return self.function(*args)

    def _give_up(self, why: Unplannable, how: str) -> None:
        self.reason = str(why)
        self._plans.clear()
        if self._warn:
            warnings.warn(f"This function runs as it is, {how}: {why}.", RuntimeWarning, stacklevel=6)

    def _adopted(self, tree: Tree) -> _State:
        """The state that the first argument is, in arrays that plans may overwrite."""
        if self._state is not None and self._state.holds(tree):
            return self._state
        state = _State(tree)
        if self._state is not None and self._state.shape == state.shape:
            self._state.take(state)
        else:
            self._state = state
            self._plans.clear()
        return self._state

    def parts(self) -> list[tuple[str, bool]]:
        """The calls of the newest plan in order, and whether each runs as a kernel; on JAX the compiled programs."""
        if self._jitted is not None:
            return [(name, True) for name in self._jitted.programs()]
        return list(self._plans.values())[-1].plan.parts() if self._plans else []

    @property
    def memory(self) -> int:
        """Bytes that all plans hold for intermediate results; on JAX those that the newest program takes while it runs."""
        if self._jitted is not None:
            return int(self._jitted.memory())
        return sum(ready.plan.memory for ready in self._plans.values())


def _work(call: Call) -> float:
    """Floating-point operations of a call."""
    from nnatomy.kernels.lowering import find

    lowering = find(call.name)
    elements = float(sum(out.size for out in call.outs))
    try:
        return elements if lowering is None else lowering.work(call.args, call.kwargs)
    except (TypeError, AttributeError):
        return elements


def active() -> bool:
    """Whether plans are made: on the NumPy backend, unless NNATOMY_KERNELS=reference."""
    return bool(B.name == "numpy") and kernels() != "reference"


def _signed(tree: Tree, by_reference: bool, given: list[Any], signature: list[Any]) -> None:
    """Appends the leaves, and of each what a plan depends on: shape and type, of arrays that are read in place also which."""
    if isinstance(tree, np.ndarray):
        given.append(tree)
        signature.append((tree.shape, tree.dtype.char))
        if by_reference:
            signature.append((tree.strides, id(tree)))
    elif isinstance(tree, dict):
        for part in tree.values():
            _signed(part, by_reference, given, signature)
    elif isinstance(tree, list | tuple):
        for part in tree:
            _signed(part, by_reference, given, signature)
    else:
        given.append(tree)
        signature.append(type(tree) if _is_number(tree) else tree)


def _is_number(leaf: Any) -> bool:
    return isinstance(leaf, int | float) and not isinstance(leaf, bool | np.generic)


def _paths(tree: Tree) -> set[Path]:
    return {path for path, _ in leaves(tree)}


def _at(tree: Tree, path: Path) -> Any:
    for step in path:
        tree = tree[step]
    return tree


class _Recorded:
    """One traced run of a function: the calls, the Var of each leaf of the arguments, and what was returned."""

    def __init__(self, function: Callable[..., Any], args: tuple[Tree, ...]) -> None:
        self.trace = Trace()
        self.vars: dict[Path, Var] = {}

        def traced(path: Path, leaf: Any) -> Any:
            if isinstance(leaf, np.ndarray):
                made: Any = self.trace.array(leaf.shape, leaf.dtype)
            elif _is_number(leaf):
                made = self.trace.number(type(leaf))
            else:
                return leaf
            self.vars[path] = made.var
            return made

        arguments = [rebuilt(tree, traced, (i,)) for i, tree in enumerate(args)]
        try:
            with recording(self.trace), np.errstate(all="ignore"):
                self.returned = function(*arguments)
        finally:
            bind = getattr(function, "bind", None)
            if bind is not None:
                bind(args[0])  # a model that was bound to traced values is bound to real ones again
        self.donates = (
            isinstance(args[0], dict) and isinstance(self.returned, tuple) and len(self.returned) > 1
            and isinstance(self.returned[0], dict) and _paths(self.returned[0]) == _paths(args[0])
        )  # fmt: skip


class _State:
    """A tree of arrays of our own, which plans update in place, and of numbers."""

    count = itertools.count()

    def __init__(self, tree: Tree) -> None:
        seen: set[int] = set()

        def own(path: Path, leaf: Any) -> Any:
            if isinstance(leaf, np.ndarray):
                seen.add(id(leaf))
                return _aligned_copy(leaf)
            return leaf.item() if isinstance(leaf, np.generic) else leaf

        self.tree = rebuilt(tree, own)
        self.slots = [(_at(self.tree, p[:-1]), p[-1], leaf) for p, leaf in leaves(self.tree) if isinstance(leaf, np.ndarray)]
        self.numbers = [(_at(self.tree, p[:-1]), p[-1]) for p, leaf in leaves(self.tree) if _is_number(leaf)]
        self.number = next(_State.count)
        self.shape = [
            (path, (leaf.shape, leaf.dtype) if isinstance(leaf, np.ndarray) else type(leaf) if _is_number(leaf) else leaf)
            for path, leaf in leaves(self.tree)
        ]

    def holds(self, tree: Tree) -> bool:
        """Whether this is the tree that the last call returned; arrays that were exchanged since are copied in."""
        if tree is not self.tree:
            return False
        for holder, key, array in self.slots:
            now = holder[key]
            if now is not array:
                if not isinstance(now, np.ndarray) or now.shape != array.shape or now.dtype != array.dtype:
                    return False
                np.copyto(array, now)
                holder[key] = array
        return True

    def take(self, other: _State) -> None:
        """The values of another state of the same shape."""
        for (holder, key, mine), (_, _, theirs) in zip(self.slots, other.slots, strict=True):
            np.copyto(mine, theirs)
            holder[key] = mine
        for (holder, key), (from_holder, from_key) in zip(self.numbers, other.numbers, strict=True):
            holder[key] = from_holder[from_key]


def _aligned_copy(array: Array) -> Array:
    from nnatomy.kernels.lowering import allocate

    copy = allocate(array.shape, array.dtype)
    np.copyto(copy, array)
    return copy


class _Ready:
    """A plan with what to write before a run and what to read after it."""

    def __init__(self, recorded: _Recorded, state: _State | None, rest: tuple[Tree, ...], by_reference: bool) -> None:
        from nnatomy.plan.plan import Plan

        self.state = state
        known = recorded.vars
        args = (state.tree, *rest) if state is not None else rest
        given = {(i, *path): leaf for i, tree in enumerate(args) for path, leaf in leaves(tree)}
        self.returned = recorded.returned if state is None else recorded.returned[1:]
        arrays: list[tuple[Var, Array]] = []  # read, and for a state written, where they lie
        updates: list[tuple[Array, Var]] = []
        new_numbers: list[tuple[Any, Any, Var]] = []
        inputs: list[Var] = []
        after = dict(leaves(recorded.returned[0], (0,))) if state is not None else {}
        for path, v in known.items():
            leaf, new = given[path], after.get(path)
            named = by_reference and len(path) > 1 and isinstance(path[1], str)
            if isinstance(leaf, np.ndarray) and (path in after or named):
                arrays.append((v, leaf))
            else:
                inputs.append(v)
            if path not in after or _var(new) is v:
                continue
            if isinstance(leaf, np.ndarray):
                if not isinstance(new, TracedArray) or new.shape != leaf.shape or new.dtype != leaf.dtype:
                    raise Unplannable(f"a state whose {path[-1]!r} changes its shape or type, or becomes a constant")
                updates.append((leaf, new.var))
            elif isinstance(new, TracedNumber):
                new_numbers.append((_at(args, path[:-1]), path[-1], new.var))
            else:
                raise Unplannable(f"a state whose number {path[-1]!r} becomes a constant")
        results = [v for v in (_var(leaf) for _, leaf in leaves(self.returned)) if v is not None]
        self.plan = plan = Plan(recorded.trace.calls, inputs, arrays, updates, results + [v for _, _, v in new_numbers])
        self.new_numbers = [(holder, key, v.dtype, plan.position(v)) for holder, key, v in new_numbers]
        self.old_numbers: list[tuple[Any, Any, int]] = []
        self.read = self._reader(self.returned)
        self.copies: list[tuple[int, Array]] = []  # which leaf of the other arguments goes where
        count = 0
        for path in given:
            var = known.get(path)
            inside = state is not None and path[0] == 0
            place = plan.place(var) if var is not None and var.number else None
            if inside:
                if place is not None:
                    self.old_numbers.append((_at(args, path[:-1]), path[-1], place))
                continue
            if place is not None:
                self.copies.append((count, plan.bank[place : place + 1].reshape(())))
            elif var is not None and not var.number and var in inputs and plan.known(var):
                self.copies.append((count, plan.array(var)))
            count += 1

    def stale(self) -> bool:
        """Whether the number of threads has changed since."""
        from nnatomy.kernels.machine import get_num_threads

        return self.plan.threads != get_num_threads()

    def __call__(self, given: list[Any]) -> Any:
        bank = self.plan.bank
        for holder, key, place in self.old_numbers:
            bank[place] = holder[key]
        for i, array in self.copies:
            array[...] = given[i]
        self.plan.run()
        for holder, key, kind, place in self.new_numbers:
            holder[key] = kind(bank[place])
        others = self.read()
        return others if self.state is None else (self.state.tree, *others)

    def _reader(self, tree: Tree) -> Callable[[], Any]:
        """A function that makes what is returned, with copies of the arrays that the next run will overwrite."""
        if isinstance(tree, dict):
            parts = [(key, self._reader(part)) for key, part in tree.items()]
            return lambda: {key: read() for key, read in parts}
        if isinstance(tree, list | tuple):
            readers = [self._reader(part) for part in tree]
            kind = list if isinstance(tree, list) else tuple
            return lambda: kind([read() for read in readers])
        if isinstance(tree, TracedArray):
            return self.plan.array(tree.var).copy
        if isinstance(tree, TracedNumber):
            v, bank, place = tree.var, self.plan.bank, self.plan.position(tree.var)
            return lambda: v.dtype(bank[place])
        return lambda: tree


def _var(leaf: Any) -> Var | None:
    return leaf.var if isinstance(leaf, TracedArray | TracedNumber) else None
