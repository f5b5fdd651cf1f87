"""Training of the RBF network on images and on tables, and the small instances that the contracts build."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from nnatomy.architectures.feedforward.rbf.model import RBF, absorb, begin_rows, build, loss, place_centers, solve
from nnatomy.data.dataset import Dataset
from nnatomy.data.fields import select
from nnatomy.functional.least_squares import class_scores
from nnatomy.optim import Adam, Cosine
from nnatomy.tasks import Classification, Regression
from nnatomy.training.learners import ClosedForm, GradientDescent
from nnatomy.training.recipe import Case, Recipe

Array = npt.NDArray[Any]

SAMPLE = 10_000  # training examples among which centers are placed


def least_squares(ridge: float) -> ClosedForm:
    """Return the learner that solves for the output weights."""
    return ClosedForm(begin_rows, absorb, solve, loss, {"ridge": ridge})


def build_for(
    dataset: Dataset, hidden: int = 300, kernel: str = "gaussian", degree: int = 0, centers: str = "k_means",
    neighbors: int = 2, overlap: float = 2.0, learned: bool = False,
) -> RBF:  # fmt: skip
    """A network whose centers are k-means of the training examples ("k_means") or some of them ("random")."""
    model = build(math.prod(dataset.input_shape), hidden, dataset.outputs, kernel, degree, learned)
    train = dataset.train
    if len(train):  # a restored run is built without examples, and its weights are loaded
        some = np.unique(np.linspace(0, len(train) - 1, min(SAMPLE, len(train))).astype(int))
        place_centers(model, select(train.fields, train.take(some), "input")[0], centers, neighbors, overlap)
    return model


# One pass over the examples solves for the output weights, so nothing is to be chosen by the epoch.
image = Recipe(
    kind="image",
    tasks=(Classification,),
    data="digits",
    build=build_for,
    options={"hidden": 300, "kernel": "gaussian", "centers": "k_means", "overlap": 2.0},
    learn=least_squares(0.01),
    epochs=1,
    batch_size=512,
    metric="accuracy",
    score={"accuracy": 0.97},
    decide=class_scores,
)
learned = Recipe(
    kind="image",
    tasks=(Classification,),
    data="digits",
    build=build_for,
    options={"hidden": 100, "kernel": "gaussian", "centers": "k_means", "overlap": 2.0, "learned": True},
    learn=GradientDescent(loss, partial(Adam, lr=1e-2), schedule=partial(Cosine, warmup=0.05)),
    epochs=100,
    batch_size=64,
    metric="accuracy",
    decide=class_scores,
    name="learned",
)
classification = Recipe(
    kind="table",
    tasks=(Classification,),
    data="breast_cancer",
    build=build_for,
    options={"hidden": 60, "kernel": "gaussian", "centers": "k_means", "overlap": 2.0},
    learn=least_squares(0.01),
    epochs=1,
    batch_size=512,
    metric="accuracy",
    decide=class_scores,
)
regression = Recipe(
    kind="table",
    tasks=(Regression,),
    data="diabetes",
    build=build_for,
    options={"hidden": 40, "kernel": "gaussian", "centers": "k_means", "overlap": 2.0},
    learn=least_squares(0.01),
    epochs=1,
    batch_size=512,
    metric="r2",
    score={"r2": 0.4},
)
recipes = (image, learned, classification, regression)


def _classes(rng: np.random.Generator) -> tuple[Array, ...]:
    """Twelve examples of five numbers around one place for each of three classes."""
    targets = np.arange(12, dtype=np.int64) % 3
    return rng.normal(size=(3, 5))[targets] + 0.3 * rng.normal(size=(12, 5)), targets


def _numbers(features: int, rows: int) -> Any:
    """A batch of `rows` examples with two targets that are smooth functions of the inputs."""

    def batch(rng: np.random.Generator) -> tuple[Array, ...]:
        x = rng.normal(size=(rows, features))
        return x, np.sin(x @ rng.normal(size=(features, 2)))

    return batch


cases = (
    Case("gaussian, three classes", {"features": 5, "hidden": 14, "outputs": 3}, _classes, loss, learn=least_squares(0.1)),
    Case("multiquadric", {"features": 4, "hidden": 12, "outputs": 2, "kernel": "multiquadric"}, _numbers(4, 10), loss,
         learn=least_squares(0.1)),
    Case("thin plate with a linear tail", {"features": 3, "hidden": 14, "outputs": 2, "kernel": "thin_plate", "degree": 1},
         _numbers(3, 10), loss, learn=least_squares(0.1)),
    Case("learned centers and widths",
         {"features": 4, "hidden": 6, "outputs": 2, "kernel": "inverse_multiquadric", "degree": -1, "learned": True},
         _numbers(4, 8), loss, learn=GradientDescent(loss, partial(Adam, lr=2e-2))),
)  # fmt: skip
