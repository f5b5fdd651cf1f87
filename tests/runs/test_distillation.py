"""Distillation: the loss against an independent computation and its limit, what fits together, exact continuation."""

from __future__ import annotations

import json
import statistics
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.special import log_softmax, softmax

from nnatomy import functional as F
from nnatomy.catalog import architecture
from nnatomy.cli import main
from nnatomy.errors import UserError
from nnatomy.layers.module import Module
from nnatomy.runs.averaging import average
from nnatomy.runs.distillation import Distillation, distill
from nnatomy.runs.folder import load_arrays
from nnatomy.runs.prepare import prepare
from nnatomy.runs.request import request_of
from nnatomy.runs.train import resume, train
from nnatomy.runs.trained import evaluate
from nnatomy.tensor import Parameter, Tensor
from nnatomy.training.learners import GradientDescent
from nnatomy.training.loop import Callback, Loop

QUICK: dict[str, Any] = {"epochs": 2, "report": False}


class StopAfter(Callback):
    """An interruption at a step."""

    def __init__(self, step: int) -> None:
        self.step = step

    def after_step(self, loop: Loop) -> None:
        loop.interrupted = loop.position.step == self.step


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """LeNet-5 on digits of 28 x 28 pixels."""
    folder = tmp_path_factory.mktemp("teacher") / "run"
    train("lenet5", out=folder, seed=5, epochs=2, report=False)
    return folder


def scores_and_answers(shape: tuple[int, int] = (6, 4)) -> tuple[Any, Any, Any]:
    rng = np.random.default_rng(0)
    return rng.normal(size=shape), rng.normal(size=shape) * 2, rng.integers(0, shape[1], shape[0])


class Scores(Module):
    """A model that is its scores."""

    def __init__(self, z: Any) -> None:
        self.z = Parameter(z)

    def forward(self, x: Any) -> Any:
        return self.z * 1.0


def _cross_entropy(model: Any, x: Any, y: Any) -> Any:
    scores = model(x)
    return F.cross_entropy(scores, y), scores


PLAIN = replace(architecture("mlp").recipes[0], learn=GradientDescent(_cross_entropy))


def test_the_loss_is_hintons() -> None:
    z, v, y = scores_and_answers()
    T, soft = 3.0, 0.7
    model, loss = Scores(z), Distillation(PLAIN, True, T, soft)
    found = loss(model, Tensor(np.zeros((6, 1))), Tensor(softmax(v / T, axis=1)), Tensor(y))[0].item()
    hard = -log_softmax(z, axis=1)[np.arange(6), y].mean()
    softly = -(softmax(v / T, axis=1) * log_softmax(z / T, axis=1)).sum(axis=1).mean()
    assert found == pytest.approx((1 - soft) * hard + soft * T**2 * softly, rel=1e-10)


def test_the_gradient_at_high_temperature_matches_scores() -> None:
    """dL/dz -> (z - v) / (classes * batch) for scores of mean 0 (Hinton et al. 2015, eq. 4)."""
    z, v, y = scores_and_answers()
    z, v = z - z.mean(axis=1, keepdims=True), v - v.mean(axis=1, keepdims=True)
    T = 1e4
    model, loss = Scores(z), Distillation(PLAIN, True, T, 1.0)
    loss(model, Tensor(np.zeros((6, 1))), Tensor(softmax(v / T, axis=1)), Tensor(y))[0].backward()
    np.testing.assert_allclose(model.z.grad.data, (z - v) / z.size, rtol=1e-3, atol=1e-6)


def test_single_scores_and_numbers() -> None:
    z, v, _ = scores_and_answers((5, 1))
    loss = Distillation(architecture("perceptron").recipes[0], True, 2.0, 1.0)
    p = 1 / (1 + np.exp(-v / 2.0))
    found = loss.distillation_loss(Tensor(z), Tensor(np.concatenate([1 - p, p], axis=1))).item()
    expected = -(p * np.log(1 / (1 + np.exp(-z / 2.0))) + (1 - p) * np.log(1 - 1 / (1 + np.exp(-z / 2.0)))).mean() * 4
    assert found == pytest.approx(expected, rel=1e-9)
    numbers = Distillation(architecture("mlp").recipes[2], False, 2.0, 1.0)
    assert numbers.distillation_loss(Tensor(z), Tensor(v)).item() == pytest.approx(((z - v) ** 2).mean(), rel=1e-12)


def test_a_student_that_reads_the_images_otherwise(teacher: Path, tmp_path: Path) -> None:
    """The MLP sees 8 x 8 pixels, its teacher 28 x 28; data and split are the teacher's, whatever the student's seed."""
    result = distill("mlp", teacher, out=tmp_path / "student", seed=1, settings={"hidden": "32"}, **QUICK)
    assert result.prepared.request.split_seed == 5
    ours, theirs = result.prepared.dataset, prepare(request_of(result.run.open(teacher))).dataset
    np.testing.assert_array_equal(ours.test.all()[-1], theirs.test.all()[-1])
    assert ours.train.all()[0].shape[1:] != theirs.train.all()[0].shape[1:]
    assert evaluate(tmp_path / "student").metrics == pytest.approx(result.metrics, rel=1e-5)
    alone = train("mlp", out=tmp_path / "alone", seed=1, split_seed=5, settings={"hidden": "32"}, **QUICK)
    assert alone.metrics != result.metrics


def test_all_from_the_targets_is_plain_training(teacher: Path, tmp_path: Path) -> None:
    options: dict[str, Any] = {"seed": 1, "settings": {"hidden": "16"}, **QUICK}
    taught = distill("mlp", teacher, out=tmp_path / "taught", soft=0.0, **options)
    alone = train("mlp", out=tmp_path / "alone", split_seed=5, **options)
    for name, a in alone.model.state_dict().items():
        np.testing.assert_allclose(taught.model.state_dict()[name], a, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("planned", [False, True])
def test_a_student_continues_exactly(teacher: Path, tmp_path: Path, planned: bool, monkeypatch: Any) -> None:
    from nnatomy.training import compilation

    monkeypatch.setattr(compilation, "WORTH_PLANNING", 0.0 if planned else 1e9)
    monkeypatch.setenv("NNATOMY_KERNELS", "auto" if planned else "reference")
    options: dict[str, Any] = {"settings": {"hidden": "16"}, "batch_size": 200, **QUICK}
    distill("mlp", teacher, out=tmp_path / "calm", **options)
    distill("mlp", teacher, out=tmp_path / "cut", callbacks=[StopAfter(3)], **options)
    resume(tmp_path / "cut", report=False)
    calm, cut = (load_arrays(tmp_path / name / "last.safetensors")[0] for name in ("calm", "cut"))
    assert calm.keys() == cut.keys()
    for name, value in calm.items():
        np.testing.assert_array_equal(cut[name], value, err_msg=name)


def test_regression_sentences_and_ensembles_teach(tmp_path: Path) -> None:
    train("mlp", "diabetes", out=tmp_path / "a", **QUICK)
    train("mlp", "diabetes", out=tmp_path / "b", seed=1, split_seed=0, **QUICK)
    average([tmp_path / "a", tmp_path / "b"], how="predictions", out=tmp_path / "both")
    result = distill("mlp", tmp_path / "both", out=tmp_path / "student", settings={"hidden": "8"}, **QUICK)
    assert np.isfinite(result.metrics["r2"])


@pytest.mark.parametrize(
    "options, message",
    [
        ({"temperature": 0.0}, "--temperature is a positive number"),
        ({"soft": 1.5}, "--soft must be from 0 to 1"),
        ({"data": "wine"}, "teacher's data. Received data"),
        ({"split_seed": 3}, "Received split_seed"),
        ({"temperature": "hot"}, "a number for temperature"),
    ],
)
def test_wrong_options(teacher: Path, tmp_path: Path, options: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        distill("mlp", teacher, out=tmp_path / "run", **options)
    assert not (tmp_path / "run").exists()


def test_teachers_that_do_not_fit(teacher: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="Received autoencoder for reconstruction"):
        distill("autoencoder", teacher, out=tmp_path / "run", **QUICK)
    with pytest.raises(UserError, match="folder of a run must exist"):
        distill("mlp", tmp_path / "nowhere", **QUICK)


def test_the_command_line(teacher: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["distill", "mlp", "--teacher", str(teacher), "--epochs", "1", "--temperature", "2", "--out", str(tmp_path / "run")]
    assert main([*words, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["teacher"]["metrics"] == evaluate(teacher).metrics
    command = json.loads((tmp_path / "run" / "run.json").read_text())["command"]
    assert command == f"nnatomy distill mlp --epochs 1 --teacher {teacher.resolve()} --temperature 2"
    assert (tmp_path / "run" / "report.html").exists()
    assert main(["evaluate", str(tmp_path / "run"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["metrics"] == found["metrics"]
    assert main([*words]) == 2  # the folder is taken


@pytest.mark.slow
def test_a_student_gains_from_its_teacher(tmp_path: Path) -> None:
    """An MLP on 300 digits, whose teacher is LeNet-5 on the same: mean test loss of two seeds, without and with the teacher."""
    train("lenet5", out=tmp_path / "teacher", limit=300, epochs=20, report=False)
    options: dict[str, Any] = {"epochs": 100, "lr": 0.005, "settings": {"dropout": "0"}, "report": False}
    losses: dict[str, list[float]] = {"alone": [], "taught": []}
    for s in range(2):
        alone = train("mlp", out=tmp_path / f"alone{s}", limit=300, seed=s, split_seed=0, **options)
        taught = distill("mlp", tmp_path / "teacher", out=tmp_path / f"taught{s}", seed=s, **options)
        losses["alone"].append(alone.metrics["loss"])
        losses["taught"].append(taught.metrics["loss"])
    assert statistics.mean(losses["taught"]) < 0.8 * statistics.mean(losses["alone"]), losses
