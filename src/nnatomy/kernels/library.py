"""Keeps the object code of kernels in the user's cache, has it compiled where it is missing, and loads it without Numba.

A file's name holds a fingerprint of all that its contents depend on, so versions do not overwrite each other. Files are
written under another name and renamed: several processes may share the folder. Where it cannot be used, code stays in memory.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

_lock = threading.RLock()
_addresses: dict[str, int] = {}
_engine: Any = None
announce: Callable[[str], None] | None = None
"""Called once before the first compilation, with a sentence for the user."""
_announced = False
_tidied = False
_helpers: list[subprocess.Popen[bytes]] = []
WORTH_HELP, MOST_HELPERS = 4, 3
"""Missing kernels from which other processes help, and how many do."""

SOURCES = Path(__file__).parent
KEPT_FOR = 30 * 24 * 3600.0
"""Seconds after which code of other versions, not used since, is removed."""


def address(module: str, name: str) -> int:
    """The address of kernel `name` of sources/`module`.py, compiled now if no cache holds it."""
    key = f"{module}.{name}"
    found = _addresses.get(key)
    if found is not None:
        return found
    with _lock:
        if key not in _addresses:
            _addresses[key] = _load(module, name)
        return _addresses[key]


def prepare(kernels: Iterable[tuple[str, str]]) -> None:
    """Has kernels (module, name) ready. What no cache holds is compiled by several processes, this one among them."""
    wanted = [k for k in dict.fromkeys(kernels) if f"{k[0]}.{k[1]}" not in _addresses]
    place = usable_folder()
    missing = [k for k in wanted if place is not None and not _path(place, *k).exists()]
    if len(missing) >= WORTH_HELP and sys.executable:
        _warn_once()
        helpers = min(_processors() - 1, MOST_HELPERS)
        for number in range(helpers):  # each starts elsewhere and goes the other way, until it meets what others have done
            turn = len(missing) * number // helpers
            _spawn((missing[turn:] + missing[:turn])[::-1])
    try:
        for module, name in [*missing, *wanted]:
            address(module, name)
    finally:
        while _helpers:
            helper = _helpers.pop()
            helper.kill()
            helper.wait()


def _spawn(kernels: list[tuple[str, str]]) -> None:
    """A process that compiles kernels into the folder; where it cannot start, this one does all."""
    words = [f"{module}.{name}" for module, name in kernels]
    code = "import sys; from nnatomy.kernels import library; library.fill(sys.argv[1:])"
    command = [sys.executable, "-c", code, *words]
    with contextlib.suppress(OSError):
        quiet = subprocess.DEVNULL
        path = os.pathsep.join([str(SOURCES.parents[2]), *filter(None, [os.environ.get("PYTHONPATH")])])
        _helpers.append(
            subprocess.Popen(command, stdin=quiet, stdout=quiet, stderr=quiet, env=os.environ | {"PYTHONPATH": path})
        )


def fill(kernels: Iterable[str]) -> None:
    """The work of a helping process: compile each "module.name" that no other process has compiled."""
    place = usable_folder()
    for module, _, name in (word.partition(".") for word in kernels):
        if place is not None and not _path(place, module, name).exists():
            _write(_path(place, module, name), _compile(module, name, f"kernel_{module}_{name}"))


def _processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _path(place: Path, module: str, name: str) -> Path:
    return place / f"{module}-{name}-{fingerprint(module)}.o"


def _load(module: str, name: str) -> int:
    entry = f"kernel_{module}_{name}"
    place = usable_folder()
    path = None if place is None else _path(place, module, name)
    code = None if path is None else _read(path)
    if code is None:
        code = _compile(module, name, entry)
        if path is not None:
            _write(path, code)
            _tidy(path.parent)
    return _link(code, entry)


def _warn_once() -> None:
    global _announced
    if announce is not None and not _announced:
        _announced = True
        announce("Compiling fast kernels: once per machine, some seconds in all.")


def _compile(module: str, name: str, entry: str) -> bytes:
    _warn_once()
    from nnatomy.kernels.compiler import compile_kernel

    return compile_kernel(module, name, entry)


def _link(code: bytes, entry: str) -> int:
    """Load object code into the process."""
    global _engine
    from llvmlite import binding as llvm

    from nnatomy.kernels.compiler import target

    if _engine is None:
        machine = target()
        _engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine)
    _engine.add_object_file(llvm.ObjectFileRef.from_data(code))
    _engine.finalize_object()
    found = int(_engine.get_function_address(entry))
    if not found:
        raise RuntimeError(f"The object code has no {entry}.")
    return found


# The folder and its files


def folder(kind: str = "kernels") -> Path:
    """Where compiled code of a kind is kept: NNATOMY_CACHE, else the platform's folder for caches."""
    given = os.environ.get("NNATOMY_CACHE")
    if given:
        return Path(given) / kind
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "nnatomy" / kind
    if os.name == "nt":
        return Path(os.environ.get("LOCALAPPDATA", Path.home())) / "nnatomy" / kind
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "nnatomy" / kind


def usable_folder(kind: str = "kernels") -> Path | None:
    """The folder, made if need be; None where there can be none, or where others could put code for us to run."""
    try:
        place = folder(kind)
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        return place if _private(place.stat()) else None
    except (OSError, RuntimeError):  # RuntimeError: the user has no home folder
        return None


def _private(status: os.stat_result) -> bool:
    """Return True if only this user and root can write: what is read is run."""
    return os.name == "nt" or (status.st_uid in (0, os.geteuid()) and not status.st_mode & 0o022)


def _read(path: Path) -> bytes | None:
    """The object code in a file, None if there is none or it is damaged: its digest is before it."""
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            kept = file.read()
    except OSError:
        return None
    if not _private(status) or hashlib.sha256(kept[32:]).digest() != kept[:32]:
        return None
    if time.time() - status.st_mtime > 24 * 3600:
        with contextlib.suppress(OSError):
            os.utime(path)  # still in use
    return kept[32:]


def _write(path: Path, code: bytes) -> None:
    """Write the whole file or nothing; a cache that cannot be written is not an error, the kernel runs from memory."""
    temporary = None
    try:
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.stem, suffix=".part")  # for this user only
        with os.fdopen(handle, "wb") as file:
            file.write(hashlib.sha256(code).digest() + code)
        os.replace(temporary, path)
    except OSError:
        if temporary is not None:
            with contextlib.suppress(OSError):
                os.unlink(temporary)


def _tidy(place: Path) -> None:
    """Remove what no process has used for KEPT_FOR: code of other versions, and files that were never finished."""
    global _tidied
    if _tidied:
        return
    _tidied = True
    with contextlib.suppress(OSError):
        for path in place.iterdir():
            with contextlib.suppress(OSError):
                if path.suffix in (".o", ".part") and time.time() - path.stat().st_mtime > KEPT_FOR and not _current(path):
                    path.unlink()


def _current(path: Path) -> bool:
    module, _, rest = path.stem.partition("-")
    return path.suffix == ".o" and (SOURCES / "sources" / f"{module}.py").exists() and rest.endswith(fingerprint(module))


@functools.cache
def fingerprint(module: str) -> str:
    """Return the key of object code: the sources, the compiler, the processor."""
    digest = hashlib.sha256(_toolchain())
    for name in ("vectors", "processor", "microkernels", "compiler"):
        digest.update((SOURCES / f"{name}.py").read_bytes())
    for path in _imported(module):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


@functools.cache
def _toolchain() -> bytes:
    from importlib.metadata import version

    import llvmlite.binding as llvm

    parts = [version("numba"), version("llvmlite"), sys.version_info[:2], llvm.get_host_cpu_name()]
    return f"{parts} {llvm.get_host_cpu_features().flatten()}".encode()


def _imported(module: str) -> list[Path]:
    """The module's file and those of the kernels' modules that it imports from, in order."""
    found: list[str] = []
    left = [module]
    while left:
        name = left.pop()
        if name not in found:
            found.append(name)
            text = (SOURCES / "sources" / f"{name}.py").read_text(encoding="utf-8")
            left += re.findall(r"^from nnatomy\.kernels\.sources\.(\w+) import", text, re.M)
    return [SOURCES / "sources" / f"{name}.py" for name in sorted(found)]


def _after_fork() -> None:
    """Make a new lock in a forked child: a thread that held the old one does not exist there and cannot release it."""
    global _lock
    _lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
