"""Generation: new examples, made from noise, that are distributed as the data are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from nnatomy.data import fields
from nnatomy.data.dataset import Dataset, generator
from nnatomy.data.kinds import ExportedInputs, InputSpec, kind_of
from nnatomy.data.kinds.looks import Look, Pictures
from nnatomy.errors import UserError
from nnatomy.layers.module import Module
from nnatomy.random import Generator, generators_of
from nnatomy.tasks.baselines import Baseline, FittedBaseline, arrays_of
from nnatomy.tasks.figures import GRAY, ORANGE
from nnatomy.tasks.forward import evaluating, own_stream
from nnatomy.tasks.parts import Answer, Array, Batch, Meter
from nnatomy.tasks.scoring import quietly
from nnatomy.tasks.task import Predictor, Task
from nnatomy.tensor import Tensor
from nnatomy.training.evaluation import Evaluation, Metric
from nnatomy.training.recipe import Recipe

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST = 2000
"""Examples of a split that are compared, and as many samples: every pair has a distance."""
NEIGHBORS = 5
"""k of the k-nearest-neighbor balls."""
FAIR = 0.25
"""The fraction of its fair share of samples from which a mode counts as found."""
ROWS = 2000
"""Training examples to which baselines are fitted at most."""
NUMBERS = 500_000
"""The same in numbers: 637 pictures of 28 x 28."""


# Predictors without a network


def gaussian(dataset: Dataset, recipes: Sequence[Recipe]) -> FittedBaseline:
    """One Gaussian with the mean and the full covariance of the training examples."""
    x = _rows(dataset, 10 * ROWS)
    mean, covariance = x.mean(axis=0), np.atleast_2d(np.cov(x, rowvar=False))
    values, vectors = np.linalg.eigh(covariance)
    root = vectors * np.sqrt(np.maximum(values, 0.0))
    rng, d = generator(0), x.shape[1]
    return FittedBaseline(_like(lambda n: mean + rng.normal(size=(n, d)) @ root.T), d + d * (d + 1) // 2, d * d)


def mixture(dataset: Dataset, recipes: Sequence[Recipe]) -> FittedBaseline:
    """A mixture of Gaussians; how many, the held-out likelihood of the validation part decides."""
    from sklearn.mixture import GaussianMixture

    x, held = _rows(dataset, ROWS), _rows(dataset, ROWS, held=True)
    d = x.shape[1]
    form = "full" if d <= 16 else "diag"
    best, most = None, -np.inf
    for components in (1, 2, 4, 8, 16, 32):
        if components * 5 > len(x):
            break
        model = GaussianMixture(components, covariance_type=form, reg_covar=1e-4, n_init=2, random_state=0)
        likelihood = float(quietly(model.fit, x).score(held))  # an unfinished fit is judged by its likelihood
        if likelihood > most:
            best, most = model, likelihood
    if best is None:
        raise UserError(f"A mixture needs at least 5 training examples. Received {len(x)}. Give more.")
    k, rng = best.n_components, generator(0)
    full = form == "full"
    roots = np.stack([np.linalg.cholesky(c) for c in best.covariances_]) if full else np.sqrt(best.covariances_)

    def draw(n: int) -> Array:
        which = rng.choice(k, size=n, p=best.weights_ / best.weights_.sum())
        noise = rng.normal(size=(n, d))
        return np.asarray(best.means_[which] + (np.einsum("nij,nj->ni", roots[which], noise) if full else roots[which] * noise))

    numbers = k * (1 + d + (d * (d + 1) // 2 if form == "full" else d))
    return FittedBaseline(_like(draw), numbers, d * d if form == "full" else d, f"{k} components")


def kernel_density(dataset: Dataset, recipes: Sequence[Recipe]) -> FittedBaseline:
    """Training examples with normal noise, whose deviation the likelihood of the validation part decides."""
    from sklearn.neighbors import KernelDensity

    x, held = _rows(dataset, ROWS), _rows(dataset, 500, held=True)
    width = max((0.01, 0.03, 0.1, 0.2, 0.3, 0.5), key=lambda w: float(KernelDensity(bandwidth=w).fit(x).score(held)))
    rng = generator(0)
    draw = _like(lambda n: x[rng.integers(0, len(x), n)] + width * rng.normal(size=(n, x.shape[1])))
    return FittedBaseline(draw, x.size, x.shape[1], f"deviation {width:g}")


def _rows(dataset: Dataset, most: int, held: bool = False) -> Array:
    most = min(most, max(NUMBERS // int(np.prod(dataset.input_shape)), 500))
    x = arrays_of(dataset.validation if held else dataset.train, "input", most=most)[0]
    return x.reshape(len(x), -1).astype(np.float64)


def _like(draw: Any) -> Any:
    """outputs(x): as many samples as x has examples, in their shape."""
    return lambda x, *others: draw(len(x)).reshape(x.shape).astype(np.float32)


# The task


class Generation(Task):
    """Distances of the model's samples to held-out examples, and the examples that the samples miss."""

    name = "generation"
    needs_targets = False
    measures_inputs = True
    takes_data = False
    metrics: ClassVar[tuple[Metric, ...]] = (
        Metric("energy_distance", "lower", says="energy distance between samples and held-out examples, about 0 at best"),
        Metric("coverage", "higher", says="fraction of held-out examples with a sample in their 5-nearest-neighbor ball"),
        Metric("precision", "higher", says="fraction of samples in the 5-nearest-neighbor ball of a held-out example"),
        Metric("modes", "higher", says="named modes or classes that get at least a quarter of their fair share of samples"),
    )
    baselines: ClassVar[Mapping[str, Baseline]] = {
        "Gaussian": gaussian, "Gaussian mixture": mixture, "kernel density": kernel_density,
    }  # fmt: skip
    gives = (
        ("sample", "a new example, in the units of the user's data"),
        ("output", "the same example as the network gives it"),
    )

    def meter(self) -> Meter:
        return _Samples(self.dataset)

    def interpret(self, outputs: Any, inputs: tuple[Any, ...]) -> Any:
        """Return the examples in the units of the user's data."""
        return self.dataset.preprocessing.inverse(outputs)

    def predictor(self, model: Module, batch_size: int | None = None) -> Predictor:
        raise UserError("A generator makes examples from noise and takes no data. Received data. Use nnatomy sample.")

    def sample(self, model: Any, count: int, seed: int, label: int | None = None) -> Answer:
        """Return `count` new examples; the same ones for the same seed.

        The model has `sample(count)`, or `sample(count, labels)` for a label, which draws from the default generator.
        """
        return new_examples(self, model, count, seed, label)

    def export_inputs(self) -> ExportedInputs:
        """Return the noise: as many numbers as the recipe's option "noise", or without it one for each number of an example."""
        noise = self.recipe.options.get("noise")
        shape = self.dataset.input_shape if noise is None else (int(noise),)
        return _Noise(self.dataset, InputSpec("noise", shape, "float32", "normal noise, mean 0, deviation 1"))

    def model_inputs(self, batch: Batch) -> Batch:
        return self.export_inputs().made_up(generator(0), len(batch[0]))

    def figure(self, evaluation: Evaluation) -> Figure:
        real, made, look = evaluation.arrays["real"], evaluation.arrays["made"], kind_of(self.dataset).look(self.dataset)
        if not isinstance(look, Pictures):  # which undo their scaling themselves
            real, made = map(self.dataset.preprocessing.inverse, (real, made))
        return side_by_side(real, made, look)


def new_examples(task: Task, model: Any, count: int, seed: int, label: int | None = None) -> Answer:
    """Return what `model.sample` draws, in the form of the data's kind; the same examples for the same seed."""
    labels = () if label is None else (Tensor(np.full(count, label)),)
    with own_stream(Generator(seed).state_dict(), list(generators_of(model).values())), evaluating(model):
        outputs = np.asarray(task.recipe.decide(model.sample(count, *labels)).data)
    columns, files = kind_of(task.dataset).made(outputs, task.dataset)
    return Answer(columns, files=files)


class _Noise(ExportedInputs):
    """Noise as the one input of an exported generator."""

    def made_up(self, rng: np.random.Generator, count: int) -> Batch:
        return (rng.normal(size=(count, *self.inputs[0].shape)).astype(np.float32),)


class _Samples:
    """Samples next to the examples of a split, and the classes of these where they have some."""

    def __init__(self, dataset: Dataset) -> None:
        self._named, self._labeled = dataset.fields, bool(dataset.classes)
        self._made: list[Array] = []
        self._real: list[Array] = []
        self._labels: list[Array] = []

    def add(self, outputs: Array, batch: Batch) -> None:
        self._made.append(np.asarray(outputs))
        self._real.append(fields.select(self._named, batch, "input")[0])
        if self._labeled:
            self._labels += fields.select(self._named, batch, "target")[:1]

    def result(self) -> Evaluation:
        real, made = np.concatenate(self._real), np.concatenate(self._made)
        rows = np.unique(np.linspace(0, len(real) - 1, min(MOST, len(real))).astype(int))
        labels = np.concatenate(self._labels)[rows] if self._labels else None
        real, made = real[rows], made[rows]
        return Evaluation(compared(real, made, labels), {"real": real, "made": made})


def compared(real: Array, made: Array, labels: Array | None = None, k: int = NEIGHBORS) -> dict[str, float]:
    """Return the metrics of samples against examples.

    energy distance = 2 E|x - y| - E|x - x'| - E|y - y'| over all pairs, x real and y made, without those of an example and
    itself: two samples of one distribution have 0 on average, and a little less as often as more (Szekely and Rizzo 2013).
    Coverage: examples i with a sample nearer than r_i, the distance of i to its k-th nearest other example (Naeem et al. 2020).
    Precision: samples that are nearer than r_i to some example i (Kynkaanniemi et al. 2019). Modes: classes of the nearest
    example, within its r_i, that get at least FAIR of their fraction of the samples.

    Args:
        real: examples, (n, ...)
        made: samples, (m, ...)
        labels: classes of the examples, (n,), or None; then modes are not counted
        k: which nearest neighbor r_i is the distance to; at most n - 1
    """
    x, y = (a.reshape(len(a), -1).astype(np.float64) for a in (real, made))
    across, within, among = distances(x, y), distances(x, x), distances(y, y)
    np.fill_diagonal(within, 0.0)
    np.fill_diagonal(among, 0.0)
    radius = np.sort(within, axis=1)[:, min(k, len(x) - 1)]
    inside = across <= radius[:, None]
    found = {
        "energy_distance": float(2 * across.mean() - _mean_of_pairs(within) - _mean_of_pairs(among)),
        "coverage": float(inside.any(axis=1).mean()),
        "precision": float(inside.any(axis=0).mean()),
    }
    if labels is not None:
        nearest = across.argmin(axis=0)
        hits = labels[nearest[inside[nearest, np.arange(len(y))]]]
        classes, examples = np.unique(labels, return_counts=True)
        fair = FAIR * examples / len(labels) * len(y)
        found["modes"] = float(sum((hits == c).sum() >= least for c, least in zip(classes, fair)))
    return found


def _mean_of_pairs(distances: Array) -> float:
    n = len(distances)
    return float(distances.sum()) / max(n * (n - 1), 1)


def distances(a: Array, b: Array) -> Array:
    """Return |a_i - b_j| for all pairs of rows, (n, m)."""
    squares: Array = (a * a).sum(axis=1)[:, None] + (b * b).sum(axis=1) - 2 * a @ b.T
    return np.asarray(np.sqrt(np.maximum(squares, 0.0)))


# The figure of the report


def side_by_side(real: Array, made: Array, look: Look, pictures: int = 40) -> Figure:
    """Return examples next to samples: as pictures, or as points in the plane of their two main directions."""
    from matplotlib.figure import Figure

    if isinstance(look, Pictures):
        figure = Figure(figsize=(10, 3.2), layout="constrained")
        halves: Any = figure.subfigures(1, 2)
        for half, (title, some) in zip(halves, (("Held-out examples", real), ("Samples", made))):
            half.suptitle(title, fontsize=11)
            grid = half.subplots(4, pictures // 4)
            for axes in grid.flat:
                axes.set_axis_off()
            for axes, example in zip(grid.flat, some[:pictures]):
                look.show(axes, (example[None],))
        return figure
    x, y, names = plane(real, made, look)
    figure = Figure(figsize=(10, 4.4), layout="constrained")
    panels = figure.subplots(1, 2, sharex=True, sharey=True)
    for axes, some, color, title in zip(panels, (x, y), (GRAY, ORANGE), ("Held-out examples", "Samples")):
        if x.shape[1] == 1:
            axes.hist(some[:, 0], bins=60, color=color, density=True)
            axes.set(title=f"{title}: {len(some):,}", xlabel=names[0], ylabel="density")
        else:
            axes.scatter(*some.T, s=5, color=color, alpha=0.5, linewidths=0)
            axes.set(title=f"{title}: {len(some):,}", xlabel=names[0], ylabel=names[1], aspect="equal")
        axes.grid(alpha=0.25)
    return figure


def plane(real: Array, made: Array, look: Look) -> tuple[Array, Array, tuple[str, ...]]:
    """Return examples and samples with at most two coordinates each, and these coordinates' names."""
    x, y = (a.reshape(len(a), -1).astype(np.float64) for a in (real, made))
    named = tuple(getattr(look, "features", ()))
    if x.shape[1] <= 2:
        return x, y, named if len(named) == x.shape[1] else tuple(f"x{i + 1}" for i in range(x.shape[1]))
    center = x.mean(axis=0)
    directions = np.linalg.svd(x - center, full_matrices=False)[2][:2]
    return (x - center) @ directions.T, (y - center) @ directions.T, ("main direction 1", "main direction 2")
