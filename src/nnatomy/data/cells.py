"""Cells of text as numbers or truth values, and the type of a column. Targets are not used here."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from nnatomy.data.numerals import is_plain as is_numeric
from nnatomy.data.numerals import numerals_of
from nnatomy.data.numerals import plain_number as number
from nnatomy.data.times import time_layout

__all__ = ["ENOUGH", "TYPES", "WORDS", "infer_type", "is_numeric", "number", "numbers", "truth", "type_of", "word_key"]

Array = npt.NDArray[Any]
TYPES = ("numeric", "categorical", "boolean", "date", "text")  # those that a user may choose
WORDS = ({"true", "false"}, {"yes", "no"}, {"t", "f"}, {"y", "n"}, {"0", "1"}, {"0.0", "1.0"})
TRUE = frozenset({"true", "yes", "t", "y", "1", "1.0"})
TRUTH = {word: float(word in TRUE) for words in WORDS for word in words}
NAME_PARTS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")  # of customer_id, customerID, Customer-Id
ID_WORDS = frozenset({"id", "ids", "uuid", "guid", "identifier", "nr"})
NUMBER_WORDS = frozenset({"no", "num", "number", "key"})
ROW_NAMES = frozenset({"index", "row", "unnamed0", "key", "no", "nr", "rownumber", "rowno", "rownames", "recordnumber"})
OWNERS = frozenset((
    "account", "booking", "case", "claim", "client", "company", "contact", "customer", "cust", "device", "document", "employee",
    "event", "house", "invoice", "item", "listing", "loan", "member", "message", "order", "passenger", "patient", "person",
    "player", "policy", "post", "product", "property", "record", "row", "sample", "sensor", "session", "shop", "store",
    "student", "subject", "ticket", "transaction", "trip", "user", "vehicle", "visit", "visitor",
))  # fmt: skip
"""Whose ids are written in one word, as in customerid; other words end in id as well: paid, humid, grid."""
ENOUGH = 20  # with fewer rows, a coincidence is not evidence


def numbers(cells: Sequence[str]) -> Array:
    """Return cells as float64[n]; NaN where `number` gives it."""
    return np.array([number(cell) for cell in cells], dtype=np.float64)


def truth(cells: Sequence[str]) -> Array:
    """Return float64[n]: 1 for true, yes, t, y and 1, 0 for their opposites, NaN for any other cell."""
    return np.array([TRUTH.get(c.lower(), np.nan) for c in cells], dtype=np.float64)


def word_key(cell: str) -> str:
    """Return what the spellings of a category have in common: letters without case, single spaces."""
    return " ".join(cell.casefold().split())


def type_of(name: str, cells: Sequence[str], known: str | None = None) -> str:
    """Return what `infer_type` does, in keeping with what a source with typed columns knows; see `RawTable.types`."""
    found = infer_type(name, cells)
    if known is None or found in ("empty", "constant"):
        return found
    if known == "string" and found in ("numeric", "identifier"):  # such as "00123": texts of digits are no numbers
        distinct = len({cell for cell in cells if cell})
        return "text" if distinct > 0.5 * len(cells) and len(cells) >= ENOUGH else "categorical"
    return found if known in ("string", "numeric") else known


def infer_type(name: str, cells: Sequence[str]) -> str:
    """Return what a column holds: one of TYPES, or "identifier", "constant" or "empty"."""
    present = [c for c in cells if c]
    distinct = set(present)
    if not distinct:
        return "empty"
    if len(set(map(word_key, distinct))) == 1:
        return "constant"
    if {word_key(c) for c in distinct} in WORDS:
        return "boolean"
    if all(is_numeric(c) for c in distinct):
        return "identifier" if _numbers_the_rows(name, cells, len(distinct)) else "numeric"
    if time_layout(present) is not None:
        return "date"
    if numerals_of(present):
        return "numeric"
    if len(distinct) > 0.5 * len(present) and len(present) >= ENOUGH:
        return "text"
    return "categorical"


def _numbers_the_rows(name: str, cells: Sequence[str], distinct: int) -> bool:
    if distinct < len(cells) or len(cells) < ENOUGH:
        return False
    values = numbers(cells)
    whole = bool(np.all(np.isfinite(values)) and np.all(values == np.round(values)))
    return whole and (_names_rows(name) or bool(np.all(np.diff(values) == 1)))


def _names_rows(column: str) -> bool:
    """Return True if a column's name says that it only names the row: customer_id, CustomerID, customerid, row, Id."""
    parts = [part.lower() for part in NAME_PARTS.findall(column)]
    if not parts:
        return False
    joined = "".join(parts)
    return (
        joined in ROW_NAMES
        or parts[0] == "id"
        or parts[-1] in ID_WORDS
        or (joined.endswith("id") and joined[:-2] in OWNERS)
        or (parts[-1] in NUMBER_WORDS and "".join(parts[:-1]) in OWNERS)
    )
