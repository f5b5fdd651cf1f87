"""Labeled sentences as sequences of word numbers: a pair of .pos and .neg files, or lines of `sentence TAB label`."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from nnatomy.data.csvfile import read_text
from nnatomy.data.dataset import Batch, Dataset, Preprocessing, RaggedSplit
from nnatomy.data.fields import select
from nnatomy.data.reading import Reading
from nnatomy.errors import UserError

__all__ = ["WordPreprocessing", "load_sentences", "polarity_pair", "read_sentences", "reads_as_sentences", "words"]

Array = npt.NDArray[Any]
PADDING, UNKNOWN = "<pad>", "<unk>"
WORD = re.compile(r"\w+(?:[-']\w+)*|[^\w\s]")
LONGEST = 200  # words of a sentence that are read; the rest is cut off


def words(sentence: str) -> list[str]:
    """Return a sentence's lower-case words and punctuation marks."""
    return WORD.findall(sentence.lower())


@dataclass(frozen=True)
class WordPreprocessing(Preprocessing):
    """Numbers words by their frequency in the training sentences; 0 pads, 1 is any word seen too rarely."""

    kind: ClassVar[str] = "sentences"
    vocabulary: tuple[str, ...]  # starts with PADDING, UNKNOWN
    classes: tuple[str, ...]

    @classmethod
    def fit(cls, sentences: Sequence[str], classes: Sequence[str], minimum: int = 2) -> WordPreprocessing:
        """Fit on the training sentences; words seen fewer than `minimum` times are unknown."""
        counts = Counter(word for sentence in sentences for word in words(sentence))
        common = sorted((w for w, n in counts.items() if n >= minimum), key=lambda w: (-counts[w], w))
        return cls((PADDING, UNKNOWN, *common), tuple(classes))

    def encode(self, sentences: Sequence[str]) -> tuple[Array, ...]:
        """Return the word numbers int64 of each sentence."""
        place = {word: n for n, word in enumerate(self.vocabulary)}
        return tuple(np.array([place.get(w, 1) for w in words(s)[:LONGEST]] or [1], dtype=np.int64) for s in sentences)

    def transform(self, raw: Sequence[str]) -> Batch:
        """Return (tokens[n, T], lengths[n]) for sentences."""
        sequences = self.encode(raw)
        split = RaggedSplit(sequences, np.zeros(len(sequences), np.int64))
        return select(split.fields, split.all(), "input")

    def prepare(self, *raw: Array) -> Batch:
        """Return tokens and lengths without the padding that all sentences have in common."""
        tokens, lengths = raw
        return tokens[:, : lengths.max(initial=1)], lengths

    def to_json(self) -> dict[str, Any]:
        return {"kind": self.kind, "vocabulary": list(self.vocabulary), "classes": list(self.classes)}

    @classmethod
    def from_json(cls, saved: Mapping[str, Any]) -> WordPreprocessing:
        return cls(tuple(saved["vocabulary"]), tuple(saved["classes"]))


def polarity_pair(path: Path) -> tuple[Path, Path] | None:
    """Return the (.neg, .pos) files of a folder with one such pair, or of the pair to which a file belongs; None otherwise."""
    folder = path if path.is_dir() else path.parent
    pairs = []
    for negative in sorted(folder.glob("*neg*")):
        positive = folder / re.sub(r"neg(?=[._-]|$|ative)", "pos", negative.name).replace("posative", "positive")
        if negative.is_file() and positive != negative and positive.is_file() and path in (folder, negative, positive):
            pairs.append((negative, positive))
    return pairs[0] if len(pairs) == 1 else None


def reads_as_sentences(text: str) -> bool:
    """Return True if the first lines of a tab-separated file are a sentence of several words, a tab and a label.

    Labels are one word each, or few different ones; in pairs of texts, a second text follows the tab.
    """
    lines = [line.split("\t") for line in text.splitlines()[:50] if line.strip()]
    if not lines or any(len(cells) != 2 for cells in lines):
        return False
    labels = [cells[1].strip() for cells in lines]
    one_word = 2 * sum(len(label.split()) <= 1 for label in labels) >= len(lines)
    several = sum(len(cells[0].split()) for cells in lines) >= 3 * len(lines)
    return several and (one_word or 2 * len(set(labels)) <= len(labels))


def load_sentences(paths: tuple[Path, ...], reading: Reading) -> Dataset:
    """Return the data set of a (.neg, .pos) pair or of one file of `sentence TAB label` lines.

    `x_train.tsv` takes x_dev.tsv and x_test.tsv next to it as validation and test; a fold splits the first two, and leaves
    the test file alone. Raises UserError where a file is empty, a line has no label, or one class is all there is.
    """
    official = official_parts(paths[0]) if len(paths) == 1 else None
    if official is not None:
        read = [_read_labeled(path) for path in official[: 3 if reading.fold is None else 2]]
    else:
        read = [_read_labeled(paths[0])] if len(paths) == 1 else [_read_pair(paths)]
    sentences, labels = ([one for part in read for one in part[n]] for n in (0, 1))
    classes = tuple(sorted(set(labels)))
    if len(classes) < 2:
        raise UserError(
            f"Classification needs two or more classes. Received {paths[0]}, which has {len(classes)}. Add sentences of "
            "another class."
        )
    place = {label: n for n, label in enumerate(classes)}
    ids = np.array([place[label] for label in labels], dtype=np.int64)
    ends = np.cumsum([len(part[0]) for part in read])
    published = None if len(read) < 3 else (np.arange(ends[0]), np.arange(ends[0], ends[1]), np.arange(ends[1], ends[2]))
    parts = reading.part(len(ids), ids, classes, fractions=(0.1, 0.1), official=published)
    preprocessing = WordPreprocessing.fit([sentences[i] for i in parts.train], classes)
    splits = [RaggedSplit(preprocessing.encode([sentences[i] for i in rows]), ids[rows]) for rows in parts]
    notices = []
    if official is not None and reading.fold is not None:
        notices.append(f"The sentences of {official[2].name} take no part.")
    elif official is not None:
        notices.append(f"Validation and test are the files next to it: {official[1].name}, {official[2].name}.")
    name = re.sub(r"[._-](neg|train)$", "", paths[0].name.removesuffix(".txt").removesuffix(paths[0].suffix))
    text = f"{sum(map(len, splits))} sentences of {len(classes)} classes, {len(preprocessing.vocabulary)} words"
    shape, outputs = (max(len(s) for split in splits for s in split.sequences),), len(classes)
    return Dataset(
        name, "sentences", "classification", splits[0], splits[1], splits[2], classes, preprocessing, tuple(notices), shape,
        text, outputs,
    )  # fmt: skip


def read_sentences(path: Path) -> tuple[list[str], list[str]]:
    """Return the sentences and labels of a (.neg, .pos) pair, by its folder or one of its files, or of lines with labels."""
    pair = polarity_pair(path)
    return _read_pair(pair) if pair else _read_labeled(path)


def official_parts(path: Path) -> tuple[Path, Path, Path] | None:
    """Return the training file with the validation and test files next to it; None where it has none."""
    if "train" not in path.stem:
        return None
    others = [path.with_name(path.name.replace("train", word)) for word in ("dev", "validation", "val")]
    validation = next((p for p in others if p.is_file()), None)
    test = path.with_name(path.name.replace("train", "test"))
    return (path, validation, test) if validation and test.is_file() else None


def _read_labeled(path: Path) -> tuple[list[str], list[str]]:
    sentences, labels = [], []
    for number, line in enumerate(read_text(path).splitlines(), 1):
        if not line.strip():
            continue
        sentence, tab, label = line.rpartition("\t")
        if not (tab and sentence.strip() and label.strip()):
            raise UserError(
                f"Each line is a sentence, a tab and a label. Received another form in line {number} of {path}. Correct or "
                "remove it."
            )
        sentences.append(sentence)
        labels.append(label.strip())
    if not sentences:
        raise UserError(
            f"A file of sentences has lines of a sentence, a tab and a label. Received {path}, which is empty. Add lines."
        )
    if len(labels) > 2 and labels[0] not in labels[1:] and len(words(sentences[0])) == 1:  # a header line
        return sentences[1:], labels[1:]
    return sentences, labels


def _read_pair(paths: tuple[Path, ...]) -> tuple[list[str], list[str]]:
    sentences: list[str] = []
    labels: list[str] = []
    for path, label in zip(paths, ("negative", "positive"), strict=True):
        lines = [line for line in read_text(path).splitlines() if line.strip()]
        if not lines:
            raise UserError(f"A file of sentences has one {label} sentence a line. Received {path}, which is empty. Add lines.")
        sentences += lines
        labels += [label] * len(lines)
    return sentences, labels
