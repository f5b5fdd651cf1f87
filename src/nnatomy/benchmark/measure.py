"""Compares answers, then lets one worker after the other run: medians, ratios, memory, share of the roofline."""

from __future__ import annotations

import contextlib
import datetime
import math
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import nnatomy
from nnatomy.benchmark import libraries, roofline
from nnatomy.benchmark.sides import COMPILED, KINDS, OURS, PEERS
from nnatomy.benchmark.worker import Worker, WorkerError
from nnatomy.benchmark.workloads import WORKLOADS, Array, Workload, find
from nnatomy.errors import UserError, unknown_name
from nnatomy.kernels.machine import processors

COMPARED = 5  # steps
TOLERANCE = 1e-3
QUIET = 0.1  # cores that other processes may take
LONGEST = 10.0  # seconds for the blocks of one comparison, after which there are fewer of them
FEWEST = 3
WHAT = ("all", "train", "infer")

Report = dict[str, Any]
Tell = Callable[[str], None]


@dataclass(frozen=True)
class Settings:
    """What to run, checked: `chosen` raises UserError for what cannot be."""

    workloads: tuple[Workload, ...]
    peers: tuple[str, ...]
    threads: int
    what: str
    repeats: int
    seconds: float
    """That a block takes, roughly."""
    quick: bool
    eager: bool
    fused_adam: bool

    @property
    def sides(self) -> tuple[str, ...]:
        return (OURS, *(("eager",) if self.eager else ()), *self.peers)


def chosen(
    only: Sequence[str] | None = None, peers: Sequence[str] | None = None, threads: int | None = None, what: str = "all",
    quick: bool = False, eager: bool = False, fused_adam: bool = False,
) -> Settings:  # fmt: skip
    """The settings of a run; everything is measured that is not named otherwise."""
    for name in peers or ():
        if name not in PEERS:
            raise unknown_name("peer", name, PEERS)
    if what not in WHAT:
        raise unknown_name("kind of work", what, WHAT)
    most = processors()
    if threads is not None and not 1 <= threads <= most:
        raise UserError(
            f"--threads must be from 1 to {most}, the processors that there are, received {threads}; give one of these."
        )
    return Settings(
        tuple(find(name) for name in dict.fromkeys(only)) if only else WORKLOADS,
        PEERS if peers is None else tuple(dict.fromkeys(peers)),
        threads or most, what, FEWEST if quick else 7, 0.02 if quick else 0.1, quick, eager, fused_adam,
    )  # fmt: skip


def bench(settings: Settings, tell: Tell = lambda line: None) -> Report:
    """Measures all; returns what report.py shows and JSON holds. A side that is not there or fails is left out, with why."""
    began = time.perf_counter()
    absent = {side: why for side in settings.sides if (why := KINDS[side].missing())}
    for side, why in absent.items():
        tell(f"{KINDS[side].label} is left out: {why}.")
    sides = [side for side in settings.sides if side not in absent]
    peak = _peak(settings.threads, tell)
    described: dict[str, str] = {}
    results = []
    for i, workload in enumerate(settings.workloads):
        tell(f"{workload.name} ({i + 1} of {len(settings.workloads)}) ...")
        results.append(run(workload, sides, settings, peak, described))
    tell("imports and sizes ...")
    imported = [side for side in sides if side not in ("eager", "compile")]  # the others are the same libraries
    weights = libraries.weigh(imported, 1 if settings.quick else 3)
    report = {
        "by": "nnatomy bench",
        "machine": machine(),
        "settings": {
            "threads": settings.threads, "repeats": settings.repeats, "seconds": settings.seconds,
            "fused_adam": settings.fused_adam, "compared": COMPARED, "what": settings.what, "sides": sides,
        },
        "peak": None if peak is None else peak.to_json(),
        "versions": described,
        "absent": absent,
        "results": results,
        "libraries": weights,
        "seconds": time.perf_counter() - began,
    }  # fmt: skip
    return report | {"means": means(report)}


def agreed(report: Report) -> bool:
    """Whether all answers were the same."""
    return not any(r["differ"] for r in report["results"])


def comparisons(report: Report) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """(workload, kind of work, figures) of all that was timed; kinds are "train" and "infer <batch>"."""
    for r in report["results"]:
        for kind, timed in r["timed"].items():
            yield r["name"], kind, timed


def means(report: Report) -> dict[str, dict[str, float]]:
    """Geometric means of the ratios: {kind of work: {side: mean}}."""
    found: dict[str, dict[str, list[float]]] = {}
    for _, kind, timed in comparisons(report):
        for side, figures in timed["sides"].items():
            if side != OURS:
                found.setdefault(kind, {}).setdefault(side, []).append(figures["ratio"]["median"])
    return {kind: {side: statistics.geometric_mean(r) for side, r in of.items()} for kind, of in found.items()}


def _peak(threads: int, tell: Tell) -> roofline.Peak | None:
    try:
        return roofline.measure(threads)
    except ImportError as problem:
        tell(f"The share of the roofline is left out: its kernels need Numba ({problem}).")
        return None


# One workload


def run(
    workload: Workload, sides: Sequence[str], settings: Settings, peak: roofline.Peak | None, described: dict[str, str]
) -> dict[str, Any]:
    """All of one workload. Raises WorkerError if our own side fails."""
    result: dict[str, Any] = {
        "name": workload.name, "what": workload.what, "size": workload.size,
        "timed": {}, "differ": {}, "failed": {}, "notes": {},
    }  # fmt: skip
    options = {"fused_adam": settings.fused_adam}
    with contextlib.ExitStack() as stack:

        def start(side: str) -> Worker:
            worker = Worker(side, workload.name, settings.threads, options)
            stack.callback(worker.close)
            return worker

        team = Team([start(side) for side in sides], result)
        described |= team.ask("build", None, only=OURS)
        described |= team.ask("build", team[OURS].ask("weights"), but=OURS)
        if settings.what != "infer":
            answers = team.ask("train", COMPARED)
            if COMPILED in team[OURS].ask("notes"):  # once more: what is measured finds its kernels in the cache
                team.replace(OURS, start(OURS))
                team[OURS].ask("build", None)
                answers[OURS] = team[OURS].ask("train", COMPARED)
            ours = answers.pop(OURS)
            allowed = workload.tolerance
            team.hold("train", {s: compare(ours, a, _one_step(s, workload), allowed) for s, a in answers.items()})
            timed = _timed(team, "time_training", settings, peak, roofline.need(workload))
            for worker in team.workers:
                timed["sides"][worker.side] |= worker.ask("memory")
            result["timed"]["train"] = timed
        for size in workload.answers if settings.what != "train" else ():
            kind = f"infer {size}"
            outputs = team.ask("answer", size)
            team.hold(kind, {s: compare_outputs(outputs[OURS], y) for s, y in outputs.items() if s != OURS})
            result["timed"][kind] = _timed(team, "time_answering", settings, peak, roofline.need(workload, size))
        notes = {s: [n for n in told if n != COMPILED] for s, told in team.ask("notes").items()}
        result["notes"] = {side: told for side, told in notes.items() if told}
    return result


class Team:
    """The workers of one workload. One that fails is sent home with its reason; without ours nothing can be compared."""

    def __init__(self, workers: list[Worker], result: dict[str, Any]) -> None:
        self.workers, self.result = workers, result
        self._received(workers)  # of `start`, which each was sent when it was made

    def __getitem__(self, side: str) -> Worker:
        return next(w for w in self.workers if w.side == side)

    def replace(self, side: str, worker: Worker) -> None:
        worker.receive()
        self.workers = [worker if w.side == side else w for w in self.workers]

    def ask(self, what: str, *args: Any, only: str | None = None, but: str | None = None) -> dict[str, Any]:
        """All at once, as for what is not timed."""
        asked = [w for w in self.workers if only in (None, w.side) and w.side != but]
        for worker in asked:
            worker.send(what, *args)
        return self._received(asked)

    def _received(self, asked: list[Worker]) -> dict[str, Any]:
        found = {}
        for worker in list(asked):
            try:
                found[worker.side] = worker.receive()
            except WorkerError as problem:
                if worker.side == OURS:
                    raise
                self.result["failed"][worker.side] = str(problem)
                self._leave(worker.side)
        return found

    def hold(self, kind: str, agreements: dict[str, Agreement]) -> None:
        """Sends home whose answers differ."""
        for side, agreement in agreements.items():
            if agreement:
                self.result.setdefault("agreement", {}).setdefault(kind, {})[side] = agreement.to_json()
            else:
                self.result["differ"][side] = {"in": kind, **agreement.to_json()}
                self._leave(side)

    def _leave(self, side: str) -> None:
        self.workers = [w for w in self.workers if w.side != side]


def _timed(
    team: Team, what: str, settings: Settings, peak: roofline.Peak | None, need: roofline.Need
) -> dict[str, Any]:
    busy = Others(team.workers)
    times, steps = alternate(team.workers, what, settings.repeats, settings.seconds)
    figures: dict[str, Any] = {"flops": need.flops, "bytes": need.bytes, "others_busy": busy.cores(), "sides": {}}
    for side, seconds in times.items():
        one: dict[str, Any] = {"ms": spread([1e3 * s for s in seconds]), "steps_per_block": steps[side], "blocks": len(seconds)}
        if side != OURS:
            one["ratio"] = spread([other / own for own, other in zip(times[OURS], seconds, strict=True)])
        if peak is not None:
            one["roofline"] = need.seconds(peak) / statistics.median(seconds)
        figures["sides"][side] = one
    return figures


def alternate(
    workers: Sequence[Worker], what: str, repeats: int, seconds: float, longest: float = LONGEST
) -> tuple[dict[str, list[float]], dict[str, int]]:
    """Seconds a step of each side, block by block in turn, and the number of timed steps in a block."""
    once = {w.side: w.ask(what, 3, 2) if w.ask(what, 1, 1) < seconds / 5 else w.ask(what, 1, 1) for w in workers}
    steps = {side: max(1, min(1000, math.ceil(seconds / t))) for side, t in once.items()}
    warm = {side: max(1, min(10, n // 4)) for side, n in steps.items()}
    round_ = sum(t * (steps[side] + warm[side]) for side, t in once.items())
    repeats = max(FEWEST, min(repeats, int(longest / round_)))
    times: dict[str, list[float]] = {w.side: [] for w in workers}
    for i in range(repeats):
        for worker in workers if i % 2 == 0 else workers[::-1]:
            times[worker.side].append(worker.ask(what, steps[worker.side], warm[worker.side]))
    return times, steps


# Whether answers are the same


@dataclass(frozen=True)
class Agreement:
    """How far two answers are apart: losses relative to the loss, others relative to the largest of their array."""

    first: float
    """Of the first step's loss."""
    loss: float
    """Of the worst step's."""
    moment: float
    worst: str
    """The parameter that moment is of."""
    allowed: float = TOLERANCE
    """For all but the first loss."""

    def __bool__(self) -> bool:
        return self.first <= TOLERANCE and self.loss <= self.allowed and self.moment <= self.allowed

    def to_json(self) -> dict[str, Any]:
        return {"first_loss": self.first, "loss": self.loss, "gradient": self.moment, "gradient_in": self.worst}


Answer = tuple[list[float], dict[str, Array]]


def compare(ours: Answer, theirs: Answer, one: bool = False, allowed: float = TOLERANCE) -> Agreement:
    """Losses of several steps (of `one` only), and Adam's first moments after the first. NaN on any side is no agreement."""
    losses = [abs(a - b) / abs(b) for a, b in zip(ours[0], theirs[0], strict=True)][: 1 if one else None]
    first, loss = losses[0], float(np.max(losses))
    moment, worst = 0.0, ""
    # A bias before a batch norm has no gradient but rounding's: what is tiny beside all others is measured by those.
    floor = 0.05 * max(float(np.abs(m).max()) for m in theirs[1].values())
    for name in sorted(ours[1].keys() | theirs[1].keys()):
        if name not in ours[1] or name not in theirs[1]:
            return Agreement(first, loss, math.inf, name, allowed)
        mine, other = ours[1][name], theirs[1][name]
        apart = float(np.abs(mine - other).max()) / max(float(np.abs(other).max()), floor)
        if not apart <= moment:
            moment, worst = apart, name
            if math.isnan(apart):
                break
    return Agreement(first, loss, moment, worst, allowed)


def compare_outputs(ours: Array, theirs: Array) -> Agreement:
    """Of inference: what is called a gradient above is the output here."""
    if ours.shape != theirs.shape:
        return Agreement(0.0, 0.0, math.inf, f"output of shape {ours.shape} and {theirs.shape}")
    return Agreement(0.0, 0.0, float(np.abs(ours - theirs).max() / np.abs(theirs).max()), "output")


def _one_step(side: str, workload: Workload) -> bool:
    """Keras's LSTM has one bias where ours has two, which Adam moves twice as far together."""
    return side == "keras" and workload.name == "lstm"


# The machine


class Others:
    """How many cores' worth of time other processes took since this was made; None where the system does not tell."""

    def __init__(self, workers: Sequence[Worker]) -> None:
        self.workers = list(workers)
        self.began, self.start = time.perf_counter(), self._seconds()

    def _seconds(self) -> float | None:
        stat = Path("/proc/stat")
        if not stat.exists():
            return None
        own = time.process_time() + sum(w.ask("processor_seconds") for w in self.workers)
        user, nice, system, _, _, irq, soft, steal = map(int, stat.read_text().split()[1:9])
        all_ = (user + nice + system + irq + soft + steal) / os.sysconf("SC_CLK_TCK")
        return all_ - float(own)

    def cores(self) -> float | None:
        now = self._seconds()
        return None if now is None or self.start is None else max(0.0, now - self.start) / (time.perf_counter() - self.began)


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median and quartiles."""
    low, middle, high = (float(v) for v in np.percentile(values, (25, 50, 75)))
    return {"median": middle, "low": low, "high": high}


def machine() -> dict[str, Any]:
    """What the figures depend on, without the machine's name."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    fields: dict[str, str] = {}
    for line in lines:
        key, _, value = line.partition(":")
        fields.setdefault(key.strip(), value.strip())
    return {
        "date": datetime.date.today().isoformat(),
        "processor": fields.get("model name", platform.machine()),
        "instruction_sets": [s for s in ("avx2", "fma", "avx512f") if s in fields.get("flags", "").split()],
        "cores": processors(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": sys.version.split()[0],
        "nnatomy": nnatomy.__version__,
    }
