"""A user's table as a data set: the task by its target, columns left out with a notice, everything fitted on training rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from nnatomy.data.cells import number, numbers
from nnatomy.data.csvfile import RawTable
from nnatomy.data.dataset import ArraySplit, Column, Dataset
from nnatomy.data.kinds.table.columns import far_outliers, gives_away, is_repeated, task_of
from nnatomy.data.kinds.table.encoding import Field, TablePreprocessing
from nnatomy.data.reading import Parts, Reading
from nnatomy.data.scaling import scale
from nnatomy.data.texts import is_wordy
from nnatomy.data.times import is_ordered, time_column
from nnatomy.data.writing import AS_IS, Writing, learned
from nnatomy.errors import UserError, unknown_name

__all__ = ["rows_with_target", "table_dataset"]

Array = npt.NDArray[Any]
FRACTIONS = (0.15, 0.2)  # of the rows for validation and for test: small tables need the larger test to be judged at all
READ_BY = "An architecture for labeled sentences reads them: nnatomy train lstm."
LEFT_OUT = {
    "text": "holds free text, different in most rows",
    "identifier": "only names the row",
    "constant": "is the same in every row",
    "empty": "has no values",
    "nested": "holds lists or other nested values",
}


def table_dataset(
    name: str,
    table: RawTable,
    target: str | None,
    reading: Reading,
    *,
    keep: Sequence[str] = (),
    types: Mapping[str, str] | None = None,
) -> Dataset:
    """Return the data set of a table; where no target is named, an architecture that gives its input back has none.

    Columns that only name the row, hold nothing, or give the target away are left out unless named in `keep`. Rows in order of
    time are split forward in time by a fold.
    Raises UserError where the target is absent or unfit, a class is too small, or no input column is left.
    """
    types = types or {}
    groups, timed = reading.use("groups"), time_column(table, types)
    ordered = timed is not None and is_ordered(table, timed, types)
    _check_names(table, target, keep, groups, reading.targets_optional)
    if groups is not None:
        _check_groups(table, groups, target)
    found = learned(table, types, keep)
    if target is not None and found.kinds[target] == "constant" and any(table.words.get(target, {}).values()):
        word = next(filter(None, table.words[target].values()))
        raise UserError(
            f"A target needs two values or more. Received {target!r}, in which words such as {word!r} count as missing. Use "
            f"--types {target}=categorical to make them classes."
        )
    table, kinds, writings, notices = found.table, found.kinds, found.writings, list(found.notices)
    task = "reconstruction" if target is None else task_of(target, kinds[target], table.columns[target], target in types)
    if target is not None:
        table = rows_with_target(table, target, task, notices)
        kinds = {**kinds, target: "categorical" if task == "classification" else "numeric"}
    classes = _class_names(table.columns[target]) if target is not None and task == "classification" else ()
    place = {label: n for n, label in enumerate(classes)}
    ids = np.array([place[c] for c in table.columns[str(target)]]) if classes else None
    parts = _parts(table, ids, classes, reading, groups, ordered)
    cells = {column: [values[row] for row in parts.train] for column, values in table.columns.items()}
    if groups is not None:
        notices.append(f"Column {groups!r} says which rows belong together: it is not an input.")
    inputs = _inputs({c: k for c, k in kinds.items() if c != groups}, cells, target, task, keep, notices)
    outliers = _outliers(kinds, inputs, cells, notices)
    _tell(table, kinds, writings, inputs, cells, notices)
    fields = tuple(
        Field.fit(column, _kept_type(kinds[column], cells[column]), cells[column], writings[column]) for column in inputs
    )
    long = [field.name for field in fields if field.log]
    if long:
        notices.append(f"Numbers with a long tail are taken as their logarithms: {', '.join(long)}.")
    mean, std = _scale(cells[str(target)]) if task == "regression" else (0.0, 1.0)
    writing = writings[target] if target is not None else AS_IS
    preprocessing = TablePreprocessing(fields, target, task, classes, mean, std, writing)
    (encoded,), _ = preprocessing.encode_plain(table)
    targets = encoded if target is None else preprocessing.encode_target(table.columns[target])
    splits = [ArraySplit((encoded[rows], targets[rows])) for rows in parts]
    columns = tuple(_describe(c, v, kinds[c], target, inputs, outliers.get(c, 0)) for c, v in table.columns.items())
    outputs = len(classes) or (1 if target is not None else encoded.shape[1])
    text = f"{len(table)} rows, {len(inputs)} input columns as {encoded.shape[1]} features, " + (
        f"target {target} ({task})" if target is not None else "no target (reconstruction)"
    )
    if ordered:
        notices.append(_about_time(reading))
    forward = ordered and reading.fold is not None and groups is None
    return Dataset(
        name, "table", task, splits[0], splits[1], splits[2], classes, preprocessing, tuple(notices), (encoded.shape[1],), text,
        outputs, columns, ordered=forward,
    )  # fmt: skip


def _about_time(reading: Reading) -> str:
    if reading.fold is None:
        return (
            "Rows in order of time are split at random here, so scores may flatter; an architecture for series splits them by "
            "time."
        )
    how = "groups are kept together, whenever they were" if reading.fold.groups else "every fold is later than its training"
    return f"Rows are in order of time: {how}."


def _check_names(table: RawTable, target: str | None, keep: Sequence[str], groups: str | None, optional: bool) -> None:
    names = list(table.columns)
    if len(names) < 2:
        raise UserError(
            f"A table needs an input column and a target column. Received {table.source}, which has only {names[0]!r}. "
            "Check the delimiter (comma, semicolon, tab or bar)."
        )
    if target is None and not optional:
        raise UserError(
            f"A table needs a target. Received {table.source} with {', '.join(names)}. Name the column to predict with "
            "--target."
        )
    if target is not None and target not in names:
        raise unknown_name("column", target, names)
    for column in keep:
        if column not in names:
            raise unknown_name("column", column, names)
        if column in (target, groups):
            role = "target" if column == target else "column of the groups"
            raise UserError(f"--keep names an input column. Received {column!r}, which is the {role}. Leave --keep out.")


def _check_groups(table: RawTable, groups: str, target: str | None) -> None:
    if groups not in table.columns:
        raise unknown_name("column", groups, table.columns)
    if groups == target:
        raise UserError(
            f"--groups names a column other than the target. Received the target {groups!r}. Choose another column."
        )
    if "" in table.columns[groups]:
        raise UserError(
            f"Every row needs its group. Received {groups!r}, which has missing cells. Fill them or choose another column."
        )


def _parts(
    table: RawTable, ids: Array | None, classes: tuple[str, ...], reading: Reading, groups: str | None, ordered: bool
) -> Parts:
    together = None if groups is None else np.unique(table.columns[groups], return_inverse=True)[1]
    return reading.part(len(table), ids, classes, fractions=FRACTIONS, groups=together, in_time=ordered)


def rows_with_target(table: RawTable, target: str, task: str, notices: list[str]) -> RawTable:
    """Return the rows that have a usable value of the target, and add a notice where others were left out."""
    cells = table.columns[target]
    good = [bool(c) and (task == "classification" or bool(np.isfinite(number(c)))) for c in cells]
    if all(good):
        return table
    notices.append(f"{len(good) - sum(good)} rows without a value of the target {target!r} were left out.")
    rows = [n for n, is_good in enumerate(good) if is_good]
    return replace(table, columns={name: [values[n] for n in rows] for name, values in table.columns.items()})


def _class_names(cells: Sequence[str]) -> tuple[str, ...]:
    """Return the classes as text, in the order of their numbers where they are numbers."""
    return tuple(sorted(set(cells), key=lambda c: (number(c) if np.isfinite(number(c)) else np.inf, c)))


def _inputs(
    kinds: Mapping[str, str],
    cells: Mapping[str, Sequence[str]],
    target: str | None,
    task: str,
    keep: Sequence[str],
    notices: list[str],
) -> list[str]:
    kept, hint = [], ""
    texts = [column for column, kind in kinds.items() if column != target and kind in LEFT_OUT and is_wordy(cells[column])]
    lost = next((column for column in texts if column in keep), None)
    if lost is not None:
        raise UserError(f"A table's inputs are numbers, categories and dates. Received --keep {lost}: texts. {READ_BY}")
    for column, kind in kinds.items():
        if column == target:
            continue
        if column in texts:
            notices.append(f"Column {column!r} holds texts of several words, which are no inputs of a table: left out.")
            continue
        reason = LEFT_OUT.get(kind) or ("has no values in the training rows" if not any(cells[column]) else None)
        if reason is None and target is not None:
            link = gives_away(kind, cells[column], cells[target], task)
            reason = f"gives the target away (it {link} {target!r})" if link else None
        if reason is None or (column in keep and any(cells[column])):
            kept.append(column)
            continue
        hint = f", or keep one with --keep {column}" if any(cells[column]) else ""
        notices.append(f"Column {column!r} {reason}: left out" + (f" (--keep {column} keeps it)." if hint else "."))
    if not kept and len(texts) == len([column for column in kinds if column != target]):
        raise UserError(f"A table needs an input column. Received only texts in {', '.join(texts)}. {READ_BY}")
    if not kept:
        said = " ".join(notices).removesuffix(".")
        raise UserError(f"A table needs an input column. Received none: {said}. Add a column{hint}.")
    return kept


def _kept_type(kind: str, cells: Sequence[str]) -> str:
    """Return the encoding's type for a column, also for those that only `keep` let in."""
    if kind in ("text", "constant"):
        return "numeric" if np.isfinite(numbers([c for c in cells if c])).all() else "categorical"
    return "numeric" if kind == "identifier" else kind


def _scale(cells: Sequence[str]) -> tuple[float, float]:
    values = numbers(cells)
    return float(values.mean()), float(scale(values))


def _outliers(
    kinds: Mapping[str, str], inputs: Sequence[str], cells: Mapping[str, Sequence[str]], notices: list[str]
) -> dict[str, int]:
    counts = {c: far_outliers(numbers(cells[c])) for c in inputs if kinds[c] == "numeric"}
    found = {c: n for c, n in counts.items() if n}
    if found:
        listed = ", ".join(f"{c} {n}" for c, n in found.items())
        notices.append(f"Far outliers in the training rows (kept; beyond three interquartile ranges): {listed}.")
    return found


def _tell(
    table: RawTable,
    kinds: Mapping[str, str],
    writings: Mapping[str, Writing],
    inputs: Sequence[str],
    cells: Mapping[str, Sequence[str]],
    notices: list[str],
) -> None:
    missing = {c: table.columns[c].count("") for c in inputs if "" in table.columns[c]}
    if missing:
        listed = ", ".join(f"{c} {n}" for c, n in missing.items())
        notices.append(
            f"Missing cells were filled (median or most frequent value; features mark where training rows had them): {listed}."
        )
    for column in inputs:
        present = [c for c in table.columns[column] if c]
        if kinds[column] == "numeric":
            bad = [c for c in present if not np.isfinite(number(c))]
            if bad:
                notices.append(f"Column {column!r}: {len(bad)} cells without a finite number ({bad[0]!r}) count as missing.")
        elif kinds[column] == "categorical":
            numeric = np.isfinite(numbers(present)).mean()
            if 0.9 <= numeric < 1:
                wrong = next(c for c in present if not np.isfinite(number(c)))
                notices.append(
                    f"Column {column!r} is read as categories for cells such as {wrong!r}; "
                    f"--types {column}=numeric makes them missing."
                )
        elif kinds[column] == "date":
            notices.append(f"Column {column!r} holds dates ({writings[column].layout}): read as a number of days.")
    for a, b in is_repeated({c: kinds[c] for c in inputs}, cells):
        notices.append(f"Columns {a!r} and {b!r} say the same; both were kept.")


def _describe(name: str, cells: Sequence[str], kind: str, target: str | None, inputs: Sequence[str], outliers: int) -> Column:
    distinct = dict.fromkeys(c for c in cells if c)
    role = "target" if name == target else "input" if name in inputs else "left out"
    return Column(name, kind, role, cells.count(""), len(distinct), tuple(list(distinct)[:3]), outliers)
