"""RoBERTa in PyTorch: an independent twin, written from Liu, Ott, Goyal et al. (2019), on the encoder of Devlin et al. (2018).
It shares nothing with the architecture's model but the names and shapes of its state."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

EPS = 1e-5


class Embeddings(nn.Module):
    """dropout(LayerNorm(word + position + segment)), where there is one segment, and positions start after that of padding."""

    def __init__(self, vocabulary: int, positions: int, width: int, padding: int, dropout: float) -> None:
        super().__init__()
        self.padding = padding
        self.word_embeddings = nn.Embedding(vocabulary, width)
        self.position_embeddings = nn.Embedding(positions, width)
        self.token_type_embeddings = nn.Embedding(1, width)
        self.LayerNorm = nn.LayerNorm(width, EPS)
        self.drop = nn.Dropout(dropout)

    def forward(self, tokens: Tensor) -> Tensor:
        real = tokens != self.padding
        places = (self.padding + real.cumsum(1)).masked_fill(~real, self.padding)
        x = self.word_embeddings(tokens) + self.position_embeddings(places) + self.token_type_embeddings.weight[0]
        return self.drop(self.LayerNorm(x))


class SelfAttention(nn.Module):
    """softmax(q k^T / sqrt(D / H)) v over the keys that are read, by torch's scaled_dot_product_attention."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.query, self.key, self.value = nn.Linear(width, width), nn.Linear(width, width), nn.Linear(width, width)

    def forward(self, x: Tensor, read: Tensor) -> Tensor:
        q, k, v = (part(x).unflatten(2, (self.heads, -1)).transpose(1, 2) for part in (self.query, self.key, self.value))
        p = self.dropout if self.training else 0.0
        return F.scaled_dot_product_attention(q, k, v, read[:, None, None, :], p).transpose(1, 2).flatten(2)


class Output(nn.Module):
    """LayerNorm(around + dropout(dense(x)))"""

    def __init__(self, inputs: int, width: int, dropout: float) -> None:
        super().__init__()
        self.dense = nn.Linear(inputs, width)
        self.LayerNorm = nn.LayerNorm(width, EPS)
        self.drop = nn.Dropout(dropout)

    def forward(self, x: Tensor, around: Tensor) -> Tensor:
        return self.LayerNorm(around + self.drop(self.dense(x)))


class Layer(nn.Module):
    """Self-attention and a feed-forward part with gelu, each normalized after its sum."""

    def __init__(self, width: int, heads: int, hidden: int, dropout: float) -> None:
        super().__init__()
        parts = {"self": SelfAttention(width, heads, dropout), "output": Output(width, width, dropout)}
        self.attention = nn.ModuleDict(parts)
        self.intermediate = nn.ModuleDict({"dense": nn.Linear(width, hidden)})
        self.output = Output(hidden, width, dropout)

    def forward(self, x: Tensor, read: Tensor) -> Tensor:
        x = self.attention["output"](self.attention["self"](x, read), x)
        return self.output(F.gelu(self.intermediate["dense"](x)), x)


class Roberta(nn.Module):
    """Embeddings and layers; and tanh of a map of the first token's state, where there is a pooler."""

    def __init__(
        self, vocabulary: int, width: int, depth: int, heads: int, hidden: int, positions: int, padding: int, dropout: float,
        pooler: bool,
    ) -> None:  # fmt: skip
        super().__init__()
        self.embeddings = Embeddings(vocabulary, positions, width, padding, dropout)
        self.encoder = nn.ModuleDict({"layer": nn.ModuleList(Layer(width, heads, hidden, dropout) for _ in range(depth))})
        self.pooler = nn.ModuleDict({"dense": nn.Linear(width, width)}) if pooler else None

    def forward(self, tokens: Tensor, mask: Tensor | None = None) -> Any:
        x, read = self.embeddings(tokens), tokens_read(tokens, mask)
        for layer in self.encoder["layer"]:
            x = layer(x, read)
        return x if self.pooler is None else (x, torch.tanh(self.pooler["dense"](x[:, 0])))


def tokens_read(tokens: Tensor, mask: Tensor | None) -> Tensor:
    """Return (batch, time), True where a token is read; the mask is of that shape, or it has the lengths."""
    if mask is None:
        return torch.ones_like(tokens, dtype=torch.bool)
    if mask.ndim == 1:
        return torch.arange(tokens.shape[1], device=tokens.device) < mask[:, None]
    return mask != 0


class WordHead(nn.Module):
    """Scores of all words, by their own embeddings and a bias."""

    def __init__(self, vocabulary: int, width: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(vocabulary))
        self.dense = nn.Linear(width, width)
        self.layer_norm = nn.LayerNorm(width, EPS)

    def forward(self, x: Tensor, words: Tensor) -> Tensor:
        return F.linear(self.layer_norm(F.gelu(self.dense(x))), words, self.bias)


class Masked(nn.Module):
    """RoBERTa and the scores of the words that were masked."""

    def __init__(self, roberta: Roberta, vocabulary: int, width: int) -> None:
        super().__init__()
        self.roberta, self.lm_head = roberta, WordHead(vocabulary, width)

    def forward(self, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        return self.lm_head(self.roberta(tokens, mask), self.roberta.embeddings.word_embeddings.weight)


class Classification(nn.Module):
    """RoBERTa and two layers on the state of the first token."""

    def __init__(self, roberta: Roberta, width: int, classes: int, dropout: float) -> None:
        super().__init__()
        self.roberta, self.drop = roberta, nn.Dropout(dropout)
        self.classifier = nn.ModuleDict({"dense": nn.Linear(width, width), "out_proj": nn.Linear(width, classes)})

    def forward(self, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        first = self.drop(self.roberta(tokens, mask)[:, 0])
        return self.classifier["out_proj"](self.drop(torch.tanh(self.classifier["dense"](first))))


def build(
    vocab_size: int = 50265,
    hidden_size: int = 768,
    num_hidden_layers: int = 12,
    num_attention_heads: int = 12,
    intermediate_size: int = 3072,
    max_position_embeddings: int = 514,
    pad_token_id: int = 1,
    dropout: float = 0.1,
    head: str = "none",
    num_labels: int = 2,
) -> nn.Module:
    """The encoder with its pooler, or with another head, with initial weights N(0, 0.02)."""
    if head not in ("none", "masked", "classification"):
        raise ValueError(f"head is 'none', 'masked' or 'classification'. Received {head!r}. Use head='none'.")
    sizes = (hidden_size, num_hidden_layers, num_attention_heads, intermediate_size, max_position_embeddings)
    roberta = Roberta(vocab_size, *sizes, pad_token_id, dropout, head == "none")
    model: nn.Module = roberta
    if head == "masked":
        model = Masked(roberta, vocab_size, hidden_size)
    elif head == "classification":
        model = Classification(roberta, hidden_size, num_labels, dropout)
    for part in model.modules():
        if isinstance(part, nn.Linear | nn.Embedding):
            nn.init.normal_(part.weight, std=0.02)
        if isinstance(part, nn.Linear):
            nn.init.zeros_(part.bias)
    return model


def loss(model: nn.Module, tokens: Tensor, mask: Tensor, labels: Tensor) -> Tensor:
    """Mean cross-entropy in nats, over the words that were masked or over texts."""
    return F.cross_entropy(model(tokens, mask).flatten(0, -2), labels.flatten(), ignore_index=-100)
