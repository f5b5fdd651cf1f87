"""Pairs of texts: lines of a source, a tab and a target, or two files whose lines are translations of each other."""

from __future__ import annotations

from nnatomy.data.columns import is_frame
from nnatomy.data.dataset import Dataset, Split
from nnatomy.data.formats import DELIMITED, PLAIN
from nnatomy.data.kinds.kind import NO, SURELY, ExportedInputs, Kind
from nnatomy.data.kinds.looks import Look, Words
from nnatomy.data.kinds.pairs.pairs import (
    PairPreprocessing,
    columns_of_pairs,
    pair_dataset,
    pairs_of,
    parallel,
    reads_as_pairs,
    sources_of,
    table_of_pairs,
)  # fmt: skip
from nnatomy.data.kinds.pairs.sets import SETS
from nnatomy.data.kinds.pairs.vocabulary import LONGEST, UNK
from nnatomy.data.reading import Inputs, Reading, Source
from nnatomy.data.requests import RequestReader
from nnatomy.errors import UserError


class PairsKind(Kind[PairPreprocessing]):
    """Pairs of texts of different lengths, as numbers of words or characters."""

    name = "pairs"
    noun = "pairs of texts"
    preprocessing = PairPreprocessing
    options = frozenset({"target"})
    endings = (".tsv", ".csv", ".parquet", ".arrow", ".jsonl")
    folders = "two texts of as many lines, x.de and x.en"
    ragged = True
    sets = SETS

    def recognize(self, source: Source, reading: Reading) -> int:
        if source.path.is_dir():
            return SURELY if parallel(source.path) else NO
        if _in_lines(source) and "target" not in reading.options and "\t" in source.text[:100_000]:
            return reads_as_pairs(source.text)
        return SURELY if source.has_table and table_of_pairs(source.table) else NO

    def read(self, source: Source, reading: Reading) -> Dataset:
        if not source.path.is_dir() and reading.use("target") is None and _in_lines(source):
            return pair_dataset(source.name, pairs_of(source.path, source.text), reading)
        if not source.path.is_dir():
            first, second, kept = columns_of_pairs(source.table, reading.use("target"))
            said = f"Translates {first!r} into {second!r}; --target {first} reverses the direction."
            return pair_dataset(source.name, kept, reading, None, (said,), second)
        found = parallel(source.path)
        assert found is not None, "recognized by `recognize`"
        found = found.turned(reading.use("target"))
        texts, official = found.read()
        first, second = found.languages
        notice = f"Translates .{first} into .{second}; --target {first} reverses the direction."
        return pair_dataset(source.path.name, texts, reading, official, (notice,), second)

    def inputs(self, source: Source, preprocessing: PairPreprocessing, raw: bool = False) -> Inputs:
        if _in_lines(source):
            return self.given(sources_of(source.text), preprocessing, raw)
        others = [name for name in source.table.columns if name != preprocessing.language]
        if len(others) != 1:
            raise UserError(f"Texts to translate are one column. Received {source} with {', '.join(others)}. Leave out others.")
        return self.given(source.table.columns[others[0]], preprocessing, raw)

    def given(self, value: object, preprocessing: PairPreprocessing, raw: bool = False) -> Inputs:
        if is_frame(value):
            return super().given(value, preprocessing, raw)
        texts = [value] if isinstance(value, str) else value
        if not (isinstance(texts, list | tuple) and all(isinstance(t, str) for t in texts) and any(t.strip() for t in texts)):
            raise UserError("A translation needs texts. Received none, or something else. Give a file or a list of texts.")
        arrays = preprocessing.transform([text.strip() for text in texts])
        blank = sum(not text.strip() for text in texts)
        unknown = int((arrays[0] == UNK).sum()) - blank
        notices = (f"{unknown} tokens do not occur often enough in the training texts; they count as unknown.",)
        empty = (f"Empty texts count as one unknown token; there are {blank}.",) if blank else ()
        rows = tuple(str(n + 1) for n in range(len(texts)))
        return Inputs(arrays, rows, (notices if unknown else ()) + empty, {"source": tuple(texts)})

    def examples(self, source: Source, preprocessing: PairPreprocessing) -> tuple[Split, tuple[str, ...]]:
        if not source.path.is_dir() and _in_lines(source):
            return preprocessing.encode(*pairs_of(source.path, source.text)), ()
        if not source.path.is_dir():
            return preprocessing.encode(*columns_of_pairs(source.table, preprocessing.language or None)[2]), ()
        found = parallel(source.path)
        if found is None:
            raise UserError(
                f"A folder of pairs holds {self.folders}. Received {source} without them. "
                "Name a folder with them."
            )
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


def _in_lines(source: Source) -> bool:
    """Return True if pairs are lines of a text with a tab, or sources its lines; False where they are columns of a table."""
    return source.format in (PLAIN, DELIMITED) and source.suffix != ".csv"


KIND = PairsKind()
