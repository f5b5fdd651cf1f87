"""Facts about dtypes, in one place: NumPy has no letter for bfloat16 and the 8-bit floats."""

from __future__ import annotations

from typing import Any

from nnatomy.errors import UserError


def is_floating(dtype: Any) -> bool:
    """Return True if values of this dtype are floating-point numbers, those of accelerators (bfloat16, ...) included."""
    try:
        kind = dtype.kind
    except AttributeError:
        raise UserError(
            f"Arrays are NumPy's or JAX's. Received one of dtype {dtype}. Convert it, such as nn.tensor(x.numpy())."
        ) from None
    return bool(kind == "f" or (kind == "V" and dtype.name.startswith(("bfloat", "float"))))


def is_half(dtype: Any) -> bool:
    """Return True if a type is float16 or bfloat16."""
    return bool(dtype.itemsize == 2 and is_floating(dtype))


def resolution(dtype: Any) -> float:
    """The distance from 1 to the next larger number of a floating-point dtype."""
    if dtype.kind == "f":
        from numpy import finfo

        return float(finfo(dtype).eps)
    import ml_dtypes  # which brought the dtype

    found: Any = ml_dtypes.finfo
    return float(found(dtype).eps)
