"""Raw examples to check an exported model on: those of a run's test data, turned back into what a user has, or made-up ones."""

from __future__ import annotations

from dataclasses import replace
from functools import singledispatch
from typing import Any

import numpy as np

from nnatomy.data.dataset import Dataset, Preprocessing, generator
from nnatomy.data.encoding import Field, TablePreprocessing
from nnatomy.data.images import ImagePreprocessing
from nnatomy.data.sentences import LONGEST, WordPreprocessing
from nnatomy.data.series import SeriesPreprocessing
from nnatomy.errors import UserError
from nnatomy.exporting.preparing import scale_and_shift
from nnatomy.runs.prepare import Prepared, prepare

Array = np.ndarray[Any, Any]
Arrays = tuple[Array, ...]
UNSEEN = "\ufffd unseen"


def examples(restored: Prepared, count: int) -> tuple[Arrays, bool]:
    """Raw inputs of `count` examples, and whether they are the run's own: made-up ones stand in where its data are away."""
    try:
        split = prepare(replace(restored.request, offline=True), restored.own).dataset.test
        places = np.linspace(0, len(split) - 1, count).round().astype(np.int64)
        return decode(restored.dataset.preprocessing, *split.take(places)[:-1]), True
    except UserError:
        return decode(restored.dataset.preprocessing, *made_up(restored.dataset, count)), False


def made_up(dataset: Dataset, count: int) -> Arrays:
    """Random inputs of a network of the kind that the data set's examples are."""
    rng, preprocessing = generator(0), dataset.preprocessing
    if dataset.kind == "text":
        return (rng.integers(0, dataset.outputs, (count, *dataset.input_shape)),)
    if isinstance(preprocessing, WordPreprocessing):
        lengths = rng.integers(1, LONGEST, count)
        tokens = rng.integers(1, len(preprocessing.vocabulary), (count, LONGEST))
        return np.where(np.arange(LONGEST) < lengths[:, None], tokens, 0), lengths
    return (rng.normal(size=(count, *dataset.input_shape)).astype(np.float32),)


@singledispatch
def decode(preprocessing: Preprocessing, *inputs: Array) -> Arrays:
    """Raw inputs that a preprocessing turns into (nearly) these; the same ones where it changes nothing."""
    return inputs


@decode.register
def _(preprocessing: WordPreprocessing, *inputs: Array) -> Arrays:
    tokens, lengths = inputs
    return np.pad(tokens, ((0, 0), (0, LONGEST - tokens.shape[1]))), lengths


@decode.register
def _(preprocessing: ImagePreprocessing, *inputs: Array) -> Arrays:
    scale, shift = (v[:, None, None] for v in scale_and_shift(preprocessing))
    return (np.clip((inputs[0] + shift) / scale, 0, preprocessing.largest).round().astype(np.float32),)


@decode.register
def _(preprocessing: SeriesPreprocessing, *inputs: Array) -> Arrays:
    return (inputs[0] * np.array(preprocessing.std) + np.array(preprocessing.mean),)


@decode.register
def _(preprocessing: TablePreprocessing, *inputs: Array) -> Arrays:
    columns, start = [], 0
    for field in preprocessing.fields:
        width = len(field.features())
        columns.append(_cells(field, inputs[0][:, start : start + width]))
        start += width
    return tuple(columns)


def _cells(field: Field, features: Array) -> Array:
    """A column [n, 1] as `Field.raw` gives it, for its features."""
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


def awkward(preprocessing: Preprocessing, raw: Arrays) -> Arrays:
    """The same examples with what is hard: cells of a table that are missing, never seen before or 0; a series with gaps."""
    if isinstance(preprocessing, SeriesPreprocessing):
        window = raw[0].copy()
        window[:, ::3] = np.nan
        return (window,)
    if not isinstance(preprocessing, TablePreprocessing):
        return raw
    changed = []
    for column in raw:
        cells = column.astype(object) if column.dtype.kind == "U" else column.copy()
        cells[0::3] = "" if column.dtype.kind == "U" else np.nan
        cells[1::3] = UNSEEN if column.dtype.kind == "U" else 0.0
        changed.append(cells.astype(str) if column.dtype.kind == "U" else cells)
    return tuple(changed)
