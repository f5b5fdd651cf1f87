"""The denoising autoencoder in Keras: an independent twin, written from Vincent et al. (2008) and Vincent et al. (2010).
`weight_map` says which Keras variable holds each tensor of the architecture's state."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import layers, ops


class Weight(NamedTuple):
    """A Keras variable, with the maps of an array from our layout to its own and back."""

    variable: Any
    to_keras: Callable[[np.ndarray], np.ndarray]
    from_keras: Callable[[np.ndarray], np.ndarray]


class DenoisingAutoencoder(keras.Model):
    """Corruption, a dense layer with an activation, and a linear one, whose kernel may be the first one's transposed."""

    def __init__(
        self,
        features: int,
        units: int,
        noise: str,
        level: float,
        activation: str,
        tied: bool,
        low: float,
        high: float,
        dtype: str,
    ) -> None:
        super().__init__(dtype=dtype)
        self.features, self.noise, self.level, self.low, self.high = features, noise, level, low, high
        self.encoder = layers.Dense(units, activation, dtype=dtype, name="encoder")
        self.kernel: Any = None
        if not tied:
            self.kernel = self.add_weight(shape=(units, features), initializer="glorot_uniform", name="decoder_kernel")
        self.bias = self.add_weight(shape=(features,), initializer="zeros", name="decoder_bias")

    def corrupt(self, x: Any, noise: Any) -> Any:
        """Gaussian: x + level (high - low) noise. Else a draw below `level` sets a number to low, or to low or high."""
        if self.noise == "gaussian":
            return x + self.level * (self.high - self.low) * noise
        low, high = ops.full_like(x, self.low), ops.full_like(x, self.high)
        if self.noise == "masking":
            return ops.where(noise < self.level, low, x)
        return ops.where(noise >= self.level, x, ops.where(noise >= self.level / 2, high, low))

    def call(self, x: Any, noise: Any = None, training: bool = False) -> Any:
        given = x if noise is None else self.corrupt(x, noise)
        h = self.encoder(ops.reshape(given, (-1, self.features)))
        kernel = ops.transpose(self.encoder.kernel) if self.kernel is None else self.kernel
        return ops.reshape(ops.matmul(h, kernel) + self.bias, ops.shape(x))


def build(
    shape: tuple[int, ...],
    units: int = 512,
    noise: str = "gaussian",
    level: float = 0.5,
    activation: str = "relu",
    tied: bool = False,
    low: float = 0.0,
    high: float = 1.0,
) -> DenoisingAutoencoder:
    """The autoencoder with Keras' own initial weights."""
    if noise not in ("gaussian", "masking", "salt_and_pepper"):
        raise ValueError(f"noise is 'gaussian', 'masking' or 'salt_and_pepper'. Received {noise!r}. Use noise='gaussian'.")
    if activation not in ("sigmoid", "tanh", "relu"):
        raise ValueError(f"activation is 'sigmoid', 'tanh' or 'relu'. Received {activation!r}. Use activation='relu'.")
    dtype = keras.config.floatx()
    model = DenoisingAutoencoder(math.prod(shape), units, noise, level, activation, tied, low, high, dtype)
    model(np.zeros((1, *shape), dtype))
    return model


def loss(model: DenoisingAutoencoder, x: Any, noise: Any, training: bool = True) -> Any:
    """Mean squared error of the reconstruction of the clean x."""
    return ops.mean(ops.square(model(x, noise, training=training) - x))


def weight_map(model: DenoisingAutoencoder) -> dict[str, Weight]:
    """Our names to Keras variables; Keras keeps matrices as (in, out)."""
    found = {
        "encoder.weight": Weight(model.encoder.kernel, np.transpose, np.transpose),
        "encoder.bias": Weight(model.encoder.bias, np.array, np.array),
        "decoder.bias": Weight(model.bias, np.array, np.array),
    }
    return found | ({} if model.kernel is None else {"decoder.weight": Weight(model.kernel, np.transpose, np.transpose)})
