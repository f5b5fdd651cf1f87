"""Sequence to sequence: one recurrent network reads a sequence into its state, another writes a sequence from that state.

Training by the project's loop is in recipe.py, beam search in tasks/search.py, the theory in page.md.
"""

from __future__ import annotations

from nnatomy import functional as F
from nnatomy import ops, random
from nnatomy.backends import B
from nnatomy.errors import UserError, unknown_name
from nnatomy.graph import no_grad
from nnatomy.layers import GRU, LSTM, Dropout, Embedding, Linear
from nnatomy.layers.module import Module
from nnatomy.tensor import Tensor
from nnatomy.typing import Float, Int

CELLS = ("lstm", "gru")
IGNORED = -100  # a target that pads
State = tuple[Tensor, ...]
"""(h, c) of an LSTM or (h,) of a GRU, each (layers, batch, hidden)."""


def backwards(tokens: Int[Tensor, "batch time"], lengths: Int[Tensor, " batch"]) -> Int[Tensor, "batch time"]:
    """Return each sequence from its last token to its first; the padding stays behind it.

    Source: Sutskever, Vinyals and Le (2014), section 3.3.
    """
    time, n = B.arange(tokens.shape[1])[None, :], lengths.data[:, None]
    return ops.gather(tokens, B.where(time < n, n - 1 - time, time), axis=1)  # type: ignore[no-any-return]


class Seq2Seq(Module):
    """An encoder reads x_1 ... x_S into a vector v, a decoder writes y_1 ... y_T from it, one token at a time.

    p(y_1 ... y_T | x_1 ... x_S) = product over t of p(y_t | v, y_1 ... y_(t-1))

    Args:
        source, target: sizes of the vocabularies
        embedding: width of the vectors that represent tokens
        hidden, layers: units and layers of the encoder, and of the decoder
        cell: "lstm": v is the encoder's last (h, c), where the decoder starts (Sutskever et al. 2014); "gru": v is its last h,
            which the decoder also reads at every step (Cho et al. 2014)
        reverse: read the source from its last token to its first
        dropout: of embeddings and of what the decoder's last layer gives
        beam, length_penalty: how translations are searched, see tasks/search.py

    Raises UserError for another cell and for a beam below 1.
    """

    def __init__(
        self, source: int, target: int, embedding: int = 128, hidden: int = 256, layers: int = 1, cell: str = "lstm",
        reverse: bool = True, dropout: float = 0.0, beam: int = 1, length_penalty: float = 0.0,
    ) -> None:  # fmt: skip
        if cell not in CELLS:
            raise unknown_name("cell", cell, CELLS)
        if beam < 1:
            raise UserError(f"A beam has at least one hypothesis. Received beam={beam}. Use 1 for greedy search.")
        Cell = LSTM if cell == "lstm" else GRU
        self.cell, self.reverse, self.beam, self.length_penalty = cell, reverse, beam, length_penalty
        self.source_embedding, self.target_embedding = Embedding(source, embedding), Embedding(target, embedding)
        self.encoder = Cell(embedding, hidden, layers, batch_first=True)
        self.decoder = Cell(embedding + hidden * (cell == "gru"), hidden, layers, batch_first=True)
        self.output = Linear(hidden, target)
        self.dropout = Dropout(dropout)

    def forward(
        self, source: Int[Tensor, "batch S"], lengths: Int[Tensor, " batch"], given: Int[Tensor, "batch T"]
    ) -> Float[Tensor, "batch T target"]:
        """Return the scores of y_1 ... y_T, where the decoder is given the true tokens before each (teacher forcing).

        `given` is the start token and y_1 ... y_(T-1): the targets, one place later.
        """
        v = self.encode(source, lengths)
        return self.decode(given, v, v)[0]

    def encode(self, source: Int[Tensor, "batch S"], lengths: Int[Tensor, " batch"]) -> State:
        """Return v, the encoder's state after the last token of each sequence: padding changes nothing."""
        tokens = backwards(source, lengths) if self.reverse else source
        _, state = self.encoder(self.dropout(self.source_embedding(tokens)), lengths=lengths)
        return state if self.cell == "lstm" else (state,)

    def decode(self, given: Int[Tensor, "batch T"], state: State, v: State) -> tuple[Float[Tensor, "batch T target"], State]:
        """Return the scores of the token after each given one, and the state after the last."""
        x = self.dropout(self.target_embedding(given))  # (batch, T, embedding)
        if self.cell == "gru":
            summary = ops.expand_dims(v[0][-1], 1)  # (batch, 1, hidden), of the top layer
            x = ops.concatenate([x, ops.broadcast_to(summary, (*x.shape[:2], summary.shape[2]))], axis=2)
            y, h = self.decoder(x, state[0])
            state = (h,)
        else:
            y, state = self.decoder(x, state)
        return self.output(self.dropout(y)), state

    def begin(self, source: Int[Tensor, "batch S"], lengths: Int[Tensor, " batch"]) -> tuple[State, State]:
        """Return the decoder's state before the first token, and v; the batch is the first axis of each."""
        v = _batch_first(self.encode(source, lengths))
        return v, v

    def step(self, state: tuple[State, State], tokens: Int[Tensor, " batch"]) -> tuple[Tensor, tuple[State, State]]:
        """Return the scores (batch, target) of the token after `tokens`, and the next state."""
        now, v = state
        scores, now = self.decode(ops.expand_dims(tokens, 1), _batch_first(now), _batch_first(v))
        return scores[:, 0], (_batch_first(now), v)


def _batch_first(state: State) -> State:
    """(layers, batch, hidden) to (batch, layers, hidden), and back."""
    return tuple(part.swapaxes(0, 1) for part in state)


def start_uniform(model: Module, bound: float) -> None:
    """Draw every parameter from U(-bound, bound). Source: Sutskever, Vinyals and Le (2014), section 3.4, with 0.08."""
    with no_grad():
        for parameter in model.parameters():
            parameter.copy_(random.default.uniform(parameter.shape, -bound, bound))


def build(
    source: int, target: int, embedding: int = 128, hidden: int = 256, layers: int = 1, cell: str = "lstm",
    reverse: bool = True, dropout: float = 0.0, beam: int = 1, length_penalty: float = 0.0,
) -> Seq2Seq:  # fmt: skip
    """Return a model from plain values, its parameters drawn from U(-0.08, 0.08)."""
    model = Seq2Seq(source, target, embedding, hidden, layers, cell, reverse, dropout, beam, length_penalty)
    start_uniform(model, 0.08)
    return model


def loss(model: Seq2Seq, source: Tensor, lengths: Tensor, given: Tensor, following: Tensor) -> tuple[Tensor, Tensor]:
    """Return -1/B sum over the B pairs of log p(target | source), in nats, and the scores.

    `following`: y_1 ... y_T, (batch, T), the end token included; -100 pads. Source: Sutskever et al. (2014), section 3.2.
    """
    scores = model(source, lengths, given)
    rows = scores.reshape(-1, scores.shape[-1])
    nats = F.cross_entropy(rows, following.reshape(-1), ignore_index=IGNORED, reduction="none")
    return F.batch_mean(nats.reshape(following.shape).sum(axis=1)), scores
