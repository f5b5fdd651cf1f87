"""Rows of tables and random bits by kernels equal the reference."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from kernel_cases import THREADS, layouts, on_threads, run

from nnatomy.backends import numpy_reference as reference
from nnatomy.kernels.lowering import Emitter, find
from nnatomy.kernels.machine import Program

RNG = np.random.default_rng(0)
TABLES = [(1, 1), (5, 3), (7, 16), (50, 33), (300, 128), (9, 4, 5)]


@pytest.mark.parametrize("threads", THREADS)
@pytest.mark.parametrize("shape", TABLES, ids=str)
@pytest.mark.parametrize("count", [(1,), (13,), (6, 20), (3000,)], ids=str)
def test_rows_are_taken_and_added(shape: tuple[int, ...], count: tuple[int, ...], threads: int) -> None:
    table = RNG.normal(size=shape).astype(np.float32)
    rows = RNG.integers(-shape[0], shape[0], count)
    np.testing.assert_array_equal(run("take_rows", [table, rows], threads=threads), table[rows])
    values = RNG.normal(size=(*count, *shape[1:])).astype(np.float32)
    wanted = np.zeros(shape)
    np.add.at(wanted, rows, values.astype(np.float64))
    np.testing.assert_allclose(run("add_rows", [shape, rows, values], threads=threads), wanted, rtol=1e-5, atol=3e-5)


def test_rows_in_other_layouts() -> None:
    table, rows = RNG.normal(size=(11, 6)).astype(np.float32), RNG.integers(0, 11, (4, 5))
    values = RNG.normal(size=(4, 5, 6)).astype(np.float32)
    for name, numbers in layouts(rows).items():
        np.testing.assert_array_equal(run("take_rows", [table, numbers]), table[rows], err_msg=name)
        for other, x in layouts(values).items():
            wanted = reference.add_rows((11, 6), rows, values)
            np.testing.assert_allclose(run("add_rows", [(11, 6), numbers, x]), wanted, atol=1e-6, err_msg=f"{name} {other}")
    np.testing.assert_array_equal(run("take_rows", [np.repeat(table, 2, axis=0)[::2], rows]), table[rows])
    np.testing.assert_array_equal(run("add_rows", [(11, 6), rows[0], np.repeat(values[0], 2, axis=0)[::2]]),
                                  run("add_rows", [(11, 6), rows[0], values[0]]))  # fmt: skip
    assert run("take_rows", [table.T, rows % 6]) is None


def test_rows_that_are_not_there_write_nowhere() -> None:
    table = np.ones((4, 3), np.float32)
    rows = np.array([0, 4, -4, -5, 2**62, -(2**62)])
    taken = run("take_rows", [table, rows])
    assert np.isnan(taken).all(axis=1).tolist() == [False, True, False, True, True, True]
    assert run("add_rows", [(4, 3), rows, np.ones((6, 3), np.float32)]).sum(axis=1).tolist() == [6, 0, 0, 0]


def test_nan_and_infinity_are_added_to_their_rows_only() -> None:
    values = np.ones((3, 2), np.float32)
    values[1] = np.nan, np.inf
    found = run("add_rows", [(3, 2), np.array([0, 1, 0]), values])
    np.testing.assert_array_equal(found, np.array([[2, 2], [np.nan, np.inf], [0, 0]]))


@pytest.mark.parametrize("threads", THREADS)
@pytest.mark.parametrize("counter", [0, 1, 2**32 - 3, 2**40 + 17, 2**64 - 100_000])
@pytest.mark.parametrize("count", [1, 2, 31, 33, 1000, 100_001])
def test_random_bits_are_the_same_bits(count: int, counter: int, threads: int) -> None:
    for key in ((0, 0), (0xDEADBEEF, 0xFFFFFFFF)):
        found = bits([key, counter, count], threads)
        assert found.dtype == np.uint32
        np.testing.assert_array_equal(found, reference.random_bits(key, counter, count))


def test_random_bits_of_a_counter_read_when_run() -> None:
    counter, key = np.array(5, np.int64), np.array(1, np.uint64)
    lowering = find("random_bits")
    assert lowering is not None
    out, program = np.zeros(40, np.uint32), Program()
    assert lowering.emit(Emitter(program, 1), [out], [(key, 2), counter, 40], {})
    for start in (5, 2**33):
        counter[...] = start
        program.run()
        np.testing.assert_array_equal(out, reference.random_bits((1, 2), start, 40))


def bits(args: list[Any], threads: int) -> Any:
    lowering = find("random_bits")
    assert lowering is not None
    out, program = np.zeros(args[2], np.uint32), Program()
    with on_threads(threads):
        assert lowering.emit(Emitter(program), [out], args, {})
        program.run()
    return out
