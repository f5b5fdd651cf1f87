"""The learning-rate finder: losses as by NumPy, a rate that trains, and nothing that is changed."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import pytest

import nnatomy as nn
from nnatomy.runs.own import Own
from nnatomy.runs.prepare import prepare
from nnatomy.runs.rates import DECAY, LEAST
from nnatomy.runs.request import Request

pytestmark = pytest.mark.any_kernels
RNG = np.random.default_rng(0)
X = RNG.normal(size=(200, 4)).astype(np.float32)
Y = (X @ np.array([1.0, -2.0, 0.5, 0.0]) + 0.1 * RNG.normal(size=200)).astype(np.float32)


def linear() -> Any:
    nn.seed(0)
    return nn.Linear(4, 1)


def test_losses_are_those_of_gradient_descent_with_growing_rates() -> None:
    model, loss = linear(), lambda model, x, y: ((out := model(x)).reshape(-1).sub(y.reshape(-1)).square().mean(), out)
    options: dict[str, Any] = {"loss": loss, "optimizer": partial(nn.optim.SGD, lr=7.0)}
    found = nn.find_learning_rate(
        model, (X, Y), lowest=1e-3, highest=10, steps=60, batch_size=1000, precision="float64", **options
    )
    prepared = prepare(Request("Linear", batch_size=1000, precision="float64"), Own(linear(), (X, Y), **options))
    train = prepared.dataset.train
    x, y = (np.asarray(a, np.float64) for a in train.take(np.arange(len(train))))
    y = y.reshape(-1)
    parameters = {name: np.asarray(p.data, np.float64) for name, p in model.named_parameters()}
    w, b = (next(p for p in parameters.values() if p.ndim == ndim) for ndim in (2, 1))
    w = w.reshape(-1)
    losses = []
    for rate in np.geomspace(1e-3, 10, 60):
        error = x @ w + b - y
        losses.append(np.mean(error**2))
        w, b = w - rate * 2 * x.T @ error / len(y), b - rate * 2 * error.mean()
        if losses[-1] > 4 * losses[0]:
            break
    assert len(losses) < 60, "the search ends where the loss breaks"
    np.testing.assert_allclose(found.losses, losses, rtol=1e-4)
    np.testing.assert_allclose(found.rates, np.geomspace(1e-3, 10, 60)[: len(losses)])
    np.testing.assert_allclose(found.smoothed, pd.Series(found.losses).ewm(alpha=1 - DECAY).mean())
    largest = np.linalg.eigvalsh(2 * np.c_[x, np.ones(len(x))].T @ np.c_[x, np.ones(len(x))] / len(x)).max()
    assert found.suggestion is not None
    assert 0.01 < found.suggestion < 2 / largest, "gradient descent converges below 2 / the largest curvature"


def test_nothing_is_changed() -> None:
    model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 1))
    model.eval()
    x, y = X.copy(), Y.copy()
    nn.seed(5)
    before = {name: value.copy() for name, value in model.state_dict().items()}
    expected = nn.randn(3).numpy()
    nn.seed(5)
    first = nn.find_learning_rate(model, (x, y), steps=20)
    assert (nn.randn(3).numpy() == expected).all()
    assert all((np.asarray(model.state_dict()[name]) == np.asarray(value)).all() for name, value in before.items())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert not model.training
    assert (x == X).all()
    assert (y == Y).all()
    assert nn.find_learning_rate(lambda: model, (x, y), steps=20) == first
    assert all((np.asarray(model.state_dict()[name]) == np.asarray(value)).all() for name, value in before.items())


def test_a_loss_that_is_not_finite_ends_the_search() -> None:
    found = nn.find_learning_rate(linear(), (X, Y), highest=1e38, optimizer=nn.optim.SGD)
    assert LEAST <= len(found.losses) == len(found.rates) < 100
    assert np.isfinite(found.losses).all()
    assert found.suggestion is not None
    assert found.suggestion < 10


def test_a_run_after_a_search_is_the_run_without_it(tmp_path: Any) -> None:
    options: dict[str, Any] = {"epochs": 2, "report": False, "baselines": False}
    alone = nn.train("mlp", "iris", out=tmp_path / "alone", **options)
    found = nn.find_learning_rate("mlp", "iris")
    assert nn.train("mlp", "iris", out=tmp_path / "after", **options).metrics == alone.metrics
    assert found.suggestion is not None
    assert 1e-5 < found.suggestion < 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["after", "alone"]
    axes = found.figure().axes[0]
    assert axes.get_xscale() == "log"
    assert list(axes.lines[0].get_ydata()) == list(found.losses)


REFUSED = {
    "order": ({"lowest": 1.0, "highest": 0.1}, "grow from a positive one"),
    "zero": ({"lowest": 0.0}, "grow from a positive one"),
    "infinite": ({"highest": float("inf")}, "grow from a positive one"),
    "few steps": ({"steps": 9}, "at least 10 steps"),
    "steps of a float": ({"steps": 20.5}, "takes a whole number for steps"),
    "its own length": ({"epochs": 3}, "Received epochs"),
    "unknown": ({"epoch": 3}, "Received epoch"),
    "a closed form": ({"model": "elm"}, "found for a learner that has one"),
    "two players": ({"model": "gan"}, "found for a learner that has one"),
    "a local rule": ({"model": "som"}, "found for a learner that has one"),
}


@pytest.mark.parametrize("row", REFUSED)
def test_what_has_no_answer_is_refused(row: str) -> None:
    given, rule = REFUSED[row]
    with pytest.raises(nn.UserError, match=rule):
        nn.find_learning_rate(**({"model": "mlp", "data": None if "model" in given else "iris"} | given))
