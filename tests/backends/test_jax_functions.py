"""JAX's functions that NumPy has no namesake of equal the reference: compiled, with their adjoints, and at hard points."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import nnatomy as nn
from nnatomy.backends import B
from nnatomy.backends import numpy_reference as reference
from nnatomy.ops import recurrent

jax = pytest.importorskip("jax", reason="the jax extra is not installed")
pytestmark = pytest.mark.any_kernels
RNG = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def _on_jax() -> Iterator[None]:
    with nn.backend("jax"):
        yield


def real(*shape: int, dtype: str = "float64") -> np.ndarray:
    return RNG.normal(size=shape).astype(dtype)


def equal(function: Callable[[Any, list[Any]], Any], *arrays: Any, rtol: float = 1e-10) -> None:
    """function(backend, arrays) compiled on JAX against the reference, results and types."""
    with np.errstate(all="ignore"):
        expected = jax.tree.leaves(function(reference, list(arrays)))
    found = jax.tree.leaves(jax.jit(lambda a: function(B, a))(list(arrays)))
    assert len(found) == len(expected)
    for got, wanted in zip(found, expected, strict=True):
        assert got.dtype == wanted.dtype
        assert got.shape == wanted.shape
        np.testing.assert_allclose(np.asarray(got), wanted, rtol=rtol, atol=rtol / 10)


KINDS = [("lstm", 4, {}), ("gru", 3, {}), ("rnn", 1, {"nonlinearity": "tanh"}), ("rnn", 1, {"nonlinearity": "relu"})]


@pytest.mark.parametrize("kind, gates, options", KINDS, ids=["lstm", "gru", "rnn", "rnn-relu"])
@pytest.mark.parametrize("dtype, rtol", [("float64", 1e-10), ("float32", 1e-4)])
def test_scans(kind: str, gates: int, options: dict[str, Any], dtype: str, rtol: float) -> None:
    """Both directions, both places of time, with and without a bias, one step and several; all in one program."""
    cases = [  # axis, reverse, bias, steps, keep
        (0, False, True, 4, True), (0, True, False, 4, True), (1, False, False, 1, True), (1, True, True, 4, True),
        (1, False, True, 4, False),
    ]  # fmt: skip
    arrays = []
    for axis, _, _, steps, _ in cases:
        lead = (steps, 3) if axis == 0 else (3, steps)
        states = [real(3, 5, dtype=dtype) for _ in range(2 if kind == "lstm" else 1)]
        gs = [real(*lead, 5, dtype=dtype), *[real(3, 5, dtype=dtype) for _ in states]]
        w, b = real(gates * 5, 5, dtype=dtype), real(gates * 5, dtype=dtype)
        arrays.append((real(*lead, gates * 5, dtype=dtype), states, w, b, gs))

    def all_of(backend: Any, given: list[Any]) -> list[Any]:
        found = []
        for (axis, reverse, bias, _, keep), (x, states, w, b, gs) in zip(cases, given, strict=True):
            how = {"axis": axis, "reverse": reverse, **options}
            more = {} if kind == "rnn" else {"keep": keep}
            outs = getattr(backend, f"{kind}_scan")(x, *states, w, b if bias else None, **how, **more)
            found.append(outs)
            if keep:
                kept = outs[len(states) + 1 :]
                found.append(getattr(backend, f"{kind}_scan_vjp")(*gs, *kept, outs[0], *states, w, **how))
        return found

    equal(all_of, *arrays, rtol=rtol)


@pytest.mark.parametrize("causal", [False, True])
def test_attention(causal: bool) -> None:
    how = {"causal": causal, "scale": 0.7}

    def both(backend: Any, given: list[Any]) -> Any:
        found = []
        for q, k, v, g in given:
            y, logs = backend.attention(q, k, v, **how)
            found += [y, logs, *backend.attention_vjp(g, q, k, v, y, logs, **how)]
        return found

    wide = (real(2, 3, 4, 5), real(2, 3, 6, 5), real(2, 3, 6, 2), real(2, 3, 4, 2))
    empty = (real(2, 0, 4), real(2, 3, 4), real(2, 3, 4), real(2, 0, 4))
    one_query = (real(1, 4), real(3, 4), real(3, 4), real(1, 4))
    equal(both, wide, empty, one_query)


def test_normalization() -> None:
    def everything(backend: Any, given: list[Any]) -> Any:
        found = []
        for x, images, w, b, u, s, g, h in given:
            for weight, bias in ((w, b), (w, None), (None, None)):
                y, mean, rstd = backend.layer_norm(x, weight, bias, eps=1e-3)
                found += [y, mean, rstd, backend.layer_norm_vjp(g, x, weight, mean, rstd)]
            for weight in (w, None):
                y, rstd = backend.rms_norm(x, weight, eps=1e-3)
                found += [y, rstd, backend.rms_norm_vjp(g, x, weight, rstd)]
            for weight, bias in ((u, s), (None, None)):
                y, mean, variance = backend.batch_norm(images, weight, bias, eps=1e-3)
                found += [y, mean, variance, backend.batch_norm_vjp(h, images, weight, mean, variance, eps=1e-3)]
            y = backend.softmax(x, axis=1)
            found += [y, backend.softmax_vjp(g, y, axis=1)]
            y = backend.log_softmax(x, axis=-1)
            found += [y, backend.log_softmax_vjp(g, y, axis=-1)]
        return found

    def inputs(dtype: str) -> tuple[np.ndarray, ...]:
        shapes: list[tuple[int, ...]] = [(4, 3, 6), (4, 3, 2, 5), (6,), (6,), (3,), (3,), (4, 3, 6), (4, 3, 2, 5)]
        return tuple(real(*s, dtype=dtype) for s in shapes)

    equal(everything, inputs("float64"))
    equal(everything, inputs("float32"), rtol=1e-4)


@pytest.mark.parametrize("labels", [np.array([3, 0, 4, -1, 2]), np.array([3, 0, 1, 1, 200], "uint8")], ids=["int64", "uint8"])
def test_cross_entropy_knows_labels_that_are_no_class(labels: np.ndarray) -> None:
    def both(backend: Any, given: list[Any]) -> Any:
        x, labels, g = given
        losses, lse = backend.softmax_cross_entropy(x, labels)
        return losses, lse, backend.softmax_cross_entropy_vjp(g, x, labels, lse)

    equal(both, real(5, 4), labels, real(5))


def test_pooling_at_ties_nan_and_infinity() -> None:
    x = np.array([[1, 1, math.nan, 0, 2, -math.inf, -math.inf], [3, 3, 3, 3, 0, math.inf, math.nan]])[:, None]
    how: dict[str, Any] = {"kernel": (2,), "stride": (2,), "padding": ((1, 0),), "dilation": (1,)}
    equal(lambda backend, given: backend.max_pool(given[0], **how), x)


@pytest.mark.parametrize("stride, padding, kernel", [((2, 2), ((1, 1), (1, 1)), (2, 2)), ((2, 1), ((1, 0), (0, 2)), (2, 3)),
                                                     ((2, 2), ((1, 2), (0, 0)), (2, 5))])  # fmt: skip
@pytest.mark.parametrize("space", [(4, 5), (5, 7), (9, 8)])
def test_convolutions_that_xlas_simplifier_mistakes(stride: Any, padding: Any, kernel: Any, space: Any) -> None:
    """Kernels of 2 in steps of 2: the adjoint ended the process."""
    how: dict[str, Any] = {"stride": stride, "padding": padding, "dilation": (1, 1), "groups": 1}
    x, w = real(2, 3, *space), real(4, 3, *kernel)
    g = real(*reference.conv(x, w, **how).shape)

    def adjoints(backend: Any, given: list[Any]) -> Any:
        x, w, g = given
        return (backend.conv(x, w, **how), backend.conv_input(g, w, space=space, **how),
                backend.conv_weight(x, g, kernel=kernel, **how))  # fmt: skip

    equal(adjoints, x, w, g)


def test_writing() -> None:
    def all_ways(backend: Any, given: list[Any]) -> Any:
        x, rows, values = given
        return (backend.add_rows((4, 5), rows, values), backend.scatter_add(x, rows, values),
                backend.index_put(x, slice(1, 3), values[0]), backend.scatter_add(x, (slice(1, 3),), values[0]))  # fmt: skip

    equal(all_ways, real(4, 5), np.array([[0, 3], [3, 1]]), real(2, 2, 5))


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_keeps_its_type_and_float32s_sums(dtype: str) -> None:
    """Forward and backward of a small network: the type stays, the values are float32's to half precision."""
    start = [real(8, 16), real(32, 16), real(32), real(4, 32), real(8, 4)]

    def run(precision: str) -> tuple[Any, list[Any]]:
        x, w, b, v, g = (nn.tensor(a, dtype=precision, requires_grad=True) for a in start)
        normed = nn.functional.layer_norm(nn.linear(x, w, b), (32,))
        y = nn.softmax(nn.linear(normed.tanh(), v), 1)
        return y, nn.grad((y * g).sum(), [x, w, b, v])

    y, gradients = run(dtype)
    expected, full = run("float32")
    assert str(y.dtype) == dtype
    np.testing.assert_allclose(y.astype("float32").numpy(), expected.numpy(), atol=0.03)
    for got, wanted in zip(gradients, full, strict=True):
        assert str(got.dtype) == dtype
        np.testing.assert_allclose(got.astype("float32").numpy(), wanted.numpy(), atol=0.05 * float(abs(wanted).max()))
    with pytest.raises(TypeError, match="float32"):
        nn.index_put(y, 0, expected[0])


def test_second_derivatives_of_fused_operations_compiled() -> None:
    """By way of their composed forms, in one program, as on NumPy."""
    labels = np.array([2, 0, 1])
    networks: list[tuple[Callable[..., Any], tuple[tuple[int, ...], ...]]] = [
        (lambda x, w, b: nn.functional.layer_norm(x, (4,), w, b), ((3, 4), (4,), (4,))),
        (lambda q, k, v: nn.scaled_dot_product_attention(q, k, v, causal=True), ((2, 3, 4), (2, 3, 4), (2, 3, 4))),
        (lambda x, w: nn.max_pool(nn.conv(x, w, padding=1), 2), ((1, 2, 4, 4), (2, 2, 3, 3))),
        (lambda x, h, c, w: recurrent.lstm_scan(x, h, c, w)[0], ((2, 3, 8), (2, 2), (2, 2), (8, 2))),
        (lambda x: nn.functional.cross_entropy(x, nn.Tensor(labels)), ((3, 4),)),
    ]
    inputs = [[real(*shape) for shape in shapes] for _, shapes in networks]

    def curvatures(given: list[list[Any]]) -> list[list[Any]]:
        found = []
        for (network, _), arrays in zip(networks, given, strict=True):
            leaves = [nn.Tensor(a, requires_grad=True) for a in arrays]
            slopes = nn.grad((network(*leaves) ** 2).sum(), leaves, create_graph=True)
            found.append([g.data for g in nn.grad(sum((g * g).sum() for g in slopes), leaves)])
        return found

    compiled = jax.jit(curvatures)(inputs)
    with nn.backend("numpy"):
        expected = curvatures(inputs)
    for got, wanted in zip(jax.tree.leaves(compiled), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(np.asarray(got), wanted, rtol=1e-9, atol=1e-9 * float(np.abs(wanted).max()))
