"""Trains an architecture's PyTorch twin by one of its recipes, from the same initial weights.

Where a loss draws noise, the model's `with_noise(model, *batch)` adds it to a batch, and the twin's loss takes it from there.
Batches, schedule, clipping, weight averaging and the choice of the best epoch are the recipe's. Forward, backward and update
are PyTorch's own; only its weights come back, to be scored by the same code as ours.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from nnatomy import random
from nnatomy.catalog import Architecture
from nnatomy.data import fields
from nnatomy.data.dataset import Dataset, batches
from nnatomy.errors import UserError
from nnatomy.tasks import Task, task_for
from nnatomy.tensor import Tensor
from nnatomy.training.learners import GradientDescent
from nnatomy.training.recipe import Recipe
from nnatomy.verification.implementations import decay_groups


class Twin:
    """A PyTorch twin with the weights of our model for a recipe, and the steps that the recipe trains it by."""

    def __init__(self, architecture: Architecture, recipe: Recipe, learn: GradientDescent, dataset: Dataset, seed: int) -> None:
        if recipe.plateau is not None:
            raise UserError(
                f"A twin is trained without plateaus. Received the recipe of {architecture.name}, which has one. Give it a "
                "schedule."
            )
        random.seed(seed)
        with options_of_builds(architecture) as built:
            self.ours = recipe.build(dataset, **recipe.options)
        self.dataset, self.learn, self.task = dataset, learn, task_for(recipe, dataset)
        self.module = architecture.module("torch_twin")
        self.with_noise = getattr(architecture.module("model"), "with_noise", None)
        self.options = options_for(self.module.build, recipe, dataset, built)
        self.model = self.module.build(**self.options)
        self.model.load_state_dict({name: torch.tensor(a) for name, a in self.ours.state_dict().items()})
        torch.manual_seed(seed)

        own = learn.optimizer(self.ours.named_parameters())
        rule = getattr(torch.optim, type(own).__name__)
        settings = {k: v for k, v in own.defaults.items() if k in inspect.signature(rule).parameters}
        self.optimizer = rule(decay_groups(self.model, learn), **settings)
        self.rate, self.steps = float(own.lr), 0
        per_epoch = -(-len(dataset.train) // recipe.batch_size)
        self.schedule = None if learn.schedule is None else learn.schedule(recipe.epochs * per_epoch)
        self.average = {} if learn.average is None else {name: t.clone() for name, t in self.model.state_dict().items()}

    def step(self, batch: tuple[Any, ...]) -> None:
        """Train by a batch, as `GradientDescent` does."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate * (1.0 if self.schedule is None else float(self.schedule(self.steps)))
        self.optimizer.zero_grad()
        if self.with_noise is None:
            given = fitted(batch, self.dataset, self.task, self.options)
        else:
            given = drawn(self.with_noise, self.ours, batch)
        self.module.loss(self.model, *given).backward()
        if self.learn.clip is not None:
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.learn.clip)
        self.optimizer.step()
        self.steps += 1
        if (decay := self.learn.average) is not None:
            for key, t in self.model.state_dict().items():
                self.average[key] = decay * self.average[key] + (1 - decay) * t if t.is_floating_point() else t

    def weights(self) -> dict[str, Any]:
        """The weights that count, as arrays."""
        return {key: t.detach().numpy().copy() for key, t in (self.average or self.model.state_dict()).items()}


def train_twin(
    architecture: Architecture, recipe: Recipe, learn: GradientDescent, dataset: Dataset, seed: int
) -> dict[str, float]:
    """Return the metrics on the test split of the twin, trained as the recipe trains our model."""
    twin = Twin(architecture, recipe, learn, dataset, seed)
    model, task = twin.ours, twin.task
    waited, metric = 0, task.metric(recipe.metric)
    best: tuple[float | None, dict[str, Any]] = (None, {})
    for epoch in range(recipe.epochs):
        twin.model.train()
        order = np.random.Generator(np.random.Philox(key=[seed, epoch + 1]))
        for batch in batches(dataset.train, recipe.batch_size, order, augment=recipe.augment):
            twin.step(batch)
        weights = twin.weights()
        model.load_state_dict(weights)
        score = task.evaluate(model, dataset.validation, part="validation").metrics[metric.name]
        if metric.improves(score, best[0]):
            best, waited = (score, weights), 0
        else:
            waited += 1
            if recipe.patience is not None and waited >= recipe.patience:
                break
    model.load_state_dict(best[1])
    return task.evaluate(model, dataset.test).metrics


@contextmanager
def options_of_builds(architecture: Architecture) -> Iterator[list[inspect.BoundArguments]]:
    """Record the plain options with which the recipe calls the model's `build`, to build the twin with them."""
    recipe: Any = architecture.module("recipe")
    original = architecture.module("model").build
    noted: list[inspect.BoundArguments] = []

    def noting(*args: Any, **kwargs: Any) -> Any:
        noted.append(inspect.signature(original).bind(*args, **kwargs))
        return original(*args, **kwargs)

    recipe.build = noting
    try:
        yield noted
    finally:
        recipe.build = original


def options_for(build: Any, recipe: Recipe, dataset: Dataset, built: list[inspect.BoundArguments]) -> dict[str, Any]:
    """The options of the last build, as the twin's `build` takes them; what it lacks must have its default.

    Where the recipe made its model in another way they are the recipe's options and the sizes of the data; if they are not the
    right ones, the weights will not fit.
    """
    known = inspect.signature(build).parameters
    if not built:
        sizes = {"features": math.prod(dataset.input_shape), "outputs": dataset.outputs, "classes": dataset.outputs}
        return {name: value for name, value in {**sizes, **recipe.options}.items() if name in known}
    for name, value in built[-1].arguments.items():
        if name not in known and value != built[-1].signature.parameters[name].default:
            raise RuntimeError(f"The twin's build knows no option {name}, which the recipe sets to {value!r}.")
    return {name: value for name, value in built[-1].arguments.items() if name in known}


def drawn(with_noise: Any, model: Any, batch: tuple[Any, ...]) -> list[torch.Tensor]:
    """A batch with noise from the default generator."""
    return [torch.tensor(np.asarray(t.data)) for t in with_noise(model, *map(Tensor, batch))]


def fitted(batch: tuple[Any, ...], dataset: Dataset, task: Task, options: dict[str, Any]) -> list[torch.Tensor]:
    """A batch as the twin's loss takes it, the targets at the end: rows of `features` where it has that option.

    Inputs whose last axis has that size are left as they are: rows, or windows of rows.
    """
    inputs = list(fields.select(dataset.fields, batch, "input", "given"))
    targets = fields.select(dataset.fields, batch, "target") if task.needs_targets else (inputs[0],)
    if "features" in options and inputs[0].shape[-1] != options["features"]:
        targets = tuple(target.reshape(len(target), -1) if target is inputs[0] else target for target in targets)
        inputs[0] = inputs[0].reshape(len(inputs[0]), -1)
    return [torch.tensor(a) for a in (*inputs, *targets)]
