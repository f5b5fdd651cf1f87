"""Augmentations move masks and boxes with the pixels, or the change is refused."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest

from nnatomy.data import batches
from nnatomy.data.augment import Augmentation, augmented, crop, cutout, flip, jitter, noise, rotate, word_dropout
from nnatomy.data.dataset import ArraySplit, RaggedSplit
from nnatomy.data.fields import Field
from nnatomy.errors import UserError

pytestmark = pytest.mark.any_kernels
NAMED = (
    Field("image", like="image"), Field("mask", role="target", like="mask"),
    Field("boxes", role="target", like="boxes", ragged=1, fill=-1),
)  # fmt: skip


def marked(n: int = 12, size: int = 16) -> tuple[Any, ...]:
    """Pictures with one bright square, the square as a mask, and as a box; a second box is padding."""
    rng = np.random.default_rng(0)
    images, masks = np.zeros((n, 1, size, size), np.float32), np.zeros((n, size, size), np.int64)
    boxes = np.full((n, 2, 4), -1.0, np.float32)
    for i, (top, left) in enumerate(rng.integers(4, 9, (n, 2))):
        images[i, 0, top : top + 3, left : left + 4] = 1.0
        masks[i, top : top + 3, left : left + 4] = 2
        boxes[i, 0] = left, top, left + 4, top + 3
    return images, masks, boxes


@pytest.mark.parametrize("change", [flip, crop, partial(crop, padding=3), Augmentation((crop, flip))])
def test_image_mask_and_boxes_move_alike(change: Any) -> None:
    before = marked()
    images, masks, boxes = augmented(change, NAMED, before, np.random.default_rng(3))
    assert not np.array_equal(images, before[0]), "nothing moved"
    np.testing.assert_array_equal(images[:, 0] > 0.5, masks == 2)
    for mask, (box, padding) in zip(masks, boxes, strict=True):
        rows, columns = np.nonzero(mask)
        assert box.tolist() == [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        assert (padding == -1).all()


def test_a_mask_that_is_rotated_keeps_its_classes() -> None:
    images, masks, _ = augmented(partial(rotate, degrees=30), NAMED[:2], (*marked()[:2], None), np.random.default_rng(1))
    assert set(np.unique(masks)) == {0, 2}
    assert ((images[:, 0] > 0.5) == (masks == 2)).mean() > 0.98


@pytest.mark.parametrize("change", [jitter, noise, cutout])
def test_changes_that_keep_pixels_leave_targets_alone(change: Any) -> None:
    before = marked()
    after = augmented(change, NAMED, before, np.random.default_rng(1))
    assert after[1] is before[1]
    assert after[2] is before[2]
    assert not np.array_equal(after[0], before[0]) or change is jitter


@pytest.mark.parametrize(("change", "named"), [(rotate, NAMED), (lambda x, rng: x[..., ::-1], NAMED)])
def test_what_would_part_a_picture_from_its_targets_is_refused(change: Any, named: Any) -> None:
    with pytest.raises(UserError, match=r"must move their (mask|boxes) as well"):
        augmented(change, named, marked(), np.random.default_rng(1))


def test_labels_of_classes_stay_where_they_are() -> None:
    x, y = np.arange(8.0).reshape(4, 2), np.arange(4)
    ((changed, same),) = batches(ArraySplit((x, y)), 4, augment=lambda x, rng: x + 1)
    np.testing.assert_array_equal(changed, x + 1)
    assert same is not y or (same == y).all()


def test_examples_of_like_length_come_together_and_none_is_lost() -> None:
    rng = np.random.default_rng(0)
    lengths = rng.integers(1, 60, 500)
    split = RaggedSplit(tuple(np.ones(n, np.int64) for n in lengths), np.arange(500))
    grouped = list(batches(split, 16, 3))
    assert sorted(np.concatenate([batch[-1] for batch in grouped])) == list(range(500))
    padding = sum(batch[0].size - batch[1].sum() for batch in grouped)
    at_random = sum(a.size - n.sum() for a, n, _ in batches(split, 16, rng.permutation(500)))
    assert padding < 0.4 * at_random
    widths = [batch[0].shape[1] for batch in grouped[:31]]
    assert widths != sorted(widths), "batches of one length follow each other"
    again = list(batches(split, 16, 3, start=20))
    for a, b in zip(grouped[20:], again, strict=True):
        assert all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))
    assert next(batches(split, 16))[-1].tolist() == list(range(16)), "an order is kept where none is drawn"


def test_word_dropout_makes_a_fraction_of_words_unknown_and_leaves_padding() -> None:
    tokens = np.array([[5, 6, 0, 0]] * 500)
    dropped = word_dropout(tokens, np.random.default_rng(0), fraction=0.3)
    assert (dropped[:, 2:] == 0).all()
    assert set(np.unique(dropped)) == {0, 1, 5, 6}
    assert (dropped[:, :2] == 1).mean() == pytest.approx(0.3, abs=0.03)


@pytest.mark.parametrize("change", [crop, partial(flip, chance=1.0), partial(rotate, degrees=30)])
def test_an_image_as_target_moves_as_its_example_did(change: Any) -> None:
    """A denoising target must show what its example shows; noise itself leaves the target clean."""
    named = (Field("noisy", like="image"), Field("clean", role="target", like="image"))
    images = np.random.default_rng(0).normal(size=(5, 1, 9, 9)).astype(np.float32)
    moved, target = augmented(change, named, (images, images), np.random.default_rng(3))
    assert not np.array_equal(moved, images)
    np.testing.assert_array_equal(moved, target)
    noisy, target = augmented(noise, named, (images, images), np.random.default_rng(3))
    assert not np.array_equal(noisy, images)
    np.testing.assert_array_equal(target, images)
