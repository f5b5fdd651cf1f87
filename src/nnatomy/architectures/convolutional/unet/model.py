"""U-Net (Ronneberger, Fischer and Brox 2015): the paper's form without padding, and the padded form for images of any size.

Training is in recipe.py, the theory in page.md. Names are those of the PyTorch implementation by Milesi (2017).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnatomy import functional as F
from nnatomy import init, ops
from nnatomy.errors import UserError
from nnatomy.layers import BatchNorm2d, Conv2d, ConvTranspose2d, MaxPool2d, ReLU
from nnatomy.layers.module import Module, Sequential
from nnatomy.tensor import Parameter, Tensor
from nnatomy.typing import Float, Int

Array = NDArray[Any]
IGNORE = 255
"""The number of a mask's pixels that belong to no class, as data.fields has it: the loss does not count them."""


class DoubleConv(Module):
    """Two times: 3x3 convolution, batch normalization if there is any, ReLU.

    (batch, inputs, height, width) -> (batch, outputs, height, width), or 4 less each way without padding.
    """

    def __init__(self, inputs: int, outputs: int, padded: bool, batch_norm: bool) -> None:
        layers: list[Module] = []
        for maps in (inputs, outputs):
            layers.append(Conv2d(maps, outputs, 3, padding=int(padded), bias=not batch_norm))
            layers += [BatchNorm2d(outputs), ReLU()] if batch_norm else [ReLU()]
        self.double_conv = Sequential(*layers)

    def forward(self, x: Float[Tensor, "batch inputs height width"]) -> Float[Tensor, "batch outputs new_height new_width"]:
        return self.double_conv(x)  # type: ignore[no-any-return]


class Down(Module):
    """A step of the contracting path: the maximum of each 2x2 square, then a double convolution."""

    def __init__(self, inputs: int, outputs: int, padded: bool, batch_norm: bool) -> None:
        self.maxpool_conv = Sequential(MaxPool2d(2), DoubleConv(inputs, outputs, padded, batch_norm))

    def forward(self, x: Float[Tensor, "batch inputs height width"]) -> Float[Tensor, "batch outputs new_height new_width"]:
        return self.maxpool_conv(x)  # type: ignore[no-any-return]


class Up(Module):
    """A step of the expanding path: a 2x2 up-convolution halves the maps, the skip doubles them, a double convolution follows.

    Without padding the skip is cropped to the middle that the maps from below cover. With padding those are one row or column
    short where an odd side was halved, and get one of zeros.
    """

    def __init__(self, inputs: int, outputs: int, padded: bool, batch_norm: bool) -> None:
        self.padded = padded
        self.up = ConvTranspose2d(inputs, outputs, 2, stride=2)
        self.conv = DoubleConv(inputs, outputs, padded, batch_norm)

    def forward(
        self, x: Float[Tensor, "batch inputs height width"], skip: Float[Tensor, "batch outputs skip_height skip_width"]
    ) -> Float[Tensor, "batch outputs new_height new_width"]:
        x = self.up(x)  # [batch, outputs, 2 height, 2 width]
        if self.padded:
            short = [large - small for large, small in zip(skip.shape[2:], x.shape[2:], strict=True)]
            x = ops.pad(x, ((0, 0), (0, 0), *((n // 2, n - n // 2) for n in short))) if any(short) else x
        else:
            skip = crop(skip, x)
        return self.conv(ops.concatenate([skip, x], axis=1))  # type: ignore[no-any-return]


class OutConv(Module):
    """A 1x1 convolution from the maps of each pixel to its class scores."""

    def __init__(self, inputs: int, outputs: int) -> None:
        self.conv = Conv2d(inputs, outputs, 1)

    def forward(self, x: Float[Tensor, "batch inputs height width"]) -> Float[Tensor, "batch outputs height width"]:
        return self.conv(x)  # type: ignore[no-any-return]


class UNet(Module):
    """A contracting path that sees ever more context, and an expanding path that puts it back in its place.

    Args:
        n_channels: channels of an image
        n_classes: scores for each pixel
        width: maps of the first level; each level below has twice as many
        depth: how often the sides are halved
        padded: True keeps the size of every image; False is the paper's form, whose output is smaller (see `valid_size`)
        batch_norm: normalize after each 3x3 convolution, which then has no bias; not in the paper

    The defaults are the paper's network: 31,030,658 parameters. Raises UserError for numbers below 1.

    Source: Ronneberger, Fischer and Brox (2015), figure 1.
    """

    def __init__(
        self, n_channels: int = 1, n_classes: int = 2, width: int = 64, depth: int = 4, padded: bool = False,
        batch_norm: bool = False,
    ) -> None:  # fmt: skip
        for name, value in (("n_channels", n_channels), ("n_classes", n_classes), ("width", width), ("depth", depth)):
            if value < 1:
                raise UserError(f"A U-Net needs {name} of at least 1. Received {value}. Use {name}={max(1, abs(value))}.")
        self.n_channels, self.n_classes, self.depth, self.padded = n_channels, n_classes, depth, padded
        maps = [width * 2**level for level in range(depth + 1)]
        self.inc = DoubleConv(n_channels, width, padded, batch_norm)
        for level in range(1, depth + 1):
            setattr(self, f"down{level}", Down(maps[level - 1], maps[level], padded, batch_norm))
        for step in range(1, depth + 1):
            setattr(self, f"up{step}", Up(maps[-step], maps[-step - 1], padded, batch_norm))
        self.outc = OutConv(width, n_classes)
        start_weights(self)

    def forward(self, x: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch classes new_height new_width"]:
        """Return scores of the classes at each pixel.

        Raises UserError for images with other channels, and for sizes that cannot be halved `depth` times.
        """
        self._check(x)
        return self.decode(self.encode(x))

    def encode(self, x: Float[Tensor, "batch channels height width"]) -> list[Tensor]:
        """Return the maps of each level from the top to the bottleneck, [batch, width 2^level, height / 2^level, ...]."""
        maps = [self.inc(x)]
        for level in range(1, self.depth + 1):
            maps.append(getattr(self, f"down{level}")(maps[-1]))
        return maps

    def decode(self, maps: list[Tensor]) -> Float[Tensor, "batch classes new_height new_width"]:
        """Return scores for the maps of each level: the last one goes up, the others are the skips."""
        x = maps[-1]
        for step in range(1, self.depth + 1):
            x = getattr(self, f"up{step}")(x, maps[-step - 1])
        return self.outc(x)  # type: ignore[no-any-return]

    def _check(self, x: Any) -> None:
        if x.ndim != 4 or x.shape[1] != self.n_channels:
            raise UserError(
                f"This U-Net takes images (batch, {self.n_channels}, height, width). Received shape {tuple(x.shape)}. "
                f"Use n_channels={x.shape[1] if x.ndim > 1 else 1} or reshape them."
            )
        for side in x.shape[2:]:
            if self.padded and side < 2**self.depth:
                raise UserError(
                    f"A U-Net that halves {self.depth} times takes sides of at least {2**self.depth} pixels. "
                    f"Received {x.shape[2]} x {x.shape[3]}. Enlarge the image or use a smaller depth."
                )
            if not self.padded and side != (fitting := valid_size(max(1, side - shrinkage(self.depth)), self.depth)[0]):
                raise UserError(
                    f"Without padding each side must be even before every pooling. Received {x.shape[2]} x {x.shape[3]}. "
                    f"Use sides of {fitting} pixels, or overlap_tile() for images of any size."
                )


def start_weights(model: Module) -> None:
    """Draw each convolution's weights from N(0, 2 / N), N inputs to a unit, and set its bias to 0 (section 3)."""
    for _, layer in model.named_modules():
        if isinstance(layer, Conv2d):
            layer.weight = Parameter(init.kaiming_normal(layer.weight.shape, nonlinearity="relu"))
            if layer.bias is not None:
                layer.bias = Parameter(init.zeros(layer.bias.shape))


# Sizes without padding


def shrinkage(depth: int) -> int:
    """Return by how many pixels a side shrinks without padding: 12 2^depth - 8, which is 184 for the paper's depth of 4."""
    return 12 * (1 << depth) - 8


def valid_size(output: int, depth: int = 4) -> tuple[int, int]:
    """Return the least input side without padding whose output has at least `output` pixels, and that output's side.

    The bottleneck's output has n pixels, the network's 2^depth n - 4 (2^depth - 1); n counts up from 1.
    """
    factor = 2**depth
    n = max(1, -(-(output + 4 * (factor - 1)) // factor))
    covered = factor * n - 4 * (factor - 1)
    return covered + shrinkage(depth), covered


def crop(x: Any, like: Any) -> Any:
    """Return the middle of x (..., height, width) that has the height and width of `like`."""
    top, left = ((large - small) // 2 for large, small in zip(x.shape[-2:], like.shape[-2:], strict=True))
    return x[..., top : top + like.shape[-2], left : left + like.shape[-1]]


def overlap_tile(model: Callable[[Any], Any], image: Array, depth: int, tile: int) -> Array:
    """Return scores (classes, height, width) of an image of any size by a model without padding, tile by tile.

    Each tile's output joins the others without a seam: the input tiles overlap by the border that the model consumes. Pixels
    outside the image are mirrored.

    Args:
        image: (channels, height, width), each side longer than half of `shrinkage(depth)`
        tile: pixels of a tile's output side, at least

    Source: Ronneberger, Fischer and Brox (2015), figure 2.
    """
    given, made = valid_size(tile, depth)
    border = shrinkage(depth) // 2
    _, height, width = image.shape
    if min(height, width) <= border:
        raise UserError(f"Mirrored borders need sides above {border} pixels. Received {height} x {width}. Use a smaller depth.")
    rows, columns = (-(-side // made) for side in (height, width))
    spare = [(0, 0), (border, border + rows * made - height), (border, border + columns * made - width)]
    framed = np.pad(image, spare, mode="reflect")
    bands = []
    for top in range(0, rows * made, made):
        tiles = [framed[None, :, top : top + given, left : left + given] for left in range(0, columns * made, made)]
        bands.append(np.concatenate([np.asarray(model(Tensor(one)).data)[0] for one in tiles], axis=2))
    return np.concatenate(bands, axis=1)[:, :height, :width]


# The loss


def loss(
    model: Module, x: Float[Tensor, "batch channels height width"], mask: Int[Tensor, "batch height width"],
    weights: Float[Tensor, "batch height width"] | None = None,
) -> tuple[Float[Tensor, ""], Float[Tensor, "batch classes new_height new_width"]]:  # fmt: skip
    """Return the mean cross-entropy of the pixels that have a class, weighted if `weights` are given; and the scores.

    A mask larger than the scores is cropped to its middle, as the skips are.
    """
    scores = model(x)
    mask = crop(mask, scores)
    if weights is not None:
        return weighted_cross_entropy(scores, mask, crop(weights, scores)), scores
    return F.cross_entropy(scores, mask, ignore_index=IGNORE), scores


def weighted_cross_entropy(
    scores: Float[Tensor, "batch classes height width"], mask: Int[Tensor, "batch height width"],
    weights: Float[Tensor, "batch height width"],
) -> Float[Tensor, ""]:  # fmt: skip
    """Return E = -mean over pixels of w(x) ln p_l(x)(x), 0 where the pixel has no class (equation 1, divided by the pixels)."""
    losses = F.cross_entropy(scores, mask, ignore_index=IGNORE, reduction="none")
    return F.batch_mean(losses * weights)  # type: ignore[no-any-return]


def border_weights(cells: Array, w0: float = 10.0, sigma: float = 5.0) -> Array:
    """Return w(x) = w_c(x) + w0 exp(-(d1(x) + d2(x))^2 / (2 sigma^2)), which makes narrow gaps between cells expensive.

    w_c balances background and cells: the mean pixels of the two, divided by those of the pixel's own. d1 and d2 are the
    distances to the nearest and to the second nearest cell; fewer than two cells have no gap, and the second term is
    0. It is also 0 inside cells, as in the paper's figure 3.

    Args:
        cells: integers (height, width), 0 for background and another number for each cell
        w0, sigma: height and width of the extra weight, in pixels

    Source: Ronneberger, Fischer and Brox (2015), equation 2.
    """
    from scipy.ndimage import distance_transform_edt

    background = cells == 0
    counts = np.maximum([(~background).sum(), background.sum()], 1)
    weights = np.where(background, cells.size / (2 * counts[1]), cells.size / (2 * counts[0]))
    numbers = np.unique(cells[~background])
    if len(numbers) > 1:
        distances = np.sort([distance_transform_edt(cells != n) for n in numbers], axis=0)
        weights += np.where(background, w0 * np.exp(-((distances[0] + distances[1]) ** 2) / (2 * sigma**2)), 0.0)
    return np.asarray(weights, np.float32)


def build(
    n_channels: int = 1, n_classes: int = 2, width: int = 64, depth: int = 4, padded: bool = False, batch_norm: bool = False
) -> UNet:
    """Return a U-Net from plain values; the defaults are the paper's network."""
    return UNet(n_channels, n_classes, width, depth, padded, batch_norm)
