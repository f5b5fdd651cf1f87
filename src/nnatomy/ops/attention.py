"""Scaled dot-product attention: the primitive, and the composed form that says what it computes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from nnatomy.backends import B
from nnatomy.backends.dtypes import is_floating
from nnatomy.errors import UserError
from nnatomy.ops import linear, pointwise, reductions, shapes
from nnatomy.ops.primitive import primitive, through
from nnatomy.tensor import Tensor


def attention_weights(q: Any, k: Any, causal: bool = False, mask: Any = None, scale: float | None = None) -> Any:
    """softmax(scale q k^T + mask) over the keys: q (..., T, d), k (..., S, d), the result (..., T, S).

    `scale` is 1 / sqrt(d) if None; `causal` hides key j from query i where j > i. A boolean mask is True where a query sees a
    key, a float one is added; it broadcasts against (..., T, S). A query that sees no key has weights 0, as in PyTorch.
    """
    scores = linear.matmul(q, shapes.swapaxes(k, -1, -2)) * _scale(q, scale)
    if causal:
        queries, keys = scores.shape[-2:]
        seen = B.arange(keys) <= B.arange(queries)[:, None]
        scores = pointwise.where(seen, scores, -math.inf)
    if mask is None:
        return reductions.softmax(scores, -1)
    scores = pointwise.where(mask, scores, -math.inf) if mask.dtype.kind == "b" else scores + mask
    seeing = reductions.any(pointwise.not_equal(scores, -math.inf), axis=-1, keepdims=True)
    return pointwise.where(seeing, reductions.softmax(pointwise.where(seeing, scores, 0.0), -1), 0.0)


def _scale(q: Any, scale: float | None) -> float:
    return 1 / math.sqrt(q.shape[-1]) if scale is None else float(scale)


def _composed(q: Any, k: Any, v: Any, causal: bool, scale: float) -> Any:
    return linear.matmul(attention_weights(q, k, causal=causal, scale=scale), v)


def _attention_vjp(
    needs: Sequence[bool], g: Any, ys: Any, q: Any, k: Any, v: Any, *, causal: bool, scale: float
) -> Sequence[Any]:
    if any(isinstance(a, Tensor) for a in (g, q, k, v)):
        return through(_composed, needs, g, (q, k, v), causal=causal, scale=scale)
    out, lse = ys
    return B.attention_vjp(g, q, k, v, out, lse, causal=causal, scale=scale)


@primitive(joint=_attention_vjp, saved=1)
def _attention(q: Any, k: Any, v: Any, *, causal: bool, scale: float) -> Any:
    return B.attention(q, k, v, causal=causal, scale=scale)


def scaled_dot_product_attention(
    q: Any, k: Any, v: Any, causal: bool = False, mask: Any = None, scale: float | None = None
) -> Any:
    """y = softmax(scale q k^T + mask) v (Vaswani et al. 2017, eq. 1), scale 1 / sqrt(d) if None.

    q (..., T, d), k (..., S, d), v (..., S, e), the result (..., T, e); leading axes broadcast. `causal` and `mask` are those
    of `attention_weights`. Without a mask, memory grows with T + S: the weights are computed again for the derivatives.
    """
    _check(q, k, v)
    if mask is not None:
        return linear.matmul(attention_weights(q, k, causal, mask, scale), v)
    lead = _lead(q, k, v)
    q, k, v = (a if a.shape[:-2] == lead else shapes.broadcast_to(a, (*lead, *a.shape[-2:])) for a in (q, k, v))
    return _attention(q, k, v, causal=bool(causal), scale=_scale(q, scale))


def _check(q: Any, k: Any, v: Any) -> None:
    received = ", ".join(str(tuple(a.shape)) for a in (q, k, v))
    if min(len(a.shape) for a in (q, k, v)) < 2 or q.shape[-1] != k.shape[-1] or k.shape[-2] != v.shape[-2]:
        raise UserError(
            f"Attention needs queries (..., T, d), keys (..., S, d) and values (..., S, e). Received shapes {received}. "
            "Reshape them to that."
        )
    if not k.shape[-2] or not q.shape[-1]:
        raise UserError(
            f"Attention needs at least one key and one feature. Received shapes {received}. Leave empty sequences out."
        )
    if len({a.dtype for a in (q, k, v)}) > 1 or not is_floating(q.dtype):
        raise TypeError(
            f"Attention needs floating-point arrays of one type. Received {q.dtype}, {k.dtype} and {v.dtype}. "
            "Convert with .astype()."
        )


def _lead(*arrays: Any) -> tuple[int, ...]:
    """Return the shape to which the axes before the last two broadcast."""
    leads = [tuple(a.shape[:-2]) for a in arrays]
    if len(set(leads)) == 1:
        return leads[0]
    most = max(map(len, leads))
    lead = []
    for sizes in zip(*((1,) * (most - len(s)) + s for s in leads)):
        size = {n for n in sizes if n != 1}
        if len(size) > 1:
            raise UserError(
                f"Attention needs leading axes that broadcast. Received {', '.join(map(str, leads))}. "
                "Give batch and heads of one size, or 1."
            )
        lead.append(size.pop() if size else 1)
    return tuple(lead)
