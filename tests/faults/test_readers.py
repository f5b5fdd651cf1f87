"""Readers are chosen by what is in a file, types of columns survive, and texts are read by the rules of Unicode."""

from __future__ import annotations

import gzip
import io
import json
import re
import sys
from collections.abc import Callable
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from nnatomy.data import from_frame, load, load_examples, load_inputs
from nnatomy.data.columns import table_of_frame
from nnatomy.data.reading import Source
from nnatomy.errors import UserError

N = 120
RNG = np.random.default_rng(0)
A = RNG.normal(size=N).round(4)
COLOR = np.array(["red", "blue", "green"])[RNG.integers(0, 3, N)]
Y = np.where(A + (COLOR == "red") > 0.3, "yes", "no")
TABLE = pd.DataFrame({"a": A, "color": COLOR, "y": Y})


def csv_of(separator: str) -> bytes:
    return TABLE.to_csv(index=False, sep=separator).encode()


def arrow(opened: Callable[..., Any]) -> bytes:
    sink, table = io.BytesIO(), pa.Table.from_pandas(TABLE, preserve_index=False)
    with opened(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()


def parquet(frame: pd.DataFrame = TABLE) -> bytes:
    sink = io.BytesIO()
    frame.to_parquet(sink)
    return sink.getvalue()


JSON_LINES = TABLE.to_json(orient="records", lines=True).encode()
FILES = [
    ("CSV", csv_of(",")),
    ("semicolons", csv_of(";")),
    ("tabs", csv_of("\t")),
    ("bars", csv_of("|")),
    ("carets", csv_of("^")),
    ("tildes", csv_of("~")),
    ("runs of spaces", re.sub(rb" ", b"   ", csv_of(" "))),
    ("quoted newlines", csv_of(",").replace(b"red", b'"re\nd"')),
    ("Parquet", parquet()),
    ("Arrow file", arrow(pa.ipc.new_file)),
    ("Arrow stream", arrow(pa.ipc.new_stream)),
    ("JSON lines", JSON_LINES),
    ("JSON array", TABLE.to_json(orient="records").encode()),
    ("CSV by gzip", gzip.compress(csv_of(","))),
    ("Parquet by gzip", gzip.compress(parquet())),
    ("JSON lines by gzip", gzip.compress(JSON_LINES)),
]


@pytest.mark.parametrize("name", ["t.csv", "t", "t.bin", "t.parquet"])
@pytest.mark.parametrize(("what", "content"), FILES, ids=[f[0] for f in FILES])
def test_a_table_is_read_whatever_it_is_called(tmp_path: Path, what: str, content: bytes, name: str) -> None:
    (tmp_path / name).write_bytes(content)
    found = load(tmp_path / name, ("image", "table"), target="y")
    (tmp_path / "plain.csv").write_bytes(csv_of(","))
    expected = load(tmp_path / "plain.csv", ("table",), target="y")
    assert (found.name, found.classes) == ("t", ("no", "yes"))
    for part in ("train", "validation", "test"):
        for got, right in zip(getattr(found, part).all(), getattr(expected, part).all(), strict=True):
            if what != "quoted newlines":
                np.testing.assert_array_equal(got, right)
    assert len(load_inputs(tmp_path / name, expected.preprocessing).rows) == N
    examples, _ = load_examples(tmp_path / name, expected.preprocessing)
    np.testing.assert_array_equal(examples.all()[-1], (Y == "yes").astype(int))


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("name", ["x.npz", "x.dat", "x"])
def test_arrays_are_read_whatever_they_are_called(tmp_path: Path, name: str, packed: bool) -> None:
    sink = io.BytesIO()
    np.savez(sink, X=A.reshape(-1, 2), y=np.arange(N // 2) % 2)
    (tmp_path / name).write_bytes(gzip.compress(sink.getvalue()) if packed else sink.getvalue())
    found = load(tmp_path / name, ("table",))
    assert (found.task, found.input_shape) == ("classification", (2,))


REFUSED = [
    ("an Excel workbook", "t.csv", lambda: _zip("xl/workbook.xml"), r"\(Excel workbook\)\. Save it"),
    ("a ZIP archive", "t.csv", lambda: _zip("t.csv"), r"\(ZIP archive\)\. Save it as CSV"),
    ("a PDF document", "t.csv", lambda: b"%PDF-1.7 ...", "PDF document"),
    ("another packing", "t.csv.bz2", lambda: b"BZh91AY&SY", "packed by bzip2"),
    ("a pickle", "t.csv", lambda: b"\x80\x04\x95\0\0\0", "pickle"),
    ("half a Parquet file", "t.parquet", lambda: parquet()[:-40], "must be whole. Received .*t.parquet"),
    ("a Parquet file of text", "t.parquet", lambda: b"nothing of the kind\n", "must be whole"),
    ("an empty Parquet file", "t.parquet", lambda: b"", "must be whole"),
    ("half a packed file", "t.csv.gz", lambda: gzip.compress(csv_of(","))[:-90], "gzip file must be whole"),
    ("JSON lines with another", "t.jsonl", lambda: JSON_LINES + b"[1, 2]\n", f"another line {N + 1}"),
    ("JSON lines, cut", "t.jsonl", lambda: JSON_LINES[:-9], f"another line {N}"),
    ("brackets", "t.jsonl", lambda: b"[" * 100_000, "Received"),
    ("columns of the same name", "t.jsonl", lambda: b'{"y": 1, " y": 2}\n' * 9, "'y' more than once"),
    ("unequal rows", "t.csv", lambda: csv_of(",") + b"1,2\n", f"row {N + 2} of"),
]  # fmt: skip


def _zip(name: str) -> bytes:
    import zipfile

    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w") as archive:
        archive.writestr(name, "a")
    return sink.getvalue()


@pytest.mark.parametrize(("name", "made", "said"), [r[1:] for r in REFUSED], ids=[r[0] for r in REFUSED])
def test_what_no_reader_takes_is_named(tmp_path: Path, name: str, made: Callable[[], bytes], said: str) -> None:
    (tmp_path / name).write_bytes(made())
    with pytest.raises(UserError, match=said) as caught:
        load(tmp_path / name, ("image", "table"), target="y")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


def test_columns_in_files_need_pyarrow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "t.parquet").write_bytes(parquet())
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(UserError, match=r'pip install "nnatomy\[frames\]"'):
        load(tmp_path / "t.parquet", ("table",), target="y")


# Types of columns

DAYS = [datetime(2024, 1, 1) + timedelta(days=5 * k) for k in range(N)]
TYPES = [
    # name, values, the type that is reported, cells
    ("a category of numbers", pd.Categorical([k % 3 for k in range(N)]), "categorical", ["0", "1", "2"]),
    ("texts of digits", [f"{k % 4:05}" for k in range(N)], "categorical", ["00000", "00001", "00002"]),
    ("the text NA", ["NA" if k % 2 else "None" for k in range(N)], "categorical", ["None", "NA", "None"]),
    ("nullable integers", pd.array([None if k == 1 else k * k for k in range(N)], "Int64"), "numeric", ["0", "", "4"]),
    ("nullable truth", pd.array([None if k == 1 else k % 3 == 0 for k in range(N)], "boolean"), "boolean",
     ["true", "", "false"]),
    ("dates", [d.date() for d in DAYS], "date", ["2024-01-01", "2024-01-06", "2024-01-11"]),
    ("times with gaps", pd.to_datetime([None if k == 1 else d for k, d in enumerate(DAYS)]), "date",
     ["2024-01-01 00:00:00", "", "2024-01-11 00:00:00"]),
    ("lengths of time", pd.to_timedelta([k * k for k in range(N)], "h"), "numeric", ["0.0", "3600.0", "14400.0"]),
    ("lists", [[k] for k in range(N)], "nested", None),
]  # fmt: skip


@pytest.mark.parametrize("form", ["pandas", "polars", "arrow", "parquet"])
@pytest.mark.parametrize(("values", "kind", "cells"), [t[1:] for t in TYPES], ids=[t[0] for t in TYPES])
def test_types_of_columns_survive(tmp_path: Path, values: Any, kind: str, cells: list[str] | None, form: str) -> None:
    frame = pd.DataFrame({"x": values, "a": A, "y": Y})
    options: dict[str, Any] = {"target": "y", "tasks": ("classification",)}
    given: Any = frame
    if form == "polars":
        strings = isinstance(values, pd.Categorical)  # polars has no categories of numbers
        given = pl.from_pandas(frame.assign(x=frame.x.astype(str).astype("category")) if strings else frame)
    elif form == "arrow":
        given = pa.Table.from_pandas(frame)
    if form == "parquet":
        frame.to_parquet(tmp_path / "t.parquet")
        found = load(tmp_path / "t.parquet", ("table",), **options)
        table = Source(tmp_path / "t.parquet").table
    else:
        found, table = from_frame(given, **options), table_of_frame(given)
    column = next(column for column in found.columns if column.name == "x")
    assert column.type == kind
    if cells is not None:
        assert table.columns["x"][:3] == cells
        assert column.missing == cells.count("")


def test_an_index_of_times_is_a_column_and_another_is_not(tmp_path: Path) -> None:
    index = pd.date_range("2024-01-01", periods=400, freq="h")
    frame = pd.DataFrame({"x": np.sin(np.arange(400) / 5)}, index=index)
    frame.to_parquet(tmp_path / "s.parquet")
    shuffled = TABLE.sample(frac=1, random_state=0)
    shuffled.to_parquet(tmp_path / "t.parquet")
    how: dict[str, Any] = {"accepts": ("series",), "tasks": ("forecast",), "target": "x", "window": 12, "horizon": 3}
    for given in (from_frame(frame, **how), load(tmp_path / "s.parquet", **how)):
        assert given.kind == "series"
        past, future = given.train.take(np.array([0]))
        assert (past.shape, future.shape[:2]) == ((1, 12, 1), (1, 3))
    for table in (from_frame(shuffled, "y"), load(tmp_path / "t.parquet", ("table",), target="y")):
        assert [column.name for column in table.columns] == ["a", "color", "y"]


def test_a_damaged_description_of_json_is_no_table(tmp_path: Path) -> None:
    (tmp_path / "t.json").write_text(json.dumps({"a": [1, 2]}, indent=1))
    with pytest.raises(UserError, match="Received"):
        load(tmp_path / "t.json", ("table",), target="y")


def test_dates_of_a_frame_are_numbers_of_days() -> None:
    frame = pd.DataFrame({"d": pd.to_datetime(["2024-01-31"] * 30 + ["2024-02-29"] * 30), "y": ["a"] * 30 + ["b"] * 30})
    found = from_frame(frame, "y", tasks=("classification",), keep=("d",))
    days = (date(2024, 2, 29) - date(2024, 1, 31)).days
    field = found.preprocessing.fields[0]  # type: ignore[attr-defined]
    spread = np.ptp(np.concatenate([part.all()[0] for part in (found.train, found.validation, found.test)])[:, 0])
    assert spread * field.std == pytest.approx(days, rel=1e-3)
