"""MobileNet (2017)."""

from nnatomy.architectures.convolutional.mobilenet.model import MobileNet, build, loss

__all__ = ["MobileNet", "build", "loss"]
