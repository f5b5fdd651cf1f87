"""Sums and extreme values by kernels equal NumPy's in float64, whatever the axes and layouts."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from kernel_cases import THREADS, layouts, run

SHAPES = [
    (1,), (7,), (100_003,), (3, 5), (300, 10), (10, 300), (1000, 129), (2, 70_000), (70_000, 3), (6, 5, 7), (8, 1, 300, 4),
    (12, 16, 20, 30),
]  # fmt: skip


def all_axes(ndim: int) -> list[Any]:
    several = [c for n in range(1, ndim + 1) for c in itertools.combinations(range(ndim), n)]
    return [None, -1, *several]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("threads", THREADS)
def test_sum_max_and_min_over_any_axes_of_any_layout(shape: tuple[int, ...], threads: int) -> None:
    x = np.random.default_rng(0).normal(size=shape).astype(np.float32) + np.float32(0.5)
    wide = x.astype(np.float64)
    for (layout, array), axis in itertools.product(layouts(x).items(), all_axes(x.ndim)):
        if threads > 1 and layout not in ("contiguous", "turned"):
            continue
        keepdims = axis is not None and layout != "padded"
        case = {"axis": axis, "keepdims": keepdims}
        result = run("sum", [array], case, threads=threads)
        wanted = wide.sum(axis=axis, keepdims=keepdims)
        assert result.shape == wanted.shape, (layout, axis)
        assert result.dtype == np.float32
        np.testing.assert_allclose(result, wanted, rtol=0, atol=5e-7 * np.abs(wide).sum(axis=axis).max())
        np.testing.assert_array_equal(run("max", [array], case, threads=threads), x.max(axis=axis, keepdims=keepdims))
        np.testing.assert_array_equal(run("min", [array], case, threads=threads), x.min(axis=axis, keepdims=keepdims))


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("name", ["sum", "max", "min"])
def test_nan_and_infinities_go_through(name: str, axis: int) -> None:
    x = np.random.default_rng(1).normal(size=(150, 170)).astype(np.float32)
    x[3, 7], x[149, 100], x[20, 30], x[40, 40], x[41, 40] = np.nan, np.nan, np.inf, np.inf, -np.inf
    with np.errstate(invalid="ignore"):
        wanted = getattr(x.astype(np.float64), name)(axis=axis)
    found = run(name, [x], {"axis": axis})
    np.testing.assert_array_equal(np.isnan(found), np.isnan(wanted))
    np.testing.assert_array_equal(np.isposinf(found), np.isposinf(wanted))
    np.testing.assert_array_equal(np.isneginf(found), np.isneginf(wanted))


def test_all_infinite_and_all_negative() -> None:
    x = np.full((5, 21), -np.inf, np.float32)
    assert run("max", [x], {"axis": 1}).tolist() == [-np.inf] * 5
    assert run("min", [-x], {"axis": 0}).tolist() == [np.inf] * 21
    assert run("max", [np.full((3, 5), -2, np.float32)], {"axis": None}) == -2


@pytest.mark.parametrize("shape", [(4_000_000,), (500_000, 8)], ids=str)
def test_long_sums_keep_their_digits(shape: tuple[int, ...]) -> None:
    x = np.full(shape, 0.1, np.float32)
    found = run("sum", [x], {"axis": 0})
    np.testing.assert_allclose(found, x.astype(np.float64).sum(axis=0), rtol=3e-6)


def test_sums_along_axes_of_length_one_are_copies() -> None:
    x = np.random.default_rng(2).normal(size=(3, 1, 4)).astype(np.float32)
    np.testing.assert_array_equal(run("sum", [x], {"axis": 1}), x[:, 0])
    np.testing.assert_array_equal(run("sum", [x.T], {"axis": (1,), "keepdims": True}), x.T)


def test_broadcast_input() -> None:
    x = np.random.default_rng(3).normal(size=(40, 1)).astype(np.float32)
    found = run("sum", [np.broadcast_to(x, (40, 33))], {"axis": 0})
    np.testing.assert_allclose(found, np.broadcast_to(x, (40, 33)).sum(axis=0), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("x", [np.zeros((0, 3), np.float32), np.zeros((2, 3)), np.zeros((2, 3), np.int64)], ids=str)
def test_what_is_not_supported_is_refused(x: Any) -> None:
    assert run("sum", [x], {"axis": 0}) is None
