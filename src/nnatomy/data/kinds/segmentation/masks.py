"""Masks as files and as class ids, and the preprocessing of pictures that come with them."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from nnatomy.data.dataset import ArraySplit, Batch, Dataset, Preprocessing
from nnatomy.data.fields import IGNORE, Field
from nnatomy.data.pictures import SUFFIXES, ImagePreprocessing, opened, placement, upright
from nnatomy.errors import UserError

__all__ = [
    "FIELDS", "MASK_SUFFIXES", "Color", "SegmentationPreprocessing", "colors_for", "fit_mask", "read_mask",
    "segmentation_dataset",
]  # fmt: skip

Array = npt.NDArray[Any]
Color = tuple[int, int, int]
FIELDS = (Field("image", like="image"), Field("mask", role="target", like="mask", fill=IGNORE))
LOSSY = (".jpg", ".jpeg")
MASK_SUFFIXES = tuple(suffix for suffix in SUFFIXES if suffix not in LOSSY)
FIRST_COLORS: tuple[Color, ...] = (
    (38, 50, 56), (230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66), (0, 114, 178), (213, 94, 0), (204, 121, 167),
)  # fmt: skip
"""Okabe and Ito's colors after a dark one for the first class, which is often the background."""


def colors_for(classes: int) -> tuple[Color, ...]:
    """Return a color for each of so many classes."""
    more = [colorsys.hsv_to_rgb(n * 0.618 % 1, 0.6, 0.5 + 0.4 * (n % 2)) for n in range(classes - len(FIRST_COLORS))]
    return (*FIRST_COLORS, *((round(255 * r), round(255 * g), round(255 * b)) for r, g, b in more))[:classes]


@dataclass(frozen=True)
class SegmentationPreprocessing(Preprocessing):
    """Scales pictures as `pixels` says; masks have one of `values` for each of `classes`, all else belongs to no class."""

    kind: ClassVar[str] = "segmentation"
    pixels: ImagePreprocessing
    classes: tuple[str, ...]
    values: tuple[int, ...]
    """The number that means each class in a mask's file."""
    palette: tuple[Color, ...]
    """The color in which each class is shown."""

    def transform(self, raw: Array) -> Batch:
        return self.pixels.transform(raw)

    def raw(self, given: Array) -> Batch:
        return self.pixels.raw(given)

    def prepare(self, *raw: Array) -> Batch:
        return self.pixels.prepare(*raw)

    def ids(self, values: Array) -> Array:
        """Return the class ids (...) int64 of a mask's numbers (...); IGNORE where a number means no class."""
        table = np.full(256, IGNORE, np.int64)
        table[list(self.values)] = np.arange(len(self.values))
        return np.asarray(table[values])


def segmentation_dataset(
    name: str,
    parts: Sequence[tuple[Array, Array]],
    classes: Sequence[str],
    *,
    values: Sequence[int] = (),
    palette: Sequence[Color] = (),
    notices: Sequence[str] = (),
    description: str = "",
) -> Dataset:
    """Return the data set of three parts (images (n, channels, height, width) of 0 to 255, masks (n, height, width)).

    Masks hold `values`, 0, 1, ... if there are none. Pictures are standardized by the first part.
    """
    pixels = ImagePreprocessing.fit(parts[0][0], (), 255.0, None)
    values = tuple(values) or tuple(range(len(classes)))
    preprocessing = SegmentationPreprocessing(pixels, tuple(classes), values, tuple(palette) or colors_for(len(classes)))
    splits = [ArraySplit((*preprocessing.transform(x), preprocessing.ids(y)), FIELDS) for x, y in parts]
    return Dataset(
        name, "segmentation", "segmentation", splits[0], splits[1], splits[2], tuple(classes), preprocessing, tuple(notices),
        parts[0][0].shape[1:], description, len(classes),
    )  # fmt: skip


def read_mask(path: Path) -> tuple[Array, list[Color]]:
    """Return a mask's numbers uint8 (height, width), and the colors of a palette, none without one.

    Raises UserError for a file with losses, for colors and for numbers above 255.
    """
    if path.suffix.lower() in LOSSY:
        raise UserError(f"A mask is stored without losses. Received {path}, whose compression changes numbers. Save it as PNG.")
    with opened(path, str(path)) as picture:
        mode, pixels = picture.mode, np.asarray(upright(picture))
        colors = picture.getpalette() or [] if mode == "P" else []
    if mode == "1":
        pixels = pixels.astype(np.uint8) * 255
    if pixels.ndim == 3 and (pixels[..., :3] == pixels[..., :1]).all() and mode.startswith("RGB"):
        pixels = pixels[..., 0]  # gray that was saved as color
    if pixels.ndim != 2:
        raise UserError(
            f"A mask has one number for each pixel: an indexed or a gray PNG. Received {path} in color ({mode}). Convert it."
        )
    if pixels.dtype.kind not in "iu" or pixels.min(initial=0) < 0 or pixels.max(initial=0) > 255:
        raise UserError(f"A mask's numbers are 0 to 255. Received others in {path}. Number the classes from 0 on.")
    triples = [(colors[i], colors[i + 1], colors[i + 2]) for i in range(0, len(colors) - 2, 3)]
    return pixels.astype(np.uint8), triples


def resize_mask(mask: Array, size: tuple[int, int]) -> Array:
    """Return a mask (h, w) at `size` (height, width): the number of the nearest pixel."""
    rows, columns = (
        np.minimum(((np.arange(new) + 0.5) * old / new).astype(int), old - 1)
        for old, new in zip(mask.shape, size, strict=True)
    )  # fmt: skip
    return np.asarray(mask[rows[:, None], columns])


def fit_mask(mask: Array, size: tuple[int, int], values: Sequence[int]) -> Array:
    """Return a mask (h, w) at `size` in its proportions, as its picture is fitted; what is added has none of the `values`."""
    height, width = mask.shape
    rows, columns = placement((height, width), size)
    nothing = next(value for value in range(IGNORE, -1, -1) if value not in values)
    fitted = np.full(size, nothing, mask.dtype)
    fitted[rows, columns] = resize_mask(mask, (rows.stop - rows.start, columns.stop - columns.start))
    return fitted
