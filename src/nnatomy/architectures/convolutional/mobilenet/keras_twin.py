"""MobileNets in Keras: an independent twin, written from Howard et al. (2017), Sandler et al. (2018) and Howard et al. (2019).
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


class Block(NamedTuple):
    """A row of a table: the depthwise kernel, expansion, maps, stride, activation, squeeze and excitation."""

    kernel: int
    expansion: float
    maps: int
    stride: int
    act: str = "relu6"
    squeeze: bool = False


def table(version: str) -> list[Block]:
    if version == "v1":
        maps, strides = [64, 128, 128, 256, 256, *[512] * 6, 1024, 1024], [1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1]
        return [Block(3, 1, c, s) for c, s in zip(maps, strides, strict=True)]
    if version == "v2":
        groups = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
        return [Block(3, t, c, 1 if i else s) for t, c, n, s in groups for i in range(n)]
    # kernel, expanded maps over input maps, maps, stride, h-swish or ReLU, squeeze or not
    small = """3 16/16 16 2 R S, 3 72/16 24 2 R -, 3 88/24 24 1 R -, 5 96/24 40 2 H S, 5 240/40 40 1 H S, 5 240/40 40 1 H S,
               5 120/40 48 1 H S, 5 144/48 48 1 H S, 5 288/48 96 2 H S, 5 576/96 96 1 H S, 5 576/96 96 1 H S"""
    large = """3 16/16 16 1 R -, 3 64/16 24 2 R -, 3 72/24 24 1 R -, 5 72/24 40 2 R S, 5 120/40 40 1 R S, 5 120/40 40 1 R S,
               3 240/40 80 2 H -, 3 200/80 80 1 H -, 3 184/80 80 1 H -, 3 184/80 80 1 H -, 3 480/80 112 1 H S,
               3 672/112 112 1 H S, 5 672/112 160 2 H S, 5 960/160 160 1 H S, 5 960/160 160 1 H S"""
    rows = []
    for row in (small if version == "v3-small" else large).split(","):
        kernel, ratio, c, s, act, squeeze = row.split()
        top, bottom = ratio.split("/")
        rows.append(
            Block(int(kernel), int(top) / int(bottom), int(c), int(s), {"R": "relu", "H": "swish"}[act], squeeze == "S")
        )
    return rows


def eights(v: float) -> int:
    """Round to a multiple of 8, at least 8, and upward where more than 10 percent would be lost."""
    n = max(8, int(v + 4) // 8 * 8)
    return n if n >= 0.9 * v else n + 8


ACTIVATIONS: dict[str, Callable[[Any], Any]] = {
    "relu": ops.relu,
    "relu6": ops.relu6,
    "swish": lambda x: x * ops.relu6(x + 3) / 6,
    "none": lambda x: x,
}


class BatchNorm(layers.Layer):
    """Batch normalization whose running variance is the unbiased one, as in PyTorch; Keras's own is biased."""

    def __init__(self, eps: float, momentum: float, name: str, dtype: str) -> None:
        super().__init__(name=name, dtype=dtype)
        self.eps, self.momentum = eps, momentum

    def build(self, shape: tuple[int, ...]) -> None:
        self.gamma = self.add_weight(shape=(shape[-1],), initializer="ones", name="gamma")
        self.beta = self.add_weight(shape=(shape[-1],), initializer="zeros", name="beta")
        self.mean = self.add_weight(shape=(shape[-1],), initializer="zeros", trainable=False, name="mean")
        self.variance = self.add_weight(shape=(shape[-1],), initializer="ones", trainable=False, name="variance")

    def call(self, x: Any, training: bool = False) -> Any:
        mean, variance = self.mean, self.variance
        if training:
            mean, variance = ops.moments(x, axes=(0, 1, 2))
            count = ops.cast(ops.size(x) / ops.shape(x)[-1], x.dtype)
            self.mean.assign(self.mean + self.momentum * (mean - self.mean))
            self.variance.assign(self.variance + self.momentum * (variance * count / (count - 1) - self.variance))
        return (x - mean) * ops.rsqrt(variance + self.eps) * self.gamma + self.beta


class Net(NamedTuple):
    """What all convolutions of a network share."""

    padding: str
    eps: float
    momentum: float
    dtype: str


class Unit(layers.Layer):
    """A convolution without bias (of each map alone if `maps` is 0), batch normalization, an activation."""

    def __init__(self, net: Net, maps: int, kernel: int, stride: int, act: str, conv: str, norm: str) -> None:
        super().__init__(name=conv.replace(".", "_"), dtype=net.dtype)
        same = net.padding == "same" or kernel == 1
        self.act, self.border = ACTIVATIONS[act], 0 if same else kernel // 2
        options = {"strides": stride, "padding": "same" if same else "valid", "use_bias": False, "dtype": net.dtype}
        options |= {"data_format": "channels_last", "name": conv.replace(".", "_")}
        self.conv = layers.Conv2D(maps, kernel, **options) if maps else layers.DepthwiseConv2D(kernel, **options)
        self.norm = BatchNorm(net.eps, net.momentum, norm.replace(".", "_"), net.dtype)
        self.paths = [(conv, self.conv), (norm, self.norm)]

    def call(self, x: Any, training: bool = False) -> Any:
        edge = (self.border, self.border)
        x = ops.pad(x, [(0, 0), edge, edge, (0, 0)]) if self.border else x
        return self.act(self.norm(self.conv(x), training=training))


class Squeeze(layers.Layer):
    """Each map times a number in [0, 1] that two dense layers make of the means of all maps."""

    def __init__(self, maps: int, path: str, dtype: str) -> None:
        super().__init__(name=path.replace(".", "_"), dtype=dtype)
        self.fc1, self.fc2 = layers.Dense(eights(maps / 4), "relu", dtype=dtype), layers.Dense(maps, dtype=dtype)
        self.paths = [(f"{path}.fc1", self.fc1), (f"{path}.fc2", self.fc2)]

    def call(self, x: Any, training: bool = False) -> Any:
        share = ops.relu6(self.fc2(self.fc1(ops.mean(x, axis=(1, 2)))) + 3) / 6
        return x * share[:, None, None, :]


class MobileNet(keras.Model):
    """The stem, blocks with or without a way around them, the head."""

    def __init__(
        self, version: str, classes: int, alpha: float, blocks: int | None, downsample: int, dropout: float, net: Net
    ) -> None:  # fmt: skip
        super().__init__(dtype=net.dtype)
        third, rows = version.startswith("v3"), table(version)
        act = "swish" if third else "relu6"

        def width(maps: float) -> int:
            return max(int(maps * alpha), 8) if version == "v1" else eights(maps * alpha)

        # Of the stem and the blocks with a stride of 2, the first ones lose it.
        strided = [i for i, stride in enumerate([2, *(row.stride for row in rows)]) if stride == 2]
        strided = strided[5 - downsample.bit_length() + 1 :]
        maps = 16 if third else width(32)
        self.stem = Unit(net, maps, 3, 2 if 0 in strided else 1, act, "features.0.0", "features.0.1")
        self.blocks: list[tuple[list[Any], bool]] = []
        for i, row in enumerate(rows[:blocks], 1):
            outputs, stride = width(row.maps), 2 if i in strided else 1
            path, parts = f"features.{i}.", list[Any]()
            if version == "v1":
                parts.append(Unit(net, 0, 3, stride, "relu6", path + "0", path + "1"))
                parts.append(Unit(net, outputs, 1, 1, "relu6", path + "3", path + "4"))
            else:
                path += "block." if third else "conv."
                hidden = eights(maps * row.expansion) if third else int(maps * row.expansion)
                if (i > 1) if third else (row.expansion != 1):
                    parts.append(Unit(net, hidden, 1, 1, row.act, path + "0.0", path + "0.1"))
                here = f"{path}{len(parts)}."
                parts.append(Unit(net, 0, row.kernel, stride, row.act, here + "0", here + "1"))
                if row.squeeze:
                    parts.append(Squeeze(hidden, f"{path}{len(parts)}", net.dtype))
                n = len(parts)
                last = (f"{path}{n}.0", f"{path}{n}.1") if third else (f"{path}{n}", f"{path}{n + 1}")
                parts.append(Unit(net, outputs, 1, 1, "none", *last))
            self.blocks.append((parts, version != "v1" and stride == 1 and maps == outputs))
            maps = outputs
        self.layers_of_blocks = [part for parts, _ in self.blocks for part in parts]
        self.top = None
        if version != "v1":
            top, path = eights(6 * maps if third else 1280 * max(1.0, alpha)), f"features.{len(self.blocks) + 1}."
            self.top = Unit(net, top, 1, 1, act, path + "0", path + "1")
        self.hidden = None
        if third:
            units = 1024 if version == "v3-small" else 1280
            self.hidden = layers.Dense(eights(units * max(1.0, alpha)), dtype=net.dtype, name="classifier_0")
        self.drop = layers.Dropout(dropout, dtype=net.dtype)
        self.last = layers.Dense(classes, dtype=net.dtype, name="classifier_3" if third else "classifier_1")

    def call(self, x: Any, training: bool = False) -> Any:
        x = self.stem(ops.transpose(x, (0, 2, 3, 1)), training=training)
        for parts, around in self.blocks:
            y = x
            for part in parts:
                y = part(y, training=training)
            x = x + y if around else y
        if self.top is not None:
            x = self.top(x, training=training)
        x = ops.mean(x, axis=(1, 2))
        if self.hidden is not None:
            x = ACTIVATIONS["swish"](self.hidden(x))
        return self.last(self.drop(x, training=training))


def build(
    version: str = "v2",
    classes: int = 1000,
    channels: int = 3,
    alpha: float = 1.0,
    padding: str = "same",
    blocks: int | None = None,
    downsample: int = 32,
    dropout: float = 0.2,
    eps: float = 1e-3,
    momentum: float = 0.001,
) -> MobileNet:
    """The network with Keras' own initial weights."""
    if version not in ("v1", "v2", "v3-small", "v3-large"):
        raise ValueError(f"version is 'v1', 'v2', 'v3-small' or 'v3-large'. Received {version!r}. Use version='v2'.")
    if padding not in ("same", "symmetric"):
        raise ValueError(f"padding is 'same' or 'symmetric'. Received {padding!r}. Use padding='same'.")
    if downsample not in (1, 2, 4, 8, 16, 32):
        raise ValueError(f"downsample is 1, 2, 4, 8, 16 or 32. Received {downsample!r}. Use downsample=32.")
    dtype = keras.config.floatx()
    model = MobileNet(version, classes, alpha, blocks, downsample, dropout, Net(padding, eps, momentum, dtype))
    model(np.zeros((1, channels, 32, 32), dtype))
    return model


def loss(model: MobileNet, x: Any, targets: Any, training: bool = True) -> Any:
    """Mean cross-entropy."""
    scores = model(x, training=training)
    return ops.mean(keras.losses.sparse_categorical_crossentropy(ops.convert_to_tensor(targets), scores, from_logits=True))


def weight_map(model: MobileNet) -> dict[str, Weight]:
    """Our names to Keras variables; matrices are kept as (in, out), kernels as (height, width, in, out)."""
    found: dict[str, Weight] = {}

    def same(variable: Any) -> Weight:
        return Weight(variable, np.array, np.array)

    units = [unit for unit in (model.stem, *model.layers_of_blocks, model.top) if unit is not None]
    paths = [pair for unit in units for pair in unit.paths]
    paths += [(dense.name.replace("_", "."), dense) for dense in (model.hidden, model.last) if dense is not None]
    for path, layer in paths:
        if isinstance(layer, BatchNorm):
            names = {"weight": layer.gamma, "bias": layer.beta, "running_mean": layer.mean, "running_var": layer.variance}
            found |= {f"{path}.{name}": same(variable) for name, variable in names.items()}
        elif isinstance(layer, layers.DepthwiseConv2D):
            found[f"{path}.weight"] = Weight(
                layer.kernel, lambda a: a.transpose(2, 3, 0, 1), lambda a: a.transpose(2, 3, 0, 1)
            )  # fmt: skip
        elif isinstance(layer, layers.Conv2D):
            found[f"{path}.weight"] = Weight(layer.kernel, lambda a: a.transpose(2, 3, 1, 0), lambda a: a.transpose(3, 2, 0, 1))
        else:
            flat = path.startswith("classifier")  # those of squeeze and excitation are 1x1 convolutions
            found[f"{path}.weight"] = Weight(
                layer.kernel, lambda a: a.reshape(a.shape[:2]).T, np.transpose if flat else lambda a: a.T[:, :, None, None]
            )
            found[f"{path}.bias"] = same(layer.bias)
    return found
