"""Points in an exported model: numbers as the user has them, standardized inside the model."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from nnatomy.data.dataset import Batch, Dataset
from nnatomy.data.kinds.density.points import PointPreprocessing
from nnatomy.data.kinds.kind import ExportedInputs, InputSpec
from nnatomy.tensor import Tensor

Array = npt.NDArray[Any]


class PointInputs(ExportedInputs):
    """One array of points in their own units."""

    def __init__(self, dataset: Dataset, preprocessing: PointPreprocessing) -> None:
        holds = f"the columns {', '.join(preprocessing.columns)} in their own units"
        super().__init__(dataset, InputSpec("points", (len(preprocessing.columns),), "float64", holds))
        self.preprocessing = preprocessing
        self.mean, self.std = np.array(preprocessing.mean), np.array(preprocessing.std)

    def encode(self, *raw: Tensor) -> tuple[Tensor, ...]:
        return (((raw[0] - self.mean) / self.std).astype("float32"),)

    def decode(self, *inputs: Array) -> Batch:
        return (inputs[0].astype(np.float64) * self.std + self.mean,)
