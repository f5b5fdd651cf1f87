"""Density: baselines that equal a separate computation, units, stochastic bounds that repeat, and the figure."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from counting import Noisy, dataset_of, recipe_of
from scipy.stats import multivariate_normal, norm

from nnatomy import data, random
from nnatomy.data.kinds.looks import Pictures, Rows
from nnatomy.errors import UserError
from nnatomy.functional import batch_mean
from nnatomy.tasks import Density
from nnatomy.tasks.density import bernoulli_mixture, gaussian, gaussian_mixture, independent, mixture, ordered
from nnatomy.tensor import Tensor
from nnatomy.training.learners import GradientDescent

pytestmark = pytest.mark.any_kernels
Array = np.ndarray[Any, Any]


def two_kinds(n: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """Rows of 8 zeros and ones of two kinds, each number 1 with probability 0.9 or 0.1, and the nats of each row."""
    p = np.where(np.arange(8) < 4, 0.9, 0.1)
    p = np.stack([p, 1 - p])
    x = (rng.uniform(size=(n, 8)) < p[rng.integers(0, 2, n)]).astype(np.float32)
    likelihood = np.prod(np.where(x[:, None] == 1, p, 1 - p), axis=2).mean(axis=1)
    return x, -np.log(likelihood)


def test_independent_bernoulli_numbers_have_the_entropy_of_their_frequencies() -> None:
    x = np.array([[1, 0], [1, 1], [0, 1], [1, 1]] * 30, np.float32)
    dataset = dataset_of("density", (x,), dataset_of("density", (x, x)).fields[:1])
    train = dataset.train.all()[0]
    p = (train.sum(axis=0) + 0.5) / (len(train) + 1)
    expected = -(np.log(p[0]) + np.log(1 - p[1]))
    found = independent(dataset, ())
    assert found.outputs(x[:1])[0] == pytest.approx(expected)
    assert sum(np.exp(-found.outputs(np.array([[a, b]], np.float32))[0]) for a in (0, 1) for b in (0, 1)) == pytest.approx(1)


def test_a_bernoulli_mixture_reaches_the_entropy_of_two_kinds_and_one_component_cannot() -> None:
    rng = np.random.default_rng(0)
    x, _ = two_kinds(3000, rng)
    held, nats = two_kinds(4000, rng)
    one, two = (bernoulli_mixture(x, k)[0](held).mean() for k in (1, 2))
    assert two == pytest.approx(nats.mean(), abs=0.03)
    assert one > nats.mean() + 1
    every = ((np.arange(256)[:, None] >> np.arange(8)) & 1).astype(np.float32)
    assert np.exp(-bernoulli_mixture(x, 2)[0](every)).sum() == pytest.approx(1, abs=1e-5)  # a probability


def test_the_validation_part_decides_how_many_components() -> None:
    x, nats = two_kinds(900, np.random.default_rng(1))
    dataset = dataset_of("density", (x, np.zeros(len(x), np.int64)))
    found, held = mixture(dataset, ()), dataset.test.all()[0]
    train = dataset.train.all()[0]
    assert found.outputs(held).mean() < min(bernoulli_mixture(train, k)[0](held).mean() for k in (1, 32))
    assert found.outputs(held).mean() == pytest.approx(nats.mean(), abs=0.2)
    assert found.chosen.endswith(" components")
    with pytest.raises(UserError, match="not all 0 or 1"):
        gaussian(dataset, ())


def test_gaussians_have_the_densities_of_scipy() -> None:
    rng = np.random.default_rng(0)
    x = (rng.normal(size=(600, 3)) @ rng.normal(size=(3, 3)) + 1).astype(np.float32)
    dataset = dataset_of("density", (x, np.zeros(len(x), np.int64)))
    train, held = dataset.train.all()[0].astype(np.float64), dataset.test.all()[0]
    more = float(gaussian(dataset, ()).chosen.split()[0])
    full = multivariate_normal(train.mean(axis=0), np.cov(train, rowvar=False) + more * np.eye(3))
    np.testing.assert_allclose(gaussian(dataset, ()).outputs(held), -full.logpdf(held), rtol=1e-6)
    each = norm(train.mean(axis=0), np.sqrt(train.var(axis=0) + 1e-4))
    np.testing.assert_allclose(independent(dataset, ()).outputs(held), -each.logpdf(held).sum(axis=1), rtol=1e-6)
    one = multivariate_normal(train.mean(axis=0), np.cov(train, rowvar=False, bias=True) + 1e-3 * np.eye(3))
    np.testing.assert_allclose(gaussian_mixture(train, 1)[0](held), -one.logpdf(held), rtol=1e-6)


def test_numbers_that_never_vary_have_no_infinite_density() -> None:
    x = np.concatenate([np.random.default_rng(0).normal(size=(90, 1)), np.full((90, 1), 2.0)], axis=1).astype(np.float32)
    dataset = dataset_of("density", (x, np.zeros(len(x), np.int64)))
    for baseline in (independent, gaussian, mixture):
        assert np.isfinite(baseline(dataset, ()).outputs(dataset.test.all()[0])).all()


def test_nats_and_bits_of_points() -> None:
    dataset = data.load("two_spirals", ("density",), tasks=("density",))
    task = Density(recipe_of(), dataset)
    x = dataset.test.all()[0]
    meter = task.meter()
    for rows in np.array_split(np.arange(len(x)), 3):
        meter.add(0.5 * (x[rows] ** 2).sum(axis=1) + math.log(2 * math.pi), dataset.test.take(rows))
    found = meter.result()
    expected = 0.5 * float((x.astype(np.float64) ** 2).sum(axis=1).mean()) + math.log(2 * math.pi)
    assert found.metrics["nll"] == pytest.approx(expected)
    assert found.metrics["bits_per_dim"] == pytest.approx(found.metrics["nll"] / 2 / math.log(2))
    assert task.mistakes(found).order[0] == found.arrays["nats"].argmax()
    assert list(task.columns(found.arrays["nats"])) == ["nll"]
    scores = {name: task.score(made(dataset, ()).outputs, dataset.test).metrics["nll"] for name, made in task.baselines.items()}
    assert scores["mixture"] < scores["Gaussian"] - 0.5  # spirals are not Gaussian
    assert scores["Gaussian"] < scores["independent"] + 0.01


def noisy_bound(model: Noisy, x: Tensor, *_: Tensor) -> tuple[Tensor, Tensor]:
    nats = x.square().sum(axis=1) + random.rand(x.shape[0]).abs()
    return batch_mean(nats) + 0 * model(x).sum(), nats


def test_a_stochastic_bound_is_evaluated_under_the_tasks_own_generator() -> None:
    x = np.random.default_rng(0).normal(size=(240, 6)).astype(np.float32)
    dataset = dataset_of("density", (x, np.zeros(len(x), np.int64)))
    recipe = replace(recipe_of(build=lambda d: Noisy()), tasks=(Density,), learn=GradientDescent(noisy_bound))
    task, model = Density(recipe, dataset), Noisy()
    random.seed(3)
    first = task.evaluate(model, dataset.test)
    random.seed(4)
    again, other = task.evaluate(model, dataset.test), task.evaluate(model, dataset.test, part="validation")
    assert first.metrics == again.metrics
    assert first.metrics["nll"] == pytest.approx(first.metrics["loss"], rel=1e-6)
    assert first.metrics["nll"] != other.metrics["nll"]


@pytest.mark.parametrize("shape", [(1,), (2,), (5,)])
def test_the_figure_shows_points_of_any_size(shape: tuple[int, ...]) -> None:
    x = np.random.default_rng(0).normal(size=(50, *shape))
    figure = ordered(x, (x**2).sum(axis=1), Rows((), ()))
    assert figure.axes[0].get_title().startswith("Mean ")
    colors = figure.axes[1].collections[0].get_array()
    assert colors is not None
    np.testing.assert_allclose(np.asarray(colors), (x**2).sum(axis=1))


def test_the_figure_shows_pictures_from_the_most_probable_to_the_least() -> None:
    x = np.arange(40.0).reshape(40, 1, 1, 1) * np.ones((40, 1, 3, 3)) / 40
    figure = ordered(x, -np.arange(40.0), Pictures((0.0,), (1.0,)))
    shown = [float(np.asarray(axes.images[0].get_array())[0, 0]) * 40 for axes in figure.axes if axes.images]
    assert len(shown) == 30
    assert shown[0] == pytest.approx(39)
    assert shown[-1] == pytest.approx(0)
