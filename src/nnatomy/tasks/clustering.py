"""Clustering: the center that an example belongs to, and, on a map, whether neighbors stay neighbors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from nnatomy.data import fields
from nnatomy.data.dataset import Dataset
from nnatomy.layers.module import Module
from nnatomy.tasks.baselines import Baseline, FittedBaseline, arrays_of
from nnatomy.tasks.figures import BLUE
from nnatomy.tasks.parts import Array, Batch, Coloring, Meter, Mistakes, Score
from nnatomy.tasks.task import Task
from nnatomy.training.evaluation import Evaluation, Metric
from nnatomy.training.recipe import Recipe

if TYPE_CHECKING:
    from matplotlib.figure import Figure

UNITS = 100
"""Centers of a baseline where no recipe says how many units its network has."""
ROW, COLUMN, DISTANCE, NEIGHBOR, LABEL = range(5)
"""Columns of the outputs: the best-matching unit's place, its distance, 1 if the second best is adjacent, its class."""


def _sides(recipes: Sequence[Recipe]) -> tuple[int, int]:
    """Rows and columns of the largest map of some recipes."""
    found = [(int(r.options["rows"]), int(r.options["columns"])) for r in recipes if {"rows", "columns"} <= r.options.keys()]
    return max(found, key=lambda sides: sides[0] * sides[1], default=(UNITS // 10, 10))


def _centers(dataset: Dataset, centers: Array, chosen: str = "", columns: int | None = None) -> FittedBaseline:
    """Centers as a predictor in the task's form; without a grid of `columns` nothing is a neighbor of anything."""
    x, labels = _flat(arrays_of(dataset.train, "input")[0]), _classes(dataset, arrays_of(dataset.train, "target"))
    label = np.full(len(centers), -1.0)
    if labels is not None:
        votes = np.zeros((len(centers), len(dataset.classes)))
        np.add.at(votes, (_nearest(x, centers)[0][:, 0], labels), 1)
        known = np.flatnonzero(votes.sum(axis=1))
        label = votes.argmax(axis=1)[known[_nearest(centers, centers[known])[0][:, 0]]].astype(float)

    def outputs(inputs: Array) -> Array:
        order, distances = _nearest(_flat(inputs), centers)
        best, second = order[:, 0], order[:, min(1, order.shape[1] - 1)]
        where = np.divmod(best, columns or 1), np.divmod(second, columns or 1)
        gap = np.max(np.abs(np.subtract(*where)), axis=0)
        beside = np.full(len(best), np.nan) if columns is None else (gap == 1).astype(float)
        return np.stack([*where[0], distances, beside, label[best]], axis=1)

    return FittedBaseline(outputs, centers.size, centers.size, chosen)


def _flat(inputs: Array) -> Array:
    return inputs.reshape(len(inputs), -1).astype(np.float64)


def _nearest(x: Array, centers: Array) -> tuple[Array, Array]:
    """The numbers of the two nearest centers of each row, and the distance of the nearest."""
    apart = np.square(x).sum(axis=1)[:, None] - 2 * x @ centers.T + np.square(centers).sum(axis=1)
    order = np.argsort(apart, axis=1, kind="stable")[:, :2]
    return order, np.linalg.norm(x - centers[order[:, 0]], axis=1)


def _classes(dataset: Dataset, targets: Sequence[Array]) -> Array | None:
    """The class ids of examples; None where they have none."""
    return targets[0] if dataset.classes and targets and targets[0].ndim == 1 else None


def mean(dataset: Dataset, recipes: Sequence[Recipe]) -> FittedBaseline:
    """One center: the mean training example."""
    return _centers(dataset, _flat(arrays_of(dataset.train, "input")[0]).mean(axis=0, keepdims=True))


def k_means(dataset: Dataset, recipes: Sequence[Recipe]) -> FittedBaseline:
    """As many centers as the map has units, by k-means: less distance, and no order among them."""
    from sklearn.cluster import KMeans

    rows, columns = _sides(recipes)
    x = _flat(arrays_of(dataset.train, "input", most=20_000)[0])
    k = min(rows * columns, len(np.unique(x, axis=0)))
    return _centers(dataset, KMeans(k, n_init=1, random_state=0).fit(x).cluster_centers_, f"{k} centers")


def plane(dataset: Dataset, recipes: Sequence[Recipe]) -> FittedBaseline:
    """A flat grid over the first two principal components: order, and no bending toward the data."""
    rows, columns = _sides(recipes)
    x = _flat(arrays_of(dataset.train, "input", most=20_000)[0])
    average = x.mean(axis=0)
    _, sizes, axes = np.linalg.svd(x - average, full_matrices=False)
    spans = 2 * sizes[:2, None] / np.sqrt(max(len(x) - 1, 1)) * axes[:2]
    spans = spans if len(spans) == 2 else np.vstack([spans, np.zeros_like(spans)])
    up, across = np.meshgrid(np.linspace(-1, 1, rows), np.linspace(-1, 1, columns), indexing="ij")
    grid = average + up.reshape(-1, 1) * spans[0] + across.reshape(-1, 1) * spans[1]
    return _centers(dataset, grid, f"{rows} x {columns}", columns)


class Clustering(Task):
    """Distances to the centers, and the order of the data on a map; classes, where there are any, name units."""

    name = "clustering"
    needs_targets = False
    metrics: ClassVar[tuple[Metric, ...]] = (
        Metric("quantization_error", "lower", says="mean distance of an example from its best-matching unit"),
        Metric("topographic_error", "lower", says="fraction of examples whose two best units are not neighbors on the map"),
        Metric("explained", "higher", says="fraction of the inputs' variance that the best-matching units have"),
        Metric("purity", "higher", says="fraction of examples whose unit is labeled with their class by majority vote"),
    )
    explains = "the distance from the best-matching unit"
    baselines: ClassVar[Mapping[str, Baseline]] = {"mean": mean, "k-means": k_means, "plane": plane}
    gives = (
        ("unit", "row and column of the best-matching unit, its distance, 1 if the second best is adjacent, its class or -1"),
        ("map", "the same, as the network gives it"),
    )

    def meter(self) -> Meter:
        return _Map(self)

    def interpret(self, outputs: Any, inputs: tuple[Any, ...]) -> Any:
        return outputs * 1.0

    def errors(self, evaluation: Evaluation) -> Array | None:
        return evaluation.arrays["errors"]

    def columns(self, meant: Array) -> dict[str, Array]:
        row, column, label = (meant[:, k].astype(int) for k in (ROW, COLUMN, LABEL))
        columns = {"map_row": row, "map_column": column, "distance": meant[:, DISTANCE]}
        if self.dataset.classes and label.min(initial=0) >= 0:
            return {"prediction": np.array(self.dataset.classes)[label]} | columns
        return columns

    def figure(self, evaluation: Evaluation) -> Figure:
        return distances(evaluation.arrays)

    def mistakes(self, evaluation: Evaluation) -> Mistakes:
        """Return the examples by their distance from the map."""
        errors = evaluation.arrays["errors"]
        order = np.argsort(-errors, kind="stable")
        title = f"What the map knows least, of {len(errors):,} test examples (mean distance {errors.mean():.3g})"
        says = {int(i): f"distance {errors[i]:.3g}" for i in order[:24]}
        return Mistakes(order, says, title, "the distance from the best-matching unit")

    def saliency_score(self, outputs: Array, batch: Batch) -> Score:
        return Score(lambda out, x: out[:, DISTANCE], f"distance {float(outputs[0, DISTANCE]):.3g}")

    def coloring(self, model: Module, batch: Batch) -> Coloring:
        """Return the class where the data have classes, else the distance."""
        labels = _classes(self.dataset, self.targets(batch))
        if labels is not None:
            return Coloring("the true class", labels, self.dataset.classes)
        outputs = self.predictor(model)(fields.select(self.dataset.fields, batch, "input"))
        return Coloring("the distance from the best-matching unit", outputs[:, DISTANCE])


class _Map:
    """Sums over a split: of distances, of wrong neighbors, of right labels, and of the inputs and their squares."""

    def __init__(self, task: Clustering) -> None:
        self._task = task
        self._outputs: list[Array] = []
        self._right: list[Array] = []
        self._sum: Any = 0.0
        self._squares = 0.0

    def add(self, outputs: Array, batch: Batch) -> None:
        named = self._task.dataset.fields
        x = _flat(fields.select(named, batch, "input")[0])
        self._outputs.append(outputs.astype(np.float64))
        self._sum, self._squares = self._sum + x.sum(axis=0), self._squares + float(np.square(x).sum())
        labels = _classes(self._task.dataset, fields.select(named, batch, "target"))
        if labels is not None:
            self._right.append(outputs[:, LABEL] == labels)

    def result(self) -> Evaluation:
        found = np.concatenate(self._outputs)
        errors, count = found[:, DISTANCE], len(found)
        variance = self._squares - float(np.square(self._sum).sum()) / count
        metrics = {
            "quantization_error": float(errors.mean()),
            "explained": float(1 - np.square(errors).sum() / max(variance, 1e-12)),
        }
        if not np.isnan(found[:, NEIGHBOR]).any():
            metrics["topographic_error"] = float(1 - found[:, NEIGHBOR].mean())
        if self._right and found[:, LABEL].min() >= 0:
            metrics["purity"] = float(np.concatenate(self._right).mean())
        return Evaluation(metrics, {"errors": errors, "units": found[:, : COLUMN + 1].astype(int)})


def distances(arrays: dict[str, Array]) -> Figure:
    """Return how far the test examples are from their units, and how many each unit takes."""
    from matplotlib.figure import Figure

    units = arrays["units"]
    figure = Figure(figsize=(10, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.hist(arrays["errors"], bins=40, color=BLUE, alpha=0.8)
    left.set(title="Distance from the best-matching unit (test)", xlabel="distance", ylabel="examples")
    left.grid(alpha=0.25)
    hits = np.zeros(units.max(axis=0) + 1, int)
    np.add.at(hits, tuple(units.T), 1)
    shown = right.imshow(hits, cmap="Blues", origin="lower")
    figure.colorbar(shown, ax=right, label="test examples")
    right.set(title="How many examples each unit takes", xlabel="column", ylabel="row")
    return figure
