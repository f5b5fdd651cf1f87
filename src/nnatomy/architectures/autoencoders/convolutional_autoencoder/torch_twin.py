"""The convolutional autoencoder in PyTorch: an independent twin, written from Masci et al. (2011), and Dumoulin and Visin
(2016) for its strided form. It shares nothing with the architecture's model but the names and shapes of its state."""

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class ConvolutionalAutoencoder(nn.Module):
    """Stages that halve the sides, and stages that restore them; code and reconstruction are linear."""

    def __init__(self, maps: list[int], strided: bool, kernel: int, activation: str) -> None:
        super().__init__()
        self.strided = strided
        self.activation = torch.relu if activation == "relu" else torch.tanh
        padding, pairs = (kernel - 1) // 2, list(pairwise(maps))
        up = nn.ConvTranspose2d if strided else nn.Conv2d
        stride = 2 if strided else 1
        self.encoder = nn.ModuleList(nn.Conv2d(a, b, kernel, stride, padding) for a, b in pairs)
        self.decoder = nn.ModuleList(up(b, a, kernel, stride, padding) for a, b in reversed(pairs))

    def forward(self, x: Tensor) -> Tensor:
        sizes, last = [], len(self.encoder) - 1
        for s, stage in enumerate(self.encoder):
            sizes.append(x.shape[2:])
            x = stage(x) if s == last else self.activation(stage(x))
            if not self.strided:
                x = F.max_pool2d(x, 2, ceil_mode=True)
        for t, stage in enumerate(self.decoder):
            height, width = sizes.pop()
            if self.strided:
                x = stage(x, output_size=(height, width))
            else:
                x = stage(F.interpolate(x, scale_factor=2, mode="nearest")[:, :, :height, :width])
            x = x if t == last else self.activation(x)
        return x


def build(
    shape: tuple[int, int, int],
    channels: tuple[int, ...] = (16, 4),
    form: str = "strided",
    kernel: int = 3,
    activation: str = "relu",
) -> ConvolutionalAutoencoder:
    """The autoencoder with PyTorch's own initial weights."""
    if form not in ("strided", "pooled"):
        raise ValueError(f"form is 'strided' or 'pooled'. Received {form!r}. Use form='strided'.")
    if activation not in ("relu", "tanh"):
        raise ValueError(f"activation is 'relu' or 'tanh'. Received {activation!r}. Use activation='relu'.")
    if form == "pooled" and kernel % 2 == 0:
        raise ValueError(f"A convolution that keeps the size needs an odd kernel. Received {kernel}. Use kernel=3.")
    return ConvolutionalAutoencoder([shape[0], *channels], form == "strided", kernel, activation)


def loss(model: ConvolutionalAutoencoder, x: Tensor, targets: Tensor) -> Tensor:
    """Mean squared error of the reconstruction."""
    return F.mse_loss(model(x), targets)
