"""How the U-Net is trained on images with masks, and the small instances that the contracts build."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnatomy.architectures.convolutional.unet.model import UNet, loss
from nnatomy.data.augment import Augmentation, crop, flip, jitter
from nnatomy.data.dataset import Dataset
from nnatomy.data.fields import IGNORE, Field
from nnatomy.optim import Adam, OneCycle
from nnatomy.tasks import Segmentation
from nnatomy.training.learners import GradientDescent
from nnatomy.training.recipe import Case, Recipe


def build_for(dataset: Dataset, width: int = 16, depth: int = 3, batch_norm: bool = True) -> UNet:
    """Return a U-Net with padding for images of any size: the images' channels in, a score for each class out."""
    return UNet(dataset.input_shape[0], dataset.outputs, width, depth, padded=True, batch_norm=batch_norm)


learn = GradientDescent(loss, partial(Adam, lr=1e-2), schedule=partial(OneCycle, pct_start=0.2))
shapes = Recipe(
    kind="segmentation",
    tasks=(Segmentation,),
    data="shape_masks",
    build=build_for,
    options={"width": 8, "depth": 3, "batch_norm": True},
    learn=learn,
    epochs=30,
    batch_size=8,
    metric="miou",
    score={"miou": 0.8},
    augment=Augmentation((flip, partial(crop, padding=4))),
)
recipes = (shapes,)
cases: tuple[Case, ...] = ()
