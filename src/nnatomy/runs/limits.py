"""A limit of time for work that knows nothing of it, such as a library's fit."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class OutOfTime(BaseException):
    """The time of a block is over. Not an Exception: no handler of a library's own may swallow it."""


@contextmanager
def within(seconds: float | None) -> Iterator[None]:
    """Raise OutOfTime in this block after so many seconds, if not None.

    It is raised between two steps of Python, in whichever thread this is; a single call into compiled code ends first.
    """
    if seconds is None:
        yield
        return
    raise_in = ctypes.pythonapi.PyThreadState_SetAsyncExc
    thread, lock, inside = ctypes.c_ulong(threading.get_ident()), threading.Lock(), [True]

    def interrupt() -> None:
        with lock:
            if inside:
                raise_in(thread, ctypes.py_object(OutOfTime))

    timer = threading.Timer(max(seconds, 0.0), interrupt)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        with lock:
            inside.clear()
        raise_in(thread, None)  # one that is due, but was not raised inside
