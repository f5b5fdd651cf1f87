"""LeNet-5 (1998)."""

from nnatomy.architectures.convolutional.lenet5.model import LeNet5, LeNet5Paper, build, loss, map_criterion

__all__ = ["LeNet5", "LeNet5Paper", "build", "loss", "map_criterion"]
