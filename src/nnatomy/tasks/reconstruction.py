"""Reconstruction: an example comes out of the model again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from nnatomy import ops
from nnatomy.data.dataset import ArraySplit, Dataset
from nnatomy.functional import mse_loss
from nnatomy.layers.module import Module
from nnatomy.tasks.baselines import Baseline, FittedBaseline, arrays_of
from nnatomy.tasks.parts import Array, Batch, Coloring, Joined, Meter, Mistakes, Score
from nnatomy.tasks.scoring import apart
from nnatomy.tasks.task import Task
from nnatomy.training.evaluation import Evaluation, Metric
from nnatomy.training.recipe import Recipe

COMPONENTS = 16
"""Principal components where no recipe says how many numbers its code has."""


def mean_example(dataset: Dataset, recipes: Sequence[Recipe]) -> FittedBaseline:
    """The mean training example, whatever the input."""
    average = arrays_of(dataset.train, "input")[0].mean(axis=0)
    return FittedBaseline(lambda x: np.broadcast_to(average, (len(x), *average.shape)), average.size, 0)


def principal(dataset: Dataset, recipes: Sequence[Recipe]) -> FittedBaseline:
    """The nearest point of the plane of as many principal components as the narrowest network's code has numbers."""
    from sklearn.decomposition import PCA

    x = arrays_of(dataset.train, "input")[0]
    rows = x.reshape(len(x), -1)
    code = min((int(recipe.options["code"]) for recipe in recipes if "code" in recipe.options), default=COMPONENTS)
    k = min(code, rows.shape[1] - 1, len(rows) - 1)
    model = PCA(k, svd_solver="full" if rows.shape[1] <= 1000 else "randomized", random_state=0).fit(rows)

    def outputs(x: Array) -> Array:
        flat = x.reshape(len(x), -1)
        return np.asarray(model.inverse_transform(model.transform(flat))).reshape(x.shape)

    return FittedBaseline(outputs, (k + 1) * rows.shape[1], 2 * k * rows.shape[1], f"{k} components")


class Reconstruction(Task):
    """The reconstruction's explained fraction of the inputs' variance."""

    name = "reconstruction"
    needs_targets = False
    measures_inputs = True
    metrics: ClassVar[tuple[Metric, ...]] = (
        Metric("explained", "higher", says="fraction of the inputs' variance that comes back out"),
        Metric("mse", "lower", says="mean squared difference between an example and its reconstruction"),
    )
    drawn_as = "inputs"
    explains = "the reconstruction error"
    baselines: ClassVar[Mapping[str, Baseline]] = {"mean": mean_example, "principal components": principal}
    gives = (
        ("error", "the mean squared difference between an example, as the network sees it, and its reconstruction"),
        ("reconstruction", "the network's output, in the scale of its inputs"),
    )

    outputs_are = "numbers"

    @classmethod
    def loss(cls, outputs: Any, *batch: Any) -> Any:
        """Return the mean squared error of the inputs that came back."""
        return mse_loss(outputs.reshape(batch[0].shape), batch[0])

    def meter(self) -> Meter:
        return Joined(self.measure, self.dataset.fields, "input")

    def measure(self, outputs: Array, inputs: Array) -> Evaluation:
        """Return the metrics of all reconstructions of a split against its inputs."""
        rows = len(inputs)
        x, back = inputs.reshape(rows, -1).astype(np.float64), outputs.reshape(rows, -1).astype(np.float64)
        errors = ((x - back) ** 2).mean(axis=1)
        variance = ((x - x.mean(axis=0)) ** 2).mean()
        metrics = {"mse": float(errors.mean()), "explained": float(1 - errors.mean() / max(variance, 1e-12))}
        return Evaluation(metrics, {"targets": x, "predictions": back, "errors": errors})

    def interpret(self, outputs: Any, inputs: tuple[Any, ...]) -> Any:
        """Return the mean squared error of each example."""
        off = ops.flatten(outputs, 1) - ops.flatten(inputs[0], 1)
        return ops.mean(off * off, axis=1)

    def errors(self, evaluation: Evaluation) -> Array | None:
        return evaluation.arrays["errors"]

    def columns(self, meant: Array) -> dict[str, Array]:
        return {"error": meant}

    def mistakes(self, evaluation: Evaluation) -> Mistakes:
        """Return the examples by their error; of windows over a series, without those that overlap a worse one."""
        errors, dataset = evaluation.arrays["errors"], self.dataset
        order = np.argsort(-errors, kind="stable")
        if dataset.timeline is not None:
            order = apart(order, dataset.timeline.window // getattr(dataset.preprocessing, "stride", 1))
        title = f"What is given back worst, of {len(errors):,} test examples (mean error {errors.mean():.3g})"
        says = {int(i): f"error {errors[i]:.3g}" for i in order[:24]}
        return Mistakes(order, says, title, "the mean squared error of each example")

    def saliency_score(self, outputs: Array, batch: Batch) -> Score:
        def error(out: Any, x: Any) -> Any:
            return ((out.reshape(x.shape[0], -1) - x.reshape(x.shape[0], -1)) ** 2).mean(axis=1)

        return Score(error, f"error {float(error(outputs, batch[0])[0]):.3g}")

    def coloring(self, model: Module, batch: Batch) -> Coloring:
        """Return the class where the data have classes, else the error."""
        targets = self.targets(batch)
        if self.dataset.classes and targets and targets[0].ndim == 1:
            return Coloring("the true class", targets[0], self.dataset.classes)
        found = self.evaluate(model, ArraySplit(batch, self.dataset.fields))
        return Coloring("the reconstruction error", found.arrays["errors"])
