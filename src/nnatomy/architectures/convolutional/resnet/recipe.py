"""ResNet's recipes for images, and the small instances for the contracts."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnatomy.architectures.convolutional.resnet.model import ResNet, build, loss
from nnatomy.data.augment import Augmentation, crop, flip
from nnatomy.data.dataset import Dataset
from nnatomy.optim import SGD, OneCycle
from nnatomy.tasks import Classification
from nnatomy.training.learners import GradientDescent
from nnatomy.training.recipe import Case, Recipe


def build_for(
    dataset: Dataset, depth: int = 20, width: int = 0, version: int = 1, stride_in: str = "3x3", shortcut: str = "paper",
    residual: bool = True,
) -> ResNet:  # fmt: skip
    """Return the ResNet of a depth for the images' channels and classes; see `build`.

    `width` 0 and `shortcut` "paper" are those of the paper at that depth.
    """
    return build(
        depth, dataset.outputs, dataset.input_shape[0], width or None, None, version, stride_in,
        None if shortcut == "paper" else shortcut, residual,
    )  # fmt: skip


# The paper's momentum and weight decay. One cycle of the learning rate instead of its three steps: it needs fewer epochs.
digits = Recipe(
    kind="image",
    tasks=(Classification,),
    data="digits",
    build=build_for,
    options={"depth": 20, "width": 0, "version": 1, "stride_in": "3x3", "shortcut": "paper", "residual": True},
    learn=GradientDescent(
        loss, partial(SGD, lr=0.1, momentum=0.9, weight_decay=1e-4), schedule=partial(OneCycle, pct_start=0.3)
    ),
    epochs=20,
    batch_size=32,
    metric="loss",
    score={"accuracy": 0.97},
    augment=Augmentation((partial(crop, padding=1),)),
    least_steps=800,
)
# Without a goal: an accuracy of 0.63 was measured from one seed, and a goal wants three.
cifar = replace(
    digits, data="cifar10", epochs=7, score={}, augment=Augmentation((flip, partial(crop, padding=4))), name="cifar10"
)
recipes = (digits, cifar)


def _images(side: tuple[int, int] = (8, 8), channels: int = 2, rows: int = 6) -> Any:
    """A batch of `rows` images of noise of three classes."""

    def batch(rng: np.random.Generator) -> tuple[NDArray[Any], ...]:
        return rng.normal(size=(rows, channels, *side)), np.arange(rows, dtype=np.int64) % 3

    return batch


_cifar = {"depth": 8, "classes": 3, "channels": 2, "width": 4}
_bottleneck = {"depth": 50, "classes": 3, "channels": 2, "width": 4, "layers": (1, 1)}
cases = (
    Case("cifar", {**_cifar, "layers": (1, 1)}, _images(), loss),
    Case("cifar, projections", {**_cifar, "shortcut": "B"}, _images(), loss),
    Case("plain", {**_cifar, "residual": False}, _images(), loss),
    Case("basic", {"depth": 18, "classes": 3, "channels": 1, "width": 4, "layers": (1, 1)}, _images((17, 15), 1), loss),
    Case("bottleneck", _bottleneck, _images((16, 16)), loss),
    Case("bottleneck, stride in 1x1", {**_bottleneck, "stride_in": "1x1"}, _images((16, 16)), loss),
    Case("version 2, cifar", {**_cifar, "version": 2}, _images(), loss),
    Case("version 2, bottleneck", {**_bottleneck, "version": 2, "layers": (2, 1)}, _images((16, 16)), loss),
)
