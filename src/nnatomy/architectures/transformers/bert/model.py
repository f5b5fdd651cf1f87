"""BERT: an encoder that reads a text from both sides (Devlin, Chang, Lee and Toutanova 2018), and its heads.

Names and shapes of parameters are those of Hugging Face's BertModel and its heads. The masking of tokens is in
nnatomy/data/masking.py, training in recipe.py, the theory in page.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nnatomy import functional as F
from nnatomy import init, ops
from nnatomy.backends import B
from nnatomy.errors import UserError, unknown_name
from nnatomy.graph import no_grad
from nnatomy.layers import Dropout, Embedding, LayerNorm, Linear
from nnatomy.layers.module import Module
from nnatomy.tensor import Parameter, Tensor
from nnatomy.typing import Float, Int

EPS = 1e-12  # of every LayerNorm
STD = 0.02  # of the initial weights


class SelfAttention(Module):
    """[head_1, ..., head_h], head = softmax(q k^T / sqrt(d)) v over all tokens that are read, on both sides."""

    def __init__(self, hidden_size: int, heads: int, dropout: float) -> None:
        self.heads, self.dropout = heads, dropout
        self.query = Linear(hidden_size, hidden_size)
        self.key = Linear(hidden_size, hidden_size)
        self.value = Linear(hidden_size, hidden_size)

    def forward(self, x: Float[Tensor, "batch time width"], seen: Any = None) -> Float[Tensor, "batch time width"]:
        q, k, v = (self.split(part(x)) for part in (self.query, self.key, self.value))
        y = F.scaled_dot_product_attention(q, k, v, seen, self.dropout if self.training else 0.0)
        return y.transpose((0, 2, 1, 3)).reshape(x.shape)  # type: ignore[no-any-return]

    def split(self, x: Float[Tensor, "batch time width"]) -> Float[Tensor, "batch heads time features"]:
        batch, time, width = x.shape
        return x.reshape((batch, time, self.heads, width // self.heads)).transpose((0, 2, 1, 3))

    def weights(self, x: Float[Tensor, "batch time width"], seen: Any = None) -> Float[Tensor, "batch heads time time"]:
        """Return softmax(q k^T / sqrt(d)): how much each token (row) takes from each token (column)."""
        return F.attention_weights(self.split(self.query(x)), self.split(self.key(x)), False, seen)  # type: ignore[no-any-return]


class AddAndNorm(Module):
    """y = LayerNorm(x + dropout(W branch + b)): the end of both halves of a layer."""

    def __init__(self, inputs: int, hidden_size: int, dropout: float) -> None:
        self.dense = Linear(inputs, hidden_size)
        self.LayerNorm = LayerNorm(hidden_size, EPS)
        self.drop = Dropout(dropout)

    def forward(
        self, branch: Float[Tensor, "batch time inputs"], x: Float[Tensor, "batch time width"]
    ) -> Float[Tensor, "batch time width"]:
        return self.LayerNorm(x + self.drop(self.dense(branch)))  # type: ignore[no-any-return]


class Attention(Module):
    """y = LayerNorm(x + attention(x))."""

    def __init__(self, hidden_size: int, heads: int, dropout: float) -> None:
        self.self = SelfAttention(hidden_size, heads, dropout)
        self.output = AddAndNorm(hidden_size, hidden_size, dropout)

    def forward(self, x: Float[Tensor, "batch time width"], seen: Any = None) -> Float[Tensor, "batch time width"]:
        return self.output(self.self(x, seen), x)  # type: ignore[no-any-return]


class Intermediate(Module):
    """gelu(W x + b) with the exact gelu, z Phi(z)."""

    def __init__(self, hidden_size: int, intermediate_size: int) -> None:
        self.dense = Linear(hidden_size, intermediate_size)

    def forward(self, x: Float[Tensor, "batch time width"]) -> Float[Tensor, "batch time inner"]:
        return F.gelu(self.dense(x))  # type: ignore[no-any-return]


class Layer(Module):
    """One encoder layer of Vaswani et al. (2017): attention, then two dense layers, each added to its input and normalized."""

    def __init__(self, hidden_size: int, heads: int, intermediate_size: int, dropout: float) -> None:
        self.attention = Attention(hidden_size, heads, dropout)
        self.intermediate = Intermediate(hidden_size, intermediate_size)
        self.output = AddAndNorm(intermediate_size, hidden_size, dropout)

    def forward(self, x: Float[Tensor, "batch time width"], seen: Any = None) -> Float[Tensor, "batch time width"]:
        x = self.attention(x, seen)
        return self.output(self.intermediate(x), x)  # type: ignore[no-any-return]


class Embeddings(Module):
    """dropout(LayerNorm(word + position + segment)): what a token is, where it is, and in which of the two sentences."""

    def __init__(self, vocab_size: int, hidden_size: int, positions: int, types: int, dropout: float) -> None:
        self.word_embeddings = Embedding(vocab_size, hidden_size)
        self.position_embeddings = Embedding(positions, hidden_size)
        self.token_type_embeddings = Embedding(types, hidden_size)
        self.LayerNorm = LayerNorm(hidden_size, EPS)
        self.drop = Dropout(dropout)
        self.positions = positions

    def forward(
        self, input_ids: Int[Tensor, "batch time"], token_type_ids: Int[Tensor, "batch time"] | None = None
    ) -> Float[Tensor, "batch time width"]:
        time = input_ids.shape[1]
        if time > self.positions:
            raise UserError(
                f"This BERT has {self.positions} positions. Received {time} tokens. Give fewer, or build it with more."
            )
        types = B.zeros(input_ids.shape, dtype="int64") if token_type_ids is None else token_type_ids
        x = self.word_embeddings(input_ids) + self.position_embeddings(B.arange(time)) + self.token_type_embeddings(types)
        return self.drop(self.LayerNorm(x))  # type: ignore[no-any-return]


class Encoder(Module):
    """The layers, one after another."""

    def __init__(self, layers: int, hidden_size: int, heads: int, intermediate_size: int, dropout: float) -> None:
        self.layer = [Layer(hidden_size, heads, intermediate_size, dropout) for _ in range(layers)]

    def forward(self, x: Float[Tensor, "batch time width"], seen: Any = None) -> Float[Tensor, "batch time width"]:
        for layer in self.layer:
            x = layer(x, seen)
        return x


class Pooler(Module):
    """tanh(W x_1 + b): the vector of the first token, [CLS], which stands for the whole text."""

    def __init__(self, hidden_size: int) -> None:
        self.dense = Linear(hidden_size, hidden_size)

    def forward(self, x: Float[Tensor, "batch time width"]) -> Float[Tensor, "batch width"]:
        return ops.tanh(self.dense(x[:, 0]))  # type: ignore[no-any-return]


class BERT(Module):
    """A vector for each token, and one for the text.

    Args:
        vocab_size: number of tokens
        hidden_size: width, which `num_attention_heads` divides
        num_hidden_layers: encoder layers
        num_attention_heads: heads of a layer
        intermediate_size: width of the dense layer inside; 4 hidden_size in the paper
        max_position_embeddings: most tokens of a text
        type_vocab_size: segments; sentence A is 0, sentence B is 1
        dropout: probability on the embeddings, the attention weights and the outputs of both halves of a layer
        pooled: with a pooler

    Raises:
        UserError: for sizes below 1, and for heads that do not divide the width
    """

    def __init__(
        self, vocab_size: int, hidden_size: int, num_hidden_layers: int, num_attention_heads: int, intermediate_size: int,
        max_position_embeddings: int, type_vocab_size: int, dropout: float, pooled: bool = True,
    ) -> None:  # fmt: skip
        sizes = {"vocab_size": vocab_size, "hidden_size": hidden_size, "num_hidden_layers": num_hidden_layers,
                 "num_attention_heads": num_attention_heads, "intermediate_size": intermediate_size,
                 "max_position_embeddings": max_position_embeddings, "type_vocab_size": type_vocab_size}  # fmt: skip
        if min(sizes.values()) < 1 or hidden_size % num_attention_heads:
            listed = ", ".join(f"{name} {size}" for name, size in sizes.items())
            raise UserError(
                f"A BERT needs sizes of at least 1, and a width that its heads divide. Received {listed}. "
                "Change hidden_size or num_attention_heads."
            )
        self.hidden_size, self.vocab_size = hidden_size, vocab_size
        self.embeddings = Embeddings(vocab_size, hidden_size, max_position_embeddings, type_vocab_size, dropout)
        self.encoder = Encoder(num_hidden_layers, hidden_size, num_attention_heads, intermediate_size, dropout)
        self.pooler = Pooler(hidden_size) if pooled else None

    def forward(
        self, input_ids: Int[Tensor, "batch time"], attention_mask: Int[Tensor, "batch *read"] | None = None,
        token_type_ids: Int[Tensor, "batch time"] | None = None,
    ) -> tuple[Float[Tensor, "batch time width"], Float[Tensor, "batch width"] | None]:  # fmt: skip
        """Return the vectors of the tokens, and that of the text.

        Args:
            input_ids: tokens, the first [CLS]
            attention_mask: 1 where a token is read, 0 where it is padding, (batch, time); or how many are read, (batch,)
            token_type_ids: 0 for the first sentence, 1 for the second; all 0 if None
        """
        seen = tokens_read(input_ids, attention_mask)  # (batch, time), or None
        x = self.embeddings(input_ids, token_type_ids)
        x = self.encoder(x, None if seen is None else seen[:, None, None, :])  # the same keys for all heads and queries
        return x, None if self.pooler is None else self.pooler(x)


def tokens_read(input_ids: Any, attention_mask: Any) -> Any:
    """Return True where a token is read, an array (batch, time); None where all are."""
    if attention_mask is None:
        return None
    mask = attention_mask.data if isinstance(attention_mask, Tensor) else attention_mask
    if len(mask.shape) == 1:
        return B.arange(input_ids.shape[1])[None, :] < mask[:, None]
    return mask > 0


# Heads


class Transform(Module):
    """LayerNorm(gelu(W x + b)): before the scores of the tokens."""

    def __init__(self, hidden_size: int) -> None:
        self.dense = Linear(hidden_size, hidden_size)
        self.LayerNorm = LayerNorm(hidden_size, EPS)

    def forward(self, x: Float[Tensor, "batch time width"]) -> Float[Tensor, "batch time width"]:
        return self.LayerNorm(F.gelu(self.dense(x)))  # type: ignore[no-any-return]


class Predictions(Module):
    """transform(x) E^T + b with the embedding E of the tokens: scores of the token at each place."""

    def __init__(self, vocab_size: int, hidden_size: int) -> None:
        self.transform = Transform(hidden_size)
        self.bias = Parameter(init.zeros((vocab_size,)))

    def forward(
        self, x: Float[Tensor, "batch time width"], embedding: Float[Tensor, "vocabulary width"]
    ) -> Float[Tensor, "batch time vocabulary"]:
        return ops.linear(self.transform(x), embedding, self.bias)  # type: ignore[no-any-return]


class PretrainingHeads(Module):
    """The two tasks of pretraining: which token was there, and whether the second sentence follows the first."""

    def __init__(self, vocab_size: int, hidden_size: int) -> None:
        self.predictions = Predictions(vocab_size, hidden_size)
        self.seq_relationship = Linear(hidden_size, 2)


class Pretraining(Module):
    """BERT with both heads of pretraining: (scores (batch, time, vocabulary), next (batch, 2)); class 1: a random sentence."""

    def __init__(self, bert: BERT) -> None:
        self.bert = bert
        self.cls = PretrainingHeads(bert.vocab_size, bert.hidden_size)

    def forward(
        self, input_ids: Int[Tensor, "batch time"], attention_mask: Int[Tensor, "batch *read"] | None = None,
        token_type_ids: Int[Tensor, "batch time"] | None = None,
    ) -> tuple[Float[Tensor, "batch time vocabulary"], Float[Tensor, "batch 2"]]:  # fmt: skip
        x, pooled = self.bert(input_ids, attention_mask, token_type_ids)
        return self.cls.predictions(x, self.bert.embeddings.word_embeddings.weight), self.cls.seq_relationship(pooled)


class Classifier(Module):
    """A class for the text from its pooled vector, or with `each` a class for each token from its own."""

    def __init__(self, bert: BERT, num_labels: int, dropout: float, each: bool) -> None:
        self.bert, self.each = bert, each
        self.drop = Dropout(dropout)
        self.classifier = Linear(bert.hidden_size, num_labels)

    def forward(
        self, input_ids: Int[Tensor, "batch time"], attention_mask: Int[Tensor, "batch *read"] | None = None,
        token_type_ids: Int[Tensor, "batch time"] | None = None,
    ) -> Float[Tensor, "batch *each classes"]:  # fmt: skip
        x, pooled = self.bert(input_ids, attention_mask, token_type_ids)
        return self.classifier(self.drop(x if self.each else pooled))  # type: ignore[no-any-return]


class Span(Module):
    """Where an answer starts and ends: scores S x_i and E x_i for each token i, (batch, time, 2)."""

    def __init__(self, bert: BERT) -> None:
        self.bert = bert
        self.qa_outputs = Linear(bert.hidden_size, 2)

    def forward(
        self, input_ids: Int[Tensor, "batch time"], attention_mask: Int[Tensor, "batch *read"] | None = None,
        token_type_ids: Int[Tensor, "batch time"] | None = None,
    ) -> Float[Tensor, "batch time 2"]:  # fmt: skip
        x, _ = self.bert(input_ids, attention_mask, token_type_ids)
        return self.qa_outputs(x)  # type: ignore[no-any-return]


HEADS = ("none", "pretraining", "classification", "tokens", "span")
Network = BERT | Pretraining | Classifier | Span


def build(
    vocab_size: int = 30522, hidden_size: int = 768, num_hidden_layers: int = 12, num_attention_heads: int = 12,
    intermediate_size: int = 3072, max_position_embeddings: int = 512, type_vocab_size: int = 2, dropout: float = 0.1,
    head: str = "none", num_labels: int = 2,
) -> Network:  # fmt: skip
    """A BERT from plain values, without a head or with one of HEADS; the defaults are the paper's base size."""
    if head not in HEADS:
        raise unknown_name("head", head, HEADS)
    if num_labels < 1:
        raise UserError(f"A BERT needs at least one class. Received num_labels {num_labels}. Use num_labels=2.")
    bert = BERT(
        vocab_size, hidden_size, num_hidden_layers, num_attention_heads, intermediate_size, max_position_embeddings,
        type_vocab_size, dropout, pooled=head not in ("tokens", "span"),
    )  # fmt: skip
    made: Network = bert
    if head == "pretraining":
        made = Pretraining(bert)
    elif head in ("classification", "tokens"):
        made = Classifier(bert, num_labels, dropout, head == "tokens")
    elif head == "span":
        made = Span(bert)
    return initialize(made)


def initialize(model: Network) -> Network:
    """Draw every matrix and embedding from N(0, 0.02), and start every bias at 0."""
    with no_grad():
        for part in model.modules():
            if isinstance(part, Linear | Embedding):
                part.weight.copy_(Tensor(init.normal(part.weight.shape, std=STD)))
            if isinstance(part, Linear) and part.bias is not None:
                part.bias.copy_(Tensor(init.zeros(part.bias.shape)))
    return model


def encoder_of(state: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arrays of the encoder among those of a BERT with or without a head: what fine-tuning starts from."""
    prefix = "bert." if any(name.startswith("bert.") for name in state) else ""
    parts = ("embeddings.", "encoder.", "pooler.")
    return {name[len(prefix) :]: a for name, a in state.items() if name.removeprefix(prefix).startswith(parts)}


# Losses


def pretraining_loss(
    model: Pretraining, input_ids: Int[Tensor, "batch time"], attention_mask: Int[Tensor, "batch *read"],
    token_type_ids: Int[Tensor, "batch time"], labels: Int[Tensor, "batch time"], following: Int[Tensor, " batch"],
) -> tuple[Float[Tensor, ""], tuple[Tensor, Tensor]]:  # fmt: skip
    """Mean -ln p(token) over the places where `labels` is not -100, plus mean -ln p(following); and the outputs."""
    scores, relation = model(input_ids, attention_mask, token_type_ids)
    masked = F.cross_entropy(scores.reshape(-1, scores.shape[-1]), labels.reshape(-1))
    return masked + F.cross_entropy(relation, following), (scores, relation)


def classification_loss(model: Classifier, *batch: Tensor) -> tuple[Float[Tensor, ""], Tensor]:
    """Mean -ln p(class) of texts, or of the tokens whose class is not -100; the batch is the inputs and the classes."""
    scores = model(*batch[:-1])
    return F.cross_entropy(scores.reshape(-1, scores.shape[-1]), batch[-1].reshape(-1)), scores


def span_loss(model: Span, *batch: Tensor) -> tuple[Float[Tensor, ""], Tensor]:
    """Mean of -ln p(start) and -ln p(end), each a softmax over the tokens that are read; the targets are (batch, 2)."""
    scores = model(*batch[:-1])
    seen = tokens_read(*batch[:2]) if len(batch) > 2 else None
    kept = scores if seen is None else ops.where(seen[:, :, None], scores, -float("inf"))
    ends = kept.transpose((0, 2, 1))  # (batch, 2, time)
    return F.cross_entropy(ends.reshape(-1, ends.shape[-1]), batch[-1].reshape(-1)), scores
