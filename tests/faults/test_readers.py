"""Readers are chosen by what is in a file, types of columns survive, and texts are read by the rules of Unicode."""

from __future__ import annotations

import gzip
import io
import json
import re
import sys
import unicodedata
from collections.abc import Callable
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import nnatomy as nn
from nnatomy.data import from_frame, load, load_examples, load_inputs, preprocessing_from_json
from nnatomy.data.columns import table_of_frame
from nnatomy.data.csvfile import reads_as_table
from nnatomy.data.kinds.pairs.vocabulary import Vocabulary
from nnatomy.data.kinds.sentences.request import SentenceReader
from nnatomy.data.kinds.sentences.sentences import WordPreprocessing
from nnatomy.data.kinds.text.request import PromptReader
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
    ("UTF-16", csv_of(",").decode().encode("utf-16")),
    ("carriage returns", csv_of(",").replace(b"\n", b"\r")),
    ("both ends of lines", csv_of(",").replace(b"\n", b"\r\n", 7).replace(b"\n", b"\r", 3)),
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
    ("a ZIP archive", "t.csv", lambda: _zip("t.csv"), r"\(ZIP archive\)\. Save it as one"),
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
    ("unequal rows", "t.csv", lambda: csv_of(",") + b"1,2\n", f"line {N + 2} has 2"),
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
    ("integers with gaps", [np.nan if k == 1 else float(k * k) for k in range(N)], "numeric", ["0", "", "4"]),
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


# Texts with classes in a table

SUBJECTS = ["a warm and clever film", "this slow , silly story", "the last act of it", "her new play"]
GOOD = [f"{SUBJECTS[k % 4]} is good , scene {k}" for k in range(60)]
BAD = [f"{SUBJECTS[k % 4]} is bad , scene {k}" for k in range(60)]
REVIEWS = pd.DataFrame({"text": GOOD + BAD, "label": ["pos"] * 60 + ["neg"] * 60}).sample(frac=1, random_state=0)
LSTM = ("series", "text", "sentences")
TASKS = ("regression", "language", "classification", "forecast")
SPLIT = REVIEWS.assign(title=[t.split(" is ")[0] for t in REVIEWS.text], body=[t.split(" is ")[1] for t in REVIEWS.text])
RENAMED = REVIEWS.set_axis(["review", "stars"], axis=1)
BROKEN = REVIEWS.assign(text=REVIEWS.text.str.replace(" is ", "\nis "))
TABLES: list[tuple[str, str, Callable[[Path], Any], dict[str, Any]]] = [
    # what, name, write, options
    ("CSV", "r.csv", lambda p: REVIEWS.to_csv(p, index=False), {"target": "label"}),
    ("no target", "r.csv", lambda p: REVIEWS.to_csv(p, index=False), {}),
    ("TSV", "r.tsv", lambda p: REVIEWS.to_csv(p, index=False, sep="\t"), {"target": "label"}),
    ("quoted TSV", "r.tsv", lambda p: REVIEWS.to_csv(p, index=False, sep="\t", quoting=1), {}),
    ("lines", "r.tsv", lambda p: REVIEWS.to_csv(p, index=False, header=False, sep="\t"), {}),
    ("lines in .txt", "r.txt", lambda p: REVIEWS.to_csv(p, index=False, header=False, sep="\t"), {}),
    ("Parquet", "r.parquet", lambda p: REVIEWS.to_parquet(p), {"target": "label"}),
    ("JSON lines", "r.txt", lambda p: REVIEWS.to_json(p, orient="records", lines=True), {"target": "label"}),
    ("CSV by gzip", "r.csv.gz", lambda p: REVIEWS.to_csv(p, index=False), {"target": "label"}),
    ("label first, semicolons", "r.csv", lambda p: REVIEWS[["label", "text"]].to_csv(p, index=False, sep=";"), {}),
    ("other names", "r.csv", lambda p: RENAMED.to_csv(p, index=False), {"target": "stars"}),
    ("more columns", "r.csv", lambda p: REVIEWS.assign(id=range(120), day="2024-01-01").to_csv(p, index=False), {}),
    ("times in order", "r.csv", lambda p: REVIEWS.assign(day=pd.date_range("2024", periods=120)).to_csv(p, index=False),
     {"target": "label"}),
    ("title and body", "r.csv", lambda p: SPLIT[["title", "body", "label"]].to_csv(p, index=False),
     {"types": {"title": "text", "body": "text"}}),
    ("newlines in texts", "r.csv", lambda p: BROKEN.to_csv(p, index=False), {}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "write", "options"), [t[1:] for t in TABLES], ids=[t[0] for t in TABLES])
def test_texts_with_classes_are_read_from_every_table(
    tmp_path: Path, name: str, write: Callable[[Path], Any], options: dict[str, Any]
) -> None:
    path = tmp_path / name
    write(path)
    found = load(path, LSTM, tasks=TASKS, **options)
    assert (found.kind, found.task, found.classes, found.name) == ("sentences", "classification", ("neg", "pos"), "r")
    assert [len(part) for part in (found.train, found.validation, found.test)] == [96, 12, 12]
    saved = preprocessing_from_json(json.loads(json.dumps(found.preprocessing.to_json())))
    new, (examples, _) = load_inputs(path, saved), load_examples(path, saved)
    assert new.rows == tuple(str(n + 1) for n in range(120))
    np.testing.assert_array_equal(examples.all()[-1], (REVIEWS.label == "pos").astype(int))
    good = saved.vocabulary.index("good")  # type: ignore[attr-defined]
    np.testing.assert_array_equal((new.arrays[0] == good).any(axis=1), REVIEWS.label == "pos")


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_texts_with_classes_are_read_from_frames(library: str) -> None:
    frame = REVIEWS if library == "pandas" else pl.from_pandas(REVIEWS)
    found = from_frame(frame, "label", accepts=LSTM, tasks=TASKS)
    assert (found.kind, found.classes) == ("sentences", ("neg", "pos"))
    assert load_inputs(frame, found.preprocessing).shown["text"] == tuple(REVIEWS.text)
    assert load_inputs(list(REVIEWS.text), found.preprocessing).arrays[0].shape[0] == 120


def test_rows_without_a_text_or_a_class_are_left_out_of_training_alone(tmp_path: Path) -> None:
    frame = REVIEWS.reset_index(drop=True)
    frame.loc[3, "text"], frame.loc[5, "label"] = None, None
    frame.to_csv(tmp_path / "r.csv", index=False)
    found = load(tmp_path / "r.csv", LSTM, tasks=TASKS, target="label")
    assert sum(len(part) for part in (found.train, found.validation, found.test)) == 118
    assert any("2 rows without a text or a value" in notice for notice in found.notices)
    assert load_inputs(tmp_path / "r.csv", found.preprocessing).rows[-1] == "120"


AGES = [7 * k % 31 for k in range(60)]
TITANIC = pd.DataFrame({"name": [f"Smith, Mr. Owen {k}" for k in range(60)], "age": AGES, "survived": [0, 1] * 30})
NEAREST = [
    ("a table of numbers for texts", LSTM, TABLE, {"target": "y"}, "needs a column of times"),
    ("texts without classes", LSTM, SPLIT.assign(more="x")[["text", "more", "title"]], {}, "need a target"),
    ("texts with numbers", LSTM, REVIEWS.assign(label=np.linspace(0, 1, 120)), {"target": "label"}, "target of sentences is a"),
    ("an absent target", LSTM, REVIEWS, {"target": "labell"}, "Did you mean 'label'"),
    ("texts for a table", ("image", "table"), REVIEWS, {"target": "label"}, "labeled sentences reads them: nnatomy train lstm"),
    ("texts kept in a table", ("table",), SPLIT, {"target": "label", "keep": ("text",)}, "labeled sentences reads them"),
    ("text and class swapped", LSTM, REVIEWS, {"target": "text"}, "target of sentences is a class"),
    ("no header", LSTM, REVIEWS.set_axis([GOOD[0], "pos"], axis=1), {}, "first line has the class 'pos'"),
    ("one class", LSTM, REVIEWS.assign(label="pos"), {"target": "label"}, "two or more classes"),
]


@pytest.mark.parametrize(("accepts", "frame", "options", "said"), [n[1:] for n in NEAREST], ids=[n[0] for n in NEAREST])
def test_the_nearest_reader_writes_the_refusal(
    tmp_path: Path, accepts: tuple[str, ...], frame: pd.DataFrame, options: dict[str, Any], said: str
) -> None:
    frame.to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(UserError, match=said):
        load(tmp_path / "t.csv", accepts, tasks=TASKS, **options)


def test_a_table_with_names_stays_a_table(tmp_path: Path) -> None:
    TITANIC.to_csv(tmp_path / "t.csv", index=False)
    assert load(tmp_path / "t.csv", target="survived").kind == "table"
    assert load(tmp_path / "t.csv", ("image", "table"), target="survived").kind == "table"


def test_real_reviews_in_a_csv_are_those_of_the_pair_of_files(real_data: Path, tmp_path: Path) -> None:
    files = {label: real_data / f"text/rt-polarity.{label[:3]}.txt" for label in ("negative", "positive")}
    rows = [(line, label) for label, path in files.items() for line in path.read_text(encoding="utf-8").split("\n") if line]
    pd.DataFrame(rows, columns=["text", "label"]).to_csv(tmp_path / "reviews.csv", index=False)
    pair, table = load(files["positive"], LSTM), load(tmp_path / "reviews.csv", LSTM, tasks=TASKS, target="label")
    assert table.preprocessing.vocabulary == pair.preprocessing.vocabulary  # type: ignore[attr-defined]
    for part in ("train", "validation", "test"):
        for a, b in zip(getattr(table, part).all(), getattr(pair, part).all(), strict=True):
            np.testing.assert_array_equal(a, b)


def test_rows_of_one_group_stay_together(tmp_path: Path) -> None:
    REVIEWS.assign(author=np.arange(120) // 6).to_csv(tmp_path / "r.csv", index=False)
    found = load(tmp_path / "r.csv", LSTM, tasks=TASKS, target="label", groups="author")
    sizes = [len(part) for part in (found.train, found.validation, found.test)]
    assert sum(sizes) == 120
    assert all(size % 6 == 0 for size in sizes)


def test_names_next_to_a_class_are_texts_and_categories_of_several_words_are_none(tmp_path: Path) -> None:
    names = pd.DataFrame(
        {"name": [f"{a}{b}" for a in "KLMNP" for b in ("imura", "orsa", "ovak", "ito")], "y": ["jp", "xx"] * 10}
    )
    names.to_csv(tmp_path / "n.csv", index=False)
    assert load(tmp_path / "n.csv", LSTM, tasks=TASKS, target="y", fold=nn.data.Fold(0, 2)).kind == "sentences"
    again = pd.DataFrame({"text": ["good film", "bad film"] * 15, "label": ["yes", "no"] * 15})
    again.to_csv(tmp_path / "a.csv", index=False)
    assert load(tmp_path / "a.csv", LSTM, tasks=TASKS, target="label").kind == "sentences"
    jobs = pd.DataFrame({"job": [f"maker of part {k % 150}" for k in range(1200)], "a": A.tolist() * 10, "y": [*Y] * 10})
    jobs.to_csv(tmp_path / "t.csv", index=False)
    columns = {column.name: column.role for column in load(tmp_path / "t.csv", ("table",), target="y").columns}
    assert columns["job"] == "input"


def test_names_of_columns_are_found_however_they_were_typed(tmp_path: Path) -> None:
    TABLE.rename(columns={"y": "été"}).to_csv(tmp_path / "t.csv", index=False)
    found = load(tmp_path / "t.csv", ("table",), target="e\u0301te\u0301", types={"a": "numeric"})
    assert found.preprocessing.to_json()["target"] == "été"


def test_anomalies_are_searched_in_a_frame() -> None:
    index = pd.date_range("2024-01-01", periods=400, freq="h")
    frame = pd.DataFrame({"x": np.sin(np.arange(400) / 5)}, index=index)
    found = from_frame(frame, accepts=("image", "table", "series"), tasks=("anomaly",), window=12)
    assert (found.kind, found.task) == ("series", "anomaly")


NUMBERS = ["one", "two", "three", "four", "five", "six"]
GERMAN = dict(zip(NUMBERS, ["eins", "zwei", "drei", "vier", "fünf", "sechs"], strict=True))
SOURCES = [f"{a} , {b} {c} ." for a in NUMBERS for b in NUMBERS for c in NUMBERS[:2]]
PAIRS = pd.DataFrame({"en": SOURCES, "de": [" ".join(GERMAN.get(w, w) for w in text.split()) for text in SOURCES]})


@pytest.mark.parametrize("name", ["p.csv", "p.parquet", "p.jsonl", "p.tsv", "frame"])
def test_pairs_of_texts_are_read_from_every_table(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if name == "frame":
        found = from_frame(PAIRS, "en", accepts=("pairs",), tasks=("translation",))
    else:
        {"csv": lambda: PAIRS.to_csv(path, index=False), "tsv": lambda: PAIRS.to_csv(path, index=False, sep="\t"),
         "parquet": lambda: PAIRS.to_parquet(path), "jsonl": lambda: PAIRS.to_json(path, orient="records", lines=True)}[
            path.suffix[1:]]()  # fmt: skip
        found = load(path, ("pairs",), tasks=("translation",), target="en")
    fitted = found.preprocessing
    assert sum(len(part) for part in (found.train, found.validation, found.test)) == len(PAIRS)
    assert "fünf" in fitted.source.tokens  # type: ignore[attr-defined]
    assert "five" in fitted.target.tokens  # type: ignore[attr-defined]
    given = PAIRS if name == "frame" else path
    if name != "p.tsv":  # new lines with a tab have no header
        assert load_inputs(given, fitted).shown["source"] == tuple(PAIRS.de)
        assert load_examples(given, fitted)[0].references == tuple(PAIRS.en)  # type: ignore[attr-defined]


# Unicode

NFD = "cafe\u0301"
WORDS = [
    ("decomposed accents", f"un {NFD}", ["un", "café"]),
    ("Devanagari", "हिन्दी भाषा", ["हिन्दी", "भाषा"]),
    ("Chinese", "你好,世界", ["你", "好", ",", "世", "界"]),
    ("Japanese", "カタカナひら", ["カタカナ", "ひ", "ら"]),
    ("families and flags", "👨‍👩‍👧 👍🏽🇩🇪", ["👨‍👩‍👧", "👍🏽", "🇩🇪"]),
    ("apostrophes", "don’t it's", ["don’t", "it's"]),
    ("hyphens", "well-made - film", ["well-made", "-", "film"]),
    ("a soft hyphen", "co\u00adoperate", ["cooperate"]),
    ("a zero-width joiner", "می‌خواهم", ["می‌خواهم"]),
    ("capitals", "ÉTÉ", ["été"]),
]


@pytest.mark.parametrize(("text", "expected"), [w[1:] for w in WORDS], ids=[w[0] for w in WORDS])
def test_words_are_those_of_unicode(text: str, expected: list[str]) -> None:
    fitted = WordPreprocessing.fit([" ".join(expected)] * 2, ("a", "b"))
    assert fitted.split(text) == expected
    tokens, _ = fitted.transform([text])
    assert tokens.min() > 1  # none is unknown, in whatever form it was typed
    assert 3 not in Vocabulary.fit([f"{text} ."]).encode([unicodedata.normalize("NFD", text)])[0]


def test_prompts_take_the_normal_form_of_training(tmp_path: Path) -> None:
    (tmp_path / "nfc.txt").write_text("un café crème, s'il vous plaît\r\n" * 200, encoding="utf-8")
    fitted = load(tmp_path / "nfc.txt", ("text",), window=8).preprocessing
    saved = preprocessing_from_json(json.loads(json.dumps(fitted.to_json())))
    right = saved.transform("café\n")[0]
    (tmp_path / "nfd.txt").write_bytes("cafe\u0301\r\n".encode())
    (served,), notices = PromptReader(saved).from_other("text/plain", "cafe\u0301\r\n".encode())  # type: ignore[arg-type]
    assert not notices
    for found in (load_inputs(tmp_path / "nfd.txt", saved).arrays[0], saved.transform(NFD + "\r\n")[0], served):
        np.testing.assert_array_equal(found, right)
    assert right.min() > 0
    older = preprocessing_from_json({**fitted.to_json(), "form": ""})
    assert older.transform(NFD)[0].min() == 0  # a run without a form is used as it was trained


ODD = "one\u2028two\u0085three\ffour\vfive\x1csix is good"
LINES = [
    ("a plain text", "new.txt", f"{ODD}\n\nbad\n"),
    ("Windows", "new.txt", f"{ODD}\r\n\r\nbad\r\n"),
    ("no last newline", "new.txt", f"{ODD}\n\nbad"),
    ("labeled", "new.tsv", f"{ODD}\tpos\n\nthe film is bad\tneg"),
]


@pytest.mark.parametrize(("name", "text"), [n[1:] for n in LINES], ids=[n[0] for n in LINES])
def test_lines_end_at_newlines_and_blank_ones_count(tmp_path: Path, name: str, text: str) -> None:
    fitted = WordPreprocessing.fit([*GOOD, *BAD], ("neg", "pos"))
    (tmp_path / name).write_bytes(text.encode())
    found = load_inputs(tmp_path / name, fitted)
    assert found.rows == ("1", "2", "3")
    assert found.shown["text"][:2] == (ODD, "")
    assert any("Empty texts" in notice for notice in found.notices)
    served, _ = SentenceReader(fitted).from_other("text/plain", "\n".join(found.shown["text"]).encode())
    for a, b in zip(served, found.arrays, strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_pair_of_files_ends_lines_at_newlines(tmp_path: Path) -> None:
    (tmp_path / "r.pos.txt").write_text("\n".join(GOOD) + f"\n{ODD}\n", encoding="utf-8")
    (tmp_path / "r.neg.txt").write_text("\n".join(BAD), encoding="utf-8")
    found = load(tmp_path / "r.pos.txt", LSTM, tasks=TASKS)
    assert sum(len(part) for part in (found.train, found.validation, found.test)) == 121


def test_categories_and_columns_take_the_normal_form(tmp_path: Path) -> None:
    rows = "".join(f"{'café' if k % 2 else 'thé'},{k},{'oui' if k % 2 else 'non'}\n" for k in range(60))
    (tmp_path / "t.csv").write_text("thème,n,y\n" + rows, encoding="utf-8")
    found = load(tmp_path / "t.csv", ("table",), target="y", keep=("thème",))
    (tmp_path / "nfd.csv").write_text(unicodedata.normalize("NFD", "thème,n,y\n" + rows), encoding="utf-8")
    for a, b in zip(load_inputs(tmp_path / "nfd.csv", found.preprocessing).arrays,
                    load_inputs(tmp_path / "t.csv", found.preprocessing).arrays, strict=True):  # fmt: skip
        np.testing.assert_array_equal(a, b)


def test_requests_hold_rows_of_the_training_table(tmp_path: Path) -> None:
    found = from_frame(REVIEWS, "label", accepts=LSTM, tasks=TASKS).preprocessing
    assert isinstance(found, WordPreprocessing)
    right = found.transform(["her film is good", "bad"])
    reader = SentenceReader(found)
    body = b"text,label\nher film is good,pos\nbad,\n"
    rows = {"rows": [{"text": "her film is good"}, {"text": "bad", "label": "neg"}]}
    for arrays, _ in (reader.read("text/csv", body), reader.read("application/json", json.dumps(rows).encode()),
                      reader.read("text/plain", b"her film is good\nbad")):  # fmt: skip
        for a, b in zip(arrays, right, strict=True):
            np.testing.assert_array_equal(a, b)


def test_reviews_in_a_csv_go_through_every_command(tmp_path: Path) -> None:
    REVIEWS.to_csv(tmp_path / "reviews.csv", index=False)
    run = tmp_path / "run"
    result = nn.train("lstm", tmp_path / "reviews.csv", target="label", epochs=8, lr=0.02, out=run, report=False)
    assert result.metrics["accuracy"] > 0.9
    assert nn.evaluate(run, tmp_path / "reviews.csv").metrics["accuracy"] > 0.9
    predicted = nn.predict(run, tmp_path / "reviews.csv").columns
    assert list(predicted)[:3] == ["row", "text", "prediction"]
    assert np.mean(predicted["prediction"] == REVIEWS.label.to_numpy()) > 0.9
    nn.export(run, "onnx", tmp_path / "model.onnx")
    for given in (tmp_path / "reviews.csv", REVIEWS):
        exported = nn.predict(tmp_path / "model.onnx", given).columns
        np.testing.assert_array_equal(exported["prediction"], predicted["prediction"])


def test_folders_of_other_files_are_not_images(tmp_path: Path) -> None:
    """A folder of texts by class is not called a folder of images to who asks for texts."""
    for name in ("pos", "neg"):
        (tmp_path / "films" / name).mkdir(parents=True)
        (tmp_path / "films" / name / "1.txt").write_text("a good film")
    with pytest.raises(UserError, match=r"^A folder of data holds .*which holds none of these\. Name a file in it\.$"):
        load(tmp_path / "films", ("sentences", "text"))
    with pytest.raises(UserError, match="one sub-folder of pictures for each class"):
        load(tmp_path / "films", ("image",))


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_a_line_that_the_sample_cuts_takes_no_part(end: str) -> None:
    """The sample ends within a row of a wide table, whatever ends the lines."""
    rows = [",".join(f"c{n}" for n in range(600)), *[",".join(["0.123"] * 600)] * 60]
    assert reads_as_table(end.join(rows) + end)
