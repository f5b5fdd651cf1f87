"""Arrays in an exported model: numbers as the user has them, standardized inside the model."""

from __future__ import annotations

from typing import Any

import numpy.typing as npt

from nnatomy.data.dataset import Batch, Dataset
from nnatomy.data.kinds.arrays.arrays import ArrayPreprocessing
from nnatomy.data.kinds.kind import ExportedInputs, InputSpec
from nnatomy.tensor import Tensor

Array = npt.NDArray[Any]


class ArrayInputs(ExportedInputs):
    """One array of numbers in their own units."""

    def __init__(self, dataset: Dataset, preprocessing: ArrayPreprocessing) -> None:
        super().__init__(dataset, InputSpec("inputs", preprocessing.shape, "float64", "numbers in their own units"))
        self.mean, self.std = preprocessing.scale()

    def encode(self, *raw: Tensor) -> tuple[Tensor, ...]:
        return (((raw[0] - self.mean) / self.std).astype("float32"),)

    def decode(self, *inputs: Array) -> Batch:
        return (inputs[0] * self.std + self.mean,)
