"""LeNet-5 in Keras: an independent twin, written from LeCun, Bottou, Bengio & Haffner (1998), section II.B.
Input is NCHW as in PyTorch; inside maps are NHWC (B, height, width, maps), the only layout TensorFlow runs on a CPU."""

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


class Modern(keras.Model):
    """The form common today: 28 x 28 input, plain average pooling, full C3, a softmax at the end."""

    def __init__(self, classes: int, activation: str, dtype: str) -> None:
        super().__init__(dtype=dtype)
        self.activation = {"tanh": ops.tanh, "relu": ops.relu}[activation]
        self.c1 = layers.Conv2D(6, 5, padding="same", data_format="channels_last", dtype=dtype, name="c1")
        self.s2 = layers.AveragePooling2D(2, data_format="channels_last", dtype=dtype, name="s2")
        self.c3 = layers.Conv2D(16, 5, data_format="channels_last", dtype=dtype, name="c3")
        self.s4 = layers.AveragePooling2D(2, data_format="channels_last", dtype=dtype, name="s4")
        self.c5 = layers.Dense(120, dtype=dtype, name="c5")
        self.f6 = layers.Dense(84, dtype=dtype, name="f6")
        self.last = layers.Dense(classes, dtype=dtype, name="output")

    def call(self, x: Any) -> Any:
        act = self.activation
        x = ops.transpose(x, (0, 2, 3, 1))
        x = self.s2(act(self.c1(x)))
        x = self.s4(act(self.c3(x)))
        x = ops.reshape(ops.transpose(x, (0, 3, 1, 2)), (-1, 400))  # flattened in PyTorch's order
        return self.last(act(self.f6(act(self.c5(x)))))


def squash(a: Any) -> Any:
    """The paper's A tanh(S a)."""
    return 1.7159 * ops.tanh(2 / 3 * a)


def within(fan_in: int) -> keras.initializers.Initializer:
    """The paper's initial weights: uniform within 2.4 / fan-in."""
    return keras.initializers.RandomUniform(-2.4 / fan_in, 2.4 / fan_in)


class Subsampling(layers.Layer):
    """The sum of each 2 x 2 patch, times a coefficient, plus a bias, both trained, one of each per map."""

    def build(self, shape: tuple[int, ...]) -> None:
        self.coefficient = self.add_weight(shape=(shape[-1],), initializer=within(4), name="coefficient")
        self.bias = self.add_weight(shape=(shape[-1],), initializer=within(4), name="bias")

    def call(self, x: Any) -> Any:
        total = 4 * ops.average_pool(x, 2, strides=2, data_format="channels_last")
        return total * self.coefficient + self.bias


class PartialConv(layers.Layer):
    """C3: of the 16 x 6 kernels only the 60 of the paper's Table I exist, ordered by output map, then input map."""

    # The paper's Table I, a row per map of S2, a column per map of C3.
    table = (
        "X...XXX..XXXX.XX",
        "XX...XXX..XXXX.X",
        "XXX...XXX..X.XXX",
        ".XXX..XXXX..X.XX",
        "..XXX..XXXX.XX.X",
        "...XXX..XXXX.XXX",
    )

    def build(self, shape: tuple[int, ...]) -> None:
        self.kernels = self.add_weight(shape=(60, 5, 5), initializer=within(100), name="kernels")
        self.bias = self.add_weight(shape=(16,), initializer=within(100), name="bias")
        self.pairs = np.array([(i, o) for o in range(16) for i in range(6) if self.table[i][o] == "X"])

    def call(self, x: Any) -> Any:
        full = ops.scatter(self.pairs, ops.convert_to_tensor(self.kernels), (6, 16, 5, 5))
        return ops.conv(x, ops.transpose(full, (2, 3, 0, 1)), padding="valid", data_format="channels_last") + self.bias


class Distances(layers.Layer):
    """Euclidean radial basis units: y_i = sum_j (x_j - code_ij)^2, the codes fixed at +-1."""

    def __init__(self, classes: int, dtype: str) -> None:
        super().__init__(dtype=dtype, name="output")
        self.classes = classes

    def build(self, shape: tuple[int, ...]) -> None:
        codes = np.random.default_rng(0).choice([-1.0, 1.0], (self.classes, shape[-1]))

        def fixed(shape: tuple[int, ...], dtype: str) -> Any:
            return ops.convert_to_tensor(codes, dtype)

        self.codes = self.add_weight(shape=codes.shape, initializer=fixed, trainable=False, name="codes")

    def call(self, x: Any) -> Any:
        return ops.sum(ops.square(ops.expand_dims(x, 1) - self.codes), axis=2)


class Paper(keras.Model):
    """The form of 1998: 32 x 32 input, 60,000 trained weights, Euclidean distances to fixed codes at the end."""

    def __init__(self, classes: int, dtype: str) -> None:
        super().__init__(dtype=dtype)

        def options(name: str, fan_in: int) -> dict[str, Any]:
            start = within(fan_in)
            return {"kernel_initializer": start, "bias_initializer": start.clone(), "dtype": dtype, "name": name}

        self.c1 = layers.Conv2D(6, 5, data_format="channels_last", **options("c1", 25))
        self.s2 = Subsampling(dtype=dtype, name="s2")
        self.c3 = PartialConv(dtype=dtype, name="c3")
        self.s4 = Subsampling(dtype=dtype, name="s4")
        self.c5 = layers.Conv2D(120, 5, data_format="channels_last", **options("c5", 400))
        self.f6 = layers.Dense(84, **options("f6", 120))
        self.last = Distances(classes, dtype)

    def call(self, x: Any) -> Any:
        x = ops.transpose(x, (0, 2, 3, 1))
        x = squash(self.s2(squash(self.c1(x))))
        x = squash(self.s4(squash(self.c3(x))))
        x = ops.reshape(squash(self.c5(x)), (-1, 120))
        return self.last(squash(self.f6(x)))


def build(form: str = "modern", classes: int = 10, activation: str = "tanh", channels: int = 1) -> keras.Model:
    """The model with its own initial weights; `activation` and `channels` concern the modern form only."""
    if form not in ("modern", "paper"):
        raise ValueError(f"form must be 'modern' or 'paper', got {form!r}")
    dtype = keras.config.floatx()
    model = Modern(classes, activation, dtype) if form == "modern" else Paper(classes, dtype)
    side = 28 if form == "modern" else 32
    model(np.zeros((1, channels, side, side), dtype))
    return model


def loss(model: keras.Model, x: Any, targets: Any, training: bool = True) -> Any:
    """Mean cross-entropy (modern), or the paper's equation 9 on penalties with j = 1 (paper)."""
    y = model(x, training=training)
    targets = ops.convert_to_tensor(targets)
    if isinstance(model, Modern):
        return ops.mean(keras.losses.sparse_categorical_crossentropy(targets, y, from_logits=True))
    own = ops.sum(y * ops.one_hot(targets, y.shape[1], dtype=y.dtype), axis=1)
    every = ops.logsumexp(ops.concatenate([-ops.ones_like(y[:, :1]), -y], axis=1), axis=1)
    return ops.mean(own + every)


def weight_map(model: keras.Model) -> dict[str, Weight]:
    """Our names to Keras variables; Keras keeps matrices as (in, out) and kernels as (height, width, in, out)."""

    def same(variable: Any) -> Weight:
        return Weight(variable, np.array, np.array)

    weights: dict[str, Weight] = {}
    for layer in (model.c1, model.s2, model.c3, model.s4, model.c5, model.f6, model.last):
        if isinstance(layer, layers.Conv2D):
            weights[f"{layer.name}.weight"] = Weight(
                layer.kernel, lambda a: a.transpose(2, 3, 1, 0), lambda a: a.transpose(3, 2, 0, 1)
            )
        elif isinstance(layer, layers.Dense):
            weights[f"{layer.name}.weight"] = Weight(layer.kernel, np.transpose, np.transpose)
        elif isinstance(layer, Subsampling):
            weights[f"{layer.name}.weight"] = same(layer.coefficient)
        elif isinstance(layer, PartialConv):
            weights[f"{layer.name}.weight"] = same(layer.kernels)
        elif isinstance(layer, Distances):
            weights["codes"] = same(layer.codes)
        if hasattr(layer, "bias"):
            weights[f"{layer.name}.bias"] = same(layer.bias)
    return weights
