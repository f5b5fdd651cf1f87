"""Labeled sentences: a pair of .pos and .neg files, or lines of a sentence, a tab and a label."""

from __future__ import annotations

from pathlib import Path

from nnatomy.data.dataset import Dataset, RaggedSplit, Split
from nnatomy.data.kinds.kind import BARELY, NO, SURELY, ExportedInputs, Kind
from nnatomy.data.kinds.looks import Look, Words
from nnatomy.data.kinds.sentences.sentences import (
    LONGEST,
    WordPreprocessing,
    load_sentences,
    official_parts,
    polarity_pair,
    read_sentences,
    reads_as_sentences,
)
from nnatomy.data.reading import Inputs, Reading, Source
from nnatomy.data.requests import RequestReader
from nnatomy.data.sets import Public
from nnatomy.data.splits import class_ids
from nnatomy.errors import UserError


class SentencesKind(Kind[WordPreprocessing]):
    """Sentences of different lengths, as numbers of words, each with its class."""

    name = "sentences"
    noun = "labeled sentences"
    preprocessing = WordPreprocessing
    endings = (".tsv",)
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
        if source.suffix in ("", ".txt") and polarity_pair(source.path):
            return SURELY
        if source.suffix in (".tsv", ".tab") and reads_as_sentences(source.text):
            return SURELY
        return BARELY if source.suffix == ".tsv" else NO

    def files(self, path: Path) -> tuple[Path, ...]:
        pair = polarity_pair(path) if path.is_dir() or path.suffix.lower() in ("", ".txt") else None
        return pair or official_parts(path) or (path,)

    def read(self, source: Source, reading: Reading) -> Dataset:
        pair = polarity_pair(source.path) if source.suffix in ("", ".txt") else None
        return load_sentences(pair or (source.path,), reading)

    def inputs(self, source: Source, preprocessing: WordPreprocessing, raw: bool = False) -> Inputs:
        if not source.text.strip():
            raise UserError(f"{source} is empty. It should hold text.")
        if source.suffix in (".tsv", ".tab") and reads_as_sentences(source.text):
            sentences = read_sentences(source.path)[0]
        else:
            sentences = [line for line in source.text.splitlines() if line.strip()]
        return Inputs(preprocessing.transform(sentences), tuple(sentences))

    def examples(self, source: Source, preprocessing: WordPreprocessing) -> tuple[Split, tuple[str, ...]]:
        sentences, labels = read_sentences(source.path)
        return RaggedSplit(preprocessing.encode(sentences), class_ids(labels, preprocessing.classes, source)), ()

    def reader(self, preprocessing: WordPreprocessing, input_shape: tuple[int, ...]) -> RequestReader:
        from nnatomy.data.kinds.sentences.request import SentenceReader

        return SentenceReader(preprocessing)

    def exported(self, dataset: Dataset) -> ExportedInputs:
        from nnatomy.data.kinds.sentences.export import SentenceInputs

        return SentenceInputs(dataset)

    def limits(self, dataset: Dataset) -> str:
        return f"Words that its training sentences lack count as one; what comes after {LONGEST} words is cut off."

    def look(self, dataset: Dataset) -> Look:
        return Words(self.fitted(dataset).vocabulary, joined=False)


KIND = SentencesKind()
