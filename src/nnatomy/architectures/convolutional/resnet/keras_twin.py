"""ResNet in Keras: an independent twin, written from He, Zhang, Ren and Sun (2015), version 1, and (2016), version 2.
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


class Convolution(layers.Conv2D):
    """A convolution without bias, with zeros on all four sides: TensorFlow's "same" adds fewer on top with a stride of 2."""

    def __init__(self, maps: int, size: int, stride: int = 1, **options: Any) -> None:
        start = keras.initializers.VarianceScaling(2.0, "fan_out", "untruncated_normal")
        super().__init__(
            maps, size, strides=stride, use_bias=False, kernel_initializer=start, data_format="channels_last", **options
        )
        self.border = size // 2

    def call(self, x: Any) -> Any:
        edge = (self.border, self.border)
        return super().call(ops.pad(x, [(0, 0), edge, edge, (0, 0)]) if self.border else x)


class Block(layers.Layer):
    """Two 3x3 convolutions, or a bottleneck of 1x1, 3x3 and 1x1, and what goes around them."""

    def __init__(
        self, inputs: int, planes: int, stride: int, bottleneck: bool, version: int, stride_in: str, shortcut: str,
        residual: bool, bare: bool, name: str, dtype: str,
    ) -> None:  # fmt: skip
        super().__init__(name=name, dtype=dtype)
        self.version, self.stride, self.residual = version, stride, residual
        self.outputs = planes * (4 if bottleneck else 1)
        self.extra = self.outputs - inputs
        sizes = (1, 3, 1) if bottleneck else (3, 3)
        maps = (planes, planes, self.outputs)[-len(sizes) :]
        strides = [1] * len(sizes)
        strides[1 if bottleneck and stride_in == "3x3" else 0] = stride
        self.convs = [
            Convolution(m, size, s, dtype=dtype, name=f"{name}_conv{k}")
            for k, (m, size, s) in enumerate(zip(maps, sizes, strides, strict=True), 1)
        ]
        self.bare = bare  # version 2: the stem has already normalized the input of the first block of all
        self.norms = [BatchNorm(dtype=dtype, name=f"{name}_bn{k}") for k in range(1 + bare, len(sizes) + 1)]
        self.changes = residual and (stride > 1 or self.extra != 0)
        self.project = self.project_norm = None
        if self.changes and shortcut == "B":
            self.project = Convolution(self.outputs, 1, stride, dtype=dtype, name=f"{name}_downsample_0")
            if version == 1:
                self.project_norm = BatchNorm(dtype=dtype, name=f"{name}_downsample_1")

    def around(self, x: Any, training: bool) -> Any:
        if not self.changes:
            return x
        if self.project is None:
            return ops.pad(x[:, :: self.stride, :: self.stride], [(0, 0), (0, 0), (0, 0), (0, self.extra)])
        x = self.project(x)
        return x if self.project_norm is None else self.project_norm(x, training=training)

    def call(self, x: Any, training: bool = False) -> Any:
        if self.version == 1:
            y = x
            for conv, norm in zip(self.convs, self.norms, strict=True):
                y = norm(conv(y if conv is self.convs[0] else ops.relu(y)), training=training)
            return ops.relu(y + self.around(x, training) if self.residual else y)
        active = x if self.bare else ops.relu(self.norms[0](x, training=training))
        y = self.convs[0](active)
        for conv, norm in zip(self.convs[1:], self.norms if self.bare else self.norms[1:], strict=True):
            y = conv(ops.relu(norm(y, training=training)))
        return y + self.around(active if self.changes else x, training) if self.residual else y


class ResNet(keras.Model):
    def __init__(self, blocks: list[Block], large: bool, width: int, classes: int, version: int, dtype: str) -> None:
        super().__init__(dtype=dtype)
        self.conv1 = Convolution(width, 7 if large else 3, 2 if large else 1, dtype=dtype, name="conv1")
        self.bn1 = BatchNorm(dtype=dtype, name="bn1")
        self.pool = layers.MaxPooling2D(3, 2, data_format="channels_last", dtype=dtype) if large else None
        self.blocks = blocks
        self.norm = BatchNorm(dtype=dtype, name="norm") if version == 2 else None
        self.fc = layers.Dense(classes, dtype=dtype, name="fc")

    def call(self, x: Any, training: bool = False) -> Any:
        x = ops.relu(self.bn1(self.conv1(ops.transpose(x, (0, 2, 3, 1))), training=training))
        if self.pool is not None:
            x = self.pool(ops.pad(x, [(0, 0), (1, 1), (1, 1), (0, 0)], constant_values=-np.inf))
        for block in self.blocks:
            x = block(x, training=training)
        if self.norm is not None:
            x = ops.relu(self.norm(x, training=training))
        return self.fc(ops.mean(x, axis=(1, 2)))


def build(
    depth: int = 50, classes: int = 1000, channels: int = 3, width: int | None = None, layers: tuple[int, ...] | None = None,
    version: int = 1, stride_in: str = "3x3", shortcut: str | None = None, residual: bool = True,
) -> ResNet:  # fmt: skip
    """The network with the initial weights of He et al. (2015b)."""
    dtype = keras.config.floatx()
    table = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}
    large = depth in table
    if not large and (depth % 6 != 2 or depth < 8):
        raise ValueError(f"depth must be 18, 34, 50, 101, 152 or 6 n + 2, got {depth}")
    counts = layers if layers is not None else table[depth] if large else [(depth - 2) // 6] * 3
    planes = start = width if width is not None else 64 if large else 16
    shortcut = shortcut if shortcut is not None else "B" if large else "A"
    blocks: list[Block] = []
    maps = planes
    for stage, count in enumerate(counts):
        for k in range(count):
            bare = version == 2 and not blocks
            stride = 1 if k or not stage else 2
            blocks.append(
                Block(
                    maps, planes, stride, large and depth > 34, version, stride_in, shortcut, residual, bare,
                    f"layer{stage + 1}_{k}", dtype,
                )
            )  # fmt: skip
            maps = blocks[-1].outputs
        planes *= 2
    model = ResNet(blocks, large, start, classes, version, dtype)
    model(np.zeros((1, channels, 32, 32), dtype))
    return model


def loss(model: ResNet, x: Any, targets: Any, training: bool = True) -> Any:
    """Mean cross-entropy."""
    scores = model(x, training=training)
    return ops.mean(keras.losses.sparse_categorical_crossentropy(ops.convert_to_tensor(targets), scores, from_logits=True))


def weight_map(model: ResNet) -> dict[str, Weight]:
    """Our names to Keras variables; Keras keeps matrices as (in, out) and kernels as (height, width, in, out)."""
    found = {
        "fc.weight": Weight(model.fc.kernel, np.transpose, np.transpose),
        "fc.bias": Weight(model.fc.bias, np.array, np.array),
    }

    parts: list[Any] = [model.conv1, model.bn1]
    for block in model.blocks:
        parts += [*block.convs, *block.norms, block.project, block.project_norm]
    for part in [*parts, model.norm]:
        if part is None:
            continue
        name = part.name.replace("_", ".")
        if isinstance(part, Convolution):
            found[f"{name}.weight"] = Weight(part.kernel, lambda a: a.transpose(2, 3, 1, 0), lambda a: a.transpose(3, 2, 0, 1))
        else:
            variables = {"weight": part.gamma, "bias": part.beta, "running_mean": part.mean, "running_var": part.variance}
            found |= {f"{name}.{key}": Weight(value, np.array, np.array) for key, value in variables.items()}
    return found
