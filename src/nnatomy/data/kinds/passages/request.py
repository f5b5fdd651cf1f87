"""Requests to a model of passages: texts with [MASK] where a word is to be filled in, as JSON, or as text, one a line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from nnatomy.data.dataset import Batch
from nnatomy.data.kinds.passages.passages import PassagePreprocessing
from nnatomy.data.lines import lines
from nnatomy.data.requests import JSON, TEXT, RequestError, RequestReader, decoded, items, member
from nnatomy.data.wordpiece import SPECIAL, UNKNOWN


class PassageReader(RequestReader):
    """Texts with masks as JSON, or as text, one a line."""

    accepts = (JSON, TEXT)

    def __init__(self, preprocessing: PassagePreprocessing) -> None:
        self.preprocessing = preprocessing

    def describe(self) -> dict[str, Any]:
        inputs = [{"name": "texts", "type": "text", "vocabulary": len(self.preprocessing.vocabulary)}]
        word = next(iter(self.preprocessing.vocabulary[len(SPECIAL) + 1 :]), "")
        return {"inputs": inputs, "example": {"texts": [f"{word} [MASK]."]}}

    def from_json(self, value: Mapping[str, Any]) -> tuple[Batch, list[str]]:
        return self._encoded(items(member(value, "texts"), "texts", str, "text"))

    def from_other(self, kind: str, body: bytes) -> tuple[Batch, list[str]]:
        return self._encoded(lines(decoded(body)))

    def _encoded(self, texts: Sequence[str]) -> tuple[Batch, list[str]]:
        self.check_rows(len(texts))
        if not any(text.strip() for text in texts):
            raise RequestError("unprocessable", "The body needs at least one line of text. Received none. Send a text.")
        batch = self.preprocessing.transform(texts)
        unknown = int((batch[0] == UNKNOWN).sum())
        return batch, [f"{unknown} words are unknown to the model."] if unknown else []
