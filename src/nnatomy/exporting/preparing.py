"""Preprocessing inside an exported model: from what a user has (numbers, categories, pixels) to what the network takes.

`encode` says in operations of this library what data/ does in NumPy, so that it is traced with the model; every export compares
the two. What is read from text stays outside: the numbers in a cell, the words of a sentence.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import singledispatch
from typing import Any

import numpy as np

from nnatomy import ops
from nnatomy.data.dataset import Dataset, Preprocessing
from nnatomy.data.encoding import Field, TablePreprocessing
from nnatomy.data.images import ImagePreprocessing
from nnatomy.data.sentences import LONGEST, WordPreprocessing
from nnatomy.data.series import SeriesPreprocessing
from nnatomy.data.text import CharacterPreprocessing
from nnatomy.tensor import Tensor

Array = np.ndarray[Any, Any]
Arrays = tuple[Array, ...]
Tensors = tuple[Tensor, ...]


@dataclass(frozen=True)
class Given:
    """An input of an exported model: its name, the shape of one example, its type, what it holds, and a value to try."""

    name: str
    shape: tuple[int, ...]
    type: str  # "float32", "float64", "int64" or "string"
    holds: str
    typical: float | str = 0


def inputs_of(dataset: Dataset) -> list[Given]:
    """What the exported model of a data set takes."""
    preprocessing, shape = dataset.preprocessing, dataset.input_shape
    if isinstance(preprocessing, TablePreprocessing):
        return [_column(field) for field in preprocessing.fields]
    if isinstance(preprocessing, ImagePreprocessing):
        return [Given("pixels", shape, "float32", f"channels, height, width; values from 0 to {preprocessing.largest:g}")]
    if isinstance(preprocessing, CharacterPreprocessing):
        return [Given("tokens", shape, "int64", "places of the characters in the vocabulary; 0 is an unknown one")]
    if isinstance(preprocessing, WordPreprocessing):
        tokens = Given("tokens", (LONGEST,), "int64", "places of the words in the vocabulary; 1 is an unknown one, 0 fills up")
        return [tokens, Given("lengths", (), "int64", f"how many words each sentence has, 1 to {LONGEST}", 1)]
    if isinstance(preprocessing, SeriesPreprocessing):
        return [Given("window", shape, "float64", f"rows of {', '.join(preprocessing.columns)}, as in the file, gaps filled")]
    return [Given("sequence", shape, "float32", "steps and their numbers, as they are")]


def _column(field: Field) -> Given:
    if field.type == "categorical":
        return Given(field.name, (1,), "string", "a category as text, empty where it is missing", field.fill)
    unit = {"date": "a time in days since 1970", "boolean": "1 for true, 0 for false"}.get(field.type, "a number")
    return Given(field.name, (1,), "float64", f"{unit}, NaN where it is missing", field.fill)


@singledispatch
def encode(preprocessing: Preprocessing, *raw: Tensor) -> Tensors:
    """The network's inputs for raw ones, in operations that are exported with the network."""
    return raw


@encode.register
def _(preprocessing: ImagePreprocessing, *raw: Tensor) -> Tensors:
    scale, shift = (np.asarray(v, np.float32)[:, None, None] for v in scale_and_shift(preprocessing))
    return (raw[0] * scale - shift,)


def scale_and_shift(preprocessing: ImagePreprocessing) -> tuple[Array, Array]:
    """a and b with which a pixel x becomes a x - b, for each channel."""
    mean, std = np.asarray(preprocessing.mean), np.asarray(preprocessing.std)
    return 1 / preprocessing.largest / std, mean / std


@encode.register
def _(preprocessing: SeriesPreprocessing, *raw: Tensor) -> Tensors:
    mean, std = np.array(preprocessing.mean), np.array(preprocessing.std)
    scaled = ops.where(ops.isnan(raw[0]), 0.0, (raw[0] - mean) / std)
    return (scaled.astype("float32"),)


@encode.register
def _(preprocessing: TablePreprocessing, *raw: Tensor) -> Tensors:
    parts = [part for field, cells in zip(preprocessing.fields, raw) for part in _features(field, cells)]
    return (ops.concatenate([part.astype("float32") for part in parts], axis=1),)


def _features(field: Field, cells: Tensor) -> list[Tensor]:
    """The columns that Field.encode makes of one, in its order."""
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
