"""The ONNX form of each function of the seam: the table FUNCTIONS. An emitter takes what the function takes.

`g` is the graph, `out` what the call gives (shape and dtype); the emitter returns the name of the result, or several names.
Functions that only gradients and training need are not in the table. For recurrent layers and indices see the files next to it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from nnatomy.errors import UserError
from nnatomy.interchange.onnx import indexing, recurrent
from nnatomy.interchange.onnx.batch import Value
from nnatomy.interchange.onnx.graph import Graph, Operand

Names = str | tuple[str, ...]
Emitter = Callable[..., Names]
Pairs = Sequence[tuple[int, int]]

# Element by element


def arithmetic(op: str) -> Emitter:
    """An operation on numbers of the dtype of its result."""
    return lambda g, out, *args: g.node(op, *(g.operand(a, out.dtype) for a in args))


def common(*args: Any) -> Any:
    """The dtype in which NumPy compares: that of the arrays, Python numbers fitting in."""
    kinds = [a.dtype if hasattr(a, "dtype") else a if isinstance(a, int | float) else 0 for a in args]
    return np.result_type(*kinds)


def comparison(op: str) -> Emitter:
    """An operation on numbers of one dtype that gives truth values."""

    def emit(g: Graph, out: Value, *args: Operand) -> str:
        dtype = common(*args)
        if dtype.kind == "b" and op != "Equal":
            dtype = np.dtype(np.int32)
        return g.node(op, *(g.operand(a, dtype) for a in args))

    return emit


def logic(op: str) -> Emitter:
    """An operation on truth values; numbers are true where they are not 0."""
    return lambda g, out, *args: g.node(op, *(g.operand(a, bool) for a in args))


def bits(op: str, of_bools: str) -> Emitter:
    """An operator on truth values, or on the bits of whole numbers."""
    return lambda g, out, *args: g.node(of_bools if out.dtype.kind == "b" else op, *(g.operand(a, out.dtype) for a in args))


def _equal(g: Graph, out: Value, a: Operand, b: Operand) -> str:
    return str(comparison("Equal")(g, out, a, b))


def not_equal(g: Graph, out: Value, a: Operand, b: Operand) -> str:
    return g.node("Not", _equal(g, out, a, b))


def square(g: Graph, out: Value, a: Operand) -> str:
    name = g.operand(a, out.dtype)
    return g.node("Mul", name, name)


def expm1(g: Graph, out: Value, a: Operand) -> str:
    return g.node("Sub", g.node("Exp", g.operand(a, out.dtype)), g.constant(1, out.dtype))


def log1p(g: Graph, out: Value, a: Operand) -> str:
    return g.node("Log", g.node("Add", g.operand(a, out.dtype), g.constant(1, out.dtype)))


def logarithm(base: float) -> Emitter:
    """A logarithm of another base than e."""
    return lambda g, out, a: g.node("Div", g.node("Log", g.operand(a, out.dtype)), g.constant(math.log(base), out.dtype))


def trunc(g: Graph, out: Value, a: Operand) -> str:
    """sign(a) floor(|a|)."""
    name = g.operand(a, out.dtype)
    return g.node("Mul", g.node("Sign", name), g.node("Floor", g.node("Abs", name)))


def logaddexp(g: Graph, out: Value, a: Operand, b: Operand) -> str:
    """max(a, b) + log(1 + e^-|a - b|)."""
    x, y = g.operand(a, out.dtype), g.operand(b, out.dtype)
    less = g.node("Neg", g.node("Abs", g.node("Sub", x, y)))
    return g.node("Add", g.node("Max", x, y), g.node("Log", g.node("Add", g.node("Exp", less), g.constant(1, out.dtype))))


def remainder(g: Graph, out: Value, a: Operand, b: Operand) -> str:
    """a - b floor(a / b), with the sign of b."""
    x, y = g.operand(a, out.dtype), g.operand(b, out.dtype)
    if out.dtype.kind in "iu":
        return g.node("Mod", x, y)
    return g.node("Sub", x, g.node("Mul", y, g.node("Floor", g.node("Div", x, y))))


def floor_divide(g: Graph, out: Value, a: Operand, b: Operand) -> str:
    x, y = g.operand(a, out.dtype), g.operand(b, out.dtype)
    if out.dtype.kind in "iu":  # ONNX divides toward 0
        return g.node("Div", g.node("Sub", x, g.node("Mod", x, y)), y)
    return g.node("Floor", g.node("Div", x, y))


def arctan2(g: Graph, out: Value, a: Operand, b: Operand) -> str:
    """The angle of (b, a): atan(a / b) to the right of the y axis, half a turn more or less to its left."""
    y, x, zero = g.operand(a, out.dtype), g.operand(b, out.dtype), g.constant(0, out.dtype)
    half = g.node("Where", g.node("Less", y, zero), g.constant(-math.pi, out.dtype), g.constant(math.pi, out.dtype))
    upright = g.node("Mul", g.node("Sign", y), g.constant(math.pi / 2, out.dtype))
    angle = g.node("Atan", g.node("Div", y, x))
    left = g.node("Where", g.node("Less", x, zero), g.node("Add", angle, half), angle)
    return g.node("Where", g.node("Equal", x, zero), upright, left)


def clip(g: Graph, out: Value, a: Operand, low: Any = None, high: Any = None) -> str:
    name = g.operand(a, out.dtype)
    name = name if low is None else g.node("Max", name, g.operand(low, out.dtype))
    return name if high is None else g.node("Min", name, g.operand(high, out.dtype))


def where(g: Graph, out: Value, condition: Operand, a: Operand, b: Operand) -> str:
    return g.node("Where", g.operand(condition, bool), g.operand(a, out.dtype), g.operand(b, out.dtype))


def of_float(op: str) -> Emitter:
    """A question about floating-point numbers."""
    return lambda g, out, a: g.node(op, g.operand(a, a.dtype))


def isfinite(g: Graph, out: Value, a: Value) -> str:
    name = g.operand(a, a.dtype)
    return g.node("Not", g.node("Or", g.node("IsNaN", name), g.node("IsInf", name)))


def converted(g: Graph, out: Value, a: Operand, dtype: Any = None, copy: Any = None) -> str:
    return g.operand(a, out.dtype)


# Along axes


def _axes(axis: Any, ndim: int) -> list[int]:
    axes = range(ndim) if axis is None else (axis,) if isinstance(axis, int) else axis
    return [a % ndim for a in axes]


def reduction(op: str, through: Any = None) -> Emitter:
    """A reduction over some axes, or all; truth values by way of whole numbers."""

    def emit(g: Graph, out: Value, a: Value, axis: Any = None, keepdims: bool = False) -> str:
        name, axes = g.operand(a, through or out.dtype), _axes(axis, a.ndim)
        if axes:
            name = g.node(op, name, g.ints(*axes), keepdims=int(keepdims))
        return g.cast(name, out.dtype) if through else name

    return emit


def position(op: str) -> Emitter:
    """The place of an extreme, the first of ties."""

    def emit(g: Graph, out: Value, a: Value, axis: int | None = None, keepdims: bool = False) -> str:
        name = g.operand(a, a.dtype)
        if axis is None:
            flat = g.node(op, g.node("Reshape", name, g.ints(-1)), axis=0, keepdims=0)
            return g.reshaped(flat, out.shape)
        return g.node(op, name, axis=axis % a.ndim, keepdims=int(keepdims))

    return emit


def cumsum(g: Graph, out: Value, a: Value, axis: int | None = None) -> str:
    if axis is None:
        return g.node("CumSum", g.node("Reshape", g.operand(a, out.dtype), g.ints(-1)), g.constant(0, np.int64))
    return g.node("CumSum", g.operand(a, out.dtype), g.constant(axis % a.ndim, np.int64))


def cumprod(g: Graph, out: Value, a: Value, axis: int) -> str:
    """ONNX has no running product: one product after the other."""
    axis %= a.ndim
    count = a.shape[axis]
    if not isinstance(count, int):
        raise UserError(
            "Export to ONNX has running products of a known length. Received one over the batch. Take it along another axis."
        )
    parts = list(g.nodes_of("Split", g.operand(a, out.dtype), axis=axis, num_outputs=count, outputs=count))
    for i in range(1, count):
        parts[i] = g.node("Mul", parts[i - 1], parts[i])
    return g.node("Concat", *parts, axis=axis)


def argsort(g: Graph, out: Value, a: Value, axis: int = -1, stable: bool = True) -> str:
    """All of the smallest, in order; ONNX puts the first of ties first."""
    axis %= a.ndim
    return g.nodes_of("TopK", g.operand(a, a.dtype), g.sizes(a.shape[axis : axis + 1]), axis=axis, largest=0, outputs=2)[1]


def softmax(op: str) -> Emitter:
    return lambda g, out, x, axis: g.node(op, g.operand(x, out.dtype), axis=axis % x.ndim)


# Rearranging


def reshape(g: Graph, out: Value, a: Value, shape: Any = None) -> str:
    return g.reshaped(g.operand(a, out.dtype), out.shape)


def transpose(g: Graph, out: Value, a: Value, axes: Sequence[int]) -> str:
    return g.node("Transpose", g.operand(a, out.dtype), perm=list(axes))


def moveaxis(g: Graph, out: Value, a: Value, source: int, destination: int) -> str:
    order = [i for i in range(a.ndim) if i != source % a.ndim]
    order.insert(destination % a.ndim, source % a.ndim)
    return transpose(g, out, a, order)


def broadcast_to(g: Graph, out: Value, a: Operand, shape: Any = None) -> str:
    return g.node("Expand", g.operand(a, out.dtype), g.sizes(out.shape))


def concatenate(g: Graph, out: Value, parts: Sequence[Operand], axis: int = 0) -> str:
    return g.node("Concat", *(g.operand(p, out.dtype) for p in parts), axis=axis % out.ndim)


def stack(g: Graph, out: Value, parts: Sequence[Operand], axis: int = 0) -> str:
    axis %= out.ndim
    return g.node("Concat", *(g.node("Unsqueeze", g.operand(p, out.dtype), g.ints(axis)) for p in parts), axis=axis)


def flip(g: Graph, out: Value, a: Value, axis: Any = None) -> str:
    axes = _axes(axis, a.ndim)
    count, beyond = len(axes), np.iinfo(np.int64).min
    steps = g.ints(*[-1] * count)
    return g.node("Slice", g.operand(a, out.dtype), steps, g.ints(*[beyond] * count), g.ints(*axes), steps)


def triangle(upper: int) -> Emitter:
    def emit(g: Graph, out: Value, a: Value, k: int = 0) -> str:
        return g.node("Trilu", g.operand(a, out.dtype), g.constant(k, np.int64), upper=upper)

    return emit


# Products


def matmul(g: Graph, out: Value, a: Operand, b: Operand) -> str:
    return g.node("MatMul", g.operand(a, out.dtype), g.operand(b, out.dtype))


def einsum(g: Graph, out: Value, formula: str, *operands: Operand, optimize: Any = None) -> str:
    return g.node("Einsum", *(g.operand(o, out.dtype) for o in operands), equation=formula)


def conv(
    g: Graph, out: Value, x: Value, w: Operand, *, stride: Sequence[int], padding: Pairs, dilation: Sequence[int], groups: int
) -> str:
    how = {"strides": list(stride), "pads": _pads(padding), "dilations": list(dilation), "group": groups}
    return g.node("Conv", g.operand(x, out.dtype), g.operand(w, out.dtype), **how)


def conv_input(
    g: Graph, out: Value, x: Value, w: Any, *, space: Sequence[int], stride: Sequence[int], padding: Pairs,
    dilation: Sequence[int], groups: int,
) -> str:  # fmt: skip
    """The transposed convolution; ONNX needs the number of places of `space` beyond its own default."""
    sizes = zip(x.shape[2:], stride, w.shape[2:], dilation, padding)
    plain = [(n - 1) * s + (k - 1) * d + 1 - sum(p) for n, s, k, d, p in sizes]  # type: ignore[operator]
    how = {
        "strides": list(stride), "pads": _pads(padding), "dilations": list(dilation), "group": groups,
        "output_padding": [n - m for n, m in zip(space, plain)],
    }  # fmt: skip
    return g.node("ConvTranspose", g.operand(x, out.dtype), g.operand(w, out.dtype), **how)


def _pads(padding: Pairs) -> list[int]:
    return [before for before, _ in padding] + [after for _, after in padding]


# Pooling


def max_pool(
    g: Graph, out: Value, x: Value, *, kernel: Sequence[int], stride: Sequence[int], padding: Pairs, dilation: Sequence[int]
) -> str:
    name, pads = g.operand(x, out.dtype), _pads(padding)
    if any(p >= k for p, k in zip(pads, [*kernel, *kernel])):  # more than ONNX Runtime accepts
        widths = g.ints(0, 0, *pads[: len(kernel)], 0, 0, *pads[len(kernel) :])
        name, pads = g.node("Pad", name, widths, g.constant(-math.inf, out.dtype)), [0] * len(pads)
    how = {"kernel_shape": list(kernel), "strides": list(stride), "pads": pads, "dilations": list(dilation)}
    return g.node("MaxPool", name, **how)


def sum_pool(g: Graph, out: Value, x: Value, *, kernel: Sequence[int], stride: Sequence[int], padding: Pairs) -> str:
    """The mean of each window, its padding counted, times the size of the window."""
    name, pads = g.operand(x, out.dtype), _pads(padding)
    if any(p >= k for p, k in zip(pads, [*kernel, *kernel])):
        name, pads = g.node("Pad", name, g.ints(0, 0, *pads[: len(kernel)], 0, 0, *pads[len(kernel) :])), [0] * len(pads)
    how = {"kernel_shape": list(kernel), "strides": list(stride), "pads": pads, "count_include_pad": 1}
    return g.node("Mul", g.node("AveragePool", name, **how), g.constant(math.prod(kernel), out.dtype))


# Normalization and attention


def layer_norm(g: Graph, out: Value, x: Value, weight: Any, bias: Any, *, eps: float) -> str:
    scale = g.constant(np.ones(x.shape[-1:], out.dtype)) if weight is None else g.operand(weight, out.dtype)
    shift = () if bias is None else (g.operand(bias, out.dtype),)
    return g.node("LayerNormalization", g.operand(x, out.dtype), scale, *shift, axis=-1, epsilon=eps)


def rms_norm(g: Graph, out: Value, x: Value, weight: Any, *, eps: float) -> str:
    name = g.operand(x, out.dtype)
    mean = g.node("ReduceMean", g.node("Mul", name, name), g.ints(-1), keepdims=1)
    y = g.node("Div", name, g.node("Sqrt", g.node("Add", mean, g.constant(eps, out.dtype))))
    return y if weight is None else g.node("Mul", y, g.operand(weight, out.dtype))


def batch_norm(g: Graph, out: Value, x: Value, weight: Any, bias: Any, *, eps: float) -> str:
    """With the moments of the batch itself, as a layer without running ones has them."""
    name, axes = g.operand(x, out.dtype), g.ints(0, *range(2, x.ndim))
    centered = g.node("Sub", name, g.node("ReduceMean", name, axes, keepdims=1))
    variance = g.node("ReduceMean", g.node("Mul", centered, centered), axes, keepdims=1)
    y = g.node("Div", centered, g.node("Sqrt", g.node("Add", variance, g.constant(eps, out.dtype))))
    for op, factor in (("Mul", weight), ("Add", bias)):
        if factor is not None:
            y = g.node(op, y, g.node("Reshape", g.operand(factor, out.dtype), g.ints(1, -1, *[1] * (x.ndim - 2))))
    return y


def attention(g: Graph, out: Value, q: Value, k: Value, v: Operand, *, causal: bool, scale: float) -> str:
    """softmax(scale q k^T) v; `causal` hides key j from query i where j > i."""
    order = [*range(k.ndim - 2), k.ndim - 1, k.ndim - 2]
    scores = g.node("MatMul", g.operand(q, out.dtype), g.node("Transpose", g.operand(k, out.dtype), perm=order))
    scores = g.node("Mul", scores, g.constant(scale, out.dtype))
    if causal:
        seen = np.arange(int(k.shape[-2])) <= np.arange(int(q.shape[-2]))[:, None]  # type: ignore[arg-type]
        scores = g.node("Where", g.constant(seen), scores, g.constant(-math.inf, out.dtype))
    return g.node("MatMul", g.node("Softmax", scores, axis=-1), g.operand(v, out.dtype))


FUNCTIONS: dict[str, Emitter] = {
    # arithmetic
    "add": arithmetic("Add"), "subtract": arithmetic("Sub"), "multiply": arithmetic("Mul"), "divide": arithmetic("Div"),
    "power": arithmetic("Pow"), "negative": arithmetic("Neg"), "abs": arithmetic("Abs"), "sign": arithmetic("Sign"),
    "maximum": arithmetic("Max"), "minimum": arithmetic("Min"), "square": square, "sqrt": arithmetic("Sqrt"),
    "remainder": remainder, "floor_divide": floor_divide, "clip": clip,
    "floor": arithmetic("Floor"), "ceil": arithmetic("Ceil"), "round": arithmetic("Round"), "trunc": trunc,
    # exponentials, trigonometry
    "exp": arithmetic("Exp"), "expm1": expm1, "log": arithmetic("Log"), "log1p": log1p, "log2": logarithm(2),
    "log10": logarithm(10), "logaddexp": logaddexp,
    "sigmoid": arithmetic("Sigmoid"), "erf": arithmetic("Erf"), "tanh": arithmetic("Tanh"), "sinh": arithmetic("Sinh"),
    "cosh": arithmetic("Cosh"), "arctanh": arithmetic("Atanh"), "sin": arithmetic("Sin"), "cos": arithmetic("Cos"),
    "tan": arithmetic("Tan"), "arcsin": arithmetic("Asin"), "arccos": arithmetic("Acos"), "arctan": arithmetic("Atan"),
    "arctan2": arctan2,
    # comparisons, choices, types
    "equal": comparison("Equal"), "not_equal": not_equal, "less": comparison("Less"), "greater": comparison("Greater"),
    "less_equal": comparison("LessOrEqual"), "greater_equal": comparison("GreaterOrEqual"),
    "logical_and": logic("And"), "logical_or": logic("Or"), "logical_xor": logic("Xor"), "logical_not": logic("Not"),
    "and": bits("BitwiseAnd", "And"), "or": bits("BitwiseOr", "Or"), "xor": bits("BitwiseXor", "Xor"),
    "bitwise_and": bits("BitwiseAnd", "And"), "bitwise_or": bits("BitwiseOr", "Or"),
    "bitwise_xor": bits("BitwiseXor", "Xor"), "bitwise_not": bits("BitwiseNot", "Not"), "invert": bits("BitwiseNot", "Not"),
    "isnan": of_float("IsNaN"), "isinf": of_float("IsInf"), "isfinite": isfinite,
    "where": where, "astype": converted, "asarray": converted, "array": converted,
    # along axes
    "sum": reduction("ReduceSum"), "prod": reduction("ReduceProd"), "max": reduction("ReduceMax"),
    "min": reduction("ReduceMin"), "any": reduction("ReduceMax", np.int32), "all": reduction("ReduceMin", np.int32),
    "argmax": position("ArgMax"), "argmin": position("ArgMin"), "argsort": argsort, "cumsum": cumsum, "cumprod": cumprod,
    "softmax": softmax("Softmax"), "log_softmax": softmax("LogSoftmax"),
    # rearranging, reading, writing
    "reshape": reshape, "transpose": transpose, "moveaxis": moveaxis, "broadcast_to": broadcast_to,
    "concatenate": concatenate, "stack": stack, "flip": flip, "tril": triangle(0), "triu": triangle(1),
    "getitem": indexing.getitem, "take_rows": indexing.take_rows, "index_put": indexing.index_put,
    "scatter_add": indexing.scatter_add, "add_rows": indexing.add_rows, "max_rows": indexing.max_rows,
    # products, pooling, normalization, attention, recurrence
    "matmul": matmul, "einsum": einsum, "det": arithmetic("Det"), "conv": conv, "conv_input": conv_input,
    "max_pool": max_pool, "sum_pool": sum_pool,
    "layer_norm": layer_norm, "rms_norm": rms_norm, "batch_norm": batch_norm, "attention": attention,
    "lstm_scan": recurrent.lstm_scan, "gru_scan": recurrent.gru_scan, "rnn_scan": recurrent.rnn_scan,
}  # fmt: skip
"""Each function that a forward pass may use, and its ONNX writer."""

