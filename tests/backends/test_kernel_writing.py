"""Writing into slices equals the reference."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from nnatomy.backends import numpy_reference as reference
from nnatomy.kernels import arrays

RNG = np.random.default_rng(0)
CASES: list[tuple[tuple[int, ...], Any, tuple[int, ...]]] = [
    ((4, 5, 6), (slice(None), -1), (4, 6)),
    ((4, 5, 6), (slice(None), slice(1, 4)), (4, 3, 6)),
    ((7, 9), (Ellipsis, slice(2, 5)), (7, 3)),
    ((7, 9), 3, (9,)),
    ((7, 9), (slice(1, 6, 2), slice(0, 9, 3)), (1,)),
    ((40, 50), (slice(None), slice(None, 20)), (40, 20)),
]


@pytest.mark.parametrize("name", ["scatter_add", "index_put"])
@pytest.mark.parametrize(("shape", "index", "given"), CASES)
def test_slices(name: str, shape: Any, index: Any, given: Any) -> None:
    x = RNG.normal(size=shape).astype(np.float32)
    values = RNG.normal(size=given).astype(np.float32)
    values.flat[0] = np.nan
    before = x.copy()
    found = arrays.call(name, (x, index, values), {}, worth=0.0)
    np.testing.assert_array_equal(found, getattr(reference, name)(x, index, values))
    np.testing.assert_array_equal(x, before)


@pytest.mark.parametrize("index", [np.array([0, 1, 1]), (slice(None), np.array([2, 2])), np.array([True, False, True])])
def test_positions_that_may_repeat_are_left_to_the_reference(index: Any) -> None:
    x = np.zeros((3, 4), np.float32)
    assert arrays.call("scatter_add", (x, index, np.ones((), np.float32)), {}, worth=0.0) is None


def test_other_types_are_left_to_the_reference() -> None:
    assert arrays.call("index_put", (np.zeros(3), slice(1, 2), np.ones(1, np.float32)), {}, worth=0.0) is None
