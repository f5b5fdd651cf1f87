"""A table's rows in an exported model: `encode` says in operations of this library what encoding.py does in NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from nnatomy import ops
from nnatomy.data.dataset import Batch, Dataset
from nnatomy.data.kinds.kind import ExportedInputs, InputSpec
from nnatomy.data.kinds.table.encoding import Field, TablePreprocessing
from nnatomy.tensor import Tensor

Array = npt.NDArray[Any]
UNSEEN = "\ufffd unseen"


class TableInputs(ExportedInputs):
    """One input a column: numbers as float64, NaN where one is missing, and categories as text."""

    def __init__(self, dataset: Dataset, preprocessing: TablePreprocessing) -> None:
        super().__init__(dataset, *map(_column, preprocessing.fields))
        self.fields = preprocessing.fields

    def encode(self, *raw: Tensor) -> tuple[Tensor, ...]:
        parts = [part for field, cells in zip(self.fields, raw, strict=True) for part in _features(field, cells)]
        return (ops.concatenate([part.astype("float32") for part in parts], axis=1),)

    def decode(self, *inputs: Array) -> Batch:
        ends = np.cumsum([len(field.features()) for field in self.fields])
        parts = np.split(inputs[0], ends[:-1], axis=1)
        return tuple(_cells(field, features) for field, features in zip(self.fields, parts, strict=True))

    def awkward(self, raw: Batch) -> Batch:
        """Return cells that are missing, never seen before, or 0."""
        changed = []
        for column in raw:
            cells = column.astype(object) if column.dtype.kind == "U" else column.copy()
            cells[0::3] = "" if column.dtype.kind == "U" else np.nan
            cells[1::3] = UNSEEN if column.dtype.kind == "U" else 0.0
            changed.append(cells.astype(str) if column.dtype.kind == "U" else cells)
        return tuple(changed)


def _column(field: Field) -> InputSpec:
    if field.type == "categorical":
        return InputSpec(field.name, (1,), "string", "a category as text, empty where it is missing", field.fill)
    unit = {"date": "a time in days since 1970", "boolean": "1 for true, 0 for false"}.get(field.type, "a number")
    return InputSpec(field.name, (1,), "float64", f"{unit}, NaN where it is missing", field.fill)


def _features(field: Field, cells: Tensor) -> list[Tensor]:
    """Return the columns that Field.encode makes of one, in its order."""
    if field.type == "categorical":
        missing = ops.equal(cells, np.array([[""]]))
        filled = ops.where(missing, np.array([[str(field.fill)]]), cells)
        hits = [ops.equal(filled, np.array([field.levels]))] if field.levels else []
        seen = ops.any(hits[0], axis=1, keepdims=True) if hits else ops.not_equal(filled, filled)
        return hits + [ops.logical_not(seen)] * field.other + [missing] * field.indicator
    missing = ops.logical_not(ops.isfinite(cells))
    value = ops.where(missing, float(field.fill), cells)
    if field.log:
        value = ops.sign(value) * ops.log1p(ops.abs(value))
    return [(value - field.mean) / field.std] + [missing] * field.indicator


def _cells(field: Field, features: Array) -> Array:
    """Return a column (n, 1) as `Field.raw` gives it, for its features."""
    missing = features[:, -1] > 0.5 if field.indicator else np.zeros(len(features), bool)
    if field.type == "categorical":
        names = np.array([*field.levels, UNSEEN])
        shown = features[:, : len(field.levels) + field.other]
        seen = shown.max(axis=1, initial=0.0) > 0
        found = np.where(seen, shown.argmax(axis=1) if shown.shape[1] else 0, len(field.levels))
        return np.where(missing, "", names[np.minimum(found, len(field.levels))])[:, None]
    values = features[:, 0].astype(np.float64) * field.std + field.mean
    values = np.sign(values) * np.expm1(np.abs(values)) if field.log else values
    values = (values > 0.5).astype(np.float64) if field.type == "boolean" else values
    return np.where(missing, np.nan, values)[:, None]
