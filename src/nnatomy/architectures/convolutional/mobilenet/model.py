"""MobileNet: convolutions split into depthwise and pointwise (Howard et al. 2017), in bottlenecks (2018), and gated (2019).

SqueezeExcitation, the gate of version 3, is in layers/blocks.py. Training is in recipe.py, the theory in page.md. Names are
torchvision's; version 1, which it lacks, follows the same scheme.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

from nnatomy import functional as F
from nnatomy import init, ops
from nnatomy.errors import UserError, unknown_name
from nnatomy.layers import (
    BatchNorm2d,
    Conv2d,
    Dropout,
    Hardsigmoid,
    Hardswish,
    Linear,
    ReLU,
    ReLU6,
    SqueezeExcitation,
)  # fmt: skip
from nnatomy.layers.module import Module, Sequential
from nnatomy.tensor import Parameter, Tensor
from nnatomy.typing import Float, Int

Activation = Callable[[], Module]


class Row(NamedTuple):
    """A block: what a line of a paper's table says of it."""

    outputs: int
    stride: int
    expansion: float = 1
    kernel: int = 3
    squeeze: bool = False
    activation: Activation = ReLU6


def _repeated(outputs: int, stride: int, count: int, expansion: int) -> tuple[Row, ...]:
    return tuple(Row(outputs, 1 if number else stride, expansion) for number in range(count))


RE, HS = ReLU, Hardswish
TABLES: dict[str, tuple[Row, ...]] = {
    "v1": (
        Row(64, 1), Row(128, 2), Row(128, 1), Row(256, 2), Row(256, 1), Row(512, 2), *[Row(512, 1)] * 5, Row(1024, 2),
        Row(1024, 1),
    ),
    "v2": (
        Row(16, 1), *_repeated(24, 2, 2, 6), *_repeated(32, 2, 3, 6), *_repeated(64, 2, 4, 6), *_repeated(96, 1, 3, 6),
        *_repeated(160, 2, 3, 6), Row(320, 1, 6),
    ),
    "v3-small": (
        Row(16, 2, 1, 3, True, RE), Row(24, 2, 72 / 16, 3, False, RE), Row(24, 1, 88 / 24, 3, False, RE),
        Row(40, 2, 4, 5, True, HS), *[Row(40, 1, 6, 5, True, HS)] * 2, *[Row(48, 1, 3, 5, True, HS)] * 2,
        Row(96, 2, 6, 5, True, HS), *[Row(96, 1, 6, 5, True, HS)] * 2,
    ),
    "v3-large": (
        Row(16, 1, 1, 3, False, RE), Row(24, 2, 4, 3, False, RE), Row(24, 1, 3, 3, False, RE), Row(40, 2, 3, 5, True, RE),
        *[Row(40, 1, 3, 5, True, RE)] * 2, Row(80, 2, 6, 3, False, HS), Row(80, 1, 2.5, 3, False, HS),
        *[Row(80, 1, 2.3, 3, False, HS)] * 2, *[Row(112, 1, 6, 3, True, HS)] * 2, Row(160, 2, 6, 5, True, HS),
        *[Row(160, 1, 6, 5, True, HS)] * 2,
    ),
}  # fmt: skip
"""The blocks of each version (2017, table 1; 2018, table 2; 2019, tables 1 and 2). The stem is in front of them."""


def make_divisible(value: float | int, divisor: int = 8) -> int:
    """Return the multiple of `divisor` nearest to `value`, at least `divisor`, and not more than 10% below `value`."""
    rounded = max(divisor, int(value + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * value else rounded


class SameConv2d(Conv2d):
    """A convolution with ceil(n / stride) outputs for a side of n, TensorFlow's "SAME".

    An odd number of zeros is divided unevenly: for stride 2 and an even n, a kernel of 3 pads one row below and none above.
    """

    def forward(self, x: Float[Tensor, "batch inputs height width"]) -> Float[Tensor, "batch outputs new_height new_width"]:
        zeros = [(0, 0), (0, 0)]
        for side, kernel, stride in zip(x.shape[2:], self.kernel_size, self.stride, strict=True):
            total = max(kernel - (side % stride or stride), 0)
            zeros.append((total // 2, total - total // 2))
        return super().forward(ops.pad(x, zeros))  # type: ignore[no-any-return]


class Parts(NamedTuple):
    """How a network's convolutions pad and are normalized."""

    padding: str
    eps: float
    momentum: float

    def conv(
        self, inputs: int, outputs: int, kernel: int = 1, stride: int = 1, groups: int = 1, activation: Activation | None = None
    ) -> list[Module]:
        """Return a convolution without bias, its normalization and its activation."""
        if stride > 1 and self.padding == "same":
            conv: Module = SameConv2d(inputs, outputs, kernel, stride, groups=groups, bias=False)
        else:
            conv = Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
        return [conv, BatchNorm2d(outputs, self.eps, self.momentum), *([activation()] if activation else [])]


class DepthwiseSeparable(Sequential):
    """Version 1: one k x k kernel for each map, then a 1x1 convolution across the maps (2017, figure 3)."""

    def __init__(self, inputs: int, outputs: int, row: Row, parts: Parts) -> None:
        super().__init__(
            *parts.conv(inputs, inputs, row.kernel, row.stride, groups=inputs, activation=row.activation),
            *parts.conv(inputs, outputs, activation=row.activation),
        )


class LinearBottleneck(Module):
    """Versions 2 and 3: expand by 1x1, filter each map, project by 1x1 with no activation; x + that where shapes agree.

    Subclasses name the layers.
    """

    adds: bool

    def branch(self, x: Float[Tensor, "batch inputs height width"]) -> Float[Tensor, "batch outputs new_height new_width"]:
        """Return the projected maps."""
        raise NotImplementedError

    def forward(self, x: Float[Tensor, "batch inputs height width"]) -> Float[Tensor, "batch outputs new_height new_width"]:
        y = self.branch(x)
        return x + y if self.adds else y


class InvertedResidual(LinearBottleneck):
    """A block of version 2 (2018, table 1 and figure 4 d)."""

    def __init__(self, inputs: int, outputs: int, row: Row, parts: Parts) -> None:
        hidden = int(inputs * row.expansion)
        expand = [] if row.expansion == 1 else [Sequential(*parts.conv(inputs, hidden, activation=row.activation))]
        self.conv = Sequential(
            *expand,
            Sequential(*parts.conv(hidden, hidden, row.kernel, row.stride, hidden, row.activation)),
            *parts.conv(hidden, outputs),
        )
        self.adds = row.stride == 1 and inputs == outputs

    def branch(self, x: Float[Tensor, "batch inputs height width"]) -> Float[Tensor, "batch outputs new_height new_width"]:
        return self.conv(x)  # type: ignore[no-any-return]


class SqueezedResidual(LinearBottleneck):
    """A block of version 3: kernels of 3 or 5, and a factor for each filtered map from the means of all (2019, figure 4)."""

    def __init__(self, inputs: int, outputs: int, row: Row, parts: Parts) -> None:
        hidden = inputs if row.expansion == 1 else make_divisible(inputs * row.expansion)
        layers: list[Module] = []
        if row.expansion != 1:
            layers.append(Sequential(*parts.conv(inputs, hidden, activation=row.activation)))
        layers.append(Sequential(*parts.conv(hidden, hidden, row.kernel, row.stride, hidden, row.activation)))
        if row.squeeze:
            layers.append(SqueezeExcitation(hidden, make_divisible(hidden / 4), ReLU, Hardsigmoid))
        layers.append(Sequential(*parts.conv(hidden, outputs)))
        self.block = Sequential(*layers)
        self.adds = row.stride == 1 and inputs == outputs

    def branch(self, x: Float[Tensor, "batch inputs height width"]) -> Float[Tensor, "batch outputs new_height new_width"]:
        return self.block(x)  # type: ignore[no-any-return]


class MobileNet(Module):
    """A 3x3 stem, the blocks of a version, in versions 2 and 3 a 1x1 convolution, the mean of each map, and linear layers.

    Args:
        version: "v1", "v2", "v3-small" or "v3-large"
        classes: scores for each image
        channels: of an image
        alpha: width multiplier: each layer has about alpha times the maps
        padding: "same", TensorFlow's and the authors', or "symmetric", PyTorch's
        blocks: the first blocks alone; all if None
        downsample: a side of the image over a side of the last maps; below 32, the first strides of 2 become 1
        dropout: probability in front of the last layer
        eps: of the normalizations
        momentum: of their running means; TensorFlow's decay of 0.999 is a momentum of 0.001

    The defaults are version 2: 3,504,872 parameters. Raises UserError for other names and numbers.
    """

    def __init__(
        self, version: str = "v2", classes: int = 1000, channels: int = 3, alpha: float = 1.0, padding: str = "same",
        blocks: int | None = None, downsample: int = 32, dropout: float = 0.2, eps: float = 1e-3, momentum: float = 0.001,
    ) -> None:  # fmt: skip
        for name, value, known in (("version", version, TABLES), ("padding", padding, ("same", "symmetric"))):
            if value not in known:
                raise unknown_name(name, value, tuple(known))
        rows = TABLES[version]
        count = len(rows) if blocks is None else blocks
        if alpha <= 0 or min(classes, channels) < 1 or not 1 <= count <= len(rows) or downsample not in (1, 2, 4, 8, 16, 32):
            raise UserError(
                f"MobileNet {version} has an alpha above 0, classes and channels of at least 1, 1 to {len(rows)} blocks and a "
                f"downsample of 1, 2, 4, 8, 16 or 32. Received alpha={alpha}, classes={classes}, channels={channels}, "
                f"blocks={blocks}, downsample={downsample}. Use alpha=0.25 and downsample=8 for small images."
            )
        self.options: dict[str, Any] = {
            "version": version, "classes": classes, "channels": channels, "alpha": alpha, "padding": padding, "blocks": blocks,
            "downsample": downsample, "dropout": dropout, "eps": eps, "momentum": momentum,
        }  # fmt: skip
        parts = Parts(padding, eps, momentum)
        kept = round(math.log2(downsample))  # strides of 2 that stay: the last ones
        halving = [number for number, row in enumerate((Row(0, 2), *rows)) if row.stride == 2]
        flat = halving[: len(halving) - kept]
        third = version.startswith("v3")
        block: Any = SqueezedResidual if third else InvertedResidual if version == "v2" else DepthwiseSeparable
        maps = 16 if third else width(version, 32, alpha)
        stem = parts.conv(channels, maps, 3, 1 if 0 in flat else 2, activation=HS if third else ReLU6)
        features: list[Module] = [Sequential(*stem)]
        for number, row in enumerate(rows[:count], start=1):
            outputs = width(version, row.outputs, alpha)
            features.append(block(maps, outputs, row._replace(stride=1) if number in flat else row, parts))
            maps = outputs
        if version != "v1":
            last = make_divisible(6 * maps if third else 1280 * max(1.0, alpha))
            features.append(Sequential(*parts.conv(maps, last, activation=HS if third else ReLU6)))
            maps = last
        self.features = Sequential(*features)
        hidden: list[Module] = []
        if third:
            units = make_divisible({"v3-small": 1024, "v3-large": 1280}[version] * max(1.0, alpha))
            hidden = [Linear(maps, units), Hardswish()]
            maps = units
        self.classifier = Sequential(*hidden, Dropout(dropout), Linear(maps, classes))
        start_weights(self)

    def forward(self, x: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch classes"]:
        """Return a score for each class. Raises UserError for images with other channels."""
        channels = self.options["channels"]
        if x.ndim != 4 or x.shape[1] != channels:
            raise UserError(
                f"This MobileNet takes images (batch, {channels}, height, width). Received shape {tuple(x.shape)}. "
                f"Use channels={x.shape[1] if x.ndim > 1 else 1} or reshape them."
            )
        x = self.features(x)  # (batch, maps, height / downsample, width / downsample)
        return self.classifier(x.mean(axis=(2, 3)))  # type: ignore[no-any-return]


def width(version: str, maps: int, alpha: float) -> int:
    """Return how many maps a layer has under the width multiplier, at least 8; in versions 2 and 3 a multiple of 8."""
    return max(int(maps * alpha), 8) if version == "v1" else make_divisible(maps * alpha)


def start_weights(model: Module) -> None:
    """Draw convolutions from N(0, 2 / n), n = kernel area times output maps of a group, linear layers from N(0, 0.01^2)."""
    for layer in model.modules():
        if isinstance(layer, Conv2d):
            outputs, _, height, wide = layer.weight.shape
            std = (2 * layer.groups / (outputs * height * wide)) ** 0.5
            layer.weight = Parameter(init.normal(layer.weight.shape, std=std))
        elif isinstance(layer, Linear):
            layer.weight = Parameter(init.normal(layer.weight.shape, std=0.01))
        if isinstance(layer, Conv2d | Linear) and layer.bias is not None:
            layer.bias = Parameter(init.zeros(layer.bias.shape))


def loss(
    model: Module, x: Float[Tensor, "batch channels height width"], targets: Int[Tensor, " batch"]
) -> tuple[Float[Tensor, ""], Float[Tensor, "batch classes"]]:
    """Return the mean cross-entropy of the scores, and the scores."""
    scores = model(x)
    return F.cross_entropy(scores, targets), scores


def build(
    version: str = "v2", classes: int = 1000, channels: int = 3, alpha: float = 1.0, padding: str = "same",
    blocks: int | None = None, downsample: int = 32, dropout: float = 0.2, eps: float = 1e-3, momentum: float = 0.001,
) -> MobileNet:  # fmt: skip
    """Return the MobileNet of a version; see `MobileNet`."""
    return MobileNet(version, classes, channels, alpha, padding, blocks, downsample, dropout, eps, momentum)
