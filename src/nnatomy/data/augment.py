"""Augmentation of batches: plain functions (inputs, rng) -> inputs, their composition, and what moves with the inputs.

A change that moves pixels moves masks and boxes of the same batch with them, or is refused.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from nnatomy.data.fields import Field, where
from nnatomy.errors import UserError, unknown_name

__all__ = [
    "AUGMENTATIONS", "Augmentation", "BatchChange", "augmentation", "augmented", "crop", "cutout", "fields_after", "flip",
    "jitter", "noise", "rotate", "word_dropout",
]  # fmt: skip

Array = npt.NDArray[Any]


class BatchChange(ABC):
    """A change of all arrays of a batch together, such as the part of a graph that its examples see."""

    @abstractmethod
    def __call__(self, named: tuple[Field, ...], batch: tuple[Array, ...], rng: np.random.Generator) -> tuple[Array, ...]: ...

    def fields(self, named: tuple[Field, ...]) -> tuple[Field, ...]:
        """Return what the arrays of a changed batch are, given those before the change."""
        return named


Change = Callable[[Array, np.random.Generator], Array] | BatchChange


@dataclass(frozen=True)
class Augmentation:
    """Changes applied one after another; equal generators give equal inputs."""

    changes: tuple[Change, ...]

    def __call__(self, images: Array, rng: np.random.Generator) -> Array:
        for change in self.changes:
            if isinstance(change, BatchChange):
                raise UserError(f"{type(change).__name__} changes whole batches. Received an array. Use data.batches.")
            images = change(images, rng)
        return images


def fields_after(change: Change | None, named: tuple[Field, ...]) -> tuple[Field, ...]:
    """Return what the arrays of a batch are after a change, given those before."""
    for one in change.changes if isinstance(change, Augmentation) else (change,):
        named = one.fields(named) if isinstance(one, BatchChange) else named
    return named


def augmented(
    change: Change, named: tuple[Field, ...], batch: tuple[Array, ...], rng: np.random.Generator
) -> tuple[Array, ...]:  # fmt: skip
    """Return a batch with its first input changed; masks (N, H, W), boxes (N, K, 4) and other images move as its pixels did.

    A `BatchChange` may change all arrays.
    Boxes are left, top, right, bottom in pixels; rows of their field's `fill` are padding. Raises UserError for a change that
    moves pixels, or may move them, in a way that is not known for a mask or for boxes.
    """
    for one in change.changes if isinstance(change, Augmentation) else (change,):
        batch = one(named, batch, rng) if isinstance(one, BatchChange) else _changed(one, named, batch, rng)
    return batch


def _changed(
    change: Callable[[Array, np.random.Generator], Array], named: tuple[Field, ...], batch: tuple[Array, ...],
    rng: np.random.Generator,
) -> tuple[Array, ...]:  # fmt: skip
    function = change.func if isinstance(change, partial) else change
    settings = change.keywords if isinstance(change, partial) else {}
    first = where(named, "input")[0]
    start = copy.deepcopy(rng.bit_generator.state)
    out = [change(array, rng) if i == first else array for i, array in enumerate(batch)]
    for i, field in enumerate(named[: len(batch)]):
        if i == first or function in KEEPS_PIXELS or not any(like == field.like for _, like in MOVES):
            continue
        move = MOVES.get((function, field.like))
        if move is None:
            name = getattr(function, "__name__", type(function).__name__)
            raise UserError(
                f"A change of pictures must move their {field.name} as well. Received {name!r}, which is not known to move it. "
                f"Use one of {', '.join(sorted({f.__name__ for f, like in MOVES if like == field.like}))}."
            )
        again = np.random.Generator(type(rng.bit_generator)())
        again.bit_generator.state = start  # the same draws
        out[i] = move(batch[i], again, batch[first].shape[2:], field.fill, **settings)
    return tuple(out)


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


def rotate(images: Array, rng: np.random.Generator, degrees: float = 10.0, order: int = 1) -> Array:
    """Rotate each image about its center by up to `degrees` either way; the edge is repeated into the gap.

    `order`: 1 is bilinear, 0 the nearest pixel.
    """
    from scipy import ndimage

    n, channels, h, w = images.shape
    out, center = np.empty_like(images), np.array([(h - 1) / 2, (w - 1) / 2])
    for row, angle in enumerate(np.deg2rad(rng.uniform(-degrees, degrees, n))):
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        for channel in range(channels):
            ndimage.affine_transform(
                images[row, channel], turn, center - turn @ center, output=out[row, channel], order=order, mode="nearest"
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
    """Blank a square of `fraction` of the shorter side, centered anywhere, with the image's mean (DeVries and Taylor 2017)."""
    n, _, h, w = images.shape
    side = max(1, round(fraction * min(h, w)))
    top, left = rng.integers(0, h, n) - side // 2, rng.integers(0, w, n) - side // 2
    rows, columns = np.arange(h) - top[:, None], np.arange(w) - left[:, None]
    inside = ((rows >= 0) & (rows < side))[:, :, None] & ((columns >= 0) & (columns < side))[:, None, :]
    return np.where(inside[:, None], images.mean(axis=(2, 3), keepdims=True), images)


def noise(images: Array, rng: np.random.Generator, std: float = 0.05) -> Array:
    """Add normal noise of the given standard deviation."""
    return np.asarray(images + (std * rng.standard_normal(images.shape)).astype(images.dtype))


def word_dropout(tokens: Array, rng: np.random.Generator, fraction: float = 0.3) -> Array:
    """Make a fraction of the words (batch, time) unknown (token 1), again each time: so none can be learned by heart."""
    return np.where((rng.uniform(size=tokens.shape) < fraction) & (tokens > 0), 1, tokens)


# Changes of masks and boxes: (array, rng in the state that the images saw, (height, width), fill, settings) -> array


def _mask(change: Callable[..., Array], **own: Any) -> Callable[..., Array]:
    """A mask moves by the same function, as an image of one channel."""

    def move(masks: Array, rng: np.random.Generator, size: tuple[int, int], fill: Any, **settings: Any) -> Array:
        return change(masks[:, None], rng, **(settings | own))[:, 0]

    return move


def _image(change: Callable[..., Array]) -> Callable[..., Array]:
    """Another image of the same example, such as the clean one that a noisy one comes from, moves by the same draws."""

    def move(images: Array, rng: np.random.Generator, size: tuple[int, int], fill: Any, **settings: Any) -> Array:
        return change(images, rng, **settings)

    return move


def _flipped_boxes(
    boxes: Array, rng: np.random.Generator, size: tuple[int, int], fill: Any, chance: float = 0.5
) -> Array:  # fmt: skip
    mirrored = rng.uniform(size=len(boxes)) < chance
    other = np.stack([size[1] - boxes[..., 2], boxes[..., 1], size[1] - boxes[..., 0], boxes[..., 3]], axis=-1)
    moves = mirrored[:, None, None] & ~(boxes == fill).all(axis=-1, keepdims=True)
    return np.where(moves, other, boxes).astype(boxes.dtype)


def _cropped_boxes(
    boxes: Array, rng: np.random.Generator, size: tuple[int, int], fill: Any, padding: int = 4
) -> Array:  # fmt: skip
    top, left = rng.integers(0, 2 * padding + 1, (2, len(boxes)))
    shift = np.stack([padding - left, padding - top] * 2, axis=-1)[:, None]
    moved = np.clip(boxes + shift, 0, np.array([size[1], size[0]] * 2))
    gone = (moved[..., 2] <= moved[..., 0]) | (moved[..., 3] <= moved[..., 1])
    moved = np.where(gone[..., None], fill, moved)
    return np.where((boxes == fill).all(axis=-1, keepdims=True), boxes, moved).astype(boxes.dtype)


KEEPS_PIXELS: tuple[Callable[..., Array], ...] = (jitter, cutout, noise)
"""Changes that leave every pixel where it is."""
MOVES: dict[tuple[Callable[..., Array], str], Callable[..., Array]] = {
    (crop, "mask"): _mask(crop), (flip, "mask"): _mask(flip), (rotate, "mask"): _mask(rotate, order=0),
    (crop, "image"): _image(crop), (flip, "image"): _image(flip), (rotate, "image"): _image(rotate),
    (crop, "boxes"): _cropped_boxes, (flip, "boxes"): _flipped_boxes,
}  # fmt: skip
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
            raise UserError(f"The augmentation {name} needs {setting} of at least 0. Received {value}. Give 0 or more.")
        given = {} if value is None else {setting: int(value) if name == "crop" else value}
        changes.append(partial(change, **given))
    return Augmentation(tuple(changes))
