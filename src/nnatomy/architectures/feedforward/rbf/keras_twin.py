"""Radial basis functions in Keras: an independent twin, written from Broomhead and Lowe (1988) and Moody and Darken (1989).
`weight_map` says which Keras variable holds each tensor of the architecture's state, and how it is transposed."""

from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import layers, ops

RIDGE = 0.1


class Weight(NamedTuple):
    """A Keras variable, with the maps of an array from our layout to its own and back."""

    variable: Any
    to_keras: Callable[[np.ndarray], np.ndarray]
    from_keras: Callable[[np.ndarray], np.ndarray]


def thin_plate(squares: Any) -> Any:
    there = squares > 0
    return ops.where(there, 0.5 * squares * ops.log(ops.where(there, squares, 1)), 0)


KERNELS: dict[str, Callable[[Any], Any]] = {  # of (r / sigma)^2, but the thin plate's of r^2
    "gaussian": lambda squares: ops.exp(-squares),
    "multiquadric": lambda squares: ops.sqrt(1 + squares),
    "inverse_multiquadric": lambda squares: ops.rsqrt(1 + squares),
    "thin_plate": thin_plate,
}


class Radial(layers.Layer):
    """One radial function about each center; learned, or fixed where it was put."""

    def __init__(self, features: int, hidden: int, kernel: str, learned: bool, dtype: str) -> None:
        super().__init__(dtype=dtype, name="hidden")
        self.function = KERNELS[kernel]
        self.centers = self.add_weight(shape=(hidden, features), initializer="random_normal", trainable=learned, name="centers")
        self.log_widths = None
        if kernel != "thin_plate":
            self.log_widths = self.add_weight(shape=(hidden,), initializer="zeros", trainable=learned, name="log_widths")

    def call(self, x: Any) -> Any:
        gaps = ops.expand_dims(x, 1) - self.centers
        if self.log_widths is not None:
            gaps = gaps * ops.exp(-self.log_widths)[:, None]
        return self.function(ops.sum(ops.square(gaps), axis=2))


class RBF(keras.Model):
    """A dense layer of radial functions, plus a polynomial of degree -1 (none), 0 or 1."""

    def __init__(self, features: int, hidden: int, outputs: int, kernel: str, degree: int, learned: bool, dtype: str) -> None:
        super().__init__(dtype=dtype)
        self.outputs_wanted, self.degree = outputs, degree
        self.radial = Radial(features, hidden, kernel, learned, dtype)
        self.readout = layers.Dense(outputs, use_bias=degree >= 0, dtype=dtype, name="output")
        self.tail = layers.Dense(outputs, use_bias=False, dtype=dtype, name="tail") if degree == 1 else None
        self.seen_x: list[np.ndarray] = []
        self.seen_t: list[np.ndarray] = []

    def call(self, x: Any) -> Any:
        x = ops.reshape(x, (ops.shape(x)[0], -1))
        y = self.readout(self.radial(x))
        return y if self.tail is None else y + self.tail(x)


def build(features: int, hidden: int, outputs: int, kernel: str = "gaussian", degree: int = 0, learned: bool = False) -> RBF:
    """The network with random centers and widths of 1."""
    dtype = keras.config.floatx()
    model = RBF(features, hidden, outputs, kernel, degree, learned, dtype)
    model(np.zeros((1, features), dtype))
    return model


def wanted(model: RBF, targets: Any, dtype: Any) -> Any:
    """One column a class with a 1 where an example belongs, or the numbers to fit."""
    if "int" in str(targets.dtype):
        return ops.one_hot(targets, model.outputs_wanted, dtype=dtype)
    return ops.reshape(targets, (-1, model.outputs_wanted))


def loss(model: RBF, x: Any, targets: Any, training: bool = True) -> Any:
    """Squared errors, summed over outputs and averaged over examples."""
    y = model(x, training=training)
    return ops.mean(ops.sum(ops.square(y - wanted(model, targets, y.dtype)), axis=1))


def polynomials(model: RBF, x: np.ndarray) -> np.ndarray:
    """The tail's columns at the rows of x: none, 1, or 1 and x."""
    return np.hstack([np.ones((len(x), 1)), x])[:, : (0, 1, 1 + x.shape[1])[model.degree + 1]]


def learn(model: RBF, progress: float, x: Any, targets: Any) -> None:
    """Solve for the output weights and the tail with all examples since progress was 0, in double precision.

    The side conditions leave weights N u, where N spans what is orthogonal to the tail's polynomials at the centers;
    |u| = |N u|, so u and the tail are a least-squares solution with rows sqrt(RIDGE) u = 0.
    """
    if progress == 0:
        model.seen_x, model.seen_t = [], []
    x = ops.reshape(x, (x.shape[0], -1))
    model.seen_x.append(np.asarray(x))
    model.seen_t.append(np.asarray(wanted(model, targets, x.dtype)))
    x, t = np.concatenate(model.seen_x), np.concatenate(model.seen_t).astype("float64")
    phi, p = np.asarray(model.radial(x), "float64"), polynomials(model, x)
    at_centers = polynomials(model, model.radial.centers.numpy())
    columns = p.shape[1]
    orthogonal = np.linalg.qr(at_centers, mode="complete")[0][:, columns:] if columns else np.eye(phi.shape[1])
    free = orthogonal.shape[1]
    rows = np.hstack([phi @ orthogonal, p])
    penalty = np.hstack([RIDGE**0.5 * np.eye(free), np.zeros((free, columns))])
    solution = np.linalg.lstsq(np.vstack([rows, penalty]), np.vstack([t, np.zeros((free, t.shape[1]))]))[0]
    model.readout.kernel.assign(orthogonal @ solution[:free])
    if columns:
        model.readout.bias.assign(solution[free])
    if model.tail is not None:
        model.tail.kernel.assign(solution[free + 1 :])


def weight_map(model: RBF) -> dict[str, Weight]:
    """Our names to Keras variables; Keras keeps matrices as (in, out)."""
    found = {
        "hidden.centers": Weight(model.radial.centers, np.array, np.array),
        "output.weight": Weight(model.readout.kernel, np.transpose, np.transpose),
    }
    if model.radial.log_widths is not None:
        found["hidden.log_widths"] = Weight(model.radial.log_widths, np.array, np.array)
    if model.readout.use_bias:
        found["output.bias"] = Weight(model.readout.bias, np.array, np.array)
    if model.tail is not None:
        found["tail.weight"] = Weight(model.tail.kernel, np.transpose, np.transpose)
    return found
