"""Names of ResNet's weights in libraries that name them otherwise; torchvision's are ours."""

from __future__ import annotations

from typing import Any

from nnatomy.architectures.convolutional.resnet.model import IMAGENET
from nnatomy.interchange.names import Names


def tables(depth: int = 50, layers: tuple[int, ...] | None = None, **_: Any) -> dict[str, Names]:
    """Return the table of transformers, which has the form for ImageNet."""
    if depth not in IMAGENET:
        return {}
    block, usual = IMAGENET[depth]
    names: dict[str, str] = {"classifier.1": "fc"}
    parts = {"convolution": "conv", "normalization": "bn"}
    names |= {f"resnet.embedder.embedder.{part}": f"{ours}1" for part, ours in parts.items()}
    for stage, count in enumerate(layers or usual):
        for number in range(count):
            theirs, ours = f"resnet.encoder.stages.{stage}.layers.{number}", f"layer{stage + 1}.{number}"
            for k in range(3 if block == "bottleneck" else 2):
                names |= {f"{theirs}.layer.{k}.{part}": f"{ours}.{name}{k + 1}" for part, name in parts.items()}
            if number == 0 and (stage or block == "bottleneck"):
                names |= {f"{theirs}.shortcut.{part}": f"{ours}.downsample.{k}" for k, part in enumerate(parts)}
    return {"transformers": names}
