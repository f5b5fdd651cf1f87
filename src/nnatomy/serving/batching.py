"""Batches of waiting requests, computed by worker processes; a worker that dies loses no request."""

from __future__ import annotations

import asyncio
import sys
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from nnatomy.errors import UserError
from nnatomy.serving.frames import LENGTHS, Array, pack, unpack
from nnatomy.serving.refusals import BROKEN, BUSY, UNPROCESSABLE, Refusal

Columns = dict[str, list[Any]]
START_SECONDS = 120.0
REST_SECONDS = 0.5  # before a worker that does not start is started again


@dataclass(frozen=True)
class Found:
    """The result for a batch: columns, the input row of each line (None: one line each), and files."""

    columns: Columns
    lines_of: list[int] | None = None
    files: dict[str, str] = field(default_factory=dict)
    """In base64, by name."""

    def part(self, start: int, count: int) -> Found:
        """Return what belongs to `count` rows from `start` on; files go with a whole batch only."""
        if self.lines_of is None:
            return Found({name: values[start : start + count] for name, values in self.columns.items()}, None, self.files)
        kept = [i for i, row in enumerate(self.lines_of) if start <= row < start + count]
        columns = {name: [values[i] for i in kept] for name, values in self.columns.items()}
        return Found(columns, [self.lines_of[i] - start for i in kept], self.files)

    def predictions(self, count: int) -> list[Any]:
        """Return one entry a row: its line, or the list of its lines where a row may have several or none."""
        lines = [dict(zip(self.columns, values, strict=True)) for values in zip(*self.columns.values(), strict=True)]
        if self.lines_of is None:
            return lines
        grouped: list[list[dict[str, Any]]] = [[] for _ in range(count)]
        for row, line in zip(self.lines_of, lines, strict=True):
            grouped[row].append(line)
        return grouped


class Lost(Exception):
    """A worker ended, or took too long and was ended, before it sent a result."""


class Worker:
    """A process that holds the model; started again when it has ended."""

    def __init__(self, folder: str, seconds: float, example: Sequence[Array] = ()) -> None:
        self.folder, self.seconds = folder, seconds
        self.example = example  # inputs of a first call at the start, which loads or compiles the kernels
        self.together = True
        self.process: asyncio.subprocess.Process | None = None

    @property
    def alive(self) -> bool:
        return self.process is not None and self.process.returncode is None

    async def start(self) -> None:
        """Return when the model is loaded. Raises UserError where the run cannot be used, Lost where the process ends."""
        pipe = asyncio.subprocess.PIPE
        words = (sys.executable, "-m", "nnatomy.serving.worker", self.folder)
        self.process = await asyncio.create_subprocess_exec(*words, stdin=pipe, stdout=pipe, start_new_session=True)
        said = await self._read(START_SECONDS)
        if "refused" in said:
            raise UserError(said["refused"])
        self.together = bool(said["together"])
        if self.example:
            await self.ask(self.example, START_SECONDS)

    async def ask(self, arrays: Sequence[Array], seconds: float | None = None) -> Found:
        """Return the result for a batch of inputs."""
        if self.process is None or self.process.stdin is None:
            raise Lost
        try:
            self.process.stdin.write(pack({}, arrays))
            await self.process.stdin.drain()
        except (ConnectionError, RuntimeError):
            raise Lost from None
        said = await self._read(seconds or self.seconds)
        if "refused" in said:
            raise Refusal(UNPROCESSABLE, said["refused"])
        if "failed" in said:
            print(f"nnatomy: a request failed: {said['failed']}", file=sys.stderr)
            raise Refusal(BROKEN, "The model failed on this request. The service's log names the error.")
        return Found(said["columns"], said.get("lines_of"), said.get("files", {}))

    async def _read(self, seconds: float) -> dict[str, Any]:
        out = self.process.stdout if self.process is not None else None
        if out is None:
            raise Lost
        try:
            async with asyncio.timeout(seconds):
                first, second = LENGTHS.unpack(await out.readexactly(LENGTHS.size))
                return unpack(await out.readexactly(first), await out.readexactly(second))[0]
        except (asyncio.IncompleteReadError, TimeoutError, ConnectionError):
            await self.stop()
            raise Lost from None

    async def stop(self) -> None:
        """End the process, if it has not ended."""
        if self.process is not None:
            if self.process.returncode is None:
                self.process.kill()
            await self.process.wait()


@dataclass(eq=False)
class Job:
    """A request's inputs, the response that a client waits for, and whether a worker was lost over it."""

    arrays: tuple[Array, ...]
    answer: asyncio.Future[Found]
    suspect: bool = False

    @property
    def rows(self) -> int:
        return len(self.arrays[0])

    @property
    def kind(self) -> list[tuple[Any, ...]]:
        """The key that must be equal for two jobs to be one batch."""
        return [(a.shape[1:], a.dtype) for a in self.arrays]


@dataclass
class Batcher:
    """Hands waiting requests to free workers, as many together as fit `most_rows`; no request waits for others to come.

    A request during which a worker was lost is tried once more, alone, so that it cannot harm another request.
    """

    workers: Sequence[Worker]
    most_rows: int
    most_waiting: int
    watch: Callable[[str, int], None] = lambda event, count: None
    """Called for each "batch" with its number of requests, and for each worker that was "lost"."""
    waiting: deque[Job] = field(default_factory=deque)
    _came: asyncio.Event = field(default_factory=asyncio.Event)
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)

    async def start(self) -> None:
        """Start all workers. Raises UserError where the run cannot be used."""
        try:
            await asyncio.gather(*(worker.start() for worker in self.workers))
        except Lost:
            raise UserError(
                "A worker loads the model first. Received the end of one that had not. See the lines above."
            ) from None
        self._tasks = [asyncio.create_task(self._serve(worker)) for worker in self.workers]

    async def stop(self) -> None:
        """End all workers; requests that still wait get an error."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for job in self.waiting:
            _fail(job, Refusal(BUSY, "The service is stopping. Send the request again when it runs."))
        self.waiting.clear()
        await asyncio.gather(*(worker.stop() for worker in self.workers))

    async def answer(self, arrays: tuple[Array, ...]) -> Found:
        """Return the result for one request. Raises Refusal where too many wait, or where no worker sent a result."""
        if len(self.waiting) >= self.most_waiting:
            raise Refusal(BUSY, f"At most {self.most_waiting} requests may wait. Received one more. Send it again in a moment.")
        job = Job(arrays, asyncio.get_running_loop().create_future())
        self.waiting.append(job)
        self._came.set()
        return await job.answer

    async def _serve(self, worker: Worker) -> None:
        while True:
            jobs = await self._next(worker.together)
            try:
                arrays = [np.concatenate(parts) for parts in zip(*(job.arrays for job in jobs), strict=True)]
                self.watch("batch", len(jobs))
                found = await worker.ask(arrays if len(jobs) > 1 else jobs[0].arrays)
            except Refusal as refusal:
                self._apart(jobs, refusal)
            except asyncio.CancelledError:
                for job in jobs:
                    _fail(job, Refusal(BUSY, "The service is stopping. Send the request again when it runs."))
                raise
            except Lost:
                self.watch("lost", 1)
                self._apart(jobs, Refusal(BROKEN, "The model's process ended twice on this request. Send fewer rows."))
                await self._again(worker)
            else:
                start = 0
                for job in jobs:
                    if not job.answer.done():
                        job.answer.set_result(found.part(start, job.rows))
                    start += job.rows

    def _apart(self, jobs: list[Job], refusal: Refusal) -> None:
        """Has the jobs of a batch that went wrong tried again one by one; one that was alone gets the error."""
        for job in reversed(jobs):
            if job.suspect or (len(jobs) == 1 and refusal.status == UNPROCESSABLE):
                _fail(job, refusal)
            else:
                job.suspect = True
                self.waiting.appendleft(job)
                self._came.set()

    async def _again(self, worker: Worker) -> None:
        while True:
            try:
                await worker.start()
                return
            except (Lost, OSError, UserError) as problem:
                print(f"nnatomy: a worker could not start ({problem}); it is tried again.", file=sys.stderr)
                await asyncio.sleep(REST_SECONDS)

    async def _next(self, together: bool) -> list[Job]:
        """The requests of the next batch: the one that has waited longest, and those that fit with it."""
        while True:
            while self.waiting and self.waiting[0].answer.done():  # its client waits no longer
                self.waiting.popleft()
            if self.waiting:
                break
            self._came.clear()
            await self._came.wait()
        first = self.waiting.popleft()
        jobs, rows, kind = [first], first.rows, first.kind
        while together and not first.suspect and self.waiting:
            job = self.waiting[0]
            if job.suspect or job.answer.done() or job.kind != kind or rows + job.rows > self.most_rows:
                break
            jobs.append(self.waiting.popleft())
            rows += job.rows
        return jobs


def _fail(job: Job, refusal: Refusal) -> None:
    if not job.answer.done():
        job.answer.set_exception(refusal)
