"""A table's rows as one array of floats: fitted on the training rows, saved as JSON, checked against a new file's columns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from nnatomy.data.cells import numbers, truth
from nnatomy.data.csvfile import RawTable
from nnatomy.data.dataset import Batch, Preprocessing
from nnatomy.data.numerals import PLAIN
from nnatomy.data.scaling import deviation, scale
from nnatomy.data.times import parse_times
from nnatomy.data.writing import AS_IS, Writing
from nnatomy.errors import UserError
from nnatomy.saved import Positive

__all__ = ["Field", "TablePreprocessing"]

Array = npt.NDArray[Any]
MOST_LEVELS = 30  # one-hot columns a category may take; the rarer ones share "other"


@dataclass(frozen=True)
class Field:
    """The features of one column: a standardized number, a truth value, or a one-hot category; then "is missing"."""

    name: str
    type: str  # "numeric", "date", "boolean" or "categorical"
    fill: float | str  # for a missing cell: the training median, or the most frequent category
    indicator: bool  # whether a feature says that the cell was missing
    mean: float = 0.0
    std: Positive = 1.0
    levels: tuple[str, ...] = ()
    other: bool = False  # whether rare and unseen categories have their own feature
    log: bool = False  # whether a long-tailed number is taken as sign(x) log(1 + |x|)
    writing: Writing = AS_IS

    def __post_init__(self) -> None:
        if isinstance(self.fill, str) != (self.type == "categorical"):
            noun = "a text" if self.type == "categorical" else "a number"
            raise UserError(f"{self.name!r} is {self.type}: fill must be {noun}. Received {self.fill!r}. Train again.")

    @classmethod
    def fit(cls, name: str, kind: str, cells: Sequence[str], writing: Writing = AS_IS) -> Field:
        """Fit on the training rows' plain cells; `writing` is how the table for training has them."""
        missing = not all(cells)
        if kind == "categorical":
            counts = Counter(c for c in cells if c).most_common()
            rare = max(2, len(cells) // 1000)
            levels = [level for level, count in counts[:MOST_LEVELS] if count >= rare]
            return cls(
                name,
                kind,
                counts[0][0] if counts else "",
                missing,
                levels=tuple(sorted(levels)),
                other=len(levels) < len(counts),
                writing=writing,
            )
        values = _values(name, kind, cells)
        known = values[np.isfinite(values)]
        missing = len(known) < len(values)
        if not len(known):
            return cls(name, kind, 0.0, missing, writing=writing)
        if kind == "boolean":
            return cls(name, kind, float(np.mean(known) >= 0.5), missing, writing=writing)
        fill, log = float(np.median(known)), kind == "numeric" and _long_tailed(known)
        filled = np.where(np.isfinite(values), values, fill)
        filled = _compress(filled) if log else filled
        return cls(name, kind, fill, missing, float(filled.mean()), float(scale(filled)), log=log, writing=writing)

    def plain(self, table: RawTable) -> list[str]:
        """Return the column's cells of a new table as training has them; see `Writing.plain`."""
        known = (*self.levels, str(self.fill)) if self.type == "categorical" else ()
        return table.columns[self.name] if self.type == "boolean" else self.writing.plain(table, self.name, self.type, known)

    def features(self) -> list[str]:
        """Return the names of the features made from this column."""
        names = [f"{self.name}={level}" for level in self.levels] if self.type == "categorical" else [self.name]
        return names + [f"{self.name}=other"] * self.other + [f"{self.name} is missing"] * self.indicator

    def raw(self, cells: Sequence[str]) -> Array:
        """Return plain cells as float64[n, 1], NaN where one is missing, or categories as text[n, 1]."""
        return (np.array(cells, str) if self.type == "categorical" else _values(self.name, self.type, cells))[:, None]

    def encode(self, cells: Sequence[str]) -> tuple[Array, list[str]]:
        """Return features float32[n, k] and the plain cells that could not be used: unseen categories, no numbers."""
        raw = self.raw(cells)
        if self.type == "categorical":
            known = {*self.levels, ""} if str(self.fill) in self.levels else set(self.levels)
            unread = [] if self.other else [cell or str(self.fill) for cell in cells if cell not in known]
        else:
            unread = [cell for cell, value in zip(cells, raw[:, 0], strict=True) if cell and not np.isfinite(value)]
        return self.prepare(raw), list(dict.fromkeys(unread))

    def prepare(self, raw: Array) -> Array:
        """Return features float32[n, k] of what `raw` gives."""
        if self.type == "categorical":
            return self._prepare_categories(raw[:, 0].tolist())
        values = raw[:, 0]
        missing = ~np.isfinite(values)
        filled = np.where(missing, self.fill, values)
        columns = [((_compress(filled) if self.log else filled) - self.mean) / self.std]
        return np.stack(columns + [missing] * self.indicator, axis=1).astype(np.float32)

    def decode(self, features: Array) -> list[str]:
        """Return the cells that features[n, k] were made of, as far as these show: "" where one was missing."""
        values = features[:, 0].astype(np.float64) * self.std + self.mean
        if self.type == "categorical":
            names = [*self.levels, *["other"] * self.other]
            own = features[:, : len(names)]
            found = [names[int(row.argmax())] if row.any() else str(self.fill) for row in own]
        elif self.type == "date":
            found = [str(np.datetime64(round(v * 1440), "m")).removesuffix("T00:00") for v in values]
        elif self.type == "boolean":
            found = ["yes" if v >= 0.5 else "no" for v in values]
        else:
            values = np.sign(values) * np.expm1(np.abs(values)) if self.log else values
            found = [f"{0.0 if abs(v) < 1e-5 * self.std else v:.5g}" for v in values]
        return ["" if self.indicator and row[-1] else cell for row, cell in zip(features, found, strict=True)]

    def _prepare_categories(self, cells: list[str]) -> Array:
        place = {level: n for n, level in enumerate(self.levels)}
        out = np.zeros((len(cells), len(self.features())), np.float32)
        for row, cell in enumerate(cells):
            level = cell or str(self.fill)
            if level in place:
                out[row, place[level]] = 1.0
            elif self.other:
                out[row, len(self.levels)] = 1.0
        if self.indicator:
            out[:, -1] = [not cell for cell in cells]
        return out


def _long_tailed(values: Array) -> bool:
    """Return True if values are never negative and their skewness is above 2 (an exponential distribution's)."""
    spread = deviation(values)
    return bool(values.min() >= 0 and spread > 0 and np.mean(((values - values.mean()) / spread) ** 3) > 2)


def _compress(values: Array) -> Array:
    return np.asarray(np.sign(values) * np.log1p(np.abs(values)))


def _values(name: str, kind: str, cells: Sequence[str]) -> Array:
    if kind == "boolean":
        return truth(cells)
    if kind == "numeric":
        return numbers(cells)
    values = np.full(len(cells), np.nan)
    present = [n for n, cell in enumerate(cells) if cell]
    if present:
        times = parse_times([cells[n] for n in present], name, "")
        values[present] = times.astype(np.int64) / 86400  # days since 1970
    return values


@dataclass(frozen=True)
class TablePreprocessing(Preprocessing):
    """Converts rows of a table into inputs float32[n, features]; targets are class ids or standardized numbers."""

    kind: ClassVar[str] = "table"
    fields: tuple[Field, ...]
    target: str | None
    task: str
    classes: tuple[str, ...] = ()
    target_mean: float = 0.0
    target_std: Positive = 1.0
    target_writing: Writing = AS_IS
    encoding: str = ""

    @property
    def feature_names(self) -> tuple[str, ...]:
        return tuple(name for field in self.fields for name in field.features())

    @property
    def numbers(self) -> tuple[int, ...]:
        """The places of the standardized numbers among the features."""
        widths = [len(field.features()) for field in self.fields]
        return tuple(sum(widths[:n]) for n, field in enumerate(self.fields) if field.type in ("numeric", "date"))

    @property
    def columns(self) -> tuple[int, ...]:
        """The number of the column that each feature was made of."""
        return tuple(n for n, field in enumerate(self.fields) for _ in field.features())

    def transform(self, raw: RawTable) -> Batch:
        """Return (inputs[n, features],) for a table with the training table's columns."""
        return self.encode(raw)[0]

    def raw(self, given: RawTable) -> Batch:
        """Return one array a column, as `Field.raw` makes it."""
        return tuple(field.raw(field.plain(given)) for field in self.fields)

    def prepare(self, *raw: Array) -> Batch:
        return (np.concatenate([field.prepare(column) for field, column in zip(self.fields, raw, strict=True)], axis=1),)

    def encode(self, table: RawTable) -> tuple[Batch, list[str]]:
        """Return what `transform` does, and notices on extra columns and unseen categories.

        Raises UserError where a column is missing, or is written in another way than in training.
        """
        return self.encode_plain(self.plain(table))

    def plain(self, table: RawTable) -> RawTable:
        """Return a new table with the cells of its inputs and its target as training has them; see `Writing.plain`.

        Raises UserError where a column of the inputs is missing.
        """
        absent = [field.name for field in self.fields if field.name not in table.columns]
        if absent:
            raise UserError(
                f"The model was trained with the column {absent[0]!r}. Received {table.source}, which has no such column. Add "
                "it or name it so."
            )
        cells = {field.name: field.plain(table) for field in self.fields}
        if self.target in table.columns:
            kind = "categorical" if self.task == "classification" else "numeric"
            if kind == "categorical" and self.target_writing.numerals != PLAIN:  # classes that are numbers
                numbers = self.target_writing.plain(table, self.target, "numeric")
                table = RawTable({**table.columns, self.target: numbers}, table.source)
            cells[self.target] = self.target_writing.plain(table, self.target, kind, self.classes)
        return RawTable({**table.columns, **cells}, table.source)

    def encode_plain(self, table: RawTable) -> tuple[Batch, list[str]]:
        """Return inputs and notices for a table in plain cells."""
        notices, parts = [], []
        known = {field.name for field in self.fields} | {self.target}
        extra = [name for name in table.columns if name not in known]
        if extra:
            notices.append(f"Columns that the model does not use were ignored: {', '.join(extra)}.")
        for field in self.fields:
            part, unseen = field.encode(table.columns[field.name])
            parts.append(part)
            if unseen:
                notices.append(f"Column {field.name!r} has values that training did not know ({', '.join(unseen[:5])}).")
        return (np.concatenate(parts, axis=1),), notices

    def decode(self, inputs: Array) -> dict[str, list[str]]:
        """Return the cells of each column that inputs[n, features] were made of, as far as these show."""
        ends = np.cumsum([len(field.features()) for field in self.fields])
        parts = np.split(inputs, ends[:-1], axis=1)
        return {field.name: field.decode(part) for field, part in zip(self.fields, parts, strict=True)}

    def encode_target(self, cells: Sequence[str]) -> Array:
        """Return class ids int64[n], or standardized targets float32[n, 1]; raises UserError for an unknown class."""
        if self.task == "classification":
            place = {name: n for n, name in enumerate(self.classes)}
            unknown = next((c for c in cells if c not in place), None)
            if unknown is not None:
                raise UserError(
                    f"Classes are {', '.join(self.classes)}. Received {unknown!r} in {self.target!r}. Correct or remove it."
                )
            return np.array([place[c] for c in cells], dtype=np.int64)
        return ((numbers(cells)[:, None] - self.target_mean) / self.target_std).astype(np.float32)

    def inverse_targets(self, targets: Array) -> Array:
        return targets * self.target_std + self.target_mean if self.task == "regression" else targets

