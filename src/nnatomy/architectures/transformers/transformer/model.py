"""The transformer: an encoder reads a sequence, a decoder writes another one, and attention alone connects all places.

Names and shapes of parameters are those of torch.nn.Transformer, with embeddings and an output matrix around it. Training is in
recipe.py, beam search in tasks/search.py, the theory in page.md.

Source: Vaswani, Shazeer, Parmar, Uszkoreit, Jones, Gomez, Kaiser and Polosukhin (2017); sections are those of this paper.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from nnatomy import functional as F
from nnatomy import init, ops
from nnatomy.backends import B
from nnatomy.errors import UserError, unknown_name
from nnatomy.graph import no_grad
from nnatomy.layers import Dropout, Embedding, LayerNorm, Linear
from nnatomy.layers.cache import KeyValueCache
from nnatomy.layers.module import Module
from nnatomy.tensor import Parameter, Tensor
from nnatomy.typing import Float, Int

NORMS = ("post", "post-final", "pre")
TIES = ("all", "target", "none")
ALL, QUERIES, KEYS_VALUES = (0, 3), (0, 1), (1, 3)
"""Which of W_q, W_k and W_v, whose rows are below each other in one matrix."""
Memory = tuple[tuple[Tensor, ...], ...]
"""The keys and values of the encoder's output, for each layer of the decoder."""
State = tuple[Any, ...]
"""What decoding keeps: the decoder's keys and values so far, those of the memory, and which of its places are seen."""


def sinusoids(start: int, stop: int, width: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return p[t, 2i] = sin(t / 10000^(2i / width)) and p[t, 2i + 1] = cos of the same, for t = start ... stop - 1.

    Source: section 3.5.
    """
    column = np.arange(width)
    angles = np.arange(start, stop)[:, None] / 10000.0 ** (column // 2 * 2 / width)
    return np.where(column % 2 == 0, np.sin(angles), np.cos(angles))


class MultiHeadAttention(Module):
    """[head_1, ..., head_h] W_o^T + b_o, head = softmax(q k^T / sqrt(d_k)) v, each with its own W_q, W_k and W_v.

    Source: section 3.2, equation 1 and that of section 3.2.2.
    """

    def __init__(self, d_model: int, nhead: int) -> None:
        self.nhead = nhead
        self.in_proj_weight = Parameter(init.xavier_uniform((3 * d_model, d_model)))
        self.in_proj_bias = Parameter(init.zeros((3 * d_model,)))
        self.out_proj = glorot(d_model, d_model)

    def project(
        self, x: Float[Tensor, "batch places width"], parts: tuple[int, int] = ALL
    ) -> list[Float[Tensor, "batch heads places features"]]:
        """Return x W^T + b for the chosen ones of W_q, W_k and W_v, cut into heads."""
        batch, places, width = x.shape
        rows = slice(parts[0] * width, parts[1] * width)
        y = ops.linear(x, self.in_proj_weight[rows], self.in_proj_bias[rows])
        shape = (batch, places, self.nhead, width // self.nhead)
        return [part.reshape(shape).transpose((0, 2, 1, 3)) for part in ops.split(y, width, axis=-1)]

    def forward(
        self, q: Float[Tensor, "batch heads T features"], k: Float[Tensor, "batch heads S features"],
        v: Float[Tensor, "batch heads S features"], seen: Any = None, causal: bool = False,
    ) -> Float[Tensor, "batch T width"]:  # fmt: skip
        """Return what the queries read from the values: from those that are `seen`, or none that comes after the query."""
        y = F.causal_attention(q, k, v) if causal else F.scaled_dot_product_attention(q, k, v, seen)
        batch, heads, places, features = q.shape
        joined = y.transpose((0, 2, 1, 3)).reshape((batch, places, heads * features))
        return self.out_proj(joined)  # type: ignore[no-any-return]


class Layer(Module):
    """What both kinds of layers have: a feed-forward part, and sums with what goes into a part.

    norm="post": x = norm(x + drop(part(x)))    the paper's, section 3.1
    norm="pre":  x = x + drop(part(norm(x)))    Xiong et al. (2020)
    """

    def __init__(self, d_model: int, dim_feedforward: int, dropout: float, norm: str) -> None:
        self.linear1 = glorot(d_model, dim_feedforward)
        self.linear2 = glorot(dim_feedforward, d_model)
        self.drop, self.pre = Dropout(dropout), norm == "pre"

    def feed_forward(self, x: Float[Tensor, "batch places width"]) -> Float[Tensor, "batch places width"]:
        """Return max(0, x W_1^T + b_1) W_2^T + b_2 of each place by itself. Source: equation 2."""
        return self.linear2(F.relu(self.linear1(x)))  # type: ignore[no-any-return]

    def add(self, x: Tensor, norm: LayerNorm, part: Callable[[Tensor], Tensor]) -> Tensor:
        """Return the normalized sum of x and of what a part makes of it."""
        return x + self.drop(part(norm(x))) if self.pre else norm(x + self.drop(part(x)))  # type: ignore[no-any-return]


class EncoderLayer(Layer):
    """Self-attention, then the feed-forward part."""

    def __init__(self, d_model: int, nhead: int, dim_feedforward: int, dropout: float, norm: str) -> None:
        self.self_attn = MultiHeadAttention(d_model, nhead)
        super().__init__(d_model, dim_feedforward, dropout, norm)
        self.norm1, self.norm2 = LayerNorm(d_model), LayerNorm(d_model)

    def forward(self, x: Float[Tensor, "batch S width"], seen: Any) -> Float[Tensor, "batch S width"]:
        def itself(x: Tensor) -> Tensor:
            return self.self_attn(*self.self_attn.project(x), seen)  # type: ignore[no-any-return]

        x = self.add(x, self.norm1, itself)
        return self.add(x, self.norm2, self.feed_forward)


class DecoderLayer(Layer):
    """Self-attention that looks back only, attention over the encoder's output, then the feed-forward part."""

    def __init__(self, d_model: int, nhead: int, dim_feedforward: int, dropout: float, norm: str) -> None:
        self.self_attn = MultiHeadAttention(d_model, nhead)
        self.multihead_attn = MultiHeadAttention(d_model, nhead)
        super().__init__(d_model, dim_feedforward, dropout, norm)
        self.norm1, self.norm2, self.norm3 = LayerNorm(d_model), LayerNorm(d_model), LayerNorm(d_model)

    def forward(
        self, x: Float[Tensor, "batch T width"], memory: tuple[Tensor, ...], seen: Any, cache: KeyValueCache | None, number: int
    ) -> Float[Tensor, "batch T width"]:
        """`memory`: the keys and values of the encoder's output; `number`: which layer of the cache this one is."""

        def itself(x: Tensor) -> Tensor:
            q, k, v = self.self_attn.project(x)
            if cache is not None:
                k, v = cache.extend(number, k, v)  # of all places so far
            return self.self_attn(q, k, v, causal=True)  # type: ignore[no-any-return]

        def source(x: Tensor) -> Tensor:
            return self.multihead_attn(*self.multihead_attn.project(x, QUERIES), *memory, seen)  # type: ignore[no-any-return]

        x = self.add(x, self.norm1, itself)
        x = self.add(x, self.norm2, source)
        return self.add(x, self.norm3, self.feed_forward)


class Encoder(Module):
    """Layers on top of each other; a last norm ends the stack, except with norm="post"."""

    def __init__(self, layers: int, d_model: int, nhead: int, dim_feedforward: int, dropout: float, norm: str) -> None:
        self.layers = [EncoderLayer(d_model, nhead, dim_feedforward, dropout, norm) for _ in range(layers)]
        self.norm = None if norm == "post" else LayerNorm(d_model)

    def forward(self, x: Float[Tensor, "batch S width"], seen: Any) -> Float[Tensor, "batch S width"]:
        for layer in self.layers:
            x = layer(x, seen)
        return x if self.norm is None else self.norm(x)


class Decoder(Module):
    """Layers on top of each other; a last norm ends the stack, except with norm="post"."""

    def __init__(self, layers: int, d_model: int, nhead: int, dim_feedforward: int, dropout: float, norm: str) -> None:
        self.layers = [DecoderLayer(d_model, nhead, dim_feedforward, dropout, norm) for _ in range(layers)]
        self.norm = None if norm == "post" else LayerNorm(d_model)

    def forward(
        self, x: Float[Tensor, "batch T width"], memory: Memory, seen: Any, cache: KeyValueCache | None = None
    ) -> Float[Tensor, "batch T width"]:
        for number, layer in enumerate(self.layers):
            x = layer(x, memory[number], seen, cache, number)
        return x if self.norm is None else self.norm(x)

    def read(self, x: Float[Tensor, "batch S width"]) -> Memory:
        """Return each layer's keys and values of the encoder's output: they are the same for every target token."""
        return tuple(tuple(layer.multihead_attn.project(x, KEYS_VALUES)) for layer in self.layers)


class Transformer(Module):
    """An encoder reads x_1 ... x_S, a decoder writes y_1 ... y_T: p(y | x) = product over t of p(y_t | x, y_1 ... y_(t-1)).

    Args:
        source, target: sizes of the vocabularies
        d_model: width, which `nhead` divides; nhead: attention heads of a layer
        num_encoder_layers, num_decoder_layers: layers of the two stacks
        dim_feedforward: width inside the feed-forward part
        dropout: probability on embeddings and on what each part of a layer adds (section 5.4)
        norm: "post", the paper's; "post-final" with one more norm after each stack, as torch.nn.Transformer; "pre" with norms
            at the start of each part, and one after each stack
        tie: "all": both embeddings and the output are one matrix (section 3.4), which needs one vocabulary for both languages;
            "target": the target's embedding and the output are; "none"
        label_smoothing: the probability that the loss moves from the true token to all tokens alike (section 5.4)
        beam, length_penalty: how translations are searched, see tasks/search.py

    Raises:
        UserError: for sizes below 1 or that do not fit, a dropout or smoothing outside [0, 1), and other norms and ties
    """

    def __init__(
        self, source: int, target: int, d_model: int, nhead: int, num_encoder_layers: int, num_decoder_layers: int,
        dim_feedforward: int, dropout: float, norm: str, tie: str, label_smoothing: float, beam: int, length_penalty: float,
    ) -> None:  # fmt: skip
        if norm not in NORMS:
            raise unknown_name("norm", norm, NORMS)
        if tie not in TIES:
            raise unknown_name("tie", tie, TIES)
        sizes = (source, target, d_model, nhead, num_encoder_layers, num_decoder_layers, dim_feedforward, beam)
        if min(sizes) < 1 or d_model % nhead:
            raise UserError(
                "A transformer needs sizes and a beam of at least 1, and a d_model that its heads divide. Received "
                f"source {source}, target {target}, d_model {d_model}, nhead {nhead}, layers {num_encoder_layers} and "
                f"{num_decoder_layers}, dim_feedforward {dim_feedforward}, beam {beam}. Change d_model or nhead."
            )
        if tie == "all" and source != target:
            raise UserError(
                'tie="all" needs one vocabulary for source and target. '
                f'Received vocabularies of {source} and {target} tokens. Use tie="target".'
            )
        if not 0 <= label_smoothing < 1:
            raise UserError(f"label_smoothing must be at least 0 and below 1. Received {label_smoothing!r}. Use 0.1.")
        self.d_model, self.label_smoothing, self.beam, self.length_penalty = d_model, label_smoothing, beam, length_penalty
        self.source_embedding = embedding(source, d_model)
        self.target_embedding = self.source_embedding if tie == "all" else embedding(target, d_model)
        self.encoder = Encoder(num_encoder_layers, d_model, nhead, dim_feedforward, dropout, norm)
        self.decoder = Decoder(num_decoder_layers, d_model, nhead, dim_feedforward, dropout, norm)
        self.output = self.target_embedding if tie != "none" else embedding(target, d_model)
        self.drop = Dropout(dropout)

    def forward(
        self, source: Int[Tensor, "batch S"], lengths: Int[Tensor, " batch"], given: Int[Tensor, "batch T"]
    ) -> Float[Tensor, "batch T target"]:
        """Return the scores of y_1 ... y_T, where the decoder is given the true tokens before each (teacher forcing).

        `given` is the start token and y_1 ... y_(T-1): the targets, one place later.
        """
        memory, seen = self.encode(source, lengths)
        return self.decode(given, self.decoder.read(memory), seen)

    def encode(self, source: Int[Tensor, "batch S"], lengths: Int[Tensor, " batch"]) -> tuple[Tensor, Any]:
        """Return the encoder's output (batch, S, width), and which keys are seen (batch, 1, 1, S): those that do not pad."""
        seen = (B.arange(source.shape[1]) < lengths.data[:, None])[:, None, None, :]
        return self.encoder(self.embed(self.source_embedding, source), seen), seen

    def decode(
        self, given: Int[Tensor, "batch T"], memory: Memory, seen: Any, cache: KeyValueCache | None = None
    ) -> Float[Tensor, "batch T target"]:
        """Return the scores of the token after each given one; with a cache, they follow the tokens that it holds."""
        x = self.embed(self.target_embedding, given, 0 if cache is None else cache.length)
        return ops.linear(self.decoder(x, memory, seen, cache), self.output.weight)  # type: ignore[no-any-return]

    def embed(
        self, table: Embedding, tokens: Int[Tensor, "batch places"], start: int = 0
    ) -> Float[Tensor, "batch places width"]:
        """Return sqrt(width) E[tokens] + p, the places counted from `start`. Source: sections 3.4 and 3.5."""
        x = table(tokens) * math.sqrt(self.d_model)
        p = B.asarray(sinusoids(start, start + tokens.shape[1], self.d_model), dtype=x.dtype)
        return self.drop(x + p)  # type: ignore[no-any-return]

    def begin(self, source: Int[Tensor, "batch S"], lengths: Int[Tensor, " batch"]) -> State:
        """Return the state before the first token: nothing in the cache, and what the decoder reads of the source."""
        memory, seen = self.encode(source, lengths)
        read = self.decoder.read(memory)
        nothing = tuple((k[:, :, :0], v[:, :, :0]) for k, v in read)
        return nothing, read, seen

    def step(self, state: State, tokens: Int[Tensor, " batch"]) -> tuple[Float[Tensor, "batch target"], State]:
        """Return the scores of the token after `tokens`, and the next state: one place is computed, the rest is cached."""
        past, memory, seen = state
        cache = KeyValueCache(len(past))
        cache.pairs = list(past)
        scores = self.decode(ops.expand_dims(tokens, 1), memory, seen, cache)
        return scores[:, 0], (tuple(cache.pairs), memory, seen)


def glorot(inputs: int, outputs: int) -> Linear:
    """Return a linear map whose matrix is drawn by Glorot's law, with biases of 0."""
    layer = Linear(inputs, outputs)
    layer.weight, layer.bias = Parameter(init.xavier_uniform((outputs, inputs))), Parameter(init.zeros((outputs,)))
    return layer


def embedding(tokens: int, width: int) -> Embedding:
    """Return a table from N(0, 1 / width): times sqrt(width) its rows are as large as the sinusoids."""
    table = Embedding(tokens, width)
    with no_grad():
        table.weight.copy_(table.weight / math.sqrt(width))
    return table


def build(
    source: int = 37000, target: int = 37000, d_model: int = 512, nhead: int = 8, num_encoder_layers: int = 6,
    num_decoder_layers: int = 6, dim_feedforward: int = 2048, dropout: float = 0.1, norm: str = "post", tie: str = "all",
    label_smoothing: float = 0.1, beam: int = 1, length_penalty: float = 0.0,
) -> Transformer:  # fmt: skip
    """A transformer from plain values; the defaults are the paper's base model."""
    return Transformer(
        source, target, d_model, nhead, num_encoder_layers, num_decoder_layers, dim_feedforward, dropout, norm, tie,
        label_smoothing, beam, length_penalty,
    )  # fmt: skip


def loss(
    model: Transformer, source: Tensor, lengths: Tensor, given: Tensor, following: Tensor
) -> tuple[Float[Tensor, ""], Float[Tensor, "batch T target"]]:
    """Return -1/N sum over the N target tokens of sum_y q(y) ln p(y), and the scores.

    q(y) = (1 - s) [y is the true token] + s / V with s = label_smoothing and V tokens. `following`: y_1 ... y_T, (batch, T),
    with the end token; places of -100 pad, and count neither in N nor in any part of the sum.

    Source: section 5.4, after Szegedy et al. (2016), section 7.
    """
    scores = model(source, lengths, given)
    rows = scores.reshape(-1, scores.shape[-1])
    return F.cross_entropy(rows, following.reshape(-1), label_smoothing=model.label_smoothing), scores
