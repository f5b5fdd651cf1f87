"""Pictures, which several kinds of data share: files as NCHW arrays, resizing, standardization fitted on training images."""

from __future__ import annotations

import struct
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, ClassVar

import numpy as np
import numpy.typing as npt

from nnatomy.data.dataset import Batch, Preprocessing
from nnatomy.errors import UserError

__all__ = [
    "SUFFIXES", "ImagePreprocessing", "decode_image", "deep_value", "deepest_of", "in_a_grid", "is_gray", "opened",
    "read_image", "read_images", "resize_images", "usual_size", "write_image",
]  # fmt: skip

Array = npt.NDArray[Any]
SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".pgm", ".ppm")
PIECE = 4096  # images converted to float32 in one call: copies of 60,000 are large
DEEPEST = 65535.0  # the value of a pixel of more than 8 bits that becomes 255, where training pictures do not say another
LARGEST = 128  # the side to which larger photographs are brought unless a size is requested


def resize_images(images: Array, size: tuple[int, int]) -> Array:
    """Return images[..., h, w] at `size` (height, width), bilinear, and averaged where the result is smaller.

    Each output pixel is a weighted mean of the input under a triangle as wide as one pixel of the coarser grid
    (Pillow's BILINEAR; half-pixel centers).
    """
    if images.shape[-2:] == tuple(size):
        return images
    rows, columns = _triangle(images.shape[-2], size[0]), _triangle(images.shape[-1], size[1])
    return np.asarray(rows @ images.astype(np.float32, copy=False) @ columns.T, dtype=np.float32)


def _triangle(n_in: int, n_out: int) -> Array:
    scale = n_in / n_out
    width = max(1.0, scale)
    centers = (np.arange(n_out) + 0.5) * scale
    distance = np.abs(np.arange(n_in) + 0.5 - centers[:, None]) / width
    weights = np.maximum(0.0, 1.0 - distance)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True), dtype=np.float32)


@dataclass(frozen=True)
class ImagePreprocessing(Preprocessing):
    """Resizes images, scales them to [0, 1], and standardizes each channel by the training images' mean and deviation."""

    kind: ClassVar[str] = "image"
    size: tuple[int, int]  # height, width
    mean: tuple[float, ...]  # per channel, of images in [0, 1]
    std: tuple[float, ...]
    classes: tuple[str, ...] = ()
    largest: float = 255.0  # the value that becomes 1
    deepest: float = DEEPEST  # the value of a pixel of more than 8 bits that becomes 255

    @classmethod
    def fit(
        cls, images: Array, classes: Sequence[str], largest: float, size: tuple[int, int] | None, deepest: float = DEEPEST
    ) -> ImagePreprocessing:
        """Fit on the training images[N, C, H, W] with values 0..largest."""
        size = size or (images.shape[2], images.shape[3])
        sums = np.zeros((2, images.shape[1]))
        for first in range(0, len(images), PIECE):
            scaled = resize_images(images[first : first + PIECE].astype(np.float32), size) / np.float32(largest)
            sums += scaled.sum(axis=(0, 2, 3), dtype=np.float64), np.square(scaled).sum(axis=(0, 2, 3), dtype=np.float64)
        mean, square = sums / (len(images) * size[0] * size[1])
        std = np.sqrt(np.maximum(square - mean**2, 0.0))
        if not std.max() > 1e-6:
            raise UserError(
                "Images to learn from must differ. Received training images of one and the same color. Check the files."
            )
        return cls(size, tuple(mean.tolist()), tuple(np.maximum(std, 1e-3).tolist()), tuple(classes), float(largest), deepest)

    def transform(self, raw: Array) -> Batch:
        """Return (inputs[N, C, H, W],) for raw images[N, C, h, w] with values 0..largest."""
        if raw.ndim != 4 or raw.shape[1] != len(self.mean):
            raise UserError(f"The model takes images [n, {len(self.mean)}, height, width]. Received {list(raw.shape)}.")
        out = np.empty((len(raw), raw.shape[1], *self.size), np.float32)
        scale = np.float32(1.0 / self.largest) / np.asarray(self.std, np.float32)[:, None, None]
        shift = (np.asarray(self.mean) / np.asarray(self.std)).astype(np.float32)[:, None, None]
        for first in range(0, len(raw), PIECE):
            piece = slice(first, first + PIECE)
            out[piece] = resize_images(raw[piece].astype(np.float32), self.size) * scale - shift
        return (out,)

    def raw(self, given: Array) -> Batch:
        """Return (images[N, C, H, W],) as float32 at the model's size, with values 0..largest."""
        return (resize_images(given.astype(np.float32), self.size),)

    def prepare(self, *raw: Array) -> Batch:
        return self.transform(*raw)

    def scale_and_shift(self) -> tuple[Array, Array]:
        """Return float64 (C, 1, 1) a and b with which a pixel x becomes a x - b."""
        mean, std = (np.asarray(v)[:, None, None] for v in (self.mean, self.std))
        return 1 / self.largest / std, mean / std

    def inverse(self, inputs: Any) -> Any:
        """Return standardized inputs[N, C, H, W] as pixels from 0 to the largest value again."""
        mean, std = (np.asarray(v, inputs.dtype)[:, None, None] for v in (self.mean, self.std))
        scaled = (inputs * std + mean) * self.largest
        return scaled.clip(0.0, self.largest)

    def to_images(self, inputs: Array) -> Array:
        """Return standardized inputs[N, C, H, W] as pictures in [0, 1] again."""
        mean, std = (np.asarray(v, np.float32)[:, None, None] for v in (self.mean, self.std))
        return np.asarray(np.clip(inputs * std + mean, 0.0, 1.0))

    def to_json(self) -> dict[str, Any]:
        lists = {"size": list(self.size), "mean": list(self.mean), "std": list(self.std), "classes": list(self.classes)}
        return {"kind": self.kind, **lists, "largest": self.largest, "deepest": self.deepest}

    @classmethod
    def from_json(cls, saved: Mapping[str, Any]) -> ImagePreprocessing:
        size, mean, std, classes = (tuple(saved[key]) for key in ("size", "mean", "std", "classes"))
        values = float(saved["largest"]), float(saved.get("deepest", DEEPEST))
        return cls((int(size[0]), int(size[1])), mean, std, classes, *values)


def read_image(path: Path, gray: bool, deepest: float = DEEPEST) -> Array:
    """Return one picture as uint8 [C, H, W], on white where it is transparent.

    Raises UserError where Pillow is absent or the file is not a picture.
    """
    return decode_image(path, gray, str(path), deepest=deepest)


def write_image(picture: Array, path: Path) -> None:
    """Write a picture (C, H, W) with values in [0, 1] as a PNG file."""
    pixels = np.rint(np.clip(picture, 0, 1) * 255).astype(np.uint8)
    _pillow().fromarray(pixels[0] if len(pixels) != 3 else pixels.transpose(1, 2, 0)).save(path)


def in_a_grid(pictures: Array, margin: int = 1) -> Array:
    """Return pictures (N, C, H, W) as one, in rows of about the square root of N, with white lines between them."""
    n, channels, height, width = pictures.shape
    columns = max(1, round(float(np.sqrt(n))))
    rows = -(-n // columns)
    tall, wide = height + margin, width + margin
    sheet = np.ones((channels, rows * tall + margin, columns * wide + margin), pictures.dtype)
    for k, picture in enumerate(pictures):
        top, left = margin + k // columns * tall, margin + k % columns * wide
        sheet[:, top : top + height, left : left + width] = picture
    return sheet


def decode_image(
    source: Path | BinaryIO, gray: bool, name: str, largest_side: int | None = None, deepest: float = DEEPEST
) -> Array:
    """Return what `read_image` does, of a file or of bytes; `name` is what it is called in errors.

    `deepest` is the value of a pixel of more than 8 bits that becomes 255. Raises UserError also where the picture's header
    says more than `largest_side` pixels, before anything is unpacked.
    """
    with opened(source, name) as picture:
        side = max(picture.size)
        if largest_side is not None and side > largest_side:
            raise UserError(
                f"A picture's sides are at most {largest_side} pixels. Received {name}, which has {side}. Make it smaller."
            )
        pixels = np.asarray(_opaque(picture, deepest).convert("L" if gray else "RGB"))
    return pixels[None] if gray else np.ascontiguousarray(pixels.transpose(2, 0, 1))


@contextmanager
def opened(source: Path | BinaryIO, name: str) -> Iterator[Any]:
    """Open a picture with Pillow; any failure until it is closed raises a UserError."""
    image = _pillow()
    try:
        with image.open(source) as picture:
            yield picture
    except UserError:
        raise
    except (OSError, ValueError, SyntaxError, EOFError, IndexError, KeyError, TypeError, OverflowError, struct.error,
            zlib.error, image.DecompressionBombError) as error:  # fmt: skip
        raise UserError(
            f"A picture must be readable. Received {name}, which is not. Remove it or save it again as PNG."
        ) from error


def _pillow() -> Any:
    try:
        from PIL import Image
    except ImportError as error:
        raise UserError("Reading pictures needs Pillow. Install it with `pip install pillow`.") from error
    return Image


def _opaque(picture: Any, deepest: float) -> Any:
    """Return a Pillow picture on white paper where it was transparent, and with 8 bits a pixel where it had more."""
    image = _pillow()
    if picture.mode.startswith("I"):
        values = np.asarray(picture).astype(np.float64) * (255 / deepest)
        return image.fromarray(values.round().clip(0, 255).astype(np.uint8))
    if "A" not in picture.getbands() and "transparency" not in picture.info:
        return picture
    drawn = picture.convert("RGBA")
    return image.alpha_composite(image.new("RGBA", drawn.size, "white"), drawn)


def is_gray(paths: Sequence[Path]) -> bool:
    """Return True if a sample of the pictures has equal red, green and blue everywhere."""
    sample = paths[:: max(1, len(paths) // 20)]
    return all(bool(np.all(rgb == rgb[:1])) for rgb in (read_image(path, False) for path in sample))


def deep_value(path: Path) -> int:
    """Return a picture's largest pixel where it has more than 8 bits a pixel, 0 where it has not.

    Raises UserError where the file is not a picture; of others only the header is read.
    """
    with opened(path, str(path)) as picture:
        return int(np.asarray(picture).max()) if picture.mode.startswith("I") else 0


def deepest_of(values: Sequence[int]) -> float:
    """Return the largest of `deep_value`s, rounded up to all bits set; DEEPEST where all are 0."""
    largest = max(values)
    return float(max(255, 2 ** largest.bit_length() - 1)) if largest else DEEPEST


def usual_size(sizes: Sequence[tuple[int, int]]) -> tuple[int, int]:
    """Return the most frequent (height, width), made smaller where its longer side is beyond LARGEST."""
    common = Counter(sizes).most_common(1)[0][0]
    shrink = min(1.0, LARGEST / max(common))
    return max(1, round(common[0] * shrink)), max(1, round(common[1] * shrink))


def read_images(paths: Sequence[Path], preprocessing: ImagePreprocessing) -> Array:
    """Return pictures as the model takes them raw: [N, C, H, W] of its size, with values 0..largest."""
    gray = len(preprocessing.mean) == 1
    pictures = [read_image(path, gray, preprocessing.deepest).astype(np.float32) for path in paths]
    return np.stack([resize_images(p, preprocessing.size) for p in pictures]) * (preprocessing.largest / 255.0)
