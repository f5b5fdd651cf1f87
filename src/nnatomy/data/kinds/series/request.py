"""Requests to a model of series: rows as JSON objects or as CSV."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from nnatomy.data.csvfile import RawTable, parse_csv
from nnatomy.data.dataset import Batch
from nnatomy.data.kinds.series.series import SeriesPreprocessing
from nnatomy.data.requests import BODY, CSV, JSON, RequestReader, decoded, table_of


class SeriesReader(RequestReader):
    """Rows of a time series, as JSON objects or as CSV."""

    accepts = (JSON, CSV)

    def __init__(self, preprocessing: SeriesPreprocessing) -> None:
        self.preprocessing = preprocessing

    def describe(self) -> dict[str, Any]:
        p = self.preprocessing
        inputs = [{"name": p.time, "type": "time, ISO 8601"}, *({"name": c, "type": "numeric"} for c in p.columns)]
        step = p.seconds or 3600
        times = [str(np.datetime64(i * step, "s")).replace("T", " ") for i in range(p.window)]
        means = {c: round(m, 6) for c, m in zip(p.columns, p.mean, strict=True)}
        rows = [{p.time: t, **means} for t in times]
        return {"inputs": inputs, "rows": f"at least {p.window}", "example": {"rows": rows}}

    def from_json(self, value: Mapping[str, Any]) -> tuple[Batch, list[str]]:
        return self._windows(table_of(value, (self.preprocessing.time, *self.preprocessing.columns), []))

    def from_other(self, kind: str, body: bytes) -> tuple[Batch, list[str]]:
        return self._windows(parse_csv(decoded(body), BODY))

    def _windows(self, table: RawTable) -> tuple[Batch, list[str]]:
        self.check_rows(len(table))
        return self.preprocessing.transform(table), []
