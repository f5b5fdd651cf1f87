"""Training of spiking networks on images, and the small instances that the contracts build."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from nnatomy.architectures.hybrid.snn.model import SNN, STDPLayer, build, label_neurons, loss, stdp
from nnatomy.data.dataset import Dataset
from nnatomy.optim import Adam, Cosine
from nnatomy.tasks import Classification
from nnatomy.training.learners import GradientDescent, LocalRule
from nnatomy.training.recipe import Case, Contract, Recipe

Array = npt.NDArray[Any]


def build_for(
    dataset: Dataset, hidden: int = 100, steps: int = 25, beta: float = 0.9, threshold: float = 1.0, surrogate: str = "atan",
    slope: float | None = None, reset: str = "subtract", coding: str = "direct", readout: str = "count",
) -> SNN | STDPLayer:  # fmt: skip
    """As many inputs as an example has numbers, one output neuron for each class."""
    saved = dataset.preprocessing.to_json()
    return build(
        "surrogate", math.prod(dataset.input_shape), dataset.outputs, hidden, steps, beta, threshold, surrogate, slope, reset,
        coding, readout, saved["mean"], saved["std"],
    )  # fmt: skip


def build_stdp_for(
    dataset: Dataset, hidden: int = 100, steps: int = 10, beta: float = 0.95, threshold: float = 36.0
) -> SNN | STDPLayer:
    """As many ON and as many OFF inputs as an example has numbers."""
    saved = dataset.preprocessing.to_json()
    return build(
        "stdp", math.prod(dataset.input_shape), dataset.outputs, hidden, steps, beta, threshold, mean=saved["mean"],
        std=saved["std"],
    )  # fmt: skip


digits = Recipe(
    kind="image",
    tasks=(Classification,),
    data="digits",
    build=build_for,
    options={"hidden": 100, "steps": 25, "beta": 0.9, "coding": "rate", "readout": "count", "surrogate": "atan"},
    learn=GradientDescent(loss, partial(Adam, lr=2e-3), schedule=partial(Cosine, warmup=0.05)),
    epochs=15,
    batch_size=32,
    metric="accuracy",
    score={"accuracy": 0.96},
)
mnist = replace(
    digits, data="mnist", epochs=5, batch_size=128, score={"accuracy": 0.965},
    options={**digits.options, "coding": "direct", "steps": 10},
)  # fmt: skip
unsupervised = Recipe(
    kind="image",
    tasks=(Classification,),
    data="digits",
    build=build_stdp_for,
    options={"hidden": 100, "steps": 10, "beta": 0.95, "threshold": 36.0},
    learn=LocalRule(stdp, loss=loss, after_epoch=label_neurons),
    epochs=20,
    batch_size=16,
    metric="accuracy",
    name="stdp",
)
recipes = (digits, mnist, unsupervised)


def _numbers(features: int, low: float = -math.inf, rows: int = 9) -> Any:
    """A batch of `rows` examples around one center for each of three classes; with `low`, in [low, 1]."""

    def batch(rng: np.random.Generator) -> tuple[Array, ...]:
        targets = np.arange(rows, dtype=np.int64) % 3
        x = rng.normal(size=(3, features))[targets] + 0.3 * rng.normal(size=(rows, features))
        return (x if low == -math.inf else np.clip(0.5 + 0.3 * x, low, 1)), targets

    return batch


SURROGATE = {Contract.GRADIENTS: "the backward pass has the slope of a surrogate, not of the step"}
TIMES = {Contract.GRADIENTS: "no gradient passes from the time of a spike to a number"}
cases = (
    Case(
        "direct, count", {"features": 5, "classes": 3, "hidden": 12, "steps": 6, "beta": 0.5}, _numbers(5), loss,
        without=SURROGATE,
    ),
    Case(
        "latency, membrane",
        {
            "features": 6, "classes": 3, "hidden": 12, "steps": 5, "beta": 0.5, "surrogate": "fast_sigmoid", "slope": 5.0,
            "reset": "zero", "coding": "latency", "readout": "membrane",
        },
        _numbers(6, 0.0), loss, without=SURROGATE,
    ),
    Case(
        "stdp", {"learning": "stdp", "features": 4, "classes": 3, "hidden": 6, "steps": 5, "beta": 0.5, "threshold": 3.0},
        _numbers(4, 0.0, rows=8), loss, learn=unsupervised.learn, without=TIMES,
    ),
)  # fmt: skip
