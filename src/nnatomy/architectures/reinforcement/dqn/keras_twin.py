"""The deep Q-network in Keras: an independent twin, written from Mnih et al. (2015), van Hasselt et al. (2016) and Wang et al.
(2016). `weight_map` says which Keras variable holds each tensor of the architecture's state, and how it is transposed."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

LR, TAU, EVERY = 1e-3, 1.0, 2
BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-8


class Weight(NamedTuple):
    """A Keras variable, with the maps of an array from our layout to its own and back."""

    variable: Any
    to_keras: Callable[[np.ndarray], np.ndarray]
    from_keras: Callable[[np.ndarray], np.ndarray]


class Values(keras.Model):
    """Dense layers, all but the last of each chain with a ReLU; dueling joins a chain for V and one for A."""

    def __init__(self, actions: int, hidden: Sequence[int], dueling: bool, trainable: bool, dtype: str) -> None:
        super().__init__(dtype=dtype, trainable=trainable)
        self.dueling = dueling

        def chain(sizes: Sequence[int]) -> list[Any]:
            return [keras.layers.Dense(size, dtype=dtype, trainable=trainable) for size in sizes]

        if dueling:
            self.common = chain(hidden[:-1])
            self.value = chain([hidden[-1], 1])
            self.advantage = chain([hidden[-1], actions])
        else:
            self.values = chain([*hidden, actions])

    def call(self, s: Any) -> Any:
        if not self.dueling:
            return through(self.values, s)
        h = s
        for layer in self.common:
            h = ops.relu(layer(h))
        v, a = through(self.value, h), through(self.advantage, h)
        return v + a - ops.mean(a, axis=1, keepdims=True)


def through(chain: Sequence[Any], x: Any) -> Any:
    """The last layer's linear outputs, with a ReLU after each layer before it."""
    for layer in chain[:-1]:
        x = ops.relu(layer(x))
    return chain[-1](x)


class DQN(keras.Model):
    """The online network, and the target network, which no gradient changes."""

    def __init__(self, actions: int, hidden: Sequence[int], dueling: bool, double: bool, dtype: str) -> None:
        super().__init__(dtype=dtype)
        self.online = Values(actions, hidden, dueling, True, dtype)
        self.target = Values(actions, hidden, dueling, False, dtype)
        self.double, self.actions = double, actions
        self.updates = self.add_weight(shape=(), initializer="zeros", dtype="int32", trainable=False, name="updates")

    def call(self, s: Any, training: bool = False) -> Any:
        return self.online(s)


def build(inputs: int, actions: int, hidden: Sequence[int] = (64, 64), dueling: bool = True, double: bool = True) -> DQN:
    """Both networks with Keras' own initial weights, the target network's equal to the online one's."""
    dtype = keras.config.floatx()
    model = DQN(actions, hidden, dueling, double, dtype)
    for network in (model.online, model.target):
        network(np.zeros((1, inputs), dtype))
    model.target.set_weights(model.online.get_weights())
    return model


def loss(model: DQN, state: Any, action: Any, reward: Any, following: Any, discount: Any, training: bool = True) -> Any:
    """Batch mean of the Huber loss, with threshold 1, of r + discount Q'(s', a') - Q(s, a)."""
    ahead = model.target(following)
    chooser = model.online(following) if model.double else ahead
    best = ops.one_hot(ops.argmax(chooser, axis=1), model.actions, dtype=ahead.dtype)
    y = ops.stop_gradient(reward + discount * ops.sum(best * ahead, axis=1))
    q = ops.sum(ops.one_hot(action, model.actions, dtype=ahead.dtype) * model.online(state), axis=1)
    size = ops.abs(y - q)
    clipped = ops.minimum(size, 1.0)
    return ops.mean(0.5 * ops.square(clipped) + (size - clipped))


def learn(model: DQN, progress: float, state: Any, action: Any, reward: Any, following: Any, discount: Any) -> None:
    """One step of Adam, written out, on the online network; at every second step the target network becomes a copy of it."""
    import tensorflow as tf

    variables = model.online.trainable_variables
    if progress == 0:
        model.moments = [[np.zeros(v.shape), np.zeros(v.shape)] for v in variables]
        model.step = 0
    with tf.GradientTape() as tape:
        value = loss(model, state, action, reward, following, discount)
    model.step += 1
    for variable, moments, g in zip(variables, model.moments, tape.gradient(value, [v.value for v in variables])):
        g = np.asarray(g, np.float64)
        moments[0] = BETA_1 * moments[0] + (1 - BETA_1) * g
        moments[1] = BETA_2 * moments[1] + (1 - BETA_2) * g**2
        m, v = moments[0] / (1 - BETA_1**model.step), moments[1] / (1 - BETA_2**model.step)
        variable.assign((variable.numpy() - LR * m / (np.sqrt(v) + EPSILON)).astype(variable.numpy().dtype))
    model.updates.assign_add(1)
    if int(model.updates.numpy()) % EVERY == 0:
        fresh = zip(model.target.get_weights(), model.online.get_weights())
        model.target.set_weights([TAU * new + (1 - TAU) * old for old, new in fresh])


def weight_map(model: DQN) -> dict[str, Weight]:
    """Our names to Keras variables; Keras keeps a linear layer's matrix as (in, out)."""
    found: dict[str, Weight] = {}
    for name, network in (("online", model.online), ("target", model.target)):
        for part in ("common", "value", "advantage") if network.dueling else ("values",):
            for k, dense in enumerate(getattr(network, part)):
                place = f"{name}.{part}.{2 * k}"  # every second layer is a ReLU
                found[f"{place}.weight"] = Weight(dense.kernel, np.transpose, np.transpose)
                found[f"{place}.bias"] = Weight(dense.bias, np.array, np.array)
    found["updates"] = Weight(model.updates, np.array, np.array)
    return found
