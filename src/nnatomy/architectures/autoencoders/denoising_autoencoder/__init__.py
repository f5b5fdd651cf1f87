"""The denoising autoencoder (2008): from a corrupted example to the clean one."""

from nnatomy.architectures.autoencoders.denoising_autoencoder.model import (
    NOISE,
    DenoisingAutoencoder,
    build,
    denoising_error,
    gaussian,
    loss,
    masking,
    salt_and_pepper,
)

__all__ = ["NOISE", "DenoisingAutoencoder", "build", "denoising_error", "gaussian", "loss", "masking", "salt_and_pepper"]
