"""Pairs of texts, a source and its translation, as sequences of token numbers for an encoder and a decoder."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from nnatomy.data.csvfile import RawTable, read_text
from nnatomy.data.dataset import Batch, Dataset, Preprocessing, Split
from nnatomy.data.fields import Field
from nnatomy.data.kinds.pairs.vocabulary import BOS, EOS, LONGEST, PAD, Vocabulary
from nnatomy.data.lines import lines, normal
from nnatomy.data.reading import Parts, Reading
from nnatomy.data.texts import is_wordy
from nnatomy.errors import UserError, unknown_name

__all__ = [
    "PairPreprocessing", "PairSplit", "columns_of_pairs", "lines_of", "pair_dataset", "pairs_of", "parallel", "reads_as_pairs",
    "sources_of", "table_of_pairs",
]  # fmt: skip

Array = npt.NDArray[Any]
IGNORED = -100  # a target that no loss and no metric counts
MINIMUM = 3  # in large sets, a word needs this many occurrences to get its own number
FEWEST = 20  # different sources that can be split where some occur several times
LARGE = 10_000  # pairs from which a set is large
VALIDATION, TEST = ("validation", "valid", "val", "dev"), ("test",)


@dataclass(frozen=True, repr=False)
class PairSplit(Split):
    """Pairs of different lengths.

    `take` gives (source[B, S], lengths[B], given[B, T], following[B, T]): `given` is BOS and the target's tokens, `following`
    the same one place further on, which ends with EOS. PAD pads source and given, -100 what follows.
    """

    sources: tuple[Array, ...]
    targets: tuple[Array, ...]
    references: tuple[str, ...]
    """The targets as they are written, by which translations are measured."""

    @property
    def fields(self) -> tuple[Field, ...]:
        return (
            Field("source", ragged=1, fill=PAD, like="tokens"),
            Field("lengths"),
            Field("given", role="given", ragged=1, fill=PAD, like="tokens"),
            Field("following", role="target", ragged=1, fill=IGNORED, like="tokens"),
        )

    def lengths(self) -> Array:
        """Return the longer of source and target, so that batches need little padding in either."""
        return np.array([max(len(s), len(t) + 1) for s, t in zip(self.sources, self.targets, strict=True)], np.int64)

    def __len__(self) -> int:
        return len(self.sources)

    def take(self, indices: Array) -> Batch:
        sources, targets = [self.sources[int(i)] for i in indices], [self.targets[int(i)] for i in indices]
        given = padded([np.concatenate([[BOS], t]) for t in targets], PAD)
        following = padded([np.concatenate([t, [EOS]]) for t in targets], IGNORED)
        return padded(sources, PAD), np.array([len(s) for s in sources], np.int64), given, following


def padded(rows: Sequence[Array], fill: int) -> Array:
    """Return sequences as rows int64 of one array, padded at their ends."""
    made = np.full((len(rows), max((len(row) for row in rows), default=1)), fill, np.int64)
    for place, row in zip(made, rows, strict=True):
        place[: len(row)] = row
    return made


@dataclass(frozen=True)
class PairPreprocessing(Preprocessing):
    """The vocabularies of both sides, and the most tokens that a translation may have."""

    kind: ClassVar[str] = "pairs"
    source: Vocabulary
    target: Vocabulary
    longest: int
    """The longest target of training, EOS included."""
    language: str = ""
    """The ending of the files with the targets, where sources and targets were in separate files."""

    @classmethod
    def fit(cls, sources: Sequence[str], targets: Sequence[str], language: str = "") -> PairPreprocessing:
        """Fit on the training pairs; in a large set, words seen fewer than MINIMUM times are unknown."""
        minimum = MINIMUM if len(sources) >= LARGE else 1
        target = Vocabulary.fit(targets, minimum)
        longest = max(min(len(target.split(text)), LONGEST) for text in targets) + 1
        return cls(Vocabulary.fit(sources, minimum), target, longest, language)

    def encode(self, sources: Sequence[str], targets: Sequence[str]) -> PairSplit:
        """Return pairs of texts as a split."""
        references = tuple(normal(text, self.target.form) for text in targets)
        return PairSplit(self.source.encode(sources), self.target.encode(targets), references)

    def transform(self, raw: Sequence[str]) -> Batch:
        """Return (source[n, S], lengths[n]) for texts."""
        rows = self.source.encode(raw)
        return padded(rows, PAD), np.array([len(row) for row in rows], np.int64)

    def prepare(self, *raw: Array) -> Batch:
        """Return tokens and lengths without the padding that all texts have in common."""
        tokens, lengths = raw
        return tokens[:, : lengths.max(initial=1)], lengths


Texts = tuple[list[str], list[str]]


def pair_dataset(
    name: str, pairs: Texts, reading: Reading, official: tuple[Array, Array, Array] | None = None,
    notices: tuple[str, ...] = (), language: str = "",
) -> Dataset:  # fmt: skip
    """Return the data set of (sources, targets); pairs with the same source stay in one split.

    Args:
        official: rows of published parts; a fold splits the first two, and leaves the third alone
        language: the ending of the files with the targets, where they are in separate files
    """
    sources, targets = ([normal(text) for text in side] for side in pairs)
    pairs = sources, targets
    if official is None:
        _, groups = np.unique(sources, return_inverse=True)
        different = len(set(sources))
        distinct = different == len(sources)
        if not distinct and different < FEWEST:
            raise UserError(
                f"Pairs with the same source stay in one split. Received {different} different sources in {name}. Give at "
                f"least {FEWEST}."
            )
        parts = reading.part(len(sources), fractions=(0.1, 0.1), groups=None if distinct else groups)
    else:
        n = len(sources) if reading.fold is None else len(official[0]) + len(official[1])
        parts = reading.part(n, official=official)
        if reading.fold is not None:
            notices = (*notices, "The official test part takes no part.")
    return _encoded(name, pairs, parts, notices, language)


def _encoded(name: str, pairs: Texts, parts: Parts, notices: tuple[str, ...], language: str) -> Dataset:
    sources, targets = pairs
    chosen = [([sources[i] for i in rows], [targets[i] for i in rows]) for rows in parts]
    preprocessing = PairPreprocessing.fit(*chosen[0], language)
    train, validation, test = (preprocessing.encode(*texts) for texts in chosen)
    cut = sum(len(side.split(text)) > LONGEST
              for side, texts in zip((preprocessing.source, preprocessing.target), pairs) for text in texts)  # fmt: skip
    if cut:
        notices = (*notices, f"{cut} texts have more than {LONGEST} tokens; the rest of these is cut off.")
    longest = max(len(s) for split in (train, validation, test) for s in split.sources)
    counts = len(preprocessing.source), len(preprocessing.target)
    unit = "words" if preprocessing.target.spaced else "characters"
    described = f"{len(sources)} pairs of texts, {counts[0]} and {counts[1]} {unit}"
    return Dataset(
        name, "pairs", "translation", train, validation, test, (), preprocessing, notices, (longest,), described, counts[1]
    )


def reads_as_pairs(text: str) -> int:
    """Return how well the first lines of a tab-separated file are two texts each: NO, BARELY, PERHAPS or SURELY, as numbers.

    Surely where most targets have several words and are not the same few; perhaps where they are single words.
    """
    found = [line.split("\t") for line in lines(text)[:200] if line.strip()]
    if not found or any(len(cells) != 2 or not all(cell.strip() for cell in cells) for cells in found):
        return 0
    if 2 * sum(re.fullmatch(r"[-+]?[\d.,]+(?:[eE][-+]?\d+)?", first.strip()) is not None for first, _ in found) > len(found):
        return 0  # two columns of numbers are a table
    seconds = [second.strip() for _, second in found]
    if 2 * len(set(seconds)) <= len(seconds):
        return 1
    return 3 if 2 * sum(len(second.split()) > 1 for second in seconds) > len(found) else 2


def pairs_of(path: Path, text: str) -> Texts:
    """Return the sources and targets of `source TAB target` lines. Raises UserError for another line, and for no line."""
    sources, targets = [], []
    for number, line in enumerate(lines(text), 1):
        if not line.strip():
            continue
        cells = line.split("\t")
        if len(cells) != 2 or not all(cell.strip() for cell in cells):
            raise UserError(
                f"Each line is a source, a tab and a target. Received {path} with another line {number}. Correct or remove it."
            )
        sources.append(cells[0].strip())
        targets.append(cells[1].strip())
    if not sources:
        raise UserError(
            f"A file of pairs has a source, a tab and a target on each line. Received {path}, which is empty. "
            "Name a file with lines."
        )
    return sources, targets


def table_of_pairs(table: RawTable) -> bool:
    """Return True for a table with two columns of texts alone."""
    return len(table.columns) == 2 and all(is_wordy(cells) for cells in table.columns.values())


def columns_of_pairs(table: RawTable, target: str | None) -> tuple[str, str, Texts]:
    """Return the columns of sources and of targets (the second one, or the one that is named), and their texts.

    Raises UserError where the table has no two columns, or no such target.
    """
    names = list(table.columns)
    if len(names) != 2:
        raise UserError(f"Pairs of texts are two columns. Received {table.source} with {', '.join(names)}. Remove the others.")
    if target is not None and target not in names:
        raise unknown_name("column", target, names)
    second = names[1] if target is None else target
    first = names[1 - names.index(second)]
    kept = [(x, y) for x, y in zip(table.columns[first], table.columns[second], strict=True) if x and y]
    return first, second, ([x for x, _ in kept], [y for _, y in kept])


def sources_of(text: str) -> list[str]:
    """Return the texts to translate: the first cells of `source TAB target` lines, or whole lines; blank ones are kept."""
    found = lines(text)
    tabs = [line for line in found if line.strip()]
    return [line.partition("\t")[0] for line in found] if tabs and all("\t" in line for line in tabs) else found


def lines_of(path: Path) -> list[str]:
    """Return the lines of a text file, which may be packed by gzip."""
    return lines(read_text(path))


@dataclass(frozen=True)
class Parallel:
    """Files of a folder whose lines are translations of each other: stem -> path, for two languages."""

    languages: tuple[str, str]
    files: Mapping[str, tuple[Path, Path]]

    def turned(self, target: str | None) -> Parallel:
        """Return the same with another language as the target. Raises UserError for a language that it lacks."""
        if target in (None, self.languages[1]):
            return self
        if target != self.languages[0]:
            known = " or ".join(self.languages)
            raise UserError(f"--target names the language to translate into. Received {target!r}. Use {known}.")
        return Parallel((self.languages[1], self.languages[0]), {n: (b, a) for n, (a, b) in self.files.items()})

    def read(self) -> tuple[Texts, tuple[Array, Array, Array] | None]:
        """Return all pairs, and the rows of training, validation and test where the files are these three parts."""
        parts = [self._named("train"), self._named(*VALIDATION), self._named(*TEST)]
        official = all(parts) and len(set(parts)) == 3
        stems = [part for part in parts if part] if official else sorted(self.files)
        sources, targets, ends = list[str](), list[str](), [0]
        for stem in stems:
            a, b = (lines_of(path) for path in self.files[stem])
            if len(a) != len(b):
                one, other = (path.name for path in self.files[stem])
                raise UserError(
                    f"Files of a pair have equally many lines. Received {len(a)} in {one} and {len(b)} in {other}. "
                    "Add the missing lines."
                )
            kept = [(x.strip(), y.strip()) for x, y in zip(a, b, strict=True) if x.strip() and y.strip()]
            sources += [x for x, _ in kept]
            targets += [y for _, y in kept]
            ends.append(len(sources))
        if not sources:
            raise UserError(
                f"Files of a pair hold a text on each line. Received {', '.join(stems)} without any. "
                "Name files with lines."
            )
        rows = [np.arange(a, b) for a, b in itertools.pairwise(ends)]
        return (sources, targets), (rows[0], rows[1], rows[2]) if official else None

    def _named(self, *names: str) -> str | None:
        return next((stem for name in names for stem in sorted(self.files) if name in stem.lower()), None)


def parallel(folder: Path) -> Parallel | None:
    """Return the parallel texts of a folder: x.de and x.en, or several such pairs; None where it holds none."""
    found: dict[str, dict[str, Path]] = {}
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        stem, _, language = path.name.removesuffix(".gz").rpartition(".")
        if path.is_file() and stem and re.fullmatch(r"[a-z]{2,3}", language) and language not in ("txt", "csv", "tsv", "md"):
            found.setdefault(stem, {})[language] = path
    languages = sorted({language for stems in found.values() for language in stems})
    if len(languages) != 2 or any(len(stems) != 2 for stems in found.values()):
        return None
    first, second = languages
    return Parallel((first, second), {stem: (paths[first], paths[second]) for stem, paths in found.items()})
