"""CapsNet in Keras: an independent twin, written from Sabour, Frosst and Hinton (2017).
Input is NCHW as in PyTorch; inside, maps are NHWC (batch, height, width, maps), the only layout TensorFlow runs on a CPU."""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import layers, ops


class Weight(NamedTuple):
    """A Keras variable, with the maps of an array from our layout to its own and back."""

    variable: Any
    to_keras: Callable[[np.ndarray], np.ndarray]
    from_keras: Callable[[np.ndarray], np.ndarray]


def squash(s: Any) -> Any:
    """Equation 1: |s|^2 / (1 + |s|^2) s / |s|, in which one |s| cancels."""
    square = ops.sum(ops.square(s), axis=-1, keepdims=True)
    return ops.sqrt(square) / (1 + square) * s


def lengths(v: Any) -> Any:
    return ops.sqrt(ops.sum(ops.square(v), axis=-1))


class Routing(layers.Layer):
    """Procedure 1: class capsules from the votes of primary ones."""

    def __init__(
        self, classes: int, inputs: int, size: int, primary: int, rounds: int, detach: bool, std: float, dtype: str
    ) -> None:  # fmt: skip
        super().__init__(dtype=dtype)
        self.rounds, self.detach = rounds, detach
        normal = keras.initializers.RandomNormal(stddev=std)
        self.kernel = self.add_weight(shape=(classes, inputs, size, primary), initializer=normal, name="kernel")

    def call(self, u: Any) -> Any:
        votes = ops.squeeze(ops.matmul(self.kernel, u[:, None, :, :, None]), -1)  # (batch, classes, inputs, size)
        b, v = ops.zeros_like(votes[..., :1]), None
        for k in range(self.rounds):
            last = k == self.rounds - 1
            u_hat = ops.stop_gradient(votes) if self.detach and not last else votes
            c = ops.softmax(b, axis=1)
            v = squash(ops.sum(c * u_hat, axis=2, keepdims=True))
            b = b if last else b + ops.sum(u_hat * v, axis=3, keepdims=True)
        return ops.squeeze(v, 2)


class CapsNet(keras.Model):
    """A convolution, primary capsules, a capsule for each class, and a decoder that draws the image from one of them."""

    def __init__(
        self, shape: tuple[int, ...], classes: int, maps: int, kernel: int, capsules: int, primary: int, size: int,
        rounds: int, hidden: Sequence[int], detach: bool, mean: Sequence[float], std: Sequence[float], weight_std: float,
        reconstruction: float, dtype: str,
    ) -> None:  # fmt: skip
        super().__init__(dtype=dtype)
        self.sides, self.classes, self.kinds, self.primary = shape, classes, capsules, primary
        self.mean, self.std, self.reconstruction = list(mean), list(std), reconstruction
        options = {"data_format": "channels_last", "dtype": dtype}
        self.conv1 = layers.Conv2D(maps, kernel, activation="relu", **options)
        self.conv2 = layers.Conv2D(capsules * primary, kernel, strides=2, **options)
        places = math.prod((side - kernel + 1 - kernel) // 2 + 1 for side in shape[1:])
        self.routing = Routing(classes, capsules * places, size, primary, rounds, detach, weight_std, dtype)
        self.draw = [layers.Dense(units, "relu", dtype=dtype) for units in hidden]
        if hidden:
            self.draw.append(layers.Dense(math.prod(shape), "sigmoid", dtype=dtype))

    def capsules(self, images: Any) -> Any:
        """(batch, channels, height, width) -> (batch, classes, size)"""
        p = self.conv2(self.conv1(ops.transpose(images, (0, 2, 3, 1))))
        p = ops.reshape(p, (-1, p.shape[1] * p.shape[2], self.kinds, self.primary))
        u = ops.reshape(ops.transpose(p, (0, 2, 1, 3)), (-1, p.shape[1] * self.kinds, self.primary))
        return self.routing(squash(u))

    def call(self, images: Any, training: bool = False) -> Any:
        return lengths(self.capsules(images))

    def drawn(self, v: Any, labels: Any) -> Any:
        """The images that the decoder makes of the capsules of these classes."""
        x = v * ops.expand_dims(ops.one_hot(labels, self.classes, dtype=v.dtype), 2)
        x = ops.reshape(x, (-1, v.shape[1] * v.shape[2]))
        for layer in self.draw:
            x = layer(x)
        return ops.reshape(x, (-1, *self.sides))


def build(
    shape: Sequence[int] = (1, 28, 28),
    classes: int = 10,
    maps: int = 256,
    kernel: int = 9,
    capsules: int = 32,
    primary_size: int = 8,
    size: int = 16,
    routings: int = 3,
    decoder: Sequence[int] = (512, 1024),
    detach: bool = True,
    mean: Sequence[float] = (0.0,),
    std: Sequence[float] = (1.0,),
    weight_std: float = 0.05,
    reconstruction: float = 0.0005,
) -> CapsNet:
    """The network with Keras' own initial weights, and those of the routed capsules N(0, weight_std)."""
    if routings < 1:
        raise ValueError(f"routings is 1 or more. Received {routings}. Use routings=3.")
    dtype = keras.config.floatx()
    sizes = (classes, maps, kernel, capsules, primary_size, size, routings)
    model = CapsNet(tuple(shape), *sizes, decoder, detach, mean, std, weight_std, reconstruction, dtype)
    v = model.capsules(ops.convert_to_tensor(np.zeros((1, *shape), dtype)))
    if model.draw:
        model.drawn(v, np.zeros(1, "int64"))
    model.built = True
    return model


def loss(model: CapsNet, images: Any, labels: Any, training: bool = True) -> Any:
    """Equation 4's margins, plus `reconstruction` times the squared errors of the image that the right capsule draws."""
    images, labels = ops.convert_to_tensor(images), ops.convert_to_tensor(labels)
    v = model.capsules(images)
    long, right = lengths(v), ops.one_hot(labels, model.classes, dtype=v.dtype)
    margins = ops.where(right > 0, ops.square(ops.relu(0.9 - long)), 0.5 * ops.square(ops.relu(long - 0.1)))
    total = ops.sum(margins, axis=1)
    if model.draw:
        dtype = keras.backend.standardize_dtype(images.dtype)
        mean, std = (np.array(values, dtype)[:, None, None] for values in (model.mean, model.std))
        errors = ops.square(model.drawn(v, labels) - (images * std + mean))
        total = total + model.reconstruction * ops.sum(errors, axis=(1, 2, 3))
    return ops.mean(total)


def weight_map(model: CapsNet) -> dict[str, Weight]:
    """Our names to Keras variables; matrices are kept as (in, out), kernels as (height, width, in, out)."""
    found = {"digitcaps.weight": Weight(model.routing.kernel, np.array, np.array)}
    parts = {"conv1": model.conv1, "primarycaps.conv2d": model.conv2}
    parts |= {f"decoder.{2 * i}": layer for i, layer in enumerate(model.draw)}
    for name, layer in parts.items():
        if isinstance(layer, layers.Conv2D):
            found[f"{name}.weight"] = Weight(layer.kernel, lambda a: a.transpose(2, 3, 1, 0), lambda a: a.transpose(3, 2, 0, 1))
        else:
            found[f"{name}.weight"] = Weight(layer.kernel, np.transpose, np.transpose)
        found[f"{name}.bias"] = Weight(layer.bias, np.array, np.array)
    return found
