"""Training of the extreme learning machine on images and on tables, and the small instances that the contracts build."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from nnatomy.architectures.feedforward.elm.model import ELM, absorb, begin_rows, build, loss, solve
from nnatomy.data.dataset import Dataset
from nnatomy.functional.least_squares import class_scores
from nnatomy.tasks import Classification, Regression
from nnatomy.training.learners import ClosedForm
from nnatomy.training.recipe import Case, Recipe

Array = npt.NDArray[Any]

least_squares = ClosedForm(begin_rows, absorb, solve, loss, {"ridge": 10.0})


def build_for(
    dataset: Dataset, hidden: int = 1000, activation: str = "tanh", scale: float = 1.0, bias: bool = True
) -> ELM:
    """As many inputs as an example has numbers, and one output for each class or predicted number."""
    return build(math.prod(dataset.input_shape), hidden, dataset.outputs, activation, scale, bias)


# One pass over the examples is the whole training, so nothing is to be chosen by the epoch.
image = Recipe(
    kind="image",
    tasks=(Classification,),
    data="digits",
    build=build_for,
    options={"hidden": 1000, "activation": "tanh", "scale": 1.0, "bias": True},
    learn=least_squares,
    epochs=1,
    batch_size=512,
    metric="accuracy",
    score={"accuracy": 0.97},
    decide=class_scores,
)
classification = Recipe(
    kind="table",
    tasks=(Classification,),
    data="breast_cancer",
    build=build_for,
    options={"hidden": 300, "activation": "tanh", "scale": 1.0, "bias": True},
    learn=least_squares,
    epochs=1,
    batch_size=512,
    metric="accuracy",
    score={"accuracy": 0.95},
    decide=class_scores,
)
regression = Recipe(
    kind="table",
    tasks=(Regression,),
    data="diabetes",
    build=build_for,
    options={"hidden": 100, "activation": "tanh", "scale": 1.0, "bias": True},
    learn=least_squares,
    epochs=1,
    batch_size=512,
    metric="r2",
    score={"r2": 0.4},
)
recipes = (image, classification, regression)


def _classes(features: int, classes: int, rows: int = 9) -> Any:
    """A batch of `rows` examples around one center for each class."""

    def batch(rng: np.random.Generator) -> tuple[Array, ...]:
        targets = np.arange(rows, dtype=np.int64) % classes
        return rng.normal(size=(classes, features))[targets] + 0.3 * rng.normal(size=(rows, features)), targets

    return batch


def _numbers(features: int, outputs: int, rows: int = 8) -> Any:
    """A batch of `rows` examples whose targets are a smooth function of the inputs."""

    def batch(rng: np.random.Generator) -> tuple[Array, ...]:
        x = rng.normal(size=(rows, features))
        return x, np.sin(x @ rng.normal(size=(features, outputs)))

    return batch


cases = (
    Case("tanh, three classes", {"features": 5, "hidden": 20, "outputs": 3, "activation": "tanh", "bias": True},
         _classes(5, 3), loss),
    Case("sigmoid, as published", {"features": 4, "hidden": 24, "outputs": 2}, _classes(4, 2), loss),
    Case("radial nodes, two numbers", {"features": 4, "hidden": 30, "outputs": 2, "activation": "rbf", "bias": True},
         _numbers(4, 2), loss),
)  # fmt: skip
