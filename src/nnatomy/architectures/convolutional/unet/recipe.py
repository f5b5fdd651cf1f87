"""Training of the U-Net on images with masks, and the small instances that the contracts build."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnatomy.architectures.convolutional.unet.model import IGNORE, UNet, build, loss
from nnatomy.data.augment import Augmentation, crop, flip
from nnatomy.data.dataset import Dataset
from nnatomy.data.fields import Field
from nnatomy.errors import UserError
from nnatomy.optim import Adam, OneCycle
from nnatomy.tasks import Segmentation
from nnatomy.training.learners import GradientDescent
from nnatomy.training.recipe import Case, Recipe


def build_for(dataset: Dataset, width: int = 8, depth: int = 3, batch_norm: bool = True) -> UNet:
    """Return a U-Net with padding for images of any size: the images' channels in, a score for each class out.

    Raises UserError for images with fewer than 2^depth pixels a side.
    """
    side = min(dataset.input_shape[1:])
    if depth > 0 and side < 2**depth:
        raise UserError(
            f"A U-Net of depth {depth} takes sides of at least {2**depth} pixels. Received {side} in {dataset.name}. "
            f"Use --set depth={max(1, side.bit_length() - 1)}."
        )
    return build(dataset.input_shape[0], dataset.outputs, width, depth, padded=True, batch_norm=batch_norm)


shapes = Recipe(
    kind="segmentation",
    tasks=(Segmentation,),
    data="shape_masks",
    build=build_for,
    options={"width": 8, "depth": 3, "batch_norm": True},
    learn=GradientDescent(loss, partial(Adam, lr=1e-2), schedule=partial(OneCycle, pct_start=0.2)),
    epochs=60,
    batch_size=8,
    metric="miou",
    score={"miou": 0.8},
    augment=Augmentation((flip, partial(crop, padding=4))),
)
roads = replace(shapes, data="camvid", score={"miou": 0.3})  # the same settings, measured on photographs
recipes = (shapes, roads)


def _images(
    side: tuple[int, int], channels: int = 1, classes: int = 2, rows: int = 3, weighted: bool = False, ignored: bool = False
) -> Any:
    """A batch of noise with masks of noise; every fifth pixel has no class if `ignored`."""

    def batch(rng: np.random.Generator) -> tuple[NDArray[Any], ...]:
        images, masks = rng.normal(size=(rows, channels, *side)), rng.integers(0, classes, (rows, *side))
        if ignored:
            masks[:, ::5] = IGNORE
        return (images, masks, rng.uniform(0.2, 3.0, masks.shape)) if weighted else (images, masks)

    return batch


_weighted = (Field("image"), Field("mask", role="target"), Field("weights", role="target"))
_small = {"width": 2, "depth": 1}
cases = (
    Case("paper", _small, _images((18, 18)), loss),
    Case("paper, weighted", {"width": 2, "depth": 2}, _images((44, 48), weighted=True), loss, fields=_weighted, overfit=0.2),
    Case("padded", {"n_channels": 2, "n_classes": 3, "width": 3, "depth": 2, "padded": True, "batch_norm": True},
         _images((7, 10), 2, 3, ignored=True), loss, overfit=0.2),
)  # fmt: skip
