"""Tables of other files than CSV: Parquet, Arrow and Feather, by pyarrow, and JSON lines."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

from nnatomy.data.columns import cells_of
from nnatomy.data.csvfile import RawTable
from nnatomy.data.lines import lines
from nnatomy.errors import UserError
from nnatomy.files import read_unpacked

__all__ = ["json_table", "reads_as_json", "stored_table"]


def stored_table(path: Path, what: str) -> RawTable:
    """Return the table of a Parquet, Arrow or Feather file. Raises UserError where it is damaged, or pyarrow is absent."""
    try:
        import pyarrow
        from pyarrow import ipc, parquet
    except ImportError:
        raise UserError(
            f"Parquet and Arrow files are read by pyarrow, which is not installed. Received {path}. Run "
            'pip install "nnatomy[frames]".'
        ) from None
    file = io.BytesIO(read_unpacked(path))
    try:
        if what == "parquet":
            table = parquet.read_table(file)
        else:
            table = (ipc.open_stream if what == "arrow stream" else ipc.open_file)(file).read_all()
    except (pyarrow.ArrowException, OSError, ValueError) as problem:
        reason = str(problem).partition("\n")[0][:120].rstrip(".")
        raise UserError(f"A file of columns must be whole. Received {path} ({what}: {reason}). Write it again.") from problem
    return cells_of(table, str(path))


def reads_as_json(text: str) -> bool:
    """Return True if a text is JSON lines, an object a line, or starts as an array of objects."""
    start = text.lstrip()[:200]
    if start.startswith("["):
        return start[1:].lstrip().startswith("{")
    first = next((line for line in lines(text) if line.strip()), "") if start.startswith("{") else ""
    try:
        return isinstance(json.loads(first), dict)
    except (ValueError, RecursionError):
        return False


def json_table(text: str, source: str) -> RawTable:
    """Return the table of JSON lines or of an array of objects: a column a member, missing where an object lacks it.

    Raises UserError that names the line that is not an object.
    """
    whole = text.lstrip().startswith("[")
    try:
        parts = [json.loads(text)] if whole else []
    except (ValueError, RecursionError) as problem:
        raise UserError(f"JSON must be well formed. Received {source} ({str(problem)[:80]}). Correct it.") from None
    numbered = list(enumerate(parts[0] if whole else lines(text), 1))
    rows: list[dict[str, Any]] = []
    for number, row in numbered:
        if not whole and not row.strip():
            continue
        try:
            found = row if whole else json.loads(row)
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict):
            place = "object" if whole else "line"
            raise UserError(f"JSON lines hold one object a line. Received another {place} {number} in {source}. Correct it.")
        rows.append(found)
    names = dict.fromkeys(name for row in rows for name in row)
    if not names:
        raise UserError(f"A table has columns and rows. Received {source}, which has none. Add them.")
    return cells_of({name: [row.get(name) for row in rows] for name in names}, source)
