"""The autoencoder: a network that must reproduce its input through a layer too narrow to hold it.

Training is in recipe.py, the theory in page.md.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from nnatomy import functional as F
from nnatomy import ops
from nnatomy.errors import UserError, unknown_name
from nnatomy.layers import Linear
from nnatomy.layers.module import Module
from nnatomy.tensor import Parameter, Tensor
from nnatomy.typing import Float

ACTIVATIONS: dict[str, Callable[[Any], Any]] = {
    "relu": ops.relu, "tanh": ops.tanh, "sigmoid": ops.sigmoid, "elu": F.elu, "gelu": F.gelu, "identity": lambda x: x,
}  # fmt: skip
OUTPUTS: dict[str, Callable[[Any], Any]] = {"identity": lambda x: x, "sigmoid": ops.sigmoid}


class TiedLinear(Module):
    """y = x W + b, where W [outputs, inputs] is the weight of another layer: that layer transposed, with its own bias."""

    def __init__(self, source: Linear) -> None:
        self._source = source  # not part of this layer's state: the weight is learned and saved once, with its owner
        self.bias = Parameter(np.zeros(source.weight.shape[1], np.float32))

    def forward(self, x: Float[Tensor, "batch outputs"]) -> Float[Tensor, "batch inputs"]:
        """From what the other layer gives to what it takes."""
        return x @ self._source.weight + self.bias


class Autoencoder(Module):
    """code = encode(x), reconstruction = decode(code): layers lead to `code` numbers, and their mirror image back.

    `features`: numbers in an example. `hidden`: widths of the layers between input and code. `code`: width of the bottleneck.
    `activation`: after each hidden layer; "identity" makes the network linear. `output_activation`: "identity", or "sigmoid"
    for inputs in [0, 1]. `tied`: the decoder uses the encoder's weights, transposed (Vincent et al. 2010).
    Raises UserError for widths below 1 and for unknown activations.
    """

    def __init__(
        self,
        features: int,
        hidden: Sequence[int] = (64,),
        code: int = 16,
        activation: str = "relu",
        output_activation: str = "identity",
        tied: bool = False,
    ) -> None:
        widths = [features, *hidden, code]
        if min(widths) < 1:
            raise UserError(f"Each layer of an autoencoder has a width of at least 1. Received {widths}. Give larger numbers.")
        if activation not in ACTIVATIONS:
            raise unknown_name("activation", activation, ACTIVATIONS)
        if output_activation not in OUTPUTS:
            raise unknown_name("output activation", output_activation, OUTPUTS)
        self.activation, self.output_activation = activation, output_activation
        self.encoder = [Linear(wide, narrow) for wide, narrow in pairwise(widths)]
        self.decoder: list[Module] = [TiedLinear(layer) for layer in reversed(self.encoder)]
        if not tied:
            self.decoder = [Linear(narrow, wide) for narrow, wide in pairwise(reversed(widths))]

    def encode(self, x: Float[Tensor, "batch *shape"]) -> Float[Tensor, "batch code"]:
        """The codes of examples; images and windows are flattened."""
        act = ACTIVATIONS[self.activation]
        h = ops.flatten(x, 1)
        for layer in self.encoder[:-1]:
            h = act(layer(h))
        return self.encoder[-1](h)  # type: ignore[no-any-return]

    def decode(self, code: Float[Tensor, "batch code"]) -> Float[Tensor, "batch features"]:
        """Return the reconstruction from codes, flat."""
        act = ACTIVATIONS[self.activation]
        h = code
        for layer in self.decoder[:-1]:
            h = act(layer(h))
        return OUTPUTS[self.output_activation](self.decoder[-1](h))  # type: ignore[no-any-return]

    def forward(self, x: Float[Tensor, "batch *shape"]) -> Float[Tensor, "batch *shape"]:
        """The reconstruction, in the shape of x."""
        return self.decode(self.encode(x)).reshape(x.shape)


def loss(model: Module, x: Float[Tensor, "batch *shape"], targets: Float[Tensor, "batch *shape"]) -> tuple[Tensor, Tensor]:
    """Mean over all elements of (y - targets)^2 with y = model(x), and y; for an autoencoder the targets are x itself."""
    y = model(x)
    return F.mse_loss(y, targets), y


def reconstruction_error(model: Module, x: Float[Tensor, "batch *shape"], *labels: Tensor) -> tuple[Tensor, Tensor]:
    """`loss` against the inputs themselves; labels that a data set may have are not looked at."""
    return loss(model, x, x)


def build(
    features: int,
    hidden: Sequence[int] = (64,),
    code: int = 16,
    activation: str = "relu",
    output_activation: str = "identity",
    tied: bool = False,
) -> Autoencoder:
    """An autoencoder from plain values."""
    return Autoencoder(features, hidden, code, activation, output_activation, tied)
