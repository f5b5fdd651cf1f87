"""Keras on TensorFlow: the networks from Keras's layers, the training step one tf.function, compiled as Keras does by default.

Layers are named after PyTorch's. Images are NHWC, the only order that TensorFlow knows on a CPU. Keras's LSTM has one bias
where PyTorch has two; Adam moves the sum of two twice as far, so that after the first step the networks differ.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import layers, ops

from nnatomy.benchmark.implementation import Array, Arrays
from nnatomy.benchmark.implementations import Answering
from nnatomy.benchmark.workloads import MOBILENET, RESNET, Workload

# The networks


def dense(name: str, size: int) -> Any:
    return layers.Dense(size, name=name)


def conv(x: Any, name: str, channels: int, size: int, stride: int = 1, bias: bool = False, padding: str = "same") -> Any:
    if stride > 1 and size % 2:  # PyTorch pads both sides alike, TensorFlow's "same" does not
        x, padding = layers.ZeroPadding2D(size // 2)(x) if size > 1 else x, "valid"
    return layers.Conv2D(channels, size, stride, padding=padding, use_bias=bias, name=name)(x)


def norm(x: Any, name: str) -> Any:
    return layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name=name)(x)


def mlp(*sizes: int) -> Any:
    def build() -> Any:
        x = start = keras.Input((sizes[0],))
        for i, size in enumerate(sizes[1:]):
            x = layers.Dense(size, "relu" if i < len(sizes) - 2 else None, name=f"{2 * i}")(x)
        return keras.Model(start, x)

    return build


def lenet() -> Any:
    start = keras.Input((28, 28, 1))
    x = layers.Conv2D(6, 5, padding="same", activation="tanh", name="0")(start)
    x = layers.Conv2D(16, 5, activation="tanh", name="3")(layers.AveragePooling2D(2)(x))
    x = layers.Flatten()(layers.AveragePooling2D(2)(x))
    x = layers.Dense(84, "tanh", name="9")(layers.Dense(120, "tanh", name="7")(x))
    return keras.Model(start, layers.Dense(10, name="11")(x))


def convnet() -> Any:
    start = keras.Input((28, 28, 1))
    x = layers.ReLU()(norm(conv(start, "0", 32, 3, bias=True), "1"))
    x = layers.ReLU()(norm(conv(x, "3", 64, 3, bias=True), "4"))
    x = layers.ReLU()(norm(conv(layers.MaxPooling2D(2)(x), "7", 128, 3, bias=True), "8"))
    return keras.Model(start, dense("12", 10)(layers.GlobalAveragePooling2D()(x)))


def autoencoder() -> Any:
    start = keras.Input((28, 28, 1))
    x = layers.Conv2D(16, 4, 2, padding="same", activation="relu", name="0")(start)
    x = layers.Conv2D(32, 4, 2, padding="same", activation="relu", name="2")(x)
    x = layers.Conv2DTranspose(16, 4, 2, padding="same", activation="relu", name="4")(x)
    return keras.Model(start, layers.Conv2DTranspose(1, 4, 2, padding="same", name="6")(x))


def resnet20() -> Any:
    start = keras.Input((32, 32, 3))
    x = layers.ReLU()(norm(conv(start, "0", 16, 3), "1"))
    for i, (_, outputs, stride) in enumerate(RESNET):
        name, short = f"3.{i}", x
        if stride > 1:
            short = norm(conv(x, f"{name}.downsample.0", outputs, 1, stride), f"{name}.downsample.1")
        x = layers.ReLU()(norm(conv(x, f"{name}.conv1", outputs, 3, stride), f"{name}.bn1"))
        x = norm(conv(x, f"{name}.conv2", outputs, 3), f"{name}.bn2")
        x = layers.ReLU()(layers.Add()([x, short]))
    return keras.Model(start, dense("6", 10)(layers.GlobalAveragePooling2D()(x)))


def mobilenet() -> Any:
    start = keras.Input((32, 32, 3))
    x = layers.ReLU(6.0)(norm(conv(start, "0", 16, 3), "1"))
    for i, (inputs, outputs, stride) in enumerate(MOBILENET):
        name = f"3.{i}.layers"
        y = layers.ReLU(6.0)(norm(conv(x, f"{name}.0", 4 * inputs, 1), f"{name}.1"))
        padded, padding = (layers.ZeroPadding2D(1)(y), "valid") if stride > 1 else (y, "same")
        y = layers.DepthwiseConv2D(3, stride, padding=padding, use_bias=False, name=f"{name}.3")(padded)
        y = layers.ReLU(6.0)(norm(y, f"{name}.4"))
        y = norm(conv(y, f"{name}.6", outputs, 1), f"{name}.7")
        x = layers.Add()([x, y]) if stride == 1 and inputs == outputs else y
    return keras.Model(start, dense("6", 10)(layers.GlobalAveragePooling2D()(x)))


def lstm() -> Any:
    start = keras.Input((100, 64))
    return keras.Model(start, dense("output", 10)(layers.LSTM(128, name="lstm")(start)))


def bigru() -> Any:
    start = keras.Input((50, 32))
    x = layers.Bidirectional(layers.GRU(64, return_sequences=True), name="gru")(start)
    return keras.Model(start, dense("output", 10)(layers.GlobalAveragePooling1D()(x)))


class Positions(layers.Layer):  # type: ignore[misc]
    """Adds what is learned for each place."""

    def build(self, shape: tuple[int, ...]) -> None:
        self.places = self.add_weight(shape=shape[1:], name="places")

    def call(self, x: Any) -> Any:
        return x + self.places


def transformer(depth: int, steps: int, causal: bool, head: Callable[[Any], Any]) -> Any:
    """Pre-norm blocks of width 128 with 4 heads, between an embedding and `head`."""

    def build() -> Any:
        start = keras.Input((steps,), dtype="int32")
        x = Positions(name="positions")(layers.Embedding(256, 128, name="tokens")(start))
        for i in range(depth):
            name = f"blocks.{i}"
            y = layers.LayerNormalization(epsilon=1e-5, name=f"{name}.norm1")(x)
            x = x + layers.MultiHeadAttention(4, 32, name=f"{name}.attention")(y, y, use_causal_mask=causal)
            y = layers.LayerNormalization(epsilon=1e-5, name=f"{name}.norm2")(x)
            y = layers.Activation(keras.activations.gelu)(dense(f"{name}.widen", 512)(y))
            x = x + dense(f"{name}.narrow", 128)(y)
        return keras.Model(start, head(layers.LayerNormalization(epsilon=1e-5, name="norm")(x)))

    return build


def _classes(x: Any) -> Any:
    return dense("output", 10)(layers.GlobalAveragePooling1D()(x))


def _next_tokens(x: Any) -> Any:
    return ops.reshape(dense("output", 256)(x), (-1, 256))


NETWORKS: dict[str, Callable[[], Any]] = {
    "mlp": mlp(784, 256, 128, 10), "mlp-small": mlp(32, 32, 32, 10), "lenet": lenet, "convnet": convnet, "lstm": lstm,
    "autoencoder": autoencoder, "resnet20": resnet20, "mobilenet": mobilenet, "bigru": bigru,
    "encoder": transformer(2, 64, False, _classes), "gpt": transformer(4, 128, True, _next_tokens),
}  # fmt: skip
FLATTENED: dict[str, dict[str, tuple[int, ...]]] = {"lenet": {"7": (16, 5, 5)}}
"""Dense layers after a Flatten: PyTorch has their inputs by channel, height and width, Keras by height, width and channel."""

# From PyTorch's weights to Keras's and back

Weight = tuple[Any, str, Callable[[Array], Array], Callable[[Array], Array]]
"""A variable, the name of what it is made of, to Keras's layout, to PyTorch's."""


def _as_it_is(a: Array) -> Array:
    return a


def _turned(*axes: int) -> tuple[Callable[[Array], Array], Callable[[Array], Array]]:
    back = [axes.index(i) for i in range(len(axes))]
    return lambda a: a.transpose(axes), lambda a: a.transpose(back)


def _unflattened(shape: tuple[int, ...]) -> tuple[Callable[[Array], Array], Callable[[Array], Array]]:
    """Of a dense kernel [inputs, outputs] in Keras."""
    C, H, W = shape
    return (
        lambda a: a.reshape(-1, C, H, W).transpose(2, 3, 1, 0).reshape(H * W * C, -1),
        lambda a: a.reshape(H, W, C, -1).transpose(3, 2, 0, 1).reshape(-1, C * H * W),
    )


def _gru_gates(a: Array) -> Array:
    """PyTorch has reset before update, Keras update before reset; exchanging them twice changes nothing."""
    r, z, n = np.split(a, 3, axis=0)
    return np.concatenate([z, r, n], axis=0)


def mapped(model: Any, flattened: dict[str, tuple[int, ...]]) -> Iterator[Weight]:
    """Every variable of a model. One that holds several of PyTorch's names them with a "+" between."""
    same = (_as_it_is, _as_it_is)
    kernels = {
        layers.Conv2D: _turned(2, 3, 1, 0), layers.Conv2DTranspose: _turned(2, 3, 1, 0),
        layers.DepthwiseConv2D: _turned(2, 3, 0, 1), layers.Dense: _turned(1, 0),
    }  # fmt: skip
    for layer in model.layers:
        name = layer.name
        if type(layer) in kernels:
            maps = _unflattened(flattened[name]) if name in flattened else kernels[type(layer)]
            yield layer.kernel, f"{name}.weight", *maps
            if layer.use_bias:
                yield layer.bias, f"{name}.bias", *same
        elif isinstance(layer, layers.BatchNormalization | layers.LayerNormalization):
            yield layer.gamma, f"{name}.weight", *same
            yield layer.beta, f"{name}.bias", *same
            if isinstance(layer, layers.BatchNormalization):
                yield layer.moving_mean, f"{name}.running_mean", *same
                yield layer.moving_variance, f"{name}.running_var", *same
        elif isinstance(layer, layers.Embedding):
            yield layer.embeddings, f"{name}.weight", *same
        elif isinstance(layer, Positions):
            yield layer.places, f"{name}.weight", *same
        elif isinstance(layer, layers.LSTM):
            yield layer.cell.kernel, f"{name}.weight_ih_l0", *_turned(1, 0)
            yield layer.cell.recurrent_kernel, f"{name}.weight_hh_l0", *_turned(1, 0)
            yield layer.cell.bias, f"{name}.bias_ih_l0+{name}.bias_hh_l0", *same
        elif isinstance(layer, layers.Bidirectional):
            for way, one in (("", layer.forward_layer), ("_reverse", layer.backward_layer)):
                for variable, which in ((one.cell.kernel, "weight_ih"), (one.cell.recurrent_kernel, "weight_hh")):
                    yield variable, f"{name}.{which}_l0{way}", lambda a: _gru_gates(a).T, lambda a: _gru_gates(a.T)
                names = f"{name}.bias_ih_l0{way}|{name}.bias_hh_l0{way}"
                gates = lambda a: np.stack([_gru_gates(row) for row in a])  # noqa: E731
                yield one.cell.bias, names, gates, gates
        elif isinstance(layer, layers.MultiHeadAttention):
            block = name.removesuffix(".attention")
            for i, part in enumerate((layer.query_dense, layer.key_dense, layer.value_dense)):
                there, back = (lambda a: a.T.reshape(128, 4, 32)), (lambda a: a.reshape(128, 128).T)
                yield part.kernel, f"{block}.qkv.weight[{i}]", there, back
                yield part.bias, f"{block}.qkv.bias[{i}]", lambda a: a.reshape(4, 32), lambda a: a.reshape(128)
            out = layer.output_dense
            yield out.kernel, f"{block}.project.weight", lambda a: a.T.reshape(4, 32, 128), lambda a: a.reshape(128, 128).T
            yield out.bias, f"{block}.project.bias", *same


def pick(weights: dict[str, Array], name: str) -> Array:
    """Return the array that `name` means: an array; a sum (+) or a stack (|) of two; a third [i] of one."""
    if "+" in name:
        first, second = name.split("+")
        return weights[first] + weights[second]
    if "|" in name:
        return np.stack([weights[part] for part in name.split("|")])
    if name.endswith("]"):
        return np.split(weights[name[:-3]], 3)[int(name[-2])]
    return weights[name]


def put(found: dict[str, Array], name: str, value: Array) -> None:
    """The reverse for gradients: of a sum, each part has the gradient of the whole."""
    if "+" in name:
        found.update(dict.fromkeys(name.split("+"), value))
    elif "|" in name:
        found.update(zip(name.split("|"), value))
    elif name.endswith("]"):
        whole = found.setdefault(name[:-3], np.empty((3 * len(value), *value.shape[1:]), value.dtype))
        np.split(whole, 3)[int(name[-2])][...] = value
    else:
        found[name] = value


def _tensor(x: Array) -> Any:
    x = x.astype(np.int32) if x.dtype.kind == "i" else x
    return tf.constant(x.transpose(0, 2, 3, 1) if x.ndim == 4 else x)


def prepare(threads: int) -> None:
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)


class Network(Answering):
    def __init__(self, workload: Workload, weights: Any, options: dict[str, Any]) -> None:
        self.model = NETWORKS[workload.model]()
        self.map = list(mapped(self.model, FLATTENED.get(workload.model, {})))
        self.given = weights
        self.first = [to_keras(pick(weights, name)) for _, name, to_keras, _ in self.map]
        unmapped = {v.path for v in self.model.weights} - {v.path for v, *_ in self.map}
        if unmapped:
            raise ValueError(f"{workload.name}: variables without weights: {sorted(unmapped)}")
        self.batches = [(_tensor(x), _tensor(y)) for x, y in workload.batches()]
        loss = (
            keras.losses.MeanSquaredError() if workload.loss == "mse"
            else keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        )  # fmt: skip
        self.optimizer = keras.optimizers.Adam(1e-3, epsilon=1e-8)
        variables = self.model.trainable_variables
        self.optimizer.build(variables)

        def train(x: Any, y: Any) -> Any:
            with tf.GradientTape() as tape:
                value = loss(y, self.model(x, training=True))
            self.optimizer.apply(tape.gradient(value, variables), variables)
            return value

        self.train = tf.function(train)
        self.forward = tf.function(lambda x: self.model(x, training=False))
        self.restart()

    def weights(self) -> Arrays:
        return dict(self.given)

    def restart(self) -> None:
        for (variable, *_), value in zip(self.map, self.first, strict=True):
            variable.assign(value)
        for variable in self.optimizer.variables:
            if not variable.path.endswith("learning_rate"):
                variable.assign(ops.zeros_like(variable))
        self.count = 0

    def step(self) -> float:
        loss = self.train(*self.batches[self.count % len(self.batches)])
        self.count += 1
        return float(loss)

    def moments(self) -> Arrays:
        place = {v.path: i for i, v in enumerate(self.model.trainable_variables)}
        found: dict[str, Array] = {}
        for variable, name, _, from_keras in self.map:
            if variable.path in place:
                put(found, name, from_keras(self.optimizer._momentums[place[variable.path]].numpy()))
        return found

    def question(self, x: Array) -> Any:
        self.restart()
        return _tensor(x)

    def answer(self, x: Any) -> Any:
        return self.forward(x)

    def array(self, y: Any) -> Array:
        found: Array = y.numpy()
        return found.transpose(0, 3, 1, 2) if found.ndim == 4 else found

    def describe(self) -> str:
        return f"Keras {keras.__version__} on TensorFlow {tf.__version__}"
