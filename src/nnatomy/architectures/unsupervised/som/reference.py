"""MiniSom next to our map, from the same start: the winner, the second best and their distance, and three steps of each rule.

MiniSom's grid is (x, y) with rows of hexagons along x shifted by y; so its x is our column, and its y our row.
"""

from typing import Any

import numpy as np
from minisom import MiniSom

STEPS = 3
SIGMA, RATE = 1.5, 0.5


class Reference:
    """A MiniSom, whether it learns by the batch map, and the labels that it has no place for."""

    def __init__(self, features: int, rows: int, columns: int, grid: str, method: str) -> None:
        self.method = method
        self.som = MiniSom(
            columns, rows, features, sigma=SIGMA, learning_rate=RATE, topology=grid, decay_function="asymptotic_decay",
            sigma_decay_function="asymptotic_decay", random_seed=0,
        )  # fmt: skip
        self.labels = np.full((rows * columns, 1), -1.0)


def build(features: int, rows: int = 10, columns: int = 10, grid: str = "hexagonal", method: str = "batch") -> Reference:
    """A map of MiniSom's; its weights are loaded."""
    return Reference(features, rows, columns, grid, method)


def load(model: Reference, state: dict[str, Any]) -> None:
    """Take over our parameters and buffers."""
    model.som._weights = np.array(state["weights"], np.float64).transpose(1, 0, 2).copy()
    model.labels = np.array(state["labels"])


def state(model: Reference) -> dict[str, Any]:
    """The weights, named and shaped as ours are."""
    return {"weights": model.som._weights.transpose(1, 0, 2), "labels": model.labels}


def outputs(model: Reference, x: Any) -> Any:
    """Row, column and distance of the winner; whether MiniSom counts no topographic error; the winner's label."""
    found = []
    for row in np.asarray(x, np.float64):
        i, j = model.som.winner(row)
        error = model.som.topographic_error(row[None])
        columns = model.som._weights.shape[0]
        found.append([j, i, model.som.quantization_error(row[None]), 1 - error, model.labels[j * columns + i, 0]])
    return np.array(found)


def learn(model: Reference, progress: float, x: Any, targets: Any) -> None:
    """One step of three: MiniSom's update for each example, or its batch algorithm with a learning rate of 1."""
    som, step, examples = model.som, round(progress * STEPS), np.asarray(x, np.float64)
    if model.method == "online":
        for row in examples:
            som.update(row, som.winner(row), step, STEPS)
        return
    decays = som._learning_rate_decay_function, som._sigma_decay_function
    som._learning_rate_decay_function = lambda rate, t, most: 1.0
    som._sigma_decay_function = lambda sigma, t, most: decays[1](sigma, step, STEPS)
    som.train_batch_offline(examples, 1)
    som._learning_rate_decay_function, som._sigma_decay_function = decays
