"""Llama: a causal transformer with rotary positions, RMSNorm, SwiGLU and grouped queries (Touvron et al. 2023); and PaLM.

Names and shapes of parameters are those of Hugging Face's LlamaForCausalLM, without the prefix `model.`. Sampling is in
nnatomy/tasks/sampling.py, training in recipe.py, the theory in page.md.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from nnatomy import functional as F
from nnatomy import init, ops
from nnatomy.backends import B
from nnatomy.errors import UserError, unknown_name
from nnatomy.layers import Embedding, LayerNorm, Linear, RMSNorm
from nnatomy.layers.cache import KeyValueCache
from nnatomy.layers.module import Module
from nnatomy.tensor import Tensor
from nnatomy.typing import Float, Int

FORMS = ("llama", "palm")
ROTARY = ("half", "pairs")
STD = 0.02


def frequencies(head_dim: int, theta: float) -> Any:
    """Return theta_i = theta^(-2i / d) for i = 0, ..., d/2 - 1, in radians per place (Su et al. 2021, eq. 15)."""
    return theta ** (-2.0 * np.arange(head_dim // 2) / head_dim)


def rotate(x: Any, angles: Any, rotary: str = "half") -> Any:
    """Return x with each pair (a, b) of features rotated: (a cos - b sin, a sin + b cos) (Su et al. 2021, eq. 34).

    Args:
        x: (..., time, d)
        angles: (time, d / 2), float64; feature pair i of place t is rotated by angles[t, i]
        rotary: which features are a pair: "half", i and i + d/2; "pairs", 2i and 2i + 1
    """
    cos, sin = (B.asarray(f(angles), dtype=x.dtype) for f in (np.cos, np.sin))
    if rotary == "half":
        a, b = ops.split(x, angles.shape[-1], axis=-1)
        return ops.concatenate([a * cos - b * sin, a * sin + b * cos], axis=-1)
    a, b = ops.unstack(x.reshape((*x.shape[:-1], angles.shape[-1], 2)), axis=-1)
    return ops.stack([a * cos - b * sin, a * sin + b * cos], axis=-1).reshape(x.shape)


def linear(inputs: int, outputs: int, std: float) -> Linear:
    """Return a Linear without a bias, its weight from N(0, std^2)."""
    made = Linear(inputs, outputs, bias=False)
    init.normal_(made.weight, std=std)
    return made


class Attention(Module):
    """y = [head_1, ..., head_h] W_o^T, head = softmax(q k^T / sqrt(d)) v; q and k are rotated by their places.

    Each of the `kv_heads` keys and values serves heads / kv_heads queries (Ainslie et al. 2023): all heads have their own if
    both numbers are equal, and one pair serves all if kv_heads is 1 (multi-query attention, Shazeer 2019).
    """

    def __init__(self, width: int, heads: int, kv_heads: int, head_dim: int, rotary: str, std: tuple[float, float]) -> None:
        self.kv_heads, self.head_dim, self.rotary = kv_heads, head_dim, rotary
        self.q_proj = linear(width, heads * head_dim, std[0])
        self.k_proj = linear(width, kv_heads * head_dim, std[0])
        self.v_proj = linear(width, kv_heads * head_dim, std[0])
        self.o_proj = linear(heads * head_dim, width, std[1])

    def forward(
        self, x: Float[Tensor, "batch time width"], angles: Any, cache: KeyValueCache | None = None, layer: int = 0
    ) -> Float[Tensor, "batch time width"]:
        batch, time, _ = x.shape
        q, k, v = self.heads(x, angles)
        if cache is not None:
            k, v = cache.extend(layer, k, v)  # of all tokens so far; keys keep the rotation of their place
        y = F.causal_attention(q, k, v)  # the axis of size 1 of k and v is repeated for each query of the group
        return self.o_proj(y.transpose((0, 3, 1, 2, 4)).reshape((batch, time, -1)))  # type: ignore[no-any-return]

    def heads(self, x: Float[Tensor, "batch time width"], angles: Any) -> tuple[Tensor, Tensor, Tensor]:
        """Return q (batch, kv_heads, group, time, features), and k and v (batch, kv_heads, 1, time, features)."""
        batch, time, _ = x.shape
        q, k, v = (
            map_to(x).reshape((batch, time, self.kv_heads, -1, self.head_dim)).transpose((0, 2, 3, 1, 4))
            for map_to in (self.q_proj, self.k_proj, self.v_proj)
        )
        return rotate(q, angles, self.rotary), rotate(k, angles, self.rotary), v


class MLP(Module):
    """y = (silu(x W_gate^T) * x W_up^T) W_down^T, silu(z) = z sigmoid(z): SwiGLU (Shazeer 2020, eq. 6)."""

    def __init__(self, width: int, inner: int, std: tuple[float, float]) -> None:
        self.gate_proj = linear(width, inner, std[0])
        self.up_proj = linear(width, inner, std[0])
        self.down_proj = linear(inner, width, std[1])

    def forward(self, x: Float[Tensor, "batch time width"]) -> Float[Tensor, "batch time width"]:
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))  # type: ignore[no-any-return]


class Block(Module):
    """Attention and an MLP, each added to what it reads.

    form="llama": x = x + attn(norm_1(x)), x = x + mlp(norm_2(x))
    form="palm":  x = x + attn(norm_1(x)) + mlp(norm_1(x))    both read the same (Chowdhery et al. 2022, section 2)
    """

    def __init__(self, attention: Attention, mlp: MLP, norms: list[Module]) -> None:
        self.input_layernorm = norms[0]
        self.self_attn = attention
        self.post_attention_layernorm = norms[1] if len(norms) == 2 else None
        self.mlp = mlp

    def forward(
        self, x: Float[Tensor, "batch time width"], angles: Any, cache: KeyValueCache | None = None, layer: int = 0
    ) -> Float[Tensor, "batch time width"]:
        n = self.input_layernorm(x)
        if self.post_attention_layernorm is None:
            return x + self.self_attn(n, angles, cache, layer) + self.mlp(n)  # type: ignore[no-any-return]
        x = x + self.self_attn(n, angles, cache, layer)
        return x + self.mlp(self.post_attention_layernorm(x))  # type: ignore[no-any-return]


class Llama(Module):
    """Scores of the next token after each token: an embedding, blocks, a norm, and an output layer; see `build`."""

    def __init__(
        self, vocab_size: int, positions: int, width: int, inner: int, layers: int, heads: int, kv_heads: int, head_dim: int,
        theta: float, eps: float, tied: bool, rotary: str, form: str,
    ) -> None:  # fmt: skip
        palm = form == "palm"
        self.n_positions, self.head_dim, self.theta, self.palm = positions, head_dim, theta, palm

        def norm() -> Module:
            return LayerNorm(width, eps, bias=False) if palm else RMSNorm(width, eps)

        def std(inputs: int) -> float:
            return 1 / math.sqrt(inputs) if palm else STD

        self.embed_tokens = Embedding(vocab_size, width)
        init.normal_(self.embed_tokens.weight, std=1.0 if palm else STD)
        self.layers = [
            Block(
                Attention(width, heads, kv_heads, head_dim, rotary, (std(width), std(heads * head_dim))),
                MLP(width, inner, (std(width), std(inner))),
                [norm() for _ in range(1 if palm else 2)],
            )
            for _ in range(layers)
        ]
        self.norm = norm()
        self.lm_head = None if tied else linear(width, vocab_size, std(width))

    def forward(
        self, tokens: Int[Tensor, "batch time"], cache: KeyValueCache | None = None
    ) -> Float[Tensor, "batch time vocabulary"]:
        """Return the scores of the token after each of these; with a cache, they follow the tokens that it holds."""
        x, angles = self.embed_tokens(tokens), self.angles(tokens.shape[1], 0 if cache is None else cache.length)
        for layer, block in enumerate(self.layers):
            x = block(x, angles, cache, layer)
        return self.scores(x)

    def angles(self, time: int, start: int = 0) -> Any:
        """Return t theta_i for the places t = start, ..., start + time - 1, as (time, head_dim / 2)."""
        if start + time > self.n_positions:
            raise UserError(
                f"This Llama has {self.n_positions} positions. Received {start + time} tokens. Give fewer, or build it with "
                "more max_position_embeddings: no weight depends on it."
            )
        return np.arange(start, start + time)[:, None] * frequencies(self.head_dim, self.theta)

    def scores(self, x: Float[Tensor, "batch time width"]) -> Float[Tensor, "batch time vocabulary"]:
        """Return norm(x) W^T, W the output layer or the embedding; PaLM divides it by the root of the width."""
        y = self.norm(x)
        z = ops.linear(y, (self.embed_tokens if self.lm_head is None else self.lm_head).weight)
        return z / math.sqrt(y.shape[-1]) if self.palm else z  # type: ignore[no-any-return]

    def cache(self) -> KeyValueCache:
        """Return an empty cache."""
        return KeyValueCache(len(self.layers))


def build(
    vocab_size: int = 32000, max_position_embeddings: int = 2048, hidden_size: int = 4096, intermediate_size: int = 11008,
    num_hidden_layers: int = 32, num_attention_heads: int = 32, num_key_value_heads: int | None = None,
    head_dim: int | None = None, rope_theta: float = 10000.0, rms_norm_eps: float = 1e-6, tie_word_embeddings: bool = False,
    rotary: str = "half", form: str = "llama",
) -> Llama:  # fmt: skip
    """Return a Llama from plain values, named as in Hugging Face's files; the defaults are LLaMA 7B, 27 GB in float32.

    Args:
        vocab_size: number of tokens
        max_position_embeddings: most tokens in one window; no weight depends on it
        hidden_size: width of the vectors between blocks
        intermediate_size: width inside the MLP
        num_hidden_layers: blocks
        num_attention_heads: heads of queries
        num_key_value_heads: heads of keys and values, which divide those of queries; None is as many
        head_dim: features of a head, an even number; None is hidden_size / num_attention_heads
        rope_theta: base of the rotary frequencies; 500000 in Llama 3
        rms_norm_eps: added to the mean square inside the root, in every norm; 1e-5 from Llama 2 on
        tie_word_embeddings: True uses the embedding as output layer
        rotary: pairs of features: "half" as in Hugging Face's files, "pairs" as in the paper and in Meta's
        form: "llama", or "palm": one layer norm for both branches of a block, which are added together

    Raises:
        UserError: for sizes below 1, numbers of heads that do not divide, an odd head_dim, and unknown names
    """
    for name, value, known in (("rotary", rotary, ROTARY), ("form", form, FORMS)):
        if value not in known:
            raise unknown_name(name, value, known)
    kv_heads = num_attention_heads if num_key_value_heads is None else num_key_value_heads
    sizes = (vocab_size, max_position_embeddings, hidden_size, intermediate_size, num_hidden_layers)
    if min(*sizes, num_attention_heads, kv_heads) < 1 or num_attention_heads % kv_heads:
        raise UserError(
            "A Llama needs sizes of at least 1, and key-value heads that divide the query heads. Received sizes "
            f"{sizes}, {num_attention_heads} query heads and {kv_heads} key-value heads. Change num_key_value_heads."
        )
    width = hidden_size / num_attention_heads if head_dim is None else head_dim
    if width < 2 or width % 2:
        raise UserError(
            f"Rotary positions need heads with an even number of features. Received {width:g}. Use a hidden_size that is an "
            "even multiple of num_attention_heads, or give head_dim."
        )
    return Llama(
        vocab_size, max_position_embeddings, hidden_size, intermediate_size, num_hidden_layers, num_attention_heads, kv_heads,
        int(width), rope_theta, rms_norm_eps, tie_word_embeddings, rotary, form,
    )  # fmt: skip


def loss(
    model: Llama, tokens: Int[Tensor, "batch time"], following: Int[Tensor, "batch time"]
) -> tuple[Float[Tensor, ""], Float[Tensor, "batch time vocabulary"]]:
    """Mean cross-entropy -ln p(following | tokens) over the places where `following` is not -100; and the scores."""
    scores = model(tokens)
    return F.cross_entropy(scores.reshape(-1, scores.shape[-1]), following.reshape(-1)), scores
