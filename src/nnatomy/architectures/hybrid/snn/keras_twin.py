"""Spiking networks in Keras: an independent twin, written from Neftci, Mostafa and Zenke (2019) for surrogate gradients,
and from Morrison, Diesmann and Gerstner (2008) and Diehl and Cook (2015) for learning by the times of spikes.
`weight_map` says which Keras variable holds each tensor of the architecture's state, and how it is transposed."""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import layers, ops


class Weight(NamedTuple):
    """A Keras variable, with the maps of an array from our layout to its own and back."""

    variable: Any
    to_keras: Callable[[np.ndarray], np.ndarray]
    from_keras: Callable[[np.ndarray], np.ndarray]


class Coding(NamedTuple):
    """How numbers become what enters at each step."""

    kind: str
    steps: int
    mean: Sequence[float]
    std: Sequence[float]

    def unit(self, x: Any) -> Any:
        """Numbers between 0 and 1, flattened."""
        shape, dtype = (-1, *[1] * (len(x.shape) - 2)), keras.backend.standardize_dtype(x.dtype)
        mean, std = (np.array(values, dtype).reshape(shape) for values in (self.mean, self.std))
        p = ops.clip(x * std + mean, 0, 1)
        return ops.reshape(p, (ops.shape(x)[0], -1))

    def latency(self, p: Any) -> list[Any]:
        """A spike at step 1 + floor((1 - p) (T - 1) + 1/2), none for 0."""
        step = 1 + ops.floor((1 - p) * (self.steps - 1) + 0.5)
        step = ops.where(p > 0, step, ops.zeros_like(step))
        return [ops.cast(step == t, p.dtype) for t in range(1, self.steps + 1)]

    def inputs(self, x: Any, training: bool) -> list[Any]:
        if self.kind == "direct":
            return [ops.reshape(x, (ops.shape(x)[0], -1))] * self.steps
        p = self.unit(x)
        if self.kind == "latency":
            return self.latency(p)
        if training:
            return [ops.cast(keras.random.uniform(ops.shape(p), dtype=p.dtype) < p, p.dtype) for _ in range(self.steps)]
        total = [ops.floor(t * p) for t in range(self.steps + 1)]
        return [after - before for before, after in pairwise(total)]


def spike_function(surrogate: str, slope: float) -> Callable[[Any], Any]:
    """1 where u > 0, else 0, with the derivative of a soft step."""

    @ops.custom_gradient  # type: ignore[untyped-decorator]
    def spike(u: Any) -> Any:
        def backward(*args: Any, upstream: Any = None) -> Any:
            upstream = args[0] if upstream is None else upstream
            if surrogate == "atan":
                return upstream * (slope / 2) / (1 + ops.square(math.pi / 2 * slope * u))
            return upstream / ops.square(1 + slope * ops.abs(u))

        return ops.cast(u > 0, u.dtype), backward

    return spike


class Neurons(layers.Layer):
    """Leaky integrate-and-fire neurons: their decay and threshold, and one step of their membranes."""

    def __init__(self, beta: float, threshold: float, shape: tuple[int, ...], name: str, dtype: str) -> None:
        super().__init__(name=name, dtype=dtype)
        self.beta = self.add_weight(shape=(), initializer=keras.initializers.Constant(beta), trainable=False, name="beta")
        self.threshold = self.add_weight(
            shape=shape, initializer=keras.initializers.Constant(threshold), trainable=False, name="threshold"
        )
        self.built = True

    def call(self, u: Any, current: Any, fired: Any, reset: str) -> Any:
        fired = ops.stop_gradient(fired)
        if reset == "zero":
            u = (1 - fired) * u
        u = self.beta * u + current
        return u - self.threshold * fired if reset == "subtract" else u


class Surrogate(keras.Model):
    """Two layers of spiking neurons; output spikes are counted, or the greatest membranes are read."""

    def __init__(
        self, classes: int, hidden: int, beta: float, threshold: float, surrogate: str, slope: float, reset: str,
        readout: str, coding: Coding, dtype: str,
    ) -> None:  # fmt: skip
        super().__init__(dtype=dtype)
        self.spike, self.reset, self.readout, self.coding = spike_function(surrogate, slope), reset, readout, coding
        self.fc1, self.fc2 = layers.Dense(hidden, dtype=dtype), layers.Dense(classes, dtype=dtype)
        self.lif1, self.lif2 = (Neurons(beta, threshold, (), name, dtype) for name in ("lif1", "lif2"))

    def call(self, x: Any, training: bool = False) -> Any:
        u1 = s1 = ops.zeros((ops.shape(x)[0], self.fc1.units), x.dtype)
        u2 = s2 = ops.zeros((ops.shape(x)[0], self.fc2.units), x.dtype)
        spikes, membranes = [], []
        for given in self.coding.inputs(x, training):
            u1 = self.lif1(u1, self.fc1(given), s1, reset=self.reset)
            s1 = self.spike(u1 - self.lif1.threshold)
            u2 = self.lif2(u2, self.fc2(s1), s2, reset=self.reset if self.readout == "count" else "none")
            if self.readout == "count":
                s2 = self.spike(u2 - self.lif2.threshold)
            spikes.append(s2)
            membranes.append(u2)
        return ops.sum(ops.stack(spikes), axis=0) if self.readout == "count" else ops.max(ops.stack(membranes), axis=0)


class Competition(keras.Model):
    """One layer of neurons that see numbers and their opposites, and have a class each."""

    def __init__(
        self, features: int, classes: int, hidden: int, beta: float, threshold: float, coding: Coding, dtype: str
    ) -> None:  # fmt: skip
        super().__init__(dtype=dtype)
        self.classes, self.coding = classes, coding
        uniform = keras.initializers.RandomUniform(0, 1)
        self.kernel = self.add_weight(shape=(2 * features, hidden), initializer=uniform, name="kernel")
        self.lif = Neurons(beta, threshold, (hidden,), "lif", dtype)

        def turns(shape: tuple[int, ...], dtype: Any = None) -> Any:
            return ops.cast(np.arange(hidden)[:, None] % classes, dtype)

        self.labels = self.add_weight(shape=(hidden, 1), initializer=turns, trainable=False, name="labels")

    def run(self, x: Any) -> tuple[list[Any], list[Any]]:
        """The input's spikes, and how far each membrane is above its threshold, at each step."""
        p = self.coding.unit(x)
        spikes = self.coding.latency(ops.concatenate([p, 1 - p], axis=1))
        u, excesses = ops.zeros((ops.shape(x)[0], self.kernel.shape[1]), x.dtype), []
        for s in spikes:
            u = self.lif(u, ops.matmul(s, self.kernel), ops.zeros_like(u), reset="none")
            excesses.append(u - self.lif.threshold)
        return spikes, excesses

    def call(self, x: Any, training: bool = False) -> Any:
        response, waiting = None, None
        for e in self.run(x)[1]:
            if response is None:
                response = e
            else:
                response = ops.where(waiting, ops.maximum(response, e), response)
            waiting = ops.max(response, axis=1, keepdims=True) <= 0
        member = ops.equal(self.labels, ops.arange(self.classes, dtype=self.labels.dtype))  # (hidden, classes)
        each = ops.where(member, ops.expand_dims(response, 2), -np.inf)
        unclaimed = ops.min(response, axis=1, keepdims=True) - 1
        return ops.where(ops.any(member, axis=0), ops.max(each, axis=1), unclaimed)


def build(
    learning: str = "surrogate",
    features: int = 784,
    classes: int = 10,
    hidden: int = 100,
    steps: int = 25,
    beta: float = 0.9,
    threshold: float = 1.0,
    surrogate: str = "atan",
    slope: float | None = None,
    reset: str = "subtract",
    coding: str = "direct",
    readout: str = "count",
    mean: Sequence[float] = (0.0,),
    std: Sequence[float] = (1.0,),
) -> Surrogate | Competition:
    """The network with Keras' own initial weights."""
    allowed = {
        "learning": (learning, ("surrogate", "stdp")),
        "surrogate": (surrogate, ("atan", "fast_sigmoid")),
        "reset": (reset, ("subtract", "zero", "none")),
        "coding": (coding, ("direct", "rate", "latency")),
        "readout": (readout, ("count", "membrane")),
    }
    for name, (value, values) in allowed.items():
        if value not in values:
            raise ValueError(f"{name} is one of {values}. Received {value!r}. Use {name}={values[0]!r}.")
    dtype, code = keras.config.floatx(), Coding(coding, steps, mean, std)
    model: Surrogate | Competition
    if learning == "stdp":
        model = Competition(features, classes, hidden, beta, threshold, code, dtype)
    else:
        alpha = {"atan": 2.0, "fast_sigmoid": 25.0}[surrogate] if slope is None else slope
        model = Surrogate(classes, hidden, beta, threshold, surrogate, alpha, reset, readout, code, dtype)
        model.fc1.build((None, features))
        model.fc2.build((None, hidden))
    model.built = True
    return model


def loss(model: keras.Model, x: Any, targets: Any, training: bool = True) -> Any:
    """Mean cross-entropy of the counts, membranes or responses."""
    scores = model(x, training=training)
    return ops.mean(keras.losses.sparse_categorical_crossentropy(ops.convert_to_tensor(targets), scores, from_logits=True))


def learn(
    model: Competition, progress: float, x: Any, targets: Any, a_plus: float = 0.2, a_minus: float = 0.2,
    trace: float = 0.9, homeostasis: float = 2.0,
) -> None:  # fmt: skip
    """Show a batch once, and sum over all pairs of spikes: those before the neuron's add weight, those after it take weight."""
    spikes, excesses = (np.stack([np.asarray(step) for step in found]) for found in model.run(x))
    steps, batch, hidden = excesses.shape
    toward, away, fired = np.zeros((hidden, spikes.shape[2])), np.zeros((hidden, spikes.shape[2])), np.zeros(hidden)
    for example in range(batch):
        crossed = np.flatnonzero((excesses[:, example] > 0).any(axis=1))
        if crossed.size:
            time = int(crossed[0])
            winner = int(excesses[time, example].argmax())
            fired[winner] += 1
            for t in range(steps):
                if t <= time:
                    toward[winner] += trace ** (time - t) * spikes[t, example]
                else:
                    away[winner] += trace ** (t - time - 1) * spikes[t, example]
    w = np.asarray(model.kernel).T
    model.kernel.assign(np.clip(w + a_plus * (1 - w) * toward - a_minus * w * away, 0, 1).T)
    model.lif.threshold.assign(np.asarray(model.lif.threshold) + homeostasis * (fired / batch - 1 / hidden))


def weight_map(model: Surrogate | Competition) -> dict[str, Weight]:
    """Our names to Keras variables; Keras keeps matrices as (in, out)."""

    def same(variable: Any) -> Weight:
        return Weight(variable, np.array, np.array)

    def turned(variable: Any) -> Weight:
        return Weight(variable, np.transpose, np.transpose)

    if isinstance(model, Competition):
        found = {"weight": turned(model.kernel), "labels": same(model.labels)}
        return found | {"lif.beta": same(model.lif.beta), "lif.threshold": same(model.lif.threshold)}
    found = {}
    for number, fc, lif in ((1, model.fc1, model.lif1), (2, model.fc2, model.lif2)):
        found |= {f"fc{number}.weight": turned(fc.kernel), f"fc{number}.bias": same(fc.bias)}
        found |= {f"lif{number}.beta": same(lif.beta), f"lif{number}.threshold": same(lif.threshold)}
    return found
