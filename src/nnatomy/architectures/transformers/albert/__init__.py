"""ALBERT (2019)."""

from nnatomy.architectures.transformers.albert.model import (
    ALBERT,
    Classifier,
    Encoder,
    Layer,
    Pretraining,
    build,
    classification_loss,
    gelu_new,
    pretraining_loss,
)

__all__ = [
    "ALBERT", "Classifier", "Encoder", "Layer", "Pretraining", "build", "classification_loss", "gelu_new", "pretraining_loss",
]  # fmt: skip
