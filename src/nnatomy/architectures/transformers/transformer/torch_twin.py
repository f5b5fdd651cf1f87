"""The Transformer in PyTorch: an independent twin, written from Vaswani et al. (2017).
It shares nothing with the architecture's model but the names and shapes of its state."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def positions(time: int, width: int, like: Tensor) -> Tensor:
    """Interleaved sin and cos of t / 10000^(2 i / width), (time, width), section 3.5."""
    rates = 10000.0 ** (-torch.arange(0, width, 2, device=like.device, dtype=torch.float64) / width)
    angles = torch.outer(torch.arange(time, device=like.device, dtype=torch.float64), rates)
    return torch.stack([angles.sin(), angles.cos()], dim=2).flatten(1).to(like.dtype)


class SubLayer(nn.Module):
    """x + dropout(f(x)), with the norm after the sum or before f."""

    def __init__(self, first: bool, dropout: float) -> None:
        super().__init__()
        self.first, self.dropout = first, dropout

    def around(self, x: Tensor, norm: nn.Module, f: Callable[[Tensor], Tensor]) -> Tensor:
        y = f(norm(x) if self.first else x)
        y = x + F.dropout(y, self.dropout, self.training)
        return y if self.first else norm(y)


class EncoderLayer(SubLayer):
    """Self-attention and a feed-forward part."""

    def __init__(self, width: int, heads: int, hidden: int, dropout: float, first: bool) -> None:
        super().__init__(first, dropout)
        self.self_attn = nn.MultiheadAttention(width, heads, batch_first=True)
        self.linear1, self.linear2 = nn.Linear(width, hidden), nn.Linear(hidden, width)
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)

    def forward(self, x: Tensor, padding: Tensor) -> Tensor:
        x = self.around(x, self.norm1, lambda y: self.self_attn(y, y, y, key_padding_mask=padding, need_weights=False)[0])
        return self.around(x, self.norm2, lambda y: self.linear2(F.relu(self.linear1(y))))


class DecoderLayer(SubLayer):
    """Causal self-attention, attention over the memory, and a feed-forward part."""

    def __init__(self, width: int, heads: int, hidden: int, dropout: float, first: bool) -> None:
        super().__init__(first, dropout)
        self.self_attn = nn.MultiheadAttention(width, heads, batch_first=True)
        self.multihead_attn = nn.MultiheadAttention(width, heads, batch_first=True)
        self.linear1, self.linear2 = nn.Linear(width, hidden), nn.Linear(hidden, width)
        self.norm1, self.norm2, self.norm3 = nn.LayerNorm(width), nn.LayerNorm(width), nn.LayerNorm(width)

    def forward(self, x: Tensor, memory: Tensor, padding: Tensor) -> Tensor:
        later = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool, device=x.device).triu(1)

        def remember(y: Tensor) -> Tensor:
            return self.multihead_attn(y, memory, memory, key_padding_mask=padding, need_weights=False)[0]

        x = self.around(x, self.norm1, lambda y: self.self_attn(y, y, y, attn_mask=later, need_weights=False)[0])
        x = self.around(x, self.norm2, remember)
        return self.around(x, self.norm3, lambda y: self.linear2(F.relu(self.linear1(y))))


class Stack(nn.Module):
    """Layers, and a norm at their end unless the norm is the paper's own."""

    def __init__(self, layers: list[nn.Module], width: int, norm: str) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.norm = nn.Identity() if norm == "post" else nn.LayerNorm(width)

    def forward(self, x: Tensor, *others: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x, *others)
        return self.norm(x)


class Transformer(nn.Module):
    """Two stacks between embeddings with positions and scores by the output matrix."""

    def __init__(
        self,
        source: int,
        target: int,
        width: int,
        heads: int,
        depths: tuple[int, int],
        hidden: int,
        dropout: float,
        norm: str,
        tie: str,
        smoothing: float,
    ) -> None:
        super().__init__()
        self.dropout, self.smoothing, self.width = dropout, smoothing, width
        self.source_embedding = nn.Embedding(source, width)
        self.target_embedding = None if tie == "all" else nn.Embedding(target, width)
        first = norm == "pre"
        self.encoder = Stack([EncoderLayer(width, heads, hidden, dropout, first) for _ in range(depths[0])], width, norm)
        self.decoder = Stack([DecoderLayer(width, heads, hidden, dropout, first) for _ in range(depths[1])], width, norm)
        self.output = nn.Linear(width, target, bias=False) if tie == "none" else None
        for name, parameter in self.named_parameters():
            if "embedding" in name or name == "output.weight":
                nn.init.normal_(parameter, std=width**-0.5)
            elif parameter.ndim == 2:
                nn.init.xavier_uniform_(parameter)
            elif name.endswith("bias"):
                nn.init.zeros_(parameter)

    def embedded(self, tokens: Tensor, table: nn.Embedding) -> Tensor:
        x = table(tokens) * self.width**0.5
        return F.dropout(x + positions(tokens.shape[1], self.width, x), self.dropout, self.training)

    def forward(self, source: Tensor, lengths: Tensor, given: Tensor) -> Tensor:
        table = self.source_embedding if self.target_embedding is None else self.target_embedding
        padding = torch.arange(source.shape[1], device=source.device) >= lengths[:, None]
        memory = self.encoder(self.embedded(source, self.source_embedding), padding)
        y = self.decoder(self.embedded(given, table), memory, padding)
        return F.linear(y, table.weight if self.output is None else self.output.weight)


def build(
    source: int = 37000,
    target: int = 37000,
    d_model: int = 512,
    nhead: int = 8,
    num_encoder_layers: int = 6,
    num_decoder_layers: int = 6,
    dim_feedforward: int = 2048,
    dropout: float = 0.1,
    norm: str = "post",
    tie: str = "all",
    label_smoothing: float = 0.1,
    beam: int = 1,
    length_penalty: float = 0.0,
) -> Transformer:
    """The base model; how translations are searched concerns no gradient."""
    if norm not in ("post", "post-final", "pre"):
        raise ValueError(f"norm is 'post', 'post-final' or 'pre'. Received {norm!r}. Use norm='post'.")
    if tie not in ("all", "target", "none"):
        raise ValueError(f"tie is 'all', 'target' or 'none'. Received {tie!r}. Use tie='all'.")
    if tie == "all" and source != target:
        raise ValueError(f"One matrix for all needs one vocabulary. Received {source} and {target}. Use tie='target'.")
    depths = (num_encoder_layers, num_decoder_layers)
    return Transformer(source, target, d_model, nhead, depths, dim_feedforward, dropout, norm, tie, label_smoothing)


def loss(model: Transformer, source: Tensor, lengths: Tensor, given: Tensor, following: Tensor) -> Tensor:
    """Mean cross-entropy of (1 - eps) [y = following] + eps / V over the places that are not -100."""
    scores = model(source, lengths, given).flatten(0, 1)
    return F.cross_entropy(scores, following.flatten(), ignore_index=-100, label_smoothing=model.smoothing)
