"""Pairs of sentences, or whole passages, with masked tokens, from plain text. Generated stories are in stories.py."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Literal, get_args

import numpy as np
import numpy.typing as npt

from nnatomy.data.dataset import ArraySplit, Batch, Dataset, Preprocessing, generator
from nnatomy.data.fields import Field
from nnatomy.data.lines import NORMAL_FORM, Form, lines
from nnatomy.data.masking import mask_tokens
from nnatomy.data.reading import Reading, Source
from nnatomy.data.wordpiece import CLS, MASK, SEP, SPECIAL, WordPieces, frequent_words, learn
from nnatomy.errors import UserError, unknown_name
from nnatomy.saved import Count

__all__ = ["WINDOW", "PassagePreprocessing", "documents_of", "load_passages", "masked_pairs", "pairs_of", "passage_dataset"]

Array = npt.NDArray[Any]
WINDOW = 64
COPIES = 5
"""Times that each pair is masked, and its second sentence chosen; 10 in the paper."""
FIELDS = (
    Field("tokens", like="tokens"), Field("lengths"), Field("segments"), Field("labels", role="target", like="tokens"),
    Field("random", role="target"),
)  # fmt: skip
WHOLE = (FIELDS[0], FIELDS[1], FIELDS[3])
"""Of passages without pairs: no segments, and no second target."""
Pairs = Literal["random", "swapped", "none"]
"""The pairs of sentences: half with a random second one (BERT), half in the wrong order (ALBERT), or none (RoBERTa)."""
Document = Sequence[Array]
"""Sentences that follow each other, as token ids."""


@dataclass(frozen=True)
class PassagePreprocessing(Preprocessing):
    """Word pieces of two sentences as [CLS] A [SEP] B [SEP], padded to the window; the segment is 0 up to the first [SEP].

    Without pairs, those of all sentences as [CLS] A B ... [SEP].
    """

    kind: ClassVar[str] = "passages"
    vocabulary: tuple[str, ...]  # starts with SPECIAL
    window: Count = WINDOW
    form: Form = NORMAL_FORM
    """The normal form of Unicode that texts take."""
    encoding: str = ""
    pairs: Pairs = "random"

    @cached_property
    def pieces(self) -> WordPieces:
        """The vocabulary with what cuts words."""
        return WordPieces(self.vocabulary, self.form)

    def transform(self, raw: Sequence[str]) -> Batch:
        """Return (tokens[n, T], lengths[n], segments[n, T]) for texts; a [SEP] in a text starts its second sentence.

        Without pairs there are no segments.
        """
        return self.joined([self._parts(text) for text in raw])

    def _parts(self, text: str) -> Document:
        ids = self.pieces.encode(text)
        return np.split(ids, np.flatnonzero(ids == SEP) + 1)  # a part ends with its [SEP], which `joined` writes again

    def joined(self, texts: Sequence[Document]) -> Batch:
        """Return the arrays of texts of one or two sentences each; the longer one is cut where both do not fit."""
        tokens = np.zeros((len(texts), self.window), np.int64)
        segments, lengths = np.zeros_like(tokens), np.zeros(len(texts), np.int64)
        for row, text in enumerate(texts):
            parts = [part[~np.isin(part, (CLS, SEP))] for part in text]
            if self.pairs == "none":
                parts = [np.concatenate(parts)]
            first, second = parts[0], np.concatenate([np.zeros(0, np.int64), *parts[1:]])
            both = len(second) > 0
            most = self.window - 2 - both
            kept = min(len(first), max(most - len(second), most // 2 if both else most))
            ids = np.array([CLS, *first[:kept], SEP, *([*second[: most - kept], SEP] if both else [])], np.int64)
            tokens[row, : len(ids)], lengths[row] = ids, len(ids)
            segments[row, kept + 2 : len(ids)] = 1
        return (tokens, lengths) if self.pairs == "none" else (tokens, lengths, segments)


def documents_of(text: str, encode: Any) -> list[Document]:
    """Return the documents of a text, separated by blank lines: the sentences of their lines. Short ones belong together."""
    found: list[list[Array]] = [[]]
    for line in lines(text):
        if not line.strip() and len(found[-1]) > 1:
            found.append([])
        found[-1] += [encode(sentence) for sentence in re.split(r"(?<=[.!?])\s+", line.strip()) if sentence]
    if len(found[-1]) < 2 and len(found) > 1:
        found[-2] += found.pop()
    return [[sentence for sentence in document if len(sentence)] for document in found]


def masked_pairs(
    documents: Sequence[Document], preprocessing: PassagePreprocessing, rng: np.random.Generator, copies: int = 1
) -> ArraySplit:
    """Return each sentence with the next one or, half the time, with a random one, tokens masked: `copies` of each pair.

    Where pairs are swapped, half have the next one first; where there are none, sentences fill the window.
    """
    if preprocessing.pairs == "none":
        texts = [text for document in documents for text in _filled(document, preprocessing.window - 2)] * copies
        return _masked(texts, preprocessing, rng)
    places = [(d, s) for d, document in enumerate(documents) for s in range(len(document) - 1)] * copies
    second = [(d, s) for d, document in enumerate(documents) for s in range(1, len(document))]
    random = rng.uniform(size=len(places)) < 0.5
    drawn = rng.integers(0, max(len(second), 1), len(places))
    texts = []
    for n, (d, s) in enumerate(places):
        a, b, other = documents[d][s], documents[d][s + 1], second[drawn[n]]
        if preprocessing.pairs == "swapped":
            texts.append((b, a) if random[n] else (a, b))
            continue
        random[n] &= other not in ((d, s), (d, s + 1))
        texts.append((a, documents[other[0]][other[1]] if random[n] else b))
    return _masked(texts, preprocessing, rng, random.astype(np.int64))


def _filled(document: Document, most: int) -> list[Document]:
    """Return the sentences of a document as texts that are as long as possible, of at most so many tokens."""
    found: list[list[Array]] = []
    for sentence in document:
        if found and sum(map(len, found[-1])) + len(sentence) <= most:
            found[-1].append(sentence)
        else:
            found.append([sentence])
    return list(found)


def _masked(
    texts: Sequence[Document], preprocessing: PassagePreprocessing, rng: np.random.Generator, *relation: Array
) -> ArraySplit:
    tokens, *others = preprocessing.joined(texts)
    words = (len(SPECIAL), max(len(preprocessing.vocabulary), len(SPECIAL) + 1))
    masked, labels = mask_tokens(tokens, tokens >= len(SPECIAL), MASK, words, rng)
    return ArraySplit((masked, *others, labels, *relation), FIELDS if relation else WHOLE)


def passage_dataset(
    name: str, parts: Sequence[Sequence[Document]], preprocessing: PassagePreprocessing, seed: int, description: str,
    ordered: bool = False,
) -> Dataset:  # fmt: skip
    """Return the data set of the documents of three parts."""
    rng = generator(seed)
    splits = [masked_pairs(part, preprocessing, rng, COPIES) for part in parts]
    return Dataset(
        name, "passages", "masked language", splits[0], splits[1], splits[2], (), preprocessing, (), (preprocessing.window,),
        description, len(preprocessing.vocabulary), ordered=ordered,
    )  # fmt: skip


def pairs_of(reading: Reading) -> Pairs:
    """Return the pairs that are wanted. Raises UserError for others than there are."""
    found: Pairs = reading.use("pairs", "random")
    if found not in get_args(Pairs):
        raise unknown_name("kind of pairs", found, get_args(Pairs))
    return found


def load_passages(source: Source, reading: Reading) -> Dataset:
    """Return the sentence pairs of a UTF-8 text, split by position 90/5/5 or by a fold.

    Raises UserError where a part has fewer than two sentences.
    """
    text, size = source.text, reading.use("tokens")
    window = int(reading.use("window", WINDOW))
    if window < 8:
        raise UserError(f"A window holds two sentences and three marks, 8 tokens at least. Received {window}. Use --window 64.")
    pieces = [text[a:b] for a, b in reading.periods(len(text), (0.05, 0.05))]
    vocabulary = frequent_words(lines(pieces[0])) if size is None else learn(lines(pieces[0]), int(size))
    preprocessing = PassagePreprocessing(vocabulary, window, pairs=pairs_of(reading))
    parts = [documents_of(piece, preprocessing.pieces.encode) for piece in pieces]
    fewest = min(sum(len(document) - 1 for document in part if document) for part in parts)
    if fewest < 1:
        raise UserError(
            f"Each part of a text (90/5/5 %) needs two sentences. Received {source.path}, where one has fewer. Give more text."
        )
    described = f"{len(text)} characters, {len(vocabulary)} tokens, from {source.path.name}"
    return passage_dataset(source.name, parts, preprocessing, reading.seed, described, ordered=True)
