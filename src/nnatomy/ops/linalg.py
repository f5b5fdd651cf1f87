"""Linear algebra, the face `nn.linalg`: solving, inverting, factorizing and norms of matrices (..., m, n), with gradients.

Names, arguments and results are those of torch.linalg; leading axes are batches. Products are in linear.py.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

from nnatomy.backends import B, known
from nnatomy.backends.dtypes import is_half, resolution
from nnatomy.backends.factorizations import refusal
from nnatomy.errors import UserError
from nnatomy.foreign import face
from nnatomy.ops import pointwise as pw
from nnatomy.ops import reductions, shapes
from nnatomy.ops.linear import matmul
from nnatomy.ops.primitive import FLOAT32, named_as, primitive
from nnatomy.tensor import Axis

__all__ = [
    "cholesky", "det", "eigh", "eigvalsh", "inv", "lstsq", "matrix_norm", "matrix_power", "matrix_rank", "norm", "pinv", "qr",
    "slogdet", "solve", "svd", "svdvals", "vector_norm",
]  # fmt: skip


class SlogdetResult(NamedTuple):
    """The sign of a determinant, and ln of its absolute value."""

    sign: Any
    logabsdet: Any


class EighResult(NamedTuple):
    """Eigenvalues (..., n), ascending, and eigenvectors as the columns of (..., n, n)."""

    eigenvalues: Any
    eigenvectors: Any


class SvdResult(NamedTuple):
    """a = U diag(S) Vh: singular values S, descending."""

    U: Any
    S: Any
    Vh: Any


class QrResult(NamedTuple):
    """a = Q R."""

    Q: Any
    R: Any


class LstsqResult(NamedTuple):
    """The x of least |a x - b|; its squared distances, if a has more rows than columns and full rank; rank, singular values."""

    solution: Any
    residuals: Any
    rank: Any
    singular_values: Any


def _matrices(square: bool = False) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Refuse what is not a matrix, or not a square one; compute halves in float32."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        name = function.__name__

        def checked(a: Any, *args: Any, **kwargs: Any) -> Any:
            shape = tuple(a.shape)
            if len(shape) < 2 or (square and shape[-1] != shape[-2]):
                what = "square matrices (..., n, n)" if square else "matrices (..., m, n)"
                raise UserError(f"linalg.{name}() takes {what}. Received shape {shape}. Reshape it first.")
            if not is_half(a.dtype):
                return function(a, *args, **kwargs)
            wide = function(pw.astype(a, FLOAT32), *map(_widened, args), **kwargs)
            if isinstance(wide, tuple):
                return type(wide)(*(_narrow(y, a.dtype) for y in wide))
            return _narrow(wide, a.dtype)

        return named_as(function, checked)

    return decorate


def _widened(value: Any) -> Any:
    return pw.astype(value, FLOAT32) if hasattr(value, "dtype") and is_half(value.dtype) else value


def _narrow(y: Any, dtype: Any) -> Any:
    return pw.astype(y, dtype) if y.dtype == FLOAT32 else y


def _t(a: Any) -> Any:
    return shapes.swapaxes(a, -1, -2)


def _column(s: Any) -> Any:
    return shapes.expand_dims(s, -1)


def _row(s: Any) -> Any:
    return shapes.expand_dims(s, -2)


def _eye(n: int, dtype: Any) -> Any:
    return (B.arange(n)[:, None] == B.arange(n)[None, :]).astype(dtype)


def _inverse_or_0(s: Any) -> Any:
    """1 / s, and 0 where s = 0: what does not depend on the choice of a basis has no slope there."""
    zero = pw.equal(s, 0)
    return pw.where(zero, 0.0, 1.0 / pw.where(zero, 1.0, s))


def _found(name: str, y: Any, a: Any) -> Any:
    """y, the result of the matrices a. Raises UserError where JAX gives infinities or NaN in place of one that there is not."""
    if B.name == "jax" and known(y) is not None and bool(B.all(B.isfinite(a))) and not bool(B.all(B.isfinite(y))):
        raise refusal(name, a.shape)
    return y


# Solving


@primitive(lambda g, y, a: -matmul(matmul(_t(y), g), _t(y)), real=True)
def _inv(a: Any) -> Any:
    return _found("inv", B.inv(a), a)


@_matrices(square=True)
def inv(a: Any) -> Any:
    """The inverse of square matrices."""
    return _inv(a)


def _solve_vjp(needs: list[bool], g: Any, y: Any, a: Any, b: Any) -> tuple[Any, Any]:
    gb = _solve(_t(a), g)
    return (-matmul(gb, _t(y)) if needs[0] else None), gb


@primitive(joint=_solve_vjp, real=True)
def _solve(a: Any, b: Any) -> Any:
    return _found("solve", B.solve(a, b), a)


@_matrices(square=True)
def solve(a: Any, b: Any) -> Any:
    """x with a x = b: a (..., n, n), b (n,) or (..., n, k).

    A batch of vectors b (batch, n) is one where it can be no batch of matrices; else give b[..., None].
    """
    n = a.shape[-1]
    vectors = len(b.shape) == 1 or (tuple(b.shape) == tuple(a.shape[:-1]) and b.shape[-2] != n)
    rows = b.shape[-1] if vectors else b.shape[-2]
    if rows != n or (len(b.shape) > 1 and not vectors and tuple(b.shape) == tuple(a.shape[:-1])):
        raise UserError(
            f"linalg.solve() takes b of shape ({n},) or (..., {n}, k) for a of shape {tuple(a.shape)}. "
            f"Received {tuple(b.shape)}. Give vectors in a batch as b[..., None]."
        )
    return shapes.squeeze(_solve(a, _column(b)), -1) if vectors else _solve(a, b)


def _pinv_vjp(g: Any, y: Any, a: Any, rtol: float) -> Any:
    """Golub and Pereyra (1973): of dP = -P dA P + P P^T dA^T (1 - A P) + (1 - P A) dA^T P^T P."""
    pt, gt = _t(y), _t(g)
    left = gt - matmul(matmul(a, y), gt)
    right = gt - matmul(gt, matmul(y, a))
    return -matmul(matmul(pt, g), pt) + matmul(matmul(left, y), pt) + matmul(matmul(pt, y), right)


@primitive(_pinv_vjp, real=True)
def _pinv(a: Any, *, rtol: float) -> Any:
    u, s, vh = B.svd(a, full_matrices=False)
    kept = s > rtol * s.max(axis=-1, keepdims=True)
    inverse = B.where(kept, 1.0 / B.where(kept, s, B.ones_like(s)), B.zeros_like(s))
    return B.matmul(B.moveaxis(vh, -1, -2) * inverse[..., None, :], B.moveaxis(u, -1, -2))


def _tolerance(a: Any, rtol: float | None) -> float:
    """The part of the largest singular value below which another counts as 0: max(m, n) eps, as in PyTorch."""
    return max(a.shape[-2:]) * resolution(pw.real(a).dtype) if rtol is None else rtol


@_matrices()
def pinv(a: Any, rtol: float | None = None) -> Any:
    """The inverse of Moore and Penrose; singular values up to `rtol` (max(m, n) eps) times the largest count as 0."""
    if 0 in a.shape:
        return _t(a) / 1.0
    return _pinv(a, rtol=_tolerance(a, rtol))


@_matrices()
def lstsq(a: Any, b: Any, rtol: float | None = None) -> LstsqResult:
    """The x of least |a x - b|, and of those the shortest: a (..., m, n), b (m,) or (..., m, k)."""
    vector = len(b.shape) == 1
    rows = b.shape[0] if vector else b.shape[-2]
    if rows != a.shape[-2]:
        raise UserError(
            f"linalg.lstsq() takes b of shape ({a.shape[-2]},) or (..., {a.shape[-2]}, k) for a of shape {tuple(a.shape)}. "
            f"Received {tuple(b.shape)}. Give one row a row of a."
        )
    b = _column(b) if vector else b
    x = matmul(pinv(a, rtol), b)
    left = reductions.sum(pw.square(matmul(a, x) - b), -2)
    if a.shape[-2] <= a.shape[-1]:
        left = left[..., :0]
    values = svdvals(a)
    rank = matrix_rank(a, rtol=rtol)
    return LstsqResult(shapes.squeeze(x, -1) if vector else x, left, rank, values)


@_matrices(square=True)
def matrix_power(a: Any, n: int) -> Any:
    """a multiplied n times; the inverse as often where n < 0."""
    if n < 0:
        return matrix_power(inv(a), -n)
    y = a * 0 + _eye(a.shape[-1], a.dtype)
    while n:
        y = matmul(y, a) if n % 2 else y
        a, n = (matmul(a, a) if n > 1 else a), n // 2
    return y


# Determinants


def _cofactor_vjp(g: Any, y: Any, a: Any) -> Any:
    """Of dC = (<C, dA> C - C dA^T C) / det a."""
    along = reductions.sum(g * y, (-2, -1), keepdims=True) * y
    return (along - matmul(matmul(y, _t(g)), y)) / _column(_column(_det(a)))


@primitive(_cofactor_vjp)
def _cofactor(a: Any) -> Any:
    """det(a) a^-T, by singular values, so that it exists for a singular matrix too."""
    u, s, vh = B.svd(a, full_matrices=False)
    ones = B.ones_like(s[..., :1])
    left = B.cumprod(B.concatenate([ones, s[..., :-1]], axis=-1), axis=-1)
    right = B.flip(B.cumprod(B.concatenate([ones, B.flip(s, axis=-1)[..., :-1]], axis=-1), axis=-1), axis=-1)
    sign = B.asarray(B.det(u) * B.det(vh))
    return B.matmul(u * (left * right * sign[..., None])[..., None, :], vh)


@primitive(lambda g, y, a: _column(_column(g)) * _cofactor(a), real=True)
def _det(a: Any) -> Any:
    return B.asarray(B.det(a))


@_matrices(square=True)
def det(a: Any) -> Any:
    """The determinants of square matrices; for large ones use `slogdet`, which does not overflow."""
    return _det(a)


@primitive(joint=lambda needs, gs, ys, a: (_column(_column(gs[1])) * _t(_inv(a)),), real=True)
def _slogdet(a: Any) -> tuple[Any, Any]:
    sign, log = B.slogdet(a)
    return B.asarray(sign), B.asarray(log)


@_matrices(square=True)
def slogdet(a: Any) -> SlogdetResult:
    """The sign of the determinants, which has no slope, and ln of their absolute value: (0, -inf) of a singular matrix."""
    return SlogdetResult(*_slogdet(a))


# Factorizations


def _cholesky_vjp(g: Any, y: Any, a: Any) -> Any:
    """Murray (2016), "Differentiation of the Cholesky decomposition", eq. 10, in equal parts for a and a^T."""
    inner = shapes.tril(matmul(_t(y), shapes.tril(g))) * (1.0 - 0.5 * _eye(a.shape[-1], a.dtype))
    both = _solve(_t(y), _t(_solve(_t(y), inner)))
    return 0.5 * (both + _t(both))


@primitive(_cholesky_vjp, real=True)
def _cholesky(a: Any) -> Any:
    return _found("cholesky", B.cholesky(a), a)


@_matrices(square=True)
def cholesky(a: Any) -> Any:
    """The lower triangular L with a = L L^T; of a, symmetric and positive definite, only the lower triangle is read."""
    return _cholesky(a)


def _eigh_vjp(needs: list[bool], gs: Any, ys: Any, a: Any) -> tuple[Any]:
    (gw, gv), (w, v) = gs, ys
    gaps = _inverse_or_0(_row(w) - _column(w))
    inner = matmul(_t(v), gv) * gaps + _column(gw) * _eye(a.shape[-1], a.dtype)
    whole = matmul(matmul(v, inner), _t(v))
    return (0.5 * (whole + _t(whole)),)


@primitive(joint=_eigh_vjp, real=True)
def _eigh(a: Any) -> tuple[Any, Any]:
    w, v = B.eigh(a)
    return w, v


@_matrices(square=True)
def eigh(a: Any) -> EighResult:
    """The eigenvalues of symmetric matrices, ascending, and their eigenvectors; only the lower triangle is read.

    Eigenvectors are unique up to their sign, and those of equal eigenvalues up to a rotation: gradients are right where
    the result does not depend on that choice.
    """
    return EighResult(*_eigh(a))


def eigvalsh(a: Any) -> Any:
    """The eigenvalues of symmetric matrices, ascending."""
    return eigh(a).eigenvalues


def _svd_vjp(needs: list[bool], gs: Any, ys: Any, a: Any) -> tuple[Any]:
    """With F_ij = 1 / (s_j^2 - s_i^2). Source: Townsend (2016), "Differentiating the singular value decomposition"."""
    (gu, gd, gvh), (u, s, vh) = gs, ys
    v, gv, squares = _t(vh), _t(gvh), pw.square(s)
    gaps, inverse = _inverse_or_0(_row(squares) - _column(squares)), _inverse_or_0(s)
    left, right = matmul(_t(u), gu), matmul(_t(v), gv)
    inner = gaps * (left - _t(left)) * _row(s) + _column(s) * gaps * (right - _t(right))
    inner = inner + _column(gd) * _eye(s.shape[-1], a.dtype)
    found = matmul(matmul(u, inner), vh)
    if a.shape[-2] > a.shape[-1]:
        found = found + matmul((gu - matmul(u, left)) * _row(inverse), vh)
    if a.shape[-1] > a.shape[-2]:
        found = found + matmul(u, _column(inverse) * _t(gv - matmul(v, right)))
    return (found,)


@primitive(joint=_svd_vjp, real=True)
def _svd(a: Any) -> tuple[Any, Any, Any]:
    u, s, vh = B.svd(a, full_matrices=False)
    return u, s, vh


@primitive(joint=lambda needs, gs, ys, a: (None,))
def _complement(a: Any) -> tuple[Any, Any]:
    """The columns of U and the rows of Vh beyond the singular values: any basis, so they have no gradient."""
    u, s, vh = B.svd(a, full_matrices=True)
    return u[..., s.shape[-1] :], vh[..., s.shape[-1] :, :]


@_matrices()
def svd(a: Any, full_matrices: bool = True) -> SvdResult:
    """a = U diag(S) Vh: U (m, m), Vh (n, n), or with `full_matrices=False` U (m, k), Vh (k, n), k = min(m, n)."""
    u, s, vh = _svd(a)
    if full_matrices and a.shape[-1] != a.shape[-2]:
        more_u, more_vh = _complement(pw.real(a))
        u, vh = shapes.concatenate([u, more_u], -1), shapes.concatenate([vh, more_vh], -2)
    return SvdResult(u, s, vh)


@_matrices()
def svdvals(a: Any) -> Any:
    """The singular values, descending."""
    return _svd(a)[1]


@_matrices()
def matrix_rank(a: Any, *, rtol: float | None = None) -> Any:
    """The number of singular values above `rtol` (max(m, n) eps) times the largest."""
    s = svdvals(a)
    return reductions.sum(pw.greater(s, _tolerance(a, rtol) * s[..., :1]), -1)


def _qr_vjp(needs: list[bool], gs: Any, ys: Any, a: Any) -> tuple[Any]:
    """Of m >= n; of a wide a = [x | y] with x = Q U, y = Q V, that of x plus that of y. Source: Liao et al. (2019), eq. 4."""
    (gq, gr), (q, r) = gs, ys
    m, n = a.shape[-2:]
    gr = shapes.triu(gr)
    beyond = None
    if n > m:
        beyond = matmul(q, gr[..., m:])
        gq = gq + matmul(a[..., m:], _t(gr[..., m:]))
        gr, r = gr[..., :m], r[..., :m]
    inner = matmul(r, _t(gr)) - matmul(_t(gq), q)
    whole = gq + matmul(q, shapes.tril(inner) + _t(shapes.tril(inner, -1)))
    found = _t(_solve(r, _t(whole)))
    return (found if beyond is None else shapes.concatenate([found, beyond], -1),)


@primitive(joint=_qr_vjp, real=True)
def _qr(a: Any) -> tuple[Any, Any]:
    q, r = B.qr(a)
    return q, r


@_matrices()
def qr(a: Any) -> QrResult:
    """a = Q R: Q (m, k) with orthonormal columns, R (k, n) upper triangular, k = min(m, n)."""
    return QrResult(*_qr(a))


# Norms


def vector_norm(a: Any, ord: float = 2, axis: Axis = None, keepdims: bool = False) -> Any:
    """(sum |a|^ord)^(1 / ord); the largest |a| for inf, the smallest for -inf, how many are not 0 for 0; all axes if None."""
    if ord == 0:
        return reductions.sum(pw.astype(pw.not_equal(a, 0), pw.real(a).dtype), axis, keepdims)
    if ord == -math.inf:
        return reductions.min(pw.abs(a), axis=axis, keepdims=keepdims)
    if ord < 0:
        return pw.power(reductions.sum(pw.power(pw.abs(pw.real(a)), ord), axis, keepdims), 1 / ord)
    return reductions.norm(a, axis=axis, keepdims=keepdims, p=ord)


def matrix_norm(a: Any, ord: str | float = "fro", axis: tuple[int, int] = (-2, -1), keepdims: bool = False) -> Any:
    """"fro" (Frobenius), "nuc" (sum of singular values), 2 and -2 (their largest, smallest), 1, inf (column, row sums)."""
    rows, columns = (shapes.place(i, len(a.shape)) for i in axis)
    if ord == "fro":
        return reductions.norm(a, axis=(rows, columns), keepdims=keepdims)
    if (isinstance(ord, str) and ord != "nuc") or (not isinstance(ord, str) and abs(ord) not in (1, 2, math.inf)):
        raise UserError(f'matrix_norm() knows "fro", "nuc", 1, -1, 2, -2, inf and -inf. Received {ord!r}. Choose one of them.')
    rest = [i for i in range(len(a.shape)) if i not in (rows, columns)]
    a = shapes.permute(a, [*rest, rows, columns])
    if ord == "nuc":
        y = reductions.sum(svdvals(a), -1)
    else:
        size = float(ord)
        sums = svdvals(a) if abs(size) == 2 else reductions.sum(pw.abs(a), -2 if abs(size) == 1 else -1)
        y = (reductions.max if size > 0 else reductions.min)(sums, axis=-1)
    for i in sorted((rows, columns)) if keepdims else ():
        y = shapes.expand_dims(y, i)
    return y


def norm(a: Any, ord: str | float | None = None, axis: Axis = None, keepdims: bool = False) -> Any:
    """The 2-norm of all elements if `ord` is None; else `matrix_norm` over two axes, `vector_norm` over one."""
    axis = shapes.plain(axis)
    if ord is None:
        return reductions.norm(a, axis=axis, keepdims=keepdims)
    if isinstance(axis, tuple) and len(axis) == 2:
        return matrix_norm(a, ord, axis, keepdims)
    if axis is None and len(a.shape) == 2:
        return matrix_norm(a, ord, (0, 1), keepdims)
    if isinstance(ord, str):
        raise UserError(f"norm() of order {ord!r} is one of matrices. Received shape {tuple(a.shape)}. Give axis=(-2, -1).")
    return vector_norm(a, ord, axis, keepdims)


__getattr__ = face("nn.linalg", __all__)
