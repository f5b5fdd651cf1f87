"""The radial basis function network (1988)."""

from nnatomy.architectures.feedforward.rbf.model import (
    KERNELS,
    RBF,
    RadialLayer,
    absorb,
    begin_rows,
    build,
    fit,
    interpolate,
    k_means,
    loss,
    neighbor_widths,
    place_centers,
    solve,
)

__all__ = [
    "KERNELS", "RBF", "RadialLayer", "absorb", "begin_rows", "build", "fit", "interpolate", "k_means", "loss",
    "neighbor_widths", "place_centers", "solve",
]  # fmt: skip
