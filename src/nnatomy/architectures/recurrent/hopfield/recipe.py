"""Storage of digits in a Hopfield network, and the small instances that the contracts build."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from nnatomy.architectures.recurrent.hopfield.model import Network, absorb, begin, build, loss, solve
from nnatomy.data.dataset import Dataset
from nnatomy.tasks import Recall
from nnatomy.training.learners import ClosedForm
from nnatomy.training.recipe import Case, Contract, Recipe

Array = npt.NDArray[Any]

storing = ClosedForm(begin, absorb, solve, loss)


def build_for(
    dataset: Dataset, storage: str = "pseudo_inverse", update: str = "asynchronous", steps: int = 5, patterns: int = 100,
    beta: float = 1.0,
) -> Network:  # fmt: skip
    """As many units as a pattern has numbers."""
    return build(math.prod(dataset.input_shape), storage, update, steps, patterns, beta)


# One pass over the patterns stores them, so nothing is to be chosen by the epoch.
digits = Recipe(
    kind="image",
    tasks=(Recall,),
    data="noisy_digits",
    build=build_for,
    options={"storage": "pseudo_inverse", "update": "asynchronous", "steps": 2},
    learn=storing,
    epochs=1,
    batch_size=256,
    metric="recalled",
    score={"recalled": 0.99},
)
continuous = Recipe(
    kind="image",
    tasks=(Recall,),
    data="noisy_mnist",
    build=build_for,
    options={"storage": "continuous", "patterns": 1000, "beta": 1.0, "steps": 1},
    learn=storing,
    epochs=1,
    batch_size=256,
    metric="recalled",
    score={"recalled": 0.99},
    name="continuous",
)
recipes = (digits, continuous)


def _patterns(*shape: int) -> Any:
    """Patterns of -1 and 1, and copies in which about a fifth of the signs are wrong."""

    def batch(rng: np.random.Generator) -> tuple[Array, ...]:
        clean = np.where(rng.normal(size=shape) > 0, 1.0, -1.0)
        return np.where(rng.uniform(size=shape) < 0.2, -clean, clean), clean

    return batch


def _numbers(rng: np.random.Generator) -> tuple[Array, ...]:
    return rng.normal(size=(5, 6)), rng.normal(size=(5, 6))


GRADIENTS = (Contract.GRADIENTS, Contract.EVERY_GRADIENT, Contract.OVERFIT, Contract.HALF, Contract.PADDING)
FIXED = dict.fromkeys(GRADIENTS, "a threshold has no slope")
cases = (
    Case("pseudo-inverse, asynchronous", {"units": 12, "steps": 2}, _patterns(5, 12), None, without=FIXED, learn=storing),
    Case("Hebb, synchronous", {"units": 9, "storage": "hebb", "update": "synchronous", "steps": 3}, _patterns(4, 1, 3, 3), None,
         without=FIXED, learn=storing),
    Case("continuous", {"units": 6, "storage": "continuous", "patterns": 15, "beta": 0.7, "steps": 2}, _numbers, loss,
         learn=storing),
)  # fmt: skip
