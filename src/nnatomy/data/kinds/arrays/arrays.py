"""NumPy arrays (X, y) as a data set: numbers standardized by the training rows, classes or numbers as y has them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from nnatomy.data.dataset import ArraySplit, Batch, Dataset, Preprocessing
from nnatomy.data.reading import Reading
from nnatomy.data.scaling import scale
from nnatomy.errors import UserError
from nnatomy.saved import Count, Positive

__all__ = ["FORMS", "ArrayPreprocessing", "array_dataset"]

Array = npt.NDArray[Any]
FORMS = {1: "table", 2: "series", 3: "image"}
"""The form of examples with so many axes: (features), (steps, features) or (channels, height, width)."""


@dataclass(frozen=True)
class ArrayPreprocessing(Preprocessing):
    """Standardizes each feature (each channel of an image) and each target that is a number by the training rows."""

    kind: ClassVar[str] = "arrays"
    shape: tuple[Count, ...]  # of one example
    mean: tuple[float, ...]  # of each feature or channel
    std: tuple[Positive, ...]
    task: str
    classes: tuple[str, ...] = ()
    target_mean: tuple[float, ...] = ()
    target_std: tuple[Positive, ...] = ()

    @classmethod
    def fit(cls, x: Array, y: Array | None, task: str, classes: tuple[str, ...]) -> ArrayPreprocessing:
        """Fit on the training rows x (n, ...) and, for regression, y (n, outputs)."""
        shape = x.shape[1:]
        feature = 1 if len(shape) == 3 else x.ndim - 1
        others = tuple(axis for axis in range(x.ndim) if axis != feature)
        scale = _scale(x, others) if y is None or task != "regression" else (*_scale(x, others), *_scale(y, (0,)))
        return cls(shape, scale[0], scale[1], task, classes, *scale[2:])

    @property
    def numbers(self) -> tuple[int, ...]:
        """The places of the features of a row, which are all numbers; none of other examples."""
        return tuple(range(self.shape[0])) if len(self.shape) == 1 else ()

    def scale(self) -> tuple[Array, Array]:
        """Return mean and deviation, float64, shaped to broadcast over examples."""
        more = (1, 1) if len(self.shape) == 3 else ()
        mean, std = (np.array(values).reshape(-1, *more) for values in (self.mean, self.std))
        return mean, std

    def raw(self, given: Any) -> Batch:
        """Return (x (n, ...) as float64,). Raises UserError for another shape, or for what is not finite."""
        x = _numeric(given, "X")
        if x.shape[1:] != self.shape:
            wanted = ", ".join(map(str, self.shape))
            raise UserError(f"The model takes X of shape (n, {wanted}). Received {x.shape}. Reshape it.")
        return (x,)

    def prepare(self, *raw: Array) -> Batch:
        mean, std = self.scale()
        return (((raw[0] - mean) / std).astype(np.float32),)

    def transform(self, raw: Any) -> Batch:
        """Return (inputs (n, ...) as float32,)."""
        return self.prepare(*self.raw(raw))

    def inverse(self, inputs: Any) -> Any:
        mean, std = (np.asarray(a, inputs.dtype) for a in self.scale())
        return inputs * std + mean

    def encode_targets(self, y: Any) -> Array:
        """Return class ids int64 (n,), or standardized targets float32 (n, outputs). Raises UserError for unknown classes."""
        if self.task == "classification":
            place = {name: n for n, name in enumerate(self.classes)}
            labels = [str(label) for label in np.asarray(y).tolist()]
            unknown = next((label for label in labels if label not in place), None)
            if unknown is not None:
                raise UserError(f"The model knows the classes {', '.join(self.classes)}. Received {unknown!r}. Remove it.")
            return np.array([place[label] for label in labels], dtype=np.int64)
        values = _columns(_numeric(y, "y"))
        if values.shape[1] != len(self.target_mean):
            raise UserError(f"The model has {len(self.target_mean)} targets. Received y of shape {np.shape(y)}. Reshape it.")
        return np.asarray((values - np.array(self.target_mean)) / np.array(self.target_std), dtype=np.float32)

    def inverse_targets(self, targets: Array) -> Array:
        if self.task != "regression":
            return targets
        std, mean = (np.array(values, targets.dtype) for values in (self.target_std, self.target_mean))
        values: Array = targets * std + mean  # Tensors too, where a model is exported
        return values


def array_dataset(name: str, x: Any, y: Any, reading: Reading, groups: Any = None) -> Dataset:
    """Return the data set of arrays.

    Args:
        name: of the data set
        x: numbers (n, features), (n, steps, features) or (n, channels, height, width)
        y: integers, texts or truth values (n,) for classes; floats (n,) or (n, outputs) for regression; None: no targets
        reading: how the rows are split
        groups: (n,); rows with equal values stay in one split

    Raises UserError for other shapes and types, for values that are not finite, and where a class has too few rows.
    """
    x = _numeric(x, "X")
    if x.ndim - 1 not in FORMS:
        raise UserError(
            f"X has shape (n, features), (n, steps, features) or (n, channels, height, width). Received {x.shape}. Reshape it."
        )
    targets = None if y is None else np.asarray(y)
    for what, array in (("y", targets), ("groups", groups)):
        if array is not None and len(array) != len(x):
            raise UserError(f"X and {what} have a row for each example. Received {len(x)} and {len(array)}. Remove the others.")
    task, ids, classes = _task(targets)
    together = None if groups is None else np.unique(np.asarray(groups), return_inverse=True)[1]
    parts = reading.part(len(x), ids, classes, groups=together)
    numbers = _columns(_numeric(targets, "y")) if task == "regression" else None
    preprocessing = ArrayPreprocessing.fit(x[parts.train], None if numbers is None else numbers[parts.train], task, classes)
    (inputs,) = preprocessing.transform(x)
    encoded = inputs if targets is None else preprocessing.encode_targets(targets) if ids is None else ids
    splits = [ArraySplit((inputs[rows], encoded[rows])) for rows in parts]
    outputs = len(classes) or (x[0].size if numbers is None else numbers.shape[1])
    shape = " x ".join(map(str, x.shape[1:]))
    return Dataset(
        name, FORMS[x.ndim - 1], task, splits[0], splits[1], splits[2], classes, preprocessing, (), x.shape[1:],
        f"{len(x)} examples of {shape} numbers", outputs,
    )  # fmt: skip


def _scale(values: Array, axes: tuple[int, ...]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    return tuple(values.mean(axis=axes).tolist()), tuple(scale(values, axes).tolist())


def _columns(values: Array) -> Array:
    return values.reshape(len(values), -1)


def _numeric(given: Any, what: str) -> Array:
    try:
        values = np.asarray(given)
        if values.dtype.kind not in "biuf" or not values.ndim:
            raise ValueError
    except ValueError:
        raise UserError(f"{what} is an array of numbers. Received {type(given).__name__}. Use np.asarray.") from None
    values = values.astype(np.float64)
    if not np.isfinite(values).all():
        row = int(np.argwhere(~np.isfinite(values))[0][0])
        raise UserError(f"{what} holds finite numbers. Received NaN or infinity in row {row}. Fill or remove it.")
    return values


def _task(y: Array | None) -> tuple[str, Array | None, tuple[str, ...]]:
    """Return the task, class ids (n,) and the classes' names, by the type of y."""
    if y is None:
        return "reconstruction", None, ()
    if y.dtype.kind == "f":
        return "regression", None, ()
    if y.dtype.kind == "O" and all(isinstance(label, str) for label in y.ravel()):
        y = y.astype(str)
    if y.dtype.kind not in "biuU" or y.ndim != 1:
        raise UserError(
            f"y is one class for each row (integers, texts or truth values), or floats. Received {y.dtype} of shape {y.shape}. "
            "Convert it with y.astype()."
        )
    labels, ids = np.unique(y, return_inverse=True)
    if len(labels) < 2:
        raise UserError(f"Classification needs two or more classes. Received only {labels.tolist()}. Give data with both.")
    return "classification", ids.astype(np.int64), tuple(str(label) for label in labels.tolist())
