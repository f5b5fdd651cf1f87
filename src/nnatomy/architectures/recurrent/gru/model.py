"""The GRU: a state that one gate keeps or replaces, and another hides from the candidate; its layers and directions.

Training by the project's loop is in recipe.py, the theory in page.md.
"""

from __future__ import annotations

import math
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


class Step(NamedTuple):
    """All that happens in a cell at one moment; each [batch, hidden]."""

    r: Tensor
    z: Tensor
    n: Tensor
    h: Tensor


def cell(a: Tensor, h: Tensor, W_hh: Tensor, b_hh: Tensor, reset_after: bool = True) -> Step:
    """One step of a GRU layer, from the sums a = x_t W_ih^T + b_ih of its input and the state h = h_{t-1}.

    r = sigmoid(a_r + h W_hr^T + b_hr)           what the candidate may see of the state
    z = sigmoid(a_z + h W_hz^T + b_hz)           what to keep
    n = tanh(a_n + r (h W_hn^T + b_hn))          the candidate, with `reset_after`
    n = tanh(a_n + (r h) W_hn^T + b_hn)          the candidate, without
    h' = (1 - z) n + z h                         the new state, and the output

    `a`: [batch, 3 hidden], and the rows of `W_hh` [3 hidden, hidden], in PyTorch's order r, z, n.
    Source: Cho et al. (2014), equations 5 to 8, which reset before the product.
    """
    a_r, a_z, a_n = ops.split(a, h.shape[-1], axis=-1)
    W_r, W_z, W_n = ops.split(W_hh, h.shape[-1], axis=0)
    b_r, b_z, b_n = ops.split(b_hh, h.shape[-1], axis=0)
    r = (a_r + ops.linear(h, W_r, b_r)).sigmoid()
    z = (a_z + ops.linear(h, W_z, b_z)).sigmoid()
    if reset_after:
        n = (a_n + r * ops.linear(h, W_n, b_n)).tanh()
    else:
        n = (a_n + ops.linear(r * h, W_n, b_n)).tanh()
    return Step(r, z, n, (1 - z) * n + z * h)


class GRU(Module):
    """Layers of GRU cells over a sequence, forwards or both ways; parameters are named and shaped as in torch.nn.GRU.

    Args:
        inputs, hidden, layers: numbers in a step, units in a state, cells on top of each other
        bidirectional: a second direction, from the end of each sequence to its start, in each layer
        reset_after: the reset gate acts after the product with W_hn (PyTorch, cuDNN), or before it (the paper)
        dropout: between layers only

    All weights start uniform in [-1/sqrt(hidden), 1/sqrt(hidden)], as PyTorch's do.

    Raises:
        UserError: for sizes below 1
    """

    def __init__(
        self, inputs: int, hidden: int, layers: int = 1, bidirectional: bool = False, reset_after: bool = True,
        dropout: float = 0.0,
    ) -> None:  # fmt: skip
        if min(inputs, hidden, layers) < 1:
            raise UserError(
                f"A GRU needs at least 1 input, hidden unit and layer. Received {inputs}, {hidden} and {layers}. Use hidden=64."
            )
        self.inputs, self.hidden, self.layers, self.reset_after = inputs, hidden, layers, reset_after
        self.directions = ("", "_reverse") if bidirectional else ("",)
        self.dropout = Dropout(dropout)
        bound = 1 / math.sqrt(hidden)
        for layer in range(layers):
            width = inputs if layer == 0 else hidden * len(self.directions)
            shapes: dict[str, tuple[int, ...]] = {
                "weight_ih": (3 * hidden, width),
                "weight_hh": (3 * hidden, hidden),
                "bias_ih": (3 * hidden,),
                "bias_hh": (3 * hidden,),
            }
            for direction in self.directions:
                for name, shape in shapes.items():
                    setattr(self, f"{name}_l{layer}{direction}", Parameter(random.default.uniform(shape, -bound, bound)))

    def forward(
        self, x: Float[Tensor, "batch time inputs"], lengths: Int[Tensor, " batch"] | None = None, state: Tensor | None = None
    ) -> tuple[Float[Tensor, "batch time width"], Tensor]:
        """Return the top layer's outputs, width = hidden times directions, and the state after the last step.

        Args:
            x: the sequences
            lengths: steps at and past a sequence's length leave its state as it is and give zeros; the backward direction
                starts at each sequence's own end
            state: where to start (zeros if None), as an earlier call returned it: [layers * directions, batch, hidden], in
                PyTorch's order: layer 0 forward, layer 0 backward, layer 1 ...
        """
        if len(x.shape) != 3 or x.shape[2] != self.inputs:
            raise UserError(
                f"This GRU reads sequences [batch, time, {self.inputs}]. Received shape {x.shape}. Reshape them, or build "
                "another GRU."
            )
        valid = sequence_mask(x, lengths)
        y = x.swapaxes(0, 1)  # [time, batch, ...]: the steps are side by side in memory
        h = self._begin(x, state)
        last: list[Tensor] = []
        for layer in range(self.layers):
            if layer > 0:
                y = self.dropout(y)
            outputs = []
            for direction in self.directions:
                steps = self._unroll(y, valid, h[len(last)], f"_l{layer}{direction}")
                last.append(steps[-1].h)
                outputs.append(ops.stack([step.h for step in (reversed(steps) if direction else steps)]))
            y = ops.concatenate(outputs, axis=-1) if len(outputs) > 1 else outputs[0]
            if valid is not None:
                y = ops.where(valid, y, 0.0)
        return y.swapaxes(0, 1), ops.stack(last)

    def _unroll(self, x: Tensor, valid: Any, h: Tensor, suffix: str) -> list[Step]:
        """The steps of one layer in one direction, in the order in which they are taken. x: [time, batch, width]."""
        W_ih, W_hh, b_ih, b_hh = (vars(self)[name + suffix] for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))
        from_inputs = ops.unstack(ops.linear(x, W_ih, b_ih))  # one product for all steps; h W_hh^T needs the step before
        order = range(len(from_inputs))
        steps = []
        for t in reversed(order) if suffix.endswith("_reverse") else order:
            step = cell(from_inputs[t], h, W_hh, b_hh, self.reset_after)
            if valid is not None:
                step = step._replace(h=ops.where(valid[t], step.h, h))
            steps.append(step)
            h = step.h
        return steps

    def _begin(self, x: Tensor, state: Tensor | None) -> Tensor:
        shape = (self.layers * len(self.directions), x.shape[0], self.hidden)
        if state is None:
            return Tensor(B.zeros(shape, dtype=x.dtype))
        if state.shape != shape:
            raise UserError(
                f"This GRU's state has shape {shape}: layers x directions, batch, hidden. Received {state.shape}. "
                "Pass the state that a call returned."
            )
        return state

    def trace(self, x: Float[Tensor, "batch time inputs"]) -> Step:
        """Gates, candidate and state of the first layer, forwards, at every step: each [time, batch, hidden], for pictures."""
        steps = self._unroll(x.swapaxes(0, 1), None, self._begin(x, None)[0], "_l0")
        return Step(*(ops.stack(list(part)) for part in zip(*steps, strict=True)))


class GRUNetwork(SequenceNetwork):
    """A GRU between its inputs (numbers, or tokens through an embedding) and a linear output layer.

    Args:
        inputs: numbers in a step, or with `vocabulary` the width of the embedding
        outputs: numbers in an output
        vocabulary: how many tokens there are, if the network reads tokens
        readout: "each" gives an output at every step; "last" one output, from the final states of the top layer
        hidden, layers, bidirectional, reset_after, dropout: as for `GRU`

    Raises:
        UserError: for sizes below 1 and for another readout
    """

    def __init__(
        self, inputs: int, hidden: int, outputs: int, layers: int = 1, bidirectional: bool = False, reset_after: bool = True,
        dropout: float = 0.0, vocabulary: int | None = None, readout: str = "each",
    ) -> None:  # fmt: skip
        self.readout = check_readout(readout)
        self.embedding = None if vocabulary is None else Embedding(vocabulary, inputs)
        self.gru = GRU(inputs, hidden, layers, bidirectional, reset_after, dropout)
        self.output = Linear(hidden * len(self.gru.directions), outputs)

    @property
    def recurrent(self) -> GRU:
        return self.gru


def build(
    inputs: int, hidden: int, outputs: int, layers: int = 1, bidirectional: bool = False, reset_after: bool = True,
    dropout: float = 0.0, vocabulary: int | None = None, readout: str = "each",
) -> GRUNetwork:  # fmt: skip
    """Return a network from plain values."""
    return GRUNetwork(inputs, hidden, outputs, layers, bidirectional, reset_after, dropout, vocabulary, readout)


loss = sequence_loss


def start_update(model: GRUNetwork, keep: float = 1.0) -> GRUNetwork:
    """Set bias_ih + bias_hh of all update gates to `keep`: a positive value keeps the state until the gate learns not to.

    Source: the LSTM's forget bias (Gers, Schmidhuber and Cummins 2000), for the gate of the GRU that keeps.
    """
    n = model.gru.hidden
    with no_grad():
        for name, p in model.gru.named_parameters():
            if name.startswith("bias_"):
                p[n : 2 * n] = keep if name.startswith("bias_ih") else 0.0
    return model
