"""The autoencoder's recipes for images, tables and series, and the small instances for the contracts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnatomy.architectures.autoencoders.autoencoder.model import Autoencoder, build, loss, reconstruction_error
from nnatomy.data.dataset import Dataset
from nnatomy.errors import UserError
from nnatomy.optim import Adam, Cosine
from nnatomy.tasks import Anomaly, Reconstruction
from nnatomy.training.learners import GradientDescent
from nnatomy.training.recipe import Case, Recipe


def fit_to(
    dataset: Dataset, hidden: Sequence[int] = (64,), code: int = 16, activation: str = "relu", tied: bool = False
) -> Autoencoder:
    """As many inputs and outputs as an example has numbers. Raises UserError where the code could hold the whole example."""
    features = math.prod(dataset.input_shape)
    if code >= features:
        raise UserError(
            f"A code must have fewer numbers than the example, or copying would do. Received {code} for {features} numbers. "
            "Choose a smaller one with --set code=."
        )
    return build(features, hidden, code, activation, tied=tied)


image = Recipe(
    kind="image",
    tasks=(Reconstruction,),
    data="digits",
    build=fit_to,
    options={"hidden": (128,), "code": 16, "activation": "gelu", "tied": False},
    learn=GradientDescent(reconstruction_error, partial(Adam, lr=2e-3), schedule=partial(Cosine, warmup=50)),
    epochs=60,
    batch_size=32,
    metric="mse",
    score={"explained": 0.89},
)
table = Recipe(
    kind="table",
    tasks=(Reconstruction,),
    data="wine",
    build=fit_to,
    options={"hidden": (32,), "code": 2, "activation": "tanh", "tied": False},
    learn=GradientDescent(reconstruction_error, partial(Adam, lr=5e-3), schedule=partial(Cosine, warmup=20)),
    epochs=200,
    batch_size=32,
    metric="mse",
    patience=50,
)
# tanh saturates: outputs are bounded, so a window far outside the training range has a large error. A linear network, and to a
# degree one of relu, extrapolates, and can return such windows without error.
series = Recipe(
    kind="series",
    tasks=(Anomaly,),
    data="nab_machine_temperature_system_failure.csv",
    build=fit_to,
    options={"hidden": (32,), "code": 4, "activation": "tanh", "tied": False},
    learn=GradientDescent(reconstruction_error, partial(Adam, lr=1e-3), schedule=partial(Cosine, warmup=20)),
    epochs=60,
    batch_size=32,
    metric="mse",
)
recipes = (image, table, series)


def _examples(shape: tuple[int, ...], rows: int = 6, unit: bool = False) -> Any:
    """A batch of `rows` examples, which are their own targets; in (0, 1) with `unit`."""

    def batch(rng: np.random.Generator) -> tuple[NDArray[Any], ...]:
        x = rng.uniform(0.05, 0.95, size=(rows, *shape)) if unit else rng.normal(size=(rows, *shape))
        return x, x.copy()

    return batch


cases = (
    Case("plain", {"features": 12, "hidden": (10,), "code": 5}, _examples((12,)), loss),
    Case("deep, tanh", {"features": 16, "hidden": (12, 8), "code": 6, "activation": "tanh"}, _examples((1, 4, 4)), loss),
    Case("tied", {"features": 12, "hidden": (10,), "code": 5, "activation": "tanh", "tied": True}, _examples((12,)), loss),
    Case("linear", {"features": 8, "hidden": (), "code": 4, "activation": "identity"}, _examples((8,), rows=4), loss),
    Case("sigmoid outputs", {"features": 12, "hidden": (10,), "code": 5, "output_activation": "sigmoid"},
         _examples((12,), unit=True), loss),
)  # fmt: skip
