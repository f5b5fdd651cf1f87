"""The LSTM: a cell that is written, kept and read through gates; its layers and directions; and a network around it.

Training by the project's loop is in recipe.py, the theory in page.md.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from nnatomy import ops, random
from nnatomy.backends import B
from nnatomy.errors import UserError
from nnatomy.graph import no_grad
from nnatomy.layers import Dropout, Embedding, Linear
from nnatomy.layers.module import Module
from nnatomy.layers.sequences import SequenceNetwork, check_readout, sequence_loss, sequence_mask
from nnatomy.tensor import Parameter, Tensor
from nnatomy.typing import Float, Int

State = tuple[Tensor, Tensor]
"""(h, c), each [layers * directions, batch, hidden], in PyTorch's order: layer 0 forward, layer 0 backward, layer 1 ..."""


class Step(NamedTuple):
    """All that happens in a cell at one moment; each [batch, hidden]."""

    i: Tensor
    f: Tensor
    g: Tensor
    o: Tensor
    c: Tensor
    h: Tensor


def cell(a: Tensor, c: Tensor, peepholes: Sequence[Tensor] = ()) -> Step:
    """One step of an LSTM layer, from the sums a = x_t W_ih^T + b_ih + h_{t-1} W_hh^T + b_hh and the cell c = c_{t-1}.

    i = sigmoid(a_i + p_i c)      what to write        g = tanh(a_g)   the candidate
    f = sigmoid(a_f + p_f c)      what to keep         c' = f c + i g  the new cell
    o = sigmoid(a_o + p_o c')     what to show         h = o tanh(c')  the output

    `a`: [batch, 4 hidden], gates in PyTorch's order i, f, g, o. `peepholes`: (p_i, p_f, p_o), each [hidden], or nothing.
    Source: Hochreiter & Schmidhuber (1997); f: Gers, Schmidhuber & Cummins (2000); p: Gers & Schmidhuber (2000).
    """
    a_i, a_f, a_g, a_o = ops.split(a, c.shape[-1], axis=-1)
    if peepholes:
        a_i, a_f = a_i + peepholes[0] * c, a_f + peepholes[1] * c
    i, f, g = a_i.sigmoid(), a_f.sigmoid(), a_g.tanh()
    c = f * c + i * g
    if peepholes:
        a_o = a_o + peepholes[2] * c
    o = a_o.sigmoid()
    return Step(i, f, g, o, c, o * c.tanh())


class LSTM(Module):
    """Layers of LSTM cells over a sequence, forwards or both ways; parameters are named and shaped as in torch.nn.LSTM.

    All weights start uniform in [-1/sqrt(hidden), 1/sqrt(hidden)], as PyTorch's do. `dropout` acts between layers only.
    Raises UserError for sizes below 1.
    """

    def __init__(
        self, inputs: int, hidden: int, layers: int = 1, bidirectional: bool = False, peepholes: bool = False,
        dropout: float = 0.0,
    ) -> None:  # fmt: skip
        if min(inputs, hidden, layers) < 1:
            raise UserError(
                f"An LSTM needs at least 1 input, hidden unit and layer. Received {inputs}, {hidden} and {layers}. "
                "Use hidden=32."
            )
        self.inputs, self.hidden, self.layers = inputs, hidden, layers
        self.directions = ("", "_reverse") if bidirectional else ("",)
        self.dropout = Dropout(dropout)
        bound = 1 / math.sqrt(hidden)
        for layer in range(layers):
            width = inputs if layer == 0 else hidden * len(self.directions)
            shapes: dict[str, tuple[int, ...]] = {
                "weight_ih": (4 * hidden, width),
                "weight_hh": (4 * hidden, hidden),
                "bias_ih": (4 * hidden,),
                "bias_hh": (4 * hidden,),
            }
            if peepholes:
                shapes |= {"peephole_i": (hidden,), "peephole_f": (hidden,), "peephole_o": (hidden,)}
            for direction in self.directions:
                for name, shape in shapes.items():
                    setattr(self, f"{name}_l{layer}{direction}", Parameter(random.default.uniform(shape, -bound, bound)))

    def forward(
        self,
        x: Float[Tensor, "batch time inputs"],
        lengths: Int[Tensor, " batch"] | None = None,
        state: State | None = None,
    ) -> tuple[Float[Tensor, "batch time width"], State]:
        """The top layer's outputs, width = hidden times directions, and the state after the last step.

        `lengths`: steps at and past a sequence's length leave its state as it is and give zeros; the backward direction starts
        at each sequence's own end. `state`: where to start (zeros if None), as an earlier call returned it.
        """
        if len(x.shape) != 3 or x.shape[2] != self.inputs:
            raise UserError(
                f"This LSTM reads sequences [batch, time, {self.inputs}]. Received shape {x.shape}. Reshape or embed them."
            )
        valid = sequence_mask(x, lengths)
        y = x.swapaxes(0, 1)  # [time, batch, ...]: the steps are side by side in memory
        h, c = self._begin(x, state)
        hs: list[Tensor] = []
        cs: list[Tensor] = []
        for layer in range(self.layers):
            if layer > 0:
                y = self.dropout(y)
            outputs = []
            for direction in self.directions:
                k = len(hs)
                steps = self._unroll(y, valid, h[k], c[k], f"_l{layer}{direction}")
                hs.append(steps[-1].h)
                cs.append(steps[-1].c)
                outputs.append(ops.stack([step.h for step in (reversed(steps) if direction else steps)]))
            y = ops.concatenate(outputs, axis=-1) if len(outputs) > 1 else outputs[0]
            if valid is not None:
                y = ops.where(valid, y, 0.0)
        return y.swapaxes(0, 1), (ops.stack(hs), ops.stack(cs))

    def _unroll(self, x: Tensor, valid: Any, h: Tensor, c: Tensor, suffix: str) -> list[Step]:
        """The steps of one layer in one direction, in the order in which they are taken. x: [time, batch, width]."""
        weights = vars(self)
        W_ih, W_hh = weights["weight_ih" + suffix], weights["weight_hh" + suffix].T
        bias = weights["bias_ih" + suffix] + weights["bias_hh" + suffix]
        peepholes = [weights[f"peephole_{gate}{suffix}"] for gate in "ifo" if f"peephole_i{suffix}" in weights]
        from_inputs = ops.unstack(ops.linear(x, W_ih, bias))  # one product for all steps; h W_hh^T needs the step before
        order = range(len(from_inputs))
        steps = []
        for t in reversed(order) if suffix.endswith("_reverse") else order:
            step = cell(from_inputs[t] + h @ W_hh, c, peepholes)
            if valid is not None:
                step = step._replace(c=ops.where(valid[t], step.c, c), h=ops.where(valid[t], step.h, h))
            steps.append(step)
            h, c = step.h, step.c
        return steps

    def _begin(self, x: Tensor, state: State | None) -> State:
        shape = (self.layers * len(self.directions), x.shape[0], self.hidden)
        if state is None:
            zeros = Tensor(B.zeros(shape, dtype=x.dtype))
            return zeros, zeros
        if any(s.shape != shape for s in state):
            raise UserError(
                f"This LSTM's state is a pair (h, c) of shape {shape}. Received {[s.shape for s in state]}. "
                "Give the state that an earlier call returned for as many sequences."
            )
        return state

    def trace(self, x: Float[Tensor, "batch time inputs"]) -> Step:
        """Gates, cell and output of the first layer, forwards, at every step: each [time, batch, hidden], for pictures."""
        h, c = self._begin(x, None)
        steps = self._unroll(x.swapaxes(0, 1), None, h[0], c[0], "_l0")
        return Step(*(ops.stack(list(part)) for part in zip(*steps, strict=True)))


class LSTMNetwork(SequenceNetwork):
    """An LSTM between its inputs (numbers, or tokens through an embedding) and a linear output layer.

    `readout`: "each" gives an output at every step; "last" one output, from the final hidden states of the top layer, both
    directions side by side. `vocabulary`: with it the network reads tokens and `inputs` is the width of their embedding.
    Raises UserError for sizes below 1 and for another readout.
    """

    def __init__(
        self, inputs: int, hidden: int, outputs: int, layers: int = 1, bidirectional: bool = False, peepholes: bool = False,
        dropout: float = 0.0, vocabulary: int | None = None, readout: str = "each",
    ) -> None:  # fmt: skip
        self.readout = check_readout(readout)
        self.embedding = None if vocabulary is None else Embedding(vocabulary, inputs)
        self.lstm = LSTM(inputs, hidden, layers, bidirectional, peepholes, dropout)
        self.output = Linear(hidden * len(self.lstm.directions), outputs)

    @property
    def recurrent(self) -> LSTM:
        return self.lstm


def build(
    inputs: int, hidden: int, outputs: int, layers: int = 1, bidirectional: bool = False, peepholes: bool = False,
    dropout: float = 0.0, vocabulary: int | None = None, readout: str = "each",
) -> LSTMNetwork:  # fmt: skip
    """A network from plain values."""
    return LSTMNetwork(inputs, hidden, outputs, layers, bidirectional, peepholes, dropout, vocabulary, readout)


loss = sequence_loss


def start_gates(model: LSTMNetwork, forget: float = 1.0, write: float = 0.0) -> LSTMNetwork:
    """Set where gates are before learning: bias_ih + bias_hh is `forget` in the forget gates, `write` in the input gates.

    A positive `forget` keeps what a cell holds until the cell learns not to (Gers, Schmidhuber & Cummins 2000); the value 1 is
    from Jozefowicz, Zaremba & Sutskever (2015). A negative `write` keeps noise out of the cell until the gate learns what to
    let in (Hochreiter & Schmidhuber 1997, section 5.4, has -3 and -6).
    """
    n = model.lstm.hidden
    with no_grad():
        for name, p in model.lstm.named_parameters():
            if name.startswith("bias_"):
                p[:n], p[n : 2 * n] = (write, forget) if name.startswith("bias_ih") else (0.0, 0.0)
    return model
