"""Copies, concatenation and stacking by kernels equal NumPy's, whatever the layouts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from kernel_cases import THREADS, layouts, on_threads, run

from nnatomy.kernels.lowering import Emitter
from nnatomy.kernels.lowering.copies import emit_copy
from nnatomy.kernels.machine import Program

SHAPES = [
    (), (1,), (7,), (5000,), (3, 5), (16, 16), (33, 65), (130, 257), (1, 40), (40, 1), (64, 3), (3, 4, 5), (2, 17, 33, 5),
    (5, 1, 64, 2),
]  # fmt: skip


def values(shape: tuple[int, ...], dtype: str) -> Any:
    rng = np.random.default_rng(len(shape))
    return np.asarray(rng.normal(size=shape) * 1000 * (rng.random(shape) < 0.7)).astype(dtype)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", ["float32", "int64", "bool", "float64", "int32"])
def test_a_copy_has_the_same_values_in_any_layouts(shape: tuple[int, ...], dtype: str) -> None:
    x = values(shape, dtype)
    for source_name, source in layouts(x).items():
        for target_name, target in layouts(np.zeros_like(x)).items():
            whole = target if target.base is None else target.base
            before = whole.copy()
            program = Program()
            assert emit_copy(Emitter(program, 1), source, target)
            program.run()
            np.testing.assert_array_equal(target, x, err_msg=f"{source_name} to {target_name}")
            target[...] = 0
            np.testing.assert_array_equal(whole, before, err_msg=f"{source_name} to {target_name}: written beside")


@pytest.mark.parametrize("threads", THREADS)
@pytest.mark.parametrize("axes", [(1, 0, 2, 3), (1, 2, 3, 0), (3, 2, 1, 0), (0, 2, 3, 1)], ids=str)
def test_threads_share_a_permutation(threads: int, axes: tuple[int, ...]) -> None:
    x = values((20, 12, 30, 25), "float32")
    np.testing.assert_array_equal(run("copy", [x.transpose(axes)], threads=threads), x.transpose(axes))


def test_bits_of_nan_and_the_sign_of_zero_are_kept() -> None:
    x = np.array([0x7FC12345, 0xFF800001, 0x80000000, 0x7F800000] * 20, np.uint32).view(np.float32).reshape(4, 20)
    np.testing.assert_array_equal(run("copy", [x.T]).view(np.uint32), x.T.view(np.uint32))


def test_broadcast_values_are_copied_to_every_place() -> None:
    x = values((5, 1), "float32")
    np.testing.assert_array_equal(run("copy", [np.broadcast_to(x, (5, 40))]), np.broadcast_to(x, (5, 40)))
    np.testing.assert_array_equal(run("copy", [np.broadcast_to(x[:, 0], (40, 5))]), np.broadcast_to(x[:, 0], (40, 5)))


def test_overlapping_memory_and_other_types_are_refused() -> None:
    x = np.zeros(10, np.float32)
    program = Program()
    assert not emit_copy(Emitter(program, 1), x[:-1], x[1:])
    assert not emit_copy(Emitter(program, 1), x, np.zeros(10))
    assert not emit_copy(Emitter(program, 1), x.astype(np.float16), np.zeros(10, np.float16))
    assert program.words == []


@pytest.mark.parametrize("axis", [0, 1, 2, -1])
@pytest.mark.parametrize("threads", THREADS)
def test_concatenate_and_stack(axis: int, threads: int) -> None:
    lengths = (1, 4, 0, 9)
    parts = []
    for i, n in enumerate(lengths):
        shape = [6, 7, 8]
        shape[axis] = n
        parts.append(list(layouts(values(tuple(shape), "float32") + i).values())[i])
    joined = run("concatenate", [parts], {"axis": axis}, threads=threads)
    np.testing.assert_array_equal(joined, np.concatenate(parts, axis=axis))
    same = list(layouts(values((6, 7, 8), "float32")).values())
    np.testing.assert_array_equal(run("stack", [same], {"axis": axis}, threads=threads), np.stack(same, axis=axis))


def test_parts_of_different_types_are_refused() -> None:
    parts = [np.zeros(3, np.float32), np.zeros(3)]
    assert run("concatenate", [parts]) is None
    with on_threads(1):
        assert run("stack", [parts], {"axis": 0}) is None
