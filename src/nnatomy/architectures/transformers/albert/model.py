"""ALBERT: a BERT whose layers are one layer, with a narrow embedding (Lan, Chen, Goodman, Gimpel, Sharma and Soricut 2019).

Names and shapes of parameters are those of Hugging Face's AlbertModel and its heads. Sentences in the wrong order are made in
nnatomy/data/kinds/passages, training is in recipe.py, the theory in page.md.
"""

from __future__ import annotations

from typing import Any

from nnatomy import functional as F
from nnatomy import init, ops
from nnatomy.architectures.transformers.bert.model import tokens_read
from nnatomy.backends import B
from nnatomy.errors import UserError, unknown_name
from nnatomy.graph import no_grad
from nnatomy.layers import Dropout, Embedding, LayerNorm, Linear
from nnatomy.layers.module import Module
from nnatomy.tensor import Parameter, Tensor
from nnatomy.typing import Float, Int

EPS = 1e-12  # of every LayerNorm
STD = 0.02  # of the initial weights


def gelu_new(z: Any) -> Any:
    """z / 2 (1 + tanh(sqrt(2 / pi) (z + 0.044715 z^3))): the approximation of z Phi(z) that ALBERT's code computes."""
    return F.gelu(z, approximate="tanh")


class Embeddings(Module):
    """dropout(LayerNorm(word + position + segment)), all of the narrow width E."""

    def __init__(self, vocab_size: int, embedding_size: int, positions: int, types: int, dropout: float) -> None:
        self.word_embeddings = Embedding(vocab_size, embedding_size)
        self.position_embeddings = Embedding(positions, embedding_size)
        self.token_type_embeddings = Embedding(types, embedding_size)
        self.LayerNorm = LayerNorm(embedding_size, EPS)
        self.drop = Dropout(dropout)
        self.positions = positions

    def forward(
        self, input_ids: Int[Tensor, "batch time"], token_type_ids: Int[Tensor, "batch time"] | None = None
    ) -> Float[Tensor, "batch time narrow"]:
        time = input_ids.shape[1]
        if time > self.positions:
            raise UserError(
                f"This ALBERT has {self.positions} positions. Received {time} tokens. Give fewer, or build it with more."
            )
        types = B.zeros(input_ids.shape, dtype="int64") if token_type_ids is None else token_type_ids
        x = self.word_embeddings(input_ids) + self.position_embeddings(B.arange(time)) + self.token_type_embeddings(types)
        return self.drop(self.LayerNorm(x))  # type: ignore[no-any-return]


class Attention(Module):
    """LayerNorm(x + dropout([head_1, ..., head_h] W_o + b_o)), head = softmax(q k^T / sqrt(d)) v over what is read."""

    def __init__(self, hidden_size: int, heads: int, dropout: float) -> None:
        self.heads, self.dropout = heads, dropout
        self.query = Linear(hidden_size, hidden_size)
        self.key = Linear(hidden_size, hidden_size)
        self.value = Linear(hidden_size, hidden_size)
        self.dense = Linear(hidden_size, hidden_size)
        self.LayerNorm = LayerNorm(hidden_size, EPS)
        self.drop = Dropout(dropout)

    def forward(self, x: Float[Tensor, "batch time width"], seen: Any = None) -> Float[Tensor, "batch time width"]:
        batch, time, width = x.shape
        split = (batch, time, self.heads, width // self.heads)
        q, k, v = (part(x).reshape(split).transpose((0, 2, 1, 3)) for part in (self.query, self.key, self.value))
        y = F.scaled_dot_product_attention(q, k, v, seen, self.dropout if self.training else 0.0)
        return self.LayerNorm(x + self.drop(self.dense(y.transpose((0, 2, 1, 3)).reshape(x.shape))))  # type: ignore[no-any-return]


class Layer(Module):
    """a = attention(x), y = LayerNorm(a + dropout(gelu_new(a W_1 + b_1) W_2 + b_2)): BERT's layer with another gelu."""

    def __init__(self, hidden_size: int, heads: int, intermediate_size: int, dropout: float) -> None:
        self.attention = Attention(hidden_size, heads, dropout)
        self.ffn = Linear(hidden_size, intermediate_size)
        self.ffn_output = Linear(intermediate_size, hidden_size)
        self.full_layer_layer_norm = LayerNorm(hidden_size, EPS)
        self.drop = Dropout(dropout)

    def forward(self, x: Float[Tensor, "batch time width"], seen: Any = None) -> Float[Tensor, "batch time width"]:
        a = self.attention(x, seen)
        return self.full_layer_layer_norm(a + self.drop(self.ffn_output(gelu_new(self.ffn(a)))))  # type: ignore[no-any-return]


class Group(Module):
    """The one layer whose parameters the layers of a group are."""

    def __init__(self, layer: Layer) -> None:
        self.albert_layers = [layer]


class Encoder(Module):
    """The map from the narrow embedding, then the same layer again and again."""

    def __init__(
        self, layers: int, groups: int, embedding_size: int, hidden_size: int, heads: int, intermediate_size: int,
        dropout: float,
    ) -> None:  # fmt: skip
        self.embedding_hidden_mapping_in = Linear(embedding_size, hidden_size)
        self.albert_layer_groups = [Group(Layer(hidden_size, heads, intermediate_size, dropout)) for _ in range(groups)]
        self.depth = layers

    @property
    def layers(self) -> list[Layer]:
        """The layers in their order: layer i is that of group floor(i groups / depth), one object wherever they share."""
        groups = self.albert_layer_groups
        return [groups[i * len(groups) // self.depth].albert_layers[0] for i in range(self.depth)]

    def forward(self, x: Float[Tensor, "batch time narrow"], seen: Any = None) -> Float[Tensor, "batch time width"]:
        x = self.embedding_hidden_mapping_in(x)
        for layer in self.layers:
            x = layer(x, seen)
        return x


class ALBERT(Module):
    """A vector for each token, and one for the text.

    Args:
        vocab_size: number of tokens
        embedding_size: width of the embeddings, E
        hidden_size: width of the layers, which `num_attention_heads` divides
        num_hidden_layers: times that x goes through a layer
        num_attention_heads: heads of a layer
        intermediate_size: width of the dense layer inside; 4 hidden_size in the paper
        num_hidden_groups: groups of consecutive layers with common parameters, which divide the layers; 1 in the paper
        max_position_embeddings: most tokens of a text
        type_vocab_size: segments; sentence A is 0, sentence B is 1
        dropout: probability on the embeddings, the attention weights and the outputs of both halves of a layer

    Raises:
        UserError: for sizes below 1, for heads that do not divide the width, and for groups that do not divide the layers
    """

    def __init__(
        self, vocab_size: int, embedding_size: int, hidden_size: int, num_hidden_layers: int, num_attention_heads: int,
        intermediate_size: int, num_hidden_groups: int, max_position_embeddings: int, type_vocab_size: int, dropout: float,
    ) -> None:  # fmt: skip
        sizes = {"vocab_size": vocab_size, "embedding_size": embedding_size, "hidden_size": hidden_size,
                 "num_hidden_layers": num_hidden_layers, "num_attention_heads": num_attention_heads,
                 "intermediate_size": intermediate_size, "num_hidden_groups": num_hidden_groups,
                 "max_position_embeddings": max_position_embeddings, "type_vocab_size": type_vocab_size}  # fmt: skip
        if min(sizes.values()) < 1 or hidden_size % num_attention_heads or num_hidden_layers % num_hidden_groups:
            listed = ", ".join(f"{name} {size}" for name, size in sizes.items())
            raise UserError(
                "An ALBERT needs sizes of at least 1, a width that its heads divide, and layers that its groups divide. "
                f"Received {listed}. Change hidden_size, num_attention_heads or num_hidden_groups."
            )
        self.vocab_size, self.embedding_size, self.hidden_size = vocab_size, embedding_size, hidden_size
        self.embeddings = Embeddings(vocab_size, embedding_size, max_position_embeddings, type_vocab_size, dropout)
        self.encoder = Encoder(
            num_hidden_layers, num_hidden_groups, embedding_size, hidden_size, num_attention_heads, intermediate_size, dropout
        )
        self.pooler = Linear(hidden_size, hidden_size)

    def forward(
        self, input_ids: Int[Tensor, "batch time"], attention_mask: Int[Tensor, "batch *read"] | None = None,
        token_type_ids: Int[Tensor, "batch time"] | None = None,
    ) -> tuple[Float[Tensor, "batch time width"], Float[Tensor, "batch width"]]:  # fmt: skip
        """Return the vectors of the tokens, and tanh(W x_1 + b), that of the text.

        Args:
            input_ids: tokens, the first [CLS]
            attention_mask: 1 where a token is read, 0 where it is padding, (batch, time); or how many are read, (batch,)
            token_type_ids: 0 for the first sentence, 1 for the second; all 0 if None
        """
        seen = tokens_read(input_ids, attention_mask)  # (batch, time), or None
        x = self.encoder(self.embeddings(input_ids, token_type_ids), None if seen is None else seen[:, None, None, :])
        return x, ops.tanh(self.pooler(x[:, 0]))


# Heads


class Predictions(Module):
    """LayerNorm(gelu_new(W x + b)) E^T + c with the embedding E of the tokens: back to the narrow width, then scores."""

    def __init__(self, vocab_size: int, embedding_size: int, hidden_size: int) -> None:
        self.dense = Linear(hidden_size, embedding_size)
        self.LayerNorm = LayerNorm(embedding_size, EPS)
        self.bias = Parameter(init.zeros((vocab_size,)))

    def forward(
        self, x: Float[Tensor, "batch time width"], embedding: Float[Tensor, "vocabulary narrow"]
    ) -> Float[Tensor, "batch time vocabulary"]:
        return ops.linear(self.LayerNorm(gelu_new(self.dense(x))), embedding, self.bias)  # type: ignore[no-any-return]


class SentenceOrder(Module):
    """W dropout(pooled) + b: two scores, of sentences in the right order (class 0) and of swapped ones (class 1)."""

    def __init__(self, hidden_size: int, dropout: float) -> None:
        self.drop = Dropout(dropout)
        self.classifier = Linear(hidden_size, 2)

    def forward(self, pooled: Float[Tensor, "batch width"]) -> Float[Tensor, "batch 2"]:
        return self.classifier(self.drop(pooled))  # type: ignore[no-any-return]


class Pretraining(Module):
    """ALBERT with both heads of pretraining: (scores (batch, time, vocabulary), order (batch, 2))."""

    def __init__(self, albert: ALBERT, dropout: float) -> None:
        self.albert = albert
        self.predictions = Predictions(albert.vocab_size, albert.embedding_size, albert.hidden_size)
        self.sop_classifier = SentenceOrder(albert.hidden_size, dropout)

    def forward(
        self, input_ids: Int[Tensor, "batch time"], attention_mask: Int[Tensor, "batch *read"] | None = None,
        token_type_ids: Int[Tensor, "batch time"] | None = None,
    ) -> tuple[Float[Tensor, "batch time vocabulary"], Float[Tensor, "batch 2"]]:  # fmt: skip
        x, pooled = self.albert(input_ids, attention_mask, token_type_ids)
        return self.predictions(x, self.albert.embeddings.word_embeddings.weight), self.sop_classifier(pooled)


class Classifier(Module):
    """A class for the text from its pooled vector."""

    def __init__(self, albert: ALBERT, num_labels: int, dropout: float) -> None:
        self.albert = albert
        self.drop = Dropout(dropout)
        self.classifier = Linear(albert.hidden_size, num_labels)

    def forward(
        self, input_ids: Int[Tensor, "batch time"], attention_mask: Int[Tensor, "batch *read"] | None = None,
        token_type_ids: Int[Tensor, "batch time"] | None = None,
    ) -> Float[Tensor, "batch classes"]:  # fmt: skip
        _, pooled = self.albert(input_ids, attention_mask, token_type_ids)
        return self.classifier(self.drop(pooled))  # type: ignore[no-any-return]


HEADS = ("none", "pretraining", "classification")
Network = ALBERT | Pretraining | Classifier


def build(
    vocab_size: int = 30000, embedding_size: int = 128, hidden_size: int = 768, num_hidden_layers: int = 12,
    num_attention_heads: int = 12, intermediate_size: int = 3072, num_hidden_groups: int = 1,
    max_position_embeddings: int = 512, type_vocab_size: int = 2, dropout: float = 0.0, head: str = "none",
    num_labels: int = 2,
) -> Network:  # fmt: skip
    """An ALBERT from plain values, without a head or with one of HEADS; the defaults are the paper's base size."""
    if head not in HEADS:
        raise unknown_name("head", head, HEADS)
    if num_labels < 1:
        raise UserError(f"An ALBERT needs at least one class. Received num_labels {num_labels}. Use num_labels=2.")
    albert = ALBERT(
        vocab_size, embedding_size, hidden_size, num_hidden_layers, num_attention_heads, intermediate_size,
        num_hidden_groups, max_position_embeddings, type_vocab_size, dropout,
    )  # fmt: skip
    made: Network = albert
    if head == "pretraining":
        made = Pretraining(albert, dropout)
    elif head == "classification":
        made = Classifier(albert, num_labels, dropout)
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


# Losses


def pretraining_loss(
    model: Pretraining, input_ids: Int[Tensor, "batch time"], attention_mask: Int[Tensor, "batch *read"],
    token_type_ids: Int[Tensor, "batch time"], labels: Int[Tensor, "batch time"], swapped: Int[Tensor, " batch"],
) -> tuple[Float[Tensor, ""], tuple[Tensor, Tensor]]:  # fmt: skip
    """Mean -ln p(token) over the places where `labels` is not -100, plus mean -ln p(swapped); and the outputs."""
    scores, order = model(input_ids, attention_mask, token_type_ids)
    masked = F.cross_entropy(scores.reshape(-1, scores.shape[-1]), labels.reshape(-1))
    return masked + F.cross_entropy(order, swapped), (scores, order)


def classification_loss(model: Classifier, *batch: Tensor) -> tuple[Float[Tensor, ""], Tensor]:
    """Mean -ln p(class) of texts; the batch is the inputs and the classes."""
    scores = model(*batch[:-1])
    return F.cross_entropy(scores, batch[-1]), scores
