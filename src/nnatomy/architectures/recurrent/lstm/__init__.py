"""The LSTM (1997)."""

from nnatomy.architectures.recurrent.lstm.model import LSTM, LSTMNetwork, Step, build, cell, loss, start_gates

__all__ = ["LSTM", "LSTMNetwork", "Step", "build", "cell", "loss", "start_gates"]
