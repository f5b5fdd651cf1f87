"""Reconstruction: an example comes out of the model again."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from nnatomy import ops
from nnatomy.functional import mse_loss
from nnatomy.tasks.task import Array, Joined, Meter, Task
from nnatomy.training.evaluation import Evaluation, Metric


class Reconstruction(Task):
    """How much of the inputs' variance comes back out."""

    name = "reconstruction"
    needs_targets = False
    metrics: ClassVar[tuple[Metric, ...]] = (
        Metric("explained", "higher", says="fraction of the inputs' variance that comes back out"),
        Metric("mse", "lower", says="mean squared difference between an example and its reconstruction"),
    )
    gives = (
        ("error", "the mean squared difference between an example, as the network sees it, and what came out"),
        ("reconstruction", "what came out, as the network sees examples"),
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

    def columns(self, meant: Array) -> dict[str, Array]:
        return {"error": meant}
