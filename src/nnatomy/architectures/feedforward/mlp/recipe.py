"""The multi-layer perceptron's recipes for images and tables, and the small instances for the contracts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from nnatomy.architectures.feedforward.mlp.model import MLP, build, loss
from nnatomy.data.dataset import Dataset
from nnatomy.optim import AdamW, Cosine
from nnatomy.tasks import Classification, Regression
from nnatomy.training.learners import GradientDescent
from nnatomy.training.recipe import Case, Recipe

Array = npt.NDArray[Any]


def fit_to(
    dataset: Dataset, hidden: Sequence[int] = (64, 64), activation: str = "relu", dropout: float = 0.0,
    batch_norm: bool = False, l1: float = 0.0, bins: int = 0, embedding: int = 8,
) -> MLP:  # fmt: skip
    """As many inputs as an example has numbers, and one output for each class or predicted number.

    With `bins`, the numbers of a table are embedded by their place among the quantiles of the training rows.
    """
    numbers = getattr(dataset.preprocessing, "numbers", ()) if bins else ()
    model = build(
        math.prod(dataset.input_shape), dataset.outputs, hidden, activation, dropout, batch_norm, l1, numbers, bins, embedding
    )
    if model.numbers is not None and len(dataset.train):  # a model whose weights follow is built without examples
        model.numbers.fit(dataset.train.take(np.unique(np.linspace(0, len(dataset.train) - 1, 20_000).astype(int)))[0])
    return model


image = Recipe(
    kind="image",
    tasks=(Classification,),
    data="digits",
    build=fit_to,
    options={"hidden": (256, 128), "activation": "relu", "dropout": 0.4},
    learn=GradientDescent(loss, partial(AdamW, lr=2e-3, weight_decay=0.01), schedule=partial(Cosine, warmup=50)),
    epochs=60,
    batch_size=64,
    metric="loss",
    score={"accuracy": 0.97},
    patience=30,
)
classification = Recipe(
    kind="table",
    tasks=(Classification,),
    data="breast_cancer",
    build=fit_to,
    options={"hidden": (256, 256), "activation": "relu", "dropout": 0.4, "bins": 32},
    learn=GradientDescent(
        loss, partial(AdamW, lr=1e-3, weight_decay=0.3), schedule=partial(Cosine, warmup=10), average=0.95
    ),
    epochs=30,
    batch_size=64,
    metric="loss",
    score={"accuracy": 0.95},
    patience=10,
)
regression = Recipe(
    kind="table",
    tasks=(Regression,),
    data="diabetes",
    build=fit_to,
    options={"hidden": (256, 256), "activation": "relu", "dropout": 0.1, "bins": 48},
    learn=GradientDescent(
        loss, partial(AdamW, lr=2e-3, weight_decay=0.01), schedule=partial(Cosine, warmup=50), average=0.98
    ),
    epochs=80,
    batch_size=128,
    metric="loss",
    score={"r2": 0.35},
    patience=16,
)
recipes = (image, classification, regression)


def _classes(shape: tuple[int, ...], classes: int, rows: int = 9) -> Any:
    """A batch of `rows` examples around one center for each class."""

    def batch(rng: np.random.Generator) -> tuple[Array, ...]:
        targets = np.arange(rows, dtype=np.int64) % classes
        return rng.normal(size=(classes, *shape))[targets] + 0.5 * rng.normal(size=(rows, *shape)), targets

    return batch


def _numbers(features: int, outputs: int, rows: int = 8) -> Any:
    """A batch of `rows` examples whose targets are a smooth function of the inputs."""

    def batch(rng: np.random.Generator) -> tuple[Array, ...]:
        x = rng.normal(size=(rows, features))
        return x, np.sin(x @ rng.normal(size=(features, outputs)))

    return batch


cases = (
    Case("two layers of ReLU", {"features": 5, "outputs": 3, "hidden": (12, 8)}, _classes((5,), 3), loss),
    Case("one layer of tanh", {"features": 4, "outputs": 2, "hidden": (10,), "activation": "tanh"}, _classes((4,), 2), loss),
    Case(
        "batch norm", {"features": 6, "outputs": 3, "hidden": (12, 10), "batch_norm": True}, _classes((6,), 3, rows=12), loss
    ),
    Case(
        "embedded numbers",
        {"features": 4, "outputs": 3, "hidden": (12,), "numbers": (0, 2, 3), "bins": 5, "embedding": 3},
        _classes((4,), 3), loss,
    ),
    Case("regression", {"features": 4, "outputs": 2, "hidden": (16, 16), "activation": "silu"}, _numbers(4, 2), loss),
    Case(
        "three layers of SELU", {"features": 16, "outputs": 4, "hidden": (10, 9, 8), "activation": "selu"},
        _classes((16,), 4, rows=8), loss,
    ),
)  # fmt: skip
