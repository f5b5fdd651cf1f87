"""Runs programs, lists of kernels with their arguments, on one pool of threads.

    program = Program(); program.add("gemm", "product", (m, n, k, ...), parallel=True); program.run()
"""

from __future__ import annotations

import ctypes
import os
import struct
import threading
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from nnatomy.backends.fast import library
from nnatomy.errors import UserError

_Entry = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)
_MOST = 64
_WORDS = (448 + 64 * _MOST) // 8


class _Pool:
    """The threads of this process; made at the first program that wants them, and again in a forked child."""

    def __init__(self) -> None:
        self.process = os.getpid()
        self.shared = aligned(_WORDS, np.int64)
        self.started = 1
        self.run = _Entry(library.address("control", "run"))
        self.lock = threading.Lock()

    def start(self, threads: int) -> None:
        work = _Entry(library.address("control", "work"))
        for me in range(self.started, threads):
            arguments = np.array([self.shared.ctypes.data, me, self.shared[0]], np.int64)
            # A new thread has not come to the meetings so far.
            self.shared[(448 + 64 * me) // 8] = self.shared[448 // 8]

            def serve(arguments: Any = arguments) -> None:
                work(arguments.ctypes.data, 0, 1)

            threading.Thread(target=serve, name=f"nnatomy-{me}", daemon=True).start()
        self.started = max(self.started, threads)


_pool: _Pool | None = None
_threads: int | None = None


def pool() -> _Pool:
    global _pool
    if _pool is None or _pool.process != os.getpid():
        _pool = _Pool()
    return _pool


def processors() -> int:
    """The processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def get_num_threads() -> int:
    """The threads that kernels use: what `set_num_threads` or NNATOMY_THREADS says, else one for each processor."""
    global _threads
    if _threads is None:
        given = os.environ.get("NNATOMY_THREADS", "")
        _threads = _checked(int(given) if given.isdigit() else given) if given else min(processors(), _MOST)
    return 1 if os.name == "nt" else _threads


def set_num_threads(threads: int) -> None:
    """Sets the number of threads for all kernels that run from now on; results are deterministic for a given number."""
    global _threads
    _threads = _checked(threads)


def _checked(threads: Any) -> int:
    if not isinstance(threads, int) or isinstance(threads, bool) or not 1 <= threads <= _MOST:
        raise UserError(f"The number of threads must be a whole number from 1 to {_MOST}. Received {threads!r}; try 1.")
    return threads


def aligned(count: int, dtype: Any) -> np.ndarray[Any, Any]:
    """Zeros that begin on a cache line."""
    kind = np.dtype(dtype)
    raw = np.zeros(count * kind.itemsize + 64, np.uint8)
    start = -raw.ctypes.data % 64
    return raw[start : start + count * kind.itemsize].view(kind)


def number(x: float) -> int:
    """A float64 as the int64 with its bits: how numbers travel among a kernel's arguments (`as_double` reads them)."""
    return int(struct.unpack("<q", struct.pack("<d", x))[0])


class Program:
    """Instructions to be run one after another, any number of times."""

    def __init__(self) -> None:
        self.words: list[int] = []
        self._keep: list[Any] = []
        self._code: np.ndarray[Any, Any] | None = None

    def add(self, module: str, name: str, arguments: Iterable[int], parallel: bool = False) -> int:
        """Appends a kernel with its arguments; returns where these begin, so that they can be changed with `patch`."""
        values = [int(v) for v in arguments]
        start = len(self.words) + 3
        self.words += [library.address(module, name), len(values) + 3, int(parallel), *values]
        self._code = None
        return start

    def keep(self, *arrays: Any) -> None:
        """Holds what the arguments point to."""
        self._keep += arrays

    def seal(self) -> None:
        """Fixes the instructions, ready to run."""
        self._code = aligned(max(len(self.words), 1), np.int64)
        self._code[: len(self.words)] = self.words
        self._call = aligned(4, np.int64)
        self._parallel = self._any_parallel()
        self._address = self._code.ctypes.data

    def _any_parallel(self) -> bool:
        at = 0
        while at < len(self.words):
            if self.words[at + 2]:
                return True
            at += self.words[at + 1]
        return False

    def patch(self, start: int, values: Sequence[int]) -> None:
        """Changes arguments of a sealed program."""
        if self._code is None:
            self.words[start : start + len(values)] = values
        else:
            self._code[start : start + len(values)] = values

    def run(self) -> None:
        """Runs all instructions."""
        if self._code is None:
            self.seal()
        threads = get_num_threads() if self._parallel else 1
        p = pool()
        call = self._call
        call[0], call[1], call[2], call[3] = p.shared.ctypes.data, self._address, len(self.words), threads
        if threads == 1:
            p.run(call.ctypes.data, 0, 1)
        else:
            with p.lock:
                if p.started < threads:
                    p.start(threads)
                p.run(call.ctypes.data, 0, 1)
