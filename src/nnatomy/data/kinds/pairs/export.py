"""Texts to translate in an exported model: numbers of tokens, padded to the longest text that is read, and lengths."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from nnatomy.data.dataset import Batch, Dataset
from nnatomy.data.kinds.kind import ExportedInputs, InputSpec
from nnatomy.data.kinds.pairs.vocabulary import LONGEST, UNK

Array = npt.NDArray[Any]


class PairInputs(ExportedInputs):
    """Numbers of tokens and lengths, as the encoder takes them."""

    def __init__(self, dataset: Dataset) -> None:
        tokens = f"places of the source's tokens in its vocabulary; {UNK} is an unknown one, 0 pads"
        lengths = f"how many tokens each source has, 1 to {LONGEST}"
        super().__init__(
            dataset, InputSpec("source", (LONGEST,), "int64", tokens), InputSpec("lengths", (), "int64", lengths, 1)
        )

    def decode(self, *inputs: Array) -> Batch:
        tokens, lengths = inputs
        return np.pad(tokens, ((0, 0), (0, LONGEST - tokens.shape[1]))), lengths

    def made_up(self, rng: np.random.Generator, count: int) -> Batch:
        tokens = len(self.dataset.preprocessing.to_json()["source"]["tokens"])
        lengths = rng.integers(1, LONGEST, count)
        made = rng.integers(UNK, tokens, (count, LONGEST))
        return np.where(np.arange(LONGEST) < lengths[:, None], made, 0), lengths
