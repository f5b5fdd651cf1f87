"""A run's folder: the request, the environment, the metrics, and checkpoints from which it continues exactly."""

from __future__ import annotations

import errno
import json
import math
import os
import platform
import re
import shutil
import sys
import tempfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from nnatomy.errors import UserError, nearest_name
from nnatomy.files import check_name, open_file, unwritable
from nnatomy.runs.records import EpochRecord, RunRecord
from nnatomy.saved import RESTORE, read_json, read_lines, typed

try:
    import fcntl
except ImportError:  # Windows, where folders cannot be locked
    fcntl = None  # type: ignore[assignment]

Array = np.ndarray[Any, Any]
T = TypeVar("T")
CHECKSUM = "checksum"
"""The name of the metadata by which a damaged checkpoint is noticed."""
UNFINISHED = ".unfinished"
"""Marks a new folder whose first records are not all written."""
HALF_WRITTEN = re.compile(r"\..+\.\w+\.[a-z0-9_]{8}")
"""The names of the files that `write_atomically` renames when they are whole."""


def write_atomically(path: Path, content: bytes | str) -> None:
    """Write a file whole or not at all: next to it first, then renamed over it.

    Raises UserError where the disk is full or the folder cannot be written.
    """
    write_together({path: content})


def write_together(contents: Mapping[Path, bytes | str]) -> None:
    """Write files of one folder, all of them or none; see `write_atomically`."""
    written: dict[Path, str] = {}
    path = next(iter(contents))
    try:
        for path, content in contents.items():
            data = content.encode(errors="backslashreplace") if isinstance(content, str) else content  # names not in UTF-8
            path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
                written[path] = file.name
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.chmod(file.name, 0o644)
        for path, name in written.items():
            os.replace(name, path)
    except BaseException as problem:
        for name in written.values():
            Path(name).unlink(missing_ok=True)
        if not isinstance(problem, OSError):
            raise
        raise unwritable(path, problem) from None


def finite(value: Any) -> Any:
    """A value that JSON can hold: NaN and infinity become None."""
    if isinstance(value, Mapping):
        return {key: finite(item) for key, item in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


def save_arrays(path: Path, arrays: Mapping[str, Array], metadata: Mapping[str, Any]) -> None:
    """Write named arrays and plain values as one safetensors file."""
    write_atomically(path, packed(arrays, metadata))


def packed(arrays: Mapping[str, Array], metadata: Mapping[str, Any]) -> bytes:
    """The safetensors file of named arrays and plain values."""
    from safetensors.numpy import save

    tidy = {name: np.asarray(a, order="C") for name, a in arrays.items()}
    texts = {key: json.dumps(value) for key, value in metadata.items()}
    return bytes(save(tidy, texts | {CHECKSUM: str(_checksum(tidy, texts))}))


def _checksum(arrays: Mapping[str, Array], texts: Mapping[str, str]) -> int:
    """Return the CRC-32 of arrays and texts with their names."""
    found = 0
    for name in sorted(arrays):
        found = zlib.crc32(f"{name} {arrays[name].dtype} {arrays[name].shape}".encode(), found)
        found = zlib.crc32(arrays[name].tobytes(), found)
    return zlib.crc32(repr(sorted(texts.items())).encode(errors="backslashreplace"), found)


def load_arrays(path: Path) -> tuple[dict[str, Array], dict[str, Any]]:
    """Read what `save_arrays` wrote. Raises UserError where the file is missing, damaged, cut short or not safetensors."""
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise UserError(f"A checkpoint must exist. Received {path}, which does not. Name the folder of a run that has one.")
    with open_file(path):  # safetensors does not tell what may not be read from what is damaged
        pass
    try:
        with safe_open(path, framework="numpy") as file:
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            texts = dict(file.metadata() or {})
        wanted = texts.pop(CHECKSUM, None)
        if wanted is not None and wanted != str(_checksum(arrays, texts)):
            raise ValueError
        return arrays, {key: json.loads(value) for key, value in texts.items()}
    except (SafetensorError, OSError, ValueError, RecursionError):
        raise UserError(
            f"A checkpoint must be a whole safetensors file. Received {path}, which is damaged or another format. Use a backup."
        ) from None


@dataclass(frozen=True)
class Run:
    """The folder of one training run."""

    folder: Path

    @property
    def last(self) -> Path:
        return self.folder / "last.safetensors"

    @property
    def best(self) -> Path:
        return self.folder / "best.safetensors"

    @property
    def report(self) -> Path:
        return self.folder / "report.html"

    @property
    def log(self) -> Path:
        return self.folder / "metrics.jsonl"

    @classmethod
    def create(cls, name: str, out: str | Path | None = None) -> Run:
        """A new folder: `out`, which must be new or empty, or runs/<time>-<name>."""
        return cls(new_folder("runs", name, out, "run"))

    @classmethod
    def open(cls, folder: str | Path) -> Run:
        """The run in a folder. Raises UserError where it is none."""
        path = _path(folder)
        if path.is_file():
            raise UserError(
                f"A run is a folder. Received {path}, which is a file. Name the folder that contains it, {path.parent}."
            )
        if not path.is_dir():
            beside = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
            near = nearest_name(path.name, beside)
            remedy = f"Did you mean {path.parent / near}?" if near else "Name the folder of a run."
            raise UserError(f"The folder of a run must exist. Received {path}, which does not. {remedy}")
        if not (path / "run.json").is_file():
            raise UserError(f"A run's folder has a run.json. Received {path} without it. Name one that nnatomy train made.")
        return cls(path)

    @property
    def members(self) -> list[Run]:
        """The runs whose predictions this one averages; none for any other run."""
        average = self.record().average
        return [Run.open(self.folder / name) for name in average.members] if average is not None else []

    def alone(self) -> Run:
        """This run, if it has its own model. Raises UserError otherwise."""
        if self.members:
            raise UserError(
                f"Averaged predictions can be evaluated, used to predict and learned from, no more. Received {self.folder}, "
                f"an average of {len(self.members)} runs. Name one of them, such as {self.members[0].folder}."
            )
        return self

    def weights(self) -> dict[str, Array]:
        """The weights of the best epoch, or the last ones where no epoch has ended yet.

        Raises UserError where there are none.
        """
        self.alone()
        if self.best.exists():
            return load_arrays(self.best)[0]
        if not self.last.exists():
            raise UserError(
                f"A run has weights after its first checkpoint. Received {self.folder}, which has none. Continue it with "
                f"nnatomy train --resume {self.folder}."
            )
        arrays, _ = load_arrays(self.last)
        return {name.removeprefix("model/"): a for name, a in arrays.items() if name.startswith("model/")}

    def write_json(self, name: str, value: Any) -> None:
        """Write plain values, readable by people too."""
        write_atomically(self.folder / name, json.dumps(value, indent=2, ensure_ascii=False) + "\n")

    def read_json(self, name: str) -> dict[str, Any]:
        """Return the object in a file. Raises UserError where the file is missing or damaged."""
        return self.read_as(name, dict[str, Any])

    def read_as(self, name: str, kind: type[T], other_keys: bool = False) -> T:
        """Return a file's values as a type. Raises UserError where the file is missing, or damaged or changed."""
        path = self.folder / name
        if not path.exists():
            raise UserError(f"A run needs its {name}. Received {self.folder}, which lacks it. {RESTORE}")
        return typed(kind, read_json(path), str(path), other_keys=other_keys)

    def record(self) -> RunRecord:
        """Return what run.json says."""
        return self.read_as("run.json", RunRecord, other_keys=True)

    def history(self) -> list[dict[str, Any]]:
        """Return the lines of metrics.jsonl; a last line that was cut short is left out."""
        return list(read_lines(self.log, EpochRecord)) if self.log.is_file() else []

    def append(self, line: Mapping[str, Any], log: str = "metrics.jsonl") -> None:
        """Add one line to metrics.jsonl, or to another log."""
        path = self.folder / log
        try:
            with path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(finite(line)) + "\n")
        except OSError as problem:
            raise unwritable(path, problem) from None

    def rewind(self, lines: list[dict[str, Any]]) -> None:
        """Make metrics.jsonl hold exactly `lines`: epochs after a checkpoint are run again."""
        write_atomically(self.log, "".join(json.dumps(finite(line)) + "\n" for line in lines))


def _path(given: Any) -> Path:
    if not isinstance(given, str | os.PathLike):
        raise UserError(
            f"A folder is named by a text or a path. Received {type(given).__name__}. Give the path of a run's folder."
        )
    return Path(given)


def new_folder(parent: str, name: str, out: str | Path | None, what: str) -> Path:
    """Make the folder of a new `what`: `out`, which must be new or empty, or <parent>/<time>-<name>.

    Raises UserError where it is a file, holds something or cannot be made.
    """
    folder = Path(parent) / f"{datetime.now():%Y%m%d-%H%M%S}-{name}" if out is None else _path(out)
    check_name(folder)
    if folder.exists() and not folder.is_dir():
        raise UserError(f"--out names the folder of a {what}. Received {folder}, which is a file. Choose another name.")
    try:
        if out is None:
            return _free_folder(folder)
        if (folder / UNFINISHED).is_file():  # a process was killed before the folder was of any use
            with owned(folder):
                _empty(folder)
        if folder.exists() and any(folder.iterdir()):
            raise UserError(
                f"A new {what} needs a new folder. Received {folder}, which is not empty. Choose another --out, "
                f"or continue it with --resume {folder}."
            )
        folder.mkdir(parents=True, exist_ok=True)
        (folder / UNFINISHED).touch()
    except OSError as problem:
        raise unwritable(folder, problem) from None
    return folder


@contextmanager
def starting(folder: Path) -> Iterator[None]:
    """Write the first records of a new folder in this block: it is whole afterwards, or gone where anything is raised.

    Until then a file marks it, so that the next command takes the folder of a process that was killed in between.
    """
    try:
        yield
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    (folder / UNFINISHED).unlink(missing_ok=True)


class Ownership:
    """A held lock of a folder."""

    def __init__(self, handle: int | None) -> None:
        self._handle = handle
        self.alone = True
        """False if other processes work in the folder, too, which only `shared` ownership allows."""

    def share(self) -> None:
        """Let other processes join from now on."""
        if self._handle is not None:
            fcntl.flock(self._handle, fcntl.LOCK_SH)


@contextmanager
def owned(folder: Path, *, shared: bool = False) -> Iterator[Ownership]:
    """Own a folder in this block: one process at a time works in it, and files that a killed one had half written are removed.

    With `shared`, a process joins others that called `share`. The system holds the lock, on the folder itself: it ends with the
    process, however that ends, and leaves no file behind. Raises UserError where another process owns the folder.
    """
    if fcntl is None:
        yield Ownership(None)
        return
    handle = os.open(folder, os.O_RDONLY)
    found = Ownership(handle)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if shared:
                fcntl.flock(handle, fcntl.LOCK_SH)
                found.alone = False
                yield found
                return
            raise UserError(
                f"One process at a time works in a folder. Received {folder}, in which another one works. Wait until it has "
                "ended, or end it."
            ) from None
        except OSError as problem:
            if problem.errno not in (errno.ENOLCK, errno.ENOTSUP, errno.EBADF):  # a file system without locks
                raise
        for path in folder.rglob(".*"):
            if HALF_WRITTEN.fullmatch(path.name) and path.is_file():
                path.unlink(missing_ok=True)
        yield found
    finally:
        os.close(handle)


def _empty(folder: Path) -> None:
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def _free_folder(path: Path) -> Path:
    """Make the folder, or the first of its numbered kin that is not taken, also by a run started at the same moment."""
    number, free = 1, path
    while True:
        try:
            free.mkdir(parents=True)
            (free / UNFINISHED).touch()
            return free
        except FileExistsError:
            number += 1
            free = path.with_name(f"{path.name}-{number}")


def _blas() -> str:
    """NumPy's matrix library and the processor it takes this one for: another choice rounds differently."""
    from threadpoolctl import threadpool_info

    found = [i for i in threadpool_info() if i["user_api"] == "blas" and "numpy" in i["filepath"]]
    return ", ".join(f"{i['internal_api']} {i['version']} {i.get('architecture', '')}".strip() for i in found) or "unknown"


def environment() -> dict[str, Any]:
    """Return the facts about the machine and the versions by which a reader judges a run."""
    from importlib.metadata import PackageNotFoundError, version

    from nnatomy import __version__, backends

    def installed(name: str) -> str | None:
        try:
            return version(name)
        except PackageNotFoundError:
            return None

    packages = ("numpy", "scipy", "scikit-learn", "numba", "safetensors", *(("jax", "jaxlib") * (backends.current() == "jax")))
    return {
        "nnatomy": __version__,
        "python": sys.version.split()[0],
        "platform": platform.platform(),
        "processors": os.cpu_count(),
        "backend": backends.current(),
        "device": backends.device(),
        "blas": _blas(),
        "packages": {name: installed(name) for name in packages},
    }
