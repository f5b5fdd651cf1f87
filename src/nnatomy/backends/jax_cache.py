"""Keeps what XLA compiled in the user's cache, so that the next run of the same step starts without compiling."""

from __future__ import annotations

import contextlib
import hashlib
import json
import platform
import threading
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import jax

from nnatomy.kernels import library

SLOW = 3.0
"""Seconds of compiling after which a message is printed."""
MOST = 2**30
"""Bytes that are kept; beyond, the half that was written first goes."""
_started = _reported = False


def keep() -> None:
    """Make JAX keep programs in NNATOMY_CACHE or the platform's folder for caches, unless the user chose a folder for JAX.

    Each kind of processor has its own folder. Where none can be used (a home that is read-only, or open to others),
    programs are compiled again in each process. Several processes may share it: a file is not used while another one writes it.
    """
    global _started
    if _started or jax.config.jax_compilation_cache_dir is not None:
        return
    _started = True
    place = library.usable_folder("xla")
    if place is None:
        return
    _tidy(place)
    jax.config.update("jax_compilation_cache_dir", str(place / _machine()))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)  # small programs are many
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    warnings.filterwarnings("ignore", message="Error (reading|writing) persistent compilation cache")


@contextlib.contextmanager
def reporting() -> Iterator[None]:
    """A block that compiles: if it takes long, a message says so, once in a process."""
    timer = threading.Timer(SLOW, _report)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _report() -> None:
    global _reported
    if library.announce is not None and not _reported:
        _reported = True
        kept = jax.config.jax_compilation_cache_dir is not None
        library.announce("XLA is compiling for these shapes" + ("; the next such run starts from the cache." if kept else "."))


def _machine() -> str:
    """A name for processors that can run each other's code."""
    try:
        from nnatomy.kernels.processor import FEATURES

        features = json.dumps(dict(FEATURES), sort_keys=True)
    except ImportError:  # without LLVM: this machine alone
        features = platform.node()
    return hashlib.sha256(f"{platform.machine()} {features}".encode()).hexdigest()[:16]


def _tidy(place: Path) -> None:
    with contextlib.suppress(OSError):
        files = [(path, path.stat()) for path in place.glob("*/*") if path.is_file()]
        excess = sum(status.st_size for _, status in files) - MOST
        if excess <= 0:
            return
        excess += MOST // 2
        for path, status in sorted(files, key=lambda found: found[1].st_mtime):
            if excess > 0 and time.time() - status.st_mtime > 60:  # no process is writing it
                path.unlink(missing_ok=True)
                excess -= status.st_size
