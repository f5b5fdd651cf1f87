"""Losses: what training makes small. Each takes reduction="mean", "sum" or "none"; names and meanings are PyTorch's."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from nnatomy import ops
from nnatomy.backends import B, known
from nnatomy.backends.dtypes import is_floating
from nnatomy.errors import UserError
from nnatomy.functional.masking import batch_mean, rows_that_count, sum_and_count
from nnatomy.functional.normalization import normalize
from nnatomy.functional.widening import widened
from nnatomy.ops.indexing import raw
from nnatomy.ops.normalization import softmax_cross_entropy
from nnatomy.ops.primitive import primitive

__all__ = [
    "binary_cross_entropy", "binary_cross_entropy_with_logits", "cosine_embedding_loss", "cosine_similarity", "cross_entropy",
    "dice_loss", "hinge_loss", "huber_loss", "info_nce_loss", "kl_div", "l1_loss", "mse_loss", "multi_margin_loss", "nll_loss",
    "pairwise_distance", "sigmoid_focal_loss", "smooth_l1_loss", "soft_margin_loss", "triplet_margin_loss",
]  # fmt: skip

# Regression


def mse_loss(input: Any, target: Any, reduction: str = "mean") -> Any:
    """(input - target)^2."""
    input, target = alike(input, target, "mse_loss")
    return reduced(ops.square(input - target), reduction)


def l1_loss(input: Any, target: Any, reduction: str = "mean") -> Any:
    """|input - target|, also called mean absolute error."""
    input, target = alike(input, target, "l1_loss")
    return reduced(ops.abs(input - target), reduction)


def huber_loss(input: Any, target: Any, reduction: str = "mean", delta: float = 1.0) -> Any:
    """d^2 / 2 where d = |input - target| <= delta, else delta (d - delta / 2) (Huber 1964)."""
    input, target = alike(input, target, "huber_loss")
    if delta <= 0:
        raise UserError(f"huber_loss() needs delta > 0. Received {delta}. Use delta=1.0.")
    d = ops.abs(input - target)
    near = ops.less_equal(d, delta)
    return reduced(ops.where(near, 0.5 * _square_where(near, d), delta * (d - 0.5 * delta)), reduction)


def smooth_l1_loss(input: Any, target: Any, reduction: str = "mean", beta: float = 1.0) -> Any:
    """d^2 / (2 beta) where d = |input - target| < beta, else d - beta / 2; beta = 0 is l1_loss.

    Girshick (2015, eq. 3) has beta = 1.
    """
    input, target = alike(input, target, "smooth_l1_loss")
    if beta < 0:
        raise UserError(f"smooth_l1_loss() needs beta >= 0. Received {beta}. Use beta=1.0.")
    if beta == 0:
        return l1_loss(input, target, reduction)
    d = ops.abs(input - target)
    near = ops.less(d, beta)
    return reduced(ops.where(near, 0.5 * _square_where(near, d) / beta, d - 0.5 * beta), reduction)


def _square_where(near: Any, d: Any) -> Any:
    """d^2 where it counts: elsewhere d may be infinite, and 0 times its slope would be NaN."""
    return ops.square(ops.where(near, d, 0.0))


# Classification


def _floored_log(p: Any) -> Any:
    """ln p, but at least -100, as PyTorch's binary cross-entropy has it."""
    positive = ops.greater(p, 0)
    return ops.where(positive, ops.clip(ops.log(ops.where(positive, p, 1.0)), -100.0), -100.0)


@primitive(
    lambda g, y, p, t: g * (p - t) / ops.clip(p * (1 - p), 1e-12),
    lambda g, y, p, t: g * (_floored_log(1 - p) - _floored_log(p)),
)
def _bce(p: Any, t: Any) -> Any:
    return -(t * _floored_log(p) + (1 - t) * _floored_log(1 - p))


def binary_cross_entropy(input: Any, target: Any, weight: Any = None, reduction: str = "mean") -> Any:
    """-(t ln p + (1 - t) ln(1 - p)) of probabilities p; logarithms are held at -100 or above.

    Prefer `binary_cross_entropy_with_logits`, which loses no digits where p is near 0 or 1.
    """
    input, target = alike(input, target, "binary_cross_entropy")
    if outside(input, 0, 1):
        raise UserError(
            "binary_cross_entropy() needs probabilities between 0 and 1. Received others. "
            "Give scores to binary_cross_entropy_with_logits()."
        )
    loss = _bce(input, target)
    return reduced(loss if weight is None else loss * weight, reduction)


def binary_cross_entropy_with_logits(
    input: Any, target: Any, weight: Any = None, reduction: str = "mean", pos_weight: Any = None
) -> Any:
    """-(w t ln sigmoid(x) + (1 - t) ln(1 - sigmoid(x))) of scores x, with w = `pos_weight` for the positive class."""
    input, target = alike(input, target, "binary_cross_entropy_with_logits")
    scale = 1.0 if pos_weight is None else 1 + (pos_weight - 1) * target
    loss = (1 - target) * input + scale * ops.softplus(-input)
    return reduced(loss if weight is None else loss * weight, reduction)


def cross_entropy(
    input: Any, target: Any, weight: Any = None, ignore_index: int = -100, reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Any:  # fmt: skip
    """-sum over classes c of w_c q_c ln softmax(input)_c.

    `input`: scores (classes), (batch, classes) or (batch, classes, ...). `target`: class numbers without the class axis, or
    probabilities of input's shape. q is the target's class, moved by `label_smoothing` toward all classes alike.
    The mean is weighted by `weight` of the target's class, and leaves out targets equal to `ignore_index`: NaN if none is left.
    """
    if not 0 <= label_smoothing <= 1:
        raise UserError(
            f"cross_entropy() needs label_smoothing between 0 and 1. Received {label_smoothing}. "
            "Use label_smoothing=0.1."
        )
    input = widened(input)
    if label_smoothing == 0 and not is_floating(target.dtype):
        return _cross_entropy_of_labels(input, target, weight, ignore_index, reduction)
    axis = _class_axis(input)
    log_p = ops.log_softmax(input, axis=axis)
    classes = input.shape[axis]
    if is_floating(target.dtype):
        return _cross_entropy_of_probabilities(log_p, target, weight, reduction, label_smoothing, axis)
    loss = nll_loss(log_p, target, weight, ignore_index, reduction)
    kept, _, total = _kept(log_p, target, weight, ignore_index)
    spread = log_p if weight is None else log_p * _along_classes(weight, log_p, axis)
    smooth = ops.where(kept, -ops.sum(spread, axis=axis), 0.0)
    smooth = sum_and_count(smooth)[0] / total if reduction == "mean" else reduced(smooth, reduction)
    return (1 - label_smoothing) * loss + (label_smoothing / classes) * smooth


def _cross_entropy_of_labels(input: Any, target: Any, weight: Any, ignore_index: int, reduction: str) -> Any:
    axis = _class_axis(input)
    labels = _class_numbers(input, target)
    all_count = weight is None and _all_inside(labels, input.shape[axis], ignore_index)
    kept, scale, total = (None, None, None) if all_count else _kept(input, target, weight, ignore_index)
    if len(input.shape) == 2:
        loss = softmax_cross_entropy(input, labels)
    else:  # a row of scores for each target
        count = math.prod(labels.shape)
        rows = ops.reshape(ops.moveaxis(input, axis, -1), (count, input.shape[axis]))
        loss = ops.reshape(softmax_cross_entropy(rows, labels.reshape((count,))), labels.shape)
    if all_count:
        return reduced(loss, reduction)
    loss = ops.where(kept, loss if scale is None else loss * scale, 0.0)
    return sum_and_count(loss)[0] / total if reduction == "mean" else reduced(loss, reduction)


def _all_inside(labels: Any, classes: int, ignore_index: int) -> bool:
    """Return True if all labels are known to be classes and none is ignored; a compiled step's are not known."""
    if not isinstance(labels, np.ndarray) or labels.size == 0:
        return False
    low, high = labels.min(), labels.max()
    return bool(low >= 0 and high < classes and not low <= ignore_index <= high)


def _cross_entropy_of_probabilities(
    log_p: Any, target: Any, weight: Any, reduction: str, label_smoothing: float, axis: int
) -> Any:
    if target.shape != log_p.shape:
        raise UserError(
            f"Targets that are probabilities need the scores' shape {tuple(log_p.shape)}. Received {tuple(target.shape)}. "
            "Class numbers must be integers."
        )
    classes = log_p.shape[axis]
    if label_smoothing > 0:
        target = target * (1 - label_smoothing) + label_smoothing / classes
    if weight is not None:
        log_p = log_p * _along_classes(weight, log_p, axis)
    return reduced(-ops.sum(log_p * target, axis=axis), reduction)


def nll_loss(input: Any, target: Any, weight: Any = None, ignore_index: int = -100, reduction: str = "mean") -> Any:
    """-w_t input_t for log-probabilities `input` and class numbers `target`, shaped and averaged as in `cross_entropy`."""
    input = widened(input)
    kept, scale, total = _kept(input, target, weight, ignore_index)
    axis = _class_axis(input)
    index = ops.expand_dims(B.where(kept, raw(target), 0), axis)
    picked = ops.squeeze(ops.gather(input, index, axis=axis), axis=axis)
    loss = ops.where(kept, -picked if scale is None else -picked * scale, 0.0)
    return sum_and_count(loss)[0] / total if reduction == "mean" else reduced(loss, reduction)


def _kept(input: Any, target: Any, weight: Any, ignore_index: int) -> tuple[Any, Any, Any]:
    """Which targets count, the weight of each one's class (None if all are 1), and the sum of the weights that count.

    The sum is NaN where nothing counts, as the mean over nothing is, without a warning; with rows that only fill the batch up
    it is 1 where none of the others are left.
    """
    labels = _class_numbers(input, target)
    kept = labels != ignore_index
    rows = rows_that_count(labels)
    if rows is not None:
        kept = B.logical_and(kept, rows)
    labels = B.where(kept, labels, 0)
    classes = input.shape[_class_axis(input)]
    if outside(labels, 0, classes - 1):
        raise UserError(
            f"Class numbers must be between 0 and {classes - 1}. Received {labels.min()} to {labels.max()}. "
            "Count classes from 0, or give the model more outputs."
        )
    if weight is None:
        return kept, None, _or_nothing(kept.astype(input.dtype).sum(), rows)
    weights = raw(weight)
    if tuple(weights.shape) != (classes,):
        raise UserError(
            f"weight must give one number for each of the {classes} classes. Received shape {weights.shape}. "
            "Give one number a class."
        )
    scale = weights[labels]
    return kept, scale, _or_nothing(B.where(kept, scale, B.zeros_like(scale)).sum(), rows)


def _class_numbers(input: Any, target: Any) -> Any:
    """The target as an array, if its shape and type are those of class numbers."""
    axis = _class_axis(input)
    expected = tuple(n for i, n in enumerate(input.shape) if i != axis)
    labels = raw(target)
    if tuple(labels.shape) != expected or labels.dtype.kind not in "iu":
        raise UserError(
            f"Scores of shape {tuple(input.shape)} need integer class numbers of shape {expected}. "
            f"Received {tuple(labels.shape)} of {labels.dtype}. Convert or reshape the targets."
        )
    return labels


def _or_nothing(total: Any, rows: Any) -> Any:
    nothing = B.asarray(math.nan, dtype=total.dtype)
    if rows is not None:
        nothing = B.where(rows.any(), nothing, B.ones_like(nothing))
    return B.where(total == 0, nothing, total)


def _class_axis(input: Any) -> int:
    if not input.shape:
        raise UserError("Scores need an axis of classes. Received a single number. Reshape them to (1, classes).")
    return 0 if len(input.shape) == 1 else 1


def _along_classes(weight: Any, scores: Any, axis: int) -> Any:
    return raw(weight).reshape((-1,) + (1,) * (len(scores.shape) - axis - 1))


def hinge_loss(input: Any, target: Any, margin: float = 1.0, reduction: str = "mean") -> Any:
    """max(0, margin - t x) with targets t of -1 and 1: the support vector machine's loss (Cortes and Vapnik 1995)."""
    input, target = alike(input, target, "hinge_loss")
    return reduced(ops.relu(margin - target * input), reduction)


def soft_margin_loss(input: Any, target: Any, reduction: str = "mean") -> Any:
    """ln(1 + e^(-t x)) with targets t of -1 and 1."""
    input, target = alike(input, target, "soft_margin_loss")
    return reduced(ops.softplus(-target * input), reduction)


def multi_margin_loss(
    input: Any, target: Any, p: int = 1, margin: float = 1.0, weight: Any = None, reduction: str = "mean"
) -> Any:
    """w_t / C times the sum over classes c other than t of max(0, margin - x_t + x_c)^p, for scores (batch, C), p = 1 or 2."""
    if p not in (1, 2):
        raise UserError(f"multi_margin_loss() needs p = 1 or 2. Received {p}. Use p=1.")
    if len(input.shape) != 2:
        raise UserError(
            f"multi_margin_loss() needs scores (batch, classes). Received shape {tuple(input.shape)}. "
            "Reshape them to that."
        )
    input = widened(input)
    _, scale, _ = _kept(input, target, weight, -1)
    labels = raw(target)
    gap = ops.relu(margin - ops.gather(input, labels[:, None], axis=1) + input)
    gap = ops.where(ops.one_hot(labels, input.shape[1], dtype="bool"), 0.0, gap if p == 1 else ops.square(gap))
    loss = ops.sum(gap, axis=1) / input.shape[1]
    return reduced(loss if scale is None else loss * scale, reduction)


def sigmoid_focal_loss(
    input: Any, target: Any, alpha: float = 0.25, gamma: float = 2.0, reduction: str = "mean"
) -> Any:
    """-alpha_t (1 - p_t)^gamma ln p_t: cross-entropy that fades where the score is already right (Lin et al. 2017, eq. 5).

    p_t is sigmoid(input) for target 1 and its complement for 0; so is alpha_t from alpha, unless alpha is negative (none).
    """
    input, target = alike(input, target, "sigmoid_focal_loss")
    wrong = ops.sigmoid(input) * (1 - target) + ops.sigmoid(-input) * target  # 1 - p_t, exact near 0
    loss = binary_cross_entropy_with_logits(input, target, reduction="none")
    if gamma != 0:
        right = ops.equal(wrong, 0)  # where a power below 1 has no slope
        loss = ops.where(right, 0.0, loss * ops.power(ops.where(right, 1.0, wrong), gamma))
    if alpha >= 0:
        loss = (alpha * target + (1 - alpha) * (1 - target)) * loss
    return reduced(loss, reduction)


def dice_loss(input: Any, target: Any, smooth: float = 1.0, reduction: str = "mean") -> Any:
    """1 - (2 sum(p t) + smooth) / (sum(p) + sum(t) + smooth) over the space of probabilities p (batch, channels, *space).

    Without reduction it has shape (batch, channels). After Milletari et al. (2016), with plain sums below the line.
    """
    input, target = alike(input, target, "dice_loss")
    if len(input.shape) < 3:
        raise UserError(
            f"dice_loss() needs (batch, channels, *space). Received shape {tuple(input.shape)}. "
            "Reshape the input to that."
        )
    space = tuple(range(2, len(input.shape)))
    overlap = ops.sum(input * target, axis=space)
    size = ops.sum(input, axis=space) + ops.sum(target, axis=space)
    return reduced(1 - (2 * overlap + smooth) / (size + smooth), reduction)


# Distributions and distances


def kl_div(input: Any, target: Any, reduction: str = "mean", log_target: bool = False) -> Any:
    """t (ln t - input) for log-probabilities `input` and probabilities t (or their logarithms if `log_target`).

    reduction="batchmean" divides the sum by the batch, which is the divergence; "mean" divides by all elements, as in PyTorch.
    """
    input, target = alike(input, target, "kl_div")
    if log_target:
        loss = ops.exp(target) * (target - input)
    else:
        positive = ops.greater(target, 0)
        loss = ops.where(positive, target * ops.log(ops.where(positive, target, 1.0)), 0.0 * target) - target * input
    if reduction == "batchmean":
        return batch_mean(loss) * (loss.size // input.shape[0] if input.shape else 1)
    return reduced(loss, reduction)


def cosine_similarity(x1: Any, x2: Any, axis: int = 1, eps: float = 1e-8) -> Any:
    """x1 . x2 / (max(|x1|, eps) max(|x2|, eps)) over `axis`, both broadcast to one shape."""
    shape = np.broadcast_shapes(tuple(x1.shape), tuple(x2.shape))
    x1, x2 = ops.broadcast_to(x1, shape), ops.broadcast_to(x2, shape)
    return ops.sum(normalize(x1, axis=axis, eps=eps) * normalize(x2, axis=axis, eps=eps), axis=axis)


def pairwise_distance(x1: Any, x2: Any, p: float = 2.0, eps: float = 1e-6, keepdims: bool = False) -> Any:
    """The p-norm of x1 - x2 + eps over the last axis."""
    return ops.norm(x1 - x2 + eps, axis=-1, keepdims=keepdims, p=p)


def cosine_embedding_loss(input1: Any, input2: Any, target: Any, margin: float = 0.0, reduction: str = "mean") -> Any:
    """1 - cos(x1, x2) for pairs that belong together (target 1), max(0, cos - margin) for pairs that do not (-1)."""
    if input1.shape != input2.shape or tuple(target.shape) != tuple(input1.shape[:-1]):
        raise UserError(
            f"cosine_embedding_loss() needs two inputs (batch, features) and targets (batch). Received {tuple(input1.shape)}, "
            f"{tuple(input2.shape)} and {tuple(target.shape)}. Reshape them to that."
        )
    input1, input2 = widened(input1), widened(input2)
    squares = [ops.sum(x * x, axis=-1) + 1e-12 for x in (input1, input2)]
    cosine = ops.sum(input1 * input2, axis=-1) / ops.sqrt(squares[0] * squares[1])
    sides = raw(target)
    apart = ops.where(sides == -1, ops.relu(cosine - margin), 0.0)
    return reduced(ops.where(sides == 1, 1 - cosine, apart), reduction)


def triplet_margin_loss(
    anchor: Any, positive: Any, negative: Any, margin: float = 1.0, p: float = 2.0, eps: float = 1e-6, swap: bool = False,
    reduction: str = "mean",
) -> Any:  # fmt: skip
    """max(0, |a - p| - |a - n| + margin), after Schroff et al. (2015), who square the distances.

    With `swap`, the nearer of anchor and positive is the one that the negative must leave (Balntas et al. 2016).
    """
    anchor, positive, negative = widened(anchor), widened(positive), widened(negative)
    near, far = pairwise_distance(anchor, positive, p, eps), pairwise_distance(anchor, negative, p, eps)
    if swap:
        far = ops.minimum(far, pairwise_distance(positive, negative, p, eps))
    return reduced(ops.relu(margin + near - far), reduction)


def info_nce_loss(query: Any, key: Any, temperature: float = 0.1, reduction: str = "mean") -> Any:
    """-ln of the softmax over keys j of cos(q_i, k_j) / temperature, at j = i (van den Oord et al. 2018, eq. 4).

    Scores that are cosines over a temperature are those of Chen et al. (2020), whose negatives include both views.

    `query`, `key`: (batch, features); row i of each belong together, all other rows are the negatives.
    """
    if len(query.shape) != 2 or query.shape != key.shape:
        raise UserError(
            f"info_nce_loss() needs queries and keys of one shape (batch, features). Received {tuple(query.shape)} and "
            f"{tuple(key.shape)}. Pair each query with its key."
        )
    query, key = widened(query), widened(key)
    scores = ops.matmul(normalize(query), ops.transpose(normalize(key))) / temperature
    rows = rows_that_count(scores)
    if rows is not None:
        scores = ops.where(rows[:, 0], scores, -math.inf)
    return cross_entropy(scores, B.arange(query.shape[0]), reduction=reduction)


# Shared


def reduced(loss: Any, reduction: str) -> Any:
    if reduction == "mean":
        return batch_mean(loss)
    if reduction == "sum":
        return sum_and_count(loss)[0]
    if reduction == "none":
        return loss
    raise UserError(f'reduction must be "mean", "sum" or "none". Received {reduction!r}. Use reduction="mean".')


def alike(input: Any, target: Any, name: str) -> tuple[Any, Any]:
    """Input and target, integers and booleans as numbers of the input's type, half precision widened.

    Shapes must agree: (n, 1) against (n,) is a mistake.
    """
    if tuple(input.shape) != tuple(target.shape):
        raise UserError(
            f"{name}() needs input and target of one shape. Received {tuple(input.shape)} and {tuple(target.shape)}. "
            "Reshape one."
        )
    input = widened(input)
    return input, widened(target) if is_floating(target.dtype) else ops.astype(target, dtype=input.dtype)


def outside(values: Any, low: float, high: float) -> bool:
    """Return True if a value is outside [low, high]; values that are not known yet (a compiled step's) pass."""
    found = known(raw(values))
    return found is not None and found.size > 0 and bool((found < low).any() or (found > high).any())
