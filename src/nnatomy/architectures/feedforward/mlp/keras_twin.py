"""The multilayer perceptron in Keras: an independent twin, written from Rumelhart, Hinton & Williams (1986).
`weight_map` says which Keras variable holds each tensor of the architecture's state, and how it is transposed."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops


class Weight(NamedTuple):
    """A Keras variable, with the maps of an array from our layout to its own and back."""

    variable: Any
    to_keras: Callable[[np.ndarray], np.ndarray]
    from_keras: Callable[[np.ndarray], np.ndarray]


def gelu(x: Any) -> Any:
    """x times the normal distribution function; TensorFlow's own rounds sqrt(2) to float32, even in float64."""
    return 0.5 * x * (1 + ops.erf(x / 2**0.5))


def leaky_relu(x: Any) -> Any:
    """Slope 0.01 below zero, PyTorch's default (Keras' is 0.2); TensorFlow's own rounds the slope to float32."""
    return ops.where(x > 0, x, 0.01 * x)


ACTIVATIONS: dict[str, Callable[[Any], Any]] = {
    "relu": keras.activations.relu,
    "tanh": keras.activations.tanh,
    "sigmoid": keras.activations.sigmoid,
    "gelu": gelu,
    "silu": keras.activations.silu,
    "elu": keras.activations.elu,
    "leaky_relu": leaky_relu,
    "selu": keras.activations.selu,
}


class BatchNorm(keras.layers.Layer):
    """Batch normalization that keeps the unbiased running variance, as PyTorch does; keras.layers' keeps the biased."""

    def build(self, shape: tuple[int, ...]) -> None:
        size = (shape[-1],)
        self.gamma = self.add_weight(shape=size, initializer="ones", name="gamma")
        self.beta = self.add_weight(shape=size, initializer="zeros", name="beta")
        self.moving_mean = self.add_weight(shape=size, initializer="zeros", trainable=False, name="moving_mean")
        self.moving_variance = self.add_weight(shape=size, initializer="ones", trainable=False, name="moving_variance")

    def call(self, x: Any, training: bool = False) -> Any:
        mean, variance = self.moving_mean, self.moving_variance
        if training:
            mean, variance = ops.mean(x, axis=0), ops.var(x, axis=0)
            n = ops.cast(ops.shape(x)[0], x.dtype)
            fixed_mean, fixed_variance = ops.stop_gradient(mean), ops.stop_gradient(variance) * n / (n - 1)
            self.moving_mean.assign(0.9 * self.moving_mean + 0.1 * fixed_mean)
            self.moving_variance.assign(0.9 * self.moving_variance + 0.1 * fixed_variance)
        return (x - mean) / ops.sqrt(variance + 1e-5) * self.gamma + self.beta


class Numbers(keras.layers.Layer):
    """Chosen columns by piecewise linear encoding, a linear layer for each of them, and ReLU (Gorishniy et al. 2022)."""

    def __init__(self, columns: Sequence[int], bins: int, embedding: int, dtype: str) -> None:
        super().__init__(dtype=dtype, name="numbers")
        self.columns, self.bins, self.embedding = list(columns), bins, embedding

    def build(self, shape: tuple[int, ...]) -> None:
        n = len(self.columns)
        self.edges = self.add_weight(shape=(n, self.bins + 1), initializer="zeros", trainable=False, name="edges")
        self.edges.assign(np.tile(np.linspace(-2, 2, self.bins + 1), (n, 1)))
        self.kernel = self.add_weight(shape=(n, self.bins, self.embedding), initializer="glorot_uniform", name="kernel")
        self.offset = self.add_weight(shape=(n, 1, self.embedding), initializer="zeros", name="offset")

    def call(self, x: Any) -> Any:
        chosen = ops.expand_dims(ops.take(x, self.columns, axis=1), -1)
        left, right = self.edges[:, :-1], self.edges[:, 1:]
        encoded = ops.minimum(ops.maximum((chosen - left) / (right - left), 0.0), 1.0)
        mapped = ops.relu(ops.einsum("njb,jbe->nje", encoded, self.kernel) + self.offset[:, 0])
        return ops.reshape(mapped, (-1, len(self.columns) * self.embedding))


class MLP(keras.Model):
    """Per hidden layer: linear, normalization (if requested), activation, dropout; then a linear output layer."""

    def __init__(
        self, outputs: int, hidden: Sequence[int], activation: str, dropout: float, batch_norm: bool, dtype: str,
        numbers: Numbers | None,
    ) -> None:  # fmt: skip
        super().__init__(dtype=dtype)
        self.numbers = numbers
        sizes = [*hidden, outputs]
        self.linears = [keras.layers.Dense(size, dtype=dtype, name=f"linears_{k}") for k, size in enumerate(sizes)]
        self.norms = [BatchNorm(dtype=dtype, name=f"norms_{k}") for k in range(len(hidden))] if batch_norm else []
        self.dropouts = [keras.layers.Dropout(dropout, dtype=dtype, name=f"dropouts_{k}") for k in range(len(hidden))]
        self.activation = ACTIVATIONS[activation]

    def call(self, x: Any, training: bool = False) -> Any:
        if self.numbers is not None:
            x = ops.concatenate([x, self.numbers(x)], axis=1)
        for k, linear in enumerate(self.linears[:-1]):
            x = linear(x)
            if self.norms:
                x = self.norms[k](x, training=training)
            x = self.dropouts[k](self.activation(x), training=training)
        return self.linears[-1](x)


def build(
    features: int,
    outputs: int,
    hidden: Sequence[int] = (64, 64),
    activation: str = "relu",
    dropout: float = 0.0,
    batch_norm: bool = False,
    numbers: Sequence[int] = (),
    bins: int = 0,
    embedding: int = 8,
) -> MLP:
    """The model with Keras' own initial weights."""
    dtype = keras.config.floatx()
    embedded = Numbers(numbers, bins, embedding, dtype) if numbers and bins else None
    model = MLP(outputs, hidden, activation, dropout, batch_norm, dtype, embedded)
    model(np.zeros((2, features), dtype))
    return model


def loss(model: MLP, x: Any, targets: Any, training: bool = True) -> Any:
    """Mean cross-entropy for class ids [B], mean squared error for float targets [B, outputs]."""
    outputs = model(x, training=training)
    targets = ops.convert_to_tensor(targets)
    if keras.backend.is_float_dtype(targets.dtype):
        return ops.mean(ops.square(outputs - ops.cast(targets, outputs.dtype)))
    return ops.mean(keras.losses.sparse_categorical_crossentropy(targets, outputs, from_logits=True))


def weight_map(model: MLP) -> dict[str, Weight]:
    """Our names to Keras variables; Keras keeps a linear layer's matrix as (in, out)."""
    weights: dict[str, Weight] = {}
    if model.numbers is not None:
        weights["numbers.edges"] = Weight(model.numbers.edges, np.array, np.array)
        weights["numbers.weight"] = Weight(model.numbers.kernel, np.array, np.array)
        weights["numbers.bias"] = Weight(model.numbers.offset, np.array, np.array)
    for k, linear in enumerate(model.linears):
        weights[f"linears.{k}.weight"] = Weight(linear.kernel, np.transpose, np.transpose)
        weights[f"linears.{k}.bias"] = Weight(linear.bias, np.array, np.array)
    for k, norm in enumerate(model.norms):
        weights[f"norms.{k}.weight"] = Weight(norm.gamma, np.array, np.array)
        weights[f"norms.{k}.bias"] = Weight(norm.beta, np.array, np.array)
        weights[f"norms.{k}.running_mean"] = Weight(norm.moving_mean, np.array, np.array)
        weights[f"norms.{k}.running_var"] = Weight(norm.moving_variance, np.array, np.array)
    return weights
