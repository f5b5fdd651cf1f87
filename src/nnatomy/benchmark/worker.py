"""A process that holds one side and runs what it is asked to, and the handle that asks it.

Every side has its own process, so that no two thread pools share one; it waits at a pipe while others run. Its peak memory is
that of one library and one network.
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
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

from nnatomy.benchmark.sides import KINDS, Side
from nnatomy.benchmark.workloads import Array, find

REST = 0.03
"""Seconds before a block: idle BLAS and OpenMP threads spin for some milliseconds and would take the next side's cores."""


class WorkerError(RuntimeError):
    """A worker that could not do what it was asked; says why in one line."""


class Worker:
    """The handle: `ask` and wait, or `send` now and `receive` later, so that several workers can prepare at once."""

    def __init__(self, side: str, workload: str, threads: int, options: dict[str, Any]) -> None:
        self.side = side
        self.errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed by close()
        environment = os.environ | {
            "OMP_NUM_THREADS": str(threads), "NPROC": str(threads), "JAX_PLATFORMS": "cpu", "CUDA_VISIBLE_DEVICES": "",
            "KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "3", "TORCHINDUCTOR_COMPILE_THREADS": str(threads),
        }  # fmt: skip
        self._begin([sys.executable, "-m", __name__, side, workload, str(threads)], environment)
        self.send("start", options)

    def _begin(self, command: list[str], environment: dict[str, str]) -> None:
        """Starts the process, which runs `serve_pipes`."""
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors, env=environment
        )

    def send(self, what: str, *args: Any) -> None:
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # if it has died, `receive` tells
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
    """What a worker can be asked: its public methods."""

    def __init__(self, side: str, workload: str, threads: int) -> None:
        self._side, self._workload, self._threads = side, find(workload), threads

    def start(self, options: dict[str, Any]) -> float:
        """Imports the library; returns the memory that holds it, in MiB."""
        self._kind = KINDS[self._side].load(self._threads)
        self._options = options | {self._side: True}
        if self._side == "compile":
            importlib.import_module("torch._dynamo")
        self._imported = resident(peak=False)
        return self._imported

    def build(self, weights: dict[str, Array] | None) -> str:
        """Makes the network; returns what the side is in words."""
        self._net: Side = self._kind(self._workload, weights, self._options)
        return self._net.describe()

    def weights(self) -> dict[str, Array]:
        return self._net.weights()

    def train(self, steps: int) -> tuple[list[float], dict[str, Array]]:
        """The losses of the first steps, and Adam's first moments after the first of them."""
        self._net.restart()
        losses = [self._net.step()]
        moments = self._net.moments()
        return losses + [self._net.step() for _ in range(steps - 1)], moments

    def time_training(self, steps: int, warm: int) -> float:
        """Seconds a step, from the first weights, after steps that are not timed."""
        self._net.restart()
        return self._timed(self._net.step, steps, warm)

    def answer(self, size: int) -> Array:
        """The outputs for `size` examples."""
        self._x = self._net.question(self._workload.question(size))
        return self._net.array(self._net.answer(self._x))

    def time_answering(self, calls: int, warm: int) -> float:
        """Seconds a call, for the examples of the last `answer`."""
        return self._timed(lambda: self._net.answer(self._x), calls, warm)

    def _timed(self, work: Callable[[], Any], calls: int, warm: int) -> float:
        gc.collect()
        time.sleep(REST)
        for _ in range(warm):
            work()
        self._net.settle()
        began = time.perf_counter()
        for _ in range(calls):
            work()
        self._net.settle()
        return (time.perf_counter() - began) / calls

    def memory(self) -> dict[str, float]:
        """Peak memory in MiB, and how much of it came after importing the library."""
        peak = resident(peak=True)
        return {"peak_mib": peak, "after_import_mib": peak - self._imported}

    def processor_seconds(self) -> float:
        return time.process_time()

    def notes(self) -> list[str]:
        """What the side has to say about how it ran."""
        return self._net.notes()


def resident(peak: bool) -> float:
    """MiB of memory that this process holds, or held at its peak.

    On Linux from /proc: there `ru_maxrss` of a child begins with what its parent held.
    """
    status = Path("/proc/self/status")
    if status.exists():
        key = "VmHWM:" if peak else "VmRSS:"
        return next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith(key)) / 1024
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def serve(server: Any, questions: BinaryIO, answers: BinaryIO) -> None:
    """Answers with the server's public methods until the pipe is closed."""
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
    """Serves at the standard pipes: what libraries print must not mix with the answers, and nobody else may read questions."""
    questions, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)
    with contextlib.suppress(KeyboardInterrupt, BrokenPipeError):
        serve(make(), questions, answers)


def _server() -> Server:
    side, workload, threads = sys.argv[1], sys.argv[2], int(sys.argv[3])
    if hasattr(os, "sched_setaffinity"):  # no side has more processors than threads, whatever its pools think
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    return Server(side, workload, threads)


if __name__ == "__main__":
    serve_pipes(_server)
