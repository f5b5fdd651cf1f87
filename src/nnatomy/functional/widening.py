"""Where half precision and integers are not enough: losses and statistics are computed in float32 at least."""

from __future__ import annotations

from typing import Any

from nnatomy import ops
from nnatomy.backends.dtypes import is_floating, is_half


def real(x: Any) -> Any:
    """x, integers and booleans as float32."""
    return x if is_floating(x.dtype) else ops.astype(x, dtype="float32")


def widened(x: Any) -> Any:
    """x in float32 where it is narrower: sums over many values keep their digits, and losses their small differences."""
    return ops.astype(x, dtype="float32") if is_half(x.dtype) else real(x)
