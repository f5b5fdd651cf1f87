"""A recipe says how an architecture is trained on one kind of data; a case is a small model of it for the shared contracts."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any

import numpy as np

from nnatomy.data import fields as batch_fields
from nnatomy.data.augment import Augmentation
from nnatomy.data.dataset import Dataset
from nnatomy.data.fields import Field
from nnatomy.layers.module import Module
from nnatomy.training.learners import LearnerSpec
from nnatomy.training.learners.learner import Loss


def _unchanged(outputs: Any) -> Any:
    return outputs


@dataclass(frozen=True)
class Recipe:
    """Everything that decides a training run but the seed: data, model, learner and tasks."""

    kind: str
    """The kind of data, by the name of its folder in data/kinds."""
    tasks: tuple[type[Any], ...]
    """The tasks: classes of tasks/, such as (Classification,)."""
    data: str
    """The data set that is used where the user names none."""
    build: Callable[..., Module]
    """build(dataset, **options): the model whose ends fit the data."""
    options: Mapping[str, Any]
    """Keyword arguments of `build`, overridable by `--set name=value`."""
    learn: LearnerSpec
    """GradientDescent(loss, partial(Adam, lr=1e-3), schedule=partial(Cosine, warmup=100)), or another learner."""
    epochs: int
    batch_size: int
    metric: str
    """Which metric on the validation split decides the best epoch."""
    score: Mapping[str, float] = field(default_factory=dict)
    """The required metrics on the test split of `data`; empty where the twin's score is the yardstick."""
    decide: Callable[[Any], Any] = _unchanged
    """From the model's outputs to what is scored: one number a class (the largest wins), or the regression's values."""
    load: Mapping[str, Any] = field(default_factory=dict)
    """Keyword arguments of `data.load` that this architecture needs, such as resize=(28, 28)."""
    patience: int | None = None
    """Stop after this many epochs without a better `metric`."""
    plateau: int | None = None
    """Halve the learning rate after this many epochs without a better `metric`."""
    augment: Augmentation | None = None
    """Changes to the training examples of each batch."""
    sample: Callable[[Any, Dataset], str] | None = None
    """sample(model, dataset): something the trained model makes, as text for the report."""
    least_steps: int = 0
    """Steps that training takes at least: of a small data set, more epochs than `epochs` are made."""
    name: str = ""
    """Its name for --variant, where its architecture has others for the same data."""

    @property
    def task_names(self) -> tuple[str, ...]:
        """The names of its tasks."""
        return tuple(task.name for task in self.tasks)

    def sized(self, dataset: Dataset) -> Recipe:
        """Return the recipe with the epochs that give a data set its least steps; itself where `epochs` are enough."""
        epochs = math.ceil(self.least_steps / math.ceil(len(dataset.train) / self.batch_size))
        return self if epochs <= self.epochs else replace(self, epochs=epochs)

    def does(self, dataset: Dataset) -> str | None:
        """Return the name of the task that this recipe does with a data set: the set's own, or one that needs no targets.

        None where the recipe is for another kind of data or another task.
        """
        if dataset.kind != self.kind:
            return None
        free = [task.name for task in self.tasks if not task.needs_targets]
        return dataset.task if dataset.task in self.task_names else next(iter(free), None)


class Contract(Enum):
    """The promises of every architecture; a case may declare an exception to one, with its reason."""

    TORCH = "equals its PyTorch twin"
    KERAS = "equals its Keras twin"
    LIBRARY = "equals the library that ships it"
    REFERENCE = "equals its outside reference"
    OWN_STEPS = "is as its twin after three steps of its own learner"
    GRADIENTS = "has the gradients of central differences"
    EVERY_GRADIENT = "gives every parameter a gradient"
    OVERFIT = "overfits one small batch"
    SAVE = "is the same after saving and loading"
    EXPORT = "is the same in ONNX Runtime"
    PLAN = "is the same as a plan"
    JAX = "is the same on JAX"
    HALF = "computes in bfloat16"
    PADDING = "ignores rows that pad a batch"


@dataclass(frozen=True)
class Case:
    """One small instance of an architecture for the contracts: the same `options` build the model and its twins."""

    name: str
    options: Mapping[str, Any]
    batch: Callable[[np.random.Generator], tuple[np.ndarray[Any, Any], ...]]
    """Small inputs and targets as float64 and int64 arrays, in the order that `loss` takes them."""
    loss: Loss | None
    """loss(model, *batch) -> (loss, outputs); None where nothing follows a gradient."""
    parameters: int | None = None
    """The number of parameters, where the paper states it for these options."""
    overfit: float = 0.05
    """The contract trains this batch until the loss falls below this fraction of its first value."""
    lr: float = 0.05
    """Learning rate of the three steps of SGD with momentum that are compared with the twins."""
    learn: LearnerSpec | None = None
    """The learner whose three steps are compared; that of the first recipe, with `loss`, if None."""
    without: Mapping[Contract, str] = field(default_factory=dict)
    """Contracts that this case cannot keep, and why; a test fails where one would hold after all."""
    fields: tuple[Field, ...] | None = None
    """The fields of the batch; inputs and the targets last if None."""

    def inputs(self, batch: tuple[Any, ...]) -> tuple[Any, ...]:
        """Return the arrays of a batch that the model is called with."""
        return batch_fields.select(self.fields or batch_fields.named(len(batch)), batch, "input", "given")
