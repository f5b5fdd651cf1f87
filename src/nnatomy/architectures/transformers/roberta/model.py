"""RoBERTa: BERT, trained longer and without its second task, on masks that change (Liu, Ott, Goyal and others 2019).

The encoder is BERT's. Names and shapes of parameters are those of Hugging Face's RobertaModel and its heads. The masks that are
drawn again are in nnatomy/data/masking.py, training in recipe.py, the theory in page.md.
"""

from __future__ import annotations

from typing import Any

from nnatomy import functional as F
from nnatomy import init, ops
from nnatomy.architectures.transformers.bert.model import Encoder, Pooler, tokens_read
from nnatomy.backends import B
from nnatomy.errors import UserError, unknown_name
from nnatomy.graph import no_grad
from nnatomy.layers import Dropout, Embedding, LayerNorm, Linear
from nnatomy.layers.module import Module
from nnatomy.tensor import Parameter, Tensor
from nnatomy.typing import Float, Int

EPS = 1e-5  # of every LayerNorm; BERT's is 1e-12
STD = 0.02  # of the initial weights


def positions_of(input_ids: Any, pad: int) -> Any:
    """Return pad + 1, pad + 2, ... for the tokens of each row, and `pad` where a token is the padding; (batch, time)."""
    tokens = input_ids.data if isinstance(input_ids, Tensor) else input_ids
    real = (tokens != pad).astype("int64")
    return pad + real * B.cumsum(real, axis=1)


class Embeddings(Module):
    """dropout(LayerNorm(word + position + the one segment)), with positions that start behind that of the padding."""

    def __init__(self, vocab_size: int, hidden_size: int, positions: int, pad: int, dropout: float) -> None:
        self.word_embeddings = Embedding(vocab_size, hidden_size)
        self.position_embeddings = Embedding(positions, hidden_size)
        self.token_type_embeddings = Embedding(1, hidden_size)
        self.LayerNorm = LayerNorm(hidden_size, EPS)
        self.drop = Dropout(dropout)
        self.positions, self.pad = positions, pad

    def forward(self, input_ids: Int[Tensor, "batch time"]) -> Float[Tensor, "batch time width"]:
        places, most = positions_of(input_ids, self.pad), self.positions - self.pad - 1
        if input_ids.shape[1] > most:
            raise UserError(
                f"This RoBERTa has positions for {most} tokens, those of {self.positions} that start behind that of padding, "
                f"{self.pad}. Received {input_ids.shape[1]} tokens. Give fewer, or build it with more."
            )
        segment = self.token_type_embeddings.weight[0]
        return self.drop(self.LayerNorm(self.word_embeddings(input_ids) + self.position_embeddings(places) + segment))  # type: ignore[no-any-return]


class RoBERTa(Module):
    """A vector for each token, and with a pooler one for the text.

    Args:
        vocab_size: number of tokens
        hidden_size: width, which `num_attention_heads` divides
        num_hidden_layers: encoder layers
        num_attention_heads: heads of a layer
        intermediate_size: width of the dense layer inside; 4 hidden_size in the paper
        max_position_embeddings: rows of the table of positions: pad_token_id + 1 more than a text has tokens
        pad_token_id: the token that pads; positions start behind it
        dropout: probability on the embeddings, the attention weights and the outputs of both halves of a layer
        pooled: with a pooler

    Raises:
        UserError: for sizes below 1, for heads that do not divide the width, and for padding outside the two tables
    """

    def __init__(
        self, vocab_size: int, hidden_size: int, num_hidden_layers: int, num_attention_heads: int, intermediate_size: int,
        max_position_embeddings: int, pad_token_id: int, dropout: float, pooled: bool = True,
    ) -> None:  # fmt: skip
        sizes = {"vocab_size": vocab_size, "hidden_size": hidden_size, "num_hidden_layers": num_hidden_layers,
                 "num_attention_heads": num_attention_heads, "intermediate_size": intermediate_size,
                 "max_position_embeddings": max_position_embeddings}  # fmt: skip
        if min(sizes.values()) < 1 or hidden_size % num_attention_heads:
            listed = ", ".join(f"{name} {size}" for name, size in sizes.items())
            raise UserError(
                f"A RoBERTa needs sizes of at least 1, and a width that its heads divide. Received {listed}. "
                "Change hidden_size or num_attention_heads."
            )
        if not 0 <= pad_token_id < min(vocab_size, max_position_embeddings - 1):
            raise UserError(
                "A RoBERTa pads with one of its tokens, and has positions behind it. Received pad_token_id "
                f"{pad_token_id}, {vocab_size} tokens and {max_position_embeddings} positions. Use pad_token_id=1."
            )
        self.vocab_size, self.hidden_size = vocab_size, hidden_size
        self.embeddings = Embeddings(vocab_size, hidden_size, max_position_embeddings, pad_token_id, dropout)
        self.encoder = Encoder(num_hidden_layers, hidden_size, num_attention_heads, intermediate_size, dropout)
        self.pooler = Pooler(hidden_size) if pooled else None

    def forward(
        self, input_ids: Int[Tensor, "batch time"], attention_mask: Int[Tensor, "batch *read"] | None = None
    ) -> tuple[Float[Tensor, "batch time width"], Float[Tensor, "batch width"] | None]:
        """Return the vectors of the tokens, and that of the text.

        Args:
            input_ids: tokens, the first <s>
            attention_mask: 1 where a token is read, 0 where it is padding, (batch, time); or how many are read, (batch,)
        """
        seen = tokens_read(input_ids, attention_mask)  # (batch, time), or None
        x = self.encoder(self.embeddings(input_ids), None if seen is None else seen[:, None, None, :])
        return x, None if self.pooler is None else self.pooler(x)


# Heads


class LMHead(Module):
    """LayerNorm(gelu(W x + b)) E^T + c with the embedding E of the tokens: scores of the token at each place."""

    def __init__(self, vocab_size: int, hidden_size: int) -> None:
        self.dense = Linear(hidden_size, hidden_size)
        self.layer_norm = LayerNorm(hidden_size, EPS)
        self.bias = Parameter(init.zeros((vocab_size,)))

    def forward(
        self, x: Float[Tensor, "batch time width"], embedding: Float[Tensor, "vocabulary width"]
    ) -> Float[Tensor, "batch time vocabulary"]:
        return ops.linear(self.layer_norm(F.gelu(self.dense(x))), embedding, self.bias)  # type: ignore[no-any-return]


class MaskedLM(Module):
    """RoBERTa with the head of its one task: scores (batch, time, vocabulary)."""

    def __init__(self, roberta: RoBERTa) -> None:
        self.roberta = roberta
        self.lm_head = LMHead(roberta.vocab_size, roberta.hidden_size)

    def forward(
        self, input_ids: Int[Tensor, "batch time"], attention_mask: Int[Tensor, "batch *read"] | None = None
    ) -> Float[Tensor, "batch time vocabulary"]:
        x, _ = self.roberta(input_ids, attention_mask)
        return self.lm_head(x, self.roberta.embeddings.word_embeddings.weight)  # type: ignore[no-any-return]


class ClassificationHead(Module):
    """W_2 dropout(tanh(W_1 dropout(x_1) + b_1)) + b_2 of the first token: the pooler of BERT, trained with the task alone."""

    def __init__(self, hidden_size: int, num_labels: int, dropout: float) -> None:
        self.dense = Linear(hidden_size, hidden_size)
        self.out_proj = Linear(hidden_size, num_labels)
        self.drop = Dropout(dropout)

    def forward(self, x: Float[Tensor, "batch time width"]) -> Float[Tensor, "batch classes"]:
        return self.out_proj(self.drop(ops.tanh(self.dense(self.drop(x[:, 0])))))  # type: ignore[no-any-return]


class Classifier(Module):
    """A class for the text from the vector of its first token."""

    def __init__(self, roberta: RoBERTa, num_labels: int, dropout: float) -> None:
        self.roberta = roberta
        self.classifier = ClassificationHead(roberta.hidden_size, num_labels, dropout)

    def forward(
        self, input_ids: Int[Tensor, "batch time"], attention_mask: Int[Tensor, "batch *read"] | None = None
    ) -> Float[Tensor, "batch classes"]:
        x, _ = self.roberta(input_ids, attention_mask)
        return self.classifier(x)  # type: ignore[no-any-return]


HEADS = ("none", "masked", "classification")
Network = RoBERTa | MaskedLM | Classifier


def build(
    vocab_size: int = 50265, hidden_size: int = 768, num_hidden_layers: int = 12, num_attention_heads: int = 12,
    intermediate_size: int = 3072, max_position_embeddings: int = 514, pad_token_id: int = 1, dropout: float = 0.1,
    head: str = "none", num_labels: int = 2,
) -> Network:  # fmt: skip
    """A RoBERTa from plain values, without a head or with one of HEADS; the defaults are the paper's base size."""
    if head not in HEADS:
        raise unknown_name("head", head, HEADS)
    if num_labels < 1:
        raise UserError(f"A RoBERTa needs at least one class. Received num_labels {num_labels}. Use num_labels=2.")
    roberta = RoBERTa(
        vocab_size, hidden_size, num_hidden_layers, num_attention_heads, intermediate_size, max_position_embeddings,
        pad_token_id, dropout, pooled=head == "none",
    )  # fmt: skip
    made: Network = roberta
    if head == "masked":
        made = MaskedLM(roberta)
    elif head == "classification":
        made = Classifier(roberta, num_labels, dropout)
    return initialize(made)


def initialize(model: Network) -> Network:
    """Draw every matrix and embedding from N(0, 0.02), start every bias at 0, and give BERT's norms RoBERTa's epsilon."""
    with no_grad():
        for part in model.modules():
            if isinstance(part, Linear | Embedding):
                part.weight.copy_(Tensor(init.normal(part.weight.shape, std=STD)))
            if isinstance(part, Linear) and part.bias is not None:
                part.bias.copy_(Tensor(init.zeros(part.bias.shape)))
            if isinstance(part, LayerNorm):
                part.eps = EPS
    return model


# Losses


def masked_loss(
    model: MaskedLM, input_ids: Int[Tensor, "batch time"], attention_mask: Int[Tensor, "batch *read"],
    labels: Int[Tensor, "batch time"],
) -> tuple[Float[Tensor, ""], Tensor]:  # fmt: skip
    """Mean -ln p(token) over the places where `labels` is not -100, and the scores: all of RoBERTa's pretraining."""
    scores = model(input_ids, attention_mask)
    return F.cross_entropy(scores.reshape(-1, scores.shape[-1]), labels.reshape(-1)), scores


def classification_loss(model: Classifier, *batch: Tensor) -> tuple[Float[Tensor, ""], Tensor]:
    """Mean -ln p(class) of texts; the batch is the inputs and the classes."""
    scores = model(*batch[:-1])
    return F.cross_entropy(scores, batch[-1]), scores
