"""Baselines are what their names say: each equals a separate computation."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from nnatomy import data
from nnatomy.catalog import architecture
from nnatomy.data import Dataset, Fold, Reading
from nnatomy.errors import UserError
from nnatomy.tasks import Anomaly, Classification, FittedBaseline, Forecast, Language, Reconstruction, Regression, Task
from nnatomy.tasks.classification import C
from nnatomy.tasks.forecast import season

pytestmark = pytest.mark.any_kernels

NARROW = replace(architecture("autoencoder").recipes[0], options={"code": 2})
"""A recipe whose network has two numbers in its code, which the principal components go by."""


def fitted_to(task: type[Task], name: str, dataset: Dataset) -> FittedBaseline:
    return task.baselines[name](dataset, (NARROW,))


def score(task: type[Task], fitted: FittedBaseline, dataset: Dataset) -> dict[str, float]:
    return task(NARROW, dataset).score(fitted.outputs, dataset.test).metrics


def measured(task: type[Task], name: str, dataset: Dataset) -> dict[str, float]:
    return score(task, fitted_to(task, name, dataset), dataset)


def test_the_majority_class_and_logistic_regression() -> None:
    dataset = data.load("breast_cancer", fold=Fold(0, 3))
    y = dataset.test.all()[1]
    most = np.bincount(dataset.train.all()[1]).argmax()
    assert measured(Classification, "majority class", dataset)["accuracy"] == pytest.approx(np.mean(y == most))
    fitted = fitted_to(Classification, "logistic regression", dataset)
    assert score(Classification, fitted, dataset)["accuracy"] > 0.93
    assert (fitted.parameters, fitted.multiply_adds) == (31, 30)
    assert fitted.chosen in {f"C = {c:g}" for c in C}
    probabilities = np.exp(fitted.outputs(*dataset.test.all()[:-1]))
    assert np.allclose(probabilities.sum(axis=1), 1)


def test_regressions() -> None:
    dataset = data.load("diabetes", fold=Fold(0, 3))
    assert measured(Regression, "mean", dataset)["r2"] == pytest.approx(0, abs=0.03)
    (x, y), (x_test, y_test) = dataset.train.all(), dataset.test.all()
    fitted = fitted_to(Regression, "ridge regression", dataset)
    alpha = float(fitted.chosen.removeprefix("alpha = "))
    assert fitted.outputs(x_test) == pytest.approx(Ridge(alpha).fit(x, y).predict(x_test).reshape(y_test.shape), abs=1e-4)
    assert score(Regression, fitted, dataset)["r2"] > 0.35


def test_forecasts_by_the_last_value_and_by_season(tmp_path: Path) -> None:
    from nnatomy.data.kinds.series.series import Series, forecast_dataset

    t = np.arange(1200)
    values = np.sin(2 * np.pi * t / 24) + 0.05 * np.random.default_rng(0).normal(size=1200)
    times = t.astype("datetime64[h]").astype("datetime64[s]")
    reading = Reading(fold=Fold(2, 3), window=48, horizon=12)
    dataset = forecast_dataset(Series("s", "time", times, ("x",), values[:, None]), "x", reading)
    past, future = dataset.test.all()
    naive = measured(Forecast, "last value", dataset)
    assert naive["mae"] == pytest.approx(np.abs(past[:, -1:] - future).mean(), rel=1e-5)
    fitted = fitted_to(Forecast, "seasonal naive", dataset)
    assert fitted.chosen in ("a season of 24 rows", "a season of 48 rows")
    assert np.array_equal(fitted.outputs(past), past[:, -24:-12] if "24" in fitted.chosen else past[:, -48:-36])
    assert score(Forecast, fitted, dataset)["mae"] < 0.2 * naive["mae"]
    assert measured(Forecast, "ridge regression", dataset)["mse"] < score(Forecast, fitted, dataset)["mse"]


def test_a_season_shorter_than_the_horizon_repeats() -> None:
    x = np.arange(10.0).reshape(1, 10, 1)
    assert season(x, [0], 3, 7)[0, :, 0].tolist() == [7, 8, 9, 7, 8, 9, 7]


def test_a_season_is_found_in_what_drifts() -> None:
    from nnatomy.data.kinds.series.series import Series, forecast_dataset

    rng = np.random.default_rng(0)
    t = np.arange(1500)
    values = np.cumsum(rng.normal(0, 0.2, 1500)) + np.sin(2 * np.pi * t / 24) + 0.1 * rng.normal(size=1500)
    reading = Reading(fold=Fold(2, 3), window=60, horizon=24)
    dataset = forecast_dataset(Series("s", "t", t.astype("datetime64[s]"), ("x",), values[:, None]), "x", reading)
    assert fitted_to(Forecast, "seasonal naive", dataset).chosen == "a season of 24 rows"


def test_a_straight_line_has_no_season(tmp_path: Path) -> None:
    from nnatomy.data.kinds.series.series import Series, forecast_dataset

    series = Series("s", "time", np.arange(600).astype("datetime64[s]"), ("x",), np.arange(600.0)[:, None])
    reading = Reading(fold=Fold(1, 3), window=16, horizon=4)
    with pytest.raises(UserError, match="16 rows without one"):
        fitted_to(Forecast, "seasonal naive", forecast_dataset(series, "x", reading))


def test_counts_of_letters_foretell_text(tmp_path: Path) -> None:
    path = tmp_path / "t.txt"
    path.write_text("abcab" * 300, encoding="utf-8")
    dataset = data.load(path, window=16, fold=Fold(1, 3))
    one, two = (measured(Language, name, dataset) for name in ("unigram counts", "bigram counts"))
    assert one["bits_per_token"] == pytest.approx(1.522, abs=0.02)  # the entropy of 2/5, 2/5, 1/5
    assert two["bits_per_token"] == pytest.approx(0.4, abs=0.05)  # only what follows b is open: half c, half a
    assert two["perplexity"] == pytest.approx(2 ** two["bits_per_token"])


def test_anomalies_by_their_distance_from_the_mean() -> None:
    from nnatomy.data.dataset import ArraySplit

    dataset = data.load("sines", fold=Fold(1, 3), window=8, horizon=1)
    windows = np.zeros((6, 8, 1), np.float32)
    windows[:3] = 3.0
    windows[5, 0] = 100.0
    dataset = replace(dataset, task="anomaly", test=ArraySplit((windows, np.array([1, 1, 1, 0, 0, 0]))))
    assert measured(Anomaly, "z-score", dataset)["auc"] == pytest.approx(2 / 3)


def test_principal_components_are_the_best_plane() -> None:
    dataset = data.load("wine", ("table",), tasks=("reconstruction",), fold=Fold(0, 3))
    x, x_test = dataset.train.all()[0], dataset.test.all()[0]
    _, _, v = np.linalg.svd(x - x.mean(axis=0), full_matrices=False)
    inside = (x_test - x.mean(axis=0)) @ v[:2].T @ v[:2] + x.mean(axis=0)
    found = measured(Reconstruction, "principal components", dataset)
    assert found["mse"] == pytest.approx(np.mean((x_test - inside) ** 2), rel=1e-4)
    assert measured(Reconstruction, "mean", dataset)["explained"] == pytest.approx(0, abs=0.1)


def test_sentences_are_counts_of_words(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    lines = [" ".join([*rng.choice(["the", "a", "film"], 5), "good" if k % 2 else "bad"]) + f"\t{k % 2}" for k in range(120)]
    path = tmp_path / "reviews.tsv"
    path.write_text("\n".join(lines), encoding="utf-8")
    dataset = data.load(path, ("sentences",), fold=Fold(0, 3))
    assert measured(Classification, "logistic regression", dataset)["accuracy"] == 1.0


@pytest.mark.parametrize("name", ["logistic regression", "gradient boosting"])
def test_with_one_class_among_the_training_rows_a_baseline_always_answers_it(name: str) -> None:
    """Small parts of a learning curve, and folds of a rare class, have no other."""
    iris = data.load("iris")
    x, y = iris.train.all()
    one = replace(iris, train=data.ArraySplit((x[y == 1], y[y == 1])))
    assert (Classification.baselines[name](one, ()).outputs(x).argmax(axis=1) == 1).all()
