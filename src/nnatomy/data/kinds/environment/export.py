"""Observations in an exported model: in their own units, scaled or made one-hot inside the model."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from nnatomy import ops
from nnatomy.data.dataset import Batch, Dataset
from nnatomy.data.kinds.environment.environment import EnvironmentPreprocessing
from nnatomy.data.kinds.kind import ExportedInputs, InputSpec
from nnatomy.tensor import Tensor

Array = npt.NDArray[Any]


class ObservationInputs(ExportedInputs):
    """One observation a row."""

    def __init__(self, dataset: Dataset, preprocessing: EnvironmentPreprocessing) -> None:
        holds = f"{', '.join(preprocessing.columns)}, as the environment gives them"
        super().__init__(dataset, InputSpec("observation", (len(preprocessing.columns),), "float64", holds))
        self.preprocessing = preprocessing

    def encode(self, *raw: Tensor) -> tuple[Tensor, ...]:
        p = self.preprocessing
        if p.states:
            return (ops.equal(raw[0], np.arange(p.states, dtype=np.float64)).astype("float32"),)
        return (((raw[0] - np.array(p.shift)) / np.array(p.scale)).astype("float32"),)

    def decode(self, *inputs: Array) -> Batch:
        return (self.preprocessing.inverse(inputs[0]),)

    def made_up(self, rng: np.random.Generator, count: int) -> Batch:
        p = self.preprocessing
        if p.states:
            return (np.eye(p.states, dtype=np.float32)[rng.integers(p.states, size=count)],)
        return super().made_up(rng, count)
