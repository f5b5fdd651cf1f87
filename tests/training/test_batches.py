"""Batches on their way to a compiled step: padded, lengthened, and made ahead by a thread in the same order."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest

from nnatomy.data import fields
from nnatomy.data.fields import Field
from nnatomy.training.batches import power_of_two, prefetch

pytestmark = pytest.mark.any_kernels


def test_padded_repeats_rows_and_marks_them() -> None:
    x, y = np.arange(6).reshape(3, 2), np.array([7, 8, 9])
    (wide, labels), mask = fields.pad_rows(fields.DEFAULT, (x, y), 8)
    np.testing.assert_array_equal(wide, x[[0, 1, 2, 0, 1, 2, 0, 1]])
    np.testing.assert_array_equal(labels, [7, 8, 9, 7, 8, 9, 7, 8])
    np.testing.assert_array_equal(mask, [True] * 3 + [False] * 5)


@pytest.mark.parametrize(("steps", "expected"), [(1, 16), (16, 16), (17, 32), (59, 64), (64, 64), (65, 128)])
def test_sequences_have_few_lengths(steps: int, expected: int) -> None:
    tokens, lengths = np.arange(2 * steps).reshape(2, steps), np.array([steps, 1])
    named = Field("tokens", ragged=1), Field("lengths")
    wide, same = fields.round_lengths(named, (tokens, lengths), power_of_two)
    assert wide.shape == (2, expected)
    np.testing.assert_array_equal(wide[:, :steps], tokens)
    assert same is lengths


def test_prefetch_keeps_the_order_and_goes_no_further_than_asked() -> None:
    made: list[int] = []

    def prepare(item: int) -> int:
        made.append(item)
        return item * item

    for number, value in enumerate(prefetch(range(20), prepare, most=2)):
        assert value == number * number
        time.sleep(0.002)
        assert len(made) <= number + 5  # two in the queue, one in the thread's hands, one here
    assert made == list(range(20))


def test_what_is_raised_while_a_batch_is_made_is_raised_in_its_place() -> None:
    def items() -> Iterator[int]:
        yield from (1, 2)
        raise ValueError("the third")

    seen: list[int] = []
    with pytest.raises(ValueError, match="the third"):
        list(prefetch(items(), seen.append))
    assert seen == [1, 2]


def test_leaving_early_ends_the_thread() -> None:
    before = threading.active_count()
    made = prefetch(iter(range(10**9)), lambda item: item)
    assert next(made) == 0
    made.close()  # type: ignore[attr-defined]
    assert threading.active_count() == before
