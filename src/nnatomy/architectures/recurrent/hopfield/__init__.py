"""The Hopfield network (1982), and its continuous form (2020)."""

from nnatomy.architectures.recurrent.hopfield.model import (
    STORAGE,
    UPDATES,
    ContinuousHopfield,
    Hopfield,
    absorb,
    begin,
    build,
    loss,
    signs,
    solve,
    store,
)

__all__ = [
    "STORAGE", "UPDATES", "ContinuousHopfield", "Hopfield", "absorb", "begin", "build", "loss", "signs", "solve", "store",
]  # fmt: skip
