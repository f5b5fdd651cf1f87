"""Sets that have names: those made on the spot, and public ones, which are found or fetched. Each kind declares its own."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from nnatomy.data.dataset import Dataset
from nnatomy.data.reading import Reading, Source
from nnatomy.errors import UserError

__all__ = ["RAW", "Made", "Named", "Public", "cache_folder", "locate"]

RAW = "https://raw.githubusercontent.com"


@dataclass(frozen=True)
class Made:
    """A set that needs no network: real data that a library brings, or numbers drawn from the seed."""

    read: Callable[[Reading], Dataset]
    origin: Literal["embedded", "generated"] = "generated"


@dataclass(frozen=True)
class Public:
    """A public set: its place under the data folder (a file, or a folder of `files`), and its origin."""

    place: str
    description: str
    target: str | None = None
    files: tuple[str, ...] = ()  # of a folder
    url: str | None = None
    sha256: str | None = None  # of the file at `url`
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
    lacking = [path / name for name in known.files if not _present(path / name)]
    if path.exists() and not lacking:
        return path
    wanted = ", ".join(str(p) for p in (lacking or [path]))
    if offline or known.url is None:
        reason = "the network is not to be used (--offline)" if known.url else "it has no stable address to fetch it from"
        raise UserError(
            f"The data set is not here and {reason}. Put {wanted} there, or set NNATOMY_DATA to the folder that holds it."
        )
    try:
        import pooch
    except ImportError as error:
        raise UserError(f"Fetching data needs pooch (`pip install pooch`). Or put the file at {wanted} yourself.") from error
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        digest = f"sha256:{known.sha256}"
        pooch.retrieve(known.url, known_hash=digest, fname=path.name, path=path.parent, progressbar=False)
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0][:120]
        raise UserError(f"{known.url} could not be fetched ({reason}). Put the file at {wanted} yourself.") from error
    return path


def _present(path: Path) -> bool:
    return path.exists() or path.with_suffix("").exists()  # idx files may be unpacked
