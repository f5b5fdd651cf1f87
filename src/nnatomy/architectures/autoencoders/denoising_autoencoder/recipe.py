"""Training of denoising autoencoders on images, and the small instances that the contracts build."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnatomy.architectures.autoencoders.denoising_autoencoder.model import DenoisingAutoencoder, build, denoising_error, loss
from nnatomy.architectures.autoencoders.denoising_autoencoder.task import Denoising, bounds
from nnatomy.data.dataset import Dataset
from nnatomy.data.fields import Field
from nnatomy.optim import Adam, Cosine
from nnatomy.training.learners import GradientDescent
from nnatomy.training.recipe import Case, Recipe


def build_for(
    dataset: Dataset, units: int = 512, noise: str = "gaussian", level: float = 0.5, activation: str = "relu",
    tied: bool = False,
) -> DenoisingAutoencoder:  # fmt: skip
    """Return a denoising autoencoder for a data set's images, with their black and white."""
    return build(dataset.input_shape, units, noise, level, activation, tied, *bounds(dataset))


digits = Recipe(
    kind="image",
    tasks=(Denoising,),
    data="digits",
    build=build_for,
    options={"units": 512, "noise": "gaussian", "level": 0.5, "activation": "relu", "tied": False},
    learn=GradientDescent(denoising_error, partial(Adam, lr=2e-3), schedule=partial(Cosine, warmup=50)),
    epochs=150,
    batch_size=64,
    metric="psnr",
    score={"psnr": 15.0},
)
mnist = replace(
    digits, data="mnist", epochs=5, batch_size=128, score={},
    learn=GradientDescent(denoising_error, partial(Adam, lr=1e-3), schedule=partial(Cosine, warmup=100)),
)  # fmt: skip
masked = replace(digits, name="masking", options={**digits.options, "noise": "masking"}, score={})
speckled = replace(digits, name="salt_and_pepper", options={**digits.options, "noise": "salt_and_pepper"}, score={})
recipes = (digits, mnist, masked, speckled)


# Small instances. The random numbers are part of the batch, so that twins have the same. Uniform ones, which are compared with
# the level and have no gradient, reach the loss alone; the model is then called with clean examples.



def _examples(shape: tuple[int, ...], low: float, high: float, noise: str, rows: int = 6) -> Any:
    """A batch of examples between black and white, and the random numbers of their noise."""

    def batch(rng: np.random.Generator) -> tuple[NDArray[Any], ...]:
        x = rng.uniform(low, high, size=(rows, *shape))
        return x, rng.normal(size=x.shape) if noise == "gaussian" else rng.uniform(size=x.shape)

    return batch


def _case(name: str, shape: tuple[int, ...], low: float, high: float, noise: str, **options: Any) -> Case:
    small = {"shape": shape, "noise": noise, "low": low, "high": high, **options}
    fields = Field("examples"), Field("noise", role="given" if noise == "gaussian" else "target")
    return Case(name, small, _examples(shape, low, high, noise), loss, fields=fields, overfit=0.1)


cases = (
    _case("gaussian", (12,), 0.0, 1.0, "gaussian", units=9, level=0.3),
    _case("masking, tied", (1, 3, 4), -0.5, 2.0, "masking", units=10, level=0.4, activation="sigmoid", tied=True),
    _case("salt and pepper", (12,), -1.0, 1.0, "salt_and_pepper", units=9, level=0.5, activation="tanh"),
)
