"""Recurrent layers in ONNX: a Scan, whose body is one step of the cell, with the equations of ops/recurrent.py."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from nnatomy.interchange.onnx.batch import Follows, Value
from nnatomy.interchange.onnx.graph import Graph, Operand

Step = Callable[[Graph, str, list[str], str], list[str]]
"""step(body, W_ih x_t + b_ih, state, W_hh h + b_hh): the new state, the output first."""


def _scan(
    g: Graph, dtype: Any, x: Value, start: list[Any], w_hh: Any, b_hh: Any, axis: int, reverse: bool, step: Step
) -> tuple[str, ...]:
    """The outputs of all steps along `axis`, and the last state."""
    from onnx import TensorProto, helper

    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    assert kind in (TensorProto.FLOAT, TensorProto.DOUBLE)
    width, hidden = w_hh.shape
    weights = g.node("Transpose", g.operand(w_hh, dtype), perm=[1, 0])
    bias = None if b_hh is None else g.operand(b_hh, dtype)
    initial = [g.operand(s, dtype) for s in start]
    body = Graph(g)
    state, x_t = [body.fresh("state") for _ in start], body.fresh("step")
    product = body.node("MatMul", state[0], weights)
    after = step(body, x_t, state, product if bias is None else body.node("Add", product, bias))
    y_t = body.node("Identity", after[0])
    batch = x.shape[1 - axis]
    rows = str(batch) if isinstance(batch, Follows) else batch

    def described(name: str, columns: int) -> Any:
        return helper.make_tensor_value_info(name, kind, [rows, columns])

    inner = helper.make_graph(
        body.nodes, body.fresh("step"), [*(described(s, hidden) for s in state), described(x_t, width)],
        [*(described(s, hidden) for s in after), described(y_t, hidden)],
    )  # fmt: skip
    found = g.nodes_of(
        "Scan", *initial, g.operand(x, dtype), outputs=len(start) + 1, body=inner, num_scan_inputs=1, scan_input_axes=[axis],
        scan_output_axes=[axis], scan_input_directions=[int(reverse)], scan_output_directions=[int(reverse)],
    )  # fmt: skip
    return (found[-1], *found[:-1])


def _split(g: Graph, name: str, parts: int) -> tuple[str, ...]:
    return g.nodes_of("Split", name, axis=-1, num_outputs=parts, outputs=parts)


def lstm_scan(
    g: Graph, out: Value, x_gates: Value, h0: Operand, c0: Operand, w_hh: Value, b_hh: Any, *, axis: int, reverse: bool,
    keep: bool,
) -> tuple[str, ...]:  # fmt: skip
    def step(b: Graph, x_t: str, state: list[str], recurrent: str) -> list[str]:
        i, f, g_, o = _split(b, b.node("Add", x_t, recurrent), 4)
        kept = b.node("Mul", b.node("Sigmoid", f), state[1])
        c = b.node("Add", kept, b.node("Mul", b.node("Sigmoid", i), b.node("Tanh", g_)))
        return [b.node("Mul", b.node("Sigmoid", o), b.node("Tanh", c)), c]

    return _scan(g, out.dtype, x_gates, [h0, c0], w_hh, b_hh, axis, reverse, step)


def gru_scan(
    g: Graph, out: Value, x_gates: Value, h0: Operand, w_hh: Value, b_hh: Any, *, axis: int, reverse: bool, keep: bool
) -> tuple[str, ...]:
    def step(b: Graph, x_t: str, state: list[str], recurrent: str) -> list[str]:
        (x_r, x_z, x_n), (h_r, h_z, h_n) = _split(b, x_t, 3), _split(b, recurrent, 3)
        r, z = b.node("Sigmoid", b.node("Add", x_r, h_r)), b.node("Sigmoid", b.node("Add", x_z, h_z))
        n = b.node("Tanh", b.node("Add", x_n, b.node("Mul", r, h_n)))
        return [b.node("Add", n, b.node("Mul", z, b.node("Sub", state[0], n)))]

    return _scan(g, out.dtype, x_gates, [h0], w_hh, b_hh, axis, reverse, step)


def rnn_scan(
    g: Graph, out: Value, x_gates: Value, h0: Operand, w_hh: Value, b_hh: Any, *, axis: int, reverse: bool, nonlinearity: str
) -> tuple[str, ...]:
    def step(b: Graph, x_t: str, state: list[str], recurrent: str) -> list[str]:
        return [b.node("Tanh" if nonlinearity == "tanh" else "Relu", b.node("Add", x_t, recurrent))]

    return _scan(g, out.dtype, x_gates, [h0], w_hh, b_hh, axis, reverse, step)
