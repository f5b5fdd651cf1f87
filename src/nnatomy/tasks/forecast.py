"""Forecasts: the values that follow a window of a series."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from nnatomy import ops
from nnatomy.functional import mse_loss
from nnatomy.tasks.task import Array, Joined, Meter, Task
from nnatomy.training.evaluation import Evaluation, Metric


class Forecast(Task):
    """Errors of forecast windows, standardized as the papers report them and in the target's units, against the last value."""

    name = "forecast"
    metrics: ClassVar[tuple[Metric, ...]] = (
        Metric("mse", "lower", says="mean squared error of the standardized series"),
        Metric("mae", "lower", says="mean absolute error of the standardized series"),
        Metric("rmse_in_units", "lower", "target", "root of the mean squared error"),
        Metric("naive_mae", "lower", says="mean absolute error of repeating the last known value"),
    )
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

    def interpret(self, outputs: Any, inputs: tuple[Any, ...]) -> Any:
        shaped = ops.reshape(outputs, (outputs.shape[0], -1, self.dataset.outputs))
        return self.dataset.preprocessing.inverse_targets(shaped)

    def columns(self, meant: Array) -> dict[str, Array]:
        return {f"step_{h + 1}": meant[:, h, 0] for h in range(meant.shape[1])}


class _Errors(Joined):
    """The forecasts, and the error of repeating the last known value where the targets are columns of the inputs."""

    def __init__(self, task: Forecast) -> None:
        super().__init__(task.measure, task.dataset.fields)
        self._columns = getattr(task.dataset.test, "targets", None) or getattr(task.dataset.train, "targets", None)
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
