"""The recurrent scans on JAX: one lax.scan over time forward, one back. A part of jax_xla.py; recurrent_reference.py specifies.

Where nothing is traced, each scan is compiled as one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.nn import sigmoid

Array = Any


def compiled(*static: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """jax.jit with these options fixed; inside another trace the function is as if written there."""
    return lambda function: jax.jit(function, static_argnames=static, inline=True)


def _first(a: Array, axis: int) -> Array:
    """Time as the first axis, from an array where it is `axis`, or back to it: 0 and 1 exchange."""
    return jnp.swapaxes(a, 0, 1) if axis else a


def _kept(a: Array, axis: int, keep: bool) -> Array:
    return _first(a, axis) if keep else jnp.zeros((0,), a.dtype)


def _before(y: Array, h0: Array, reverse: bool) -> Array:
    """The state before each step of y (time, batch, size)."""
    return jnp.concatenate([y[1:], h0[None]] if reverse else [h0[None], y[:-1]])


def _product(d: Array, before: Array) -> Array:
    """The gradient of w_hh: the sum over steps and examples of d^T h."""
    return jnp.einsum("tbi,tbj->ij", d, before)


def _plus(a: Array, bias: Array | None) -> Array:
    return a if bias is None else a + bias


@compiled("axis", "reverse", "keep")
def lstm_scan(
    x_gates: Array, h0: Array, c0: Array, w_hh: Array, b_hh: Array | None, *, axis: int, reverse: bool, keep: bool
) -> tuple[Array, ...]:
    """Gates i, f, g, o = sigmoid, sigmoid, tanh, sigmoid of x_gates + W_hh h + b_hh; c' = f c + i g; h' = o tanh c'.

    Returns y, the last h, the last c, and for the gradient the gates and all c.
    """

    def step(state: tuple[Array, Array], x: Array) -> Any:
        h, c = state
        i, f, g, o = jnp.split(_plus(x + h @ w_hh.T, b_hh), 4, axis=-1)
        i, f, g, o = sigmoid(i), sigmoid(f), jnp.tanh(g), sigmoid(o)
        c = f * c + i * g
        h = o * jnp.tanh(c)
        return (h, c), (h, jnp.concatenate([i, f, g, o], axis=-1), c) if keep else (h,)

    (h, c), (y, *kept) = lax.scan(step, (h0, c0), _first(x_gates, axis), reverse=reverse)
    gates, cells = kept or (y, y)
    return _first(y, axis), h, c, _kept(gates, axis, keep), _kept(cells, axis, keep)


@compiled("axis", "reverse")
def lstm_scan_vjp(
    g_y: Array, g_h: Array, g_c: Array, gates: Array, cells: Array, y: Array, h0: Array, c0: Array, w_hh: Array, *,
    axis: int, reverse: bool,
) -> tuple[Array, ...]:  # fmt: skip
    """The gradients of x_gates, h0, c0, w_hh and b_hh, given those of y and of the last h and c."""
    g_y, gates, cells, y = (_first(a, axis) for a in (g_y, gates, cells, y))

    def step(slopes: tuple[Array, Array], at: tuple[Array, ...]) -> Any:
        (dh, dc), (g_out, gate, c, before) = slopes, at
        i, f, g, o = jnp.split(gate, 4, axis=-1)
        tanh_c = jnp.tanh(c)
        dh = dh + g_out
        dc = dc + dh * o * (1 - tanh_c * tanh_c)
        d = jnp.concatenate(
            [dc * g * i * (1 - i), dc * before * f * (1 - f), dc * i * (1 - g * g), dh * tanh_c * o * (1 - o)], axis=-1
        )
        return (d @ w_hh, dc * f), d

    at = (g_y, gates, cells, _before(cells, c0, reverse))
    (dh, dc), d = lax.scan(step, (g_h, g_c), at, reverse=not reverse)
    return _first(d, axis), dh, dc, _product(d, _before(y, h0, reverse)), d.sum((0, 1))


@compiled("axis", "reverse", "keep")
def gru_scan(
    x_gates: Array, h0: Array, w_hh: Array, b_hh: Array | None, *, axis: int, reverse: bool, keep: bool
) -> tuple[Array, ...]:
    """With a = W_hh h + b_hh: r, z = sigmoid(x + a), n = tanh(x + r a), each with its part of x and a; h' = n + z (h - n).

    Returns y, the last h, and for the gradient the gates and the candidate's part of a.
    """

    def step(h: Array, x: Array) -> Any:
        (x_r, x_z, x_n), (a_r, a_z, a_n) = jnp.split(x, 3, axis=-1), jnp.split(_plus(h @ w_hh.T, b_hh), 3, axis=-1)
        r, z = sigmoid(x_r + a_r), sigmoid(x_z + a_z)
        n = jnp.tanh(x_n + r * a_n)
        h = n + z * (h - n)
        return h, (h, jnp.concatenate([r, z, n], axis=-1), a_n) if keep else (h,)

    h, (y, *kept) = lax.scan(step, h0, _first(x_gates, axis), reverse=reverse)
    gates, inner = kept or (y, y)
    return _first(y, axis), h, _kept(gates, axis, keep), _kept(inner, axis, keep)


@compiled("axis", "reverse")
def gru_scan_vjp(
    g_y: Array, g_h: Array, gates: Array, inner: Array, y: Array, h0: Array, w_hh: Array, *, axis: int, reverse: bool
) -> tuple[Array, ...]:
    """The gradients of x_gates, h0, w_hh and b_hh, given those of y and of the last h."""
    g_y, gates, inner, y = (_first(a, axis) for a in (g_y, gates, inner, y))
    states = _before(y, h0, reverse)

    def step(dh: Array, at: tuple[Array, ...]) -> Any:
        g_out, gate, a_n, before = at
        r, z, n = jnp.split(gate, 3, axis=-1)
        dh = dh + g_out
        d_z = dh * (before - n) * z * (1 - z)
        d_n = dh * (1 - n * n) * (1 - z)
        d_r = d_n * a_n * r * (1 - r)
        d_a = jnp.concatenate([d_r, d_z, d_n * r], axis=-1)
        return dh * z + d_a @ w_hh, (jnp.concatenate([d_r, d_z, d_n], axis=-1), d_a)

    dh, (d, d_a) = lax.scan(step, g_h, (g_y, gates, inner, states), reverse=not reverse)
    return _first(d, axis), dh, _product(d_a, states), d_a.sum((0, 1))


@compiled("axis", "reverse", "nonlinearity")
def rnn_scan(
    x_gates: Array, h0: Array, w_hh: Array, b_hh: Array | None, *, axis: int, reverse: bool, nonlinearity: str
) -> tuple[Array, ...]:
    """h' = tanh(x_gates + W_hh h + b_hh), or relu. Returns y and the last h."""

    def step(h: Array, x: Array) -> Any:
        a = _plus(h @ w_hh.T + x, b_hh)
        h = jnp.tanh(a) if nonlinearity == "tanh" else jnp.maximum(a, 0)
        return h, h

    h, y = lax.scan(step, h0, _first(x_gates, axis), reverse=reverse)
    return _first(y, axis), h


@compiled("axis", "reverse", "nonlinearity")
def rnn_scan_vjp(
    g_y: Array, g_h: Array, y: Array, h0: Array, w_hh: Array, *, axis: int, reverse: bool, nonlinearity: str
) -> tuple[Array, ...]:
    """The gradients of x_gates, h0, w_hh and b_hh, given those of y and of the last h."""
    g_y, y = _first(g_y, axis), _first(y, axis)

    def step(dh: Array, at: tuple[Array, Array]) -> Any:
        g_out, h = at
        d = (dh + g_out) * ((1 - h * h) if nonlinearity == "tanh" else (h > 0))
        return d @ w_hh, d

    dh, d = lax.scan(step, g_h, (g_y, y), reverse=not reverse)
    return _first(d, axis), dh, _product(d, _before(y, h0, reverse)), d.sum((0, 1))
