"""Attention as a function of queries, keys and values. The layers with their weights are in layers/attention.py."""

from __future__ import annotations

from typing import Any

from nnatomy import ops
from nnatomy.backends import B
from nnatomy.errors import UserError
from nnatomy.functional.noise import dropout
from nnatomy.ops.attention import attention_weights
from nnatomy.random import Generator

__all__ = ["attention_weights", "causal_attention", "scaled_dot_product_attention"]


def scaled_dot_product_attention(
    query: Any, key: Any, value: Any, attn_mask: Any = None, dropout_p: float = 0.0, is_causal: bool = False,
    scale: float | None = None, generator: Generator | None = None,
) -> Any:  # fmt: skip
    """y = dropout(softmax(scale q k^T + mask)) v (Vaswani et al. 2017, eq. 1), scale 1 / sqrt(d) if None.

    query (..., T, d), key (..., S, d), value (..., S, e), the result (..., T, e). `attn_mask` broadcasts against (..., T, S):
    a boolean one is True where a query sees a key, a float one is added. `is_causal` hides key j from query i where j > i.
    As in PyTorch, the weights are dropped whenever dropout_p is above 0: give 0 in evaluation.
    """
    if attn_mask is not None and is_causal:
        raise UserError("scaled_dot_product_attention() takes attn_mask or is_causal. Received both. Join them in a mask.")
    if dropout_p == 0:
        return ops.scaled_dot_product_attention(query, key, value, causal=is_causal, mask=attn_mask, scale=scale)
    weights = attention_weights(query, key, is_causal, attn_mask, scale)
    return ops.matmul(dropout(weights, dropout_p, True, generator), value)


def causal_attention(
    query: Any, key: Any, value: Any, dropout_p: float = 0.0, scale: float | None = None, generator: Generator | None = None
) -> Any:
    """y = softmax(scale q k^T + mask) v for queries at the last T of S places: each sees its own place and those before it.

    As `scaled_dot_product_attention` with `is_causal` where T = S. With a cache of earlier keys and values, S is larger: query
    i sees key j where j <= i + S - T.
    """
    queries, keys = query.shape[-2], key.shape[-2]
    if queries > keys:
        raise UserError(
            f"causal_attention() needs a key at each query's place. Received {queries} queries and {keys} keys. "
            "Give the keys of all places so far."
        )
    seen = None if queries in (1, keys) else B.arange(keys) <= B.arange(queries)[:, None] + (keys - queries)
    return scaled_dot_product_attention(query, key, value, seen, dropout_p, queries == keys, scale, generator)
