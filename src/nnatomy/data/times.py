"""Dates and times in text, as seconds since 1970 (UTC where a zone is given), and the column of a table that holds them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
import numpy.typing as npt

from nnatomy.data.csvfile import RawTable
from nnatomy.errors import UserError

__all__ = ["is_ordered", "parse_times", "time_column", "time_layout"]

DAYS = ("%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%Y/%m/%d", "%d-%m-%Y", "%d %b %Y", "%b %d, %Y")
TIME_NAMES = frozenset({"date", "time", "timestamp", "datetime", "day", "utc_timestamp", "ds"})
CLOCKS = ("", " %H:%M", " %H:%M:%S")
ISO = "ISO 8601"
LAYOUTS = (ISO, *(day + clock for day in DAYS for clock in CLOCKS))


def _read(cell: str, layout: str) -> datetime:
    return datetime.fromisoformat(cell) if layout == ISO else datetime.strptime(cell, layout)


def _reads(layout: str, cells: Sequence[str]) -> bool:
    try:
        for cell in cells:
            _read(cell, layout)
    except ValueError:
        return False
    return True


def time_layout(cells: Sequence[str]) -> str | None:
    """Return the layout in which every cell can be read (ISO 8601 first, then common ones), or None."""
    head = cells[:50]
    return next((layout for layout in LAYOUTS if _reads(layout, head) and _reads(layout, cells)), None)


def parse_times(cells: Sequence[str], column: str, layout: str = "") -> npt.NDArray[Any]:
    """Return datetime64[s] for each cell. Raises UserError that names the first row that is not a time.

    `layout` is the one that training found; without it the cells themselves decide. 02/01/2024 is read as training read it,
    whatever is next to it; ISO 8601, which cannot be mistaken, is always understood.
    """
    known = (layout, ISO) if layout else LAYOUTS
    found = next((one for one in known if _reads(one, cells)), None)
    if found is None:
        best = max(known, key=lambda one: sum(_reads(one, [cell]) for cell in cells[:50]))
        row = next(n for n, cell in enumerate(cells) if not _reads(best, [cell]))
        moment = datetime(2024, 1, 31, 13)
        example = str(moment) if layout in ("", ISO) else moment.strftime(layout)
        raise UserError(
            f"Column {column!r} must hold times such as {example}. Received {cells[row]!r} in row {row + 2}. Correct that cell."
        )
    times = [_read(cell, found) for cell in cells]
    plain = [t.astimezone(UTC).replace(tzinfo=None) if t.tzinfo else t for t in times]
    return np.array(plain, dtype="datetime64[s]")


def time_column(table: RawTable, types: Mapping[str, str]) -> str | None:
    """Return the first column that holds times, by choice, by its cells, or by its name; None where there is none."""
    chosen = [name for name, kind in {**types, **table.types}.items() if kind == "date" and name in table.columns]
    if chosen:
        return chosen[0]
    for name, cells in table.columns.items():
        head = [c for c in cells[:50] if c]
        if head and not _mostly_numbers(head) and (name.lower() in TIME_NAMES or time_layout(head) is not None):
            return name
    return None


def is_ordered(table: RawTable, time: str) -> bool:
    """Return True if a column holds times that nearly always increase."""
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
