"""Recurrent cells, one step of each, and scans: all steps of a layer as one operation with one derivative.

`rnn_step`, `lstm_step` and `gru_step` are the equations. A scan is specified by its `_..._steps`, the same steps one after
another; these also serve where the gradient of a gradient is wanted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from nnatomy import graph
from nnatomy.backends import B
from nnatomy.backends.dtypes import is_floating
from nnatomy.errors import UserError
from nnatomy.ops import pointwise, shapes
from nnatomy.ops.linear import linear
from nnatomy.ops.primitive import primitive, through
from nnatomy.tensor import Tensor

# One step of each cell. x_gates is x W_ih^T + b_ih, computed for all steps in one call; h (and c) are the state before.


def rnn_step(x_gates: Any, h: Any, w_hh: Any, b_hh: Any, nonlinearity: str) -> Any:
    """h' = tanh(x W_ih^T + b_ih + h W_hh^T + b_hh) (Elman 1990), or relu in place of tanh."""
    a = x_gates + linear(h, w_hh, b_hh)
    return pointwise.tanh(a) if nonlinearity == "tanh" else pointwise.relu(a)


def lstm_step(x_gates: Any, h: Any, c: Any, w_hh: Any, b_hh: Any) -> tuple[Any, Any]:
    """Gates i, f, g, o: c' = f c + i g; h' = o tanh c' (Hochreiter and Schmidhuber 1997; f of Gers et al. 2000)."""
    gates = x_gates + linear(h, w_hh, b_hh)
    i, f, g, o = shapes.split(gates, gates.shape[-1] // 4, axis=-1)
    c = pointwise.sigmoid(f) * c + pointwise.sigmoid(i) * pointwise.tanh(g)
    return pointwise.sigmoid(o) * pointwise.tanh(c), c


def gru_step(x_gates: Any, h: Any, w_hh: Any, b_hh: Any, reset_after: bool = True) -> Any:
    """Reset r, update z, candidate n: h' = (1 - z) n + z h (Cho et al. 2014, eq. 5 to 8).

    n = tanh(x W_in^T + b_in + r (h W_hn^T + b_hn)) if `reset_after`, as in PyTorch, else, as in the paper,
    n = tanh(x W_in^T + b_in + (r h) W_hn^T + b_hn).
    """
    size = h.shape[-1]
    x_r, x_z, x_n = shapes.split(x_gates, size, axis=-1)
    if reset_after:
        h_r, h_z, h_n = shapes.split(linear(h, w_hh, b_hh), size, axis=-1)
        r, z = pointwise.sigmoid(x_r + h_r), pointwise.sigmoid(x_z + h_z)
        n = pointwise.tanh(x_n + r * h_n)
    else:
        w_rz, w_n = shapes.split(w_hh, [2 * size, size], axis=0)
        b_rz, b_n = (None, None) if b_hh is None else shapes.split(b_hh, [2 * size, size], axis=0)
        h_r, h_z = shapes.split(linear(h, w_rz, b_rz), size, axis=-1)
        r, z = pointwise.sigmoid(x_r + h_r), pointwise.sigmoid(x_z + h_z)
        n = pointwise.tanh(x_n + linear(r * h, w_n, b_n))
    return n + z * (h - n)


Step = Callable[[Any, tuple[Any, ...]], tuple[Any, ...]]


def run_steps(step: Step, x_gates: Any, state: tuple[Any, ...], axis: int, reverse: bool, live: Any = None) -> tuple[Any, ...]:
    """y and the last state of `step(x_gates at t, state)` along `axis`, from the end if `reverse`; y at t is the state's first.

    live[t] is a column (batch, 1) that says which sequences are still running, if not all are: where a sequence has ended,
    its state stays and its output is 0.
    """
    inputs = shapes.unstack(x_gates, axis=axis)
    outputs: list[Any] = [None] * len(inputs)
    for t in range(len(inputs))[::-1] if reverse else range(len(inputs)):
        after = step(inputs[t], state)
        if live is None:
            state = after
            outputs[t] = state[0]
        else:
            state = tuple(pointwise.where(live[t], new, old) for new, old in zip(after, state, strict=True))
            outputs[t] = pointwise.where(live[t], state[0], 0.0)
    return shapes.stack(outputs, axis=axis), *state


def _lstm_steps(x: Any, h0: Any, c0: Any, w_hh: Any, b_hh: Any, *, axis: int, reverse: bool, keep: bool) -> tuple[Any, ...]:
    return run_steps(lambda x_t, s: lstm_step(x_t, s[0], s[1], w_hh, b_hh), x, (h0, c0), axis, reverse)


def _gru_steps(x: Any, h0: Any, w_hh: Any, b_hh: Any, *, axis: int, reverse: bool, keep: bool) -> tuple[Any, ...]:
    return run_steps(lambda x_t, s: (gru_step(x_t, s[0], w_hh, b_hh),), x, (h0,), axis, reverse)


def _rnn_steps(x: Any, h0: Any, w_hh: Any, b_hh: Any, *, axis: int, reverse: bool, nonlinearity: str) -> tuple[Any, ...]:
    return run_steps(lambda x_t, s: (rnn_step(x_t, s[0], w_hh, b_hh, nonlinearity),), x, (h0,), axis, reverse)


def _differentiated(g: Sequence[Any], inputs: Sequence[Any]) -> bool:
    """Return True if the gradient is to be differentiated itself."""
    return any(isinstance(v, Tensor) for v in (*g, *inputs))


def _lstm_vjp(
    needs: Sequence[bool], g: Any, ys: Any, x: Any, h0: Any, c0: Any, w_hh: Any, b_hh: Any, *,
    axis: int, reverse: bool, keep: bool,
) -> Any:  # fmt: skip
    if _differentiated(g, inputs := (x, h0, c0, w_hh, b_hh)):
        return through(_lstm_steps, needs, g, inputs, axis=axis, reverse=reverse, keep=keep)
    y, _, _, gates, cells = ys
    return B.lstm_scan_vjp(*g, gates, cells, y, h0, c0, w_hh, axis=axis, reverse=reverse)


@primitive(joint=_lstm_vjp, saved=2)
def _lstm_scan(x: Any, h0: Any, c0: Any, w_hh: Any, b_hh: Any, *, axis: int, reverse: bool, keep: bool) -> Any:
    return B.lstm_scan(x, h0, c0, w_hh, b_hh, axis=axis, reverse=reverse, keep=keep)


def _gru_vjp(
    needs: Sequence[bool], g: Any, ys: Any, x: Any, h0: Any, w_hh: Any, b_hh: Any, *, axis: int, reverse: bool, keep: bool
) -> Any:
    if _differentiated(g, inputs := (x, h0, w_hh, b_hh)):
        return through(_gru_steps, needs, g, inputs, axis=axis, reverse=reverse, keep=keep)
    y, _, gates, inner = ys
    return B.gru_scan_vjp(*g, gates, inner, y, h0, w_hh, axis=axis, reverse=reverse)


@primitive(joint=_gru_vjp, saved=2)
def _gru_scan(x: Any, h0: Any, w_hh: Any, b_hh: Any, *, axis: int, reverse: bool, keep: bool) -> Any:
    return B.gru_scan(x, h0, w_hh, b_hh, axis=axis, reverse=reverse, keep=keep)


def _rnn_vjp(
    needs: Sequence[bool], g: Any, ys: Any, x: Any, h0: Any, w_hh: Any, b_hh: Any, *,
    axis: int, reverse: bool, nonlinearity: str,
) -> Any:  # fmt: skip
    how = {"axis": axis, "reverse": reverse, "nonlinearity": nonlinearity}
    if _differentiated(g, inputs := (x, h0, w_hh, b_hh)):
        return through(_rnn_steps, needs, g, inputs, **how)
    return B.rnn_scan_vjp(*g, ys[0], h0, w_hh, **how)


@primitive(joint=_rnn_vjp)
def _rnn_scan(x: Any, h0: Any, w_hh: Any, b_hh: Any, *, axis: int, reverse: bool, nonlinearity: str) -> Any:
    return B.rnn_scan(x, h0, w_hh, b_hh, axis=axis, reverse=reverse, nonlinearity=nonlinearity)


def lstm_scan(
    x_gates: Any, h0: Any, c0: Any, w_hh: Any, b_hh: Any = None, *, axis: int = 1, reverse: bool = False
) -> tuple[Any, Any, Any]:
    """`lstm_step` along time: y (batch, steps, hidden), the last h and the last c (batch, hidden).

    x_gates (batch, steps, 4 hidden) is x W_ih^T + b_ih, w_hh (4 hidden, hidden), b_hh (4 hidden); with `axis` 0, time is the
    first axis of x_gates and y. `reverse` starts at the last step. All sequences have all steps: for others see `run_steps`.
    """
    h0, c0 = _checked("lstm_scan", 4, x_gates, (h0, c0), w_hh, b_hh, axis)
    keep = _recorded(x_gates, h0, c0, w_hh, b_hh)
    return tuple(_lstm_scan(x_gates, h0, c0, w_hh, b_hh, axis=axis, reverse=reverse, keep=keep))


def gru_scan(x_gates: Any, h0: Any, w_hh: Any, b_hh: Any = None, *, axis: int = 1, reverse: bool = False) -> tuple[Any, Any]:
    """`gru_step` (reset after the product) along time: y (batch, steps, hidden) and the last h; arguments as `lstm_scan`'s."""
    (h0,) = _checked("gru_scan", 3, x_gates, (h0,), w_hh, b_hh, axis)
    keep = _recorded(x_gates, h0, w_hh, b_hh)
    return tuple(_gru_scan(x_gates, h0, w_hh, b_hh, axis=axis, reverse=reverse, keep=keep))


def rnn_scan(
    x_gates: Any, h0: Any, w_hh: Any, b_hh: Any = None, *, nonlinearity: str = "tanh", axis: int = 1, reverse: bool = False
) -> tuple[Any, Any]:
    """`rnn_step` along time: y (batch, steps, hidden) and the last h; arguments as `lstm_scan`'s."""
    (h0,) = _checked("rnn_scan", 1, x_gates, (h0,), w_hh, b_hh, axis)
    return tuple(_rnn_scan(x_gates, h0, w_hh, b_hh, axis=axis, reverse=reverse, nonlinearity=nonlinearity))


def _recorded(*args: Any) -> bool:
    """Return True if a gradient may be requested, so that gates must be kept."""
    return graph.is_grad_enabled() and any(isinstance(a, Tensor) and a.requires_grad for a in args)


def _checked(
    name: str, gates: int, x_gates: Any, states: tuple[Any, ...], w_hh: Any, b_hh: Any, axis: int
) -> tuple[Any, ...]:
    """The states, in x_gates' dtype if they were integers. Raises UserError for shapes that do not fit."""
    size = w_hh.shape[-1]
    if axis not in (0, 1) or len(x_gates.shape) != 3 or x_gates.shape[axis] == 0:
        raise UserError(f"{name}() needs x_gates of three axes, with at least one step on axis {axis} (0 or 1). "
                        f"Received shape {tuple(x_gates.shape)}. Reshape the gates to that.")  # fmt: skip
    expected: list[tuple[Any, tuple[int, ...]]] = [(s, (x_gates.shape[1 - axis], size)) for s in states]
    expected += [(x_gates, (*x_gates.shape[:2], gates * size)), (w_hh, (gates * size, size))]
    for value, shape in expected if b_hh is None else [*expected, (b_hh, (gates * size,))]:
        if tuple(value.shape) != shape:
            raise UserError(
                f"{name}() needs an array of shape {shape} here. Received shape {tuple(value.shape)}. "
                "Reshape it to that."
            )
    states = tuple(s if is_floating(s.dtype) else pointwise.astype(s, x_gates.dtype) for s in states)
    for value in (*states, w_hh):
        if value.dtype != x_gates.dtype:
            raise TypeError(
                f"{name} received arrays of {x_gates.dtype} and {value.dtype}. "
                "Convert one of them with .astype(): types are not promoted silently."
            )
    return states
