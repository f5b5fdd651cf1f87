"""Tensor: an array that remembers how it was made. The walk back is in graph.py, the operations are in ops/."""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from nnatomy import foreign, graph
from nnatomy.backends import B
from nnatomy.backends.dtypes import is_floating
from nnatomy.errors import UserError

Array: TypeAlias = Any
"""An array of the active backend."""
Axis: TypeAlias = int | tuple[int, ...] | None

_ops: Any = None  # the table of operations; ops/ puts itself here when it is imported, so that imports point downwards only
_OPERATORS = {
    "__add__": "add", "__sub__": "subtract", "__mul__": "multiply", "__truediv__": "divide", "__matmul__": "matmul",
    "__neg__": "negative",
}  # fmt: skip
"""Operators that become the operations themselves: the call between them is a tenth of a small operation's time."""
_SPREAD = ("permute", "repeat", "reshape", "tile")
"""Methods whose sizes may also be given one by one: x.reshape(2, 3)."""


def bind(table: Any) -> None:
    """Set the module that defines Tensor's operators. A method becomes the operation of its name, unless it is in _SPREAD."""
    global _ops
    _ops = table
    for name, method in list(vars(Tensor).items()):
        if name in table.__all__ and name not in _SPREAD:
            setattr(Tensor, name, getattr(table, name))
        elif callable(method) and not method.__doc__ and hasattr(table, name):
            method.__doc__ = getattr(table, name).__doc__
    for operator, name in _OPERATORS.items():
        setattr(Tensor, operator, getattr(table, name))


class Size(int):
    """The number of elements of an array, which also answers PyTorch's size() and size(axis)."""

    shape: tuple[int, ...]

    def __new__(cls, shape: tuple[int, ...]) -> Size:
        made = super().__new__(cls, math.prod(shape))
        made.shape = tuple(shape)
        return made

    def __call__(self, axis: int | None = None, *, dim: int | None = None) -> Any:
        axis = dim if axis is None else axis
        return self.shape if axis is None else self.shape[axis]

    def __reduce__(self) -> tuple[Any, ...]:
        return int, (int(self),)


class Tensor:
    """A copy of an array of the active backend and, where a gradient is wanted, the operation that made it.

    `data`: the array, which is read-only, as a graph may hold it: `copy_()` replaces it. `requires_grad`: whether `backward()`
    should reach it. `grad`: the accumulated gradient or None.
    """

    __slots__ = ("__weakref__", "data", "grad", "hooks", "index", "node", "requires_grad")
    __array_priority__ = 1000
    __array_ufunc__ = None  # ndarray + Tensor is Tensor.__radd__, never an array of objects

    def __init__(self, data: Array, requires_grad: bool = False) -> None:
        data = _array(data)
        if requires_grad:
            _differentiable(data)
        self.data: Array = sealed(data.copy("K")) if type(data) is np.ndarray else data
        self.requires_grad = requires_grad
        self.grad: Tensor | None = None
        self.node: graph.Node | None = None
        self.index = 0  # which output of `node`
        self.hooks: list[graph.Hook] | None = None

    # What it is

    @property
    def shape(self) -> tuple[int, ...]:
        return self.data.shape

    @property
    def ndim(self) -> int:
        return self.data.ndim

    @property
    def size(self) -> Size:
        """The number of elements; called as in PyTorch, the shape, or the length of one axis."""
        return Size(self.data.shape)

    @property
    def dtype(self) -> Any:
        return self.data.dtype

    @property
    def is_leaf(self) -> bool:
        return self.node is None

    @property
    def T(self) -> Tensor:
        return self.transpose()

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("len() of a Tensor without axes. Use .item() for its value.")
        return self.shape[0]

    def __iter__(self) -> Iterator[Tensor]:
        if not self.shape:
            raise TypeError("A Tensor without axes cannot be iterated over. Use .item() for its value.")
        return iter(self.unstack())

    def __repr__(self) -> str:
        body = np.array2string(self.numpy(), separator=", ", prefix="tensor(", threshold=200, precision=4)
        history = f", from {self.node.primitive.name}" if self.node else ", requires_grad" if self.requires_grad else ""
        return f"tensor({body}, {self.dtype}{history})"

    def _repr_html_(self) -> str:
        """Return shape, type and origin, then the values: a table where there are few in one or two dimensions."""
        from nnatomy.showing import Face

        origin = f", from {self.node.primitive.name}" if self.node else ", requires grad" if self.requires_grad else ""
        about = f"Tensor of shape {self.shape}, {self.dtype}{origin}"
        values = self.numpy()
        if values.ndim in (1, 2) and 0 < values.size <= 200:
            rows = np.atleast_2d(values).tolist()
            return Face(about, table=[[""] * len(rows[0]), *rows]).html()
        return Face(about, text=np.array2string(values, threshold=200, precision=4)).html()

    def numpy(self) -> np.ndarray[Any, Any]:
        """The values as a read-only NumPy array; copy it to write."""
        view = np.asarray(self.data).view()
        view.flags.writeable = False
        return view

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        return np.array(self.data, dtype=dtype) if copy else np.asarray(self.numpy(), dtype=dtype)

    def __format__(self, spec: str) -> str:
        return format(self.item(), spec) if spec else str(self)

    def __reduce__(self) -> tuple[Any, ...]:
        if self.node is not None:
            raise RuntimeError("Only leaves can be copied or pickled. Received a result of an operation. Use .detach() first.")
        return _rebuilt, (type(self), self.data, self.requires_grad, self.grad)

    def item(self) -> Any:
        """The value of a Tensor with one element, as a Python number."""
        if self.data.size != 1:
            raise UserError(f"item() needs exactly one element. Received shape {self.shape}. Index it or use .numpy().")
        return np.asarray(self.data).reshape(()).item()

    def tolist(self) -> Any:
        return np.asarray(self.data).tolist()

    def __bool__(self) -> bool:
        if self.data.size != 1:
            raise UserError(
                f"Only a Tensor with one element is true or false. Received {self.data.size} elements. "
                "Use .any(), .all() or nn.where()."
            )
        return bool(self.item())

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __index__(self) -> int:
        if not np.issubdtype(self.dtype, np.integer):
            raise TypeError(f"Only integer Tensors can be an index. Received {self.dtype}. Use .astype('int64').")
        return int(self.item())

    __hash__ = object.__hash__

    if not TYPE_CHECKING:  # a type checker should know what there is

        def __getattr__(self, name: str) -> Any:
            if name.startswith("_"):
                raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
            return foreign.method(self, name, _ops)

    # Differentiation

    def backward(self, gradient: Any = None, *, retain_graph: bool | None = None, create_graph: bool = False) -> None:
        """Add d(self)/d(leaf) to `.grad` of every leaf that requires a gradient.

        `gradient` weights the elements of a Tensor with more than one; `create_graph` makes the gradients differentiable.
        """
        if not self.requires_grad:
            raise RuntimeError(
                "backward() needs a result that requires a gradient. No input of this one has requires_grad, "
                "or it was made inside nn.no_grad()."
            )
        keep = create_graph if retain_graph is None else retain_graph
        graph.backward([self], [_seed(self, gradient)], retain_graph=keep, create_graph=create_graph)

    def detach(self) -> Tensor:
        """The same values without history, in the same memory."""
        return wrap(self.data)

    def requires_grad_(self, requires_grad: bool = True) -> Tensor:
        """Set whether `backward()` should reach this leaf."""
        if self.node is not None and not requires_grad:
            raise RuntimeError("Only a leaf can stop requiring a gradient. Use .detach() on a result.")
        if requires_grad:
            _differentiable(self.data)
        self.requires_grad = requires_grad
        return self

    def retain_grad(self) -> None:
        """Keep `.grad` of a result as well, which is otherwise freed."""
        if self.node is not None:
            self.node.retained = self.node.retained or {}
            self.node.retained[self.index] = weakref.ref(self)

    def register_hook(self, hook: Callable[[Tensor], Tensor | None]) -> graph.RemovableHandle:
        """Call `hook(gradient)` during backward; what it returns replaces the gradient. `.remove()` of the result ends it."""
        if self.node is not None:
            self.node.hooks = self.node.hooks or {}
            hooks = self.node.hooks.setdefault(self.index, [])
        else:
            self.hooks = hooks = self.hooks or []
        hooks.append(hook)
        return graph.RemovableHandle(lambda: hooks.remove(hook) if hook in hooks else None)

    # Changing a value in place: leaves only, and never while operations on it are being recorded

    def copy_(self, value: Any) -> Tensor:
        """Replace the values; a graph that used the old ones can no longer be differentiated, and says so."""
        if graph.is_grad_enabled() and self.requires_grad:
            raise RuntimeError(
                "A Tensor that requires a gradient was changed in place while operations are recorded. "
                "Do it inside nn.no_grad(), or make a new Tensor with nn.where() or nn.index_put()."
            )
        new = value.data if isinstance(value, Tensor) else B.array(value, dtype=self.dtype)
        if new.dtype != self.dtype:
            raise TypeError(f"In-place values must have dtype {self.dtype}. Received {new.dtype}. Convert with .astype().")
        if tuple(new.shape) != self.shape:
            try:
                new = B.broadcast_to(new, self.shape)
            except ValueError:
                raise UserError(
                    f"Values must broadcast to the Tensor's shape {self.shape}. Received {tuple(new.shape)}. Reshape them."
                ) from None
        if type(new) is np.ndarray:  # as `sealed`, without the call
            new.setflags(False)  # type: ignore[call-arg]
        self.data = new
        return self

    def zero_(self) -> Tensor:
        return self.copy_(B.zeros(self.shape, dtype=self.dtype))

    def fill_(self, value: float) -> Tensor:
        return self.copy_(B.full(self.shape, value, dtype=self.dtype))

    def __setitem__(self, index: Any, value: Any) -> None:
        raw = value.data if isinstance(value, Tensor) else value
        if self.node is not None or (isinstance(value, Tensor) and value.requires_grad and graph.is_grad_enabled()):
            raise RuntimeError("Assignment would cut the graph. Use nn.index_put(x, index, value), which is differentiable.")
        self.copy_(B.index_put(self.data, _raw_index(index), raw))

    def __iadd__(self, other: Any) -> Tensor:
        return self._in_place(_ops.add, other)

    def __isub__(self, other: Any) -> Tensor:
        return self._in_place(_ops.subtract, other)

    def __imul__(self, other: Any) -> Tensor:
        return self._in_place(_ops.multiply, other)

    def __itruediv__(self, other: Any) -> Tensor:
        return self._in_place(_ops.divide, other)

    def _in_place(self, op: Any, other: Any) -> Tensor:
        new = self.node is not None or (isinstance(other, Tensor) and other.requires_grad and not self.requires_grad)
        if graph.is_grad_enabled() and new:
            return op(self, other)  # a result: `x += y` names a new one
        return self.copy_(op(self.detach(), other.detach() if isinstance(other, Tensor) else other))

    # Arithmetic and comparison

    def __add__(self, other: Any) -> Tensor:
        return _ops.add(self, other)

    def __radd__(self, other: Any) -> Tensor:
        return _ops.add(other, self)

    def __sub__(self, other: Any) -> Tensor:
        return _ops.subtract(self, other)

    def __rsub__(self, other: Any) -> Tensor:
        return _ops.subtract(other, self)

    def __mul__(self, other: Any) -> Tensor:
        return _ops.multiply(self, other)

    def __rmul__(self, other: Any) -> Tensor:
        return _ops.multiply(other, self)

    def __truediv__(self, other: Any) -> Tensor:
        return _ops.divide(self, other)

    def __rtruediv__(self, other: Any) -> Tensor:
        return _ops.divide(other, self)

    def __pow__(self, other: Any) -> Tensor:
        return _ops.power(self, other)

    def __rpow__(self, other: Any) -> Tensor:
        return _ops.power(other, self)

    def __mod__(self, other: Any) -> Tensor:
        return _ops.remainder(self, other)

    def __floordiv__(self, other: Any) -> Tensor:
        return _ops.floor_divide(self, other)

    def __matmul__(self, other: Any) -> Tensor:
        return _ops.matmul(self, other)

    def __rmatmul__(self, other: Any) -> Tensor:
        return _ops.matmul(other, self)

    def __rmod__(self, other: Any) -> Tensor:
        return _ops.remainder(other, self)

    def __rfloordiv__(self, other: Any) -> Tensor:
        return _ops.floor_divide(other, self)

    def __pos__(self) -> Tensor:
        return self

    def __neg__(self) -> Tensor:
        return _ops.negative(self)

    def __abs__(self) -> Tensor:
        return _ops.abs(self)

    def __eq__(self, other: Any) -> Tensor:  # type: ignore[override]
        if other is None or isinstance(other, str):
            return NotImplemented
        return _ops.equal(self, other)

    def __ne__(self, other: Any) -> Tensor:  # type: ignore[override]
        if other is None or isinstance(other, str):
            return NotImplemented
        return _ops.not_equal(self, other)

    def __lt__(self, other: Any) -> Tensor:
        return _ops.less(self, other)

    def __le__(self, other: Any) -> Tensor:
        return _ops.less_equal(self, other)

    def __gt__(self, other: Any) -> Tensor:
        return _ops.greater(self, other)

    def __ge__(self, other: Any) -> Tensor:
        return _ops.greater_equal(self, other)

    def __and__(self, other: Any) -> Tensor:
        return _ops.bitwise_and(self, other)

    def __rand__(self, other: Any) -> Tensor:
        return _ops.bitwise_and(other, self)

    def __or__(self, other: Any) -> Tensor:
        return _ops.bitwise_or(self, other)

    def __ror__(self, other: Any) -> Tensor:
        return _ops.bitwise_or(other, self)

    def __xor__(self, other: Any) -> Tensor:
        return _ops.bitwise_xor(self, other)

    def __rxor__(self, other: Any) -> Tensor:
        return _ops.bitwise_xor(other, self)

    def __lshift__(self, other: Any) -> Tensor:
        return _ops.bitwise_left_shift(self, other)

    def __rlshift__(self, other: Any) -> Tensor:
        return _ops.bitwise_left_shift(other, self)

    def __rshift__(self, other: Any) -> Tensor:
        return _ops.bitwise_right_shift(self, other)

    def __rrshift__(self, other: Any) -> Tensor:
        return _ops.bitwise_right_shift(other, self)

    def __invert__(self) -> Tensor:
        return _ops.bitwise_not(self)

    def __getitem__(self, index: Any) -> Tensor:
        return _ops.getitem(self, index)

    # The operations that PyTorch and NumPy offer as methods; each is nn.<name>(self, ...)

    def exp(self) -> Tensor:
        return _ops.exp(self)

    def expm1(self) -> Tensor:
        return _ops.expm1(self)

    def log(self) -> Tensor:
        return _ops.log(self)

    def log1p(self) -> Tensor:
        return _ops.log1p(self)

    def sqrt(self) -> Tensor:
        return _ops.sqrt(self)

    def square(self) -> Tensor:
        return _ops.square(self)

    def abs(self) -> Tensor:
        return _ops.abs(self)

    def sin(self) -> Tensor:
        return _ops.sin(self)

    def cos(self) -> Tensor:
        return _ops.cos(self)

    def tanh(self) -> Tensor:
        return _ops.tanh(self)

    def sigmoid(self) -> Tensor:
        return _ops.sigmoid(self)

    def relu(self) -> Tensor:
        return _ops.relu(self)

    def sign(self) -> Tensor:
        return _ops.sign(self)

    def floor(self) -> Tensor:
        return _ops.floor(self)

    def ceil(self) -> Tensor:
        return _ops.ceil(self)

    def round(self, decimals: int = 0) -> Tensor:
        return _ops.round(self, decimals)

    def pow(self, exponent: Any) -> Tensor:
        return _ops.power(self, exponent)

    def isnan(self) -> Tensor:
        return _ops.isnan(self)

    def isfinite(self) -> Tensor:
        return _ops.isfinite(self)

    def clip(self, low: Any = None, high: Any = None) -> Tensor:
        return _ops.clip(self, low, high)

    def softmax(self, axis: int = -1) -> Tensor:
        return _ops.softmax(self, axis=axis)

    def log_softmax(self, axis: int = -1) -> Tensor:
        return _ops.log_softmax(self, axis=axis)

    def astype(self, dtype: Any) -> Tensor:
        return _ops.astype(self, dtype=dtype)

    def clone(self) -> Tensor:
        """The same values in their own memory; gradients flow through."""
        return _ops.clone(self)

    def masked_fill(self, mask: Any, value: float) -> Tensor:
        return _ops.masked_fill(self, mask, value)

    def sum(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        return _ops.sum(self, axis=axis, keepdims=keepdims)

    def mean(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        return _ops.mean(self, axis=axis, keepdims=keepdims)

    def var(self, axis: Axis = None, *, keepdims: bool = False, correction: int = 1) -> Tensor:
        return _ops.var(self, axis=axis, keepdims=keepdims, correction=correction)

    def std(self, axis: Axis = None, *, keepdims: bool = False, correction: int = 1) -> Tensor:
        return _ops.std(self, axis=axis, keepdims=keepdims, correction=correction)

    def prod(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        return _ops.prod(self, axis=axis, keepdims=keepdims)

    def max(self, *bare: Any, axis: Axis = None, keepdims: bool = False, dim: int | None = None) -> Any:
        return _ops.max(self, *bare, axis=axis, keepdims=keepdims, dim=dim)

    def min(self, *bare: Any, axis: Axis = None, keepdims: bool = False, dim: int | None = None) -> Any:
        return _ops.min(self, *bare, axis=axis, keepdims=keepdims, dim=dim)

    def norm(self, p: float | str = 2.0, axis: Axis = None, keepdims: bool = False) -> Tensor:
        return _ops.norm(self, p, axis=axis, keepdims=keepdims)

    def logsumexp(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        return _ops.logsumexp(self, axis=axis, keepdims=keepdims)

    def cumsum(self, axis: int) -> Tensor:
        return _ops.cumsum(self, axis=axis)

    def cumprod(self, axis: int) -> Tensor:
        return _ops.cumprod(self, axis=axis)

    def argmax(self, axis: int | None = None, keepdims: bool = False) -> Tensor:
        return _ops.argmax(self, axis=axis, keepdims=keepdims)

    def argmin(self, axis: int | None = None, keepdims: bool = False) -> Tensor:
        return _ops.argmin(self, axis=axis, keepdims=keepdims)

    def any(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        return _ops.any(self, axis=axis, keepdims=keepdims)

    def all(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        return _ops.all(self, axis=axis, keepdims=keepdims)

    def median(self, *bare: Any, axis: int | None = None, keepdims: bool = False, dim: int | None = None) -> Any:
        return _ops.median(self, *bare, axis=axis, keepdims=keepdims, dim=dim)

    def reshape(self, *shape: Any) -> Tensor:
        return _ops.reshape(self, _one_by_one(shape))

    def transpose(self, *axes: Any) -> Tensor:
        return _ops.transpose(self, *axes)

    def permute(self, *axes: Any) -> Tensor:
        return _ops.permute(self, _one_by_one(axes))

    def swapaxes(self, first: int, second: int) -> Tensor:
        return _ops.swapaxes(self, first, second)

    def flatten(self, start: int = 0, end: int = -1) -> Tensor:
        return _ops.flatten(self, start, end)

    def flip(self, axis: Axis = None, *more: int) -> Tensor:
        return _ops.flip(self, axis, *more)

    def roll(self, shift: int | Sequence[int], axis: Axis = None) -> Tensor:
        return _ops.roll(self, shift, axis)

    def tile(self, *times: Any) -> Tensor:
        return _ops.tile(self, times[0] if len(times) == 1 else times)

    def repeat(self, *times: Any) -> Tensor:
        return _ops.repeat(self, _one_by_one(times))

    def moveaxis(self, source: int, target: int) -> Tensor:
        return _ops.moveaxis(self, source, target)

    def tril(self, k: int = 0) -> Tensor:
        return _ops.tril(self, k)

    def triu(self, k: int = 0) -> Tensor:
        return _ops.triu(self, k)

    def diagonal(self, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Tensor:
        return _ops.diagonal(self, offset, axis1, axis2)

    def squeeze(self, axis: Axis = None) -> Tensor:
        return _ops.squeeze(self, axis)

    def unsqueeze(self, axis: int) -> Tensor:
        return _ops.expand_dims(self, axis)

    def broadcast_to(self, shape: Sequence[int]) -> Tensor:
        return _ops.broadcast_to(self, shape)

    def split(self, sections: int | Sequence[int], axis: int = 0) -> tuple[Tensor, ...]:
        return _ops.split(self, sections, axis=axis)

    def unstack(self, axis: int = 0) -> tuple[Tensor, ...]:
        return _ops.unstack(self, axis=axis)

    def gather(self, index: Any, axis: Any) -> Tensor:
        return _ops.gather(self, index, axis=axis)

    def take(self, index: Any, axis: Any = None) -> Tensor:
        return _ops.take(self, index, axis=axis)

    def scatter(self, index: Any, values: Any, axis: Any) -> Tensor:
        return _ops.scatter(self, index, values, axis=axis)

    def scatter_add(self, index: Any, values: Any, axis: Any) -> Tensor:
        return _ops.scatter_add(self, index, values, axis=axis)

    def index_put(self, index: Any, values: Any) -> Tensor:
        return _ops.index_put(self, index, values)

    def nonzero(self, as_tuple: bool | None = None) -> Any:
        return _ops.nonzero(self, as_tuple)

    def argsort(self, axis: int = -1, descending: bool = False) -> Tensor:
        return _ops.argsort(self, axis=axis, descending=descending)

    def matmul(self, other: Any) -> Tensor:
        return _ops.matmul(self, other)

    def chunk(self, chunks: int, axis: int = 0) -> tuple[Tensor, ...]:
        return _ops.chunk(self, chunks, axis=axis)

    def sort(self, axis: int = -1, descending: bool = False) -> Any:
        return _ops.sort(self, axis=axis, descending=descending)

    def topk(self, k: int, axis: int = -1, largest: bool = True) -> Any:
        return _ops.topk(self, k, axis=axis, largest=largest)


graph.bind(Tensor)


class Parameter(Tensor):
    """A Tensor that a Module learns: an attribute of this type is one of its parameters."""

    __slots__ = ()

    def __init__(self, data: Array, requires_grad: bool = True) -> None:
        raw = data.data if isinstance(data, Tensor) else B.asarray(data) if hasattr(data, "dtype") else tensor(data).data
        if requires_grad:
            _differentiable(raw)
        super().__init__(raw, requires_grad)


@foreign.understood
def tensor(values: Any, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """A new Tensor with a copy of `values`; Python floats become float32, as everywhere unless a dtype is given."""
    raw = values.data if isinstance(values, Tensor) else values
    if isinstance(raw, list | tuple) and any(isinstance(v, Tensor) for v in raw):
        raise UserError("tensor() copies numbers. Received a list of Tensors. Join them with nn.stack() or nn.cat().")
    if dtype is None and not hasattr(raw, "dtype"):
        try:
            found = np.asarray(raw).dtype
        except ValueError:  # rows of unequal length
            found = np.dtype(object)
        if found.kind not in "biuf":
            raise UserError("tensor() needs numbers in rows of equal length. Received something else. Pad or encode it first.")
        dtype = np.float32 if found.kind == "f" else None
    elif getattr(getattr(raw, "dtype", None), "kind", "f") in "OUSMmc":
        raise UserError(f"tensor() needs real numbers. Received an array of {raw.dtype}. Convert it with .astype('float32').")
    return wrap(B.array(raw, dtype=dtype), requires_grad)


def wrap(data: Array, requires_grad: bool = False) -> Tensor:
    """A Tensor of the array itself, not of a copy: for arrays that are not written to while a graph holds them."""
    if requires_grad:
        _differentiable(data)
    return result(data.view() if type(data) is np.ndarray else data, requires_grad)


def sealed(data: Array) -> Array:
    """The array, which is read-only from now on if it is one of NumPy."""
    if type(data) is np.ndarray:
        data.setflags(write=False)
    return data


def result(data: Array, requires_grad: bool = False) -> Tensor:
    """A Tensor of what an operation has computed, which becomes read-only."""
    if type(data) is _Ndarray:  # as `sealed`, without the call; `write=` would take twice the time
        data.setflags(False)  # type: ignore[call-arg]
    t: Tensor = _new(Tensor)
    t.data = data
    t.requires_grad = requires_grad
    t.grad = t.node = t.hooks = None
    t.index = 0
    return t


_new = object.__new__
_Ndarray = np.ndarray


def _array(data: Any) -> Array:
    """The array of a new Tensor: of numbers and lists as `tensor` makes it. Raises UserError for what holds no numbers."""
    if not hasattr(data, "dtype"):
        return tensor(data).data
    if data.dtype.kind in "OSUMm":
        raise UserError(f"A Tensor holds numbers. Received an array of {data.dtype}. Convert it with .astype('float32').")
    return data.data if isinstance(data, Tensor) else np.asarray(data) if isinstance(data, np.generic) else data


def _one_by_one(sizes: tuple[Any, ...]) -> Any:
    """The sizes of x.reshape(2, 3), or those of x.reshape((2, 3))."""
    return sizes if len(sizes) != 1 or isinstance(sizes[0], int | np.integer) else sizes[0]


def _differentiable(array: Array) -> None:
    if not is_floating(array.dtype):
        raise UserError(f"Only floating-point Tensors can require gradients. Received {array.dtype}. Give dtype='float32'.")


def _rebuilt(kind: type[Tensor], data: Array, requires_grad: bool, grad: Tensor | None) -> Tensor:
    """A leaf from its parts: what copy and pickle call."""
    t = kind(data, requires_grad)
    t.grad = grad
    return t


def _seed(t: Tensor, gradient: Any) -> Array:
    """The gradient that backward starts from: ones for a scalar, else what the caller gives."""
    if gradient is None:
        if t.data.size != 1:
            raise RuntimeError(
                f"backward() without a gradient needs one element. Received shape {t.shape}. Reduce it or give gradient=."
            )
        return B.ones(t.shape, dtype=t.dtype)
    if not isinstance(gradient, Tensor):
        gradient = B.asarray(gradient, dtype=t.dtype)
    if tuple(gradient.shape) != t.shape or gradient.dtype != t.dtype:
        raise RuntimeError(
            f"The gradient must have the result's shape {t.shape} and dtype {t.dtype}. "
            f"Received {tuple(gradient.shape)}, {gradient.dtype}."
        )
    return gradient


def _raw_index(index: Any) -> Any:
    if isinstance(index, tuple):
        return tuple(i.data if isinstance(i, Tensor) else i for i in index)
    return index.data if isinstance(index, Tensor) else index


def grad(
    outputs: Tensor | Sequence[Tensor],
    inputs: Tensor | Sequence[Tensor],
    gradients: Any = None,
    *,
    retain_graph: bool | None = None,
    create_graph: bool = False,
) -> Any:
    """d(outputs)/d(inputs), contracted with `gradients`; leaves `.grad` alone. None for an input that was not used."""
    outs = [outputs] if isinstance(outputs, Tensor) else list(outputs)
    ins = [inputs] if isinstance(inputs, Tensor) else list(inputs)
    if not any(t.requires_grad for t in outs):
        raise RuntimeError("grad() needs a result that requires a gradient. No input of this one has requires_grad.")
    given = [gradients] if isinstance(outputs, Tensor) or gradients is None else list(gradients)
    seeds = [_seed(t, g) for t, g in zip(outs, given if len(given) == len(outs) else given * len(outs), strict=True)]
    keep = create_graph if retain_graph is None else retain_graph
    found = graph.backward(outs, seeds, retain_graph=keep, create_graph=create_graph, inputs=ins)
    results = [g if g is None or isinstance(g, Tensor) else Tensor(g) for g in found]
    return results[0] if isinstance(inputs, Tensor) else results
