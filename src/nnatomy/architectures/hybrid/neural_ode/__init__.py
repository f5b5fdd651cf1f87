"""Neural ordinary differential equations (2018), and the continuous normalizing flow FFJORD (2019)."""

from nnatomy.architectures.hybrid.neural_ode.model import (
    ContinuousFlow,
    Field,
    Forecaster,
    MovingField,
    NeuralODE,
    Solver,
    build,
    divergence,
    loss,
)

__all__ = [
    "ContinuousFlow",
    "Field",
    "Forecaster",
    "MovingField",
    "NeuralODE",
    "Solver",
    "build",
    "divergence",
    "loss",
]
