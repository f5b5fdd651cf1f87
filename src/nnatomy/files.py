"""Files from outside: only regular ones are opened, none blocks or is endless, and gzip expands to a plausible size."""

from __future__ import annotations

import gzip
import os
import stat
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import BinaryIO

from nnatomy.errors import UserError

__all__ = [
    "check_name", "check_source", "open_file", "plausible_size", "read_at_most", "read_file", "read_unpacked", "unpacked",
    "unreadable", "unwritable",
]  # fmt: skip

LARGEST = 4 << 30  # bytes of one file that are read in one call
FREE = 512 << 20  # bytes to which any packed file may expand
RATIO = 100  # of unpacked to packed size, beyond FREE; text and numbers rarely exceed 20
PIECE = 1 << 20
KINDS = {stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket", stat.S_IFCHR: "a device", stat.S_IFBLK: "a device"}


def check_name(name: str | PathLike[str]) -> None:
    """Raise UserError for a name that no report and no JSON file can hold: it is not UTF-8, or has a NUL in it."""
    shown = str(name).encode("utf-8", "backslashreplace").decode().replace(r"\udc", r"\x").replace("\0", r"\0")
    if shown != str(name):
        raise UserError(f"Names of files and folders are UTF-8. Received {shown}, which is not. Rename it.")


def check_source(path: Path) -> None:
    """Raise UserError for a path that is neither a regular file nor a folder: absent, a pipe, a socket, a device."""
    _mode(path)


def _mode(path: Path) -> int:
    """Return the mode of a file or folder. Raises UserError for all else, before anything is opened."""
    check_name(path)
    try:
        mode = path.stat().st_mode
    except OSError as error:
        if isinstance(error, FileNotFoundError | NotADirectoryError):
            link = f", a link to {os.readlink(path)}" if path.is_symlink() else ""
            remedy = "Correct the link" if link else "Check the name"
            raise UserError(f"The file or folder must exist. Received {path}{link}, which does not. {remedy}.") from None
        raise unreadable(path, error) from None
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        found = KINDS.get(stat.S_IFMT(mode), "no file")
        raise UserError(f"Data are read from files and folders. Received {path}, which is {found}. Save its content in a file.")
    return mode


def open_file(path: Path) -> BinaryIO:
    """Return a regular file opened for reading bytes. Raises UserError for all else, without waiting for a pipe."""
    if stat.S_ISDIR(_mode(path)):
        raise UserError(f"A file is needed here. Received {path}, which is a folder. Name a file in it.")
    try:
        return path.open("rb")
    except OSError as error:
        raise unreadable(path, error) from None


def unreadable(path: Path, error: OSError) -> UserError:
    """Return the UserError for a file that the system does not let us read."""
    remedy = "Change its permissions" if isinstance(error, PermissionError) else "Check the name"
    return UserError(f"A file must be readable. Received {path} ({error.strerror or error}). {remedy}.")


def unwritable(path: Path, error: OSError) -> UserError:
    """Return the UserError for a file or folder that the system does not let us write."""
    remedy = "Change its permissions" if isinstance(error, PermissionError) else "Free space"
    return UserError(
        f"Files and folders must be writable. Received {path} ({error.strerror or error}). {remedy} or choose another --out."
    )


def read_file(path: Path) -> bytes:
    """Return the bytes of a regular file. Raises UserError for all else, and for more than LARGEST bytes."""
    with open_file(path) as file:
        return bytes(_whole(path, file, LARGEST))


def plausible_size(packed: int) -> int:
    """Return the bytes to which a packed file of that size may expand; a file that claims more is damaged, or a bomb."""
    return max(FREE, RATIO * packed)


@contextmanager
def unpacked(path: Path) -> Iterator[BinaryIO]:
    """Open a regular file that may be packed by gzip as its content; a damaged one raises UserError until it is closed."""
    with open_file(path) as file:
        packed = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        if not packed:
            yield file
            return
        try:
            with gzip.GzipFile(fileobj=file) as content:
                yield content  # type: ignore[misc]  # it reads as a BinaryIO does
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            said = f"{path}, which is damaged ({error})"
            raise UserError(f"A gzip file must be whole. Received {said}. Fetch it again.") from None


def read_at_most(content: BinaryIO, most: int) -> bytearray:
    """Return at most so many of the bytes that follow; memory grows with what is there, not with what is expected."""
    found = bytearray()
    while len(found) < most and (piece := content.read(min(PIECE, most - len(found)))):
        found += piece
    return found


def read_unpacked(path: Path) -> bytes:
    """Return the content of a file that may be packed by gzip. Raises UserError for a damaged one, and for a bomb."""
    with unpacked(path) as content:
        most = plausible_size(path.stat().st_size) if isinstance(content, gzip.GzipFile) else LARGEST
        return bytes(_whole(path, content, min(LARGEST, most)))


def _whole(path: Path, content: BinaryIO, most: int) -> bytearray:
    found = read_at_most(content, most + 1)
    if len(found) > most:
        raise UserError(f"Up to {most >> 20:,} MiB of {path} are read in one call. Received more. Divide the file.")
    return found
