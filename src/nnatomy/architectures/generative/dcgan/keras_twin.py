"""DCGAN in Keras: an independent twin, written from Radford et al. (2015), and Mirza and Osindero (2014) for labels.
Images are NCHW as in PyTorch; inside, maps are NHWC (batch, height, width, maps), the only layout TensorFlow runs on a CPU."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf
from keras import layers, ops


class Weight(NamedTuple):
    """A Keras variable, with the maps of an array from our layout to its own and back."""

    variable: Any
    to_keras: Callable[[np.ndarray], np.ndarray]
    from_keras: Callable[[np.ndarray], np.ndarray]


class BatchNorm(layers.Layer):
    """Batch normalization whose running variance is the unbiased one, as in PyTorch; Keras's own is biased."""

    def build(self, shape: tuple[int, ...]) -> None:
        def weight(name: str, start: str, trainable: bool) -> Any:
            return self.add_weight(shape=(shape[-1],), initializer=start, trainable=trainable, name=name)

        self.gamma, self.beta = weight("gamma", "ones", True), weight("beta", "zeros", True)
        self.mean, self.variance = weight("mean", "zeros", False), weight("variance", "ones", False)

    def call(self, x: Any, training: bool = False) -> Any:
        mean, variance = self.mean, self.variance
        if training:
            mean, variance = ops.moments(x, axes=(0, 1, 2))
            count = ops.cast(ops.size(x) / ops.shape(x)[-1], x.dtype)
            self.mean.assign(0.9 * self.mean + 0.1 * mean)
            self.variance.assign(0.9 * self.variance + 0.1 * variance * count / (count - 1))
        return (x - mean) * ops.rsqrt(variance + 1e-5) * self.gamma + self.beta


def leaky(x: Any) -> Any:
    return ops.maximum(x, 0.2 * x)  # leaky_relu of TensorFlow rounds its slope to float32


class DCGAN(keras.Model):
    """A projection and transposed convolutions make images; convolutions and a projection judge them."""

    def __init__(
        self, shape: tuple[int, int, int], noise: int, width: int, stages: int, classes: int, bounds: tuple[float, float],
        spread: float, dtype: str,
    ) -> None:  # fmt: skip
        super().__init__(dtype=dtype)
        self.classes, self.bounds = classes, bounds
        channels, height, wide = shape
        self.least = (height // 2**stages, wide // 2**stages, width * 2 ** (stages - 1))
        options = {"strides": 2, "padding": "same", "use_bias": False, "data_format": "channels_last", "dtype": dtype}
        options["kernel_initializer"] = keras.initializers.RandomNormal(stddev=spread)
        flat = {"use_bias": False, "kernel_initializer": keras.initializers.RandomNormal(stddev=spread), "dtype": dtype}
        rising = [width * 2 ** (stages - 1 - s) for s in range(1, stages)] + [channels]
        self.project = layers.Dense(int(np.prod(self.least)), **flat)
        self.ups = [layers.Conv2DTranspose(maps, 4, **options) for maps in rising]
        self.up_norms = [BatchNorm(dtype=dtype) for _ in rising]
        self.downs = [layers.Conv2D(width * 2**s, 4, **options) for s in range(stages)]
        self.down_norms = [BatchNorm(dtype=dtype) for _ in range(stages - 1)]
        self.judge = layers.Dense(1, **flat)
        self.built = True  # the layers are built at their first call, in `build`

    def call(self, z: Any, labels: Any = None, training: bool = False) -> Any:
        if self.classes:
            z = ops.concatenate([z, ops.one_hot(labels, self.classes, dtype=z.dtype)], axis=1)
        x = ops.reshape(self.project(z), (-1, *self.least))
        for norm, up in zip(self.up_norms, self.ups, strict=True):
            x = up(ops.relu(norm(x, training=training)))
        low, high = self.bounds
        return ops.transpose(low + (high - low) * (ops.tanh(x) + 1) / 2, (0, 3, 1, 2))

    def discriminate(self, x: Any, labels: Any = None, training: bool = False) -> Any:
        x = ops.transpose(x, (0, 2, 3, 1))
        if self.classes:
            hot = ops.one_hot(labels, self.classes, dtype=x.dtype)[:, None, None, :]
            x = ops.concatenate([x, ops.broadcast_to(hot, (*ops.shape(x)[:3], self.classes))], axis=3)
        x = leaky(self.downs[0](x))
        for down, norm in zip(self.downs[1:], self.down_norms, strict=True):
            x = leaky(norm(down(x), training=training))
        return self.judge(ops.reshape(x, (-1, int(np.prod(self.least)))))[:, 0]


def build(
    shape: tuple[int, int, int] = (3, 64, 64),
    noise: int = 100,
    width: int = 64,
    stages: int = 4,
    classes: int = 0,
    bounds: tuple[float, float] = (-1.0, 1.0),
    spread: float = 0.02,
) -> DCGAN:
    """The players with kernels N(0, spread)."""
    if shape[1] % 2**stages or shape[2] % 2**stages:
        raise ValueError(f"2^stages divides height and width. Received {stages} and {shape[1:]}. Use fewer stages.")
    dtype = keras.config.floatx()
    model = DCGAN(shape, noise, width, stages, classes, bounds, spread, dtype)
    labels = np.zeros(1, "int64")
    model.discriminate(model(np.zeros((1, noise), dtype), labels), labels)
    return model


def loss(model: DCGAN, x: Any, z: Any, labels: Any = None, training: bool = True) -> Any:
    """The discriminator's loss, which reaches the generator too: nothing is stopped."""
    made = model(z, labels, training=training)
    real = model.discriminate(ops.convert_to_tensor(x), labels, training)
    return ops.mean(ops.softplus(-real)) + ops.mean(ops.softplus(model.discriminate(made, labels, training)))


def generator_loss(model: DCGAN, z: Any, labels: Any = None) -> Any:
    """-ln D(G(z)), the mean: the form that does not saturate."""
    return ops.mean(ops.softplus(-model.discriminate(model(z, labels, training=True), labels, True)))


def learn(model: DCGAN, progress: float, x: Any, z: Any, labels: Any = None) -> None:
    """A step of the discriminator, then one of the generator on the same noise, both by Adam with section 4's numbers."""
    if progress == 0:
        model.memory = {}
    for player, objective in (
        ("discriminator", partial(loss, model, x, z, labels)),
        ("generator", partial(generator_loss, model, z, labels)),
    ):
        names = [name for name, w in weight_map(model).items() if name.startswith(player) and w.variable.trainable]
        variables = [weight_map(model)[name].variable for name in names]
        with tf.GradientTape() as tape:
            value = objective()
        gradients = [g.numpy() for g in tape.gradient(value, [v.value for v in variables])]
        step, first, second = model.memory.get(player, (0, [0.0] * len(variables), [0.0] * len(variables)))
        step += 1
        first = [0.5 * m + 0.5 * g for m, g in zip(first, gradients, strict=True)]
        second = [0.999 * v + 0.001 * g**2 for v, g in zip(second, gradients, strict=True)]
        for variable, m, v in zip(variables, first, second, strict=True):
            change = m / (1 - 0.5**step) / (np.sqrt(v / (1 - 0.999**step)) + 1e-8)
            variable.assign(variable.numpy() - 2e-4 * change)
        model.memory[player] = step, first, second


def weight_map(model: DCGAN) -> dict[str, Weight]:
    """Our names to Keras variables, by the places that the layers have in PyTorch's two Sequentials."""
    height, wide, maps = model.least
    found = {
        "generator.main.0.weight": Weight(  # (noise, maps, height, width) here, (noise, height width maps) in Keras
            model.project.kernel,
            lambda a: a.transpose(0, 2, 3, 1).reshape(len(a), -1),
            lambda a: a.reshape(-1, height, wide, maps).transpose(0, 3, 1, 2),
        ),
        f"discriminator.main.{3 * len(model.downs) - 1}.weight": Weight(
            model.judge.kernel,
            lambda a: a.transpose(2, 3, 1, 0).reshape(-1, 1),
            lambda a: a.reshape(height, wide, maps, 1).transpose(3, 2, 0, 1),
        ),
    }
    norms = {f"generator.main.{3 * s + 1}": norm for s, norm in enumerate(model.up_norms)}
    norms |= {f"discriminator.main.{3 * s}": norm for s, norm in enumerate(model.down_norms, 1)}
    kernels = {f"generator.main.{3 * s}": up for s, up in enumerate(model.ups, 1)}
    kernels |= {f"discriminator.main.{max(3 * s - 1, 0)}": down for s, down in enumerate(model.downs)}
    for name, layer in kernels.items():
        found[f"{name}.weight"] = Weight(layer.kernel, lambda a: a.transpose(2, 3, 1, 0), lambda a: a.transpose(3, 2, 0, 1))
    for name, norm in norms.items():
        parts = {"weight": norm.gamma, "bias": norm.beta, "running_mean": norm.mean, "running_var": norm.variance}
        found |= {f"{name}.{part}": Weight(variable, np.array, np.array) for part, variable in parts.items()}
    return found
