"""Baselines: predictors without a network, which a network has to beat. Each task lists its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nnatomy.data import fields
from nnatomy.data.dataset import Dataset, Split
from nnatomy.data.fields import Role
from nnatomy.errors import UserError
from nnatomy.training.recipe import Recipe

Array = np.ndarray[Any, Any]
ALPHA = (0.1, 1.0, 10.0, 100.0, 1000.0)
"""Strengths of the ridge regression's penalty; the validation part chooses."""
WINDOWS = 20_000
"""Windows of a long series on which a ridge regression is fitted."""
BOOSTED = 200_000
"""Rows of a long table on which gradient boosting is fitted."""


@dataclass(frozen=True)
class FittedBaseline:
    """A fitted baseline, and its cost."""

    outputs: Callable[..., Any]
    """outputs(*inputs): decided outputs for the inputs of a batch, in the form that the task's meter takes."""
    parameters: int
    multiply_adds: int
    """For one example."""
    chosen: str = ""
    """The choice of the validation part or the training part, as text."""


Baseline = Callable[[Dataset, Sequence[Recipe]], FittedBaseline]
"""baseline(dataset, recipes): fitted on the training part, next to the networks of these recipes.

Raises UserError where the data do not allow it.
"""


def arrays_of(split: Split, *roles: Role, most: int | None = None) -> tuple[Array, ...]:
    """Return the arrays of a split whose fields have one of `roles`, of all its examples or of `most` evenly spaced ones."""
    count = len(split)
    rows = np.arange(count)
    if most is not None and most < count:
        rows = np.unique(np.linspace(0, count - 1, most).astype(int))
    return fields.select(split.fields, split.take(rows), *roles)


def ridge(dataset: Dataset, recipes: Sequence[Recipe]) -> FittedBaseline:
    """Ridge regression from all inputs to all targets; of a series, from the window to the horizon."""
    from sklearn.linear_model import Ridge

    (x, y), (x_held, y_held) = _rows(dataset.train), _rows(dataset.validation)
    best, least, chosen = None, np.inf, ALPHA[0]
    for alpha in ALPHA:
        model = Ridge(alpha).fit(x, y)
        loss = float(np.mean((model.predict(x_held).reshape(y_held.shape) - y_held) ** 2))
        if loss < least:
            best, least, chosen = model, loss, alpha
    model = best or model
    shape = arrays_of(dataset.test, "target", most=1)[0].shape[1:]
    return FittedBaseline(
        lambda *inputs: model.predict(inputs[0].reshape(len(inputs[0]), -1)).reshape(-1, *shape),
        y.shape[1] * (x.shape[1] + 1), y.shape[1] * x.shape[1], f"alpha = {chosen:g}",
    )  # fmt: skip


def parameters_of_trees(model: Any) -> int:
    """Return the numbers that a boosted model has learned: a feature and a threshold a split, a value a leaf."""
    nodes = [len(tree.nodes) for trees in model._predictors for tree in trees]
    return sum(3 * (count // 2) + 1 for count in nodes)


def table_rows(inputs: tuple[Array, ...]) -> Array:
    """Return inputs that are a table: one row of numbers an example. Raises UserError for all others."""
    if inputs[0].ndim != 2 or inputs[0].dtype.kind != "f":
        shape = " x ".join(map(str, inputs[0].shape[1:])) or "one number"
        raise UserError(f"Gradient boosting takes a row of numbers an example. Received {shape}. Compare without it.")
    return inputs[0]


def _rows(split: Split) -> tuple[Array, Array]:
    """Inputs and targets, one row an example each, in float64."""
    x, y = arrays_of(split, "input", "target", most=WINDOWS)[:2]
    return x.reshape(len(x), -1).astype(np.float64), y.reshape(len(y), -1).astype(np.float64)
