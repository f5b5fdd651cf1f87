"""Reading a CSV file into columns of text, with one clear sentence for each way in which a file can be wrong."""

from __future__ import annotations

import codecs
import csv
import io
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, AnyStr

import numpy as np

from nnatomy.data.lines import lines, normal
from nnatomy.errors import UserError
from nnatomy.files import read_unpacked

__all__ = ["MISSING", "RawTable", "parse_csv", "read_csv", "read_text", "reads_as_table"]

MISSING = frozenset({"", "?", "na", "n/a", "nan", "null", "none", "-nan", "#n/a", "<na>"})
DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar", "^": "caret", "~": "tilde", " ": "space"}
RARE = ("^", "~", " ")
"""Delimiters that are tried where no other one parts the first lines into equal rows."""

LOOKED_AT = 50  # lines by which a text is told from a table
csv.field_size_limit(2**31 - 1)  # texts in cells may be longer than the module's 128 KiB


@dataclass(frozen=True)
class RawTable:
    """Columns of stripped text, by name, in the order of the file; a missing cell is ""."""

    columns: dict[str, list[str]]
    source: str
    types: Mapping[str, str] = field(default_factory=dict)
    """What a source with typed columns knows: "numeric", "categorical", "boolean", "date", "string" or "nested"."""
    words: Mapping[str, Mapping[int, str]] = field(default_factory=dict)
    """Words such as NA that count as missing, by column and row."""
    delimiter: str = ""
    """Of a text; it says which decimal sign is usual."""

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()), []))

    @classmethod
    def of_text(cls, columns: Mapping[str, Sequence[str]], source: str, **more: Any) -> RawTable:
        """Return the table of cells as they are written, in which words such as NA are missing cells."""
        words: dict[str, dict[int, str]] = {}
        cells: dict[str, list[str]] = {}
        for name, column in columns.items():
            cells[name] = ["" if cell.lower() in MISSING else cell for cell in column]
            words[name] = {row: cell for row, cell in enumerate(column) if cell and not cells[name][row]}
        return cls(cells, source, words=words, **more)

    def written(self, name: str) -> list[str]:
        """Return the cells of a column with the words that count as missing elsewhere."""
        return [self.words.get(name, {}).get(row, cell) for row, cell in enumerate(self.columns[name])]


def read_text(path: Path, encoding: str = "") -> str:
    """Return a file's text, unpacked where gzip packed it: UTF-8, UTF-16 where its byte-order mark says so, or in `encoding`.

    Lines that all end in a carriage return alone, as old spreadsheets write them, end in a newline.
    Raises UserError for other encodings and binary files, and for what is no regular file.
    """
    raw = read_unpacked(path)
    if not encoding and raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        encoding = "utf-16"
    elif not encoding:  # half of UTF-16's bytes are NUL
        check_no_nul(raw, path)
    tried = [name for name in ("utf-8-sig", encoding) if name and not (encoding and name != encoding and b"\0" in raw)]
    place = 0
    for name in tried:
        try:
            text = raw.decode(name)
            return text if "\n" in text else text.replace("\r", "\n")
        except UnicodeDecodeError as error:
            place = error.start
    known = f"UTF-8, or the {encoding} that is named" if encoding else "UTF-8"
    remedy = "Name another encoding." if encoding else "Save it again as UTF-8, or name its encoding: --encoding latin-1."
    raise UserError(f"Text must be {known}. Received {path}, which is not (byte {place}). {remedy}")


def check_no_nul(content: AnyStr, path: Path | str) -> None:
    """Raise UserError with the line of the first NUL: binary files have them, and files that were cut off."""
    nul, end = ("\0", "\n") if isinstance(content, str) else (b"\0", b"\n")
    place = content.find(nul)
    if place >= 0:
        line = content.count(end, 0, place) + 1
        raise UserError(
            f"A text file has no NUL bytes. Received {path}, which has one in line {line}: it is binary, or damaged. Export it "
            "again as CSV or plain text."
        )


def check_encoding(name: str) -> None:
    """Raise UserError for an encoding that is unknown, or none of texts."""
    try:
        "a".encode(name)
    except LookupError:
        raise UserError(f"--encoding names an encoding of texts. Received {name!r}. Use latin-1, cp1252 or utf-16.") from None


def read_csv(path: Path) -> RawTable:
    """Return the table in a CSV file with a header line; its delimiter is recognized.

    Raises UserError, with the line, where the file is empty, has no rows under its header, unequal rows, a quote that is never
    closed, or a repeated column name.
    """
    return parse_csv(read_text(path), path)


def parse_csv(text: str, path: Path | str) -> RawTable:
    """Return the table in the text of a CSV file; `path` is what it is called in errors, which are those of `read_csv`."""
    if not text.strip():
        raise UserError(f"A table has a header line and rows. Received {path}, which is empty. Add them.")
    check_no_nul(text, path)
    delimiter = _delimiter(text)
    numbered = [(line, row) for line, row in _rows(text, delimiter, path) if len(row) > 1 or (row and row[0].strip())]
    if not numbered:
        raise UserError(f"A table has a header line and rows. Received {path}, which has no column names. Add a header line.")
    header = _header([cell.strip() for cell in numbered[0][1]], path)
    for line, row in numbered[1:]:
        if len(row) != len(header):
            raise UserError(
                f"Each row has as many cells as the header ({len(header)}). Received {path}, whose line {line} has {len(row)} "
                f"(cells are separated by {DELIMITERS[delimiter]}s). Correct that line."
            )
    if len(numbered) < 2:
        raise UserError(f"A table has a header line and rows. Received {path}, which has no rows. Add rows.")
    cells = zip(*(row for _, row in numbered[1:]), strict=True)
    columns = {name: [normal(cell.strip()) for cell in column] for name, column in zip(header, cells, strict=True)}
    return RawTable.of_text(columns, str(path), delimiter=delimiter)


def _rows(text: str, delimiter: str, path: Path | str) -> list[tuple[int, list[str]]]:
    """Return each row with the line in which it starts. Nothing is repaired: a stray quote is an error with its line."""
    reader = _parsed(io.StringIO(text, newline=""), delimiter, strict=True)
    rows, start = [], 1
    try:
        for row in reader:
            rows.append((start, row))
            start = reader.line_num + 1
    except csv.Error:
        raise _stray_quote(path, start) from None
    swallowed = _swallowed_row(rows, delimiter)
    if swallowed is not None:
        raise _stray_quote(path, swallowed)
    return rows


def _stray_quote(path: Path | str, line: int) -> UserError:
    return UserError(
        f"A quote that opens a cell is closed at the end of that cell. Received {path}, whose line {line} has one that is not. "
        "Close it, or remove it."
    )


def _swallowed_row(rows: Sequence[tuple[int, list[str]]], delimiter: str) -> int | None:
    """Return the line of a row whose quotes hold another row: as many cells, and numbers where its columns have numbers."""
    long = [(line, row) for line, row in rows if any("\n" in cell for cell in row)]
    if not long:
        return None
    plain = [row for _, row in rows[1:] if len(row) == len(rows[0][1]) and not any("\n" in cell for cell in row)]
    numeric = [n for n, cells in enumerate(zip(*plain, strict=True)) if np.mean([_is_number(c) for c in cells]) > 0.9]
    for line, row in long if numeric else ():
        for place, cell in enumerate(row):
            *inner, last = cell.split("\n")[1:] or [""]
            for text in (*inner, delimiter.join([last, *row[place + 1 :]])) if "\n" in cell else ():
                cells = text.split(delimiter)
                if len(cells) == len(rows[0][1]) and all(_is_number(cells[n]) for n in numeric):
                    return line
    return None


def _header(names: Sequence[str], path: Path | str) -> list[str]:
    header = [normal(name) or ("row" if place == 0 else f"column {place + 1}") for place, name in enumerate(names)]
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


def reads_as_table(text: str) -> bool:
    """Return True if the first lines of a text are cells of equal rows, two or more in each, below names that differ."""
    sample = _sample(text)
    delimiter = _delimiter(text)
    rows = [row for row in _parsed(sample, delimiter) if row]
    rows = rows[:-1] if len(sample) == LOOKED_AT and len(rows) > 2 else rows  # a quoted cell may be cut
    if len(rows) < 2 or len(rows[0]) < 2 or len({len(row) for row in rows}) > 1:
        return False
    names = [cell.strip() for cell in rows[0]]
    if len(set(names)) < len(names) or all(_is_number(name) for name in names):
        return False
    numbers = any(all(_is_number(cell) for cell in column) for column in zip(*rows[1:], strict=True))
    return delimiter != " " or numbers  # lines of a poem can have equally many words


def _sample(text: str) -> list[str]:
    """Return the first lines, without one that may have been cut."""
    first = text[:100_000].replace("\r\n", "\n").replace("\r", "\n")  # the reader ends lines at each of them
    return lines(first.rpartition("\n")[0] if len(text) > 100_000 else first)[:LOOKED_AT]


def _parsed(rows: Iterable[str], delimiter: str, strict: bool = False) -> Any:
    if delimiter == " ":  # a run of spaces is one delimiter
        return csv.reader((row.strip() for row in rows), delimiter=delimiter, skipinitialspace=True, strict=strict)
    return csv.reader(rows, delimiter=delimiter, strict=strict)


def _delimiter(text: str) -> str:
    """Return the delimiter that parts the first lines into equal rows of most cells."""
    sample = _sample(text)[:20]
    best, most = ",", 0
    for delimiter in DELIMITERS:
        widths = [len(row) for row in _parsed(sample, delimiter) if row]
        equal = len(set(widths)) == 1
        score = widths[0] * (2 if equal else 1) if widths and widths[0] > 1 else 0
        if score > most and (delimiter not in RARE or (equal and not most)):
            best, most = delimiter, score
    return best
