"""The sparse autoencoder (1996): activations with a wanted mean, an L1 penalty, or the k largest alone."""

from nnatomy.architectures.autoencoders.sparse_autoencoder.model import (
    SparseAutoencoder,
    build,
    divergence,
    keep_largest,
    loss,
    mean_activation,
    reconstruction_error,
)

__all__ = [
    "SparseAutoencoder", "build", "divergence", "keep_largest", "loss", "mean_activation", "reconstruction_error",
]  # fmt: skip
