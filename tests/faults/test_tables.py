"""Tables as users have them: what training learned about reading a table is saved, used again, and never guessed again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nnatomy.data import from_arrays, load
from nnatomy.data.csvfile import parse_csv, read_csv
from nnatomy.data.kinds.graph.graphs import Columns
from nnatomy.data.scaling import deviation, scale
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
    assert Columns.fit({"x": ["0.1"] * 65}, np.arange(65)).deviations == (1.0,)


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
    import io

    import pandas as pd

    found = parse_csv(text, "t.csv").columns
    assert found["z"][30] == cell
    assert found["z"] == pd.read_csv(io.StringIO(text))["z"].tolist()


@pytest.mark.parametrize(("options", "role"), [({"keep": ["y"]}, "target"), ({"keep": ["g"], "groups": "g"}, "groups")])
def test_keep_names_an_input(write: Write, options: dict[str, Any], role: str) -> None:
    path = write("t.csv", csv_of(a=NOISE, g=[k % 9 for k in range(N)], y=HALF))
    with pytest.raises(UserError, match=rf"--keep names an input column.*{role}"):
        load(path, ("table",), target="y", **options)
