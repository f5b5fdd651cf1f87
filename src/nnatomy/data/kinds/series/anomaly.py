"""Windows of a series for reconstruction: trained on an early, normal part, tested on windows labeled 0 (normal) or 1."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nnatomy.data.dataset import ArraySplit, Dataset, Timeline
from nnatomy.data.kinds.series.series import Series, SeriesPreprocessing, averaged
from nnatomy.data.reading import Reading
from nnatomy.data.scaling import deviation
from nnatomy.errors import UserError, unknown_name
from nnatomy.saved import read_json, typed

__all__ = ["anomaly_dataset", "find_labels", "labels_beside", "marked_windows", "read_labels"]

Array = npt.NDArray[Any]
Interval = tuple[np.datetime64, np.datetime64]
WINDOW = 48  # two days of hourly means: as long as a failure takes to show in NAB's machine temperature
STRETCHES = {3600: "hour", 600: "ten minutes", 60: "minute"}
RULE = "Labels are pairs of times [start, end]."
EARLY = 0.6  # the part of the series from which training windows are taken


def anomaly_dataset(series: Series, path: Path, reading: Reading) -> Dataset:
    """Return windows[T, F] with a label each, from the columns of a series (or from the target alone).

    Training and validation windows are in the first 60 % and touch no labeled interval; all others are the test, where a
    window is 1 when at least half of its rows are labeled. Fine series are averaged to means over an hour, ten minutes or
    a minute as long as 1,000 rows remain, unless a window is given. Labels are NAB's JSON, given or found next to the file.
    A fold splits the windows by its stretches instead: training and validation by its windows without a label.
    Raises UserError where the labels do not fit or the series is too short.
    """
    notices = list(series.notices)
    target, window, labels = reading.use("target"), reading.use("window"), reading.use("labels")
    if target is not None:
        if target not in series.columns:
            raise unknown_name("column of numbers", target, series.columns)
        series = replace(series, columns=(target,), values=series.values[:, [series.columns.index(target)]])
    intervals = read_labels(labels, path.name, given=True) if labels else find_labels(path, notices)
    seconds = 0 if window else _stretch(series)
    if seconds:
        series = averaged(series, seconds)
        notices.append(
            f"Rows were averaged: one a stretch of {seconds} seconds ({STRETCHES[seconds]}), {len(series.values)} in all."
        )
    length = window or WINDOW
    stride = max(1, length // 24)
    starts = np.arange(0, len(series.values) - length + 1, stride)
    share = marked_windows(series.times, starts, length, intervals)
    if reading.fold is not None:
        inside = [(starts >= a) & (starts + length <= b) for a, b in reading.periods(len(series.values))]
        train, held, test = (np.flatnonzero(part) for part in (inside[0] & (share == 0), inside[1] & (share == 0), inside[2]))
        if not len(held):  # all of that stretch is labeled: the latest before it
            train, held = _held_out(train, starts, length)
    else:
        early = starts + length <= EARLY * len(series.values)
        train, held = _held_out(np.flatnonzero(early & (share == 0)), starts, length)
        test = np.flatnonzero(~early | (share > 0))
    if len(train) < 10 or len(held) < 1 or len(test) < 2:
        raise UserError(
            f"Training needs at least 10 windows of {length} rows. Received {len(train)}, from {len(series.values)} rows of "
            f"{series.name}. Give a longer series or a smaller window."
        )
    rows = np.unique(starts[train][:, None] + np.arange(length))
    if not deviation(series.values[rows]).max() > 0:
        raise UserError(
            f"A series must vary. Received {', '.join(series.columns)}, which is the same in every training row. Choose "
            "another column."
        )
    preprocessing = SeriesPreprocessing.fit("anomaly", series, rows, series.columns, length)
    preprocessing = replace(preprocessing, stride=stride, seconds=seconds)
    values = preprocessing.standardize(series.values)
    windows = values[starts[:, None] + np.arange(length)]
    marks = (share >= 0.5).astype(np.int64)
    parts = [ArraySplit((windows[part], marks[part])) for part in (train, held, test)]
    if not intervals:
        notices.append("No labeled anomalies were found: scores can be drawn, not judged; give labels with --labels.")
    spans = tuple((str(a), str(b)) for a, b in intervals)
    timeline = Timeline(series.times, series.values, series.columns, length, starts[test], spans)
    text = (
        f"{len(starts)} windows of {length} rows; {int(marks[test].sum())} of {len(test)} test windows are labeled anomalies"
    )
    shape, outputs = (length, len(series.columns)), len(series.columns)
    return Dataset(
        series.name, "series", "anomaly", parts[0], parts[1], parts[2], (), preprocessing, tuple(notices), shape, text, outputs,
        timeline=timeline, ordered=True,
    )  # fmt: skip


def _held_out(normal: Array, starts: Array, length: int) -> tuple[Array, Array]:
    """Return the earlier and the latest 15 % of windows; no row of the latter is in the former."""
    train, held = np.split(normal, [int(0.85 * len(normal))])
    return (train[starts[train] + length <= starts[held[0]]] if len(held) else train), held


def _stretch(series: Series) -> int:
    """Return the longest stretch in seconds whose means still number 1,000, where it is coarser than the rows; otherwise 0."""
    if len(series.times) < 4000:
        return 0
    step = float(np.median(np.diff(series.times.astype(np.int64))))
    span = float(series.times[-1].astype(np.int64) - series.times[0].astype(np.int64))
    return next((s for s in STRETCHES if s > step and span / s >= 1000), 0)


def marked_windows(times: Array, starts: Array, length: int, intervals: Sequence[Interval]) -> Array:
    """Return the fraction of labeled rows in each window of `length` rows, by the rows where windows start."""
    inside = np.zeros(len(times), dtype=bool)
    for first, last in intervals:
        inside |= (times >= first) & (times <= last)
    return np.asarray(inside[starts[:, None] + np.arange(length)].mean(axis=1)) if len(starts) else np.zeros(0)


def find_labels(path: Path, notices: list[str]) -> list[Interval]:
    """Return the intervals in the first JSON next to a file that names the file; none where there is no such JSON."""
    found, intervals = labels_beside(path)
    if found is not None:
        notices.append(f"Labeled anomalies are those of {found.name}.")
    return intervals


def labels_beside(path: Path) -> tuple[Path | None, list[Interval]]:
    """Return the first JSON next to a file that names the file, with its intervals; (None, []) where there is no such JSON."""
    for candidate in sorted(path.parent.glob("*.json")):
        if not candidate.is_file() or candidate.stat().st_size > 10_000_000:
            continue
        try:
            return candidate, read_labels(candidate, path.name, given=False)
        except UserError:
            continue  # another JSON file that has nothing to do with this series
    return None, []


def read_labels(path: Path, name: str, given: bool) -> list[Interval]:
    """Return the labeled intervals for the file `name` in a JSON of NAB's form, or, where `given`, in a plain list of pairs.

    NAB: {"<file>": [[start, end], ...]} or {"<file>": {"windows": [...]}}. Raises UserError for any other content.
    """
    found = read_json(path, "Correct the labels.")
    if isinstance(found, Mapping):
        keys = [key for key in found if key == name or key.endswith("/" + name)]
        if not keys:
            raise UserError(
                f"Labels name the file they belong to. Received {path}, which has none for {name}. Add a key {name!r}."
            )
        found = found[keys[0]]
        found = found.get("windows") if isinstance(found, Mapping) else found
    elif not given:
        raise UserError(f"Labels name the file they belong to. Received {path}, which lacks {name}. Add a key {name!r}.")
    pairs = typed(tuple[tuple[str, str], ...], found, f"{path}, {name}", f"{RULE} Correct the file.")
    try:
        return [(np.datetime64(a.replace(" ", "T")[:19]), np.datetime64(b.replace(" ", "T")[:19])) for a, b in pairs]
    except ValueError as error:
        raise UserError(f"{RULE} Received {path}, where {error}. Correct the file.") from None
