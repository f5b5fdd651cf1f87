"""What users of scikit-learn expect of an estimator: weights, classes, frames, scores, training that goes on and stops."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit, log_expit, log_softmax
from sklearn.base import clone
from sklearn.datasets import load_iris, make_multilabel_classification
from sklearn.metrics import f1_score
from sklearn.model_selection import GridSearchCV
from sklearn.multioutput import ClassifierChain

import nnatomy as nn

rng = np.random.default_rng(0)
X, Y = load_iris(return_X_y=True)
X, Y = X[::5], Y[::5]
TWO = Y > 0
REAL = X @ rng.normal(size=(4, 2))
WHOLE = rng.integers(1, 4, len(X))
LABELS = make_multilabel_classification(60, 6, n_classes=3, random_state=0)
PLAIN: dict[str, Any] = {"batch_size": 1000, "epochs": 15, "random_state": 0}
EXACT = {"hidden": (8,), "dropout": 0, "schedule": "none", "average": "none"}


def classifier(**more: Any) -> nn.NeuralClassifier:
    return nn.NeuralClassifier(**{**PLAIN, "settings": EXACT, **more})


def regressor(**more: Any) -> nn.NeuralRegressor:
    return nn.NeuralRegressor(**{**PLAIN, "settings": EXACT, **more})


def scores(model: Any, x: Any = X) -> Any:
    return model.decision_function(x) if hasattr(model, "decision_function") else model.predict(x)


def net() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3))


# Weights

LEARNERS: dict[str, tuple[Callable[[], Any], Any]] = {
    "classes": (classifier, Y),
    "two classes": (classifier, TWO),
    "names": (classifier, np.array(["x", "y", "z"])[Y]),
    "numbers": (regressor, REAL[:, 0]),
    "several numbers": (regressor, REAL),
    "labels": (classifier, np.stack([Y > 0, Y > 1], axis=1).astype(int)),
    "an own model": (partial(nn.NeuralClassifier, net(), **PLAIN), Y),
    "a penalty": (partial(classifier, settings={**EXACT, "l1": 0.01}), Y),
    "averaged weights": (partial(classifier, settings={**EXACT, "average": 0.8}), Y),
    "another optimizer": (partial(classifier, settings={**EXACT, "optimizer": "SGD"}, lr=0.1), Y),
}


@pytest.mark.parametrize("name", LEARNERS)
def test_a_row_of_weight_two_is_a_row_given_twice(name: str) -> None:
    make, y = LEARNERS[name]
    none = np.where(np.arange(len(X)) % 4 == 3, 0, WHOLE)  # a weight of 0: the row is not there
    for weights in (WHOLE, none, WHOLE * 0.5):
        times = np.round(weights / weights[weights > 0].min()).astype(int)
        times = times if (weights != WHOLE * 0.5).any() else WHOLE
        repeated = make().fit(np.repeat(X, times, axis=0), np.repeat(y, times, axis=0))
        weighted = make().fit(X, y, sample_weight=weights)
        np.testing.assert_allclose(scores(weighted), scores(repeated), rtol=2e-3, atol=2e-4)
    assert np.abs(scores(weighted) - scores(make().fit(X, y))).max() > 5e-3


def test_alike_weights_are_none_and_rows_come_in_batches() -> None:
    same = [classifier(batch_size=7).fit(X, Y, sample_weight=w) for w in (None, np.ones(len(X)), np.full(len(X), 3.0))]
    for other in same[1:]:
        np.testing.assert_array_equal(scores(other), scores(same[0]))
    heavy = classifier(batch_size=7, epochs=40).fit(X, Y, sample_weight=np.where(Y == 2, 1000.0, 1e-3))
    assert (heavy.predict(X) == 2).all()


@pytest.mark.parametrize("weight", ["balanced", {0: 3.0, 1: 0.5, 2: 1.0}, {2: 5.0}], ids=str)
def test_class_weight_is_the_weight_of_the_rows_of_a_class(weight: Any) -> None:
    x, y = X[:24], Y[:24]
    counts = np.bincount(y)
    each = (
        len(y) / (len(counts) * counts) if weight == "balanced" else np.array([weight.get(c, 1.0) for c in range(len(counts))])
    )
    given = {"class_weight": {k: v for k, v in weight.items() if k < len(counts)} if weight != "balanced" else weight}
    np.testing.assert_array_equal(scores(classifier(**given).fit(x, y)), scores(classifier().fit(x, y, sample_weight=each[y])))
    product = classifier(class_weight={0: 2.0}).fit(X, Y, sample_weight=WHOLE)
    np.testing.assert_array_equal(
        scores(product), scores(classifier().fit(X, Y, sample_weight=WHOLE * np.where(Y == 0, 2.0, 1.0)))
    )


@pytest.mark.parametrize("axes", [(6, 3), (6, 3, 4)], ids=str)
@pytest.mark.parametrize("weight", [None, np.array([1.0, 2.0, 0.5])], ids=["", "of classes"])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("ignored", [False, True])
def test_every_loss_heeds_weights(axes: tuple[int, ...], weight: Any, smoothing: float, ignored: bool) -> None:
    """Mean of w l over the rows of weight above 0, as PyTorch's unreduced loss gives it."""
    import torch

    z, t = rng.normal(size=axes), rng.integers(0, 3, (axes[0], *axes[2:]))
    if ignored:
        t[0] = -100
    w = np.array([1.0, 2.0, 0.5, 3.0, 0.0, 1.5])
    kwargs = {"label_smoothing": smoothing}
    each = torch.nn.functional.cross_entropy(
        torch.tensor(z), torch.tensor(t), None if weight is None else torch.tensor(weight), reduction="none", **kwargs
    ).numpy()
    rows = w.reshape(-1, *(1,) * (each.ndim - 1))
    counts = (t >= 0) * (rows > 0) * (np.ones(3) if weight is None else weight)[np.maximum(t, 0)]
    with nn.functional.masked_examples(w):
        found = nn.functional.cross_entropy(nn.Tensor(z), nn.Tensor(t), weight, **kwargs)
        squares = nn.functional.mse_loss(nn.Tensor(z), nn.Tensor(np.zeros_like(z)))
    np.testing.assert_allclose(found.data, (each * rows).sum() / counts.sum(), rtol=1e-6)
    whole = w.reshape(-1, *(1,) * (z.ndim - 1))
    np.testing.assert_allclose(squares.data, (z**2 * whole).sum() / (z[w > 0].size), rtol=1e-6)


@pytest.mark.parametrize("backend", [None, "jax"])
def test_weights_are_the_same_as_a_plan_and_on_jax(backend: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    fitted = [classifier(batch_size=8).fit(X, Y, sample_weight=WHOLE)]
    if backend is None:
        monkeypatch.setattr("nnatomy.training.compilation.Steps._pays", lambda *_: True)
    else:
        pytest.importorskip("jax")
    fitted.append(classifier(batch_size=8, backend=backend).fit(X, Y, sample_weight=WHOLE))
    np.testing.assert_allclose(scores(fitted[1]), scores(fitted[0]), rtol=1e-3, atol=1e-4)


# Scores


@pytest.mark.parametrize("name", ["classes", "two classes", "names", "labels", "an own model"])
def test_scores_and_logarithms_are_those_of_the_probabilities(name: str) -> None:
    make, y = LEARNERS[name]
    model = make().fit(X, y)
    z, p, log_p, chosen = model.decision_function(X), model.predict_proba(X), model.predict_log_proba(X), model.predict(X)
    np.testing.assert_allclose(log_p, np.log(p), rtol=1e-9, atol=1e-12)
    if name == "labels":
        assert z.shape == p.shape == y.shape
        np.testing.assert_allclose(p, expit(z))
        np.testing.assert_array_equal(chosen, p > 0.5)
    elif name == "two classes":
        assert z.shape == (len(X),)
        np.testing.assert_allclose(p[:, 1], expit(z))
        np.testing.assert_array_equal(chosen, model.classes_[(z > 0).astype(int)])
    else:
        np.testing.assert_allclose(log_p, log_softmax(z, axis=1))
        np.testing.assert_array_equal(chosen, model.classes_[z.argmax(axis=1)])
    far = model.predict_log_proba(X * 1e6)
    assert np.isfinite(far).all()
    assert name == "an own model" or far.min() < -800  # whose probability is 0 in float64; tanh has bounds
    if name == "labels":
        np.testing.assert_allclose(far, log_expit(model.decision_function(X * 1e6)))


# Frames

FRAME = pd.DataFrame(X, columns=["a", "b", "c", "d"], index=np.arange(len(X)) * 3)


@pytest.mark.parametrize("make", [classifier, regressor])
def test_a_frame_gives_its_names_and_its_order_is_kept(make: Any) -> None:
    y = pd.Series(Y, index=FRAME.index)
    model = make(epochs=2).fit(FRAME, y, sample_weight=pd.Series(WHOLE))
    assert model.feature_names_in_.tolist() == ["a", "b", "c", "d"]
    assert model.n_features_in_ == 4
    np.testing.assert_array_equal(scores(model, FRAME), scores(make(epochs=2).fit(X, Y, sample_weight=WHOLE)))
    with pytest.raises(ValueError, match="feature names"):
        model.predict(FRAME[["b", "a", "c", "d"]])
    with pytest.raises(ValueError, match="feature names"):
        model.partial_fit(FRAME.rename(columns={"a": "e"}), y)


# Training that goes on, and stops


@pytest.mark.parametrize("name", LEARNERS)
def test_partial_fit_three_times_is_one_fit_of_three_epochs(name: str) -> None:
    make, y = LEARNERS[name]
    whole, parts = make().set_params(epochs=3, batch_size=8).fit(X, y), make().set_params(batch_size=8)
    for _ in range(3):
        parts.partial_fit(X, y)
        parts = copy.deepcopy(parts)
    assert parts.n_iter_ == 3
    np.testing.assert_array_equal(scores(parts), scores(whole))


def test_partial_fit_knows_classes_that_come_later() -> None:
    model = classifier(batch_size=10, lr=0.03, settings={**EXACT, "weight_decay": 0.01})
    order = np.random.default_rng(1)
    model.partial_fit(X[Y < 1], Y[Y < 1], classes=[0, 1, 2])
    for _ in range(60):
        for part in np.array_split(order.permutation(len(X)), 3):
            model.partial_fit(X[part], Y[part], sample_weight=WHOLE[part])
    assert model.score(X, Y) > 0.9
    for y, more in ((Y + 1, {}), (Y, {"classes": [0, 1]})):
        with pytest.raises(nn.UserError, match="goes on with the classes"):
            model.partial_fit(X, y, **more)
    with pytest.raises(nn.UserError, match="among the classes"):
        classifier().partial_fit(X, Y, classes=[0, 1])
    with pytest.raises(nn.UserError, match="goes on with as many targets"):
        regressor().partial_fit(X, Y).partial_fit(X, REAL)


@pytest.mark.parametrize(("make", "y"), [(classifier, Y), (regressor, REAL)])
def test_warm_start_begins_with_the_last_weights(make: Any, y: Any) -> None:
    settings = {**EXACT, "optimizer": "SGD"}  # whose steps have no memory: two fits of 2 are one of 4
    warm = make(settings=settings, lr=0.1, epochs=2, warm_start=True).fit(X, y).fit(X, y)
    np.testing.assert_allclose(scores(warm), scores(make(settings=settings, lr=0.1, epochs=4).fit(X, y)), rtol=1e-4, atol=1e-5)
    cold = make(settings=settings, lr=0.1, epochs=2).fit(X, y).fit(X, y)
    assert np.abs(scores(warm) - scores(cold)).max() > 1e-3
    if make is classifier:
        with pytest.raises(nn.UserError, match="goes on with the classes"):
            warm.fit(X, TWO)


def test_early_stopping_holds_rows_out_and_ends_in_time() -> None:
    x, y = load_iris(return_X_y=True)
    common = {"epochs": 200, "lr": 0.05}
    stopped = classifier(early_stopping=True, n_iter_no_change=3, **common).fit(x, y, sample_weight=np.arange(150) + 1.0)
    assert stopped.n_iter_ < 200
    assert stopped.score(x, y) > 0.9
    same = classifier(**common, settings={**EXACT, "patience": 3}, validation_fraction=0.1)
    np.testing.assert_array_equal(
        scores(same.fit(x, y), x), scores(classifier(early_stopping=True, n_iter_no_change=3, **common).fit(x, y), x)
    )
    assert regressor(early_stopping=True, n_iter_no_change=2, epochs=300, lr=0.1).fit(x, x[:, 0]).n_iter_ < 300


# Several labels a row


def test_several_labels_are_learned_each_by_itself() -> None:
    x, y = LABELS
    model = nn.NeuralClassifier(random_state=0, epochs=60).fit(x, y)
    found = model.predict(x)
    assert found.shape == y.shape
    assert f1_score(y, found, average="micro") > 0.85
    assert model.score(x, y) == (found == y).all(axis=1).mean()
    own = nn.NeuralClassifier(nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 3)), epochs=60, random_state=0)
    assert f1_score(y, own.fit(x, y).predict(x), average="micro") > 0.8
    assert ClassifierChain(classifier()).fit(x, y).predict(x).shape == y.shape


# Refusals

REFUSED: dict[str, tuple[Any, Any, str]] = {
    "half an epoch": (classifier(epochs=1.5), {}, "takes a whole number for epochs. Received 1.5"),
    "true epochs": (classifier(epochs=True), {}, "takes a whole number for epochs. Received True"),
    "epochs as text": (regressor(epochs="3"), {}, "takes a whole number for epochs. Received '3'"),
    "no number of epochs": (classifier(epochs=float("nan")), {}, "takes a whole number for epochs. Received nan"),
    "half a row": (regressor(batch_size=2.5), {}, "takes a whole number for batch_size. Received 2.5"),
    "no epochs": (classifier(epochs=0), {}, "at least 1. Received 0"),
    "a rate as text": (classifier(lr="fast"), {}, "takes a number for lr. Received 'fast'"),
    "a true rate": (classifier(lr=True), {}, "takes a number for lr. Received True"),
    "a fraction as text": (classifier(validation_fraction="few"), {}, "takes a number for validation_fraction"),
    "settings": (classifier(settings=3), {}, "takes a dictionary for settings. Received 3"),
    "sides": (classifier(input_shape=(2.0, 2)), {}, "input_shape has whole numbers"),
    "early": (classifier(early_stopping="no"), {}, "takes True or False for early_stopping. Received 'no'"),
    "warm": (classifier(warm_start="no").fit(X, Y), {}, "takes True or False for warm_start. Received 'no'"),
    "no patience": (classifier(early_stopping=True, n_iter_no_change=0), {}, "n_iter_no_change counts epochs. Received 0"),
    "nothing held out": (classifier(early_stopping=True, validation_fraction=0), {}, "early_stopping needs rows"),
    "sequences": (nn.NeuralClassifier("lstm"), {}, "Choose another architecture, such as mlp."),
    "pictures": (nn.NeuralClassifier("lenet5"), {}, "or give input_shape=(channels, height, width)."),
    "negative weights": (classifier(), {"sample_weight": -WHOLE}, "Negative values"),
    "too few weights": (classifier(), {"sample_weight": WHOLE[1:]}, "sample_weight.shape"),
    "no weight": (classifier(), {"sample_weight": 0 * WHOLE}, "at least one non-zero"),
    "a rule": (nn.NeuralClassifier("perceptron"), {"sample_weight": WHOLE}, "Weights of rows and classes scale a loss"),
    "a deaf loss": (
        nn.NeuralClassifier(net(), loss=lambda out, y: nn.functional.cross_entropy(out, y, reduction="none").mean()),
        {"sample_weight": WHOLE}, "averages by nn.functional.batch_mean",
    ),
    "no such classes": (classifier(class_weight="even"), {}, "class_weight"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_is_refused(name: str) -> None:
    model, given, says = REFUSED[name]
    with pytest.raises(ValueError) as found:
        model.fit(X, Y, **given)
    assert says in str(found.value)


def test_more_refusals() -> None:
    x, y = LABELS
    refused: tuple[tuple[Callable[[], Any], str], ...] = (
        (lambda: classifier(class_weight="balanced").fit(x, y), "class_weight is for one class a row"),
        (lambda: nn.NeuralClassifier("perceptron").fit(x, y), "Several labels a row need one score each"),
        (lambda: classifier(early_stopping=True).partial_fit(X, Y), "partial_fit() has no rows to choose"),
    )
    for make, says in refused:
        with pytest.raises(nn.UserError) as found:
            make()
        assert says in str(found.value)


@pytest.mark.parametrize(
    ("option", "value"), [("offline", "no"), ("baselines", 1), ("new_head", "false"), ("epochs", True), ("lr", True)]
)
def test_an_option_of_a_run_is_of_its_type(option: str, value: Any, tmp_path: Any) -> None:
    with pytest.raises(nn.UserError, match=rf"train\(\) takes .* for {option}\. Received {value!r}"):
        nn.train("mlp", (X, Y), **{"epochs": 1, option: value}, out=tmp_path / "run")
    assert not list(tmp_path.iterdir())


def test_numbers_of_numpy_are_numbers() -> None:
    search = GridSearchCV(classifier(), {"epochs": np.arange(1, 3), "lr": np.array([1e-2])}, cv=2).fit(X, Y)
    assert search.best_params_["epochs"] in (1, 2)
    assert clone(classifier(class_weight="balanced")).class_weight == "balanced"
