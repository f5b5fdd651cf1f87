"""Training of the self-organizing map on images and on tables, and the small instances that the contracts build."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from nnatomy.architectures.unsupervised.som.model import SOM, build, label_units, learn, loss, principal_plane
from nnatomy.data.dataset import Dataset
from nnatomy.data.fields import select
from nnatomy.errors import unknown_name
from nnatomy.tasks import Clustering
from nnatomy.training.learners import LocalRule
from nnatomy.training.recipe import Case, Contract, Recipe

Array = npt.NDArray[Any]

STARTS = ("pca", "random")
SAMPLE = 5_000  # training examples whose principal components are taken


def build_for(
    dataset: Dataset, rows: int = 10, columns: int = 10, grid: str = "hexagonal", method: str = "batch", start: str = "pca"
) -> SOM:
    """A map that starts on the plane of the two principal components ("pca"), or anywhere ("random")."""
    if start not in STARTS:
        raise unknown_name("start", start, STARTS)
    model = build(math.prod(dataset.input_shape), rows, columns, grid, method)
    train = dataset.train
    if start == "pca" and len(train):  # a restored run is built without examples, and its weights are loaded
        some = np.unique(np.linspace(0, len(train) - 1, min(SAMPLE, len(train))).astype(int))
        principal_plane(model, select(train.fields, train.take(some), "input")[0])
    return model


# The batch map wants all examples in a batch, or many. Kohonen's rule takes them one by one:
# --set method=online --batch-size 1
image = Recipe(
    kind="image",
    tasks=(Clustering,),
    data="digits",
    build=build_for,
    options={"rows": 12, "columns": 12, "grid": "hexagonal", "method": "batch", "start": "pca"},
    learn=LocalRule(partial(learn, sigma=6.0), loss=loss, after_epoch=label_units),
    epochs=40,
    batch_size=2048,
    metric="quantization_error",
    score={"explained": 0.5, "purity": 0.85},
)
table = Recipe(
    kind="table",
    tasks=(Clustering,),
    data="iris",
    build=build_for,
    options={"rows": 8, "columns": 8, "grid": "hexagonal", "method": "batch", "start": "pca"},
    learn=LocalRule(partial(learn, sigma=4.0), loss=loss, after_epoch=label_units),
    epochs=40,
    batch_size=2048,
    metric="quantization_error",
    score={"quantization_error": 0.6, "purity": 0.9},
)
recipes = (table, image)


def _scattered(features: int, rows: int = 12) -> Any:
    """A batch of `rows` examples: enough for several winners, or units that mirror each other on the grid would tie."""

    def batch(rng: np.random.Generator) -> tuple[Array, ...]:
        return 2 * rng.normal(size=(rows, features)), np.arange(rows, dtype=np.int64) % 4

    return batch


# The default sizes and schedules of minisom.
MINISOM = LocalRule(partial(learn, sigma=1.5, sigma_end=0.5, rate=0.5, rate_end=0.5 / 3, decay="asymptotic"), loss=loss)

NEAREST = {Contract.HALF: "in bfloat16, rounding decides which of several near units is nearest"}
cases = (
    Case("hexagonal, online", {"features": 3, "rows": 5, "columns": 4, "method": "online"}, _scattered(3), loss, overfit=0.3,
         learn=MINISOM, without=NEAREST),
    Case("rectangular, online", {"features": 4, "rows": 3, "columns": 5, "grid": "rectangular", "method": "online"},
         _scattered(4), loss, overfit=0.3, learn=MINISOM),
    Case("hexagonal, batch map", {"features": 3, "rows": 4, "columns": 5}, _scattered(3), loss, overfit=0.3, learn=MINISOM,
         without=NEAREST),
    Case("rectangular, batch map", {"features": 3, "rows": 3, "columns": 5, "grid": "rectangular"}, _scattered(3), loss,
         overfit=0.3, learn=MINISOM),
)  # fmt: skip
