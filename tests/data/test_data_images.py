"""Images: idx files, folders by class, resizing, standardization and augmentation."""

from __future__ import annotations

import contextlib
import gzip
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_files import mnist_folder, picture_folder

from nnatomy.data import Fold, augmentation, load, load_inputs, preprocessing_from_json
from nnatomy.data.augment import AUGMENTATIONS, crop, cutout, flip, rotate
from nnatomy.data.kinds.image.idx import read_idx, write_idx
from nnatomy.data.pictures import ImagePreprocessing, resize_images
from nnatomy.errors import UserError

Write = Callable[..., Path]
Real = Callable[[str], Path]
RNG = np.random.default_rng(0)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(1, 5), min_size=1, max_size=4), st.booleans())
def test_idx_files_are_read_as_written(tmp_path_factory: pytest.TempPathFactory, shape: list[int], compress: bool) -> None:
    path = tmp_path_factory.mktemp("idx") / "a-ubyte"
    array = np.arange(np.prod(shape), dtype=np.uint8).reshape(shape)
    write_idx(path, array)
    if compress:
        path.write_bytes(gzip.compress(path.read_bytes()))
    np.testing.assert_array_equal(read_idx(path), array)


@settings(max_examples=40, deadline=None)
@given(st.binary(max_size=40))
def test_no_bytes_make_reading_idx_fail_otherwise_than_in_a_sentence(
    tmp_path_factory: pytest.TempPathFactory, raw: bytes
) -> None:
    path = tmp_path_factory.mktemp("idx") / "a-ubyte"
    for content in (raw, b"\0\0" + raw, b"\0\0\x08" + raw, b"\x1f\x8b" + raw, gzip.compress(raw)[: len(raw)]):
        path.write_bytes(content)
        with contextlib.suppress(UserError):
            assert read_idx(path).dtype == np.uint8


@pytest.mark.parametrize("compress", [False, True])
def test_a_folder_of_idx_files(tmp_path: Path, compress: bool) -> None:
    found = load(mnist_folder(tmp_path / "m", compress=compress), ("image",))
    assert (found.kind, found.task, found.classes) == ("image", "classification", ("0", "1", "2"))
    assert len(found.train) + len(found.validation) == 90
    x, y = found.test.all()
    assert x.shape == (30, 1, 5, 4)
    np.testing.assert_array_equal(x[:, 0, :, 0].argmax(axis=1), y)
    assert abs(found.train.all()[0].mean()) < 1e-5
    assert abs(found.train.all()[0].std() - 1) < 1e-5


def test_pictures_of_one_size(tmp_path: Path) -> None:
    found = load(picture_folder(tmp_path / "p", [(6, 7)]), ("image",))
    assert found.classes == ("dark", "light")
    assert found.input_shape == (1, 6, 7)
    x, y = found.test.all()
    np.testing.assert_array_equal(x.mean(axis=(1, 2, 3)) > 0, y)


@pytest.mark.parametrize(
    ("gray", "resize", "shape"),
    [(None, None, (3, 6, 7)), (None, (9, 5), (3, 9, 5)), (True, (9, 5), (1, 9, 5))],
)
def test_pictures_of_several_sizes_are_made_equal(
    tmp_path: Path, gray: bool | None, resize: tuple[int, int] | None, shape: tuple[int, ...]
) -> None:
    found = load(picture_folder(tmp_path / "p", [(6, 7), (12, 14), (6, 7)], color=True), ("image",), resize=resize, gray=gray)
    assert found.input_shape == shape
    assert any("2 sizes" in notice for notice in found.notices)
    assert any("made gray" in notice for notice in found.notices) == (gray is True)


def test_new_pictures_are_prepared_as_in_training(tmp_path: Path) -> None:
    folder = picture_folder(tmp_path / "p", [(6, 7)])
    found = load(folder, ("image",))
    back = preprocessing_from_json(json.loads(json.dumps(found.preprocessing.to_json())))
    new = load_inputs(folder, back)
    everything = np.concatenate([s.all()[0] for s in (found.train, found.validation, found.test)])
    np.testing.assert_allclose(np.sort(new.arrays[0].ravel()), np.sort(everything.ravel()), rtol=1e-6)
    one = load_inputs(folder / "light" / "3.png", back)
    np.testing.assert_array_equal(one.arrays[0][0], new.arrays[0][new.rows.index("light/3.png")])


def test_digits_scaled_to_other_sizes_keep_their_meaning() -> None:
    small, large = load("digits", ("image",)), load("digits", ("image",), resize=(28, 28))
    assert large.input_shape == (1, 28, 28)
    np.testing.assert_array_equal(small.train.all()[1], large.train.all()[1])
    back = resize_images(large.train.all()[0], (8, 8))
    assert np.corrcoef(back.ravel(), small.train.all()[0].ravel())[0, 1] > 0.95


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 20), st.integers(1, 20), st.integers(1, 20), st.integers(1, 20), st.integers(0, 99))
def test_resizing_equals_pillows(h: int, w: int, height: int, width: int, seed: int) -> None:
    image = pytest.importorskip("PIL.Image", reason="Pillow is not installed")
    x = np.random.default_rng(seed).uniform(0, 1, (h, w)).astype(np.float32)
    expected = np.asarray(image.fromarray(x).resize((width, height), image.Resampling.BILINEAR))
    np.testing.assert_allclose(resize_images(x, (height, width)), expected, atol=1e-5)


def test_pictures_are_restored_from_standardized_ones() -> None:
    raw = RNG.integers(0, 256, (7, 3, 5, 6)).astype(np.float32)
    fitted = ImagePreprocessing.fit(raw, ("a", "b"), 255.0, None)
    np.testing.assert_allclose(fitted.to_images(fitted.transform(raw)[0]), raw / 255, atol=1e-6)


def test_binary_pictures_are_0_or_1_and_new_ones_are_too(tmp_path: Path) -> None:
    found = load("digits", ("image",), binary=True)
    gray = load("digits", ("image",))
    x, y = found.train.all()
    np.testing.assert_array_equal(x, gray.preprocessing.inverse(gray.train.all()[0]) > 8)  # type: ignore[attr-defined]
    np.testing.assert_array_equal(y, gray.train.all()[1])
    back = preprocessing_from_json(json.loads(json.dumps(found.preprocessing.to_json())))
    assert back == found.preprocessing
    (new,) = back.transform(np.array([7.9, 8.0, 8.1, 16.0], np.float32).reshape(1, 1, 2, 2).repeat(4, 2).repeat(4, 3))
    np.testing.assert_array_equal(new[0, 0, ::4, ::4], [[0, 0], [1, 1]])
    old = gray.preprocessing.to_json()
    del old["binary"]  # a run that was made before there were binary pictures
    assert preprocessing_from_json(old) == gray.preprocessing


@pytest.mark.parametrize("name", AUGMENTATIONS)
@pytest.mark.parametrize("channels", [1, 3])
def test_augmentation_is_pure_and_the_generators_alone(name: str, channels: int) -> None:
    x = RNG.normal(size=(6, channels, 8, 9)).astype(np.float32)
    before = x.copy()
    one, two, other = (augmentation({name: None})(x, np.random.default_rng(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(x, before)
    np.testing.assert_array_equal(one, two)
    assert not np.array_equal(one, other)
    assert (one.shape, one.dtype) == (x.shape, x.dtype)


def test_a_crop_is_a_shift() -> None:
    x = np.arange(2 * 5 * 5, dtype=np.float32).reshape(2, 1, 5, 5)
    out = crop(x, np.random.default_rng(0), 2)
    padded = np.pad(x, ((0, 0), (0, 0), (2, 2), (2, 2)), mode="edge")
    shifts = [[padded[k, :, i : i + 5, j : j + 5] for i in range(5) for j in range(5)] for k in range(2)]
    assert all(any(np.array_equal(out[k], shift) for shift in shifts[k]) for k in range(2))


def test_flips_are_all_or_nothing() -> None:
    x = RNG.normal(size=(4, 2, 3, 5))
    np.testing.assert_array_equal(flip(x, RNG, 1.0), x[..., ::-1])
    np.testing.assert_array_equal(flip(x, RNG, 0.0), x)


def test_a_turn_of_nothing_is_nothing() -> None:
    x = RNG.normal(size=(2, 1, 6, 7)).astype(np.float32)
    np.testing.assert_allclose(rotate(x, RNG, 0.0), x, atol=1e-6)
    assert np.abs(rotate(x, RNG, 30.0) - x).max() > 0.1


def test_cutout_blanks_one_square() -> None:
    x = RNG.normal(size=(50, 1, 16, 16))
    changed = (cutout(x, RNG, 0.25) != x)[:, 0].sum(axis=(1, 2))
    assert changed.max() == 16
    assert changed.min() >= 4


@pytest.mark.parametrize(("settings_", "message"), [({"flop": None}, "Did you mean 'flip'"), ({"noise": -1.0}, "at least 0")])
def test_wrong_augmentations_are_named(settings_: dict[str, float | None], message: str) -> None:
    with pytest.raises(UserError, match=message):
        augmentation(settings_)


def test_mnist(real: Real) -> None:
    found = load(real("mnist"), ("image",))
    assert (len(found.train) + len(found.validation), len(found.test)) == (60000, 10000)
    assert found.input_shape == (1, 28, 28)
    mean, std = found.preprocessing.mean[0], found.preprocessing.std[0]  # type: ignore[attr-defined]
    assert abs(mean - 0.1307) < 3e-4
    assert abs(std - 0.3081) < 3e-4


def test_noisy_digits_are_copies_of_the_training_patterns() -> None:
    """Each target is a stored pattern, a fifth of the signs are wrong, and a seed draws the noise."""
    found = load("noisy_digits")
    stored = found.train.all()[0].reshape(10, -1)
    assert set(np.unique(stored)) == {-1, 1}
    copies, clean = (a.reshape(len(a), -1) for a in found.test.all())
    assert {row.tobytes() for row in clean} == {row.tobytes() for row in stored}
    assert (copies != clean).mean() == pytest.approx(0.2, abs=0.005)
    assert not np.array_equal(copies, load("noisy_digits", seed=1).test.all()[0].reshape(500, -1))
    assert not np.array_equal(found.validation.all()[0], found.test.all()[0][:200])
    with pytest.raises(UserError, match="Leave out the folds"):
        load("noisy_digits", fold=Fold(0, 2))
