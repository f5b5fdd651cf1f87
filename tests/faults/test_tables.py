"""Tables as users have them: what training learned about reading a table is saved, used again, and never guessed again."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import nnatomy as nn
from nnatomy.data import from_arrays, from_frame, load, load_examples, load_inputs, preprocessing_from_json
from nnatomy.data.cells import infer_type
from nnatomy.data.csvfile import parse_csv, read_csv
from nnatomy.data.kinds.graph.graphs import Columns
from nnatomy.data.scaling import deviation, scale
from nnatomy.data.times import times_after
from nnatomy.errors import UserError

Array = np.ndarray[Any, Any]
Write = Callable[[str, str | bytes], Path]
N = 60


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def make(name: str, content: str | bytes) -> Path:
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return make


def csv_of(delimiter: str = ",", **columns: list[Any]) -> str:
    rows = zip(*columns.values(), strict=True)
    return "\n".join([delimiter.join(columns), *(delimiter.join(map(str, row)) for row in rows)]) + "\n"


NOISE = [round(float(v), 3) for v in np.random.default_rng(0).normal(size=N)]
HALF = ["yes" if v > 0 else "no" for v in NOISE]


# Spread: the computed deviation of equal numbers is rounding noise.


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("ones", np.ones(65)), ("tenths", np.full(65, 0.1)), ("thirds", np.full(7, 1 / 3)), ("large", np.full(1000, 1e9 + 0.1)),
        ("small", np.full(99, 1e-20 / 3)), ("with gaps", np.where(np.arange(99) % 7, 0.1, np.nan)),
        ("random", np.random.default_rng(0).normal(size=50)), ("far from zero", 1e6 + np.arange(50) * 1e-3),
        ("tiny", np.arange(50) * 1e-12),
    ],
)  # fmt: skip
def test_equal_numbers_have_no_spread(name: str, values: Array) -> None:
    from sklearn.preprocessing import StandardScaler

    assert float(scale(values)) == pytest.approx(StandardScaler().fit(values[:, None]).scale_[0], rel=1e-9)
    assert (float(deviation(values)) == 0) == (np.nanmin(values) == np.nanmax(values))


def test_a_column_that_training_rows_do_not_vary_is_divided_by_one(write: Write) -> None:
    """One row differs. Where it is held out, it arrives as 0.1 more, not as 7e15."""
    path = write("t.csv", csv_of(a=NOISE, flat=["0.1"] * 3 + ["0.2"] + ["0.1"] * (N - 4), y=HALF))
    for seed in range(200):
        found = load(path, ("table",), target="y", seed=seed)
        if np.ptp(found.train.all()[0][:, 1]) == 0:
            break
    everything = np.concatenate([part.all()[0] for part in (found.train, found.validation, found.test)])
    np.testing.assert_allclose(np.unique(everything[:, 1].round(6)), [0.0, 0.1], atol=1e-6)
    x = np.stack([np.array(NOISE), np.full(N, 0.1)], axis=1)
    for shaped in (x, x[:, None, :], x[:, :, None, None]):
        assert np.abs(from_arrays(shaped, np.array(HALF)).train.all()[0]).max() < 9
    assert Columns.fit({"x": ["0.1"] * 65}, np.arange(65))[0].deviations == (1.0,)


def test_a_series_that_is_the_same_in_training_is_no_series_to_forecast(write: Write) -> None:
    days = np.arange("2023-01-01", "2023-07-20", dtype="datetime64[D]")
    cells = [0.1] * 150 + [0.2] * (len(days) - 150)
    with pytest.raises(UserError, match="the same in every training row"):
        load(write("s.csv", csv_of(day=list(days), x=cells)), ("series",), window=9, horizon=3)


# CSV: nothing is repaired silently.

ROWS = [f"{k},b,c" for k in range(N)]


def changed(*changes: tuple[int, str]) -> str:
    rows = dict(enumerate(ROWS)) | dict(changes)
    return "\n".join(["x,y,z", *rows.values()])


@pytest.mark.parametrize(
    ("name", "text", "line"),
    [
        ("never closed", changed((30, '30,b,"ok')), 32),
        ("closed by a later quote", changed((30, '30,b,"ok'), (40, '40,"b",c')), 32),
        ("closed by a later stray quote", changed((30, '30,b,"ok'), (40, '40,b,ok"')), 32),
        ("closed in the next line", changed((30, '30,b,"ok'), (31, '31,b,ok"')), 32),
        ("in the middle of a row", changed((30, '30,"ok,c'), (31, '31,ok",c')), 32),
        ("text after a quote", changed((0, '0,b,"ok"c')), 2),
        ("a NUL in a late row", changed((50, "50,b\0,c")), 52),
        ("too few cells", changed((7, "7,b")), 9),
        ("too many cells after a cell of two lines", changed((3, '3,"b\nb",c'), (7, "7,b,c,d")), 10),
    ],
)
def test_a_damaged_csv_is_refused_with_its_line(write: Write, name: str, text: str, line: int) -> None:
    with pytest.raises(UserError, match=rf"line {line}\b"):
        read_csv(write("t.csv", text))
    with pytest.raises(UserError, match=rf"line {line}\b"):
        parse_csv(text, "the body")


@pytest.mark.parametrize(
    ("name", "text", "cell"),
    [
        ("a quote in a cell", changed((30, '30,b,5" tall')), '5" tall'),
        ("doubled quotes", changed((30, '30,b,"a ""b"""')), 'a "b"'),
        ("two lines with commas", changed((30, '30,b,"one, two\nthree, four, five"')), "one, two\nthree, four, five"),
        ("a long cell", changed((30, f'30,b,"{"z" * 200_000}"')), "z" * 200_000),
    ],
)  # fmt: skip
def test_a_sound_csv_is_read_whole(name: str, text: str, cell: str) -> None:

    found = parse_csv(text, "t.csv").columns
    assert found["z"][30] == cell
    assert found["z"] == pd.read_csv(io.StringIO(text))["z"].tolist()


@pytest.mark.parametrize(("options", "role"), [({"keep": ["y"]}, "target"), ({"keep": ["g"], "groups": "g"}, "groups")])
def test_keep_names_an_input(write: Write, options: dict[str, Any], role: str) -> None:
    path = write("t.csv", csv_of(a=NOISE, g=[k % 9 for k in range(N)], y=HALF))
    with pytest.raises(UserError, match=rf"--keep names an input column.*{role}"):
        load(path, ("table",), target="y", **options)


# Dates: the layout is part of the preprocessing.

DAYS = pd.date_range("2022-01-03 14:30", periods=N, freq="D")[np.random.default_rng(1).permutation(N)]
SINCE_1970 = [f"{(day - pd.Timestamp(0)) / pd.Timedelta('1D'):.6f}" for day in DAYS]


def saved(dataset: Any) -> Any:
    """The preprocessing as a run's folder gives it back."""
    return preprocessing_from_json(json.loads(json.dumps(dataset.preprocessing.to_json())))


def raw_inputs(path: Path, preprocessing: Any) -> list[Any]:
    return [cell for column in load_inputs(path, preprocessing, raw=True).arrays for cell in column[:, 0].tolist()]


@pytest.mark.parametrize(
    ("written", "types"),
    [
        ("%m/%d/%Y %I:%M %p", ""), ("%m/%d/%Y, %I:%M:%S %p", ""), ("%d.%m.%Y %H:%M", ""), ("%d-%b-%Y %H:%M", ""),
        ("%Y-%m-%dT%H:%M", ""), ("%B %d, %Y %H:%M", ""), ("%a, %d %b %Y %H:%M:%S +0000", ""),
        ("%Y/%m/%d %H:%M:%S", ""), ("%d/%m/%y %I:%M%p", ""),
        ("%d|%m|%Y|%H|%M", "date:%d|%m|%Y|%H|%M"), ("%s", "date:unix"), ("%s000", "date:unix_ms"),
    ],
)  # fmt: skip
def test_times_are_those_of_pandas(write: Write, written: str, types: str) -> None:
    seconds = [f"{day.timestamp():.0f}" for day in DAYS]
    cells = [f'"{day.strftime(written.replace("%s", second))}"' for day, second in zip(DAYS, seconds, strict=True)]
    chosen = {"t": types} if types else {}
    found = load(write("t.csv", csv_of(t=cells, y=HALF)), ("table",), target="y", types=chosen)
    assert raw_inputs(write("n.csv", csv_of(t=cells)), saved(found)) == pytest.approx(list(map(float, SINCE_1970)), abs=1e-4)


def test_months_and_days_without_a_clock(write: Write) -> None:
    months = [f"{2010 + k // 12}-{1 + k % 12:02}" for k in range(N)]
    days = [f"{day:%d-%b-%Y}" for day in DAYS]
    found = load(write("t.csv", csv_of(month=months, day=days, y=HALF)), ("table",), target="y")
    expected = [np.datetime64(m, "D").astype(int) for m in months] + [np.datetime64(d.date()).astype(int) for d in DAYS]
    assert raw_inputs(write("n.csv", csv_of(day=days, month=months)), saved(found)) == expected


def test_a_date_is_read_as_training_wrote_it_whatever_is_next_to_it(write: Write) -> None:
    month_first = load(write("t.csv", csv_of(d=[f"{day:%m/%d/%Y}" for day in DAYS], y=HALF)), ("table",), target="y")
    fourth_of_march = (np.datetime64("2023-03-04") - np.datetime64("1970-01-01")).astype(int)
    for rows in ("03/04/2023", "03/04/2023\n03/25/2023", "2023-03-04", "2023-03-04 00:00:00"):
        assert raw_inputs(write("n.csv", f"d\n{rows}\n"), saved(month_first))[0] == fourth_of_march
    iso = load(write("t.csv", csv_of(d=[f"{day:%Y-%m-%d}" for day in DAYS], y=HALF)), ("table",), target="y")
    for model, cell in ((month_first, "25/03/2023"), (month_first, "25.03.2023"), (iso, "03/04/2023"), (iso, "soon")):
        with pytest.raises(UserError, match=rf"'d' must hold times such as .*'{cell}' in row 3"):
            load_inputs(write("n.csv", f"d\n2023-01-01\n{cell}\n"), saved(model))


AMBIGUOUS = [f"{1 + k % 12:02}/{1 + k % 11:02}/2023" for k in range(N)]


@pytest.mark.parametrize(("layout", "first"), [("%d/%m/%Y", "2023-01-02"), ("%m/%d/%Y", "2023-02-01")])
def test_dates_with_two_readings_are_settled_by_the_user(write: Write, layout: str, first: str) -> None:
    path = write("t.csv", csv_of(d=["02/01/2023", *AMBIGUOUS[1:]][::-1], y=HALF))
    with pytest.raises(UserError, match=r"'d', whose cells allow both.*--types d=date:%d/%m/%Y or d=date:%m/%d/%Y"):
        load(path, ("table",), target="y")
    path = write("t.csv", csv_of(d=["02/01/2023", *AMBIGUOUS[1:]], y=HALF))
    found = load(path, ("table",), target="y", types={"d": f"date:{layout}"})
    assert any(layout in notice for notice in found.notices)
    assert raw_inputs(path, saved(found))[0] == (np.datetime64(first) - np.datetime64("1970-01-01")).astype(int)


@pytest.mark.parametrize("types", ["date:foo", "date:%d", "date:", "text:exact", "numeric:;", "categorical:x"])
def test_what_follows_a_type_is_checked(write: Write, types: str) -> None:
    with pytest.raises(UserError, match=r"^(A layout of dates|After a colon).* Received .*\. Use "):
        load(write("t.csv", csv_of(d=AMBIGUOUS, y=HALF)), ("table",), target="y", types={"d": types})


@pytest.mark.parametrize("types", [{}, {"t": "date:unix"}])
def test_a_series_reads_its_times_and_numbers_as_in_training(write: Write, types: dict[str, str]) -> None:
    days = pd.date_range("2022-01-01", periods=400, freq="D")
    times = [f"{day.timestamp():.0f}" if types else f"{day:%m/%d/%Y}" for day in days]
    text = csv_of(";", t=times, x=[f"{k},5" for k in range(400)])
    found = load(write("s.csv", text), ("series",), types=types, window=9, horizon=3)
    (window,) = load_inputs(write("n.csv", text), saved(found), raw=True).arrays
    assert window[0, :, 0].tolist() == [k + 0.5 for k in range(391, 400)]
    with pytest.raises(UserError, match=r"written as 1,?\.?234,5.*'3\.5' in row 5"):
        load_inputs(write("n.csv", text.replace(";3,5", ";3.5")), saved(found))


# Numbers as people write them.


@pytest.mark.parametrize(
    ("cells", "values"),
    [
        (["0,13", "1,5", "-2,25"], [0.13, 1.5, -2.25]), (["1.612,45", "3", "-12.000,5"], [1612.45, 3, -12000.5]),
        (["12,345.6", "7"], [12345.6, 7]), (["\u22123.5", "(4)", "5-", "6"], [-3.5, -4, -5, 6]),
        (["1,234,567", "89"], [1234567, 89]), (["45.2%", "-3%"], [45.2, -3]),
        (["45,2 %", "3 %"], [45.2, 3]), (["$3.10", "-$1,200", "($5)", "7"], [3.1, -1200, -5, 7]),
        (["3,10 €", "1.200 €"], [3.1, 1200]),
        (["1 234,5", "7"], [1234.5, 7]), (["1\u00a0234,5", "7"], [1234.5, 7]), (["1\u202f234,5", "7"], [1234.5, 7]),
        (["1'234.5", "1’000.25"], [1234.5, 1000.25]), (["12,34,567.5", "1"], [1234567.5, 1]),
        (["CHF 5.20", "CHF 1'000.00"], [5.2, 1000]),
        (["\u22125,2", "5,00-"], [-5.2, -5]), (["US$5.5", "US$6"], [5.5, 6]), (["0,123", "0,456"], [0.123, 0.456]),
    ],
)  # fmt: skip
def test_numbers_of_other_places(write: Write, cells: list[str], values: list[float]) -> None:
    """Right answers by hand. The notation is saved: one cell alone, which may have two readings, is read as in training."""
    column = [f'"{cell}"' for cell in cells] * (N // len(cells))
    y = HALF[: len(column)]
    found = load(write("t.csv", csv_of(p=column, y=y)), ("table",), target="y")
    assert next(c.type for c in found.columns if c.name == "p") == "numeric"
    assert any("'p' holds numbers such as" in notice for notice in found.notices)
    for cell, value in zip(cells, values, strict=True):
        assert raw_inputs(write("n.csv", f'p\n"{cell}"\n'), saved(found)) == [value]
    from_numbers = load_inputs(pd.DataFrame({"p": values}), saved(found), raw=True).arrays[0][:, 0]
    assert from_numbers.tolist() == values


@pytest.mark.parametrize(
    "cells",
    [["1.2.3", "4.5.6"], ["10-20", "A2"], ["USD 3", "EUR 4"], ["5%", "6"], ["1,2,3", "3,4"], ["5.5, 1.4", "5, 6"]],
)
def test_what_is_no_number_stays_a_category(cells: list[str]) -> None:
    assert infer_type("c", cells * 20) == "categorical"


THOUSANDS = [f"{1 + k % 9},{100 + k}" for k in range(N)]


@pytest.mark.parametrize(
    ("delimiter", "types", "first"),
    [(",", {}, 1100.0), (";", {}, 1.1), (",", {"p": "numeric:,"}, 1.1), (";", {"p": "numeric:."}, 1100.0), ("\t", {}, None)],
)
def test_numbers_with_two_readings_are_settled_aloud(
    write: Write, delimiter: str, types: dict[str, str], first: float | None
) -> None:
    cells = [f'"{cell}"' for cell in THOUSANDS]
    path = write("t.csv", csv_of(delimiter, p=cells, y=HALF))
    if first is None:
        with pytest.raises(UserError, match=r"1,100 is 1100 \(p=numeric:\.\) or 1.1 \(p=numeric:,\)"):
            load(path, ("table",), target="y")
        return
    found = load(path, ("table",), target="y", types=types)
    assert any("'p'" in notice and "1,100" in notice for notice in found.notices)
    assert raw_inputs(path, saved(found))[0] == first


def test_other_columns_settle_a_number(write: Write) -> None:
    points = [f"{1 + k % 9}.{100 + k}" for k in range(N)]
    german = csv_of(";", p=points, q=[f"{v}".replace(".", ",") for v in NOISE], y=HALF)
    found = load(write("t.csv", german), ("table",), target="y")
    assert raw_inputs(write("n.csv", "p;q\n1.100;0,5\n"), saved(found)) == [1100, 0.5]
    english = csv_of(";", p=points, q=NOISE, y=HALF)
    found = load(write("t.csv", english), ("table",), target="y")
    assert raw_inputs(write("n.csv", "p;q\n1.100;0.5\n"), saved(found)) == [1.1, 0.5]


def test_numbers_in_another_notation_are_refused(write: Write) -> None:
    german = load(write("t.csv", csv_of(";", p=[f"{1 + k}.612,5" for k in range(N)], y=HALF)), ("table",), target="y")
    plain = load(write("t.csv", csv_of(p=NOISE, y=HALF)), ("table",), target="y")
    for model, cell in ((german, "1612.45"), (german, "$3"), (plain, "3,5"), (plain, "$3"), (plain, "45%")):
        with pytest.raises(UserError, match=r"'p' holds numbers that are written as .* in row 3\. Write it so\."):
            load_inputs(write("n.csv", f"p;q\n5;1\n{cell};1\n"), saved(model))


def test_a_target_of_another_place_is_predicted_in_its_units(write: Write) -> None:
    y = [f'"{v:,.2f}"'.replace(",", " ").replace(".", ",") for v in 5000 + 100 * np.array(NOISE)]
    path = write("t.csv", csv_of(a=NOISE[::-1], y=y))
    found = load(path, ("table",), target="y")
    assert found.task == "regression"
    split, _ = load_examples(path, saved(found))
    np.testing.assert_allclose(saved(found).inverse_targets(split.all()[1])[:, 0], 5000 + 100 * np.array(NOISE), atol=1e-2)


# Spelling of classes, categories and names.


@pytest.mark.parametrize(
    ("cells", "types", "classes", "new", "ids"),
    [
        (["Yes", "yes", "No", "no"], {}, ("No", "Yes"), ["YES", "no "], [1, 0]),
        (["1", "1.0", "2", "2.0"], {}, ("1", "2"), ["2.0", "1"], [1, 0]),
        (["0", "1"], {}, ("0", "1"), ["0.0", "1.0"], [0, 1]),
        (["0.0", "1.0"], {}, ("0", "1"), ["0", "1"], [0, 1]),
        (["True", "False"], {}, ("False", "True"), ["true", "0"], [1, 0]),
        (["red", "Red", "New  York", "new york"], {}, ("New  York", "red"), ["RED", "New York"], [1, 0]),
        (["aa", "aA", "AA"], {"y": "categorical:exact"}, ("AA", "aA", "aa"), ["aA", "AA"], [1, 0]),
        (["None", "NA", "all"], {"y": "categorical"}, ("NA", "None", "all"), ["none", "NA"], [1, 0]),
        (["007", "7"], {"y": "categorical"}, ("007", "7"), ["007", "7.0"], [0, 1]),
        (["1.10", "1.1"], {"y": "categorical"}, ("1.1", "1.10"), ["1.10", "1.1"], [1, 0]),
    ],
)
def test_spellings_of_classes(
    write: Write, cells: list[str], types: dict[str, str], classes: tuple[str, ...], new: list[str], ids: list[int]
) -> None:
    found = load(write("t.csv", csv_of(a=NOISE, y=(cells * N)[:N])), ("table",), target="y", types=types)
    assert found.classes == classes
    examples, _ = load_examples(write("n.csv", csv_of(a=NOISE[: len(new)], y=new)), saved(found))
    assert examples.all()[1].tolist() == ids
    merged = len({cell.casefold() for cell in cells}) < len(cells) and not types
    assert any("one category" in notice for notice in found.notices) == merged


def test_words_for_missing_are_told(write: Write) -> None:
    found = load(write("t.csv", csv_of(a=NOISE, y=["None", "some", "all"] * 20)), ("table",), target="y")
    assert found.classes == ("all", "some")
    assert any("'None' counts as missing; --types y=categorical" in notice for notice in found.notices)
    with pytest.raises(UserError, match=r"'None' count as missing.*--types y=categorical"):
        load(write("t.csv", csv_of(a=NOISE, y=["None", "some"] * 30)), ("table",), target="y")


def test_a_category_next_to_a_missing_cell_keeps_its_name(write: Write) -> None:
    """pandas makes floats of whole numbers next to missing ones: 1.0 is category 1 then."""
    frame = pd.DataFrame({"c": [(1, 2, None)[k % 3] for k in range(N)], "y": HALF})
    found = from_frame(frame, "y", types={"c": "categorical"})
    assert found.preprocessing.feature_names == ("c=1", "c=2", "c is missing")  # type: ignore[attr-defined]
    (inputs,) = load_inputs(write("n.csv", "c,z\n1,0\n2.0,0\nNA,0\n"), saved(found)).arrays
    assert inputs.tolist() == [[1, 0, 0], [0, 1, 0], [1, 0, 1]]
    kept = load(write("t.csv", csv_of(c=["NA", "EU", "eu"] * 20, y=HALF)), ("table",), target="y", types={"c": "categorical"})
    (inputs,) = load_inputs(write("n.csv", "c,z\nNA,0\nEU,0\n"), saved(kept)).arrays
    assert inputs.tolist() == [[0, 1], [1, 0]]


@pytest.mark.parametrize(
    ("column", "kind"),
    [
        *((name, "identifier") for name in (
            "customer_id", "CustomerID", "customerID", "CustomerId", "CUSTOMERID", "customerid", "CUSTOMER_ID", "customer id",
            "Customer-Id", "customer.id", "ID", "id", "Id", "PassengerId", "id_customer", "Unnamed: 0", "row", "Order Number",
            "invoiceNo", "KundenNr",
        )),
        *((name, "numeric") for name in ("paid", "humid", "income", "Grid", "idle", "median", "no_rooms", "keys")),
    ],
)  # fmt: skip
def test_columns_that_name_rows_are_known_in_every_spelling(column: str, kind: str) -> None:
    cells = [str(v) for v in np.random.default_rng(0).permutation(1000)[:30]]
    assert infer_type(column, cells) == kind


def test_a_run_of_an_older_version_is_refused(write: Write) -> None:
    plain = load(write("t.csv", csv_of(p=NOISE, y=HALF)), ("table",), target="y").preprocessing.to_json()
    for field in plain["fields"]:
        del field["writing"]
        field["layout"] = ""  # which dates had
    with pytest.raises(UserError, match="layout"):
        preprocessing_from_json(plain)


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "utf-16", "shift_jis"])
def test_an_encoding_is_named_once(write: Write, encoding: str) -> None:
    """Training saves it; a new file is read as UTF-8 where it is that, and else in the encoding of training."""
    words = ["東京", "大阪"] if encoding == "shift_jis" else ["café", "naïve"]
    text = csv_of(c=words * (N // 2), a=NOISE, y=HALF)
    if encoding != "utf-16":  # its mark says what it is
        with pytest.raises(UserError, match=r"Text must be UTF-8.*--encoding latin-1"):
            load(write("t.csv", text.encode(encoding)), ("table",), target="y")
    found = load(write("t.csv", text.encode(encoding)), ("table",), target="y", encoding=encoding)
    assert found.preprocessing.feature_names[:2] == tuple(f"c={word}" for word in sorted(words))  # type: ignore[attr-defined]
    for kept in (encoding, "utf-8"):
        (inputs,) = load_inputs(write("n.csv", f"c,a\n{words[0]},0.5\n".encode(kept)), saved(found)).arrays
        assert inputs[0, :2].tolist() == [float(word == words[0]) for word in sorted(words)]
    with pytest.raises(UserError, match="encoding"):
        load(write("t.csv", text.encode(encoding)), ("table",), target="y", encoding="hex")


# Forecasts: a line for each forecast time.


@pytest.mark.parametrize("step", ["MS", "ME", "QE", "YS", "D", "B", "W", "h", "15min", "2h"])
@pytest.mark.parametrize("start", ["2023-01-31", "2024-02-27 00:30"])
def test_the_times_that_follow_are_those_of_pandas(step: str, start: str) -> None:
    times = pd.date_range(start, periods=40, freq=step).to_numpy().astype("datetime64[s]")
    assert times_after(times[:30], 10).tolist() == times[30:].tolist()


def test_a_forecast_has_a_row_for_each_time(write: Write, tmp_path: Path) -> None:
    days = pd.date_range("2017-01-01", "2017-12-31", freq="D")
    values = [round(float(np.sin(k / 3)), 4) for k in range(365)]
    path = write("s.csv", csv_of(day=[f"{day:%m/%d/%Y}" for day in days], x=values))
    run = nn.train("lstm", str(path), out=tmp_path / "run", window=14, horizon=5, epochs=1).run.folder
    columns = nn.predict(run, path).columns
    assert list(columns) == ["row", "last_known", "step", "forecast"]
    assert columns["row"].tolist() == [f"2018-01-0{k}T00:00:00" for k in range(1, 6)]
    assert set(columns["last_known"]) == {"2017-12-31T00:00:00"}
    assert columns["step"].tolist() == [1, 2, 3, 4, 5]
    assert np.isfinite(columns["forecast"]).all()


def test_a_forecast_of_arrays_counts_its_steps(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).normal(size=(1, 2, 3, 1))[0]
    task = nn.tasks.Forecast.__new__(nn.tasks.Forecast)
    answer = task.present(rows, ())
    assert answer.columns["step"].tolist() == [1, 2, 3, 1, 2, 3]
    assert answer.columns["forecast"].tolist() == rows.ravel().tolist()
    assert answer.rows is not None
    assert answer.rows.tolist() == [0, 0, 0, 1, 1, 1]
