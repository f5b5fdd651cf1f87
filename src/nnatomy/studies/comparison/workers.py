"""Worker processes: each reads units from its input, writes results into the comparison's folder, and prints a line for each.

`python -m nnatomy.studies.comparison.workers FOLDER` is one worker. It ends when its input does, so none outlives a
comparison that is killed.
"""

from __future__ import annotations

import json
import math
import os
import queue
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

from nnatomy.errors import UserError
from nnatomy.runs.folder import write_atomically
from nnatomy.studies.comparison.protocol import Unit
from nnatomy.studies.processes import environment_of


class Worker:
    """The handle of one process, and the unit that it works on."""

    def __init__(self, folder: Path, threads: int) -> None:
        self.unit: Unit | None = None
        self.errors: BinaryIO = tempfile.TemporaryFile()  # noqa: SIM115 - closed by close()
        self.process = subprocess.Popen(
            [sys.executable, "-m", __name__, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors,
            env=environment_of(threads), text=True,
        )  # fmt: skip

    def ask(self, unit: Unit) -> dict[str, Any]:
        """Return the result of the unit. Raises UserError where the process ends without one."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        try:
            self.process.stdin.write(json.dumps(asdict(unit)) + "\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        except (OSError, ValueError):
            line = ""
        if not line:
            raise UserError(
                f"A worker sends a result before it ends. Received none ({self._why()}). There may be too little memory. "
                "Continue with --resume and a lower --jobs."
            )
        found: dict[str, Any] = json.loads(line)
        return found

    def _why(self) -> str:
        code = self.process.wait()
        self.errors.seek(0)
        told = self.errors.read().decode(errors="replace").strip().splitlines()
        return f"signal {-code}" if code < 0 else told[-1][:200] if told else f"exit code {code}"

    def close(self) -> None:
        """End the process, also during work."""
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout, self.errors):
            if stream is not None:
                stream.close()


class Workers:
    """So many processes; `run` gives units to free workers and yields results as they come."""

    def __init__(self, folder: Path, jobs: int, threads: int) -> None:
        self._make = partial(Worker, folder, threads)
        self._workers = [self._make() for _ in range(jobs)]

    def run(
        self, units: Sequence[Unit], wanted: Callable[[Unit], bool] = lambda unit: True, until: float = math.inf
    ) -> Iterator[tuple[Unit, Any]]:
        """Yield (unit, what it found) for the units that are still `wanted` when their turn comes.

        At the time `until`, by time.perf_counter(), processes at work are ended and replaced, and their units yielded with
        None: only that stops a library's call as surely as a step of ours.
        """
        waiting: queue.SimpleQueue[Unit] = queue.SimpleQueue()
        for unit in units:
            waiting.put(unit)
        answers: queue.SimpleQueue[tuple[Unit | None, Any]] = queue.SimpleQueue()

        def serve(worker: Worker) -> None:
            try:
                while True:
                    next_one = waiting.get_nowait()
                    if time.perf_counter() < until and wanted(next_one):
                        worker.unit = next_one
                        found = worker.ask(next_one)
                        worker.unit = None
                        answers.put((next_one, found))
            except queue.Empty:
                answers.put((None, None))
            except BaseException as problem:  # raised again below, where it can be caught
                answers.put((None, problem))

        for worker in self._workers:
            threading.Thread(target=serve, args=(worker,), daemon=True).start()
        running = len(self._workers)
        while running:
            try:
                left = max(until - time.perf_counter(), 0.0)
                answered, found = answers.get(timeout=None if math.isinf(left) else left)
            except queue.Empty:
                yield from [(unit, None) for unit in self._stop()]
                return
            if isinstance(found, BaseException):
                raise found
            if answered is None:
                running -= 1
            elif "error" in found:
                raise RuntimeError(f"{answered.candidate}, fold {answered.fold + 1}, seed {answered.seed}: {found['error']}")
            else:
                yield answered, found

    def _stop(self) -> list[Unit]:
        """End the processes at work, and return their units."""
        stopped = [(place, worker) for place, worker in enumerate(self._workers) if worker.unit is not None]
        for place, worker in stopped:
            worker.close()
            self._workers[place] = self._make()
        return [worker.unit for _, worker in stopped if worker.unit is not None]

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *problem: object) -> None:
        for worker in self._workers:
            worker.close()


def serve(folder: Path) -> None:
    """The worker's side: a line of JSON in, a file written, a line of JSON out."""
    from nnatomy.studies.comparison.work import Bench

    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # output that a library prints is not a result
    bench = Bench(folder)
    for line in sys.stdin:
        unit = Unit(**json.loads(line))
        try:
            found = bench.run(unit)
            write_atomically(folder / unit.file, json.dumps({"unit": asdict(unit), **found}) + "\n")
        except Exception as problem:
            traceback.print_exc()
            found = {"error": f"{type(problem).__name__}: {problem}"}
        answers.write(json.dumps(found) + "\n")
        answers.flush()


if __name__ == "__main__":
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the first process ends it
    serve(Path(sys.argv[1]))
