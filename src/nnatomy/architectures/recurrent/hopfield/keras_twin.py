"""Hopfield networks in Keras: an independent twin, written from Hopfield (1982), Personnaz, Guyon and Dreyfus (1986) and
Ramsauer et al. (2020). `weight_map` says which Keras variable holds each tensor of the architecture's state."""

from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops


class Weight(NamedTuple):
    """A Keras variable, with the maps of an array from our layout to its own and back."""

    variable: Any
    to_keras: Callable[[np.ndarray], np.ndarray]
    from_keras: Callable[[np.ndarray], np.ndarray]


class Hopfield(keras.Model):
    """A network of -1 and +1 with couplings T, or one of real numbers that attends to its patterns."""

    def __init__(self, units: int, storage: str, update: str, steps: int, patterns: int, beta: float, dtype: str) -> None:
        super().__init__(dtype=dtype)
        self.units, self.storage, self.together = units, storage, update == "synchronous"
        self.steps, self.beta = steps, beta
        self.kept: list[np.ndarray] = []
        self.T: Any = None
        self.patterns: Any = None
        self.used: Any = None
        if storage == "continuous":
            self.patterns = self.add_weight(shape=(patterns, units), initializer="zeros", name="patterns")
            self.used = self.add_weight(shape=(patterns,), initializer="zeros", trainable=False, name="used")
        else:
            self.T = self.add_weight(shape=(units, units), initializer="zeros", trainable=False, name="weight")

    def call(self, x: Any, training: bool = False) -> Any:
        state = ops.reshape(x, (-1, self.units))
        if self.T is None:
            for _ in range(self.steps):
                state = self.attend(state)
        else:
            state = self.sweeps(ops.where(state > 0, ops.ones_like(state), -ops.ones_like(state)))
        return ops.reshape(state, ops.shape(x))

    def attend(self, xi: Any) -> Any:
        """sum_m p_m x_m, p = exp(beta xi x_m) / sum over the rows that are used (Ramsauer et al. 2020, equation 3)."""
        scores = ops.where(self.used > 0, self.beta * ops.matmul(xi, ops.transpose(self.patterns)), -np.inf)
        weights = ops.exp(scores - ops.max(scores, axis=1, keepdims=True))
        return ops.matmul(weights, self.patterns) / ops.sum(weights, axis=1, keepdims=True)

    def sweeps(self, s: Any) -> Any:
        """s_i <- sign(sum_j T_ij s_j), or s_i where the sum is 0: one unit after the other, or all together."""

        def turned(i: Any, s: Any) -> Any:
            chosen = ops.arange(self.units) == i % self.units
            return ops.where(chosen, decided(ops.matmul(s, ops.transpose(self.T)), s), s)

        def decided(fields: Any, s: Any) -> Any:
            return ops.where(fields > 0, 1.0, ops.where(fields < 0, -1.0, s))

        if not self.together:
            return ops.fori_loop(0, self.steps * self.units, turned, s)
        for _ in range(self.steps):
            s = decided(ops.matmul(s, ops.transpose(self.T)), s)
        return s


def build(
    units: int,
    storage: str = "pseudo_inverse",
    update: str = "asynchronous",
    steps: int = 5,
    patterns: int = 100,
    beta: float = 1.0,
) -> Hopfield:
    """The network without patterns."""
    if storage not in ("hebb", "pseudo_inverse", "continuous"):
        raise ValueError(f"storage is 'hebb', 'pseudo_inverse' or 'continuous'. Received {storage!r}. Use storage='hebb'.")
    if update not in ("asynchronous", "synchronous"):
        raise ValueError(f"update is 'asynchronous' or 'synchronous'. Received {update!r}. Use update='asynchronous'.")
    dtype = keras.config.floatx()
    model = Hopfield(units, storage, update, steps, patterns, beta, dtype)
    model(np.zeros((1, units), dtype))
    return model


def loss(model: Hopfield, x: Any, clean: Any, training: bool = True) -> Any:
    """Mean squared error of what is recalled."""
    return ops.mean(ops.square(model(x, training=training) - clean))


def learn(model: Hopfield, progress: float, x: Any, clean: Any) -> None:
    """Store all patterns since progress was 0: T = sum p p^T, the projection on their span, or the patterns themselves."""
    if progress == 0:
        model.kept = []
    model.kept.append(np.reshape(np.asarray(clean, np.float64), (-1, model.units)))
    rows = np.concatenate(model.kept)
    if model.T is None:
        most = model.used.shape[0]
        if len(rows) > most:
            raise ValueError(f"At most {most} patterns are kept. Received {len(rows)}. Use patterns={len(rows)}.")
        model.patterns.assign(np.pad(rows, [(0, most - len(rows)), (0, 0)]))
        model.used.assign(np.arange(most) < len(rows))
        return
    p = np.where(rows > 0, 1.0, -1.0)
    if model.storage == "hebb":
        T = np.einsum("si,sj->ij", p, p)
    else:
        _, sizes, directions = np.linalg.svd(p, full_matrices=False)
        span = directions[sizes > 1e-10 * sizes[0]]
        T = span.T @ span
        T[np.abs(T) < 1e-10] = 0.0
    np.fill_diagonal(T, 0.0)
    model.T.assign(T)


def weight_map(model: Hopfield) -> dict[str, Weight]:
    """Our names to Keras variables, in the same layout."""
    variables = {"weight": model.T, "patterns": model.patterns, "used": model.used}
    return {name: Weight(variable, np.array, np.array) for name, variable in variables.items() if variable is not None}
