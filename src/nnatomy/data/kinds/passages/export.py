"""Passages in an exported model: numbers of tokens, padded to the window, lengths and, of pairs, segments."""

from __future__ import annotations

import numpy as np

from nnatomy.data.dataset import Batch, Dataset
from nnatomy.data.kinds.kind import ExportedInputs, InputSpec
from nnatomy.data.wordpiece import CLS, MASK, SEP


class PassageInputs(ExportedInputs):
    """Numbers of tokens, lengths and, of pairs, segments, as the network takes them."""

    def __init__(self, dataset: Dataset) -> None:
        window = dataset.input_shape[0]
        self.paired = dataset.preprocessing.to_json()["pairs"] != "none"
        segments = InputSpec("segments", (window,), "int64", "1 for tokens of the second sentence, 0 for all others")
        super().__init__(
            dataset,
            InputSpec("tokens", (window,), "int64", f"places of the tokens in the vocabulary; {CLS} is the first, {SEP} ends a "
                      f"sentence, {MASK} is to be filled in, 0 pads"),
            InputSpec("lengths", (), "int64", f"how many tokens each text has, 1 to {window}", 1),
            *([segments] if self.paired else []),
        )  # fmt: skip

    def made_up(self, rng: np.random.Generator, count: int) -> Batch:
        (window,) = self.dataset.input_shape
        lengths = rng.integers(1, window + 1, count)
        read = np.arange(window) < lengths[:, None]
        tokens = np.where(read, rng.integers(0, self.dataset.outputs, (count, window)), 0)
        segments = np.where(read, np.arange(window) >= lengths[:, None] // 2, False).astype(np.int64)
        return (tokens, lengths, segments) if self.paired else (tokens, lengths)
