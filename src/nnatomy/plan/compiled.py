"""compile(): what a user calls. A Compiled function chooses the plan that fits its arguments, or makes it."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from nnatomy.backends import B, kernels
from nnatomy.plan.ordinary import Ordinary
from nnatomy.plan.ready import Path, Ready, Recording, aligned_copy, at
from nnatomy.plan.trace import Call, Trace, Unplannable, leaves, rebuilt, recording
from nnatomy.plan.watch import Watch

Array = np.ndarray[Any, Any]
Tree = Any
MOST_PLANS = 16
SECONDS_A_CALL, OPERATIONS_A_SECOND = 6e-6, 1e10  # of the reference, roughly


def compile(function: Callable[..., Any], *, warn: bool = True) -> Compiled:
    """The same function, traced once for each shape of its arguments, then run without Python between kernels.

    On the numpy backend the trace is replayed as a plan, on the jax backend XLA compiles it (`jitted.py`).

    `function(*trees) -> tree`: nested dictionaries, lists and tuples of arrays and numbers; it must be pure. If it returns
    `(state, ...)` with a state that is a dictionary shaped like its first argument, as a training step does, the state is
    donated: the next call updates the returned state in place. Other arguments that are dictionaries (parameters) are read
    where they are. Where a function cannot be planned, because it requests values, it runs as it is; `reason` and, with `warn`,
    a RuntimeWarning say why.
    """
    return function if isinstance(function, Compiled) else Compiled(function, warn)


class Compiled:
    """A function with its plans, one for each shape of its arguments; `reason` says why there are none."""

    def __init__(self, function: Callable[..., Any], warn: bool) -> None:
        self.function, self._warn = function, warn
        self.reason: str | None = None
        self._plans: dict[Any, Ready] = {}
        self._donates: bool | None = None  # whether the first argument is a state that comes back
        self._state: _State | None = None
        self._by_reference = True  # parameters are read where they are
        self._jitted: Any = None  # on the jax backend
        self._pure: bool | None = True if hasattr(function, "bind") else None  # whether arguments are all that it reads
        self._ordinary: dict[str, Ordinary] = {}  # by backend

    def __call__(self, *args: Tree, **kwargs: Tree) -> Tree:
        if self.reason is not None or Watch.active is not None or not active():
            return self.function(*args, **kwargs)
        if self._pure is None or kwargs:
            self._pure = False if kwargs else self._is_pure(args)
        if not self._pure:
            return self._as_ordinary(args, kwargs)
        if B.name == "jax":
            return self._compiled_by_xla(args)
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
            made = self._planned(lambda: Ready(_Recorded(self.function, whole), state, rest, by_reference))
            if made is None:
                return self.function(*args)
            ready = self._plans[key] = made
        return ready(given)

    def eager_seconds(self, *args: Tree) -> float:
        """Estimate the seconds of one call without a plan from its operations; not measured, so always the same."""
        recorded = self._planned(lambda: _Recorded(self.function, args)) if active() else None
        if recorded is None:
            return 0.0
        return sum(SECONDS_A_CALL + _work(call) / OPERATIONS_A_SECOND for call in recorded.trace.calls)

    # Functions that close over what they read and write

    def _is_pure(self, args: tuple[Tree, ...]) -> bool | None:
        """Return True if it uses only arrays and numbers among its arguments and returns a state; None: unknown."""
        try:
            outcome = self._on_this_backend().touches_nothing(args)
        except Exception:  # an ordinary call says what it is
            return None
        return outcome is not None and _donates(args, outcome.raw)

    def _as_ordinary(self, args: tuple[Tree, ...], kwargs: dict[str, Tree]) -> Tree:
        how = "not compiled" if B.name == "jax" else "without a plan"
        try:
            call = self._on_this_backend().begin(args, kwargs)
        except Exception as error:
            why = _why(error)
            if why is not None:
                self._give_up(why, how)
                return self.function(*args, **kwargs)
            returned = self.function(*args, **kwargs)  # the function's own mistakes are raised here, as they are without us
            self._give_up(Unplannable(f"tracing it raised {type(error).__name__}: {error}"), how)
            return returned
        return call()

    def _on_this_backend(self) -> Ordinary:
        if B.name not in self._ordinary:
            self._ordinary[B.name] = Ordinary(self.function, _recorder())
        return self._ordinary[B.name]

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
        programs = self._programs()
        if programs and isinstance(programs[0].parts(), str):
            return [(program.parts(), True) for program in programs]
        return list(self._plans.values())[-1].plan.parts() if self._plans else programs[-1].parts() if programs else []

    @property
    def memory(self) -> int:
        """Bytes that all plans hold for intermediate results; on JAX those that the newest program takes while it runs."""
        if self._jitted is not None:
            return int(self._jitted.memory())
        programs = self._programs()
        if B.name == "jax":
            return int(programs[-1].memory) if programs else 0
        return int(sum(ready.plan.memory for ready in self._plans.values()) + sum(program.memory for program in programs))

    def _programs(self) -> list[Any]:
        """The programs of an ordinary function on this backend, the newest last."""
        return self._ordinary[B.name].programs() if B.name in self._ordinary else []


def _work(call: Call) -> float:
    """Floating-point operations of a call."""
    from nnatomy.kernels.lowering import find

    lowering = find(call.name)
    elements = float(sum(out.size for out in call.outs))
    try:
        return elements if lowering is None else lowering.work(call.args, call.kwargs)
    except (TypeError, AttributeError):
        return elements


def _recorder() -> Any:
    if B.name == "jax":
        from nnatomy.plan.xla import XlaRecorder

        return XlaRecorder()
    from nnatomy.plan.planned import PlanRecorder

    return PlanRecorder()


def _why(error: BaseException) -> Unplannable | None:
    """The refusal that an error comes from."""
    at: BaseException | None = error
    while at is not None:
        if isinstance(at, Unplannable):
            return at
        at = at.__cause__ or at.__context__
    return None


def active() -> bool:
    """Return True if functions are compiled: on jax always, on NumPy unless NNATOMY_KERNELS=reference."""
    return bool(B.name == "jax") or kernels() != "reference"


def _signed(tree: Tree, by_reference: bool, given: list[Any], signature: list[Any]) -> None:
    """Append the leaves, and of each what a plan depends on: shape and type, of arrays that are read in place also which."""
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


class _Recorded(Recording):
    """One traced run of a function: the calls, the Var of each leaf of the arguments, and what was returned."""

    def __init__(self, function: Callable[..., Any], args: tuple[Tree, ...]) -> None:
        super().__init__(Trace(), {}, None)

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
        self.donates = _donates(args, self.returned)


def _donates(args: tuple[Tree, ...], returned: Tree) -> bool:
    """Return True if the first argument is a state that comes back."""
    return (
        bool(args) and isinstance(args[0], dict) and isinstance(returned, tuple) and len(returned) > 1
        and isinstance(returned[0], dict) and _paths(returned[0]) == _paths(args[0])
    )  # fmt: skip


class _State:
    """A tree of arrays of our own, which plans update in place, and of numbers."""

    count = itertools.count()

    def __init__(self, tree: Tree) -> None:
        seen: set[int] = set()

        def own(path: Path, leaf: Any) -> Any:
            if isinstance(leaf, np.ndarray):
                seen.add(id(leaf))
                return aligned_copy(leaf)
            return leaf.item() if isinstance(leaf, np.generic) else leaf

        self.tree = rebuilt(tree, own)
        self.slots = [(at(self.tree, p[:-1]), p[-1], leaf) for p, leaf in leaves(self.tree) if isinstance(leaf, np.ndarray)]
        self.numbers = [(at(self.tree, p[:-1]), p[-1]) for p, leaf in leaves(self.tree) if _is_number(leaf)]
        self.number = next(_State.count)
        self.shape = [
            (path, (leaf.shape, leaf.dtype) if isinstance(leaf, np.ndarray) else type(leaf) if _is_number(leaf) else leaf)
            for path, leaf in leaves(self.tree)
        ]

    def holds(self, tree: Tree) -> bool:
        """Return True if this is the tree that the last call returned; arrays that were exchanged since are copied in."""
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


