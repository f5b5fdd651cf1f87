"""Labeled sentences: a pair of .pos and .neg files, or lines of a sentence, a tab and a label."""

from __future__ import annotations

from nnatomy.data.dataset import Dataset, RaggedSplit, Split
from nnatomy.data.kinds.kind import BARELY, NO, SURELY, ExportedInputs, Kind
from nnatomy.data.kinds.looks import Look, Words
from nnatomy.data.kinds.sentences.sentences import (
    LONGEST,
    WordPreprocessing,
    load_sentences,
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
        ),
        "sst2": Public("text/sst2_train.tsv", "9,613 sentences of film reviews in official parts (Socher et al. 2013)"),
    }

    def recognize(self, source: Source, reading: Reading) -> int:
        if source.suffix in ("", ".txt") and polarity_pair(source.path):
            return SURELY
        if source.suffix in (".tsv", ".tab") and reads_as_sentences(source.text):
            return SURELY
        return BARELY if source.suffix == ".tsv" else NO

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
