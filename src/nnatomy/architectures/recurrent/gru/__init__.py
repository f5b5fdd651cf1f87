"""The GRU (2014)."""

from nnatomy.architectures.recurrent.gru.model import GRU, GRUNetwork, Step, build, cell, loss, start_update

__all__ = ["GRU", "GRUNetwork", "Step", "build", "cell", "loss", "start_update"]
