"""Random masks by kernels: the words of the reference from numbers of a plan, and which of them are below a bound."""

from __future__ import annotations

import numpy as np
import pytest

from nnatomy.backends import numpy_reference as reference
from nnatomy.kernels.lowering import Emitter, allocate, find
from nnatomy.kernels.machine import Program


def run(name: str, args: tuple[object, ...]) -> np.ndarray | None:
    lowering = find(name)
    assert lowering is not None
    (shape, dtype), = lowering.outputs(args, {})
    out = allocate(shape, dtype)
    program = Program()
    if not lowering.emit(Emitter(program), [out], args, {}):
        return None
    program.run()
    return out


@pytest.mark.parametrize(("key", "counter", "count"), [((0, 5), 0, 7), ((2**32 - 1, 1), 2**40 + 3, 64), ((7, 0), 11, 100_001)])
def test_words_of_a_plans_numbers(key: tuple[int, int], counter: int, count: int) -> None:
    numbers = [np.array(float(n)) for n in (*key, counter)]
    words = run("random_bits", ((numbers[0], numbers[1]), numbers[2], count))
    np.testing.assert_array_equal(words, reference.random_bits(key, counter, count))


@pytest.mark.parametrize("n", [1, 63, 64, 1000, 100_001])
@pytest.mark.parametrize("bound", [0, 1, 2**31, 2**32 - 1])
def test_words_below_a_bound(n: int, bound: int) -> None:
    words = reference.random_bits((1, 2), 3, n)
    words[0] = bound
    np.testing.assert_array_equal(run("less", (words, bound)), words < bound)


def test_other_comparisons_are_left() -> None:
    assert run("less", (np.zeros(3, np.int64), 1)) is None
    assert run("less", (np.zeros(3, np.uint32), 1.5)) is None
    assert run("less", (np.zeros((4, 4), np.uint32).T[::2], 1)) is None
