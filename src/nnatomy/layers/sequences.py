"""What is around a recurrent layer: embedding, output and readout, the writing of tokens, forecasts from the last value.

The recurrent layers themselves are in recurrent.py, and written out in the architectures that explain them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np

from nnatomy import functional as F
from nnatomy import ops, random
from nnatomy.backends import B
from nnatomy.errors import UserError, unknown_name
from nnatomy.graph import no_grad
from nnatomy.layers.embedding import Embedding
from nnatomy.layers.linear import Linear
from nnatomy.layers.module import Module
from nnatomy.tensor import Tensor
from nnatomy.typing import Float, Int, Shaped

READOUTS = ("each", "last")
State = Any
"""What a recurrent layer passes on: h [layers * directions, batch, hidden], or a tuple that starts with it."""


class SequenceNetwork(Module, ABC):
    """A recurrent layer between its inputs (numbers, or tokens through an embedding) and a linear output layer.

    An architecture sets the attributes below, and its recurrent layer under a name of its own. `readout`: "each" gives an
    output at every step; "last" one output, from the final hidden states of the top layer, both directions side by side.
    """

    readout: str
    embedding: Embedding | None
    output: Linear

    @property
    @abstractmethod
    def recurrent(self) -> Any:
        """The layer (x, lengths, state) -> (y, state), which has `directions`."""

    def forward(
        self, x: Shaped[Tensor, "batch time *inputs"], lengths: Int[Tensor, " batch"] | None = None
    ) -> Float[Tensor, "batch *time outputs"]:
        """Outputs for tokens [batch, time] or numbers [batch, time, inputs]: at each step, or one per sequence."""
        return self.run(x, lengths)[0]

    def run(
        self, x: Shaped[Tensor, "batch time *inputs"], lengths: Int[Tensor, " batch"] | None = None, state: State = None
    ) -> tuple[Float[Tensor, "batch *time outputs"], State]:
        """As `forward`, and the state from which a later call continues the sequences."""
        return self.answer(self.read(x), lengths, state)

    def read(self, x: Shaped[Tensor, "batch time *inputs"]) -> Float[Tensor, "batch time inputs"]:
        """Return the recurrent layer's input: the embedded tokens, or the numbers themselves."""
        return x if self.embedding is None else self.embedding(x)

    def answer(
        self, seen: Float[Tensor, "batch time inputs"], lengths: Int[Tensor, " batch"] | None = None, state: State = None
    ) -> tuple[Float[Tensor, "batch *time outputs"], State]:
        """Return the outputs and the state for the recurrent layer's input."""
        y, state = self.recurrent(seen, lengths, state)
        if self.readout == "last":
            h = state[0] if isinstance(state, tuple) else state
            y = ops.concatenate(h.unstack()[-len(self.recurrent.directions) :], axis=-1)
        return self.output(y), state


def check_readout(readout: str) -> str:
    """Return the readout.

    Raises:
        UserError: for one that is not in READOUTS
    """
    if readout not in READOUTS:
        raise unknown_name("readout", readout, READOUTS)
    return readout


def sequence_mask(x: Tensor, lengths: Tensor | None) -> Any:
    """Return True where step t is within sequence b: an array [time, batch, 1], or None where all have the same length.

    Raises:
        UserError: unless there is one length for each sequence of x [batch, time, ...]
    """
    if lengths is None:
        return None
    if lengths.shape != x.shape[:1]:
        raise UserError(
            f"A batch needs one length for each of {x.shape[0]} sequences. Received shape {lengths.shape}. "
            f"Give a vector of {x.shape[0]} integers."
        )
    return B.arange(x.shape[1])[:, None, None] < lengths.data[None, :, None]


def sample_tokens(
    model: SequenceNetwork, prompt: Sequence[int], length: int, temperature: float = 1.0,
    generator: random.Generator | None = None,
) -> list[int]:  # fmt: skip
    """Return `length` tokens that the model writes after `prompt`, one at a time, the state carried from each to the next.

    Each is drawn from softmax(scores / temperature): below 1 the likely grow likelier, and at 0 the likeliest is taken.

    Raises:
        UserError: for an empty prompt, a negative temperature, or a model that does not read tokens in one direction
    """
    if model.embedding is None or model.readout != "each" or len(model.recurrent.directions) > 1:
        raise UserError(
            'To write text, a model reads tokens in one direction, with readout="each". Received another model. '
            'Give vocabulary=, bidirectional=False and readout="each" to build().'
        )
    if not len(prompt) or temperature < 0:
        raise UserError(
            "Sampling needs a prompt of at least 1 token and a temperature of at least 0. "
            f"Received {len(prompt)} tokens and {temperature}. Use temperature=1.0."
        )
    generator = generator or random.default
    training, written = model.training, []
    model.eval()
    with no_grad():
        scores, state = model.run(Tensor(B.asarray([list(prompt)])))
        for _ in range(length):
            written.append(_draw(scores.numpy()[0, -1], temperature, generator))
            scores, state = model.run(Tensor(B.asarray([written[-1:]])), state=state)
    model.train(training)
    return written


def _draw(scores: Any, temperature: float, generator: random.Generator) -> int:
    if temperature == 0:
        return int(scores.argmax())
    scaled = (scores.astype("float64") - scores.max()) / temperature
    reached = np.exp(scaled).cumsum()
    return int(np.searchsorted(reached, float(generator.uniform()) * reached[-1], side="right"))


class FromLastValue(Module):
    """Forecast how far the target moves away from its last known value: y_h = x_T + network(x - x_T)_h.

    A series drifts. A network that sees only differences is not misled by levels that training never showed. NLinear (Zeng et
    al. 2023) adds the same subtraction to a linear forecast. `column`: the target's place in x;
    `alone`: the network sees the target's own past only, not that of the other columns.
    """

    def __init__(self, network: SequenceNetwork, column: int, alone: bool) -> None:
        self.network, self.column, self.alone = network, column, alone

    def forward(self, x: Float[Tensor, "batch time columns"]) -> Float[Tensor, "batch horizon"]:
        return x[:, -1, self.column : self.column + 1] + self.network(self.seen(x))

    def seen(self, x: Float[Tensor, "batch time columns"]) -> Float[Tensor, "batch time inputs"]:
        """Return the network's input."""
        chosen = x[:, :, self.column : self.column + 1] if self.alone else x
        return chosen - chosen[:, -1:]


def forecast_loss(model: FromLastValue, past: Tensor, future: Tensor) -> tuple[Tensor, Tensor]:
    """Mean squared error of all forecast values, (batch, horizon, columns) as one row; and the forecasts."""
    outputs = model(past)
    return F.mse_loss(outputs, future.reshape(future.shape[0], -1)), outputs


def sequence_loss(model: SequenceNetwork, *batch: Tensor) -> tuple[Float[Tensor, ""], Tensor]:
    """Return the mean cross-entropy for integer targets, the mean squared error for others; and the outputs.

    The batch is (x, targets) or (x, lengths, targets). Every output counts equally: with readout "each", those at padded steps
    as well.
    """
    answers, targets = model(*batch[:-1]), batch[-1]
    if targets.dtype.kind == "f":
        return F.mse_loss(answers, targets), answers
    return F.cross_entropy(answers.reshape(-1, answers.shape[-1]), targets.reshape(-1)), answers
