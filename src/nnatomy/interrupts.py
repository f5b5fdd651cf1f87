"""Ctrl-C and a polite kill of the command: one line, exit code 130, from its first import on."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)


def interrupt(number: int, frame: Any) -> None:
    """Handle a signal as Ctrl-C is handled in Python."""
    raise KeyboardInterrupt


def _leave(number: int, frame: Any) -> None:
    os.write(2, b"nnatomy: interrupted.\n")
    os._exit(130)


def leave_quietly() -> None:
    """Where this process is the command `nnatomy`, end it in one line when it is interrupted while modules are imported."""
    command = os.path.basename(sys.argv[0]) == "nnatomy" or sys.orig_argv[1:3] == ["-m", "nnatomy"]
    if command and threading.current_thread() is threading.main_thread():
        for number in SIGNALS:
            signal.signal(number, _leave)


@contextmanager
def interruptible() -> Iterator[None]:
    """Raise KeyboardInterrupt for both signals in this block, which is the whole work of the command."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, interrupt) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


leave_quietly()  # as early as possible: NumPy alone takes a tenth of a second
