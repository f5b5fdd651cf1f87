"""Products of matrices: matmul, einsum and the functions composed of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from nnatomy.backends import B
from nnatomy.errors import UserError
from nnatomy.ops import matrices, reductions, shapes
from nnatomy.ops.primitive import primitive


def _left(g: Any, y: Any, a: Any, b: Any) -> Any:
    if len(b.shape) == 1:
        return shapes.expand_dims(g, -1) * b if len(a.shape) > 1 else g * b
    if len(a.shape) == 1:
        return reductions.sum(shapes.expand_dims(g, -2) * b, -1)
    return matmul(g, shapes.swapaxes(b, -1, -2))


def _right(g: Any, y: Any, a: Any, b: Any) -> Any:
    if len(a.shape) == 1:
        return shapes.expand_dims(g, -2) * shapes.expand_dims(a, -1) if len(b.shape) > 1 else g * a
    if len(b.shape) == 1:
        return reductions.sum(shapes.expand_dims(g, -1) * a, tuple(range(len(a.shape) - 1)))
    if len(b.shape) == 2:  # shared by all leading axes: one product over all rows
        a, g = (shapes.reshape(v, (math.prod(v.shape[:-1]), v.shape[-1])) for v in (a, g))
    return matmul(shapes.swapaxes(a, -1, -2), g)


@primitive(_left, _right)
def matmul(a: Any, b: Any) -> Any:
    """y = a b: rows of a times columns of b, over leading axes that broadcast; vectors as in NumPy."""
    return B.matmul(a, b)


@primitive(
    lambda g, y, x, w: matmul(g, w),
    lambda g, y, x, w: matmul(shapes.transpose(g), x),
)
def _linear(x: Any, w: Any) -> Any:
    return B.matmul(x, w.T)


@primitive(
    lambda g, y, x, w, b: matmul(g, w),
    lambda g, y, x, w, b: matmul(shapes.transpose(g), x),
    lambda g, y, x, w, b: reductions.sum(g, 0),
)
def _affine(x: Any, w: Any, b: Any) -> Any:
    return B.matmul(x, w.T) + b


def linear(x: Any, weight: Any, bias: Any = None) -> Any:
    """y = x W^T + b: x (..., inputs), W (outputs, inputs), b (outputs)."""
    shape, size = x.shape, weight.shape
    if len(size) != 2 or not shape or shape[-1] != size[1]:
        raise UserError(
            f"linear() needs inputs (..., {size[-1]}) for weights (outputs, inputs) of shape {tuple(size)}. "
            f"Received {tuple(shape)}. Transpose or reshape one of them."
        )
    if len(shape) == 2:
        return _linear(x, weight) if bias is None else _affine(x, weight, bias)
    *lead, features = shape  # one product for all rows
    x = shapes.reshape(x, (math.prod(lead), features))
    y = _linear(x, weight) if bias is None else _affine(x, weight, bias)
    return shapes.reshape(y, (*lead, size[0]))


def _einsum_vjp(needs: list[bool], g: Any, y: Any, *operands: Any, formula: str) -> tuple[Any, ...]:
    """The gradient of one operand is an einsum of g with the others, its lone indices repeated."""
    inputs, output = formula.split("->")
    terms = inputs.split(",")
    grads: list[Any] = []
    for i, (term, operand) in enumerate(zip(terms, operands, strict=True)):
        if not needs[i]:
            grads.append(None)
            continue
        others = [t for j, t in enumerate(terms) if j != i]
        known = set(output).union(*others)
        target = "".join(c for c in term if c in known)
        rest = [operands[j] for j in range(len(operands)) if j != i]
        g_i = _einsum(g, *rest, formula=",".join([output, *others]) + "->" + target)
        size = dict(zip(target, g_i.shape, strict=True))
        g_i = shapes.reshape(g_i, [size.get(c, 1) for c in term])
        full = [n if size.get(c, 1) == 1 else size[c] for c, n in zip(term, operand.shape, strict=True)]
        grads.append(shapes.broadcast_to(g_i, full))
    return tuple(grads)


@primitive(joint=_einsum_vjp)
def _einsum(*operands: Any, formula: str) -> Any:
    return B.asarray(B.einsum(formula, *operands, optimize=True))


def einsum(formula: str, *operands: Any) -> Any:
    """Einstein's summation, "ij,jk->ik": indices absent from the result are summed. "..." means leading axes."""
    explicit = _explicit(formula, operands)
    inputs, output = explicit.split("->")
    pairs = [_distinct(term, operand) for term, operand in zip(inputs.split(","), operands, strict=True)]
    return _einsum(*(operand for _, operand in pairs), formula=",".join(term for term, _ in pairs) + "->" + output)


def _distinct(term: str, operand: Any) -> tuple[str, Any]:
    """The term and its operand with the diagonal taken over any index that occurs in it twice."""
    for c in dict.fromkeys(term):
        while term.count(c) > 1:
            i, j = term.index(c), term.rindex(c)
            if operand.shape[i] != operand.shape[j]:
                raise UserError(
                    f"An index of einsum() has one length. Received {operand.shape[i]} and {operand.shape[j]} for {c!r}. "
                    "Use another letter for one of them."
                )
            rest = [k for k in range(len(term)) if k not in (i, j)]
            operand = matrices.diagonal(shapes.transpose(operand, [*rest, i, j]), 0, -2, -1)
            term = "".join(term[k] for k in rest) + c
    return term, operand


def _explicit(formula: str, operands: Sequence[Any]) -> str:
    """The formula with a result and with letters in place of "..."."""
    formula = formula.replace(" ", "")
    inputs, arrow, output = formula.partition("->")
    terms = inputs.split(",")
    if len(terms) != len(operands):
        raise UserError(
            f"einsum() needs one operand for each of {len(terms)} terms of {formula!r}. Received {len(operands)}. "
            "Give as many operands as terms."
        )
    spare = [c for c in "ZYXWVUTSRQPONMLKJIHGFEDCBA" if c not in formula]
    widths = [len(o.shape) - len(t.replace("...", "")) for t, o in zip(terms, operands, strict=True) if "..." in t]
    most = max(widths, default=0)
    letters = "".join(spare[:most])
    full = [
        t.replace("...", letters[most - (len(o.shape) - len(t.replace("...", ""))) :] if "..." in t else "")
        for t, o in zip(terms, operands, strict=True)
    ]
    if not arrow:
        counts = "".join(full)
        output = "..." + "".join(sorted(c for c in set(counts) if counts.count(c) == 1 and c not in letters))
    return ",".join(full) + "->" + output.replace("...", letters)


def tensordot(a: Any, b: Any, axes: int | tuple[Sequence[int], Sequence[int]] = 2) -> Any:
    """The sum over paired axes: the last `axes` of a with the first of b, or the two given lists."""
    left: Sequence[int]
    right: Sequence[int]
    if shapes.is_number(axes):
        left, right = range(len(a.shape) - axes, len(a.shape)), range(axes)
    else:
        left, right = axes
    names = "abcdefghijklmnopqrstuvwxyz"
    a_term = list(names[: len(a.shape)])
    b_term = list(names[len(a.shape) : len(a.shape) + len(b.shape)])
    for i, j in zip(left, right, strict=True):
        b_term[j] = a_term[i]
    shared = {a_term[i] for i in left}
    output = [c for c in a_term if c not in shared] + [c for c in b_term if c not in shared]
    return _einsum(a, b, formula="".join(a_term) + "," + "".join(b_term) + "->" + "".join(output))


def dot(a: Any, b: Any) -> Any:
    """The sum of products of two vectors."""
    if len(a.shape) != 1 or len(b.shape) != 1:
        raise UserError(f"dot() takes two vectors. Received {tuple(a.shape)} and {tuple(b.shape)}. Use matmul() or @.")
    return reductions.sum(a * b)


@primitive()
def qr_r(a: Any) -> Any:
    """R of a = Q R: a (m, n), R (min(m, n), n) upper triangular with R_ii >= 0; no gradient is known.

    R^T R = a^T a, without the squares in which a^T a loses half of its digits. With more rows b below a, R is that of
    concatenate([R, b]), so that least squares over many batches needs one R alone.
    """
    return B.qr_r(a)


def outer(a: Any, b: Any) -> Any:
    """y_ij = a_i b_j."""
    return shapes.expand_dims(a, -1) * b
