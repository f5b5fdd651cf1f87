"""The convolutional autoencoder (2011): strided and transposed convolutions, or pooling and upsampling."""

from nnatomy.architectures.autoencoders.convolutional_autoencoder.model import (
    ConvolutionalAutoencoder,
    build,
    loss,
    reconstruction_error,
)

__all__ = ["ConvolutionalAutoencoder", "build", "loss", "reconstruction_error"]
