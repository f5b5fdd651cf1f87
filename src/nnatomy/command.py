"""This process as the command `nnatomy`: whether it is that, and since when. Imported first, so it imports next to nothing."""

from __future__ import annotations

import os
import sys
import time

COMMAND = os.path.basename(sys.argv[0]) == "nnatomy" or sys.orig_argv[1:3] == ["-m", "nnatomy"]
"""True where this process is the command."""
_begun = [time.perf_counter()] if COMMAND else []


def began() -> float:
    """When the work that starts now began, by time.perf_counter(): the command's first work began with its imports."""
    return _begun.pop() if _begun else time.perf_counter()
