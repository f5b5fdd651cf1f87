"""Normalization and the softmax's cross-entropy as one operation each: their small-step forms are next to them.

A fused operation computes value and gradients in one call of the backend. Its `_by_steps` form is the same in small operations:
what it is held to, and the way by which a gradient is itself differentiated.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from nnatomy.backends import B
from nnatomy.ops import indexing, reductions, shapes
from nnatomy.ops import pointwise as pw
from nnatomy.ops.primitive import check_dtype, primitive, through
from nnatomy.tensor import Tensor

Gradients = Sequence[Any]


def _scaled(x: Any, weight: Any, bias: Any, shape: tuple[int, ...]) -> Any:
    if weight is not None:
        x = x * shapes.reshape(weight, shape)
    return x if bias is None else x + shapes.reshape(bias, shape)


# Over the last axis


def layer_norm_by_steps(x: Any, weight: Any, bias: Any, *, eps: float) -> Any:
    """w (x - mean) / sqrt(variance + eps) + b, the moments over the last axis of x (..., n); w and b (n) or None."""
    centered = x - reductions.mean(x, -1, keepdims=True)
    variance = reductions.mean(pw.square(centered), -1, keepdims=True)
    return _scaled(centered / pw.sqrt(variance + eps), weight, bias, x.shape[-1:])


def _layer_norm_vjp(needs: Sequence[bool], g: Any, ys: Any, x: Any, weight: Any, bias: Any, eps: float) -> Gradients:
    if isinstance(g, Tensor):
        return through(layer_norm_by_steps, needs, g, (x, weight, bias), eps=eps)
    found = B.layer_norm_vjp(g, x, weight, ys[1], ys[2])
    return (found, None, None) if weight is None else found


@primitive(joint=_layer_norm_vjp, saved=2)
def _layer_norm(x: Any, weight: Any, bias: Any, *, eps: float) -> Any:
    y, mean, rstd = B.layer_norm(x, weight, bias, eps=eps)
    return check_dtype("layer_norm", (x, weight, bias), y, ("x", "weight", "bias")), mean, rstd


def layer_norm(x: Any, weight: Any = None, bias: Any = None, *, eps: float) -> Any:
    """w (x - mean) / sqrt(variance + eps) + b, the moments over the last axis of x (..., n); w and b (n) or None."""
    if weight is None and bias is not None:
        return _layer_norm(x, None, None, eps=eps) + bias
    return _layer_norm(x, weight, bias, eps=eps)


def rms_norm_by_steps(x: Any, weight: Any, *, eps: float) -> Any:
    """w x / sqrt(mean(x^2) + eps) over the last axis of x (..., n); w (n) or None."""
    mean = reductions.mean(pw.square(x), -1, keepdims=True)
    return _scaled(x / pw.sqrt(mean + eps), weight, None, x.shape[-1:])


def _rms_norm_vjp(needs: Sequence[bool], g: Any, ys: Any, x: Any, weight: Any, eps: float) -> Gradients:
    if isinstance(g, Tensor):
        return through(rms_norm_by_steps, needs, g, (x, weight), eps=eps)
    found = B.rms_norm_vjp(g, x, weight, ys[1])
    return (found, None) if weight is None else found


@primitive(joint=_rms_norm_vjp, saved=1)
def _rms_norm(x: Any, weight: Any, *, eps: float) -> Any:
    y, rstd = B.rms_norm(x, weight, eps=eps)
    return check_dtype("rms_norm", (x, weight), y, ("x", "weight")), rstd


def rms_norm(x: Any, weight: Any = None, *, eps: float) -> Any:
    """w x / sqrt(mean(x^2) + eps) over the last axis of x (..., n); w (n) or None."""
    return _rms_norm(x, weight, eps=eps)


# For each channel


def batch_norm_by_steps(x: Any, weight: Any, bias: Any, *, eps: float, moments: Any = None) -> Any:
    """w (x - mean) / sqrt(variance + eps) + b, the moments of each channel of x (batch, channels, ...); w and b (channels)."""
    axes, shape = (0, *range(2, len(x.shape))), (x.shape[1],) + (1,) * (len(x.shape) - 2)
    centered = x - reductions.mean(x, axes, keepdims=True)
    variance = reductions.mean(pw.square(centered), axes, keepdims=True)
    return _scaled(centered / pw.sqrt(variance + eps), weight, bias, shape)


def _batch_norm_vjp(
    needs: Sequence[bool], g: Any, ys: Any, x: Any, weight: Any, bias: Any, eps: float, moments: Any
) -> Gradients:
    if isinstance(g, Tensor):
        return through(batch_norm_by_steps, needs, g, (x, weight, bias), eps=eps)
    found = B.batch_norm_vjp(g, x, weight, ys[1], ys[2], eps=eps)
    return (found, None, None) if weight is None else found


@primitive(joint=_batch_norm_vjp, saved=2)
def _batch_norm(x: Any, weight: Any, bias: Any, *, eps: float, moments: Callable[[Any, Any], None] | None) -> Any:
    y, mean, variance = B.batch_norm(x, weight, bias, eps=eps)
    if moments is not None:
        moments(mean, variance)
    return check_dtype("batch_norm", (x, weight, bias), y, ("x", "weight", "bias")), mean, variance


def batch_norm(
    x: Any, weight: Any = None, bias: Any = None, *, eps: float, moments: Callable[[Any, Any], None] | None = None
) -> Any:
    """w (x - mean) / sqrt(variance + eps) + b, the moments of each channel of x (batch, channels, ...); w and b (channels).

    `moments(mean, variance)` is called with the moments as plain arrays (channels), the variance divided by n.
    """
    if weight is None and bias is not None:
        return _scaled(_batch_norm(x, None, None, eps=eps, moments=moments), None, bias, (-1,) + (1,) * (len(x.shape) - 2))
    return _batch_norm(x, weight, bias, eps=eps, moments=moments)


# Cross-entropy


def softmax_cross_entropy_by_steps(x: Any, *, labels: Any) -> Any:
    """logsumexp(x_i) - x_i[labels_i] of each row of x (n, classes): shape (n)."""
    picked = shapes.squeeze(indexing.gather(x, labels[:, None], axis=1), axis=1)
    return reductions.logsumexp(x, 1) - picked


def _softmax_cross_entropy_vjp(needs: Sequence[bool], g: Any, ys: Any, x: Any, labels: Any) -> Gradients:
    if isinstance(g, Tensor):
        kept = B.logical_and(labels >= 0, labels < x.shape[1])  # others carry no gradient
        return through(softmax_cross_entropy_by_steps, needs, g, (x,), labels=B.where(kept, labels, 0))
    return (B.softmax_cross_entropy_vjp(g, x, labels, ys[1]),)


@primitive(joint=_softmax_cross_entropy_vjp, saved=1)
def _softmax_cross_entropy(x: Any, *, labels: Any) -> Any:
    return B.softmax_cross_entropy(x, labels)


def softmax_cross_entropy(x: Any, labels: Any) -> Any:
    """-ln softmax(x_i)[labels_i] of each row of x (n, classes), labels (n) integers: shape (n).

    A label that is not a class gives NaN; its gradient counts only if it is multiplied by 0.
    """
    return _softmax_cross_entropy(x, labels=indexing.raw(labels))
