"""A function of arrays for a batch of any size: two traces of it, at two batch sizes, compared.

A size that differs between the traces follows the batch: it is times * batch + plus. So do the shapes of constants, such as the
zeros in which a recurrent layer starts. Whatever else differs cannot be exported.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from nnatomy.errors import UserError
from nnatomy.graph import no_grad
from nnatomy.plan.trace import Call, Trace, TracedArray, TracedNumber, Unplannable, Var, recording
from nnatomy.tensor import Tensor, wrap

Array = np.ndarray[Any, Any]
SIZES = (3, 5)
"""The two batch sizes; neither is a size that code treats in its own way, as it may treat 1 or 2."""


@dataclass(frozen=True)
class Follows:
    """A whole number that is times * batch + plus."""

    times: int
    plus: int

    def __str__(self) -> str:
        name = "batch" if self.times == 1 else f"{self.times}*batch"
        return name if self.plus == 0 else f"{name}{self.plus:+d}"


Size = int | Follows
Shape = tuple[Size, ...]


@dataclass(eq=False)
class Value:
    """An array that is computed; `name` is what the ONNX graph calls it."""

    shape: Shape
    dtype: Any
    name: str = ""

    @property
    def ndim(self) -> int:
        return len(self.shape)


@dataclass(eq=False)
class Repeated:
    """A constant whose shape follows the batch: `base` repeated, and `step` more at each place along `axis` if that is one."""

    base: Array
    shape: Shape
    axis: int | None = None
    step: int = 0

    @property
    def dtype(self) -> Any:
        return self.base.dtype

    @property
    def ndim(self) -> int:
        return len(self.shape)


@dataclass(eq=False)
class Node:
    """One call for a batch of any size: outs = name(*args, **kwargs)."""

    name: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    outs: list[Value]


@dataclass
class Program:
    """The calls of a function, in order from parameters and inputs to outputs."""

    parameters: dict[str, Value]
    inputs: list[Value]
    nodes: list[Node]
    outputs: list[Any]
    arrays: dict[str, Array] = field(default_factory=dict)
    """The values of the parameters."""


def program(
    function: Callable[..., Any], examples: Sequence[Array], axes: Sequence[int | None], state: Mapping[str, Tensor]
) -> Program:
    """Trace `function(*tensors)`, which reads the tensors of `state`, for batches of any size.

    `examples`: one array for each argument, with at least one example; axes[i]: where the batch of argument i is, None if it
    has none. Raises UserError where the function requests values, or depends on the batch otherwise than by sizes.
    """
    _check_examples(examples, axes)
    first, second = (_Traced(function, [_resized(e, axis, n) for e, axis in zip(examples, axes)], state) for n in SIZES)
    pairing = _Pairing()
    parameters = {name: pairing.var(first.parameters[name], second.parameters[name]) for name in state}
    inputs = [pairing.var(a, b) for a, b in zip(first.inputs, second.inputs)]
    names = [[call.name for call in run.trace.calls] for run in (first, second)]
    if names[0] != names[1] or len(first.outputs) != len(second.outputs):
        raise UserError(
            "An exported model does the same for every batch size. Received one that calls other functions for "
            f"{SIZES[1]} examples than for {SIZES[0]}. Make what it does depend on one example at a time."
        )
    nodes = [pairing.node(a, b) for a, b in zip(first.trace.calls, second.trace.calls)]
    outputs = [pairing.tree(a, b, "an output") for a, b in zip(first.outputs, second.outputs)]
    arrays = {name: np.asarray(t.data) for name, t in state.items()}
    return Program(parameters, inputs, _needed(nodes, outputs), outputs, arrays)


def _check_examples(examples: Sequence[Array], axes: Sequence[int | None]) -> None:
    for example, axis in zip(examples, axes, strict=True):
        if axis is not None and (example.ndim <= axis or not example.shape[axis]):
            raise UserError(
                f"To export a model, give it at least one example on axis {axis}. Received shape {example.shape}. Give a batch."
            )


def _resized(example: Array, axis: int | None, size: int) -> Array:
    return example if axis is None else example.take(np.arange(size) % example.shape[axis], axis=axis)


def _needed(nodes: Sequence[Node], outputs: Sequence[Any]) -> list[Node]:
    """The calls that an output depends on."""
    needed = {id(v) for v in outputs}
    kept = []
    for node in reversed(nodes):
        if any(id(out) in needed for out in node.outs):
            kept.append(node)
            needed |= {id(v) for v in values((node.args, node.kwargs))}
    return kept[::-1]


def values(tree: Any) -> Iterator[Value]:
    """The computed arrays among the arguments of a call."""
    if isinstance(tree, Value):
        yield tree
    elif isinstance(tree, list | tuple):
        for part in tree:
            yield from values(part)
    elif isinstance(tree, dict):
        yield from values(list(tree.values()))


class _Traced:
    """One traced run: its calls, and the Vars of parameters, inputs and outputs."""

    def __init__(self, function: Callable[..., Any], examples: Sequence[Array], state: Mapping[str, Tensor]) -> None:
        self.trace = Trace()
        arrays = {name: self.trace.array(t.shape, t.dtype) for name, t in state.items()}
        given = [self.trace.array(e.shape, e.dtype) for e in examples]
        self.parameters = {name: array.var for name, array in arrays.items()}
        self.inputs = [array.var for array in given]
        try:
            with recording(self.trace), no_grad(), np.errstate(all="ignore"), _standing_in(state, arrays):
                returned = function(*map(wrap, given))
        except Unplannable as why:
            text = str(why)
            raise UserError(
                f"An exported model decides by shapes alone. Received one that needs {text[0].lower() + text[1:]}. "
                "Use functions of nnatomy there, such as where()."
            ) from None
        self.outputs = [leaf.data if isinstance(leaf, Tensor) else leaf for leaf in flat(returned)]
        self.outputs = [leaf.var if isinstance(leaf, TracedArray | TracedNumber) else leaf for leaf in self.outputs]


@contextmanager
def _standing_in(state: Mapping[str, Tensor], arrays: Mapping[str, Any]) -> Iterator[None]:
    """Inside, the tensors of `state` hold traced arrays."""
    before = {name: t.data for name, t in state.items()}
    try:
        for name, t in state.items():
            t.data = arrays[name]
        yield
    finally:
        for name, t in state.items():
            t.data = before[name]


def flat(tree: Any) -> list[Any]:
    """The outputs of a model in order, tuples, lists and dictionaries opened, None left out."""
    if isinstance(tree, dict):
        return flat(list(tree.values()))
    if isinstance(tree, list | tuple):
        return [leaf for part in tree for leaf in flat(part)]
    return [] if tree is None else [tree]


class _Pairing:
    """Merges two traces into one description."""

    def __init__(self) -> None:
        self.known: dict[int, Value] = {}

    def var(self, a: Var, b: Var) -> Value:
        if id(a) not in self.known:
            if a.shape is None or b.shape is None or len(a.shape) != len(b.shape) or a.dtype != b.dtype:
                raise _otherwise("the number of axes of an array", a.shape, b.shape)
            self.known[id(a)] = Value(tuple(map(_size, a.shape, b.shape)), np.dtype(a.dtype))
        return self.known[id(a)]

    def node(self, a: Call, b: Call) -> Node:
        args, kwargs = self.tree(a.args, b.args, a.name), self.tree(a.kwargs, b.kwargs, a.name)
        return Node(a.name, args, kwargs, [self.var(x, y) for x, y in zip(a.outs, b.outs)])

    def tree(self, a: Any, b: Any, where: str) -> Any:
        if isinstance(a, Var):
            return self.var(a, b)
        if isinstance(a, np.ndarray | np.generic):
            return _constant(np.asarray(a), np.asarray(b), where)
        if type(a) is not type(b) or (isinstance(a, list | tuple | dict) and len(a) != len(b)):
            raise _otherwise(f"an argument of {where}", a, b)
        if isinstance(a, list | tuple):
            parts = [self.tree(x, y, where) for x, y in zip(a, b)]
            return parts if isinstance(a, list) else tuple(parts)
        if isinstance(a, dict):
            return {key: self.tree(a[key], b[key], where) for key in a}
        if isinstance(a, slice):
            return slice(*(self.tree(getattr(a, p), getattr(b, p), where) for p in ("start", "stop", "step")))
        if isinstance(a, int) and not isinstance(a, bool):
            return _size(a, b)
        if a is not b and a != b:
            raise _otherwise(f"an argument of {where}", a, b)
        return a


def _size(a: int, b: int) -> Size:
    if a == b:
        return int(a)
    times, rest = divmod(b - a, SIZES[1] - SIZES[0])
    if rest:
        raise _otherwise("a size", a, b)
    return Follows(times, a - times * SIZES[0])


def _constant(a: Array, b: Array, where: str) -> Array | Repeated:
    """An array that is the same at both sizes, or that repeats or counts along the axes that follow the batch."""
    if a.ndim != b.ndim or a.dtype != b.dtype:
        raise _otherwise(f"a constant of {where}", a.shape, b.shape)
    shape = tuple(map(_size, a.shape, b.shape))
    if a.shape == b.shape:
        if np.array_equal(a, b, equal_nan=a.dtype.kind == "f"):
            return a
        raise _otherwise(f"a constant of {where}", a.ravel()[:3], b.ravel()[:3])
    along = [i for i, size in enumerate(shape) if isinstance(size, Follows)]
    start = tuple(slice(0, 1) if i in along else slice(None) for i in range(a.ndim))
    base = a[start]
    if np.array_equal(base, b[start], equal_nan=base.dtype.kind == "f"):
        if all(np.array_equal(c, np.broadcast_to(base, c.shape), equal_nan=c.dtype.kind == "f") for c in (a, b)):
            return Repeated(base, shape)
        if len(along) == 1 and a.dtype.kind in "iu":
            step = int((a.take(1, along[0]) - a.take(0, along[0])).flat[0])
            if all(np.array_equal(c, base + step * _places(c, along[0])) for c in (a, b)):
                return Repeated(base, shape, along[0], step)
    raise _otherwise(f"a constant of {where}", f"shape {a.shape}", f"shape {b.shape}")


def _places(a: Array, axis: int) -> Array:
    """0, 1, 2, ... along an axis."""
    return np.arange(a.shape[axis]).reshape([-1 if i == axis else 1 for i in range(a.ndim)])


def _otherwise(what: str, a: Any, b: Any) -> UserError:
    return UserError(
        f"An exported model treats each example alike. Received {what} that changes with the batch: {a} for {SIZES[0]} "
        f"examples, {b} for {SIZES[1]}. Make it the same for every batch."
    )
