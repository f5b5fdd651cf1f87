"""Names of VGG's weights in the files of keras.applications, which ships D as VGG16 and E as VGG19; torchvision's are ours."""

from __future__ import annotations

from typing import Any

from nnatomy.architectures.convolutional.vgg.model import CONFIGURATIONS, WIDTHS
from nnatomy.interchange.names import Flattened, Names


def tables(
    configuration: str = "D", batch_norm: bool = False, size: int = 224, width: int = 64, stages: int = 5, **_: Any
) -> dict[str, Names]:  # fmt: skip
    """Return the tables of a .keras or .weights.h5 file, and of an .h5 file. Keras flattens (height, width, maps)."""
    if configuration not in ("D", "E") or batch_norm or stages != 5:
        return {}
    new: dict[str, str | Flattened | None] = {}
    old: dict[str, str | Flattened | None] = {}
    layer = 0  # of `features`
    for stage, layers in enumerate(CONFIGURATIONS[configuration], start=1):
        for number in range(1, len(layers) + 1):
            new[f"layers/conv2d_{len(new)}" if new else "layers/conv2d"] = f"features.{layer}"
            old[f"model_weights/block{stage}_conv{number}/block{stage}_conv{number}"] = f"features.{layer}"
            layer += 2  # a ReLU follows
        layer += 1  # the pooling
    side = size // 2**stages
    first = Flattened("classifier.0", (WIDTHS[-1] * width, side, side))
    linear: tuple[str | Flattened, ...] = (first, "classifier.3", "classifier.6")
    for ours, theirs, name in zip(linear, ("dense", "dense_1", "dense_2"), ("fc1", "fc2", "predictions"), strict=True):
        new[f"layers/{theirs}"] = ours
        old[f"model_weights/{name}/{name}"] = ours
    return {"keras": new, "keras, .h5": old}
