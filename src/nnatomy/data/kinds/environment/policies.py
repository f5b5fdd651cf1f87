"""Solutions of some worlds without learning: a linear policy that balances the pole, the exact solution of a grid."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from nnatomy.data.kinds.environment.environment import EnvironmentPreprocessing
from nnatomy.data.kinds.environment.grid import GridWorld, value_iteration
from nnatomy.errors import UserError

__all__ = ["exact_values", "linear_policy"]

Array = npt.NDArray[Any]
CARTPOLE = np.array([0.1, 0.3, 3.0, 1.0])
"""Weights of position, velocity, angle and angular velocity: the cart is pushed to the side where their sum is positive."""


def linear_policy(preprocessing: EnvironmentPreprocessing) -> Callable[[Array], Array]:
    """Return scores(inputs) -> (n, actions) of a policy written by hand. Raises UserError where there is none."""
    if preprocessing.columns != ("position", "velocity", "angle", "angular_velocity"):
        raise UserError(f"A policy by hand is known for CartPole alone. Received {preprocessing.source}. Compare without it.")

    def scores(inputs: Array) -> Array:
        push = preprocessing.inverse(inputs) @ CARTPOLE
        return np.stack([-push, push], axis=1)

    return scores


def exact_values(preprocessing: EnvironmentPreprocessing, gamma: float) -> Array:
    """Return the optimal action values (states, actions) of a grid world. Raises UserError for other worlds."""
    environment = preprocessing.world().environment
    if not isinstance(environment, GridWorld):
        raise UserError(f"Value iteration needs a world's probabilities. Received {preprocessing.source}. Compare without it.")
    return value_iteration(environment, gamma)
