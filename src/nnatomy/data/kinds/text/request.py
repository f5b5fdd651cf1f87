"""Requests to a model of text: a prompt, as JSON or as it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nnatomy.data.dataset import Batch
from nnatomy.data.kinds.text.text import CharacterPreprocessing
from nnatomy.data.requests import JSON, TEXT, RequestError, RequestReader, decoded, member, type_of


class PromptReader(RequestReader):
    """A text that the model continues, as JSON or as it is."""

    accepts = (JSON, TEXT)

    def __init__(self, preprocessing: CharacterPreprocessing) -> None:
        self.preprocessing = preprocessing

    def describe(self) -> dict[str, Any]:
        return {"inputs": [{"name": "text", "type": "text"}], "example": {"text": "".join(self.preprocessing.vocabulary[1:6])}}

    def from_json(self, value: Mapping[str, Any]) -> tuple[Batch, list[str]]:
        text = member(value, "text")
        if not isinstance(text, str):
            raise RequestError("unprocessable", f"'text' must be text. Received {type_of(text)}. Send a prompt.")
        return self._encoded(text)

    def from_other(self, kind: str, body: bytes) -> tuple[Batch, list[str]]:
        return self._encoded(decoded(body))

    def _encoded(self, text: str) -> tuple[Batch, list[str]]:
        window = self.preprocessing.window  # the model looks no further back
        (tokens,) = self.preprocessing.transform(text)
        tokens = tokens[:, -window:]
        unknown = int((tokens == 0).sum())
        return (tokens,), [f"{unknown} characters are unknown to the model."] if unknown else []
