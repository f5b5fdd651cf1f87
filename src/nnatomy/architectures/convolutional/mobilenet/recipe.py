"""MobileNet's recipes for images, and the small instances for the contracts."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnatomy.architectures.convolutional.mobilenet.model import MobileNet, build, loss
from nnatomy.data.augment import Augmentation, crop, flip
from nnatomy.data.dataset import Dataset
from nnatomy.optim import SGD, OneCycle
from nnatomy.tasks import Classification
from nnatomy.training.learners import GradientDescent
from nnatomy.training.recipe import Case, Recipe


def build_for(
    dataset: Dataset, version: str = "v2", alpha: float = 0.5, padding: str = "same", blocks: int = 0, downsample: int = 4,
    dropout: float = 0.2, momentum: float = 0.1,
) -> MobileNet:  # fmt: skip
    """Return the MobileNet of a version for the images' channels and classes; see `MobileNet`. `blocks` 0 is all of them."""
    return build(
        version, dataset.outputs, dataset.input_shape[0], alpha, padding, blocks or None, downsample, dropout, momentum=momentum
    )


# The papers train for ImageNet with RMSProp for days. One cycle of SGD with momentum needs few epochs. The running means of the
# normalizations must follow within some hundred steps: a momentum of 0.1, not of 0.001.
digits = Recipe(
    kind="image",
    tasks=(Classification,),
    data="digits",
    build=build_for,
    options={
        "version": "v2", "alpha": 0.5, "padding": "same", "blocks": 10, "downsample": 4, "dropout": 0.2, "momentum": 0.1,
    },
    learn=GradientDescent(
        loss, partial(SGD, lr=0.05, momentum=0.9, weight_decay=1e-4), schedule=partial(OneCycle, pct_start=0.3)
    ),
    epochs=20,
    batch_size=32,
    metric="loss",
    score={"accuracy": 0.98},
    augment=Augmentation((partial(crop, padding=1),)),
    least_steps=800,
)  # fmt: skip
cifar = replace(
    digits, data="cifar10", epochs=7, score={}, augment=Augmentation((flip, partial(crop, padding=4))), name="cifar10",
    options={**digits.options, "blocks": 0, "downsample": 8},
)  # fmt: skip
recipes = (digits, cifar)


def _images(height: int, width: int) -> Any:
    """A batch of images of noise of three classes."""

    def batch(rng: np.random.Generator) -> tuple[NDArray[Any], ...]:
        return rng.normal(size=(6, 2, height, width)), np.arange(6, dtype=np.int64) % 3

    return batch


_small = {"classes": 3, "channels": 2, "dropout": 0.0, "momentum": 0.1}
_third = {"version": "v3-small", "alpha": 0.1, "blocks": 4, "padding": "symmetric", "downsample": 8}
cases = (
    Case("v1", {**_small, "version": "v1", "alpha": 0.03, "blocks": 2}, _images(12, 11), loss),
    Case("v2", {**_small, "version": "v2", "alpha": 0.35, "blocks": 3}, _images(16, 15), loss, lr=0.01),
    Case("v3 small", {**_small, **_third}, _images(12, 11), loss),
)
