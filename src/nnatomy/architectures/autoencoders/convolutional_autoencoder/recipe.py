"""Training of convolutional autoencoders on images, and the small instances that the contracts build."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnatomy.architectures.autoencoders.convolutional_autoencoder.model import (
    ConvolutionalAutoencoder,
    build,
    loss,
    reconstruction_error,
)
from nnatomy.architectures.autoencoders.convolutional_autoencoder.task import MapReconstruction
from nnatomy.data.dataset import Dataset
from nnatomy.optim import Adam, Cosine
from nnatomy.training.learners import GradientDescent
from nnatomy.training.recipe import Case, Recipe


def build_for(
    dataset: Dataset, channels: Sequence[int] = (16, 4), form: str = "strided", kernel: int = 3, activation: str = "relu"
) -> ConvolutionalAutoencoder:
    """Return an autoencoder for a data set's images."""
    return build(dataset.input_shape, channels, form, kernel, activation)


digits = Recipe(
    kind="image",
    tasks=(MapReconstruction,),
    data="digits",
    build=build_for,
    options={"channels": (32, 4), "form": "strided", "kernel": 4, "activation": "relu"},
    learn=GradientDescent(reconstruction_error, partial(Adam, lr=5e-3), schedule=partial(Cosine, warmup=50)),
    epochs=60,
    batch_size=32,
    metric="mse",
    score={"explained": 0.87},
)
mnist = replace(
    digits, data="mnist", options={**digits.options, "channels": (16, 4)}, epochs=1, batch_size=64, score={},
    learn=GradientDescent(reconstruction_error, partial(Adam, lr=5e-3), schedule=partial(Cosine, warmup=50)),
)
pooled = replace(digits, name="pooled", options={**digits.options, "form": "pooled", "kernel": 3}, score={})
recipes = (digits, mnist, pooled)


def _images(shape: tuple[int, ...], rows: int = 5) -> Any:
    """A batch of normal images, which are their own targets."""

    def batch(rng: np.random.Generator) -> tuple[NDArray[Any], ...]:
        x = rng.normal(size=(rows, *shape))
        return x, x.copy()

    return batch


cases = (
    Case("strided", {"shape": (1, 6, 6), "channels": (3, 2)}, _images((1, 6, 6)), loss, overfit=0.5),
    Case("pooled, odd", {"shape": (1, 5, 7), "channels": (3, 2), "form": "pooled"}, _images((1, 5, 7)), loss, overfit=0.7),
    Case("strided, odd, kernel 4", {"shape": (2, 7, 5), "channels": (4,), "kernel": 4, "activation": "tanh"},
         _images((2, 7, 5), rows=4), loss, overfit=0.5),
    Case("strided, odd", {"shape": (1, 5, 6), "channels": (3, 2), "activation": "tanh"}, _images((1, 5, 6)), loss, overfit=0.5),
)  # fmt: skip
