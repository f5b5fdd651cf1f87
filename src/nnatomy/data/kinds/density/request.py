"""Requests to a model of points: {"points": [[...], ...]}."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from nnatomy.data.dataset import Batch
from nnatomy.data.kinds.density.points import PointPreprocessing
from nnatomy.data.requests import JSON, RequestReader, member, numbers_of


class PointReader(RequestReader):
    """Rows of numbers as JSON."""

    accepts = (JSON,)

    def __init__(self, preprocessing: PointPreprocessing) -> None:
        self.preprocessing = preprocessing

    def describe(self) -> dict[str, Any]:
        p = self.preprocessing
        inputs = [{"name": "points", "type": f"rows of numbers: {', '.join(p.columns)}"}]
        return {"inputs": inputs, "example": {"points": [[round(mean, 6) for mean in p.mean]]}}

    def from_json(self, value: Mapping[str, Any]) -> tuple[Batch, list[str]]:
        found = numbers_of(member(value, "points"), "points", np.float64)
        self.check_rows(len(found) if found.ndim else 1)
        return self.preprocessing.transform(found), []
