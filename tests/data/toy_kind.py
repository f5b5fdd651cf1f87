"""A kind of data that nothing in the library knows: a .points file, one point of the plane and its class a line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from nnatomy.data import ArraySplit, Dataset, Inputs, Preprocessing, Reading, Source, Split
from nnatomy.data.kinds import NO, SURELY, ExportedInputs, InputSpec, Kind
from nnatomy.data.requests import JSON, RequestReader, member, numbers_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from nnatomy.tensor import Tensor

Array = np.ndarray[Any, Any]
Batch = tuple[Array, ...]


@dataclass(frozen=True)
class PointsPreprocessing(Preprocessing):
    """Moves the training points' mean to the origin."""

    kind: ClassVar[str] = "points"
    center: tuple[float, ...]
    classes: tuple[str, ...]

    def transform(self, raw: Array) -> Batch:
        return self.prepare(np.asarray(raw, np.float64))

    def raw(self, given: Array) -> Batch:
        return (np.asarray(given, np.float64),)

    def prepare(self, *raw: Array) -> Batch:
        return ((raw[0] - np.array(self.center)).astype(np.float32),)


class PointsReader(RequestReader):
    accepts = (JSON,)

    def __init__(self, preprocessing: PointsPreprocessing) -> None:
        self.preprocessing = preprocessing

    def describe(self) -> dict[str, Any]:
        return {"inputs": [{"name": "points", "type": "numbers, [point][x, y]"}], "example": {"points": [[0.5, 2]]}}

    def from_json(self, value: Mapping[str, Any]) -> tuple[Batch, list[str]]:
        return self.preprocessing.transform(numbers_of(member(value, "points"), "points")), []


class PointsInputs(ExportedInputs):
    def __init__(self, dataset: Dataset, preprocessing: PointsPreprocessing) -> None:
        super().__init__(dataset, InputSpec("points", (2,), "float64", "x and y"))
        self.center = np.array(preprocessing.center)

    def encode(self, *raw: Tensor) -> tuple[Tensor, ...]:
        return ((raw[0] - self.center).astype("float32"),)

    def decode(self, *inputs: Array) -> Batch:
        return (inputs[0] + self.center,)


class PointsKind(Kind[PointsPreprocessing]):
    name = "points"
    noun = "points"
    forms = ("table",)
    preprocessing = PointsPreprocessing
    endings = (".points",)

    def recognize(self, source: Source, reading: Reading) -> int:
        return SURELY if source.suffix == ".points" else NO

    def read(self, source: Source, reading: Reading) -> Dataset:
        points, labels = _lines(source)
        classes = tuple(sorted(set(labels)))
        ids = np.array([classes.index(label) for label in labels])
        parts = self.rows(ids, classes, reading)
        preprocessing = PointsPreprocessing(tuple(points[parts[0]].mean(axis=0).tolist()), classes)
        (inputs,) = preprocessing.transform(points)
        splits = [ArraySplit((inputs[rows], ids[rows])) for rows in parts]
        return Dataset(
            source.path.stem, "table", "classification", splits[0], splits[1], splits[2], classes, preprocessing, (), (2,),
            "points", len(classes),
        )  # fmt: skip

    def rows(self, ids: Array, classes: tuple[str, ...], reading: Reading) -> tuple[Array, ...]:
        return tuple(reading.part(len(ids), ids, classes))

    def inputs(self, source: Source, preprocessing: PointsPreprocessing, raw: bool = False) -> Inputs:
        points = _lines(source)[0]
        arrays = preprocessing.raw(points) if raw else preprocessing.transform(points)
        return Inputs(arrays, tuple(str(n + 1) for n in range(len(points))))

    def examples(self, source: Source, preprocessing: PointsPreprocessing) -> tuple[Split, tuple[str, ...]]:
        points, labels = _lines(source)
        return ArraySplit((*preprocessing.transform(points), np.array([preprocessing.classes.index(v) for v in labels]))), ()

    def reader(self, preprocessing: PointsPreprocessing, input_shape: tuple[int, ...]) -> RequestReader:
        return PointsReader(preprocessing)

    def exported(self, dataset: Dataset) -> ExportedInputs:
        return PointsInputs(dataset, self.fitted(dataset))

    def limits(self, dataset: Dataset) -> str:
        return "It knows the plane only."

    def show(self, axes: Axes, example: Batch, dataset: Dataset) -> None:
        axes.plot(*example[0][0], marker="o")


class ForgetfulKind(PointsKind):
    """Splits its rows itself, whatever fold is given."""

    def rows(self, ids: Array, classes: tuple[str, ...], reading: Reading) -> tuple[Array, ...]:
        return tuple(np.array_split(np.arange(len(ids)), 3))


def _lines(source: Source) -> tuple[Array, list[str]]:
    cells = [line.split() for line in source.text.splitlines()]
    return np.array([[float(x), float(y)] for x, y, _ in cells]), [label for *_, label in cells]
