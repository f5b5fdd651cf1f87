"""ResNet (2015)."""

from nnatomy.architectures.convolutional.resnet.model import ResNet, build, loss

__all__ = ["ResNet", "build", "loss"]
