"""Images in an exported model: pixels as the user has them, at the model's size."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from nnatomy.data.dataset import Batch, Dataset
from nnatomy.data.kinds.image.images import ImagePreprocessing
from nnatomy.data.kinds.kind import ExportedInputs, InputSpec
from nnatomy.tensor import Tensor

Array = npt.NDArray[Any]


class ImageInputs(ExportedInputs):
    """Pixels, which are scaled inside the model; resizing stays outside."""

    def __init__(self, dataset: Dataset, preprocessing: ImagePreprocessing) -> None:
        holds = f"channels, height, width; values from 0 to {preprocessing.largest:g}"
        super().__init__(dataset, InputSpec("pixels", dataset.input_shape, "float32", holds))
        self.largest = preprocessing.largest
        self.scale, self.shift = preprocessing.scale_and_shift()

    def encode(self, *raw: Tensor) -> tuple[Tensor, ...]:
        return (raw[0] * self.scale.astype(np.float32) - self.shift.astype(np.float32),)

    def decode(self, *inputs: Array) -> Batch:
        return (np.clip((inputs[0] + self.shift) / self.scale, 0, self.largest).round().astype(np.float32),)
