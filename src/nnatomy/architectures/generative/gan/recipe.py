"""Training of GANs on points and on images, and the small instances that the contracts build."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
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
from nnatomy.data.kinds import kind_of
from nnatomy.data.kinds.looks import Pictures
from nnatomy.errors import UserError
from nnatomy.optim import Adam, Linear, RMSprop
from nnatomy.tasks import Generation
from nnatomy.tensor import Tensor
from nnatomy.training.learners import Alternating, Player
from nnatomy.training.recipe import Case, Contract, Recipe


def build_for(
    dataset: Dataset, noise: int = 2, hidden: Sequence[int] = (128, 128), objective: str = "wgan-gp", penalty: float = 10.0,
    clip: float = 0.01, bounded: bool = False,
) -> GAN:  # fmt: skip
    """Return a GAN whose examples have the shape of the data's; `bounded` holds pixels between black and white.

    Raises UserError where examples are not pictures and `bounded` is set.
    """
    return build(noise, dataset.input_shape, hidden, objective, penalty, clip, black_and_white(dataset) if bounded else None)


def black_and_white(dataset: Dataset) -> tuple[float, float]:
    """Return the smallest and the largest standardized value of a pixel, over all channels."""
    look = kind_of(dataset).look(dataset)
    if not isinstance(look, Pictures) or not look.mean:
        raise UserError(f"Only pictures have bounds. Received {dataset.name} with bounded=true. Use --set bounded=false.")
    return min(-m / s for m, s in zip(look.mean, look.std)), max((1 - m) / s for m, s in zip(look.mean, look.std))


# Gulrajani et al. (2017): Adam, five updates of the critic to one of the generator, and a rate that falls to 0. The average of
# the weights, ours, removes what is left of the players' chase around the solution.
LEARN = Alternating(
    (
        Player("critic", critic_loss, partial(Adam, lr=1e-3, betas=(0.5, 0.9)), times=5, constrain=clip_weights),
        Player("generator", generator_loss, partial(Adam, lr=1e-3, betas=(0.5, 0.9))),
    ),
    schedule=partial(Linear),
    average=0.99,
)

# A penalty of 10, the paper's for images, holds the critic too flat to separate modes that are this near: with it, 2 of 8 are
# found in the same time. The authors' code has 0.1 for points.
points = Recipe(
    kind="density",
    tasks=(Generation,),
    data="eight_gaussians",
    build=build_for,
    options={"noise": 2, "hidden": (128, 128), "objective": "wgan-gp", "penalty": 1.0, "clip": 0.01, "bounded": False},
    learn=LEARN,
    epochs=60,
    batch_size=320,
    metric="energy_distance",
    score={"modes": 8, "energy_distance": 0.02},
)
image = Recipe(
    kind="image",
    tasks=(Generation,),
    data="digits",
    build=build_for,
    options={"noise": 32, "hidden": (256, 256), "objective": "wgan-gp", "penalty": 10.0, "clip": 0.01, "bounded": False},
    learn=LEARN,
    epochs=400,
    batch_size=160,
    metric="energy_distance",
    score={"modes": 10, "energy_distance": 0.03},
)
# Most pixels of MNIST are black: with a sigmoid at the end they are exactly that from the start.
mnist = replace(
    image, data="mnist", options={**image.options, "noise": 64, "bounded": True}, epochs=12, batch_size=320,
    score={"modes": 10, "energy_distance": 0.08},
)  # fmt: skip
recipes = (points, image, mnist)


# Small instances. Their noise is part of the batch, so that twins have the same; the learner cuts all of it into parts.

FIELDS = (Field("real", role="target"), Field("noise"), Field("mix", role="target"))
SILENT = "only differences of the critic's scores count, so its last bias has no gradient"


def _examples(shape: tuple[int, ...], noise: int, rows: int = 6) -> Any:
    """Examples in (0, 1), noise, and places between examples and samples."""

    def batch(rng: np.random.Generator) -> tuple[NDArray[Any], ...]:
        return rng.uniform(0.1, 0.9, size=(rows, *shape)), rng.normal(size=(rows, noise)), rng.uniform(size=rows)

    return batch


def given_noise(model: GAN, x: Tensor, z: Tensor, mix: Tensor) -> tuple[Tensor, Tensor]:
    """Return the generator's loss for the noise of the batch."""
    return generator_objective(model, z)


def _learn(optimizer: partial[Any]) -> Alternating:
    """Return the recipe's players with the noise of the batch, and two updates of the critic."""
    return Alternating(
        (
            Player("critic", critic_objective, optimizer, times=2, constrain=clip_weights),
            Player("generator", given_noise, optimizer),
        )
    )


def _case(
    name: str, optimizer: partial[Any], shape: tuple[int, ...] = (2,), overfit: float = 0.05,
    without: Mapping[Contract, str] | None = None, **options: Any,
) -> Case:  # fmt: skip
    small = {"noise": 3, "shape": shape, "hidden": (6,), **options}
    return Case(
        name, small, _examples(shape, 3), critic_objective, overfit=overfit, learn=_learn(optimizer), without=without or {},
        fields=FIELDS,
    )  # fmt: skip


SMALL_ADAM = partial(Adam, lr=1e-3, betas=(0.5, 0.9))
cases = (
    _case("wgan-gp", SMALL_ADAM, objective="wgan-gp", penalty=10.0, without={Contract.EVERY_GRADIENT: SILENT}),
    _case("wgan", partial(RMSprop, lr=1e-3), objective="wgan", clip=0.3, without={Contract.EVERY_GRADIENT: SILENT}),
    _case("minimax", SMALL_ADAM, objective="minimax"),
    _case("non-saturating", SMALL_ADAM, objective="non-saturating"),
    _case("bounded images", SMALL_ADAM, (1, 3, 3), objective="wgan-gp", penalty=1.0, hidden=(6, 5), bounds=(-0.5, 1.5),
          without={Contract.EVERY_GRADIENT: SILENT}),
)  # fmt: skip
