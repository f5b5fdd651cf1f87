"""Attention as a function of queries, keys and values. The layers with their weights are in layers/attention.py."""

from __future__ import annotations

from typing import Any

from nnatomy import ops
from nnatomy.errors import UserError
from nnatomy.functional.noise import dropout
from nnatomy.ops.attention import attention_weights
from nnatomy.random import Generator

__all__ = ["attention_weights", "scaled_dot_product_attention"]


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
