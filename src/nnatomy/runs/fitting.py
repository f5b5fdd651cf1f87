"""A fit without a folder: a recipe, a data set and a seed make a trained model. Comparison and tuning rest on it."""

from __future__ import annotations

from collections.abc import Sequence

from nnatomy import random
from nnatomy.data.dataset import Dataset
from nnatomy.tasks import task_for
from nnatomy.training.callbacks import Callback
from nnatomy.training.fit import Fitted, fit
from nnatomy.training.recipe import Recipe


def fit_recipe(
    recipe: Recipe, dataset: Dataset, seed: int = 0, *, budget: float | None = None, callbacks: Sequence[Callback] = ()
) -> Fitted:
    """Build the recipe's model for a data set and train it; nothing is written.

    The seed decides weights, order and noise, as in `train`. Raises UserError where the learner cannot learn, and where the
    loss stops being finite.
    """
    random.seed(seed)
    model = recipe.build(dataset, **recipe.options)
    return fit(recipe, model, dataset, task_for(recipe, dataset), seed, budget=budget, callbacks=callbacks)
