"""CoAtNet in Keras: an independent twin, written from Dai, Liu, Le and Tan (2021).
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


def gelu(x: Any) -> Any:
    """x Phi(x), by the error function."""
    return 0.5 * x * (1 + ops.erf(x / math.sqrt(2)))


def halved(x: Any) -> Any:
    """The mean of each 2 x 2 patch."""
    return ops.average_pool(x, 2, 2, "valid", data_format="channels_last")


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
    """A convolution with one row or column of zeros on each side of a 3x3 kernel."""

    def __init__(self, maps: int, side: int, stride: int, bias: bool, dtype: str) -> None:
        super().__init__(maps, side, strides=stride, use_bias=bias, data_format="channels_last", dtype=dtype)
        self.border = (side // 2, side // 2)

    def call(self, x: Any) -> Any:
        return super().call(ops.pad(x, [(0, 0), self.border, self.border, (0, 0)]))


class Block(layers.Layer):
    """What goes around both kinds of blocks."""

    def __init__(self, inputs: int, outputs: int, stride: int, dtype: str) -> None:
        super().__init__(dtype=dtype)
        self.stride = stride
        self.parts: dict[str, Any] = {}
        if inputs != outputs:
            self.parts["shortcut.expand"] = layers.Dense(outputs, dtype=dtype)

    def around(self, x: Any) -> Any:
        x = halved(x) if self.stride == 2 else x
        return self.parts["shortcut.expand"](x) if "shortcut.expand" in self.parts else x


class MBConv(Block):
    """x + a convolution of each map alone, between two that mix maps, the wide ones in the middle."""

    def __init__(self, inputs: int, outputs: int, stride: int, stride_in: str, squeeze: float, dtype: str) -> None:
        super().__init__(inputs, outputs, stride, dtype)
        early = stride if stride_in == "1x1" else 1
        depthwise = layers.DepthwiseConv2D(
            3, stride // early, use_bias=False, data_format="channels_last", dtype=dtype
        )  # fmt: skip
        self.parts |= {
            "pre_norm": BatchNorm(dtype=dtype),
            "conv1_1x1": Convolution(4 * outputs, 1, early, False, dtype),
            "norm1": BatchNorm(dtype=dtype),
            "conv2_kxk": depthwise,
            "norm2": BatchNorm(dtype=dtype),
            "conv3_1x1": Convolution(outputs, 1, 1, True, dtype),
        }
        self.squeezes = squeeze > 0
        if self.squeezes:
            self.parts["se.fc1"] = layers.Dense(int(squeeze * outputs), "silu", dtype=dtype)
            self.parts["se.fc2"] = layers.Dense(4 * outputs, "sigmoid", dtype=dtype)

    def call(self, x: Any, training: bool = False) -> Any:
        part = self.parts
        y = part["conv1_1x1"](part["pre_norm"](x, training=training))
        y = ops.pad(gelu(part["norm1"](y, training=training)), [(0, 0), (1, 1), (1, 1), (0, 0)])
        y = gelu(part["norm2"](part["conv2_kxk"](y), training=training))
        if self.squeezes:
            y = y * part["se.fc2"](part["se.fc1"](ops.mean(y, axis=(1, 2), keepdims=True)))
        return self.around(x) + part["conv3_1x1"](y)


class Transformer(Block):
    """x + attention(norm(x)), then x + MLP(norm(x)); equation 4 where the sides are halved."""

    def __init__(self, inputs: int, outputs: int, stride: int, heads: int, sides: tuple[int, int], dtype: str) -> None:
        super().__init__(inputs, outputs, stride, dtype)
        self.heads, self.features = heads, outputs // heads
        self.first = "norm1.norm" if stride == 2 else "norm1"
        self.parts |= {
            self.first: layers.LayerNormalization(epsilon=1e-6, dtype=dtype),
            "attn.qkv": layers.Dense(3 * outputs, dtype=dtype),
            "attn.proj": layers.Dense(outputs, dtype=dtype),
            "norm2": layers.LayerNormalization(epsilon=1e-6, dtype=dtype),
            "mlp.fc1": layers.Dense(4 * outputs, gelu, dtype=dtype),
            "mlp.fc2": layers.Dense(outputs, dtype=dtype),
        }
        height, width = sides
        shape = ((2 * height - 1) * (2 * width - 1), heads)
        self.table = self.add_weight(shape=shape, initializer="zeros", name="table")
        places = [(y, x) for y in range(height) for x in range(width)]
        self.index = np.array(
            [[(yi - yj + height - 1) * (2 * width - 1) + xi - xj + width - 1 for yj, xj in places] for yi, xi in places]
        )

    def attention(self, x: Any) -> Any:
        height, width = x.shape[1:3]
        mixed = ops.reshape(self.parts["attn.qkv"](x), (-1, height * width, self.heads, 3, self.features))
        q, k, v = mixed[:, :, :, 0], mixed[:, :, :, 1], mixed[:, :, :, 2]
        bias = ops.transpose(ops.take(self.table, self.index, axis=0), (2, 0, 1))
        weights = ops.softmax(ops.einsum("bihd,bjhd->bhij", q, k) / math.sqrt(self.features) + bias, axis=-1)
        joined = ops.einsum("bhij,bjhd->bihd", weights, v)
        return self.parts["attn.proj"](ops.reshape(joined, (-1, height, width, self.heads * self.features)))

    def call(self, x: Any, training: bool = False) -> Any:
        a = self.parts[self.first](x)
        x = self.around(x) + self.attention(halved(a) if self.stride == 2 else a)
        return x + self.parts["mlp.fc2"](self.parts["mlp.fc1"](self.parts["norm2"](x)))


class CoAtNet(keras.Model):
    """A stem of convolutions, stages of MBConv or transformer blocks, and a head on the mean over places."""

    def __init__(
        self, sides: tuple[int, int], classes: int, widths: Sequence[int], depths: Sequence[int], stem: int, layout: str,
        strides: Sequence[int], head_size: int, head_width: int, stride_in: str, squeeze: float, dtype: str,
    ) -> None:  # fmt: skip
        super().__init__(dtype=dtype)
        self.conv1, self.norm1 = Convolution(stem, 3, strides[0], False, dtype), BatchNorm(dtype=dtype)
        self.conv2 = Convolution(stem, 3, 1, False, dtype)
        self.blocks: list[list[Block]] = []
        total, inputs = strides[0], stem
        for i, (letter, outputs, depth) in enumerate(zip(layout, widths, depths, strict=True), 1):
            stage: list[Block] = []
            total *= strides[i]
            here = (sides[0] // total, sides[1] // total)
            for stride in [strides[i], *[1] * (depth - 1)]:
                if letter == "C":
                    stage.append(MBConv(inputs, outputs, stride, stride_in, squeeze, dtype))
                else:
                    stage.append(Transformer(inputs, outputs, stride, outputs // head_size, here, dtype))
                inputs = outputs
            self.blocks.append(stage)
        self.norm = layers.LayerNormalization(epsilon=1e-6, dtype=dtype)
        self.hidden = layers.Dense(head_width, "tanh", dtype=dtype) if head_width else None
        self.last = layers.Dense(classes, dtype=dtype)

    def call(self, images: Any, training: bool = False) -> Any:
        x = self.conv1(ops.transpose(images, (0, 2, 3, 1)))
        x = self.conv2(gelu(self.norm1(x, training=training)))
        for stage in self.blocks:
            for block in stage:
                x = block(x, training=training)
        x = self.norm(ops.mean(x, axis=(1, 2)))
        return self.last(x if self.hidden is None else self.hidden(x))


def build(
    size: str = "0",
    image_size: int | tuple[int, int] = 224,
    channels: int = 3,
    classes: int = 1000,
    widths: Sequence[int] | None = None,
    depths: Sequence[int] | None = None,
    stem: int | None = None,
    layout: str = "CCTT",
    strides: Sequence[int] | None = None,
    head_size: int | None = None,
    head_width: int | None = None,
    stride_in: str = "3x3",
    squeeze: float = 0.25,
) -> CoAtNet:
    """The network with Keras' own initial weights; a value that is given replaces that of table 3."""
    if size not in ("0", "1", "2", "3"):
        raise ValueError(f"size is '0', '1', '2' or '3'. Received {size!r}. Use size='0'.")
    if stride_in not in ("3x3", "1x1"):
        raise ValueError(f"stride_in is '3x3' or '1x1'. Received {stride_in!r}. Use stride_in='3x3'.")
    base = {"0": 96, "1": 96, "2": 128, "3": 192}[size]
    wide = [base * 2**i for i in range(4)] if widths is None else widths
    deep = ([2, 3, 5, 2] if size == "0" else [2, 6, 14, 2]) if depths is None else depths
    first = {"0": 64, "1": 64, "2": 128, "3": 192}[size] if stem is None else stem
    height, width = (image_size, image_size) if isinstance(image_size, int) else image_size
    steps = [2] * (len(wide) + 1) if strides is None else strides
    dtype, tanh = keras.config.floatx(), wide[-1] if head_width is None else head_width
    one = 32 if head_size is None else head_size
    model = CoAtNet((height, width), classes, wide, deep, first, layout, steps, one, tanh, stride_in, squeeze, dtype)
    model(np.zeros((1, channels, height, width), dtype))
    return model


def loss(model: CoAtNet, images: Any, labels: Any, training: bool = True) -> Any:
    """Mean cross-entropy."""
    scores = model(images, training=training)
    return ops.mean(keras.losses.sparse_categorical_crossentropy(ops.convert_to_tensor(labels), scores, from_logits=True))


def weight_map(model: CoAtNet) -> dict[str, Weight]:
    """Our names to Keras variables; a dense layer over maps is a 1x1 convolution in our state."""
    parts: dict[str, Any] = {"stem.conv1": model.conv1, "stem.norm1": model.norm1, "stem.conv2": model.conv2}
    parts |= {"head.norm": model.norm, "head.fc": model.last}
    if model.hidden is not None:
        parts["head.pre_logits.fc"] = model.hidden
    found: dict[str, Weight] = {}

    def same(variable: Any) -> Weight:
        return Weight(variable, np.array, np.array)

    for i, stage in enumerate(model.blocks):
        for j, block in enumerate(stage):
            path = f"stages.{i}.blocks.{j}."
            parts |= {path + name: part for name, part in block.parts.items()}
            if isinstance(block, Transformer):
                found[path + "attn.rel_pos.relative_position_bias_table"] = same(block.table)
    for name, part in parts.items():
        if isinstance(part, BatchNorm):
            names = {"weight": part.gamma, "bias": part.beta, "running_mean": part.mean, "running_var": part.variance}
            found |= {f"{name}.{key}": same(variable) for key, variable in names.items()}
        elif isinstance(part, layers.LayerNormalization):
            found |= {f"{name}.weight": same(part.gamma), f"{name}.bias": same(part.beta)}
        elif isinstance(part, layers.DepthwiseConv2D):
            found[f"{name}.weight"] = Weight(part.kernel, lambda a: a.transpose(2, 3, 0, 1), lambda a: a.transpose(2, 3, 0, 1))
        elif isinstance(part, Convolution):
            found[f"{name}.weight"] = Weight(part.kernel, lambda a: a.transpose(2, 3, 1, 0), lambda a: a.transpose(3, 2, 0, 1))
        elif name.startswith("head."):
            found[f"{name}.weight"] = Weight(part.kernel, np.transpose, np.transpose)
        else:
            found[f"{name}.weight"] = Weight(part.kernel, lambda a: a[:, :, 0, 0].T, lambda a: a.T[:, :, None, None])
        if isinstance(part, layers.Dense | Convolution) and part.use_bias:
            found[f"{name}.bias"] = same(part.bias)
    return found
