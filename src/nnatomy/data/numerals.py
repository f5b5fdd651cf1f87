"""Numbers as people write them: decimal comma or point, thousands separated, with a currency's or a percent sign."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

__all__ = ["PLAIN", "Numerals", "is_plain", "numerals_of", "plain_number", "whole"]

LIMIT = 3e38  # of float32, nearly
SPACES = str.maketrans({"\u00a0": " ", "\u202f": " ", "\u2009": " ", "\u2007": " ", "\u2019": "'", "\u2212": "-"})
CODES = "USD|EUR|GBP|JPY|CNY|CHF|INR|AUD|CAD|NZD|SEK|NOK|DKK|PLN|CZK|HUF|RUB|BRL|MXN|ZAR|KRW|TRY|kr|zł|Kč|Ft"
UNIT = rf"[A-Z]{{0,3}}[$¢£¤¥\u20a0-\u20c0]|{CODES}|[%‰]"
WRITTEN = re.compile(
    rf"(?P<open>\()?(?P<sign>[-+]?) ?(?P<before>{UNIT})? ?(?P<inner>[-+]?)(?P<body>[.,]?\d[\d.,' ]*?) ?"
    rf"(?P<after>{UNIT})?(?P<late>-)?(?P<close>\))?"
)
WHOLE = re.compile(r"([+-]?\d+)\.0*")
SHARES = ("%", "‰")
GROUPS = re.compile(r"[-+]?[1-9]\d{0,2}(?:\.\d{3})+|[-+]?\d+")
"""What may have points between thousands."""


def plain_number(cell: str) -> float:
    """Return a cell in Python's notation as a float; NaN for a missing cell, for text, and for what float32 cannot hold."""
    try:
        value = float(cell) if "_" not in cell else float("nan")
    except ValueError:
        return float("nan")
    return value if abs(value) < LIMIT else float("nan")


def is_plain(cell: str) -> bool:
    """Return True if a cell reads as a number in Python's notation, NaN and infinity included."""
    try:
        float(cell)
    except ValueError:
        return False
    return "_" not in cell


def whole(cell: str) -> str:
    """Return a whole number without the zero after its point, as 1 for 1.0, and any other cell as it is."""
    found = WHOLE.fullmatch(cell) if cell.endswith(("0", ".")) else None
    return cell if found is None else found[1]


@dataclass(frozen=True)
class Numerals:
    """The signs with which a column writes its numbers; `unit` is a currency's or a percent sign."""

    decimal: str = "."
    thousands: str = ""
    unit: str = ""

    def number(self, cell: str) -> float:
        """Return a cell as a float; NaN where it is no number that is written so. 45.2% is 45.2, and (3.10) is -3.10."""
        if self == PLAIN and is_plain(cell):
            return plain_number(cell)
        found = _parts(cell)
        if found is None:
            return float("nan")
        negative, body, unit = found
        if (unit != self.unit and (unit or self.unit in SHARES)) or not _form(self.decimal, self.thousands).fullmatch(body):
            return float("nan")
        digits = body.replace(self.thousands, "") if self.thousands else body
        value = float(digits.replace(self.decimal, "."))
        return (-value if negative else value) if value < LIMIT else float("nan")

    def example(self) -> str:
        """Return a number that is written so."""
        return f"1{self.thousands}234{self.decimal}5{' ' if self.unit.isalpha() else ''}{self.unit}"


PLAIN = Numerals()
SIGNS = (
    PLAIN, Numerals(".", ","), Numerals(",", ""), Numerals(",", "."), Numerals(".", " "), Numerals(",", " "),
    Numerals(".", "'"), Numerals(",", "'"),
)  # fmt: skip


def numerals_of(cells: Sequence[str], most: bool = False) -> list[Numerals]:
    """Return the numerals in which every cell can be read, the plainer first; several where 1,234 and the like is all there is.

    With `most`, those in which as many cells as possible can be read, half of them or more.
    """
    distinct = list(dict.fromkeys(cell for cell in cells if cell))
    if all(map(is_plain, distinct)):
        grouped = all(map(GROUPS.fullmatch, distinct)) and any("." in cell for cell in distinct)
        return [PLAIN, Numerals(",", ".")][: 2 if grouped else 1] if distinct else []
    parts = [_parts(cell) for cell in distinct]
    if None in parts and not most:
        return []
    bodies = "".join(part[1] for part in parts if part)
    units = sorted({part[2] for part in parts if part and part[2]})
    if len(units) > 1:
        return []
    unit = units[0] if units else ""
    candidates = [Numerals(signs.decimal, signs.thousands, unit) for signs in SIGNS if _occurs(signs, bodies)]
    counts = [sum(not np.isnan(found.number(cell)) for cell in distinct) for found in candidates]
    enough = max(counts) if most and 2 * max(counts) >= len(distinct) else len(distinct)
    return [found for found, count in zip(candidates, counts, strict=True) if count == enough]


def _occurs(signs: Numerals, bodies: str) -> bool:
    """True if numerals say something about these numbers: their thousands' sign, or their decimal comma, is there."""
    comma = "," in bodies or signs.thousands == "."
    return (not signs.thousands or signs.thousands in bodies) and (signs.decimal == "." or comma)


def _parts(cell: str) -> tuple[bool, str, str] | None:
    """Return whether a number is negative, its digits with their signs, and its unit; None where a cell is no such number."""
    found = WRITTEN.fullmatch(cell.translate(SPACES))
    if found is None:
        return None
    minus = [found["open"] or "", found["sign"].replace("+", ""), found["inner"].replace("+", ""), found["late"] or ""]
    if bool(found["open"]) != bool(found["close"]) or (found["before"] and found["after"]) or len("".join(minus)) > 1:
        return None
    return bool("".join(minus)), found["body"], found["before"] or found["after"] or ""


@cache
def _form(decimal: str, thousands: str) -> re.Pattern[str]:
    """The form of a number without its sign: groups of three digits, or of two before the last as in India."""
    group = re.escape(thousands)
    groups = rf"[1-9]\d{{0,2}}(?:{group}\d{{2,3}})*{group}\d{{3}}|" if thousands else ""
    point = re.escape(decimal)
    return re.compile(rf"(?:{groups}\d+)(?:{point}\d*)?|{point}\d+")
