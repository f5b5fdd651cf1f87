"""Regression: numbers for each example."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np

from nnatomy.functional import mse_loss
from nnatomy.tasks.scoring import quietly
from nnatomy.tasks.task import Array, Joined, Meter, Task
from nnatomy.training.evaluation import Evaluation, Metric


class Regression(Task):
    """Errors in the target's own units, and R²."""

    name = "regression"
    metrics: ClassVar[tuple[Metric, ...]] = (
        Metric("r2", "higher", says="fraction of the targets' variance that is predicted"),
        Metric("mae", "lower", "target", "mean absolute error"),
        Metric("rmse", "lower", "target", "root of the mean squared error"),
    )
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

    def interpret(self, outputs: Any, inputs: tuple[Any, ...]) -> Any:
        return self.dataset.preprocessing.inverse_targets(outputs)

    def columns(self, meant: Array) -> dict[str, Array]:
        if meant.shape[1] == 1:
            return {"prediction": meant[:, 0]}
        return {f"prediction_{i}": meant[:, i] for i in range(meant.shape[1])}
