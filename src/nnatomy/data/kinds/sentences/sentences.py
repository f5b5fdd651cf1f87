"""Labeled sentences as sequences of word numbers, fitted on the training sentences. Where they are read from: see files.py."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from nnatomy.data.cells import number
from nnatomy.data.dataset import Batch, Dataset, Preprocessing, RaggedSplit
from nnatomy.data.fields import select
from nnatomy.data.kinds.sentences.files import Labeled
from nnatomy.data.lines import NORMAL_FORM, Form, common_words, normal, words
from nnatomy.data.reading import Reading
from nnatomy.data.wordpiece import CLS, SEP, WordPieces, learn
from nnatomy.errors import UserError

__all__ = ["LONGEST", "WordPreprocessing", "sentences_dataset"]

Array = npt.NDArray[Any]
PADDING, UNKNOWN = "<pad>", "<unk>"
LONGEST = 200  # words of a sentence that are read; the rest is cut off


@dataclass(frozen=True)
class WordPreprocessing(Preprocessing):
    """Numbers words by their frequency in the training sentences; 0 pads, 1 is any word seen too rarely.

    With `pieces`, tokens are word pieces between [CLS] and [SEP] instead, and any word of known characters can be written.
    """

    kind: ClassVar[str] = "sentences"
    vocabulary: tuple[str, ...]  # starts with PADDING, UNKNOWN; of pieces, with wordpiece.SPECIAL
    classes: tuple[str, ...]
    columns: tuple[str, ...] = ()
    """The columns of a table that hold the texts; empty where these were in lines without names."""
    target: str = ""
    """The column of a table that holds the classes."""
    form: Form = NORMAL_FORM
    """The normal form of Unicode that texts take."""
    encoding: str = ""
    pieces: bool = False

    @classmethod
    def fit(
        cls, sentences: Sequence[str], classes: Sequence[str], minimum: int = 2, size: int | None = None
    ) -> WordPreprocessing:
        """Fit on the training sentences: words seen `minimum` times or more, or a vocabulary of `size` word pieces."""
        if size is not None:
            return cls(learn(sentences, size), tuple(classes), pieces=True)
        return cls((PADDING, UNKNOWN, *common_words(sentences, minimum)), tuple(classes))

    @cached_property
    def cutter(self) -> WordPieces:
        """The vocabulary with what cuts words into its pieces."""
        return WordPieces(self.vocabulary, self.form)

    def split(self, sentence: str) -> list[str]:
        """Return a sentence's lower-case words and marks, or their pieces."""
        if self.pieces:
            return [self.vocabulary[i] for i in self.cutter.encode(sentence)]
        return words(normal(sentence, self.form).lower())

    def encode(self, sentences: Sequence[str]) -> tuple[Array, ...]:
        """Return the word numbers int64 of each sentence; an empty one is an unknown word."""
        if self.pieces:
            return tuple(np.array([CLS, *self.cutter.encode(s)[: LONGEST - 2], SEP], np.int64) for s in sentences)
        place = {word: n for n, word in enumerate(self.vocabulary)}
        return tuple(np.array([place.get(w, 1) for w in self.split(s)[:LONGEST]] or [1], dtype=np.int64) for s in sentences)

    def transform(self, raw: Sequence[str]) -> Batch:
        """Return (tokens[n, T], lengths[n]) for sentences."""
        sequences = self.encode(raw)
        split = RaggedSplit(sequences, np.zeros(len(sequences), np.int64))
        return select(split.fields, split.all(), "input")

    def prepare(self, *raw: Array) -> Batch:
        """Return tokens and lengths without the padding that all sentences have in common."""
        tokens, lengths = raw
        return tokens[:, : lengths.max(initial=1)], lengths


def sentences_dataset(name: str, read: Sequence[Labeled], reading: Reading, notices: Sequence[str] = ()) -> Dataset:
    """Return the data set of labeled sentences: of one source, or of three official parts (two where a fold splits them).

    Raises UserError where one class is all there is.
    """
    first = read[0]
    sentences, labels = ([one for part in read for one in getattr(part, field)] for field in ("texts", "labels"))
    classes = class_names(labels)
    if len(classes) < 2:
        raise UserError(
            f"Classification needs two or more classes. Received {first.source}, which has {len(classes)}. Add sentences of "
            "another class."
        )
    place = {label: n for n, label in enumerate(classes)}
    ids = np.array([place[label] for label in labels], dtype=np.int64)
    ends = np.cumsum([len(part.texts) for part in read])
    published = None if len(read) < 3 else (np.arange(ends[0]), np.arange(ends[0], ends[1]), np.arange(ends[1], ends[2]))
    groups = None if first.groups is None else np.unique(first.groups, return_inverse=True)[1]
    parts = reading.part(len(ids), ids, classes, fractions=(0.1, 0.1), official=published, groups=groups)
    fitted = WordPreprocessing.fit([sentences[i] for i in parts.train], classes, size=reading.use("tokens"))
    preprocessing = replace(fitted, columns=first.columns, target=first.target)
    splits = [RaggedSplit(preprocessing.encode([sentences[i] for i in rows]), ids[rows]) for rows in parts]
    noun = "word pieces" if preprocessing.pieces else "words"
    cut = sum(len(preprocessing.split(sentence)) > LONGEST - 2 * preprocessing.pieces for sentence in sentences)
    long = (f"{cut} texts have more than {LONGEST} {noun}; the rest of these is cut off.",) if cut else ()
    text = f"{len(sentences)} sentences of {len(classes)} classes, {len(preprocessing.vocabulary)} {noun}"
    shape, outputs = (max(len(s) for split in splits for s in split.sequences),), len(classes)
    return Dataset(
        name, "sentences", "classification", splits[0], splits[1], splits[2], classes, preprocessing,
        (*first.notices, *notices, *long), shape, text, outputs,
    )  # fmt: skip


def class_names(labels: Sequence[str]) -> tuple[str, ...]:
    """Return the classes, in the order of their numbers where all are numbers."""
    values = {label: number(label) for label in set(labels)}
    numeric = all(np.isfinite(value) for value in values.values())
    return tuple(sorted(values, key=lambda label: (values[label], label) if numeric else (0.0, label)))
