"""Where half precision is not enough: losses and statistics are computed in float32 at least."""

from __future__ import annotations

from typing import Any

from nnatomy import ops


def is_half(dtype: Any) -> bool:
    """Return True if a type is float16 or bfloat16."""
    return str(dtype) in ("float16", "bfloat16")


def widened(x: Any) -> Any:
    """x in float32 where it is narrower: sums over many values keep their digits, and losses their small differences."""
    return ops.astype(x, dtype="float32") if is_half(x.dtype) else x
