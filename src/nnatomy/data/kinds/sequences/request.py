"""Requests to a model of sequences: numbers as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nnatomy.data.dataset import Batch
from nnatomy.data.kinds.sequences.sequences import SequencePreprocessing
from nnatomy.data.requests import JSON, RequestError, RequestReader, member, numbers_of


class SequenceReader(RequestReader):
    """Sequences of numbers as JSON."""

    accepts = (JSON,)

    def __init__(self, preprocessing: SequencePreprocessing, steps: int) -> None:
        self.preprocessing, self.steps = preprocessing, steps

    def describe(self) -> dict[str, Any]:
        features = self.preprocessing.features
        inputs = [{"name": "sequences", "type": "numbers, [sequence][step][feature]", "features": features}]
        return {"inputs": inputs, "example": {"sequences": [[[0.5] * features] * self.steps]}}

    def from_json(self, value: Mapping[str, Any]) -> tuple[Batch, list[str]]:
        sequences = numbers_of(member(value, "sequences"), "sequences")
        if sequences.ndim != 3 or 0 in sequences.shape:
            raise RequestError(
                "unprocessable",
                f"'sequences' must be numbers [sequence][step][feature]. Received the shape {list(sequences.shape)}. "
                "Nest them so.",
            )
        self.check_rows(len(sequences))
        return self.preprocessing.transform(sequences), []
