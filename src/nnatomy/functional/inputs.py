"""Inputs made ready, in PyTorch's order of arguments; the operations with ours are nn.pad, nn.embedding, nn.interpolate."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nnatomy import ops
from nnatomy.backends import known
from nnatomy.errors import UserError
from nnatomy.random import default

__all__ = ["embedding", "gumbel_softmax", "interpolate", "one_hot", "pad"]


def embedding(input: Any, weight: Any) -> Any:
    """The rows of `weight` (vocabulary, features) for each integer of `input`."""
    return ops.embedding(weight, input)


def one_hot(input: Any, num_classes: int = -1) -> Any:
    """Integers 0 and 1 (int64): 1 at the place of each class on a new last axis; as many classes as occur if -1."""
    if num_classes == -1:
        values = known(input.data if hasattr(input, "requires_grad") else input)
        if values is None or not values.size:
            raise UserError("one_hot() counts classes of values that it knows. Received none. Give num_classes=.")
        num_classes = int(values.max()) + 1
    return ops.one_hot(input, num_classes, dtype="int64")


def pad(input: Any, pad: Sequence[int], mode: str = "constant", value: float = 0.0) -> Any:
    """Elements around the last axes: (before, after) of the last axis, then of the one before it, and so on.

    `mode`: "constant", "reflect", "replicate" or "circular". Negative numbers cut.
    """
    modes = {"constant": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}
    flat = tuple(pad)
    if mode not in modes or len(flat) % 2 or len(flat) > 2 * len(input.shape) or any(not hasattr(n, "__index__") for n in flat):
        raise UserError(
            f"pad() takes (before, after) for some of the last {len(input.shape)} axes, and one of {', '.join(modes)}. "
            f"Received {flat} and {mode!r}. Correct them, or use nn.pad(), which takes a pair for each axis."
        )
    pairs = [(0, 0)] * (len(input.shape) - len(flat) // 2) + list(zip(flat[-2::-2], flat[-1::-2], strict=True))
    if any(n + a + b < 0 for n, (a, b) in zip(input.shape, pairs, strict=True)):
        raise UserError(f"pad() leaves 0 or more of each axis. Received {flat} for {tuple(input.shape)}. Cut off less.")
    cuts = tuple(slice(max(-a, 0), n - max(-b, 0)) for n, (a, b) in zip(input.shape, pairs, strict=True))
    if any(n < 0 for n in flat):
        input = ops.getitem(input, cuts)
    return ops.pad(input, [(max(a, 0), max(b, 0)) for a, b in pairs], modes[mode], value)


def interpolate(
    input: Any, size: Any = None, scale_factor: Any = None, mode: str = "nearest", align_corners: bool | None = None
) -> Any:
    """Images at another size: "nearest", "linear", "bilinear", "trilinear", "bicubic" or "area"."""
    return ops.interpolate(input, size, scale_factor, mode, bool(align_corners))


def gumbel_softmax(logits: Any, tau: float = 1.0, hard: bool = False, dim: int = -1, generator: Any = None) -> Any:
    """softmax((logits + g) / tau), g drawn from Gumbel's distribution; with `hard` one-hot, with the soft one's gradient.

    Source: Jang, Gu and Poole (2017).
    """
    if not tau > 0:
        raise UserError(f"gumbel_softmax() needs tau > 0. Received {tau!r}. Give 1.0.")
    uniform = (generator or default).uniform(tuple(logits.shape), 1e-12, 1.0, dtype="float32")
    soft = ops.softmax((logits - ops.log(-ops.log(uniform)).astype(logits.dtype)) / tau, axis=dim)
    if not hard:
        return soft
    raw = soft.detach() if hasattr(soft, "detach") else soft
    picked = ops.equal(raw, ops.amax(raw, axis=dim, keepdims=True)).astype(logits.dtype)
    return picked - raw + soft
