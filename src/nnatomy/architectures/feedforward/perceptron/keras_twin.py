"""The perceptron in Keras: an independent twin, written from Rosenblatt (1962) and Widrow & Hoff (1960).
`weight_map` says which Keras variable holds each tensor of the architecture's state, and how it is transposed."""

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


class Perceptron(keras.Model):
    """Linear scores s = x W^T + b, one per output."""

    def __init__(self, outputs: int, rule: str, dtype: str) -> None:
        super().__init__(dtype=dtype)
        if rule not in ("perceptron", "delta"):
            raise ValueError(f"rule must be 'perceptron' or 'delta', got {rule!r}")
        self.rule = rule
        self.scores = keras.layers.Dense(outputs, kernel_initializer="zeros", dtype=dtype, name="scores")

    def call(self, x: Any) -> Any:
        return self.scores(x)


def build(features: int, outputs: int = 1, rule: str = "perceptron") -> Perceptron:
    """The model, weights at zero."""
    dtype = keras.config.floatx()
    model = Perceptron(outputs, rule, dtype)
    model(np.zeros((1, features), dtype))
    return model


def loss(model: Perceptron, x: Any, targets: Any, training: bool = True) -> Any:
    """Batch mean of the perceptron criterion max(0, -t s) or of (t - s)^2 / 2, summed over outputs, t in {-1, +1}."""
    scores = model(x, training=training)
    t = signs(scores, targets)
    if model.rule == "delta":
        return ops.mean(ops.sum(0.5 * ops.square(t - scores), axis=1))
    margin = t * scores  # `<=`: a score of exactly zero counts as wrong and is corrected
    return ops.mean(ops.sum(ops.where(margin <= 0, -margin, ops.zeros_like(margin)), axis=1))


def signs(scores: Any, targets: Any) -> Any:
    """+1 for the output of an example's class and -1 for the others; a single output belongs to class 1."""
    if scores.shape[1] == 1:
        own = ops.expand_dims(ops.cast(targets, scores.dtype), 1)
    else:
        own = ops.one_hot(targets, scores.shape[1], dtype=scores.dtype)
    return 2 * own - 1


def learn(model: Perceptron, progress: float, x: Any, targets: Any) -> None:
    """One correction for a batch: the sum over its examples of t x where t s <= 0, or of 0.02 (t - s) x / (|x|^2 + 1)."""
    scores = model(x)
    t = signs(scores, targets)
    if model.rule == "delta":
        step = 0.02 * (t - scores) / (1 + ops.sum(ops.square(x), axis=1, keepdims=True))
    else:
        step = ops.where(t * scores <= 0, t, ops.zeros_like(t))
    model.scores.kernel.assign_add(ops.transpose(x) @ step)
    model.scores.bias.assign_add(ops.sum(step, axis=0))


def weight_map(model: Perceptron) -> dict[str, Weight]:
    """Our names to Keras variables; Keras keeps a linear layer's matrix as (in, out)."""
    return {
        "weight": Weight(model.scores.kernel, np.transpose, np.transpose),
        "bias": Weight(model.scores.bias, np.array, np.array),
    }
