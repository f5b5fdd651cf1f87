"""Points drawn from a density: rows of numbers, perhaps each with the name of its mode. CSV files, arrays, generated sets."""

from __future__ import annotations

from typing import Any

import numpy as np

from nnatomy.data.dataset import ArraySplit, Dataset, Split
from nnatomy.data.formats import ARRAYS
from nnatomy.data.kinds.density.points import (
    PointPreprocessing,
    fields_of,
    points_dataset,
    points_of_cells,
    points_of_table,
)
from nnatomy.data.kinds.density.sets import SETS
from nnatomy.data.kinds.kind import NO, PERHAPS, ExportedInputs, Kind
from nnatomy.data.kinds.looks import Look, look_at
from nnatomy.data.reading import Inputs, Reading, Source
from nnatomy.data.requests import RequestReader
from nnatomy.data.writing import AS_IS
from nnatomy.errors import UserError


class DensityKind(Kind[PointPreprocessing]):
    """Points (n, columns), for models of where points are; a target column names their modes."""

    name = "density"
    noun = "points"
    preprocessing = PointPreprocessing
    options = frozenset({"target", "types", "encoding"})
    endings = (".csv", ".tsv", ".parquet", ".npz")
    sets = SETS
    labels_optional = True

    def recognize(self, source: Source, reading: Reading) -> int:
        """Read tables and arrays as points only for a model without targets."""
        if not reading.unlabeled:
            return NO
        if source.format == ARRAYS:
            return PERHAPS if source.arrays["X"].ndim == 2 else NO
        return PERHAPS if source.has_table else NO

    def read(self, source: Source, reading: Reading) -> Dataset:
        target = reading.use("target")
        if source.format == ARRAYS:
            if target is not None:
                raise UserError(f"Arrays have no named columns. Received --target {target}. Store the modes as y in the file.")
            points, modes = _named(source)
            columns = tuple(f"x{i + 1}" for i in range(points.shape[1]))
            return points_dataset(source.name, points, modes, reading, columns=columns)
        columns, points, modes, found = points_of_table(source.table, target, reading.use("types", {}), str(source))
        return points_dataset(
            source.name, points, modes, reading, columns=columns, target=target or "", writings=found.writings,
            notices=found.notices,
        )  # fmt: skip

    def of_arrays(self, name: str, x: Any, y: Any, reading: Reading) -> Dataset | None:
        if np.ndim(x) != 2:
            return None
        modes = None if y is None else [str(mode) for mode in np.asarray(y).tolist()]
        return points_dataset(name, x, modes, reading, columns=tuple(f"x{i + 1}" for i in range(np.shape(x)[1])))

    def inputs(self, source: Source, preprocessing: PointPreprocessing, raw: bool = False) -> Inputs:
        points, _ = self._stored(source, preprocessing)
        return self.given(points, preprocessing, raw)

    def given(self, value: Any, preprocessing: PointPreprocessing, raw: bool = False) -> Inputs:
        arrays = preprocessing.raw(value) if raw else preprocessing.transform(value)
        return Inputs(arrays, tuple(str(n + 1) for n in range(len(arrays[0]))))

    def examples(self, source: Source, preprocessing: PointPreprocessing) -> tuple[Split, tuple[str, ...]]:
        points, modes = self._stored(source, preprocessing)
        arrays = preprocessing.transform(points)
        if modes is None or not preprocessing.classes:
            notice = ("The file names no modes, so they are not counted.",) if preprocessing.classes else ()
            return ArraySplit(arrays, fields_of(())), notice
        return ArraySplit((*arrays, preprocessing.ids(modes, str(source))), fields_of(preprocessing.classes)), ()

    def given_examples(self, value: Any, preprocessing: PointPreprocessing) -> tuple[Split, tuple[str, ...]]:
        if isinstance(value, tuple | list) and len(value) == 2 and np.ndim(value[0]) == 2:
            points, modes = value
            labels = preprocessing.ids([str(mode) for mode in modes], "the arrays")
            return ArraySplit((*preprocessing.transform(points), labels), fields_of(preprocessing.classes)), ()
        return ArraySplit(preprocessing.transform(value), fields_of(())), ()

    def reader(self, preprocessing: PointPreprocessing, input_shape: tuple[int, ...]) -> RequestReader:
        from nnatomy.data.kinds.density.request import PointReader

        return PointReader(preprocessing)

    def exported(self, dataset: Dataset) -> ExportedInputs:
        from nnatomy.data.kinds.density.export import PointInputs

        return PointInputs(dataset, self.fitted(dataset))

    def made(self, inputs: Any, dataset: Dataset) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return points that a model made as columns, in the units of the user's file."""
        points = self.fitted(dataset).inverse(np.asarray(inputs, np.float64))
        return dict(zip(self.fitted(dataset).columns, points.T)), {}

    def look(self, dataset: Dataset) -> Look:
        return look_at(dataset, self.fitted(dataset).columns)

    def limits(self, dataset: Dataset) -> str:
        columns = ", ".join(self.fitted(dataset).columns)
        return f"It knows the columns {columns} in the units of its training points; it was not shown how many points are rare."

    def _stored(self, source: Source, preprocessing: PointPreprocessing) -> tuple[Any, Any]:
        """Return the points of a file with the columns that training had, and their modes where it names them."""
        if source.format == ARRAYS:
            return _named(source)
        table = source.table
        absent = [column for column in preprocessing.columns if column not in table.columns]
        if absent:
            raise UserError(f"Points have the columns of training. Received {source} without {', '.join(absent)}. Add them.")
        modes = table.columns.get(preprocessing.target) if preprocessing.target else None
        cells = {c: preprocessing.writings.get(c, AS_IS).plain(table, c, "numeric") for c in preprocessing.columns}
        return points_of_cells(cells, table, str(source)), modes


def _named(source: Source) -> tuple[Any, list[str] | None]:
    """Return the array X of a file, and y as names of modes where it is there."""
    modes = source.arrays.get("y")
    return source.arrays["X"], None if modes is None else [str(mode) for mode in modes.tolist()]


KIND = DensityKind()
