"""Images with masks that have names: shapes drawn on the spot, and a part of CamVid."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from nnatomy.data.dataset import Dataset
from nnatomy.data.kinds.segmentation.masks import Color, segmentation_dataset
from nnatomy.data.npz import read_arrays
from nnatomy.data.reading import Reading, Source
from nnatomy.data.sets import Made, Named, Public

__all__ = ["SETS"]

Array = npt.NDArray[Any]
SIDE = 40
COUNT = 400
SHAPES = ("background", "disc", "square", "ring")
CAMVID_PALETTE: tuple[Color, ...] = (
    (128, 128, 128), (128, 0, 0), (192, 192, 128), (128, 64, 128), (60, 40, 222), (128, 128, 0), (192, 128, 128),
    (64, 64, 128), (64, 0, 128), (64, 64, 0), (0, 128, 192),
)  # fmt: skip
"""The colors of CamVid's eleven classes, as SegNet's authors print them."""


def _shape_masks(reading: Reading) -> Dataset:
    """Return discs, squares and rings that overlap; color says nothing about the shape, only its outline does."""
    rng = np.random.Generator(np.random.Philox(2015))  # the same pictures for every seed, which splits them
    images, masks = zip(*(_scene(rng) for _ in range(COUNT)), strict=True)
    x, y = np.stack(images), np.stack(masks)
    parts = [(x[rows], y[rows]) for rows in reading.part(COUNT)]
    description = f"{COUNT} generated pictures, {SIDE} x {SIDE}, of overlapping discs, squares and rings with their masks"
    return segmentation_dataset("shape_masks", parts, SHAPES, description=description)


def _scene(rng: np.random.Generator) -> tuple[Array, Array]:
    """Return an image (3, SIDE, SIDE) of 0 to 255 and its mask: two to four shapes, the later ones in front."""
    rows, columns = np.mgrid[:SIDE, :SIDE]
    slope = rng.uniform(-1, 1, (3, 2)) @ np.stack([rows.ravel(), columns.ravel()]) / SIDE
    image = rng.uniform(60, 195, (3, 1)) + 50 * slope
    image, mask = image.reshape(3, SIDE, SIDE), np.zeros((SIDE, SIDE), np.uint8)
    for _ in range(rng.integers(2, 5)):
        kind, radius = int(rng.integers(1, len(SHAPES))), rng.uniform(6, 11)
        top, left = rng.uniform(4, SIDE - 4, 2)
        away = np.hypot(rows - top, columns - left)
        if SHAPES[kind] == "square":
            inside = np.maximum(np.abs(rows - top), np.abs(columns - left)) <= 0.9 * radius
        else:
            inside = (away <= radius) & (away >= (0.55 * radius if SHAPES[kind] == "ring" else 0))
        image[:, inside] = rng.uniform(0, 255, (3, 1))
        mask[inside] = kind
    return np.clip(image + rng.normal(0, 12, image.shape), 0, 255).round().astype(np.uint8), mask


def _camvid(source: Source, reading: Reading) -> Dataset:
    """Return the official parts; a fold splits the training part, whose frames follow each other, in order of time."""
    found = read_arrays(source.path)
    parts = [(found[f"x_{part}"].transpose(0, 3, 1, 2), found[f"y_{part}"]) for part in ("train", "val", "test")]
    names = [str(name) for name in found["names"]][:-1]  # the last, 11, is "unlabeled"
    x, y = (np.concatenate([part[n] for part in parts]) for n in (0, 1))
    ends = np.cumsum([len(part[0]) for part in parts])
    official = (np.arange(ends[0]), np.arange(ends[0], ends[1]), np.arange(ends[1], ends[2]))
    rows = reading.part(int(ends[0]), in_time=True, official=official)
    return segmentation_dataset("camvid", [(x[r], y[r]) for r in rows], names, palette=CAMVID_PALETTE)


SETS: dict[str, Named] = {
    "shape_masks": Made(_shape_masks),
    "camvid": Public(
        "segmentation/camvid_96x128.npz",
        "130 frames of road scenes, 96 x 128, eleven classes (Brostow et al. 2009; splits and classes of SegNet)",
        sha256="2272330135e3bc619d6304a1a67739b9d69c18f8afd6a42130ea6674aa404cd0",
        read=_camvid,
    ),
}
