"""CoAtNet: stages of convolution, then stages of attention with a learned bias for each offset (Dai, Liu, Le and Tan 2021).

Equations and tables are the paper's. Training is in recipe.py, the theory in page.md. Names of parameters are those of timm's
coatnet_0_224 to coatnet_3_224.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnatomy import functional as F
from nnatomy import init, ops
from nnatomy.errors import UserError, unknown_name
from nnatomy.layers import AvgPool2d, BatchNorm2d, Conv2d, LayerNorm, Linear, SiLU, SqueezeExcitation
from nnatomy.layers.module import Module, Sequential
from nnatomy.tensor import Parameter, Tensor
from nnatomy.typing import Float, Int

SIZES: dict[str, tuple[tuple[int, ...], tuple[int, ...], int]] = {
    "0": ((96, 192, 384, 768), (2, 3, 5, 2), 64),
    "1": ((96, 192, 384, 768), (2, 6, 14, 2), 64),
    "2": ((128, 256, 512, 1024), (2, 6, 14, 2), 128),
    "3": ((192, 384, 768, 1536), (2, 6, 14, 2), 192),
}
"""Widths and blocks of the stages, and the width of the stem (table 3)."""
EXPANSION = 4
"""How many times wider a block is inside (appendix A.1)."""
STD = 0.02

Maps = Float[Tensor, "batch channels height width"]
NewMaps = Float[Tensor, "batch new_channels new_height new_width"]


def relative_index(height: int, width: int) -> NDArray[Any]:
    """Return for each two positions i, j of a map, in row-major order, the row of the table that their offset i - j has.

    (height width, height width); the row is (dy + height - 1) (2 width - 1) + dx + width - 1.
    """
    y, x = (a.ravel() for a in np.mgrid[:height, :width])
    dy, dx = y[:, None] - y, x[:, None] - x
    return np.asarray((dy + height - 1) * (2 * width - 1) + dx + width - 1)


# Parts


class ChannelNorm(LayerNorm):
    """Layer normalization of the channels at each position of maps."""

    def forward(self, x: Maps) -> NewMaps:
        return super().forward(x.transpose((0, 2, 3, 1))).transpose((0, 3, 1, 2))  # type: ignore[no-any-return]


class PooledNorm(Module):
    """The mean of each 2 x 2 positions of normalized maps."""

    def __init__(self, channels: int) -> None:
        self.norm, self.pool = ChannelNorm(channels, 1e-6), AvgPool2d(2)

    def forward(self, x: Maps) -> NewMaps:
        return self.pool(self.norm(x))  # type: ignore[no-any-return]


class Shortcut(Module):
    """Proj(Pool(x)) of equations 4 and 5: the mean of 2 x 2 positions for stride 2, a 1x1 convolution where widths change."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        self.pool = AvgPool2d(2) if stride == 2 else None
        self.expand = Conv2d(inputs, outputs, 1) if inputs != outputs else None

    def forward(self, x: Maps) -> NewMaps:
        x = x if self.pool is None else self.pool(x)
        return x if self.expand is None else self.expand(x)


class RelativePosition(Module):
    """w_(i-j): a learned number for each offset between two positions and each head; all pairs at one offset share it."""

    def __init__(self, height: int, width: int, heads: int) -> None:
        self.index = relative_index(height, width)
        self.relative_position_bias_table = Parameter(
            init.trunc_normal(((2 * height - 1) * (2 * width - 1), heads), std=STD)
        )

    def forward(self) -> Float[Tensor, "heads positions positions"]:
        return ops.embedding(self.relative_position_bias_table, self.index).transpose((2, 0, 1))  # type: ignore[no-any-return]


class RelativeAttention(Module):
    """y_i = sum_j softmax_j(q_i . k_j / sqrt(d) + w_(i-j)) v_j in each head, then a 1x1 convolution (equation 3)."""

    def __init__(self, inputs: int, outputs: int, head_size: int, sides: tuple[int, int]) -> None:
        self.heads, self.head_size, self.sides = outputs // head_size, head_size, sides
        self.qkv = Conv2d(inputs, 3 * outputs, 1)
        self.rel_pos = RelativePosition(*sides, self.heads)
        self.proj = Conv2d(outputs, outputs, 1)

    def weights(self, x: Maps) -> tuple[Float[Tensor, "batch heads positions positions"], Tensor]:
        """Return how much each position takes from each, and the values (batch, heads, features, positions)."""
        batch, _, height, width = x.shape
        qkv = self.qkv(x).reshape(batch, self.heads, 3 * self.head_size, height * width)
        q, k, v = ops.split(qkv, self.head_size, axis=2)
        scores = q.transpose((0, 1, 3, 2)) @ k / self.head_size**0.5  # (batch, heads, positions, positions)
        return F.softmax(scores + self.rel_pos(), axis=3), v

    def forward(self, x: Maps) -> NewMaps:
        weights, v = self.weights(x)
        y = v @ weights.transpose((0, 1, 3, 2))  # (batch, heads, features, positions)
        return self.proj(y.reshape(x.shape[0], self.heads * self.head_size, *x.shape[2:]))  # type: ignore[no-any-return]


class MLP(Module):
    """fc2(gelu(fc1(x))) at each position, as 1x1 convolutions."""

    def __init__(self, channels: int) -> None:
        self.fc1, self.fc2 = Conv2d(channels, EXPANSION * channels, 1), Conv2d(EXPANSION * channels, channels, 1)

    def forward(self, x: Maps) -> NewMaps:
        return self.fc2(F.gelu(self.fc1(x)))  # type: ignore[no-any-return]


# Blocks, stages and the network


class MBConvBlock(Module):
    """x = Proj(Pool(x)) + Conv(DepthConv(Conv(Norm(x)))), squeezed and excited before the last convolution (equation 5).

    The stride is in the depthwise convolution, or with stride_in "1x1" in the first, as equation 5 has it.
    """

    def __init__(self, inputs: int, outputs: int, stride: int, stride_in: str, squeeze: float) -> None:
        wide, narrow = EXPANSION * outputs, int(squeeze * outputs)
        first, second = (stride, 1) if stride_in == "1x1" else (1, stride)
        self.shortcut = Shortcut(inputs, outputs, stride)
        self.pre_norm = BatchNorm2d(inputs)
        self.conv1_1x1 = Conv2d(inputs, wide, 1, first, bias=False)
        self.norm1 = BatchNorm2d(wide)
        self.conv2_kxk = Conv2d(wide, wide, 3, second, padding=1, groups=wide, bias=False)
        self.norm2 = BatchNorm2d(wide)
        self.se = SqueezeExcitation(wide, narrow, SiLU) if narrow else None
        self.conv3_1x1 = Conv2d(wide, outputs, 1)

    def forward(self, x: Maps) -> NewMaps:
        y = F.gelu(self.norm1(self.conv1_1x1(self.pre_norm(x))))
        y = F.gelu(self.norm2(self.conv2_kxk(y)))
        y = self.conv3_1x1(y if self.se is None else self.se(y))
        return self.shortcut(x) + y  # type: ignore[no-any-return]


class TransformerBlock(Module):
    """x = Proj(Pool(x)) + Attention(Pool(Norm(x))), then x = x + MLP(Norm(x)) (equation 4)."""

    def __init__(self, inputs: int, outputs: int, stride: int, head_size: int, sides: tuple[int, int]) -> None:
        self.shortcut = Shortcut(inputs, outputs, stride)
        self.norm1 = PooledNorm(inputs) if stride == 2 else ChannelNorm(inputs, 1e-6)
        self.attn = RelativeAttention(inputs, outputs, head_size, sides)
        self.norm2 = ChannelNorm(outputs, 1e-6)
        self.mlp = MLP(outputs)

    def forward(self, x: Maps) -> NewMaps:
        x = self.shortcut(x) + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))  # type: ignore[no-any-return]


class Stage(Module):
    """Blocks of one kind and width; the first has the stride."""

    def __init__(self, blocks: Sequence[Module]) -> None:
        self.blocks = Sequential(*blocks)

    def forward(self, x: Maps) -> NewMaps:
        return self.blocks(x)  # type: ignore[no-any-return]


class Stem(Module):
    """Two 3x3 convolutions, the first with the stride, normalization and gelu between them."""

    def __init__(self, channels: int, width: int, stride: int) -> None:
        self.conv1 = Conv2d(channels, width, 3, stride, padding=1, bias=False)
        self.norm1 = BatchNorm2d(width)
        self.conv2 = Conv2d(width, width, 3, padding=1, bias=False)

    def forward(self, x: Maps) -> NewMaps:
        return self.conv2(F.gelu(self.norm1(self.conv1(x))))  # type: ignore[no-any-return]


class PreLogits(Module):
    """tanh(fc(x))."""

    def __init__(self, inputs: int, outputs: int) -> None:
        self.fc = Linear(inputs, outputs)

    def forward(self, x: Float[Tensor, "batch features"]) -> Float[Tensor, "batch hidden"]:
        return ops.tanh(self.fc(x))  # type: ignore[no-any-return]


class Head(Module):
    """The mean of each map, normalized, a layer with tanh unless its width is 0, and the scores."""

    def __init__(self, channels: int, width: int, classes: int) -> None:
        self.norm = LayerNorm(channels, 1e-6)
        self.pre_logits = PreLogits(channels, width) if width else None
        self.fc = Linear(width or channels, classes)

    def forward(self, x: Maps) -> Float[Tensor, "batch classes"]:
        y = self.norm(x.mean(axis=(2, 3)))
        return self.fc(y if self.pre_logits is None else self.pre_logits(y))  # type: ignore[no-any-return]


class CoAtNet(Module):
    """A stem, stages of convolution ("C" in `layout`) and of attention ("T"), and a head.

    Args:
        image_size: (height, width), which the product of the strides divides
        channels: of an image
        classes: scores for each image
        widths: channels of each stage
        depths: blocks of each stage
        stem: channels of the stem
        layout: the kind of each stage; the paper compares CCTT, CCCT, CTTT and others and chooses CCTT (section 2.2)
        strides: of the stem and of each stage, 1 or 2
        head_size: features of an attention head, which divides the widths of stages of attention
        head_width: units of the layer with tanh before the scores; 0: no such layer
        stride_in: "3x3" or "1x1", see MBConvBlock
        squeeze: width of squeeze-and-excitation, as a fraction of a block's output; 0: none

    Raises UserError for sizes that do not fit.
    """

    def __init__(
        self, image_size: tuple[int, int], channels: int, classes: int, widths: Sequence[int], depths: Sequence[int], stem: int,
        layout: str, strides: Sequence[int], head_size: int, head_width: int, stride_in: str, squeeze: float,
    ) -> None:  # fmt: skip
        if stride_in not in ("3x3", "1x1"):
            raise unknown_name("stride_in", stride_in, ("3x3", "1x1"))
        _check(layout, widths, depths, strides, (channels, classes, stem, head_size), head_size)
        self.channels, self.layout, self.stride_in = channels, layout, stride_in
        self.depths, self.strides = tuple(depths), tuple(strides)
        self.grids = _grids(image_size, strides)
        """Sides of an image, and of the maps after the stem and after each stage."""
        self.stem = Stem(channels, stem, strides[0])
        stages, inputs = [], stem
        for kind, width, depth, stride, sides in zip(layout, widths, depths, strides[1:], self.grids[2:], strict=True):
            blocks: list[Module] = []
            for number in range(depth):
                step = 1 if number else stride
                if kind == "C":
                    blocks.append(MBConvBlock(inputs, width, step, stride_in, squeeze))
                else:
                    blocks.append(TransformerBlock(inputs, width, step, head_size, sides))
                inputs = width
            stages.append(Stage(blocks))
        self.stages = stages
        self.head = Head(inputs, head_width, classes)
        start_weights(self)

    def forward(self, images: Maps) -> Float[Tensor, "batch classes"]:
        """Return a score for each class. Raises UserError for images of another size."""
        return self.head(self.maps(images)[-1])  # type: ignore[no-any-return]

    def maps(self, images: Maps) -> list[Tensor]:
        """Return the maps after the stem and after each stage."""
        if tuple(images.shape[1:]) != (self.channels, *self.grids[0]):
            raise UserError(
                f"This CoAtNet reads images of shape {(self.channels, *self.grids[0])}. Received {tuple(images.shape[1:])}. "
                "Resize the images: the tables of offsets have one size."
            )
        found = [self.stem(images)]
        for stage in self.stages:
            found.append(stage(found[-1]))
        return found


def _check(
    layout: str, widths: Sequence[int], depths: Sequence[int], strides: Sequence[int], sizes: Sequence[int], head_size: int
) -> None:
    if not layout or set(layout) - {"C", "T"}:
        raise UserError(f'layout has a letter for each stage, "C" or "T". Received {layout!r}. Use "CCTT".')
    if not len(layout) == len(widths) == len(depths) == len(strides) - 1 or set(strides) - {1, 2}:
        raise UserError(
            f"A CoAtNet of {len(layout)} stages needs as many widths and depths, and a stride of 1 or 2 for the stem and each "
            f"stage. Received widths {tuple(widths)}, depths {tuple(depths)}, strides {tuple(strides)}. Change them or layout."
        )
    attending = [width for kind, width in zip(layout, widths, strict=True) if kind == "T"]
    if min(*widths, *depths, *sizes) < 1 or any(width % head_size for width in attending):
        raise UserError(
            "A CoAtNet needs sizes of at least 1, and heads that divide the widths of stages of attention. Received widths "
            f"{tuple(widths)}, depths {tuple(depths)} and head_size {head_size}. Use a head_size that divides {attending}."
        )


def _grids(image_size: tuple[int, int], strides: Sequence[int]) -> list[tuple[int, int]]:
    """Sides of an image, and of the maps after each stride."""
    found = [(int(image_size[0]), int(image_size[1]))]
    for stride in strides:
        height, width = found[-1]
        if min(height, width) < 1 or height % stride or width % stride:
            raise UserError(
                f"The strides of a CoAtNet must divide the sides of its images. Received images of {image_size[0]} x "
                f"{image_size[1]} and strides {tuple(strides)}. Use smaller strides, or resize the images."
            )
        found.append((height // stride, width // stride))
    return found


def start_weights(model: CoAtNet) -> None:
    """Draw weights as timm does: N(0, 2 / outputs area) in convolutions, Glorot's in attention and MLPs; biases are 0."""
    for name, layer in model.named_modules():
        if isinstance(layer, Conv2d):
            shape = layer.weight.shape
            if ".attn." in name or ".mlp." in name or (".shortcut." in name and model.layout[int(name.split(".")[1])] == "T"):
                layer.weight = Parameter(init.xavier_uniform(shape))
            else:
                layer.weight = Parameter(init.kaiming_normal(shape, mode="fan_out", nonlinearity="relu"))
            if layer.bias is not None:
                layer.bias = Parameter(init.zeros((shape[0],)))


def receptive_field(model: CoAtNet) -> list[int | None]:
    """Return how many pixels a side one position sees after the stem and after each stage; None where it sees the whole image.

    r grows by 2 steps with each 3x3 convolution, a step being the distance of neighboring positions in pixels. What
    squeeze-and-excitation sees, which is the mean of whole maps, is left out.
    """
    step = model.strides[0]
    r = 3 + 2 * step
    found: list[int | None] = [r]
    for kind, depth, stride in zip(model.layout, model.depths, model.strides[1:], strict=True):
        for number in range(depth if kind == "C" else 0):
            before = step
            step *= 1 if number else stride
            r += 2 * (step if model.stride_in == "1x1" else before)
        whole = kind == "T" or found[-1] is None
        found.append(None if whole else r)
    return found


def loss(
    model: CoAtNet, images: Maps, labels: Int[Tensor, " batch"]
) -> tuple[Float[Tensor, ""], Float[Tensor, "batch classes"]]:
    """Return the mean cross-entropy of the scores, and the scores."""
    scores = model(images)
    return F.cross_entropy(scores, labels), scores


def build(
    size: str = "0", image_size: int | tuple[int, int] = 224, channels: int = 3, classes: int = 1000,
    widths: Sequence[int] | None = None, depths: Sequence[int] | None = None, stem: int | None = None, layout: str = "CCTT",
    strides: Sequence[int] | None = None, head_size: int | None = None, head_width: int | None = None, stride_in: str = "3x3",
    squeeze: float = 0.25,
) -> CoAtNet:  # fmt: skip
    """A CoAtNet from plain values: one of SIZES, of which each given value replaces the table's.

    Without `strides` all are 2; without `head_size` a head has 32 features; without `head_width` the layer with tanh is as wide
    as the last stage.
    """
    if str(size) not in SIZES:
        raise unknown_name("size", str(size), tuple(SIZES))
    usual_widths, usual_depths, usual_stem = SIZES[str(size)]
    widths, depths = tuple(usual_widths if widths is None else widths), tuple(usual_depths if depths is None else depths)
    sides = (image_size, image_size) if isinstance(image_size, int) else (image_size[0], image_size[1])
    return CoAtNet(
        sides, channels, classes, widths, depths, usual_stem if stem is None else stem, layout,
        (2,) * (len(layout) + 1) if strides is None else tuple(strides), 32 if head_size is None else head_size,
        widths[-1] if head_width is None else head_width, stride_in, squeeze,
    )  # fmt: skip
