"""Variational autoencoders in Keras: an independent twin, written from Kingma and Welling (2013), Higgins et al. (2017),
Sohn et al. (2015) and van den Oord et al. (2017). `weight_map` says where each tensor of the architecture's state is."""

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


class Network(keras.Model):
    """Encoder and decoder; between them a normal distribution, or a codebook where there are codes."""

    def __init__(
        self, shape: tuple[int, ...], latent: int, hidden: tuple[int, ...], gaussian: bool, beta: float, classes: int,
        codes: int, positions: int, commitment: float, dtype: str,
    ) -> None:  # fmt: skip
        super().__init__(dtype=dtype)
        self.features, self.latent, self.classes, self.codes = math.prod(shape), latent, classes, codes
        self.beta, self.commitment = beta, commitment
        heads = {"encoder.output": positions * latent} if codes else {"encoder.mean": latent, "encoder.logvar": latent}

        def dense(name: str, units: int, activation: str | None = None) -> layers.Dense:
            return layers.Dense(units, activation, dtype=dtype, name=name.replace(".", "_"))

        self.down = [dense(f"encoder.layers.{k}", units, "relu") for k, units in enumerate(hidden)]
        self.heads = [dense(name, units) for name, units in heads.items()]
        self.up = [dense(f"decoder.layers.{k}", units, "relu") for k, units in enumerate(reversed(hidden))]
        self.last = dense("decoder.output", self.features)
        self.logvar = self.codebook = None
        if gaussian:
            self.logvar = self.add_weight(shape=(1,), initializer="zeros", name="logvar")
        if codes:
            uniform = keras.initializers.RandomUniform(-1 / codes, 1 / codes)
            self.codebook = self.add_weight(shape=(codes, latent), initializer=uniform, name="codebook")

    def named(self) -> dict[str, Any]:
        """The dense layers by the names of the architecture's state."""
        ends = ("output",) if self.codes else ("mean", "logvar")
        found = {f"encoder.layers.{k}": layer for k, layer in enumerate(self.down)}
        found |= {f"encoder.{end}": layer for end, layer in zip(ends, self.heads, strict=True)}
        return found | {f"decoder.layers.{k}": layer for k, layer in enumerate(self.up)} | {"decoder.output": self.last}

    def with_label(self, x: Any, labels: Any) -> Any:
        if labels is None or not self.classes:
            return x
        return ops.concatenate([x, ops.one_hot(labels, self.classes, dtype=x.dtype)], axis=1)

    def encode(self, x: Any) -> list[Any]:
        for layer in self.down:
            x = layer(x)
        return [head(x) for head in self.heads]

    def decode(self, z: Any) -> Any:
        for layer in self.up:
            z = layer(z)
        return self.last(z)

    def sampled(self, x: Any, noise: Any, labels: Any) -> tuple[Any, Any, Any]:
        """Logits or means, and mean and logarithm of the variance of q(z | x)."""
        mean, logvar = self.encode(self.with_label(ops.reshape(x, (-1, self.features)), labels))
        z = mean if noise is None else mean + ops.sqrt(ops.exp(logvar)) * noise
        return self.decode(self.with_label(z, labels)), mean, logvar

    def quantized(self, x: Any) -> tuple[Any, Any, Any]:
        """The encoder's vectors (batch, positions, latent), the nearest codes, and which they are."""
        (flat,) = self.encode(ops.reshape(x, (-1, self.features)))
        vectors = ops.reshape(flat, (-1, flat.shape[1] // self.latent, self.latent))
        distances = ops.sum(ops.square(ops.expand_dims(vectors, 2) - self.codebook), axis=3)
        which = ops.argmin(distances, axis=2)
        return vectors, ops.take(self.codebook, which, axis=0), which

    def call(self, x: Any, noise: Any = None, labels: Any = None, training: bool = False) -> Any:
        if self.codes:
            vectors, nearest, which = self.quantized(x)
            y, rest = self.decode(ops.reshape(nearest, (-1, vectors.shape[1] * self.latent))), [which]
        else:
            y, *rest = self.sampled(x, noise, labels)
        shown = ops.sigmoid(y) if self.logvar is None else y
        return (ops.reshape(shown, ops.shape(x)), *rest)

    def surprise(self, y: Any, x: Any) -> Any:
        """-ln p(x | z) of each example."""
        x = ops.reshape(x, (-1, self.features))
        if self.logvar is None:
            return ops.sum(ops.softplus(y) - x * y, axis=1)
        each = math.log(2 * math.pi) + self.logvar + ops.square(x - y) / ops.exp(self.logvar)
        return ops.sum(each, axis=1) / 2


def build(
    shape: tuple[int, ...], latent: int = 20, hidden: tuple[int, ...] = (400,), decoder: str = "bernoulli", beta: float = 1.0,
    classes: int = 0, codes: int = 0, positions: int = 16, commitment: float = 0.25,
) -> Network:  # fmt: skip
    """The VAE, or with codes the VQ-VAE, with Keras' own initial weights."""
    if decoder not in ("bernoulli", "gaussian"):
        raise ValueError(f"decoder must be 'bernoulli' or 'gaussian', got {decoder!r}")
    if codes and (classes or beta != 1):
        raise ValueError("with codes there are neither classes nor a beta")
    dtype, gaussian = keras.config.floatx(), decoder == "gaussian"
    model = Network(tuple(shape), latent, tuple(hidden), gaussian, beta, classes, codes, positions, commitment, dtype)
    labels = {"labels": np.zeros(1, "int64")} if classes else {}
    model(np.zeros((1, *shape), dtype), **labels)
    return model


def loss(model: Network, x: Any, *rest: Any, training: bool = True) -> Any:
    """Minus the bound in nats, the mean over examples; rest is noise and, if there are classes, labels."""
    if not model.codes:
        y, mean, logvar = model.sampled(x, rest[0], rest[1] if model.classes else None)
        kl = ops.sum(ops.square(mean) + ops.exp(logvar) - logvar - 1, axis=1) / 2
        return ops.mean(model.surprise(y, x) + model.beta * kl)
    vectors, nearest, _ = model.quantized(x)
    straight = vectors + ops.stop_gradient(nearest - vectors)
    y = model.decode(ops.reshape(straight, (-1, vectors.shape[1] * model.latent)))
    moved = ops.sum(ops.square(ops.stop_gradient(vectors) - nearest), axis=(1, 2))
    committed = ops.sum(ops.square(vectors - ops.stop_gradient(nearest)), axis=(1, 2))
    return ops.mean(model.surprise(y, x) + moved + model.commitment * committed)


def weight_map(model: Network) -> dict[str, Weight]:
    """Our names to Keras variables; Keras keeps a linear layer's matrix as (in, out)."""
    found = {f"{name}.weight": Weight(layer.kernel, np.transpose, np.transpose) for name, layer in model.named().items()}
    found |= {f"{name}.bias": Weight(layer.bias, np.array, np.array) for name, layer in model.named().items()}
    for name, variable in (("decoder.logvar", model.logvar), ("codebook.weight", model.codebook)):
        if variable is not None:
            found[name] = Weight(variable, np.array, np.array)
    return found
