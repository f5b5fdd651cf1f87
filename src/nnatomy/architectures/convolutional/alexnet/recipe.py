"""AlexNet's recipes for images, and the small instances for the contracts."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnatomy.architectures.convolutional.alexnet.model import AlexNet, build, loss
from nnatomy.data.augment import Augmentation, crop, flip
from nnatomy.data.dataset import Dataset
from nnatomy.errors import UserError
from nnatomy.optim import SGD, OneCycle
from nnatomy.tasks import Classification
from nnatomy.training.learners import GradientDescent
from nnatomy.training.recipe import Case, Recipe


def build_for(
    dataset: Dataset, form: str = "two_towers", width: int = 24, hidden: int = 128, stem: str = "small", dropout: float = 0.2,
    start: str = "he",
) -> AlexNet:  # fmt: skip
    """Return the AlexNet of a form for the images' size, channels and classes; see `build`.

    Raises UserError for images that are not square.
    """
    channels, height, wide = dataset.input_shape
    if height != wide:
        raise UserError(
            f"AlexNet reads square images. Received {dataset.name} of {height} x {wide}. Use --resize {height}x{height}."
        )
    return build(form, dataset.outputs, channels, height, width, hidden, stem, dropout, start)


# The paper's momentum, weight decay and dropout. One cycle of the learning rate instead of divisions by 10.
digits = Recipe(
    kind="image",
    tasks=(Classification,),
    data="digits",
    build=build_for,
    options={"form": "two_towers", "width": 24, "hidden": 128, "stem": "small", "dropout": 0.2, "start": "he"},
    learn=GradientDescent(
        loss, partial(SGD, lr=0.03, momentum=0.9, weight_decay=5e-4), schedule=partial(OneCycle, pct_start=0.3)
    ),
    epochs=20,
    batch_size=32,
    metric="loss",
    score={"accuracy": 0.96},
    load={"resize": (32, 32)},
    augment=Augmentation((partial(crop, padding=4),)),
    least_steps=800,
)
# Without a goal: a goal wants three seeds, and one takes more than a minute.
cifar = replace(
    digits, data="cifar10", epochs=10, score={}, load={}, augment=Augmentation((flip, partial(crop, padding=4))),
    name="cifar10",
)  # fmt: skip
recipes = (digits, cifar)


def _images(size: int = 32) -> Any:
    """A batch of images of noise of three classes."""

    def batch(rng: np.random.Generator) -> tuple[NDArray[Any], ...]:
        return rng.normal(size=(6, 2, size, size)), np.arange(6, dtype=np.int64) % 3

    return batch


_small = {"classes": 3, "channels": 2, "hidden": 6, "dropout": 0.0, "start": "he"}
cases = (
    Case("one tower", {**_small, "form": "one_tower", "width": 2, "stem": "small", "size": 32}, _images(), loss),
    Case("two towers", {**_small, "form": "two_towers", "width": 6, "stem": "small", "size": 32}, _images(), loss),
    Case("two towers, imagenet stem", {**_small, "form": "two_towers", "width": 6, "size": 67}, _images(67), loss),
    Case("one tower, imagenet stem", {**_small, "form": "one_tower", "width": 2, "size": 64}, _images(64), loss),
)
