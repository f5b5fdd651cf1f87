"""NumPy's .npy and .npz files from outside: sizes that headers claim are compared with the bytes that are there."""

from __future__ import annotations

import io
import math
import warnings
import zipfile
import zlib
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from nnatomy.errors import UserError
from nnatomy.files import open_file, plausible_size, read_unpacked

__all__ = ["array_of", "read_arrays"]

Array = npt.NDArray[Any]
DAMAGE = (zipfile.BadZipFile, zlib.error, OSError, EOFError, ValueError, NotImplementedError, RuntimeError, LookupError)
"""The exceptions of zipfile for damaged, encrypted and unknown members."""


def read_arrays(path: Path) -> dict[str, Array]:
    """Return the arrays of an .npz file by their names; of an .npy file its array, as "".

    Raises UserError for damaged files, for Python objects, and for sizes that the file cannot hold.
    """
    with _content(path) as file:
        if file.read(6) == b"\x93NUMPY":
            file.seek(0)
            return {"": array_of(file.read(), str(path))}
        try:
            with zipfile.ZipFile(file) as archive:
                members = archive.infolist()
                claimed, most = sum(member.file_size for member in members), plausible_size(path.stat().st_size)
                if claimed > most:
                    raise UserError(
                        f"An .npz file of this size holds up to {most >> 20:,} MiB. Received {path}, which claims "
                        f"{claimed >> 20:,}. Save it unpacked, with np.savez."
                    )
                found = {member.filename.removesuffix(".npy"): archive.read(member) for member in members}
        except DAMAGE as problem:
            if isinstance(problem, UserError):
                raise
            said = str(problem)[:100] or type(problem).__name__
            raise UserError(
                f"Arrays are read from whole .npz and .npy files. Received {path}, which is damaged ({said}). Save it again "
                "with np.savez."
            ) from None
    return {name: array_of(data, f"{name!r} of {path}") for name, data in found.items()}


def _content(path: Path) -> BinaryIO:
    with open_file(path) as file:
        packed = file.read(2) == b"\x1f\x8b"
    return io.BytesIO(read_unpacked(path)) if packed else open_file(path)


def read_header(stream: BinaryIO) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Return shape, Fortran order and type in an .npy file's header. What a damaged one raises is not documented."""
    with warnings.catch_warnings():  # odd headers make Python's parser talk
        warnings.simplefilter("ignore")
        version = np.lib.format.read_magic(stream)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        return read(stream)


def array_of(data: bytes, name: str) -> Array:
    """Return the array of an .npy file's bytes, which share its memory. Raises UserError for all that is not whole."""
    stream = io.BytesIO(data)
    try:
        shape, fortran, dtype = read_header(stream)
        start = stream.tell()
        if dtype.hasobject:
            raise UserError(f"Arrays hold numbers or texts. Received {name} with Python objects. Convert it with .astype().")
        if any(type(n) is not int or n < 0 for n in shape) or math.prod(shape) * dtype.itemsize != len(data) - start:
            raise ValueError("its header claims another size")
        return np.frombuffer(data, dtype, offset=start).reshape(shape, order="F" if fortran else "C")
    except UserError:
        raise
    except Exception as problem:  # it parses a Python literal, whose exceptions are not documented
        said = str(problem)[:100]
        raise UserError(
            f"An array is saved by np.save or np.savez. Received {name}, which is damaged ({said}). Save it again."
        ) from None
