"""Density: how probable held-out examples are under a model, in nats."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from nnatomy.data import fields
from nnatomy.data.dataset import ArraySplit, Dataset
from nnatomy.data.kinds import kind_of
from nnatomy.data.kinds.looks import Look, Pictures
from nnatomy.errors import UserError
from nnatomy.layers.module import Module
from nnatomy.tasks.baselines import Baseline, FittedBaseline, arrays_of
from nnatomy.tasks.figures import BLUE
from nnatomy.tasks.generation import new_examples, plane
from nnatomy.tasks.parts import Answer, Array, Batch, Coloring, Meter, Mistakes
from nnatomy.tasks.scoring import quietly
from nnatomy.tasks.task import Task
from nnatomy.training.evaluation import Evaluation, Metric
from nnatomy.training.recipe import Recipe

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ROWS, HELD = 8000, 2000
"""Training and validation examples to which mixtures are fitted at most."""
COMPONENTS = (1, 2, 4, 8, 16, 32, 64)
SHRINKAGE = (1e-4, 1e-3, 1e-2, 1e-1)
"""Variances that are added to a covariance matrix; the validation part chooses."""
FLOOR = 1e-4
"""The smallest variance of a number: one that never varies in training would have an infinite density."""


# Predictors without a network: probabilities of data that are 0 or 1, densities of other data


def binary(x: Array) -> bool:
    """Return True if all numbers are 0 or 1: such data have probabilities, where others have densities."""
    return bool(((x == 0) | (x == 1)).all())


def independent(dataset: Dataset, recipes: Sequence[Recipe]) -> FittedBaseline:
    """Independent numbers: each is 1 with its frequency in training (a half more of each value), or is normal."""
    x = _rows(dataset, len(dataset.train))
    if binary(x):
        p = (x.sum(axis=0) + 0.5) / (len(x) + 1)
        odds, none = np.log(p) - np.log1p(-p), float(np.log1p(-p).sum())
        return FittedBaseline(_flat(lambda rows: -(rows @ odds + none)), p.size, p.size, "Bernoulli")
    mean, variance = x.mean(axis=0), x.var(axis=0) + FLOOR
    constant = 0.5 * float(np.log(2 * np.pi * variance).sum())
    return FittedBaseline(
        _flat(lambda rows: constant + 0.5 * ((rows - mean) ** 2 / variance).sum(axis=1)), 2 * mean.size, 2 * mean.size, "normal"
    )


def gaussian(dataset: Dataset, recipes: Sequence[Recipe]) -> FittedBaseline:
    """One Gaussian with the mean and the full covariance of the training examples."""
    x, held = _rows(dataset, 10 * ROWS), _rows(dataset, HELD, held=True)
    if binary(x):
        raise UserError("A Gaussian is for numbers that are not all 0 or 1. Received such. See the mixture.")
    mean, values, vectors = x.mean(axis=0), *np.linalg.eigh(np.atleast_2d(np.cov(x, rowvar=False)))

    def nats(rows: Array, more: float) -> Array:
        variances = np.maximum(values, 0.0) + more
        along = (rows - mean) @ vectors
        return np.asarray(0.5 * (np.log(2 * np.pi * variances).sum() + (along**2 / variances).sum(axis=1)))

    best = min(SHRINKAGE, key=lambda more: float(nats(held, more).mean()))
    d = x.shape[1]
    return FittedBaseline(_flat(lambda rows: nats(rows, best)), d + d * (d + 1) // 2, d * d, f"{best:g} added to variances")


def mixture(dataset: Dataset, recipes: Sequence[Recipe]) -> FittedBaseline:
    """A mixture of independent Bernoulli numbers, or of Gaussians; the validation part decides how many components."""
    x, held = _rows(dataset, ROWS), _rows(dataset, HELD, held=True)
    fit = bernoulli_mixture if binary(x) else gaussian_mixture
    best: tuple[float, int, Any, int] | None = None
    for k in COMPONENTS:
        if 5 * k > len(x):
            break
        nats, numbers = fit(x, k)
        found = float(nats(held).mean())
        if best is not None and found > best[0] + 0.02 * abs(best[0]):
            break  # more components now describe single examples
        if best is None or found < best[0]:
            best = found, k, nats, numbers
    if best is None:
        raise UserError(f"A mixture needs at least 5 training examples. Received {len(x)}. Give more.")
    _, k, nats, numbers = best
    return FittedBaseline(_flat(nats), numbers, numbers, f"{k} component{'s' if k > 1 else ''}")


def bernoulli_mixture(x: Array, components: int, steps: int = 30) -> tuple[Callable[[Array], Array], int]:
    """Return nats(rows) of a fitted mixture p(x) = sum_k w_k prod_j p_kj^x_j (1 - p_kj)^(1 - x_j), and its size.

    Expectation-maximization, where each p_kj counts half an example more of 0 and of 1, each w_k a whole one.

    Args:
        x: zeros and ones, (n, d)
        components: how many
        steps: of expectation and maximization
    """
    from scipy.special import logsumexp
    from sklearn.cluster import kmeans_plusplus

    x = x.astype(np.float32)
    p = 0.25 + 0.5 * kmeans_plusplus(x, components, random_state=0)[0]  # examples that are far from each other
    weights = np.full(components, 1 / components)

    def joint(rows: Array) -> Array:
        """ln w_k + ln p(x_i | k), (rows, components)."""
        odds, none = np.log(p) - np.log1p(-p), np.log1p(-p).sum(axis=1)
        return np.asarray(rows.astype(np.float32) @ odds.T + (none + np.log(weights)), np.float64)

    for _ in range(steps):
        scores = joint(x)
        responsible = np.exp(scores - logsumexp(scores, axis=1, keepdims=True)).astype(np.float32)
        count = responsible.sum(axis=0)
        p = (responsible.T @ x + 0.5) / (count[:, None] + 1)
        weights = (count + 1) / (len(x) + components)
    return lambda rows: -logsumexp(joint(rows), axis=1), p.size + components - 1


def gaussian_mixture(x: Array, components: int) -> tuple[Callable[[Array], Array], int]:
    """Return nats(rows) of a fitted mixture of Gaussians, whose covariances are full up to 16 numbers, and its size."""
    from sklearn.mixture import GaussianMixture

    d = x.shape[1]
    form = "full" if d <= 16 else "diag"
    model = GaussianMixture(components, covariance_type=form, reg_covar=1e-3, n_init=2, random_state=0)
    quietly(model.fit, x)
    numbers = components * (1 + d + (d * (d + 1) // 2 if form == "full" else d)) - 1
    return lambda rows: -model.score_samples(rows), numbers


def _rows(dataset: Dataset, most: int, held: bool = False) -> Array:
    x = arrays_of(dataset.validation if held else dataset.train, "input", most=most)[0]
    return x.reshape(len(x), -1).astype(np.float64)


def _flat(nats: Callable[[Array], Array]) -> Callable[..., Array]:
    """outputs(x): the nats of examples of any shape."""
    return lambda x, *others: np.asarray(nats(x.reshape(len(x), -1).astype(np.float64)))


# The task


class Density(Task):
    """Minus the logarithm of each example's probability (or density), or an upper bound of it.

    Decided outputs are these numbers, (batch,), in nats, for examples as the model sees them: standardized where the kind of
    data standardizes. A stochastic bound is drawn under the task's own generator, so that it repeats.
    """

    name = "density"
    needs_targets = False
    measures_inputs = True
    metrics: ClassVar[tuple[Metric, ...]] = (
        Metric("nll", "lower", "nats", "negative log-likelihood of a held-out example, or its upper bound"),
        Metric("bits_per_dim", "lower", "bits", "the same for each number of an example, in bits: nll / (numbers ln 2)"),
    )
    baselines: ClassVar[Mapping[str, Baseline]] = {"independent": independent, "Gaussian": gaussian, "mixture": mixture}
    gives = (("nll", "minus the logarithm of the example's probability or density, or an upper bound of it, in nats"),)

    def meter(self) -> Meter:
        return _Nats(self.dataset)

    def interpret(self, outputs: Any, inputs: tuple[Any, ...]) -> Any:
        """Return the nats of each example."""
        return outputs

    def columns(self, meant: Any) -> dict[str, Array]:
        return {self.gives[0][0]: meant}

    def sample(self, model: Any, count: int, seed: int, label: int | None = None) -> Answer:
        """Return `count` examples that the model draws, by its `sample(count)`, or `sample(count, labels)` for a label."""
        return new_examples(self, model, count, seed, label)

    def errors(self, evaluation: Evaluation) -> Array | None:
        return evaluation.arrays["nats"]

    def mistakes(self, evaluation: Evaluation) -> Mistakes:
        """Return the examples from the least probable on."""
        nats = evaluation.arrays["nats"]
        order = np.argsort(-nats, kind="stable")
        title = f"The least probable of {len(nats):,} test examples (mean {nats.mean():.3g} nats)"
        return Mistakes(order, {int(i): f"{nats[i]:.3g} nats" for i in order[:24]}, title, "minus the logarithm of p(x)")

    def coloring(self, model: Module, batch: Batch) -> Coloring:
        """Return the class where the data have classes, else the nats."""
        targets = self.targets(batch)
        if self.dataset.classes and targets and targets[0].ndim == 1:
            return Coloring("the true class", targets[0], self.dataset.classes)
        return Coloring("minus ln p(x), in nats", self.evaluate(model, ArraySplit(batch, self.dataset.fields)).arrays["nats"])

    def figure(self, evaluation: Evaluation) -> Figure:
        return ordered(evaluation.arrays["examples"], evaluation.arrays["nats"], kind_of(self.dataset).look(self.dataset))


class _Nats:
    """The nats of all examples, and the examples."""

    def __init__(self, dataset: Dataset) -> None:
        self._named = dataset.fields
        self._nats: list[Array] = []
        self._examples: list[Array] = []

    def add(self, outputs: Array, batch: Batch) -> None:
        self._nats.append(np.asarray(outputs, np.float64).reshape(-1))
        self._examples.append(fields.select(self._named, batch, "input")[0])

    def result(self) -> Evaluation:
        nats, examples = np.concatenate(self._nats), np.concatenate(self._examples)
        mean, numbers = float(nats.mean()), math.prod(examples.shape[1:])
        metrics = {"nll": mean, "bits_per_dim": mean / (numbers * math.log(2))}
        return Evaluation(metrics, {"nats": nats, "examples": examples})


def ordered(examples: Array, nats: Array, look: Look) -> Figure:
    """Return how many examples have how many nats, and which: pictures in their order, or points in their colors."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 3.6), layout="constrained")
    parts: Any = figure.subfigures(1, 2, width_ratios=(1, 1.3))
    left, right = parts[0].subplots(), parts[1]
    left.hist(nats, bins=min(60, max(len(nats) // 8, 5)), color=BLUE)
    left.axvline(nats.mean(), color="black", lw=1, ls="--")
    left.set(title=f"Mean {nats.mean():.1f} nats (dashed)", xlabel="minus ln p(x), nats", ylabel="held-out examples")
    left.grid(alpha=0.25)
    order = np.argsort(nats, kind="stable")
    if isinstance(look, Pictures):
        columns = 10
        middle = max((len(order) - columns) // 2, 0)
        rows = (("most\nprobable", order[:columns]), ("in the\nmiddle", order[middle : middle + columns]),
                ("least\nprobable", order[-columns:]))  # fmt: skip
        right.suptitle("Held-out examples by their probability", fontsize=11)
        grid: Any = right.subplots(len(rows), columns, squeeze=False)
        for line, (name, chosen) in zip(grid, rows):
            for axes in line:
                axes.set_axis_off()
            for axes, i in zip(line, chosen):
                look.show(axes, (examples[i][None],))
            line[0].text(-0.2, 0.5, name, transform=line[0].transAxes, ha="right", va="center", fontsize=10)
        return figure
    axes = right.subplots()
    x, _, names = plane(examples, examples[:1], look)
    flat = x.shape[1] == 1
    shown = axes.scatter(x[:, 0], nats if flat else x[:, 1], c=nats, s=7, cmap="viridis_r", linewidths=0)
    axes.set(title="Held-out examples", xlabel=names[0], ylabel="nats" if flat else names[1])
    right.colorbar(shown, ax=axes, label="minus ln p(x), nats")
    return figure
