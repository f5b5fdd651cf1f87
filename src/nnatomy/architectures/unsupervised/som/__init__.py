"""The self-organizing map (1982)."""

from nnatomy.architectures.unsupervised.som.model import (
    SOM,
    batch_map,
    build,
    decayed,
    kohonen,
    label_units,
    learn,
    loss,
    principal_plane,
    u_matrix,
)

__all__ = [
    "SOM", "batch_map", "build", "decayed", "kohonen", "label_units", "learn", "loss", "principal_plane", "u_matrix",
]  # fmt: skip
