"""ResNet of transformers, whose weights go by our names here. It ships the form for ImageNet with projections."""

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from nnatomy.architectures.convolutional.resnet.model import IMAGENET
from nnatomy.architectures.convolutional.resnet.names import tables

LIBRARY = "transformers"


def ships(depth: int = 50, version: int = 1, shortcut: str | None = None, residual: bool = True, **_: Any) -> bool:
    """Return False for the form for CIFAR, pre-activation, option A and the plain network."""
    return depth in IMAGENET and version == 1 and shortcut != "A" and residual


class Renamed(nn.Module):
    """A model of transformers whose layers are found by our names."""

    def __init__(self, model: Any, names: dict[str, Any]) -> None:
        super().__init__()
        self.model = [model]  # in a list, so that its layers are not found by their own names too
        for theirs, ours in names.items():
            *path, last = ours.split(".")
            place: nn.Module = self
            for part in path:
                if part not in dict(place.named_children()):
                    place.add_module(part, nn.Module())
                place = place.get_submodule(part)
            place.add_module(last, model.get_submodule(theirs))

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.model[0](x).logits
        return scores


def build(
    depth: int = 50, classes: int = 1000, channels: int = 3, width: int | None = None, layers: tuple[int, ...] | None = None,
    stride_in: str = "3x3", **_: Any,
) -> Renamed:  # fmt: skip
    """The network of model.py's options."""
    from transformers import ResNetConfig, ResNetForImageClassification

    block, usual = IMAGENET[depth]
    counts, maps = list(layers or usual), (width or 64)
    expansion = 4 if block == "bottleneck" else 1
    config = ResNetConfig(
        num_channels=channels, embedding_size=maps, hidden_sizes=[maps * 2**k * expansion for k in range(len(counts))],
        depths=counts, layer_type=block, downsample_in_bottleneck=stride_in == "1x1", num_labels=classes,
    )  # fmt: skip
    return Renamed(ResNetForImageClassification(config), dict(tables(depth, layers)["transformers"]))


def loss(model: Renamed, x: Tensor, targets: Tensor) -> Tensor:
    """Mean cross-entropy."""
    return F.cross_entropy(model(x), targets)
