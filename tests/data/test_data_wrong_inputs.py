"""Everything that a user can get wrong gives one clear sentence, never a traceback of another kind."""

from __future__ import annotations

import gzip
import json
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_files import anomalous, hours, mnist_folder, picture_folder, series_text, table_text

from nnatomy.data import load, load_inputs, preprocessing_from_json
from nnatomy.errors import UserError, nearest_name, unknown_name

N = 60
HALF = ["yes" if k % 2 else "no" for k in range(N)]
Write = Callable[..., Path]
RNG = np.random.default_rng(0)
NUMBERS = [f"{v:.4f}" for v in RNG.normal(size=N)]
GOOD = table_text(N, y=HALF)
Y: dict[str, Any] = {"target": "y"}
ANOMALY: dict[str, Any] = {"tasks": ("anomaly",), "window": 20}
DISORDERED = "\n".join(["time,x", *(f"{t},{k}" for k, t in enumerate(np.random.default_rng(0).permutation(hours(99))))])
WORDS = "time,x\n" + "".join(f"{t},a{k % 3}\n" for k, t in enumerate(hours(99)))
TWO_LABELS = b"\0\0\x08\1" + struct.pack(">I", 2) + b"ab"


def cells(text: str, *changes: tuple[str, str]) -> str:
    for old, new in changes:
        assert old in text
        text = text.replace(old, new, 1)
    return text


WRONG_FILES: list[tuple[str, str, str | bytes, dict[str, Any], str]] = [
    # what, file name, content, options, part of the sentence
    ("an empty CSV", "t.csv", "", Y, "is empty"),
    ("blank lines only", "t.csv", "\n \n", Y, "is empty"),
    ("a header only", "t.csv", "a,b,y\n", Y, "has no rows"),
    ("one column", "t.csv", "y\n1\n2\n3\n", Y, "has only 'y'"),
    ("unequal rows", "t.csv", "a,y\n1,2\n1,2,3\n", Y, "line 3 has 3"),
    ("no header", "t.csv", "1.5,2\n3,4\n5,6\n", Y, "names the columns"),
    ("a repeated name", "t.csv", "a,a,y\n1,2,3\n", Y, "'a' more than once"),
    ("Latin-1", "t.csv", "a,y\ncafé,1\n".encode("latin-1"), Y, "must be UTF-8"),
    ("UTF-16 without its mark", "t.csv", "a,y\n1,2\n".encode("utf-16-le"), Y, "NUL"),
    ("a binary file", "t.csv", b"\x89PNG\0\0\0\1", Y, r"\(picture\)"),
    ("an open quote", "t.csv", 'a,y\n"1,2\n3,4\n', Y, "line 2 has one that is not"),
    ("no target named", "t.csv", GOOD, {}, "with a, b, color, y. Name the column to predict with --target"),
    ("an absent target, near", "t.csv", GOOD, {"target": "colr"}, "Did you mean 'color'"),
    (
        "an absent target, far",
        "t.csv",
        GOOD,
        {"target": "price"},
        "No column has this name. Received 'price'. Choose one of: a, b, color, y",
    ),
    ("an empty target", "t.csv", table_text(N, y=[""] * N), Y, "A target needs values. Received 'y' without any"),
    ("one class", "t.csv", table_text(N, y=["yes"] * N), Y, "'y', which is 'yes' in every row"),
    ("a class of one row", "t.csv", table_text(N, y=["maybe", *HALF[1:]]), Y, "Received 1 of class 'maybe'"),
    ("a class of two rows", "t.csv", table_text(N, y=["maybe"] * 2 + HALF[2:]), Y, "Received 2 of class 'maybe'"),
    ("a target of free text", "t.csv", table_text(N, y=[f"name {k}" for k in range(N)]), Y, "'y', which holds free text"),
    (
        "a target of dates",
        "t.csv",
        table_text(N, y=[f"2024-01-{1 + k % 28:02d}" for k in range(N)]),
        Y,
        "'y', which holds dates",
    ),
    ("no input of use", "t.csv", "a,y\n" + "".join(f"7,{h}\n" for h in HALF), Y, "needs an input column. Received none"),
    ("an all-NaN input alone", "t.csv", "a,y\n" + "".join(f"nan,{h}\n" for h in HALF), Y, "an input column. Received none"),
    ("only a giveaway", "t.csv", "a,y\n" + "".join(f"{h}!,{h}\n" for h in HALF), Y, "keep one with --keep a"),
    ("too few rows", "t.csv", "a,y\n1,x\n2,z\n", Y, "at least 5 rows"),
    (
        "an unknown type",
        "t.csv",
        GOOD,
        {**Y, "types": {"a": "number"}},
        "No column type has this name. Received 'number'. Did you mean 'numeric'",
    ),
    ("a type for no column", "t.csv", GOOD, {**Y, "types": {"aa": "numeric"}}, "No column has this name. Received 'aa'"),
    ("words as numbers", "t.csv", GOOD, {**Y, "types": {"color": "numeric"}}, "'color' cannot be numeric"),
    ("numbers as dates", "t.csv", GOOD, {**Y, "types": {"color": "date"}}, "'color' must hold times"),
    ("numbers as truth", "t.csv", GOOD, {**Y, "types": {"a": "boolean"}}, "'a', which has others"),
    ("keeping no column", "t.csv", GOOD, {**Y, "keep": ("zzz",)}, "No column has this name. Received 'zzz'"),
    (
        "a task that the architecture lacks",
        "t.csv",
        table_text(N, y=NUMBERS),
        {**Y, "tasks": ("classification",)},
        "for regression by its",
    ),
    (
        "a kind that the architecture lacks",
        "t.csv",
        GOOD,
        {**Y, "accepts": ("image", "text")},
        "takes images or plain text. .* holds tables",
    ),
    ("labels for a table", "t.csv", GOOD, {**Y, "labels": "x.json"}, "--labels does not apply"),
    ("a workbook", "t.xlsx", b"PK\3\4", Y, r"\(ZIP archive\). Save it as one"),
    ("one picture", "t.png", b"\x89PNG", {}, "is one picture. Name the folder"),
    ("one idx file", "train-images-idx3-ubyte", b"", {}, "four at a time. Received train-images-idx3-ubyte alone"),
    ("a limit of nothing", "t.csv", GOOD, {**Y, "limit": 0}, "limit is at least 1"),
    ("a short text", "t.txt", "to be or not to be", {}, "characters and windows of 128 need"),
    ("an empty text", "t.txt", "", {}, "has 0 characters"),
    ("a text that is not UTF-8", "t.txt", b"\xff" * 9000, {}, "must be UTF-8"),
    ("a target for a text", "t.txt", "abc " * 9000, Y, "--target does not apply"),
    ("a sentence without label", "t.tsv", "a good film\t1\n\t0\n", {"accepts": ("sentences",)}, "line 2 of"),
    ("sentences of one class", "t.tsv", "a good film\t1\n" * 9, {"accepts": ("sentences",)}, "needs two or more classes"),
    ("sentences without labels", "t.tsv", "a good film\n" * 9, {"accepts": ("sentences",)}, "column of texts"),
    ("a series too short", "s.csv", series_text(50), {"target": "x"}, "has 50 rows. Give a longer series"),
    ("a series in no order", "s.csv", DISORDERED, {"accepts": ("series",)}, "goes back in time. Sort the file by 'time'"),
    ("a wrong time", "s.csv", cells(series_text(), (hours(400)[7], "soon")), {"accepts": ("series",)}, "'soon' in row 9"),
    ("a missing time", "s.csv", cells(series_text(), (hours(400)[7], "")), {"accepts": ("series",)}, "'' in row 9"),
    ("a series without times", "s.csv", GOOD, {"accepts": ("series",)}, "needs a column of times"),
    ("a series without numbers", "s.csv", WORDS, {}, "needs a column of numbers"),
    ("a series with an absent target", "s.csv", series_text(), {"target": "xx"}, "Did you mean 'x'|no column of numbers"),
    ("a constant series", "s.csv", "time,x\n" + "".join(f"{t},5\n" for t in hours(400)), {}, "needs a column of numbers"),
    ("a window beyond the series", "s.csv", series_text(), {"window": 390}, "smaller window or horizon"),
    ("a window of nothing", "s.csv", series_text(), {"window": 0}, "window is at least 1"),
    ("too few rows for anomalies", "s.csv", series_text(70), {"tasks": ("anomaly",)}, "at least 10 windows"),
]


@pytest.mark.parametrize(
    ("name", "content", "options", "sentence"), [w[1:] for w in WRONG_FILES], ids=[w[0] for w in WRONG_FILES]
)
def test_a_wrong_file_gives_one_sentence(
    write: Write, name: str, content: str | bytes, options: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(UserError, match=sentence) as caught:
        load(write(name, content), **options)
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 400


WRONG_PATHS: list[tuple[str, Callable[[Path], Path | str], dict[str, Any], str]] = [
    ("a missing file", lambda p: p / "no.csv", {}, "file or folder must exist"),
    ("a missing file, near", lambda p: _near(p), {}, r"Did you mean .*titanic\.csv"),
    ("an unknown name, near", lambda p: "digit", {}, "Did you mean 'digits'"),
    (
        "an unknown name, far",
        lambda p: "qqqqqq",
        {},
        "No data set or file has this name. Received 'qqqqqq'. Choose one of: ",
    ),
    ("an empty folder", lambda p: p, {}, "which is empty. Put pictures"),
    ("a folder of other files", lambda p: _near(p).parent, {}, "holds none of these"),
    ("a folder without pictures", lambda p: _made(p / "p" / "c" / "a.txt").parent.parent, {}, "without them"),
    ("pictures of one class", lambda p: _one_class(p), {}, "has only 'dark'"),
    ("a broken picture", lambda p: _broken_picture(p), {}, "picture must be readable"),
    ("too few pictures", lambda p: picture_folder(p / "p", [(4, 4)], n=2), {}, "at least 5 rows"),
    ("a size of nothing", lambda p: picture_folder(p / "p", [(4, 4)]), {"resize": (0, 4)}, "at least 1. Received 0 x 4"),
    (
        "images for an architecture of tables",
        lambda p: mnist_folder(p / "m"),
        {"accepts": ("table",)},
        "takes tables. .* holds images",
    ),
    (
        "digits for an architecture of tables",
        lambda p: "digits",
        {"accepts": ("table",)},
        "takes tables. Received digits, which holds images",
    ),
    (
        "iris for an architecture of series",
        lambda p: "iris",
        {"accepts": ("series",)},
        "takes time series. Received iris, which holds tables",
    ),
    ("a target for iris", lambda p: "iris", {"target": "class"}, "--target does not apply to tables"),
    ("an idx folder lacking a file", lambda p: _idx(p, "t10k-labels", None), {}, "lacks t10k-labels-idx1-ubyte"),
    ("idx cut short", lambda p: _idx(p, "train-images", lambda raw: raw[:-5]), {}, "header says.*follow"),
    ("idx too long", lambda p: _idx(p, "train-images", lambda raw: raw + b"1"), {}, "and more follow"),
    ("idx cut in its header", lambda p: _idx(p, "train-images", lambda raw: raw[:9]), {}, "ends inside it"),
    ("idx of nothing", lambda p: _idx(p, "train-images", lambda raw: b""), {}, "starts with two zero bytes"),
    ("idx that is text", lambda p: _idx(p, "train-images", lambda raw: b"hello world"), {}, "starts with two zero bytes"),
    ("idx of floats", lambda p: _idx(p, "train-images", lambda raw: b"\0\0\x0d" + raw[3:]), {}, "type 0xd"),
    ("idx of huge promise", lambda p: _idx(p, "train-images", lambda raw: _promise(raw)), {}, "header says.*follow"),
    ("idx gzip cut short", lambda p: _idx(p, "train-images", lambda raw: gzip.compress(raw)[:-30]), {}, "gzip file must"),
    ("idx gzip garbled", lambda p: _idx(p, "train-images", lambda raw: b"\x1f\x8b" + raw), {}, "gzip file must be whole"),
    ("labels for images", lambda p: _idx(p, "train-images", lambda raw: TWO_LABELS), {}, "form have 3 axes"),
    ("fewer labels than images", lambda p: _idx(p, "train-labels", lambda raw: TWO_LABELS), {}, "2 labels"),
]


def _made(path: Path, content: bytes = b"") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def _near(folder: Path) -> Path:
    _made(folder / "f" / "titanic.csv")
    _made(folder / "f" / "notes.md")
    return folder / "f" / "titanik.csv"


def _one_class(folder: Path) -> Path:
    picture_folder(folder / "p", [(4, 4)])
    shutil.rmtree(folder / "p" / "light")
    return folder / "p"


def _broken_picture(folder: Path) -> Path:
    path = picture_folder(folder / "p", [(4, 4)]) / "dark" / "0.png"
    path.write_bytes(path.read_bytes()[:20])
    return folder / "p"


def _idx(folder: Path, part: str, change: Callable[[bytes], bytes] | None) -> Path:
    path = next(mnist_folder(folder / "m").glob(f"{part}*"))
    if change is None:
        path.unlink()
    else:
        path.write_bytes(change(path.read_bytes()))
    return folder / "m"


def _promise(raw: bytes) -> bytes:
    return raw[:4] + struct.pack(">III", 2**32 - 1, 2**32 - 1, 2**32 - 1) + raw[16:]


@pytest.mark.parametrize(("make", "options", "sentence"), [w[1:] for w in WRONG_PATHS], ids=[w[0] for w in WRONG_PATHS])
def test_a_wrong_path_gives_one_sentence(
    tmp_path: Path, make: Callable[[Path], Path | str], options: dict[str, Any], sentence: str
) -> None:
    source = make(tmp_path)
    with pytest.raises(UserError, match=sentence) as caught:
        load(source, **options)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 700


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("{", "must be JSON"),
        (json.dumps({"other.csv": []}), "has none for s.csv"),
        (json.dumps({"s.csv": [["soon", "later"]]}), "pairs of times"),
        (json.dumps([[1, 2]]), "pairs of times"),
        (json.dumps(5), "pairs of times"),
    ],
)
def test_wrong_labels_give_one_sentence(write: Write, content: str, sentence: str) -> None:
    path = anomalous(write, labels=False)
    with pytest.raises(UserError, match=sentence):
        load(path, **ANOMALY, labels=write("l.json", content))


def test_a_json_of_another_matter_beside_a_series_is_passed_over(write: Write) -> None:
    write("settings.json", "{")
    write("other.json", "[1, 2]")
    assert load(anomalous(write), **ANOMALY).test.all()[1].any()


def test_a_public_set_that_is_absent_says_which_file_to_put_where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NNATOMY_DATA", str(tmp_path))
    for name, place in (("mnist", "mnist/train-images-idx3-ubyte.gz"), ("titanic", "tabular/titanic.csv")):
        with pytest.raises(UserError, match=str(tmp_path / place)):
            load(name, offline=True)


@pytest.mark.parametrize("saved", [{}, {"kind": "tables"}, {"kind": "table"}, {"kind": "image", "size": [1]}])
def test_damaged_preprocessing_gives_one_sentence(saved: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="The preprocessing: "):
        preprocessing_from_json(saved)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [(None, "file or folder must exist"), ("", "is empty"), ("a,b\n1,2\n", "'color'. .* no such column")],
)
def test_wrong_new_rows_give_one_sentence(write: Write, tmp_path: Path, content: str | None, sentence: str) -> None:
    found = load(write("t.csv", GOOD), target="y")
    path = tmp_path / "absent.csv" if content is None else write("new.csv", content)
    with pytest.raises(UserError, match=sentence):
        load_inputs(path, found.preprocessing)


@pytest.mark.parametrize(
    ("received", "near"), [("digit", "digits"), ("Breast-Cancer", "breast_cancer"), ("IRIS", "iris"), ("zzz", None)]
)
def test_near_names(received: str, near: str | None) -> None:
    assert nearest_name(received, ["digits", "breast_cancer", "iris"]) == near


def test_unknown_names_list_what_there_is() -> None:
    assert (
        str(unknown_name("architecture", "zzz", ["lstm", "mlp"]))
        == "No architecture has this name. Received 'zzz'. Choose one of: lstm, mlp."
    )
    assert (
        str(unknown_name("architecture", "zzz", []))
        == "No architecture has this name. Received 'zzz'. Choose one of: none is known."
    )
