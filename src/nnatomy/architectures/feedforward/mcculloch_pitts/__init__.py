"""Threshold units of McCulloch and Pitts (1943)."""

from nnatomy.architectures.feedforward.mcculloch_pitts.model import (
    TruthTable,
    Units,
    all_of,
    any_of,
    build,
    fit,
    none_of,
)

__all__ = ["TruthTable", "Units", "all_of", "any_of", "build", "fit", "none_of"]
