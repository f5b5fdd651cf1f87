"""The workers of one workload: they prepare together and take turns while they are timed."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from nnatomy.benchmark.agreement import Agreement
from nnatomy.benchmark.implementation import OURS
from nnatomy.benchmark.worker import Worker, WorkerError

FEWEST = 3
"""Blocks of each implementation."""


class Team:
    """Workers by name, ended with the block.

    One that fails is sent home with its reason; without ours nothing can be compared.
    """

    def __init__(self, start: Callable[[str], Worker], names: Sequence[str], result: dict[str, Any]) -> None:
        self.workers: list[Worker] = []
        self._start, self._names, self._result, self._all = start, names, result, list[Worker]()

    def __enter__(self) -> Team:
        try:
            self.workers = [self._launch(name) for name in self._names]
            self._received(self.workers)  # of `start`, which each was sent when it was made
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *problem: Any) -> None:
        for worker in self._all:
            worker.close()

    def _launch(self, name: str) -> Worker:
        self._all.append(self._start(name))
        return self._all[-1]

    @property
    def names(self) -> list[str]:
        return [worker.name for worker in self.workers]

    def __getitem__(self, name: str) -> Worker:
        return next(w for w in self.workers if w.name == name)

    def replace(self, name: str) -> None:
        """A new process in place of this one's."""
        new = self._launch(name)
        new.receive()
        self.workers = [new if w.name == name else w for w in self.workers]

    def ask(self, what: str, *args: Any, only: str | None = None, but: str | None = None) -> dict[str, Any]:
        """Call all workers together, for requests that are not timed."""
        asked = [w for w in self.workers if only in (None, w.name) and w.name != but]
        for worker in asked:
            worker.send(what, *args)
        return self._received(asked)

    def _received(self, asked: list[Worker]) -> dict[str, Any]:
        found = {}
        for worker in list(asked):
            try:
                found[worker.name] = worker.receive()
            except WorkerError as problem:
                if worker.name == OURS:
                    raise
                self._result["failed"][worker.name] = str(problem)
                self._leave(worker.name)
        return found

    def hold(self, kind: str, answers: Mapping[str, Any], compare: Callable[[str, Any, Any], Agreement]) -> None:
        """Leave out the workers whose outputs differ from ours, by compare(name, ours, theirs)."""
        for name, answer in answers.items():
            if name == OURS:
                continue
            agreement = compare(name, answers[OURS], answer)
            if agreement:
                self._result.setdefault("agreement", {}).setdefault(kind, {})[name] = agreement.to_json()
            else:
                self._result["differ"][name] = {"in": kind, **agreement.to_json()}
                self._leave(name)

    def _leave(self, name: str) -> None:
        self.workers = [w for w in self.workers if w.name != name]

    def notes(self, *but: str) -> dict[str, list[str]]:
        """Return the implementations' remarks about their runs."""
        told = {name: [note for note in notes if note not in but] for name, notes in self.ask("notes").items()}
        return {name: notes for name, notes in told.items() if notes}

    def timed(self, what: str, repeats: int, seconds: float, longest: float) -> dict[str, dict[str, Any]]:
        """{name: figures}: milliseconds a step, and how many times longer than ours it took, block by block in turn."""
        times, steps = alternate(self.workers, what, repeats, seconds, longest)
        figures: dict[str, dict[str, Any]] = {}
        for name, taken in times.items():
            milliseconds = quartiles([1e3 * s for s in taken])
            found: dict[str, Any] = {"ms": milliseconds, "steps_per_block": steps[name], "blocks": len(taken)}
            if name != OURS:
                found["ratio"] = quartiles([other / own for own, other in zip(times[OURS], taken, strict=True)])
            figures[name] = found
        return figures


def alternate(
    workers: Sequence[Worker], what: str, repeats: int, seconds: float, longest: float
) -> tuple[dict[str, list[float]], dict[str, int]]:
    """Seconds a step of each, block by block in turn, and the number of timed steps in a block.

    A block takes `seconds`, roughly; where all would take longer than `longest` there are fewer of them.
    """
    once = {w.name: w.ask(what, 3, 2) if w.ask(what, 1, 1) < seconds / 5 else w.ask(what, 1, 1) for w in workers}
    steps = {name: max(1, min(1000, math.ceil(seconds / t))) for name, t in once.items()}
    warm = {name: max(1, min(10, n // 4)) for name, n in steps.items()}
    round_ = sum(t * (steps[name] + warm[name]) for name, t in once.items())
    repeats = max(FEWEST, min(repeats, int(longest / round_)))
    times: dict[str, list[float]] = {w.name: [] for w in workers}
    for i in range(repeats):
        for worker in workers if i % 2 == 0 else workers[::-1]:
            times[worker.name].append(worker.ask(what, steps[worker.name], warm[worker.name]))
    return times, steps


def quartiles(values: Sequence[float]) -> dict[str, float]:
    """Median and quartiles."""
    low, middle, high = (float(v) for v in np.percentile(values, (25, 50, 75)))
    return {"median": middle, "low": low, "high": high}
