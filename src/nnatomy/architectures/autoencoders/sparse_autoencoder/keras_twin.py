"""Sparse autoencoders in Keras: an independent twin, written from Ng (2011), Conerly et al. (2024) and Makhzani and Frey
(2013). `weight_map` says which Keras variable holds each tensor of the architecture's state."""

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


class SparseAutoencoder(keras.Model):
    """Two dense layers; the first one's sums become a code that is sparse by a penalty or by a choice of the k largest."""

    def __init__(self, features: int, units: int, sparsity: str, weight: float, rho: float, k: int, dtype: str) -> None:
        super().__init__(dtype=dtype)
        self.features, self.units, self.sparsity = features, units, sparsity
        self.weight, self.rho, self.k = weight, rho, k
        self.encoder = layers.Dense(units, dtype=dtype, name="encoder")
        self.decoder = layers.Dense(features, dtype=dtype, name="decoder")

    def flat(self, x: Any) -> Any:
        return ops.reshape(x, (-1, self.features))

    def code(self, x: Any) -> Any:
        z = self.encoder(self.flat(x))
        if self.sparsity != "topk":
            return ops.sigmoid(z) if self.sparsity == "kl" else ops.relu(z)
        _, places = ops.top_k(z, self.k)
        return z * ops.sum(ops.one_hot(places, self.units, dtype=z.dtype), axis=1)

    def penalty(self, h: Any) -> Any:
        """weight sum_j KL(rho || r_j), weight mean sum_j h_j |w_j|, or 0."""
        if self.sparsity == "kl":
            r, rho = ops.clip(ops.mean(h, axis=0), 1e-7, 1 - 1e-7), self.rho
            entropy = -rho * math.log(rho) - (1 - rho) * math.log(1 - rho)
            return self.weight * ops.sum(-rho * ops.log(r) - (1 - rho) * ops.log(1 - r) - entropy)
        if self.sparsity == "l1":
            norms = ops.sqrt(ops.sum(ops.square(self.decoder.kernel), axis=1))
            return self.weight * ops.mean(ops.sum(h * norms, axis=1))
        return 0

    def call(self, x: Any, training: bool = False) -> Any:
        return ops.reshape(self.decoder(self.code(x)), ops.shape(x))


def build(
    features: int, units: int = 160, sparsity: str = "kl", weight: float = 3.0, rho: float = 0.1, k: int = 16
) -> SparseAutoencoder:
    """The autoencoder with Keras' own initial weights."""
    if sparsity not in ("kl", "l1", "topk"):
        raise ValueError(f"sparsity is 'kl', 'l1' or 'topk'. Received {sparsity!r}. Use sparsity='kl'.")
    dtype = keras.config.floatx()
    model = SparseAutoencoder(features, units, sparsity, weight, rho, k, dtype)
    model(np.zeros((1, features), dtype))
    return model


def loss(model: SparseAutoencoder, x: Any, targets: Any, training: bool = True) -> Any:
    """Half of the squared error, summed over features and averaged over examples, plus the penalty of the code."""
    h = model.code(x)
    errors = ops.square(model.decoder(h) - model.flat(targets))
    return ops.mean(ops.sum(errors, axis=1)) / 2 + model.penalty(h)


def weight_map(model: SparseAutoencoder) -> dict[str, Weight]:
    """Our names to Keras variables; Keras keeps matrices as (in, out)."""
    found = {}
    for name, layer in (("encoder", model.encoder), ("decoder", model.decoder)):
        found[f"{name}.weight"] = Weight(layer.kernel, np.transpose, np.transpose)
        found[f"{name}.bias"] = Weight(layer.bias, np.array, np.array)
    return found
