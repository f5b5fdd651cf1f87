"""Recurrent cells, and layers that run them over sequences. Names, gates and their order are PyTorch's."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from nnatomy import functional as F
from nnatomy import init, ops
from nnatomy.backends import B
from nnatomy.errors import UserError
from nnatomy.layers import checks
from nnatomy.layers.module import Module
from nnatomy.ops import recurrent as scans
from nnatomy.random import Generator
from nnatomy.tensor import Parameter, Tensor

__all__ = ["GRU", "LSTM", "RNN", "GRUCell", "LSTMCell", "RNNCell"]

def _nonlinearity(layer: str, name: str) -> str:
    if name not in ("tanh", "relu"):
        raise UserError(f'{layer} needs nonlinearity "tanh" or "relu". Received {name!r}. Use nonlinearity="tanh".')
    return name


class _Cell(Module):
    """weight_ih (gates x hidden, input), weight_hh (gates x hidden, hidden), bias_ih, bias_hh, from U(+-1/sqrt(hidden))."""

    gates: int

    def _make(self, input_size: int, hidden_size: int, bias: bool, generator: Generator | None) -> None:
        checks.sizes(type(self).__name__, input_size=input_size, hidden_size=hidden_size)
        self.input_size, self.hidden_size = input_size, hidden_size
        bound, rows = 1 / math.sqrt(hidden_size), self.gates * hidden_size
        self.weight_ih = Parameter(init.uniform((rows, input_size), -bound, bound, generator))
        self.weight_hh = Parameter(init.uniform((rows, hidden_size), -bound, bound, generator))
        self.bias_ih = Parameter(init.uniform((rows,), -bound, bound, generator)) if bias else None
        self.bias_hh = Parameter(init.uniform((rows,), -bound, bound, generator)) if bias else None

    def _start(self, x: Any, *states: Any) -> tuple[Any, ...]:
        """x W_ih^T + b_ih, and the states, zeros where there are none."""
        name = type(self).__name__
        if len(x.shape) not in (1, 2):
            raise UserError(
                f"{name} takes (batch, {self.input_size}). Received shape {tuple(x.shape)}. "
                "Reshape the input, or build the cell for it."
            )
        checks.last_axis(name, x, self.input_size)
        expected = (*x.shape[:-1], self.hidden_size)
        for state in states:
            if state is not None and tuple(state.shape) != expected:
                raise UserError(
                    f"{name} takes states of shape {expected}. Received {tuple(state.shape)}. "
                    "Give such a state, or none."
                )
        zeros = B.zeros(expected, dtype=x.dtype)
        return ops.linear(x, self.weight_ih, self.bias_ih), *(zeros if s is None else s for s in states)


class RNNCell(_Cell):
    """h' = tanh(x W_ih^T + b_ih + h W_hh^T + b_hh), or with relu; x (batch, input), h (batch, hidden), zeros if None."""

    gates = 1

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool = True, nonlinearity: str = "tanh", *,
        generator: Generator | None = None,
    ) -> None:  # fmt: skip
        self.nonlinearity = _nonlinearity("RNNCell", nonlinearity)
        self._make(input_size, hidden_size, bias, generator)

    def forward(self, x: Any, h: Any = None) -> Any:
        gates, h = self._start(x, h)
        return scans.rnn_step(gates, h, self.weight_hh, self.bias_hh, self.nonlinearity)


class LSTMCell(_Cell):
    """c' = f c + i g, h' = o tanh c'; x (batch, input), state (h, c), each (batch, hidden). Rows of the weights: i, f, g, o."""

    gates = 4

    def __init__(self, input_size: int, hidden_size: int, bias: bool = True, *, generator: Generator | None = None) -> None:
        self._make(input_size, hidden_size, bias, generator)

    def forward(self, x: Any, state: tuple[Any, Any] | None = None) -> tuple[Any, Any]:
        gates, h, c = self._start(x, *((None, None) if state is None else state))
        return scans.lstm_step(gates, h, c, self.weight_hh, self.bias_hh)


class GRUCell(_Cell):
    """h' = (1 - z) n + z h; x (batch, input), h (batch, hidden). Rows of the weights: r, z, n.

    The reset gate acts after the product with W_hn, as in PyTorch, or before it, as in the paper, with `reset_after=False`.
    """

    gates = 3

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool = True, reset_after: bool = True, *,
        generator: Generator | None = None,
    ) -> None:  # fmt: skip
        self.reset_after = reset_after
        self._make(input_size, hidden_size, bias, generator)

    def forward(self, x: Any, h: Any = None) -> Any:
        gates, h = self._start(x, h)
        return scans.gru_step(gates, h, self.weight_hh, self.bias_hh, self.reset_after)


class _Recurrent(Module):
    """Runs a cell along sequences: `num_layers` on top of each other, each also from the end if `bidirectional`.

    Parameters weight_ih_l0, weight_hh_l0, bias_ih_l0, bias_hh_l0, then ..._l0_reverse, ..._l1 and so on, all from
    U(-1/sqrt(hidden), 1/sqrt(hidden)). A direction's states are a tuple of arrays (batch, hidden), the output first.
    """

    gates: int
    states: int  # how many arrays make a state
    biases_add = True  # whether bias_ih and bias_hh are only ever added to each other
    resting: tuple[float, ...]  # the sums of the gates at which a cell at zero stays there

    def _make(
        self, input_size: int, hidden_size: int, num_layers: int, bias: bool, batch_first: bool, dropout: float,
        bidirectional: bool, generator: Generator | None,
    ) -> None:  # fmt: skip
        name = type(self).__name__
        checks.sizes(name, input_size=input_size, hidden_size=hidden_size, num_layers=num_layers)
        checks.probability(name, dropout)
        if dropout > 0 and num_layers == 1:
            raise UserError(
                f"{name} drops between layers, so dropout needs num_layers above 1. Received dropout {dropout}. "
                "Use num_layers=2, or dropout=0.0."
            )
        self.input_size, self.hidden_size, self.num_layers, self.bias = input_size, hidden_size, num_layers, bias
        self.batch_first, self.dropout, self.bidirectional = batch_first, dropout, bidirectional
        self._generator = generator
        bound, rows = 1 / math.sqrt(hidden_size), self.gates * hidden_size
        for suffix in self._suffixes():
            inputs = input_size if suffix.startswith("_l0") else hidden_size * (1 + bidirectional)
            shapes = {"weight_ih": (rows, inputs), "weight_hh": (rows, hidden_size)}
            for kind, shape in (shapes | ({"bias_ih": (rows,), "bias_hh": (rows,)} if bias else {})).items():
                setattr(self, kind + suffix, Parameter(init.uniform(shape, -bound, bound, generator)))

    def _suffixes(self) -> list[str]:
        """The end of the parameters' names, for each layer and direction: "_l0", "_l0_reverse", "_l1", ..."""
        ways = ("", "_reverse") if self.bidirectional else ("",)
        return [f"_l{layer}{way}" for layer in range(self.num_layers) for way in ways]

    def _step(self, x_gates: Any, state: tuple[Any, ...], w_hh: Any, b_hh: Any) -> tuple[Any, ...]:
        """The state after one step."""
        raise NotImplementedError

    def _scan(
        self, x_gates: Any, state: tuple[Any, ...], w_hh: Any, b_hh: Any, axis: int, reverse: bool
    ) -> tuple[Any, ...]:
        """The outputs of all steps, as one operation, and the last state."""
        raise NotImplementedError

    def _steps(
        self, x_gates: Any, state: tuple[Any, ...], w_hh: Any, b_hh: Any, axis: int, reverse: bool, live: Any = None
    ) -> tuple[Any, ...]:
        """The same, step by step: for ragged sequences that continue others, and for cells without a scan."""
        return scans.run_steps(lambda x_t, s: self._step(x_t, s, w_hh, b_hh), x_gates, state, axis, reverse, live)

    def _run(self, x: Any, start: tuple[Any, ...] | None, lengths: Any) -> tuple[Any, tuple[Any, ...]]:
        """The outputs for x, and the last states, each (layers x directions, batch, hidden)."""
        name = type(self).__name__
        axis = 1 if self.batch_first else 0
        if len(x.shape) == 2:
            one = None if lengths is None else [lengths] if isinstance(lengths, int) else lengths
            lifted = None if start is None else tuple(ops.expand_dims(part, 1) for part in start)
            y, last = self._run(ops.expand_dims(x, 1 - axis), lifted, one)
            return ops.squeeze(y, 1 - axis), tuple(ops.squeeze(part, 1) for part in last)
        if len(x.shape) != 3:
            order = "(batch, steps" if self.batch_first else "(steps, batch"
            raise UserError(
                f"{name} takes {order}, {self.input_size}). Received shape {tuple(x.shape)}. "
                "Reshape the input, or build the layer for it."
            )
        checks.last_axis(name, x, self.input_size)
        steps, batch = x.shape[axis], x.shape[1 - axis]
        if steps == 0:
            raise UserError(
                f"{name} needs sequences of at least one step. Received shape {tuple(x.shape)}. "
                "Leave empty sequences out."
            )
        counts = None if lengths is None else _counts(name, lengths, steps, batch)
        suffixes = self._suffixes()
        first = self._first_states(start, len(suffixes), batch, x.dtype)
        finals: list[tuple[Any, ...]] = []
        for layer in range(self.num_layers):
            outputs: list[Any] = []
            for suffix in [s for s in suffixes if s.removesuffix("_reverse") == f"_l{layer}"]:
                y, state = self._direction(x, suffix, first[len(finals)], counts, start is None, axis)
                outputs.append(y)
                finals.append(state)
            x = outputs[0] if len(outputs) == 1 else ops.concatenate(outputs, axis=2)
            if layer < self.num_layers - 1:
                x = F.dropout(x, self.dropout, self.training, self._generator)
        return x, tuple(ops.stack(parts) for parts in zip(*finals))

    def _direction(
        self, x: Any, suffix: str, state: tuple[Any, ...], counts: Any, at_rest: bool, axis: int
    ) -> tuple[Any, tuple[Any, ...]]:
        """One layer in one direction. Where a sequence has ended, its state stays and its output is 0.

        A scan takes all steps of all sequences. Sequences that start at rest therefore have their padding first, where the cell
        stays at rest: the backward direction meets it first anyway, for the forward one they are moved to the end.
        """
        w_ih, w_hh = getattr(self, "weight_ih" + suffix), getattr(self, "weight_hh" + suffix)
        b_ih, b_hh = (getattr(self, kind + suffix, None) for kind in ("bias_ih", "bias_hh"))
        if b_ih is not None and b_hh is not None and self.biases_add:
            b_ih, b_hh = None, b_ih + b_hh  # the same gradient: it is summed over all steps once
        reverse = suffix.endswith("_reverse")
        if counts is None:
            y, *last = self._scan(ops.linear(x, w_ih, b_ih), state, w_hh, b_hh, axis, reverse)
            return y, tuple(last)
        steps = x.shape[axis]
        if not at_rest:
            live = [(counts > t)[:, None] for t in range(steps)]
            y, *last = self._steps(ops.linear(x, w_ih, b_ih), state, w_hh, b_hh, axis, reverse, live)
            return y, tuple(last)
        padding = steps - counts
        time = B.arange(steps)
        held = time[None, :] >= counts[:, None] if reverse else time[None, :] < padding[:, None]
        held = (held if axis == 1 else B.moveaxis(held, 0, 1))[:, :, None]
        if self.biases_add:
            b_ih, b_hh = b_hh, None  # so that the cell at rest sees no bias
        x_gates = ops.linear(x if reverse else _later(x, padding, axis), w_ih, b_ih)
        rest = B.asarray(np.repeat(self.resting, self.hidden_size), dtype=x_gates.dtype)
        y, *last = self._scan(ops.where(held, rest, x_gates), state, w_hh, b_hh, axis, reverse)
        return (y if reverse else _later(y, counts, axis)), tuple(last)

    def _first_states(self, start: tuple[Any, ...] | None, rows: int, batch: int, dtype: Any) -> list[tuple[Any, ...]]:
        """The state before the first step, for each layer and direction; zeros if none is given."""
        if start is None:
            zeros = B.zeros((batch, self.hidden_size), dtype=dtype)
            return [(zeros,) * self.states] * rows
        expected = (rows, batch, self.hidden_size)
        for part in start:
            if tuple(part.shape) != expected:
                raise UserError(
                    f"{type(self).__name__} takes an initial state of shape {expected}: layers x directions, batch, hidden. "
                    f"Received {tuple(part.shape)}. Give such a state, or none."
                )
        return list(zip(*(ops.unstack(part) for part in start)))


def _counts(name: str, lengths: Any, steps: int, batch: int) -> Any:
    """The lengths of the sequences as an array (batch)."""
    counts = lengths.data if isinstance(lengths, Tensor) else B.asarray(lengths)
    if tuple(counts.shape) != (batch,) or counts.dtype.kind not in "iu":
        raise UserError(
            f"{name} needs lengths to be {batch} integers, one for each sequence. "
            f"Received shape {tuple(counts.shape)} of {counts.dtype}. Give one integer for each sequence."
        )
    if isinstance(counts, np.ndarray) and batch and not (counts.min() >= 1 and counts.max() <= steps):
        raise UserError(
            f"{name} needs lengths from 1 to {steps}. Received {counts.min()} to {counts.max()}. "
            "Correct the lengths, or pad the sequences to the longest."
        )
    return counts


def _later(x: Any, by: Any, axis: int) -> Any:
    """Each sequence `by` steps later along the time `axis`; what leaves at the end comes in at the start."""
    steps, batch = x.shape[axis], x.shape[1 - axis]
    origin, row = (B.arange(steps)[None, :] - by[:, None]) % steps, B.arange(batch)[:, None]
    places = row * steps + origin if axis == 1 else B.moveaxis(origin * batch + row, 0, 1)
    return ops.embedding(ops.reshape(x, (steps * batch, x.shape[2])), places)


class RNN(_Recurrent):
    """h_t = tanh(x_t W_ih^T + b_ih + h_(t-1) W_hh^T + b_hh), or with relu (Elman 1990).

    x (steps, batch, input), or (batch, steps, input) with `batch_first`, or (steps, input) of one sequence; h0 (layers x
    directions, batch, hidden), zeros if None; `lengths` of ragged sequences, padded at the end. Returns y, x with directions x
    hidden on its last axis and 0 in the padding, and h after each sequence's last step.
    """

    gates, states = 1, 1
    resting = (0.0,)

    def __init__(
        self, input_size: int, hidden_size: int, num_layers: int = 1, nonlinearity: str = "tanh", bias: bool = True,
        batch_first: bool = False, dropout: float = 0.0, bidirectional: bool = False, *, generator: Generator | None = None,
    ) -> None:  # fmt: skip
        self.nonlinearity = _nonlinearity("RNN", nonlinearity)
        self._make(input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, generator)

    def _step(self, x_gates: Any, state: tuple[Any, ...], w_hh: Any, b_hh: Any) -> tuple[Any, ...]:
        return (scans.rnn_step(x_gates, state[0], w_hh, b_hh, self.nonlinearity),)

    def _scan(
        self, x_gates: Any, state: tuple[Any, ...], w_hh: Any, b_hh: Any, axis: int, reverse: bool
    ) -> tuple[Any, ...]:
        return scans.rnn_scan(
            x_gates, state[0], w_hh, b_hh, nonlinearity=self.nonlinearity, axis=axis, reverse=reverse
        )

    def forward(self, x: Any, h0: Any = None, lengths: Any = None) -> tuple[Any, Any]:
        y, (h,) = self._run(x, None if h0 is None else (h0,), lengths)
        return y, h


class LSTM(_Recurrent):
    """c_t = f c_(t-1) + i g, h_t = o tanh c_t (Hochreiter and Schmidhuber 1997; forget gate of Gers et al. 2000).

    x (steps, batch, input), or (batch, steps, input) with `batch_first`, or (steps, input) of one sequence; state (h0, c0),
    each (layers x directions, batch, hidden), zeros if None; `lengths` of ragged sequences, padded at the end. Returns y, x
    with directions x hidden on its last axis and 0 in the padding, and (h, c) after each sequence's last step.
    """

    gates, states = 4, 2
    resting = (0.0, 0.0, 0.0, 0.0)  # the candidate tanh(0) is 0

    def __init__(
        self, input_size: int, hidden_size: int, num_layers: int = 1, bias: bool = True, batch_first: bool = False,
        dropout: float = 0.0, bidirectional: bool = False, *, generator: Generator | None = None,
    ) -> None:  # fmt: skip
        self._make(input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, generator)

    def _step(self, x_gates: Any, state: tuple[Any, ...], w_hh: Any, b_hh: Any) -> tuple[Any, ...]:
        return scans.lstm_step(x_gates, state[0], state[1], w_hh, b_hh)

    def _scan(
        self, x_gates: Any, state: tuple[Any, ...], w_hh: Any, b_hh: Any, axis: int, reverse: bool
    ) -> tuple[Any, ...]:
        return scans.lstm_scan(x_gates, state[0], state[1], w_hh, b_hh, axis=axis, reverse=reverse)

    def forward(
        self, x: Any, state: tuple[Any, Any] | None = None, lengths: Any = None
    ) -> tuple[Any, tuple[Any, Any]]:
        y, (h, c) = self._run(x, state, lengths)
        return y, (h, c)


class GRU(_Recurrent):
    """h_t = (1 - z) n + z h_(t-1) (Cho et al. 2014).

    x (steps, batch, input), or (batch, steps, input) with `batch_first`, or (steps, input) of one sequence; h0 (layers x
    directions, batch, hidden), zeros if None; `lengths` of ragged sequences, padded at the end. Returns y, x with directions x
    hidden on its last axis and 0 in the padding, and h after each sequence's last step.
    `reset_after=False` resets the state before its product with W_hn, as the paper does; PyTorch resets the product.
    """

    gates, states, biases_add = 3, 1, False
    resting = (0.0, 1e4, 0.0)  # the update gate is 1

    def __init__(
        self, input_size: int, hidden_size: int, num_layers: int = 1, bias: bool = True, batch_first: bool = False,
        dropout: float = 0.0, bidirectional: bool = False, reset_after: bool = True, *, generator: Generator | None = None,
    ) -> None:  # fmt: skip
        self.reset_after = reset_after
        self._make(input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, generator)

    def _step(self, x_gates: Any, state: tuple[Any, ...], w_hh: Any, b_hh: Any) -> tuple[Any, ...]:
        return (scans.gru_step(x_gates, state[0], w_hh, b_hh, self.reset_after),)

    def _scan(
        self, x_gates: Any, state: tuple[Any, ...], w_hh: Any, b_hh: Any, axis: int, reverse: bool
    ) -> tuple[Any, ...]:
        if not self.reset_after:
            return self._steps(x_gates, state, w_hh, b_hh, axis, reverse)
        return scans.gru_scan(x_gates, state[0], w_hh, b_hh, axis=axis, reverse=reverse)

    def forward(self, x: Any, h0: Any = None, lengths: Any = None) -> tuple[Any, Any]:
        y, (h,) = self._run(x, None if h0 is None else (h0,), lengths)
        return y, h
