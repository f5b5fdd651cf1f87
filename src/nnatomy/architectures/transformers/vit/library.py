"""ViT from Hugging Face's transformers, which ships it as ViTForImageClassification, with the class token and positions."""

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from nnatomy.architectures.transformers.vit.model import SIZES

LIBRARY = "transformers"


def ships(pool: str = "cls", positions: bool = True, **_: Any) -> bool:
    """Return False for the mean of the patches and for a model without positions."""
    return pool == "cls" and positions


class Network(nn.Module):
    """The library's classifier, whose parts are found by our names: without the prefix."""

    def __init__(self, whole: Any) -> None:
        super().__init__()
        self.whole = [whole]  # in a list: its parameters are named once, below
        for name, child in (*whole.vit.named_children(), ("classifier", whole.classifier)):
            self.add_module(name, child)

    def forward(self, images: Tensor) -> Tensor:
        scores: Tensor = self.whole[0](pixel_values=images).logits
        return scores

    def train(self, mode: bool = True) -> "Network":
        self.whole[0].train(mode)
        return super().train(mode)


def build(
    size: str = "base", image_size: int | tuple[int, int] = 224, patch_size: int = 16, channels: int = 3, classes: int = 1000,
    hidden_size: int | None = None, depth: int | None = None, heads: int | None = None, mlp_size: int | None = None,
    dropout: float = 0.0, eps: float = 1e-12, **_: Any,
) -> Network:  # fmt: skip
    """The network of model.py's options."""
    import transformers

    width, layers, count, inner = SIZES[size]
    config = transformers.ViTConfig(
        hidden_size=hidden_size or width, num_hidden_layers=depth or layers, num_attention_heads=heads or count,
        intermediate_size=mlp_size or inner, hidden_dropout_prob=dropout, layer_norm_eps=eps, image_size=image_size,
        patch_size=patch_size, num_channels=channels, num_labels=classes,
    )  # fmt: skip
    return Network(transformers.ViTForImageClassification(config))


def loss(model: Network, images: Tensor, labels: Tensor) -> Tensor:
    """Mean cross-entropy."""
    return F.cross_entropy(model(images), labels)
