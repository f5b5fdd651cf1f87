"""Ctrl-C and a polite kill of the command: one line, exit code 130, from its first import on.

Before that, while Python itself starts, the answer is Python's: a traceback or nothing.
"""

from __future__ import annotations

import os
import signal
import sys

from nnatomy.command import COMMAND

SIGNALS = (signal.SIGINT, signal.SIGTERM)


def _leave(number: int, frame: Any) -> None:
    os.write(2, b"nnatomy: interrupted.\n")
    os._exit(130)


if COMMAND:  # before any other import
    for _number in SIGNALS:
        signal.signal(_number, _leave)

import threading  # noqa: E402
from collections.abc import Iterator  # noqa: E402
from contextlib import contextmanager  # noqa: E402
from typing import Any  # noqa: E402

_came: list[int] = []


def came() -> bool:
    """Return True once a signal has come: an error after it may be what a library made of the KeyboardInterrupt."""
    return bool(_came)


def interrupt(number: int, frame: Any) -> None:
    """Handle a signal as Ctrl-C is handled in Python."""
    _came.append(number)
    raise KeyboardInterrupt


def _again(lost: sys.UnraisableHookArgs) -> None:
    """Interrupt again where Python had to drop the first interrupt, as in the callback of a weak reference."""
    if issubclass(lost.exc_type, KeyboardInterrupt):
        threading.Timer(0.01, os.kill, (os.getpid(), signal.SIGINT)).start()
    else:
        sys.__unraisablehook__(lost)


@contextmanager
def interruptible() -> Iterator[None]:
    """Raise KeyboardInterrupt for both signals in this block, which is the whole work of the command."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, interrupt) for number in SIGNALS}
    ignored, sys.unraisablehook = sys.unraisablehook, _again
    _came.clear()
    try:
        yield
    finally:
        sys.unraisablehook = ignored
        for number, handler in before.items():
            signal.signal(number, handler)
