"""The convolutional autoencoder: an image becomes small maps, and these become an image of the same size again.

Two forms: strided convolutions undone by transposed ones, and convolutions with max-pooling undone by upsampling. Training is
in recipe.py, the theory in page.md.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

from nnatomy import functional as F
from nnatomy import ops
from nnatomy.errors import UserError, unknown_name
from nnatomy.layers import Conv2d, ConvTranspose2d
from nnatomy.layers.module import Module
from nnatomy.tensor import Tensor
from nnatomy.typing import Float

FORMS = ("strided", "pooled")
ACTIVATIONS: dict[str, Callable[[Any], Any]] = {"relu": ops.relu, "tanh": ops.tanh}
STRIDE = 2
"""Each stage halves height and width."""
Size = tuple[int, int]

# Sizes


def halved(size: Size, kernel: int, form: str) -> Size:
    """Return height and width after a stage.

    "strided": floor((n + 2 p - k) / 2) + 1 with p = (k - 1) // 2. "pooled": ceil(n / 2). Source: Dumoulin and Visin (2016).
    """
    if form == "pooled":
        return -(-size[0] // STRIDE), -(-size[1] // STRIDE)
    height, width = ((n + 2 * ((kernel - 1) // 2) - kernel) // STRIDE + 1 for n in size)
    return height, width


def output_padding(small: Size, large: Size, kernel: int) -> Size:
    """Return the rows and columns, 0 or 1, that a transposed convolution lacks to lead from `small` to `large`.

    Without them its output has (m - 1) 2 - 2 p + k rows: two sizes become one when halved, and this says which it was.
    """
    rows, columns = (n - ((m - 1) * STRIDE - 2 * ((kernel - 1) // 2) + kernel) for m, n in zip(small, large, strict=True))
    return rows, columns


# The two ways up and down


def pool(x: Float[Tensor, "batch maps height width"]) -> Float[Tensor, "batch maps small narrow"]:
    """Return the largest of each 2 x 2 window; the last window of an odd size has one row or column less."""
    return F.max_pool2d(x, STRIDE, ceil_mode=True)  # type: ignore[no-any-return]


def upsample(x: Float[Tensor, "batch maps small narrow"], size: Size) -> Float[Tensor, "batch maps height width"]:
    """Return each pixel as 2 x 2 pixels, cut to `size`."""
    large = ops.interpolate(x, scale=STRIDE, mode="nearest")
    return large[:, :, : size[0], : size[1]]  # type: ignore[no-any-return]


class ConvolutionalAutoencoder(Module):
    """code = encode(x), reconstruction = decode(code): each stage halves an image, and the decoder undoes them in reverse.

    Args:
        shape: of an image, (channels, height, width)
        channels: maps after each stage; the last are the maps of the code
        form: "strided" or "pooled"
        kernel: side of all kernels; odd for "pooled"
        activation: after each stage but the last of encoder and decoder, "relu" or "tanh"

    Raises UserError for sizes below 1, unknown names, an even kernel with "pooled", and more stages than the image allows.
    """

    def __init__(
        self, shape: Sequence[int], channels: Sequence[int] = (16, 4), form: str = "strided", kernel: int = 3,
        activation: str = "relu",
    ) -> None:  # fmt: skip
        if len(shape) != 3 or not channels or min(*shape, *channels, kernel) < 1:
            raise UserError(
                f"Images have 3 axes, and all sizes are at least 1. Received shape {tuple(shape)}, channels {tuple(channels)} "
                f"and kernel {kernel}. Use, for example, channels=(16, 4)."
            )
        if form not in FORMS:
            raise unknown_name("form", form, FORMS)
        if activation not in ACTIVATIONS:
            raise unknown_name("activation", activation, ACTIVATIONS)
        if form == "pooled" and kernel % 2 == 0:
            raise UserError(f'kernel is odd for form="pooled", which keeps sizes. Received {kernel}. Use {kernel + 1}.')
        self.form, self.activation = form, activation
        self.sizes = [(shape[1], shape[2])]
        """Height and width before each stage, and of the code."""
        for _ in channels:
            self.sizes.append(halved(self.sizes[-1], kernel, form))
        if min(self.sizes[-1]) < 1 or (form == "strided" and kernel > min(self.sizes[-2]) + 2 * ((kernel - 1) // 2)):
            raise UserError(
                f"Each stage halves the image, which needs a pixel left. Received {len(channels)} stages for "
                f"{tuple(shape)} with kernel {kernel}. Use fewer channels."
            )
        widths, padding = [shape[0], *channels], (kernel - 1) // 2
        stride = STRIDE if form == "strided" else 1
        self.encoder = [Conv2d(wide, narrow, kernel, stride, padding) for wide, narrow in pairwise(widths)]
        self.decoder: list[Module] = []
        for stage in reversed(range(len(channels))):
            ends = widths[stage + 1], widths[stage]
            if form == "pooled":
                self.decoder.append(Conv2d(*ends, kernel, 1, padding))
            else:
                missing = output_padding(self.sizes[stage + 1], self.sizes[stage], kernel)
                self.decoder.append(ConvTranspose2d(*ends, kernel, STRIDE, padding, missing))

    def encode(self, x: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch maps small narrow"]:
        """Return the maps of the code."""
        act, h = ACTIVATIONS[self.activation], x
        for stage, layer in enumerate(self.encoder, start=1):
            h = layer(h)
            if stage < len(self.encoder):
                h = act(h)
            if self.form == "pooled":
                h = pool(h)
        return h

    def decode(self, code: Float[Tensor, "batch maps small narrow"]) -> Float[Tensor, "batch channels height width"]:
        """Return the reconstruction from the maps of the code."""
        act, h = ACTIVATIONS[self.activation], code
        for stage, layer in enumerate(self.decoder, start=1):
            if self.form == "pooled":
                h = upsample(h, self.sizes[-1 - stage])
            h = layer(h)
            if stage < len(self.decoder):
                h = act(h)
        return h

    def forward(self, x: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch channels height width"]:
        """Return the reconstruction."""
        return self.decode(self.encode(x))


def build(
    shape: Sequence[int], channels: Sequence[int] = (16, 4), form: str = "strided", kernel: int = 3, activation: str = "relu"
) -> ConvolutionalAutoencoder:
    """Return a convolutional autoencoder from plain values."""
    return ConvolutionalAutoencoder(shape, channels, form, kernel, activation)


# The loss


def loss(
    model: Module, x: Float[Tensor, "batch *shape"], targets: Float[Tensor, "batch *shape"]
) -> tuple[Tensor, Tensor]:
    """Return the mean over all elements of (y - targets)^2 with y = model(x), and y; the targets are x itself."""
    y = model(x)
    return F.mse_loss(y, targets), y


def reconstruction_error(model: Module, x: Float[Tensor, "batch *shape"], *labels: Tensor) -> tuple[Tensor, Tensor]:
    """Return `loss` against the inputs themselves; labels that a data set may have are not read."""
    return loss(model, x, x)
