"""The kinds of numbers that weight files hold, by the names that each format gives them."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np


class Kind(NamedTuple):
    """The format of a stored number, little-endian, and whether its two bytes are the upper half of a float32 (bfloat16)."""

    stored: str
    half: bool = False


BFLOAT16 = Kind("<u2", half=True)
SAFETENSORS = {
    "F64": Kind("<f8"), "F32": Kind("<f4"), "F16": Kind("<f2"), "BF16": BFLOAT16, "I64": Kind("<i8"), "I32": Kind("<i4"),
    "I16": Kind("<i2"), "I8": Kind("<i1"), "U64": Kind("<u8"), "U32": Kind("<u4"), "U16": Kind("<u2"), "U8": Kind("<u1"),
    "BOOL": Kind("|b1"),
}  # fmt: skip
TORCH = {
    "DoubleStorage": Kind("<f8"), "FloatStorage": Kind("<f4"), "HalfStorage": Kind("<f2"), "BFloat16Storage": BFLOAT16,
    "LongStorage": Kind("<i8"), "IntStorage": Kind("<i4"), "ShortStorage": Kind("<i2"), "CharStorage": Kind("<i1"),
    "ByteStorage": Kind("<u1"), "BoolStorage": Kind("|b1"),
}  # fmt: skip
PLAIN = "fiub"
"""Kinds of NumPy's dtypes that are taken: floats, integers and truth values."""


def widened(a: np.ndarray[Any, Any], kind: Kind) -> np.ndarray[Any, Any]:
    """The numbers as NumPy has them: bfloat16 becomes float32, exactly; the rest as it is."""
    return (a.astype(np.uint32) << 16).view(np.float32) if kind.half else a
