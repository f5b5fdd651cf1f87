"""Augmentation of image batches: plain functions (images[N, C, H, W], rng) -> images, and their composition."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from nnatomy.errors import UserError, unknown_name

__all__ = ["AUGMENTATIONS", "Augmentation", "augmentation", "crop", "cutout", "flip", "jitter", "noise", "rotate"]

Array = npt.NDArray[Any]
Change = Callable[[Array, np.random.Generator], Array]


@dataclass(frozen=True)
class Augmentation:
    """Changes applied one after another; equal generators give equal images."""

    changes: tuple[Change, ...]

    def __call__(self, images: Array, rng: np.random.Generator) -> Array:
        for change in self.changes:
            images = change(images, rng)
        return images


def crop(images: Array, rng: np.random.Generator, padding: int = 4) -> Array:
    """Shift each image by up to `padding` pixels each way; the edge is repeated into the gap."""
    n, _, h, w = images.shape
    reach = ((0, 0), (0, 0), (padding, padding), (padding, padding))
    padded = np.pad(images, reach, mode="edge")
    top, left = rng.integers(0, 2 * padding + 1, (2, n))
    rows, columns = top[:, None] + np.arange(h), left[:, None] + np.arange(w)
    cut = padded[np.arange(n)[:, None, None], :, rows[:, :, None], columns[:, None, :]]
    return np.ascontiguousarray(cut.transpose(0, 3, 1, 2))


def flip(images: Array, rng: np.random.Generator, chance: float = 0.5) -> Array:
    """Mirror each image left to right with the given chance."""
    mirrored = rng.uniform(size=len(images)) < chance
    return np.where(mirrored[:, None, None, None], images[..., ::-1], images)


def rotate(images: Array, rng: np.random.Generator, degrees: float = 10.0) -> Array:
    """Turn each image about its centre by up to `degrees` either way, bilinear; the edge is repeated into the gap."""
    from scipy import ndimage

    n, channels, h, w = images.shape
    out, centre = np.empty_like(images), np.array([(h - 1) / 2, (w - 1) / 2])
    for row, angle in enumerate(np.deg2rad(rng.uniform(-degrees, degrees, n))):
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        for channel in range(channels):
            ndimage.affine_transform(
                images[row, channel], turn, centre - turn @ centre, output=out[row, channel], order=1, mode="nearest"
            )
    return out


def jitter(images: Array, rng: np.random.Generator, strength: float = 0.2) -> Array:
    """Scale each image's contrast about its mean and shift each channel's brightness by up to `strength`."""
    n, channels = images.shape[:2]
    contrast = rng.uniform(1 - strength, 1 + strength, (n, 1, 1, 1)).astype(images.dtype)
    shift = rng.uniform(-strength, strength, (n, channels, 1, 1)).astype(images.dtype)
    mean = images.mean(axis=(1, 2, 3), keepdims=True)
    return np.asarray((images - mean) * contrast + mean + shift)


def cutout(images: Array, rng: np.random.Generator, fraction: float = 0.25) -> Array:
    """Blank a square of `fraction` of the shorter side, centred anywhere, with the image's mean (DeVries and Taylor 2017)."""
    n, _, h, w = images.shape
    side = max(1, round(fraction * min(h, w)))
    top, left = rng.integers(0, h, n) - side // 2, rng.integers(0, w, n) - side // 2
    rows, columns = np.arange(h) - top[:, None], np.arange(w) - left[:, None]
    inside = ((rows >= 0) & (rows < side))[:, :, None] & ((columns >= 0) & (columns < side))[:, None, :]
    return np.where(inside[:, None], images.mean(axis=(2, 3), keepdims=True), images)


def noise(images: Array, rng: np.random.Generator, std: float = 0.05) -> Array:
    """Add normal noise of the given standard deviation."""
    return np.asarray(images + (std * rng.standard_normal(images.shape)).astype(images.dtype))


AUGMENTATIONS: dict[str, tuple[Callable[..., Array], str]] = {  # name: the function, and its one setting
    "crop": (crop, "padding"),
    "flip": (flip, "chance"),
    "rotate": (rotate, "degrees"),
    "jitter": (jitter, "strength"),
    "cutout": (cutout, "fraction"),
    "noise": (noise, "std"),
}


def augmentation(settings: dict[str, float | None]) -> Augmentation:
    """Return the composition of named changes, each with its setting or None for the default, as a recipe writes it.

    Raises UserError for an unknown name or a negative setting.
    """
    changes: list[Change] = []
    for name, value in settings.items():
        if name not in AUGMENTATIONS:
            raise unknown_name("augmentation", name, AUGMENTATIONS)
        change, setting = AUGMENTATIONS[name]
        if value is not None and value < 0:
            raise UserError(f"The augmentation {name} needs {setting} of at least 0, received {value}; give 0 or more.")
        given = {} if value is None else {setting: int(value) if name == "crop" else value}
        changes.append(partial(change, **given))
    return Augmentation(tuple(changes))
