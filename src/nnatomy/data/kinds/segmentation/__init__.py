"""Pictures with a mask each, which says of every pixel to which class it belongs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nnatomy.data.dataset import ArraySplit, Dataset, Split
from nnatomy.data.fields import IGNORE
from nnatomy.data.folders import PARTS, left_out, official_parts, parts_notice, subfolders
from nnatomy.data.kinds.kind import NO, SURELY, ExportedInputs, Kind
from nnatomy.data.kinds.looks import Look, Pictures
from nnatomy.data.kinds.segmentation.masks import (
    FIELDS,
    MASK_SUFFIXES,
    Color,
    SegmentationPreprocessing,
    colors_for,
    fit_mask,
    read_mask,
    segmentation_dataset,
)
from nnatomy.data.kinds.segmentation.sets import SETS
from nnatomy.data.pictures import SUFFIXES, describe_fit, in_channels, picture_size, read_pictures, usual_size
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
    folders = "images/ and masks/ with the same names (in train/ and test/, or not)"
    sets = SETS

    def recognize(self, source: Source, reading: Reading) -> int:
        folders = (source.path, *(subfolders(source.path) if source.path.is_dir() else ()))
        named = [folder for folder in folders if folder == source.path or folder.name.lower() in PARTS]
        return SURELY if any(map(_holds_masks, named)) else NO

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
        images = in_channels(read_pictures(files, pixels.size), len(pixels.mean))
        arrays = preprocessing.raw(images) if raw else preprocessing.transform(images)
        return Inputs((*arrays, np.array([picture_size(file) for file in files], np.int64)), tuple(file.name for file in files))

    def examples(self, source: Source, preprocessing: SegmentationPreprocessing) -> tuple[Split, tuple[str, ...]]:
        parts = _parts(source.path)
        part, folder = list(parts.items())[-1]
        pairs, notices = _pairs(folder)
        if part:
            notices.append(f"The {len(pairs)} pictures of its {part} part were read, not those for training.")
        pixels = preprocessing.pixels
        masks = _masks(pairs)
        for (_, path), (mask, _) in zip(pairs, masks, strict=True):
            unknown = sorted(set(np.unique(mask).tolist()) - {*preprocessing.values, IGNORE})
            if unknown:
                known = ", ".join(map(str, preprocessing.values))
                raise UserError(f"The model knows the numbers {known} of masks. Received {unknown[0]} in {path}. Change it.")
        nowhere = float(np.mean([(preprocessing.ids(mask) == IGNORE).mean() for mask, _ in masks]))
        if nowhere > 0.005:
            notices.append(f"{nowhere:.0%} of the pixels belong to no class and do not count.")
        ids = preprocessing.ids(np.stack([fit_mask(mask, pixels.size, preprocessing.values) for mask, _ in masks]))
        images = in_channels(read_pictures([picture for picture, _ in pairs], pixels.size), len(pixels.mean))
        return ArraySplit((*preprocessing.transform(images), ids), FIELDS), tuple(notices)

    def reader(self, preprocessing: SegmentationPreprocessing, input_shape: tuple[int, ...]) -> RequestReader:
        from nnatomy.data.kinds.pixels import PixelReader

        return PixelReader(preprocessing.pixels, lambda images: (*preprocessing.transform(images), _sizes(images)))

    def exported(self, dataset: Dataset) -> ExportedInputs:
        from nnatomy.data.kinds.pixels import PixelInputs

        return PixelInputs(dataset, self.fitted(dataset).pixels)

    def limits(self, dataset: Dataset) -> str:
        shape = " x ".join(map(str, dataset.input_shape))
        sees = f"It sees images of {shape} (channels x height x width)"
        return f"{sees}; others are resized in their proportions, and their masks are resized back."

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
                raise UserError(f"Pictures need different names. Received {found[path.stem]} and {path.name}. Rename one.")
            found[path.stem] = path
    if not found:
        raise UserError(f"A folder of pictures holds files such as a.png or b.jpg. Received {folder} without any. Check it.")
    return found


def _holds_masks(folder: Path) -> bool:
    return (folder / "images").is_dir() and (folder / "masks").is_dir()


def _parts(folder: Path) -> dict[str, Path]:
    """Return the published parts of a folder in their order, the last one for testing; itself as "" where it has none."""
    parts = {} if _holds_masks(folder) else official_parts(folder, _holds_masks, "images/ and masks/")
    return {name: parts[name] for name in ("train", "validation", "test") if name in parts} or {"": folder}


def _pairs(folder: Path) -> tuple[list[tuple[Path, Path]], list[str]]:
    """Return each picture of images/ with its mask of masks/, and what was noticed. Raises UserError where one has no mask."""
    if not _holds_masks(folder):
        raise UserError(f"Images with masks are a folder with images/ and masks/. Received {folder} without them. Add them.")
    pictures, masks = _pictures(folder / "images"), _pictures(folder / "masks", (*MASK_SUFFIXES, ".jpg", ".jpeg"))
    alone = next((path for stem, path in pictures.items() if stem not in masks), None)
    if alone is not None:
        raise UserError(f"Each picture has a mask of its name. Received {alone} without masks/{alone.stem}.png. Add it.")
    lonely = [path for stem, path in masks.items() if stem not in pictures]
    return [(path, masks[stem]) for stem, path in pictures.items()], left_out(lonely, folder, "no picture has its name")


def _masks(pairs: Sequence[tuple[Path, Path]]) -> list[tuple[Array, list[Color]]]:
    """Return each mask and its palette. Raises UserError where its size is not that of its picture."""
    masks = [read_mask(path) for _, path in pairs]
    for (picture, path), (mask, _) in zip(pairs, masks, strict=True):
        size = picture_size(picture)
        if size != mask.shape:
            raise UserError(
                f"A mask has its picture's size. Received {picture} of {size[0]} x {size[1]} and {path} of {mask.shape[0]} x "
                f"{mask.shape[1]}. Make them alike."
            )
    return masks


def _folder(folder: Path, reading: Reading) -> Dataset:
    """Return the data set of a folder with images/ and masks/; classes and sizes are those of the training part."""
    found = {part: _pairs(path) for part, path in _parts(folder).items()}
    pairs = [pair for some, _ in found.values() for pair in some]
    notices = [notice for _, some in found.values() for notice in some]
    parts = reading.consecutive([len(some) for some, _ in found.values()])
    notices += parts_notice(list(found), len(parts.validation), reading)
    read = _masks(pairs)
    masks = [mask for mask, _ in read]
    trained = set(np.unique(np.concatenate([np.unique(masks[row]) for row in parts.train])).tolist())
    values, names = _classes(folder, trained)
    unseen = sorted({int(v) for mask in masks for v in np.unique(mask)} - {*values, IGNORE})
    if unseen and (folder / NAMES).is_file():
        raise UserError(f"{folder / NAMES} names {len(names)} classes, from 0 on. Received masks with {unseen[0]}. Name it.")
    if unseen:
        notices.append(f"Pixels of {', '.join(map(str, unseen))}, which no training mask has, belong to no class.")
    sizes = [(mask.shape[0], mask.shape[1]) for mask in masks]
    wanted = reading.use("resize")
    size = wanted or usual_size([sizes[row] for row in parts.train])
    notices += describe_fit(sizes, size, wanted is not None)
    pictures, small = read_pictures([path for path, _ in pairs], size), np.stack([fit_mask(m, size, values) for m in masks])
    for row, mask in enumerate(small):
        if not np.isin(mask, values).any():
            raise UserError(f"A mask gives a class to at least one pixel. Received {pairs[row][1]} without any. Remove it.")
    all_gray = all(len(pictures[row]) == 1 for row in parts.train)
    gray = reading.use("gray", all_gray)
    if gray and not all_gray:
        notices.append("Color pictures were made gray, as --gray requests.")
    images = in_channels(pictures, 1 if gray else 3)
    return segmentation_dataset(
        folder.name, [(images[rows], small[rows]) for rows in parts], names, values=values,
        palette=_palette([colors for row in parts.train if (colors := read[row][1])], values),
        notices=notices, description=f"{len(pairs)} {'gray' if gray else 'color'} pictures with masks from {folder}",
    )  # fmt: skip


def _classes(folder: Path, trained: set[int]) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """Return the numbers of the classes and their names; 255 is a class only in masks of 0 and 255 alone."""
    if (folder / NAMES).is_file():
        lines = (folder / NAMES).read_text(encoding="utf-8").split("\n")
        names = tuple(line.strip() for line in lines if line.strip())
        if not 2 <= len(names) <= IGNORE or len(set(names)) < len(names):
            raise UserError(f"{folder / NAMES} has 2 to 255 lines, each with another name. Received {len(names)}. Correct it.")
        return tuple(range(len(names))), names
    if trained == {0, 255}:
        return (0, 255), ("background", "foreground")
    values = tuple(sorted(trained - {IGNORE}))
    if len(values) < 2:
        raise UserError(
            f"Masks hold two classes or more. Received only {', '.join(map(str, sorted(trained)))} in those of {folder} that "
            "are for training. Check them."
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
