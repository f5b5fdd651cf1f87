"""The extreme learning machine (2006)."""

from nnatomy.architectures.feedforward.elm.model import (
    ELM,
    OnlineELM,
    RandomLayer,
    absorb,
    begin_rows,
    build,
    class_scores,
    fit,
    loss,
    solve,
    target_rows,
)

__all__ = [
    "ELM", "OnlineELM", "RandomLayer", "absorb", "begin_rows", "build", "class_scores", "fit", "loss", "solve", "target_rows",
]  # fmt: skip
