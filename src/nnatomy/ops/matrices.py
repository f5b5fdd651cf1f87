"""Matrices and grids laid out: diagonals, turns, tiles, grids, and the products of Kronecker and of vectors in space."""

from __future__ import annotations

import builtins
import math
from collections.abc import Sequence
from typing import Any

from nnatomy.backends import B
from nnatomy.errors import UserError
from nnatomy.ops import pointwise, reductions, shapes
from nnatomy.ops.indexing import getitem, scatter_add_at


def diagonal(a: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Any:
    """The diagonal of two axes as the last one; `offset` to the right of the main one, or below it if negative."""
    n = len(a.shape)
    first, second = shapes.place(axis1, n), shapes.place(axis2, n)
    if first == second:
        raise UserError(f"diagonal() needs two different axes. Received {axis1} and {axis2}. Give, for example, -2 and -1.")
    a = shapes.permute(a, [*(i for i in range(n) if i not in (first, second)), first, second])
    down, right = builtins.max(-offset, 0), builtins.max(offset, 0)
    places = B.arange(builtins.max(builtins.min(a.shape[-2] - down, a.shape[-1] - right), 0))
    return getitem(a, (..., places + down, places + right))


def diag(a: Any, k: int = 0) -> Any:
    """The matrix with a vector on diagonal `k`; of a matrix, its diagonal `k`."""
    if len(a.shape) not in (1, 2):
        raise UserError(f"diag() takes a vector or a matrix. Received shape {tuple(a.shape)}. Use nn.diagonal(x, 0, -2, -1).")
    if len(a.shape) == 2:
        return diagonal(a, k)
    n, places = a.shape[0] + builtins.abs(k), B.arange(a.shape[0])
    whole = B.zeros((n, n), dtype=a.dtype)
    return scatter_add_at(whole, (places + builtins.max(-k, 0), places + builtins.max(k, 0)), a)


def trace(a: Any, offset: int = 0) -> Any:
    """The sum of the diagonal of the first two axes."""
    return reductions.sum(diagonal(a, offset), -1)


def rot90(a: Any, k: int = 1, axes: tuple[int, int] = (0, 1)) -> Any:
    """Turned by k quarters from the first of two axes toward the second."""
    first, second = axes
    if k % 4 == 2:
        return shapes.flip(a, (first, second))
    if k % 4 == 0:
        return a
    turned = shapes.swapaxes(a, first, second)
    return shapes.flip(turned, first if k % 4 == 1 else second)


def tile(a: Any, times: int | Sequence[int]) -> Any:
    """As `repeat`; axes that `times` has too few numbers for stay as they are."""
    given = shapes.plain(times)
    given = (given,) if isinstance(given, int) else given
    return shapes.repeat(a, (1,) * (len(a.shape) - len(given)) + given)


def meshgrid(*vectors: Any, indexing: str = "") -> tuple[Any, ...]:
    """Coordinates on the grid of vectors. "ij": axis i runs along vector i (PyTorch); "xy": the first two exchanged (NumPy)."""
    if indexing not in ("ij", "xy"):
        raise UserError(
            "meshgrid() means two grids: rows first in PyTorch, columns first in NumPy. "
            f'Received indexing={indexing!r}. Give indexing="ij" or indexing="xy".'
        )
    vectors = tuple(vectors[0]) if len(vectors) == 1 and isinstance(vectors[0], tuple | list) else vectors
    flat = [shapes.reshape(v, (-1,)) for v in vectors]
    order = list(range(len(flat)))
    if indexing == "xy":
        order[:2] = order[:2][::-1]
    sizes = [flat[i].shape[0] for i in order]
    return tuple(
        shapes.broadcast_to(shapes.reshape(v, [n if order[i] == place else 1 for i, n in enumerate(sizes)]), sizes)
        for place, v in enumerate(flat)
    )


def kron(a: Any, b: Any) -> Any:
    """Kronecker's product: each element of a times all of b."""
    n = builtins.max(len(a.shape), len(b.shape))
    a, b = (shapes.reshape(v, (1,) * (n - len(v.shape)) + tuple(v.shape)) for v in (a, b))
    left = shapes.reshape(a, [part for size in a.shape for part in (size, 1)])
    right = shapes.reshape(b, [part for size in b.shape for part in (1, size)])
    return shapes.reshape(left * right, [x * y for x, y in zip(a.shape, b.shape, strict=True)])


def cross(a: Any, b: Any, axis: int = -1) -> Any:
    """The vector product of vectors of 3 along `axis`."""
    if a.shape[axis] != 3 or b.shape[axis] != 3:
        raise UserError(
            f"cross() takes vectors of 3 along an axis. Received {tuple(a.shape)}, {tuple(b.shape)}, axis {axis}. Give axis=."
        )
    next_a, next_b = (shapes.roll(v, -1, axis) for v in (a, b))
    return shapes.roll(a * next_b - next_a * b, -1, axis)


def diff(a: Any, n: int = 1, axis: int = -1) -> Any:
    """Each element minus the one before it along `axis`, n times over; of truth values, where they change."""
    if n < 0:
        raise UserError(f"diff() needs n >= 0. Received {n}. Give 1 for the differences of neighbors.")
    axis = shapes.place(axis, len(a.shape))
    for _ in range(n):
        lead = (slice(None),) * axis
        later, earlier = getitem(a, (*lead, slice(1, None))), getitem(a, (*lead, slice(None, -1)))
        a = pointwise.not_equal(later, earlier) if a.dtype == "bool" else later - earlier
    return a


def isclose(a: Any, b: Any, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> Any:
    """|a - b| <= atol + rtol |b|, and equal infinities; two NaN with `equal_nan`."""
    dtype = pointwise.real(a if hasattr(a, "dtype") else b).dtype
    a, b = (pointwise.real(v) if hasattr(v, "dtype") else B.asarray(v, dtype=dtype) for v in (a, b))
    finite = pointwise.logical_and(pointwise.isfinite(a), pointwise.isfinite(b))
    a_or_0, b_or_0 = (pointwise.where(finite, v, 0.0) for v in (a, b))
    near = pointwise.less_equal(pointwise.abs(a_or_0 - b_or_0), atol + rtol * pointwise.abs(b_or_0))
    near = pointwise.logical_or(pointwise.logical_and(finite, near), pointwise.equal(a, b))
    if not equal_nan:
        return near
    return pointwise.logical_or(near, pointwise.logical_and(pointwise.not_equal(a, a), pointwise.not_equal(b, b)))


def allclose(a: Any, b: Any, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> bool:
    """Return True if all elements are close, as `isclose` has it."""
    return bool(reductions.all(isclose(a, b, rtol, atol, equal_nan)))


def nan_to_num(a: Any, nan: float = 0.0, posinf: float | None = None, neginf: float | None = None) -> Any:
    """NaN replaced by `nan`, infinities by `posinf` and `neginf`, by default the largest finite numbers of the dtype."""
    if a.dtype.kind in "biu":
        return a
    largest = _largest(a.dtype)
    a = pointwise.where(pointwise.isnan(a), nan, a)
    a = pointwise.where(pointwise.equal(a, math.inf), largest if posinf is None else posinf, a)
    return pointwise.where(pointwise.equal(a, -math.inf), -largest if neginf is None else neginf, a)


def _largest(dtype: Any) -> float:
    """The largest finite number of a floating-point dtype."""
    exponent, digits = {"float16": (16, 11), "bfloat16": (128, 8), "float32": (128, 24), "float64": (1024, 53)}[dtype.name]
    return math.ldexp(1.0 - 2.0**-digits, exponent)
