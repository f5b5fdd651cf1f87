"""Softmax and cross-entropy kernels equal the reference in float64: layouts, threads, hard inputs, labels out of range."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from kernel_cases import THREADS, layouts, run

from nnatomy.backends import numpy_reference as reference

pytest.importorskip("numba", reason="there are no kernels without numba")

RNG = np.random.default_rng(12)
TOLERANCE = 2e-6


def random(*shape: int) -> np.ndarray[Any, Any]:
    return RNG.normal(0, 3, shape).astype(np.float32)


def check(name: str, args: Any, kwargs: Any, threads: int, size: float = 1e-30) -> None:
    """`size`: of the terms of which the result is a sum, where they may cancel."""
    got = run(name, args, kwargs, threads=threads)
    assert got is not None, f"{name} is not lowered"
    with np.errstate(all="ignore"):
        expected = getattr(reference, name)(*[a.astype(np.float64) if a.dtype.kind == "f" else a for a in args], **kwargs or {})
    got = got if isinstance(got, list) else [got]
    expected = expected if isinstance(expected, tuple) else (expected,)
    for i, (g, e) in enumerate(zip(got, expected, strict=True)):
        assert g.shape == e.shape
        same = np.isfinite(e)
        np.testing.assert_array_equal(g[~same], e[~same].astype(np.float32), f"{name}: output {i}")
        scale = np.abs(e[same]).max(initial=size)
        np.testing.assert_allclose(g[same] / scale, e[same] / scale, rtol=0, atol=TOLERANCE, err_msg=f"{name}: output {i}")


def check_softmax(x: Any, g: Any, axis: int, threads: int) -> None:
    with np.errstate(all="ignore"):
        y, z = (f(x.astype(np.float64), axis=axis).astype(np.float32) for f in (reference.softmax, reference.log_softmax))
    check("softmax", (x,), {"axis": axis}, threads)
    check("log_softmax", (x,), {"axis": axis}, threads)
    size = np.abs(g[np.isfinite(g)]).max()
    check("softmax_vjp", (g, y), {"axis": axis}, threads, size)
    check("log_softmax_vjp", (g, z), {"axis": axis}, threads, size)


def check_entropy(x: Any, g: Any, labels: Any, threads: int) -> None:
    with np.errstate(all="ignore"):
        lse = reference.softmax_cross_entropy(x.astype(np.float64), labels)[1].astype(np.float32)
    check("softmax_cross_entropy", (x, labels), None, threads)
    check("softmax_cross_entropy_vjp", (g, x, labels, lse), None, threads)


@pytest.mark.parametrize("threads", THREADS)
@pytest.mark.parametrize("shape", [
    (1,), (5,), (1, 1), (3, 1), (64, 10), (7, 16), (33, 31), (20, 65), (70, 256), (3, 4, 17), (2, 3, 4, 40),
])  # fmt: skip
def test_softmax(shape: tuple[int, ...], threads: int) -> None:
    for axis in range(len(shape)):
        check_softmax(random(*shape), random(*shape), axis, threads)
    check_softmax(random(*shape), random(*shape), -1, threads)


@pytest.mark.parametrize("layout", layouts(np.zeros((2, 3), np.float32)))
def test_softmax_in_any_layout(layout: str) -> None:
    for axis in range(3):
        check_softmax(layouts(random(6, 5, 18))[layout], layouts(random(6, 5, 18))[layout], axis, 2)


@pytest.mark.parametrize("threads", THREADS)
@pytest.mark.parametrize("kind", [np.int64, np.int32])
@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (5, 1), (64, 10), (33, 16), (17, 100), (300, 65)])
def test_cross_entropy(shape: tuple[int, int], kind: Any, threads: int) -> None:
    labels = RNG.integers(0, shape[1], shape[0]).astype(kind)
    check_entropy(random(*shape), random(shape[0]), labels, threads)


@pytest.mark.parametrize("layout", layouts(np.zeros((2, 3), np.float32)))
def test_cross_entropy_in_any_layout(layout: str) -> None:
    labels = layouts(np.repeat(RNG.integers(0, 21, 8)[:, None], 2, 1))[layout][:, 0]
    g = np.broadcast_to(np.float32(0.125), 8)
    check_entropy(layouts(random(8, 21))[layout], g, labels, 2)


@pytest.mark.parametrize("n", [5, 16, 40])
def test_hard_values(n: int) -> None:
    x = random(12, n)
    x[0], x[1], x[2], x[3], x[4] = 0, 1e30, -1e30, -math.inf, math.inf
    x[5, 1], x[6, 1], x[7, 1], x[8], x[9, 1] = math.nan, math.inf, -math.inf, 1000 * x[8], 3e38
    x[10, :-1] = -math.inf  # all but one are hidden, as causal attention does
    for axis in (0, 1):
        check_softmax(x, random(12, n), axis, 1)
    g = random(12, n)
    g[1, 2], g[2, 1] = math.nan, math.inf
    check_softmax(random(12, n), g, 1, 1)
    labels = RNG.integers(0, n, 12)
    labels[7], labels[10] = 1, n - 1
    check_entropy(x, random(12), labels, 1)
    check_entropy(random(12, n), g[:, 1].copy(), labels, 1)


def test_far_scores_keep_their_small_losses() -> None:
    """The loss is the distance from the logarithm of the sum: a common offset must not swallow it."""
    x = np.array([[1000.0, 999.0, 990.0], [-5000.0, -5001.0, -5010.0]], np.float32)
    losses, _ = run("softmax_cross_entropy", (x, np.zeros(2, np.int64)))
    expected, _ = reference.softmax_cross_entropy(x.astype(np.float64), np.zeros(2, np.int64))
    np.testing.assert_allclose(losses, expected, rtol=1e-6)


@pytest.mark.parametrize("kind", [np.int64, np.int32])
def test_labels_without_a_class_are_safe(kind: Any) -> None:
    x, labels = random(40, 7), RNG.integers(0, 7, 40).astype(kind)
    labels[[3, 4, 5, 39]] = [-100, 7, np.iinfo(kind).max, np.iinfo(kind).min]
    check_entropy(x, random(40), labels, 2)
    losses, _ = run("softmax_cross_entropy", (x, labels))
    np.testing.assert_array_equal(np.flatnonzero(np.isnan(losses)), [3, 4, 5, 39])


def test_what_kernels_do_not_take_is_left_to_the_reference() -> None:
    x, labels = random(4, 3), np.zeros(4, np.int64)
    deep = x.astype(np.float64)
    assert run("softmax", (deep,), {"axis": 1}) is None
    assert run("softmax", (x[:0],), {"axis": 1}) is None
    assert run("log_softmax_vjp", (deep, deep), {"axis": 1}) is None
    assert run("softmax_cross_entropy", (deep, labels)) is None
    assert run("softmax_cross_entropy", (x, labels.astype(np.uint8))) is None
    assert run("softmax_cross_entropy", (x[:0], labels[:0])) is None
    assert run("softmax_cross_entropy_vjp", (x[:, 0], x, labels.astype(np.int16), x[:, 0])) is None
