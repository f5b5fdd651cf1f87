"""VGG in PyTorch: an independent twin, written from Simonyan and Zisserman (2014), table 1 and section 2.1.
It shares nothing with the architecture's model but the names and shapes of its state: features.0, ..., classifier.6."""

import math

import torch.nn.functional as F
from torch import Tensor, nn

CONVOLUTIONS = {
    "A": (1, 1, 2, 2, 2),
    "A-LRN": (1, 1, 2, 2, 2),
    "B": (2, 2, 2, 2, 2),
    "C": (2, 2, 3, 3, 3),
    "D": (2, 2, 3, 3, 3),
    "E": (2, 2, 4, 4, 4),
}  # table 1


class VGG(nn.Module):
    """Stages of convolutions and pooling, then three fully connected layers."""

    def __init__(self, features: list[nn.Module], flat: int, hidden: int, classes: int, size: int, dropout: float) -> None:
        super().__init__()
        self.size = size
        self.features = nn.Sequential(*features)
        self.classifier = nn.Sequential(
            nn.Linear(flat, hidden),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(hidden, hidden),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(hidden, classes),
        )
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                nn.init.normal_(layer.weight, std=math.sqrt(2 / layer.weight[0].numel()))
                nn.init.zeros_(layer.bias)
        nn.init.normal_(self.classifier[-1].weight, std=0.01)

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[2:] != (self.size, self.size):
            raise ValueError(f"Images have {self.size} x {self.size} pixels. Received {tuple(x.shape[2:])}. Resize them.")
        return self.classifier(self.features(x).flatten(1))


def build(
    configuration: str = "D",
    batch_norm: bool = False,
    classes: int = 1000,
    channels: int = 3,
    size: int = 224,
    width: int = 64,
    hidden: int = 4096,
    stages: int = 5,
    dropout: float = 0.5,
) -> VGG:
    """The network of a column of table 1, or its first stages, with weights N(0, 2 / fan_in)."""
    if configuration not in CONVOLUTIONS:
        raise ValueError(f"configuration is one of {', '.join(CONVOLUTIONS)}. Received {configuration!r}. Use 'D'.")
    if not 1 <= stages <= 5 or size % 2**stages:
        raise ValueError(f"stages is 1 to 5, and 2**stages divides size. Received {stages} and {size}.")
    features: list[nn.Module] = []
    maps = channels
    for stage in range(stages):
        planes = width * min(2**stage, 8)
        for k in range(CONVOLUTIONS[configuration][stage]):
            kernel = 1 if configuration == "C" and k == 2 else 3
            features.append(nn.Conv2d(maps, planes, kernel, padding=kernel // 2))
            features += [nn.BatchNorm2d(planes)] if batch_norm else []
            features.append(nn.ReLU())
            if configuration == "A-LRN" and stage == 0:  # PyTorch divides alpha by the size of the window
                features.append(nn.LocalResponseNorm(5, alpha=5 * 1e-4, beta=0.75, k=2.0))
            maps = planes
        features.append(nn.MaxPool2d(2))
    return VGG(features, maps * (size // 2**stages) ** 2, hidden, classes, size, dropout)


def loss(model: VGG, x: Tensor, targets: Tensor) -> Tensor:
    """Mean cross-entropy."""
    return F.cross_entropy(model(x), targets)
