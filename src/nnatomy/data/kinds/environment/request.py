"""Requests to an agent: {"observations": [[...], ...]}."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from nnatomy.data.dataset import Batch
from nnatomy.data.kinds.environment.environment import EnvironmentPreprocessing
from nnatomy.data.requests import JSON, RequestReader, member, numbers_of


class ObservationReader(RequestReader):
    """Observations as nested arrays of numbers."""

    accepts = (JSON,)

    def __init__(self, preprocessing: EnvironmentPreprocessing) -> None:
        self.preprocessing = preprocessing

    def describe(self) -> dict[str, Any]:
        p = self.preprocessing
        inputs = [{"name": "observations", "type": f"one array an observation: {', '.join(p.columns)}"}]
        return {"inputs": inputs, "example": {"observations": [[0.0] * len(p.columns)]}}

    def from_json(self, value: Mapping[str, Any]) -> tuple[Batch, list[str]]:
        found = numbers_of(member(value, "observations"), "observations", np.float64)
        self.check_rows(len(found) if found.ndim else 1)
        return self.preprocessing.transform(found), []
