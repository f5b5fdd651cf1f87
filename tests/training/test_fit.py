"""A fit without a folder learns what `train` learns, and leaves nothing behind."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

import nnatomy as nn
from nnatomy import data
from nnatomy.catalog import architecture
from nnatomy.runs.fitting import fit_recipe
from nnatomy.runs.prepare import choose
from nnatomy.training.settings import override


def test_it_is_the_training_of_train(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    recipe, dataset = choose(architecture("mlp"), "iris", seed=3)
    fitted = fit_recipe(override(recipe, epochs=4), dataset, seed=3)
    assert not list(tmp_path.iterdir())
    trained = nn.train("mlp", "iris", epochs=4, seed=3, report=False)
    assert fitted.test().metrics == trained.metrics
    assert fitted.position.best_epoch == trained.run.history()[-1]["best_epoch"]


def test_patience_ends_it_and_the_best_epoch_counts() -> None:
    recipe, dataset = choose(architecture("mlp"), "iris", fold=data.Fold(0, 3))
    fitted = fit_recipe(replace(override(recipe, epochs=60, lr=0.1), patience=2), dataset)
    assert fitted.position.stopped == "loss has not improved for 2 epochs"
    found = fitted.task.evaluate(fitted.model, dataset.validation).metrics["loss"]
    assert found == pytest.approx(fitted.position.best)
