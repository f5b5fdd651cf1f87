"""Run as a program: reads the files of a folder with little memory, and detects actions that only running code can do.

hostile_reader.py FOLDER BYTES writes one JSON line for each file: its name, "loaded" or the exception's type, and the message.
"""

from __future__ import annotations

import json
import resource
import signal
import sys
import tokenize  # noqa: F401  # so are these, by NumPy and by Python for odd headers: not by a file's will
import unicodedata  # noqa: F401
from pathlib import Path
from typing import Any

import numpy as np

from nnatomy.interchange import read

FORBIDDEN = ("os.", "subprocess.", "pickle.", "socket.", "shutil.", "ctypes.", "exec", "import", "marshal.", "code.")
HARMLESS = ("os.listdir", "os.scandir", "os.fspath")


def watch(event: str, arguments: tuple[Any, ...]) -> None:
    """End the program immediately where a file made it do something."""
    writes = event == "open" and isinstance(arguments[1], str) and set(arguments[1]) & set("wax+")
    if (event.startswith(FORBIDDEN) and event not in HARMLESS) or writes:
        print(json.dumps({"file": str(now), "result": "EXECUTED", "message": f"{event} {arguments!r}"[:300]}), flush=True)
        sys.stdout.flush()
        signal.raise_signal(signal.SIGKILL)


def outcome(path: Path) -> dict[str, str]:
    signal.alarm(20)
    try:
        arrays = read(path)
        total = sum(a.nbytes for a in arrays.values() if a.base is None)
        fine = all(isinstance(a, np.ndarray) and a.dtype.kind in "fiub" for a in arrays.values())
        result, message = ("loaded" if fine else "loaded what is no number"), f"{len(arrays)} arrays, {total} bytes"
    except BaseException as problem:
        result, message = type(problem).__name__, str(problem)
    signal.alarm(0)
    return {"file": path.name, "result": result, "message": message}


now = Path()
if __name__ == "__main__":
    folder, limit = Path(sys.argv[1]), int(sys.argv[2])
    for path in sorted((folder / "good").iterdir()):  # imports the modules that reading needs, before imports are monitored
        assert outcome(path)["result"] == "loaded", outcome(path)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + limit, used + limit))
    files = sorted((folder / "bad").iterdir())
    sys.addaudithook(watch)
    for now in files:
        print(json.dumps(outcome(now)), flush=True)
