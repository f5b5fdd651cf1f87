"""Requests to a model of tables: rows as JSON objects or as CSV."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from nnatomy.data.cells import number, truth
from nnatomy.data.csvfile import RawTable, parse_csv
from nnatomy.data.dataset import Batch
from nnatomy.data.kinds.table.encoding import TablePreprocessing
from nnatomy.data.requests import BODY, CSV, JSON, RequestError, RequestReader, decoded, table_of


class TableReader(RequestReader):
    """Rows of a table, as JSON objects or as CSV."""

    accepts = (JSON, CSV)

    def __init__(self, preprocessing: TablePreprocessing) -> None:
        self.preprocessing = preprocessing

    def describe(self) -> dict[str, Any]:
        inputs: list[dict[str, Any]] = []
        example: dict[str, Any] = {}
        for field in self.preprocessing.fields:
            shown: dict[str, Any] = {"name": field.name, "type": field.type, "missing": "null; it is filled in"}
            if field.type == "categorical":
                shown["levels"] = list(field.levels)
            inputs.append(shown)
            fill = field.fill
            if field.type == "boolean":
                fill = bool(fill)
            elif field.type == "date":
                fill = str(np.datetime64(int(float(fill)), "D"))
            example[field.name] = fill
        return {"inputs": inputs, "example": {"rows": [example]}}

    def from_json(self, value: Mapping[str, Any]) -> tuple[Batch, list[str]]:
        names = [field.name for field in self.preprocessing.fields]
        return self._encoded(table_of(value, names, [self.preprocessing.target]))

    def from_other(self, kind: str, body: bytes) -> tuple[Batch, list[str]]:
        return self._encoded(parse_csv(decoded(body), BODY))

    def _encoded(self, table: RawTable) -> tuple[Batch, list[str]]:
        self.check_rows(len(table))
        table = self.preprocessing.plain(table)
        reads: dict[str, Callable[[Sequence[str]], Any]] = {
            "numeric": lambda cells: np.array([number(c) for c in cells]), "boolean": truth,
        }  # fmt: skip
        for field in self.preprocessing.fields:
            cells = table.columns.get(field.name, [])
            if field.type not in reads:
                continue
            for row, (cell, found) in enumerate(zip(cells, reads[field.type](cells), strict=True), 1):
                if cell and not np.isfinite(found):
                    what = "a number" if field.type == "numeric" else "true or false"
                    raise RequestError(
                        "unprocessable",
                        f"{field.name!r} must be {what}. Received {cell[:60]!r} in row {row}. Send null if unknown."
                    )
        return self.preprocessing.encode_plain(table)
