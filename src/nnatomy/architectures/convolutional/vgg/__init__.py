"""VGG (2014)."""

from nnatomy.architectures.convolutional.vgg.model import VGG, build, loss

__all__ = ["VGG", "build", "loss"]
