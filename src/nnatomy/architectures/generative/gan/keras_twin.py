"""GANs in Keras: an independent twin, written from Goodfellow et al. (2014), Arjovsky et al. (2017), Gulrajani et al. (2017).
`weight_map` says which Keras variable holds each tensor of the architecture's state, and how it is transposed."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf
from keras import ops


class Weight(NamedTuple):
    """A Keras variable, with the maps of an array from our layout to its own and back."""

    variable: Any
    to_keras: Callable[[np.ndarray], np.ndarray]
    from_keras: Callable[[np.ndarray], np.ndarray]


class GAN(keras.Model):
    """Dense layers of both players; a call makes examples."""

    def __init__(
        self, noise: int, shape: tuple[int, ...], hidden: tuple[int, ...], objective: str, penalty: float, clip: float,
        bounds: tuple[float, float] | None, dtype: str,
    ) -> None:  # fmt: skip
        super().__init__(dtype=dtype)
        self.objective, self.penalty, self.clip, self.example, self.bounds = objective, penalty, clip, shape, bounds
        widths = {"generator": (*hidden[::-1], math.prod(shape)), "critic": (*hidden, 1)}
        self.players = {
            player: [keras.layers.Dense(width, dtype=dtype, name=f"{player}_{i}") for i, width in enumerate(sizes)]
            for player, sizes in widths.items()
        }

        for player, width in (("generator", noise), ("critic", math.prod(shape))):
            for layer in self.players[player]:
                layer.build((None, width))
                width = layer.units
        self.built = True

    def call(self, z: Any) -> Any:
        for layer in self.players["generator"][:-1]:
            z = ops.relu(layer(z))
        made = self.players["generator"][-1](z)
        if self.bounds is not None:
            made = self.bounds[0] + ops.sigmoid(made) * (self.bounds[1] - self.bounds[0])
        return ops.reshape(made, (-1, *self.example))

    def score(self, x: Any) -> Any:
        x = ops.reshape(x, (-1, math.prod(self.example)))
        for layer in self.players["critic"][:-1]:
            x = layer(x)
            x = ops.maximum(x, 0.2 * x)  # leaky_relu of TensorFlow rounds its slope to float32
        return ops.squeeze(self.players["critic"][-1](x), 1)


def build(
    noise: int, shape: tuple[int, ...], hidden: tuple[int, ...] = (128, 128), objective: str = "wgan-gp", penalty: float = 10.0,
    clip: float = 0.01, bounds: tuple[float, float] | None = None,
) -> GAN:  # fmt: skip
    return GAN(noise, tuple(shape), tuple(hidden), objective, penalty, clip, bounds, keras.config.floatx())


def loss(model: GAN, x: Any, z: Any, mix: Any, training: bool = True) -> Any:
    """The critic's loss, which reaches the generator too."""
    made = model(z, training=training)
    real, fake = model.score(x), model.score(made)
    if model.objective in ("minimax", "non-saturating"):
        return -ops.mean(ops.log_sigmoid(real)) - ops.mean(ops.log_sigmoid(-fake))
    distance = ops.mean(real) - ops.mean(fake)
    if model.objective == "wgan":
        return -distance
    share = ops.reshape(mix, (-1, *[1] * (len(x.shape) - 1)))
    between = share * x + (1 - share) * made
    with tf.GradientTape() as tape:
        tape.watch(between)
        score = model.score(between)
    slope = ops.reshape(tape.gradient(score, between), (-1, math.prod(model.example)))
    norm = ops.sqrt(ops.sum(ops.square(slope), axis=1))
    return model.penalty * ops.mean(ops.square(norm - 1)) - distance


def generator_loss(model: GAN, z: Any) -> Any:
    score = model.score(model(z, training=True))
    if model.objective == "minimax":
        return ops.mean(ops.log_sigmoid(-score))
    return -ops.mean(ops.log_sigmoid(score) if model.objective == "non-saturating" else score)


def learn(model: GAN, progress: float, x: Any, z: Any, mix: Any) -> None:
    """Two updates of the critic, on the rows 0, 2, 4, ... and 1, 3, 5, ..., then one of the generator on all rows."""
    if progress == 0:
        model.memory = {}
    for first in (0, 1):
        rows = slice(first, None, 2)
        _update(model, "critic", partial(loss, model, x[rows], z[rows], mix[rows]))
        if model.objective == "wgan":
            for variable in _variables(model, "critic"):
                variable.assign(ops.clip(variable, -model.clip, model.clip))
    _update(model, "generator", partial(generator_loss, model, z))


def _variables(model: GAN, player: str) -> list[Any]:
    return [variable for layer in model.players[player] for variable in (layer.kernel, layer.bias)]


def _update(model: GAN, player: str, objective: Callable[[], Any]) -> None:
    """RMSprop for the clipped critic and its generator, else Adam, both as PyTorch has them; rates are 0.001."""
    variables = _variables(model, player)
    with tf.GradientTape() as tape:
        value = objective()
    gradients = [g.numpy() for g in tape.gradient(value, [v.value for v in variables])]
    step, first, second = model.memory.get(player, (0, [0.0] * len(variables), [0.0] * len(variables)))
    step += 1
    for i, (variable, g) in enumerate(zip(variables, gradients, strict=True)):
        if model.objective == "wgan":
            second[i] = 0.99 * second[i] + 0.01 * g**2
            change = g / (np.sqrt(second[i]) + 1e-8)
        else:
            first[i] = 0.5 * first[i] + 0.5 * g
            second[i] = 0.9 * second[i] + 0.1 * g**2
            change = first[i] / (1 - 0.5**step) / (np.sqrt(second[i] / (1 - 0.9**step)) + 1e-8)
        variable.assign(variable.numpy() - 1e-3 * change)
    model.memory[player] = step, first, second


def weight_map(model: GAN) -> dict[str, Weight]:
    """Our names to Keras variables; Keras keeps a linear layer's matrix as (in, out)."""
    found = {}
    for player, layers in model.players.items():
        for i, layer in enumerate(layers):
            found[f"{player}.layers.{i}.weight"] = Weight(layer.kernel, np.transpose, np.transpose)
            found[f"{player}.layers.{i}.bias"] = Weight(layer.bias, np.array, np.array)
    return found
