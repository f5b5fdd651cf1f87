"""Dates and times in text, as seconds since 1970 (UTC where a zone is given), and the column of a table that holds them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
import numpy.typing as npt

from nnatomy.data.csvfile import RawTable
from nnatomy.errors import UserError

__all__ = ["is_ordered", "parse_times", "time_column", "time_reader"]

DAYS = ("%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%Y/%m/%d", "%d-%m-%Y", "%d %b %Y", "%b %d, %Y")
TIME_NAMES = frozenset({"date", "time", "timestamp", "datetime", "day", "utc_timestamp", "ds"})
CLOCKS = ("", " %H:%M", " %H:%M:%S")
Read = Callable[[str], datetime]


def _with(layout: str) -> Read:
    return lambda cell: datetime.strptime(cell, layout)


def _reads(read: Read, cells: Sequence[str]) -> bool:
    try:
        for cell in cells:
            read(cell)
    except ValueError:
        return False
    return True


def time_reader(cells: Sequence[str]) -> Read | None:
    """Return the reader that understands every cell (ISO 8601 first, then common layouts), or None."""
    readers = [datetime.fromisoformat, *(_with(day + clock) for day in DAYS for clock in CLOCKS)]
    head = cells[:50]
    return next((read for read in readers if _reads(read, head) and _reads(read, cells)), None)


def parse_times(cells: Sequence[str], column: str) -> npt.NDArray[Any]:
    """Return datetime64[s] for each cell; raises UserError that names the first row that is no time."""
    read = time_reader(cells)
    if read is None:
        layouts = [datetime.fromisoformat, *(_with(day + clock) for day in DAYS for clock in CLOCKS)]
        best = max(layouts, key=lambda r: sum(_reads(r, [cell]) for cell in cells[:50]))
        row = next(n for n, cell in enumerate(cells) if not _reads(best, [cell]))
        raise UserError(
            f"Column {column!r} must hold times such as 2024-01-31 13:00:00, row {row + 2} has {cells[row]!r}; mend it."
        )
    found = [read(cell) for cell in cells]
    plain = [t.astimezone(UTC).replace(tzinfo=None) if t.tzinfo else t for t in found]
    return np.array(plain, dtype="datetime64[s]")


def time_column(table: RawTable, types: Mapping[str, str]) -> str | None:
    """Return the first column that holds times, by choice, by its cells, or by its name; None where there is none."""
    chosen = [name for name, kind in types.items() if kind == "date" and name in table.columns]
    if chosen:
        return chosen[0]
    for name, cells in table.columns.items():
        head = [c for c in cells[:50] if c]
        if head and not _mostly_numbers(head) and (name.lower() in TIME_NAMES or time_reader(head) is not None):
            return name
    return None


def is_ordered(table: RawTable, time: str) -> bool:
    """Tell whether a column holds times that nearly always go forward."""
    try:
        steps = np.diff(parse_times(table.columns[time], time).astype(np.int64))
    except UserError:
        return False
    return len(steps) > 0 and bool(np.mean(steps > 0) >= 0.99)


def _mostly_numbers(cells: Sequence[str]) -> bool:
    numbers = 0
    for cell in cells:
        try:
            numbers += bool(np.isfinite(float(cell))) and "_" not in cell
        except ValueError:
            continue
    return numbers > 0.5 * len(cells)
