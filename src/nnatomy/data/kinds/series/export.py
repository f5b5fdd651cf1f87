"""Series in an exported model: windows in the file's units."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from nnatomy import ops
from nnatomy.data.dataset import Batch, Dataset
from nnatomy.data.kinds.kind import ExportedInputs, InputSpec
from nnatomy.data.kinds.series.series import SeriesPreprocessing
from nnatomy.tensor import Tensor

Array = npt.NDArray[Any]


class SeriesInputs(ExportedInputs):
    """Windows of rows as they are in the file, with gaps filled; they are standardized inside the model."""

    def __init__(self, dataset: Dataset, preprocessing: SeriesPreprocessing) -> None:
        holds = f"rows of {', '.join(preprocessing.columns)}, as in the file, gaps filled"
        super().__init__(dataset, InputSpec("window", dataset.input_shape, "float64", holds))
        self.mean, self.std = np.array(preprocessing.mean), np.array(preprocessing.std)

    def encode(self, *raw: Tensor) -> tuple[Tensor, ...]:
        scaled = ops.where(ops.isnan(raw[0]), 0.0, (raw[0] - self.mean) / self.std)
        return (scaled.astype("float32"),)

    def decode(self, *inputs: Array) -> Batch:
        return (inputs[0] * self.std + self.mean,)

    def awkward(self, raw: Batch) -> Batch:
        """Return windows with gaps that could not be filled."""
        window = raw[0].copy()
        window[:, ::3] = np.nan
        return (window,)
