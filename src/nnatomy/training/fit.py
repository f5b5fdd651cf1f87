"""One fit: a recipe, a model, a data set and a task make a trained model. Runs, studies and estimators all rest on it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

from nnatomy.data.dataset import Dataset
from nnatomy.errors import UserError
from nnatomy.layers.module import Module
from nnatomy.training.batches import Feed
from nnatomy.training.callbacks import Callback, EarlyStopping, LowerOnPlateau, named
from nnatomy.training.evaluation import Evaluation, Measures
from nnatomy.training.learners import Learner, LearnerSpec, Setup
from nnatomy.training.loop import Loop, Position
from nnatomy.training.recipe import Recipe


@dataclass
class Checkpoint:
    """The saved point of a fit: its state and position, the best weights so far, and the states of callbacks and world."""

    state: dict[str, Any]
    position: Position
    best: dict[str, Any]
    callbacks: Mapping[str, Any]
    """States by the names that `named` gives."""
    external: dict[str, Any]


@dataclass
class Fitted:
    """A trained model with the weights of its best epoch, and the record of its training."""

    model: Module
    task: Measures
    dataset: Dataset
    position: Position
    learner: Learner
    outcome: str
    """"finished", or "interrupted": then the model has the weights that it was interrupted with."""
    state: dict[str, Any]
    """The learner's state, from which training can go on: that of the last step, or with the weights of the best epoch."""

    def test(self) -> Evaluation:
        """Return the metrics on the test split, which nothing was chosen by."""
        return self.task.evaluate(self.model, self.dataset.test)


def fit(
    recipe: Recipe, model: Module, dataset: Dataset, task: Measures, seed: int = 0, *, setup: Setup | None = None,
    learn: LearnerSpec | None = None, distillation: Dataset | None = None, budget: float | None = None,
    callbacks: Sequence[Callback] = (), last: Sequence[Callback] = (), checkpoint: Checkpoint | None = None,
    watched: Callable[[Loop], AbstractContextManager[Any]] = nullcontext,
) -> Fitted:  # fmt: skip
    """Train a model by a recipe; nothing is written.

    Args:
        seed: decides the order of the examples; initial weights and noise are the default generator's
        setup: precision, devices and what else a run decides
        learn, distillation: a learner and a data set in place of the recipe's, such as a teacher's
        budget: seconds, those of the test that follows included
        callbacks: called before those of the recipe (early stopping, plateau), `last` after them
        checkpoint: continue from here exactly
        watched: a context manager around the loop, such as one that handles Ctrl-C

    Raises UserError where a loss stops being finite, and for what the learner cannot do.
    """
    setup = setup or Setup()
    learner = (learn or recipe.learn).begin(model, distillation or dataset, setup)
    watching = list(callbacks)
    if recipe.patience is not None:
        watching.append(EarlyStopping(recipe.patience))
    if recipe.plateau is not None:
        watching.append(LowerOnPlateau(recipe.plateau))
    watching += last
    feed = Feed(setup.devices)
    loop = Loop(
        recipe, distillation or dataset, task, learner, recipe.epochs, recipe.batch_size, seed, budget, watching, feed=feed
    )
    state = learner.state()
    if checkpoint is not None:
        state, loop.position, loop.best = checkpoint.state, checkpoint.position, checkpoint.best
        learner.restore_external_state(checkpoint.external)
        _restore(watching, checkpoint.callbacks)
    with watched(loop):
        state = loop.fit(state)
    task.planned = False  # a test score is the weights' alone: the same here, after a resume and by `evaluate`
    if loop.outcome == "finished":
        weights = loop.best or setup.devices.to_host(learner.evaluated(state))
        model.load_state_dict(weights)
        model.eval()
        if setup.devices.count > 1:
            learner.bind(state | {"model": setup.devices.placed(weights)})
    state = learner.state() if loop.best else state
    return Fitted(model, task, dataset, loop.position, learner, loop.outcome, state)


def _restore(callbacks: Sequence[Callback], states: Mapping[str, Any]) -> None:
    """Give callbacks their saved states. Raises UserError where one that had a state is missing."""
    known = named(callbacks)
    for name, state in states.items():
        if name not in known:
            raise UserError(
                f"A run continues with the callbacks that it had. Received none for the saved state of {name}. "
                "Give it again with callbacks=."
            )
        known[name].state = state
