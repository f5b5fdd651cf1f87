"""A process that holds one implementation and runs its requests, and the handle that sends them.

Every implementation has its own process, so that thread pools are separate; it waits at a pipe while others run. Its peak
memory is that of one library and one network.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import pickle
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from nnatomy.benchmark.implementation import Arrays, Implementation

REST = 0.03
"""Seconds before a block: idle BLAS and OpenMP threads spin for some milliseconds and would take the next one's cores."""


class WorkerError(RuntimeError):
    """A worker that could not do a request; the message says why in one line."""


class Worker:
    """The handle: `ask` and wait, or `send` now and `receive` later, so that several workers can prepare together.

    The process makes a `Server` of the module `server` and calls its `start` with these arguments. With `threads`
    it has so many processors, whatever its library's pools think.
    """

    def __init__(
        self, name: str, server: str, *start: Any, environment: Mapping[str, str], threads: int | None = None
    ) -> None:
        self.name = name
        self.errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed by close()
        found = os.pathsep.join(path for path in sys.path if path)  # the worker finds the same modules
        self.process = subprocess.Popen(
            [sys.executable, "-m", __name__, server, str(threads or 0)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=self.errors, env=os.environ | {"PYTHONPATH": found, "TF_CPP_MIN_LOG_LEVEL": "3", **environment},
        )  # fmt: skip
        self.send("start", *start)

    def send(self, what: str, *args: Any) -> None:
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # if it has died, `receive` reports it
            pickle.dump((what, args), self.process.stdin)
            self.process.stdin.flush()

    def receive(self) -> Any:
        assert self.process.stdout is not None
        try:
            fine, answer = pickle.load(self.process.stdout)
        except EOFError:
            raise WorkerError(self._last_words()) from None
        if not fine:
            raise WorkerError(answer)
        return answer

    def ask(self, what: str, *args: Any) -> Any:
        self.send(what, *args)
        return self.receive()

    def _last_words(self) -> str:
        code = self.process.wait()
        self.errors.seek(0)
        lines = self.errors.read().decode(errors="replace").strip().splitlines()
        return f"its process ended with code {code}" + (f": {lines[-1]}" if lines else "")

    def close(self) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()
        self.errors.close()


class Server:
    """The requests that any worker takes: its public methods. A benchmark adds `start` and the building of its network."""

    network: Implementation

    def train(self, steps: int) -> tuple[list[float], Arrays]:
        """The losses of the first steps, and the optimizer's first moments after the first of them."""
        self.network.restart()
        losses = [float(self.network.step())]
        moments = self.network.moments()
        return losses + [float(self.network.step()) for _ in range(steps - 1)], moments

    def time_training(self, steps: int, warm: int) -> float:
        """Seconds a step, after steps that are not timed."""
        self.network.restart()
        return self._timed(self.network.step, steps, warm)

    def _timed(self, work: Callable[[], Any], calls: int, warm: int) -> float:
        gc.collect()
        time.sleep(REST)
        for _ in range(warm):
            work()
        self.network.synchronize()
        began = time.perf_counter()
        for _ in range(calls):
            work()
        self.network.synchronize()
        seconds = (time.perf_counter() - began) / calls
        self.network.release()
        return seconds

    def memory(self) -> dict[str, float]:
        """Peak memory in MiB: of the device, or of the process where the device reports none."""
        peak = self.network.peak_mib()
        return {"peak_mib": resident(peak=True) if peak is None else peak}

    def processor_seconds(self) -> float:
        return time.process_time()

    def notes(self) -> list[str]:
        """Return the implementation's remarks about the run."""
        return self.network.notes()


def resident(peak: bool) -> float:
    """MiB of memory that this process holds, or held at its peak.

    On Linux from /proc: there `ru_maxrss` of a child starts with what its parent held.
    """
    status = Path("/proc/self/status")
    if status.exists():
        key = "VmHWM:" if peak else "VmRSS:"
        return next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith(key)) / 1024
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def serve(server: Any, questions: BinaryIO, answers: BinaryIO) -> None:
    """Respond by the server's public methods until the pipe is closed."""
    while True:
        try:
            what, args = pickle.load(questions)
        except EOFError:
            return
        try:
            reply = True, getattr(server, what)(*args)
        except Exception as problem:
            traceback.print_exc()
            first = (str(problem).strip().splitlines() or [""])[0]
            reply = False, f"{type(problem).__name__}: {first}"[:300]
        pickle.dump(reply, answers)
        answers.flush()


def serve_pipes(make: Callable[[], Any]) -> None:
    """Serve at the standard pipes: libraries must not print into the responses, and no other code may read requests."""
    questions, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)
    with contextlib.suppress(KeyboardInterrupt, BrokenPipeError):
        serve(make(), questions, answers)


def _server() -> Any:
    module, threads = sys.argv[1], int(sys.argv[2])
    if threads and hasattr(os, "sched_setaffinity"):  # before libraries count the processors
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    return importlib.import_module(module).Server()


if __name__ == "__main__":
    serve_pipes(_server)
