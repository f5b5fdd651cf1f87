"""DistilBERT: a BERT of half the depth that learns from the outputs of the whole one (Sanh, Debut, Chaumond and Wolf 2019).

Names and shapes of parameters are those of Hugging Face's DistilBertModel and its heads. The teacher is a BERT; the two
stages of training are in learner.py and recipe.py, the theory in page.md.
"""

from __future__ import annotations

from typing import Any

from nnatomy import functional as F
from nnatomy import init, ops
from nnatomy.architectures.transformers.bert.model import Pretraining, pretraining_loss, tokens_read
from nnatomy.backends import B
from nnatomy.errors import UserError, unknown_name
from nnatomy.functional.masking import batch_mean
from nnatomy.graph import no_grad
from nnatomy.layers import Dropout, Embedding, LayerNorm, Linear
from nnatomy.layers.module import Module
from nnatomy.tensor import Parameter, Tensor
from nnatomy.typing import Float, Int

EPS = 1e-12  # of every LayerNorm
STD = 0.02  # of the initial weights
TEMPERATURE = 2.0
WEIGHTS = (5.0, 2.0, 1.0)  # of soft targets, masked tokens and directions, in the authors' training command


class Embeddings(Module):
    """dropout(LayerNorm(word + position)): BERT's without the segments."""

    def __init__(self, vocab_size: int, dim: int, positions: int, dropout: float) -> None:
        self.word_embeddings = Embedding(vocab_size, dim)
        self.position_embeddings = Embedding(positions, dim)
        self.LayerNorm = LayerNorm(dim, EPS)
        self.drop = Dropout(dropout)
        self.positions = positions

    def forward(self, input_ids: Int[Tensor, "batch time"]) -> Float[Tensor, "batch time width"]:
        time = input_ids.shape[1]
        if time > self.positions:
            raise UserError(
                f"This DistilBERT has {self.positions} positions. Received {time} tokens. Give fewer, or build it with more."
            )
        return self.drop(self.LayerNorm(self.word_embeddings(input_ids) + self.position_embeddings(B.arange(time))))  # type: ignore[no-any-return]


class SelfAttention(Module):
    """[head_1, ..., head_h] W_o + b_o, head = softmax(q k^T / sqrt(d)) v over all tokens that are read."""

    def __init__(self, dim: int, heads: int, dropout: float) -> None:
        self.heads, self.dropout = heads, dropout
        self.q_lin = Linear(dim, dim)
        self.k_lin = Linear(dim, dim)
        self.v_lin = Linear(dim, dim)
        self.out_lin = Linear(dim, dim)

    def forward(self, x: Float[Tensor, "batch time width"], seen: Any = None) -> Float[Tensor, "batch time width"]:
        batch, time, width = x.shape
        split = (batch, time, self.heads, width // self.heads)
        q, k, v = (part(x).reshape(split).transpose((0, 2, 1, 3)) for part in (self.q_lin, self.k_lin, self.v_lin))
        y = F.scaled_dot_product_attention(q, k, v, seen, self.dropout if self.training else 0.0)
        return self.out_lin(y.transpose((0, 2, 1, 3)).reshape(x.shape))  # type: ignore[no-any-return]


class FeedForward(Module):
    """dropout(gelu(x W_1 + b_1) W_2 + b_2) with the exact gelu."""

    def __init__(self, dim: int, hidden_dim: int, dropout: float) -> None:
        self.lin1 = Linear(dim, hidden_dim)
        self.lin2 = Linear(hidden_dim, dim)
        self.drop = Dropout(dropout)

    def forward(self, x: Float[Tensor, "batch time width"]) -> Float[Tensor, "batch time width"]:
        return self.drop(self.lin2(F.gelu(self.lin1(x))))  # type: ignore[no-any-return]


class Layer(Module):
    """x = LayerNorm(x + attention(x)), y = LayerNorm(x + feed_forward(x)): a layer of BERT."""

    def __init__(self, dim: int, heads: int, hidden_dim: int, dropout: float) -> None:
        self.attention = SelfAttention(dim, heads, dropout)
        self.sa_layer_norm = LayerNorm(dim, EPS)
        self.ffn = FeedForward(dim, hidden_dim, dropout)
        self.output_layer_norm = LayerNorm(dim, EPS)

    def forward(self, x: Float[Tensor, "batch time width"], seen: Any = None) -> Float[Tensor, "batch time width"]:
        x = self.sa_layer_norm(x + self.attention(x, seen))
        return self.output_layer_norm(x + self.ffn(x))  # type: ignore[no-any-return]


class Encoder(Module):
    """The layers, one after another."""

    def __init__(self, layers: int, dim: int, heads: int, hidden_dim: int, dropout: float) -> None:
        self.layer = [Layer(dim, heads, hidden_dim, dropout) for _ in range(layers)]

    def forward(self, x: Float[Tensor, "batch time width"], seen: Any = None) -> Float[Tensor, "batch time width"]:
        for layer in self.layer:
            x = layer(x, seen)
        return x


class DistilBERT(Module):
    """A vector for each token: BERT's encoder of half the depth, without segments and without a pooler.

    Args:
        vocab_size: number of tokens
        dim: width, which `n_heads` divides
        n_layers: encoder layers, half of the teacher's
        n_heads: heads of a layer
        hidden_dim: width of the dense layer inside; 4 dim in the paper
        max_position_embeddings: most tokens of a text
        dropout: probability on the embeddings, the attention weights and the ends of the feed-forward parts

    Raises:
        UserError: for sizes below 1, and for heads that do not divide the width
    """

    def __init__(
        self, vocab_size: int, dim: int, n_layers: int, n_heads: int, hidden_dim: int, max_position_embeddings: int,
        dropout: float,
    ) -> None:  # fmt: skip
        sizes = {"vocab_size": vocab_size, "dim": dim, "n_layers": n_layers, "n_heads": n_heads, "hidden_dim": hidden_dim,
                 "max_position_embeddings": max_position_embeddings}  # fmt: skip
        if min(sizes.values()) < 1 or dim % n_heads:
            listed = ", ".join(f"{name} {size}" for name, size in sizes.items())
            raise UserError(
                f"A DistilBERT needs sizes of at least 1, and a width that its heads divide. Received {listed}. "
                "Change dim or n_heads."
            )
        self.dim, self.vocab_size = dim, vocab_size
        self.embeddings = Embeddings(vocab_size, dim, max_position_embeddings, dropout)
        self.transformer = Encoder(n_layers, dim, n_heads, hidden_dim, dropout)

    def forward(
        self, input_ids: Int[Tensor, "batch time"], attention_mask: Int[Tensor, "batch *read"] | None = None
    ) -> Float[Tensor, "batch time width"]:
        """Return the vectors of the tokens.

        Args:
            input_ids: tokens, the first [CLS]
            attention_mask: 1 where a token is read, 0 where it is padding, (batch, time); or how many are read, (batch,)
        """
        seen = tokens_read(input_ids, attention_mask)  # (batch, time), or None
        return self.transformer(self.embeddings(input_ids), None if seen is None else seen[:, None, None, :])  # type: ignore[no-any-return]


# Heads


class Bias(Module):
    """The bias of the scores; their matrix is the word embedding."""

    def __init__(self, vocab_size: int) -> None:
        self.bias = Parameter(init.zeros((vocab_size,)))


class MaskedLM(Module):
    """LayerNorm(gelu(W x + b)) E^T + c with the embedding E of the tokens: scores of the token at each place."""

    def __init__(self, distilbert: DistilBERT) -> None:
        self.distilbert = distilbert
        self.vocab_transform = Linear(distilbert.dim, distilbert.dim)
        self.vocab_layer_norm = LayerNorm(distilbert.dim, EPS)
        self.vocab_projector = Bias(distilbert.vocab_size)

    def forward(
        self, input_ids: Int[Tensor, "batch time"], attention_mask: Int[Tensor, "batch *read"] | None = None
    ) -> Float[Tensor, "batch time vocabulary"]:
        return self.scores(self.distilbert(input_ids, attention_mask))

    def scores(self, x: Float[Tensor, "batch time width"]) -> Float[Tensor, "batch time vocabulary"]:
        x = self.vocab_layer_norm(F.gelu(self.vocab_transform(x)))
        return ops.linear(x, self.distilbert.embeddings.word_embeddings.weight, self.vocab_projector.bias)  # type: ignore[no-any-return]


class Classifier(Module):
    """W_2 relu(W_1 x_1 + b_1) + b_2: a class for the text from the vector of its first token, [CLS]."""

    def __init__(self, distilbert: DistilBERT, num_labels: int, dropout: float) -> None:
        self.distilbert = distilbert
        self.pre_classifier = Linear(distilbert.dim, distilbert.dim)
        self.classifier = Linear(distilbert.dim, num_labels)
        self.drop = Dropout(dropout)

    def forward(
        self, input_ids: Int[Tensor, "batch time"], attention_mask: Int[Tensor, "batch *read"] | None = None
    ) -> Float[Tensor, "batch classes"]:
        x = self.distilbert(input_ids, attention_mask)[:, 0]
        return self.classifier(self.drop(ops.relu(self.pre_classifier(x))))  # type: ignore[no-any-return]


HEADS = ("none", "masked", "classification")
Network = DistilBERT | MaskedLM | Classifier


def build(
    vocab_size: int = 30522, dim: int = 768, n_layers: int = 6, n_heads: int = 12, hidden_dim: int = 3072,
    max_position_embeddings: int = 512, dropout: float = 0.1, head: str = "none", num_labels: int = 2,
) -> Network:  # fmt: skip
    """A DistilBERT from plain values, without a head or with one of HEADS; the defaults are the paper's size."""
    if head not in HEADS:
        raise unknown_name("head", head, HEADS)
    if num_labels < 1:
        raise UserError(f"A DistilBERT needs at least one class. Received num_labels {num_labels}. Use num_labels=2.")
    distilbert = DistilBERT(vocab_size, dim, n_layers, n_heads, hidden_dim, max_position_embeddings, dropout)
    made: Network = distilbert
    if head == "masked":
        made = MaskedLM(distilbert)
    elif head == "classification":
        made = Classifier(distilbert, num_labels, dropout)
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


# The student and its teacher


class Distillation(Module):
    """A student and the BERT of twice its depth that teaches it; called, it is the student."""

    def __init__(self, student: MaskedLM, teacher: Pretraining) -> None:
        self.student, self.teacher = student, teacher

    def forward(
        self, input_ids: Int[Tensor, "batch time"], attention_mask: Int[Tensor, "batch *read"] | None = None,
        token_type_ids: Int[Tensor, "batch time"] | None = None,
    ) -> Float[Tensor, "batch time vocabulary"]:  # fmt: skip
        """Return the student's scores; the segments are for the teacher alone."""
        return self.student(input_ids, attention_mask)  # type: ignore[no-any-return]

    def teach(self, *inputs: Tensor) -> tuple[Float[Tensor, "batch time vocabulary"], Float[Tensor, "batch time width"]]:
        """Return the teacher's scores and vectors, without dropout and as constants."""
        training = self.teacher.training
        self.teacher.eval()
        with no_grad():
            x, _ = self.teacher.bert(*inputs)
            scores = self.teacher.cls.predictions(x, self.teacher.bert.embeddings.word_embeddings.weight)
        self.teacher.train(training)
        return scores, x

    def inherit(self) -> None:
        """Start the student from the teacher: its embeddings, its head, and one of each two of its layers."""
        state = self.teacher.state_dict()
        layers = len(self.student.distilbert.transformer.layer)
        self.student.load_state_dict({ours: state[theirs] for ours, theirs in inherited(layers).items()})


OF_BERT = {
    "attention.q_lin": "attention.self.query", "attention.k_lin": "attention.self.key",
    "attention.v_lin": "attention.self.value", "attention.out_lin": "attention.output.dense",
    "sa_layer_norm": "attention.output.LayerNorm",
    "ffn.lin1": "intermediate.dense", "ffn.lin2": "output.dense", "output_layer_norm": "output.LayerNorm",
}  # fmt: skip
"""The parts of a layer, and their names in BERT."""


def inherited(layers: int) -> dict[str, str]:
    """Return {name in a student of so many layers: name in a BERT of twice as many}.

    Of 12 layers these are 0, 2, 4, 7, 9 and 11, as in the authors' code: every second one, the first and the last among them.
    """
    tables = ("word_embeddings", "position_embeddings")
    found = {f"distilbert.embeddings.{table}.weight": f"bert.embeddings.{table}.weight" for table in tables}
    found["vocab_projector.bias"] = "cls.predictions.bias"
    parts = {
        "distilbert.embeddings.LayerNorm": "bert.embeddings.LayerNorm",
        "vocab_transform": "cls.predictions.transform.dense", "vocab_layer_norm": "cls.predictions.transform.LayerNorm",
    }  # fmt: skip
    for n in range(layers):
        m = 2 * n + (2 * n >= layers)
        parts |= {f"distilbert.transformer.layer.{n}.{a}": f"bert.encoder.layer.{m}.{b}" for a, b in OF_BERT.items()}
    return found | {f"{a}.{end}": f"{b}.{end}" for a, b in parts.items() for end in ("weight", "bias")}


# Losses


def masked_loss(
    model: MaskedLM, input_ids: Int[Tensor, "batch time"], attention_mask: Int[Tensor, "batch *read"],
    labels: Int[Tensor, "batch time"],
) -> tuple[Float[Tensor, ""], Tensor]:  # fmt: skip
    """Mean -ln q(token) over the places where `labels` is not -100, and the scores."""
    scores = model(input_ids, attention_mask)
    return F.cross_entropy(scores.reshape(-1, scores.shape[-1]), labels.reshape(-1)), scores


def student_loss(
    model: MaskedLM, input_ids: Int[Tensor, "batch time"], attention_mask: Int[Tensor, "batch *read"],
    labels: Int[Tensor, "batch time"], v: Float[Tensor, "batch time vocabulary"], h: Float[Tensor, "batch time width"],
) -> tuple[Float[Tensor, ""], Tensor]:  # fmt: skip
    """5 T^2 KL(softmax(v / T), softmax(z / T)) + 2 masked tokens + 1 - cos(x, h), and the scores z.

    v and h are the teacher's scores and vectors. The first and the last term are means over all tokens that are read.
    """
    x = model.distilbert(input_ids, attention_mask)
    z = model.scores(x)
    soft = TEMPERATURE**2 * divergence(v / TEMPERATURE, z / TEMPERATURE)  # (batch, time)
    apart = 1 - F.cosine_similarity(x, h, axis=-1)
    masked = F.cross_entropy(z.reshape(-1, z.shape[-1]), labels.reshape(-1))
    seen = tokens_read(input_ids, attention_mask)
    read = (B.ones(input_ids.shape, dtype="bool") if seen is None else seen).astype(z.dtype)
    terms = (batch_mean(soft * read) / batch_mean(read), masked, batch_mean(apart * read) / batch_mean(read))
    return sum(weight * term for weight, term in zip(WEIGHTS, terms, strict=True)), z


def divergence(v: Float[Tensor, "*places vocabulary"], z: Float[Tensor, "*places vocabulary"]) -> Float[Tensor, "*places"]:
    """KL(p, q) = sum p (ln p - ln q) over the words, p = softmax(v) and q = softmax(z)."""
    log_p, log_q = F.log_softmax(v, axis=-1), F.log_softmax(z, axis=-1)
    return ops.sum(ops.exp(log_p) * (log_p - log_q), axis=-1)  # type: ignore[no-any-return]


def teacher_loss(model: Distillation, *batch: Tensor) -> tuple[Float[Tensor, ""], Any]:
    """The loss of BERT's pretraining, of the teacher."""
    return pretraining_loss(model.teacher, *batch)


def distillation_loss(
    model: Distillation, input_ids: Int[Tensor, "batch time"], attention_mask: Int[Tensor, "batch *read"],
    token_type_ids: Int[Tensor, "batch time"], labels: Int[Tensor, "batch time"], following: Int[Tensor, " batch"],
) -> tuple[Float[Tensor, ""], Tensor]:  # fmt: skip
    """The student's loss with what its teacher gives for the same texts; how sentences follow each other does not count."""
    teacher = model.teach(input_ids, attention_mask, token_type_ids)
    return student_loss(model.student, input_ids, attention_mask, labels, *teacher)


def classification_loss(model: Classifier, *batch: Tensor) -> tuple[Float[Tensor, ""], Tensor]:
    """Mean -ln p(class) of texts; the batch is the inputs and the classes."""
    scores = model(*batch[:-1])
    return F.cross_entropy(scores, batch[-1]), scores
