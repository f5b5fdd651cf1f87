"""The transformer from torch.nn.Transformer, which has neither embeddings, nor positions, nor an output matrix."""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LIBRARY = "torch.nn.Transformer"


def ships(**_: Any) -> bool:
    """Return True: without the norms that end its stacks, the library's layers are the paper's."""
    return True


class Network(nn.Transformer):
    """torch.nn.Transformer between embeddings and scores."""

    def __init__(self, source: int, target: int, norm: str, tie: str, label_smoothing: float, **sizes: Any) -> None:
        super().__init__(batch_first=True, norm_first=norm == "pre", **sizes)
        self.encoder.use_nested_tensor = False  # another path for padded batches, in evaluation alone
        if norm == "post":
            self.encoder.norm = self.decoder.norm = None
        self.tie, self.label_smoothing = tie, label_smoothing
        self.source_embedding = nn.Embedding(source, self.d_model)
        if tie != "all":
            self.target_embedding = nn.Embedding(target, self.d_model)
        if tie == "none":
            self.output = nn.Linear(self.d_model, target, bias=False)

    def forward(self, source: Tensor, lengths: Tensor, given: Tensor) -> Tensor:
        read = self.source_embedding.weight
        written = read if self.tie == "all" else self.target_embedding.weight
        hidden = torch.arange(source.shape[1]) >= lengths[:, None]
        later = nn.Transformer.generate_square_subsequent_mask(given.shape[1], dtype=read.dtype)
        y = super().forward(
            self.placed(read, source), self.placed(written, given), tgt_mask=later, src_key_padding_mask=hidden,
            memory_key_padding_mask=hidden,
        )  # fmt: skip
        return F.linear(y, self.output.weight if self.tie == "none" else written)

    def placed(self, table: Tensor, tokens: Tensor) -> Tensor:
        """The embeddings of tokens, plus sines and cosines of their places."""
        time, pair = torch.arange(tokens.shape[1], dtype=table.dtype), torch.arange(0, self.d_model, 2, dtype=table.dtype)
        angle = time[:, None] * 10000 ** (-pair / self.d_model)
        places = torch.stack([angle.sin(), angle.cos()], dim=2).flatten(1)
        return F.embedding(tokens, table) * math.sqrt(self.d_model) + places


def build(
    source: int = 37000, target: int = 37000, dropout: float = 0.1, norm: str = "post", tie: str = "all",
    label_smoothing: float = 0.1, **sizes: Any,
) -> Network:  # fmt: skip
    """The network that recipe.py's options describe. Its dropout is at more places than the paper's."""
    return Network(source, target, norm, tie, label_smoothing, dropout=dropout, **sizes)


def loss(model: Network, source: Tensor, lengths: Tensor, given: Tensor, following: Tensor) -> Tensor:
    """Mean cross-entropy of the target's tokens, with smoothed labels; places of -100 do not count."""
    scores = model(source, lengths, given)
    return F.cross_entropy(scores.flatten(0, 1), following.flatten(), label_smoothing=model.label_smoothing)
