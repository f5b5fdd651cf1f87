"""Requests to a model of pairs: texts to translate, as JSON, or as text, one a line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from nnatomy.data.dataset import Batch
from nnatomy.data.kinds.pairs.pairs import PairPreprocessing
from nnatomy.data.kinds.pairs.vocabulary import UNK
from nnatomy.data.lines import lines
from nnatomy.data.requests import JSON, TEXT, RequestError, RequestReader, decoded, items, member


class SourceReader(RequestReader):
    """Texts to translate as JSON, or as text, one a line."""

    accepts = (JSON, TEXT)

    def __init__(self, preprocessing: PairPreprocessing) -> None:
        self.preprocessing = preprocessing

    def describe(self) -> dict[str, Any]:
        source = self.preprocessing.source
        inputs = [{"name": "sources", "type": "text", "vocabulary": len(source)}]
        return {"inputs": inputs, "example": {"sources": [source.joined(source.tokens[UNK + 1 :][:4])]}}

    def from_json(self, value: Mapping[str, Any]) -> tuple[Batch, list[str]]:
        texts = items(member(value, "sources"), "sources", str, "text")
        if not all(text.strip() for text in texts):
            raise RequestError(
                "unprocessable", "A text to translate has at least one character. Received an empty one. Leave it out."
            )
        return self._encoded(texts)

    def from_other(self, kind: str, body: bytes) -> tuple[Batch, list[str]]:
        texts = lines(decoded(body))
        if not any(text.strip() for text in texts):
            raise RequestError("unprocessable", "The body needs at least one line of text. Received none. Send a text.")
        return self._encoded(texts)

    def _encoded(self, texts: Sequence[str]) -> tuple[Batch, list[str]]:
        self.check_rows(len(texts))
        batch = self.preprocessing.transform([text.strip() for text in texts])
        unknown = int((batch[0] == UNK).sum())
        return batch, [f"{unknown} tokens are unknown to the model."] if unknown else []
