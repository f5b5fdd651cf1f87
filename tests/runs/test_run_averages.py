"""Averages of weights and of predictions: equal runs give the run, others what an independent computation gives."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.metrics import roc_auc_score

from nnatomy.cli import main
from nnatomy.errors import UserError
from nnatomy.runs.averaging import average
from nnatomy.runs.folder import Run
from nnatomy.runs.prepare import prepare
from nnatomy.runs.request import request_of
from nnatomy.runs.restore import load_best, restore
from nnatomy.runs.train import resume, train
from nnatomy.runs.trained import evaluate, predict
from nnatomy.tasks import forward

QUICK: dict[str, Any] = {"epochs": 2, "report": False}
SMALL = {"hidden": "16", "dropout": "0"}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two MLPs and a LeNet-5 on one split of the digits; an MLP on another split, one of another width."""
    folder = tmp_path_factory.mktemp("runs")
    train("mlp", out=folder / "a", seed=0, settings=SMALL, **QUICK)
    train("mlp", out=folder / "b", seed=1, split_seed=0, settings=SMALL, **QUICK)
    train("mlp", out=folder / "other_split", seed=2, settings=SMALL, **QUICK)
    train("mlp", out=folder / "wide", seed=0, settings={"hidden": "20", "dropout": "0"}, **QUICK)
    train("lenet5", out=folder / "lenet", seed=3, split_seed=0, **QUICK)
    return folder


def scores(folder: Path) -> tuple[Any, Any]:
    """Of a run on its test split, one batch, without the project's evaluation."""
    prepared = prepare(request_of(Run.open(folder)))
    load_best(prepared.model, Run.open(folder))
    *inputs, targets = prepared.dataset.test.all()
    return np.asarray(forward(prepared.model, tuple(inputs)).data, np.float64), targets


def test_the_mean_of_equal_weights_is_the_run(runs: Path, tmp_path: Path) -> None:
    found = average([runs / "a"] * 3, out=tmp_path / "mean", report=False)
    for name, a in Run.open(tmp_path / "mean").weights().items():
        np.testing.assert_array_equal(a, Run.open(runs / "a").weights()[name])
    assert found.metrics == evaluate(runs / "a").metrics == evaluate(tmp_path / "mean").metrics


def test_the_mean_of_weights_is_a_run_like_any_other(runs: Path, tmp_path: Path) -> None:
    found = average([runs / "a", runs / "b"], out=tmp_path / "mean")
    a, b, mean = (Run.open(folder).weights() for folder in (runs / "a", runs / "b", tmp_path / "mean"))
    for name in a:
        np.testing.assert_allclose(mean[name], (a[name] + b[name]) / 2, rtol=1e-6, atol=1e-8)
    assert (tmp_path / "mean" / "report.html").exists()
    assert restore(tmp_path / "mean")[0].model.count_parameters() == restore(runs / "a")[0].model.count_parameters()
    assert found.members[str(runs / "b")] == evaluate(runs / "b").metrics
    with pytest.raises(UserError, match="no steps to continue"):
        resume(tmp_path / "mean")


def test_the_mean_of_equal_predictions_is_the_run(runs: Path, tmp_path: Path) -> None:
    average([runs / "a", runs / "a"], how="predictions", out=tmp_path / "both")
    together, alone = evaluate(tmp_path / "both"), evaluate(runs / "a")
    assert together.metrics == pytest.approx(alone.metrics, rel=1e-5)
    np.testing.assert_allclose(together.arrays["probabilities"], alone.arrays["probabilities"], rtol=1e-4, atol=1e-6)


def test_predictions_of_different_architectures(runs: Path, tmp_path: Path) -> None:
    """An MLP on 8 x 8 and a LeNet-5 on 28 x 28 pixels; the folder needs its members' folders no longer."""
    for name in ("a", "lenet"):
        shutil.copytree(runs / name, tmp_path / name)
    found = average([tmp_path / "a", tmp_path / "lenet"], how="predictions", out=tmp_path / "both")
    (first, targets), (second, _) = scores(runs / "a"), scores(runs / "lenet")
    p = (softmax(first, axis=1) + softmax(second, axis=1)) / 2
    shutil.rmtree(tmp_path / "a")
    shutil.rmtree(tmp_path / "lenet")
    again = evaluate(tmp_path / "both")
    assert again.metrics == found.metrics
    np.testing.assert_allclose(again.arrays["probabilities"], p, rtol=1e-4, atol=1e-6)
    assert again.metrics["accuracy"] == pytest.approx((p.argmax(axis=1) == targets).mean())
    assert again.metrics["auc"] == pytest.approx(roc_auc_score(targets, p, multi_class="ovr"), abs=1e-6)
    assert again.metrics["loss"] == pytest.approx(-np.log(p[np.arange(len(p)), targets]).mean(), rel=1e-4)


def test_averaged_predictions_answer_for_files(runs: Path, tmp_path: Path) -> None:
    from PIL import Image
    from sklearn.datasets import load_digits

    average([runs / "a", runs / "lenet"], how="predictions", out=tmp_path / "both")
    (tmp_path / "pictures").mkdir()
    for i in range(6):
        Image.fromarray((load_digits().images[i] * 15.9).astype(np.uint8)).save(tmp_path / "pictures" / f"{i}.png")
    together = predict(tmp_path / "both", tmp_path / "pictures").columns
    alone = [predict(runs / name, tmp_path / "pictures").columns for name in ("a", "lenet")]
    assert together["row"].tolist() == alone[0]["row"].tolist()
    for k in range(10):
        expected = [(x + y) / 2 for x, y in zip(*(found[f"p({k})"] for found in alone))]
        np.testing.assert_allclose(together[f"p({k})"], expected, rtol=1e-4, atol=1e-6)


def test_predictions_of_numbers_and_of_single_scores(tmp_path: Path) -> None:
    for seed in (0, 1):
        train("mlp", "diabetes", out=tmp_path / f"r{seed}", seed=seed, split_seed=0, **QUICK)
        train("perceptron", out=tmp_path / f"p{seed}", seed=seed, split_seed=0, **QUICK)
    average([tmp_path / "r0", tmp_path / "r1"], how="predictions", out=tmp_path / "numbers")
    both, *alone = (evaluate(tmp_path / name).arrays["predictions"] for name in ("numbers", "r0", "r1"))
    np.testing.assert_allclose(both, (alone[0] + alone[1]) / 2, rtol=1e-5)
    average([tmp_path / "p0", tmp_path / "p1"], how="predictions", out=tmp_path / "single")
    both, *alone = (evaluate(tmp_path / name).arrays["probabilities"] for name in ("single", "p0", "p1"))
    np.testing.assert_allclose(both, (alone[0] + alone[1]) / 2, rtol=1e-4, atol=1e-6)


def test_runs_that_do_not_fit_together(runs: Path, tmp_path: Path) -> None:
    refused = [
        (["a"], "weights", "two runs or more"),
        (["a", "b"], "medians", "No average has this name. Received 'medians'"),
        (["a", "other_split"], "predictions", "--split-seed"),
        (["a", "wide"], "weights", r"wide \(mlp\), which differs from .* in linears\.0\.weight. Average their predictions"),
        (["a", "lenet"], "weights", "within one architecture"),
        (["a", "nowhere"], "weights", "folder of a run must exist"),
    ]
    for names, how, message in refused:
        with pytest.raises(UserError, match=message):
            average([runs / name for name in names], how=how, out=tmp_path / "x")
        assert not (tmp_path / "x").exists()


def test_averaged_predictions_are_no_single_model(runs: Path, tmp_path: Path) -> None:
    average([runs / "a", runs / "b"], how="predictions", out=tmp_path / "both")
    for use in (restore, lambda folder: train("mlp", from_=folder, **QUICK)):
        with pytest.raises(UserError, match=r"an average of 2 runs.*members/1"):
            use(tmp_path / "both")  # type: ignore[operator]
    with pytest.raises(UserError, match="no steps to continue"):
        resume(tmp_path / "both")


def test_the_command_line(runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["average", str(runs / "a"), str(runs / "b"), "--how", "predictions", "--out", str(tmp_path / "both")]
    assert main([*words, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert set(found["members"]) == {str(runs / "a"), str(runs / "b")}
    assert main(["evaluate", str(tmp_path / "both"), "--split", "validation", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["metrics"]["accuracy"] > 0.2
    assert main(["average", str(runs / "a"), str(runs / "b"), "--out", str(tmp_path / "mean")]) == 0
    out = capsys.readouterr().out
    assert "average of weights" in out
    assert "accuracy" in out
    assert main(words) == 2
