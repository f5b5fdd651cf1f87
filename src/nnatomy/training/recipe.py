"""A recipe says how an architecture is trained on one kind of data; a case is what the shared contracts build of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from nnatomy.data.augment import Augmentation
from nnatomy.data.dataset import Dataset
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
    """What is measured: classes of tasks/, such as (Classification,)."""
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
    """What metrics on the test split of `data` must reach; empty where the twin's score is the yardstick."""
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

    @property
    def task_names(self) -> tuple[str, ...]:
        """The names of its tasks."""
        return tuple(task.name for task in self.tasks)

    def does(self, dataset: Dataset) -> str | None:
        """Return the name of the task that this recipe does with a data set: the set's own, or one that needs no targets.

        None where the recipe is for another kind of data or another task.
        """
        if dataset.kind != self.kind:
            return None
        free = [task.name for task in self.tasks if not task.needs_targets]
        return dataset.task if dataset.task in self.task_names else next(iter(free), None)


@dataclass(frozen=True)
class Case:
    """One small instance of an architecture for the contracts: the same `options` build the model and its twins."""

    name: str
    options: Mapping[str, Any]
    batch: Callable[[np.random.Generator], tuple[np.ndarray[Any, Any], ...]]
    """Small inputs and targets as float64 and int64 arrays, in the order that `loss` takes them."""
    loss: Loss
    """loss(model, *batch) -> (loss, outputs)."""
    parameters: int | None = None
    """The number of parameters, where the paper states it for these options."""
    overfit: float = 0.05
    """The contract trains this batch until the loss falls below this fraction of its first value."""
    lr: float = 0.05
    """Learning rate of the three steps of SGD with momentum that are compared with the twins."""
