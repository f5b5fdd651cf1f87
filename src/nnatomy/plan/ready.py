"""A plan with the values that are copied into it before a run and those that are read after it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from nnatomy.plan.trace import Trace, TracedArray, TracedNumber, Unplannable, Var, leaves

Array = np.ndarray[Any, Any]
Tree = Any
Path = tuple[Any, ...]


@dataclass
class Recording:
    """A trace, the Var of each leaf of the arguments by its path, and what was returned."""

    trace: Trace
    vars: dict[Path, Var]
    returned: Any


class Held(Protocol):
    """A state: a tree of arrays, which plans update in place, and of numbers."""

    tree: Tree


def at(tree: Tree, path: Path) -> Any:
    """The leaf at a path."""
    for step in path:
        tree = tree[step]
    return tree


def aligned_copy(array: Array) -> Array:
    from nnatomy.kernels.lowering import allocate

    copy = allocate(array.shape, array.dtype)
    np.copyto(copy, array)
    return copy


class Ready:
    """A plan with what to write before a run and what to read after it."""

    def __init__(self, recorded: Recording, state: Held | None, rest: tuple[Tree, ...], by_reference: bool) -> None:
        from nnatomy.plan.plan import Plan

        self.state = state
        known = recorded.vars
        args = (state.tree, *rest) if state is not None else rest
        given = {(i, *path): leaf for i, tree in enumerate(args) for path, leaf in leaves(tree)}
        self.returned = recorded.returned if state is None else recorded.returned[1:]
        arrays: list[tuple[Var, Array]] = []  # read, and for a state written, where they are
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
                new_numbers.append((at(args, path[:-1]), path[-1], new.var))
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
                    self.old_numbers.append((at(args, path[:-1]), path[-1], place))
                continue
            if place is not None:
                self.copies.append((count, plan.bank[place : place + 1].reshape(())))
            elif var is not None and not var.number and var in inputs and plan.known(var):
                self.copies.append((count, plan.array(var)))
            count += 1

    def stale(self) -> bool:
        """Return True if the number of threads has changed since."""
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
        """A function that builds the returned value, with copies of the arrays that the next run overwrites."""
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
