"""Which columns of a table hold texts, and which hold classes of texts."""

from __future__ import annotations

from collections.abc import Sequence

from nnatomy.data.cells import is_numeric, number
from nnatomy.data.lines import words

__all__ = ["has_letters", "is_wordy", "why_no_classes"]

WORDY = 2.0  # words in a cell, on average, from which a column of mostly different cells holds texts
LOOKED_AT = 200  # cells by which a column is known
MANY = 50  # different numbers from which these are quantities


def is_wordy(cells: Sequence[str], least: float = WORDY) -> bool:
    """Return True if cells are texts: mostly different, and of several words with letters in them, `least` on average."""
    present = [cell for cell in cells if cell]
    some = present[:LOOKED_AT]
    if 2 * len(set(present)) <= len(present) or 2 * sum(map(is_numeric, some)) > len(some):
        return False
    counted = sum(any(c.isalpha() for c in word) for cell in some for word in words(cell))
    return counted >= least * len(some)


def has_letters(cells: Sequence[str]) -> bool:
    """Return True if most cells that are not empty have a letter."""
    present = [cell for cell in cells if cell][:LOOKED_AT]
    return 2 * sum(any(c.isalpha() for c in cell) for cell in present) > len(present)


def why_no_classes(cells: Sequence[str]) -> str | None:
    """Return why cells are not classes, or None: most are different, or they are numbers."""
    present = [cell for cell in cells if cell]
    distinct = set(present)
    if 2 * len(distinct) > max(len(present), 4):
        return f"{len(distinct)} different values in {len(present)} rows"
    numeric = all(map(is_numeric, distinct))
    if numeric and (len(distinct) > MANY or any(number(cell) % 1 > 0 for cell in distinct)):
        return "numbers"
    return None
