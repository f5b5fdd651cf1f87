"""Settings of estimators have an effect, and a continued run gives each callback its own state."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nnatomy as nn
from nnatomy.errors import UserError
from nnatomy.training.callbacks import Callback, named

RNG = np.random.default_rng(0)
X = RNG.uniform(-2, 2, size=(200, 2))
STEPS = np.floor(4 * X[:, 0]) % 2
SHORT: dict[str, Any] = {"epochs": 5, "random_state": 0}


@pytest.mark.parametrize("estimator", [nn.NeuralClassifier, nn.NeuralRegressor])
def test_bins_embed_the_numbers_of_an_estimator(estimator: Any) -> None:
    with_bins = estimator("mlp", settings={"bins": 4, "embedding": 3, "hidden": "16"}, **SHORT).fit(X, STEPS)
    assert with_bins.model_.numbers.weight.shape == (2, 4, 3)
    edges = np.quantile((X - X.mean(axis=0)) / X.std(axis=0), np.linspace(0, 1, 5), axis=0).T
    np.testing.assert_allclose(with_bins.model_.numbers.edges.numpy(), edges, atol=0.05)
    without = estimator("mlp", settings={"hidden": "16"}, **SHORT).fit(X, STEPS)
    assert without.model_.numbers is None
    assert not np.allclose(with_bins.predict(X), without.predict(X))


class Counting(Callback):
    """Counts epochs, from a number of its own."""

    def __init__(self, first: int) -> None:
        self.state = {"count": first}

    def after_epoch(self, loop: Any, line: dict[str, Any]) -> None:
        self.state["count"] += 1


class Other(Counting):
    pass


class Stopping(Callback):
    def after_epoch(self, loop: Any, line: dict[str, Any]) -> None:
        loop.interrupted = True


def interrupted(folder: Path, callbacks: list[Callback]) -> Path:
    options: dict[str, Any] = {"epochs": 3, "report": False, "baselines": False, "settings": {"patience": "9"}}
    assert nn.train("mlp", "iris", out=folder, callbacks=[*callbacks, Stopping()], **options).interrupted
    return folder


def test_states_of_callbacks_are_restored_by_name(tmp_path: Path) -> None:
    folder = interrupted(tmp_path / "run", [Counting(10), Counting(20), Other(30)])
    again = [Other(0), Callback(), Counting(0), Counting(0)]  # in another order, and next to others
    nn.resume(folder, callbacks=again, report=False)
    assert [callback.state["count"] for callback in again if isinstance(callback, Counting)] == [33, 13, 23]


def test_a_callback_whose_state_was_saved_is_needed(tmp_path: Path) -> None:
    folder = interrupted(tmp_path / "run", [Counting(10)])
    with pytest.raises(UserError, match=r"Received none for the saved state of Counting\. Give it again"):
        nn.resume(folder, report=False)
    assert nn.resume(folder, callbacks=[Counting(0)], report=False).epochs == 3


def test_names_do_not_depend_on_others() -> None:
    assert list(named([Callback(), Counting(1), Stopping(), Counting(2)])) == ["Callback", "Counting", "Stopping", "Counting#2"]
