"""One long text as characters or tokens of bytes, and windows for predicting the next one. No labels: see sentences.py."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from nnatomy.data.dataset import Batch, Dataset, Preprocessing, WindowSplit
from nnatomy.data.kinds.text import tokens
from nnatomy.data.lines import NORMAL_FORM, Form, normal
from nnatomy.data.reading import Reading, Source
from nnatomy.errors import UserError
from nnatomy.saved import Count

__all__ = ["CharacterPreprocessing", "clean", "load_text"]

Array = npt.NDArray[Any]
UNKNOWN = "\ufffd"  # the token of characters that training did not see
WINDOW = 128


@dataclass(frozen=True)
class CharacterPreprocessing(Preprocessing):
    """Numbers characters by their place in the training text's sorted vocabulary; 0 is the unknown character.

    With a `tokenizer`, tokens are the most frequent sequences of bytes instead, and none is unknown.
    """

    kind: ClassVar[str] = "text"
    vocabulary: tuple[str, ...]  # starts with UNKNOWN
    window: Count = WINDOW
    form: Form = NORMAL_FORM
    """The normal form of Unicode that texts take."""
    encoding: str = ""
    tokenizer: str = ""
    """The tokens of bytes as the library tokenizers writes them; "" for characters."""
    answer: str = ""
    """The character after which the rest of a line is an answer, in a text of questions and answers."""

    @classmethod
    def fit(cls, text: str, window: int, size: int | None = None) -> CharacterPreprocessing:
        """Fit on the training text; with a `size`, learn so many tokens of bytes."""
        if size is None:
            return cls((UNKNOWN, *sorted(set(clean(text)) - {UNKNOWN})), window)
        learned = tokens.learn(clean(text), size, UNKNOWN)
        return cls(tokens.texts(learned), window, tokenizer=learned)

    def encode(self, text: str) -> Array:
        """Return the token ids int64[tokens] of a text in its normal form, with newlines as the ends of its lines."""
        if self.tokenizer:
            return tokens.encode(self.tokenizer, clean(text, self.form))
        place, found = {character: n for n, character in enumerate(self.vocabulary)}, clean(text, self.form)
        return np.fromiter((place.get(c, 0) for c in found), dtype=np.int64, count=len(found))

    def decode(self, ids: Array) -> str:
        """Return the text of token ids."""
        if self.tokenizer:
            return tokens.decode(self.tokenizer, ids)
        return "".join(self.vocabulary[int(t)] for t in np.ravel(ids))

    def transform(self, raw: str) -> Batch:
        """Return (tokens[1, len(text)],) for a text."""
        if not raw:
            raise UserError("A prompt needs at least one character. Received none. Use, for example, --prompt A.")
        return (self.encode(raw)[None],)


def clean(text: str, form: Form = NORMAL_FORM) -> str:
    """Return a text in a normal form, with newlines as the ends of its lines."""
    return normal(text.replace("\r\n", "\n"), form)


def load_text(source: Source, reading: Reading) -> Dataset:
    """Return the language data set of a UTF-8 text file: characters, split by position 90/5/5 or by a fold.

    Raises UserError where the file is empty, not UTF-8, or too short for a window in each part.
    """
    path, text, length = source.path, clean(source.text), int(reading.use("window", WINDOW))
    size = reading.use("tokens")
    need = 20 * (length + 1)
    if len(text) < need and reading.fold is None:
        raise UserError(
            f"Text must hold a window in each of its parts (90/5/5 %). Received {path}, which has {len(text)} characters and "
            "windows of "
            f"{length} need {need}. Give more text or a smaller window."
        )
    pieces = [text[a:b] for a, b in reading.periods(len(text), (0.05, 0.05))]
    if min(map(len, pieces)) <= length:
        raise UserError(
            f"Text must hold a window in each part. Received {path}, which has {len(text)} characters, the smallest part "
            f"{min(map(len, pieces))} and windows are of {length}. Give more text, a smaller window or fewer folds."
        )
    preprocessing = CharacterPreprocessing.fit(pieces[0], length, size)
    splits = [WindowSplit(preprocessing.encode(piece), length, length) for piece in pieces]
    if min(map(len, splits)) == 0:
        raise UserError(
            f"Text must hold a window in each part. Received {path}, whose smallest part has "
            f"{min(len(split.tokens) for split in splits)} tokens, and windows of {length}. Give more text or a smaller window."
        )
    unknown = sum(int((split.tokens == 0).sum()) for split in splits[1:])
    notices = (
        [f"{unknown} characters of the later parts do not occur in the training part; they count as unknown."]
        if unknown
        else []
    )
    counted = "distinct" if size is None else "tokens of bytes"
    description = f"{len(text)} characters, {len(preprocessing.vocabulary) - 1} {counted}, from {path.name}"
    shape, outputs = (length,), len(preprocessing.vocabulary)
    return Dataset(
        source.name, "text", "language", splits[0], splits[1], splits[2], (), preprocessing, tuple(notices), shape, description,
        outputs, ordered=True,
    )  # fmt: skip
