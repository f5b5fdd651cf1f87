"""ALBERT in PyTorch: an independent twin, written from Lan et al. (2019), on the encoder of Devlin et al. (2018).
It shares nothing with the architecture's model but the names and shapes of its state."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

EPS = 1e-12


def gelu(x: Tensor) -> Tensor:
    """x Phi(x), by the approximation with tanh."""
    return F.gelu(x, approximate="tanh")


class Embeddings(nn.Module):
    """dropout(LayerNorm(word + position + segment)), of a width smaller than the layers'."""

    def __init__(self, vocabulary: int, positions: int, segments: int, width: int, dropout: float) -> None:
        super().__init__()
        self.word_embeddings = nn.Embedding(vocabulary, width)
        self.position_embeddings = nn.Embedding(positions, width)
        self.token_type_embeddings = nn.Embedding(segments, width)
        self.LayerNorm = nn.LayerNorm(width, EPS)
        self.drop = nn.Dropout(dropout)

    def forward(self, tokens: Tensor, segments: Tensor | None) -> Tensor:
        places = torch.arange(tokens.shape[1], device=tokens.device)
        kinds = torch.zeros_like(tokens) if segments is None else segments
        x = self.word_embeddings(tokens) + self.position_embeddings(places) + self.token_type_embeddings(kinds)
        return self.drop(self.LayerNorm(x))


class Attention(nn.Module):
    """LayerNorm(x + dropout(dense(heads))), each head softmax(q k^T / sqrt(D / H)) v over the keys that are read."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.query, self.key, self.value, self.dense = (nn.Linear(width, width) for _ in range(4))
        self.LayerNorm = nn.LayerNorm(width, EPS)

    def forward(self, x: Tensor, read: Tensor) -> Tensor:
        q, k, v = (part(x).unflatten(2, (self.heads, -1)).transpose(1, 2) for part in (self.query, self.key, self.value))
        p = self.dropout if self.training else 0.0
        mixed = F.scaled_dot_product_attention(q, k, v, read[:, None, None, :], p).transpose(1, 2).flatten(2)
        return self.LayerNorm(x + F.dropout(self.dense(mixed), p))


class Layer(nn.Module):
    """Attention and a feed-forward part, each normalized after its sum."""

    def __init__(self, width: int, heads: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.full_layer_layer_norm = nn.LayerNorm(width, EPS)
        self.attention = Attention(width, heads, dropout)
        self.ffn, self.ffn_output = nn.Linear(width, hidden), nn.Linear(hidden, width)
        self.drop = nn.Dropout(dropout)

    def forward(self, x: Tensor, read: Tensor) -> Tensor:
        x = self.attention(x, read)
        return self.full_layer_layer_norm(x + self.drop(self.ffn_output(gelu(self.ffn(x)))))


class Encoder(nn.Module):
    """A map from the embeddings' width to the layers', and layers of which each group is one and the same."""

    def __init__(self, embedding: int, width: int, depth: int, heads: int, hidden: int, groups: int, dropout: float) -> None:
        super().__init__()
        self.depth = depth
        self.embedding_hidden_mapping_in = nn.Linear(embedding, width)
        self.albert_layer_groups = nn.ModuleList(
            nn.ModuleDict({"albert_layers": nn.ModuleList([Layer(width, heads, hidden, dropout)])}) for _ in range(groups)
        )

    def forward(self, x: Tensor, read: Tensor) -> Tensor:
        x = self.embedding_hidden_mapping_in(x)
        shared: list[Any] = list(self.albert_layer_groups)
        for group in shared:
            for _ in range(self.depth // len(shared)):
                x = group["albert_layers"][0](x, read)
        return x


class Albert(nn.Module):
    """The states of all tokens, and tanh of a map of the first one's."""

    def __init__(
        self, vocabulary: int, embedding: int, width: int, depth: int, heads: int, hidden: int, groups: int, positions: int,
        segments: int, dropout: float,
    ) -> None:  # fmt: skip
        super().__init__()
        self.embeddings = Embeddings(vocabulary, positions, segments, embedding, dropout)
        self.encoder = Encoder(embedding, width, depth, heads, hidden, groups, dropout)
        self.pooler = nn.Linear(width, width)

    def forward(self, tokens: Tensor, mask: Tensor | None = None, segments: Tensor | None = None) -> tuple[Tensor, Tensor]:
        x = self.encoder(self.embeddings(tokens, segments), tokens_read(tokens, mask))
        return x, torch.tanh(self.pooler(x[:, 0]))


def tokens_read(tokens: Tensor, mask: Tensor | None) -> Tensor:
    """Return (batch, time), True where a token is read; the mask is of that shape, or it has the lengths."""
    if mask is None:
        return torch.ones_like(tokens, dtype=torch.bool)
    if mask.ndim == 1:
        return torch.arange(tokens.shape[1], device=tokens.device) < mask[:, None]
    return mask != 0


class Predictions(nn.Module):
    """Scores of all words by their own embeddings, to whose width the states are mapped, and a bias."""

    def __init__(self, vocabulary: int, embedding: int, width: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(vocabulary))
        self.LayerNorm = nn.LayerNorm(embedding, EPS)
        self.dense = nn.Linear(width, embedding)

    def forward(self, x: Tensor, words: Tensor) -> Tensor:
        return F.linear(self.LayerNorm(gelu(self.dense(x))), words, self.bias)


class Pretraining(nn.Module):
    """Scores of the masked words, and of whether two sentences are in their order (0) or swapped (1)."""

    def __init__(self, albert: Albert, vocabulary: int, embedding: int, width: int, dropout: float) -> None:
        super().__init__()
        self.albert, self.drop = albert, nn.Dropout(dropout)
        self.predictions = Predictions(vocabulary, embedding, width)
        self.sop_classifier = nn.ModuleDict({"classifier": nn.Linear(width, 2)})

    def forward(self, tokens: Tensor, mask: Tensor | None = None, segments: Tensor | None = None) -> tuple[Tensor, Tensor]:
        x, pooled = self.albert(tokens, mask, segments)
        words = self.predictions(x, self.albert.embeddings.word_embeddings.weight)
        return words, self.sop_classifier["classifier"](self.drop(pooled))


class Classification(nn.Module):
    """Scores of a text by its pooled state."""

    def __init__(self, albert: Albert, width: int, classes: int, dropout: float) -> None:
        super().__init__()
        self.albert, self.drop = albert, nn.Dropout(dropout)
        self.classifier = nn.Linear(width, classes)

    def forward(self, tokens: Tensor, mask: Tensor | None = None, segments: Tensor | None = None) -> Tensor:
        return self.classifier(self.drop(self.albert(tokens, mask, segments)[1]))


def build(
    vocab_size: int = 30000,
    embedding_size: int = 128,
    hidden_size: int = 768,
    num_hidden_layers: int = 12,
    num_attention_heads: int = 12,
    intermediate_size: int = 3072,
    num_hidden_groups: int = 1,
    max_position_embeddings: int = 512,
    type_vocab_size: int = 2,
    dropout: float = 0.0,
    head: str = "none",
    num_labels: int = 2,
) -> nn.Module:
    """The encoder alone, or with a head, with initial weights N(0, 0.02)."""
    if head not in ("none", "pretraining", "classification"):
        raise ValueError(f"head is 'none', 'pretraining' or 'classification'. Received {head!r}. Use head='none'.")
    if num_hidden_layers % num_hidden_groups:
        raise ValueError(f"num_hidden_groups divides num_hidden_layers. Received {num_hidden_groups}. Use 1.")
    sizes = (hidden_size, num_hidden_layers, num_attention_heads, intermediate_size, num_hidden_groups)
    albert = Albert(vocab_size, embedding_size, *sizes, max_position_embeddings, type_vocab_size, dropout)
    model: nn.Module = albert
    if head == "pretraining":
        model = Pretraining(albert, vocab_size, embedding_size, hidden_size, dropout)
    elif head == "classification":
        model = Classification(albert, hidden_size, num_labels, dropout)
    for part in model.modules():
        if isinstance(part, nn.Linear | nn.Embedding):
            nn.init.normal_(part.weight, std=0.02)
        if isinstance(part, nn.Linear):
            nn.init.zeros_(part.bias)
    return model


def loss(model: nn.Module, *batch: Tensor) -> Tensor:
    """Mean cross-entropy in nats; in pre-training that of masked words plus that of the order of sentences."""
    if not isinstance(model, Pretraining):
        *inputs, labels = batch
        return F.cross_entropy(model(*inputs), labels)
    *inputs, labels, swapped = batch
    words, order = model(*inputs)
    return F.cross_entropy(words.flatten(0, 1), labels.flatten(), ignore_index=-100) + F.cross_entropy(order, swapped)
