"""The nets that are written down from truth tables, and the small instances for the contracts."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from nnatomy.architectures.feedforward.mcculloch_pitts.model import (
    TruthTable,
    absorb,
    begin,
    build,
    loss,
    rows_of,
    solve,
)
from nnatomy.data.dataset import Dataset
from nnatomy.functional.least_squares import class_scores
from nnatomy.tasks import Classification
from nnatomy.training.learners import ClosedForm
from nnatomy.training.recipe import Case, Contract, Recipe

Array = npt.NDArray[Any]


def build_for(dataset: Dataset) -> TruthTable:
    """As many inputs as an example has numbers, and one output for each class."""
    return build(math.prod(dataset.input_shape), dataset.outputs)


logic = Recipe(
    kind="table",
    tasks=(Classification,),
    data="logic_xor",
    build=build_for,
    options={},
    learn=ClosedForm(begin, absorb, solve, loss),
    epochs=1,
    batch_size=512,
    metric="accuracy",
    score={"accuracy": 1.0},
    decide=class_scores,
)
recipes = (logic,)


def _table(inputs: int, outputs: int) -> Any:
    """All rows of a truth table; drawn classes, each at least once."""

    def batch(rng: np.random.Generator) -> tuple[Array, ...]:
        rows = rows_of(inputs).astype(np.float64)
        return rows, rng.permutation(np.arange(len(rows)) % outputs)

    return batch


GRADIENTS = (Contract.GRADIENTS, Contract.EVERY_GRADIENT, Contract.OVERFIT, Contract.HALF, Contract.PADDING)
FIXED = dict.fromkeys(GRADIENTS, "a threshold has no slope")
cases = (
    Case("two inputs", {"inputs": 2}, _table(2, 2), None, without=FIXED),
    Case("three inputs, three classes", {"inputs": 3, "outputs": 3}, _table(3, 3), None, without=FIXED),
)
