"""Columns whose values have types, of data frames, Arrow tables and JSON, as cells of text and what is known of them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import date, datetime, time, timedelta
from numbers import Number
from typing import Any

from nnatomy.data.csvfile import RawTable
from nnatomy.data.lines import normal
from nnatomy.errors import UserError

__all__ = ["cells_of", "is_frame", "table_of_frame"]

CATEGORIES = re.compile(r"category|categorical|enum|dictionary", re.IGNORECASE)
"""The types of columns of categories in pandas, polars and Arrow."""
INDEX = re.compile(r"__index_level_\d+__")
"""A column that pandas adds to Parquet files for an index without a name."""


def is_frame(value: Any) -> bool:
    """Return True for a data frame or an Arrow table: columns that have names and can be listed."""
    return hasattr(value, "shape") and hasattr(value, "__getitem__") and hasattr(value, "columns")


def table_of_frame(frame: Any, name: str = "the frame") -> RawTable:
    """Return a frame of pandas, polars or Arrow as a table. Raises UserError for what is not a frame, or is empty.

    An index of times counts as a column, as in the CSV file that pandas writes; other indexes number the rows, and are left.
    """
    if not is_frame(frame):
        raise UserError(f"A data frame has named columns. Received {type(frame).__name__}. Give a pandas or polars frame.")
    if hasattr(frame, "column_names"):
        return cells_of(frame, name)
    columns = [(str(column), frame[column]) for column in frame.columns if list(frame.columns).count(column) == 1]
    repeated = next((column for column in frame.columns if list(frame.columns).count(column) > 1), None)
    if repeated is not None:
        raise UserError(f"Column names must differ. Received {str(repeated)!r} more than once. Rename one.")
    index = getattr(frame, "index", None)
    if re.search("datetime|period", str(getattr(index, "dtype", "")), re.IGNORECASE):
        columns.insert(0, (str(getattr(index, "name", None) or "time"), index))
    return _table(columns, name, tuple(frame.shape))


def cells_of(columns: Any, source: str) -> RawTable:
    """Return named columns, those of an Arrow table or lists, as a table."""
    if isinstance(columns, Mapping):
        return _table(list(columns.items()), source, (len(next(iter(columns.values()), [])), len(columns)))
    names = list(columns.column_names)
    noted = (columns.schema.pandas_metadata or {}).get("columns", ())  # Parquet itself has no categories of numbers
    categories = {column["name"] for column in noted if column["pandas_type"] == "categorical"}
    found = [(n, _ArrowColumn(column, n in categories)) for n, column in zip(names, columns.columns, strict=True)]
    kept = [(name, column) for name, column in found if not INDEX.fullmatch(name) or column.holds_times]
    return _table(kept, source, tuple(columns.shape))


class _ArrowColumn:
    """A column of Arrow with the two things that columns of frames have."""

    def __init__(self, column: Any, category: bool) -> None:
        self.dtype, self._column = "category" if category else str(column.type), column

    @property
    def holds_times(self) -> bool:
        return self.dtype.startswith(("timestamp", "date"))

    def to_list(self) -> list[Any]:
        import pyarrow

        column, kind = self._column, self._column.type
        if pyarrow.types.is_timestamp(kind):  # Python's times have microseconds, Arrow's may be finer
            column = column.cast(pyarrow.timestamp("us", kind.tz), safe=False)
        elif pyarrow.types.is_duration(kind):
            column = column.cast(pyarrow.duration("us"), safe=False)
        found: list[Any] = column.to_pylist()
        return found


def _table(columns: Sequence[tuple[str, Any]], source: str, shape: tuple[int, ...]) -> RawTable:
    names = [normal(name.strip()) for name, _ in columns]
    repeated = next((name for name in names if names.count(name) > 1), None)
    if repeated is not None:
        raise UserError(f"Column names must differ. Received {source} with {repeated!r} more than once. Rename one.")
    cells: dict[str, list[str]] = {}
    types: dict[str, str] = {}
    for name, (_, column) in zip(names, columns, strict=True):
        values = column if isinstance(column, list) else column.to_list()
        present = [value for value in values if not _is_missing(value)]
        known = "categorical" if CATEGORIES.match(str(getattr(column, "dtype", ""))) else _type_of(present)
        if known is not None:
            types[name] = known
        if len(present) < len(values) and all(isinstance(value, float) and value.is_integer() for value in present):
            values = [value if _is_missing(value) else int(value) for value in values]  # as pandas holds integers with gaps
        cells[name] = ["" if _is_missing(value) else _text(value) for value in values]
    if not cells or not len(next(iter(cells.values()))):
        raise UserError(f"A table has columns and rows. Received {source} of shape {shape}. Add rows.")
    return RawTable(cells, source, types)


def _is_missing(value: Any) -> bool:
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(value, float) and value != value


def _type_of(present: Sequence[Any]) -> str | None:
    """Return what values have in common: "numeric", "date", "boolean", "string", "nested"; None for mixtures."""
    if not present:
        return None
    if all(isinstance(value, str) for value in present):
        return "string"
    if all(isinstance(value, date) or hasattr(value, "to_timestamp") for value in present):
        return "date"
    if all(isinstance(value, bool) or type(value).__name__ in ("bool_", "bool") for value in present):
        return "boolean"
    if all(isinstance(value, Number) for value in present):
        return "numeric"
    holders = (list, dict, tuple, set, bytes)
    nested = any(isinstance(value, holders) or bool(getattr(value, "shape", ())) for value in present)
    return "nested" if nested else None


def _text(value: Any) -> str:
    if hasattr(value, "to_timestamp"):  # a period of pandas
        value = value.to_timestamp()
    if isinstance(value, bool) or type(value).__name__ == "bool_":
        return "true" if value else "false"
    if isinstance(value, float):
        return repr(float(value))
    if isinstance(value, datetime | date):
        return value.isoformat(*([" "] if isinstance(value, datetime) else []))
    if isinstance(value, timedelta):
        return repr(value.total_seconds())
    if isinstance(value, time):
        return repr(value.hour * 3600 + value.minute * 60 + value.second + value.microsecond / 1e6)
    return normal(str(value).strip())
