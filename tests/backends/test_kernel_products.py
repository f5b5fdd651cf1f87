"""Matrix products by kernels equal the products in float64, for all layouts, sizes and numbers of threads."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

pytest.importorskip("numba")

from nnatomy.kernels import machine
from nnatomy.kernels.lowering import Emitter, allocate, find
from nnatomy.kernels.lowering import products as lowering
from nnatomy.kernels.machine import Program
from nnatomy.kernels.sources import products as kernels

GENERATOR = np.random.default_rng(3)


@pytest.fixture(autouse=True)
def _threads() -> Iterator[None]:
    before = machine.get_num_threads()
    machine.set_num_threads(1)
    yield
    machine.set_num_threads(before)


def normal(*shape: int, order: tuple[int, ...] | None = None) -> Any:
    """Random float32 whose axes are stored in this order."""
    array = allocate(shape, np.float32, order)
    array[...] = GENERATOR.standard_normal(shape)
    return array


def product(a: Any, b: Any, out: Any = None, **options: Any) -> Any:
    """a @ b by its kernels; the output holds NaN before, unless it is given."""
    entry = find("matmul")
    assert entry is not None
    (shape, dtype), *_ = entry.outputs((a, b), options)
    if out is None:
        out = allocate(shape, dtype)
        out[...] = np.nan
    assert out.shape == shape
    program = Program()
    assert entry.emit(Emitter(program), [out], (a, b), options)
    program.run()
    return out


def check(a: Any, b: Any, out: Any = None, **options: Any) -> Any:
    """Within 1e-5 of the float64 product, in units of the largest sum of magnitudes."""
    exact = np.matmul(a.astype(np.float64), b.astype(np.float64))
    scale = np.matmul(abs(a).astype(np.float64), abs(b).astype(np.float64)).max()
    found = product(a, b, out, **options)
    assert found.dtype == np.float32
    assert abs(found - exact).max() <= 1e-5 * scale / max(a.shape[-1], 1) ** 0.5
    return found


LAYOUTS = ("rows", "columns", "padded", "sliced", "backwards", "unaligned")


def laid(layout: str, rows: int, columns: int) -> Any:
    """A random matrix in one of the ways in which it may be in memory."""
    if layout == "columns":
        return normal(columns, rows).T
    if layout == "padded":
        return normal(rows + 2, columns + 5)[1 : rows + 1, 3 : columns + 3]
    if layout == "sliced":
        return normal(2 * rows, 3 * columns)[::2, ::3]
    if layout == "backwards":
        return normal(rows, columns)[::-1, ::-1]
    if layout == "unaligned":
        return normal(rows * columns + 1)[1:].reshape(rows, columns)
    return normal(rows, columns)


@pytest.mark.parametrize("left", LAYOUTS)
@pytest.mark.parametrize("right", LAYOUTS)
def test_all_layouts(left: str, right: str) -> None:
    for m, k, n in ((1, 32, 32), (7, 33, 10), (64, 50, 70), (50, 17, 150)):
        check(laid(left, m, k), laid(right, k, n))


SIZES = (1, 2, 3, 5, 6, 7, 8, 13, 16, 31, 64, 65, 100, 130)


@pytest.mark.parametrize("left", ("rows", "columns"))
@pytest.mark.parametrize("right", ("rows", "columns"))
def test_all_remainders(left: str, right: str) -> None:
    for m in SIZES:
        for n in SIZES:
            k = int(GENERATOR.choice((1, 2, 7, 16, 31, 32, 33, 100, 500)))
            check(laid(left, m, k), laid(right, k, n))


@pytest.mark.parametrize("threads", (1, 2, 3))
@pytest.mark.parametrize("m, k, n", ((300, 900, 700), (2048, 128, 10), (10, 2048, 128), (3, 1500, 900), (64, 784, 256)))
def test_blocks_and_threads(threads: int, m: int, k: int, n: int) -> None:
    machine.set_num_threads(threads)
    for left in ("rows", "columns"):
        for right in ("rows", "columns"):
            a, b = laid(left, m, k), laid(right, k, n)
            first = check(a, b)
            np.testing.assert_array_equal(first, product(a, b))


def test_threads_do_not_change_the_result() -> None:
    a, b = normal(130, 200), normal(150, 200).T
    found = []
    for threads in (1, 2, 3):
        machine.set_num_threads(threads)
        found.append(product(a, b))
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[0], found[2])


BATCHES = (
    ((4, 8, 5), (4, 5, 9)), ((4, 8, 5), (5, 9)), ((8, 5), (4, 5, 9)), ((2, 3, 8, 5), (3, 5, 9)), ((2, 1, 8, 5), (1, 3, 5, 9)),
    ((3, 1, 5), (5, 20)), ((1, 1, 8, 5), (5, 9)), ((7, 5), (5,)), ((5,), (5, 7)), ((5,), (5,)), ((3, 7, 5), (5,)),
    ((5,), (3, 5, 7)), ((64, 128, 32), (64, 32, 128)), ((600,), (600,)), ((40, 600), (600,)), ((300, 40, 40), (300, 40, 40)),
)  # fmt: skip


@pytest.mark.parametrize("threads", (1, 2, 3))
@pytest.mark.parametrize("left, right", BATCHES)
def test_batches_and_vectors(left: tuple[int, ...], right: tuple[int, ...], threads: int) -> None:
    machine.set_num_threads(threads)
    check(normal(*left), normal(*right))


def test_batches_of_any_layout() -> None:
    for order in ((1, 2, 0), (2, 1, 0), (0, 2, 1), (1, 0, 2)):
        check(normal(6, 12, 20, order=order), normal(6, 20, 18))
        check(normal(6, 12, 20), normal(6, 20, 18, order=order))
    heads = normal(3, 16, 4, 3, 8).transpose(3, 0, 2, 1, 4)  # queries, keys and values of 4 heads, as a layer has them
    check(heads[0], heads[1].swapaxes(-1, -2))
    check(normal(3, 4, 16, 16), heads[2], out=allocate((3, 4, 16, 8), np.float32, (0, 2, 1, 3)))


def test_outputs_of_other_layouts() -> None:
    for m, k, n in ((1, 8, 40), (40, 8, 1), (33, 50, 70), (70, 50, 33)):
        a, b, bias = normal(m, k), normal(n, k).T, normal(n)
        check(a, b, out=allocate((m, n), np.float32, (1, 0)))
        wide = np.full((m + 2, n + 3), 7, np.float32)
        check(a, b, out=wide[1:-1, 1:-2])
        around = np.concatenate((wide[0], wide[-1], wide[:, 0], wide[:, -1], wide[:, -2]))
        np.testing.assert_array_equal(around, 7)
        by_column = product(a, b, out=allocate((m, n), np.float32, (1, 0)), bias=bias, activation="relu")
        np.testing.assert_array_equal(by_column, product(a, b, bias=bias, activation="relu"))


FUNCTIONS: dict[str | None, Any] = {
    None: lambda x: x, "relu": lambda x: np.maximum(x, 0), "tanh": np.tanh, "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
}  # fmt: skip


@pytest.mark.parametrize("activation", FUNCTIONS)
@pytest.mark.parametrize("m, k, n", ((1, 32, 32), (8, 32, 10), (70, 500, 130), (9, 0, 5), (64, 100, 1)))
def test_bias_and_activation(activation: str | None, m: int, k: int, n: int) -> None:
    a, b, bias = normal(m, k), normal(n, k).T / np.float32(max(k, 1) ** 0.5), normal(n)
    for given in (bias, None):
        exact = FUNCTIONS[activation](a.astype(np.float64) @ b.astype(np.float64) + (0 if given is None else given))
        found = product(a, b, bias=given, activation=activation)
        assert abs(found - exact).max() <= 1e-5 * max(1.0, abs(exact).max())


@pytest.mark.parametrize("m, k, n", ((5, 7, 9), (70, 500, 130), (1, 40, 40), (6, 0, 4)))
def test_add(m: int, k: int, n: int) -> None:
    for right in ("rows", "columns"):
        a, b, out = normal(m, k), laid(right, k, n), normal(m, n)
        exact = out + a.astype(np.float64) @ b.astype(np.float64)
        product(a, b, out, add=True)
        assert abs(out - exact).max() <= 1e-5 * abs(exact).max()


@pytest.mark.parametrize("right", ("rows", "columns"))
@pytest.mark.parametrize("m, k, n", ((1, 20, 40), (8, 40, 17), (40, 40, 40)))
def test_what_is_not_finite_comes_through(right: str, m: int, k: int, n: int) -> None:
    for number in (np.nan, np.inf, -np.inf):
        for zero in (False, True):  # 0 times infinity is NaN: no zero may be skipped
            a, b = laid("rows", m, k), laid(right, k, n)
            a[0, k // 2] = 0 if zero else 1
            b[k // 2, n // 2] = number
            with np.errstate(invalid="ignore"):
                expected = a @ b
            found = product(a, b)
            np.testing.assert_array_equal(np.isnan(found), np.isnan(expected))
            np.testing.assert_array_equal(np.isinf(found), np.isinf(expected))
    a, b = np.zeros((1, 3), np.float32), np.full((3, 1), np.nan, np.float32)
    assert np.isnan(product(a, b, activation="relu")).all()


def test_no_products_of_nothing() -> None:
    assert (product(normal(5, 0), normal(0, 30)) == 0).all()
    np.testing.assert_array_equal(product(normal(2, 0), normal(0, 3), bias=np.arange(3, dtype=np.float32)), [[0, 1, 2]] * 2)
    entry = find("matmul")
    assert entry is not None
    program = Program()
    assert not entry.emit(Emitter(program), [np.zeros((0, 3), np.float32)], (normal(0, 2), normal(2, 3)), {})
    assert program.words == []


def test_what_the_kernel_leaves_to_the_reference() -> None:
    entry = find("matmul")
    assert entry is not None
    a, b, out = normal(4, 5), normal(5, 6), normal(4, 6)
    refused: list[tuple[Any, Any, Any, dict[str, Any]]] = [
        (a.astype(np.float64), b, out, {}),
        (a, b, normal(8, 12)[::2, ::2], {}),
        (a, b, out, {"bias": normal(12)[::2]}),
        (a, b, out, {"bias": normal(6), "add": True}),
        (a, b, out, {"activation": "gelu"}),
    ]
    for a, b, out, options in refused:
        program = Program()
        assert not entry.emit(Emitter(program), [out], (a, b), options)
        assert program.words == []


def test_shape_and_work() -> None:
    entry = find("matmul")
    assert entry is not None
    assert entry.outputs((normal(2, 1, 3, 4), normal(5, 4, 6)), {}) == [((2, 5, 3, 6), np.float32)]
    assert entry.work((normal(2, 1, 3, 4), normal(5, 4, 6)), {}) == 2 * 2 * 5 * 3 * 4 * 6


def test_both_sides_know_the_tile() -> None:
    assert (lowering.ROWS, lowering.WIDTH) == (kernels.ROWS, kernels.WIDTH)
    assert lowering.ACTIVATIONS == {None: 0, "relu": 0, "tanh": kernels.TANH, "sigmoid": kernels.SIGMOID}


def test_rows_of_a_batch_are_rows_of_one_product() -> None:
    a, b = normal(4, 6, 8), normal(8, 3)
    out = allocate((4, 6, 3), np.float32)
    merged = lowering._merged(a, np.broadcast_to(b, (4, 8, 3)), out)
    assert [x.shape for x in merged] == [(24, 8), (8, 3), (24, 3)]
