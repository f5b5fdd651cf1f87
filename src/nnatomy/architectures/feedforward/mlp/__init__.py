"""The multi-layer perceptron (1986)."""

from nnatomy.architectures.feedforward.mlp.model import ACTIVATIONS, MLP, build, loss

__all__ = ["ACTIVATIONS", "MLP", "build", "loss"]
