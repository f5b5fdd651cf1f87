"""How GANs are trained on points and on images, and the small instances that the contracts build."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnatomy.architectures.generative.gan.model import (
    GAN,
    build,
    clip_weights,
    critic_loss,
    critic_objective,
    generator_loss,
    generator_objective,
)
from nnatomy.data.dataset import Dataset
from nnatomy.data.fields import Field
from nnatomy.optim import Adam, RMSprop
from nnatomy.tasks import Generation
from nnatomy.tensor import Tensor
from nnatomy.training.learners import Alternating, Player
from nnatomy.training.recipe import Case, Contract, Recipe


def build_for(
    dataset: Dataset, noise: int = 2, hidden: Sequence[int] = (128, 128), objective: str = "wgan-gp", penalty: float = 10.0,
    clip: float = 0.01,
) -> GAN:  # fmt: skip
    """Return a GAN whose examples have the shape of the data's."""
    return build(noise, dataset.input_shape, hidden, objective, penalty, clip)


# Gulrajani et al. (2017): Adam with beta1 0 or 0.5, five updates of the critic to one of the generator.
ADAM = partial(Adam, lr=1e-3, betas=(0.5, 0.9))
LEARN = Alternating(
    (
        Player("critic", critic_loss, ADAM, times=5, constrain=clip_weights),
        Player("generator", generator_loss, ADAM),
    ),
)

points = Recipe(
    kind="density",
    tasks=(Generation,),
    data="eight_gaussians",
    build=build_for,
    options={"noise": 2, "hidden": (128, 128), "objective": "wgan-gp", "penalty": 10.0, "clip": 0.01},
    learn=LEARN,
    epochs=40,
    batch_size=320,
    metric="energy_distance",
)
image = Recipe(
    kind="image",
    tasks=(Generation,),
    data="digits",
    build=build_for,
    options={"noise": 32, "hidden": (256, 256), "objective": "wgan-gp", "penalty": 10.0, "clip": 0.01},
    learn=LEARN,
    epochs=300,
    batch_size=160,
    metric="energy_distance",
)
recipes = (points, image)
