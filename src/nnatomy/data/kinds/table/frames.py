"""Data frames of pandas or polars as tables of text cells, so that they are read as a CSV file is."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from typing import Any

from nnatomy.data.csvfile import MISSING, RawTable
from nnatomy.errors import UserError


def is_frame(value: Any) -> bool:
    """Return True for a data frame: columns that have names and can be listed."""
    return hasattr(value, "columns") and hasattr(value, "__getitem__") and hasattr(value, "shape")


def table_of_frame(frame: Any, name: str = "the frame") -> RawTable:
    """Return a frame's columns as text, "" where a cell is missing. Raises UserError for what is not a frame, or is empty."""
    if not is_frame(frame):
        raise UserError(f"A data frame has named columns. Received {type(frame).__name__}. Give a pandas or polars frame.")
    names = [str(column) for column in frame.columns]
    repeated = next((column for column in names if names.count(column) > 1), None)
    if repeated is not None:
        raise UserError(f"Column names must differ. Received {repeated!r} more than once. Rename one.")
    table = RawTable({label: _texts(frame[column]) for label, column in zip(names, frame.columns, strict=True)}, name)
    if not len(table):
        raise UserError(f"A table has columns and rows. Received a frame of shape {tuple(frame.shape)}. Add rows.")
    return table


def _texts(column: Any) -> list[str]:
    values: Sequence[Any] = column.to_list()
    return [_text(value) for value in values]


def _text(value: Any) -> str:
    if value is None or value != value:  # NaN and NaT differ from themselves
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return repr(float(value))
    if isinstance(value, datetime | date):
        return value.isoformat(*([" "] if isinstance(value, datetime) else []))
    cell = str(value).strip()
    return "" if cell.lower() in MISSING else cell
