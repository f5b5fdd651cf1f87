"""The autoencoder (1986)."""

from nnatomy.architectures.autoencoders.autoencoder.model import Autoencoder, TiedLinear, build, loss, reconstruction_error

__all__ = ["Autoencoder", "TiedLinear", "build", "loss", "reconstruction_error"]
