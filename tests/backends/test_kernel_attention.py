"""Attention kernels equal the reference in float64, in every layout, for every number of threads."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from kernel_cases import THREADS, layouts, run

from nnatomy.backends import numpy_reference as reference

RNG = np.random.default_rng(3)
FEATURES = [(1, 1), (5, 3), (16, 16), (32, 33), (33, 5), (64, 64)]
STEPS = [(1, 1), (7, 7), (64, 100), (100, 64), (128, 128), (257, 257), (1, 130), (130, 1)]


def arrays(lead: tuple[int, ...], queries: int, keys: int, features: int, columns: int) -> list[Any]:
    """g, q, k, v."""
    shapes = [(queries, columns), (queries, features), (keys, features), (keys, columns)]
    return [RNG.normal(size=(*lead, *shape)).astype("float32") for shape in shapes]


def close(got: Any, expected: Any, what: str, tolerance: float = 1e-5) -> None:
    """Within `tolerance` of the largest value, or of 1; what is not finite at the same places."""
    assert got.shape == expected.shape, what
    finite = np.isfinite(expected)
    scale = max(1.0, float(np.abs(expected[finite]).max(initial=0.0)))
    np.testing.assert_allclose(got, expected, rtol=0, atol=tolerance * scale, err_msg=what)


def check(g: Any, q: Any, k: Any, v: Any, causal: bool, scale: float, threads: int = 1, tolerance: float = 1e-5) -> list[Any]:
    """Results and gradients against the reference's in float64; returns what the kernels found."""
    how = {"causal": causal, "scale": scale}
    with np.errstate(all="ignore"):
        exact = [a.astype("float64") for a in (q, k, v)]
        y_exact, lse_exact = reference.attention(*exact, **how)
        gradients = reference.attention_vjp(g.astype("float64"), *exact, y_exact, lse_exact, **how)
    y, lse = run("attention", [q, k, v], how, threads=threads)
    close(y, y_exact, "y", tolerance)
    close(lse, lse_exact, "lse", tolerance)
    found = run("attention_vjp", [g, q, k, v, y, lse], how, threads=threads)
    for name, got, expected in zip(("dq", "dk", "dv"), found, gradients, strict=True):
        close(got, expected, name, tolerance)
    return [y, lse, *found]


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("features, columns", FEATURES)
def test_sizes(features: int, columns: int, causal: bool) -> None:
    for i, (queries, keys) in enumerate(STEPS):
        check(*arrays((2, 3), queries, keys, features, columns), causal, features**-0.5, THREADS[i % 3])


@pytest.mark.parametrize("lead", [(), (1,), (5,), (3, 1), (2, 4)])
def test_leading_axes(lead: tuple[int, ...]) -> None:
    check(*arrays(lead, 70, 50, 8, 8), True, -0.7, 2)


@pytest.mark.parametrize("causal", [False, True])
def test_threads_change_no_bit(causal: bool) -> None:
    """A head's sums are made by one thread; queries are shared out in whole blocks."""
    inputs = arrays((3, 3), 150, 140, 16, 16)
    results = [check(*inputs, causal, 0.25, threads) for threads in THREADS]
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("layout", ["contiguous", "padded", "strided", "turned", "first axis last", "flipped"])
@pytest.mark.parametrize("features", [1, 6])
def test_layouts(layout: str, features: int) -> None:
    inputs = arrays((2, 3), 20, 20, features, features)
    check(*(layouts(a)[layout] for a in inputs), True, 0.4)
    for i in range(4):
        mixed = list(inputs)
        mixed[i] = layouts(mixed[i])[layout]
        check(*mixed, False, 0.4)


def test_parts_of_a_projection_and_gradients_of_sums() -> None:
    """As a model calls it: q, k and v within one array, the gradient one number for all; heads next to each other in memory."""
    together = RNG.normal(size=(2, 70, 3, 4, 8)).astype("float32")
    q, k, v = (together[:, :, i].transpose(0, 2, 1, 3) for i in range(3))
    g = np.broadcast_to(np.float32(0.3), q.shape)
    for result in check(g, q, k, v, True, 8**-0.5):
        if result.ndim == 4:
            assert result.transpose(0, 2, 1, 3).flags.c_contiguous


def test_random_shapes() -> None:
    for _ in range(60):
        lead = tuple(RNG.integers(1, 4, RNG.integers(0, 3)))
        queries, keys, features, columns = (int(n) for n in RNG.integers(1, [150, 300, 70, 70]))
        check(*arrays(lead, queries, keys, features, columns), bool(RNG.integers(2)), float(RNG.normal()) * 0.3)


def test_long_sequences_by_blocks() -> None:
    inputs = arrays((), 4096, 4096, 8, 8)
    check(*inputs, True, 8**-0.5, 2)
    y, _ = run("attention", inputs[1:], {"causal": False, "scale": 0.1})
    head = [a[:64] if i == 1 else a for i, a in enumerate(inputs)][1:]
    close(y[:64], reference.attention(*(a.astype("float64") for a in head), causal=False, scale=0.1)[0], "y")


@pytest.mark.parametrize("rising", [False, True])
def test_large_scores(rising: bool) -> None:
    """The largest score is in the first block or in the last; scores far below it underflow to 0."""
    g, q, k, v = arrays((2,), 5, 600, 4, 4)
    q[..., 0] = 30
    k[..., 0] = np.linspace(0, 300, 600)[:: 1 if rising else -1]
    _, lse, *_ = check(g, q, k, v, False, 1.0, tolerance=3e-4)  # scores of 9000 are exact to 5e-4, and so are their powers
    assert (lse > 8000).all()


NOT_FINITE = [math.nan, math.inf, -math.inf]


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("value", NOT_FINITE)
@pytest.mark.parametrize("which", range(4), ids=["g", "q", "k", "v"])
def test_what_is_not_finite(which: int, value: float, causal: bool) -> None:
    """NaN and infinity go where they go in the reference, over all blocks, also by weights that are 0."""
    for queries, keys, at in ((150, 150, 100), (150, 150, 3), (70, 300, 250), (300, 70, 64), (5, 9, 8)):
        inputs = arrays((2,), queries, keys, 6, 5)
        inputs[which][1, min(at, inputs[which].shape[1] - 1), 2] = value
        with np.errstate(all="ignore"):
            check(*inputs, causal, 0.3)


def test_scores_that_are_all_minus_infinity() -> None:
    """Until a later block has another, nothing is NaN; a row that has no other is."""
    _, q, k, v = arrays((), 4, 300, 3, 3)
    q[:] = np.abs(q) + 1
    k[:290, 0] = -math.inf
    with np.errstate(all="ignore"):
        y, lse = run("attention", [q, k, v], {"causal": False, "scale": 1.0})
        expected = reference.attention(*(a.astype("float64") for a in (q, k, v)), causal=False, scale=1.0)
    assert np.isfinite(y).all()
    close(y, expected[0], "y")
    close(lse, expected[1], "lse")
    k[:, 0] = -math.inf
    y, lse = run("attention", [q, k, v], {"causal": False, "scale": 1.0})
    assert np.isnan(y).all()
    assert np.isnan(lse).all()


@pytest.mark.parametrize("how", ["float64", "empty", "five axes", "odd strides"])
def test_what_is_left_to_the_reference(how: str) -> None:
    g, q, k, v = arrays((1, 1, 1) if how == "five axes" else (2,), 0 if how == "empty" else 5, 5, 4, 4)
    if how == "float64":
        g, q, k, v = (a.astype("float64") for a in (g, q, k, v))
    if how == "odd strides":
        k = np.zeros((2, 5, 17), np.uint8)[..., 1:].view("float32")
    options = {"causal": False, "scale": 1.0}
    assert run("attention", [q, k, v], options) is None
    y, lse = reference.attention(q, k, v, **options)
    assert run("attention_vjp", [g, q, k, v, y, lse], options) is None
