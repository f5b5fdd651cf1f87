"""A recipe says how an architecture is trained on one kind of data; a case is what the shared contracts build of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from nnatomy.data.augment import Augmentation
from nnatomy.data.dataset import Dataset
from nnatomy.layers.module import Module
from nnatomy.tensor import Tensor

Loss = Callable[..., Tensor]


def _unchanged(outputs: Any) -> Any:
    return outputs


@dataclass(frozen=True)
class Recipe:
    """Everything that decides a training run but the seed; plain values, so that a run's folder can hold it."""

    kind: str
    """The kind of data: "table", "image", "text", "sentences" or "series"."""
    tasks: tuple[str, ...]
    """What is done with it: "classification", "regression", "language", "forecast", "anomaly" or "reconstruction"."""
    data: str
    """The data set that is used where the user names none."""
    build: Callable[..., Module]
    """build(dataset, **options): the model whose ends fit the data."""
    options: Mapping[str, Any]
    """Keyword arguments of `build`, overridable by `--set name=value`."""
    loss: Loss
    """loss(model, *batch): what is minimised."""
    optimizer: partial[Any]
    """partial(Adam, lr=1e-3): called with the parameters."""
    epochs: int
    batch_size: int
    metric: str
    """Which metric on the validation split decides the best epoch."""
    score: Mapping[str, float] = field(default_factory=dict)
    """What metrics on the test split of `data` must reach; empty where the twin's score is the yardstick."""
    schedule: partial[Any] | None = None
    """partial(Cosine, warmup=100): called with the total number of steps."""
    decide: Callable[[Any], Any] = _unchanged
    """From the model's output to what is scored: one number a class (the largest wins), or the regression's values."""
    load: Mapping[str, Any] = field(default_factory=dict)
    """Keyword arguments of `data.load` that this architecture needs, such as resize=(28, 28)."""
    clip: float | None = None
    """Gradients are scaled down to this norm."""
    patience: int | None = None
    """Stop after this many epochs without a better `metric`."""
    plateau: int | None = None
    """Halve the learning rate after this many epochs without a better `metric`."""
    augment: Augmentation | None = None
    """Changes to the training images of each batch."""
    average: float | None = None
    """Decay of an exponential moving average of the weights, which is what is evaluated and saved as the best."""
    sample: Callable[[Any, Dataset], str] | None = None
    """sample(model, dataset): something the trained model makes, as text for the report."""


HIGHER = frozenset({"accuracy", "balanced_accuracy", "f1", "auc", "average_precision", "r2", "explained"})
"""Metrics of which more is better; of all others less is."""


def better(metric: str, value: float, than: float | None) -> bool:
    """Whether `value` improves on `than`; anything finite improves on None, and NaN on nothing."""
    if than is None or math.isnan(than):
        return not math.isnan(value)
    return value > than if metric in HIGHER else value < than


@dataclass(frozen=True)
class Case:
    """One small instance of an architecture for the contracts: the same `options` build the model and its twins."""

    name: str
    options: Mapping[str, Any]
    batch: Callable[[np.random.Generator], tuple[np.ndarray[Any, Any], ...]]
    """Small inputs and targets as float64 and int64 arrays, in the order that `loss` takes them."""
    loss: Loss
    parameters: int | None = None
    """The number of parameters, where the paper states it for these options."""
    overfit: float = 0.05
    """The contract trains this batch until the loss falls below this share of its first value."""
    lr: float = 0.05
    """Learning rate of the three steps of SGD with momentum that are compared with the twins."""
