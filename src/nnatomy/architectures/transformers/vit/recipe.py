"""Recipes of the vision transformer for images, and the small instances for the contracts."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnatomy.architectures.transformers.vit.model import ViT, build, loss
from nnatomy.data.augment import Augmentation, crop, flip
from nnatomy.data.dataset import Dataset
from nnatomy.errors import UserError
from nnatomy.optim import AdamW, Cosine
from nnatomy.tasks import Classification
from nnatomy.training.learners import GradientDescent
from nnatomy.training.recipe import Case, Recipe

FEWEST, MOST, LARGEST = 4, 64, 32
"""Patches that an image is cut into where no size of a patch is given, and the largest side of a patch."""


def build_for(
    dataset: Dataset, patch_size: int = 0, hidden_size: int = 64, depth: int = 2, heads: int = 4, mlp_size: int = 128,
    dropout: float = 0.1, pool: str = "cls", positions: bool = True,
) -> ViT:  # fmt: skip
    """Return a ViT for the images and classes of a data set; see `build`.

    `patch_size` 0 is the smallest side of at least 2 that cuts an image into at most 64 patches.
    """
    channels, height, width = dataset.input_shape
    return build(
        "base", (height, width), patch_size or usual_patch(dataset.name, height, width), channels, dataset.outputs, hidden_size,
        depth, heads, mlp_size, dropout, pool, positions,
    )  # fmt: skip


def usual_patch(name: str, height: int, width: int) -> int:
    """Return the side of a patch that is used where none is given. Raises UserError where no size serves."""
    sides = [n for n in range(1, LARGEST + 1) if height % n == 0 == width % n and FEWEST <= height * width / n**2 <= MOST]
    if not sides:
        raise UserError(
            f"A vision transformer cuts images into {FEWEST} to {MOST} square patches. Received {name} of {height} x {width}, "
            f"which no patch of at most {LARGEST} x {LARGEST} fills so. Use --resize 32x32, or name a patch_size."
        )
    return min(sides, key=lambda n: (n == 1, n))


digits = Recipe(
    kind="image",
    tasks=(Classification,),
    data="digits",
    build=build_for,
    options={
        "patch_size": 0, "hidden_size": 64, "depth": 2, "heads": 4, "mlp_size": 128, "dropout": 0.1, "pool": "cls",
        "positions": True,
    },
    learn=GradientDescent(loss, partial(AdamW, lr=4e-3, weight_decay=0.3), schedule=partial(Cosine, warmup=0.1), clip=1.0),
    epochs=40,
    batch_size=32,
    metric="loss",
    score={"accuracy": 0.95},
    least_steps=1600,
)  # fmt: skip
cifar = replace(
    digits, data="cifar10", epochs=6, score={}, augment=Augmentation((flip, partial(crop, padding=4))), name="cifar10"
)
recipes = (digits, cifar)


def _images(height: int = 4, width: int = 4) -> Any:
    """A batch of three images of noise with two channels, of three classes."""

    def batch(rng: np.random.Generator) -> tuple[NDArray[Any], ...]:
        return rng.normal(size=(3, 2, height, width)), np.array([0, 1, 2])

    return batch


_small = {
    "image_size": 4, "patch_size": 2, "channels": 2, "classes": 3, "hidden_size": 8, "depth": 2, "heads": 2, "mlp_size": 12,
}  # fmt: skip
cases = (
    Case("cls", _small, _images(), loss),
    Case("mean", {**_small, "image_size": (4, 6), "pool": "mean"}, _images(4, 6), loss),
    Case("orderless", {**_small, "positions": False, "eps": 1e-6}, _images(), loss),
)
