"""Records what a function of arrays computes: every call through the seam and every operator, once, without the values.

While a trace runs, arrays are `TracedArray`s, which know their shape and dtype only, and numbers among the arguments are
`TracedNumber`s. Who requests a value gets Unplannable: a computation that depends on values cannot be replayed.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np

from nnatomy.backends import B, activate
from nnatomy.backends.interface import FACTORIZATIONS

Shape = tuple[int, ...]


class Unplannable(TypeError):
    """Raised inside a trace where a value is requested, or where something cannot be recorded; says what."""


@dataclass(eq=False)
class Var:
    """An array (shape and dtype) or a number (shape None) of the computation."""

    shape: Shape | None
    dtype: Any  # a NumPy dtype, or int, float, bool for a number
    id: int

    @property
    def number(self) -> bool:
        return self.shape is None

    @property
    def size(self) -> int:
        return math.prod(self.shape or ())

    @property
    def nbytes(self) -> int:
        return self.size * int(np.dtype(self.dtype).itemsize)


@dataclass(eq=False)
class Call:
    """One recorded call: outs = name(*args, **kwargs). Arguments hold Vars, arrays (constants), numbers, and lists of them."""

    name: str
    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    outs: list[Var]

    def inputs(self) -> list[Var]:
        """The Vars among the arguments, in order."""
        found: list[Var] = []
        collect(self.args, found)
        collect(list(self.kwargs.values()), found)
        return found


def collect(tree: Any, found: list[Var]) -> None:
    if isinstance(tree, Var):
        found.append(tree)
    elif isinstance(tree, list | tuple):
        for part in tree:
            collect(part, found)
    elif isinstance(tree, dict):
        for part in tree.values():
            collect(part, found)


def substitute(tree: Any, of: Callable[[Any], Any]) -> Any:
    """The arguments with each Var or array replaced by of(it)."""
    if isinstance(tree, Var | np.ndarray):
        return of(tree)
    if isinstance(tree, list):
        return [substitute(part, of) for part in tree]
    if type(tree) is tuple:
        return tuple(substitute(part, of) for part in tree)
    if isinstance(tree, dict):
        return {key: substitute(part, of) for key, part in tree.items()}
    return tree


@dataclass
class Trace:
    """The calls of one run of a function, in order."""

    calls: list[Call] = field(default_factory=list)
    count: int = 0

    def array(self, shape: Shape, dtype: Any) -> TracedArray:
        self.count += 1
        return TracedArray(self, Var(tuple(shape), np.dtype(dtype), self.count))

    def number(self, kind: type) -> TracedNumber:
        self.count += 1
        return TracedNumber(self, Var(None, kind, self.count))

    def record(self, name: str, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Return the call's results as traced values; where shapes are known, nothing else is computed."""
        if name in ("zeros_like", "ones_like"):
            return np.broadcast_to(np.full((), name == "ones_like", kwargs.get("dtype") or args[0].dtype), args[0].shape)
        if name == "nonzero":
            raise Unplannable("a result whose shape depends on values (nonzero)")
        if name == "asarray" and isinstance(args[0], TracedArray) and np.dtype(_dtype(args, kwargs)) == args[0].dtype:
            return args[0]
        inner_args, inner_kwargs = _vars(args), _vars(kwargs)
        found: list[Var] = []
        collect(inner_args, found)
        collect(inner_kwargs, found)
        if all(v.number for v in found) and not _arrays(inner_args):
            outs: Any = self._of_numbers(name, function, inner_args, inner_kwargs)
        else:
            outs = self._shaped(name, function, inner_args, inner_kwargs)
        kept = [o.var for o in (outs if isinstance(outs, tuple) else (outs,))]
        self.calls.append(Call(name, function, inner_args, inner_kwargs, kept))
        return outs

    def _of_numbers(self, name: str, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Return a number where a value is computed from numbers alone, unless it has axes (random bits, say)."""
        if name == "random_bits":
            return self.array((args[2],), np.uint32)
        out = _quiet(function, substitute(args, _sample), substitute(kwargs, _sample))
        if isinstance(out, np.ndarray):
            _refuse_other_shapes(name, function, args, kwargs, _sample, [out])
            return self.array(out.shape, out.dtype)
        return self.number(bool if isinstance(out, bool | np.bool_) else int if isinstance(out, int | np.integer) else float)

    def _shaped(self, name: str, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if name in ELEMENTWISE:
            shape = np.broadcast_shapes(*(a.shape for a in args if isinstance(a, Var | np.ndarray) and a.shape is not None))
            return self.array(shape, _quiet(function, substitute(args, _tiny), kwargs).dtype)
        known = _by_lowering(name, args, kwargs)
        if known is not None:
            made = tuple(self.array(shape, dtype) for shape, dtype in known)
            return made[0] if len(made) == 1 else made
        if name in FACTORIZATIONS:
            return self._factors(function, args, kwargs)
        out = _quiet(function, substitute(args, _dummy), substitute(kwargs, _dummy))
        _refuse_other_shapes(name, function, args, kwargs, _dummy, out if isinstance(out, tuple) else [out])
        if isinstance(out, tuple):
            return tuple(self.array(np.shape(o), np.asarray(o).dtype) for o in out)
        out = np.asarray(out)
        return self.array(out.shape, out.dtype)

    def _factors(self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Arrays like the factors of identity matrices: those of zeros do not exist."""
        out = _quiet(function, substitute(args, _identity), kwargs)
        return tuple(self.array(o.shape, o.dtype) for o in out) if isinstance(out, tuple) else self.array(out.shape, out.dtype)


def _dtype(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    given = kwargs.get("dtype", args[1] if len(args) > 1 else None)
    return args[0].dtype if given is None else given


def _by_lowering(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[tuple[Shape, Any]] | None:
    from nnatomy.kernels.lowering import find

    lowering = find(name)
    if lowering is None:
        return None
    try:
        return lowering.outputs(args, kwargs)
    except (TypeError, AttributeError, NotImplementedError):  # an option that the kernel does not know
        return None


def _quiet(function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    with np.errstate(all="ignore"):
        return function(*args, **kwargs)


def _sample(value: Any) -> Any:
    return {int: 1, float: 0.5, bool: True}[value.dtype] if value.number else np.zeros((), value.dtype)


def _refuse_other_shapes(
    name: str, function: Callable[..., Any], args: Any, kwargs: Any, sample: Callable[[Any], Any], outs: Any
) -> None:
    """Raise Unplannable where the shape of a result depends on a number among the arguments that changes from call to call."""
    found: list[Var] = []
    collect((args, kwargs), found)
    if not any(v.number for v in found):
        return

    def larger(value: Any) -> Any:
        return sample(value) + 1 if isinstance(value, Var) and value.number else sample(value)

    try:
        again = _quiet(function, substitute(args, larger), substitute(kwargs, larger))
    except (ValueError, TypeError, IndexError):
        again = ()
    shapes = [np.shape(a) for a in (again if isinstance(again, tuple) else [again])]
    if shapes != [np.shape(a) for a in outs]:
        raise Unplannable(f"a result whose shape depends on a number ({name})")


def _dummy(value: Any) -> Any:
    """An array of this shape that takes no memory; a number."""
    if isinstance(value, np.ndarray):
        return value
    return _sample(value) if value.number else np.broadcast_to(_sample(value), value.shape)


def _identity(value: Any) -> Any:
    """Identity matrices of this shape."""
    return np.broadcast_to(np.eye(*value.shape[-2:], dtype=value.dtype), value.shape)


def _tiny(value: Any) -> Any:
    """An array of one element and this dtype; a number."""
    if isinstance(value, np.ndarray):
        return np.ones((1,), value.dtype)
    return _sample(value) if value.number else np.ones((1,), value.dtype)


def _vars(tree: Any) -> Any:
    """The arguments with traced values replaced by their Vars."""
    if isinstance(tree, TracedArray | TracedNumber):
        return tree.var
    if isinstance(tree, list):
        return [_vars(part) for part in tree]
    if type(tree) is tuple:
        return tuple(_vars(part) for part in tree)
    if isinstance(tree, dict):
        return {key: _vars(part) for key, part in tree.items()}
    if isinstance(tree, slice) and any(isinstance(p, TracedArray | TracedNumber) for p in (tree.start, tree.stop, tree.step)):
        raise Unplannable("a slice whose ends depend on values")
    return tree


def _arrays(tree: Any) -> bool:
    if isinstance(tree, list | tuple):
        return any(_arrays(part) for part in tree)
    return isinstance(tree, np.ndarray)


_ELEMENTWISE = """
    add subtract multiply divide negative power abs arccos arcsin arctan arctan2 arctanh ceil clip cos cosh equal exp expm1
    floor floor_divide greater greater_equal isfinite isinf isnan less less_equal log log10 log1p log2 logaddexp logical_and
    logical_not logical_or logical_xor maximum minimum not_equal remainder round sign sin sinh sqrt square tan tanh trunc where
    erf sigmoid astype
"""
ELEMENTWISE = frozenset(_ELEMENTWISE.split())
"""Calls whose result has at each place what the arguments have there."""


def _raw(value: Any) -> bool:
    """Return True if a value is what arrays are computed with; a Tensor is not, and has the same operators itself."""
    return isinstance(value, _Traced | np.ndarray | np.generic | int | float)


def _left(name: str, function: Callable[..., Any]) -> Any:
    def method(self: Any, other: Any) -> Any:
        return self.trace.record(name, function, (self, other), {}) if _raw(other) else NotImplemented

    return method


def _right(name: str, function: Callable[..., Any]) -> Any:
    def method(self: Any, other: Any) -> Any:
        return self.trace.record(name, function, (other, self), {}) if _raw(other) else NotImplemented

    return method


def _asks(what: str) -> Any:
    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        raise Unplannable(f"{what} of a value that is known only when the step runs")

    return method


class _Traced:
    """The operators that arrays and numbers share."""

    __slots__ = ("trace", "var")
    __array_ufunc__ = None  # ndarray + traced is __radd__
    __hash__ = object.__hash__

    def __init__(self, trace: Trace, var: Var) -> None:
        self.trace, self.var = trace, var

    __add__, __radd__ = _left("add", operator.add), _right("add", operator.add)
    __sub__, __rsub__ = _left("subtract", operator.sub), _right("subtract", operator.sub)
    __mul__, __rmul__ = _left("multiply", operator.mul), _right("multiply", operator.mul)
    __truediv__, __rtruediv__ = _left("divide", operator.truediv), _right("divide", operator.truediv)
    __floordiv__, __rfloordiv__ = _left("floor_divide", operator.floordiv), _right("floor_divide", operator.floordiv)
    __mod__, __rmod__ = _left("remainder", operator.mod), _right("remainder", operator.mod)
    __pow__, __rpow__ = _left("power", operator.pow), _right("power", operator.pow)
    __and__, __rand__ = _left("and", operator.and_), _right("and", operator.and_)
    __or__, __ror__ = _left("or", operator.or_), _right("or", operator.or_)
    __xor__, __rxor__ = _left("xor", operator.xor), _right("xor", operator.xor)
    __lshift__, __rshift__ = _left("lshift", operator.lshift), _left("rshift", operator.rshift)
    __lt__, __le__ = _left("less", operator.lt), _left("less_equal", operator.le)
    __gt__, __ge__ = _left("greater", operator.gt), _left("greater_equal", operator.ge)
    __eq__, __ne__ = _left("equal", operator.eq), _left("not_equal", operator.ne)

    def __neg__(self) -> Any:
        return self.trace.record("negative", operator.neg, (self,), {})

    def __abs__(self) -> Any:
        return self.trace.record("abs", np.abs, (self,), {})

    def __invert__(self) -> Any:
        return self.trace.record("invert", operator.invert, (self,), {})

    __bool__, __float__, __int__, __index__ = _asks("The truth"), _asks("float()"), _asks("int()"), _asks("An index")
    item, tolist, __array__ = _asks("item()"), _asks("tolist()"), _asks("A NumPy array")


class TracedNumber(_Traced):
    """A Python number among a step's arguments, such as a learning rate, or what was computed from such."""

    __slots__ = ()


def _indexed(a: Any, index: Any) -> Any:
    return a[index]


def _method(name: str) -> Any:
    def method(self: TracedArray, *args: Any, **kwargs: Any) -> Any:
        return self.trace.record(name, operator.methodcaller(name, *args, **kwargs), (self,), kwargs)

    return method


def _reduced(name: str) -> Any:
    def function(a: Any, axis: Any = None, keepdims: bool = False) -> Any:
        return getattr(a, name)(axis=axis, keepdims=keepdims)

    def method(self: TracedArray, axis: Any = None, keepdims: bool = False) -> Any:
        return self.trace.record(name, function, (self,), {"axis": axis, "keepdims": keepdims})

    return method


class TracedArray(_Traced):
    """An array whose shape and dtype are known."""

    __slots__ = ()

    @property
    def shape(self) -> Shape:
        return self.var.shape or ()

    @property
    def dtype(self) -> Any:
        return self.var.dtype

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        return self.var.size

    @property
    def T(self) -> Any:
        return self.transpose()

    __matmul__, __rmatmul__ = _left("matmul", operator.matmul), _right("matmul", operator.matmul)
    sum, prod, max, min, any, all, mean = (_reduced(n) for n in ("sum", "prod", "max", "min", "any", "all", "mean"))

    def __getitem__(self, index: Any) -> Any:
        if any(isinstance(i, TracedArray) and i.dtype == bool for i in (index if isinstance(index, tuple) else (index,))):
            raise Unplannable("a result whose shape depends on values (a boolean index)")
        rows = isinstance(index, TracedArray) and index.dtype.kind in "iu"
        return self.trace.record("take_rows" if rows else "getitem", _indexed, (self, index), {})

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("len() of an array without axes")
        return self.shape[0]

    def __iter__(self) -> Any:
        return (self[i] for i in range(len(self)))

    def astype(self, dtype: Any, copy: bool = True) -> Any:
        if np.dtype(dtype) == self.dtype:
            return self
        return self.trace.record("astype", _astype, (self,), {"dtype": np.dtype(dtype)})

    def reshape(self, *shape: Any) -> Any:
        target = tuple(shape[0]) if len(shape) == 1 and not isinstance(shape[0], int | np.integer) else shape
        return self.trace.record("reshape", _reshape, (self,), {"shape": tuple(int(n) for n in target)})

    def transpose(self, *axes: Any) -> Any:
        order = axes[0] if len(axes) == 1 and not isinstance(axes[0], int) else axes or None
        order = tuple(range(self.ndim))[::-1] if order is None else tuple(int(i) % max(self.ndim, 1) for i in order)
        return self.trace.record("transpose", _transpose, (self,), {"axes": order})

    def swapaxes(self, first: int, second: int) -> Any:
        order = list(range(self.ndim))
        order[first], order[second] = order[second], order[first]
        return self.transpose(order)

    def squeeze(self, axis: Any = None) -> Any:
        axes = range(self.ndim) if axis is None else [i % self.ndim for i in ((axis,) if isinstance(axis, int) else axis)]
        return self.reshape(tuple(n for i, n in enumerate(self.shape) if not (n == 1 and i in axes)))

    def copy(self) -> Any:
        return self.trace.record("array", np.array, (self,), {})


def _astype(a: Any, dtype: Any) -> Any:
    return a.astype(dtype)


def _reshape(a: Any, shape: Shape) -> Any:
    return a.reshape(shape)


def _transpose(a: Any, axes: tuple[int, ...]) -> Any:
    return a.transpose(axes)


def _traced(tree: Any) -> bool:
    if isinstance(tree, _Traced):
        return True
    if isinstance(tree, list | tuple):
        return any(_traced(part) for part in tree)
    if isinstance(tree, dict):
        return any(_traced(part) for part in tree.values())
    return False


PLAIN = {"name", "conv_shape"}


@contextmanager
def recording(trace: Trace) -> Any:
    """Inside, the seam's functions record calls that involve traced values, and compute others as ever."""
    before = SimpleNamespace(**vars(B))

    def recorder(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def recorded(*args: Any, **kwargs: Any) -> Any:
            if _traced(args) or _traced(kwargs):
                return trace.record(name, function, args, kwargs)
            return function(*args, **kwargs)

        return recorded

    functions = {
        name: recorder(name, value) if callable(value) and name not in PLAIN and not isinstance(value, type) else value
        for name, value in vars(before).items()
    }
    activate(SimpleNamespace(**functions))
    try:
        yield
    finally:
        activate(before)


def leaves(tree: Any, path: tuple[Any, ...] = ()) -> list[tuple[tuple[Any, ...], Any]]:
    """The leaves of nested dictionaries, lists and tuples with the way to each."""
    if isinstance(tree, dict):
        return [leaf for key, part in tree.items() for leaf in leaves(part, (*path, key))]
    if isinstance(tree, list | tuple):
        return [leaf for i, part in enumerate(tree) for leaf in leaves(part, (*path, i))]
    return [(path, tree)]


def rebuilt(tree: Any, of: Callable[[tuple[Any, ...], Any], Any], path: tuple[Any, ...] = ()) -> Any:
    """The same tree with each leaf replaced by of(path, leaf)."""
    if isinstance(tree, dict):
        return {key: rebuilt(part, of, (*path, key)) for key, part in tree.items()}
    if isinstance(tree, list | tuple):
        parts = [rebuilt(part, of, (*path, i)) for i, part in enumerate(tree)]
        return parts if isinstance(tree, list) else type(tree)(*parts) if hasattr(tree, "_fields") else tuple(parts)
    return of(path, tree)

