"""The convolutional autoencoder in Keras: an independent twin, written from Masci et al. (2011), and Dumoulin and Visin (2016)
for its strided form. Input is NCHW as in PyTorch; inside, maps are NHWC, the only layout TensorFlow runs on a CPU."""

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


class Convolution(layers.Layer):
    """A convolution with p zeros on all sides, or its transpose, which restores a given height and width."""

    def __init__(self, inputs: int, outputs: int, side: int, stride: int, transposed: bool, name: str, dtype: str) -> None:
        super().__init__(name=name, dtype=dtype)
        self.stride, self.border, self.transposed = stride, (side - 1) // 2, transposed
        shape = (side, side, outputs, inputs) if transposed else (side, side, inputs, outputs)
        self.kernel = self.add_weight(shape=shape, initializer="glorot_uniform", name="kernel")
        self.bias = self.add_weight(shape=(outputs,), initializer="zeros", name="bias")

    def call(self, x: Any, size: tuple[int, int] = (0, 0)) -> Any:
        p = self.border
        if not self.transposed:
            x = ops.pad(x, [(0, 0), (p, p), (p, p), (0, 0)])
            return ops.conv(x, self.kernel, self.stride, "valid", data_format="channels_last") + self.bias
        # All that the kernels reach, of which p rows and columns at the top and left belong to the border;
        # the stride leaves rows at the bottom that no kernel may reach, so that one more is appended.
        y = ops.conv_transpose(x, self.kernel, self.stride, "valid", data_format="channels_last")
        y = ops.pad(y, [(0, 0), (0, 1), (0, 1), (0, 0)])
        return y[:, p : p + size[0], p : p + size[1]] + self.bias


def doubled(x: Any) -> Any:
    """Each pixel becomes 2 x 2 pixels."""
    return ops.repeat(ops.repeat(x, 2, axis=1), 2, axis=2)


class ConvolutionalAutoencoder(keras.Model):
    """Stages that halve the sides, and stages that restore them; code and reconstruction are linear."""

    def __init__(self, maps: list[int], strided: bool, side: int, activation: str, dtype: str) -> None:
        super().__init__(dtype=dtype)
        self.strided, self.depth = strided, len(maps) - 1
        self.activation = ops.relu if activation == "relu" else ops.tanh
        stride, stages = (2 if strided else 1), range(self.depth)
        self.encoder = [
            Convolution(maps[s], maps[s + 1], side, stride, False, f"encoder_{s}", dtype) for s in stages
        ]  # fmt: skip
        self.decoder = [
            Convolution(maps[s + 1], maps[s], side, stride, strided, f"decoder_{t}", dtype)
            for t, s in enumerate(reversed(stages))
        ]

    def call(self, x: Any, training: bool = False) -> Any:
        x, sizes = ops.transpose(x, (0, 2, 3, 1)), []
        for s, stage in enumerate(self.encoder, 1):
            sizes.append((x.shape[1], x.shape[2]))
            x = stage(x) if s == self.depth else self.activation(stage(x))
            x = x if self.strided else ops.max_pool(x, 2, 2, "same", data_format="channels_last")
        for t, (stage, size) in enumerate(zip(self.decoder, reversed(sizes)), 1):
            x = stage(x, size=size) if self.strided else stage(doubled(x)[:, : size[0], : size[1]])
            x = x if t == self.depth else self.activation(x)
        return ops.transpose(x, (0, 3, 1, 2))


def build(
    shape: tuple[int, int, int],
    channels: tuple[int, ...] = (16, 4),
    form: str = "strided",
    kernel: int = 3,
    activation: str = "relu",
) -> ConvolutionalAutoencoder:
    """The autoencoder with Keras' own initial weights."""
    if form not in ("strided", "pooled"):
        raise ValueError(f"form is 'strided' or 'pooled'. Received {form!r}. Use form='strided'.")
    if activation not in ("relu", "tanh"):
        raise ValueError(f"activation is 'relu' or 'tanh'. Received {activation!r}. Use activation='relu'.")
    if form == "pooled" and kernel % 2 == 0:
        raise ValueError(f"A convolution that keeps the size needs an odd kernel. Received {kernel}. Use kernel=3.")
    dtype = keras.config.floatx()
    model = ConvolutionalAutoencoder([shape[0], *channels], form == "strided", kernel, activation, dtype)
    model(np.zeros((1, *shape), dtype))
    return model


def loss(model: ConvolutionalAutoencoder, x: Any, targets: Any, training: bool = True) -> Any:
    """Mean squared error of the reconstruction."""
    return ops.mean(ops.square(model(x, training=training) - targets))


def weight_map(model: ConvolutionalAutoencoder) -> dict[str, Weight]:
    """Our names to Keras variables; kernels are (height, width, in, out), transposed ones (height, width, out, in)."""
    found = {}
    for part in [*model.encoder, *model.decoder]:
        name = part.name.replace("_", ".")
        found[f"{name}.weight"] = Weight(part.kernel, lambda a: a.transpose(2, 3, 1, 0), lambda a: a.transpose(3, 2, 0, 1))
        found[f"{name}.bias"] = Weight(part.bias, np.array, np.array)
    return found
