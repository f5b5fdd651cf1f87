"""Training of sparse autoencoders on images and tables, and the small instances that the contracts build."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnatomy.architectures.autoencoders.sparse_autoencoder.model import SparseAutoencoder, build, loss, reconstruction_error
from nnatomy.data.dataset import Dataset
from nnatomy.optim import Adam, Cosine
from nnatomy.tasks import Reconstruction
from nnatomy.training.learners import GradientDescent
from nnatomy.training.recipe import Case, Recipe


def build_for(
    dataset: Dataset, units: int = 160, sparsity: str = "kl", weight: float = 3.0, rho: float = 0.1, k: int = 16
) -> SparseAutoencoder:
    """Return a sparse autoencoder with as many inputs and outputs as an example has numbers."""
    return build(math.prod(dataset.input_shape), units, sparsity, weight, rho, k)


digits = Recipe(
    kind="image",
    tasks=(Reconstruction,),
    data="digits",
    build=build_for,
    options={"units": 160, "sparsity": "kl", "weight": 3.0, "rho": 0.1, "k": 16},
    learn=GradientDescent(reconstruction_error, partial(Adam, lr=5e-3), schedule=partial(Cosine, warmup=50)),
    epochs=60,
    batch_size=64,
    metric="mse",
    score={"explained": 0.85},
)
l1 = replace(digits, name="l1", options={**digits.options, "sparsity": "l1", "weight": 0.3}, score={})
topk = replace(digits, name="topk", options={**digits.options, "sparsity": "topk"}, score={})
table = replace(
    digits, kind="table", data="wine", score={}, epochs=200, batch_size=32, patience=50,
    options={"units": 26, "sparsity": "l1", "weight": 0.1, "rho": 0.1, "k": 3},
)  # fmt: skip
recipes = (digits, l1, topk, table)


def _examples(shape: tuple[int, ...], rows: int = 6) -> Any:
    """A batch of normal examples, which are their own targets."""

    def batch(rng: np.random.Generator) -> tuple[NDArray[Any], ...]:
        x = rng.normal(size=(rows, *shape))
        return x, x.copy()

    return batch


cases = (
    Case("kl", {"features": 10, "units": 14, "sparsity": "kl", "weight": 0.5, "rho": 0.1}, _examples((10,)), loss, overfit=0.3),
    Case("l1", {"features": 12, "units": 8, "sparsity": "l1", "weight": 0.1}, _examples((1, 3, 4)), loss, overfit=0.3),
    Case("topk", {"features": 10, "units": 16, "sparsity": "topk", "k": 4}, _examples((10,)), loss),
)
