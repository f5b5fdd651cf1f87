"""Labeled sentences: a pair of .pos and .neg files, lines of a sentence, a tab and a label, or a table with texts."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from nnatomy.data.dataset import Dataset, RaggedSplit, Split
from nnatomy.data.kinds.kind import BARELY, NO, PERHAPS, SURELY, ExportedInputs, Kind
from nnatomy.data.kinds.looks import Look, Words
from nnatomy.data.kinds.sentences.files import (
    classes_in,
    official_parts,
    polarity_pair,
    read_labeled,
    read_more,
    tabbed,
    text_columns,
    unlabeled,
)
from nnatomy.data.kinds.sentences.sentences import LONGEST, WordPreprocessing, sentences_dataset
from nnatomy.data.reading import Inputs, Reading, Source
from nnatomy.data.requests import RequestReader
from nnatomy.data.sets import Public
from nnatomy.data.splits import class_ids
from nnatomy.data.texts import is_wordy, why_no_classes


class SentencesKind(Kind[WordPreprocessing]):
    """Sentences of different lengths, as numbers of words, each with its class."""

    name = "sentences"
    noun = "labeled sentences"
    preprocessing = WordPreprocessing
    options = frozenset({"target", "types", "groups", "encoding", "tokens"})
    endings = (".tsv", ".csv", ".parquet", ".arrow", ".jsonl")
    folders = "a pair of .pos and .neg texts"
    ragged = True
    sets = {
        "rt_polarity": Public(
            "text/rt-polarity.pos.txt",
            "10,662 sentences of film reviews, positive or negative (Pang and Lee 2005)",
            files={"rt-polarity.neg.txt": "56a3655de9b769c73d69933f4bf4f34e5356e2c568a1eee2f6308f13c264df42"},
            sha256="8701b500f20fcc58d06604127c6c20451536f49ea307c2def43b946ac346da98",
        ),
        "sst2": Public(
            "text/sst2_train.tsv",
            "9,613 sentences of film reviews in official parts (Socher et al. 2013)",
            files={
                "sst2_dev.tsv": "eddea6b39e601dd4e7a672b53cc40fdf6019fa80522f351206c24340ca5d9359",
                "sst2_test.tsv": "831169c7e2e429d6026e1bdbb542f33b636e3e596caad9602ebc953c205928b7",
            },
            sha256="ec192f833a64da08f475488a77b0d0b47db47acd0f458bd18433fc793b569920",
        ),
    }

    def recognize(self, source: Source, reading: Reading) -> int:
        """A table with texts and classes can be read; surely, if it has no other columns."""
        if source.frame is None:
            if source.suffix in ("", ".txt") and polarity_pair(source.path):
                return SURELY
            if "target" not in reading.options and tabbed(source):
                return SURELY
        if not source.has_table:
            return NO
        table, target = source.table, reading.options.get("target")
        columns = text_columns(table, reading.options.get("types", {}), target)
        found = classes_in(table, columns, target)
        if not columns:
            swapped = target in table.columns and is_wordy(table.columns[str(target)])
            return PERHAPS if swapped and not reading.any_task else BARELY
        fits = found not in table.columns or why_no_classes(table.columns[str(found)]) is None
        if fits and set(table.columns) == {*columns, found}:
            return SURELY
        return BARELY if reading.any_task else PERHAPS  # a table with a column of texts is a table as well

    def files(self, path: Path) -> tuple[Path, ...]:
        pair = polarity_pair(path) if path.is_dir() or path.suffix.lower() in ("", ".txt") else None
        return pair or official_parts(path) or (path,)

    def read(self, source: Source, reading: Reading) -> Dataset:
        options = reading.use("target"), (), reading.use("groups"), reading.use("types", {})
        official = official_parts(source.path)
        if official is None:
            return sentences_dataset(_name(source), [read_labeled(source, *options)], reading)
        first = read_labeled(source, *options)
        later = [Source(path, encoding=source.encoding) for path in official[1 : 3 if reading.fold is None else 2]]
        read = [first, *(read_more(part, first.columns, first.target) for part in later)]
        if reading.fold is not None:
            notice = f"The sentences of {official[2].name} take no part."
        else:
            others = ", ".join(path.name for path in official[1:])
            notice = f"Validation and test are the files next to it: {others}."
        return sentences_dataset(_name(source), read, reading, (notice,))

    def inputs(self, source: Source, preprocessing: WordPreprocessing, raw: bool = False) -> Inputs:
        return self.given(unlabeled(source, preprocessing.columns), preprocessing, raw)

    def given(self, value: Any, preprocessing: WordPreprocessing, raw: bool = False) -> Inputs:
        texts = [value] if isinstance(value, str) else value.to_list() if hasattr(value, "to_list") else value
        if not (isinstance(texts, list | tuple) and texts and all(isinstance(text, str) for text in texts)):
            return super().given(value, preprocessing, raw)
        blank = sum(not text.strip() for text in texts)
        empty = "have no words" if preprocessing.pieces else "count as one unknown word"
        notices = (f"Empty texts {empty}; there are {blank}.",) if blank else ()
        rows = tuple(str(n + 1) for n in range(len(texts)))
        return Inputs(preprocessing.transform(texts), rows, notices, {"text": tuple(texts)})

    def examples(self, source: Source, preprocessing: WordPreprocessing) -> tuple[Split, tuple[str, ...]]:
        found = read_more(source, preprocessing.columns, preprocessing.target)
        return (
            RaggedSplit(preprocessing.encode(found.texts), class_ids(list(found.labels), preprocessing.classes, source)),
            tuple(notice for notice in found.notices if "left out" in notice),
        )

    def reader(self, preprocessing: WordPreprocessing, input_shape: tuple[int, ...]) -> RequestReader:
        from nnatomy.data.kinds.sentences.request import SentenceReader

        return SentenceReader(preprocessing)

    def exported(self, dataset: Dataset) -> ExportedInputs:
        from nnatomy.data.kinds.sentences.export import SentenceInputs

        return SentenceInputs(dataset)

    def limits(self, dataset: Dataset) -> str:
        if self.fitted(dataset).pieces:
            return f"Words with characters that its training sentences lack count as one; {LONGEST} word pieces are read."
        return f"Words that its training sentences lack count as one; what comes after {LONGEST} words is cut off."

    def look(self, dataset: Dataset) -> Look:
        return Words(self.fitted(dataset).vocabulary, joined=False)


def _name(source: Source) -> str:
    return re.sub(r"[._-](neg|train)$", "", source.name.removesuffix(".txt"))


KIND = SentencesKind()
