"""The sparse autoencoder: many hidden units, of which each example may use only a few.

Three ways to make codes sparse: the divergence from a wanted mean activation, an L1 penalty, and the k largest units alone.
Training is in recipe.py, the theory in page.md.
"""

from __future__ import annotations

import math
from typing import Any

from nnatomy import functional as F
from nnatomy import ops
from nnatomy.backends import B
from nnatomy.errors import UserError, unknown_name
from nnatomy.functional import batch_mean, rows_that_count
from nnatomy.layers import Linear
from nnatomy.layers.module import Module
from nnatomy.tensor import Tensor
from nnatomy.typing import Float

SPARSITY = ("kl", "l1", "topk")
EDGE = 1e-7
"""The divergence is infinite where a mean activation is 0 or 1; it is computed this far away at least."""

# The parts of the three forms


def keep_largest(z: Float[Tensor, "batch units"], k: int) -> Float[Tensor, "batch units"]:
    """Return z with the k largest numbers of each row, and 0 for the others: only the kept ones have a gradient.

    Of equal numbers the first are kept. Source: Makhzani and Frey (2013), section 2.1.
    """
    places = ops.topk(z.detach(), k, axis=1).indices  # (batch, k)
    kept = ops.one_hot(places, z.shape[1], dtype=z.dtype).sum(axis=1)  # (batch, units), k ones in a row
    return ops.where(kept > 0, z, 0.0)  # type: ignore[no-any-return]


def mean_activation(h: Float[Tensor, "batch units"]) -> Float[Tensor, " units"]:
    """Return rho_hat_j, the mean of h_ij over the examples of a batch; rows that only pad the batch do not count."""
    kept = rows_that_count(h)
    if kept is None:
        return h.mean(axis=0)
    each = kept.astype(h.dtype) / B.maximum(kept.sum(), 1).astype(h.dtype)
    return (h * each).sum(axis=0)  # type: ignore[no-any-return]


def divergence(rho: float, rho_hat: Float[Tensor, " units"]) -> Float[Tensor, " units"]:
    """Return KL(rho || rho_hat) = rho ln(rho / rho_hat) + (1 - rho) ln((1 - rho) / (1 - rho_hat)) of each unit, in nats.

    It is 0 where rho_hat = rho, and grows on both sides. Source: Ng (2011), section 3.
    """
    p = ops.clip(rho_hat, EDGE, 1 - EDGE)
    own = rho * math.log(rho) + (1 - rho) * math.log(1 - rho)
    return own - rho * ops.log(p) - (1 - rho) * ops.log(1 - p)  # type: ignore[no-any-return]


# The network


class SparseAutoencoder(Module):
    """h = f(x W1^T + b1), y = h W2^T + b2 with a sparse h, which may have more numbers than x.

    Args:
        features: numbers in an example
        units: numbers in h
        sparsity: "kl": f is the sigmoid, and each unit's mean over the batch is drawn to `rho`; "l1": f is ReLU, and h costs
            its size; "topk": f keeps the `k` largest of each example
        weight: of the penalty, for "kl" and "l1"; 0 leaves an ordinary autoencoder
        rho: wanted mean activation, for "kl"
        k: units that an example keeps, for "topk"

    Raises UserError for sizes below 1, an unknown sparsity, a negative weight, rho outside (0, 1) and k outside 1..units.
    """

    def __init__(
        self, features: int, units: int = 160, sparsity: str = "kl", weight: float = 3.0, rho: float = 0.1, k: int = 16
    ) -> None:
        if min(features, units) < 1:
            raise UserError(f"All sizes are at least 1. Received {features} features, {units} units. Use units=160.")
        if sparsity not in SPARSITY:
            raise unknown_name("sparsity", sparsity, SPARSITY)
        if not (weight >= 0 and math.isfinite(weight)):
            raise UserError(f"weight is a number of at least 0. Received {weight:g}. Use 3 for kl, 0.1 for l1.")
        if not 0 < rho < 1:
            raise UserError(f"rho is between 0 and 1, the limits of a sigmoid. Received {rho:g}. Use 0.1.")
        if sparsity == "topk" and not 1 <= k <= units:
            raise UserError(f"k is from 1 to the number of units, {units}. Received {k}. Use a smaller k.")
        self.sparsity, self.weight, self.rho, self.k = sparsity, weight, rho, k
        self.encoder = Linear(features, units)
        self.decoder = Linear(units, features)

    def encode(self, x: Float[Tensor, "batch *shape"]) -> Float[Tensor, "batch units"]:
        """Return the activations h of examples, which are flattened."""
        z = self.encoder(ops.flatten(x, 1))
        if self.sparsity == "kl":
            return ops.sigmoid(z)  # type: ignore[no-any-return]
        return ops.relu(z) if self.sparsity == "l1" else keep_largest(z, self.k)

    def decode(self, h: Float[Tensor, "batch units"]) -> Float[Tensor, "batch features"]:
        """Return the reconstruction, flat: each unit adds its column of W2, h_j times."""
        return self.decoder(h)  # type: ignore[no-any-return]

    def forward(self, x: Float[Tensor, "batch *shape"]) -> Float[Tensor, "batch *shape"]:
        """Return the reconstruction, in the shape of x."""
        return self.decode(self.encode(x)).reshape(x.shape)

    def penalty(self, h: Float[Tensor, "batch units"]) -> Any:
        """Return what the activations of a batch cost.

        "kl": weight sum_j KL(rho || rho_hat_j). "l1": weight times the mean over examples of sum_j h_ij |w_j|, the sizes of
        what the units add to the output. "topk": 0. Source: Ng (2011), section 3; Conerly et al. (2024).
        """
        if self.sparsity == "kl":
            return self.weight * divergence(self.rho, mean_activation(h)).sum()
        if self.sparsity == "l1":
            sizes = ops.sqrt(self.decoder.weight.square().sum(axis=0))  # |w_j| of the columns, (units)
            return self.weight * batch_mean((h * sizes).sum(axis=1))
        return 0.0


def build(
    features: int, units: int = 160, sparsity: str = "kl", weight: float = 3.0, rho: float = 0.1, k: int = 16
) -> SparseAutoencoder:
    """Return a sparse autoencoder from plain values."""
    return SparseAutoencoder(features, units, sparsity, weight, rho, k)


# The loss


def loss(
    model: SparseAutoencoder, x: Float[Tensor, "batch *shape"], targets: Float[Tensor, "batch *shape"]
) -> tuple[Tensor, Tensor]:
    """Return the mean over examples of |targets - y|^2 / 2, plus the penalty, and y; the targets are x itself.

    Source: Ng (2011), section 3, without the weight decay.
    """
    h = model.encode(x)
    y = model.decode(h).reshape(x.shape)
    errors = ops.flatten(F.mse_loss(y, targets, reduction="none"), 1).sum(axis=1)
    return batch_mean(0.5 * errors) + model.penalty(h), y


def reconstruction_error(model: Module, x: Float[Tensor, "batch *shape"], *labels: Tensor) -> tuple[Tensor, Tensor]:
    """Return `loss` against the inputs themselves; labels that a data set may have are not read."""
    assert isinstance(model, SparseAutoencoder)
    return loss(model, x, x)
