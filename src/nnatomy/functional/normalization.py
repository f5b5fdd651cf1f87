"""Normalization as functions of their input, and linear maps. The layers with their weights are in layers/normalization.py."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from nnatomy import ops
from nnatomy.backends import B
from nnatomy.errors import UserError
from nnatomy.functional.masking import rows_that_count
from nnatomy.functional.widening import widened
from nnatomy.ops import linear
from nnatomy.ops import normalization as fused
from nnatomy.ops.pointwise import real
from nnatomy.ops.shapes import for_each

__all__ = [
    "batch_norm", "group_norm", "instance_norm", "layer_norm", "linear", "local_response_norm", "normalize", "rms_norm",
]  # fmt: skip


def normalize(x: Any, p: float = 2.0, axis: int = 1, eps: float = 1e-12) -> Any:
    """x / max(|x|_p, eps), the norm taken over `axis`."""
    x = real(x)
    return x / ops.clip(ops.norm(x, axis=axis, keepdims=True, p=p), eps)


def _moments(x: Any, axes: tuple[int, ...]) -> tuple[Any, Any, Any]:
    """x minus its mean over `axes`, the mean, and the variance (divided by n), all with their axes kept."""
    mean = ops.mean(x, axis=axes, keepdims=True)
    centered = x - mean
    return centered, mean, ops.mean(ops.square(centered), axis=axes, keepdims=True)


def _as(y: Any, x: Any) -> Any:
    """y in x's type, of which statistics may be a wider one."""
    return y if y.dtype == x.dtype else ops.astype(y, dtype=x.dtype)


def _affine(x: Any, weight: Any, bias: Any, shape: tuple[int, ...]) -> Any:
    if weight is not None:
        x = x * ops.reshape(weight, shape)
    return x if bias is None else x + ops.reshape(bias, shape)


def _check_trailing(x: Any, normalized_shape: Sequence[int], name: str) -> None:
    shape = tuple(normalized_shape)
    if not shape or tuple(x.shape[-len(shape) :]) != shape:
        raise UserError(
            f"{name} needs an input whose last axes are {shape}. Received shape {tuple(x.shape)}. "
            "Reshape the input, or change normalized_shape."
        )


def _flat(x: Any, normalized_shape: Sequence[int], *weights: Any) -> list[Any]:
    """x and the weights with the axes of `normalized_shape` as one."""
    n = math.prod(normalized_shape)
    lead = tuple(x.shape[: len(x.shape) - len(normalized_shape)])
    return [ops.reshape(x, (*lead, n)), *(w if w is None else ops.reshape(w, (n,)) for w in weights)]


def layer_norm(x: Any, normalized_shape: int | Sequence[int], weight: Any = None, bias: Any = None, eps: float = 1e-5) -> Any:
    """w (x - mean) / sqrt(variance + eps) + b over the last axes, which have `normalized_shape` (Ba et al. 2016, eq. 4)."""
    normalized_shape = for_each(normalized_shape, 1)
    _check_trailing(x, normalized_shape, "layer_norm()")
    x = real(x)
    if len(normalized_shape) == 1:
        return fused.layer_norm(x, weight, bias, eps=eps)
    return ops.reshape(fused.layer_norm(*_flat(x, normalized_shape, weight, bias), eps=eps), x.shape)


def rms_norm(x: Any, normalized_shape: int | Sequence[int], weight: Any = None, eps: float | None = None) -> Any:
    """w x / sqrt(mean(x^2) + eps) over the last axes (Zhang and Sennrich 2019, eq. 4); eps None is the dtype's epsilon."""
    normalized_shape = for_each(normalized_shape, 1)
    _check_trailing(x, normalized_shape, "rms_norm()")
    x = real(x)
    if eps is None:
        eps = {2: 2.0**-10, 4: 2.0**-23, 8: 2.0**-52}[x.dtype.itemsize]
    if len(normalized_shape) == 1:
        return fused.rms_norm(x, weight, eps=eps)
    return ops.reshape(fused.rms_norm(*_flat(x, normalized_shape, weight), eps=eps), x.shape)


def batch_norm(
    x: Any, running_mean: Any, running_var: Any, weight: Any = None, bias: Any = None, training: bool = False,
    momentum: float = 0.1, eps: float = 1e-5,
) -> Any:  # fmt: skip
    """w (x - mean) / sqrt(variance + eps) + b for each channel of axis 1 (Ioffe and Szegedy 2015, algorithm 1).

    In training the moments are the batch's, and the running ones (Tensors, or None) move toward them by `momentum`, the
    variance as n / (n - 1) times the batch's; otherwise the running ones are used. Inside `masked_examples` the moments are
    those of the examples that count, and one alone moves nothing.
    """
    axes = (0, *range(2, len(x.shape)))
    shape = (1, x.shape[1]) + (1,) * (len(x.shape) - 2)
    x = real(x)
    if not training:
        if running_mean is None or running_var is None:
            raise UserError(
                "batch_norm() needs the running moments when it does not train. Received None. "
                "Give running_mean and running_var, or training=True."
            )
        mean, variance = (_plain(t).reshape(shape) for t in (running_mean, running_var))
        scale = 1 / B.sqrt(variance + eps)
        if weight is not None:
            scale = ops.reshape(weight, shape) * scale
        shift = -mean * scale if bias is None else ops.reshape(bias, shape) - mean * scale
        return x * scale + shift
    count = math.prod(x.shape[a] for a in axes)
    if count < 2:
        raise UserError(
            f"Batch statistics need more than one value for each channel. Received shape {tuple(x.shape)}. "
            "Use a larger batch, or eval()."
        )
    kept = rows_that_count(x)
    if kept is not None:
        return _masked_batch_norm(x, kept, running_mean, running_var, weight, bias, momentum, eps)
    moments = None
    if running_mean is not None:

        def moments(mean: Any, variance: Any) -> None:
            _follow(running_mean, mean, momentum)
            _follow(running_var, variance * (count / (count - 1)), momentum)

    return fused.batch_norm(x, weight, bias, eps=eps, moments=moments)


def _masked_batch_norm(
    x: Any, kept: Any, running_mean: Any, running_var: Any, weight: Any, bias: Any, momentum: Any, eps: float
) -> Any:
    axes, shape = (0, *range(2, len(x.shape))), (1, x.shape[1]) + (1,) * (len(x.shape) - 2)
    wide = widened(x)
    count = kept.sum().astype(wide.dtype) * math.prod(x.shape[2:])
    share = kept.astype(wide.dtype) / B.maximum(count, 1.0)
    mean = ops.sum(wide * share, axis=axes, keepdims=True)
    centered = wide - mean
    variance = ops.sum(ops.square(centered) * share, axis=axes, keepdims=True)
    if running_mean is not None:
        momentum = B.where(count >= 2, momentum, 0.0).astype(wide.dtype)
        _follow(running_mean, _plain(mean), momentum)
        _follow(running_var, _plain(variance) * (count / B.maximum(count - 1, 1.0)), momentum)
    return _affine(_as(centered / ops.sqrt(variance + eps), x), weight, bias, shape)


def instance_norm(
    x: Any, running_mean: Any = None, running_var: Any = None, weight: Any = None, bias: Any = None,
    use_input_stats: bool = True, momentum: float = 0.1, eps: float = 1e-5,
) -> Any:  # fmt: skip
    """As `batch_norm`, the moments taken over space for each example and channel by itself (Ulyanov et al. 2016)."""
    if not use_input_stats:
        return batch_norm(x, running_mean, running_var, weight, bias, training=False, eps=eps)
    x = real(x)
    count = math.prod(x.shape[2:])
    if count < 2:
        raise UserError(
            f"Instance statistics need more than one place in space. Received shape {tuple(x.shape)}. "
            "Give larger inputs, or use_input_stats=False."
        )
    centered, mean, variance = _moments(widened(x), tuple(range(2, len(x.shape))))
    if running_mean is not None:
        _follow(running_mean, _over_examples(mean), momentum)
        _follow(running_var, _over_examples(variance) * (count / (count - 1)), momentum)
    return _affine(_as(centered / ops.sqrt(variance + eps), x), weight, bias, (1, x.shape[1]) + (1,) * (len(x.shape) - 2))


def group_norm(x: Any, num_groups: int, weight: Any = None, bias: Any = None, eps: float = 1e-5) -> Any:
    """w (x - mean) / sqrt(variance + eps) + b, the moments over space and each group of channels (Wu and He 2018)."""
    if len(x.shape) < 2 or x.shape[1] % num_groups:
        raise UserError(
            f"group_norm() needs (batch, channels, ...) with channels in {num_groups} groups. Received shape {tuple(x.shape)}. "
            "Choose a num_groups that divides the channels."
        )
    x = real(x)
    members = x.shape[1] // num_groups * math.prod(x.shape[2:])  # counted: -1 is undefined for an empty batch
    grouped = ops.reshape(widened(x), (x.shape[0], num_groups, members))
    centered, _, variance = _moments(grouped, (2,))
    y = ops.reshape(centered / ops.sqrt(variance + eps), x.shape)
    return _affine(_as(y, x), weight, bias, (1, x.shape[1]) + (1,) * (len(x.shape) - 2))


def local_response_norm(x: Any, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> Any:
    """x / (k + alpha mean of x^2 over `size` neighboring channels)^beta (Krizhevsky et al. 2012, section 3.3).

    Channels beyond the ends are 0. As in PyTorch, alpha multiplies the mean; the paper's multiplies the sum.
    """
    if len(x.shape) < 3:
        raise UserError(
            f"local_response_norm() needs (batch, channels, *space). Received shape {tuple(x.shape)}. "
            "Reshape the input to that."
        )
    x = real(x)
    squares = ops.reshape(ops.square(widened(x)), (x.shape[0], 1, x.shape[1], math.prod(x.shape[2:])))
    squares = ops.pad(squares, [(0, 0), (0, 0), (size // 2, (size - 1) // 2), (0, 0)])
    mean = ops.reshape(ops.avg_pool(squares, (size, 1), 1), x.shape)
    return _as(widened(x) / ops.power(k + alpha * mean, beta), x)


def _plain(t: Any) -> Any:
    """The array of a Tensor: a value that is read without being differentiated."""
    return t.data if hasattr(t, "requires_grad") else t


def _over_examples(x: Any) -> Any:
    """The mean of x (batch, ...) over the examples that count, as an array."""
    kept, x = rows_that_count(x), _plain(x)
    if kept is None:
        return x.sum(axis=0) / x.shape[0]
    return B.where(kept, x, 0.0).sum(axis=0) / B.maximum(kept.sum(), 1).astype(x.dtype)


def _follow(running: Any, value: Any, momentum: float) -> None:
    """running <- (1 - momentum) running + momentum value."""
    running.copy_((1 - momentum) * running.data + momentum * value.reshape(running.shape))
