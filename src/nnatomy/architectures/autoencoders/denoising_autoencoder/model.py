"""The denoising autoencoder: from a corrupted example, reconstruct the clean one.

Three kinds of noise: Gaussian, masking, salt and pepper. Training is in recipe.py, the theory in page.md.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from nnatomy import ops, random
from nnatomy.architectures.autoencoders.autoencoder.model import TiedLinear
from nnatomy.errors import UserError, unknown_name
from nnatomy.functional import batch_mean
from nnatomy.layers import Linear
from nnatomy.layers.module import Module
from nnatomy.tensor import Tensor
from nnatomy.typing import Float

ACTIVATIONS: dict[str, Callable[[Any], Any]] = {"sigmoid": ops.sigmoid, "tanh": ops.tanh, "relu": ops.relu}

# The three kinds of noise, x~ ~ q(x~ | x), for given random numbers


def gaussian(x: Any, normal: Any, level: float, low: float, high: float) -> Any:
    """Return x~ = x + level (high - low) e with normal e. Nothing is clipped. Source: Vincent et al. (2010), section 3.3."""
    return x + level * (high - low) * normal.astype(x.dtype)


def masking(x: Any, uniform: Any, level: float, low: float, high: float) -> Any:
    """Return x with each number set to `low` with probability `level`. Source: Vincent et al. (2008), section 2.3."""
    return ops.where(uniform < level, low, x)


def salt_and_pepper(x: Any, uniform: Any, level: float, low: float, high: float) -> Any:
    """Return x with each number set to `low` or to `high`, each with probability level / 2.

    Source: Vincent et al. (2010), section 3.3.
    """
    return ops.where(uniform < level / 2, low, ops.where(uniform < level, high, x))


NOISE: dict[str, Callable[..., Any]] = {"gaussian": gaussian, "masking": masking, "salt_and_pepper": salt_and_pepper}

# The network


class DenoisingAutoencoder(Module):
    """h = f(x~ W1^T + b1), y = h W2^T + b2: one hidden layer leads from a corrupted example x~ to the clean one.

    Args:
        shape: of one example
        units: numbers in h; there may be more than in an example
        noise: "gaussian", "masking" or "salt_and_pepper"
        level: of "gaussian" the standard deviation, as a fraction of high - low; of the others the fraction of numbers that
            are changed; 0 leaves an ordinary autoencoder
        activation: f, "sigmoid", "tanh" or "relu"
        tied: W2 is the transpose of W1
        low, high: the values of black and white in the data

    Raises UserError for sizes below 1, unknown names, a level out of range, and an empty range of values.
    """

    def __init__(
        self, shape: Sequence[int], units: int = 512, noise: str = "gaussian", level: float = 0.5, activation: str = "relu",
        tied: bool = False, low: float = 0.0, high: float = 1.0,
    ) -> None:  # fmt: skip
        if not shape or min(*shape, units) < 1:
            raise UserError(f"All sizes are at least 1. Received shape {tuple(shape)}, {units} units. Use units=512.")
        if noise not in NOISE:
            raise unknown_name("noise", noise, NOISE)
        if activation not in ACTIVATIONS:
            raise unknown_name("activation", activation, ACTIVATIONS)
        if not (level >= 0 and math.isfinite(level)) or (noise != "gaussian" and level > 1):
            raise UserError(f"level is at least 0, and at most 1 where it is a fraction. Received {level:g}. Use level=0.3.")
        if not low < high:
            raise UserError(f"low is below high. Received {low:g} and {high:g}. Use low=0, high=1.")
        self.noise, self.level, self.activation, self.low, self.high = noise, level, activation, low, high
        self.encoder = Linear(math.prod(shape), units)
        self.decoder: Module = TiedLinear(self.encoder) if tied else Linear(units, math.prod(shape))

    def draw(self, shape: Sequence[int], dtype: Any = "float32") -> Tensor:
        """Return the random numbers that `corrupt` needs: normal ones for Gaussian noise, else uniform ones in [0, 1)."""
        return (random.randn if self.noise == "gaussian" else random.rand)(*shape, dtype=dtype)

    def corrupt(self, x: Float[Tensor, "batch *shape"], noise: Float[Tensor, "batch *shape"]) -> Float[Tensor, "batch *shape"]:
        """Return x~ for random numbers that `draw` gave."""
        return NOISE[self.noise](x, noise, self.level, self.low, self.high)  # type: ignore[no-any-return]

    def encode(self, x: Float[Tensor, "batch *shape"]) -> Float[Tensor, "batch units"]:
        """Return h of examples as they are; images are flattened."""
        return ACTIVATIONS[self.activation](self.encoder(ops.flatten(x, 1)))  # type: ignore[no-any-return]

    def forward(
        self, x: Float[Tensor, "batch *shape"], noise: Float[Tensor, "batch *shape"] | None = None
    ) -> Float[Tensor, "batch *shape"]:
        """Return the reconstruction of x as it is, or, given random numbers, of x corrupted by them."""
        given = x if noise is None else self.corrupt(x, noise)
        return self.decoder(self.encode(given)).reshape(x.shape)  # type: ignore[no-any-return]


def build(
    shape: Sequence[int], units: int = 512, noise: str = "gaussian", level: float = 0.5, activation: str = "relu",
    tied: bool = False, low: float = 0.0, high: float = 1.0,
) -> DenoisingAutoencoder:  # fmt: skip
    """Return a denoising autoencoder from plain values."""
    return DenoisingAutoencoder(shape, units, noise, level, activation, tied, low, high)


# The loss


def loss(
    model: DenoisingAutoencoder, x: Float[Tensor, "batch *shape"], noise: Float[Tensor, "batch *shape"]
) -> tuple[Tensor, Tensor]:
    """Return the mean of (y - x)^2 over all numbers, and y, the reconstruction of the corrupted x. The target is the clean x.

    Source: Vincent et al. (2008), equation 5; the squared error for real-valued inputs: Vincent et al. (2010), section 2.2.
    """
    y = model(x, noise)
    return batch_mean((y - x).square()), y


def denoising_error(model: Module, x: Float[Tensor, "batch *shape"], *labels: Tensor) -> tuple[Tensor, Tensor]:
    """Return `loss` for noise that is drawn again at each call; labels that a data set may have are not read."""
    assert isinstance(model, DenoisingAutoencoder)
    return loss(model, *with_noise(model, x))


def with_noise(model: DenoisingAutoencoder, x: Float[Tensor, "batch *shape"], *labels: Tensor) -> tuple[Tensor, Tensor]:
    """Return a batch as `loss` takes it, (x, noise), with random numbers from the default generator."""
    return x, model.draw(x.shape, x.dtype)
