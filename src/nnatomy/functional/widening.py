"""Where half precision and integers are not enough: losses and statistics are computed in float32 at least."""

from __future__ import annotations

from typing import Any

from nnatomy import ops
from nnatomy.backends.dtypes import is_half
from nnatomy.ops.pointwise import real


def widened(x: Any) -> Any:
    """x in float32 where it is narrower: sums over many values keep their digits, and losses their small differences."""
    return ops.astype(x, dtype="float32") if is_half(x.dtype) else real(x)
