"""Sequence to sequence in PyTorch: an independent twin, written from Sutskever et al. (2014) and Cho et al. (2014).
It shares nothing with the architecture's model but the names and shapes of its state."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence


class EncoderDecoder(nn.Module):
    """torch.nn.LSTM or torch.nn.GRU twice; the source is packed, so that padding is never seen."""

    def __init__(
        self, source: int, target: int, embedding: int, hidden: int, layers: int, cell: str, reverse: bool, dropout: float
    ) -> None:
        super().__init__()
        self.gru, self.reverse, self.p = cell == "gru", reverse, dropout
        recurrent = nn.GRU if self.gru else nn.LSTM
        self.source_embedding = nn.Embedding(source, embedding)
        self.target_embedding = nn.Embedding(target, embedding)
        self.encoder = recurrent(embedding, hidden, layers, batch_first=True)
        self.decoder = recurrent(embedding + hidden if self.gru else embedding, hidden, layers, batch_first=True)
        self.output = nn.Linear(hidden, target)

    def forward(self, source: Tensor, lengths: Tensor, given: Tensor) -> Tensor:
        if self.reverse:
            rows = [torch.cat([row[:n].flip(0), row[n:]]) for row, n in zip(source, lengths.tolist())]
            source = torch.stack(rows)
        x = F.dropout(self.source_embedding(source), self.p, self.training)
        packed = pack_padded_sequence(x, lengths.cpu(), batch_first=True, enforce_sorted=False)
        _, state = self.encoder(packed)
        y = F.dropout(self.target_embedding(given), self.p, self.training)
        if self.gru:
            summary = state[-1].unsqueeze(1).expand(-1, y.shape[1], -1)
            y = torch.cat([y, summary], dim=2)
        written, _ = self.decoder(y, state)
        scores: Tensor = self.output(F.dropout(written, self.p, self.training))
        return scores


def build(
    source: int,
    target: int,
    embedding: int = 128,
    hidden: int = 256,
    layers: int = 1,
    cell: str = "lstm",
    reverse: bool = True,
    dropout: float = 0.0,
    beam: int = 1,
    length_penalty: float = 0.0,
) -> EncoderDecoder:
    """The model with all parameters uniform in [-0.08, 0.08]; how it is searched concerns no gradient."""
    model = EncoderDecoder(source, target, embedding, hidden, layers, cell, reverse, dropout)
    for parameter in model.parameters():
        nn.init.uniform_(parameter, -0.08, 0.08)
    return model


def loss(model: EncoderDecoder, source: Tensor, lengths: Tensor, given: Tensor, following: Tensor) -> Tensor:
    """Negative log-likelihood of the target sentences, the mean over sentences; targets of -100 are padding."""
    log_p = F.log_softmax(model(source, lengths, given), dim=2)
    counted = following != -100
    picked = log_p.gather(2, following.clamp(min=0).unsqueeze(2)).squeeze(2)
    return -(picked * counted).sum(1).mean()
