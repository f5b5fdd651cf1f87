"""Dates and times in text, as seconds since 1970 (UTC where a zone is given), and the column of a table that holds them."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from nnatomy.data.csvfile import RawTable
from nnatomy.data.numerals import plain_number
from nnatomy.errors import UserError

__all__ = [
    "check_layout", "is_ordered", "layouts_of", "parse_times", "sole_layout", "time_column", "time_layout",
    "times_after",
]

DAYS = (
    "%Y-%m-%d", "%Y/%m/%d", "%Y.%m.%d", "%d.%m.%Y", "%d.%m.%y", "%d/%m/%Y", "%m/%d/%Y", "%d-%m-%Y", "%m-%d-%Y", "%d/%m/%y",
    "%m/%d/%y", "%d %b %Y", "%d-%b-%Y", "%d/%b/%Y", "%d-%b-%y", "%d %b, %Y", "%d. %b %Y", "%d %B %Y", "%d-%B-%Y", "%d. %B %Y",
    "%b %d, %Y", "%B %d, %Y", "%b %d %Y", "%B %d %Y", "%a, %d %b %Y", "%a %b %d %Y", "%A, %B %d, %Y", "%Y-%b-%d",
    "%Y-%m", "%Y/%m", "%m/%Y", "%b %Y", "%B %Y", "%b-%Y", "%b-%y",
)  # fmt: skip
CLOCKS = (
    "%H:%M", "%H:%M:%S", "%H:%M:%S.%f", "%I:%M %p", "%I:%M:%S %p", "%I:%M%p", "%I:%M:%S%p", "%H:%M:%S %z", "%H:%M:%S%z",
    "%H:%M %z",
)  # fmt: skip
FORMS = {
    "%d": r"\d{1,2}", "%m": r"\d{1,2}", "%Y": r"\d{4}", "%y": r"\d{2}", "%b": "[A-Za-z]{3}", "%B": "[A-Za-z]{3,9}",
    "%a": "[A-Za-z]{3}", "%A": "[A-Za-z]{6,9}", "%H": r"\d{1,2}", "%I": r"\d{1,2}", "%M": r"\d{2}", "%S": r"\d{2}",
    "%f": r"\d{1,6}", "%p": "[AaPp][Mm]", "%z": r"(?:Z|[+-]\d{2}:?\d{2})",
}  # fmt: skip
TIME_NAMES = frozenset({"date", "time", "timestamp", "datetime", "day", "utc_timestamp", "ds"})
ISO = "ISO 8601"
UNIX = {"unix": 1.0, "unix_ms": 1e-3, "unix_us": 1e-6, "unix_ns": 1e-9}
"""Layouts of times that are numbers since 1970, in UTC, and their unit in seconds."""


def _read(cell: str, layout: str) -> datetime:
    """Return a cell as a time. Raises ValueError where it has another layout."""
    if layout in UNIX:
        try:
            return datetime.fromtimestamp(plain_number(cell) * UNIX[layout], UTC)
        except (OverflowError, OSError) as error:
            raise ValueError(cell) from error
    return datetime.fromisoformat(cell) if layout == ISO else datetime.strptime(cell, layout)


def _reads(layout: str, cell: str) -> bool:
    try:
        _read(cell, layout)
    except ValueError:
        return False
    return True


@cache
def _form(layout: str) -> re.Pattern[str]:
    return re.compile(re.sub(r"%\w", lambda found: FORMS[found[0]], re.escape(layout).replace(r"\%", "%")))


def _candidates(cell: str) -> list[str]:
    """Return the layouts whose form one cell has; `strptime` alone would need a second for each column of words."""
    if len(cell) > 60 or not any(map(str.isdigit, cell)):
        return []
    found = [ISO] if cell[:4].isdigit() and _reads(ISO, cell) else []
    for day in DAYS:
        date = _form(day).match(cell)
        rest = cell[date.end() :] if date else ""
        if date and not rest:
            found.append(day)
        elif date:
            gap = next((gap for gap in (", ", " ", "T") if rest.startswith(gap)), "")
            found += [day + gap + clock for clock in CLOCKS if gap and _form(clock).fullmatch(rest, len(gap))]
    return [layout for layout in found if _reads(layout, cell)]


def layouts_of(cells: Sequence[str]) -> list[str]:
    """Return the layouts in which every cell can be read, ISO 8601 first, which cannot be mistaken; then common ones."""
    distinct = list(dict.fromkeys(cell for cell in cells if cell))
    return [
        layout for layout in (_candidates(distinct[0]) if distinct else ()) if all(_reads(layout, cell) for cell in distinct)
    ]


def time_layout(cells: Sequence[str]) -> str | None:
    """Return the first of `layouts_of`, or None where there is none."""
    return next(iter(layouts_of(cells)), None)


def sole_layout(cells: Sequence[str], column: str) -> str:
    """Return the layout of a column of times. Raises UserError where day first and month first both fit, or none does."""
    layouts = layouts_of(cells) or [ISO][: not any(cells)]
    if not layouts:
        near = Counter(layout for cell in cells[:50] for layout in _candidates(cell))
        likely = near.most_common(1)[0][0] if near else ""
        hint = f", or give the layout: --types {column}=date:%d.%m.%Y, or date:unix for seconds since 1970"
        parse_times([cell or "1970-01-01" for cell in cells], column, likely, hint)
    swapped = layouts[0].translate(str.maketrans("dm", "md"))
    if swapped != layouts[0] and swapped in layouts:
        cell = max(filter(None, cells), key=lambda cell: _read(cell, layouts[0]) != _read(cell, swapped))
        a, b = (f"{_read(cell, layout):%Y-%m-%d}" for layout in (layouts[0], swapped))
        raise UserError(
            f"A column of dates has the day first or the month first. Received {column!r}, whose cells allow both: {cell} is "
            f"{a} or {b}. Choose with --types {column}=date:{layouts[0]} or {column}=date:{swapped}."
        )
    return layouts[0]


def check_layout(layout: str, column: str) -> str:
    """Return the layout of a date that a user gave. Raises UserError where no date can be written so and read again."""
    try:
        moment = datetime(2024, 1, 31)
        if layout not in UNIX and ("%" not in layout or _read(moment.strftime(layout), layout).year != 2024):
            raise ValueError
    except (ValueError, re.error):
        raise UserError(
            f"A layout of dates has %d, %m and %Y, or is unix. Received {layout!r} for {column!r}. Use --types "
            f"{column}=date:%d.%m.%Y, for example."
        ) from None
    return layout


def parse_times(cells: Sequence[str], column: str, layout: str, hint: str = "") -> npt.NDArray[Any]:
    """Return datetime64[s] for each cell. Raises UserError that names the first row that is not a time.

    `layout` is that of the training table, so that 02/01/2024 is read as training read it, whatever is next to it. ISO 8601,
    which cannot be mistaken, is always understood; "" stands for it. `hint` is a second remedy.
    """
    times = []
    for row, cell in enumerate(cells):
        found = next((known for known in (layout, ISO) if known and _reads(known, cell)), None)
        if found is None:
            raise UserError(
                f"Column {column!r} must hold times such as {_example(layout)}. Received {cell!r} in row {row + 2}. Correct "
                f"that cell{hint}."
            )
        time = _read(cell, found)
        times.append(time.astimezone(UTC).replace(tzinfo=None) if time.tzinfo else time)
    return np.array(times, dtype="datetime64[s]")


def _example(layout: str) -> str:
    moment = datetime(2024, 1, 31, 13)
    if layout in UNIX:
        return f"{moment.replace(tzinfo=UTC).timestamp() / UNIX[layout]:.0f}"
    return str(moment) if layout in ("", ISO) else moment.strftime(layout)


def chosen_layout(types: Mapping[str, str], column: str) -> str:
    """Return the layout in a user's types, such as "%d.%m.%Y" for "date:%d.%m.%Y"; "" where there is none."""
    kind, _, layout = types.get(column, "").partition(":")
    return check_layout(layout, column) if kind == "date" and layout else ""


def time_column(table: RawTable, types: Mapping[str, str]) -> str | None:
    """Return the first column that holds times, by choice, by its cells, or by its name; None where there is none."""
    known = {**types, **table.types}
    chosen = [name for name, kind in known.items() if kind.partition(":")[0] == "date" and name in table.columns]
    if chosen:
        return chosen[0]
    for name, cells in table.columns.items():
        head = [c for c in cells[:50] if c]
        if head and not _mostly_numbers(head) and (name.lower() in TIME_NAMES or time_layout(head) is not None):
            return name
    return None


def is_ordered(table: RawTable, time: str, types: Mapping[str, str]) -> bool:
    """Return True if a column holds times that nearly always increase."""
    try:
        layout = chosen_layout(types, time) or sole_layout(table.columns[time], time)
        steps = np.diff(parse_times(table.columns[time], time, layout).astype(np.int64))
    except UserError:
        return False
    return len(steps) > 0 and bool(np.mean(steps > 0) >= 0.99)


def times_after(times: npt.NDArray[Any], count: int) -> npt.NDArray[Any]:
    """Return the next times datetime64[s] of a series: in its months, its working days, or its usual step."""
    ahead, day = np.arange(1, count + 1), np.timedelta64(1, "D")
    for shift in (0 * day, day):  # the ends of months are a day before the next ones begin
        months = (times + shift).astype("datetime64[M]")
        within, steps = times + shift - months.astype("datetime64[s]"), np.diff(months).astype(np.int64)
        if len(times) > 2 and np.ptp(within.astype(np.int64)) == 0 and np.ptp(steps) == 0 and steps[0] > 0:
            return np.asarray((months[-1] + steps[0] * ahead).astype("datetime64[s]") + within[-1] - shift)
    days, seconds = times.astype("datetime64[D]"), np.diff(times.astype(np.int64))
    if np.is_busday(days).all() and set(seconds.tolist()) == {86400, 3 * 86400}:
        return np.asarray(np.busday_offset(days[-1], ahead).astype("datetime64[s]") + (times[-1] - days[-1]))
    return np.asarray(times[-1] + ahead * np.median(seconds).astype("timedelta64[s]"))


def _mostly_numbers(cells: Sequence[str]) -> bool:
    return sum(map(math.isfinite, map(plain_number, cells))) > 0.5 * len(cells)
