"""Tables with a column of times as series: reading, filling gaps, standardizing, and windows for forecasting."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from nnatomy.data.cells import numbers
from nnatomy.data.csvfile import RawTable
from nnatomy.data.dataset import Batch, Dataset, Preprocessing, SeriesSplit
from nnatomy.data.folds import Periods
from nnatomy.data.reading import Reading
from nnatomy.data.scaling import deviation, scale
from nnatomy.data.times import parse_times, times_after
from nnatomy.data.writing import AS_IS, Writing, learned
from nnatomy.errors import UserError, unknown_name
from nnatomy.saved import Count, Natural, Positive

__all__ = [
    "Series",
    "SeriesPreprocessing",
    "averaged",
    "fill_gaps",
    "forecast_dataset",
    "in_order",
    "read_series",
]

Array = npt.NDArray[Any]
WINDOW, HORIZON = 96, 24
ETT = ("HUFL", "HULL", "MUFL", "MULL", "LUFL", "LULL", "OT")


@dataclass(frozen=True)
class Series:
    """Values in order of time; NaN where one is missing."""

    name: str
    time: str  # the column of times
    times: Array  # datetime64[s], [rows]
    columns: tuple[str, ...]
    values: Array  # float64 [rows, F]
    notices: tuple[str, ...] = ()
    writings: Mapping[str, Writing] = field(default_factory=dict)  # of the columns in the file, times included


def read_series(name: str, table: RawTable, time: str, types: Mapping[str, str]) -> Series:
    """Return the numeric columns of a table in order of its times.

    Raises UserError where a time cannot be read, the rows are out of order, or no numeric column is left.
    """
    found = learned(table, types if types.get(time, "").startswith("date") else {**types, time: "date"})
    times = parse_times(found.table.columns[time], time, "")
    notices = list(found.notices)
    columns: dict[str, Array] = {}
    for column, cells in found.table.columns.items():
        if column == time:
            continue
        kind = found.kinds[column]
        if kind in ("numeric", "boolean", "identifier") and np.isfinite(numbers(cells)).any():
            columns[column] = numbers(cells)
        else:
            reason = {"constant": "is the same in every row", "empty": "has no values"}.get(kind, "holds no numbers")
            notices.append(f"Column {column!r} {reason}: left out.")
    if not columns:
        said = f" ({' '.join(notices)})" if notices else ""
        raise UserError(
            f"A series needs a column of numbers next to its times. Received {name} without one{said}. Add a column."
        )
    values = np.stack(list(columns.values()), axis=1)
    writings = {column: found.writings[column] for column in (time, *columns)}
    return in_order(Series(name, time, times, tuple(columns), values, tuple(notices), writings))


def in_order(series: Series) -> Series:
    """Return the series with its oldest row first; raises UserError where the rows follow no order of time."""
    steps, notices = np.diff(series.times.astype(np.int64)), list(series.notices)
    if not len(steps):
        return series
    if np.mean(steps < 0) >= 0.99:
        series = replace(series, times=series.times[::-1], values=series.values[::-1])
        notices.append("The newest row was first: the series was reversed.")
    elif np.mean(steps < 0) > 0.01:
        row = int(np.flatnonzero(steps < 0)[0]) + 3
        raise UserError(
            f"A series is in order of time. Received row {row} of {series.name}, which goes back in time. Sort the file by "
            f"{series.time!r}."
        )
    uneven = int((np.abs(steps) != np.median(np.abs(steps))).sum())
    if uneven:
        notices.append(f"{uneven} of {len(steps)} time steps are uneven; rows are taken as evenly spaced.")
    return replace(series, notices=tuple(notices))


def fill_gaps(values: Array) -> Array:
    """Return values with each gap filled by the last value before it; gaps at the start stay NaN."""
    known = np.isfinite(values)
    last = np.maximum.accumulate(np.where(known, np.arange(len(values))[:, None], -1), axis=0)
    return np.where(last >= 0, np.take_along_axis(values, np.maximum(last, 0), axis=0), np.nan)


def averaged(series: Series, seconds: int) -> Series:
    """Return the means over stretches of so many seconds; stretches without a row are passed over."""
    stretch = series.times.astype(np.int64) // seconds
    starts, place = np.unique(stretch, return_inverse=True)
    known = np.isfinite(series.values)
    sums, counts = np.zeros((len(starts), len(series.columns))), np.zeros((len(starts), len(series.columns)))
    np.add.at(sums, place, np.where(known, series.values, 0.0))
    np.add.at(counts, place, known)
    means = np.divide(sums, counts, out=np.full_like(sums, np.nan), where=counts > 0)
    return replace(series, times=(starts * seconds).astype("datetime64[s]"), values=means)


@dataclass(frozen=True)
class SeriesPreprocessing(Preprocessing):
    """Fills gaps and standardizes each column by the training rows; `transform` cuts the windows that the model takes."""

    kind: ClassVar[str] = "series"
    task: str  # "forecast" or "anomaly"
    time: str
    columns: tuple[str, ...]
    targets: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[Positive, ...]
    window: Count
    horizon: Natural = 0
    stride: Count = 1
    seconds: Natural = 0  # rows are means over so many seconds; 0 for the rows as they are
    writings: Mapping[str, Writing] = field(default_factory=dict)  # of the columns in the file, times included
    encoding: str = ""

    @classmethod
    def fit(
        cls, task: str, series: Series, rows: Array, targets: Sequence[str], window: int, horizon: int = 0
    ) -> SeriesPreprocessing:
        """Fit on the given rows."""
        values = series.values[rows]
        moments = tuple(np.nanmean(values, axis=0).tolist()), tuple(scale(values).tolist())
        writings = {name: series.writings.get(name, AS_IS) for name in (series.time, *series.columns)}
        return cls(task, series.time, series.columns, tuple(targets), *moments, window, horizon, writings=writings)

    def standardize(self, values: Array) -> Array:
        """Return float32 values[rows, F] with gaps filled; gaps at the start become the training mean."""
        return self.prepare(fill_gaps(values))[0]

    def prepare(self, *raw: Array) -> Batch:
        scaled = (raw[0] - np.array(self.mean)) / np.array(self.std)
        return (np.asarray(np.nan_to_num(scaled, nan=0.0), dtype=np.float32),)

    def transform(self, raw: RawTable) -> Batch:
        """Return (past[1, window, F],), the last window, for a forecast; (windows[n, window, F],) for anomalies."""
        return (self._windows(self.standardize(self.read(raw).values)),)

    def raw(self, given: RawTable) -> Batch:
        """Return the windows that `transform` cuts in the file's units, float64, with gaps filled."""
        return (self._windows(fill_gaps(self.read(given).values)),)

    def window_times(self, raw: RawTable) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]:
        """Return a name for each window that `transform` cuts, and for a forecast the times that follow it.

        A window of a forecast is named by the last known time, one that may hold anomalies by its first.
        """
        times = self.read(raw).times
        if self.task == "forecast":
            return (str(times[-1]),), (tuple(map(str, times_after(times, self.horizon))),)
        return tuple(map(str, times[self._starts(len(times))])), ()

    def _windows(self, values: Array) -> Array:
        return np.asarray(values[self._starts(len(values))[:, None] + np.arange(self.window)])

    def _starts(self, n: int) -> Array:
        return np.array([n - self.window]) if self.task == "forecast" else np.arange(0, n - self.window + 1, self.stride)

    def read(self, raw: RawTable) -> Series:
        """Return the columns that the model uses, in order of time and averaged as in training.

        Raises UserError where a column is missing or the series is shorter than a window.
        """
        absent = [c for c in (self.time, *self.columns) if c not in raw.columns]
        if absent:
            raise UserError(
                f"The model was trained with the column {absent[0]!r}. Received {raw.source}, which has no such column. Add "
                "it or name it so."
            )
        times = parse_times(raw.columns[self.time], self.time, self.writings[self.time].layout)
        values = np.stack([numbers(self.writings[c].plain(raw, c, "numeric")) for c in self.columns], axis=1)
        series = in_order(Series(raw.source, self.time, times, self.columns, values))
        if self.seconds:
            series = averaged(series, self.seconds)
        if len(series.values) < self.window:
            raise UserError(
                f"The model reads {self.window} rows. Received {raw.source}, which has {len(series.values)}. Give a longer "
                "series."
            )
        return series

    def inverse_targets(self, targets: Array) -> Array:
        """Return targets[..., outputs] in the file's units."""
        chosen = [self.columns.index(c) for c in self.targets]
        std, mean = (np.array(values, targets.dtype)[chosen] for values in (self.std, self.mean))
        values: Array = targets * std + mean
        return values


def forecast_dataset(series: Series, target: str | None, reading: Reading) -> Dataset:
    """Return windows (past[T, F], future[H, targets]) of a series, split by time 60/20/20 (ETT sets: 12/4/4 months as usual).

    `target`: a column, several of them with commas between, or None for the last one.
    A fold splits it instead where there is one: rows from its training stretch to its test stretch, in order of time.
    Raises UserError where a target is absent or the series is too short for the windows.
    """
    notices = list(series.notices)
    if target is None:
        target = series.columns[-1]
        if len(series.columns) > 1:
            notices.append(f"The last column, {target!r}, is forecast; choose with --target.")
    targets = (target,) if target in series.columns else tuple(name.strip() for name in target.split(","))
    for name in targets:
        if name not in series.columns:
            raise unknown_name("column of numbers", name, series.columns)
        series = _from_first_value(series, name, notices)
    past, future = int(reading.use("window", WINDOW)), int(reading.use("horizon", HORIZON))
    train, *later = parts = _periods(series, reading)
    if min(train[1] - train[0] - past, *(b - a for a, b in later)) < future:
        raise UserError(
            f"A series needs rows for its windows ({past} past and {future} future) in each of its three parts. "
            f"Received {series.name}, which has {len(series.values)} rows. Give a longer series, or a smaller window or "
            "horizon."
        )
    series = _without_sparse(series, targets, slice(*train), notices)
    gaps = int((~np.isfinite(series.values)).sum())
    if gaps:
        notices.append(f"{gaps} missing values were filled with the last one before them.")
    preprocessing = SeriesPreprocessing.fit("forecast", series, np.arange(*train), targets, past, horizon=future)
    values = preprocessing.standardize(series.values)
    places = tuple(series.columns.index(name) for name in targets)
    bounds = (train, *((a - past, b) for a, b in parts[1:]))  # what is before a part may be looked at, not predicted
    splits = [SeriesSplit(values[a:b], places, past, future) for a, b in bounds]
    named = ", ".join(targets)
    text = f"{len(series.values)} rows of {len(series.columns)} columns; {past} rows forecast {future} of {named}"
    shape = (past, len(series.columns))
    return Dataset(
        series.name, "series", "forecast", splits[0], splits[1], splits[2], (), preprocessing, tuple(notices), shape, text,
        len(targets), ordered=True,
    )  # fmt: skip


def _from_first_value(series: Series, target: str, notices: list[str]) -> Series:
    known = np.flatnonzero(np.isfinite(series.values[:, series.columns.index(target)]))
    if not len(known):
        raise UserError(
            f"A target has values. Received {target!r}, which has none where the others have. Choose another column."
        )
    if known[0] == 0:
        return series
    notices.append(f"The first {int(known[0])} rows have no value of {target!r}: left out.")
    return replace(series, times=series.times[known[0] :], values=series.values[known[0] :])


def _periods(series: Series, reading: Reading) -> Periods:
    n, official = len(series.values), None
    if series.columns == ETT and n in (17420, 69680):
        month = 30 * 24 * (n // 17420)
        official = ((0, 12 * month), (12 * month, 16 * month), (16 * month, 20 * month))
    return reading.periods(n, official=official)


def _without_sparse(series: Series, targets: Sequence[str], train: slice, notices: list[str]) -> Series:
    absent = np.mean(~np.isfinite(series.values[train]), axis=0)
    spread = deviation(np.where(absent < 1, series.values[train], 0.0))
    kept = []
    for n, column in enumerate(series.columns):
        if column in targets or (absent[n] <= 0.5 and spread[n] > 0):
            kept.append(n)
        else:
            reason = "is missing in most training rows" if absent[n] > 0.5 else "is the same in every training row"
            notices.append(f"Column {column!r} {reason}: left out.")
    for target in targets:
        if spread[series.columns.index(target)] == 0:
            raise UserError(
                f"A target must vary. Received {target!r}, which is the same in every training row. Choose another column."
            )
    return replace(series, columns=tuple(series.columns[n] for n in kept), values=series.values[:, kept])
