"""CoAtNet's recipes for images, and the small instances for the contracts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnatomy.architectures.hybrid.coatnet.model import CoAtNet, build, loss
from nnatomy.data.augment import Augmentation, crop, flip
from nnatomy.data.dataset import Dataset
from nnatomy.optim import AdamW, Cosine
from nnatomy.tasks import Classification
from nnatomy.training.learners import GradientDescent
from nnatomy.training.recipe import Case, Recipe


def build_for(
    dataset: Dataset, widths: Sequence[int] = (16, 32, 64), depths: Sequence[int] = (1, 1, 2), stem: int = 16,
    layout: str = "CCT", strides: Sequence[int] = (1, 1, 2, 1), head_size: int = 16, stride_in: str = "3x3",
    squeeze: float = 0.25,
) -> CoAtNet:  # fmt: skip
    """Return a CoAtNet without a layer before the scores, for the images and classes of a data set; see `build`."""
    channels, height, width = dataset.input_shape
    return build(
        "0", (height, width), channels, dataset.outputs, widths, depths, stem, layout, strides, head_size, 0, stride_in, squeeze
    )


digits = Recipe(
    kind="image",
    tasks=(Classification,),
    data="digits",
    build=build_for,
    options={
        "widths": (16, 32, 64), "depths": (1, 1, 2), "stem": 16, "layout": "CCT", "strides": (1, 1, 2, 1), "head_size": 16,
        "stride_in": "3x3", "squeeze": 0.25,
    },
    learn=GradientDescent(
        loss, partial(AdamW, lr=3e-3, weight_decay=0.05), schedule=partial(Cosine, warmup=0.1), clip=1.0,
        undecayed=("bias", "norm"),
    ),
    epochs=40,
    batch_size=32,
    metric="loss",
    score={"accuracy": 0.97},
    augment=Augmentation((partial(crop, padding=1),)),
)  # fmt: skip
# Without a goal: it is one run's.
cifar = replace(
    digits, data="cifar10", epochs=8, batch_size=64, score={}, name="cifar10",
    options={**digits.options, "widths": (32, 64, 128), "depths": (1, 2, 2), "stem": 24, "strides": (1, 2, 2, 1)},
    augment=Augmentation((flip, partial(crop, padding=4))),
)  # fmt: skip
recipes = (digits, cifar)


def _images(channels: int, height: int, width: int) -> Any:
    """A batch of four images of noise."""

    def batch(rng: np.random.Generator) -> tuple[NDArray[Any], ...]:
        return rng.normal(size=(4, channels, height, width)), np.arange(4, dtype=np.int64) % 3

    return batch


cases = (
    Case("attention", {"image_size": (8, 8), "channels": 2, "classes": 3, "widths": (4,), "depths": (1,), "stem": 3,
         "layout": "T", "strides": (1, 2), "head_size": 2, "head_width": 0}, _images(2, 8, 8), loss),
    Case("convolution, then attention", {"image_size": (8, 12), "channels": 1, "classes": 3, "widths": (4, 8), "depths": (2, 1),
         "stem": 3, "layout": "CT", "strides": (1, 2, 2), "head_size": 4, "head_width": 5}, _images(1, 8, 12), loss),
    Case("as the paper strides", {"image_size": (8, 8), "channels": 1, "classes": 3, "widths": (4, 4), "depths": (1, 1),
         "stem": 4, "layout": "CT", "strides": (1, 2, 1), "head_size": 4, "head_width": 0, "stride_in": "1x1", "squeeze": 0.5},
         _images(1, 8, 8), loss),
)  # fmt: skip
