"""Pictures with a mask each, which says of every pixel to which class it belongs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nnatomy.data.dataset import ArraySplit, Dataset, Split
from nnatomy.data.fields import IGNORE
from nnatomy.data.kinds.kind import NO, SURELY, ExportedInputs, Kind
from nnatomy.data.kinds.looks import Look, Pictures
from nnatomy.data.kinds.segmentation.masks import (
    FIELDS,
    MASK_SUFFIXES,
    Color,
    SegmentationPreprocessing,
    colors_for,
    read_mask,
    resize_batch,
    resize_mask,
    segmentation_dataset,
)
from nnatomy.data.kinds.segmentation.sets import SETS
from nnatomy.data.pictures import SUFFIXES, deep_value, deepest_of, is_gray, read_image, usual_size
from nnatomy.data.reading import Inputs, Reading, Source
from nnatomy.data.requests import RequestReader
from nnatomy.errors import UserError

Array = npt.NDArray[Any]
NAMES = "classes.txt"
"""A file of the folder with the classes' names, one a line, for the numbers 0, 1, 2, ... of the masks."""


class SegmentationKind(Kind[SegmentationPreprocessing]):
    """Images (channels, height, width) and masks (height, width) of class ids."""

    name = "segmentation"
    noun = "images with masks"
    preprocessing = SegmentationPreprocessing
    options = frozenset({"resize", "gray"})
    folders = "images/ and masks/ with the same names"
    sets = SETS

    def recognize(self, source: Source, reading: Reading) -> int:
        return SURELY if (source.path / "images").is_dir() and (source.path / "masks").is_dir() else NO

    def read(self, source: Source, reading: Reading) -> Dataset:
        return _folder(source.path, reading)

    def inputs(self, source: Source, preprocessing: SegmentationPreprocessing, raw: bool = False) -> Inputs:
        path = source.path
        if path.is_dir():
            inside = path / "images" if (path / "images").is_dir() else path
            files = [*_pictures(inside).values()]
        else:
            files = [path]
        pixels = preprocessing.pixels
        pictures = [read_image(file, len(pixels.mean) == 1, pixels.deepest) for file in files]
        images = resize_batch(pictures, pixels.size)
        arrays = preprocessing.raw(images) if raw else preprocessing.transform(images)
        return Inputs((*arrays, _sizes(pictures)), tuple(file.name for file in files))

    def examples(self, source: Source, preprocessing: SegmentationPreprocessing) -> tuple[Split, tuple[str, ...]]:
        pairs = _pairs(source.path)
        pixels = preprocessing.pixels
        pictures = [read_image(picture, len(pixels.mean) == 1, pixels.deepest) for picture, _ in pairs]
        masks = [read_mask(path)[0] for _, path in pairs]
        _check_sizes(pairs, pictures, masks)
        for (_, path), mask in zip(pairs, masks, strict=True):
            unknown = sorted(set(np.unique(mask).tolist()) - {*preprocessing.values, IGNORE})
            if unknown:
                known = ", ".join(map(str, preprocessing.values))
                raise UserError(f"The model knows the numbers {known} of masks. Received {unknown[0]} in {path}; change it.")
        ids = preprocessing.ids(np.stack([resize_mask(mask, pixels.size) for mask in masks]))
        nowhere = float((ids == IGNORE).mean())
        notices = (f"{nowhere:.0%} of the pixels belong to no class and do not count.",) if nowhere > 0.005 else ()
        return ArraySplit((*preprocessing.transform(resize_batch(pictures, pixels.size)), ids), FIELDS), notices

    def reader(self, preprocessing: SegmentationPreprocessing, input_shape: tuple[int, ...]) -> RequestReader:
        from nnatomy.data.kinds.pixels import PixelReader

        return PixelReader(preprocessing.pixels, lambda images: (*preprocessing.transform(images), _sizes(images)))

    def exported(self, dataset: Dataset) -> ExportedInputs:
        from nnatomy.data.kinds.pixels import PixelInputs

        return PixelInputs(dataset, self.fitted(dataset).pixels)

    def limits(self, dataset: Dataset) -> str:
        shape = " x ".join(map(str, dataset.input_shape))
        return f"It sees images of {shape} (channels x height x width); others are resized, and their masks are resized back."

    def look(self, dataset: Dataset) -> Look:
        pixels = self.fitted(dataset).pixels
        return Pictures(pixels.mean, pixels.std)


def _sizes(pictures: Sequence[Array] | Array) -> Array:
    """Return the (height, width) of each picture (channels, height, width) as the user has it: int64 (n, 2)."""
    return np.array([picture.shape[-2:] for picture in pictures], np.int64)


def _pictures(folder: Path, suffixes: Sequence[str] = SUFFIXES) -> dict[str, Path]:
    """Return the pictures in a folder by their names without endings. Raises UserError where there are none, or two alike."""
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in suffixes and not path.name.startswith("."):
            if path.stem in found:
                raise UserError(f"Pictures need different names. Received {found[path.stem]} and {path.name}; rename one.")
            found[path.stem] = path
    if not found:
        raise UserError(f"A folder of pictures holds files such as a.png or b.jpg. Received {folder} without any; check it.")
    return found


def _pairs(folder: Path) -> list[tuple[Path, Path]]:
    """Return each picture of images/ with its mask of masks/. Raises UserError where one has no mask."""
    if not ((folder / "images").is_dir() and (folder / "masks").is_dir()):
        raise UserError(f"Images with masks are a folder with images/ and masks/. Received {folder} without them; add them.")
    pictures, masks = _pictures(folder / "images"), _pictures(folder / "masks", (*MASK_SUFFIXES, ".jpg", ".jpeg"))
    alone = next((path for stem, path in pictures.items() if stem not in masks), None)
    if alone is not None:
        raise UserError(f"Each picture has a mask of its name. Received {alone} without masks/{alone.stem}.png; add it.")
    return [(path, masks[stem]) for stem, path in pictures.items()]


def _check_sizes(pairs: Sequence[tuple[Path, Path]], pictures: Sequence[Array], masks: Sequence[Array]) -> None:
    for (picture, path), pixels, mask in zip(pairs, pictures, masks, strict=True):
        if pixels.shape[1:] != mask.shape:
            raise UserError(
                f"A mask has its picture's size. Received {picture} of {pixels.shape[1]} x {pixels.shape[2]} and {path} of "
                f"{mask.shape[0]} x {mask.shape[1]}; make them alike."
            )


def _folder(folder: Path, reading: Reading) -> Dataset:
    """Return the data set of a folder with images/ and masks/; classes and sizes are those of the training part."""
    pairs = _pairs(folder)
    parts = reading.part(len(pairs))
    gray = reading.use("gray")
    gray = is_gray([pairs[row][0] for row in parts.train]) if gray is None else gray
    deepest = deepest_of([deep_value(pairs[row][0]) for row in parts.train])
    pictures = [read_image(path, gray, deepest) for path, _ in pairs]
    read = [read_mask(path) for _, path in pairs]
    masks = [mask for mask, _ in read]
    _check_sizes(pairs, pictures, masks)
    trained = set(np.unique(np.concatenate([np.unique(masks[row]) for row in parts.train])).tolist())
    values, names = _classes(folder, trained)
    notices = []
    unseen = sorted({int(v) for mask in masks for v in np.unique(mask)} - {*values, IGNORE})
    if unseen and (folder / NAMES).is_file():
        raise UserError(f"{folder / NAMES} names {len(names)} classes, from 0 on. Received masks with {unseen[0]}; name it.")
    if unseen:
        notices.append(f"Pixels of {', '.join(map(str, unseen))}, which no training mask has, belong to no class.")
    sizes = [mask.shape for mask in masks]
    size = reading.use("resize") or usual_size([sizes[row] for row in parts.train])
    if set(sizes) != {size}:
        notices.append(f"Pictures of {len(set(sizes))} sizes were resized to {size[0]} x {size[1]}.")
    images, small = resize_batch(pictures, size), np.stack([resize_mask(mask, size) for mask in masks])
    for row, mask in enumerate(small):
        if not np.isin(mask, values).any():
            raise UserError(f"A mask gives a class to at least one pixel. Received {pairs[row][1]} without any; remove it.")
    return segmentation_dataset(
        folder.name, [(images[rows], small[rows]) for rows in parts], names, values=values,
        palette=_palette([colors for row in parts.train if (colors := read[row][1])], values), deepest=deepest,
        notices=notices, description=f"{len(pairs)} {'gray' if gray else 'color'} pictures with masks from {folder}",
    )  # fmt: skip


def _classes(folder: Path, trained: set[int]) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """Return the numbers of the classes and their names; 255 is a class only in masks of 0 and 255 alone."""
    if (folder / NAMES).is_file():
        lines = (folder / NAMES).read_text(encoding="utf-8").split("\n")
        names = tuple(line.strip() for line in lines if line.strip())
        if not 2 <= len(names) <= IGNORE or len(set(names)) < len(names):
            raise UserError(f"{folder / NAMES} has 2 to 255 lines, each with another name. Received {len(names)}; correct it.")
        return tuple(range(len(names))), names
    if trained == {0, 255}:
        return (0, 255), ("background", "foreground")
    values = tuple(sorted(trained - {IGNORE}))
    if len(values) < 2:
        raise UserError(
            f"Masks hold two classes or more. Received only {', '.join(map(str, sorted(trained)))} in those of {folder} that "
            "are for training; check them."
        )
    return values, tuple(map(str, values))


def _palette(palettes: Sequence[list[Color]], values: Sequence[int]) -> tuple[Color, ...]:
    """Return the colors of the first mask that has enough of them; black and white for two classes, else colors of ours."""
    for colors in palettes:
        chosen = [colors[value] for value in values if value < len(colors)]
        if len(chosen) == len(values) and len(set(chosen)) == len(chosen):
            return tuple(chosen)
    return ((0, 0, 0), (255, 255, 255)) if tuple(values) == (0, 255) else colors_for(len(values))


KIND = SegmentationKind()
