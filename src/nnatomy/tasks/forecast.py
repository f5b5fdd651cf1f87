"""Forecasts: the values that follow a window of a series."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from nnatomy import ops
from nnatomy.data.dataset import Dataset, SeriesSplit, Split, SubsetSplit
from nnatomy.errors import UserError
from nnatomy.functional import mse_loss
from nnatomy.layers.module import Module
from nnatomy.tasks.baselines import Baseline, FittedBaseline, arrays_of, ridge
from nnatomy.tasks.figures import BLUE, GRAY, ORANGE
from nnatomy.tasks.parts import Answer, Array, Batch, Coloring, Joined, Meter, Mistakes, Score
from nnatomy.tasks.scoring import apart, mean_in_units, true_values
from nnatomy.tasks.task import Task
from nnatomy.training.evaluation import Evaluation, Metric
from nnatomy.training.recipe import Recipe

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def last_value(dataset: Dataset, recipes: Sequence[Recipe]) -> FittedBaseline:
    """The last known value, for all steps ahead."""
    split = _series(dataset.train)
    columns = list(split.targets)
    return FittedBaseline(lambda x: np.repeat(x[:, -1:, columns], split.horizon, axis=1), 0, 0)


def seasonal(dataset: Dataset, recipes: Sequence[Recipe]) -> FittedBaseline:
    """The value one season ago.

    The season is a lag at which the training part's changes from row to row repeat (a peak of their autocorrelation), within
    the window: the one that forecasts training windows best.
    """
    split = _series(dataset.train)
    columns = list(split.targets)
    x = np.diff(split.values[:, columns[0]].astype(np.float64))  # levels drift, which hides a season
    x = x - x.mean()
    reach = min(split.past, len(x) // 2)
    correlation = np.array([np.mean(x[: len(x) - lag] * x[lag:]) for lag in range(reach + 2)])
    peaks = [p for p in range(2, reach + 1) if correlation[p] > max(correlation[p - 1], correlation[p + 1], 1e-9)]
    if not peaks:
        raise UserError(
            f"A season must show within the window. Received {split.past} rows without one. Use a larger --window."
        )
    past, future = arrays_of(dataset.train, "input", "target", most=2000)
    period = min(peaks, key=lambda p: float(np.mean((season(past, columns, p, split.horizon) - future) ** 2)))
    return FittedBaseline(lambda x: season(x, columns, period, split.horizon), 1, 0, f"a season of {period} rows")


def season(x: Array, columns: list[int], period: int, horizon: int) -> Array:
    """Return the last `period` rows of windows x (n, rows, columns), repeated for `horizon` rows."""
    return x[:, -period:, columns][:, np.arange(horizon) % period]


def _series(split: Split) -> SeriesSplit:
    found = _windows(split)
    if found is None:
        raise UserError("Naive forecasts need windows over a series. Received whole sequences. Compare without them.")
    return found


def _windows(split: Split) -> SeriesSplit | None:
    """The windows over a series that a split has, or some of them where it is limited; None for other splits."""
    while isinstance(split, SubsetSplit):
        split = split.whole
    return split if isinstance(split, SeriesSplit) else None


class Forecast(Task):
    """Errors of forecast windows, standardized as the papers report them and in the target's units, against the last value."""

    name = "forecast"
    metrics: ClassVar[tuple[Metric, ...]] = (
        Metric("mse", "lower", says="mean squared error of the standardized series"),
        Metric("mae", "lower", says="mean absolute error of the standardized series"),
        Metric("rmse_in_units", "lower", "target", "root of the mean squared error"),
    )
    drawn_as = "future"
    explains = "the predicted value"
    baselines: ClassVar[Mapping[str, Baseline]] = {
        "last value": last_value, "seasonal naive": seasonal, "ridge regression": ridge,
    }  # fmt: skip
    gives = (("forecast", "the values to come, in the target's own units"),)

    outputs_are = "numbers"

    @classmethod
    def loss(cls, outputs: Any, *batch: Any) -> Any:
        """Return the mean squared error of the standardized series."""
        return mse_loss(outputs.reshape(batch[-1].shape), batch[-1])

    def meter(self) -> Meter:
        return _Errors(self)

    def measure(self, outputs: Array, targets: Array) -> Evaluation:
        """Return the metrics of all forecasts of a split against what followed."""
        error = outputs.astype(np.float64).reshape(targets.shape) - targets
        y = self.dataset.preprocessing.inverse_targets(targets.astype(np.float64))
        guess = self.dataset.preprocessing.inverse_targets(outputs.astype(np.float64).reshape(targets.shape))
        metrics = {
            "mse": float(np.mean(error**2)),
            "mae": float(np.mean(np.abs(error))),
            "rmse_in_units": float(np.sqrt(np.mean((y - guess) ** 2))),
        }
        return Evaluation(metrics, {"targets": y, "predictions": guess})

    def errors(self, evaluation: Evaluation) -> Array:
        y, guess = evaluation.arrays["targets"], evaluation.arrays["predictions"]
        off = np.square((guess - y) / np.maximum(y.std(axis=(0, 1)), 1e-12))
        return np.asarray(off.reshape(len(off), -1).mean(axis=1))

    def interpret(self, outputs: Any, inputs: tuple[Any, ...]) -> Any:
        shaped = ops.reshape(outputs, (outputs.shape[0], -1, self.dataset.outputs))
        return self.dataset.preprocessing.inverse_targets(shaped)

    def present(self, meant: Any, inputs: Batch) -> Answer:
        """Return a line for each step of each forecast."""
        windows, horizon, targets = meant.shape
        names = ["forecast"] if targets == 1 else [f"forecast_{place}" for place in range(targets)]
        steps = np.tile(np.arange(1, horizon + 1), windows)
        values = meant.reshape(-1, targets)
        columns = {"step": steps, **{name: values[:, place] for place, name in enumerate(names)}}
        return Answer(columns, rows=np.repeat(np.arange(windows), horizon))

    def figure(self, evaluation: Evaluation) -> Figure:
        return forecasts(evaluation.arrays)

    def mistakes(self, evaluation: Evaluation) -> Mistakes:
        """Return the windows by their mean absolute error, without those that overlap a worse one."""
        count = len(evaluation.arrays["targets"])
        difference = evaluation.arrays["targets"] - evaluation.arrays["predictions"]
        errors = np.abs(difference).reshape(count, -1).mean(axis=1)
        order = apart(np.argsort(-errors, kind="stable"), self.dataset.input_shape[0])
        title = f"The largest errors, of {count:,} test examples (mean absolute error {errors.mean():.3g})"
        says = {int(i): f"mean error {errors[i]:.3g}" for i in order}
        return Mistakes(order, says, title, "mean absolute error of the forecast")

    def saliency_score(self, outputs: Array, batch: Batch) -> Score:
        return mean_in_units(self.dataset.preprocessing, outputs, self.targets(batch)[0], "mean forecast")

    def coloring(self, model: Module, batch: Batch) -> Coloring:
        return true_values(self.dataset.preprocessing, self.targets(batch)[0])


class _Errors(Joined):
    """The forecasts, and the error of repeating the last known value where the targets are columns of the inputs."""

    def __init__(self, task: Forecast) -> None:
        super().__init__(task.measure, task.dataset.fields)
        series = _windows(task.dataset.test) or _windows(task.dataset.train)
        self._columns = None if series is None else series.targets
        self._naive: list[Array] = []

    def add(self, outputs: Array, batch: tuple[Array, ...]) -> None:
        super().add(outputs, batch)
        past, future = batch[0], self._targets[-1]
        if self._columns is not None and future.ndim == 3:
            self._naive.append(np.abs(past[:, -1:, list(self._columns)] - future).mean(axis=(1, 2)))

    def result(self) -> Evaluation:
        found = super().result()
        naive = {"naive_mae": float(np.concatenate(self._naive).mean())} if self._naive else {}
        return Evaluation(found.metrics | naive, found.arrays)


def forecasts(arrays: dict[str, Array]) -> Figure:
    """Return two test windows with their forecasts, and how the error grows with the horizon."""
    from matplotlib.figure import Figure

    y, guess = arrays["targets"][..., 0], arrays["predictions"][..., 0]
    steps = range(1, y.shape[1] + 1)
    figure = Figure(figsize=(10, 3.8), layout="constrained")
    panels = figure.subplots(1, 3)
    for axes, row in zip(panels[:2], (len(y) // 4, 3 * len(y) // 4), strict=True):
        axes.plot(steps, y[row], color=GRAY, label="true", marker="o", ms=3)
        axes.plot(steps, guess[row], color=BLUE, label="forecast", marker="o", ms=3)
        axes.set(title=f"Test window {row}", xlabel="steps ahead")
        axes.legend(frameon=False, fontsize=9)
    panels[2].plot(steps, np.abs(y - guess).mean(axis=0), color=ORANGE, marker="o", ms=3)
    panels[2].set(title="Mean absolute error", xlabel="steps ahead", ylim=(0, None))
    for axes in panels:
        axes.grid(alpha=0.25)
    return figure
