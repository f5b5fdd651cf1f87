"""Folders with one sub-folder of pictures for each class, in published parts or not."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nnatomy.data.dataset import Dataset
from nnatomy.data.folders import left_out, official_parts, parts_notice, pictures_in, subfolders
from nnatomy.data.kinds.image.images import image_dataset
from nnatomy.data.pictures import SUFFIXES, describe_fit, in_channels, picture_size, read_pictures, usual_size
from nnatomy.data.reading import Reading
from nnatomy.data.splits import class_ids
from nnatomy.errors import UserError

__all__ = ["folder_dataset", "labeled_pictures"]

Array = npt.NDArray[Any]
FORM = "one sub-folder of pictures for each class"


@dataclass(frozen=True)
class LabeledPictures:
    """Files with their classes, in order of the parts, and what was noticed."""

    files: tuple[Path, ...]
    labels: tuple[str, ...]
    notices: tuple[str, ...]


def labeled_pictures(folder: Path) -> dict[str, LabeledPictures]:
    """Return the pictures of each part of a folder, "train", "validation" and "test"; all as "" where it is not divided."""
    parts = official_parts(folder, lambda part: bool(subfolders(part)), FORM) or {"": folder}
    return {part: _classes(parts[part], folder) for part in ("", "train", "validation", "test") if part in parts}


def _classes(folder: Path, root: Path) -> LabeledPictures:
    inside = {child: pictures_in(child, SUFFIXES) for child in subfolders(folder)}
    if not any(pictures for pictures, _ in inside.values()):
        raise UserError(f"A folder of images has {FORM}. Received {folder} without them. Sort pictures so.")
    empty, others = next(((child, others) for child, (pictures, others) in inside.items() if not pictures), (None, []))
    if empty is not None:
        said = f"only others, such as {others[0].name}" if others else "none"
        remedy = "Add PNG or JPEG files, or remove it"
        raise UserError(f"The folder of each class holds pictures. Received {empty} with {said}. {remedy}.")
    files = [path for pictures, _ in inside.values() for path in pictures]
    labels = [child.name for child, (pictures, _) in inside.items() for _ in pictures]
    others = [path for _, more in inside.values() for path in more]
    loose = [path for path in sorted(folder.iterdir()) if path.suffix.lower() in SUFFIXES and not path.is_dir()]
    notices = left_out(others, root, "its name does not end like a picture's")
    return LabeledPictures(tuple(files), tuple(labels), (*notices, *left_out(loose, root, "it is in no class's folder")))


def folder_dataset(folder: Path, reading: Reading) -> Dataset:
    """Return the data set of a folder of pictures.

    Raises UserError where there are no pictures, one class only, a class without pictures, or a broken picture.
    """
    found = labeled_pictures(folder)
    paths = [path for part in found.values() for path in part.files]
    first, *later = found.values()
    classes = tuple(dict.fromkeys(first.labels))
    if len(classes) < 2:
        only = folder / classes[0]
        remedy = f"Name {only}" if subfolders(only) else "Add another sub-folder"
        raise UserError(f"Classification needs two or more classes. Received {folder}, which has only {only.name!r}. {remedy}.")
    labels = np.concatenate([class_ids(part.labels, classes, folder) for part in (first, *later)])
    sizes = [picture_size(path) for path in paths]
    parts = reading.consecutive([len(part.files) for part in found.values()], labels, classes)
    notices = parts_notice(list(found), len(parts.validation), reading)
    wanted = reading.use("resize")
    size = wanted or usual_size([sizes[row] for row in parts.train])
    pictures = read_pictures(paths, size)
    all_gray = all(len(pictures[row]) == 1 for row in parts.train)
    gray = reading.use("gray", all_gray)
    if gray and not all_gray:
        notices.append("Color pictures were made gray, as --gray requests.")
    images = in_channels(pictures, 1 if gray else 3)
    text = f"{len(paths)} {'gray' if gray else 'color'} pictures of {len(classes)} classes from {folder}"
    notices += [*describe_fit(sizes, size, wanted is not None), *(notice for part in found.values() for notice in part.notices)]
    split = [(images[rows], labels[rows]) for rows in parts]
    binary = reading.use("binary", False)
    return image_dataset(folder.name, split, classes, binary=binary, notices=notices, description=text)
