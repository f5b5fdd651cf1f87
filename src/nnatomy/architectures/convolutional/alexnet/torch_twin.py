"""AlexNet in PyTorch: an independent twin, written from Krizhevsky, Sutskever and Hinton (2012) for two towers, and Krizhevsky
(2014) for one. It shares nothing with the architecture's model but the names and shapes of its state."""

import math

import torch.nn.functional as F
from torch import Tensor, nn


class AlexNet(nn.Module):
    """Five convolutions with overlapping pooling, then three fully connected layers."""

    def __init__(self, features: list[nn.Module], classifier: list[nn.Module], size: int) -> None:
        super().__init__()
        self.size = size
        self.features, self.classifier = nn.Sequential(*features), nn.Sequential(*classifier)

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[2:] != (self.size, self.size):
            raise ValueError(f"Images have {self.size} x {self.size} pixels. Received {tuple(x.shape[2:])}. Resize them.")
        return self.classifier(self.features(x).flatten(1))


def response_norm() -> nn.Module:
    """Local response normalization of section 3.3; PyTorch divides alpha by the size of the window."""
    return nn.LocalResponseNorm(5, alpha=5 * 1e-4, beta=0.75, k=2.0)


def two_towers(width: int, stem: nn.Conv2d) -> list[nn.Module]:
    """The layers of 2012: the second, fourth and fifth convolution see the maps of their own tower alone."""
    second, third = 256 * width // 96, 384 * width // 96
    return [
        *(stem, nn.ReLU(), response_norm(), nn.MaxPool2d(3, 2)),
        *(nn.Conv2d(width, second, 5, padding=2, groups=2), nn.ReLU(), response_norm(), nn.MaxPool2d(3, 2)),
        *(nn.Conv2d(second, third, 3, padding=1), nn.ReLU()),
        *(nn.Conv2d(third, third, 3, padding=1, groups=2), nn.ReLU()),
        *(nn.Conv2d(third, second, 3, padding=1, groups=2), nn.ReLU(), nn.MaxPool2d(3, 2)),
    ]


def one_tower(width: int, stem: nn.Conv2d) -> list[nn.Module]:
    """The layers of 2014."""
    return [
        *(stem, nn.ReLU(), nn.MaxPool2d(3, 2)),
        *(nn.Conv2d(width, 3 * width, 5, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2)),
        *(nn.Conv2d(3 * width, 6 * width, 3, padding=1), nn.ReLU()),
        *(nn.Conv2d(6 * width, 4 * width, 3, padding=1), nn.ReLU()),
        *(nn.Conv2d(4 * width, 4 * width, 3, padding=1), nn.ReLU(), nn.MaxPool2d(3, 2)),
    ]


def side(features: list[nn.Module], size: int) -> int:
    """Side of the last maps: floor((n + 2 p - k) / s) + 1, layer by layer."""
    for layer in features:
        if isinstance(layer, nn.Conv2d):
            size = (size + 2 * layer.padding[0] - layer.kernel_size[0]) // layer.stride[0] + 1
        elif isinstance(layer, nn.MaxPool2d):
            size = (size - 3) // 2 + 1
    return size


def build(
    form: str = "two_towers",
    classes: int = 1000,
    channels: int = 3,
    size: int | None = None,
    width: int | None = None,
    hidden: int = 4096,
    stem: str = "imagenet",
    dropout: float = 0.5,
    start: str = "paper",
) -> AlexNet:
    """The network; start "paper" is N(0, 0.01) with biases of 1 in five layers, "he" N(0, 2 / fan_in)."""
    known = {"form": ("two_towers", "one_tower"), "stem": ("imagenet", "small"), "start": ("paper", "he")}
    for (name, choices), given in zip(known.items(), (form, stem, start)):
        if given not in choices:
            raise ValueError(f"{name} is {choices[0]!r} or {choices[1]!r}. Received {given!r}. Use {name}={choices[0]!r}.")
    towers = form == "two_towers"
    width = width or (96 if towers else 64)
    if towers and width % 6:
        raise ValueError(f"With two towers 6 divides the width. Received {width}. Use width={6 * (width // 6 + 1)}.")
    size = size or (32 if stem == "small" else 227 if towers else 224)
    if stem == "small":
        first = nn.Conv2d(channels, width, 7, 2, padding=3)
    else:
        first = nn.Conv2d(channels, width, 11, 4, padding=0 if towers else 2)
    features = (two_towers if towers else one_tower)(width, first)
    maps = next(layer.out_channels for layer in reversed(features) if isinstance(layer, nn.Conv2d))
    dense = [nn.Linear(maps * side(features, size) ** 2, hidden), nn.Linear(hidden, hidden), nn.Linear(hidden, classes)]
    drops = [nn.Dropout(dropout), nn.Dropout(dropout)]
    classifier: list[nn.Module]
    if towers:
        classifier = [dense[0], nn.ReLU(), drops[0], dense[1], nn.ReLU(), drops[1], dense[2]]
    else:
        classifier = [drops[0], dense[0], nn.ReLU(), drops[1], dense[1], nn.ReLU(), dense[2]]
    layers = [layer for layer in features if isinstance(layer, nn.Conv2d)] + dense
    for number, layer in enumerate(layers, 1):
        last = number == len(layers)
        std = 0.01 if start == "paper" or last else math.sqrt(2 / layer.weight[0].numel())
        nn.init.normal_(layer.weight, std=std)
        nn.init.constant_(layer.bias, 1.0 if start == "paper" and number in (2, 4, 5, 6, 7) else 0.0)
    return AlexNet(features, classifier, size)


def loss(model: AlexNet, x: Tensor, targets: Tensor) -> Tensor:
    """Mean cross-entropy."""
    return F.cross_entropy(model(x), targets)
