"""Architectures as scikit-learn estimators pass scikit-learn's own checks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_diabetes, load_digits, load_iris
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures
from sklearn.utils.estimator_checks import check_estimator

import nnatomy as nn

REPEATED = {"check_sample_weight_equivalence_on_dense_data": "dropout draws for each row that is given"}
NO_LOSS = REPEATED | {
    "check_sample_weights_not_overwritten": "a rule without a loss takes no weights",
    "check_class_weight_classifiers": "a rule without a loss takes no weights",
    "check_classifier_multioutput": "a rule without a loss has one class a row",
    "check_classifiers_multilabel_representation_invariance": "a rule without a loss has one class a row",
    "check_classifiers_multilabel_output_format_predict": "a rule without a loss has one class a row",
    "check_classifiers_multilabel_output_format_predict_proba": "a rule without a loss has one class a row",
    "check_classifiers_multilabel_output_format_decision_function": "a rule without a loss has one class a row",
}


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
@pytest.mark.parametrize(
    ("estimator", "without"),
    [
        (nn.NeuralClassifier(epochs=30), REPEATED),
        (nn.NeuralRegressor(epochs=30), REPEATED),
        (nn.NeuralClassifier("perceptron", epochs=10), NO_LOSS),
    ],
    ids=["mlp classifier", "mlp regressor", "perceptron"],
)
def test_scikit_learns_own_checks(estimator: Any, without: dict[str, str]) -> None:
    found = check_estimator(estimator, on_fail=None, expected_failed_checks=without)
    failed = {check["check_name"]: check["exception"] for check in found if check["status"] == "failed"}
    assert not failed, list(failed)
    assert sum(check["status"] == "passed" for check in found) > 40


def test_cross_validation_and_strings_for_classes() -> None:
    x, y = load_iris(return_X_y=True)
    names = np.array(["setosa", "versicolor", "virginica"])[y]
    assert cross_val_score(nn.NeuralClassifier(random_state=0, epochs=40), x, names, cv=3).min() > 0.9


def test_regression_beats_the_mean_and_takes_several_targets() -> None:
    x, y = load_diabetes(return_X_y=True)
    model = nn.NeuralRegressor(random_state=0, epochs=20).fit(x[:300], y[:300])
    assert model.score(x[300:], y[300:]) > 0.3
    both = np.stack([y, -y], axis=1)
    assert nn.NeuralRegressor(random_state=0, epochs=2).fit(x, both).predict(x[:5]).shape == (5, 2)


def test_in_a_pipeline_and_a_search() -> None:
    x, y = load_iris(return_X_y=True)
    model = make_pipeline(PolynomialFeatures(2, include_bias=False), nn.NeuralClassifier(random_state=0, epochs=5))
    search = GridSearchCV(model, {"neuralclassifier__settings": [{"hidden": (4,)}, {"hidden": (32,)}]}, cv=2).fit(x, y)
    assert search.best_score_ > 0.5


def test_an_image_architecture_takes_rows_of_pixels() -> None:
    x, y = load_digits(return_X_y=True)
    x = np.kron(x.reshape(-1, 8, 8), np.ones((1, 4, 4)))[:, 2:-2, 2:-2].reshape(len(x), -1)
    model = nn.NeuralClassifier("lenet5", input_shape=(1, 28, 28), epochs=3, random_state=0).fit(x[:800], y[:800])
    assert model.score(x[800:1200], y[800:1200]) > 0.8


def test_the_same_random_state_gives_the_same_model() -> None:
    x, y = load_iris(return_X_y=True)
    a, b = (nn.NeuralClassifier(random_state=5, epochs=3).fit(x, y).predict_proba(x) for _ in range(2))
    np.testing.assert_array_equal(a, b)


def test_an_architecture_that_does_not_fit_says_so() -> None:
    with pytest.raises(nn.UserError, match="input_shape"):
        nn.NeuralClassifier("lenet5").fit(*load_iris(return_X_y=True))


def test_patience_is_heard_with_rows_that_choose_the_epoch() -> None:
    x, y = load_iris(return_X_y=True)
    common = {"epochs": 60, "lr": 0.05, "random_state": 0}
    whole = nn.NeuralClassifier("mlp", **common).fit(x, y)
    stopped = nn.NeuralClassifier("mlp", settings={"patience": 1}, **common).fit(x, y)
    assert (whole.n_iter_, stopped.n_iter_ < 60) == (60, True)
    with pytest.raises(nn.UserError, match="validation_fraction is a fraction"):
        nn.NeuralClassifier("mlp", validation_fraction=1.5).fit(x, y)
