"""U-Net in Keras: an independent twin, written from Ronneberger, Fischer & Brox (2015), figure 1 and section 3.
Input and scores are NCHW as in PyTorch; inside maps are NHWC (batch, height, width, maps)."""

from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import layers, ops

UNLABELED = 255


class Weight(NamedTuple):
    """A Keras variable, with the maps of an array from our layout to its own and back."""

    variable: Any
    to_keras: Callable[[np.ndarray], np.ndarray]
    from_keras: Callable[[np.ndarray], np.ndarray]


class BatchNorm(layers.Layer):
    """Batch normalization whose running variance is the unbiased one, as in PyTorch; Keras's own is biased."""

    def build(self, shape: tuple[int, ...]) -> None:
        maps = (shape[-1],)
        self.gamma = self.add_weight(shape=maps, initializer="ones", name="gamma")
        self.beta = self.add_weight(shape=maps, initializer="zeros", name="beta")
        self.mean = self.add_weight(shape=maps, initializer="zeros", trainable=False, name="mean")
        self.variance = self.add_weight(shape=maps, initializer="ones", trainable=False, name="variance")

    def call(self, x: Any, training: bool = False) -> Any:
        if training:
            mean, variance = ops.moments(x, axes=(0, 1, 2))
            count = ops.cast(ops.size(x) / ops.shape(x)[-1], x.dtype)
            self.mean.assign(0.9 * self.mean + 0.1 * mean)
            self.variance.assign(0.9 * self.variance + 0.1 * variance * count / (count - 1))
        else:
            mean, variance = self.mean, self.variance
        return (x - mean) / ops.sqrt(variance + 1e-5) * self.gamma + self.beta


class Twice(layers.Layer):
    """Two times a 3x3 convolution, normalization if wanted, and a ReLU."""

    def __init__(self, maps: int, padded: bool, batch_norm: bool, **options: Any) -> None:
        super().__init__(**options)
        name, dtype = options["name"], options["dtype"]
        self.convolutions = [
            layers.Conv2D(
                maps, 3, padding="same" if padded else "valid", use_bias=not batch_norm, kernel_initializer="he_normal",
                data_format="channels_last", name=f"{name}_conv{n}", dtype=dtype,
            )
            for n in range(2)
        ]  # fmt: skip
        self.norms = [BatchNorm(name=f"{name}_norm{n}", dtype=dtype) for n in range(2)] if batch_norm else []

    def call(self, x: Any, training: bool = False) -> Any:
        for n, convolution in enumerate(self.convolutions):
            x = convolution(x)
            x = ops.relu(self.norms[n](x, training=training) if self.norms else x)
        return x


def middle(x: Any, rows: int, columns: int) -> Any:
    """The middle of (batch, height, width, ...)."""
    top, left = (x.shape[1] - rows) // 2, (x.shape[2] - columns) // 2
    return x[:, top : top + rows, left : left + columns]


class UNet(keras.Model):
    """The contracting path, the expanding path, and the features that go across."""

    def __init__(self, classes: int, width: int, depth: int, padded: bool, batch_norm: bool, dtype: str) -> None:
        super().__init__(dtype=dtype)
        self.padded = padded
        self.pool = layers.MaxPooling2D(2, data_format="channels_last", dtype=dtype, name="pool")
        options: dict[str, Any] = {"padded": padded, "batch_norm": batch_norm, "dtype": dtype}
        self.downs = [Twice(width * 2**k, name=f"down{k}" if k else "inc", **options) for k in range(depth + 1)]
        maps = [width * 2**k for k in reversed(range(depth))]
        self.ups = [
            layers.Conv2DTranspose(m, 2, strides=2, data_format="channels_last", dtype=dtype, name=f"up{k}_up")
            for k, m in enumerate(maps, 1)
        ]
        self.convs = [Twice(m, name=f"up{k}", **options) for k, m in enumerate(maps, 1)]
        self.last = layers.Conv2D(
            classes, 1, kernel_initializer="he_normal", data_format="channels_last", dtype=dtype, name="outc"
        )

    def call(self, x: Any, training: bool = False) -> Any:
        x = self.downs[0](ops.transpose(x, (0, 2, 3, 1)), training=training)
        across = []
        for down in self.downs[1:]:
            across.append(x)
            x = down(self.pool(x), training=training)
        for up, conv in zip(self.ups, self.convs, strict=True):
            x, skip = up(x), across.pop()
            if self.padded:
                short = [skip.shape[axis] - x.shape[axis] for axis in (1, 2)]
                x = ops.pad(x, [(0, 0), *((n // 2, n - n // 2) for n in short), (0, 0)])
            else:
                skip = middle(skip, x.shape[1], x.shape[2])
            x = conv(ops.concatenate([skip, x], axis=-1), training=training)
        return ops.transpose(self.last(x), (0, 3, 1, 2))


def build(
    n_channels: int = 1, n_classes: int = 2, width: int = 64, depth: int = 4, padded: bool = False, batch_norm: bool = False
) -> keras.Model:
    """The model with its own initial weights."""
    dtype = keras.config.floatx()
    model = UNet(n_classes, width, depth, padded, batch_norm, dtype)
    side = 2**depth if padded else 16 * 2**depth - 4 * (2**depth - 1) + 12 * 2**depth - 8
    model(np.zeros((1, n_channels, side, side), dtype))
    return model


def loss(model: keras.Model, x: Any, mask: Any, weights: Any = None, training: bool = True) -> Any:
    """The mean cross-entropy of the labeled pixels; with weights, the mean over all pixels of weight times cross-entropy."""
    y = ops.transpose(model(x, training=training), (0, 2, 3, 1))
    mask = middle(ops.convert_to_tensor(mask), y.shape[1], y.shape[2])
    labeled = ops.cast(ops.not_equal(mask, UNLABELED), y.dtype)
    target = ops.where(ops.equal(mask, UNLABELED), ops.zeros_like(mask), mask)
    each = labeled * keras.losses.sparse_categorical_crossentropy(target, y, from_logits=True)
    if weights is None:
        return ops.sum(each) / ops.sum(labeled)
    return ops.mean(middle(ops.convert_to_tensor(weights), y.shape[1], y.shape[2]) * each)


def weight_map(model: keras.Model) -> dict[str, Weight]:
    """Our names to Keras variables; Keras keeps kernels as (height, width, in, out), those of up-convolutions flipped."""

    def same(variable: Any) -> Weight:
        return Weight(variable, np.array, np.array)

    def kernel(variable: Any) -> Weight:  # of both: ours has the axis first that Keras has last
        return Weight(variable, lambda a: a.transpose(2, 3, 1, 0), lambda a: a.transpose(3, 2, 0, 1))

    found: dict[str, Weight] = {}

    def double(prefix: str, part: Twice) -> None:
        stride = 3 if part.norms else 2
        for n, convolution in enumerate(part.convolutions):
            name = f"{prefix}double_conv.{stride * n}"
            found[f"{name}.weight"] = kernel(convolution.kernel)
            if convolution.use_bias:
                found[f"{name}.bias"] = same(convolution.bias)
        for n, norm in enumerate(part.norms):
            name = f"{prefix}double_conv.{stride * n + 1}"
            variables = {"weight": norm.gamma, "bias": norm.beta, "running_mean": norm.mean, "running_var": norm.variance}
            found.update({f"{name}.{key}": same(variable) for key, variable in variables.items()})

    for level, down in enumerate(model.downs):
        double(f"down{level}.maxpool_conv.1." if level else "inc.", down)
    for step, (up, conv) in enumerate(zip(model.ups, model.convs, strict=True), 1):
        found[f"up{step}.up.weight"], found[f"up{step}.up.bias"] = kernel(up.kernel), same(up.bias)
        double(f"up{step}.conv.", conv)
    found["outc.conv.weight"], found["outc.conv.bias"] = kernel(model.last.kernel), same(model.last.bias)
    return found
