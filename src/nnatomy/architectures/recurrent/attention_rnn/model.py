"""Recurrent translation with attention: before each word it writes, the decoder looks through the whole source again.

Bahdanau's decoder and Luong's over one encoder. Training is in recipe.py, beam search in tasks/search.py, theory in page.md.

Sources: Bahdanau, Cho and Bengio (2015), "B"; Luong, Pham and Manning (2015), "L"; sections and equations are theirs.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from nnatomy import functional as F
from nnatomy import ops
from nnatomy.backends import B
from nnatomy.errors import UserError, unknown_name
from nnatomy.layers import GRU, Dropout, Embedding, GRUCell, Linear
from nnatomy.layers.module import Module
from nnatomy.tensor import Tensor
from nnatomy.typing import Float, Int

SCORES = ("additive", "dot", "general", "concat")
IGNORED = -100  # a target that pads
State = tuple[Tensor, ...]
"""What a decoder passes from step to step; the batch is the first axis of each."""


def additive(query: Tensor, keys: Tensor, energy: Linear) -> Float[Tensor, "batch S"]:
    """e_ij = v^T tanh(W_a q_i + U_a h_j). Source: B, section A.1.2; L's concat with W = [W_a, U_a].

    `query`: W_a q_i, (batch, hidden); `keys`: U_a h_j, (batch, S, hidden); `energy`: v.
    """
    return energy(ops.tanh(ops.expand_dims(query, 1) + keys))[..., 0]  # type: ignore[no-any-return]


def general(query: Tensor, keys: Tensor) -> Float[Tensor, "batch S"]:
    """e_ij = q_i . k_j, where k_j is W_a h_j (L's general) or h_j itself (L's dot)."""
    return ops.matmul(keys, ops.expand_dims(query, 2))[..., 0]  # type: ignore[no-any-return]


class Attention(Module):
    """alpha_i = softmax_j(e_ij) over the real places j, and the context c_i = sum_j alpha_ij h_j.

    Args:
        score: one of SCORES
        hidden, annotation: numbers in a query and in an annotation h_j
    """

    def __init__(self, score: str, hidden: int, annotation: int) -> None:
        self.score = score
        sums = score in ("additive", "concat")
        self.query = Linear(hidden, hidden, bias=False) if sums else None
        self.key = None if score == "dot" else Linear(annotation, hidden, bias=False)
        self.energy = Linear(hidden, 1, bias=False) if sums else None

    def keys(self, h: Float[Tensor, "batch S annotation"]) -> Float[Tensor, "batch S hidden"]:
        """Return what each place is compared by: it is the same for all steps of the decoder."""
        return h if self.key is None else self.key(h)

    def weights(self, q: Tensor, keys: Tensor, lengths: Tensor) -> Float[Tensor, "batch S"]:
        """Return alpha_i for the query q_i: places that pad score minus infinity, so that their weight is exactly 0."""
        if self.query is None or self.energy is None:
            e = general(q, keys)
        else:
            e = additive(self.query(q), keys, self.energy)
        real = B.arange(keys.shape[1]) < lengths.data[:, None]
        return ops.softmax(ops.where(real, e, -float("inf")), -1)  # type: ignore[no-any-return]

    def forward(self, q: Tensor, h: Tensor, keys: Tensor, lengths: Tensor) -> Float[Tensor, "batch annotation"]:
        """Return the context c_i. Source: B, equations 5 and 6."""
        alpha = ops.expand_dims(self.weights(q, keys, lengths), 1)  # (batch, 1, S)
        return ops.matmul(alpha, h)[:, 0]  # type: ignore[no-any-return]


class AttentionRNN(Module, ABC):
    """An encoder reads x_1 ... x_S into annotations h_1 ... h_S, a decoder writes y_1 ... y_T and looks at them at each step.

    p(y_1 ... y_T | x) = product over t of p(y_t | y_1 ... y_(t-1), c_t)

    Args:
        source, target: sizes of the vocabularies
        embedding: width of the vectors that represent tokens
        encoder_hidden: units of each direction of the encoder; an annotation has both
        hidden: units of the decoder
        score: how a query is compared with an annotation
        dropout: of embeddings and of what the output layer reads
        beam, length_penalty: how translations are searched, see tasks/search.py

    Raises:
        UserError: for another score, for "dot" of unequal widths, and for a beam below 1
    """

    def __init__(
        self, source: int, target: int, embedding: int, encoder_hidden: int, hidden: int, score: str, dropout: float,
        beam: int, length_penalty: float,
    ) -> None:  # fmt: skip
        if score == "dot" and hidden != 2 * encoder_hidden:
            raise UserError(
                f"The dot score needs a decoder as wide as both directions of the encoder. Received hidden={hidden} and "
                f"encoder_hidden={encoder_hidden}. Use hidden={2 * encoder_hidden}, or score='general'."
            )
        if beam < 1:
            raise UserError(f"A beam has at least one hypothesis. Received beam={beam}. Use 1 for greedy search.")
        self.beam, self.length_penalty = beam, length_penalty
        self.source_embedding, self.target_embedding = Embedding(source, embedding), Embedding(target, embedding)
        self.encoder = GRU(embedding, encoder_hidden, batch_first=True, bidirectional=True)
        self.bridge = Linear(encoder_hidden, hidden)
        self.attention = Attention(score, hidden, 2 * encoder_hidden)
        self.output = Linear(hidden, target)
        self.dropout = Dropout(dropout)

    def forward(
        self, source: Int[Tensor, "batch S"], lengths: Int[Tensor, " batch"], given: Int[Tensor, "batch T"]
    ) -> Float[Tensor, "batch T target"]:
        """Return the scores of y_1 ... y_T, where the decoder is given the true tokens before each (teacher forcing).

        `given` is the start token and y_1 ... y_(T-1): the targets, one place later.
        """
        state, h = self.encode(source, lengths)
        keys = self.attention.keys(h)
        found = []
        for y in ops.unstack(self.dropout(self.target_embedding(given)), axis=1):  # (batch, embedding)
            read, state = self.advance(y, state, h, keys, lengths)
            found.append(read)
        return self.output(self.dropout(ops.stack(found, axis=1)))  # type: ignore[no-any-return]

    def encode(
        self, source: Int[Tensor, "batch S"], lengths: Int[Tensor, " batch"]
    ) -> tuple[State, Float[Tensor, "batch S annotation"]]:
        """Return the decoder's first state and the annotations h_j = [forward_j, backward_j].

        s_0 = tanh(W_s backward_1 + b_s), from what the backward direction ends with. Source: B, section A.2.2.
        """
        h, last = self.encoder(self.dropout(self.source_embedding(source)), lengths=lengths)
        return self.start(ops.tanh(self.bridge(last[1]))), h

    @abstractmethod
    def start(self, s: Float[Tensor, "batch hidden"]) -> State:
        """Return the state before the first step, from s_0."""

    @abstractmethod
    def advance(self, y: Tensor, state: State, h: Tensor, keys: Tensor, lengths: Tensor) -> tuple[Tensor, State]:
        """Return what the output layer reads (batch, hidden), and the next state, after the embedded token y."""

    @abstractmethod
    def query(self, y: Tensor, state: State) -> Float[Tensor, "batch hidden"]:
        """Return what the decoder compares the annotations with at this step."""

    def begin(self, source: Int[Tensor, "batch S"], lengths: Int[Tensor, " batch"]) -> tuple[Any, ...]:
        """Return the decoder's state before the first token, the annotations, their keys and the lengths."""
        state, h = self.encode(source, lengths)
        return state, h, self.attention.keys(h), lengths

    def step(self, state: tuple[Any, ...], tokens: Int[Tensor, " batch"]) -> tuple[Tensor, tuple[Any, ...]]:
        """Return the scores (batch, target) of the token after `tokens`, and the next state."""
        now, *source = state
        read, now = self.advance(self.dropout(self.target_embedding(tokens)), now, *source)
        return self.output(self.dropout(read)), (now, *source)

    def align(self, source: Tensor, lengths: Tensor, given: Tensor) -> Float[Tensor, "batch T S"]:
        """Return the weights alpha_ij with which the decoder reads the source at each step, for pictures."""
        state, h, keys, lengths = self.begin(source, lengths)
        found = []
        for y in ops.unstack(self.target_embedding(given), axis=1):
            found.append(self.attention.weights(self.query(y, state), keys, lengths))
            _, state = self.advance(y, state, h, keys, lengths)
        return ops.stack(found, axis=1)  # type: ignore[no-any-return]


class Bahdanau(AttentionRNN):
    """c_i by the state s_(i-1); s_i = GRU([y_(i-1), c_i], s_(i-1)); the output layer reads maxout of s_(i-1), y_(i-1), c_i.

    Source: B, sections 3.1 and A.2.2.
    """

    def __init__(self, source: int, target: int, embedding: int, encoder_hidden: int, hidden: int, *options: Any) -> None:
        super().__init__(source, target, embedding, encoder_hidden, hidden, "additive", *options)
        self.decoder = GRUCell(embedding + 2 * encoder_hidden, hidden)
        self.readout = Linear(hidden + embedding + 2 * encoder_hidden, 2 * hidden)

    def start(self, s: Tensor) -> State:
        return (s,)

    def query(self, y: Tensor, state: State) -> Tensor:
        return state[0]

    def advance(self, y: Tensor, state: State, h: Tensor, keys: Tensor, lengths: Tensor) -> tuple[Tensor, State]:
        (s,) = state
        c = self.attention(s, h, keys, lengths)
        t = self.readout(ops.concatenate([s, y, c], axis=-1))
        pairs = t.reshape((t.shape[0], -1, 2))  # maxout: the larger of neighbors
        return pairs.max(axis=-1), (self.decoder(ops.concatenate([y, c], axis=-1), s),)


class Luong(AttentionRNN):
    """s_i = GRU([y_(i-1), a_(i-1)], s_(i-1)); c_i by the NEW state s_i; the output layer reads a_i = tanh(W_c [c_i, s_i]).

    `input_feeding`: the cell also reads a_(i-1), so that it knows where it has looked. Source: L, equation 5 and section 3.3.
    """

    def __init__(
        self, source: int, target: int, embedding: int, encoder_hidden: int, hidden: int, score: str, input_feeding: bool,
        *options: Any,
    ) -> None:  # fmt: skip
        super().__init__(source, target, embedding, encoder_hidden, hidden, score, *options)
        self.input_feeding = input_feeding
        self.decoder = GRUCell(embedding + hidden * input_feeding, hidden)
        self.combine = Linear(2 * encoder_hidden + hidden, hidden, bias=False)

    def start(self, s: Tensor) -> State:
        return s, Tensor(B.zeros(s.shape, dtype=s.dtype))

    def query(self, y: Tensor, state: State) -> Tensor:
        s, a = state
        return self.decoder(ops.concatenate([y, a], axis=-1) if self.input_feeding else y, s)  # type: ignore[no-any-return]

    def advance(self, y: Tensor, state: State, h: Tensor, keys: Tensor, lengths: Tensor) -> tuple[Tensor, State]:
        s = self.query(y, state)
        c = self.attention(s, h, keys, lengths)
        a = ops.tanh(self.combine(ops.concatenate([c, s], axis=-1)))
        return a, (s, a)


def build(
    source: int, target: int, embedding: int = 128, encoder_hidden: int = 128, hidden: int = 256, score: str = "additive",
    input_feeding: bool = True, dropout: float = 0.0, beam: int = 1, length_penalty: float = 0.0,
) -> AttentionRNN:  # fmt: skip
    """Return a model from plain values: Bahdanau's with the score "additive", Luong's with another.

    Raises:
        UserError: for another score, and for Bahdanau's without the context in its cell
    """
    if score not in SCORES:
        raise unknown_name("score", score, SCORES)
    if score != "additive":
        return Luong(source, target, embedding, encoder_hidden, hidden, score, input_feeding, dropout, beam, length_penalty)
    if not input_feeding:
        raise UserError(
            "Bahdanau's decoder always reads its context. Received input_feeding=False with score='additive'. "
            "Use input_feeding=True, or score='concat'."
        )
    return Bahdanau(source, target, embedding, encoder_hidden, hidden, dropout, beam, length_penalty)


def loss(model: AttentionRNN, source: Tensor, lengths: Tensor, given: Tensor, following: Tensor) -> tuple[Tensor, Tensor]:
    """Return -1/B sum over the B pairs of log p(target | source), in nats, and the scores.

    `following`: y_1 ... y_T, (batch, T), the end token included; -100 pads.
    """
    scores = model(source, lengths, given)
    rows = scores.reshape(-1, scores.shape[-1])
    nats = F.cross_entropy(rows, following.reshape(-1), ignore_index=IGNORED, reduction="none")
    return F.batch_mean(nats.reshape(following.shape).sum(axis=1)), scores
