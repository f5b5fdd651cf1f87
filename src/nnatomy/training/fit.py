"""One fit without a folder: a recipe, a data set and a seed make a trained model. Comparison and tuning rest on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from nnatomy import random
from nnatomy.data.dataset import Dataset
from nnatomy.errors import UserError
from nnatomy.layers.module import Module
from nnatomy.tasks import Evaluation, Task, task_for
from nnatomy.training import callbacks as cb
from nnatomy.training.loop import Callback, Loop, Position
from nnatomy.training.recipe import Recipe
from nnatomy.training.step import Step


@dataclass
class Fitted:
    """A trained model with the weights of its best epoch, and how it came about."""

    model: Module
    task: Task
    dataset: Dataset
    position: Position

    def test(self) -> Evaluation:
        """Metrics on the test split, which nothing was chosen by."""
        return self.task.evaluate(self.model, self.dataset.test)


def fit(
    recipe: Recipe, dataset: Dataset, seed: int = 0, *, budget: float | None = None, callbacks: Sequence[Callback] = ()
) -> Fitted:
    """Builds the recipe's model for a data set and trains it; nothing is written.

    The seed decides weights, order and noise, as in `train`. Raises UserError where nothing can be learned by gradients, and
    where the loss stops being finite.
    """
    random.seed(seed)
    model = recipe.build(dataset, **recipe.options)
    if not any(True for _ in model.parameters()):
        raise UserError("A model needs parameters to be trained, this one has none; choose other options.")
    task = task_for(recipe, dataset)
    step = Step(model, recipe.optimizer(model.named_parameters()), recipe.loss, recipe.clip, recipe.average)
    watching: list[Callback] = list(callbacks)
    if recipe.patience is not None:
        watching.append(cb.EarlyStopping(recipe.patience))
    if recipe.plateau is not None:
        watching.append(cb.LowerOnPlateau(recipe.plateau))
    loop = Loop(recipe, dataset, task, step, recipe.epochs, recipe.batch_size, seed, budget, callbacks=watching)
    if recipe.schedule is not None:
        loop.schedule = recipe.schedule(recipe.epochs * loop.steps_per_epoch)
    state = loop.fit(step.state())
    model.load_state_dict(loop.best or step.evaluated(state))
    model.eval()
    return Fitted(model, task, dataset, loop.position)
