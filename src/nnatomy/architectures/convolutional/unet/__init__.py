"""U-Net (2015)."""

from nnatomy.architectures.convolutional.unet.model import (
    UNet,
    border_weights,
    build,
    loss,
    overlap_tile,
    valid_size,
    weighted_cross_entropy,
)

__all__ = ["UNet", "border_weights", "build", "loss", "overlap_tile", "valid_size", "weighted_cross_entropy"]
