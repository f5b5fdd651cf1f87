"""The GRU in PyTorch: an independent twin, written from Cho et al. (2014), equations 5 to 8, and Chung et al. (2014).
It shares nothing with the architecture's model but the names and shapes of its state: embedding, gru, output."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence


class ResetBeforeGRU(nn.GRU):
    """The weights of torch.nn.GRU; the reset gate acts before the matrix product, as in the first paper's equation 8."""

    def one_way(self, x: Tensor, lengths: Tensor, end: str) -> tuple[Tensor, Tensor]:
        """One layer in one direction: outputs [B, T, H], zero past each length, and the final state [B, H]."""
        w, u, b, c = (getattr(self, f"{name}_{end}") for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))
        (u_r, u_z, u_n), (c_r, c_z, c_n) = u.chunk(3), c.chunk(3)
        h = x.new_zeros(x.shape[0], self.hidden_size)
        outputs = [h] * x.shape[1]
        steps = range(x.shape[1])
        for t in reversed(steps) if end.endswith("_reverse") else steps:
            x_r, x_z, x_n = F.linear(x[:, t], w, b).chunk(3, 1)
            r = torch.sigmoid(x_r + F.linear(h, u_r, c_r))
            z = torch.sigmoid(x_z + F.linear(h, u_z, c_z))
            new = z * h + (1 - z) * torch.tanh(x_n + F.linear(r * h, u_n, c_n))
            here = (t < lengths)[:, None]
            h = torch.where(here, new, h)
            outputs[t] = new * here
        return torch.stack(outputs, 1), h

    def run(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        final = x
        for layer in range(self.num_layers):
            if layer > 0:
                x = F.dropout(x, self.dropout, self.training)
            ends = [f"l{layer}", f"l{layer}_reverse"] if self.bidirectional else [f"l{layer}"]
            results = [self.one_way(x, lengths, end) for end in ends]
            x, final = (torch.cat(parts, -1) for parts in zip(*results))
        return x, final


class GRUModel(nn.Module):
    """Embedding (if there is a vocabulary), GRU layers, and a linear readout at every step or of the final states."""

    def __init__(
        self, inputs: int, hidden: int, outputs: int, layers: int, bidirectional: bool, reset_after: bool, dropout: float,
        vocabulary: int | None, readout: str,
    ) -> None:  # fmt: skip
        super().__init__()
        if readout not in ("each", "last"):
            raise ValueError(f"readout must be 'each' or 'last', got {readout!r}")
        self.readout, self.directions = readout, 2 if bidirectional else 1
        self.embedding = None if vocabulary is None else nn.Embedding(vocabulary, inputs)
        kind = nn.GRU if reset_after else ResetBeforeGRU
        between = dropout if layers > 1 else 0.0
        self.gru = kind(inputs, hidden, layers, batch_first=True, bidirectional=bidirectional, dropout=between)
        self.output = nn.Linear(self.directions * hidden, outputs)

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        if self.embedding is not None:
            x = self.embedding(x)
        if lengths is None:
            lengths = torch.full((x.shape[0],), x.shape[1])
        if isinstance(self.gru, ResetBeforeGRU):
            steps, final = self.gru.run(x, lengths)
        else:
            packed = pack_padded_sequence(x, lengths.cpu(), batch_first=True, enforce_sorted=False)
            packed_steps, states = self.gru(packed)
            steps, _ = pad_packed_sequence(packed_steps, batch_first=True, total_length=x.shape[1])
            final = torch.cat(list(states[-self.directions :]), 1)
        y: Tensor = self.output(steps if self.readout == "each" else final)
        return y


def build(
    inputs: int, hidden: int, outputs: int, layers: int = 1, bidirectional: bool = False, reset_after: bool = True,
    dropout: float = 0.0, vocabulary: int | None = None, readout: str = "each",
) -> GRUModel:  # fmt: skip
    """The model with PyTorch's own initial weights; dropout acts between layers."""
    return GRUModel(inputs, hidden, outputs, layers, bidirectional, reset_after, dropout, vocabulary, readout)


def loss(model: GRUModel, x: Tensor, *rest: Tensor) -> Tensor:
    """Mean cross-entropy (class ids) or squared error (floats) over all outputs; rest is [lengths,] targets."""
    y, targets = model(x, *rest[:-1]), rest[-1]
    if targets.is_floating_point():
        return F.mse_loss(y, targets)
    return F.cross_entropy(y.flatten(0, -2), targets.flatten())
