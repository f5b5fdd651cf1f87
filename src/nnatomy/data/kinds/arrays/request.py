"""Requests to a model of arrays: {"inputs": [[...], ...]}."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from nnatomy.data.dataset import Batch
from nnatomy.data.kinds.arrays.arrays import ArrayPreprocessing
from nnatomy.data.requests import JSON, RequestReader, member, numbers_of


class ArrayReader(RequestReader):
    """Nested arrays of numbers as JSON."""

    accepts = (JSON,)

    def __init__(self, preprocessing: ArrayPreprocessing) -> None:
        self.preprocessing = preprocessing

    def describe(self) -> dict[str, Any]:
        p = self.preprocessing
        inputs = [{"name": "inputs", "type": "numbers, one nested array an example", "shape": list(p.shape)}]
        example = np.broadcast_to(p.scale()[0], p.shape).round(6).tolist()
        return {"inputs": inputs, "example": {"inputs": [example]}}

    def from_json(self, value: Mapping[str, Any]) -> tuple[Batch, list[str]]:
        found = numbers_of(member(value, "inputs"), "inputs", np.float64)
        self.check_rows(len(found) if found.ndim else 1)
        return self.preprocessing.transform(found), []
