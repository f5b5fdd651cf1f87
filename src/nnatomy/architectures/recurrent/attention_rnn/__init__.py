"""Attention for recurrent translation (2015): Bahdanau's additive form and Luong's multiplicative ones."""

from nnatomy.architectures.recurrent.attention_rnn.model import (
    AttentionRNN,
    Bahdanau,
    Luong,
    additive,
    build,
    general,
    loss,
)

__all__ = ["AttentionRNN", "Bahdanau", "Luong", "additive", "build", "general", "loss"]
