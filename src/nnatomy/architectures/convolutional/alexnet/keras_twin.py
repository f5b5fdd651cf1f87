"""AlexNet in Keras: an independent twin, written from Krizhevsky, Sutskever and Hinton (2012) for two towers, and Krizhevsky
(2014) for one. Input is NCHW as in PyTorch; inside, maps are NHWC, the only layout TensorFlow runs on a CPU."""

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
    """relu(w * x + b) with zeros around x, in one or two towers that see a half of the maps each."""

    def __init__(
        self, inputs: int, maps: int, side: int, border: int, stride: int, towers: int, start: tuple[Any, float], name: str,
        dtype: str,
    ) -> None:  # fmt: skip
        super().__init__(name=name, dtype=dtype)
        self.border, self.stride, self.towers = border, stride, towers
        initial, bias = keras.initializers.get(start[0]), keras.initializers.Constant(start[1])
        self.kernel = self.add_weight(shape=(side, side, inputs // towers, maps), initializer=initial, name="kernel")
        self.bias = self.add_weight(shape=(maps,), initializer=bias, name="bias")

    def call(self, x: Any) -> Any:
        edge = (self.border, self.border)
        x = ops.pad(x, [(0, 0), edge, edge, (0, 0)])
        parts = zip(ops.split(x, self.towers, axis=3), ops.split(self.kernel, self.towers, axis=3))
        made = [ops.conv(part, kernel, self.stride, "valid", data_format="channels_last") for part, kernel in parts]
        return ops.relu(ops.concatenate(made, axis=3) + self.bias)


class ResponseNorm(layers.Layer):
    """a_i / (2 + 1e-4 sum_j a_j^2)^0.75, j at most 2 from i (section 3.3)."""

    def call(self, a: Any) -> Any:
        squares = ops.pad(ops.square(a), [(0, 0), (0, 0), (0, 0), (2, 2)])
        total = sum(squares[..., j : j + a.shape[-1]] for j in range(5))
        return a / ops.power(2 + 1e-4 * total, 0.75)


class AlexNet(keras.Model):
    """Five convolutions with overlapping pooling, then three fully connected layers."""

    def __init__(self, features: list[Any], dense: list[Any], size: int, dropout: float, before: bool, dtype: str) -> None:
        super().__init__(dtype=dtype)
        self.size, self.before = size, before
        self.features, self.dense = features, dense
        self.drop = layers.Dropout(dropout, dtype=dtype)

    def call(self, x: Any, training: bool = False) -> Any:
        if tuple(x.shape[2:]) != (self.size, self.size):
            raise ValueError(f"Images have {self.size} x {self.size} pixels. Received {tuple(x.shape[2:])}. Resize them.")
        x = ops.transpose(x, (0, 2, 3, 1))
        for part in self.features:
            x = part(x)
        x = ops.transpose(x, (0, 3, 1, 2))
        x = ops.reshape(x, (-1, x.shape[1] * x.shape[2] * x.shape[3]))
        for part in self.dense[:2]:
            x = part(self.drop(x, training=training)) if self.before else self.drop(part(x), training=training)
        return self.dense[2](x)


def build(
    form: str = "two_towers",
    classes: int = 1000,
    channels: int = 3,
    size: int | None = None,
    width: int | None = None,
    hidden: int = 4096,
    stem: str = "imagenet",
    dropout: float = 0.5,
    start: str = "paper",
) -> AlexNet:
    """The network; start "paper" is N(0, 0.01) with biases of 1 in five layers, "he" a variance of 2 / fan_in."""
    known = {"form": ("two_towers", "one_tower"), "stem": ("imagenet", "small"), "start": ("paper", "he")}
    for (name, choices), given in zip(known.items(), (form, stem, start)):
        if given not in choices:
            raise ValueError(f"{name} is {choices[0]!r} or {choices[1]!r}. Received {given!r}. Use {name}={choices[0]!r}.")
    two, small, dtype = form == "two_towers", stem == "small", keras.config.floatx()
    width = (96 if two else 64) if width is None else width
    size = (32 if small else 227 if two else 224) if size is None else size
    if two and width % 6:
        raise ValueError(f"With two towers 6 divides the width. Received {width}. Use width={6 * (width // 6 + 1)}.")
    small_normal = keras.initializers.RandomNormal(stddev=0.01)

    def initial(number: int) -> tuple[Any, float]:
        """Initializer of the weights and value of the biases of layer 1 to 8."""
        if start == "paper":
            return small_normal.clone(), float(number in (2, 4, 5, 6, 7))
        return (small_normal.clone() if number == 8 else "he_normal"), 0.0

    maps = [
        channels,
        *(width * m // (96 if two else 64) for m in ((96, 256, 384, 384, 256) if two else (64, 192, 384, 256, 256))),
    ]
    first = (7, 3, 2) if small else (11, 0 if two else 2, 4)
    shapes = [first, (5, 2, 1), (3, 1, 1), (3, 1, 1), (3, 1, 1)]
    features: list[Any] = []
    for k, (side, border, stride) in enumerate(shapes, 1):
        towers = 2 if two and k in (2, 4, 5) else 1
        name = f"features_{len(features)}"
        features.append(Convolution(maps[k - 1], maps[k], side, border, stride, towers, initial(k), name, dtype))
        features.append(layers.Identity(dtype=dtype))  # its ReLU, which has a number too
        if two and k < 3:
            features.append(ResponseNorm(dtype=dtype))
        if k in (1, 2, 5):
            features.append(layers.MaxPooling2D(3, 2, data_format="channels_last", dtype=dtype))
    dense = []
    for k, (number, units) in enumerate(zip((0, 3, 6) if two else (1, 4, 6), (hidden, hidden, classes)), 6):
        kernel, bias = initial(k)
        options = {"kernel_initializer": kernel, "bias_initializer": keras.initializers.Constant(bias), "dtype": dtype}
        dense.append(layers.Dense(units, "relu" if k < 8 else None, name=f"classifier_{number}", **options))
    model = AlexNet(features, dense, size, dropout, not two, dtype)
    model(np.zeros((1, channels, size, size), dtype))
    return model


def loss(model: AlexNet, x: Any, targets: Any, training: bool = True) -> Any:
    """Mean cross-entropy."""
    scores = model(x, training=training)
    return ops.mean(keras.losses.sparse_categorical_crossentropy(ops.convert_to_tensor(targets), scores, from_logits=True))


def weight_map(model: AlexNet) -> dict[str, Weight]:
    """Our names to Keras variables; Keras keeps matrices as (in, out) and kernels as (height, width, in, out)."""
    found = {}
    for part in [*model.features, *model.dense]:
        name = part.name.replace("_", ".")
        if isinstance(part, Convolution):
            found[f"{name}.weight"] = Weight(part.kernel, lambda a: a.transpose(2, 3, 1, 0), lambda a: a.transpose(3, 2, 0, 1))
            found[f"{name}.bias"] = Weight(part.bias, np.array, np.array)
        elif isinstance(part, layers.Dense):
            found[f"{name}.weight"] = Weight(part.kernel, np.transpose, np.transpose)
            found[f"{name}.bias"] = Weight(part.bias, np.array, np.array)
    return found
