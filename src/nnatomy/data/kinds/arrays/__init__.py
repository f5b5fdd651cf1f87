"""Arrays of numbers (X, y), given in Python or in an .npz file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nnatomy.data.dataset import ArraySplit, Dataset, Split
from nnatomy.data.formats import ARRAYS
from nnatomy.data.kinds.arrays.arrays import FORMS, ArrayPreprocessing, array_dataset
from nnatomy.data.kinds.kind import NO, PERHAPS, ExportedInputs, Kind
from nnatomy.data.reading import Inputs, Reading, Source
from nnatomy.data.requests import RequestReader
from nnatomy.errors import UserError

Array = npt.NDArray[Any]


class ArraysKind(Kind[ArrayPreprocessing]):
    """Examples of equal shape; the task is that of y's type."""

    name = "arrays"
    noun = "arrays"
    forms = tuple(FORMS.values())
    preprocessing = ArrayPreprocessing
    endings = (".npz",)
    labels_optional = True

    def recognize(self, source: Source, reading: Reading) -> int:
        return PERHAPS if source.format == ARRAYS else NO

    def read(self, source: Source, reading: Reading) -> Dataset:
        x, y = source.arrays["X"], source.arrays.get("y")
        if y is None and not reading.targets_optional:
            raise UserError(f"Training needs the targets y. Received {source} without them. Use np.savez(file, X=X, y=y).")
        labeled = not reading.reconstruction or {"classification", "regression"} & set(reading.tasks)
        return array_dataset(source.name, x, y if labeled else None, reading)

    def inputs(self, source: Source, preprocessing: ArrayPreprocessing, raw: bool = False) -> Inputs:
        return self.given(source.arrays["X"], preprocessing, raw)

    def given(self, value: Any, preprocessing: ArrayPreprocessing, raw: bool = False) -> Inputs:
        arrays = preprocessing.raw(value) if raw else preprocessing.transform(value)
        return Inputs(arrays, tuple(str(n + 1) for n in range(len(value))))

    def examples(self, source: Source, preprocessing: ArrayPreprocessing) -> tuple[Split, tuple[str, ...]]:
        return _examples(source.arrays["X"], source.arrays.get("y"), str(source), preprocessing)

    def given_examples(self, value: Any, preprocessing: ArrayPreprocessing) -> tuple[Split, tuple[str, ...]]:
        x, y = value if isinstance(value, tuple | list) and len(value) == 2 else (value, None)
        return _examples(x, y, "arrays", preprocessing)

    def reader(self, preprocessing: ArrayPreprocessing, input_shape: tuple[int, ...]) -> RequestReader:
        from nnatomy.data.kinds.arrays.request import ArrayReader

        return ArrayReader(preprocessing)

    def exported(self, dataset: Dataset) -> ExportedInputs:
        from nnatomy.data.kinds.arrays.export import ArrayInputs

        return ArrayInputs(dataset, self.fitted(dataset))

    def made(self, inputs: Array, dataset: Dataset) -> tuple[dict[str, Array], dict[str, Callable[[Path], None]]]:
        """Return arrays that a model made as one .npy file, in the units of the user's file."""
        found = self.fitted(dataset).inverse(np.asarray(inputs, np.float64))
        return {}, {"samples.npy": lambda path: np.save(path, found)}

    def limits(self, dataset: Dataset) -> str:
        return (
            f"It takes numbers of shape {' × '.join(map(str, dataset.input_shape))} in the units of its training rows; "
            "far from these its predictions are guesses."
        )


def _examples(x: Any, y: Any, source: str, preprocessing: ArrayPreprocessing) -> tuple[Split, tuple[str, ...]]:
    (inputs,) = preprocessing.transform(x)
    if preprocessing.task == "reconstruction":
        return ArraySplit((inputs, inputs)), ()
    if y is None or len(y) != len(x):
        held = "none" if y is None else f"{len(y)} for {len(x)} examples"
        raise UserError(f"To evaluate, a file holds X and as many y. Received {source} with {held}. Use predict.")
    return ArraySplit((inputs, preprocessing.encode_targets(y))), ()


KIND = ArraysKind()
