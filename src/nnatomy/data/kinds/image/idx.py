"""The idx format of MNIST: a magic number, the sizes, then bytes; plain or gzipped, four files to a folder."""

from __future__ import annotations

import math
import struct
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nnatomy.errors import UserError
from nnatomy.files import read_at_most, unpacked

__all__ = ["idx_files", "is_idx", "read_idx", "write_idx"]

Array = npt.NDArray[Any]
NAMES = ("train-images", "train-labels", "t10k-images", "t10k-labels")
MAX_BYTES = 1 << 31


def read_idx(path: Path) -> Array:
    """Return the uint8 array in an idx file (LeCun, Cortes and Burges 1998: 0 0 8 ndim, big-endian sizes, bytes).

    Raises UserError where the file is not idx, is cut short or has bytes too many.
    """
    with unpacked(path) as content:
        start = content.read(4)
        if len(start) < 4 or start[:2] != b"\0\0":
            raise UserError(f"An idx file starts with two zero bytes. Received {path}, which does not. Is it an MNIST file?")
        kind, dimensions = start[2], start[3]
        if kind != 8 or not 1 <= dimensions <= 4:
            raise UserError(
                f"idx files have unsigned bytes and 1 to 4 axes. Received {path} with type {kind:#x} and {dimensions} axes. "
                "Convert it."
            )
        sizes = content.read(4 * dimensions)
        if len(sizes) < 4 * dimensions:
            raise UserError(f"An idx file has a header. Received {path}, which ends inside it. Fetch it again.")
        shape = struct.unpack(f">{dimensions}I", sizes)
        expected = math.prod(shape)
        values = read_at_most(content, min(expected, MAX_BYTES) + 1)
    if len(values) != expected:
        state = f"{len(values):,} follow" if len(values) < expected else "more follow"
        raise UserError(
            f"An idx file is as long as its header says. Received {path}: {' x '.join(map(str, shape))} bytes, and {state}. "
            "Fetch it again."
        )
    return np.frombuffer(values, np.uint8).reshape(shape)


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
            raise UserError(
                f"Images of MNIST's form have 3 axes (n, height, width), labels have 1. Received {arrays[name].ndim} in "
                f"{found[0]}. Replace the file."
            )
    for part in ("train", "t10k"):
        images, labels = arrays[f"{part}-images"], arrays[f"{part}-labels"]
        if len(images) != len(labels):
            raise UserError(
                f"Each image has one label. Received {len(images)} images and {len(labels)} labels for {part} in {folder}. "
                "Use files of one set."
            )
    if arrays["train-images"].shape[1:] != arrays["t10k-images"].shape[1:]:
        raise UserError(
            f"Training and test images have one size. Received two in {folder}. Use files of one set."
        )
    return arrays
