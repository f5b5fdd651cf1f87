"""Sentences in an exported model: numbers of words, padded to the longest sentence that is read, and lengths."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from nnatomy.data.dataset import Batch, Dataset
from nnatomy.data.kinds.kind import ExportedInputs, InputSpec
from nnatomy.data.kinds.sentences.sentences import LONGEST

Array = npt.NDArray[Any]


class SentenceInputs(ExportedInputs):
    """Numbers of words and lengths, as the network takes them."""

    def __init__(self, dataset: Dataset) -> None:
        tokens = "places of the words in the vocabulary; 1 is an unknown one, 0 fills up"
        lengths = f"how many words each sentence has, 1 to {LONGEST}"
        super().__init__(
            dataset, InputSpec("tokens", (LONGEST,), "int64", tokens), InputSpec("lengths", (), "int64", lengths, 1)
        )

    def decode(self, *inputs: Array) -> Batch:
        tokens, lengths = inputs
        return np.pad(tokens, ((0, 0), (0, LONGEST - tokens.shape[1]))), lengths

    def made_up(self, rng: np.random.Generator, count: int) -> Batch:
        words = len(self.dataset.preprocessing.to_json()["vocabulary"])
        lengths = rng.integers(1, LONGEST, count)
        tokens = rng.integers(1, words, (count, LONGEST))
        return np.where(np.arange(LONGEST) < lengths[:, None], tokens, 0), lengths
