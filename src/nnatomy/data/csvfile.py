"""Reading a CSV file into columns of text, with one clear sentence for each way in which a file can be wrong."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from nnatomy.errors import UserError
from nnatomy.files import read_unpacked

__all__ = ["MISSING", "RawTable", "parse_csv", "read_csv", "read_text"]

MISSING = frozenset({"", "?", "na", "n/a", "nan", "null", "none", "-nan", "#n/a", "<na>"})
DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}


@dataclass(frozen=True)
class RawTable:
    """Columns of stripped text, by name, in the order of the file; a missing cell is ""."""

    columns: dict[str, list[str]]
    source: str

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()), []))


def read_text(path: Path) -> str:
    """Return a UTF-8 file's text (a leading byte-order mark aside), unpacked where gzip packed it.

    Raises UserError for other encodings and binary files, and for what is no regular file.
    """
    raw = read_unpacked(path)
    if b"\0" in raw[:4096] and not raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise UserError(f"A text file is needed here. Received {path}, which is binary. Export it as CSV or plain text.")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(
            f"Text must be UTF-8. Received {path}, which is not (byte {error.start}). Save it again as UTF-8."
        ) from error


def read_csv(path: Path) -> RawTable:
    """Return the table in a CSV file with a header line; comma, semicolon, tab and bar are recognized.

    Raises UserError where the file is empty, has no rows under its header, unequal rows or a repeated column name.
    """
    return parse_csv(read_text(path), path)


def parse_csv(text: str, path: Path | str) -> RawTable:
    """Return the table in the text of a CSV file; `path` is what it is called in errors, which are those of `read_csv`."""
    if not text.strip():
        raise UserError(f"A table has a header line and rows. Received {path}, which is empty. Add them.")
    try:
        delimiter = _delimiter(text)
        rows = list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter))
    except csv.Error as error:
        raise UserError(f"{path} is not a readable CSV file ({error}).") from error
    lines = [(number, row) for number, row in enumerate(rows, 1) if row and (len(row) > 1 or row[0].strip())]
    if not lines:
        raise UserError(f"A table has a header line and rows. Received {path}, which has no column names. Add a header line.")
    header = _header([cell.strip() for cell in lines[0][1]], path)
    for number, row in lines[1:]:
        if len(row) != len(header):
            raise UserError(
                f"Each row needs as many cells as the header ({len(header)}), row {number} of {path} has {len(row)} "
                f"(cells are separated by {DELIMITERS[delimiter]}s)."
            )
    if len(lines) < 2:
        raise UserError(f"A table has a header line and rows. Received {path}, which has no rows. Add rows.")
    cells = zip(*(row for _, row in lines[1:]), strict=True)
    return RawTable({name: [_cell(c) for c in column] for name, column in zip(header, cells, strict=True)}, str(path))


def _cell(cell: str) -> str:
    cell = cell.strip()
    return "" if cell.lower() in MISSING else cell


def _header(names: Sequence[str], path: Path | str) -> list[str]:
    header = [name or ("row" if place == 0 else f"column {place + 1}") for place, name in enumerate(names)]
    repeated = [name for name, count in Counter(header).items() if count > 1]
    if repeated:
        raise UserError(f"Column names must differ. Received {path}, which has {repeated[0]!r} more than once. Rename one.")
    if len(header) > 1 and all(_is_number(name) for name in header):
        raise UserError(
            f"The first line of a table names the columns. Received {path}, which starts with numbers. Add a header line."
        )
    return header


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _delimiter(text: str) -> str:
    """Return the delimiter that parts the first lines into equal rows of most cells."""
    sample = text.splitlines()[:20]
    best, most = ",", 0
    for delimiter in DELIMITERS:
        widths = [len(row) for row in csv.reader(sample, delimiter=delimiter) if row]
        score = widths[0] * (2 if len(set(widths)) == 1 else 1) if widths and widths[0] > 1 else 0
        if score > most:
            best, most = delimiter, score
    return best
