"""DistilBERT (2019)."""

from nnatomy.architectures.transformers.distilbert.model import (
    Classifier,
    DistilBERT,
    Distillation,
    Layer,
    MaskedLM,
    build,
    classification_loss,
    distillation_loss,
    divergence,
    inherited,
    masked_loss,
    student_loss,
)

__all__ = [
    "Classifier", "DistilBERT", "Distillation", "Layer", "MaskedLM", "build", "classification_loss", "distillation_loss",
    "divergence", "inherited", "masked_loss", "student_loss",
]  # fmt: skip
