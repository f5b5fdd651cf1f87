"""Sums, means, extremes and norms along axes; cumulative sums and products; the softmax family."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from nnatomy.backends import B
from nnatomy.backends.dtypes import is_half
from nnatomy.errors import UserError
from nnatomy.ops import indexing, shapes
from nnatomy.ops import pointwise as pw
from nnatomy.ops.primitive import FLOAT32, named_as, primitive
from nnatomy.tensor import Axis, Tensor


def _careful(function: Callable[..., Any]) -> Callable[..., Any]:
    """A reduction that computes in float32 where its input is of half precision, and narrows the result again."""

    along = shapes.with_an_axis(function)

    def careful(a: Any, *args: Any, **kwargs: Any) -> Any:
        if a.dtype is FLOAT32 and a.shape:  # one call more where nothing needs care
            return function(a, *args, **kwargs)
        if is_half(a.dtype):
            return _narrowed(along(pw.astype(a, FLOAT32), *args, **kwargs), a.dtype)
        return along(a, *args, **kwargs)

    return named_as(function, careful)


def _narrowed(y: Any, dtype: Any) -> Any:
    return pw.astype(y, dtype) if y.dtype == FLOAT32 else y


def _axes(shape: tuple[int, ...], axis: Axis) -> tuple[int, ...]:
    axis = shapes.plain(axis)
    axes = range(len(shape)) if axis is None else (axis,) if isinstance(axis, int) else axis
    return tuple(shapes.place(a, len(shape)) for a in axes)


def _spread(g: Any, shape: tuple[int, ...], axis: Axis) -> Any:
    """A reduced array with its axes put back as length 1, so that it broadcasts against the original."""
    axes = _axes(shape, axis)
    return shapes.reshape(g, tuple(1 if i in axes else n for i, n in enumerate(shape)))


def _count(shape: tuple[int, ...], axis: Axis) -> int:
    return math.prod(shape[a] for a in _axes(shape, axis))


@primitive(lambda g, y, a, axis, keepdims: shapes.broadcast_to(_spread(g, a.shape, axis), a.shape))
def _sum(a: Any, *, axis: Axis, keepdims: bool) -> Any:
    return a.sum(axis=axis, keepdims=keepdims)


@_careful
def sum(a: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    """The sum over `axis` (all axes if None)."""
    return _sum(a, axis=shapes.plain(axis), keepdims=keepdims)


@_careful
def mean(a: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    """The sum over `axis` divided by the number of its elements."""
    return sum(a, axis, keepdims) / _count(a.shape, axis)


@_careful
def var(a: Any, axis: Axis = None, *, keepdims: bool = False, correction: int = 1) -> Any:
    """The mean squared distance from the mean; divides by n - `correction`, as PyTorch does."""
    centered = a - mean(a, axis, keepdims=True)
    return sum(pw.square(centered), axis, keepdims) / _freedom(a, axis, correction)


@_careful
def std(a: Any, axis: Axis = None, *, keepdims: bool = False, correction: int = 1) -> Any:
    """The square root of `var`; its slope is 0 where all elements are equal."""
    centered = a - mean(a, axis, keepdims=True)
    return norm(centered, axis=axis, keepdims=keepdims) / math.sqrt(_freedom(a, axis, correction))


def _freedom(a: Any, axis: Axis, correction: int) -> int:
    left = _count(a.shape, axis) - correction
    if left <= 0:
        raise UserError(
            f"A variance needs more elements than its correction. Received {left + correction} elements and correction "
            f"{correction}. Use correction=0 or more elements."
        )
    return left


def _prod_vjp(g: Any, y: Any, a: Any, axis: Axis, keepdims: bool) -> Any:
    """Each element's gradient is the product of all the others: products from the left times products from the right."""
    axes = _axes(a.shape, axis)
    rest = tuple(i for i in range(len(a.shape)) if i not in axes)
    front = shapes.transpose(a, axes + rest)
    flat = shapes.reshape(front, (_count(a.shape, axis), *[a.shape[i] for i in rest]))
    ones = B.ones((1, *flat.shape[1:]), dtype=a.dtype)[: len(flat)]
    left = cumprod(shapes.concatenate([ones, flat[:-1]]), axis=0)
    right = shapes.flip(cumprod(shapes.concatenate([ones, shapes.flip(flat, axis=0)[:-1]]), axis=0), axis=0)
    others = shapes.reshape(left * right, front.shape)
    inverse = tuple(sorted(range(len(a.shape)), key=(axes + rest).__getitem__))
    return _spread(g, a.shape, axis) * shapes.transpose(others, inverse)


@primitive(_prod_vjp)
def _prod(a: Any, *, axis: Axis, keepdims: bool) -> Any:
    return a.prod(axis=axis, keepdims=keepdims)


@_careful
def prod(a: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    """The product over `axis` (all axes if None); its gradient is exact where elements are zero."""
    return _prod(a, axis=shapes.plain(axis), keepdims=keepdims)


def _extreme_vjp(g: Any, y: Any, a: Any, axis: Axis, keepdims: bool) -> Any:
    """Tied extremes get equal parts of the gradient."""
    hit = pw.astype(pw.equal(a, _spread(y, a.shape, axis)), a.dtype)
    return _spread(g, a.shape, axis) * hit / sum(hit, axis, keepdims=True)


@primitive(_extreme_vjp)
def _max(a: Any, *, axis: Axis, keepdims: bool) -> Any:
    return a.max(axis=axis, keepdims=keepdims)


@primitive(_extreme_vjp)
def _min(a: Any, *, axis: Axis, keepdims: bool) -> Any:
    return a.min(axis=axis, keepdims=keepdims)


def _extreme(name: str, a: Any, bare: tuple[Any, ...], axis: Axis, keepdims: bool, dim: int | None) -> Any:
    """`max` or `min`: over axes, of two arrays, or values and positions along PyTorch's `dim`."""
    whole, of_two, place = (_max, pw.maximum, argmax) if name == "max" else (_min, pw.minimum, argmin)
    if bare and hasattr(bare[0], "shape"):
        return of_two(a, *bare)
    if bare:
        raise indexing.two_meanings(name, bare[0])
    if dim is None:
        return whole(a, axis=shapes.plain(axis), keepdims=keepdims)
    dim = shapes.place(dim, len(a.shape))
    indices = place(a, dim, keepdims=True)
    found = indexing.Ranked(indexing.gather(a, indices, dim), indices)
    return found if keepdims else indexing.Ranked(*(shapes.squeeze(y, dim) for y in found))


@shapes.with_an_axis
def max(a: Any, *bare: Any, axis: Axis = None, keepdims: bool = False, dim: int | None = None) -> Any:
    """The largest value over `axis`; with `dim` in place of `axis` (values, indices); of two arrays, as `maximum`."""
    return _extreme("max", a, bare, axis, keepdims, dim)


@shapes.with_an_axis
def min(a: Any, *bare: Any, axis: Axis = None, keepdims: bool = False, dim: int | None = None) -> Any:
    """The smallest value over `axis`; with `dim` in place of `axis` (values, indices); of two arrays, as `minimum`."""
    return _extreme("min", a, bare, axis, keepdims, dim)


def amax(a: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    """The largest value over `axis`."""
    return max(a, axis=axis, keepdims=keepdims)


def amin(a: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    """The smallest value over `axis`."""
    return min(a, axis=axis, keepdims=keepdims)


@_careful
def logsumexp(a: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    """ln of the sum of e^a over `axis`, without overflow; -inf of no elements."""
    if not _count(a.shape, axis):
        return sum(a, axis, keepdims) - math.inf
    return _logsumexp(a, axis=shapes.plain(axis), keepdims=keepdims)


def _logsumexp_vjp(g: Any, y: Any, a: Any, axis: Axis, keepdims: bool) -> Any:
    """The softmax of a; 0 where all of it is -inf."""
    top = _spread(y, a.shape, axis)
    return _spread(g, a.shape, axis) * pw.exp(a - pw.where(pw.equal(top, -math.inf), 0.0, top))


@primitive(_logsumexp_vjp, real=True)
def _logsumexp(a: Any, *, axis: Axis, keepdims: bool) -> Any:
    top = a.max(axis=axis, keepdims=True)
    top = B.where(B.isfinite(top), top, B.zeros_like(top))
    total = B.log(B.exp(a - top).sum(axis=axis, keepdims=True)) + top
    return total if keepdims else total.reshape(a.sum(axis=axis).shape)


# A gradient that is itself to be differentiated is a Tensor, and goes by small steps.


def _softmax_vjp(g: Any, y: Any, a: Any, axis: int) -> Any:
    return y * (g - sum(g * y, axis, keepdims=True)) if isinstance(g, Tensor) else B.softmax_vjp(g, y, axis=axis)


@primitive(_softmax_vjp, real=True)
def _softmax(a: Any, *, axis: int) -> Any:
    return B.softmax(a, axis=axis)


@_careful
def softmax(a: Any, axis: int = -1) -> Any:
    """e^a divided by its sum over `axis`."""
    if 0 in a.shape:
        return a / 1.0
    return _softmax(a, axis=shapes.plain(axis))


def _log_softmax_vjp(g: Any, y: Any, a: Any, axis: int) -> Any:
    return g - pw.exp(y) * sum(g, axis, keepdims=True) if isinstance(g, Tensor) else B.log_softmax_vjp(g, y, axis=axis)


@primitive(_log_softmax_vjp, real=True)
def _log_softmax(a: Any, *, axis: int) -> Any:
    return B.log_softmax(a, axis=axis)


@_careful
def log_softmax(a: Any, axis: int = -1) -> Any:
    """a minus its logsumexp over `axis`."""
    if 0 in a.shape:
        return a / 1.0
    return _log_softmax(a, axis=shapes.plain(axis))


@primitive(lambda g, y, a, axis: shapes.flip(cumsum(shapes.flip(g, axis=axis), axis=axis), axis=axis))
def _cumsum(a: Any, *, axis: int) -> Any:
    return B.cumsum(a, axis=axis)


@_careful
def cumsum(a: Any, axis: int) -> Any:
    """y_i = a_0 + ... + a_i along `axis`."""
    return _cumsum(a, axis=shapes.plain(axis))


def _cumprod_vjp(g: Any, y: Any, a: Any, axis: int) -> Any:
    """da_j = sum over i >= j of g_i times the product of a_0..a_i without a_j, exact where elements are zero."""
    n = a.shape[axis]
    x = shapes.moveaxis(a, axis, -1)
    gs = shapes.moveaxis(g, axis, -1)
    wide = shapes.broadcast_to(shapes.expand_dims(x, -2), (*x.shape[:-1], n, n))  # row j: a with a_j replaced by 1
    without = cumprod(pw.where(B.arange(n)[:, None] == B.arange(n)[None, :], 1.0, wide), axis=-1)
    upper = pw.where(B.arange(n)[None, :] >= B.arange(n)[:, None], without, 0.0)
    return shapes.moveaxis(sum(upper * shapes.expand_dims(gs, -2), -1), -1, axis)


@primitive(_cumprod_vjp)
def _cumprod(a: Any, *, axis: int) -> Any:
    return B.cumprod(a, axis=axis)


@_careful
def cumprod(a: Any, axis: int) -> Any:
    """y_i = a_0 ... a_i along `axis`."""
    return _cumprod(a, axis=shapes.plain(axis))


@primitive(lambda g, y, a, axis, keepdims: _spread(g, a.shape, axis) * a
           / pw.where(pw.equal(_spread(y, a.shape, axis), 0), 1.0, _spread(y, a.shape, axis)), real=True)  # fmt: skip
def _norm2(a: Any, *, axis: Axis, keepdims: bool) -> Any:
    return B.sqrt(B.square(a).sum(axis=axis, keepdims=keepdims))


@_careful
def norm(a: Any, p: float | str = 2.0, axis: Axis = None, keepdims: bool = False) -> Any:
    """(sum |a|^p)^(1/p) over `axis`, p = 1, 2, any positive number or infinity; slope 0 where the norm is 0.

    Norms of matrices are in nn.linalg.
    """
    p = 2.0 if p == "fro" else p
    if isinstance(p, str) or not p > 0:
        raise UserError(f"norm() needs p > 0. Received {p!r}. Use nn.linalg.norm() for other orders.")
    if p == 2:
        return _norm2(a, axis=shapes.plain(axis), keepdims=keepdims)
    if p == math.inf:
        return max(pw.abs(a), axis=axis, keepdims=keepdims)
    if p == 1:
        return sum(pw.abs(a), axis, keepdims)
    total = sum(pw.power(pw.abs(a), p), axis, keepdims)
    zero = pw.equal(total, 0)
    return pw.where(zero, 0.0, pw.power(pw.where(zero, 1.0, total), 1.0 / p))


@primitive()
def _argmax(a: Any, *, axis: int | None, keepdims: bool) -> Any:
    return B.asarray(B.argmax(a, axis=axis, keepdims=keepdims))


@primitive()
def _argmin(a: Any, *, axis: int | None, keepdims: bool) -> Any:
    return B.asarray(B.argmin(a, axis=axis, keepdims=keepdims))


@primitive()
def _any(a: Any, *, axis: Axis, keepdims: bool) -> Any:
    return B.asarray(B.any(a, axis=axis, keepdims=keepdims))


@primitive()
def _all(a: Any, *, axis: Axis, keepdims: bool) -> Any:
    return B.asarray(B.all(a, axis=axis, keepdims=keepdims))


@_careful
def argmax(a: Any, axis: int | None = None, keepdims: bool = False) -> Any:
    """The position of the largest value, the first of ties; into the flat array if `axis` is None."""
    return _argmax(a, axis=shapes.plain(axis), keepdims=keepdims)


@_careful
def argmin(a: Any, axis: int | None = None, keepdims: bool = False) -> Any:
    """The position of the smallest value, the first of ties; into the flat array if `axis` is None."""
    return _argmin(a, axis=shapes.plain(axis), keepdims=keepdims)


@_careful
def any(a: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    """Return True if any element is true."""
    return _any(a, axis=shapes.plain(axis), keepdims=keepdims)


@_careful
def all(a: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    """Return True if every element is true."""
    return _all(a, axis=shapes.plain(axis), keepdims=keepdims)
