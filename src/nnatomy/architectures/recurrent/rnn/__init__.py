"""The recurrent neural network (1990), Elman's and Jordan's."""

from nnatomy.architectures.recurrent.rnn.model import (
    RNN,
    Jordan,
    JordanNetwork,
    RNNNetwork,
    build,
    cell,
    loss,
    start_identity,
    start_orthogonal,
)

__all__ = [
    "RNN", "Jordan", "JordanNetwork", "RNNNetwork", "build", "cell", "loss", "start_identity", "start_orthogonal",
]  # fmt: skip
