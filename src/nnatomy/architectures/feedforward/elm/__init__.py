"""The extreme learning machine (2006)."""

from nnatomy.architectures.feedforward.elm.model import (
    ELM,
    OnlineELM,
    RandomLayer,
    absorb,
    begin_rows,
    build,
    fit,
    loss,
    solve,
)

__all__ = [
    "ELM", "OnlineELM", "RandomLayer", "absorb", "begin_rows", "build", "fit", "loss", "solve",
]  # fmt: skip
