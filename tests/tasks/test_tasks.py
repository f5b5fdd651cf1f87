"""Promises of every task: directions that are true, meters that stream, evaluation that repeats itself."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from counting import Counting, Noisy, dots, penalized, recipe_of

import nnatomy as nn
from nnatomy import data, random, tasks
from nnatomy.data import fields
from nnatomy.data.dataset import ArraySplit, Dataset
from nnatomy.data.kinds.passages.stories import VOCABULARY
from nnatomy.errors import UserError
from nnatomy.runs.fitting import fit_recipe
from nnatomy.tasks import Evaluation, Task, task_for
from nnatomy.tensor import Tensor

pytestmark = pytest.mark.any_kernels

Array = np.ndarray[Any, Any]
Outputs = Callable[[tuple[Array, ...], tuple[Array, ...]], Array]


@dataclass(frozen=True)
class Case:
    """A data set, outputs(inputs, targets) of a perfect and of a constant predictor, and the best value of some metrics."""

    dataset: Callable[[Path], Dataset]
    perfect: Outputs
    constant: Outputs
    best: dict[str, float]


def _one_hot(targets: Array, classes: int) -> Array:
    return 50.0 * np.eye(classes)[targets]


def _text(folder: Path) -> Dataset:
    (folder / "t.txt").write_text("abcab" * 300, encoding="utf-8")
    return data.load(folder / "t.txt", window=16)


def _filled(targets: tuple[Array, ...], sure: float) -> Any:
    """Scores and relation that are as sure of the right answer as `sure`."""
    labels, random = targets
    return sure * np.eye(len(VOCABULARY))[np.maximum(labels, 0)], sure * np.eye(2)[random]


def _anomalies(folder: Path) -> Dataset:
    dataset = data.load("sines", window=8, horizon=1, limit=200)
    windows = dataset.test.take(np.arange(40))[0]
    return replace(dataset, task="anomaly", test=ArraySplit((windows, (np.arange(40) % 4 == 0).astype(np.int64))))


def _pairs(folder: Path) -> Dataset:
    texts = [f"the {a} {b} runs to the {a}" for a in ("cat", "dog", "man", "boy") for b in ("fast", "slowly", "home", "now")]
    (folder / "p.tsv").write_text("\n".join(f"{t} again\t{t}" for t in texts), encoding="utf-8")
    found = data.load(folder / "p.tsv")
    _VOCABULARY[:] = [getattr(found.preprocessing, "target")]  # noqa: B009
    return found


def _pair_words(following: Array) -> list[str]:
    """The texts of tokens that follow, by the vocabulary of `_pairs`."""
    vocabulary = _VOCABULARY[0]
    return [vocabulary.decode(np.where(row < 0, 0, row)) for row in following]


_VOCABULARY: list[Any] = []
RING = data.load("eight_gaussians", ("density",), tasks=("generation",), limit=300)


def _of_itself(x: Array) -> float:
    """The energy distance of a sample from itself: pairs of an example and itself count between both, not within either."""
    distances = np.linalg.norm(x[:, None].astype(np.float64) - x, axis=2)
    return float(-2 * distances.sum() / (len(x) ** 2 * (len(x) - 1)))


CASES: dict[type[Task], Case] = {
    tasks.Classification: Case(
        lambda folder: data.load("iris"), lambda x, y: _one_hot(y[0], 3), lambda x, y: np.zeros((len(y[0]), 3)),
        {"accuracy": 1, "balanced_accuracy": 1, "f1": 1, "auc": 1},
    ),
    tasks.NodeClassification: Case(
        lambda folder: data.load("karate"), lambda x, y: _one_hot(y[0], 2), lambda x, y: np.zeros((len(y[0]), 2)),
        {"accuracy": 1, "balanced_accuracy": 1, "f1": 1, "auc": 1},
    ),
    tasks.GraphClassification: Case(
        lambda folder: data.load("motifs", limit=60), lambda x, y: _one_hot(y[0], 3), lambda x, y: np.zeros((len(y[0]), 3)),
        {"accuracy": 1, "balanced_accuracy": 1, "f1": 1, "auc": 1},
    ),
    tasks.Regression: Case(
        lambda folder: data.load("diabetes"), lambda x, y: y[0], lambda x, y: np.zeros_like(y[0]),
        {"r2": 1, "mae": 0, "rmse": 0},
    ),
    tasks.Forecast: Case(
        lambda folder: data.load("sines", window=64, horizon=4, limit=300), lambda x, y: y[0], lambda x, y: np.zeros_like(y[0]),
        {"mse": 0, "mae": 0, "rmse_in_units": 0},
    ),
    tasks.Language: Case(
        _text, lambda x, y: _one_hot(y[0], 4), lambda x, y: np.zeros((*y[0].shape, 4)),
        {"bits_per_token": 0, "perplexity": 1, "accuracy": 1},
    ),
    tasks.Completion: Case(
        lambda folder: data.load("sums"), lambda x, y: _one_hot(y[0], 14), lambda x, y: np.zeros((*y[0].shape, 14)),
        {"answers": 1, "bits_per_token": 0, "perplexity": 1, "accuracy": 1},
    ),
    tasks.MaskedLanguage: Case(
        lambda folder: data.load("stories", ("passages",), tasks=("masked language",), limit=200),
        lambda x, y: _filled(y, 50.0), lambda x, y: _filled(y, 0.0), {"accuracy": 1, "perplexity": 1, "relation": 1},
    ),
    tasks.Reconstruction: Case(
        lambda folder: data.load("wine", ("table",), tasks=("reconstruction",)), lambda x, y: x[0],
        lambda x, y: np.zeros_like(x[0]), {"explained": 1, "mse": 0},
    ),
    tasks.Recall: Case(
        lambda folder: data.load("noisy_digits", limit=60), lambda x, y: y[0], lambda x, y: np.ones_like(y[0]),
        {"recalled": 1, "wrong": 0},
    ),
    tasks.Density: Case(
        lambda folder: dots(), lambda x, y: np.zeros(len(x[0])), lambda x, y: np.full(len(x[0]), 6.0),
        {"nll": 0, "bits_per_dim": 0},
    ),
    tasks.Generation: Case(
        lambda folder: RING, lambda x, y: x[0], lambda x, y: np.zeros_like(x[0]),
        {"energy_distance": _of_itself(RING.test.all()[0]), "coverage": 1, "precision": 1, "modes": 8},
    ),
    tasks.Anomaly: Case(
        _anomalies, lambda x, y: np.where(y[0][:, None, None] == 1, 0.0, x[0]), lambda x, y: np.zeros_like(x[0]),
        {"auc": 1, "average_precision": 1},
    ),
    tasks.Control: Case(
        lambda folder: data.load("grid"), lambda x, y: np.tile([1.0, 5.0], (len(y[0]), 1)),
        lambda x, y: np.stack([y[0] % 2 - 1.0, np.full(len(y[0]), 50.0)], axis=1), {"return": 1, "return_sd": 0},
    ),
    tasks.Clustering: Case(
        lambda folder: data.load("iris"), lambda x, y: np.stack([0.0 * y[0], 0 * y[0], 0 * y[0], 0 * y[0] + 1, y[0]], axis=1),
        lambda x, y: np.tile([0.0, 0.0, 5.0, 0.0, 0.0], (len(y[0]), 1)),
        {"quantization_error": 0, "topographic_error": 0, "explained": 1, "purity": 1},
    ),
    tasks.Translation: Case(
        _pairs, lambda x, y: {"texts": _pair_words(y[0]), "scores": _one_hot(np.maximum(y[0], 0), len(_VOCABULARY[0]))},
        lambda x, y: {"texts": ["the"] * len(y[0]), "scores": np.zeros((*y[0].shape, len(_VOCABULARY[0])))},
        {"bleu": 100, "exact": 1, "perplexity": 1},
    ),
    tasks.Segmentation: Case(
        lambda folder: data.load("shape_masks", limit=20), lambda x, y: np.moveaxis(_one_hot(y[0], 4), -1, 1),
        lambda x, y: np.zeros((len(y[0]), 4, *y[0].shape[1:])), {"miou": 1, "pixel_accuracy": 1, "boundary_iou": 1},
    ),
    Counting: Case(
        lambda folder: dots(), lambda x, y: y[0][:, None].astype(float), lambda x, y: np.full((len(y[0]), 1), 3.0),
        {"off": 0, "exact": 1},
    ),
}  # fmt: skip


def of(kind: type[Task], folder: Path) -> tuple[Task, Case]:
    case = CASES[kind]
    dataset = case.dataset(folder)
    return kind(replace(recipe_of(kind), kind=dataset.kind), dataset), case


def measured(task: Task, outputs: Outputs, pieces: int = 1) -> Evaluation:
    """Return the meter's result for a predictor's outputs on the test split, added in so many pieces."""
    meter, split = task.meter(), task.dataset.test
    for rows in np.array_split(np.arange(len(split)), pieces):
        batch = split.take(rows)
        inputs, targets = (fields.select(split.fields, batch, role) for role in ("input", "target"))
        meter.add(outputs(inputs, targets), batch)
    return meter.result()


def test_no_task_is_left_out() -> None:
    classes = {value for value in vars(tasks).values() if isinstance(value, type) and issubclass(value, Task)}
    assert classes - {Task} | {Counting} == set(CASES)


@pytest.mark.parametrize("kind", CASES)
def test_a_perfect_predictor_has_the_best_value_and_a_constant_one_a_worse_one(kind: type[Task], tmp_path: Path) -> None:
    task, case = of(kind, tmp_path)
    perfect, constant = (measured(task, outputs).metrics for outputs in (case.perfect, case.constant))
    assert kind.metrics[0].name in case.best
    for metric in kind.metrics:
        assert metric.improves(perfect[metric.name], constant[metric.name]), metric
        if metric.name in case.best:
            assert perfect[metric.name] == pytest.approx(case.best[metric.name], abs=1e-6)
            assert metric.reaches(perfect[metric.name], case.best[metric.name] + (1e-6 if metric.better == "lower" else -1e-6))


@pytest.mark.parametrize("kind", CASES)
def test_a_meter_that_is_fed_in_parts_says_the_same(kind: type[Task], tmp_path: Path) -> None:
    task, case = of(kind, tmp_path)
    once, parts = (measured(task, case.constant, pieces) for pieces in (1, 3))
    assert parts.metrics == pytest.approx(once.metrics, rel=1e-6, abs=1e-9)
    for name, array in once.arrays.items():
        np.testing.assert_array_equal(parts.arrays[name], array)


@pytest.mark.parametrize("kind", CASES)
def test_an_unknown_metric_raises_and_names_the_nearest(kind: type[Task], tmp_path: Path) -> None:
    task, _ = of(kind, tmp_path)
    known = kind.metrics[0].name
    with pytest.raises(UserError, match=f"'{known}'"):
        task.metric(f"{known}_")
    assert task.metric(known) is kind.metrics[0]
    assert task.metric("loss").better == "lower"


@pytest.mark.parametrize("kind", CASES)
def test_baselines_are_measured_by_the_tasks_own_meter(kind: type[Task], tmp_path: Path) -> None:
    task, case = of(kind, tmp_path)
    perfect = measured(task, case.perfect).metrics
    first = kind.metrics[0]
    scores = {}
    for name, baseline in kind.baselines.items():
        with suppress(UserError):  # not every baseline is for every data set
            scores[name] = task.score(baseline(task.dataset, (task.recipe,)).outputs, task.dataset.test).metrics[first.name]
    assert scores
    for name, score in scores.items():
        assert math.isfinite(score), name
        assert not first.improves(score, perfect[first.name])


def test_metrics_know_their_direction() -> None:
    higher, lower = Counting.metrics[1], Counting.metrics[0]
    for better, worse, metric in ((0.2, 0.1, higher), (0.1, 0.2, lower)):
        assert (metric.improves(better, worse), metric.improves(worse, better)) == (True, False)
        assert (metric.reaches(better, better), metric.reaches(better, worse)) == (True, True)
        assert not metric.reaches(worse, better)
        assert (metric.improves(worse, math.nan), metric.improves(worse, None)) == (True, True)
        assert (metric.improves(math.nan, better), metric.improves(math.nan, None)) == (False, False)


# Evaluation


def test_noise_in_evaluation_repeats_and_leaves_the_generator_as_it_was() -> None:
    recipe, dataset = recipe_of(build=lambda d: Noisy()), dots()
    model, task = Noisy(), task_for(recipe, dataset)
    random.seed(3)
    before = random.default.state_dict()
    first = task.evaluate(model, dataset.test, batch_size=16)
    assert random.default.state_dict() == before
    random.seed(4)
    assert task.evaluate(model, dataset.test, batch_size=16).metrics == first.metrics
    assert task.evaluate(model, dataset.test, batch_size=16, part="validation").metrics["off"] != first.metrics["off"]
    free = np.asarray(model(Tensor(dataset.test.take(np.arange(4))[0])).data)
    assert not np.array_equal(free, np.asarray(model(Tensor(dataset.test.take(np.arange(4))[0])).data))  # it does draw noise


def test_training_and_evaluation_report_the_same_numbers_of_a_noisy_model() -> None:
    recipe, dataset = recipe_of(build=lambda d: Noisy()), dots()
    fitted = fit_recipe(recipe, dataset, seed=1)
    told = fitted.test().metrics
    random.seed(99)
    again = task_for(recipe, dataset)
    assert again.evaluate(fitted.model, dataset.test).metrics == told
    held = again.evaluate(fitted.model, dataset.validation, part="validation").metrics
    assert held["off"] == pytest.approx(fitted.position.best, rel=1e-6)  # the run may have measured it with kernels


def test_a_loss_that_takes_gradients_is_evaluated_where_its_learner_says_so() -> None:
    dataset = dots()
    recipe = recipe_of(loss=penalized, gradients_in_evaluation=True)
    fitted = fit_recipe(recipe, dataset)
    found = fitted.test().metrics["loss"]
    (x, count), weight = dataset.test.all(), fitted.model.state_dict()["weight"]
    outputs = np.asarray(fitted.model(Tensor(x)).data)[:, 0]
    assert found == pytest.approx(((outputs - count) ** 2).mean() + (weight**2).sum(), rel=1e-4)
    assert all(p.grad is None for p in fitted.model.parameters())
    refused = task_for(recipe_of(loss=penalized), dataset)
    with pytest.raises(RuntimeError, match="requires a gradient"):
        refused.evaluate(fitted.model, dataset.test)


def test_evaluating_trains_nothing_and_keeps_the_mode() -> None:
    dataset, model = dots(), Noisy()
    model.train()
    before = model.state_dict()
    task_for(recipe_of(), dataset).evaluate(model, dataset.test)
    assert model.training
    assert all(np.array_equal(before[name], value) for name, value in model.state_dict().items())


@pytest.mark.parametrize("backend", ["numpy", "jax"])
def test_noise_of_evaluation_is_the_same_on_every_backend(backend: str) -> None:
    if backend == "jax":
        pytest.importorskip("jax")
    dataset, model = dots(), Noisy()
    state = model.state_dict()
    expected = task_for(recipe_of(), dataset).evaluate(model, dataset.test).metrics
    with nn.backend(backend):
        other = Noisy()
        other.load_state_dict(state)
        found = task_for(recipe_of(), dataset).evaluate(other, dataset.test).metrics
    assert found == pytest.approx(expected, rel=1e-5)


def test_a_task_without_an_ability_refuses_in_one_sentence() -> None:
    task = task_for(recipe_of(), dots())
    calls: tuple[partial[Any], ...] = (
        partial(task.mistakes, Evaluation({})), partial(task.saliency_score, np.zeros((1, 1)), ()),
        partial(task.coloring, Noisy(), ()), partial(task.columns, np.zeros(1)),
    )  # fmt: skip
    for call in calls:
        with pytest.raises(UserError, match="counting") as refused:
            call()
        assert "\n" not in str(refused.value)
    able = {ability: task.can(ability) for ability in ("mistakes", "saliency_score", "coloring", "figure")}
    assert able == {"mistakes": False, "saliency_score": False, "coloring": False, "figure": True}
