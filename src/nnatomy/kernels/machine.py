"""Runs programs, lists of kernels with their arguments, on one pool of threads.

    program = Program(); program.add("gemm", "product", (m, n, k, ...), parallel=True); program.run()
"""

from __future__ import annotations

import atexit
import ctypes
import os
import struct
import threading
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from nnatomy.errors import UserError
from nnatomy.kernels import library

_Entry = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)
_MOST = 64
_MUTEX, _CONDITION, _REACHED = 192, 320, 448  # as in kernels/control.py
_WORDS = (_REACHED + 64 * _MOST) // 8


class _Pool:
    """The threads of this process; made at the first program, and again in a forked child, which has none of them."""

    def __init__(self) -> None:
        self.shared = aligned(_WORDS, np.int64)
        self.address = address(self.shared)
        self.workers: list[threading.Thread] = []
        self.run = _Entry(library.address("control", "run"))
        self.lock = threading.RLock()  # one program at a time; a signal's handler may run another one

    def start(self, threads: int) -> None:
        """Start what workers are missing."""
        work = _Entry(library.address("control", "work"))
        for me in range(len(self.workers) + 1, threads):
            arguments = np.array([self.address, me, self.shared[0]], np.int64)
            worker = threading.Thread(target=_serve, args=(work, arguments), name=f"nnatomy-{me}", daemon=True)
            worker.start()
            self.workers.append(worker)

    def stop(self) -> None:
        """Send the workers home before the interpreter takes their code and their memory away."""
        if not self.workers or not self.lock.acquire(timeout=1.0):
            return
        system = ctypes.CDLL(None)
        mutex, condition = (ctypes.c_void_p(self.address + offset) for offset in (_MUTEX, _CONDITION))
        self.shared[0] = -1
        system.pthread_mutex_lock(mutex)
        system.pthread_cond_broadcast(condition)
        system.pthread_mutex_unlock(mutex)
        for worker in self.workers:
            worker.join(1.0)
        self.workers.clear()
        self.lock.release()


def _serve(work: Any, arguments: np.ndarray[Any, Any]) -> None:
    work(address(arguments), 0, 1)


_pool: _Pool | None = None
_making = threading.Lock()
_threads: int | None = None


def pool() -> _Pool:
    global _pool
    if _pool is None:
        with _making:
            if _pool is None:
                _pool = _Pool()
    return _pool


def _after_fork() -> None:
    global _pool, _making
    _pool, _making = None, threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
atexit.register(lambda: _pool.stop() if _pool is not None else None)


def processors() -> int:
    """The processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def get_num_threads() -> int:
    """The threads that kernels use: the number set by `set_num_threads` or NNATOMY_THREADS, else one for each processor."""
    global _threads
    if _threads is None:
        given = os.environ.get("NNATOMY_THREADS")
        if given:
            set_num_threads(_number(int(given) if given.isdecimal() and given.isascii() else given, "NNATOMY_THREADS"))
        else:
            set_num_threads(min(processors(), _MOST))
    return _threads or 1


def set_num_threads(threads: int) -> None:
    """Set the number of threads for all kernels that run from now on; results are deterministic for a given number.

    Raises UserError unless it is a whole number from 1 to 64. On Windows it is 1 always.
    """
    global _threads
    wanted = _number(threads, "The number of threads")
    _threads = 1 if os.name == "nt" else wanted


def _number(given: Any, name: str) -> int:
    if not isinstance(given, int | np.integer) or isinstance(given, bool) or not 1 <= given <= _MOST:
        raise UserError(f"{name} must be a whole number from 1 to {_MOST}. Received {given!r}. Try 1.")
    return int(given)


def aligned(count: int, dtype: Any) -> np.ndarray[Any, Any]:
    """Zeros that start on a cache line."""
    kind = np.dtype(dtype)
    raw = np.zeros(count * kind.itemsize + 64, np.uint8)
    start = -address(raw) % 64
    return raw[start : start + count * kind.itemsize].view(kind)


def address(array: np.ndarray[Any, Any]) -> int:
    """The address of an array's first element."""
    return int(array.__array_interface__["data"][0])


def number(x: float) -> int:
    """A float64 as the int64 with its bits: how numbers travel among a kernel's arguments (`as_double` reads them)."""
    return int(struct.unpack("<q", struct.pack("<d", x))[0])


class Outline:
    """A program that is not to be run: it only remembers which kernels it would need."""

    def __init__(self) -> None:
        self.kernels: list[tuple[str, str]] = []
        self.words: list[int] = []

    def add(self, module: str, name: str, arguments: Iterable[int], parallel: bool = False) -> int:
        """Remember a kernel."""
        self.kernels.append((module, name))
        return 0

    def keep(self, *arrays: Any) -> None:
        """Hold nothing."""


class Program:
    """Instructions to be run one after another, any number of times."""

    def __init__(self) -> None:
        self.words: list[int] = []
        self._keep: list[Any] = []
        self._code: np.ndarray[Any, Any] | None = None

    def add(self, module: str, name: str, arguments: Iterable[int], parallel: bool = False) -> int:
        """Append a kernel with its arguments; return where these start, so that they can be changed with `patch`."""
        values = [int(v) for v in arguments]
        if self._code is not None:
            self.words = self._code[: len(self.words)].tolist()  # with what was patched
        start = len(self.words) + 3
        self.words += [library.address(module, name), len(values) + 3, int(parallel), *values]
        self._code = None
        return start

    def keep(self, *arrays: Any) -> None:
        """Hold what the arguments point to."""
        self._keep += arrays

    def seal(self) -> None:
        """Fix the instructions, ready to run."""
        self._code = aligned(max(len(self.words), 1), np.int64)
        self._code[: len(self.words)] = self.words
        shared = self._mark_meetings(self._code)
        self._parallel = shared > 0
        self._call = np.array([0, address(self._code), len(self.words), 1, shared], np.int64)  # what control.run takes
        self._call_address = address(self._call)

    def _mark_meetings(self, code: np.ndarray[Any, Any]) -> int:
        """Flag the parallel kernels before which threads meet; return where the last parallel kernel ends."""
        at = shared = 0
        alone = False  # whether the first thread has run something since all met
        while at < len(self.words):
            parallel = bool(self.words[at + 2])
            code[at + 2] = parallel + 2 * (parallel and alone)
            alone = not parallel
            at += self.words[at + 1]
            if parallel:
                shared = at
        return shared

    def patch(self, start: int, values: Sequence[int]) -> None:
        """Change arguments of a sealed program."""
        if self._code is None:
            self.words[start : start + len(values)] = values
        else:
            self._code[start : start + len(values)] = values

    def run(self) -> None:
        """Run all instructions. One program at a time: others, from other Python threads, wait."""
        if self._code is None:
            self.seal()
        p = _pool or pool()
        with p.lock:
            if self._parallel:
                threads = get_num_threads()
                if len(p.workers) < threads - 1:
                    p.start(threads)
                self._call[0], self._call[3] = p.address, threads
            p.run(self._call_address, 0, 1)
