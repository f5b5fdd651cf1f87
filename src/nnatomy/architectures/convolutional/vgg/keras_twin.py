"""VGG in Keras: an independent twin, written from Simonyan and Zisserman (2014), table 1 and section 2.1.
Input is NCHW as in PyTorch; inside, maps are NHWC (batch, height, width, maps), the only layout TensorFlow runs on a CPU."""

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


class ResponseNorm(layers.Layer):
    """a_i / (2 + 1e-4 sum_j a_j^2)^0.75, j at most 2 from i (Krizhevsky et al. 2012, section 3.3)."""

    def call(self, a: Any) -> Any:
        squares = ops.pad(ops.square(a), [(0, 0), (0, 0), (0, 0), (2, 2)])
        total = sum(squares[..., j : j + a.shape[-1]] for j in range(5))
        return a / ops.power(2 + 1e-4 * total, 0.75)


class VGG(keras.Model):
    """Stages of convolutions and pooling, then three fully connected layers."""

    def __init__(self, features: list[Any], size: int, hidden: int, classes: int, dropout: float, dtype: str) -> None:
        super().__init__(dtype=dtype)
        self.size, self.features = size, features
        self.drop = layers.Dropout(dropout, dtype=dtype)
        last = keras.initializers.RandomNormal(stddev=0.01)
        self.dense = [
            layers.Dense(hidden, "relu", kernel_initializer="he_normal", dtype=dtype, name="classifier_0"),
            layers.Dense(hidden, "relu", kernel_initializer="he_normal", dtype=dtype, name="classifier_3"),
            layers.Dense(classes, kernel_initializer=last, dtype=dtype, name="classifier_6"),
        ]

    def call(self, x: Any, training: bool = False) -> Any:
        if tuple(x.shape[2:]) != (self.size, self.size):
            raise ValueError(f"Images have {self.size} x {self.size} pixels. Received {tuple(x.shape[2:])}. Resize them.")
        x = ops.transpose(x, (0, 2, 3, 1))
        for part in self.features:
            x = part(x, training=training) if isinstance(part, BatchNorm) else part(x)
        x = ops.transpose(x, (0, 3, 1, 2))
        x = ops.reshape(x, (-1, x.shape[1] * x.shape[2] * x.shape[3]))
        x = self.drop(self.dense[0](x), training=training)
        return self.dense[2](self.drop(self.dense[1](x), training=training))


def build(
    configuration: str = "D",
    batch_norm: bool = False,
    classes: int = 1000,
    channels: int = 3,
    size: int = 224,
    width: int = 64,
    hidden: int = 4096,
    stages: int = 5,
    dropout: float = 0.5,
) -> VGG:
    """The network of a column of table 1, or its first stages, with weights of variance 2 / fan_in."""
    columns = {"A": "11222", "A-LRN": "11222", "B": "22222", "C": "22333", "D": "22333", "E": "22444"}
    if configuration not in columns:
        raise ValueError(f"configuration is one of {', '.join(columns)}. Received {configuration!r}. Use 'D'.")
    if stages not in range(1, 6) or size % 2**stages:
        raise ValueError(f"stages is 1 to 5, and 2**stages divides size. Received {stages} and {size}.")
    dtype = keras.config.floatx()
    features: list[Any] = []

    def name() -> str:
        return f"features_{len(features)}"

    for stage, count in enumerate(columns[configuration][:stages]):
        maps = width * (1, 2, 4, 8, 8)[stage]
        for k in range(int(count)):
            kernel = (1, 1) if (configuration, k) == ("C", 2) else (3, 3)
            options = {"padding": "same", "kernel_initializer": "he_normal", "data_format": "channels_last", "dtype": dtype}
            features.append(layers.Conv2D(maps, kernel, name=name(), **options))
            if batch_norm:
                features.append(BatchNorm(dtype=dtype, name=name()))
            features.append(layers.ReLU(dtype=dtype, name=name()))
            if configuration == "A-LRN" and stage == 0:
                features.append(ResponseNorm(dtype=dtype, name=name()))
        features.append(layers.MaxPooling2D(2, data_format="channels_last", dtype=dtype, name=name()))
    model = VGG(features, size, hidden, classes, dropout, dtype)
    model(np.zeros((1, channels, size, size), dtype))
    return model


def loss(model: VGG, x: Any, targets: Any, training: bool = True) -> Any:
    """Mean cross-entropy."""
    scores = model(x, training=training)
    return ops.mean(keras.losses.sparse_categorical_crossentropy(ops.convert_to_tensor(targets), scores, from_logits=True))


def weight_map(model: VGG) -> dict[str, Weight]:
    """Our names to Keras variables; Keras keeps matrices as (in, out) and kernels as (height, width, in, out)."""
    found = {}
    for part in [*model.features, *model.dense]:
        name = part.name.replace("_", ".")
        if isinstance(part, layers.Conv2D):
            found[f"{name}.weight"] = Weight(part.kernel, lambda a: a.transpose(2, 3, 1, 0), lambda a: a.transpose(3, 2, 0, 1))
            found[f"{name}.bias"] = Weight(part.bias, np.array, np.array)
        elif isinstance(part, layers.Dense):
            found[f"{name}.weight"] = Weight(part.kernel, np.transpose, np.transpose)
            found[f"{name}.bias"] = Weight(part.bias, np.array, np.array)
        elif isinstance(part, BatchNorm):
            variables = {"weight": part.gamma, "bias": part.beta, "running_mean": part.mean, "running_var": part.variance}
            found |= {f"{name}.{key}": Weight(value, np.array, np.array) for key, value in variables.items()}
    return found
