"""Pairs of texts: lines of a source, a tab and a target, or two files whose lines are translations of each other."""

from __future__ import annotations

from nnatomy.data.dataset import Dataset, Split
from nnatomy.data.kinds.kind import NO, SURELY, ExportedInputs, Kind
from nnatomy.data.kinds.looks import Look, Words
from nnatomy.data.kinds.pairs.pairs import PairPreprocessing, lines_of, pair_dataset, pairs_of, parallel, reads_as_pairs
from nnatomy.data.kinds.pairs.sets import SETS
from nnatomy.data.kinds.pairs.vocabulary import LONGEST, UNK
from nnatomy.data.reading import Inputs, Reading, Source
from nnatomy.data.requests import RequestReader
from nnatomy.errors import UserError

TABBED = (".tsv", ".tab")


class PairsKind(Kind[PairPreprocessing]):
    """Pairs of texts of different lengths, as numbers of words or characters."""

    name = "pairs"
    noun = "pairs of texts"
    preprocessing = PairPreprocessing
    options = frozenset({"target"})
    endings = (".tsv",)
    folders = "two texts of as many lines, x.de and x.en"
    ragged = True
    sets = SETS

    def recognize(self, source: Source, reading: Reading) -> int:
        if source.path.is_dir():
            return SURELY if parallel(source.path) else NO
        if source.suffix not in TABBED or "target" in reading.options:
            return NO
        return reads_as_pairs(source.text)

    def read(self, source: Source, reading: Reading) -> Dataset:
        if not source.path.is_dir():
            return pair_dataset(source.path.stem, pairs_of(source.path, source.text), reading)
        found = parallel(source.path)
        assert found is not None, "recognized by `recognize`"
        found = found.turned(reading.use("target"))
        texts, official = found.read()
        first, second = found.languages
        notice = f"Translates .{first} into .{second}; --target {first} reverses the direction."
        return pair_dataset(source.path.name, texts, reading, official, (notice,), second)

    def inputs(self, source: Source, preprocessing: PairPreprocessing, raw: bool = False) -> Inputs:
        if source.suffix in TABBED:
            texts = pairs_of(source.path, source.text)[0] if "\t" in source.text else source.text.splitlines()
        else:
            texts = lines_of(source.path)
        return self.given([text for text in texts if text.strip()], preprocessing, raw)

    def given(self, value: object, preprocessing: PairPreprocessing, raw: bool = False) -> Inputs:
        texts = [value] if isinstance(value, str) else value
        if not isinstance(texts, list | tuple) or not texts or not all(isinstance(t, str) and t.strip() for t in texts):
            raise UserError("A translation needs texts. Received none, or something else; give a file or a list of texts.")
        arrays = preprocessing.transform([text.strip() for text in texts])
        unknown = int((arrays[0] == UNK).sum())
        notices = (f"{unknown} tokens do not occur often enough in the training texts; they count as unknown.",)
        return Inputs(arrays, tuple(texts), notices if unknown else ())

    def examples(self, source: Source, preprocessing: PairPreprocessing) -> tuple[Split, tuple[str, ...]]:
        if not source.path.is_dir():
            return preprocessing.encode(*pairs_of(source.path, source.text)), ()
        found = parallel(source.path)
        if found is None:
            raise UserError(f"A folder of pairs holds {self.folders}. Received {source} without them.")
        (sources, targets), _ = found.turned(preprocessing.language or None).read()
        return preprocessing.encode(sources, targets), ()

    def reader(self, preprocessing: PairPreprocessing, input_shape: tuple[int, ...]) -> RequestReader:
        from nnatomy.data.kinds.pairs.request import SourceReader

        return SourceReader(preprocessing)

    def exported(self, dataset: Dataset) -> ExportedInputs:
        from nnatomy.data.kinds.pairs.export import PairInputs

        return PairInputs(dataset)

    def limits(self, dataset: Dataset) -> str:
        longest = self.fitted(dataset).longest - 1
        return (
            f"Tokens that its training texts lack count as one; what comes after {LONGEST} tokens is cut off, and no "
            f"translation has more than {longest}."
        )

    def look(self, dataset: Dataset) -> Look:
        vocabulary = self.fitted(dataset).source
        return Words(vocabulary.tokens, joined=not vocabulary.spaced)


KIND = PairsKind()
