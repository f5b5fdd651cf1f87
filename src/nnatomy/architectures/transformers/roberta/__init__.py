"""RoBERTa (2019)."""

from nnatomy.architectures.transformers.roberta.model import (
    Classifier,
    MaskedLM,
    RoBERTa,
    build,
    classification_loss,
    masked_loss,
    positions_of,
)

__all__ = ["Classifier", "MaskedLM", "RoBERTa", "build", "classification_loss", "masked_loss", "positions_of"]
