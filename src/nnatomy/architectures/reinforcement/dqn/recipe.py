"""Training of the deep Q-network: on a small grid world by default, on CartPole by the second recipe."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from nnatomy.architectures.reinforcement.dqn.learner import DQNAgent
from nnatomy.architectures.reinforcement.dqn.model import DQN, build, loss
from nnatomy.data.dataset import Dataset
from nnatomy.data.fields import Field
from nnatomy.optim import Adam
from nnatomy.tasks import Control
from nnatomy.training.learners import Interaction
from nnatomy.training.recipe import Case, Recipe

Array = npt.NDArray[Any]


def fit_to(dataset: Dataset, hidden: Sequence[int] = (64, 64), dueling: bool = True, double: bool = True) -> DQN:
    """As many inputs as an observation has numbers (or states), and one output an action."""
    return build(dataset.input_shape[0], dataset.outputs, hidden, dueling, double)


grid = Recipe(
    kind="environment",
    tasks=(Control,),
    data="grid",
    build=fit_to,
    options={"hidden": (128, 128), "dueling": True, "double": True},
    learn=Interaction(
        DQNAgent,
        loss,
        partial(Adam, lr=5e-4),
        parts=("online",),
        clip=10.0,
        options={
            "gamma": 0.99,
            "epsilon": 0.05,
            "explore": 8000,
            "memory": 50_000,
            "warmup": 1000,
            "acts": 2,
            "tau": 1.0,
            "every": 100,
        },
    ),
    epochs=40,
    batch_size=32,
    metric="return",
    score={"return": 0.8},
    patience=8,
)
cartpole = replace(grid, data="cartpole", score={"return": 450.0})
recipes = (grid, cartpole)

STEPS = (
    Field("state"), Field("action", role="target"), Field("reward", role="target"), Field("following", role="target"),
    Field("discount", role="target"),
)  # fmt: skip


def _steps(inputs: int, actions: int, rows: int = 9) -> Any:
    """Remembered steps, some of which end an episode."""

    def batch(rng: np.random.Generator) -> tuple[Array, ...]:
        discount = np.where(np.arange(rows) % 3 == 2, 0.0, 0.9)
        action = np.arange(rows, dtype=np.int64) % actions
        return rng.normal(size=(rows, inputs)), action, rng.normal(size=rows), rng.normal(size=(rows, inputs)), discount

    return batch


def _case(name: str, inputs: int, actions: int, **options: Any) -> Case:
    learn = Interaction(DQNAgent, loss, partial(Adam, lr=1e-3), parts=("online",), options={"tau": 1.0, "every": 2})
    return Case(
        name, {"inputs": inputs, "actions": actions} | options, _steps(inputs, actions), loss, learn=learn, fields=STEPS
    )


cases = (
    _case("double and dueling", 4, 3, hidden=(10,)),
    _case("as in 2015", 5, 2, hidden=(12, 8), dueling=False, double=False),
    _case("dueling on a common layer", 3, 3, hidden=(12, 10), double=False),
    _case("a table", 6, 4, hidden=(), dueling=False),
)
