"""Splits and batches: what is taken, in which order, and that an epoch can be continued exactly."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nnatomy.data import ArraySplit, RaggedSplit, SeriesSplit, SubsetSplit, WindowSplit, batches
from nnatomy.data.splits import split_rows
from nnatomy.errors import UserError

SPLIT = ArraySplit((np.arange(23)[:, None] * np.ones((1, 2), np.float32), np.arange(23)))


@given(st.integers(1, 30), st.integers(0, 2**31), st.booleans())
def test_an_epoch_holds_each_example_once(batch_size: int, seed: int, drop_last: bool) -> None:
    seen = np.concatenate([b[1] for b in batches(SPLIT, batch_size, seed, drop_last=drop_last)] or [np.zeros(0, int)])
    assert len(seen) == (23 - 23 % batch_size if drop_last else 23)
    assert len(set(seen.tolist())) == len(seen)


def test_inputs_and_targets_stay_together() -> None:
    for x, y in batches(SPLIT, 5, 3):
        np.testing.assert_array_equal(x[:, 0], y)


def test_the_order_is_the_seeds_alone() -> None:
    first, again, other = ([b[1].tolist() for b in batches(SPLIT, 4, seed)] for seed in (7, 7, 8))
    assert first == again != other


def test_without_shuffling_the_order_is_the_splits() -> None:
    assert np.concatenate([b[1] for b in batches(SPLIT, 4)]).tolist() == list(range(23))


def test_a_permutation_is_followed() -> None:
    order = np.arange(23)[::-1]
    assert np.concatenate([b[1] for b in batches(SPLIT, 4, order)]).tolist() == order.tolist()


@pytest.mark.parametrize("start", range(6))
def test_an_epoch_continues_exactly_with_augmentation(start: int) -> None:
    def shake(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return x + rng.normal(size=x.shape)

    whole = list(batches(SPLIT, 4, 5, augment=shake))
    rest = list(batches(SPLIT, 4, 5, augment=shake, start=start))
    assert len(rest) == len(whole) - start
    for a, b in zip(whole[start:], rest, strict=True):
        np.testing.assert_array_equal(a[0], b[0])


def test_batches_differ_in_their_augmentation() -> None:
    zeros = ArraySplit((np.zeros((8, 3)), np.zeros(8)))
    one, two = (b[0] for b in batches(zeros, 4, 0, augment=lambda x, rng: x + rng.normal(size=x.shape)))
    assert not np.allclose(one, two)


@pytest.mark.parametrize("size", [0, -3])
def test_a_batch_holds_one_or_more(size: int) -> None:
    with pytest.raises(UserError, match="at least one example"):
        list(batches(SPLIT, size))


@given(st.integers(2, 60), st.integers(1, 12), st.integers(1, 12))
def test_windows_of_text_foretell_the_next_token(n: int, length: int, stride: int) -> None:
    split = WindowSplit(np.arange(n), length, stride)
    if len(split):
        now, following = split.all()
        np.testing.assert_array_equal(now + 1, following)
        assert now.shape == (len(split), length)
        assert following[-1, -1] <= n - 1 < following[-1, -1] + stride  # the last window that fits is there


@given(st.integers(2, 40), st.integers(1, 6), st.integers(1, 6))
def test_windows_of_series_end_where_the_future_begins(n: int, past: int, horizon: int) -> None:
    values = np.stack([np.arange(n), -np.arange(n)], axis=1)
    split = SeriesSplit(values, (1,), past, horizon)
    assert len(split) == max(0, n - past - horizon + 1)
    if len(split):
        seen, future = split.all()
        np.testing.assert_array_equal(future[:, 0, 0], -(seen[:, -1, 0] + 1))
        assert future.shape == (len(split), horizon, 1)
        assert seen[0, 0, 0] == 0
        assert future[-1, -1, 0] == -(n - 1)


def test_ragged_sequences_are_padded_to_the_longest_of_the_batch() -> None:
    split = RaggedSplit((np.array([3]), np.array([4, 5, 6]), np.array([7, 8])), np.array([0, 1, 0]))
    tokens, lengths, labels = split.take(np.array([0, 2]))
    assert tokens.tolist() == [[3, 0], [7, 8]]
    assert lengths.tolist() == [1, 2]
    assert labels.tolist() == [0, 0]
    assert tokens.dtype == lengths.dtype == np.int64


def test_a_subset_is_taken_by_its_own_numbers() -> None:
    assert SubsetSplit(SPLIT, np.array([20, 3, 9])).take(np.array([1, 2]))[1].tolist() == [3, 9]


@settings(deadline=None)  # the first call imports scikit-learn
@given(st.integers(3, 40), st.integers(3, 40), st.integers(0, 1000))
def test_rows_are_divided_and_classes_spread(zeros: int, ones: int, seed: int) -> None:
    classes = np.repeat([0, 1], [zeros, ones])
    parts = split_rows(len(classes), classes, seed)
    assert sorted(np.concatenate(parts).tolist()) == list(range(len(classes)))
    assert all(set(classes[part]) == {0, 1} for part in parts)


@pytest.mark.parametrize("counts", [(50, 1), (50, 2)])
def test_a_class_too_small_for_three_parts_is_named(counts: tuple[int, int]) -> None:
    with pytest.raises(UserError, match=f"Received {counts[1]} of class 'rare'"):
        split_rows(sum(counts), np.repeat([0, 1], counts), 0, names=("common", "rare"))
