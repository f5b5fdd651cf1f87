"""Pictures: the range of their format, EXIF, colors, proportions; folders: published parts, empty classes, what is left out."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nnatomy as nn
from nnatomy.cli import main
from nnatomy.data import Fold, from_arrays, load, load_examples, load_inputs, preprocessing_from_json
from nnatomy.data.dataset import Dataset
from nnatomy.data.kinds import kind_of
from nnatomy.data.kinds.segmentation.masks import fit_mask
from nnatomy.data.pictures import decode, fit_into, picture_size, placement
from nnatomy.errors import UserError
from nnatomy.tasks.segmentation import best_class

Image = pytest.importorskip("PIL.Image", reason="Pillow is not installed")
pytestmark = pytest.mark.any_kernels
Array = np.ndarray[Any, Any]

GRAY = np.array([[0, 60], [128, 255]], np.uint8)
COLOR = np.array([[[255, 0, 0], [0, 255, 0]], [[10, 20, 30], [255, 255, 255]]], np.uint8)


def with_palette(clear: bool = False) -> Any:
    picture = Image.fromarray(np.array([[0, 1], [2, 1]], np.uint8))
    picture.putpalette([200, 10, 30, 40, 50, 60, 7, 8, 9])
    if clear:
        picture.info["transparency"] = 1
    return picture


def with_alpha(pixels: Array, alpha: list[list[int]]) -> Any:
    return Image.fromarray(np.dstack([pixels, np.array(alpha, np.uint8)]))


# name: (picture, format, what it shows from 0 to 255, by hand: (height, width) or (height, width, 3))
RANGES: dict[str, tuple[Any, str, Any]] = {
    "8 bits": (Image.fromarray(GRAY), "PNG", GRAY),
    "8 bits, dark": (Image.fromarray(GRAY // 64), "PNG", GRAY // 64),
    "color": (Image.fromarray(COLOR), "PNG", COLOR),
    "color that is gray": (Image.fromarray(np.dstack([GRAY] * 3)), "BMP", GRAY),
    "1 bit": (Image.fromarray(np.array([[True, False], [False, True]])), "PNG", [[255, 0], [0, 255]]),
    "1 bit, TIFF": (Image.fromarray(np.array([[True, False]])), "TIFF", [[255, 0]]),
    "16 bits": (Image.fromarray(np.array([[0, 120, 30000, 65535]], np.uint16)), "PNG", [[0, 120 / 257, 30000 / 257, 255]]),
    "16 bits, dark alone": (Image.fromarray(np.array([[0, 120]], np.uint16)), "PNG", [[0, 120 / 257]]),
    "16 bits, TIFF": (Image.fromarray(np.array([[0, 257]], np.uint16)), "TIFF", [[0, 1]]),
    "floats": (Image.fromarray(np.array([[0, 0.25, 1]], np.float32)), "TIFF", [[0, 63.75, 255]]),
    "floats, dark alone": (Image.fromarray(np.array([[0, 0.01]], np.float32)), "TIFF", [[0, 2.55]]),
    "palette": (with_palette(), "PNG", [[[200, 10, 30], [40, 50, 60]], [[7, 8, 9], [40, 50, 60]]]),
    "palette, clear": (with_palette(clear=True), "PNG", [[[200, 10, 30], [255] * 3], [[7, 8, 9], [255] * 3]]),
    "alpha": (with_alpha(COLOR, [[255, 0], [255, 0]]), "PNG", [[[255, 0, 0], [255] * 3], [[10, 20, 30], [255] * 3]]),
    "half clear": (with_alpha(np.zeros((1, 2, 3), np.uint8), [[255, 51]]), "PNG", [[0, 204]]),
    "gray with alpha": (with_alpha(GRAY, [[255, 0], [255, 255]]), "PNG", [[0, 255], [128, 255]]),
    "CMYK": (Image.frombytes("CMYK", (2, 1), bytes([0, 255, 255, 0, 0, 0, 0, 0])), "TIFF", [[[255, 0, 0], [255] * 3]]),
}  # fmt: skip


def stored(picture: Any, format: str) -> bytes:
    file = io.BytesIO()
    extra = {"transparency": picture.info["transparency"]} if "transparency" in picture.info else {}
    picture.save(file, format=format, **extra)
    return file.getvalue()


@pytest.mark.parametrize("name", RANGES)
def test_pixels_are_on_the_scale_of_their_format(name: str) -> None:
    picture, format, shows = RANGES[name]
    found = decode(io.BytesIO(stored(picture, format)), name)
    expected = np.asarray(shows, np.float64)
    expected = expected[None] if expected.ndim == 2 else expected.transpose(2, 0, 1)
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_a_graymap_has_the_range_that_its_header_names() -> None:
    for largest in (4095, 65535):
        made = f"P5 3 1 {largest}\n".encode() + np.array([0, largest // 4, largest], ">u2").tobytes()
        np.testing.assert_allclose(decode(io.BytesIO(made), "a.pgm")[0, 0], [0, 255 / 4, 255], atol=0.1)


@pytest.mark.parametrize("pixels", [
    np.array([[0, 254.7]], np.float32), np.array([[-0.5, 1]], np.float32), np.array([[np.nan, 1]], np.float32),
    np.array([[0, 70000]], np.int32), np.array([[-3, 9]], np.int32),
])  # fmt: skip
def test_pixels_without_a_known_range_are_refused(pixels: Array) -> None:
    """To scale each picture by its own largest value would make dark ones as bright as others."""
    with pytest.raises(UserError, match=r"8 or 16 bits, or floats from 0 to 1.*Received x with"):
        decode(io.BytesIO(stored(Image.fromarray(pixels), "TIFF")), "x")


UPRIGHT: dict[int, Callable[[Array], Array]] = {  # from the pixels in the file, as the EXIF standard defines them
    1: lambda x: x, 2: lambda x: x[:, ::-1], 3: lambda x: x[::-1, ::-1], 4: lambda x: x[::-1], 5: lambda x: x.T,
    6: lambda x: np.rot90(x, -1), 7: lambda x: np.rot90(x, 2).T, 8: lambda x: np.rot90(x), 9: lambda x: x, 0: lambda x: x,
}  # fmt: skip


@pytest.mark.parametrize("format", ["PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("number", UPRIGHT)
def test_pictures_are_upright(number: int, format: str, tmp_path: Path) -> None:
    pixels = (np.arange(6) * 40).reshape(2, 3).astype(np.uint8)
    exif = Image.Exif()
    exif[0x0112] = number
    path = tmp_path / f"x.{format.lower()}"
    Image.fromarray(pixels).save(path, format=format, exif=exif, **({"lossless": True} if format == "WEBP" else {}))
    expected = UPRIGHT[number](pixels)
    np.testing.assert_array_equal(decode(path, "x")[0], expected)
    assert picture_size(path) == expected.shape


def test_a_damaged_exif_block_hides_no_picture() -> None:
    file = io.BytesIO()
    Image.fromarray(GRAY).save(file, format="PNG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    np.testing.assert_array_equal(decode(io.BytesIO(file.getvalue()), "x")[0], GRAY)


@pytest.mark.parametrize(("old", "size", "rows", "columns"), [
    ((48, 64), (28, 28), (3, 24), (0, 28)), ((64, 48), (28, 28), (0, 28), (3, 24)), ((10, 10), (28, 28), (0, 28), (0, 28)),
    ((100, 1), (10, 10), (0, 10), (4, 5)), ((5, 10), (10, 10), (2, 7), (0, 10)), ((480, 641), (96, 128), (0, 96), (0, 128)),
])  # fmt: skip
def test_pictures_keep_their_proportions(
    old: tuple[int, int], size: tuple[int, int], rows: tuple[int, int], columns: tuple[int, int]
) -> None:
    assert placement(old, size) == (slice(*rows), slice(*columns))
    x = np.random.default_rng(0).uniform(0, 255, (2, 3, *old)).astype(np.float32)
    fitted = fit_into(x, size)
    inner = fitted[..., slice(*rows), slice(*columns)]
    for image, plane in zip(x.reshape(-1, *old), inner.reshape(-1, *inner.shape[-2:]), strict=True):
        expected = Image.fromarray(image).resize((inner.shape[-1], inner.shape[-2]), Image.Resampling.BILINEAR)
        np.testing.assert_allclose(plane, np.asarray(expected), atol=0.01)
    around = [(0, 0)] * 2 + [(part[0], new - part[1]) for part, new in zip((rows, columns), size, strict=True)]
    np.testing.assert_array_equal(fitted, np.pad(inner, around, mode="edge"))


def test_a_circle_stays_a_circle() -> None:
    rows, columns = np.mgrid[:96, :128]
    disc = (np.hypot(rows - 47.5, columns - 63.5) < 30).astype(np.float32)
    inside = fit_into(disc, (32, 32)) > 0.5
    assert abs(int(inside.any(axis=0).sum()) - int(inside.any(axis=1).sum())) <= 1


def save(path: Path, pixels: Array, **options: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)


def flat(level: int, shape: tuple[int, ...] = (6, 8, 3), dtype: Any = np.uint8) -> Array:
    return np.full(shape, level, dtype)


def classes_of(folder: Path, classes: tuple[str, ...] = ("cat", "dog"), count: int = 6, **pixels: Any) -> Path:
    """Write pictures of one color each: the level is 100 times the class, and the number of the picture."""
    for k, name in enumerate(classes):
        for n in range(count):
            save(folder / name / f"{n}.png", flat(100 * k + n, **pixels) + np.arange(3, dtype=np.uint8))
    return folder


def levels(found: Dataset) -> list[list[int]]:
    """Return the first channel's level of the pictures of each split, as `classes_of` wrote it."""
    fitted: Any = found.preprocessing
    return [np.rint(fitted.to_images(part.all()[0])[:, 0].mean(axis=(1, 2)) * 255).astype(int).tolist()
            for part in (found.train, found.validation, found.test)]  # fmt: skip


def test_a_class_of_dark_deep_pictures_stays_dark(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for name, largest in (("dark", 120), ("light", 30000)):
        for n in range(8):
            save(tmp_path / name / f"{n}.png", rng.integers(0, largest, (6, 6)).astype(np.uint16))
    found = load(tmp_path, ("image",))
    fitted: Any = found.preprocessing
    x, y = found.train.all()
    means = fitted.inverse(x).mean(axis=(1, 2, 3)) / 255
    assert means[y == 0].mean() == pytest.approx(60 / 65535, rel=0.1)
    assert means[y == 1].mean() == pytest.approx(15000 / 65535, rel=0.1)
    alone = load_inputs(tmp_path / "dark" / "0.png", fitted, raw=True).arrays[0]
    assert alone.max() == pytest.approx(np.asarray(Image.open(tmp_path / "dark" / "0.png")).max() / 257)


def test_arrays_are_scaled_by_the_training_rows_and_shown_alike() -> None:
    x = np.random.default_rng(0).uniform(0, 1, (40, 1, 4, 4)) * np.repeat([100.0, 60000.0], 20)[:, None, None, None]
    found = from_arrays(x, np.repeat([0, 1], 20))
    raw = np.concatenate([part.all()[0] for part in (found.train, found.validation, found.test)]).ravel()
    rows = np.concatenate([part.all()[1] for part in (found.train, found.validation, found.test)])
    assert raw.reshape(40, -1)[rows == 0].std() < 0.01  # not stretched to the range of the other class
    look: Any = kind_of(found).look(found)
    dark, light = (look.picture(found.train.all()[0][found.train.all()[1] == label][0]) for label in (0, 1))
    assert dark.max() < 0.01
    assert light.max() > 0.5


def test_http_and_folders_see_one_picture_alike(tmp_path: Path) -> None:
    for k, name in enumerate(("a", "b")):
        for n in range(6):
            save(tmp_path / name / f"{n}.png", (np.arange(48).reshape(6, 8) * 99 + 9000 * k + n).astype(np.uint16))
    exif = Image.Exif()
    exif[0x0112] = 6
    save(tmp_path / "a" / "0.png", (np.arange(48).reshape(6, 8) * 900).astype(np.uint16), exif=exif)
    found = load(tmp_path, ("image",))
    reader = kind_of(found).reader(found.preprocessing, found.input_shape)
    file = tmp_path / "a" / "0.png"
    (served,), _ = reader.from_other("image/png", file.read_bytes())
    np.testing.assert_allclose(served, load_inputs(file, found.preprocessing).arrays[0], atol=1e-6)


@pytest.mark.parametrize("name", ["train", "Train", "training"])
@pytest.mark.parametrize("test", ["test", "testing", "val", "valid"])
def test_a_training_and_another_part(name: str, test: str, tmp_path: Path) -> None:
    classes_of(tmp_path / name, count=20)
    classes_of(tmp_path / test, count=5)
    found = load(tmp_path, ("image",))
    assert found.classes == ("cat", "dog")
    assert (len(found.train), len(found.validation), len(found.test)) == (32, 8, 10)
    train, validation, last = levels(found)
    assert sorted(train + validation) == [*range(20), *range(100, 120)]
    assert sorted(last) == [*range(5), *range(100, 105)]
    assert any("part is the test; 8 examples" in notice for notice in found.notices)


def test_three_parts_folds_and_evaluation(tmp_path: Path) -> None:
    for n, part in enumerate(("train", "val", "test")):
        classes_of(tmp_path / part, count=9 - 2 * n)
    found = load(tmp_path, ("image",))
    assert [sorted(some) for some in levels(found)] == [[*range(n), *range(100, 100 + n)] for n in (9, 7, 5)]
    folds = [load(tmp_path, ("image",), fold=Fold(k, 4)) for k in range(4)]
    tested = [np.concatenate([part.all()[1] for part in (fold.train, fold.validation, fold.test)]) for fold in folds]
    assert all(len(labels) == 32 for labels in tested)  # the 10 pictures of the test part are in no fold
    split, notices = load_examples(tmp_path, found.preprocessing)
    assert len(split) == 10
    assert "test part" in notices[0]


def test_classes_may_have_the_names_of_parts(tmp_path: Path) -> None:
    assert load(classes_of(tmp_path / "a", ("bus", "train", "tram")), ("image",)).classes == ("bus", "train", "tram")
    assert load(classes_of(tmp_path / "b", ("plane", "test", "train")), ("image",)).classes == ("plane", "test", "train")


def heic(folder: Path) -> None:
    (folder / "cat" / "photo.heic").write_bytes(b"x")


REFUSED: dict[str, tuple[Callable[[Path], object], str]] = {
    "parts without classes": (lambda p: classes_of(p, ("train", "test")), "A part of a set holds one sub-folder"),
    "parts without training": (lambda p: [classes_of(p / part) for part in ("val", "test")], "Received test, val in"),
    "one part twice": (lambda p: [classes_of(p / part) for part in ("train", "training")], "Parts of a set are train"),
    "parts next to another folder": (
        lambda p: [classes_of(p / part) for part in ("train", "test", "more")], "Received test, train next to more"),
    "an empty class": (lambda p: (classes_of(p), (p / "owl").mkdir()), "owl with none. Add PNG or JPEG files, or remove it"),
    "an empty class of the test": (
        lambda p: (classes_of(p / "train"), classes_of(p / "test"), (p / "test" / "owl").mkdir()), "owl with none"),
    "a class of other files": (
        lambda p: (classes_of(p), (p / "owl").mkdir(), (p / "owl" / "a.heic").write_bytes(b"x")), "only others, such as a.he"),
    "a class that training lacks": (
        lambda p: (classes_of(p / "train"), classes_of(p / "test", ("cat", "dog", "owl"))), "which has 'owl'"),
    "one class": (lambda p: classes_of(p, ("cat",)), "has only 'cat'. Add another sub-folder"),
    "one folder too many": (lambda p: classes_of(p / "pictures"), "has only 'pictures'. Name"),
    "no pictures": (lambda p: (p / "a").mkdir(), "one sub-folder of pictures for each class"),
    "a name that is not UTF-8": (lambda p: classes_of(p, ("cat", "d\udce9g")), r"xe9g, which is not"),
    "a pipe": (lambda p: (classes_of(p), __import__("os").mkfifo(p / "cat" / "x.png")), "x.png, which is a pipe"),
    "a dangling link": (lambda p: (classes_of(p), (p / "cat" / "x.png").symlink_to("gone")), "a link to gone"),
    "text in a picture's place": (lambda p: (classes_of(p), (p / "cat" / "x.png").write_text("hi")), "x.png, which is not"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_folders_that_are_misunderstood_easily_are_refused(name: str, tmp_path: Path) -> None:
    make, says = REFUSED[name]
    make(tmp_path)
    with pytest.raises(UserError) as caught:
        load(tmp_path, ("image",))
    assert says in str(caught.value)


def test_files_that_take_no_part_are_named(tmp_path: Path) -> None:
    classes_of(tmp_path)
    heic(tmp_path)
    save(tmp_path / "loose.png", flat(9))
    for hidden in (".DS_Store", "cat/._0.png", "cat/Thumbs.db", "cat/.cache/a.png", "__MACOSX/cat/0.png"):
        (tmp_path / hidden).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / hidden).write_bytes(b"not a picture")
    found = load(tmp_path, ("image",))
    assert sum(map(len, (found.train, found.validation, found.test))) == 12
    said = [notice for notice in found.notices if "no part" in notice]
    assert [("photo.heic" in said[0], "1 file" in said[0]), ("loose.png" in said[1], len(said))] == [(True, True), (True, 2)]
    assert len(load_inputs(tmp_path / "cat", found.preprocessing).rows) == 6


def test_color_is_kept_where_one_training_picture_has_it(tmp_path: Path) -> None:
    """Of 120 pictures one has a color: a sample of 20 need not meet it."""
    for name, level in (("cat", 50), ("dog", 90)):
        for n in range(60):
            save(tmp_path / name / f"{n:02}.png", flat(level + n, (4, 4)))
    assert load(tmp_path, ("image",)).input_shape == (1, 4, 4)
    found = load(tmp_path, ("image",))
    fitted: Any = found.preprocessing
    level = round(float(fitted.to_images(found.train.all()[0])[1].mean() * 255))
    path = tmp_path / ("cat" if found.train.all()[1][1] == 0 else "dog") / f"{level - (50, 90)[found.train.all()[1][1]]:02}.png"
    save(path, flat(level, (4, 4, 3)) + np.array([0, 0, 1], np.uint8))
    assert load(tmp_path, ("image",)).input_shape == (3, 4, 4)


def test_gray_on_request_is_the_luma(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 255, (12, 4, 4, 3)).astype(np.uint8)
    for n, picture in enumerate(pixels):
        save(tmp_path / "ab"[n % 2] / f"{n}.png", picture)
    found = load(tmp_path, ("image",), gray=True)
    assert found.input_shape == (1, 4, 4)
    assert any("--gray" in notice for notice in found.notices)
    fitted: Any = found.preprocessing
    made = [fitted.to_images(part.all()[0])[:, 0] * 255 for part in (found.train, found.validation, found.test)]
    expected = np.stack([np.asarray(Image.fromarray(picture).convert("L"), float) for picture in pixels])
    order = np.lexsort(expected.reshape(12, -1).round().T[::-1])
    close = np.abs(np.concatenate(made)[:, None] - expected[None]).max(axis=(2, 3))
    assert sorted(close.argmin(axis=1).tolist()) == sorted(order.tolist())
    assert close.min(axis=1).max() < 0.6  # Pillow rounds


def test_what_was_learned_about_pictures_is_saved(tmp_path: Path) -> None:
    found = load(classes_of(tmp_path), ("image",), resize=(5, 5))
    saved = json.loads(json.dumps(found.preprocessing.to_json()))
    assert (saved["fit"], saved["size"], len(saved["mean"])) == ("pad", [5, 5], 3)
    assert preprocessing_from_json(saved) == found.preprocessing
    with pytest.raises(UserError, match="fit must be 'pad'"):
        preprocessing_from_json({key: value for key, value in saved.items() if key != "fit"})
    with pytest.raises(UserError, match="stretch"):
        preprocessing_from_json(saved | {"fit": "stretch"})
    assert any("6 x 8 (height x width) were resized to 5 x 5 in their proportions" in notice for notice in found.notices)


def masked(folder: Path, count: int, shape: tuple[int, int] = (8, 8), start: int = 0) -> Path:
    for n in range(start, start + count):
        save(folder / "images" / f"{n}.png", np.stack([np.full(shape, (9 * n + c) % 251, np.uint8) for c in range(3)], axis=-1))
        mask = np.zeros(shape, np.uint8)
        mask[:, shape[1] // 2 :] = 1
        save(folder / "masks" / f"{n}.png", mask)
    return folder


@pytest.mark.parametrize(("counts", "sizes"), [
    ({"train": 12, "test": 4}, (10, 2, 4)), ({"training": 12, "val": 4}, (10, 2, 4)),
    ({"train": 8, "val": 3, "test": 4}, (8, 3, 4)),
])  # fmt: skip
def test_parts_of_pictures_with_masks(counts: dict[str, int], sizes: tuple[int, ...], tmp_path: Path) -> None:
    for start, (part, count) in enumerate(counts.items()):
        masked(tmp_path / part, count, start=20 * start)
    found = load(tmp_path, ("segmentation",))
    assert tuple(map(len, (found.train, found.validation, found.test))) == sizes
    split, notices = load_examples(tmp_path, found.preprocessing)
    assert len(split) == sizes[2]
    assert "part were read" in notices[-1]
    np.testing.assert_array_equal(split.all()[1], found.test.all()[1])


def test_a_mask_without_a_picture_is_named(tmp_path: Path) -> None:
    masked(tmp_path, 9)
    save(tmp_path / "masks" / "alone.png", np.zeros((8, 8), np.uint8))
    assert any("alone.png" in notice for notice in load(tmp_path).notices)


def test_masks_keep_the_proportions_of_their_pictures_and_are_resized_back(tmp_path: Path) -> None:
    masked(masked(tmp_path, 8), 3, (8, 16), 8)
    found = load(tmp_path)
    assert found.input_shape == (3, 8, 8)
    split, notices = load_examples(tmp_path, found.preprocessing)
    wide = split.all()[1][list(range(11))]
    padded = [mask for mask in wide if (mask == 255).any()]
    assert len(padded) == 3
    expected = np.full((8, 8), 255)
    expected[2:6] = np.repeat([[0] * 4 + [1] * 4], 4, axis=0)
    for mask in padded:
        np.testing.assert_array_equal(mask, expected)
    assert not any("belong to no class" in notice for notice in notices)  # what is added is no pixel of a mask
    scores = np.stack([(expected != 1) * 1.0, (expected == 1) * 1.0]).astype(np.float32)
    truth = np.zeros((8, 16), np.uint8)
    truth[:, 8:] = 1
    np.testing.assert_array_equal(best_class(scores, (8, 16)), truth)
    np.testing.assert_array_equal(fit_mask(np.array([[0, 255]]), (2, 2), (0, 255)), [[0, 255], [254, 254]])


def shapes(folder: Path, count: int = 60) -> Path:
    """Write photographs of light shapes of any color, size and place on dark ground, 48 x 64, with noise, as JPEG files."""
    draw = pytest.importorskip("PIL.ImageDraw")
    rng = np.random.default_rng(0)
    for name in ("circle", "square", "triangle"):
        (folder / name).mkdir(parents=True)
        for n in range(count):
            ground, light = (tuple(int(v) for v in rng.integers(low, high, 3)) for low, high in ((20, 90), (120, 256)))
            picture = Image.new("RGB", (64, 48), ground)
            r = rng.uniform(10, 18)
            x, y = rng.uniform(r + 2, 62 - r), rng.uniform(r + 2, 46 - r)
            pen = draw.Draw(picture)
            if name == "circle":
                pen.ellipse([x - r, y - r, x + r, y + r], fill=light)
            elif name == "square":
                pen.rectangle([x - 0.88 * r, y - 0.88 * r, x + 0.88 * r, y + 0.88 * r], fill=light)
            else:
                pen.polygon([(x, y - r), (x - r, y + 0.8 * r), (x + r, y + 0.8 * r)], fill=light)
            noisy = np.asarray(picture) + rng.normal(0, 8, (48, 64, 3))
            save(folder / name / f"{n}.jpg", noisy.clip(0, 255).astype(np.uint8), quality=88)
    return folder


def test_lenet_learns_180_color_photographs(tmp_path: Path) -> None:
    """The five epochs that suffice for 1,257 digits are 80 steps here: they left it with one class for all."""
    run = nn.train("lenet5", str(shapes(tmp_path / "shapes")), out=tmp_path / "run", report=False)
    assert run.dataset.input_shape == (3, 28, 28)
    assert run.metrics["accuracy"] > 0.8  # 1 in 3 is the most frequent class; 0.46 after five epochs
    predicted = nn.predict(tmp_path / "run", tmp_path / "shapes" / "circle")
    assert (np.asarray(predicted.columns["prediction"]) == "circle").mean() > 0.8


def test_size_and_gray_by_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = classes_of(tmp_path / "p", count=8)
    words = ["train", "mlp", "--data", str(folder), "--epochs", "1", "--set", "hidden=4"]
    cases = ((["--gray"], (1, 6, 8)), (["--resize", "4x5"], (3, 4, 5)), (["--resize", "3", "--no-gray"], (3, 3, 3)))
    for flags, shape in cases:
        out = tmp_path / "-".join(flags)
        assert main([*words, *flags, "--out", str(out)]) == 0
        saved = json.loads((out / "preprocessing.json").read_text())
        assert (len(saved["mean"]), *saved["size"]) == shape
        assert flags[0] in " ".join(json.loads((out / "run.json").read_text())["command"].split())
    capsys.readouterr()
    for size in ("4x", "axb", "0x4", "9999x9999", "1x2x3", ""):
        assert main([*words, "--resize", size]) == 2
        assert "--resize takes HEIGHTxWIDTH" in capsys.readouterr().err
    for name in ("gray", "load.gray", "load.resize"):  # the report lists a recipe's own as load.resize
        assert main([*words, "--set", f"{name}=3"]) == 2
        assert f"Use --{name.removeprefix('load.')}." in capsys.readouterr().err
    assert main(["train", "mlp", "--data", "iris", "--gray"]) == 2
    assert "--gray does not apply to tables" in capsys.readouterr().err


def test_the_papers_lenet_names_the_option_for_gray(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = str(classes_of(tmp_path / "p", count=8))
    words = ["train", "lenet5", "--data", folder, "--set", "form=paper", "--epochs", "1", "--out", str(tmp_path / "run")]
    assert main(words) == 2
    assert "Use --gray" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
    assert main([*words, "--gray"]) == 0


@pytest.mark.parametrize("sides", [(12000, 12000), (60000, 60000)])
def test_pictures_that_claim_too_many_pixels_are_refused_by_their_header(sides: tuple[int, int]) -> None:
    """The first is between the size of which Pillow warns and the one that it refuses."""
    import struct
    import zlib

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", *sides, 8, 0, 0, 0, 0)
    made = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(9))) + chunk(b"IEND", b"")
    with pytest.raises(UserError, match=r"A picture has up to 89,478,485 pixels\. Received x, which has more"):
        decode(io.BytesIO(made), "x")


def test_a_picture_of_several_frames_is_its_first(tmp_path: Path) -> None:
    frames = [Image.fromarray(flat(level, (3, 4))) for level in (50, 200)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    np.testing.assert_array_equal(decode(tmp_path / "a.gif", "x")[0], flat(50, (3, 4)))
