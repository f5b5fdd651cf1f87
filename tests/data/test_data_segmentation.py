"""Folders of images and masks: numbers, palettes, sizes, and what is refused in one sentence."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nnatomy.data import load, load_examples, load_inputs
from nnatomy.data.fields import IGNORE
from nnatomy.data.kinds.segmentation.masks import colors_for, read_mask, resize_mask
from nnatomy.errors import UserError

image: Any = pytest.importorskip("PIL.Image", reason="Pillow is not installed")
pytestmark = pytest.mark.any_kernels
Array = np.ndarray[Any, Any]


def folder_of(
    path: Path, masks: Sequence[Array], sizes: Sequence[tuple[int, int]] = ((8, 10),), palette: Sequence[int] = ()
) -> Path:
    """Write a folder of pictures with the masks given, resized to the sizes in `sizes`, which are used again in order."""
    rng = np.random.default_rng(0)
    for part in ("images", "masks"):
        (path / part).mkdir(parents=True, exist_ok=True)
    for n, mask in enumerate(masks):
        size = sizes[n % len(sizes)]
        pixels = rng.integers(0, 255, (*size, 3)).astype(np.uint8)
        image.fromarray(pixels).save(path / "images" / f"p{n:02}.jpg")
        one = image.fromarray(resize_mask(mask, size).astype(np.uint8))
        if palette:
            one.putpalette(list(palette))
        one.save(path / "masks" / f"p{n:02}.png")
    return path


def halves(*numbers: int, n: int = 20) -> list[Array]:
    """Masks whose columns hold the numbers in order, each in a block of equal width."""
    return [np.tile(np.repeat(numbers, -(-10 // len(numbers)))[:10], (8, 1)) for _ in range(n)]


def test_255_belongs_to_no_class(tmp_path: Path) -> None:
    found = load(folder_of(tmp_path / "f", halves(2, 5, 255)))
    assert found.classes == ("2", "5")
    assert np.unique(found.train.all()[1]).tolist() == [0, 1, IGNORE]


def test_masks_of_0_and_255_have_two_classes(tmp_path: Path) -> None:
    found = load(folder_of(tmp_path / "f", halves(0, 255)))
    assert found.classes == ("background", "foreground")
    assert np.unique(found.train.all()[1]).tolist() == [0, 1]
    assert found.preprocessing.to_json()["values"] == [0, 255]


def test_a_palette_is_kept(tmp_path: Path) -> None:
    found = load(folder_of(tmp_path / "f", halves(1, 2), palette=[9, 9, 9, 1, 2, 3, 4, 5, 6, *[0] * 60]))
    assert found.preprocessing.to_json()["palette"] == [[1, 2, 3], [4, 5, 6]]


def test_names_of_classes_are_read(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "f", halves(0, 2))
    (folder / "classes.txt").write_text("sky\nroad\ncar\n")
    assert load(folder).classes == ("sky", "road", "car")
    (folder / "classes.txt").write_text("sky\nroad\n")
    with pytest.raises(UserError, match=r"names 2 classes, from 0 on\. Received masks with 2"):
        load(folder)


def test_pictures_of_different_sizes_become_one_size(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "f", halves(0, 1), sizes=[(8, 10), (8, 10), (16, 30)])
    found = load(folder)
    assert found.input_shape == (3, 8, 10)
    assert any("2 sizes (height x width) were resized to 8 x 10" in notice for notice in found.notices)
    assert load(folder, resize=(4, 6)).train.all()[1].shape[1:] == (4, 6)
    inputs = load_inputs(folder / "images", found.preprocessing)
    assert inputs.arrays[0].shape == (20, 3, 8, 10)
    assert inputs.arrays[1][:3].tolist() == [[8, 10], [8, 10], [16, 30]]
    assert inputs.rows[0] == "p00.jpg"
    assert load_inputs(folder, found.preprocessing).rows == inputs.rows
    one = load_inputs(folder / "images" / "p02.jpg", found.preprocessing)
    assert one.arrays[1].tolist() == [[16, 30]]


def test_numbers_that_training_does_not_have_belong_to_no_class(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "f", halves(0, 1))
    found = load(folder)
    masks = halves(0, 1)
    masks[0] = np.full((8, 10), 6)
    masks[0][0] = 0
    folder_of(folder, masks)
    again = load(folder)
    if "6" not in again.classes:  # the picture is not in the training part
        assert any("Pixels of 6" in notice for notice in again.notices)
    with pytest.raises(UserError, match=r"knows the numbers 0, 1 of masks\. Received 6 in .*p00.png"):
        load_examples(folder, found.preprocessing)


def test_a_mask_is_resized_to_the_nearest_pixel() -> None:
    mask = np.array([[1, 3], [5, 7]], np.uint8)
    assert resize_mask(mask, (4, 4)).tolist() == [[1, 1, 3, 3], [1, 1, 3, 3], [5, 5, 7, 7], [5, 5, 7, 7]]
    assert set(np.unique(resize_mask(mask, (7, 9)))) == {1, 3, 5, 7}
    assert np.array_equal(resize_mask(resize_mask(mask, (6, 10)), (2, 2)), mask)


@pytest.mark.parametrize("mode", ["P", "L", "1", "RGB", "I;16"])
def test_masks_in_every_form(mode: str, tmp_path: Path) -> None:
    numbers = np.array([[0, 255], [255, 0]], np.uint8)
    one = image.fromarray(numbers)
    if mode == "P":
        one.putpalette([0] * 768)
    elif mode == "I;16":
        one = image.fromarray(numbers.astype(np.uint16))
    else:
        one = one.convert(mode)
    one.save(tmp_path / "m.png")
    assert read_mask(tmp_path / "m.png")[0].tolist() == numbers.tolist()


def test_colors_differ() -> None:
    for classes in (2, 8, 40):
        assert len(set(colors_for(classes))) == classes


def test_wrong_folders(tmp_path: Path) -> None:
    """Each is refused in one sentence that names the file."""

    def refused(folder: Path, match: str) -> None:
        with pytest.raises(UserError, match=match) as caught:
            load(folder)
        assert "\n" not in str(caught.value)

    folder = folder_of(tmp_path / "a", halves(0, 1))
    (folder / "masks" / "p03.png").unlink()
    refused(folder, "p03.jpg without masks/p03.png")
    image.fromarray(np.zeros((3, 3), np.uint8)).save(folder / "masks" / "p03.png")
    refused(folder, "p03.jpg of 8 x 10 and .*p03.png of 3 x 3")
    image.fromarray(np.random.default_rng(0).integers(0, 255, (8, 10, 3)).astype(np.uint8)).save(folder / "masks" / "p03.png")
    refused(folder, r"p03.png in color \(RGB\)")
    (folder / "masks" / "p03.png").unlink()
    image.fromarray(np.zeros((8, 10), np.uint8)).save(folder / "masks" / "p03.jpg")
    refused(folder, "without losses.*p03.jpg")
    (folder / "masks" / "p03.jpg").unlink()
    image.fromarray(np.full((8, 10), 255, np.uint8)).save(folder / "masks" / "p03.png")
    refused(folder, "at least one pixel. Received .*p03.png")
    (folder / "masks" / "p03.png").write_text("no picture")
    refused(folder, "p03.png, which is not")
    refused(folder_of(tmp_path / "b", halves(1)), "two classes or more. Received only 1")
    refused(folder_of(tmp_path / "c", halves(0, 1, n=3)), "at least 5 rows")
    (tmp_path / "d" / "images").mkdir(parents=True)
    (tmp_path / "d" / "masks").mkdir()
    refused(tmp_path / "d", "d/images without any")
    double = folder_of(tmp_path / "e", halves(0, 1))
    image.fromarray(np.zeros((8, 10), np.uint8)).save(double / "images" / "p00.png")
    refused(double, "p00.jpg and p00.png")


def test_a_folder_without_masks_is_not_evaluated(tmp_path: Path) -> None:
    found = load(folder_of(tmp_path / "f", halves(0, 1)))
    with pytest.raises(UserError, match="a folder with images/ and masks/"):
        load_examples(tmp_path / "f" / "images", found.preprocessing)
