"""Tables of vectors, looked up by number: one by one, or a bag of them at a time."""

from __future__ import annotations

import math
from typing import Any, Self

import numpy as np

from nnatomy import graph, init, ops
from nnatomy.backends import B, known
from nnatomy.errors import UserError
from nnatomy.layers import checks
from nnatomy.layers.module import Module
from nnatomy.random import Generator
from nnatomy.tensor import Parameter, Tensor

__all__ = ["Embedding", "EmbeddingBag"]


class _Table(Module):
    """The common part: weight (num_embeddings, embedding_dim) from N(0, 1), and how its rows are looked up.

    The row `padding_idx` starts at 0 and learns nothing. With `max_norm`, rows that are looked up and whose `norm_type`-norm is
    larger are first scaled down to it, in place. With `scale_grad_by_freq`, a row that is looked up n times gets 1 / n of its
    gradient.
    """

    def _make(
        self, num_embeddings: int, embedding_dim: int, padding_idx: int | None, max_norm: float | None, norm_type: float,
        scale_grad_by_freq: bool, generator: Generator | None,
    ) -> None:  # fmt: skip
        name = type(self).__name__
        checks.sizes(name, num_embeddings=num_embeddings, embedding_dim=embedding_dim)
        if padding_idx is not None and not -num_embeddings <= padding_idx < num_embeddings:
            raise UserError(
                f"{name} needs padding_idx to be one of its {num_embeddings} rows. Received {padding_idx}. "
                "Choose one of them, or None."
            )
        self.num_embeddings, self.embedding_dim = num_embeddings, embedding_dim
        self.padding_idx = None if padding_idx is None else padding_idx % num_embeddings
        self.max_norm, self.norm_type, self.scale_grad_by_freq = max_norm, norm_type, scale_grad_by_freq
        weight = init.normal((num_embeddings, embedding_dim), generator=generator)
        if self.padding_idx is not None:
            weight = B.where((B.arange(num_embeddings) == self.padding_idx)[:, None], B.zeros_like(weight), weight)
        self.weight = Parameter(weight)

    @classmethod
    def from_pretrained(cls, embeddings: Any, freeze: bool = True, **options: Any) -> Self:
        """Make one of given vectors (rows, features), which learns only with `freeze=False`."""
        values = B.array(embeddings.data if isinstance(embeddings, Tensor) else embeddings)
        if len(values.shape) != 2 or values.dtype.kind != "f":
            raise UserError(
                f"from_pretrained() takes vectors of floats, (rows, features). Received {tuple(values.shape)}, {values.dtype}. "
                "Give a matrix of floats."
            )
        made = cls(*values.shape, **options)
        made.weight = Parameter(values, requires_grad=not freeze)
        return made

    def _rows(self, x: Any) -> Any:
        """The rows to look up as an array."""
        name, rows = type(self).__name__, x.data if isinstance(x, Tensor) else x
        if rows.dtype.kind not in "iu":
            raise UserError(f"{name} takes integers. Received {rows.dtype}. Convert with .astype('int64').")
        if isinstance(rows, np.ndarray) and rows.size and (rows.min() < 0 or rows.max() >= self.num_embeddings):
            raise UserError(
                f"{name} takes numbers from 0 to {self.num_embeddings - 1}. Received {rows.min()} to {rows.max()}. "
                "Correct the numbers, or give the layer more rows."
            )
        return rows

    def _look_up(self, x: Any, rows: Any) -> Any:
        if self.max_norm is not None:
            self._renormalize(rows, self.max_norm)
        y = ops.embedding(self.weight, x)
        if self.scale_grad_by_freq:
            counts = B.add_rows((self.num_embeddings,), rows, B.ones(rows.shape, dtype=y.dtype))
            part = (1 / counts[rows])[..., None]
            y = y * part + y.data * (1 - part)
        return y if self.padding_idx is None else ops.where((rows == self.padding_idx)[..., None], y.data, y)

    def _renormalize(self, rows: Any, limit: float) -> None:
        norms = ops.norm(self.weight.data, axis=1, keepdims=True, p=self.norm_type)
        used = B.add_rows((self.num_embeddings,), rows, B.ones(rows.shape, dtype=norms.dtype))[:, None] > 0
        with graph.no_grad():
            scale = B.where(used & (norms > limit), limit / (norms + 1e-7), B.ones_like(norms))
            self.weight.copy_(self.weight.data * scale)


class Embedding(_Table):
    """y = weight[x] for integers x of any shape; weight (num_embeddings, embedding_dim) from N(0, 1).

    The row `padding_idx` starts at 0 and learns nothing. With `max_norm`, rows that are looked up and whose `norm_type`-norm is
    larger are first scaled down to it, in place. With `scale_grad_by_freq`, a row that is looked up n times gets 1 / n of its
    gradient.
    """

    def __init__(
        self, num_embeddings: int, embedding_dim: int, padding_idx: int | None = None, max_norm: float | None = None,
        norm_type: float = 2.0, scale_grad_by_freq: bool = False, *, generator: Generator | None = None,
    ) -> None:  # fmt: skip
        self._make(num_embeddings, embedding_dim, padding_idx, max_norm, norm_type, scale_grad_by_freq, generator)

    def forward(self, x: Any) -> Any:
        return self._look_up(x, self._rows(x))


class EmbeddingBag(_Table):
    """The "mean", "sum" or "max" of weight[x] over each bag of integers; a bag without any gives 0. Options as in Embedding.

    x (bags, size), or all bags in a row, (n), where `offsets` (bags) says at which place each starts; with
    `include_last_offset` it ends with n. `per_sample_weights`, shaped as x, are factors in a "sum". The row `padding_idx`
    does not count.
    """

    def __init__(
        self, num_embeddings: int, embedding_dim: int, max_norm: float | None = None, norm_type: float = 2.0,
        scale_grad_by_freq: bool = False, mode: str = "mean", include_last_offset: bool = False,
        padding_idx: int | None = None, *, generator: Generator | None = None,
    ) -> None:  # fmt: skip
        if mode not in ("mean", "sum", "max"):
            raise UserError(f'EmbeddingBag needs mode "mean", "sum" or "max". Received {mode!r}. Use mode="mean".')
        self._make(num_embeddings, embedding_dim, padding_idx, max_norm, norm_type, scale_grad_by_freq, generator)
        self.mode, self.include_last_offset = mode, include_last_offset

    def forward(self, input: Any, offsets: Any = None, per_sample_weights: Any = None) -> Any:
        rows = self._rows(input)
        if per_sample_weights is not None and (self.mode != "sum" or tuple(per_sample_weights.shape) != tuple(rows.shape)):
            raise UserError(
                f'EmbeddingBag takes per_sample_weights of the input\'s shape {tuple(rows.shape)}, with mode "sum". '
                f"Received {tuple(per_sample_weights.shape)} and mode {self.mode!r}. "
                "Correct the weights or the mode, or leave the weights out."
            )
        bag, bags = self._bags(rows, offsets)
        n = math.prod(rows.shape)
        vectors = ops.reshape(self._look_up(input, rows), (n, self.embedding_dim))
        counted = B.ones((n,), dtype=vectors.dtype)
        if self.padding_idx is not None:
            counted = (rows.reshape((n,)) != self.padding_idx).astype(vectors.dtype)
        if self.mode == "max":
            masked = ops.where((counted > 0)[:, None], vectors, -math.inf)
            found = ops.segment_max(masked, bag, bags)
            return ops.where(B.isfinite(found.data), found, 0.0)
        weights = counted if per_sample_weights is None else ops.reshape(per_sample_weights, (n,)) * counted
        total = ops.segment_sum(vectors * ops.expand_dims(weights, 1), bag, bags)
        if self.mode == "sum":
            return total
        return total / B.maximum(B.add_rows((bags,), bag, counted), 1).astype(total.dtype)[:, None]

    def _bags(self, rows: Any, offsets: Any) -> tuple[Any, int]:
        """The bag of each integer, and how many bags there are."""
        if len(rows.shape) == 2 and offsets is None:
            return B.arange(math.prod(rows.shape)) // max(rows.shape[1], 1), rows.shape[0]
        if len(rows.shape) != 1 or offsets is None:
            raise UserError(
                f"EmbeddingBag takes (bags, size), or (n) with offsets. Received shape {tuple(rows.shape)} "
                f"{'without' if offsets is None else 'with'} offsets."
            )
        starts = B.asarray(offsets.data if isinstance(offsets, Tensor) else offsets)
        found, n = known(starts), rows.shape[0]
        if len(starts.shape) != 1 or (
            found is not None and found.size
            and not (found[0] == 0 and (found[1:] >= found[:-1]).all() and found[-1] <= n)
        ):  # fmt: skip
            raise UserError(
                f"EmbeddingBag needs offsets that start at 0, rise, and end by {n}. Received {offsets}. "
                "Correct the offsets."
            )
        bags = starts.shape[0] - self.include_last_offset
        bag = (starts[None, :bags] <= B.arange(n)[:, None]).sum(axis=1) - 1
        return bag, bags
