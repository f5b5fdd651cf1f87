"""Training of diffusion models on points and on images, and the small instances that the contracts build."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnatomy.architectures.generative.diffusion.model import Diffusion, build, loss, noise_loss
from nnatomy.data.dataset import Dataset
from nnatomy.data.fields import Field
from nnatomy.data.kinds import kind_of
from nnatomy.data.kinds.looks import Pictures
from nnatomy.errors import UserError
from nnatomy.optim import Adam, Linear
from nnatomy.tasks import Generation
from nnatomy.training.learners import GradientDescent
from nnatomy.training.recipe import Case, Contract, Recipe


def build_for(
    dataset: Dataset, network: str = "mlp", width: int = 128, multipliers: Sequence[int] = (1, 2),
    attention: Sequence[int] = (1,), blocks: int = 2, groups: int = 8, dropout: float = 0.0, conditional: bool = False,
    timesteps: int = 1000, schedule: str = "linear", sampler: str = "ddim", steps: int = 20, eta: float = 0.0,
    variance: str = "posterior", guidance: float = 0.0, drop: float = 0.1, bounded: bool = False,
) -> Diffusion:  # fmt: skip
    """Return a diffusion model whose examples have the shape of the data's.

    `conditional`: it learns the data's classes as labels. `bounded`: the sampler clips pixels to black and white.

    Raises UserError where the data have no classes and `conditional` is set, or are not pictures and `bounded` is set.
    """
    if conditional and not dataset.classes:
        raise UserError(f"Labels are the data's classes. Received {dataset.name} without any. Use --set conditional=false.")
    return build(
        dataset.input_shape, network, width, multipliers, attention, blocks, groups, dropout,
        len(dataset.classes) if conditional else 0, timesteps, schedule, sampler, steps, eta, variance, guidance, drop,
        black_and_white(dataset) if bounded else None,
    )  # fmt: skip


def black_and_white(dataset: Dataset) -> tuple[float, float]:
    """Return the smallest and the largest standardized value of a pixel, over all channels."""
    look = kind_of(dataset).look(dataset)
    if not isinstance(look, Pictures) or not look.mean:
        raise UserError(f"Only pictures have bounds. Received {dataset.name} with bounded=true. Use --set bounded=false.")
    return min(-m / s for m, s in zip(look.mean, look.std)), max((1 - m) / s for m, s in zip(look.mean, look.std))


# Ho et al. (2020): Adam, clipped gradients, an average of the weights. The rates and their fall to 0 are ours.
LEARN = GradientDescent(loss, partial(Adam, lr=3e-3), schedule=partial(Linear), clip=1.0, average=0.99)
points = Recipe(
    kind="density",
    tasks=(Generation,),
    data="eight_gaussians",
    build=build_for,
    options={
        "network": "mlp", "width": 128, "blocks": 2, "conditional": False, "timesteps": 1000, "schedule": "linear",
        "sampler": "ddim", "steps": 25, "eta": 0.0, "variance": "posterior", "guidance": 0.0, "drop": 0.1,
    },
    learn=LEARN,
    epochs=25,
    batch_size=128,
    metric="energy_distance",
    score={"modes": 8, "energy_distance": 0.006},
    least_steps=1500,
)  # fmt: skip
image = Recipe(
    kind="image",
    tasks=(Generation,),
    data="digits",
    build=build_for,
    options={
        "network": "unet", "width": 16, "multipliers": (1, 2), "attention": (1,), "blocks": 1, "groups": 8, "dropout": 0.0,
        "conditional": True, "timesteps": 1000, "schedule": "cosine", "sampler": "ddim", "steps": 10, "eta": 0.0,
        "variance": "posterior", "guidance": 0.0, "drop": 0.1, "bounded": True,
    },
    learn=LEARN.changed("lr", 2e-3),
    epochs=40,
    batch_size=32,
    metric="energy_distance",
    least_steps=1500,
)  # fmt: skip
recipes = (points, image)


# Small instances. Noise and times are part of the batch, so that twins have the same; the sampler starts from that noise.


def _examples(shape: tuple[int, ...], classes: int, rows: int = 6) -> Any:
    """Examples in (-1, 1), noise, labels with "no class" among them, and times."""

    def batch(rng: np.random.Generator) -> tuple[NDArray[Any], ...]:
        x, noise = rng.uniform(-0.9, 0.9, size=(rows, *shape)), rng.normal(size=(rows, *shape))
        labels = (np.arange(rows) % (classes + 1),) if classes else ()
        return x, noise, *labels, rng.integers(0, 1000, rows)

    return batch


def _case(
    name: str, shape: tuple[int, ...], overfit: float = 0.5, without: Mapping[Contract, str] | None = None, **options: Any
) -> Case:
    labels = (Field("labels", role="given"),) if "classes" in options else ()
    fields = (Field("examples", role="target"), Field("noise"), *labels, Field("times", role="target"))
    return Case(
        name, {"shape": shape, "dropout": 0.0, **options}, _examples(shape, options.get("classes", 0)), noise_loss,
        overfit=overfit, fields=fields, without=without or {},
    )  # fmt: skip


cases = (
    _case("points", (2,), network="mlp", width=8, blocks=1, steps=3),
    _case("labels", (2,), network="mlp", width=8, blocks=2, classes=3, schedule="cosine", sampler="euler", steps=3,
          guidance=1.5),
    _case("unet", (1, 4, 4), width=4, multipliers=(1, 1), attention=(), blocks=1, groups=2, classes=2, steps=2,
          bounds=(-200.0, 200.0)),
)  # fmt: skip
