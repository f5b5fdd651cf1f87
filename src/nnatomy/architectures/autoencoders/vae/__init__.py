"""The variational autoencoder (2013), its conditional form, beta-VAE and VQ-VAE."""

from nnatomy.architectures.autoencoders.vae.model import (
    VAE,
    VQVAE,
    build,
    divergence,
    log_likelihood,
    loss,
    negative_elbo,
    quantized,
    reparameterize,
)

__all__ = [
    "VAE", "VQVAE", "build", "divergence", "log_likelihood", "loss", "negative_elbo", "quantized", "reparameterize",
]  # fmt: skip
