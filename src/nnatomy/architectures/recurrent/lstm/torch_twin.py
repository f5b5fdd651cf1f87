"""The LSTM in PyTorch: an independent twin, written from Hochreiter & Schmidhuber (1997) and Gers & Schmidhuber (2000).
It shares nothing with the architecture's model but the names and shapes of its state: embedding, lstm, output."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence


class PeepholeLSTM(nn.Module):
    """torch.nn.LSTM (batch first, its names of weights) whose gates also see the cell through diagonal weights."""

    def __init__(self, inputs: int, hidden: int, layers: int, bidirectional: bool, dropout: float) -> None:
        super().__init__()
        self.hidden, self.layers, self.dropout = hidden, layers, dropout
        self.suffixes = ["", "_reverse"] if bidirectional else [""]
        bound = hidden**-0.5
        for layer in range(layers):
            size = inputs if layer == 0 else hidden * len(self.suffixes)
            for suffix in self.suffixes:
                shapes: dict[str, tuple[int, ...]] = {
                    "weight_ih": (4 * hidden, size),
                    "weight_hh": (4 * hidden, hidden),
                    "bias_ih": (4 * hidden,),
                    "bias_hh": (4 * hidden,),
                    "peephole_i": (hidden,),
                    "peephole_f": (hidden,),
                    "peephole_o": (hidden,),
                }
                for name, shape in shapes.items():
                    parameter = nn.Parameter(torch.empty(shape).uniform_(-bound, bound))
                    self.register_parameter(f"{name}_l{layer}{suffix}", parameter)

    def direction(self, x: Tensor, lengths: Tensor, end: str, reverse: bool) -> tuple[Tensor, Tensor]:
        """One layer in one direction: outputs [B, T, H], zero past each length, and the final hidden state [B, H]."""
        p = {name.removesuffix(end): value for name, value in self.named_parameters() if name.endswith(end)}
        h = c = x.new_zeros(x.shape[0], self.hidden)
        outputs = [h] * x.shape[1]
        for t in reversed(range(x.shape[1])) if reverse else range(x.shape[1]):
            gates = F.linear(x[:, t], p["weight_ih"], p["bias_ih"]) + F.linear(h, p["weight_hh"], p["bias_hh"])
            i, f, g, o = gates.chunk(4, 1)
            i, f = torch.sigmoid(i + p["peephole_i"] * c), torch.sigmoid(f + p["peephole_f"] * c)
            c_new = f * c + i * torch.tanh(g)
            h_new = torch.sigmoid(o + p["peephole_o"] * c_new) * torch.tanh(c_new)
            here = (t < lengths)[:, None]
            h, c = torch.where(here, h_new, h), torch.where(here, c_new, c)
            outputs[t] = torch.where(here, h_new, torch.zeros_like(h_new))
        return torch.stack(outputs, 1), h

    def forward(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        final = x
        for layer in range(self.layers):
            if layer > 0:
                x = F.dropout(x, self.dropout, self.training)
            ends = [f"_l{layer}{suffix}" for suffix in self.suffixes]
            results = [self.direction(x, lengths, end, end.endswith("_reverse")) for end in ends]
            x = torch.cat([output for output, _ in results], 2)
            final = torch.cat([h for _, h in results], 1)
        return x, final


class LSTMModel(nn.Module):
    """Embedding (if there is a vocabulary), LSTM layers, and a linear readout at every step or at the last."""

    def __init__(
        self,
        inputs: int,
        hidden: int,
        outputs: int,
        layers: int,
        bidirectional: bool,
        peepholes: bool,
        dropout: float,
        vocabulary: int | None,
        readout: str,
    ) -> None:
        super().__init__()
        if readout not in ("each", "last"):
            raise ValueError(f"readout must be 'each' or 'last', got {readout!r}")
        self.readout = readout
        self.directions = 2 if bidirectional else 1
        self.embedding = nn.Embedding(vocabulary, inputs) if vocabulary is not None else None
        self.lstm: nn.Module
        if peepholes:
            self.lstm = PeepholeLSTM(inputs, hidden, layers, bidirectional, dropout)
        else:
            between = dropout if layers > 1 else 0.0
            self.lstm = nn.LSTM(inputs, hidden, layers, batch_first=True, bidirectional=bidirectional, dropout=between)
        self.output = nn.Linear(self.directions * hidden, outputs)

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        if self.embedding is not None:
            x = self.embedding(x)
        if lengths is None:
            lengths = torch.full((x.shape[0],), x.shape[1], device=x.device)
        if isinstance(self.lstm, PeepholeLSTM):
            steps, final = self.lstm(x, lengths)
        else:
            packed = pack_padded_sequence(x, lengths.cpu(), batch_first=True, enforce_sorted=False)
            packed_steps, (states, _) = self.lstm(packed)
            steps, _ = pad_packed_sequence(packed_steps, batch_first=True, total_length=x.shape[1])
            final = torch.cat(list(states[-self.directions :]), 1)
        y: Tensor = self.output(steps if self.readout == "each" else final)
        return y


def build(
    inputs: int,
    hidden: int,
    outputs: int,
    layers: int = 1,
    bidirectional: bool = False,
    peepholes: bool = False,
    dropout: float = 0.0,
    vocabulary: int | None = None,
    readout: str = "each",
) -> LSTMModel:
    """The model with PyTorch's own initial weights; dropout acts between layers."""
    return LSTMModel(inputs, hidden, outputs, layers, bidirectional, peepholes, dropout, vocabulary, readout)


def loss(model: LSTMModel, x: Tensor, *rest: Tensor) -> Tensor:
    """Mean cross-entropy (class ids) or squared error (floats) over all outputs; rest is [lengths,] targets."""
    targets = rest[-1]
    y: Tensor = model(x, *rest[:-1])
    if targets.is_floating_point():
        return F.mse_loss(y, targets)
    return F.cross_entropy(y.flatten(0, -2), targets.flatten())
