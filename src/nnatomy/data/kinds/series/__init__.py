"""Time series: rows of numbers in order of time, of which a model forecasts the next ones or finds the odd ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from nnatomy.data.dataset import ArraySplit, Dataset, SeriesSplit, Split
from nnatomy.data.kinds.kind import BARELY, NO, SURELY, ExportedInputs, Kind
from nnatomy.data.kinds.looks import Curves, Look
from nnatomy.data.kinds.series.anomaly import anomaly_dataset, find_labels, labels_beside, marked_windows
from nnatomy.data.kinds.series.series import SeriesPreprocessing, forecast_dataset, read_series
from nnatomy.data.kinds.series.sets import SETS
from nnatomy.data.reading import Inputs, Reading, Source
from nnatomy.data.requests import RequestReader
from nnatomy.data.texts import is_wordy, why_no_classes
from nnatomy.data.times import is_ordered, time_column
from nnatomy.errors import UserError


class SeriesKind(Kind[SeriesPreprocessing]):
    """Windows of a series, for a forecast or for the search for anomalies."""

    name = "series"
    noun = "time series"
    preprocessing = SeriesPreprocessing
    options = frozenset({"target", "types", "labels", "window", "horizon", "encoding"})
    endings = (".csv", ".tsv", ".parquet", ".arrow", ".jsonl")
    sets = SETS

    def recognize(self, source: Source, reading: Reading) -> int:
        """A table whose times go forward is a series; any other can be one where nothing else will do."""
        if not source.has_table:
            return NO
        table, target = source.table, reading.options.get("target")
        types = reading.options.get("types") or {}
        timed = time_column(table, types)
        if timed is None or not is_ordered(table, timed, types):
            return BARELY
        texts = any(is_wordy(cells) for name, cells in table.columns.items() if name != timed)
        classes = target in table.columns and why_no_classes(table.columns[str(target)]) is None
        return BARELY if texts and classes else SURELY  # texts with times and classes are no series

    def read(self, source: Source, reading: Reading) -> Dataset:
        table = source.table
        types = reading.use("types", {})
        timed = time_column(table, types)
        if timed is None:
            raise UserError(
                f"A series needs a column of times such as 2024-01-31 13:00:00. Received {source}, which has "
                f"{', '.join(table.columns)}. "
                "Add one, or name it with --types COLUMN=date, or COLUMN=date:unix for seconds since 1970."
            )
        series = read_series(source.name, table, timed, types)
        if "anomaly" in reading.tasks and "forecast" not in reading.tasks:
            return anomaly_dataset(series, source.path, reading)
        return forecast_dataset(series, reading.use("target"), reading)

    def files(self, path: Path) -> tuple[Path, ...]:
        labels, _ = labels_beside(path)
        return (path,) if labels is None else (path, labels)

    def inputs(self, source: Source, preprocessing: SeriesPreprocessing, raw: bool = False) -> Inputs:
        arrays = preprocessing.raw(source.table) if raw else preprocessing.transform(source.table)
        rows, following = preprocessing.window_times(source.table)
        return Inputs(arrays, rows, following=following)

    def examples(self, source: Source, preprocessing: SeriesPreprocessing) -> tuple[Split, tuple[str, ...]]:
        series = preprocessing.read(source.table)
        values, notices = preprocessing.standardize(series.values), list[str]()
        if preprocessing.task == "anomaly":
            starts = np.arange(0, len(values) - preprocessing.window + 1, preprocessing.stride)
            marks = marked_windows(series.times, starts, preprocessing.window, find_labels(source.path, notices))
            windows = values[starts[:, None] + np.arange(preprocessing.window)]
            return ArraySplit((windows, (marks >= 0.5).astype(np.int64))), tuple(notices)
        split = SeriesSplit(values, _target_places(preprocessing), preprocessing.window, preprocessing.horizon)
        if not len(split):
            raise UserError(
                f"To evaluate, a series needs {preprocessing.window} past and {preprocessing.horizon} future rows. "
                f"Received {len(values)} in {source}. Give a longer one."
            )
        return split, ()

    def reader(self, preprocessing: SeriesPreprocessing, input_shape: tuple[int, ...]) -> RequestReader:
        from nnatomy.data.kinds.series.request import SeriesReader

        return SeriesReader(preprocessing)

    def exported(self, dataset: Dataset) -> ExportedInputs:
        from nnatomy.data.kinds.series.export import SeriesInputs

        return SeriesInputs(dataset, self.fitted(dataset))

    def limits(self, dataset: Dataset) -> str:
        window = self.fitted(dataset).window
        return f"It reads {window} rows in one call, evenly spaced as in training; gaps take the value before them."

    def look(self, dataset: Dataset) -> Look:
        fitted = self.fitted(dataset)
        return Curves(fitted.columns, _target_places(fitted), standardized=True, stride=fitted.stride)


def _target_places(preprocessing: SeriesPreprocessing) -> tuple[int, ...]:
    return tuple(preprocessing.columns.index(name) for name in preprocessing.targets)


KIND = SeriesKind()
