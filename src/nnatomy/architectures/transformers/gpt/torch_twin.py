"""GPT in PyTorch: an independent twin, written from Radford et al. (2018) for GPT-1 and Radford et al. (2019) for GPT-2.
It shares nothing with the architecture's model but the names and shapes of its state: wte, wpe, h.0, h.1, ..., ln_f."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Conv1D(nn.Module):
    """y = x W + b; the published weights are (in, out), which torch.nn.Linear keeps transposed."""

    def __init__(self, inputs: int, outputs: int, std: float = 0.02) -> None:
        super().__init__()
        self.weight = nn.Parameter(std * torch.randn(inputs, outputs))
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.weight + self.bias


class Attention(nn.Module):
    """torch's scaled dot-product attention with a causal mask, between the projections c_attn and c_proj."""

    def __init__(self, width: int, heads: int, dropout: float, std: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.c_attn = Conv1D(width, 3 * width)
        self.c_proj = Conv1D(width, width, std)

    def forward(self, x: Tensor) -> Tensor:
        batch, time, width = x.shape
        q, k, v = (
            part.view(batch, time, self.heads, width // self.heads).transpose(1, 2) for part in self.c_attn(x).split(width, 2)
        )
        p = self.dropout if self.training else 0.0
        mixed = F.scaled_dot_product_attention(q, k, v, dropout_p=p, is_causal=True)
        y = self.c_proj(mixed.transpose(1, 2).reshape(batch, time, width))
        return F.dropout(y, self.dropout, self.training)


class MLP(nn.Module):
    def __init__(self, width: int, dropout: float, std: float) -> None:
        super().__init__()
        self.dropout = dropout
        self.c_fc = Conv1D(width, 4 * width)
        self.c_proj = Conv1D(4 * width, width, std)

    def forward(self, x: Tensor) -> Tensor:
        y = self.c_proj(F.gelu(self.c_fc(x), approximate="tanh"))
        return F.dropout(y, self.dropout, self.training)


class Block(nn.Module):
    """Normalization before each part (GPT-2), or after each sum (GPT-1)."""

    def __init__(self, width: int, heads: int, dropout: float, first: bool, std: float) -> None:
        super().__init__()
        self.first = first
        self.ln_1 = nn.LayerNorm(width)
        self.attn = Attention(width, heads, dropout, std)
        self.ln_2 = nn.LayerNorm(width)
        self.mlp = MLP(width, dropout, std)

    def forward(self, x: Tensor) -> Tensor:
        if self.first:
            x = x + self.attn(self.ln_1(x))
            return x + self.mlp(self.ln_2(x))
        x = self.ln_1(x + self.attn(x))
        y: Tensor = self.ln_2(x + self.mlp(x))
        return y


class GPT(nn.Module):
    """Token and position embeddings, blocks, and scores by the token embedding itself."""

    def __init__(self, vocabulary: int, positions: int, width: int, layers: int, heads: int, dropout: float, norm: str) -> None:
        super().__init__()
        if norm not in ("pre", "post"):
            raise ValueError(f"norm must be 'pre' or 'post', got {norm!r}")
        pre = norm == "pre"
        self.dropout = dropout
        self.wte, self.wpe = nn.Embedding(vocabulary, width), nn.Embedding(positions, width)
        std = 0.02 / (2 * layers) ** 0.5 if pre else 0.02  # GPT-2 scales what is added to the residual stream
        self.h = nn.ModuleList(Block(width, heads, dropout, pre, std) for _ in range(layers))
        self.ln_f = nn.LayerNorm(width) if pre else nn.Identity()
        for embedding in (self.wte, self.wpe):
            nn.init.normal_(embedding.weight, std=0.02)

    def forward(self, tokens: Tensor) -> Tensor:
        places = torch.arange(tokens.shape[1], device=tokens.device)
        x = F.dropout(self.wte(tokens) + self.wpe(places), self.dropout, self.training)
        for block in self.h:
            x = block(x)
        return F.linear(self.ln_f(x), self.wte.weight)


def build(
    vocab_size: int = 50257,
    n_positions: int = 1024,
    n_embd: int = 768,
    n_layer: int = 12,
    n_head: int = 12,
    dropout: float = 0.1,
    norm: str = "pre",
) -> GPT:
    """The model with the paper's initial weights; norm "pre" is GPT-2, "post" GPT-1."""
    return GPT(vocab_size, n_positions, n_embd, n_layer, n_head, dropout, norm)


def loss(model: GPT, tokens: Tensor, following: Tensor) -> Tensor:
    """Mean cross-entropy of the following tokens; places of -100 do not count."""
    return F.cross_entropy(model(tokens).flatten(0, 1), following.flatten(), ignore_index=-100)
