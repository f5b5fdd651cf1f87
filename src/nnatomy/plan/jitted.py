"""A function of arrays compiled by jax.jit: what nn.compile makes on the jax backend."""

from __future__ import annotations

import operator
import traceback
from collections.abc import Callable
from contextlib import nullcontext
from functools import lru_cache
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax, tree_util
from jax.sharding import NamedSharding, PartitionSpec

from nnatomy.backends import jax_cache, jax_devices
from nnatomy.plan.trace import Unplannable

Tree = Any
Leaf = Any

MOST_PROGRAMS = 64
_FIXED, _NUMBER, _ARRAY = range(3)
_VALUE_ASKED_FOR = (
    jax.errors.ConcretizationTypeError, jax.errors.TracerArrayConversionError, jax.errors.TracerBoolConversionError,
    jax.errors.TracerIntegerConversionError, jax.errors.NonConcreteBooleanIndexError,
)  # fmt: skip


class Jitted:
    """`function` as XLA programs, one for each shape of its arguments. Raises Unplannable where it requests values.

    A first argument that is a dictionary and comes back as the first result is a state: its arrays are donated, and come back
    laid out as they went in, on one device or over several. Numbers are inputs as arrays are, so that another learning rate
    compiles nothing. A state that the last call did not return is copied first; one that it did is used up.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        self._programs: dict[Any, _Program] = {}
        self._newest: _Program | None = None
        self._owned: list[Leaf] = []  # the arrays of the state that the last call returned

    def __call__(self, *args: Tree) -> Tree:
        leaves, tree = tree_util.tree_flatten(args)
        given = [leaf.item() if isinstance(leaf, np.number) else leaf for leaf in leaves]  # it counts as a Python number
        kinds = tuple([_kind(leaf) for leaf in given])
        key = tree, kinds, tuple([leaf for leaf, kind in zip(given, kinds) if kind == _FIXED])
        program = self._programs.get(key)
        traces = len(program.traces) if program is not None else 0
        try:
            with jax_cache.reporting() if program is None else nullcontext():
                if program is None:
                    program = _Program(self.function, tree, kinds, given)
                arrays = [given[i] for i in program.first]
                if program.donates and not _same(arrays, self._owned):
                    if tuple(map(_layout, arrays)) != program.layouts:  # over other devices: another program
                        program, traces = _Program(self.function, tree, kinds, given), 0
                    known = set(map(id, self._owned))
                    arrays = [leaf if id(leaf) in known else jnp.array(leaf) for leaf in arrays]
                returned, leaves = program(arrays, given)
        except Exception as error:
            self._bind(args[0] if args else None)
            why = unplannable(error)
            if why is None:
                raise
            raise why from error
        if program.donates:
            self._owned = [leaves[i] for i in program.first]
        self._programs[key] = self._newest = program
        if len(self._programs) > MOST_PROGRAMS:
            self._programs.pop(next(iter(self._programs)))
        if len(program.traces) != traces:  # what is bound to traced values is bound to real ones again
            self._bind(returned[0] if program.donates else args[0] if args else None)
        return returned

    def _bind(self, state: Tree) -> None:
        bind = getattr(self.function, "bind", None)
        if bind is not None:
            bind(state)

    def programs(self) -> list[str]:
        """The compiled cases: the shapes of the arguments next to the state."""
        return [shapes for program in self._programs.values() for shapes in program.traces]

    def memory(self) -> int:
        """Bytes that the newest program takes for intermediate results."""
        return self._newest.memory() if self._newest is not None else 0


class _Program:
    """The function for arguments of one structure, in which only arrays and numbers differ from call to call."""

    def __init__(self, function: Callable[..., Any], tree: Any, kinds: tuple[int, ...], given: list[Leaf]) -> None:
        self.function, self.tree = function, tree
        self.traces: list[str] = []
        self.settings = jax_devices.settings()
        self.donates = False  # whether the first argument is a state
        self.fixed = [leaf if kind == _FIXED else None for leaf, kind in zip(given, kinds)]
        size = tree.children()[0].num_leaves if tree.children() else 0
        self.first = [i for i in range(size) if kinds[i] == _ARRAY]  # the arrays of the first argument
        self.others = [i for i, kind in enumerate(kinds) if kind == _NUMBER or (kind == _ARRAY and i >= size)]
        self.numbers = {i for i, kind in enumerate(kinds) if kind == _NUMBER}
        self.size = size
        self.layouts = tuple(_layout(given[i]) for i in self.first)
        spread = next((layout for layout in self.layouts if layout is not None), None)
        self.everywhere = None if spread is None else NamedSharding(spread.mesh, PartitionSpec())
        self.spread = None if spread is None else _spreading(self.everywhere)
        self.outline: Any = tree_util.tree_map(shape, self._inputs([given[i] for i in self.first], given))
        traced = self._traced  # one object, by which jit remembers that it has been traced
        jax.eval_shape(jax.jit(traced), *self.outline)  # learns whether there is a state
        self.run = jax.jit(traced, donate_argnums=(0,) if self.donates else ())

    def __call__(self, arrays: list[Leaf], given: list[Leaf]) -> tuple[Tree, list[Leaf]]:
        """The results of the function, as a tree and as its leaves."""
        inputs = self._inputs(arrays, given)
        traces = len(self.traces)
        computed, answer = self.run(*inputs)
        if len(self.traces) != traces:
            self.outline = tree_util.tree_map(shape, inputs)
        leaves = answer.leaves(computed, given)
        return tree_util.tree_unflatten(answer.tree, leaves), leaves

    def _inputs(self, arrays: list[Leaf], given: list[Leaf]) -> tuple[list[Leaf], list[Leaf]]:
        others = [given[i] for i in self.others]
        if self.spread is not None:
            others = [self.spread(leaf) if isinstance(leaf, int | float) else leaf for leaf in others]
        return arrays, others

    def _traced(self, arrays: list[Leaf], others: list[Leaf]) -> tuple[list[Leaf], _Answer]:
        inputs = list(self.fixed)
        for i, leaf in [*zip(self.first, arrays), *zip(self.others, others)]:
            inputs[i] = leaf
        args = tree_util.tree_unflatten(self.tree, inputs)
        returned = self.function(*args)
        self.donates = (
            bool(args) and isinstance(args[0], dict) and isinstance(returned, tuple) and len(returned) > 1
            and tree_util.tree_structure(returned[0]) == tree_util.tree_structure(args[0])
        )  # fmt: skip
        leaves, tree = tree_util.tree_flatten(returned)
        if self.donates:
            self._keep_layout(inputs, leaves, args[0])
        self.traces.append(", ".join(shown(leaf) for i, leaf in enumerate(inputs) if i >= self.size))
        return _Answer.of(leaves, tree, {id(inputs[i]): i for i in self.numbers})

    def _keep_layout(self, before: list[Leaf], after: list[Leaf], state: Tree) -> None:
        """Put every array of the new state where the old one's is, which must be of its shape and type."""
        for i, layout in zip(self.first, self.layouts):
            if getattr(after[i], "shape", None) != before[i].shape or after[i].dtype != before[i].dtype:
                path, _ = tree_util.tree_flatten_with_path(state)[0][i]
                raise Unplannable(f"a state whose {tree_util.keystr(path)} changes its shape or type, or becomes a constant")
            if layout is not None:
                after[i] = lax.with_sharding_constraint(after[i], layout)
        if self.everywhere is not None:
            for i in self.numbers:
                if i < self.size and after[i] is not before[i]:
                    after[i] = lax.with_sharding_constraint(after[i], self.everywhere)

    def memory(self) -> int:
        """Bytes that the program takes for intermediate results."""
        now = jax_devices.settings()
        jax_devices.restore(self.settings)  # those that the program was compiled with, which finds it again
        try:
            found = self.run.lower(*self.outline).compile().memory_analysis()
        finally:
            jax_devices.restore(now)
        return 0 if found is None else int(found.temp_size_in_bytes)


def _spreading(everywhere: Any) -> Callable[[Any], Any]:
    """Put a number on all devices; other hosts' too, which device_put would first check to have the same one."""
    return lru_cache(64, typed=True)(jax.jit(lambda number: number, out_shardings=everywhere))


@tree_util.register_pytree_node_class
class _Answer:
    """The structure of a traced function's result: computed arrays, given numbers, constants."""

    def __init__(self, tree: Any, parts: list[tuple[str, Any]]) -> None:
        self.tree, self.parts = tree, parts

    @classmethod
    def of(cls, leaves: list[Leaf], tree: Any, numbers: dict[int, int]) -> tuple[list[Leaf], _Answer]:
        """The computed ones of `leaves`, and where they and the others go; `numbers`: by id, which of the arguments it is."""
        computed: list[Leaf] = []
        parts: list[tuple[str, Any]] = []
        for leaf in leaves:
            if id(leaf) in numbers:
                parts.append(("given", numbers[id(leaf)]))
            elif isinstance(leaf, jax.Array | np.ndarray):
                parts.append(("computed", len(computed)))
                computed.append(leaf)
            elif isinstance(leaf, str | int | float | np.generic):
                parts.append(("constant", leaf))
            else:
                raise Unplannable(f"a {type(leaf).__name__} among the results, which are to be arrays and numbers")
        return computed, cls(tree, parts)

    def leaves(self, computed: list[Leaf], given: list[Leaf]) -> list[Leaf]:
        """All leaves of what the function returns."""
        of = {"computed": computed.__getitem__, "given": given.__getitem__, "constant": lambda value: value}
        return [of[source](value) for source, value in self.parts]

    def tree_flatten(self) -> tuple[tuple[()], _Answer]:
        return (), self

    @classmethod
    def tree_unflatten(cls, itself: _Answer, _: tuple[()]) -> _Answer:
        return itself


def _kind(leaf: Leaf) -> int:
    """A number, which may differ without another trace and has no type; an array; or something else, which stays fixed."""
    if type(leaf) is int or type(leaf) is float:
        return _NUMBER
    if isinstance(leaf, jax.Array):
        return _NUMBER if leaf.ndim == 0 and leaf.weak_type else _ARRAY
    return _ARRAY if isinstance(leaf, np.ndarray) else _FIXED


def _same(a: list[Leaf], b: list[Leaf]) -> bool:
    return len(a) == len(b) and all(map(operator.is_, a, b))


def _layout(leaf: Leaf) -> NamedSharding | None:
    """Return the sharding of an array over several devices; None on one."""
    sharding = getattr(leaf, "sharding", None)
    return sharding if isinstance(sharding, NamedSharding) and sharding.num_devices > 1 else None


def shape(leaf: Leaf) -> Any:
    """Shape, type and place of an array; a number as it is."""
    if isinstance(leaf, jax.Array):
        return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=_layout(leaf), weak_type=leaf.weak_type)
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) if isinstance(leaf, np.ndarray) else leaf


def shown(leaf: Leaf) -> str:
    return f"{leaf.dtype}{list(leaf.shape)}" if hasattr(leaf, "dtype") else repr(leaf)


def unplannable(error: BaseException | None) -> Unplannable | None:
    """Return the reason why a trace cannot continue, as text, if the error comes from one."""
    while error is not None:
        if isinstance(error, Unplannable):
            return error
        if isinstance(error, _VALUE_ASKED_FOR):
            inside = [f for f in traceback.extract_tb(error.__traceback__) if "/jax/" not in f.filename]
            where = f"{Path(inside[-1].filename).name}, line {inside[-1].lineno}" if inside else "it"
            return Unplannable(f"it needs the values of an array while it is traced ({where})")
        error = error.__cause__ or error.__context__
    return None
