"""Compares outputs, then lets one worker after the other run: medians, ratios, memory, fraction of the roofline."""

from __future__ import annotations

import functools
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from nnatomy.benchmark import libraries, roofline
from nnatomy.benchmark.agreement import Agreement, compare, compare_outputs
from nnatomy.benchmark.implementation import OURS, Log, available, check_peers
from nnatomy.benchmark.implementations import COMPILED, KINDS, PEERS
from nnatomy.benchmark.machine import Others, machine
from nnatomy.benchmark.report import Report, means
from nnatomy.benchmark.team import FEWEST, Team
from nnatomy.benchmark.worker import Worker
from nnatomy.benchmark.workloads import WORKLOADS, Workload, find
from nnatomy.errors import UserError, unknown_name
from nnatomy.kernels.machine import processors

COMPARED = 5
"""Steps."""
LONGEST = 10.0
"""Seconds for the blocks of one comparison, after which there are fewer of them."""
WHAT = ("all", "train", "infer")


@dataclass(frozen=True)
class Settings:
    """The checked settings of a benchmark: `chosen` raises UserError for settings that cannot be."""

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
    def names(self) -> tuple[str, ...]:
        return (OURS, *(("eager",) if self.eager else ()), *self.peers)


def chosen(
    only: Sequence[str] | None = None, peers: Sequence[str] | None = None, threads: int | None = None, what: str = "all",
    quick: bool = False, eager: bool = False, fused_adam: bool = False,
) -> Settings:  # fmt: skip
    """The settings of a run; everything is measured that is not named otherwise."""
    check_peers(peers, PEERS)
    if what not in WHAT:
        raise unknown_name("kind of work", what, WHAT)
    most = processors()
    if threads is not None and not 1 <= threads <= most:
        raise UserError(
            f"--threads must be from 1 to {most}, the processors that there are. Received {threads}. Leave it out to use all."
        )
    return Settings(
        tuple(find(name) for name in dict.fromkeys(only)) if only else WORKLOADS,
        PEERS if peers is None else tuple(dict.fromkeys(peers)),
        threads or most, what, FEWEST if quick else 7, 0.02 if quick else 0.1, quick, eager, fused_adam,
    )  # fmt: skip


def bench(settings: Settings, log: Log = lambda line: None) -> Report:
    """Measure all; return what tables.py shows and JSON holds. What is not there or fails is left out, with why."""
    began = time.perf_counter()
    names, absent = available(KINDS, settings.names, log)
    peak = _peak(settings.threads, log)
    described: dict[str, str] = {}
    results = []
    for i, workload in enumerate(settings.workloads):
        log(f"{workload.name} ({i + 1} of {len(settings.workloads)}) ...")
        results.append(run(workload, names, settings, peak, described))
    log("imports and sizes ...")
    imported = [name for name in names if name not in ("eager", "compile")]  # the others are the same libraries
    weights = libraries.weigh(imported, 1 if settings.quick else 3)
    report = {
        "by": "nnatomy bench",
        "machine": machine(),
        "settings": {
            "threads": settings.threads, "repeats": settings.repeats, "seconds": settings.seconds,
            "fused_adam": settings.fused_adam, "compared": COMPARED, "what": settings.what, "implementations": names,
        },
        "peak": None if peak is None else peak.to_json(),
        "versions": described,
        "absent": absent,
        "results": results,
        "libraries": weights,
        "seconds": time.perf_counter() - began,
    }  # fmt: skip
    return report | {"means": means(report)}


def _peak(threads: int, log: Log) -> roofline.Peak | None:
    try:
        return roofline.measure(threads)
    except ImportError as problem:
        log(f"The fraction of the roofline is left out: its kernels need Numba ({problem}).")
        return None


# One workload


def run(
    workload: Workload, names: Sequence[str], settings: Settings, peak: roofline.Peak | None, described: dict[str, str]
) -> dict[str, Any]:
    """All of one workload. Raises WorkerError if our own implementation fails."""
    result: dict[str, Any] = {
        "name": workload.name, "what": workload.what, "size": workload.size,
        "timed": {}, "differ": {}, "failed": {}, "notes": {},
    }  # fmt: skip
    with Team(functools.partial(start, workload.name, settings), names, result) as team:
        described |= team.ask("build", None, only=OURS)
        described |= team.ask("build", team[OURS].ask("weights"), but=OURS)
        if settings.what != "infer":
            answers = team.ask("train", COMPARED)
            if COMPILED in team[OURS].ask("notes"):  # once more, so that the measured process loads its kernels from the cache
                team.replace(OURS)
                team[OURS].ask("build", None)
                answers[OURS] = team[OURS].ask("train", COMPARED)
            team.hold("train", answers, functools.partial(_compared, workload))
            timed = _timed(team, "time_training", settings, peak, roofline.need(workload))
            for name, memory in team.ask("memory").items():
                timed["implementations"][name] |= memory
            result["timed"]["train"] = timed
        for size in workload.answers if settings.what != "train" else ():
            team.hold(f"infer {size}", team.ask("answer", size), lambda name, ours, theirs: compare_outputs(ours, theirs))
            result["timed"][f"infer {size}"] = _timed(team, "time_answering", settings, peak, roofline.need(workload, size))
        result["notes"] = team.notes(COMPILED)
    return result


def start(workload: str, settings: Settings, name: str) -> Worker:
    """Return a worker that has received its setup."""
    threads = str(settings.threads)
    return Worker(
        name, "nnatomy.benchmark.server", name, workload, settings.threads, {"fused_adam": settings.fused_adam},
        threads=settings.threads,
        environment={
            "OMP_NUM_THREADS": threads, "NPROC": threads, "TORCHINDUCTOR_COMPILE_THREADS": threads, "JAX_PLATFORMS": "cpu",
            "CUDA_VISIBLE_DEVICES": "", "KERAS_BACKEND": "tensorflow",
        },
    )  # fmt: skip


def _compared(workload: Workload, name: str, ours: Any, theirs: Any) -> Agreement:
    """Keras's LSTM has one bias where ours has two, which Adam moves twice as far together: after one step it differs."""
    return compare(ours, theirs, one=name == "keras" and workload.name == "lstm", allowed=workload.tolerance)


def _timed(
    team: Team, what: str, settings: Settings, peak: roofline.Peak | None, need: roofline.Need
) -> dict[str, Any]:
    others = Others(team.workers)
    figures = team.timed(what, settings.repeats, settings.seconds, LONGEST)
    if peak is not None:
        for one in figures.values():
            one["roofline"] = 1e3 * need.seconds(peak) / one["ms"]["median"]
    return {"flops": need.flops, "bytes": need.bytes, "others_busy": others.cores(), "implementations": figures}
