"""AlexNet (2012)."""

from nnatomy.architectures.convolutional.alexnet.model import AlexNet, build, loss

__all__ = ["AlexNet", "build", "loss"]
