"""The recurrent neural network: Elman's, where the state comes back, and Jordan's, where the output does.

Training by the project's loop is in recipe.py, the theory in page.md.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from nnatomy import init, ops, random
from nnatomy.backends import B
from nnatomy.errors import UserError, unknown_name
from nnatomy.graph import no_grad
from nnatomy.layers import Dropout, Embedding, Linear
from nnatomy.layers.module import Module
from nnatomy.layers.sequences import SequenceNetwork, check_readout, sequence_loss, sequence_mask
from nnatomy.tensor import Parameter, Tensor
from nnatomy.typing import Float, Int

FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {"tanh": ops.tanh, "relu": ops.relu}
FEEDBACK = ("state", "output")


def cell(a: Tensor, back: Tensor, W_hh: Tensor, b_hh: Tensor, nonlinearity: str = "tanh") -> Tensor:
    """One step: h_t = f(a_t + back W_hh^T + b_hh), from the sums a_t = x_t W_ih^T + b_ih of the input.

    `a`: (batch, hidden); `back`: what comes back, h_(t-1) (Elman 1990) or state units of the output (Jordan 1986).
    """
    return FUNCTIONS[nonlinearity](a + ops.linear(back, W_hh, b_hh))


def cut(state: Tensor, step: int, truncation: int | None) -> Tensor:
    """Return the state as step number `step` receives it: at each multiple of `truncation`, its value without its history.

    Source: Williams and Peng (1990), truncated backpropagation through time.
    """
    return state.detach() if truncation and step and step % truncation == 0 else state


class RNN(Module):
    """Layers of Elman's cells over a sequence, forwards or both ways; parameters are named and shaped as in torch.nn.RNN.

    Args:
        inputs, hidden, layers: numbers in a step, units in a state, cells on top of each other
        bidirectional: a second direction, from the end of each sequence to its start, in each layer
        nonlinearity: "tanh" or "relu"
        truncation: gradients stop at every such step, while the state goes on; None lets them reach the first step
        dropout: between layers only

    All weights start uniform in [-1/sqrt(hidden), 1/sqrt(hidden)], as PyTorch's do.

    Raises:
        UserError: for sizes or a truncation below 1, and for another nonlinearity
    """

    def __init__(
        self, inputs: int, hidden: int, layers: int = 1, bidirectional: bool = False, nonlinearity: str = "tanh",
        truncation: int | None = None, dropout: float = 0.0,
    ) -> None:  # fmt: skip
        _check(inputs, hidden, layers, nonlinearity, truncation)
        self.inputs, self.hidden, self.layers = inputs, hidden, layers
        self.nonlinearity, self.truncation = nonlinearity, truncation
        self.directions = ("", "_reverse") if bidirectional else ("",)
        self.dropout = Dropout(dropout)
        for layer in range(layers):
            width = inputs if layer == 0 else hidden * len(self.directions)
            for direction in self.directions:
                _make(self, f"_l{layer}{direction}", width, hidden, hidden)

    def forward(
        self, x: Float[Tensor, "batch time inputs"], lengths: Int[Tensor, " batch"] | None = None, state: Tensor | None = None
    ) -> tuple[Float[Tensor, "batch time width"], Tensor]:
        """Return the top layer's outputs, width = hidden times directions, and the state after the last step.

        Args:
            x: the sequences
            lengths: steps at and past a sequence's length leave its state as it is and give zeros; the backward direction
                starts at each sequence's own end
            state: where to start (zeros if None), as an earlier call returned it: (layers * directions, batch, hidden), in
                PyTorch's order: layer 0 forward, layer 0 backward, layer 1 ...
        """
        h = _begin(x, self.inputs, state, (self.layers * len(self.directions), x.shape[0], self.hidden))
        valid = sequence_mask(x, lengths)
        y = x.swapaxes(0, 1)  # (time, batch, ...): the steps are side by side in memory
        last: list[Tensor] = []
        for layer in range(self.layers):
            if layer > 0:
                y = self.dropout(y)
            outputs = []
            for direction in self.directions:
                states = self._unroll(y, valid, h[len(last)], f"_l{layer}{direction}")
                last.append(states[-1])
                outputs.append(ops.stack(list(reversed(states)) if direction else states))
            y = ops.concatenate(outputs, axis=-1) if len(outputs) > 1 else outputs[0]
            if valid is not None:
                y = ops.where(valid, y, 0.0)
        return y.swapaxes(0, 1), ops.stack(last)

    def _unroll(self, x: Tensor, valid: Any, h: Tensor, suffix: str) -> list[Tensor]:
        """The states of one layer in one direction, in the order in which they are taken. x: (time, batch, width)."""
        W_ih, W_hh, b_ih, b_hh = (vars(self)[name + suffix] for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))
        from_inputs = ops.unstack(ops.linear(x, W_ih, b_ih))  # one product for all steps; h W_hh^T needs the step before
        order = range(len(from_inputs))
        states = []
        for step, t in enumerate(reversed(order) if suffix.endswith("_reverse") else order):
            h = cut(h, step, self.truncation)
            new = cell(from_inputs[t], h, W_hh, b_hh, self.nonlinearity)
            h = new if valid is None else ops.where(valid[t], new, h)
            states.append(h)
        return states

    def trace(self, x: Float[Tensor, "batch time inputs"]) -> list[Tensor]:
        """The states of the first layer, forwards, (batch, hidden) after each step, for pictures."""
        h = _begin(x, self.inputs, None, (self.layers * len(self.directions), x.shape[0], self.hidden))[0]
        return self._unroll(x.swapaxes(0, 1), None, h, "_l0")


class Jordan(Module):
    """Jordan's cell over a sequence: state units c remember what the network has put out.

    c_t = decay c_(t-1) + y_(t-1)                c_0 = 0
    h_t = f(x_t W_ih^T + b_ih + c_t W_hh^T + b_hh)
    y_t = h_t W_o^T + b_o                        by the network's output layer

    Args:
        inputs, hidden, outputs: numbers in a step, hidden units, numbers in an output and so state units
        nonlinearity, truncation: as for `RNN`
        decay: how much of its value a state unit keeps, from 0 to below 1

    Source: Jordan (1986), where the output units squash; here they are linear, and the loss has the softmax.
    """

    directions = ("",)
    weight_ih_l0: Parameter
    weight_hh_l0: Parameter
    bias_ih_l0: Parameter
    bias_hh_l0: Parameter

    def __init__(
        self, inputs: int, hidden: int, outputs: int, nonlinearity: str = "tanh", truncation: int | None = None,
        decay: float = 0.0,
    ) -> None:  # fmt: skip
        _check(inputs, hidden, 1, nonlinearity, truncation)
        if not 0 <= decay < 1:
            raise UserError(f"State units keep a part from 0 to below 1 of their value. Received decay={decay}. Use decay=0.5.")
        self.inputs, self.outputs, self.decay = inputs, outputs, decay
        self.nonlinearity, self.truncation = nonlinearity, truncation
        _make(self, "_l0", inputs, outputs, hidden)

    def forward(
        self, x: Float[Tensor, "batch time inputs"], output: Linear, lengths: Tensor | None = None, state: Tensor | None = None
    ) -> tuple[Float[Tensor, "batch time outputs"], Float[Tensor, "batch outputs"], Tensor]:
        """Return the outputs, that of each sequence's last step, and the state units (batch, outputs) after it."""
        c = _begin(x, self.inputs, state, (x.shape[0], self.outputs))
        valid = sequence_mask(x, lengths)
        outputs, last = [], c
        for t, (_, y, new) in enumerate(self._unroll(x.swapaxes(0, 1), output, valid, c)):
            c = new
            last = y if valid is None else ops.where(valid[t], y, last)
            outputs.append(y)
        return ops.stack(outputs, axis=1), last, c

    def _unroll(self, x: Tensor, output: Linear, valid: Any, c: Tensor) -> list[tuple[Tensor, Tensor, Tensor]]:
        """The hidden units, outputs and next state units at each step. x: (time, batch, inputs)."""
        steps = []
        for t, a in enumerate(ops.unstack(ops.linear(x, self.weight_ih_l0, self.bias_ih_l0))):
            c = cut(c, t, self.truncation)
            h = cell(a, c, self.weight_hh_l0, self.bias_hh_l0, self.nonlinearity)
            y = output(h if valid is None else ops.where(valid[t], h, 0.0))
            new = self.decay * c + y
            c = new if valid is None else ops.where(valid[t], new, c)
            steps.append((h, y, c))
        return steps

    def trace(self, x: Float[Tensor, "batch time inputs"], output: Linear) -> list[Tensor]:
        """The hidden units (batch, hidden) after each step, for pictures."""
        c = _begin(x, self.inputs, None, (x.shape[0], self.outputs))
        return [h for h, _, _ in self._unroll(x.swapaxes(0, 1), output, None, c)]


class RNNNetwork(SequenceNetwork):
    """An RNN between its inputs (numbers, or tokens through an embedding) and a linear output layer.

    Args:
        rnn: the layers
        outputs: numbers in an output
        vocabulary: how many tokens there are, if the network reads tokens
        readout: "each" gives an output at every step; "last" one output, from the final states of the top layer
    """

    def __init__(self, rnn: RNN, outputs: int, vocabulary: int | None, readout: str) -> None:
        self.readout = check_readout(readout)
        self.embedding = None if vocabulary is None else Embedding(vocabulary, rnn.inputs)
        self.rnn = rnn
        self.output = Linear(rnn.hidden * len(rnn.directions), outputs)

    @property
    def recurrent(self) -> RNN:
        return self.rnn


class JordanNetwork(SequenceNetwork):
    """Jordan's cell, its output layer, and an embedding where it reads tokens; arguments as for `RNNNetwork`."""

    def __init__(self, rnn: Jordan, hidden: int, vocabulary: int | None, readout: str) -> None:
        self.readout = check_readout(readout)
        self.embedding = None if vocabulary is None else Embedding(vocabulary, rnn.inputs)
        self.rnn = rnn
        self.output = Linear(hidden, rnn.outputs)

    @property
    def recurrent(self) -> Jordan:
        return self.rnn

    def answer(
        self, seen: Float[Tensor, "batch time inputs"], lengths: Tensor | None = None, state: Tensor | None = None
    ) -> tuple[Float[Tensor, "batch *time outputs"], Tensor]:
        y, last, state = self.rnn(seen, self.output, lengths, state)
        return (last if self.readout == "last" else y), state


def build(
    inputs: int, hidden: int, outputs: int, layers: int = 1, bidirectional: bool = False, nonlinearity: str = "tanh",
    feedback: str = "state", decay: float = 0.0, truncation: int | None = None, dropout: float = 0.0,
    vocabulary: int | None = None, readout: str = "each",
) -> SequenceNetwork:  # fmt: skip
    """Return a network from plain values: Elman's, or Jordan's with feedback="output".

    Raises:
        UserError: for another feedback, for Jordan's in several layers or directions, and for a decay without it
    """
    if feedback not in FEEDBACK:
        raise unknown_name("feedback", feedback, FEEDBACK)
    if feedback == "state":
        if decay:
            raise UserError(f'Only the state units of feedback="output" decay. Received decay={decay}. Use decay=0.0.')
        return RNNNetwork(
            RNN(inputs, hidden, layers, bidirectional, nonlinearity, truncation, dropout), outputs, vocabulary, readout
        )
    if layers > 1 or bidirectional or dropout:
        raise UserError(
            f"Jordan's network has one layer, one direction and no dropout. Received layers={layers}, "
            f'bidirectional={bidirectional} and dropout={dropout}. Use feedback="state" for these.'
        )
    return JordanNetwork(Jordan(inputs, hidden, outputs, nonlinearity, truncation, decay), hidden, vocabulary, readout)


loss = sequence_loss


def start_identity(model: RNNNetwork, scale: float = 1.0) -> RNNNetwork:
    """Set W_hh = scale I and both biases 0, and draw W_ih from N(0, 0.001^2): the state starts as a running sum.

    Source: Le, Jaitly and Hinton (2015), section 3, for ReLU units: the IRNN.
    """
    return _start(
        model, lambda shape: scale * np.eye(shape[0], dtype=np.float32), lambda shape: random.default.normal(shape) * 1e-3
    )


def start_orthogonal(model: RNNNetwork) -> RNNNetwork:
    """Draw an orthogonal W_hh, set both biases 0 and draw W_ih by Glorot's law: W_hh changes no norm.

    Source: Saxe, McClelland and Ganguli (2014), for deep linear networks.
    """
    return _start(model, init.orthogonal, init.xavier_uniform)


def _start(model: RNNNetwork, for_states: Callable[..., Any], for_inputs: Callable[..., Any]) -> RNNNetwork:
    zeros: Callable[..., Any] = init.zeros
    rules = {"weight_hh": for_states, "weight_ih": for_inputs}
    with no_grad():
        for name, p in model.rnn.named_parameters():
            p.copy_(rules.get(name.rpartition("_l")[0], zeros)(p.shape))
    return model


def _check(inputs: int, hidden: int, layers: int, nonlinearity: str, truncation: int | None) -> None:
    if min(inputs, hidden, layers) < 1:
        raise UserError(
            f"An RNN needs at least 1 input, hidden unit and layer. Received {inputs}, {hidden} and {layers}. Use hidden=64."
        )
    if nonlinearity not in FUNCTIONS:
        raise unknown_name("nonlinearity", nonlinearity, tuple(FUNCTIONS))
    if truncation is not None and truncation < 1:
        raise UserError(f"Gradients pass at least 1 step. Received truncation={truncation}. Use truncation=32, or None.")


def _make(layer: Module, suffix: str, width: int, back: int, hidden: int) -> None:
    """Give the layer the parameters of one direction."""
    bound = 1 / math.sqrt(hidden)
    shapes = {"weight_ih": (hidden, width), "weight_hh": (hidden, back), "bias_ih": (hidden,), "bias_hh": (hidden,)}
    for name, shape in shapes.items():
        setattr(layer, name + suffix, Parameter(random.default.uniform(shape, -bound, bound)))


def _begin(x: Tensor, inputs: int, state: Tensor | None, shape: tuple[int, ...]) -> Tensor:
    """Return the first state: zeros, or the one that was given."""
    if len(x.shape) != 3 or x.shape[2] != inputs:
        raise UserError(
            f"This RNN reads sequences (batch, time, {inputs}). Received shape {x.shape}. Reshape them, or build another RNN."
        )
    if state is None:
        return Tensor(B.zeros(shape, dtype=x.dtype))
    if state.shape != shape:
        raise UserError(f"This RNN's state has shape {shape}. Received {state.shape}. Pass the state that a call returned.")
    return state
