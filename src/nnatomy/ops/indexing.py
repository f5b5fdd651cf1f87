"""Reading and writing chosen elements: indexing, gather and scatter, sort and top-k, embedding."""

from __future__ import annotations

import builtins
import math
from typing import Any, NamedTuple

from nnatomy.backends import B, known
from nnatomy.backends.dtypes import is_floating
from nnatomy.errors import UserError
from nnatomy.ops import pointwise, shapes
from nnatomy.ops.primitive import primitive
from nnatomy.tensor import Tensor

Index = Any


def _within(a: Any, index: Index) -> Index:
    """An index whose arrays stay inside `a`. Raises IndexError where one does not: JAX would take the last element."""
    if type(index) is int or B.name != "jax":
        return index  # NumPy looks itself
    parts = index if isinstance(index, tuple) else (index,)
    axis = 0
    for number, part in enumerate(parts):
        if part is Ellipsis:
            axis = len(a.shape) - builtins.sum(map(_axes_of, parts[number + 1 :]))
            continue
        if hasattr(part, "dtype") and part.dtype.kind in "iu" and axis < len(a.shape):
            found, n = known(part), a.shape[axis]
            if found is not None and found.size and not (-n <= found.min() and found.max() < n):
                raise IndexError(f"An axis of {n} has the positions {-n} to {n - 1}. Received {found.min()} to {found.max()}.")
        axis += _axes_of(part)
    return index


def _read(a: Any, index: Index) -> Any:
    """a[index]; where a compiled step of JAX reads outside of `a`: NaN, the least integer, or True, as it cannot raise."""
    a = B.asarray(a)
    parts = index if isinstance(index, tuple) else (index,)
    if B.name == "jax" and builtins.any(hasattr(p, "dtype") and p.dtype.kind in "iu" and known(p) is None for p in parts):
        return a.at[index].get(mode="fill")
    return B.asarray(a[index])


def _axes_of(part: Any) -> int:
    """Return the number of axes that one part of an index reads."""
    if part is None or part is Ellipsis:
        return 0
    return len(part.shape) if hasattr(part, "dtype") and part.dtype.kind == "b" else 1


def raw(index: Index) -> Index:
    """An index whose Tensors are replaced by their arrays, and whose lists are arrays of the backend."""
    if isinstance(index, tuple):
        return tuple(raw(i) for i in index)
    if isinstance(index, Tensor):
        return index.data
    if isinstance(index, list):
        return B.asarray(index) if index else B.zeros((0,), dtype="int64")
    return index


@primitive(lambda g, y, a, index: scatter_add_at(B.zeros(a.shape, dtype=a.dtype), index, g))
def _getitem(a: Any, *, index: Index) -> Any:
    return _read(a, index)


def getitem(a: Any, index: Index) -> Any:
    """a[index]: slices, integers, integer and boolean arrays, newaxis and ellipsis, as in NumPy."""
    if type(index) is int and a.shape and not -a.shape[0] <= index < a.shape[0]:  # which JAX does not mind
        raise IndexError(f"An index along an axis of {a.shape[0]} is from {-a.shape[0]} to {a.shape[0] - 1}. Received {index}.")
    return _getitem(a, index=_within(a, raw(index)))


@primitive(lambda g, y, a, values, index: g, lambda g, y, a, values, index: getitem(g, index))
def _scatter_add_at(a: Any, values: Any, *, index: Index) -> Any:
    return B.scatter_add(a, index, values)


def scatter_add_at(a: Any, index: Index, values: Any) -> Any:
    """A copy of `a` with `values` added at `a[index]`; repeated positions add up."""
    return _scatter_add_at(a, _fitting(a, values), index=_within(a, raw(index)))


@primitive(
    lambda g, y, a, values, index: index_put(g, index, B.zeros((), dtype=g.dtype)),
    lambda g, y, a, values, index: getitem(g, index),
)
def _index_put(a: Any, values: Any, *, index: Index) -> Any:
    return B.index_put(a, index, values)


def index_put(a: Any, index: Index, values: Any) -> Any:
    """A copy of `a` in which `a[index]` is `values`: assignment that gradients flow through."""
    return _index_put(a, _fitting(a, values), index=_within(a, raw(index)))


def _fitting(a: Any, values: Any) -> Any:
    """`values`, if they can be written into `a` without a silent change of their type."""
    if isinstance(values, Tensor) and is_floating(values.dtype) and values.dtype != a.dtype:
        raise TypeError(f"Values of {values.dtype} cannot be written into {a.dtype}. Convert one with .astype().")
    return values


def _along(a: Any, index: Any, axis: int) -> Index:
    """The full index that reads `index` along `axis` and runs through all other axes."""
    n = len(index.shape)
    if n != len(a.shape):
        raise UserError(
            f"An index along an axis needs {len(a.shape)} axes, as the array. Received shape {tuple(index.shape)}. "
            "Reshape the index to as many axes."
        )
    grid = [B.arange(size).reshape((-1,) + (1,) * (n - i - 1)) for i, size in enumerate(index.shape)]
    grid[shapes.place(axis, n)] = index
    return tuple(grid)


def _in_our_order(index: Any, axis: Any) -> tuple[Any, int]:
    """(index, axis), also where PyTorch's order is given, (axis, index): an axis is a number, an index has axes."""
    return (axis, index) if isinstance(index, int) and hasattr(axis, "shape") else (index, axis)


def gather(a: Any, index: Any, axis: Any) -> Any:
    """y[i, j] = a[index[i, j], j] for axis 0, and so on; also gather(a, axis, index), as in PyTorch."""
    index, axis = _in_our_order(index, axis)
    return getitem(a, _along(a, raw(index), axis))


def scatter(a: Any, index: Any, values: Any, axis: Any) -> Any:
    """A copy of `a` with y[index[i, j], j] = values[i, j] for axis 0, and so on.

    Also scatter(a, axis, index, values), as in PyTorch.
    """
    if isinstance(index, int) and hasattr(values, "shape"):
        index, values, axis = values, axis, index
    return index_put(a, _along(a, raw(index), axis), values)


def scatter_add(a: Any, index: Any, values: Any, axis: Any) -> Any:
    """As `scatter`, adding to what is there."""
    if isinstance(index, int) and hasattr(values, "shape"):
        index, values, axis = values, axis, index
    return scatter_add_at(a, _along(a, raw(index), axis), values)


def take(a: Any, index: Any, axis: Any = None) -> Any:
    """The slices numbered `index` along `axis`, or elements of all in one row if None; also take(a, axis, index)."""
    index, axis = _in_our_order(index, axis)
    if axis is None:
        a, axis = shapes.reshape(a, (-1,)), 0
    return getitem(a, (slice(None),) * shapes.place(axis, len(a.shape)) + (raw(index),))


@primitive(lambda g, y, weight, rows: add_rows(g, rows=rows, shape=weight.shape))
def _embedding(weight: Any, *, rows: Any) -> Any:
    return _read(weight, rows)


@primitive(lambda g, y, values, rows, shape: _embedding(g, rows=rows))
def add_rows(values: Any, *, rows: Any, shape: tuple[int, ...]) -> Any:
    """Zeros of `shape` with `values[i]` added to row `rows[i]`."""
    return B.add_rows(shape, rows, values)


def embedding(weight: Any, rows: Any) -> Any:
    """weight[rows]: a row of (vocabulary, features) for each integer of `rows`, of any shape."""
    if is_floating(raw(rows).dtype):
        raise UserError(
            f"embedding() takes the weights first, then integers. Received {raw(rows).dtype} as rows. "
            "Use embedding(weight, rows), with rows.astype('int64')."
        )
    return _embedding(weight, rows=_within(weight, raw(rows)))


def one_hot(rows: Any, classes: int, dtype: Any = "float32") -> Any:
    """1 at position `rows[i]` of a new last axis, 0 elsewhere."""
    found = known(raw(rows))
    if found is not None and found.size and not (found.min() >= 0 and found.max() < classes):
        raise UserError(
            f"one_hot() takes classes from 0 to {classes - 1}. Received {found.min()} to {found.max()}. "
            "Correct the classes, or give a larger num_classes."
        )
    numbers = raw(rows)[..., None]
    hits = (numbers == B.arange(classes)).astype(dtype)
    if found is None and B.name == "jax" and is_floating(hits.dtype):  # compiled, it cannot raise
        hits = B.where((numbers >= 0) & (numbers < classes), hits, B.asarray(math.nan, dtype=hits.dtype))
    return Tensor(hits) if isinstance(rows, Tensor) else hits


@shapes.with_an_axis
def argsort(a: Any, axis: int = -1, descending: bool = False) -> Any:
    """The order that sorts `a`, ties in their original order."""
    values = raw(a)
    if descending:  # read backwards, sorted, and read backwards again: ties stay in order, NaN counts as largest
        n = values.shape[axis]
        order = n - 1 - B.flip(B.argsort(B.flip(values, axis=axis), axis=axis, stable=True), axis=axis)
    else:
        order = B.argsort(values, axis=axis, stable=True)
    return Tensor(order) if isinstance(a, Tensor) else order


class Ranked(NamedTuple):
    """Values, and their positions along the axis that they were taken from."""

    values: Any
    indices: Any


@shapes.with_an_axis
def sort(a: Any, axis: int = -1, descending: bool = False) -> Ranked:
    """The sorted values and the order that sorts them."""
    order = argsort(a, axis, descending)
    return Ranked(gather(a, order, axis), order)


@shapes.with_an_axis
def topk(a: Any, k: int, axis: int = -1, largest: bool = True) -> Ranked:
    """The k largest (or smallest) values, best first, and their positions."""
    if not 0 <= k <= a.shape[axis]:
        raise UserError(f"topk() needs 0 <= k <= {a.shape[axis]}, the length of the axis. Received {k}. Use a smaller k.")
    order = argsort(a, axis, descending=largest)
    first = shapes.split(order, [k, a.shape[axis] - k], axis=axis)[0]
    return Ranked(gather(a, first, axis), first)


def two_meanings(name: str, axis: Any) -> UserError:
    """The refusal of max(0), which is values and positions in PyTorch, and values in NumPy."""
    return UserError(
        f"{name}() of a bare axis is a pair in PyTorch and values in NumPy. Received {axis!r}. "
        f"Use {name}(axis={axis!r}) for the values, or {name}(dim={axis!r}) for values and positions."
    )


@shapes.with_an_axis
def median(a: Any, *bare: Any, axis: int | None = None, keepdims: bool = False, dim: int | None = None) -> Any:
    """The middle value of all elements or along `axis`, the lower of two; NaN where there is one, as in PyTorch.

    With `dim` in place of `axis`: (values, indices).
    """
    if bare:
        raise two_meanings("median", bare[0])
    along = axis if dim is None else dim
    if along is None:
        return median(shapes.reshape(a, (-1,)), axis=0)
    along = shapes.place(along, len(a.shape))
    order = argsort(a, along)
    n = a.shape[along]
    if not n:
        raise UserError(f"median() needs at least one element. Received shape {tuple(a.shape)}. Leave out empty groups.")
    middle, last = (take(order, B.asarray([i]), along) for i in ((n - 1) // 2, n - 1))
    if is_floating(a.dtype):
        middle = pointwise.where(pointwise.isnan(gather(a, last, along)), last, middle)  # NaN is sorted last
    found = Ranked(gather(a, middle, along), middle)
    if not keepdims:
        found = Ranked(*(shapes.squeeze(y, along) for y in found))
    return found.values if dim is None else found


def nonzero(a: Any, as_tuple: bool | None = None) -> Any:
    """The positions of the elements that are not zero: with `as_tuple` one integer array for each axis, else one row each."""
    if as_tuple is None:
        raise UserError(
            "nonzero() is one row an element in PyTorch and one array an axis in NumPy. Received no as_tuple. "
            "Use nonzero(as_tuple=False) for rows, or nonzero(as_tuple=True) for arrays."
        )
    a = a if a.shape else shapes.reshape(a, (1,))
    found = B.nonzero(raw(a))
    if not as_tuple:
        rows = B.stack(list(found), axis=-1)
        return Tensor(rows) if isinstance(a, Tensor) else rows
    return tuple(Tensor(i) for i in found) if isinstance(a, Tensor) else tuple(found)
