"""The transformer (2017): an encoder and a decoder of attention alone."""

from nnatomy.architectures.transformers.transformer.model import (
    DecoderLayer,
    EncoderLayer,
    MultiHeadAttention,
    Transformer,
    build,
    loss,
    sinusoids,
)

__all__ = ["DecoderLayer", "EncoderLayer", "MultiHeadAttention", "Transformer", "build", "loss", "sinusoids"]
