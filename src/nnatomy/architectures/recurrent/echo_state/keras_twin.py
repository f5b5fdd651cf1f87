"""The echo state network in Keras: an independent twin, written from Jaeger (2001) and Jaeger et al. (2007).
`weight_map` says which Keras variable holds each tensor of the architecture's state."""

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


class EchoState(keras.Model):
    """A reservoir that is never trained, r <- (1 - a) r + a tanh(r A + x B + c), and a dense layer on its states."""

    def __init__(
        self,
        inputs: int,
        hidden: int,
        outputs: int,
        each: bool,
        washout: int,
        feedback: bool,
        horizon: int,
        direct: bool,
        leak: float,
        dtype: str,
    ) -> None:
        super().__init__(dtype=dtype)
        self.hidden, self.each, self.washout = hidden, each, washout
        self.feedback, self.horizon, self.direct, self.leak = feedback, horizon, direct, leak

        def drawn(name: str, *shape: int) -> Any:
            return self.add_weight(shape=shape, initializer="glorot_normal", trainable=False, name=name)

        self.A, self.B = drawn("A", hidden, hidden), drawn("B", inputs, hidden)
        self.c = self.add_weight(shape=(hidden,), initializer="zeros", trainable=False, name="c")
        self.readout = layers.Dense(outputs, dtype=dtype, name="output")
        self.seen: list[tuple[np.ndarray, np.ndarray]] = []

    def step(self, r: Any, x: Any) -> Any:
        return (1 - self.leak) * r + self.leak * ops.tanh(ops.matmul(r, self.A) + ops.matmul(x, self.B) + self.c)

    def states(self, x: Any) -> list[Any]:
        """The state after each step of x, from a state of zeros."""
        r = ops.zeros((ops.shape(x)[0], self.hidden), x.dtype)
        found = []
        for t in range(x.shape[1]):
            r = self.step(r, x[:, t])
            found.append(r)
        return found

    def seen_by_readout(self, r: Any, x: Any) -> Any:
        return ops.concatenate([r, x], axis=-1) if self.direct else r

    def call(self, x: Any, training: bool = False) -> Any:
        states = self.states(x)
        if self.each and not self.feedback:
            return self.readout(self.seen_by_readout(ops.stack(states, axis=1), x))
        r = states[-1]
        y = self.readout(self.seen_by_readout(r, x[:, -1]))
        if not self.feedback:
            return y
        outputs = [y]
        for _ in range(1, self.horizon):
            r = self.step(r, y)
            y = self.readout(self.seen_by_readout(r, y))
            outputs.append(y)
        return ops.stack(outputs, axis=1)


def build(
    inputs: int,
    hidden: int,
    outputs: int,
    readout: str = "last",
    washout: int = 0,
    feedback: bool = False,
    horizon: int = 1,
    direct: bool = False,
    radius: float = 0.9,
    leak: float = 1.0,
    connectivity: float = 0.1,
    input_scale: float = 1.0,
    bias_scale: float = 0.0,
) -> EchoState:
    """The network; how its reservoir is drawn does not matter, since states are loaded."""
    if readout not in ("last", "each"):
        raise ValueError(f"readout is 'last' or 'each'. Received {readout!r}. Use readout='last'.")
    if feedback and inputs != outputs:
        raise ValueError(f"A network driven by its own outputs has inputs=outputs. Received {inputs} and {outputs}.")
    dtype = keras.config.floatx()
    model = EchoState(inputs, hidden, outputs, readout == "each", washout, feedback, horizon, direct, leak, dtype)
    model(np.zeros((1, 2, inputs), dtype))
    return model


def loss(model: EchoState, x: Any, targets: Any, training: bool = True) -> Any:
    """Mean squared error; with an output for each step, those of the washout do not count."""
    y = model(x, training=training)
    errors = ops.square(y - ops.reshape(targets, ops.shape(y)))
    return ops.mean(errors[:, model.washout :] if model.each and not model.feedback else errors)


def learn(model: EchoState, progress: float, x: Any, targets: Any) -> None:
    """Ridge regression on the states seen since progress was 0, as least squares with rows sqrt(RIDGE) I below them."""
    if progress == 0:
        model.seen = []
    states = model.states(x)
    columns = model.readout.units
    if model.each and not model.feedback:
        w = model.washout
        h = model.seen_by_readout(ops.stack(states, axis=1), x)[:, w:]
        t = targets[:, w:]
    else:
        h = model.seen_by_readout(states[-1], x[:, -1])
        t = targets[:, 0] if model.feedback else targets
    h = np.asarray(h, np.float64)
    model.seen.append((h.reshape(-1, h.shape[-1]), np.asarray(t, np.float64).reshape(-1, columns)))
    H, T = (np.concatenate(parts) for parts in zip(*model.seen))
    n = H.shape[1]
    rows = np.block([[H, np.ones((len(H), 1))], [np.sqrt(RIDGE) * np.eye(n), np.zeros((n, 1))]])
    found = np.linalg.lstsq(rows, np.pad(T, [(0, n), (0, 0)]), rcond=None)[0]
    model.readout.kernel.assign(found[:-1])
    model.readout.bias.assign(found[-1])


def weight_map(model: EchoState) -> dict[str, Weight]:
    """Our names to Keras variables; Keras keeps matrices as (in, out)."""
    return {
        "reservoir.W": Weight(model.A, np.transpose, np.transpose),
        "reservoir.Wfb" if model.feedback else "reservoir.Win": Weight(model.B, np.transpose, np.transpose),
        "reservoir.bias": Weight(model.c, np.array, np.array),
        "output.weight": Weight(model.readout.kernel, np.transpose, np.transpose),
        "output.bias": Weight(model.readout.bias, np.array, np.array),
    }
