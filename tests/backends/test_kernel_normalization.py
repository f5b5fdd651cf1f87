"""Layer, RMS and batch norm kernels equal the reference in float64: values and gradients, layouts, threads, hard inputs."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from kernel_cases import THREADS, layouts, run

from nnatomy.backends import numpy_reference as reference

pytest.importorskip("numba", reason="there are no kernels without numba")

RNG = np.random.default_rng(11)
EPS = 1e-5
TOLERANCE = 3e-6
"""Relative to the largest value of a result."""
TINY = float(np.finfo(np.float32).tiny)
HARD = ("zeros", "equal", "huge", "tiny", "far from 0", "nan", "inf")


def random(*shape: int) -> np.ndarray[Any, Any]:
    return RNG.normal(1, 2, shape).astype(np.float32)


def hard(kind: str, x: Any) -> Any:
    x = x.copy()
    if kind == "zeros":
        x[...] = 0
    elif kind == "equal":
        x[...] = 0.1
    elif kind == "huge":
        x *= np.float32(1e17)
    elif kind == "tiny":
        x *= np.float32(1e-30)
    elif kind == "far from 0":
        x += 100
    else:
        x.flat[len(x.flat) // 2] = math.nan if kind == "nan" else math.inf
    return x


def wide(args: Any) -> list[Any]:
    return [a.astype(np.float64) if isinstance(a, np.ndarray) and a.dtype.kind == "f" else a for a in args]


def relu_after(x: Any, weight: Any, bias: Any, *, eps: float, activation: str | None = None) -> Any:
    y, mean, variance = reference.batch_norm(x, weight, bias, eps=eps)
    return (np.maximum(y, 0) if activation else y), mean, variance


def behind_relu(g: Any, x: Any, weight: Any, mean: Any, variance: Any, *, eps: float, y: Any = None) -> Any:
    return reference.batch_norm_vjp(g if y is None else np.where(y > 0, g, 0), x, weight, mean, variance, eps=eps)


SPECIFIED = {"batch_norm": relu_after, "batch_norm_vjp": behind_relu}


def check(name: str, args: Any, kwargs: Any, threads: int, tolerance: float, *sizes: float) -> None:
    """`sizes`: of the terms of which the outputs are sums, where they may cancel."""
    got = run(name, args, kwargs, threads=threads)
    assert got is not None, f"{name} is not lowered"
    with np.errstate(all="ignore"):
        expected = SPECIFIED.get(name, getattr(reference, name))(*wide(args), **kwargs)
    got = got if isinstance(got, list) else [got]
    expected = expected if isinstance(expected, tuple) else (expected,)
    for i, (g, e) in enumerate(zip(got, expected, strict=True)):
        assert g.shape == e.shape
        same = np.isfinite(e)
        np.testing.assert_array_equal(g[~same], e[~same].astype(np.float32), f"{name}: output {i}")
        scale = np.abs(e[same]).max(initial=max(TINY, sizes[i] if i < len(sizes) else 0))
        np.testing.assert_allclose(g[same] / scale, e[same] / scale, rtol=0, atol=tolerance, err_msg=f"{name}: output {i}")


def most(*factors: Any) -> float:
    """The largest finite size of a product."""
    product = np.abs(np.prod(np.broadcast_arrays(*[1.0 if f is None else f for f in factors]), axis=0, dtype=np.float64))
    return float(product[np.isfinite(product)].max(initial=TINY))


def terms(g: Any, weight: Any, rstd: Any, outputs: int) -> list[float]:
    """The sizes of the terms of dx, and of sums at random of those of dweight and dbias."""
    total = most(g) * math.sqrt(g.size / outputs)
    return [most(g) * most(rstd) * most(weight), total, total]


def check_rows(x: Any, g: Any, threads: int, tolerance: float = TOLERANCE, affine: bool = True) -> None:
    """Layer and RMS norm, forwards and backwards, with a weight and without."""
    n = x.shape[-1]
    w, b = random(n), random(n)
    with np.errstate(all="ignore"):
        _, mean, rstd = (v.astype(np.float32) for v in reference.layer_norm(*wide([x, None, None]), eps=EPS))
        _, rms = (v.astype(np.float32) for v in reference.rms_norm(*wide([x, None]), eps=EPS))
    for weight, bias in ((w, b), (w, None), (None, None)):
        check("layer_norm", (x, weight, bias), {"eps": EPS}, threads, tolerance, most(mean, rstd) * most(weight))
    check("rms_norm", (x, w), {"eps": EPS}, threads, tolerance)
    check("rms_norm", (x, None), {"eps": EPS}, threads, tolerance)
    for weight in (w, None):
        check("layer_norm_vjp", (g, x, weight, mean, rstd), {}, threads, tolerance, *terms(g, weight, rstd, n))
        check("rms_norm_vjp", (g, x, weight, rms), {}, threads, tolerance, *terms(g, weight, rms, n))


@pytest.mark.parametrize("threads", THREADS)
@pytest.mark.parametrize("shape", [
    (1, 1), (5,), (3, 1), (1, 33), (7, 15), (40, 16), (33, 31), (5, 6, 47), (2, 3, 4, 64), (300, 77), (257, 128),
])  # fmt: skip
def test_rows(shape: tuple[int, ...], threads: int) -> None:
    check_rows(random(*shape), random(*shape), threads)


@pytest.mark.parametrize("layout", layouts(np.zeros((2, 3), np.float32)))
def test_rows_in_any_layout(layout: str) -> None:
    x, g = random(4, 5, 19), random(4, 5, 19)
    check_rows(layouts(x)[layout], layouts(g)[layout], 2)
    check_rows(layouts(x)["contiguous"], layouts(g)[layout], 1)


def test_a_gradient_of_a_sum_is_one_number() -> None:
    x = random(6, 20)
    check_rows(x, np.broadcast_to(np.float32(0.5), x.shape), 2)
    check_rows(x, np.broadcast_to(random(20), x.shape), 2)


@pytest.mark.parametrize("kind", HARD)
def test_hard_rows(kind: str) -> None:
    x = hard(kind, random(9, 35))
    check_rows(x, random(9, 35), 1, 1e-4 if kind == "far from 0" else TOLERANCE)


def test_infinite_gradients() -> None:
    x = random(9, 35)
    for kind in ("nan", "inf"):
        check_rows(x, hard(kind, random(9, 35)), 2)


def test_many_rows_add_up_exactly() -> None:
    """The gradients of weight and bias are sums over all rows, whose rounding must not grow with them."""
    check_rows(random(30_000, 17) + 3, random(30_000, 17) + 1, 3)


CHANNELS = [(2, 1), (2, 5), (65, 16), (64, 37), (1000, 3), (3, 4, 7), (2, 1, 5), (4, 3, 5, 6), (16, 5, 9, 9), (2, 3, 4, 3, 2),
            (40, 2, 13, 17)]  # fmt: skip


def orders(x: Any) -> dict[str, Any]:
    """x with its batch outermost (the default) and innermost (after convolutions); with its channels innermost; transposed."""
    axes = range(x.ndim)
    chosen = {
        "batch first": tuple(axes), "batch last": (*axes[1:], 0), "channels last": (0, *axes[2:], 1), "turned": axes[::-1],
    }  # fmt: skip
    made = {}
    for name, order in chosen.items():
        made[name] = np.ascontiguousarray(x.transpose(order)).transpose([list(order).index(i) for i in axes])
    return made


ORDERS = list(orders(np.zeros((1, 1))))


def check_channels(x: Any, g: Any, threads: int, tolerance: float = TOLERANCE) -> None:
    c = x.shape[1]
    w, b = random(c), random(c)
    with np.errstate(all="ignore"):
        y, mean, variance = (v.astype(np.float32) for v in reference.batch_norm(*wide([x, w, b]), eps=EPS))
        rstd = 1 / np.sqrt(variance + EPS)
    for weight, bias in ((w, b), (w, None), (None, None)):
        sizes = [most(mean, rstd, weight), most(mean), most(mean) ** 2]
        check("batch_norm", (x, weight, bias), {"eps": EPS}, threads, tolerance, *sizes)
        check("batch_norm", (x, weight, bias), {"eps": EPS, "activation": "relu"}, threads, tolerance, *sizes)
    for weight in (w, None):
        sizes = terms(g, weight, rstd, c)
        for how in ({}, {"y": np.maximum(y, 0)}):
            check("batch_norm_vjp", (g, x, weight, mean, variance), {"eps": EPS, **how}, threads, tolerance, *sizes)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("shape", CHANNELS)
def test_channels(shape: tuple[int, ...], order: str) -> None:
    for threads in THREADS:
        check_channels(orders(random(*shape))[order], orders(random(*shape))[order], threads)


@pytest.mark.parametrize("order", ORDERS)
def test_arrays_that_lie_differently(order: str) -> None:
    x, g = random(5, 4, 3, 6), random(5, 4, 3, 6)
    for other in ORDERS:
        check_channels(orders(x)[order], orders(g)[other], 2)


@pytest.mark.parametrize("layout", layouts(np.zeros((2, 3), np.float32)))
def test_channels_in_any_layout(layout: str) -> None:
    for shape in ((6, 5, 4, 3), (9, 7)):
        check_channels(layouts(random(*shape))[layout], layouts(random(*shape))[layout], 2)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("kind", HARD)
def test_hard_channels(kind: str, order: str) -> None:
    for shape in ((9, 5, 4, 4), (300, 20)):
        x = hard(kind, random(*shape))
        check_channels(orders(x)[order], orders(random(*shape))[order], 1, 1e-4 if kind == "far from 0" else TOLERANCE)


@pytest.mark.parametrize("order", ORDERS)
def test_moments_of_long_channels_are_exact(order: str) -> None:
    """Means far from 0 and slow drifts lose nothing: moments of blocks are joined, not sums of squares."""
    for shape in ((64, 3, 40, 40), (50_000, 3)):
        x = random(*shape) * 0.01 + np.linspace(0, 1, shape[0], dtype=np.float32).reshape(-1, *[1] * (len(shape) - 1))
        got = run("batch_norm", (orders(x)[order], None, None), {"eps": EPS}, threads=2)
        _, mean, variance = reference.batch_norm(x.astype(np.float64), None, None, eps=EPS)
        np.testing.assert_allclose(got[1], mean, rtol=2e-6)
        np.testing.assert_allclose(got[2], variance, rtol=2e-6)


def test_what_kernels_do_not_take_is_left_to_the_reference() -> None:
    x, w = random(4, 3), random(3)
    wide_x, wide_w = x.astype(np.float64), w.astype(np.float64)
    moments = x.mean(0), x.var(0)
    assert run("layer_norm", (wide_x, None, None), {"eps": EPS}) is None
    assert run("rms_norm", (x, wide_w), {"eps": EPS}) is None
    assert run("layer_norm", (x[:0], w, w), {"eps": EPS}) is None
    assert run("layer_norm_vjp", (wide_x, wide_x, wide_w, wide_x[:, 0], wide_x[:, 0])) is None
    assert run("batch_norm", (wide_x, None, None), {"eps": EPS}) is None
    assert run("batch_norm", (x, w, w), {"eps": EPS, "activation": "tanh"}) is None
    assert run("batch_norm_vjp", (wide_x, wide_x, None, *moments), {"eps": EPS}) is None
    assert run("batch_norm_vjp", (x, x, None, *moments), {"eps": EPS, "y": wide_x}) is None
