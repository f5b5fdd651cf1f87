"""BERT in PyTorch: an independent twin, written from Devlin et al. (2018), on the encoder of Vaswani et al. (2017).
It shares nothing with the architecture's model but the names and shapes of its state."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

EPS = 1e-12


def linear(inputs: int, outputs: int) -> nn.Linear:
    """torch.nn.Linear with weights N(0, 0.02) and biases of 0."""
    layer = nn.Linear(inputs, outputs)
    nn.init.normal_(layer.weight, std=0.02)
    nn.init.zeros_(layer.bias)
    return layer


class Embeddings(nn.Module):
    """dropout(LayerNorm(word + position + segment))."""

    def __init__(self, vocabulary: int, positions: int, segments: int, width: int, dropout: float) -> None:
        super().__init__()
        self.word_embeddings = nn.Embedding(vocabulary, width)
        self.position_embeddings = nn.Embedding(positions, width)
        self.token_type_embeddings = nn.Embedding(segments, width)
        self.LayerNorm = nn.LayerNorm(width, EPS)
        self.drop = nn.Dropout(dropout)
        for table in (self.word_embeddings, self.position_embeddings, self.token_type_embeddings):
            nn.init.normal_(table.weight, std=0.02)

    def forward(self, tokens: Tensor, segments: Tensor | None) -> Tensor:
        places = torch.arange(tokens.shape[1], device=tokens.device)
        kinds = torch.zeros_like(tokens) if segments is None else segments
        x = self.word_embeddings(tokens) + self.position_embeddings(places) + self.token_type_embeddings(kinds)
        return self.drop(self.LayerNorm(x))


class SelfAttention(nn.Module):
    """softmax(q k^T / sqrt(D / H)) v over the keys that are read, by torch's scaled_dot_product_attention."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.query, self.key, self.value = linear(width, width), linear(width, width), linear(width, width)

    def forward(self, x: Tensor, read: Tensor) -> Tensor:
        q, k, v = (part(x).unflatten(2, (self.heads, -1)).transpose(1, 2) for part in (self.query, self.key, self.value))
        p = self.dropout if self.training else 0.0
        mixed = F.scaled_dot_product_attention(q, k, v, read[:, None, None, :], p)
        return mixed.transpose(1, 2).flatten(2)


class Output(nn.Module):
    """LayerNorm(around + dropout(dense(x)))."""

    def __init__(self, inputs: int, width: int, dropout: float) -> None:
        super().__init__()
        self.dense = linear(inputs, width)
        self.LayerNorm = nn.LayerNorm(width, EPS)
        self.drop = nn.Dropout(dropout)

    def forward(self, x: Tensor, around: Tensor) -> Tensor:
        return self.LayerNorm(around + self.drop(self.dense(x)))


class Layer(nn.Module):
    """Self-attention and a feed-forward part with gelu, each normalized after its sum."""

    def __init__(self, width: int, heads: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.attention = nn.ModuleDict(
            {"self": SelfAttention(width, heads, dropout), "output": Output(width, width, dropout)}
        )  # fmt: skip
        self.intermediate = nn.ModuleDict({"dense": linear(width, hidden)})
        self.output = Output(hidden, width, dropout)

    def forward(self, x: Tensor, read: Tensor) -> Tensor:
        x = self.attention["output"](self.attention["self"](x, read), x)
        return self.output(F.gelu(self.intermediate["dense"](x)), x)


class Bert(nn.Module):
    """Embeddings and layers; `pooled` is tanh of a map of the first token's state, where there is a pooler."""

    def __init__(
        self,
        vocabulary: int,
        width: int,
        depth: int,
        heads: int,
        hidden: int,
        positions: int,
        segments: int,
        dropout: float,
        pooler: bool,
    ) -> None:
        super().__init__()
        self.embeddings = Embeddings(vocabulary, positions, segments, width, dropout)
        self.encoder = nn.ModuleDict({"layer": nn.ModuleList(Layer(width, heads, hidden, dropout) for _ in range(depth))})
        self.pooler = nn.ModuleDict({"dense": linear(width, width)}) if pooler else None

    def states(self, tokens: Tensor, mask: Tensor | None, segments: Tensor | None) -> Tensor:
        read = tokens_read(tokens, mask)
        x = self.embeddings(tokens, segments)
        for layer in self.encoder["layer"]:
            x = layer(x, read)
        return x

    def pooled(self, x: Tensor) -> Tensor:
        if self.pooler is None:
            raise ValueError("A pooled state needs a pooler. Received a model without one. Use head='none'.")
        return torch.tanh(self.pooler["dense"](x[:, 0]))

    def forward(self, tokens: Tensor, mask: Tensor | None = None, segments: Tensor | None = None) -> tuple[Tensor, Tensor]:
        x = self.states(tokens, mask, segments)
        return x, self.pooled(x)


def tokens_read(tokens: Tensor, mask: Tensor | None) -> Tensor:
    """Return (batch, time), True where a token is read; the mask is of that shape, or it has the lengths."""
    if mask is None:
        return torch.ones_like(tokens, dtype=torch.bool)
    if mask.ndim == 1:
        return torch.arange(tokens.shape[1], device=tokens.device) < mask[:, None]
    return mask != 0


class Transform(nn.Module):
    """LayerNorm(gelu(dense(x))), before the words are scored."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.dense = linear(width, width)
        self.LayerNorm = nn.LayerNorm(width, EPS)

    def forward(self, x: Tensor) -> Tensor:
        return self.LayerNorm(F.gelu(self.dense(x)))


class Predictions(nn.Module):
    """Scores of all words by their own embeddings, and a bias."""

    def __init__(self, vocabulary: int, width: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(vocabulary))
        self.transform = Transform(width)

    def forward(self, x: Tensor, embeddings: Tensor) -> Tensor:
        return F.linear(self.transform(x), embeddings, self.bias)


class Pretraining(nn.Module):
    """Scores of the masked words, and of whether sentence B follows sentence A (0) or not (1)."""

    def __init__(self, bert: Bert, vocabulary: int, width: int) -> None:
        super().__init__()
        self.bert = bert
        self.cls = nn.ModuleDict({"predictions": Predictions(vocabulary, width), "seq_relationship": linear(width, 2)})

    def forward(self, tokens: Tensor, mask: Tensor | None = None, segments: Tensor | None = None) -> tuple[Tensor, Tensor]:
        x, pooled = self.bert(tokens, mask, segments)
        words = self.cls["predictions"](x, self.bert.embeddings.word_embeddings.weight)
        return words, self.cls["seq_relationship"](pooled)

    def loss(self, tokens: Tensor, mask: Tensor, segments: Tensor, labels: Tensor, following: Tensor) -> Tensor:
        words, sentences = self(tokens, mask, segments)
        return F.cross_entropy(words.mT, labels, ignore_index=-100) + F.cross_entropy(sentences, following)


class Classification(nn.Module):
    """Scores of a text by its pooled state, or of each token by its own state."""

    def __init__(self, bert: Bert, width: int, classes: int, dropout: float, tokens: bool) -> None:
        super().__init__()
        self.bert, self.tokens = bert, tokens
        self.drop = nn.Dropout(dropout)
        self.classifier = linear(width, classes)

    def forward(self, tokens: Tensor, mask: Tensor | None = None, segments: Tensor | None = None) -> Tensor:
        x = self.bert.states(tokens, mask, segments)
        return self.classifier(self.drop(x if self.tokens else self.bert.pooled(x)))

    def loss(self, *batch: Tensor) -> Tensor:
        *inputs, labels = batch
        return F.cross_entropy(self(*inputs).flatten(0, -2), labels.flatten(), ignore_index=-100)


class Span(nn.Module):
    """Scores of each token as the start and as the end of the answer."""

    def __init__(self, bert: Bert, width: int) -> None:
        super().__init__()
        self.bert = bert
        self.qa_outputs = linear(width, 2)

    def forward(self, tokens: Tensor, mask: Tensor | None = None, segments: Tensor | None = None) -> Tensor:
        return self.qa_outputs(self.bert.states(tokens, mask, segments))

    def loss(self, *batch: Tensor) -> Tensor:
        *inputs, labels = batch
        read = tokens_read(inputs[0], inputs[1])
        scores = self(*inputs).masked_fill(~read[:, :, None], float("-inf"))
        return F.cross_entropy(scores, labels)  # classes of (batch, time, 2) are the places


def build(
    vocab_size: int = 30522,
    hidden_size: int = 768,
    num_hidden_layers: int = 12,
    num_attention_heads: int = 12,
    intermediate_size: int = 3072,
    max_position_embeddings: int = 512,
    type_vocab_size: int = 2,
    dropout: float = 0.1,
    head: str = "none",
    num_labels: int = 2,
) -> nn.Module:
    """The encoder alone, or with a head, with initial weights N(0, 0.02)."""
    if head not in ("none", "pretraining", "classification", "tokens", "span"):
        raise ValueError(
            f"head is 'none', 'pretraining', 'classification', 'tokens' or 'span'. Received {head!r}. Use head='none'."
        )
    sizes = (hidden_size, num_hidden_layers, num_attention_heads, intermediate_size, max_position_embeddings)
    bert = Bert(vocab_size, *sizes, type_vocab_size, dropout, head not in ("tokens", "span"))
    if head == "none":
        return bert
    if head == "pretraining":
        return Pretraining(bert, vocab_size, hidden_size)
    if head == "span":
        return Span(bert, hidden_size)
    return Classification(bert, hidden_size, num_labels, dropout, head == "tokens")


def loss(model: Any, *batch: Tensor) -> Tensor:
    """The mean cross-entropy of the head, in nats; that of pre-training is the sum of two."""
    return model.loss(*batch)
