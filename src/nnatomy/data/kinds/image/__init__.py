"""Images of one class each: folders of pictures, MNIST's idx files, named sets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nnatomy.data.dataset import ArraySplit, Dataset, Split
from nnatomy.data.folders import pictures_in, subfolders
from nnatomy.data.kinds.image.folders import folder_dataset, labeled_pictures
from nnatomy.data.kinds.image.idx import idx_files, is_idx, read_idx
from nnatomy.data.kinds.image.images import FIELDS, image_dataset
from nnatomy.data.kinds.image.sets import SETS
from nnatomy.data.kinds.kind import BARELY, NO, PERHAPS, SURELY, ExportedInputs, Kind
from nnatomy.data.kinds.looks import Look, Pictures
from nnatomy.data.pictures import SUFFIXES, ImagePreprocessing, in_a_grid, in_channels, read_pictures, write_image
from nnatomy.data.reading import Inputs, Reading, Source
from nnatomy.data.requests import RequestReader
from nnatomy.data.splits import class_ids
from nnatomy.errors import UserError

Array = npt.NDArray[Any]


class ImageKind(Kind[ImagePreprocessing]):
    """Images [channels, height, width], each of one class."""

    name = "image"
    noun = "images"
    preprocessing = ImagePreprocessing
    options = frozenset({"resize", "gray", "binary"})
    folders = "one sub-folder of pictures for each class (in train/ and test/, or not), MNIST idx files"
    sets = SETS
    labels_optional = True

    def recognize(self, source: Source, reading: Reading) -> int:
        if is_idx(source.path) or source.suffix in SUFFIXES:
            return SURELY
        if not source.path.is_dir() or not any(child.is_dir() for child in source.path.iterdir()):
            return NO
        return PERHAPS if any(path.suffix.lower() in SUFFIXES for path in source.path.rglob("*")) else BARELY

    def read(self, source: Source, reading: Reading) -> Dataset:
        path = source.path
        if path.is_file() and is_idx(path):
            raise UserError(f"MNIST files are read four at a time. Received {path.name} alone. Name its folder {path.parent}.")
        if path.is_file():
            raise UserError(
                f"Pictures are read as a folder with one sub-folder for each class. Received {path}, which is one picture. "
                "Name the folder."
            )
        return _mnist(path, reading) if is_idx(path) else folder_dataset(path, reading)

    def inputs(self, source: Source, preprocessing: ImagePreprocessing, raw: bool = False) -> Inputs:
        path = source.path
        prepared = preprocessing.raw if raw else preprocessing.transform
        if path.is_file() and is_idx(path):
            images = read_idx(path)
            if images.ndim != 3:
                raise UserError(
                    f"Images have 3 axes (n, height, width). Received {path}, which has {images.ndim}. Give the file of images."
                )
            return Inputs(prepared(images[:, None]), tuple(str(n + 1) for n in range(len(images))))
        files = [path] if path.is_file() else pictures_in(path, SUFFIXES)[0]
        if not files:
            raise UserError(f"A folder of pictures holds some. Received {path} without any. Name another folder.")
        scaled = read(files, preprocessing)
        return Inputs(prepared(scaled), tuple(str(p.relative_to(path)) if p != path else p.name for p in files))

    def examples(self, source: Source, preprocessing: ImagePreprocessing) -> tuple[Split, tuple[str, ...]]:
        path = source.path
        if path.is_dir() and is_idx(path):
            arrays = idx_files(path)
            labels = class_ids([str(label) for label in arrays["t10k-labels"]], preprocessing.classes, path)
            notice = f"The {len(labels)} test images of {path.name} were read, not those for training."
            return ArraySplit((*preprocessing.transform(arrays["t10k-images"][:, None]), labels), FIELDS), (notice,)
        if not path.is_dir() or not subfolders(path):
            raise UserError(
                f"To evaluate, pictures are in a folder with a sub-folder for each class. Received {path} without these. "
                "Use nnatomy predict for pictures without classes."
            )
        part, found = list(labeled_pictures(path).items())[-1]
        notices = (f"The {len(found.files)} pictures of its {part} part were read, not those for training.",) if part else ()
        labels = class_ids(found.labels, preprocessing.classes, path)
        inputs = preprocessing.transform(read(found.files, preprocessing))
        return ArraySplit((*inputs, labels), FIELDS), (*notices, *found.notices)

    def reader(self, preprocessing: ImagePreprocessing, input_shape: tuple[int, ...]) -> RequestReader:
        from nnatomy.data.kinds.pixels import PixelReader

        return PixelReader(preprocessing)

    def exported(self, dataset: Dataset) -> ExportedInputs:
        from nnatomy.data.kinds.pixels import PixelInputs

        return PixelInputs(dataset, self.fitted(dataset))

    def limits(self, dataset: Dataset) -> str:
        shape = " × ".join(map(str, dataset.input_shape))
        sees = f"It sees images of {shape} (channels × height × width)"
        return f"{sees}; others are resized in their proportions, and the pixels at their edges fill the rest."

    def made(self, inputs: Array, dataset: Dataset) -> tuple[dict[str, Array], dict[str, Callable[[Path], None]]]:
        """Return pictures as PNG files, one each, and a grid of all of them."""
        pictures = self.fitted(dataset).to_images(inputs)
        digits = len(str(len(pictures)))
        files: dict[str, Callable[[Path], None]] = {"samples.png": partial(write_image, in_a_grid(pictures))}
        return {}, files | {f"{n + 1:0{digits}}.png": partial(write_image, p) for n, p in enumerate(pictures)}

    def look(self, dataset: Dataset) -> Look:
        fitted = self.fitted(dataset)
        return Pictures(fitted.mean, fitted.std)


def read(files: Sequence[Path], preprocessing: ImagePreprocessing) -> Array:
    """Return pictures as a model takes them raw: (n, channels, height, width) of its size, with values 0..largest."""
    pictures = in_channels(read_pictures(files, preprocessing.size), len(preprocessing.mean))
    return pictures * np.float32(preprocessing.largest / 255.0)


def _mnist(folder: Path, reading: Reading) -> Dataset:
    reading.use("gray")  # these images are gray already
    arrays = idx_files(folder)
    images, labels = arrays["train-images"][:, None], arrays["train-labels"]
    classes = [str(c) for c in range(int(max(labels.max(), arrays["t10k-labels"].max())) + 1)]
    # A twelfth for choosing the best epoch, as most reports on MNIST do (55,000 + 5,000); the test files stay untouched.
    train, held, rest = reading.hold_out(len(labels), labels, tuple(classes), 1 / 12)
    if rest is None:
        test = (arrays["t10k-images"][:, None], arrays["t10k-labels"])
        notice = f"{len(held)} of the {len(labels)} training images are held out for validation."
        text = f"{len(labels)} training and {len(test[1])} test images from {folder}"
    else:
        test = (images[rest], labels[rest])
        notice = f"The {len(arrays['t10k-labels'])} images of the official test part take no part."
        text = f"{len(train) + len(held) + len(rest)} training images from {folder}"
    parts = [(images[train], labels[train]), (images[held], labels[held]), test]
    size, binary = reading.use("resize"), reading.use("binary", False)
    return image_dataset(folder.name, parts, classes, resize=size, binary=binary, notices=[notice], description=text)


KIND = ImageKind()
