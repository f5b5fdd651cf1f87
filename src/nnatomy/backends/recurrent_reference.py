"""The reference of the recurrent scans: all steps of a layer in one call, and their gradients. A part of numpy_reference.py.

x_gates (batch, steps, gates x hidden), or (steps, batch, ...) with `axis` 0, where time is axis 1 or 0, is W_ih x + b_ih of
all steps. `reverse` runs from the last step to the first. w_hh (gates x hidden, hidden), b_hh (gates x hidden) or None, states
(batch, hidden). What is `keep`t for the gradient follows the results, with time on the same axis; without `keep` it is empty.

The steps work in place on one buffer: ops/recurrent.py has the equations step by step, which these are held to.
"""

from __future__ import annotations

from typing import Any

import numpy as np

Array = Any


def _in_order(a: Array, axis: int, reverse: bool) -> Array:
    """The view whose first axis is time, as the scan goes."""
    a = np.moveaxis(a, axis, 0)
    return a[::-1] if reverse else a


def _as_given(a: Array, axis: int, reverse: bool) -> Array:
    """The inverse view: from the scan's order of time to its own, on its own axis."""
    return np.moveaxis(a[::-1] if reverse else a, 0, axis)


def _kept(x: Array, width: int, keep: bool) -> Array:
    """Architecture for `width` values of each step and example, as the scan goes; for one step only if they are not kept."""
    steps, batch = x.shape[:2]
    return np.empty((steps if keep else 1, batch, width), x.dtype)


def _handed(a: Array, axis: int, reverse: bool, keep: bool) -> Array:
    return _as_given(a, axis, reverse) if keep else np.empty((0,), a.dtype)


def _product(g_gates: Array, y: Array, h0: Array, axis: int, reverse: bool) -> Array:
    """The gradient of w_hh: the sum over steps of g_gates[t]^T h[t-1], as one product."""
    before = np.empty_like(y)
    ordered = _in_order(before, axis, reverse)
    ordered[0] = h0
    ordered[1:] = _in_order(y, axis, reverse)[:-1]
    return g_gates.reshape(-1, g_gates.shape[-1]).T @ before.reshape(-1, h0.shape[-1])


def _row(size: int, dtype: Any, *values: float) -> Array:
    """Each value `size` times."""
    return np.repeat(np.array(values, dtype), size)


def lstm_scan(
    x_gates: Array, h0: Array, c0: Array, w_hh: Array, b_hh: Array | None, *, axis: int, reverse: bool, keep: bool
) -> tuple[Array, ...]:
    """Gates i, f, g, o = sigmoid, sigmoid, tanh, sigmoid of x_gates + W_hh h + b_hh; c' = f c + i g; h' = o tanh c'.

    Returns y, the last h, the last c, and for the gradient the gates and all c.
    """
    size = h0.shape[-1]
    x = _in_order(x_gates, axis, reverse)
    y = np.empty((*x_gates.shape[:2], size), x.dtype)
    outputs = _in_order(y, axis, reverse)
    gates, cells = _kept(x, 4 * size, keep), _kept(x, size, keep)
    # sigmoid(a) = tanh(a / 2) / 2 + 1 / 2: one tanh for all four gates
    scale, shift = _row(size, x.dtype, 0.5, 0.5, 1, 0.5), _row(size, x.dtype, 0.5, 0.5, 0, 0.5)
    h, c = h0, c0
    for t in range(len(x)):
        a, new = (gates[t], cells[t]) if keep else (gates[0], np.empty_like(c0))
        np.matmul(h, w_hh.T, out=a)
        a += x[t]
        if b_hh is not None:
            a += b_hh
        a *= scale
        np.tanh(a, out=a)
        a *= scale
        a += shift
        i, f, g, o = (a[:, k * size : (k + 1) * size] for k in range(4))
        np.multiply(f, c, out=new)
        new += i * g
        h, c = np.tanh(new), new
        h *= o
        outputs[t] = h
    return y, h, np.array(c), _handed(gates, axis, reverse, keep), _handed(cells, axis, reverse, keep)


def lstm_scan_vjp(
    g_y: Array, g_h: Array, g_c: Array, gates: Array, cells: Array, y: Array, h0: Array, c0: Array, w_hh: Array, *,
    axis: int, reverse: bool,
) -> tuple[Array, ...]:  # fmt: skip
    """The gradients of x_gates, h0, c0, w_hh and b_hh, given those of y and of the last h and c."""
    size = h0.shape[-1]
    g_gates = np.empty(gates.shape, gates.dtype)
    out, g_outputs, gates, cells = (_in_order(v, axis, reverse) for v in (g_gates, g_y, gates, cells))
    dh, dc = g_h, np.array(g_c)
    d = np.empty_like(gates[0])
    for t in range(len(gates))[::-1]:
        i, f, g, o = (gates[t, :, k * size : (k + 1) * size] for k in range(4))
        slope = 1 - gates[t]
        slope *= gates[t]
        np.subtract(1, g * g, out=slope[:, 2 * size : 3 * size])
        dh = dh + g_outputs[t]
        tanh_c = np.tanh(cells[t])
        np.multiply(dh, tanh_c, out=d[:, 3 * size :])
        tanh_c *= tanh_c
        np.subtract(1, tanh_c, out=tanh_c)
        tanh_c *= o
        tanh_c *= dh
        dc += tanh_c
        np.multiply(dc, g, out=d[:, :size])
        np.multiply(dc, cells[t - 1] if t else c0, out=d[:, size : 2 * size])
        np.multiply(dc, i, out=d[:, 2 * size : 3 * size])
        d *= slope
        dc *= f
        out[t] = d
        dh = d @ w_hh
    return g_gates, dh, dc, _product(g_gates, y, h0, axis, reverse), g_gates.sum((0, 1))


def gru_scan(
    x_gates: Array, h0: Array, w_hh: Array, b_hh: Array | None, *, axis: int, reverse: bool, keep: bool
) -> tuple[Array, ...]:
    """With a = W_hh h + b_hh: r, z = sigmoid(x + a), n = tanh(x + r a), each with its part of x and a; h' = n + z (h - n).

    Returns y, the last h, and for the gradient the gates and the candidate's part of a.
    """
    size = h0.shape[-1]
    x = _in_order(x_gates, axis, reverse)
    y = np.empty((*x_gates.shape[:2], size), x.dtype)
    outputs = _in_order(y, axis, reverse)
    gates, inner = _kept(x, 3 * size, keep), _kept(x, size, keep)
    h = h0
    for t in range(len(x)):
        a, a_n = (gates[t], inner[t]) if keep else (gates[0], inner[0])
        np.matmul(h, w_hh.T, out=a)
        if b_hh is not None:
            a += b_hh
        rz, n = a[:, : 2 * size], a[:, 2 * size :]
        a_n[...] = n
        rz += x[t, :, : 2 * size]
        rz *= 0.5  # sigmoid(a) = tanh(a / 2) / 2 + 1 / 2
        np.tanh(rz, out=rz)
        rz *= 0.5
        rz += 0.5
        n *= a[:, :size]
        n += x[t, :, 2 * size :]
        np.tanh(n, out=n)
        h = h - n
        h *= a[:, size : 2 * size]
        h += n
        outputs[t] = h
    return y, h, _handed(gates, axis, reverse, keep), _handed(inner, axis, reverse, keep)


def gru_scan_vjp(
    g_y: Array, g_h: Array, gates: Array, inner: Array, y: Array, h0: Array, w_hh: Array, *, axis: int, reverse: bool
) -> tuple[Array, ...]:
    """The gradients of x_gates, h0, w_hh and b_hh, given those of y and of the last h."""
    size = h0.shape[-1]
    g_gates, g_a = np.empty(gates.shape, gates.dtype), np.empty(gates.shape, gates.dtype)
    out, out_a, g_outputs, before, gates, inner = (_in_order(v, axis, reverse) for v in (g_gates, g_a, g_y, y, gates, inner))
    dh = g_h
    d = np.empty_like(gates[0])
    for t in range(len(gates))[::-1]:
        r, z, n = (gates[t, :, k * size : (k + 1) * size] for k in range(3))
        dh = dh + g_outputs[t]
        d_r, d_z, d_n = (d[:, k * size : (k + 1) * size] for k in range(3))
        np.subtract(before[t - 1] if t else h0, n, out=d_z)
        d_z *= dh
        np.subtract(1, n * n, out=d_n)
        d_n *= dh
        d_n *= 1 - z
        np.multiply(d_n, inner[t], out=d_r)
        slope = 1 - gates[t, :, : 2 * size]
        slope *= gates[t, :, : 2 * size]
        d[:, : 2 * size] *= slope
        out[t] = d
        d_n *= r
        out_a[t] = d
        dh = dh * z
        dh += d @ w_hh
    return g_gates, dh, _product(g_a, y, h0, axis, reverse), g_a.sum((0, 1))


def rnn_scan(
    x_gates: Array, h0: Array, w_hh: Array, b_hh: Array | None, *, axis: int, reverse: bool, nonlinearity: str
) -> tuple[Array, ...]:
    """h' = tanh(x_gates + W_hh h + b_hh), or relu. Returns y and the last h."""
    x = _in_order(x_gates, axis, reverse)
    y = np.empty(x_gates.shape, x.dtype)
    outputs = _in_order(y, axis, reverse)
    h = h0
    for t in range(len(x)):
        h = h @ w_hh.T
        h += x[t]
        if b_hh is not None:
            h += b_hh
        if nonlinearity == "tanh":
            np.tanh(h, out=h)
        else:
            np.maximum(h, 0, out=h)
        outputs[t] = h
    return y, h


def rnn_scan_vjp(
    g_y: Array, g_h: Array, y: Array, h0: Array, w_hh: Array, *, axis: int, reverse: bool, nonlinearity: str
) -> tuple[Array, ...]:
    """The gradients of x_gates, h0, w_hh and b_hh, given those of y and of the last h."""
    g_gates = np.empty(y.shape, y.dtype)
    out, g_outputs, outputs = (_in_order(v, axis, reverse) for v in (g_gates, g_y, y))
    dh = g_h
    for t in range(len(outputs))[::-1]:
        d = dh + g_outputs[t]
        if nonlinearity == "tanh":
            d *= 1 - outputs[t] * outputs[t]
        else:
            d *= outputs[t] > 0
        out[t] = d
        dh = d @ w_hh
    return g_gates, dh, _product(g_gates, y, h0, axis, reverse), g_gates.sum((0, 1))
