"""Sets that have names: those made on the spot, and public ones, which are found or fetched. Each kind declares its own."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Literal

from nnatomy.data.dataset import Dataset
from nnatomy.data.reading import Reading, Source
from nnatomy.errors import UserError
from nnatomy.files import open_file, unpacked

__all__ = ["RAW", "Made", "Named", "Public", "cache_folder", "files_of", "locate"]

RAW = "https://raw.githubusercontent.com"


@dataclass(frozen=True)
class Made:
    """A set that needs no network: real data that a library brings, or numbers drawn from the seed."""

    read: Callable[[Reading], Dataset]
    origin: Literal["embedded", "generated"] = "generated"


@dataclass(frozen=True)
class Public:
    """A public set: its place under the data folder (a file, or a folder of `files`), and its origin.

    The digests are of the content: what gzip packed is unpacked first, since each packer writes other bytes.
    """

    place: str
    description: str
    target: str | None = None
    files: Mapping[str, str] = field(default_factory=dict)
    """The SHA-256 of each file of the folder, or of those next to the file, by name."""
    url: str | None = None
    sha256: str | None = None  # of the file; None where the place is a folder
    read: Callable[[Source, Reading], Dataset] | None = None
    """The reading of the file; as a user's own file if None."""
    origin: Literal["public"] = "public"


Named = Made | Public


def cache_folder() -> Path:
    """Return the folder of public sets: NNATOMY_DATA where it is set, the user's cache otherwise."""
    chosen = os.environ.get("NNATOMY_DATA")
    return Path(chosen).expanduser() if chosen else Path.home() / ".cache" / "nnatomy"


def locate(known: Public, offline: bool) -> Path:
    """Return the path of a public set, fetched once where it is absent; raises UserError that says which file to put where."""
    path = cache_folder() / known.place
    needed = _needed(known, path)
    lacking = [file for file in needed if not _present(file)]
    if not lacking:
        for file, digest in needed.items():
            _check(_present(file), digest)
        return path
    wanted = ", ".join(map(str, lacking))
    if offline or known.url is None:
        reason = "the network is not to be used (--offline)" if known.url else "it has no stable address to fetch it from"
        raise UserError(
            f"A named data set is on this machine or is fetched. Received one that is not here, and {reason}. Put {wanted} "
            "there, or set NNATOMY_DATA to the folder that holds it."
        )
    try:
        import pooch
    except ImportError as error:
        raise UserError(
            f"Fetching data needs pooch. Received an environment without it. Run pip install pooch, or put the file at "
            f"{wanted} yourself."
        ) from error
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        digest = f"sha256:{known.sha256}"
        pooch.retrieve(known.url, known_hash=digest, fname=path.name, path=path.parent, progressbar=False)
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0][:120]
        raise UserError(
            f"A data set is fetched from its address. Received {reason} from {known.url}. Put the file at {wanted} yourself."
        ) from error
    return path


def files_of(known: Public, path: Path) -> tuple[Path, ...]:
    """Return the files of a public set that is at `path`."""
    return tuple(found for file in _needed(known, path) if (found := _present(file)) is not None)


def _needed(known: Public, path: Path) -> dict[Path, str]:
    """Return the digest of each file that a public set needs."""
    needed = {(path.parent if known.sha256 else path) / name: digest for name, digest in known.files.items()}
    return needed | ({path: known.sha256} if known.sha256 else {})


def _present(path: Path) -> Path | None:
    """Return a file that is there, packed or, as idx files may be, unpacked; None where it is absent."""
    usable = (path, path.with_suffix("")) if path.suffix == ".gz" else (path,)
    return next((found for found in usable if os.path.lexists(found)), None)


def _check(path: Path | None, digest: str) -> None:
    """Raise UserError where the content of a file is not the published one."""
    assert path is not None, "checked after `_present`"
    with open_file(path) as file:
        size, time = (status := os.fstat(file.fileno())).st_size, status.st_mtime_ns
    if _digest(path, size, time) != digest:
        raise UserError(
            f"A named set is read from the published files. Received {path}, whose content differs: it is damaged or was "
            "changed. Remove it, or train on a copy by its path, with --data PATH."
        )


@lru_cache(maxsize=64)
def _digest(path: Path, size: int, time: int) -> str:
    """Return the SHA-256 of a file's content; one that has kept its size and time is not read again."""
    digest = hashlib.sha256()
    with unpacked(path) as content:
        while piece := content.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()
