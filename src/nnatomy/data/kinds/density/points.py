"""Points as a data set: numbers standardized by the training rows; the names of their modes, if any, as classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from nnatomy.data.cells import number
from nnatomy.data.csvfile import RawTable
from nnatomy.data.dataset import ArraySplit, Batch, Dataset, Preprocessing
from nnatomy.data.fields import Field
from nnatomy.data.reading import Reading
from nnatomy.data.scaling import deviation
from nnatomy.data.splits import class_ids
from nnatomy.data.writing import Learned, Writing, learned_numbers
from nnatomy.errors import UserError
from nnatomy.saved import Positive

__all__ = ["PointPreprocessing", "fields_of", "points_dataset", "points_of_cells", "points_of_table"]

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class PointPreprocessing(Preprocessing):
    """Standardizes each column by the training rows."""

    kind: ClassVar[str] = "density"
    columns: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[Positive, ...]
    classes: tuple[str, ...] = ()
    """The names of the modes, where the data name them."""
    target: str = ""
    """The column of a CSV file that names them."""
    writings: Mapping[str, Writing] = field(default_factory=dict)
    """How the columns of that file write their numbers."""
    encoding: str = ""

    def raw(self, given: Any) -> Batch:
        """Return (points (n, columns) as float64,). Raises UserError for another shape, or for what is not finite."""
        points = numeric(given, "the points")
        if points.shape[1] != len(self.columns):
            raise UserError(f"The model knows points of {len(self.columns)} numbers. Received {points.shape[1]}. Cut them.")
        return (points,)

    def prepare(self, *raw: Array) -> Batch:
        return (((raw[0] - np.array(self.mean)) / np.array(self.std)).astype(np.float32),)

    def transform(self, raw: Any) -> Batch:
        """Return (inputs (n, columns) as float32,)."""
        return self.prepare(*self.raw(raw))

    def inverse(self, inputs: Any) -> Any:
        return inputs * np.array(self.std, inputs.dtype) + np.array(self.mean, inputs.dtype)

    def ids(self, modes: Sequence[str], source: str) -> Array:
        """Return the modes (n,) of points as class ids. Raises UserError for a mode that training did not have."""
        return class_ids(list(modes), self.classes, source)


def fields_of(classes: Sequence[str]) -> tuple[Field, ...]:
    """Return what the arrays of a batch are: points, and their modes where these have names."""
    return (Field("points"), Field("modes", role="target"))[: 2 if classes else 1]


def points_dataset(
    name: str, points: Any, modes: Sequence[str] | None, reading: Reading, *, columns: Sequence[str], target: str = "",
    description: str = "", writings: Mapping[str, Writing] | None = None, notices: tuple[str, ...] = (),
) -> Dataset:  # fmt: skip
    """Return the data set of points.

    Args:
        name: of the data set
        points: numbers (n, columns)
        modes: the name of each point's mode (n,), or None
        reading: how the rows are split; each split has its fraction of every mode
        columns: the names of the columns
        target: the column of the file that names the modes
        description: of the data set
        writings: how the file writes the numbers of each column

    Raises UserError for other shapes, for numbers that are not finite, and for columns that do not vary.
    """
    x = numeric(points, name)
    if modes is not None and len(modes) != len(x):
        raise UserError(f"Points and their modes have the same rows. Received {len(x)} and {len(modes)}. Remove the others.")
    classes = tuple(sorted(set(modes), key=_natural)) if modes is not None else ()
    ids = class_ids(list(modes), classes, name) if modes is not None else None
    parts = reading.part(len(x), ids, classes)
    mean, std = x[parts.train].mean(axis=0), deviation(x[parts.train])
    flat = next((column for column, s in zip(columns, std) if not s > 0), None)
    if flat is not None:
        raise UserError(f"Each column of the points varies. Received the same number in every row of {flat!r}. Remove it.")
    moments = tuple(mean.tolist()), tuple(std.tolist())
    preprocessing = PointPreprocessing(tuple(columns), *moments, classes, target, writings or {})
    arrays = preprocessing.prepare(x) if ids is None else (*preprocessing.prepare(x), ids)
    splits = [ArraySplit(tuple(a[rows] for a in arrays), fields_of(classes)) for rows in parts]
    said = description or f"{len(x):,} points of {x.shape[1]} numbers" + (f" in {len(classes)} modes" if classes else "")
    return Dataset(
        name, "density", "generation", splits[0], splits[1], splits[2], classes, preprocessing, notices, x.shape[1:], said,
        x.shape[1],
    )  # fmt: skip


def points_of_table(
    table: RawTable, target: str | None, types: Mapping[str, str], source: str
) -> tuple[tuple[str, ...], Array, list[str] | None, Learned]:
    """Return the names of a table's columns, its points, their modes (the column `target`), and how numbers are written.

    Raises UserError for an unknown target, and for a cell that is not a number.
    """
    if target is not None and target not in table.columns:
        raise UserError(f"--target names a column of {source}. Received {target!r}. Use one of {', '.join(table.columns)}.")
    columns = tuple(name for name in table.columns if name != target)
    if not columns:
        raise UserError(f"Points need a column of numbers. Received {source} with the column {target!r} alone. Add others.")
    found = learned_numbers(replace(table, columns={name: table.columns[name] for name in columns}), types)
    points = points_of_cells({name: found.table.columns.get(name, table.columns[name]) for name in columns}, table, source)
    return columns, points, None if target is None else table.columns[target], found


def points_of_cells(cells: Mapping[str, Sequence[str]], table: RawTable, source: str) -> Array:
    """Return points from columns of plain numbers. Raises UserError, with the cell of `table`, for what is not a number."""
    points = np.stack([[number(cell) for cell in column] for column in cells.values()], axis=1).reshape(len(table), len(cells))
    for place, name in enumerate(cells):
        bad = np.flatnonzero(~np.isfinite(points[:, place]))
        if len(bad):
            cell = table.columns[name][bad[0]]
            raise UserError(
                f"Points are numbers. Received {cell!r} in column {name!r} of {source}, row {bad[0] + 1}. Remove the column, "
                f"fill the cell, or name the column of the modes: --target {name}."
            )
    return points


def numeric(given: Any, what: str) -> Array:
    """Return points (n, columns) as float64. Raises UserError for other shapes and for numbers that are not finite."""
    try:
        values = np.asarray(given)
        if values.dtype.kind not in "biuf":
            raise ValueError
    except ValueError:
        raise UserError(f"Points are numbers. Received {type(given).__name__} in {what}. Use np.asarray.") from None
    if values.ndim != 2 or not values.shape[1]:
        raise UserError(f"Points have the shape (n, columns). Received {values.shape} in {what}. Reshape them.")
    values = values.astype(np.float64)
    if not np.isfinite(values).all():
        row = int(np.argwhere(~np.isfinite(values))[0][0])
        raise UserError(f"Points are finite numbers. Received NaN or infinity in row {row} of {what}. Fill or remove it.")
    return values


def _natural(name: str) -> tuple[bool, float, str]:
    """An order in which mode 10 comes after mode 9."""
    value = number(name)
    return (np.isnan(value), 0.0 if np.isnan(value) else value, name)
