"""Pictures, which several kinds of data share: files as NCHW arrays, resizing, standardization fitted on training images."""

from __future__ import annotations

import struct
import warnings
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, ClassVar, Self

import numpy as np
import numpy.typing as npt

from nnatomy.data.dataset import Batch, Preprocessing
from nnatomy.errors import UserError
from nnatomy.files import open_file
from nnatomy.printing import shown
from nnatomy.saved import Count, Positive

__all__ = [
    "SUFFIXES", "ImagePreprocessing", "decode", "describe_fit", "fit_into", "in_a_grid", "in_channels", "luma", "opened",
    "picture_size", "placement", "read_pictures", "resize_images", "upright", "usual_size", "write_image",
]  # fmt: skip

Array = npt.NDArray[Any]
SUFFIXES = (".png", ".jpg", ".jpeg", ".jfif", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".pbm", ".pgm", ".ppm", ".pnm")
PIECE = 4096  # images converted to float32 in one call: copies of 60,000 are large
DEEPEST = 65535.0  # the value of a pixel of 16 bits that becomes 255: the largest of the format, not of the picture
LUMA = np.array([0.299, 0.587, 0.114], np.float32)
TURNS = {
    2: "FLIP_LEFT_RIGHT", 3: "ROTATE_180", 4: "FLIP_TOP_BOTTOM", 5: "TRANSPOSE", 6: "ROTATE_270", 7: "TRANSVERSE",
    8: "ROTATE_90",
}  # fmt: skip
"""Pillow's name of what makes a picture upright, by EXIF's number for how the camera was held."""
FIT = "pad"  # the way in which images get their size, in saved files: see `fit_into`
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


def placement(old: tuple[int, int], size: tuple[int, int]) -> tuple[slice, slice]:
    """Return the rows and columns of a picture of `size` that one of the size `old` takes, in its proportions and centered."""
    scale = min(new / before for before, new in zip(old, size, strict=True))
    fitted = [min(new, max(1, round(before * scale))) for before, new in zip(old, size, strict=True)]
    starts = [(new - part) // 2 for new, part in zip(size, fitted, strict=True)]
    rows, columns = (slice(start, start + part) for start, part in zip(starts, fitted, strict=True))
    return rows, columns


def fit_into(images: Array, size: tuple[int, int]) -> Array:
    """Return images (..., h, w) float32 at `size` (height, width) in their proportions; pixels at their edges fill the rest.

    Nothing is cut off, so that what an image is about stays in it, and a circle stays a circle.
    """
    rows, columns = placement((images.shape[-2], images.shape[-1]), size)
    fitted = resize_images(images, (rows.stop - rows.start, columns.stop - columns.start)).astype(np.float32, copy=False)
    around = [(0, 0)] * (images.ndim - 2) + [(part.start, new - part.stop) for part, new in zip((rows, columns), size)]
    return np.pad(fitted, around, mode="edge") if fitted.shape[-2:] != tuple(size) else fitted


def _triangle(n_in: int, n_out: int) -> Array:
    scale = n_in / n_out
    width = max(1.0, scale)
    centers = (np.arange(n_out) + 0.5) * scale
    distance = np.abs(np.arange(n_in) + 0.5 - centers[:, None]) / width
    weights = np.maximum(0.0, 1.0 - distance)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True), dtype=np.float32)


@dataclass(frozen=True)
class ImagePreprocessing(Preprocessing):
    """Fits images into a size, scales them to [0, 1], and standardizes each channel by the training images' mean and spread.

    Binary ones are not standardized: a pixel above half the largest value is 1, another 0.
    """

    kind: ClassVar[str] = "image"
    size: tuple[Count, Count]  # height, width
    mean: tuple[float, ...]  # per channel, of images in [0, 1]
    std: tuple[Positive, ...]
    classes: tuple[str, ...] = ()
    largest: Positive = 255.0  # the value that becomes 1
    binary: bool = False

    @classmethod
    def fit(
        cls, images: Array, classes: Sequence[str], largest: float, size: tuple[int, int] | None, binary: bool = False
    ) -> ImagePreprocessing:
        """Fit on the training images[N, C, H, W] with values 0..largest."""
        size = size or (images.shape[2], images.shape[3])
        sums = np.zeros((2, images.shape[1]))
        for first in range(0, len(images), PIECE):
            scaled = fit_into(images[first : first + PIECE].astype(np.float32), size) / np.float32(largest)
            sums += scaled.sum(axis=(0, 2, 3), dtype=np.float64), np.square(scaled).sum(axis=(0, 2, 3), dtype=np.float64)
        mean, square = sums / (len(images) * size[0] * size[1])
        std = np.sqrt(np.maximum(square - mean**2, 0.0))
        if not std.max() > 1e-6:
            raise UserError(
                "Images to learn from must differ. Received training images of one and the same color. Check the files."
            )
        if binary:
            return cls(size, (0.0,) * len(mean), (1.0,) * len(mean), tuple(classes), float(largest), True)
        return cls(size, tuple(mean.tolist()), tuple(np.maximum(std, 1e-3).tolist()), tuple(classes), float(largest))

    def transform(self, raw: Array) -> Batch:
        """Return (inputs[N, C, H, W],) for raw images[N, C, h, w] with values 0..largest."""
        if raw.ndim != 4 or raw.shape[1] != len(self.mean):
            raise UserError(
                f"The model takes images [n, {len(self.mean)}, height, width]. Received {list(raw.shape)}. "
                "Reshape it to that."
            )
        out = np.empty((len(raw), raw.shape[1], *self.size), np.float32)
        scale = np.float32(1.0 / self.largest) / np.asarray(self.std, np.float32)[:, None, None]
        shift = (np.asarray(self.mean) / np.asarray(self.std)).astype(np.float32)[:, None, None]
        for first in range(0, len(raw), PIECE):
            piece = slice(first, first + PIECE)
            fitted = fit_into(raw[piece].astype(np.float32), self.size)
            out[piece] = fitted > self.largest / 2 if self.binary else fitted * scale - shift
        return (out,)

    def raw(self, given: Array) -> Batch:
        """Return (images[N, C, H, W],) as float32 at the model's size, with values 0..largest."""
        return (fit_into(given.astype(np.float32), self.size),)

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
        return {**super().to_json(), "fit": FIT}

    @classmethod
    def from_json(cls, saved: Mapping[str, Any]) -> Self:
        if saved.get("fit") != FIT:
            raise UserError(f"fit must be {FIT!r}. Received {shown(saved.get('fit'))}. Train again.")
        return super().from_json({name: value for name, value in saved.items() if name != "fit"})


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


def decode(source: Path | BinaryIO, name: str, largest_side: int | None = None) -> Array:
    """Return a picture, of a file or of bytes, upright and on white where it is transparent: (1 or 3, height, width).

    It has one channel where red, green and blue are equal everywhere. Values are 0 to 255 on the scale of the format, whatever
    the picture holds: uint8, or float32 where it has 16 bits (65,535 becomes 255) or floats (1 becomes 255). `name` is what it
    is called in errors. Raises UserError also where the header says more than `largest_side` pixels, before anything is
    unpacked.
    """
    with opened(source, name) as picture:
        side = max(picture.size)
        if largest_side is not None and side > largest_side:
            raise UserError(
                f"A picture's sides are at most {largest_side} pixels. Received {name}, which has {side}. Make it smaller."
            )
        pixels = _pixels(upright(picture), name)
    if pixels.ndim == 3 and (pixels == pixels[..., :1]).all():
        pixels = pixels[..., 0]
    return pixels[None] if pixels.ndim == 2 else np.ascontiguousarray(pixels.transpose(2, 0, 1))


@contextmanager
def opened(source: Path | BinaryIO, name: str) -> Iterator[Any]:
    """Open a picture with Pillow; any failure until it is closed raises a UserError."""
    image = _pillow()
    try:
        with ExitStack() as files, warnings.catch_warnings():
            warnings.simplefilter("error", image.DecompressionBombWarning)
            file = files.enter_context(open_file(source)) if isinstance(source, Path) else source
            yield files.enter_context(image.open(file))
    except UserError:
        raise
    except (image.DecompressionBombWarning, image.DecompressionBombError) as error:
        raise UserError(
            f"A picture has up to {image.MAX_IMAGE_PIXELS:,} pixels. Received {name}, which has more. Make it smaller."
        ) from error
    except (OSError, ValueError, SyntaxError, EOFError, IndexError, KeyError, TypeError, OverflowError, struct.error,
            zlib.error) as error:  # fmt: skip
        raise UserError(
            f"A picture must be readable. Received {name}, which is not. Remove it or save it again as PNG."
        ) from error


def _pillow() -> Any:
    from PIL import Image  # 50 ms, which data of other kinds need not take

    return Image


def upright(picture: Any) -> Any:
    """Return a Pillow picture turned as EXIF says that the camera was held."""
    picture.load()  # Pillow turns a TIFF itself here
    turned = TURNS.get(_orientation(picture))
    return picture if turned is None else picture.transpose(_pillow().Transpose[turned])


def _orientation(picture: Any) -> int:
    """Return the number with which EXIF says how a camera was held; 1, upright, where it says nothing that can be read."""
    try:
        return int(picture.getexif().get(0x0112, 1))
    except Exception:  # a damaged EXIF block, whose exceptions are not documented: the pixels are fine
        return 1


def _pixels(picture: Any, name: str) -> Array:
    """Return values of 0 to 255, (height, width) or (height, width, 3), of a Pillow picture of any mode."""
    if picture.mode == "F" or picture.mode.startswith("I"):
        values, largest = np.asarray(picture), 1.0 if picture.mode == "F" else DEEPEST
        low, high = (float(end(initial=0)) for end in (values.min, values.max))
        if not (low >= 0 and high <= largest):
            raise UserError(
                "Pixels are integers of 8 or 16 bits, or floats from 0 to 1: the same number means the same brightness in all "
                f"pictures. Received {name} with {low:g} to {high:g}. Convert all pictures by one factor."
            )
        clear = picture.info.get("transparency")
        if isinstance(clear, int):
            values = np.where(values == clear, largest, values)
        return np.asarray(values * (255 / largest), np.float32)
    if "A" in picture.getbands() or "a" in picture.getbands() or "transparency" in picture.info:
        image, drawn = _pillow(), picture.convert("RGBA")
        picture = image.alpha_composite(image.new("RGBA", drawn.size, "white"), drawn)
    return np.asarray(picture.convert("L" if picture.mode in ("1", "L") else "RGB"))


def picture_size(path: Path) -> tuple[int, int]:
    """Return the (height, width) of an upright picture, by its header alone. Raises UserError for what is not a picture."""
    with opened(path, str(path)) as picture:
        width, height = picture.size
        lies = 5 <= _orientation(picture) <= 8 and picture.format != "TIFF"  # Pillow turns the size of a TIFF itself
    return (width, height) if lies else (height, width)


def usual_size(sizes: Sequence[tuple[int, int]]) -> tuple[int, int]:
    """Return the most frequent (height, width), made smaller where its longer side is beyond LARGEST."""
    common = Counter(sizes).most_common(1)[0][0]
    shrink = min(1.0, LARGEST / max(common))
    return max(1, round(common[0] * shrink)), max(1, round(common[1] * shrink))


def in_channels(pictures: Sequence[Array], channels: int) -> Array:
    """Return pictures (1 or 3, height, width) of one size as one array (n, channels, height, width).

    Color becomes gray by the luma of ITU-R 601, as Pillow's "L" has it.
    """

    def changed(picture: Array) -> Array:
        if len(picture) == channels:
            return picture
        return luma(picture) if channels == 1 else np.repeat(picture, channels, axis=0)

    return np.stack([changed(picture) for picture in pictures])


def luma(images: Array) -> Array:
    """Return images (..., 3, height, width) in gray (..., 1, height, width)."""
    return np.asarray(np.einsum("c,...chw->...hw", LUMA, images)[..., None, :, :], np.float32)


def read_pictures(paths: Sequence[Path], size: tuple[int, int]) -> list[Array]:
    """Return pictures float32 (1 or 3, height, width) of 0 to 255, fitted into `size`; gray ones have one channel."""
    return [fit_into(decode(path, str(path)), size) for path in paths]


def describe_fit(sizes: Sequence[tuple[int, int]], size: tuple[int, int], given: bool) -> list[str]:
    """Return the notice on pictures that were resized to a size that was given or not; none where all have it."""
    others = sorted(set(sizes) - {size})
    if not others:
        return []
    found = f"{others[0][0]} x {others[0][1]}" if len(set(sizes)) == 1 else f"{len(set(sizes))} sizes"
    said = f"Pictures of {found} (height x width) were resized to {size[0]} x {size[1]} in their proportions"
    more = "" if given else " --resize HEIGHTxWIDTH sets another size."
    return [f"{said}; where these differ, the pixels at the edges fill the rest.{more}"]
