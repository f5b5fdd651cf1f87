"""GPT: a stack of causal transformer blocks that predicts the next token (Radford et al. 2018, 2019).

Names and shapes of parameters are those of Hugging Face's GPT2Model. Sampling is in nnatomy/tasks/sampling.py, tuning on
answers and preferences in tuning.py, training in recipe.py, the theory in page.md.
"""

from __future__ import annotations

import math

from nnatomy import functional as F
from nnatomy import init, ops
from nnatomy.backends import B
from nnatomy.errors import UserError, unknown_name
from nnatomy.graph import no_grad
from nnatomy.layers import Dropout, Embedding, LayerNorm
from nnatomy.layers.cache import KeyValueCache
from nnatomy.layers.module import Module
from nnatomy.tensor import Parameter, Tensor
from nnatomy.typing import Float, Int

NORMS = ("pre", "post")
STD = 0.02


class Conv1D(Module):
    """y = x W + b; `weight` (inputs, outputs) as in GPT-2's published files, which is the transpose of a Linear's."""

    def __init__(self, inputs: int, outputs: int, std: float = STD) -> None:
        self.weight = Parameter(init.normal((inputs, outputs), std=std))
        self.bias = Parameter(init.zeros((outputs,)))

    def forward(self, x: Float[Tensor, "*rows inputs"]) -> Float[Tensor, "*rows outputs"]:
        return ops.linear(x, self.weight.T, self.bias)  # type: ignore[no-any-return]


class Attention(Module):
    """y = [head_1, ..., head_h] W_o + b_o, head = softmax(q k^T / sqrt(d) + mask) v; token i sees the tokens j <= i.

    `c_attn` gives queries, keys and values side by side. `std` is that of the output's initial weights.
    """

    def __init__(self, n_embd: int, n_head: int, dropout: float, std: float) -> None:
        self.n_head, self.dropout = n_head, dropout
        self.c_attn = Conv1D(n_embd, 3 * n_embd)
        self.c_proj = Conv1D(n_embd, n_embd, std)

    def forward(
        self, x: Float[Tensor, "batch time width"], cache: KeyValueCache | None = None, layer: int = 0
    ) -> Float[Tensor, "batch time width"]:
        q, k, v = self.heads(x)  # each (batch, heads, time, features)
        if cache is not None:
            k, v = cache.extend(layer, k, v)  # of all tokens so far
        y = F.causal_attention(q, k, v, self.dropout if self.training else 0.0)
        return self.c_proj(y.transpose((0, 2, 1, 3)).reshape(x.shape))  # type: ignore[no-any-return]

    def heads(self, x: Float[Tensor, "batch time width"]) -> list[Tensor]:
        """Return queries, keys and values, each (batch, heads, time, features)."""
        batch, time, width = x.shape
        shape = (batch, time, self.n_head, width // self.n_head)
        return [part.reshape(shape).transpose((0, 2, 1, 3)) for part in ops.split(self.c_attn(x), width, axis=-1)]


class MLP(Module):
    """y = gelu(x W_1 + b_1) W_2 + b_2, four times as wide inside; gelu by tanh."""

    def __init__(self, n_embd: int, std: float) -> None:
        self.c_fc = Conv1D(n_embd, 4 * n_embd)
        self.c_proj = Conv1D(4 * n_embd, n_embd, std)

    def forward(self, x: Float[Tensor, "batch time width"]) -> Float[Tensor, "batch time width"]:
        return self.c_proj(F.gelu(self.c_fc(x), "tanh"))  # type: ignore[no-any-return]


class Block(Module):
    """Attention, then an MLP, each added to its input.

    norm="pre":  x = x + attn(ln_1(x)), x = x + mlp(ln_2(x))    GPT-2: the sum itself is never normalized
    norm="post": x = ln_1(x + attn(x)), x = ln_2(x + mlp(x))    GPT-1
    """

    def __init__(self, n_embd: int, n_head: int, dropout: float, norm: str, std: float) -> None:
        self.norm = norm
        self.ln_1 = LayerNorm(n_embd)
        self.attn = Attention(n_embd, n_head, dropout, std)
        self.ln_2 = LayerNorm(n_embd)
        self.mlp = MLP(n_embd, std)
        self.drop = Dropout(dropout)

    def forward(
        self, x: Float[Tensor, "batch time width"], cache: KeyValueCache | None = None, layer: int = 0
    ) -> Float[Tensor, "batch time width"]:
        if self.norm == "pre":
            x = x + self.drop(self.attn(self.ln_1(x), cache, layer))
            return x + self.drop(self.mlp(self.ln_2(x)))  # type: ignore[no-any-return]
        x = self.ln_1(x + self.drop(self.attn(x, cache, layer)))
        return self.ln_2(x + self.drop(self.mlp(x)))  # type: ignore[no-any-return]


class GPT(Module):
    """Scores of the next token after each token: embeddings of tokens and places, blocks, and the token embedding again.

    Args:
        vocab_size: number of tokens
        n_positions: most tokens in one window; each place has a learned embedding
        n_embd: width, which `n_head` divides
        n_layer: blocks
        n_head: attention heads of a block
        dropout: probability on the embeddings, the attention weights and the outputs of both branches
        norm: "pre" for GPT-2, "post" for GPT-1

    Raises:
        UserError: for sizes below 1, heads that do not divide the width, and another norm
    """

    def __init__(
        self, vocab_size: int, n_positions: int, n_embd: int, n_layer: int, n_head: int, dropout: float, norm: str
    ) -> None:
        if norm not in NORMS:
            raise unknown_name("norm", norm, NORMS)
        if min(vocab_size, n_positions, n_embd, n_layer, n_head) < 1 or n_embd % n_head:
            raise UserError(
                f"A GPT needs sizes of at least 1, and a width that its heads divide. Received vocab_size {vocab_size}, "
                f"n_positions {n_positions}, n_embd {n_embd}, n_layer {n_layer} and n_head {n_head}. Change n_embd or n_head."
            )
        self.n_positions = n_positions
        self.wte = Embedding(vocab_size, n_embd)
        self.wpe = Embedding(n_positions, n_embd)
        with no_grad():
            for table in (self.wte, self.wpe):
                table.weight.copy_(table.weight * STD)  # from N(0, 1)
        self.drop = Dropout(dropout)
        # 2 n_layer branches are added up: their outputs start smaller, so that the sum does not grow with depth
        std = STD / math.sqrt(2 * n_layer) if norm == "pre" else STD
        self.h = [Block(n_embd, n_head, dropout, norm, std) for _ in range(n_layer)]
        self.ln_f = LayerNorm(n_embd) if norm == "pre" else None

    def forward(
        self, tokens: Int[Tensor, "batch time"], cache: KeyValueCache | None = None
    ) -> Float[Tensor, "batch time vocabulary"]:
        """Return the scores of the token after each of these; with a cache, they follow the tokens that it holds."""
        x = self.embed(tokens, 0 if cache is None else cache.length)
        for layer, block in enumerate(self.h):
            x = block(x, cache, layer)
        return self.scores(x)

    def embed(self, tokens: Int[Tensor, "batch time"], start: int = 0) -> Float[Tensor, "batch time width"]:
        """Return wte[tokens] + wpe[places], the places counted from `start`."""
        time = tokens.shape[1]
        if start + time > self.n_positions:
            raise UserError(
                f"This GPT has {self.n_positions} positions. Received {start + time} tokens. Give fewer, or build it with more."
            )
        return self.drop(self.wte(tokens) + self.wpe(B.arange(start, start + time)))  # type: ignore[no-any-return]

    def scores(self, x: Float[Tensor, "batch time width"]) -> Float[Tensor, "batch time vocabulary"]:
        """Return ln_f(x) wte^T: the embedding of tokens is the output layer too."""
        return ops.linear(x if self.ln_f is None else self.ln_f(x), self.wte.weight)  # type: ignore[no-any-return]

    def cache(self) -> KeyValueCache:
        """Return an empty cache."""
        return KeyValueCache(len(self.h))


def build(
    vocab_size: int = 50257, n_positions: int = 1024, n_embd: int = 768, n_layer: int = 12, n_head: int = 12,
    dropout: float = 0.1, norm: str = "pre",
) -> GPT:  # fmt: skip
    """A GPT from plain values; the defaults are GPT-2's smallest size."""
    return GPT(vocab_size, n_positions, n_embd, n_layer, n_head, dropout, norm)


def loss(
    model: GPT, tokens: Int[Tensor, "batch time"], following: Int[Tensor, "batch time"]
) -> tuple[Float[Tensor, ""], Float[Tensor, "batch time vocabulary"]]:
    """Mean cross-entropy -ln p(following | tokens) over the places where `following` is not -100; and the scores."""
    scores = model(tokens)
    return F.cross_entropy(scores.reshape(-1, scores.shape[-1]), following.reshape(-1)), scores
