"""Multi-head attention and positions; the Transformer is in transformer.py. Names and defaults are PyTorch's."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from nnatomy import functional as F
from nnatomy import init, ops
from nnatomy.backends import B
from nnatomy.errors import UserError
from nnatomy.layers import checks
from nnatomy.layers.linear import Linear
from nnatomy.layers.module import Module
from nnatomy.random import Generator
from nnatomy.tensor import Parameter

__all__ = ["MultiheadAttention", "SinusoidalPositionalEncoding"]


class MultiheadAttention(Module):
    """y = [head_1, ..., head_h] W_o^T + b_o, head_i = softmax(q_i k_i^T / sqrt(d)) v_i (Vaswani et al. 2017, section 3.2.2).

    in_proj_weight (3 embed_dim, embed_dim), its rows for q, k and v, by Glorot's law; out_proj a Linear; biases 0. Each head
    has d = embed_dim / num_heads features. The weights of the sum over the keys are dropped with probability `dropout`.
    Keys and values with `kdim` and `vdim` features have q_proj_weight, k_proj_weight and v_proj_weight instead; `add_bias_kv`
    adds a learned key and value to each sequence, `add_zero_attn` zeros.
    """

    def __init__(
        self, embed_dim: int, num_heads: int, dropout: float = 0.0, bias: bool = True, add_bias_kv: bool = False,
        add_zero_attn: bool = False, kdim: int | None = None, vdim: int | None = None, batch_first: bool = False, *,
        generator: Generator | None = None,
    ) -> None:  # fmt: skip
        checks.sizes("MultiheadAttention", embed_dim=embed_dim, num_heads=num_heads)
        checks.probability("MultiheadAttention", dropout)
        if embed_dim % num_heads:
            raise UserError(
                f"MultiheadAttention needs embed_dim to divide into {num_heads} heads. Received {embed_dim}. "
                "Choose a num_heads that divides embed_dim."
            )
        self.embed_dim, self.num_heads, self.dropout, self.batch_first = embed_dim, num_heads, dropout, batch_first
        self._generator = generator
        self.kdim, self.vdim = kdim or embed_dim, vdim or embed_dim
        checks.sizes("MultiheadAttention", kdim=self.kdim, vdim=self.vdim)
        self.add_zero_attn = add_zero_attn
        self.in_proj_weight: Parameter | None = None
        if self.kdim == self.vdim == embed_dim:
            self.in_proj_weight = Parameter(init.xavier_uniform((3 * embed_dim, embed_dim), generator=generator))
        else:
            self.q_proj_weight, self.k_proj_weight, self.v_proj_weight = (
                Parameter(init.xavier_uniform((embed_dim, n), generator=generator)) for n in (embed_dim, self.kdim, self.vdim)
            )
        self.in_proj_bias = Parameter(init.zeros((3 * embed_dim,))) if bias else None
        self.bias_k, self.bias_v = (
            Parameter(init.xavier_normal((1, 1, embed_dim), generator=generator)) if add_bias_kv else None for _ in range(2)
        )
        self.out_proj = Linear(embed_dim, embed_dim, bias, generator=generator)
        if bias:
            self.out_proj.bias = Parameter(init.zeros((embed_dim,)))

    def forward(
        self, query: Any, key: Any, value: Any, key_padding_mask: Any = None, need_weights: bool = True,
        attn_mask: Any = None, average_attn_weights: bool = True, is_causal: bool = False,
    ) -> tuple[Any, Any]:  # fmt: skip
        """The result (T, batch, embed_dim) for query (T, batch, embed_dim), key and value (S, batch, embed_dim); the weights.

        With `batch_first`, batch is the first axis of all; one sequence needs no batch. The weights are (batch, T, S), the mean
        over the heads, or (batch, heads, T, S) without `average_attn_weights`, or None without `need_weights`, which is faster.
        `attn_mask` is (T, S) or (batch heads, T, S), `key_padding_mask` (batch, S): boolean ones are True where one is hidden,
        float ones are added. `is_causal` hides key j from query i where j > i, on top of the masks. A query that sees no key
        gets 0 for its heads.
        """
        if len(query.shape) == 2:
            padding = None if key_padding_mask is None else ops.expand_dims(key_padding_mask, 0)
            axis = 0 if self.batch_first else 1
            lifted: dict[int, Any] = {id(x): ops.expand_dims(x, axis) for x in (query, key, value)}  # the same stay the same
            q, k, v = (lifted[id(x)] for x in (query, key, value))
            y, weights = self.forward(q, k, v, padding, need_weights, attn_mask, average_attn_weights, is_causal)
            return ops.squeeze(y, axis), None if weights is None else ops.squeeze(weights, 0)
        if not self.batch_first:
            same_kv, same_qk = key is value, query is key
            query = ops.swapaxes(query, 0, 1)
            key = query if same_qk else ops.swapaxes(key, 0, 1)
            value = key if same_kv else ops.swapaxes(value, 0, 1)
        self._check(query, key, value)
        mask = self._mask(query, key, attn_mask, key_padding_mask)
        q, k, v = self._project(query, key, value)
        for row_k, row_v in self._added_rows():
            shape = (k.shape[0], 1, self.embed_dim)
            k, v = (ops.concatenate([x, ops.broadcast_to(row, shape)], 1) for x, row in ((k, row_k), (v, row_v)))
        if k.shape[1] > key.shape[1]:
            mask, is_causal = self._with_added_keys(mask, query.shape[1], key.shape[1], k.shape[1], is_causal), False
        q, k, v = (self._heads(x) for x in (q, k, v))
        drop = self.dropout if self.training else 0.0
        weights = None
        if need_weights or drop > 0:
            weights = F.dropout(F.attention_weights(q, k, is_causal, mask), drop, self.training, self._generator)
            y = ops.matmul(weights, v)
        else:
            y = ops.scaled_dot_product_attention(q, k, v, causal=is_causal, mask=mask)
        y = self.out_proj(ops.reshape(ops.transpose(y, (0, 2, 1, 3)), query.shape))
        if not self.batch_first:
            y = ops.swapaxes(y, 0, 1)
        if not need_weights:
            return y, None
        return y, ops.mean(weights, axis=1) if average_attn_weights else weights

    def _project(self, query: Any, key: Any, value: Any) -> tuple[Any, ...]:
        """query W_q^T + b_q, key W_k^T + b_k, value W_v^T + b_v, in one product for those of the same input."""
        if self.in_proj_weight is None:
            weights = (self.q_proj_weight, self.k_proj_weight, self.v_proj_weight)
            biases = (None, None, None) if self.in_proj_bias is None else ops.split(self.in_proj_bias, self.embed_dim)
            return tuple(ops.linear(x, w, b) for x, w, b in zip((query, key, value), weights, biases))
        if query is key and key is value:
            return ops.split(ops.linear(query, self.in_proj_weight, self.in_proj_bias), self.embed_dim, axis=-1)
        size = self.embed_dim
        sizes = [size, 2 * size] if key is value else [size] * 3
        weights = ops.split(self.in_proj_weight, sizes)
        biases = (None, None, None) if self.in_proj_bias is None else ops.split(self.in_proj_bias, sizes)
        q, k, *v = (ops.linear(x, w, b) for x, w, b in zip((query, key, value), weights, biases))
        return (q, k, *v) if v else (q, *ops.split(k, size, axis=-1))

    def _added_rows(self) -> list[tuple[Any, Any]]:
        """The keys and values that every sequence gets on top of its own."""
        rows = [] if self.bias_k is None else [(self.bias_k, self.bias_v)]
        zero = B.zeros((1, 1, self.embed_dim), dtype=self.out_proj.weight.dtype)
        return [*rows, (zero, zero)] if self.add_zero_attn else rows

    def _with_added_keys(self, mask: Any, queries: int, own: int, keys: int, is_causal: bool) -> Any:
        """The mask with columns for added keys, which every query sees; it also hides what comes after, if `is_causal`."""
        if is_causal:
            seen = (B.arange(own)[None, :] <= B.arange(queries)[:, None]).reshape(1, 1, queries, own)
            if mask is None or mask.dtype.kind == "b":
                mask = seen if mask is None else ops.logical_and(mask, seen)
            else:
                mask = ops.where(seen, mask, -math.inf)
        if mask is None:
            return None
        make = B.ones if mask.dtype.kind == "b" else B.zeros
        added = make((*mask.shape[:-1], keys - own), dtype=mask.dtype)
        return ops.concatenate([mask, added], -1)

    def _heads(self, x: Any) -> Any:
        """(batch, steps, embed_dim) as (batch, heads, steps, features)."""
        return ops.transpose(ops.reshape(x, (*x.shape[:2], self.num_heads, x.shape[2] // self.num_heads)), (0, 2, 1, 3))

    def _check(self, query: Any, key: Any, value: Any) -> None:
        order = "(batch, steps" if self.batch_first else "(steps, batch"
        for x, size in ((query, self.embed_dim), (key, self.kdim), (value, self.vdim)):
            if len(x.shape) != 3 or x.shape[2] != size:
                raise UserError(
                    f"MultiheadAttention takes {order}, {size}). Received shape {tuple(x.shape)}. "
                    "Reshape the input, or change embed_dim, kdim or vdim."
                )
        if key.shape[:2] != value.shape[:2] or query.shape[0] != key.shape[0]:
            raise UserError(
                "MultiheadAttention needs as many keys as values, and one batch for all. "
                f"Received shapes {tuple(query.shape)}, {tuple(key.shape)} and {tuple(value.shape)}. "
                "Give keys and values of one length."
            )

    def _mask(self, query: Any, key: Any, attn_mask: Any, padding: Any) -> Any:
        """Both masks as one that broadcasts against (batch, heads, T, S): True where a key is seen, or numbers to be added."""
        batch, queries, keys = query.shape[0], query.shape[1], key.shape[1]
        masks = []
        if attn_mask is not None:
            shapes = {(queries, keys): (1, 1), (batch * self.num_heads, queries, keys): (batch, self.num_heads)}
            if tuple(attn_mask.shape) not in shapes:
                raise UserError(
                    f"MultiheadAttention takes attn_mask {' or '.join(map(str, shapes))}: queries by keys, or that for each "
                    f"example and head. Received {tuple(attn_mask.shape)}. Give the mask one of these shapes."
                )
            masks.append(ops.reshape(attn_mask, (*shapes[tuple(attn_mask.shape)], queries, keys)))
        if padding is not None:
            if tuple(padding.shape) != (batch, keys):
                raise UserError(
                    f"MultiheadAttention takes key_padding_mask {(batch, keys)}: batch, keys. Received {tuple(padding.shape)}. "
                    "Give the mask this shape."
                )
            masks.append(ops.reshape(padding, (batch, 1, 1, keys)))
        if not masks:
            return None
        if all(m.dtype.kind == "b" for m in masks):
            return ops.logical_not(masks[0] if len(masks) == 1 else ops.logical_or(*masks))
        zero = B.zeros((), dtype=query.dtype)
        added = [ops.where(m, -math.inf, zero) if m.dtype.kind == "b" else m for m in masks]
        return added[0] if len(added) == 1 else added[0] + added[1]


class SinusoidalPositionalEncoding(Module):
    """y_t = x_t + p_t, p_t,2i = sin(t / 10000^(2i / d)), p_t,2i+1 = cos(t / 10000^(2i / d)) (Vaswani et al. 2017, section 3.5).

    x (..., steps, d_model), of any number of steps.
    """

    def __init__(self, d_model: int) -> None:
        checks.sizes("SinusoidalPositionalEncoding", d_model=d_model)
        self.d_model = d_model
        self._tables: dict[str, Any] = {}  # p for each dtype, as far as it has been requested

    def forward(self, x: Any) -> Any:
        checks.last_axis("SinusoidalPositionalEncoding", x, self.d_model)
        if len(x.shape) < 2:
            raise UserError(
                f"SinusoidalPositionalEncoding takes (..., steps, {self.d_model}). Received {tuple(x.shape)}. "
                "Change its size, or the features."
            )
        steps, dtype = x.shape[-2], str(x.dtype)
        if dtype not in self._tables or len(self._tables[dtype]) < steps:
            self._tables[dtype] = B.asarray(self._table(steps), dtype=x.dtype)
        return x + self._tables[dtype][:steps]

    def _table(self, steps: int) -> Any:
        angles = np.arange(steps)[:, None] / 10000.0 ** (2 * (np.arange(self.d_model) // 2) / self.d_model)
        return np.where(np.arange(self.d_model) % 2, np.cos(angles), np.sin(angles))
