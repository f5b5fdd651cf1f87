"""The autoencoder in Keras: an independent twin, written from Hinton & Salakhutdinov (2006).
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
    "identity": keras.activations.linear,
    "relu": keras.activations.relu,
    "tanh": keras.activations.tanh,
    "sigmoid": keras.activations.sigmoid,
    "gelu": gelu,
    "silu": keras.activations.silu,
    "elu": keras.activations.elu,
    "leaky_relu": leaky_relu,
    "selu": keras.activations.selu,
}


class Turned(keras.layers.Layer):
    """The linear layer x A + b that is given its matrix A and owns only its bias."""

    def __init__(self, outputs: int, dtype: str, name: str) -> None:
        super().__init__(dtype=dtype, name=name)
        self.bias = self.add_weight(shape=(outputs,), initializer="zeros", name="bias")

    def call(self, x: Any, matrix: Any) -> Any:
        return ops.matmul(x, matrix) + self.bias


class Autoencoder(keras.Model):
    """features -> hidden -> code -> reversed hidden -> features; the code layer is linear."""

    def __init__(
        self,
        features: int,
        hidden: Sequence[int],
        code: int,
        activation: str,
        output_activation: str,
        tied: bool,
        dtype: str,
    ) -> None:
        super().__init__(dtype=dtype)
        if output_activation not in ("identity", "sigmoid"):
            raise ValueError(f"output_activation must be 'identity' or 'sigmoid', got {output_activation!r}")
        self.tied = tied
        self.activation, self.output_activation = ACTIVATIONS[activation], ACTIVATIONS[output_activation]
        down, up = [*hidden, code], [*reversed(hidden), features]
        self.encoder = [keras.layers.Dense(n, dtype=dtype, name=f"encoder_{k}") for k, n in enumerate(down)]
        if tied:
            self.decoder = [Turned(n, dtype, f"decoder_{k}") for k, n in enumerate(up)]
        else:
            self.decoder = [keras.layers.Dense(n, dtype=dtype, name=f"decoder_{k}") for k, n in enumerate(up)]

    def encode(self, x: Any) -> Any:
        for layer in self.encoder[:-1]:
            x = self.activation(layer(x))
        return self.encoder[-1](x)

    def decode(self, x: Any) -> Any:
        pairs = list(zip(self.decoder, reversed(self.encoder), strict=True))
        for layer, source in pairs:
            x = layer(x, ops.transpose(source.kernel)) if self.tied else layer(x)
            x = self.output_activation(x) if layer is pairs[-1][0] else self.activation(x)
        return x

    def call(self, x: Any) -> Any:
        shape = ops.shape(x)
        return ops.reshape(self.decode(self.encode(ops.reshape(x, (shape[0], -1)))), shape)


def build(
    features: int,
    hidden: Sequence[int] = (64,),
    code: int = 16,
    activation: str = "relu",
    output_activation: str = "identity",
    tied: bool = False,
) -> Autoencoder:
    """The model with Keras' own initial weights; activation 'identity' gives the linear autoencoder."""
    dtype = keras.config.floatx()
    model = Autoencoder(features, hidden, code, activation, output_activation, tied, dtype)
    model(np.zeros((1, features), dtype))
    return model


def loss(model: Autoencoder, x: Any, targets: Any, training: bool = True) -> Any:
    """Mean squared error of the reconstruction, which has the shape of x."""
    y = model(x, training=training)
    return ops.mean(ops.square(y - ops.cast(targets, y.dtype)))


def weight_map(model: Autoencoder) -> dict[str, Weight]:
    """Our names to Keras variables; Keras keeps a linear layer's matrix as (in, out)."""
    weights: dict[str, Weight] = {}
    for part, stack in (("encoder", model.encoder), ("decoder", model.decoder)):
        for k, layer in enumerate(stack):
            if not isinstance(layer, Turned):
                weights[f"{part}.{k}.weight"] = Weight(layer.kernel, np.transpose, np.transpose)
            weights[f"{part}.{k}.bias"] = Weight(layer.bias, np.array, np.array)
    return weights
