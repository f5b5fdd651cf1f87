"""The request to `load`, the source that it names, and how rows are split; every reader splits its rows here."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nnatomy.data.columns import table_of_frame
from nnatomy.data.csvfile import RawTable, parse_csv, read_text, reads_as_table
from nnatomy.data.dataset import Batch
from nnatomy.data.folds import Fold, Periods
from nnatomy.data.formats import ARRAYS, BINARY, DELIMITED, FOLDER, JSON, PLAIN, TABLES, format_of
from nnatomy.data.lines import normal
from nnatomy.data.npz import read_arrays
from nnatomy.data.splits import chronological, split_rows
from nnatomy.data.stored import json_table, reads_as_json, stored_table
from nnatomy.errors import UserError

__all__ = ["OPTIONS", "TASKS", "Inputs", "Parts", "Reading", "Source"]

Array = npt.NDArray[Any]
TASKS = (
    "classification", "node classification", "graph classification", "regression", "language", "completion",
    "masked language", "translation", "forecast", "anomaly", "control", "segmentation", "recall", "density", "generation",
    "reconstruction",
)  # fmt: skip
UNLABELED = TASKS[-3:]
"""Tasks that need no targets."""
OPTIONS = (
    "target", "keep", "types", "labels", "resize", "gray", "binary", "window", "horizon", "encoding", "tokens", "pairs",
)  # fmt: skip
"""The options of `load` that say how a source is read; "groups" is an option of a fold."""


NAMES = {"X": ("X", "x", "inputs"), "y": ("y", "Y", "targets")}
"""The allowed names of the arrays in an .npz file."""
PROMISED = {
    ".npz": ARRAYS, ".npy": ARRAYS, ".parquet": "parquet", ".pq": "parquet", ".arrow": "arrow", ".feather": "arrow",
    ".ipc": "arrow", ".json": JSON, ".jsonl": JSON, ".ndjson": JSON,
} | dict.fromkeys((".csv", ".tsv", ".tab", ".data", ".dat"), DELIMITED)  # fmt: skip
"""What a file is by its ending, where its content does not decide: the reader then says what is wrong."""


class Source:
    """A file, a folder or a data frame, read once however many kinds look into it."""

    def __init__(self, path: str | Path, frame: Any = None, encoding: str = "") -> None:
        self.frame, self.encoding = frame, encoding
        self.path = Path(path).expanduser() if frame is None else Path(os.devnull, path)  # where there is no file, no folder

    def __str__(self) -> str:
        return "the frame" if self.frame is not None else str(self.path)

    @property
    def name(self) -> str:
        """The name without its ending, and without that of a packed file."""
        return Path(self._unpacked).stem

    @property
    def suffix(self) -> str:
        """The file name's ending in lower case, that of a packed file aside; "" for a folder and a frame."""
        return "" if self.frame is not None or self.path.is_dir() else Path(self._unpacked).suffix.lower()

    @property
    def _unpacked(self) -> str:
        return self.path.name[:-3] if self.path.name.lower().endswith(".gz") else self.path.name

    @cached_property
    def format(self) -> str:
        """What it is, whatever its name: one of the constants of `formats`, or the name of what no reader takes."""
        if self.frame is not None or self.path.is_dir():
            return FOLDER if self.frame is None else TABLES[0]
        found = format_of(self.path)
        if found == PLAIN and reads_as_json(self.text):
            return JSON
        if found == PLAIN and reads_as_table(self.text):
            return DELIMITED
        return PROMISED.get(self.suffix, found) if found in (PLAIN, BINARY) else found

    @property
    def has_table(self) -> bool:
        """True if `table` is likely to give one."""
        return self.format in (DELIMITED, JSON, *TABLES)

    @cached_property
    def text(self) -> str:
        """The text of the file, unpacked. Raises UserError where it is neither UTF-8 nor in the encoding named."""
        if self.frame is not None:
            raise UserError("A text is read from a file. Received a frame. Give the path of a text.")
        return read_text(self.path, self.encoding)

    @cached_property
    def table(self) -> RawTable:
        """The table in the file. Raises UserError as `read_csv` does, and where a file of columns is damaged."""
        if self.frame is not None:
            return table_of_frame(self.frame)
        if self.format == JSON:
            return json_table(self.text, str(self.path))
        return stored_table(self.path, self.format) if self.format in TABLES else parse_csv(self.text, self.path)

    @cached_property
    def arrays(self) -> Mapping[str, Array]:
        """The arrays in an .npz or .npy file, by name; the one of an .npy file is X.

        Raises UserError for another file, a damaged one, and one without X.
        """
        if self.format != ARRAYS:
            raise UserError(f"Arrays are read from .npy and .npz files. Received {self}. Save them with np.save or np.savez.")
        found = {name or "X": array for name, array in read_arrays(self.path).items()}
        known = {standard: found[name] for standard, names in NAMES.items() for name in reversed(names) if name in found}
        if "X" not in known:
            listed = ", ".join(found)
            raise UserError(f"An .npz file holds the array X. Received {self} with {listed}. Save it with X=... in it.")
        return known

    @property
    def columns(self) -> Mapping[str, Any]:
        """The columns of the table in it, or its arrays. Raises UserError where it has neither."""
        return self.arrays if self.format == ARRAYS else self.table.columns

    @property
    def parsed(self) -> Mapping[str, Any] | None:
        """The columns, if a reader has looked at them."""
        return self.columns if {"table", "arrays"} & self.__dict__.keys() else None


@dataclass(frozen=True)
class Inputs:
    """Inputs of the model, a name for each example, and what was noticed."""

    arrays: Batch
    """Those of the model, in order; what follows them, such as the sizes that pictures had, is for `Task.present` alone."""
    rows: tuple[str, ...]
    notices: tuple[str, ...] = ()
    shown: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Columns that `predict` shows after the names of the rows, such as the texts."""
    following: tuple[tuple[str, ...], ...] = ()
    """Names of the lines that the prediction of each row has, where they are known before: the times of a forecast."""


@dataclass(frozen=True)
class Parts:
    """Sorted row numbers of the three splits; only a `Reading` makes them."""

    train: Array
    validation: Array
    test: Array

    def __iter__(self) -> Iterator[Array]:
        return iter((self.train, self.validation, self.test))


class Reading:
    """One call of `load`: the tasks that are wanted, the options given, the seed, and the fold that decides the splits.

    A reader takes an option by `use`, so that `load` can refuse the options that no reader looked at, and gets its rows by
    `part`, `periods` or `hold_out`, so that `load` can refuse a reader that ignores a fold.
    """

    def __init__(
        self, tasks: Sequence[str] | None = None, *, seed: int = 0, fold: Fold | None = None, limit: int | None = None,
        offline: bool = False, **options: Any,
    ) -> None:  # fmt: skip
        if limit is not None and limit < 1:
            raise UserError(f"The option limit is at least 1. Received {limit}. Use, for example, limit=1000.")
        if limit is not None and fold is not None:
            raise UserError(f"A fold has its own limit. Received limit={limit} as well. Give Fold(..., limit={limit}).")
        self.any_task = tasks is None
        """True if no tasks were named: all that have targets will do, a kind's own as well."""
        self.tasks = TASKS[:-1] if tasks is None else tuple(tasks)
        self.seed, self.fold, self.limit, self.offline = seed, fold, limit, offline
        given = {name: _normal(value) for name, value in options.items()}
        self.options: Mapping[str, Any] = {name: value for name, value in given.items() if value not in (None, (), {})}
        self.defaults: dict[str, Any] = {}
        """Values for options that were not given, such as the target of a public set."""
        self.used: set[str] = set()
        self.rows: list[Sequence[Any]] = []
        """The rows, or stretches of rows, of the three splits, for each time that a reader requested its rows."""

    @property
    def split(self) -> bool:
        """True if a reader requested its rows."""
        return bool(self.rows)

    def wants(self, task: str) -> bool:
        """Return True if data with that task will do."""
        return task in self.tasks or (self.any_task and task not in TASKS)

    @property
    def reconstruction(self) -> bool:
        """True if the architecture gives its input back, and takes no targets."""
        return "reconstruction" in self.tasks

    @property
    def unlabeled(self) -> bool:
        """True if a task was named that needs no targets, so that labeled data and data without labels will both do."""
        return not self.any_task and bool(set(UNLABELED) & set(self.tasks))

    @property
    def targets_welcome(self) -> bool:
        """True if the architecture learns from inputs alone, and looks at targets only to say what it has found."""
        return "clustering" in self.tasks

    @property
    def targets_optional(self) -> bool:
        """True if a source without targets will do."""
        return self.reconstruction or self.unlabeled or self.targets_welcome

    @property
    def given(self) -> dict[str, Any]:
        """The options that were given, the column of a fold's groups among them."""
        groups = None if self.fold is None else self.fold.groups
        return {**self.options, **({} if groups is None else {"groups": groups})}

    def use(self, name: str, otherwise: Any = None) -> Any:
        """Return the value of an option, and record that the reader looked at it; `otherwise` where it was not given."""
        self.used.add(name)
        return self.given.get(name, self.defaults.get(name, otherwise))

    def part(
        self,
        n: int,
        classes: Array | None = None,
        names: tuple[str, ...] = (),
        *,
        fractions: tuple[float, float] = (0.15, 0.15),
        groups: Array | None = None,
        in_time: bool = False,
        official: tuple[Array, Array, Array] | None = None,
    ) -> Parts:
        """Return the rows of the three splits of `n` rows.

        Args:
            n: how many rows there are; with a fold and `official` parts, how many of the first rows a fold may use
            classes: class ids (n,); each split has its fraction of every class
            names: names of the classes, for errors
            fractions: those of validation and test
            groups: group ids (n,); rows of one group are never separated
            in_time: whether the rows are in order of time, so that a fold's parts follow each other
            official: the rows of published splits, which hold unless there is a fold

        Raises UserError where a split or a fold would lack a class.
        """
        if groups is not None:
            self.used.add("groups")
        if self.fold is not None:
            if in_time and self.fold.groups is None:
                return self._chosen(*self.fold.rows_in_time(n))
            return self._chosen(*self.fold.rows(n, classes, names, groups))
        if official is not None:
            return self._chosen(*official)
        if groups is not None:
            validation, test = fractions
            dealt = Fold(0, max(2, round(1 / test)), self.seed, inner_of=max(2, round((1 - test) / validation)))
            return self._chosen(*dealt.rows(n, classes, names, groups))
        return self._chosen(*split_rows(n, classes, self.seed, fractions, names))

    def _chosen(self, train: Array, validation: Array, test: Array) -> Parts:
        self.rows.append((train, validation, test))
        return Parts(train, validation, test)

    def hold_out(self, n: int, classes: Array, names: tuple[str, ...], fraction: float) -> tuple[Array, Array, Array | None]:
        """Return rows (train, validation, test) of the official training part of `n` rows.

        The third is None where the official test part is the test; with a fold it takes no part.
        """
        train, first, second = self.part(n, classes, names, fractions=(fraction / 2, fraction / 2))
        return (train, first, second) if self.fold is not None else (train, np.sort(np.concatenate([first, second])), None)

    def consecutive(
        self, counts: Sequence[int], classes: Array | None = None, names: tuple[str, ...] = (), held: float = 0.15
    ) -> Parts:
        """Return the rows of published parts that follow each other: training, validation if there is one, test.

        One part alone is split as usual. Without a validation part, `held` of the training part validates. The last part is
        the test, and takes no part in a fold.
        """
        ends = np.cumsum(counts)
        rows = [np.arange(end - count, end) for end, count in zip(ends, counts, strict=True)]
        if len(rows) == 1:
            return self.part(int(ends[0]), classes, names)
        kept = int(ends[-2])
        labels = None if classes is None else classes[:kept]
        if len(rows) == 3 or self.fold is not None:
            return self.part(kept, labels, names, official=(rows[0], rows[1], rows[-1]))
        train, first, second = self.part(kept, labels, names, fractions=(held / 2, held / 2))
        return Parts(train, np.sort(np.concatenate([first, second])), rows[1])

    def periods(self, n: int, fractions: tuple[float, float] = (0.2, 0.2), official: Periods | None = None) -> Periods:
        """Return the stretches (train, validation, test) of `n` rows in order of time, the `official` ones unless folded."""
        found = official if self.fold is None and official is not None else chronological(n, fractions, self.fold)
        self.rows.append(found)
        return found

    def only(self, train: Array, validation: Array, test: Array, why: str) -> Parts:
        """Return the rows of published splits that no fold may change; raises UserError `why` where there is a fold."""
        if self.fold is not None:
            raise UserError(why)
        return self._chosen(train, validation, test)

    def whole(self, n: int, why: str) -> Parts:
        """Return all `n` rows for each of the three splits; raises UserError `why` where there is a fold."""
        if self.fold is not None:
            raise UserError(why)
        return self._chosen(np.arange(n), np.arange(n), np.arange(n))


def _normal(value: Any) -> Any:
    """Return the names of columns in an option in the form that those of tables have, however a terminal passed them on."""
    if isinstance(value, str):
        return normal(value)
    if isinstance(value, Mapping):
        return {normal(name): kind for name, kind in value.items()}
    return tuple(map(normal, value)) if isinstance(value, tuple) and all(isinstance(v, str) for v in value) else value
