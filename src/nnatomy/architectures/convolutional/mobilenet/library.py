"""MobileNet of transformers, which ships versions 1 and 2; its weights go by our names here, and blocks can be left out."""

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from nnatomy.architectures.convolutional.mobilenet.model import TABLES, width
from nnatomy.architectures.convolutional.mobilenet.names import transformers as names_of

LIBRARY = "transformers"


def ships(version: str = "v2", alpha: float = 1.0, downsample: int = 32, **_: Any) -> bool:
    """Return False for version 3, other strides, and a first block of version 2 that adds its input: the library's does not."""
    adds = version == "v2" and width(version, 32, alpha) == width(version, 16, alpha)
    return version in ("v1", "v2") and downsample == 32 and not adds


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
    version: str = "v2", classes: int = 1000, channels: int = 3, alpha: float = 1.0, padding: str = "same",
    blocks: int | None = None, dropout: float = 0.2, eps: float = 1e-3, momentum: float = 0.001, **_: Any,
) -> Renamed:  # fmt: skip
    """The network of model.py's options; the library's own momentum, 0.997 or 0.9997, is TensorFlow's and wrong in PyTorch."""
    import transformers

    config = getattr(transformers, f"MobileNetV{version[1:]}Config")(
        num_channels=channels, depth_multiplier=alpha, num_labels=classes, tf_padding=padding == "same",
        classifier_dropout_prob=dropout, layer_norm_eps=eps, finegrained_output=True,
    )  # fmt: skip
    model = getattr(transformers, f"MobileNetV{version[1:]}ForImageClassification")(config)
    if blocks is not None:
        _shorten(model, version, blocks, width(version, TABLES[version][blocks - 1].outputs, alpha))
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.momentum = momentum
    return Renamed(model, dict(names_of(version, blocks or len(TABLES[version]))))


def _shorten(model: Any, version: str, blocks: int, maps: int) -> None:
    """Keep the first blocks, of which the last has `maps` maps, and fit what follows to them."""
    body = getattr(model, f"mobilenet_{version}")
    body.layer = body.layer[: 2 * blocks if version == "v1" else blocks - 1]
    if version == "v1":
        model.classifier = nn.Linear(maps, model.num_labels)
    else:
        body.conv_1x1 = type(body.conv_1x1)(model.config, maps, body.conv_1x1.convolution.out_channels, 1)


def loss(model: Renamed, x: Tensor, targets: Tensor) -> Tensor:
    """Mean cross-entropy."""
    return F.cross_entropy(model(x), targets)
