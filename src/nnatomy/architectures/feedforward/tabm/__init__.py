"""TabM: one multi-layer perceptron with k opinions, for tables (2024)."""

from nnatomy.architectures.feedforward.tabm.model import (
    BatchEnsembleLinear,
    LinearEnsemble,
    PiecewiseLinearEmbeddings,
    PiecewiseLinearEncoding,
    TabM,
    build,
    loss,
    quantile_bins,
)

__all__ = [
    "BatchEnsembleLinear", "LinearEnsemble", "PiecewiseLinearEmbeddings", "PiecewiseLinearEncoding", "TabM", "build", "loss",
    "quantile_bins",
]  # fmt: skip
