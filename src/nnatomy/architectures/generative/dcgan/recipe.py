"""Training of DCGANs on images, and the small instances that the contracts build."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnatomy.architectures.generative.dcgan.model import (
    DCGAN,
    build,
    discriminator_loss,
    discriminator_objective,
    generator_loss,
    generator_objective,
)
from nnatomy.architectures.generative.dcgan.task import LabeledGeneration
from nnatomy.data.dataset import Dataset
from nnatomy.data.fields import Field
from nnatomy.data.kinds import kind_of
from nnatomy.data.kinds.looks import Pictures
from nnatomy.errors import UserError
from nnatomy.optim import Adam, Linear
from nnatomy.tensor import Tensor
from nnatomy.training.learners import Alternating, Player
from nnatomy.training.recipe import Case, Recipe


def build_for(dataset: Dataset, noise: int = 100, width: int = 64, stages: int = 2, conditional: bool = True) -> DCGAN:
    """Return a DCGAN of a data set's images between their black and white and, if `conditional`, of its classes.

    Raises UserError for images without a known range, and where there are no classes and `conditional` is set.
    """
    look = kind_of(dataset).look(dataset)
    bounds = look.bounds() if isinstance(look, Pictures) else None
    if bounds is None:
        raise UserError(f"Images need a black and a white. Received {dataset.name} without them. Use image files.")
    if conditional and not dataset.classes:
        raise UserError(f"Labels are the data's classes. Received {dataset.name} without any. Use --set conditional=false.")
    shape: Any = dataset.input_shape
    return build(shape, noise, width, stages, len(dataset.classes) if conditional else 0, bounds)


# Radford et al. (2015), section 4.1: Adam with a rate of 2e-4 and beta1 = 0.5. The rates here, their fall to 0 and the average
# of the weights, for runs of a minute, are ours.
LEARN = Alternating(
    (
        Player("discriminator", discriminator_loss, partial(Adam, lr=1e-3, betas=(0.5, 0.999))),
        Player("generator", generator_loss, partial(Adam, lr=1e-3, betas=(0.5, 0.999))),
    ),
    schedule=partial(Linear),
    average=0.99,
)
digits = Recipe(
    kind="image",
    tasks=(LabeledGeneration,),
    data="digits",
    build=build_for,
    options={"noise": 16, "width": 32, "stages": 2, "conditional": True},
    learn=LEARN,
    epochs=100,
    batch_size=64,
    metric="energy_distance",
    score={"agreement": 0.95},
)
mnist = replace(digits, data="mnist", options={**digits.options, "noise": 32, "width": 16}, epochs=2, score={})
recipes = (digits, mnist)


# Small instances. The noise is part of the batch, so that twins have the same.


def given_noise(model: DCGAN, x: Tensor, z: Tensor, *labels: Tensor) -> tuple[Tensor, Tensor]:
    """Return the generator's loss for the noise of the batch."""
    return generator_objective(model, z, *labels)


SMALL_ADAM = partial(Adam, lr=2e-4, betas=(0.5, 0.999))
SMALL_LEARN = Alternating(
    (Player("discriminator", discriminator_objective, SMALL_ADAM), Player("generator", given_noise, SMALL_ADAM))
)


FIELDS = (Field("real", role="target"), Field("noise"), Field("labels", role="given"))


def _case(name: str, shape: tuple[int, int, int], **options: Any) -> Case:
    """A small DCGAN; its batch has examples between black and white, noise, and labels, as data with classes have them."""
    low, high = options.get("bounds", (-1.0, 1.0))

    def batch(rng: np.random.Generator) -> tuple[NDArray[Any], ...]:
        return rng.uniform(low, high, size=(6, *shape)), rng.normal(size=(6, 3)), np.arange(6) % 3

    small = {"shape": shape, "noise": 3, "spread": 0.3, **options}  # at 0.02, images are nearly gray: little to compare
    return Case(name, small, batch, discriminator_objective, learn=SMALL_LEARN, fields=FIELDS, overfit=0.3)


cases = (
    _case("labels", (1, 8, 8), width=2, stages=2, classes=3, bounds=(-0.5, 1.5)),
    _case("plain", (2, 4, 6), width=3, stages=1),  # and without classes, labels have no effect
)
