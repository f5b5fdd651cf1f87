"""Embedding: a table of vectors, looked up by number."""

from __future__ import annotations

from typing import Any

import numpy as np

from nnatomy import graph, init, ops
from nnatomy.backends import B
from nnatomy.errors import UserError
from nnatomy.layers import checks
from nnatomy.layers.module import Module
from nnatomy.random import Generator
from nnatomy.tensor import Parameter, Tensor

__all__ = ["Embedding"]


class Embedding(Module):
    """y = weight[x] for integers x of any shape; weight (num_embeddings, embedding_dim) from N(0, 1).

    The row `padding_idx` starts at 0 and learns nothing. With `max_norm`, rows that are looked up and whose `norm_type`-norm is
    larger are first scaled down to it, in place.
    """

    def __init__(
        self, num_embeddings: int, embedding_dim: int, padding_idx: int | None = None, max_norm: float | None = None,
        norm_type: float = 2.0, *, generator: Generator | None = None,
    ) -> None:  # fmt: skip
        checks.sizes("Embedding", num_embeddings=num_embeddings, embedding_dim=embedding_dim)
        if padding_idx is not None and not -num_embeddings <= padding_idx < num_embeddings:
            raise UserError(f"Embedding needs padding_idx to be one of its {num_embeddings} rows. Received {padding_idx}.")
        self.num_embeddings, self.embedding_dim = num_embeddings, embedding_dim
        self.padding_idx = None if padding_idx is None else padding_idx % num_embeddings
        self.max_norm, self.norm_type = max_norm, norm_type
        weight = init.normal((num_embeddings, embedding_dim), generator=generator)
        if self.padding_idx is not None:
            weight = B.where((B.arange(num_embeddings) == self.padding_idx)[:, None], B.zeros_like(weight), weight)
        self.weight = Parameter(weight)

    def forward(self, x: Any) -> Any:
        rows = x.data if isinstance(x, Tensor) else x
        if rows.dtype.kind not in "iu":
            raise UserError(f"Embedding takes integers. Received {rows.dtype}. Convert with .astype('int64').")
        if isinstance(rows, np.ndarray) and rows.size and (rows.min() < 0 or rows.max() >= self.num_embeddings):
            raise UserError(
                f"Embedding takes numbers from 0 to {self.num_embeddings - 1}. Received {rows.min()} to {rows.max()}."
            )
        if self.max_norm is not None:
            self._renormalize(rows, self.max_norm)
        y = ops.embedding(self.weight, x)
        if self.padding_idx is None:
            return y
        return ops.where((rows == self.padding_idx)[..., None], y.data, y)

    def _renormalize(self, rows: Any, limit: float) -> None:
        norms = ops.norm(self.weight.data, axis=1, keepdims=True, p=self.norm_type)
        used = B.add_rows((self.num_embeddings,), rows, B.ones(rows.shape, dtype=norms.dtype))[:, None] > 0
        with graph.no_grad():
            scale = B.where(used & (norms > limit), limit / (norms + 1e-7), B.ones_like(norms))
            self.weight.copy_(self.weight.data * scale)
