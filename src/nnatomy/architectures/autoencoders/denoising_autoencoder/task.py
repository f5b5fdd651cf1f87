"""Denoising: how much of the clean example comes back from a corrupted one, in decibels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import log10
from typing import Any, ClassVar

import numpy as np

from nnatomy.architectures.autoencoders.denoising_autoencoder.model import NOISE
from nnatomy.data.dataset import Dataset, generator
from nnatomy.data.kinds import kind_of
from nnatomy.data.kinds.looks import Pictures
from nnatomy.errors import UserError
from nnatomy.tasks import Baseline, FittedBaseline, Reconstruction
from nnatomy.tasks.baselines import arrays_of
from nnatomy.tasks.parts import Array
from nnatomy.tasks.reconstruction import mean_example
from nnatomy.training.evaluation import Evaluation, Metric
from nnatomy.training.recipe import Recipe

ROWS = 20_000
"""Training examples to which the linear map is fitted at most, each with one draw of the noise."""


def bounds(dataset: Dataset) -> tuple[float, float]:
    """Return black and white as the network sees them. Raises UserError where the data have no such range."""
    look = kind_of(dataset).look(dataset)
    found = look.bounds() if isinstance(look, Pictures) else None
    if found is None:
        raise UserError(
            f"Noise is measured against the range from black to white. Received {dataset.name} without one. Use image files."
        )
    return found


def corruption(dataset: Dataset, recipes: Sequence[Recipe]) -> Any:
    """Return corrupt(x): the noise of the first recipe, from a stream of its own."""
    options, rng = recipes[0].options, generator(0)
    draw = rng.standard_normal if options["noise"] == "gaussian" else rng.random
    low, high = bounds(dataset)

    def corrupt(x: Array) -> Array:
        return np.asarray(NOISE[options["noise"]](x, np.asarray(draw(x.shape), x.dtype), options["level"], low, high))

    return corrupt


def noisy_input(dataset: Dataset, recipes: Sequence[Recipe]) -> FittedBaseline:
    """The corrupted example as it is."""
    return FittedBaseline(corruption(dataset, recipes), 0, 0)


def linear_map(dataset: Dataset, recipes: Sequence[Recipe]) -> FittedBaseline:
    """The linear map from corrupted to clean training examples with the least squared error."""
    corrupt, x = corruption(dataset, recipes), arrays_of(dataset.train, "input", most=ROWS)[0]
    rows, clean = _with_one(corrupt(x)), x.reshape(len(x), -1).astype(np.float64)
    ridge = 1e-3 * len(x) * np.eye(rows.shape[1])  # pixels that are always black leave the squares without an inverse
    weights = np.linalg.solve(rows.T @ rows + ridge, rows.T @ clean)
    return FittedBaseline(lambda x: (_with_one(corrupt(x)) @ weights).reshape(x.shape), weights.size, weights.size)


def _with_one(x: Array) -> Array:
    return np.concatenate([x.reshape(len(x), -1), np.ones((len(x), 1))], axis=1).astype(np.float64)


class Denoising(Reconstruction):
    """The reconstruction of corrupted examples against the clean ones; the noise of a split is the same each time."""

    metrics: ClassVar[tuple[Metric, ...]] = (
        Metric("psnr", "higher", "dB", "peak signal-to-noise ratio of the reconstructions of corrupted examples"),
        *Reconstruction.metrics,
    )
    baselines: ClassVar[Mapping[str, Baseline]] = {
        "noisy input": noisy_input, "mean": mean_example, "linear map": linear_map,
    }  # fmt: skip

    def measure(self, outputs: Array, inputs: Array) -> Evaluation:
        """Return the metrics of reconstructions against the clean inputs; psnr = 10 log10((high - low)^2 / mse)."""
        found = super().measure(outputs, inputs)
        low, high = bounds(self.dataset)
        ratio = (high - low) ** 2 / max(found.metrics["mse"], 1e-12)
        return Evaluation({"psnr": 10 * log10(ratio), **found.metrics}, found.arrays)
