"""The denoising autoencoder in PyTorch: an independent twin, written from Vincent et al. (2008) and Vincent et al. (2010).
It shares nothing with the architecture's model but the names and shapes of its state."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

ACTIVATIONS = {"sigmoid": torch.sigmoid, "tanh": torch.tanh, "relu": torch.relu}


class Decoder(nn.Module):
    """A linear map whose weight is its own, or the encoder's transposed."""

    def __init__(self, units: int, features: int, tied: bool) -> None:
        super().__init__()
        whole = nn.Linear(units, features)
        self.weight = None if tied else whole.weight
        self.bias = whole.bias

    def forward(self, h: Tensor, encoder: Tensor) -> Tensor:
        return F.linear(h, encoder.T if self.weight is None else self.weight, self.bias)


class DenoisingAutoencoder(nn.Module):
    """Corruption, one hidden layer, and a linear reconstruction."""

    def __init__(
        self, features: int, units: int, noise: str, level: float, activation: str, tied: bool, low: float, high: float
    ) -> None:
        super().__init__()
        self.noise, self.level, self.low, self.high = noise, level, low, high
        self.activation = ACTIVATIONS[activation]
        self.encoder = nn.Linear(features, units)
        self.decoder = Decoder(units, features, tied)

    def corrupt(self, x: Tensor, noise: Tensor) -> Tensor:
        """x + sigma noise, or x with a fraction `level` of its numbers at low, or one half of them at low and one at high."""
        if self.noise == "gaussian":
            return torch.add(x, noise, alpha=self.level * (self.high - self.low))
        if self.noise == "masking":
            return x.masked_fill(noise < self.level, self.low)
        return x.masked_fill(noise < self.level, self.high).masked_fill(noise < self.level / 2, self.low)

    def forward(self, x: Tensor, noise: Tensor | None = None) -> Tensor:
        given = x if noise is None else self.corrupt(x, noise)
        h = self.activation(self.encoder(given.flatten(1)))
        return self.decoder(h, self.encoder.weight).reshape(x.shape)


def build(
    shape: tuple[int, ...],
    units: int = 512,
    noise: str = "gaussian",
    level: float = 0.5,
    activation: str = "relu",
    tied: bool = False,
    low: float = 0.0,
    high: float = 1.0,
) -> DenoisingAutoencoder:
    """The autoencoder with PyTorch's own initial weights."""
    if noise not in ("gaussian", "masking", "salt_and_pepper"):
        raise ValueError(f"noise is 'gaussian', 'masking' or 'salt_and_pepper'. Received {noise!r}. Use noise='gaussian'.")
    if activation not in ACTIVATIONS:
        raise ValueError(f"activation is 'sigmoid', 'tanh' or 'relu'. Received {activation!r}. Use activation='relu'.")
    return DenoisingAutoencoder(math.prod(shape), units, noise, level, activation, tied, low, high)


def loss(model: DenoisingAutoencoder, x: Tensor, noise: Tensor) -> Tensor:
    """Mean squared error of the reconstruction of the clean x."""
    return F.mse_loss(model(x, noise), x)
