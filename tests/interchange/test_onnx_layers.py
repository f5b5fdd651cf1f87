"""Every layer that works in evaluation mode is exported, and ONNX Runtime computes the same outputs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import nnatomy as nn
from nnatomy import layers as L
from nnatomy import ops

pytestmark = pytest.mark.any_kernels
pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

Array = np.ndarray[Any, Any]
RNG = np.random.default_rng(4)


def x(*shape: int) -> Array:
    return RNG.normal(size=shape).astype(np.float32)


def ids(*shape: int) -> Array:
    return RNG.integers(0, 7, shape)


class Called(L.Module):
    """A function of a layer's arguments, for what a layer's own call does not reach."""

    def __init__(self, function: Callable[..., Any], *layers: Any) -> None:
        self.function, self.layers = function, list(layers)

    def forward(self, *inputs: Any) -> Any:
        return self.function(*self.layers, *inputs)


def moved(layer: Any, *inputs: Array) -> Any:
    """The layer after a training pass, so that running moments differ from 0 and 1."""
    layer.train()
    layer(*map(nn.Tensor, inputs))
    return layer


SPACE = {1: (9,), 2: (7, 6), 3: (5, 4, 6)}
LAYERS: list[tuple[str, Callable[[], Any], list[Array]]] = [
    ("linear", lambda: L.Linear(5, 3), [x(4, 5)]),
    ("linear, many axes", lambda: L.Linear(5, 3, bias=False), [x(2, 3, 4, 5)]),
    ("bilinear", lambda: L.Bilinear(5, 3, 2), [x(4, 5), x(4, 3)]),
    ("flatten, unflatten", lambda: L.Sequential(L.Flatten(), L.Unflatten(1, (2, 6))), [x(3, 4, 3)]),
    ("embedding", lambda: L.Embedding(7, 3, padding_idx=2), [ids(4, 5)]),
    ("embedding, norm held", lambda: L.Embedding(7, 3, max_norm=1.0), [ids(4, 5)]),
    *[
        (f"conv{n}d {how}", lambda n=n, how=how: getattr(L, f"Conv{n}d")(4, 6, 3, **how), [x(3, 4, *SPACE[n])])
        for n in SPACE
        for how in (
            {}, {"stride": 2, "padding": 1}, {"dilation": 2, "bias": False, "padding": 2}, {"groups": 2, "padding": "same"},
            {"padding": 2, "padding_mode": "reflect"}, {"padding": 1, "padding_mode": "circular"},
        )
    ],
    *[
        (f"conv transpose{n}d {how}", lambda n=n, how=how: getattr(L, f"ConvTranspose{n}d")(4, 6, 3, **how),
         [x(2, 4, *SPACE[n])])
        for n in SPACE
        for how in ({}, {"stride": 2, "padding": 1, "output_padding": 1}, {"dilation": 2, "bias": False}, {"groups": 2})
    ],
    *[
        (f"{kind} pool{n}d {how}", lambda n=n, kind=kind, how=how: getattr(L, f"{kind}Pool{n}d")(3, **how),
         [x(2, 4, *SPACE[n])])
        for n in SPACE
        for kind in ("Max", "Avg")
        for how in ({}, {"stride": 2, "padding": 1}, {"ceil_mode": True, "stride": 2, "padding": 1})
    ],
    ("max pool, dilated", lambda: L.MaxPool2d(3, 2, ceil_mode=True, dilation=2), [x(2, 4, 8, 7)]),
    ("avg pool, padding not counted", lambda: L.AvgPool2d(3, 2, 1, count_include_pad=False), [x(2, 4, 7, 6)]),
    *[
        (f"adaptive {kind} pool to {size}", lambda kind=kind, size=size: getattr(L, f"Adaptive{kind}Pool2d")(size),
         [x(2, 4, 7, 6)])
        for kind in ("Max", "Avg")
        for size in (1, 3, 4)
    ],
    *[
        (f"upsample {mode}", lambda mode=mode: L.Upsample(scale_factor=1.5, mode=mode), [x(2, 3, 5, 4)])
        for mode in ("nearest", "bilinear")
    ],
    *[
        (f"batch norm{n}d", lambda n=n: moved(getattr(L, f"BatchNorm{n}d")(4), x(5, 4, *SPACE[n])), [x(3, 4, *SPACE[n])])
        for n in SPACE
    ],
    ("batch norm of its own batch", lambda: L.BatchNorm1d(4, track_running_stats=False), [x(5, 4, 3)]),
    ("instance norm", lambda: L.InstanceNorm2d(4, affine=True), [x(2, 4, 7, 6)]),
    ("layer norm", lambda: L.LayerNorm(5), [x(4, 3, 5)]),
    ("layer norm of two axes", lambda: L.LayerNorm((3, 5), elementwise_affine=False), [x(4, 3, 5)]),
    ("rms norm", lambda: L.RMSNorm(5), [x(4, 3, 5)]),
    ("group norm", lambda: L.GroupNorm(2, 4), [x(2, 4, 3, 5)]),
    ("local response norm", lambda: L.LocalResponseNorm(3, alpha=0.5), [x(2, 4, 3, 5)]),
    *[(name, lambda name=name: getattr(L, name)(), [x(3, 4, 6) * 3]) for name in (
        "CELU", "ELU", "GELU", "GLU", "Hardshrink", "Hardsigmoid", "Hardswish", "Hardtanh", "LeakyReLU", "LogSigmoid", "Mish",
        "PReLU", "ReLU", "ReLU6", "SELU", "SiLU", "Sigmoid", "Softplus", "Softshrink", "Softsign", "Tanh", "Tanhshrink",
    )],
    ("GELU by tanh", lambda: L.GELU("tanh"), [x(3, 4)]),
    ("softmax, log softmax", lambda: L.Sequential(L.Softmax(1), L.LogSoftmax(-1)), [x(3, 4, 5)]),
    ("softmin over the batch", lambda: L.Softmin(0), [x(3, 4)]),
    *[
        (f"{kind} {how}", lambda kind=kind, how=how: getattr(L, kind)(4, 6, batch_first=True, **how), [x(3, 5, 4)])
        for kind in ("RNN", "GRU", "LSTM")
        for how in ({}, {"num_layers": 2, "bidirectional": True}, {"bias": False})
    ],
    ("RNN of relu", lambda: L.RNN(4, 6, nonlinearity="relu", batch_first=True), [x(3, 5, 4)]),
    ("GRU as in the paper", lambda: L.GRU(4, 6, reset_after=False, batch_first=True), [x(3, 5, 4)]),
    *[
        (f"{kind} of ragged sequences", lambda kind=kind: Called(lambda layer, x, n: layer(x, None, n),
         getattr(L, kind)(4, 6, bidirectional=True, batch_first=True)), [x(3, 5, 4), np.array([5, 2, 3])])
        for kind in ("RNN", "GRU", "LSTM")
    ],
    ("cells", lambda: Called(lambda a, b, c, x: (a(x), *b(x), c(x)), L.RNNCell(4, 6), L.LSTMCell(4, 6), L.GRUCell(4, 6)),
     [x(3, 4)]),
    ("attention and its weights", lambda: L.MultiheadAttention(8, 2, batch_first=True), [x(3, 5, 8), x(3, 4, 8), x(3, 4, 8)]),
    ("attention, causal", lambda: Called(lambda m, q: m(q, q, q, need_weights=False, is_causal=True)[0],
     L.MultiheadAttention(8, 2, batch_first=True)), [x(3, 5, 8)]),
    ("attention, padding hidden", lambda: Called(lambda m, q, hidden: m(q, q, q, hidden, need_weights=False)[0],
     L.MultiheadAttention(8, 2, batch_first=True)),
     [x(3, 5, 8), np.array([[False] * 5, [False] * 3 + [True] * 2, [True] * 5])]),
    ("transformer encoder", lambda: L.TransformerEncoder(L.TransformerEncoderLayer(8, 2, 16, activation="gelu"), 2),
     [x(3, 5, 8)]),
    ("transformer encoder, norm first", lambda: L.TransformerEncoderLayer(8, 2, 16, norm_first=True, batch_first=True),
     [x(3, 5, 8)]),
    ("transformer decoder", lambda: L.TransformerDecoderLayer(8, 2, 16, batch_first=True), [x(3, 5, 8), x(3, 4, 8)]),
    ("positions", lambda: L.SinusoidalPositionalEncoding(6), [x(3, 5, 6)]),
    ("basic block", lambda: L.BasicBlock(4, 4), [x(2, 4, 6, 6)]),
    ("bottleneck", lambda: L.Bottleneck(8, 2), [x(2, 8, 6, 6)]),
    ("depthwise separable", lambda: L.DepthwiseSeparable(4, 6, 2), [x(2, 4, 6, 6)]),
    ("inverted residual", lambda: L.InvertedResidual(4, 4, 1, 3), [x(2, 4, 6, 6)]),
    ("squeeze and excitation", lambda: L.SqueezeExcitation(4, 2), [x(2, 4, 6, 6)]),
    ("dropout, which is not there any more", lambda: L.Dropout(0.5), [x(4, 5)]),
]  # fmt: skip

FUNCTIONS: list[tuple[str, Callable[..., Any], list[Array]]] = [
    *[(name, getattr(ops, name), [np.abs(x(3, 4)) + 1.1]) for name in (
        "abs", "square", "sqrt", "reciprocal", "rsqrt", "exp", "expm1", "log", "log1p", "log2", "log10", "trunc", "exp2",
        "sigmoid", "softplus",
        "erf",
        "sin", "cos", "tan", "arctan", "sinh", "cosh", "tanh", "sign", "floor", "ceil", "round", "negative", "isnan", "isinf",
        "isfinite",
    )],
    *[(name, getattr(ops, name), [np.tanh(x(3, 4))]) for name in ("arcsin", "arccos", "arctanh")],
    *[(name, getattr(ops, name), [x(3, 4), x(3, 4)]) for name in (
        "add", "subtract", "multiply", "divide", "remainder", "floor_divide", "maximum", "minimum", "logaddexp", "arctan2",
        "equal", "not_equal", "less", "less_equal", "greater", "greater_equal",
    )],
    ("power", lambda a: ops.power(ops.abs(a), 1.5), [x(3, 4)]),
    ("whole numbers", lambda a, b: (a % 3, a // -3, a * b, a > b, *map(nn.Tensor, (a.data & b.data, a.data | b.data,
     a.data ^ b.data, ~a.data, (a.data > 0) ^ (b.data > 3)))), [ids(3, 4) - 3, ids(3, 4)]),
    ("truth values", lambda a, b: (ops.logical_and(a > 0, b), ops.logical_or(a > 0, b), ops.logical_xor(a > 0, b), ~(a > 0),
     ops.logical_not(a), (a > 0) & (b > 0), (a > 0) | (b > 0), (a > 0) ^ (b > 0)), [x(3, 4), ids(3, 4)]),
    ("bits", lambda a, b: (a & b, a | b, a ^ b, ~a), [ids(3, 4), ids(3, 4)]),
    ("largest of segments", lambda a: ops.segment_max(ops.transpose(a), np.array([1, 0, 1, 0]), 2).T, [x(3, 4)]),
    ("clip", lambda a: (ops.clip(a, -0.5, 0.2), ops.clip(a, low=0.0), ops.clip(a, high=0.1)), [x(3, 4)]),
    ("where", lambda a, b: (ops.where(a > 0, a, b), ops.where(a > 0, 1.0, a)), [x(3, 4), x(3, 4)]),
    ("types", lambda a: (a.astype("int64"), a.astype("bool"), a.astype("int32").astype("float32"),
     nn.Tensor(nn.backends.B.asarray(a.data, dtype="int64"))), [x(3, 4) * 3]),
    ("reductions", lambda a: (ops.sum(a), ops.mean(a, 0), ops.prod(a, (1, 2)), ops.max(a, axis=-1, keepdims=True), ops.min(a),
     ops.var(a, 1), ops.std(a, 1), ops.norm(a, 1), ops.logsumexp(a, -1)), [x(3, 4, 5)]),
    ("any, all", lambda a: (ops.any(a > 1, 1), ops.all(a > -1), ops.sum(a > 0, 0)), [x(3, 4)]),
    ("places", lambda a: (ops.argmax(a, 1), ops.argmin(a, -1, keepdims=True), ops.argmax(a), ops.argmax(a * 0, 1)),
     [x(3, 4, 5)]),
    ("order", lambda a: (*ops.sort(a, 1), *ops.topk(a, 2), ops.argsort(a * 0, 1), ops.median(a, axis=-1)), [x(3, 5)]),
    ("order within the batch", lambda a: ops.argsort(a, 0, descending=True), [ids(5, 3)]),
    ("running sums and products", lambda a: (ops.cumsum(a, 1), ops.cumprod(a, -1)), [x(3, 4)]),
    ("rearranged", lambda a: (a.transpose(), ops.swapaxes(a, 1, 2), ops.moveaxis(a, 0, -1), ops.flip(a, (0, 2)),
     ops.roll(a, 2, 1), ops.expand_dims(a, 1), ops.squeeze(a[:, :1], 1), ops.repeat(a, (2, 1, 3)),
     ops.repeat_interleave(a, 2, 0)), [x(3, 4, 5)]),
    ("joined and split", lambda a, b: (ops.concatenate([a, b, a], 1), ops.stack([a, b], -1), *ops.split(a, [1, 3], 1),
     *ops.unstack(b, 1), ops.concatenate([a, b])), [x(3, 4), x(3, 4)]),
    ("padded", lambda a: (ops.pad(a, ((0, 0), (1, 2)), value=3.0), *(ops.pad(a, ((0, 0), (2, 1)), m) for m in
     ("edge", "reflect", "wrap"))), [x(3, 4)]),
    ("triangles", lambda a: (ops.tril(a), ops.triu(a, 1), ops.diagonal(a, 1, -2, -1)), [x(3, 4, 4)]),
    ("slices", lambda a: (a[:, 1:3], a[..., ::2], a[:, ::-1], a[:, 2], a[:, -1:, None], a[1:], a[:-1], a[:, None, 1, ..., 0]),
     [x(3, 4, 5)]),
    ("places given", lambda a: (a[:, [2, 0, 2]], a[:, [1, 2], [0, 3]], a[:, 1, [0, 3]], a[:, [[0], [1]], :, [2, 0]],
     a[:, np.array([True, False, True, True])]), [x(3, 4, 5, 3)]),
    ("places computed", lambda a, i: (ops.gather(a, i, 1), ops.embedding(a.transpose(), i % 3)), [x(3, 4), ids(3, 2) % 4]),
    ("one row an example", lambda a, i: ops.gather(a, i[:, None], 1)[:, 0], [x(3, 4), ids(3) % 4]),
    ("written", lambda a, b: (ops.index_put(a, (slice(None), [2, 0]), b), ops.index_put(a, (slice(None), 1), 7.0),
     ops.scatter_add_at(a, (slice(None), [1, 1]), b)), [x(3, 4), x(3, 2)]),
    ("one hot", lambda i: ops.one_hot(i, 7), [ids(3, 4)]),
    ("products", lambda a, b: (ops.matmul(a, b), ops.einsum("bij,bjk->bik", a, b), ops.einsum("...ij->...ji", a),
     ops.matmul(a, b[0, :, 0]), ops.tensordot(a, b[0], 1)), [x(3, 4, 5), x(3, 5, 2)]),
    ("determinants", lambda a: (ops.linalg.det(a), ops.linalg.det(a @ a)), [x(3, 4, 4)]),
    ("remainders", lambda a, b: (ops.fmod(a, b), ops.fmod(a, 0.7), ops.round(a, 1)), [x(3, 4), x(3, 4)]),
    ("replaced", lambda a: (ops.nan_to_num(a, -1.0, 2.0, 3.0), ops.isclose(a, a + 1e-7)),
     [np.array([[1.0, np.nan, np.inf, -np.inf]] * 3, "float32")]),
    ("laid out", lambda a: (ops.diff(a, axis=1), ops.rot90(a, 1, (1, 2)), ops.tile(a, (1, 2, 1)), ops.kron(a, ops.ones(2, 2)),
     ops.cross(a[..., :3], a[..., 1:]), ops.quantile(a, 0.3, 1), *ops.max(a, dim=1), *ops.median(a, dim=2)), [x(3, 5, 4)]),
    ("patches", lambda a: ops.unfold(a, 3, padding=1), [x(3, 2, 5, 4)]),
    ("a constant beside the input", lambda a: (a + ops.arange(4), ops.ones(2, 3), a.shape[1]), [x(3, 4)]),
    ("the batch as a number", lambda a: a * a.shape[0] + ops.zeros(a.shape[0], 4), [x(3, 4)]),
]  # fmt: skip


def agree(model: Any, inputs: list[Array]) -> None:
    from nnatomy.interchange.onnx import check, to_onnx

    model.eval()

    def wanted(*arrays: Array) -> Any:
        with nn.no_grad():
            return model(*map(nn.Tensor, arrays))

    batches = [tuple(a.take(np.arange(n) % len(a), axis=0) for a in inputs) for n in (1, 7)]
    check(to_onnx(model, *inputs), wanted, *batches)


@pytest.mark.parametrize("make, inputs", [pytest.param(*case[1:], id=case[0]) for case in LAYERS])
def test_layer(make: Callable[[], Any], inputs: list[Array]) -> None:
    layer = make()
    for name, parameter in layer.named_parameters():  # the ones and zeros of norms say little
        parameter.data = parameter.data + 0.1 * np.random.default_rng(len(name)).normal(size=parameter.shape).astype("float32")
    agree(layer, inputs)


@pytest.mark.parametrize("function, inputs", [pytest.param(*case[1:], id=case[0]) for case in FUNCTIONS])
def test_function(function: Callable[..., Any], inputs: list[Array]) -> None:
    agree(Called(function), inputs)


TRAINING = "conv_weight pool_gather pool_scatter sum_pool_input softmax_cross_entropy"  # and all *_vjp
WITHOUT_ARRAYS = "arange full ones ones_like zeros zeros_like conv_shape random_bits"  # computed while a model is traced
OF_VALUES = "nonzero"  # the shape of its result depends on values
WITHOUT_FORM = (  # ONNX shifts unsigned integers alone, and has no factorization
    "left_shift right_shift qr_r cholesky eigh inv qr slogdet solve svd"
)


def test_every_function_of_the_seam_has_an_entry_or_a_reason() -> None:
    from nnatomy.backends.interface import FUNCTIONS as SEAM
    from nnatomy.interchange.onnx import FUNCTIONS as TABLE

    excused = {*TRAINING.split(), *WITHOUT_ARRAYS.split(), *OF_VALUES.split(), *WITHOUT_FORM.split()}
    missing = {name for name in SEAM if not name.endswith("_vjp")} - set(TABLE) - excused
    assert not missing, f"models that use these cannot be exported: {sorted(missing)}"
    assert not excused & set(TABLE)


def test_every_function_of_the_table_is_exported_by_some_test(monkeypatch: pytest.MonkeyPatch) -> None:
    from nnatomy.interchange.onnx import FUNCTIONS as TABLE
    from nnatomy.interchange.onnx import to_onnx

    called = set()

    def watched(name: str, emit: Callable[..., Any]) -> Callable[..., Any]:
        def emitted(*args: Any, **kwargs: Any) -> Any:
            called.add(name)
            return emit(*args, **kwargs)

        return emitted

    for name, emit in list(TABLE.items()):
        monkeypatch.setitem(TABLE, name, watched(name, emit))
    for _, make, inputs in LAYERS:
        to_onnx(make(), *inputs)
    for _, function, inputs in FUNCTIONS:
        to_onnx(Called(function), *inputs)
    assert called == set(TABLE), f"never exported by a test: {sorted(set(TABLE) - called)}"
