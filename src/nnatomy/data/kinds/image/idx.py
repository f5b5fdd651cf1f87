"""The idx format of MNIST: a magic number, the sizes, then bytes; plain or gzipped, four files to a folder."""

from __future__ import annotations

import gzip
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nnatomy.errors import UserError

__all__ = ["idx_files", "is_idx", "read_idx", "write_idx"]

Array = npt.NDArray[Any]
NAMES = ("train-images", "train-labels", "t10k-images", "t10k-labels")
MAX_BYTES = 1 << 31


def read_idx(path: Path) -> Array:
    """Return the uint8 array in an idx file (LeCun, Cortes and Burges 1998: 0 0 8 ndim, big-endian sizes, bytes).

    Raises UserError where the file is not idx, is cut short or has bytes too many.
    """
    try:
        raw = path.read_bytes()
        if raw[:2] == b"\x1f\x8b":
            raw = gzip.decompress(raw)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise UserError(f"{path} is a damaged gzip file ({error}). Fetch it again.") from error
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}.") from error
    if len(raw) < 4 or raw[:2] != b"\0\0":
        raise UserError(f"An idx file starts with two zero bytes. Received {path}, which does not. Is it an MNIST file?")
    kind, dimensions = raw[2], raw[3]
    if kind != 8 or not 1 <= dimensions <= 4:
        raise UserError(
            f"idx files of unsigned bytes with 1 to 4 axes can be read, {path} has type {kind:#x} and {dimensions} axes."
        )
    if len(raw) < 4 + 4 * dimensions:
        raise UserError(f"{path} ends inside its header after {len(raw)} bytes. Fetch it again.")
    shape = struct.unpack(f">{dimensions}I", raw[4 : 4 + 4 * dimensions])
    expected, found = int(np.prod([int(s) for s in shape], dtype=object)), len(raw) - 4 - 4 * dimensions
    if found != expected or expected > MAX_BYTES:
        state = "is cut short" if found < expected else "is too long"
        sizes = " x ".join(map(str, shape))
        raise UserError(f"{path} {state}: its header promises {sizes} bytes and {found} follow. Fetch it again.")
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * dimensions).reshape(shape)


def write_idx(path: Path, array: Array) -> None:
    """Write a uint8 array as a plain idx file."""
    if array.dtype != np.uint8:
        raise UserError(f"idx files hold bytes here. Received {array.dtype}. Scale to 0..255 and cast to uint8.")
    path.write_bytes(struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes())


def is_idx(path: Path) -> bool:
    """Return True if a path is an idx file by its name, or a folder that holds one."""
    if path.is_dir():
        return any(is_idx(child) for child in path.iterdir() if child.is_file())
    return "-ubyte" in path.name or path.name.removesuffix(".gz").endswith(".idx")


def idx_files(folder: Path) -> dict[str, Array]:
    """Return the arrays of the four MNIST files in a folder, keyed by NAMES.

    Raises UserError where one is missing or images and labels do not match.
    """
    arrays: dict[str, Array] = {}
    for name in NAMES:
        found = sorted(p for p in folder.iterdir() if p.is_file() and p.name.replace(".idx", "-idx").startswith(name))
        if not found:
            axes = 3 if name.endswith("images") else 1
            raise UserError(
                f"An MNIST folder holds four idx files. Received {folder}, which lacks {name}-idx{axes}-ubyte(.gz). Put it "
                "there."
            )
        arrays[name] = read_idx(found[0])
        if arrays[name].ndim != (3 if name.endswith("images") else 1):
            raise UserError(f"{found[0]} has {arrays[name].ndim} axes. Images have 3 (n, height, width) and labels 1.")
    for part in ("train", "t10k"):
        images, labels = arrays[f"{part}-images"], arrays[f"{part}-labels"]
        if len(images) != len(labels):
            raise UserError(f"{folder}: {part} has {len(images)} images and {len(labels)} labels. They belong in pairs.")
    if arrays["train-images"].shape[1:] != arrays["t10k-images"].shape[1:]:
        raise UserError(f"{folder}: training and test images differ in size. They must be of one set.")
    return arrays
