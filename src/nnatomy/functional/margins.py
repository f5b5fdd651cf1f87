"""Losses of pairs, triplets and label sets by margins; names and meanings are PyTorch's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nnatomy import ops
from nnatomy.backends import B
from nnatomy.errors import UserError
from nnatomy.functional.losses import alike, outside, pairwise_distance, reduced
from nnatomy.functional.widening import widened
from nnatomy.ops.indexing import raw

__all__ = [
    "hinge_embedding_loss", "margin_ranking_loss", "multilabel_margin_loss", "multilabel_soft_margin_loss",
    "triplet_margin_with_distance_loss",
]  # fmt: skip


def margin_ranking_loss(input1: Any, input2: Any, target: Any, margin: float = 0.0, reduction: str = "mean") -> Any:
    """max(0, margin - t (x1 - x2)): x1 should be the larger for target 1, x2 for -1."""
    input1, input2 = alike(input1, input2, "margin_ranking_loss")
    input1, target = alike(input1, target, "margin_ranking_loss")
    return reduced(ops.relu(margin - target * (input1 - input2)), reduction)


def hinge_embedding_loss(input: Any, target: Any, margin: float = 1.0, reduction: str = "mean") -> Any:
    """x for pairs that belong together (target 1), max(0, margin - x) for pairs that do not (-1), x being a distance."""
    input, target = alike(input, target, "hinge_embedding_loss")
    sides = raw(target)
    return reduced(ops.where(sides == -1, 0.0, input) + ops.where(sides == 1, 0.0, ops.relu(margin - input)), reduction)


def multilabel_soft_margin_loss(input: Any, target: Any, weight: Any = None, reduction: str = "mean") -> Any:
    """The mean over classes c of -w_c (t ln sigmoid(x) + (1 - t) ln sigmoid(-x)); input and target (..., classes)."""
    input, target = alike(input, target, "multilabel_soft_margin_loss")
    loss = target * ops.softplus(-input) + (1 - target) * ops.softplus(input)
    return reduced(ops.mean(loss if weight is None else loss * weight, axis=-1), reduction)


def multilabel_margin_loss(input: Any, target: Any, reduction: str = "mean") -> Any:
    """1 / C times the sum of max(0, 1 - x_j + x_i) over the classes j of an example and all others i.

    `input`: scores (batch, classes) or (classes). `target`: of the same shape, class numbers up to the first -1.
    """
    if tuple(input.shape) != tuple(target.shape) or len(input.shape) not in (1, 2):
        raise UserError(
            "multilabel_margin_loss() needs scores and class numbers of one shape, (batch, classes) or (classes). "
            f"Received {tuple(input.shape)} and {tuple(target.shape)}. "
            "Pad the class numbers with -1 to the shape of the scores."
        )
    if len(input.shape) == 1:
        one = multilabel_margin_loss(ops.expand_dims(input, 0), ops.expand_dims(target, 0), reduction)
        return ops.squeeze(one, 0) if reduction == "none" else one
    input, labels, classes = widened(input), raw(target), input.shape[1]
    if outside(labels, -1, classes - 1):
        raise UserError(
            f"multilabel_margin_loss() needs classes from 0 to {classes - 1}, then -1. Received others. Correct them."
        )
    listed = B.cumsum(labels < 0, axis=1) == 0
    own = ops.gather(input, B.where(listed, labels, 0), axis=1)
    member = ((labels[:, :, None] == B.arange(classes)) & listed[:, :, None]).any(axis=1)
    gaps = ops.relu(1 - ops.expand_dims(own, 2) + ops.expand_dims(input, 1))
    counted = listed[:, :, None] & ~member[:, None, :]
    return reduced(ops.sum(ops.where(counted, gaps, 0.0), axis=(1, 2)) / classes, reduction)


def triplet_margin_with_distance_loss(
    anchor: Any, positive: Any, negative: Any, *, distance_function: Callable[[Any, Any], Any] | None = None,
    margin: float = 1.0, swap: bool = False, reduction: str = "mean",
) -> Any:  # fmt: skip
    """max(0, d(a, p) - d(a, n) + margin) for any distance d; see `triplet_margin_loss`."""
    distance = pairwise_distance if distance_function is None else distance_function
    near, far = distance(anchor, positive), distance(anchor, negative)
    if swap:
        far = ops.minimum(far, distance(positive, negative))
    return reduced(ops.relu(margin + near - far), reduction)
