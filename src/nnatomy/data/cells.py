"""Cells of text as numbers or truth values, and the type of a column. Targets are not used here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from nnatomy.data.times import time_layout

__all__ = ["ENOUGH", "TYPES", "WORDS", "infer_type", "is_numeric", "number", "numbers", "truth", "type_of"]

Array = npt.NDArray[Any]
TYPES = ("numeric", "categorical", "boolean", "date", "text")  # those that a user may choose
WORDS = ({"true", "false"}, {"yes", "no"}, {"t", "f"}, {"y", "n"}, {"0", "1"}, {"0.0", "1.0"})
TRUE = frozenset({"true", "yes", "t", "y", "1", "1.0"})
TRUTH = {word: float(word in TRUE) for words in WORDS for word in words}
ENOUGH = 20  # with fewer rows, a coincidence is not evidence


def number(cell: str) -> float:
    """Return a cell as a float; NaN for a missing cell, for text, and for what float32 cannot hold."""
    try:
        value = float(cell) if "_" not in cell else float("nan")
    except ValueError:
        return float("nan")
    return value if abs(value) < 3e38 else float("nan")


def numbers(cells: Sequence[str]) -> Array:
    """Return cells as float64[n]; NaN where `number` gives it."""
    return np.array([number(cell) for cell in cells], dtype=np.float64)


def truth(cells: Sequence[str]) -> Array:
    """Return float64[n]: 1 for true, yes, t, y and 1, 0 for their opposites, NaN for any other cell."""
    return np.array([TRUTH.get(c.lower(), np.nan) for c in cells], dtype=np.float64)


def is_numeric(cell: str) -> bool:
    """Return True if a cell reads as a number, NaN and infinity included."""
    try:
        float(cell)
    except ValueError:
        return False
    return "_" not in cell


def type_of(name: str, cells: Sequence[str], known: str | None = None) -> str:
    """Return what `infer_type` does, in keeping with what a source with typed columns knows; see `RawTable.types`."""
    found = infer_type(name, cells)
    if known is None or found in ("empty", "constant"):
        return found
    if known == "string" and found in ("numeric", "identifier"):  # such as "00123": texts of digits are no numbers
        distinct = len({cell for cell in cells if cell})
        return "text" if distinct > 0.5 * len(cells) and len(cells) >= ENOUGH else "categorical"
    return found if known == "string" else known


def infer_type(name: str, cells: Sequence[str]) -> str:
    """Return what a column holds: one of TYPES, or "identifier", "constant" or "empty"."""
    present = [c for c in cells if c]
    distinct = set(present)
    if not distinct:
        return "empty"
    if len(distinct) == 1:
        return "constant"
    if {c.lower() for c in distinct} in WORDS:
        return "boolean"
    if all(is_numeric(c) for c in distinct):
        return "identifier" if _numbers_the_rows(name, cells, len(distinct)) else "numeric"
    if time_layout(present) is not None:
        return "date"
    if len(distinct) > 0.5 * len(present) and len(present) >= ENOUGH:
        return "text"
    return "categorical"


def _numbers_the_rows(name: str, cells: Sequence[str], distinct: int) -> bool:
    if distinct < len(cells) or len(cells) < ENOUGH:
        return False
    values = numbers(cells)
    whole = bool(np.all(np.isfinite(values)) and np.all(values == np.round(values)))
    plain = name.lower()
    named = plain in {"id", "index", "row", "unnamed: 0", "key", "no", "nr"} or plain.endswith(("_id", " id", "-id"))
    return whole and (named or bool(np.all(np.diff(values) == 1)))
