"""The perceptron (1958)."""

from nnatomy.architectures.feedforward.perceptron.model import (
    Perceptron,
    build,
    correct,
    delta_rule,
    learn,
    loss,
    perceptron_criterion,
)

__all__ = ["Perceptron", "build", "correct", "delta_rule", "learn", "loss", "perceptron_criterion"]
