"""BERT (2018)."""

from nnatomy.architectures.transformers.bert.model import (
    BERT,
    Classifier,
    Layer,
    Pretraining,
    SelfAttention,
    Span,
    build,
    classification_loss,
    encoder_of,
    pretraining_loss,
    span_loss,
)

__all__ = [
    "BERT", "Classifier", "Layer", "Pretraining", "SelfAttention", "Span", "build", "classification_loss", "encoder_of",
    "pretraining_loss", "span_loss",
]  # fmt: skip
