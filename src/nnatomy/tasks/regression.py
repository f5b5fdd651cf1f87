"""Regression: numbers for each example."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from nnatomy.data.dataset import Dataset
from nnatomy.functional import mse_loss
from nnatomy.layers.module import Module
from nnatomy.tasks.baselines import BOOSTED, Baseline, FittedBaseline, arrays_of, parameters_of_trees, ridge, table_rows
from nnatomy.tasks.figures import BLUE, GRAY
from nnatomy.tasks.parts import Array, Batch, Coloring, Joined, Meter, Mistakes, Score
from nnatomy.tasks.scoring import mean_in_units, quietly, true_values
from nnatomy.tasks.task import Task
from nnatomy.training.evaluation import Evaluation, Metric
from nnatomy.training.recipe import Recipe

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def mean(dataset: Dataset, recipes: Sequence[Recipe]) -> FittedBaseline:
    """The mean of the training part, whatever the input."""
    average = arrays_of(dataset.train, "target")[0].mean(axis=0)
    return FittedBaseline(lambda *x: np.tile(average, (len(x[0]), 1)), average.size, 0)


def boosted(dataset: Dataset, recipes: Sequence[Recipe]) -> FittedBaseline:
    """Gradient boosting of trees over binned features, with scikit-learn's settings (Friedman 2001; Ke et al. 2017)."""
    from sklearn.ensemble import HistGradientBoostingRegressor

    x, y = arrays_of(dataset.train, "input", "target", most=BOOSTED)[:2]
    models = [HistGradientBoostingRegressor(random_state=0).fit(table_rows((x,)), column) for column in y.T]
    return FittedBaseline(
        lambda *x: np.stack([model.predict(x[0]) for model in models], axis=1),
        sum(map(parameters_of_trees, models)), 0, f"{sum(model.n_iter_ for model in models)} trees",
    )  # fmt: skip


class Regression(Task):
    """Errors in the target's own units, and R²."""

    name = "regression"
    metrics: ClassVar[tuple[Metric, ...]] = (
        Metric("r2", "higher", says="fraction of the targets' variance that is predicted"),
        Metric("mae", "lower", "target", "mean absolute error"),
        Metric("rmse", "lower", "target", "root of the mean squared error"),
    )
    drawn_as = "values"
    explains = "the predicted value"
    baselines: ClassVar[Mapping[str, Baseline]] = {
        "mean": mean, "ridge regression": ridge, "gradient boosting": boosted,
    }  # fmt: skip
    gives = (("prediction", "in the target's own units"),)

    outputs_are = "numbers"

    @classmethod
    def loss(cls, outputs: Any, *batch: Any) -> Any:
        """Return the mean squared error."""
        return mse_loss(outputs.reshape(batch[-1].shape), batch[-1])

    def meter(self) -> Meter:
        return Joined(self.measure, self.dataset.fields)

    def measure(self, outputs: Array, targets: Array) -> Evaluation:
        """Return the metrics of all predictions of a split against its targets."""
        from sklearn.metrics import mean_absolute_error, r2_score

        y = self.dataset.preprocessing.inverse_targets(targets.astype(np.float64))
        guess = self.dataset.preprocessing.inverse_targets(outputs.astype(np.float64))
        if not np.isfinite(guess).all():
            return Evaluation({"r2": -math.inf, "mae": math.inf, "rmse": math.inf}, {"targets": y, "predictions": guess})
        metrics = {
            "r2": float(quietly(r2_score, y, guess)),
            "mae": float(mean_absolute_error(y, guess)),
            "rmse": float(np.sqrt(np.mean((y - guess) ** 2))),
        }
        return Evaluation(metrics, {"targets": y, "predictions": guess})

    def errors(self, evaluation: Evaluation) -> Array:
        off = evaluation.arrays["predictions"] - evaluation.arrays["targets"]
        return np.asarray(np.square(off).reshape(len(off), -1).mean(axis=1))

    def interpret(self, outputs: Any, inputs: tuple[Any, ...]) -> Any:
        return self.dataset.preprocessing.inverse_targets(outputs)

    def columns(self, meant: Array) -> dict[str, Array]:
        if meant.shape[1] == 1:
            return {"prediction": meant[:, 0]}
        return {f"prediction_{i}": meant[:, i] for i in range(meant.shape[1])}

    def figure(self, evaluation: Evaluation) -> Figure:
        return residuals(evaluation.arrays)

    def mistakes(self, evaluation: Evaluation) -> Mistakes:
        count = len(evaluation.arrays["targets"])
        y, guess = (evaluation.arrays[name].reshape(count, -1) for name in ("targets", "predictions"))
        errors = np.abs(y - guess).mean(axis=1)
        order = np.argsort(-errors, kind="stable")
        says = {int(i): f"true {y[i, 0]:.4g}, predicted {guess[i, 0]:.4g}" for i in order[:24]}
        title = f"The largest errors, of {count:,} test examples (mean absolute error {errors.mean():.3g})"
        return Mistakes(order, says, title, "true and predicted value, the largest difference first")

    def saliency_score(self, outputs: Array, batch: Batch) -> Score:
        return mean_in_units(self.dataset.preprocessing, outputs, self.targets(batch)[0], "predicted")

    def coloring(self, model: Module, batch: Batch) -> Coloring:
        return true_values(self.dataset.preprocessing, self.targets(batch)[0])


def residuals(arrays: dict[str, Array]) -> Figure:
    """Return predicted against true values, and their differences."""
    from matplotlib.figure import Figure

    y, guess = (arrays[name].reshape(len(arrays[name]), -1)[:, 0] for name in ("targets", "predictions"))
    figure = Figure(figsize=(10, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.scatter(y, guess, s=8, alpha=0.35, color=BLUE, linewidths=0)
    ends = [min(y.min(), guess.min()), max(y.max(), guess.max())]
    left.plot(ends, ends, color=GRAY, ls="--", lw=1)
    left.set(title="Predicted against true (test)", xlabel="true", ylabel="predicted")
    right.hist(guess - y, bins=50, color=BLUE, alpha=0.8)
    right.axvline(0, color=GRAY, ls="--", lw=1)
    right.set(title="Residuals: predicted - true", xlabel="residual", ylabel="examples")
    for axes in (left, right):
        axes.grid(alpha=0.25)
    return figure
