"""Recurrent networks with attention in PyTorch: an independent twin, written from Bahdanau, Cho and Bengio (2015) and Luong,
Pham and Manning (2015). It shares nothing with the architecture's model but the names and shapes of its state."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence


class Attention(nn.Module):
    """Weights of the source's places for a query, and the mean of their annotations by these weights."""

    def __init__(self, hidden: int, annotation: int, score: str) -> None:
        super().__init__()
        self.score = score
        if score in ("additive", "concat"):
            self.query = nn.Linear(hidden, hidden, bias=False)
            self.energy = nn.Linear(hidden, 1, bias=False)
        if score != "dot":
            self.key = nn.Linear(annotation, hidden, bias=False)

    def forward(self, q: Tensor, annotations: Tensor, read: Tensor) -> Tensor:
        """(batch, hidden), (batch, source, annotation), (batch, source) -> (batch, annotation)"""
        keys = annotations if self.score == "dot" else self.key(annotations)
        if self.score in ("additive", "concat"):
            e = self.energy(torch.tanh(self.query(q)[:, None] + keys)).squeeze(2)
        else:
            e = torch.bmm(keys, q[:, :, None]).squeeze(2)
        weights = e.masked_fill(~read, float("-inf")).softmax(1)
        return torch.bmm(weights[:, None], annotations).squeeze(1)


class Translator(nn.Module):
    """A bidirectional encoder, and a decoder that attends to it at each step."""

    def __init__(self, source: int, target: int, embedding: int, encoder_hidden: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.drop = nn.Dropout(dropout)
        self.source_embedding = nn.Embedding(source, embedding)
        self.target_embedding = nn.Embedding(target, embedding)
        self.encoder = nn.GRU(embedding, encoder_hidden, batch_first=True, bidirectional=True)
        self.bridge = nn.Linear(encoder_hidden, hidden)
        self.output = nn.Linear(hidden, target)

    def encode(self, source: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The annotations, which of them are real, and the decoder's first state."""
        x = self.drop(self.source_embedding(source))
        packed = pack_padded_sequence(x, lengths.cpu(), batch_first=True, enforce_sorted=False)
        states, finals = self.encoder(packed)
        annotations, _ = pad_packed_sequence(states, batch_first=True, total_length=source.shape[1])
        read = torch.arange(source.shape[1], device=lengths.device) < lengths[:, None]
        return annotations, read, torch.tanh(self.bridge(finals[1]))

    def forward(self, source: Tensor, lengths: Tensor, given: Tensor) -> Tensor:
        annotations, read, s = self.encode(source, lengths)
        words = self.drop(self.target_embedding(given))
        return self.output(self.drop(self.decode(words, annotations, read, s)))

    def decode(self, words: Tensor, annotations: Tensor, read: Tensor, s: Tensor) -> Tensor:
        raise NotImplementedError


class Bahdanau(Translator):
    """The old state looks at the source, and the new state comes from what it sees."""

    def __init__(self, source: int, target: int, embedding: int, encoder_hidden: int, hidden: int, dropout: float) -> None:
        super().__init__(source, target, embedding, encoder_hidden, hidden, dropout)
        self.attention = Attention(hidden, 2 * encoder_hidden, "additive")
        self.decoder = nn.GRUCell(embedding + 2 * encoder_hidden, hidden)
        self.readout = nn.Linear(hidden + embedding + 2 * encoder_hidden, 2 * hidden)

    def decode(self, words: Tensor, annotations: Tensor, read: Tensor, s: Tensor) -> Tensor:
        found = []
        for word in words.unbind(1):
            context = self.attention(s, annotations, read)
            found.append(self.readout(torch.cat([s, word, context], dim=1)).unflatten(1, (-1, 2)).amax(2))
            s = self.decoder(torch.cat([word, context], dim=1), s)
        return torch.stack(found, dim=1)


class Luong(Translator):
    """The new state looks at the source, and an attentional vector is made of it and of what it sees."""

    def __init__(
        self, source: int, target: int, embedding: int, encoder_hidden: int, hidden: int, dropout: float, score: str,
        input_feeding: bool,
    ) -> None:  # fmt: skip
        super().__init__(source, target, embedding, encoder_hidden, hidden, dropout)
        self.input_feeding = input_feeding
        self.attention = Attention(hidden, 2 * encoder_hidden, score)
        self.decoder = nn.GRUCell(embedding + hidden if input_feeding else embedding, hidden)
        self.combine = nn.Linear(2 * encoder_hidden + hidden, hidden, bias=False)

    def decode(self, words: Tensor, annotations: Tensor, read: Tensor, s: Tensor) -> Tensor:
        attentional, found = torch.zeros_like(s), []
        for word in words.unbind(1):
            s = self.decoder(torch.cat([word, attentional], dim=1) if self.input_feeding else word, s)
            context = self.attention(s, annotations, read)
            attentional = torch.tanh(self.combine(torch.cat([context, s], dim=1)))
            found.append(attentional)
        return torch.stack(found, dim=1)


def build(
    source: int,
    target: int,
    embedding: int = 128,
    encoder_hidden: int = 128,
    hidden: int = 256,
    score: str = "additive",
    input_feeding: bool = True,
    dropout: float = 0.0,
    beam: int = 1,
    length_penalty: float = 0.0,
) -> Translator:
    """The model with PyTorch's own initial weights; how it is searched concerns no gradient."""
    if score not in ("additive", "dot", "general", "concat"):
        raise ValueError(f"score is 'additive', 'dot', 'general' or 'concat'. Received {score!r}. Use score='additive'.")
    if score == "additive" and not input_feeding:
        raise ValueError("Bahdanau's decoder reads the context. Received input_feeding=False. Use input_feeding=True.")
    if score == "dot" and hidden != 2 * encoder_hidden:
        raise ValueError(f"score='dot' needs hidden = 2 encoder_hidden. Received {hidden} and {encoder_hidden}.")
    if score == "additive":
        return Bahdanau(source, target, embedding, encoder_hidden, hidden, dropout)
    return Luong(source, target, embedding, encoder_hidden, hidden, dropout, score, input_feeding)


def loss(model: Translator, source: Tensor, lengths: Tensor, given: Tensor, following: Tensor) -> Tensor:
    """Negative log-likelihood of the target sentences, the mean over sentences; targets of -100 are padding."""
    scores = model(source, lengths, given)
    return F.cross_entropy(scores.flatten(0, 1), following.flatten(), ignore_index=-100, reduction="sum") / len(source)
