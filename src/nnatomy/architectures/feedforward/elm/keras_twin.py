"""The extreme learning machine in Keras: an independent twin, written from Huang, Zhu and Siew (2006).
`weight_map` says which Keras variable holds each tensor of the architecture's state, and how it is transposed."""

from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

RIDGE = 10.0


class Weight(NamedTuple):
    """A Keras variable, with the maps of an array from our layout to its own and back."""

    variable: Any
    to_keras: Callable[[np.ndarray], np.ndarray]
    from_keras: Callable[[np.ndarray], np.ndarray]


class RandomNodes(keras.layers.Layer):
    """Nodes whose weights are drawn once: tanh or sigmoid of x A + b, or exp(-b |x - a|^2)."""

    def __init__(self, features: int, hidden: int, activation: str, **kwargs: Any) -> None:
        super().__init__(trainable=False, **kwargs)
        if activation not in ("tanh", "sigmoid", "rbf"):
            raise ValueError(f"activation must be 'tanh', 'sigmoid' or 'rbf', got {activation!r}")
        self.activation = activation
        self.a = self.add_weight(shape=(features, hidden), initializer="random_normal", trainable=False)
        self.b = self.add_weight(shape=(hidden,), initializer="random_uniform", trainable=False)

    def call(self, x: Any) -> Any:
        if self.activation == "rbf":
            gaps = ops.expand_dims(x, 2) - ops.expand_dims(self.a, 0)
            return ops.exp(-self.b * ops.sum(ops.square(gaps), axis=1))
        z = ops.matmul(x, self.a) + self.b
        return ops.tanh(z) if self.activation == "tanh" else ops.sigmoid(z)


class ELM(keras.Model):
    """A dense layer without activation on random nodes."""

    def __init__(self, features: int, hidden: int, outputs: int, activation: str, bias: bool, dtype: str) -> None:
        super().__init__(dtype=dtype)
        self.nodes = RandomNodes(features, hidden, activation, dtype=dtype, name="hidden")
        self.readout = keras.layers.Dense(outputs, use_bias=bias, dtype=dtype, name="output")
        self.outputs_wanted = outputs
        self.seen_h: list[np.ndarray] = []
        self.seen_t: list[np.ndarray] = []

    def call(self, x: Any) -> Any:
        return self.readout(self.nodes(x))


def build(
    features: int, hidden: int, outputs: int, activation: str = "sigmoid", scale: float = 1.0, bias: bool = False
) -> ELM:
    """The network; `scale` concerns only how the random weights are drawn, and these are loaded."""
    dtype = keras.config.floatx()
    model = ELM(features, hidden, outputs, activation, bias, dtype)
    model(np.zeros((1, features), dtype))
    return model


def wanted(model: ELM, targets: Any, dtype: Any) -> Any:
    """One column a class with a 1 where an example belongs, or the numbers to fit."""
    if "int" in str(targets.dtype):
        return ops.one_hot(targets, model.outputs_wanted, dtype=dtype)
    return ops.reshape(targets, (-1, model.outputs_wanted))


def loss(model: ELM, x: Any, targets: Any, training: bool = True) -> Any:
    """Squared errors, summed over outputs and averaged over examples."""
    y = model(x, training=training)
    return ops.mean(ops.sum(ops.square(y - wanted(model, targets, y.dtype)), axis=1))


def learn(model: ELM, progress: float, x: Any, targets: Any) -> None:
    """Solve for the output weights with all examples since progress was 0, by the normal equations in double precision."""
    if progress == 0:
        model.seen_h, model.seen_t = [], []
    h = model.nodes(x)
    model.seen_h.append(np.asarray(h, np.float64))
    model.seen_t.append(np.asarray(wanted(model, targets, h.dtype), np.float64))
    H, T = np.concatenate(model.seen_h), np.concatenate(model.seen_t)
    penalty = RIDGE * np.eye(H.shape[1])
    if model.readout.use_bias:  # a column of ones that the ridge leaves alone
        H = np.hstack([H, np.ones((len(H), 1))])
        penalty = np.pad(penalty, (0, 1))
    B = np.linalg.solve(H.T @ H + penalty, H.T @ T)
    model.readout.kernel.assign(B[: model.readout.kernel.shape[0]])
    if model.readout.use_bias:
        model.readout.bias.assign(B[-1])


def weight_map(model: ELM) -> dict[str, Weight]:
    """Our names to Keras variables; Keras keeps matrices as (in, out)."""
    found = {
        "hidden.weight": Weight(model.nodes.a, np.transpose, np.transpose),
        "hidden.bias": Weight(model.nodes.b, np.array, np.array),
        "output.weight": Weight(model.readout.kernel, np.transpose, np.transpose),
    }
    return found | ({"output.bias": Weight(model.readout.bias, np.array, np.array)} if model.readout.use_bias else {})
