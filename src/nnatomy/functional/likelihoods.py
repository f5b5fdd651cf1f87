"""Losses that are minus the logarithm of a likelihood: of normal and Poisson counts, and of sequences without an alignment."""

from __future__ import annotations

import math
from typing import Any

from nnatomy import ops
from nnatomy.backends import B, known
from nnatomy.errors import UserError
from nnatomy.functional.losses import alike, reduced
from nnatomy.functional.widening import widened
from nnatomy.ops.indexing import raw

__all__ = ["ctc_loss", "gaussian_nll_loss", "poisson_nll_loss"]

NEVER = -1e30
"""The logarithm of a probability of 0 whose sums and differences are still finite."""


def gaussian_nll_loss(
    input: Any, target: Any, var: Any, full: bool = False, eps: float = 1e-6, reduction: str = "mean"
) -> Any:
    """(ln v + (input - target)^2 / v) / 2 with v = max(var, eps), and ln(2 pi) / 2 more if `full`.

    `var` is a number, or has input's shape, or that with 1 or nothing for the last axis. As in PyTorch, a variance that is held
    at eps still has its gradient.
    """
    input, target = alike(input, target, "gaussian_nll_loss")
    if not eps > 0:
        raise UserError(f"gaussian_nll_loss() needs eps above 0. Received {eps!r}. Try 1e-6.")
    if isinstance(var, int | float):
        var = B.full((1,) * len(input.shape), float(var), dtype=input.dtype)
    shape = tuple(var.shape)
    if shape == tuple(input.shape[:-1]) and len(input.shape) > 1:
        var = ops.expand_dims(var, -1)
    elif shape not in (tuple(input.shape), (*input.shape[:-1], 1), (1,) * len(input.shape)):
        raise UserError(
            f"gaussian_nll_loss() needs a variance for each value. Received {shape} for {tuple(input.shape)}. "
            "Give var the shape of input, or leave out or shorten its last axis to 1."
        )
    plain = raw(var)
    found = known(plain)
    if found is not None and found.size and found.min() < 0:
        raise UserError(f"gaussian_nll_loss() needs variances of at least 0. Received {found.min()}. Try softplus.")
    v = var + B.maximum(eps - plain, 0.0).astype(plain.dtype)
    loss = 0.5 * (ops.log(v) + ops.square(input - target) / v)
    return reduced(loss + 0.5 * math.log(2 * math.pi) if full else loss, reduction)


def poisson_nll_loss(
    input: Any, target: Any, log_input: bool = True, full: bool = False, eps: float = 1e-8, reduction: str = "mean"
) -> Any:
    """e^x - t x for logarithms x of rates, or x - t ln(x + eps) for rates; with `full` ln t! by Stirling where t > 1."""
    input, target = alike(input, target, "poisson_nll_loss")
    loss = ops.exp(input) - target * input if log_input else input - target * ops.log(input + eps)
    if full:
        many = ops.greater(target, 1)
        t = ops.where(many, target, 1.0)
        loss = loss + ops.where(many, t * ops.log(t) - t + 0.5 * ops.log(2 * math.pi * t), 0.0)
    return reduced(loss, reduction)


def ctc_loss(
    log_probs: Any, targets: Any, input_lengths: Any, target_lengths: Any, blank: int = 0, reduction: str = "mean",
    zero_infinity: bool = False,
) -> Any:  # fmt: skip
    """-ln of the sum over all alignments of a target of their probability (Graves et al. 2006, equations 6 to 8).

    An alignment has one class for each step; classes that repeat count once, and blanks are left out.

    Args:
        log_probs: logarithms of probabilities, (steps, batch, classes) or (steps, classes): log_softmax of scores
        targets: class numbers without blanks, (batch, longest), or all targets in a row
        input_lengths: how many steps count, (batch)
        target_lengths: how many classes of each target count, (batch)
        blank: the class that means nothing
        reduction: "mean" divides each loss by its target's length first
        zero_infinity: 0 in place of an infinite loss, which a target longer than its input has

    The gradient is the true one of `log_probs`; PyTorch's assumes a log_softmax before it, behind which both are equal.
    """
    if len(log_probs.shape) == 2:
        log_probs = ops.expand_dims(log_probs, 1)
        loss = ctc_loss(log_probs, raw(_array(targets)).reshape(1, -1), _array(input_lengths).reshape(1),
                        _array(target_lengths).reshape(1), blank, reduction, zero_infinity)  # fmt: skip
        return ops.squeeze(loss, 0) if reduction == "none" else loss
    log_probs = widened(log_probs)
    steps, batch = log_probs.shape[:2]
    counts, lengths, labels = _array(input_lengths), _array(target_lengths), _array(targets)
    labels = _padded(labels, lengths, batch)
    _check_ctc(log_probs, labels, counts, lengths, blank)
    longest = labels.shape[1]
    inside = B.arange(longest)[None, :] < lengths[:, None]
    labels = B.where(inside, labels, blank)
    between = B.full((batch, longest), blank, dtype=labels.dtype)
    path = B.concatenate([B.stack([between, labels], axis=2).reshape((batch, 2 * longest)),
                          B.full((batch, 1), blank, dtype=labels.dtype)], axis=1)  # fmt: skip
    nowhere = B.full((batch, 2), NEVER, dtype=log_probs.dtype)
    before = B.concatenate([B.full((batch, 2), blank, dtype=path.dtype), path], axis=1)[:, : path.shape[1]]
    jumps = (path != blank) & (path != before)  # from one class to the next without a blank between
    emitted = ops.clip(log_probs[:, B.arange(batch)[:, None], path], NEVER, None)
    alpha = ops.where(B.arange(path.shape[1])[None, :] < 2, emitted[0], NEVER)
    for t in range(1, steps):
        one = ops.concatenate([nowhere[:, :1], alpha], axis=1)[:, : path.shape[1]]
        two = ops.concatenate([nowhere, alpha], axis=1)[:, : path.shape[1]]
        reached = ops.logaddexp(ops.logaddexp(alpha, one), ops.where(jumps, two, NEVER))
        alpha = ops.where((t < counts)[:, None], emitted[t] + reached, alpha)
    end = ops.squeeze(ops.gather(alpha, 2 * lengths[:, None], axis=1), 1)
    label = ops.squeeze(ops.gather(alpha, B.maximum(2 * lengths - 1, 0)[:, None], axis=1), 1)
    loss = -ops.logaddexp(end, ops.where(lengths > 0, label, NEVER))
    loss = ops.where(raw(loss) > -NEVER / 10, 0.0 if zero_infinity else math.inf, loss)
    if reduction == "mean":
        loss = loss / B.maximum(lengths, 1).astype(loss.dtype)
    return reduced(loss, reduction)


def _array(values: Any) -> Any:
    found = raw(values)
    return B.asarray(found) if not hasattr(found, "dtype") else found


def _padded(labels: Any, lengths: Any, batch: int) -> Any:
    """The targets as (batch, longest); one after the other, they are cut at their lengths."""
    if len(labels.shape) == 2 or tuple(lengths.shape) != (batch,):
        return labels
    found = known(lengths)
    if found is None or found.sum() != labels.shape[0]:
        raise UserError(
            f"ctc_loss() needs targets (batch, longest), or in a row as long as all target_lengths. Received {labels.shape}. "
            "Pad the targets to one length."
        )
    longest = int(found.max()) if found.size else 0
    places = (found.cumsum() - found)[:, None] + B.arange(longest)[None, :]
    return labels[B.minimum(places, max(labels.shape[0] - 1, 0))] if labels.shape[0] else B.zeros((batch, 0), dtype="int64")


def _check_ctc(log_probs: Any, labels: Any, counts: Any, lengths: Any, blank: int) -> None:
    steps, batch, classes = log_probs.shape
    if tuple(counts.shape) != (batch,) or tuple(lengths.shape) != (batch,) or len(labels.shape) != 2 or len(labels) != batch:
        raise UserError(
            f"ctc_loss() needs targets and both lengths for each of the {batch} sequences. "
            f"Received {tuple(labels.shape)}, {tuple(counts.shape)} and {tuple(lengths.shape)}. "
            "Give one entry for each sequence of log_probs."
        )
    if not 0 <= blank < classes:
        raise UserError(f"ctc_loss() needs blank to be one of the {classes} classes. Received {blank}. The usual one is 0.")
    for name, values, most in (("input_lengths", counts, steps), ("target_lengths", lengths, labels.shape[1])):
        found = known(values)
        if found is not None and found.size and not (found.min() >= 0 and found.max() <= most):
            raise UserError(
                f"ctc_loss() needs {name} from 0 to {most}. Received {found.min()} to {found.max()}. "
                "Correct the lengths."
            )
    found, sizes = known(labels), known(lengths)
    if found is not None and sizes is not None:
        seen = found[B.arange(labels.shape[1])[None, :] < sizes[:, None]]
        if seen.size and not (seen.min() >= 0 and seen.max() < classes and not (seen == blank).any()):
            raise UserError(
                f"ctc_loss() needs targets among {classes} classes, and no blanks {blank}. Received {seen.tolist()[:8]}. "
                "Correct the targets, or give blank= another number."
            )
