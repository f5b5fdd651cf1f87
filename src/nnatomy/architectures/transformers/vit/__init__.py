"""Vision Transformer (2020)."""

from nnatomy.architectures.transformers.vit.model import (
    MLP,
    SIZES,
    Attention,
    Embeddings,
    Layer,
    ViT,
    build,
    loss,
    patches,
    rollout,
)

__all__ = ["MLP", "SIZES", "Attention", "Embeddings", "Layer", "ViT", "build", "loss", "patches", "rollout"]
