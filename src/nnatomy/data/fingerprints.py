"""Fingerprints of data: digests of what was read and of the rows of each split, and a sentence on what differs in another.

Files are hashed as they stream by; of tables, arrays and lines of text, each column and the rows in any order are hashed too,
so that rows that were added, changed or reordered, changed labels and changed columns are told apart.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from nnatomy.data.dataset import Dataset, Split

__all__ = ["DEALT", "Contents", "Fingerprint", "Origin", "contents_of_columns", "contents_of_files", "digest", "fingerprint"]

LISTED = 1000  # files of a folder that are kept one by one
WIDEST = 1000  # columns of an array that are kept one by one
CHUNK, EXAMPLES = 4096, 256  # cells and examples that are hashed in one call
DEALT = "before the limit"
"""The name of the digest of all splits' rows before each was limited."""
GAP = b"\x1f"
NAMES, BYTES = "names", "contents"


@dataclass(frozen=True)
class Contents:
    """Digests of a source of data."""

    noun: str = ""
    """What its records are: "rows", "lines" or "files"; "" where it has none, such as data that are made from a seed."""
    files: Mapping[str, str] = field(default_factory=dict)
    """SHA-256 by name, of at most LISTED files."""
    columns: Mapping[str, str] = field(default_factory=dict)
    """Of each column, in the order of its rows."""
    rows: int = 0
    unordered: str = ""
    """Of the rows in any order."""

    def same(self, other: Contents) -> bool:
        """Return True if nothing differs; equal files need no look at their rows."""
        if self.files and len(self.files) < LISTED:
            return self.files == other.files
        return (self.files, self.columns) == (other.files, other.columns)


@dataclass(frozen=True)
class Origin:
    """The source that a data set was read from, and digests of the rows that each split took from it."""

    name: str
    files: Mapping[str, Path] = field(default_factory=dict)
    """By name."""
    contents: Contents | None = None
    """Of columns that were parsed; else of the files."""
    splits: Mapping[str, str] = field(default_factory=dict)

    def read(self) -> Contents:
        """Return the digests of the source as it is now."""
        if self.contents is None:
            return contents_of_files(self.files)
        return replace(self.contents, files=_hashed(self.files))


@dataclass(frozen=True)
class Fingerprint:
    """What a run, a comparison or a tuning keeps of its data, to know them again."""

    name: str
    contents: Contents
    splits: Mapping[str, str]
    kind: str
    """The name of the kind that read them."""
    target: str = ""
    """The column of the labels."""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def change(self, now: Contents, start: Contents | None = None) -> str:
        """Return what changed in the source, as a clause; "" where nothing did. `start`: of as many rows as there were."""
        before = self.contents
        if before.same(now):
            return ""
        more, noun = now.rows - before.rows, before.noun
        lost, new = ([repr(n) for n in a.columns if n not in b.columns] for a, b in ((before, now), (now, before)))
        if before.noun != now.noun or lost or new:
            parts = [f"{what} {_shown(names)}" for what, names in (("without", lost), ("with the new", new)) if names]
            return f"whose columns changed ({'; '.join(parts) or 'another form'})"
        if more:
            where = " at the end" if start is not None and start.columns == before.columns else ""
            what = f"{noun[:-1]} was" if abs(more) == 1 else f"{noun} were"
            found = f"where {abs(more):,} {what} {'added' if more > 0 else 'removed'}{where}"
            return f"{found} ({now.rows:,} now, {before.rows:,} before)"
        changed = [name for name, found in before.columns.items() if found != now.columns[name]]
        if changed == [NAMES]:
            return f"where {noun} were moved or renamed, which changes their labels"
        if changed and before.unordered and before.unordered == now.unordered:
            return f"whose {noun} were reordered"
        if changed == [self.target]:
            return f"whose labels changed (column {self.target!r})"
        if noun == "rows" and changed:
            return f"where values changed in the column{'s'[: len(changed) - 1]} {_shown(map(repr, changed))}"
        files = [name for name in {**before.files, **now.files} if before.files.get(name) != now.files.get(name)]
        if not changed and len(files) == len(before.files) == 1:
            return ""  # written otherwise, such as with other ends of lines: the same records
        return f"where the content of {_shown(files)} changed" if files else f"whose {noun or 'values'} changed"


def fingerprint(dataset: Dataset, given: bool = False) -> Fingerprint:
    """Return the fingerprint of a data set; of one that was `given` as an object, by its examples."""
    target = next((column.name for column in dataset.columns if column.role == "target"), "")
    origin = None if given else dataset.origin
    if origin is None:
        named = {f"{f.name} ({part})": a for part, split in _splits(dataset) for f, a in zip(split.fields, _digests(split))}
        labels = [f"{f.name} ({part})" for part, split in _splits(dataset) for f in split.fields if f.role == "target"]
        rows = sum(len(split) for _, split in _splits(dataset))
        contents = Contents("rows", {}, named, rows, digest(dataset))
        return Fingerprint(dataset.name, contents, {}, dataset.preprocessing.kind, labels[-1] if labels else "")
    contents = origin.read()
    if not target and "y" in contents.columns:
        target = "y"
    return Fingerprint(origin.name, contents, origin.splits, dataset.preprocessing.kind, target)


def digest(dataset: Dataset) -> str:
    """Return a digest of everything that a model of this data set can learn or be measured by: its key in a cache."""
    facts = [dataset.kind, dataset.task, dataset.classes, dataset.outputs, dataset.ordered, dataset.preprocessing.to_json()]
    whole = hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode())
    for name, split in _splits(dataset):
        whole.update(f"{name} {len(split)}".encode())
        for found in _digests(split):
            whole.update(found.encode())
    return whole.hexdigest()


def contents_of_columns(columns: Mapping[str, Any], most: int | None = None) -> Contents:
    """Return the digests of a table's columns of text, or of arrays of numbers; of the first `most` rows if it is given.

    An array (n, features) counts as that many columns.
    """
    digests: dict[str, str] = {}
    records: list[list[bytes]] = []
    for name, column in columns.items():
        numbers = np.asarray(column) if not isinstance(column, list) else None
        if numbers is None or numbers.dtype.kind not in "biuf":
            cells = [str(cell).encode("utf-8", "surrogatepass") for cell in column[:most]]
            digests[name] = _sha(GAP.join(cells[at : at + CHUNK]) + GAP for at in range(0, len(cells), CHUNK))
        else:
            values = np.ascontiguousarray(numbers[:most], np.float64)
            wide = values.ndim == 2 and 1 < values.shape[1] <= WIDEST
            parts = {f"{name}[:, {j}]": values[:, j] for j in range(values.shape[1])} if wide else {name: values}
            digests |= {part: _sha([str(a.shape[1:]).encode(), a.tobytes()]) for part, a in parts.items()}
            cells = [row.tobytes() for row in values]
        records.append(cells)
    return Contents("rows", {}, digests, len(records[0]) if records else 0, _unordered(map(GAP.join, zip(*records))))


def contents_of_files(files: Mapping[str, Path], most: int | None = None) -> Contents:
    """Return the digests of files: of the lines of a single text, of the first `most` if it is given; of whole files else."""
    hashed = dict(sorted(_hashed(files, None).items()))
    if len(files) == 1 and _is_text(path := next(iter(files.values()))):
        with path.open("rb") as lines:
            ordered = _sha(line.rstrip(b"\r\n") + b"\n" for line in islice(lines, most))
        with path.open("rb") as lines:
            counted = [0]
            unordered = _unordered(_counting((line.rstrip(b"\r\n") for line in islice(lines, most)), counted))
        return Contents("lines", hashed, {"lines": ordered}, counted[0], unordered)
    if not files:
        return Contents()
    columns = {NAMES: _sha(name.encode("utf-8", "surrogatepass") + b"\n" for name in hashed)}
    columns[BYTES] = _sha(found.encode() for found in sorted(hashed.values()))
    return Contents("files", hashed if len(hashed) < LISTED else {}, columns, len(hashed))


def digest_of_rows(parts: Iterable[Any]) -> str:
    """Return a digest of row numbers."""
    return _sha(np.asarray(rows, np.int64).tobytes() for rows in parts)


def _hashed(files: Mapping[str, Path], most: int | None = LISTED) -> dict[str, str]:
    if most is not None and len(files) >= most:
        return {}
    found = {}
    for name, path in files.items():
        with path.open("rb") as file:
            found[name] = hashlib.file_digest(file, "sha256").hexdigest()
    return found


def _splits(dataset: Dataset) -> list[tuple[str, Split]]:
    return [(name, getattr(dataset, name)) for name in ("train", "validation", "test")]


def _digests(split: Split) -> list[str]:
    """Return a digest of each array of a split."""
    found = [hashlib.sha256() for _ in split.fields]
    for start in range(0, len(split), EXAMPLES):
        for one, array in zip(found, split.take(np.arange(start, min(start + EXAMPLES, len(split))))):
            one.update(f"{array.shape} {array.dtype}".encode())
            one.update(np.ascontiguousarray(array).tobytes())
    return [one.hexdigest() for one in found]


def _sha(parts: Iterable[bytes]) -> str:
    whole = hashlib.sha256()
    for part in parts:
        whole.update(part)
    return whole.hexdigest()


def _unordered(rows: Iterable[bytes]) -> str:
    """Return the sum of the rows' digests: the same in any order."""
    total = sum(int.from_bytes(hashlib.blake2b(row, digest_size=16).digest()) for row in rows)
    return f"{total % 2**128:032x}"


def _counting(rows: Iterable[bytes], counted: list[int]) -> Iterable[bytes]:
    for row in rows:
        counted[0] += 1
        yield row


def _is_text(path: Path) -> bool:
    with path.open("rb") as file:
        return b"\0" not in file.read(CHUNK)


def _shown(names: Iterable[str], most: int = 4) -> str:
    listed: Sequence[str] = list(names)
    return ", ".join(listed[:most]) + (f" and {len(listed) - most} more" if len(listed) > most else "")
