"""Requests to a model of sentences: as JSON, as text, one a line, or as rows of the training table, JSON or CSV."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from nnatomy.data.csvfile import parse_csv
from nnatomy.data.dataset import Batch
from nnatomy.data.kinds.sentences.files import texts_of
from nnatomy.data.kinds.sentences.sentences import WordPreprocessing
from nnatomy.data.lines import lines
from nnatomy.data.requests import BODY, CSV, JSON, TEXT, RequestError, RequestReader, decoded, items, member, table_of


class SentenceReader(RequestReader):
    """Sentences as JSON, as text, one a line, or as rows with the columns of training."""

    accepts = (JSON, TEXT, CSV)

    def __init__(self, preprocessing: WordPreprocessing) -> None:
        self.preprocessing = preprocessing

    def describe(self) -> dict[str, Any]:
        inputs = [{"name": "sentences", "type": "text", "vocabulary": len(self.preprocessing.vocabulary)}]
        return {"inputs": inputs, "example": {"sentences": ["A sentence to judge."]}}

    def from_json(self, value: Mapping[str, Any]) -> tuple[Batch, list[str]]:
        if "rows" in value and self.preprocessing.columns:
            columns = self.preprocessing.columns
            return self._encoded(texts_of(table_of(value, columns, [self.preprocessing.target]), columns))
        return self._encoded(items(member(value, "sentences"), "sentences", str, "text"))

    def from_other(self, kind: str, body: bytes) -> tuple[Batch, list[str]]:
        if kind == CSV:
            if not self.preprocessing.columns:
                raise RequestError("unsupported", f"This model knows no columns. Received {CSV}. Send {TEXT}, one text a line.")
            return self._encoded(texts_of(parse_csv(decoded(body), BODY), self.preprocessing.columns))
        sentences = lines(decoded(body))
        if not any(sentence.strip() for sentence in sentences):
            raise RequestError("unprocessable", "The body needs at least one line of text. Received none. Send a sentence.")
        return self._encoded(sentences)

    def _encoded(self, sentences: Sequence[str]) -> tuple[Batch, list[str]]:
        self.check_rows(len(sentences))
        return self.preprocessing.transform(sentences), []
