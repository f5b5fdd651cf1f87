"""LeNet-5 (1998)."""

from nnatomy.architectures.convolutional.lenet5.model import (
    LeNet5, LeNet5Paper, PartialConv, Subsampling, build, digit_codes, loss, map_criterion, random_codes, squash,
)  # fmt: skip

__all__ = [
    "LeNet5", "LeNet5Paper", "PartialConv", "Subsampling", "build", "digit_codes", "loss", "map_criterion", "random_codes",
    "squash",
]  # fmt: skip
