"""Distributions of values: quantiles, and the counts and distinct values of integers and others."""

from __future__ import annotations

import builtins
import math
from typing import Any

from nnatomy.backends import B, known
from nnatomy.errors import UserError
from nnatomy.ops import indexing, pointwise, reductions, shapes
from nnatomy.tensor import Axis, Tensor


def quantile(a: Any, q: Any, axis: int | None = None, keepdims: bool = False, interpolation: str = "linear") -> Any:
    """The value below which the fraction `q` of the elements lies, between neighbors by "linear" interpolation.

    Several q give a first axis. `interpolation`: also "lower", "higher", "nearest" or "midpoint". NaN where there is one.
    """
    if interpolation not in ("linear", "lower", "higher", "nearest", "midpoint"):
        raise UserError(
            'quantile() interpolates "linear", "lower", "higher", "nearest" or "midpoint". '
            f"Received {interpolation!r}. Choose one of them."
        )
    fractions, several = _fractions(q)
    if builtins.any(not 0 <= f <= 1 for f in fractions):
        raise UserError(f"quantile() takes fractions from 0 to 1. Received {fractions}. Divide percentages by 100.")
    a = pointwise.real(a)
    n_axes = len(a.shape)
    if axis is None:
        values, kept = shapes.reshape(a, (-1,)), (1,) * n_axes
    else:
        place = shapes.place(axis, n_axes)
        values, kept = shapes.moveaxis(a, place, -1), tuple(1 if i == place else n for i, n in enumerate(a.shape))
    count = values.shape[-1]
    if not count:
        raise UserError(f"quantile() needs at least one element. Received shape {tuple(a.shape)}. Leave out empty groups.")
    ranked, _ = indexing.sort(values, -1)
    last = indexing.getitem(ranked, (..., -1))  # NaN is sorted last
    found = [pointwise.where(pointwise.isnan(last), last, _between(ranked, f * (count - 1), interpolation)) for f in fractions]
    if keepdims:
        found = [shapes.reshape(y, kept) for y in found]
    return shapes.stack(found) if several else found[0]


def _fractions(q: Any) -> tuple[list[float], bool]:
    """The numbers of `q`, and whether they are several. Raises UserError where a compiled step does not know them."""
    if not hasattr(q, "dtype"):
        return (list(map(float, q)), True) if isinstance(q, list | tuple) else ([float(q)], False)
    found = known(indexing.raw(q))
    if found is None:
        raise UserError("quantile() needs its fractions when a step is compiled. Received a traced array. Give numbers.")
    return [float(f) for f in found.reshape(-1)], bool(len(found.shape))


def _between(ranked: Any, place: float, interpolation: str) -> Any:
    low, high = math.floor(place), math.ceil(place)
    part = {"linear": place - low, "lower": 0.0, "higher": 1.0, "nearest": float(builtins.round(place) - low), "midpoint": 0.5}
    below, above = (indexing.getitem(ranked, (..., i)) for i in (low, high))
    return below + (above - below) * part[interpolation] if high > low and part[interpolation] else below


def bincount(a: Any, weights: Any = None, minlength: int = 0) -> Any:
    """How often each integer from 0 to the largest occurs in a vector, or the sum of the `weights` at its places."""
    rows = indexing.raw(a)
    found = known(rows)
    if found is None:
        raise UserError(
            "The length of bincount() depends on values, which a compiled step does not know. Received a traced array. "
            "Use nn.segment_sum(weights, rows, count)."
        )
    if len(rows.shape) != 1 or rows.dtype.kind not in "biu" or (found.size and found.min() < 0):
        raise UserError(
            f"bincount() takes a vector of integers >= 0. Received shape {tuple(rows.shape)} of {rows.dtype}. Flatten and "
            "convert it first."
        )
    count = builtins.max(int(found.max()) + 1 if found.size else 0, minlength)
    each = B.ones(rows.shape, dtype="int64") if weights is None else pointwise.real(weights)
    total = indexing.scatter_add_at(B.zeros((count,), dtype=each.dtype), rows.astype("int64"), each)
    return Tensor(total) if isinstance(a, Tensor) and not isinstance(total, Tensor) else total


def unique(a: Any, *, return_inverse: bool = False, return_counts: bool = False) -> Any:
    """The distinct values of all elements, ascending; then the place of each element's value, and how often each occurs."""
    flat = indexing.raw(a).reshape(-1)
    order = B.argsort(flat, axis=0, stable=True)
    ranked = flat[order]
    first = B.concatenate([B.ones((min(1, len(flat)),), dtype="bool"), B.not_equal(ranked[1:], ranked[:-1])])
    group = B.cumsum(first.astype("int64"), axis=0) - 1
    found = [ranked[first]]
    if return_inverse:
        found.append(B.index_put(group, order, group).reshape(a.shape))
    if return_counts:
        found.append(B.scatter_add(B.zeros(found[0].shape, dtype="int64"), group, B.ones_like(group)))
    made = tuple(Tensor(y) for y in found) if isinstance(a, Tensor) else tuple(found)
    return made if len(made) > 1 else made[0]


def argwhere(a: Any) -> Any:
    """The positions of the elements that are not zero, one row an element."""
    return indexing.nonzero(a, as_tuple=False)


def count_nonzero(a: Any, axis: Axis = None, *, keepdims: bool = False) -> Any:
    """The number of elements that are not zero."""
    return reductions.sum(pointwise.not_equal(a, 0), axis, keepdims)
