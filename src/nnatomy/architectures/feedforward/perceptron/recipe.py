"""The perceptron's recipes for tables and images, and the small instances for the contracts."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from nnatomy.architectures.feedforward.perceptron.model import Perceptron, build, correct, loss
from nnatomy.data.dataset import Dataset
from nnatomy.tasks import Classification
from nnatomy.training.learners import LocalRule
from nnatomy.training.recipe import Case, Recipe


def fit_to(dataset: Dataset, rule: str = "perceptron") -> Perceptron:
    """One unit for two classes, otherwise one unit a class; `rule` is "perceptron" or "delta"."""
    return build(math.prod(dataset.input_shape), 1 if dataset.outputs == 2 else dataset.outputs, rule)


# One example at a time, as Rosenblatt's rule has it. Near the end the weights jump back and forth unless the
# classes can be separated; what is evaluated is their moving average (compare Freund & Schapire 1999).
table = Recipe(
    kind="table",
    tasks=(Classification,),
    data="breast_cancer",
    build=fit_to,
    options={"rule": "perceptron"},
    learn=LocalRule(correct, average=0.999, loss=loss),
    epochs=20,
    batch_size=1,
    metric="accuracy",
    score={"accuracy": 0.95},
)
image = Recipe(
    kind="image",
    tasks=(Classification,),
    data="digits",
    build=fit_to,
    options={"rule": "perceptron"},
    learn=LocalRule(correct, average=0.999, loss=loss),
    epochs=15,
    batch_size=1,
    metric="accuracy",
    score={"accuracy": 0.92},
)
recipes = (table, image)

Array = npt.NDArray[Any]


def _examples(classes: int, features: int = 12, rows: int = 10) -> Any:
    """Random points, fewer than weights: some plane parts them, but not just any, which would leave nothing to learn."""

    def batch(rng: np.random.Generator) -> tuple[Array, ...]:
        return rng.normal(size=(rows, features)), np.arange(rows, dtype=np.int64) % classes

    return batch


cases = (
    Case("one unit", {"features": 12}, _examples(2), loss),
    Case("one unit a class", {"features": 12, "outputs": 3}, _examples(3), loss),
    Case("Adaline", {"features": 12, "rule": "delta"}, _examples(2), loss),
    Case("Adalines, one a class", {"features": 12, "outputs": 3, "rule": "delta"}, _examples(3), loss),
)
