"""The autoencoder in PyTorch: an independent twin, written from Hinton & Salakhutdinov (2006).
It shares nothing with the architecture's model but the names and shapes of its state: encoder.k, decoder.k."""

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def identity(x: Tensor) -> Tensor:
    return x


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "identity": identity,
    "relu": F.relu,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "gelu": F.gelu,
    "silu": F.silu,
    "elu": F.elu,
    "leaky_relu": F.leaky_relu,
    "selu": F.selu,
}


class Turned(nn.Module):
    """The linear layer that uses another's weight transposed, and owns only its bias."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, x: Tensor, weight: Tensor) -> Tensor:
        return F.linear(x, weight.T, self.bias)


class Autoencoder(nn.Module):
    """features -> hidden -> code -> reversed hidden -> features; the code layer is linear."""

    def __init__(
        self, features: int, hidden: Sequence[int], code: int, activation: str, output_activation: str, tied: bool
    ) -> None:
        super().__init__()
        if output_activation not in ("identity", "sigmoid"):
            raise ValueError(f"output_activation must be 'identity' or 'sigmoid', got {output_activation!r}")
        sizes = [features, *hidden, code]
        back = sizes[::-1]
        self.tied = tied
        self.activation, self.output_activation = ACTIVATIONS[activation], ACTIVATIONS[output_activation]
        self.encoder = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(sizes))
        self.decoder = nn.ModuleList(Turned(b) if tied else nn.Linear(a, b) for a, b in pairwise(back))

    def encode(self, x: Tensor) -> Tensor:
        for layer in self.encoder[:-1]:
            x = self.activation(layer(x))
        code: Tensor = self.encoder[-1](x)
        return code

    def decode(self, x: Tensor) -> Tensor:
        last = len(self.decoder) - 1
        for k, layer in enumerate(self.decoder):
            x = layer(x, self.encoder[last - k].weight) if self.tied else layer(x)
            x = self.activation(x) if k < last else self.output_activation(x)
        return x

    def forward(self, x: Tensor) -> Tensor:
        return self.decode(self.encode(x.flatten(1))).reshape(x.shape)


def build(
    features: int,
    hidden: Sequence[int] = (64,),
    code: int = 16,
    activation: str = "relu",
    output_activation: str = "identity",
    tied: bool = False,
) -> Autoencoder:
    """The model with PyTorch's own initial weights; activation 'identity' gives the linear autoencoder."""
    return Autoencoder(features, hidden, code, activation, output_activation, tied)


def loss(model: Autoencoder, x: Tensor, targets: Tensor) -> Tensor:
    """Mean squared error of the reconstruction, which has the shape of x."""
    return F.mse_loss(model(x), targets)
