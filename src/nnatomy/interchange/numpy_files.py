"""NumPy's .npy and .npz: headers are read by NumPy, sizes are held against the bytes that are there, objects are refused."""

from __future__ import annotations

import io
import math
from pathlib import Path
from typing import Any

import numpy as np

from nnatomy.data.npz import read_header
from nnatomy.interchange.archives import Archive
from nnatomy.interchange.refusal import refusal
from nnatomy.interchange.scalars import PLAIN

MAGIC = b"\x93NUMPY"


def read_array(path: Path) -> dict[str, np.ndarray[Any, Any]]:
    """The array of a .npy file, by the file's name without its ending."""
    return {path.name.removesuffix(".npy"): _array(path, path.read_bytes(), path.name)}


def read_archive(archive: Archive) -> dict[str, np.ndarray[Any, Any]]:
    """The arrays of a .npz file."""
    return {name.removesuffix(".npy"): _array(archive.path, archive.read(name), name) for name in archive.names}


def _array(path: Path, data: bytes, name: str) -> np.ndarray[Any, Any]:
    stream = io.BytesIO(data)
    try:
        shape, fortran, dtype = read_header(stream)
    except Exception:  # it parses a Python literal, whose exceptions are not documented
        raise refusal(path, f"has no readable header in {name!r}", "Write it again with numpy.save") from None
    if dtype.kind not in PLAIN:
        raise refusal(path, f"holds {name!r} as {_short(dtype)}, which is not a plain number", "Save arrays of numbers alone")
    begin = stream.tell()
    if any(type(n) is not int or n < 0 for n in shape) or math.prod(shape) * dtype.itemsize != len(data) - begin:
        raise refusal(path, f"is cut short or claims a wrong size for {name!r}", "Download or write it again")
    try:
        return np.frombuffer(data, dtype, offset=begin).reshape(shape, order="F" if fortran else "C")
    except (ValueError, OverflowError):
        raise refusal(path, f"claims an impossible shape for {name!r}", "Download or write it again") from None


def _short(dtype: Any) -> str:
    text = str(dtype)
    return text if len(text) < 40 else text[:37] + "..."
