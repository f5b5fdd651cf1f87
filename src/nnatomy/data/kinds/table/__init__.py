"""Tables: rows of numbers, categories, truth values and dates, one column the target. CSV files, data frames, named sets."""

from __future__ import annotations

from nnatomy.data.csvfile import RawTable
from nnatomy.data.dataset import ArraySplit, Dataset, Split
from nnatomy.data.kinds.kind import NO, PERHAPS, ExportedInputs, Kind
from nnatomy.data.kinds.looks import Look, Rows
from nnatomy.data.kinds.table.encoding import TablePreprocessing
from nnatomy.data.kinds.table.sets import SETS
from nnatomy.data.kinds.table.table import rows_with_target, table_dataset
from nnatomy.data.reading import Inputs, Reading, Source
from nnatomy.data.requests import RequestReader
from nnatomy.errors import UserError


class TableKind(Kind[TablePreprocessing]):
    """Rows of a table; the task is that of the target's column."""

    name = "table"
    noun = "tables"
    preprocessing = TablePreprocessing
    options = frozenset({"target", "keep", "types", "groups", "encoding"})
    endings = (".csv", ".tsv", ".parquet", ".arrow", ".jsonl")
    sets = SETS

    def recognize(self, source: Source, reading: Reading) -> int:
        return PERHAPS if source.has_table else NO

    def read(self, source: Source, reading: Reading) -> Dataset:
        return self.read_table(source.name, source.table, reading)

    def read_table(self, name: str, table: RawTable, reading: Reading) -> Dataset:
        """Return the data set of a table of text cells."""
        target, keep, types = reading.use("target"), reading.use("keep", ()), reading.use("types", {})
        return table_dataset(name, table, target, reading, keep=keep, types=types)

    def inputs(self, source: Source, preprocessing: TablePreprocessing, raw: bool = False) -> Inputs:
        return _inputs(source.table, preprocessing, raw)

    def examples(self, source: Source, preprocessing: TablePreprocessing) -> tuple[Split, tuple[str, ...]]:
        return _examples(source.table, str(source), preprocessing)

    def reader(self, preprocessing: TablePreprocessing, input_shape: tuple[int, ...]) -> RequestReader:
        from nnatomy.data.kinds.table.request import TableReader

        return TableReader(preprocessing)

    def exported(self, dataset: Dataset) -> ExportedInputs:
        from nnatomy.data.kinds.table.export import TableInputs

        return TableInputs(dataset, self.fitted(dataset))

    def limits(self, dataset: Dataset) -> str:
        return (
            "It knows the columns and categories of its training table only: categories that it never saw share one feature, "
            "or count as none."
        )

    def look(self, dataset: Dataset) -> Look:
        preprocessing = self.fitted(dataset)
        groups, start = [], 0
        for field in preprocessing.fields:
            width = len(field.features())
            groups.append((field.name, list(range(start, start + width))))
            start += width
        return Rows(preprocessing.feature_names, tuple(groups), preprocessing.decode)


def _inputs(table: RawTable, preprocessing: TablePreprocessing, raw: bool) -> Inputs:
    arrays, notices = preprocessing.encode(table)
    arrays = preprocessing.raw(table) if raw else arrays
    return Inputs(arrays, tuple(str(n + 1) for n in range(len(table))), tuple(notices))


def _examples(table: RawTable, source: str, preprocessing: TablePreprocessing) -> tuple[Split, tuple[str, ...]]:
    notices, target = list[str](), preprocessing.target
    if target is not None and target not in table.columns:
        raise UserError(
            f"To evaluate, a table has the target {target!r} too. Received {source} without it. "
            "Use nnatomy predict for such a file."
        )
    table = preprocessing.plain(table)
    if target is not None:
        table = rows_with_target(table, target, preprocessing.task, notices)
    if not len(table):
        raise UserError(
            f"To evaluate, rows need a value of the target {target!r}. Received {source}, which has none. Use nnatomy predict."
        )
    (inputs,), told = preprocessing.encode_plain(table)
    targets = inputs if target is None else preprocessing.encode_target(table.columns[target])
    return ArraySplit((inputs, targets)), (*notices, *told)


KIND = TableKind()
