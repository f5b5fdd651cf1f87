"""Tables: types, tasks, columns left out, encoding fitted on training rows alone, and new rows at prediction time."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_files import table_text

from nnatomy.data import Reading, load, load_examples, load_inputs, preprocessing_from_json
from nnatomy.data.cells import infer_type
from nnatomy.data.csvfile import RawTable, read_csv
from nnatomy.data.kinds.table.columns import far_outliers, gives_away, one_to_one, task_of
from nnatomy.data.kinds.table.encoding import Field, TablePreprocessing
from nnatomy.data.kinds.table.table import table_dataset
from nnatomy.errors import UserError

N = 60
HALF = ["yes" if k % 2 else "no" for k in range(N)]
Write = Callable[..., Path]
Real = Callable[[str], Path]


@pytest.mark.parametrize(
    ("cells", "kind"),
    [
        (["1", "2.5", "-3e4", ""], "numeric"),
        (["0", "1", "1", "0"], "boolean"),
        (["yes", "No", "yes"], "boolean"),
        (["True", "False"], "boolean"),
        (["red", "blue", "red"], "categorical"),
        (["1", "2", "three", "1"], "categorical"),
        (["2024-01-31", "2024-02-01"], "date"),
        (["31.01.2024", "01.02.2024"], "date"),
        (["01/31/2024 10:15", "02/01/2024 11:00"], "date"),
        ([f"the {k}th sentence" for k in range(30)], "text"),
        ([str(k) for k in range(7, 37)], "identifier"),
        ([str(k * k % 31) for k in range(30)], "numeric"),
        (["x", "x", ""], "constant"),
        (["", ""], "empty"),
        (["1_000", "2", "1_000"], "categorical"),
    ],
)
def test_types_are_inferred(cells: list[str], kind: str) -> None:
    assert infer_type("c", cells) == kind


def test_whole_numbers_named_id_name_the_row_in_any_order() -> None:
    cells = [str(v) for v in np.random.default_rng(0).permutation(1000)[:30]]
    assert infer_type("customer_id", cells) == "identifier"
    assert infer_type("income", cells) == "numeric"


@pytest.mark.parametrize(
    ("kind", "cells", "task"),
    [
        ("boolean", ["0", "1"] * 10, "classification"),
        ("categorical", ["a", "b", "c"] * 10, "classification"),
        ("numeric", ["3", "4", "5"] * 10, "classification"),
        ("numeric", ["3.5", "4.5", "5.5"] * 10, "regression"),
        ("numeric", [str(k) for k in range(60)], "regression"),
    ],
)
def test_the_target_decides_the_task(kind: str, cells: list[str], task: str) -> None:
    assert task_of("t", kind, cells) == task


def test_types_can_be_chosen(write: Write) -> None:
    path = write("t.csv", table_text(N, grade=[k % 3 for k in range(N)], y=[k % 3 + 1 for k in range(N)]))
    chosen = load(path, ("table",), target="y", keep=["grade"], types={"grade": "categorical", "y": "numeric"})
    assert chosen.task == "regression"
    assert "grade=2" in chosen.preprocessing.feature_names  # type: ignore[attr-defined]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_delimiters_and_quotes_are_understood(write: Write, delimiter: str) -> None:
    rows = [["a", "b c", "y"], ["1", f'"x{delimiter} ""z"""', "0"], ["2", "NA", "1"]]
    path = write("t.csv", "\ufeff" + "\r\n".join(delimiter.join(row) for row in rows) + "\r\n\r\n")
    assert read_csv(path).columns == {"a": ["1", "2"], "b c": [f'x{delimiter} "z"', ""], "y": ["0", "1"]}


@pytest.mark.parametrize("marker", ["", "?", "NA", "NaN", "null", " nan "])
def test_missing_cells_are_known_by_their_marks(write: Write, marker: str) -> None:
    assert read_csv(write("t.csv", f"a,b\n{marker},1\n2,2\n")).columns["a"] == ["", "2"]


@pytest.mark.parametrize(
    ("column", "why"),
    [
        (["Y" if h == "yes" else "N" for h in HALF], "gives the target away"),
        ([f"person {k}" for k in range(N)], "holds free text"),
        (list(range(N)), "only names the row"),
        (["same"] * N, "is the same in every row"),
        ([""] * N, "has no values"),
    ],
)
def test_columns_that_must_not_be_learned_from_are_left_out(write: Write, column: list[object], why: str) -> None:
    path = write("t.csv", table_text(N, extra=column, y=HALF))
    found = load(path, ("table",), target="y")
    assert any("'extra'" in notice and why in notice for notice in found.notices)
    assert next(c.role for c in found.columns if c.name == "extra") == "left out"
    assert found.input_shape == (5,)  # a, b and three colors
    if any(column):
        assert load(path, ("table",), target="y", keep=["extra"]).input_shape > (5,)


def test_numbers_that_give_a_numeric_target_away() -> None:
    rng = np.random.default_rng(0)
    y = rng.normal(size=200)
    cells = [repr(float(v)) for v in y]
    assert gives_away("numeric", cells, cells, "regression") == "repeats"
    assert gives_away("numeric", [repr(float(3 * v + 2)) for v in y], cells, "regression") == "is a straight line of"
    assert (
        gives_away("numeric", [repr(float(np.exp(2 * v))) for v in y], cells, "regression") == "puts the rows in the order of"
    )
    assert (
        gives_away(
            "numeric", [repr(float(v + 0.1 * e)) for v, e in zip(y, rng.normal(size=200), strict=True)], cells, "regression"
        )
        is None
    )


@pytest.mark.parametrize(
    ("a", "b", "same"),
    [
        (["1", "2"] * 20, ["x", "y"] * 20, True),
        (["1", "2"] * 5, ["x", "y"] * 5, False),  # ten rows are not evidence
        (["1", "2"] * 20, ["x", "y"] * 19 + ["y", "x"], False),
        (["1", "2", "3"] * 20, ["x", "y", "y"] * 20, False),
        ([str(k) for k in range(40)], [str(-k) for k in range(40)], False),  # each value once
    ],
)
def test_one_to_one(a: list[str], b: list[str], same: bool) -> None:
    assert one_to_one(a, b) is same


def test_far_outliers_are_counted() -> None:
    values = np.concatenate([np.linspace(-1, 1, 100), [50.0, -50.0, np.nan]])
    assert far_outliers(values) == 2
    assert far_outliers(np.linspace(-1, 1, 100)) == 0


def test_nothing_is_fitted_on_validation_or_test_rows(write: Write) -> None:
    """Rows outside the training split are made wild: neither the preprocessing nor the training inputs may change."""
    text = table_text(N, y=HALF)
    plain = load(write("t.csv", text), ("table",), target="y", seed=4)
    train = {tuple(row) for row in plain.train.all()[0].round(4)}
    lines = text.splitlines()
    full = RawTable({name: list(cells) for name, cells in read_csv(write("t.csv", text)).columns.items()}, "t")
    encoded = plain.preprocessing.transform(full)[0].round(4)
    wild = [
        line if tuple(row) in train else "1e6,-1e6,violet," + line.split(",")[-1]
        for line, row in zip(lines[1:], encoded, strict=True)
    ]
    assert sum("violet" in line for line in wild) == len(plain.validation) + len(plain.test)
    again = load(write("w.csv", "\n".join([lines[0], *wild]) + "\n"), ("table",), target="y", seed=4)
    assert again.preprocessing.to_json() == plain.preprocessing.to_json()
    np.testing.assert_array_equal(again.train.all()[0], plain.train.all()[0])


def test_numbers_are_standardized_on_training_rows(write: Write) -> None:
    found = load(write("t.csv", table_text(400, y=[k % 2 for k in range(400)])), ("table",), target="y")
    x = found.train.all()[0][:, :2]
    np.testing.assert_allclose(x.mean(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(x.std(axis=0), 1, atol=1e-6)


def test_regression_targets_are_standardized_and_undone(write: Write) -> None:
    y = [f"{v:.3f}" for v in 100 + 20 * np.random.default_rng(1).normal(size=N)]
    found = load(write("t.csv", table_text(N, y=y)), ("table",), target="y")
    targets = [split.all()[1] for split in (found.train, found.validation, found.test)]
    assert targets[0].shape[1] == 1
    assert abs(targets[0].mean()) < 1e-5
    undone = np.concatenate([found.preprocessing.inverse_targets(t)[:, 0] for t in targets])
    np.testing.assert_allclose(np.sort(undone), np.sort(np.array(y, float)), rtol=1e-5)


def test_missing_numbers_become_the_median_and_are_told() -> None:
    field = Field.fit("a", "numeric", ["1", "2", "", "9"])
    assert field.features() == ["a", "a is missing"]
    out, _ = field.encode(["", "2"])
    np.testing.assert_array_equal(out[:, 0], [out[1, 0]] * 2)
    np.testing.assert_array_equal(out[:, 1], [1, 0])


def test_unseen_categories_are_other_or_none_and_told() -> None:
    plain = Field.fit("c", "categorical", ["x", "y"] * 5)
    assert plain.encode(["x", "violet"])[0].tolist() == [[1, 0], [0, 0]]
    assert plain.encode(["violet"])[1] == ["violet"]
    rare = Field.fit("c", "categorical", ["x", "y"] * 5 + ["z"])
    assert rare.features() == ["c=x", "c=y", "c=other"]
    assert rare.encode(["z", "violet"])[0].tolist() == [[0, 0, 1], [0, 0, 1]]


def test_categories_without_end_are_limited() -> None:
    cells = [f"town {k}" for k in range(200) for _ in range(3)]
    assert len(Field.fit("town", "categorical", cells).features()) == 31


def test_long_tails_are_compressed() -> None:
    cells = [repr(float(v)) for v in np.random.default_rng(0).lognormal(0, 2, 500)]
    field = Field.fit("fare", "numeric", cells)
    assert field.log
    assert np.abs(field.encode(cells)[0]).max() < 6
    assert not Field.fit("a", "numeric", [str(k) for k in range(100)]).log


def test_infinite_values_count_as_missing(write: Write) -> None:
    column = ["inf", "-inf", *[k % 7 for k in range(N - 2)]]
    found = load(write("t.csv", table_text(N, extra=column, y=HALF)), ("table",), target="y")
    assert any("without a finite number" in notice for notice in found.notices)
    assert all(np.isfinite(split.all()[0]).all() for split in (found.train, found.validation, found.test))


def test_rows_without_a_target_are_left_out(write: Write) -> None:
    y = ["", "inf", *[f"{k * 1.5}" for k in range(N - 2)]]
    found = load(write("t.csv", table_text(N, y=y)), ("table",), target="y", types={"y": "numeric"})
    assert len(found.train) + len(found.validation) + len(found.test) == N - 2
    assert any("2 rows without a value" in notice for notice in found.notices)


def test_repeated_inputs_are_noticed(write: Write) -> None:
    again = [line.split(",")[2].upper() for line in table_text(N).splitlines()[1:]]
    found = load(write("t.csv", table_text(N, again=list(again), y=HALF)), ("table",), target="y")
    assert any("'color' and 'again' say the same" in notice for notice in found.notices)


def test_classes_that_are_numbers_stand_in_their_order(write: Write) -> None:
    found = load(write("t.csv", table_text(N, y=[(2, 10, 1)[k % 3] for k in range(N)])), ("table",), target="y")
    assert found.classes == ("1", "2", "10")


def test_without_a_target_the_inputs_are_reconstructed(write: Write) -> None:
    found = load(write("t.csv", table_text(N)), ("table",), tasks=("reconstruction",))
    x, y = found.train.all()
    np.testing.assert_array_equal(x, y)
    assert found.outputs == x.shape[1]


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 1000), st.sampled_from(["classification", "regression"]))
def test_preprocessing_survives_json(seed: int, task: str) -> None:
    rng = np.random.default_rng(seed)
    y = [str(v) for v in (rng.integers(0, 2, N) if task == "classification" else rng.normal(size=N))]
    colors = rng.choice(["red", "green", "blue", ""], N).tolist()
    days = [f"2024-01-{d:02d}" for d in rng.integers(1, 29, N)]
    table = RawTable({"a": [repr(float(v)) for v in rng.normal(size=N)], "c": colors, "d": days, "y": y}, "t")
    made = table_dataset("t", table, "y", Reading(seed=seed))
    back = preprocessing_from_json(json.loads(json.dumps(made.preprocessing.to_json())))
    assert back == made.preprocessing
    np.testing.assert_array_equal(back.transform(table)[0], made.preprocessing.transform(table)[0])


def test_new_rows_are_checked_against_the_columns(write: Write) -> None:
    found = load(write("t.csv", table_text(N, y=HALF)), ("table",), target="y")
    new = load_inputs(write("new.csv", "b,color,a,extra\n0.5,violet,1,9\n0.1,red,,9\n"), found.preprocessing)
    assert new.arrays[0].shape == (2, 5)
    assert new.rows == ("1", "2")
    assert any("extra" in n for n in new.notices)
    assert any("violet" in n for n in new.notices)
    with pytest.raises(UserError, match=r"the column 'b'. .* has no such column"):
        load_inputs(write("new.csv", "color,a\nred,1\n"), found.preprocessing)


def test_targets_in_a_new_file_are_read(write: Write) -> None:
    path = write("t.csv", table_text(N, y=HALF))
    found = load(path, ("table",), target="y")
    examples, notices = load_examples(path, found.preprocessing)
    assert [found.classes[k] for k in examples.all()[1]] == HALF
    assert notices == ()


def test_titanic_as_it_is(real: Real) -> None:
    found = load(real("tabular/titanic.csv"), ("table",), target="survived")
    assert found.task == "classification"
    assert found.classes == ("0", "1")
    assert len(found.train) + len(found.validation) + len(found.test) == 891
    assert any("'alive' gives the target away" in notice for notice in found.notices)
    assert isinstance(found.preprocessing, TablePreprocessing)
    assert not any("alive" in name for name in found.preprocessing.feature_names)
    kept = load(real("tabular/titanic.csv"), ("table",), target="survived", keep=("alive",))
    assert "alive" in kept.preprocessing.feature_names  # type: ignore[attr-defined]


def test_titanic_can_be_learned_from_these_inputs(real: Real) -> None:
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score

    scores = []
    for seed in range(3):
        found = load(real("tabular/titanic.csv"), ("table",), target="survived", seed=seed)
        (x, y), (x_test, y_test) = found.train.all(), found.test.all()
        scores.append(roc_auc_score(y_test, LogisticRegression(C=0.1, max_iter=2000).fit(x, y).decision_function(x_test)))
    assert 0.83 <= np.mean(scores) <= 0.95  # above: something gives the target away


def test_california_can_be_learned_from_these_inputs(real: Real) -> None:
    from sklearn.ensemble import HistGradientBoostingRegressor

    found = load(real("tabular/california_housing.csv"), ("table",), target="median_house_value")
    assert found.task == "regression"
    assert "ocean_proximity=INLAND" in found.preprocessing.feature_names  # type: ignore[attr-defined]
    (x, y), (x_test, y_test) = found.train.all(), found.test.all()
    assert HistGradientBoostingRegressor(random_state=0).fit(x, y[:, 0]).score(x_test, y_test[:, 0]) >= 0.8


@pytest.mark.parametrize(
    ("name", "target", "task", "classes", "rows", "left_out"),
    [
        ("penguins", "species", "classification", 3, 344, ()),
        ("mpg", "mpg", "regression", 0, 398, ("name",)),
        ("adult_train", "income", "classification", 2, 6000, ()),
        ("california_housing", "median_house_value", "regression", 0, 20640, ()),
    ],
)
def test_real_tables(real: Real, name: str, target: str, task: str, classes: int, rows: int, left_out: tuple[str, ...]) -> None:
    found = load(real(f"tabular/{name}.csv"), ("table",), target=target)
    assert (found.task, len(found.classes)) == (task, classes)
    assert len(found.train) + len(found.validation) + len(found.test) == rows
    assert tuple(c.name for c in found.columns if c.role == "left out") == left_out
    x = np.concatenate([s.all()[0] for s in (found.train, found.validation, found.test)])
    assert x.dtype == np.float32
    assert np.isfinite(x).all()


def test_dates_are_read_as_training_read_them(write: Write) -> None:
    """3 April and 4 March are the same cell: which one is meant, the training table has said."""
    rows = [f"{1 + k % 12:02d}/{1 + k % 28:02d}/2024,{'yes' if k % 28 > 13 else 'no'}" for k in range(100)]
    found = load(write("t.csv", "\n".join(["day,y", *rows])), target="y")
    assert "%m/%d/%Y" in json.dumps(found.preprocessing.to_json())
    (inputs,) = load_inputs(write("new.csv", "day\n04/03/2024\n"), found.preprocessing).arrays
    (expected,) = load_inputs(write("iso.csv", "day\n2024-04-03\n"), found.preprocessing).arrays
    assert np.array_equal(inputs, expected)
    with pytest.raises(UserError, match=r"such as 01/31/2024. Received '31/01/2024' in row 2"):
        load_inputs(write("wrong.csv", "day\n31/01/2024\n"), found.preprocessing)
