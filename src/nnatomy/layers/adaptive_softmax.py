"""A softmax over very many classes, whose rare classes are in clusters with fewer features."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from nnatomy import functional as F
from nnatomy import ops
from nnatomy.backends import B, known
from nnatomy.errors import UserError
from nnatomy.layers import checks
from nnatomy.layers.linear import Linear
from nnatomy.layers.module import Module, Sequential
from nnatomy.ops.indexing import raw
from nnatomy.random import Generator

__all__ = ["AdaptiveLogSoftmaxWithLoss"]


class Scored(NamedTuple):
    """The logarithm of each target's probability, and the mean of its negative."""

    output: Any
    loss: Any


class AdaptiveLogSoftmaxWithLoss(Module):
    """ln p(target): of frequent classes from the head, of others ln p(cluster) + ln p(target in its cluster).

    Classes are sorted, the most frequent first; `cutoffs` are the ends of the head and of all clusters but the last. Cluster i
    has in_features / div_value^(i + 1) features. Only the rows of a cluster are computed in it, where targets are known: not
    in a compiled step of JAX. Source: Grave et al. (2017), section 4.
    """

    def __init__(
        self, in_features: int, n_classes: int, cutoffs: Any, div_value: float = 4.0, head_bias: bool = False,
        *, generator: Generator | None = None,
    ) -> None:  # fmt: skip
        checks.sizes(type(self).__name__, in_features=in_features, n_classes=n_classes)
        checks.positive(type(self).__name__, "div_value", div_value)
        ends = list(cutoffs)
        rising = bool(ends) and all(map(checks.is_whole, ends)) and ends == sorted(set(ends))
        if not rising or ends[0] < 1 or ends[-1] >= n_classes:
            raise UserError(
                f"cutoffs are rising whole numbers from 1 to {n_classes - 1}. Received {cutoffs!r}. "
                f"Use [{max(n_classes // 10, 1)}], for example."
            )
        self.in_features, self.n_classes, self.cutoffs = in_features, n_classes, [*ends, n_classes]
        self.div_value, self.head_bias = div_value, head_bias
        self.shortlist_size, self.n_clusters = ends[0], len(ends)
        self.head_size = self.shortlist_size + self.n_clusters
        self.head = Linear(in_features, self.head_size, head_bias, generator=generator)
        self.tail: list[Module] = []
        for i, (low, high) in enumerate(zip(self.cutoffs, self.cutoffs[1:], strict=False)):
            size = int(in_features // div_value ** (i + 1))
            checks.sizes(f"Cluster {i + 1} of {type(self).__name__}", features=size)
            first = Linear(in_features, size, False, generator=generator)
            self.tail.append(Sequential(first, Linear(size, high - low, False, generator=generator)))

    def forward(self, input_: Any, target_: Any) -> Scored:
        """input_ (batch, in_features), target_ (batch); or one example without the batch."""
        if len(input_.shape) == 1:
            output, loss = self(ops.expand_dims(input_, 0), ops.expand_dims(target_, 0))
            return Scored(ops.squeeze(output, 0), loss)
        checks.last_axis(type(self).__name__, input_, self.in_features)
        labels = raw(target_)
        found = known(labels)
        if tuple(labels.shape) != tuple(input_.shape[:1]) or labels.dtype.kind not in "iu":
            raise UserError(
                f"{type(self).__name__} needs one integer target an example. Received {tuple(labels.shape)} of {labels.dtype} "
                f"for {tuple(input_.shape)}. Convert or reshape the targets."
            )
        if found is not None and found.size and not (found.min() >= 0 and found.max() < self.n_classes):
            raise UserError(
                f"Class numbers must be between 0 and {self.n_classes - 1}. Received {found.min()} to {found.max()}. "
                "Count classes from 0, or give the layer more classes."
            )
        cluster = sum((labels >= end).astype("int64") for end in self.cutoffs)  # 0: the head; too large: outside, marked below
        place = B.where(cluster == 0, labels, self.shortlist_size + cluster - 1)
        output = _picked(F.log_softmax(self.head(input_), axis=1), place)
        for i, part in enumerate(self.tail):
            inside, own = cluster == i + 1, labels - self.cutoffs[i]
            if found is None:
                local = _picked(F.log_softmax(part(input_), axis=1), B.where(inside, own, 0))
                output = output + ops.where(inside, local, 0.0)
            elif (rows := np.flatnonzero(np.asarray(inside))).size:
                local = _picked(F.log_softmax(part(input_[rows]), axis=1), own[rows])
                output = ops.scatter_add_at(output, rows, local)
        return Scored(output, -ops.mean(output))

    def log_prob(self, input: Any) -> Any:
        """The logarithms of the probabilities (batch, n_classes) of all classes."""
        head = F.log_softmax(self.head(input), axis=1)
        parts = [head[:, : self.shortlist_size]]
        for i, part in enumerate(self.tail):
            own = self.shortlist_size + i
            parts.append(F.log_softmax(part(input), axis=1) + head[:, own : own + 1])
        return ops.concatenate(parts, axis=1)

    def predict(self, input: Any) -> Any:
        """The most probable class (batch,) of each example."""
        return ops.argmax(self.log_prob(input), axis=1)


def _picked(log_p: Any, index: Any) -> Any:
    return ops.squeeze(ops.gather(log_p, ops.expand_dims(index, 1), axis=1), axis=1)
