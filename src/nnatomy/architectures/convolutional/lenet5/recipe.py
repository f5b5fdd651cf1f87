"""LeNet-5's recipes for images, and the small instances for the contracts."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnatomy.architectures.convolutional.lenet5.model import LeNet5, LeNet5Paper, loss
from nnatomy.data.augment import Augmentation, crop
from nnatomy.data.dataset import Dataset
from nnatomy.errors import UserError, unknown_name
from nnatomy.optim import Adam, OneCycle
from nnatomy.tasks import Classification
from nnatomy.training.learners import GradientDescent
from nnatomy.training.recipe import Case, Recipe


def fit_to(dataset: Dataset, form: str = "modern", activation: str = "relu") -> LeNet5 | LeNet5Paper:
    """One output a class, the largest wins; `form` is "modern" or "paper", `activation` concerns the modern form alone.

    Raises UserError for images of another size, and for the paper's form where they are not gray.
    """
    channels, height, width = dataset.input_shape
    if (height, width) != (28, 28):
        raise UserError(f"LeNet-5 reads images of 28 x 28. Received {dataset.name} of {height} x {width}. Use --resize 28x28.")
    if form == "modern":
        return LeNet5(dataset.outputs, activation, channels)
    if form == "paper":
        if channels != 1:
            raise UserError(f"The paper's form reads gray images. Received {dataset.name} in color. Use --gray or form=modern.")
        return LeNet5Paper(dataset.outputs, scores=True)
    raise unknown_name("form", form, ("modern", "paper"))


# Small batches, so that five passes are enough for the 1,257 embedded digits as well as for the 55,000 of MNIST.
# The loss on the validation split chooses the epoch: accuracies of a few hundred images are often equal.
image = Recipe(
    kind="image",
    tasks=(Classification,),
    data="digits",
    build=fit_to,
    options={"form": "modern", "activation": "relu"},
    learn=GradientDescent(loss, partial(Adam, lr=4e-3), schedule=partial(OneCycle, pct_start=0.2)),
    epochs=5,
    batch_size=8,
    metric="loss",
    score={"accuracy": 0.97},
    load={"resize": (28, 28)},
    least_steps=750,  # about those of the digits: 126 pictures of shapes took 5 epochs to 46%, and 50 epochs to 99%
    augment=Augmentation((partial(crop, padding=2),)),
)
recipes = (image,)


def _images(size: int, classes: int = 10, rows: int = 6, channels: int = 1) -> Any:
    """A batch of `rows` images of noise, with the classes 0, 1, ... repeated."""

    def batch(rng: np.random.Generator) -> tuple[NDArray[Any], ...]:
        return rng.normal(size=(rows, channels, size, size)), np.arange(rows, dtype=np.int64) % classes

    return batch


cases = (
    Case("modern, tanh", {"form": "modern", "activation": "tanh"}, _images(28), loss, parameters=61_706),
    Case("modern, relu", {"form": "modern", "activation": "relu"}, _images(28), loss, parameters=61_706),
    Case("modern, three classes", {"form": "modern", "classes": 3}, _images(28, classes=3), loss),
    Case("modern, color", {"form": "modern", "channels": 3}, _images(28, channels=3), loss, parameters=62_006),
    Case("paper", {"form": "paper"}, _images(32), loss, parameters=60_000, lr=0.001),
    Case("paper, three classes", {"form": "paper", "classes": 3}, _images(32, classes=3), loss, lr=0.001),
)
