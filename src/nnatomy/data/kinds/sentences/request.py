"""Requests to a model of sentences: as JSON, or as text, one a line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from nnatomy.data.dataset import Batch
from nnatomy.data.kinds.sentences.sentences import WordPreprocessing
from nnatomy.data.requests import JSON, TEXT, RequestError, RequestReader, decoded, items, member


class SentenceReader(RequestReader):
    """Sentences as JSON, or as text, one a line."""

    accepts = (JSON, TEXT)

    def __init__(self, preprocessing: WordPreprocessing) -> None:
        self.preprocessing = preprocessing

    def describe(self) -> dict[str, Any]:
        inputs = [{"name": "sentences", "type": "text", "vocabulary": len(self.preprocessing.vocabulary)}]
        return {"inputs": inputs, "example": {"sentences": ["A sentence to judge."]}}

    def from_json(self, value: Mapping[str, Any]) -> tuple[Batch, list[str]]:
        return self._encoded(items(member(value, "sentences"), "sentences", str, "text"))

    def from_other(self, kind: str, body: bytes) -> tuple[Batch, list[str]]:
        sentences = [line for line in decoded(body).splitlines() if line.strip()]
        if not sentences:
            raise RequestError("unprocessable", "The body needs at least one line of text. Received none. Send a sentence.")
        return self._encoded(sentences)

    def _encoded(self, sentences: Sequence[str]) -> tuple[Batch, list[str]]:
        self.check_rows(len(sentences))
        return self.preprocessing.transform(sentences), []
