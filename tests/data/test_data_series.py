"""Series: order of time, gaps, windows for forecasting, windows for anomalies, and generated sets."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_files import anomalous, hours, series_text

from nnatomy.data import load, load_inputs, preprocessing_from_json
from nnatomy.data.kinds.sequences.sequences import narma10
from nnatomy.data.kinds.series.series import Series, averaged, fill_gaps
from nnatomy.data.kinds.series.sets import mackey_glass, spiral
from nnatomy.data.kinds.table.sets import LOGIC, PLANE
from nnatomy.errors import UserError

Write = Callable[..., Path]
Real = Callable[[str], Path]


def test_a_forecast_is_parted_by_time(write: Write) -> None:
    found = load(write("s.csv", series_text()), ("series",), target="y", window=10, horizon=3)
    assert (found.kind, found.task, found.input_shape, found.outputs) == ("series", "forecast", (10, 2), 1)
    undo = found.preprocessing.inverse_targets
    first_future = [undo(split.all()[1])[0, 0, 0] for split in (found.train, found.validation, found.test)]
    last_future = [undo(split.all()[1])[-1, -1, 0] for split in (found.train, found.validation, found.test)]
    np.testing.assert_allclose(first_future, [10, 240, 320], atol=1e-3)  # each part is predicted, and no part twice
    np.testing.assert_allclose(last_future, [239, 319, 399], atol=1e-3)


def test_the_scale_is_the_training_rows(write: Write) -> None:
    found = load(write("s.csv", series_text()), ("series",), target="y", window=10, horizon=3)
    assert found.preprocessing.mean[1] == pytest.approx(np.arange(240).mean())  # type: ignore[attr-defined]
    assert found.preprocessing.std[1] == pytest.approx(np.arange(240).std())  # type: ignore[attr-defined]


def test_the_newest_row_may_stand_first(write: Write) -> None:
    text = series_text()
    head, *rows = text.splitlines()
    plain = load(write("s.csv", text), ("series",), target="y", window=10, horizon=3)
    turned = load(write("t.csv", "\n".join([head, *rows[::-1]])), ("series",), target="y", window=10, horizon=3)
    np.testing.assert_array_equal(plain.test.all()[0], turned.test.all()[0])
    assert any("reversed" in notice for notice in turned.notices)


def test_gaps_are_filled_from_the_past_alone() -> None:
    nan = np.nan
    filled = fill_gaps(np.array([[nan], [1.0], [nan], [nan], [4.0], [nan]]))
    np.testing.assert_array_equal(filled[:, 0], [nan, 1, 1, 1, 4, 4])


@given(st.lists(st.floats(-9, 9), min_size=1, max_size=30), st.integers(1, 5))
def test_averages_over_stretches(values: list[float], stretch: int) -> None:
    n = len(values)
    made = averaged(Series("s", "t", np.arange(n).astype("datetime64[s]"), ("x",), np.array(values)[:, None]), stretch)
    expected = [np.mean(values[k : k + stretch]) for k in range(0, n, stretch)]
    np.testing.assert_allclose(made.values[:, 0], expected, atol=1e-12)


def test_columns_of_no_use_are_left_out(write: Write) -> None:
    extra = {"flat": [7] * 400, "word": ["a", "b"] * 200, "late": [""] * 300 + [k % 9 for k in range(100)]}
    found = load(write("s.csv", series_text(**extra)), ("series",), target="x", window=10, horizon=3)
    assert found.preprocessing.columns == ("x", "y")  # type: ignore[attr-defined]
    assert all(any(f"'{name}'" in notice for notice in found.notices) for name in extra)


def test_the_future_follows_the_last_row_at_prediction(write: Write) -> None:
    path = write("s.csv", series_text())
    found = load(path, ("series",), target="y", window=10, horizon=3)
    back = preprocessing_from_json(json.loads(json.dumps(found.preprocessing.to_json())))
    new = load_inputs(path, back)
    np.testing.assert_allclose(back.inverse_targets(new.arrays[0][:, :, 1:])[0, :, 0], np.arange(390, 400), atol=1e-3)
    assert new.rows == (hours(400)[399].replace(" ", "T"),)  # the last known time, and those that follow
    assert new.following == (tuple(time.replace(" ", "T") for time in hours(403)[400:]),)


def test_anomalies_are_labeled_and_kept_out_of_training(write: Write) -> None:
    found = load(anomalous(write), ("series",), tasks=("anomaly",), window=20)
    assert (found.task, found.input_shape) == ("anomaly", (20, 1))
    top = found.test.all()[0].max()
    for split in (found.train, found.validation):
        windows, marks = split.all()
        assert not marks.any()
        assert windows.max() < top / 2
    windows, marks = found.test.all()
    np.testing.assert_array_equal((windows == top).mean(axis=1)[:, 0] >= 0.5, marks)
    assert marks.any()
    assert found.timeline is not None
    assert len(found.timeline.test_starts) == len(found.test)
    assert len(found.timeline.labeled) == 3


def test_a_limit_keeps_windows_and_their_times_together(write: Write) -> None:
    found = load(anomalous(write), ("series",), tasks=("anomaly",), window=20, limit=7)
    assert found.timeline is not None
    assert len(found.test) == len(found.timeline.test_starts) == len(found.train) == 7
    start = found.timeline.test_starts[3]
    raw = found.preprocessing.inverse_targets(found.test.all()[0][3])
    np.testing.assert_allclose(raw, found.timeline.values[start : start + 20], atol=1e-4)


def test_training_and_validation_windows_share_no_row(write: Write) -> None:
    found = load(anomalous(write, labels=False), ("series",), tasks=("anomaly",), window=20)
    assert any("No labeled anomalies" in notice for notice in found.notices)
    train, held = (split.all()[0] for split in (found.train, found.validation))
    assert not np.allclose(train[-1, 1:], held[0, :-1])
    assert len(train) + len(held) < (0.6 * 1200 - 20) + 1


def test_labels_are_given_by_hand_as_a_list(write: Write) -> None:
    path = anomalous(write, labels=False)
    time = hours(1200)
    labels = write("mine.json", json.dumps([[time[800], time[819]]]))
    found = load(path, ("series",), tasks=("anomaly",), window=20, labels=labels)
    assert found.test.all()[1].any()


def test_fine_series_are_averaged_for_anomalies(write: Write) -> None:
    path = write("s.csv", series_text(20000, step=300))
    found = load(path, ("series",), tasks=("anomaly",), target="x")
    assert any("(hour), 1667 in all" in notice for notice in found.notices)
    assert load_inputs(path, found.preprocessing).arrays[0].shape[1:] == (48, 1)


def test_etth1_is_parted_as_usual(real: Real) -> None:
    found = load(real("timeseries/ETTh1.csv"), ("series",), target="OT", window=96, horizon=24)
    months = 30 * 24
    assert len(found.train) == 12 * months - 96 - 24 + 1
    assert len(found.validation) == len(found.test) == 4 * months - 24 + 1
    assert found.input_shape == (96, 7)


def test_opsd_has_gaps_and_can_be_foretold(real: Real) -> None:
    found = load(real("timeseries/opsd_germany_daily.csv"), ("series",), target="Wind", window=30, horizon=7)
    assert any("rows have no value of 'Wind'" in notice for notice in found.notices)
    assert all(np.isfinite(array).all() for array in found.train.all())


def test_machine_temperature_failures_stand_out(real: Real) -> None:
    """Reconstructed from the one principal component of normal windows, labeled windows are the worse ones."""
    from sklearn.metrics import roc_auc_score

    found = load(real("timeseries/nab_machine_temperature_system_failure.csv"), ("image", "series"), tasks=("anomaly",))
    assert found.input_shape == (48, 1)
    (train, _), (windows, marks) = ((x[:, :, 0], y) for x, y in (found.train.all(), found.test.all()))
    mean = train.mean(axis=0)
    direction = np.linalg.svd(train - mean, full_matrices=False)[2][:1]
    off = windows - mean
    error = np.square(off - off @ direction.T @ direction).mean(axis=1)
    assert roc_auc_score(marks, error) >= 0.8


def test_ambient_temperature_loads_with_its_labels(real: Real) -> None:
    found = load(real("timeseries/nab_ambient_temperature_system_failure.csv"), ("series",), tasks=("anomaly",))
    assert found.timeline is not None
    assert len(found.timeline.labeled) == 2
    assert found.test.all()[1].any()


@pytest.mark.parametrize("name", [*PLANE, *LOGIC, "sines", "mackey_glass", "cubic_spiral", "narma10", "adding_problem"])
def test_generated_sets_are_the_seeds_alone(name: str) -> None:
    one, two, other = (load(name, seed=seed).train.all() for seed in (1, 1, 2))
    for a, b in zip(one, two, strict=True):
        np.testing.assert_array_equal(a, b)
    if name not in LOGIC and name != "mackey_glass":
        assert not np.array_equal(one[0], other[0])


def test_the_adding_problem_adds() -> None:
    found = load("adding_problem")
    x, y = found.test.all()
    assert (x[:, :, 1].sum(axis=1) == 2).all()
    np.testing.assert_allclose(found.preprocessing.inverse_targets(y)[:, 0], (x[:, :, 0] * x[:, :, 1]).sum(axis=1), atol=1e-5)


def test_narma_obeys_its_equation() -> None:
    u = np.random.default_rng(0).uniform(0, 0.5, 50)
    y = narma10(u)
    t = 30
    assert y[t + 1] == pytest.approx(0.3 * y[t] + 0.05 * y[t] * sum(y[t - k] for k in range(10)) + 1.5 * u[t - 9] * u[t] + 0.1)


def test_mackey_glass_has_converged_and_is_chaotic() -> None:
    coarse, fine = mackey_glass(100, steps=10), mackey_glass(100, steps=20)
    assert np.abs(coarse[:50] - fine[:50]).max() < 0.05
    series = mackey_glass(2000)
    assert 0.2 < series.min() < 0.5
    assert 1.2 < series.max() < 1.4


def test_the_cubic_spiral_is_that_of_scipy_and_no_window_has_two_trajectories() -> None:
    from scipy.integrate import solve_ivp

    def slope(t: float, x: np.ndarray) -> list[float]:  # type: ignore[type-arg]
        return [-0.1 * x[0] ** 3 - 2 * x[1] ** 3, 2 * x[0] ** 3 - 0.1 * x[1] ** 3]

    true = solve_ivp(slope, (0, 1), [2, 0], rtol=1e-10)
    np.testing.assert_allclose(spiral(np.array([[2.0, 0.0]]), 51)[0, -1], true.y[:, -1], atol=1e-3)
    found = load("cubic_spiral", ("series",), window=3, horizon=5)
    past, future = found.test.all()
    path = found.preprocessing.inverse_targets(np.concatenate([past, future], axis=1).astype(np.float64))
    assert (len(past), path.shape[1:]) == (240, (8, 2))
    np.testing.assert_allclose(path, spiral(path[:, 0], 8), atol=1e-4)


def test_several_columns_of_a_series_are_forecast(write: Write) -> None:
    one, both = (load(write("s.csv", series_text()), ("series",), target=t, window=10, horizon=3) for t in ("y", "x, y"))
    assert (both.outputs, both.preprocessing.to_json()["targets"]) == (2, ["x", "y"])
    np.testing.assert_array_equal(both.train.all()[0], one.train.all()[0])
    np.testing.assert_array_equal(both.train.all()[1][..., 1:], one.train.all()[1])
    with pytest.raises(UserError, match="'z'"):
        load(write("s.csv", series_text()), ("series",), target="y,z", window=10, horizon=3)


@pytest.mark.parametrize("name", PLANE)
def test_points_have_classes_that_neighbors_share(name: str) -> None:
    from sklearn.neighbors import KNeighborsClassifier

    found = load(name)
    assert found.input_shape == (2,)
    assert KNeighborsClassifier(5).fit(*found.train.all()).score(*found.test.all()) >= 0.9


@pytest.mark.parametrize(("name", "expected"), LOGIC.items())
def test_truth_tables(name: str, expected: tuple[int, ...]) -> None:
    x, y = load(name).train.all()
    assert x.tolist() == [list(row) for row in product((0, 1), repeat=len(expected).bit_length() - 1)]
    assert tuple(y) == expected


def test_a_window_that_training_had_must_be_given_again(write: Write) -> None:
    found = load(write("s.csv", series_text()), ("series",), target="y", window=10, horizon=3)
    with pytest.raises(UserError, match=r"reads 10 rows. .* has 4"):
        load_inputs(write("short.csv", "\n".join(series_text().splitlines()[:5])), found.preprocessing)


def test_times_are_read_as_training_read_them(write: Write) -> None:
    days = np.arange("2023-01-01", "2024-03-01", dtype="datetime64[D]").astype(object)
    lines = [f"{day:%m/%d/%Y},{k % 7}" for k, day in enumerate(days)]
    found = load(write("s.csv", "\n".join(["time,x", *lines])), ("series",), window=8, horizon=2)
    new = "\n".join(["time,x", *(f"{month:02d}/01/2024,{month}" for month in range(1, 9))])
    assert load_inputs(write("new.csv", new), found.preprocessing).rows == ("2024-08-01T00:00:00",)
