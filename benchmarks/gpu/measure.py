"""Compares results in float32, then times the libraries in bfloat16, one block of each after the other."""

from __future__ import annotations

import functools
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gpu import card
from gpu.implementations import KINDS, PEERS
from gpu.server import start
from gpu.workloads import FULL, TINY, Workload, find, workloads
from nnatomy.benchmark.agreement import compare, compare_losses
from nnatomy.benchmark.implementation import OURS, Log, available, check_peers
from nnatomy.benchmark.machine import machine
from nnatomy.benchmark.report import MARK, Report
from nnatomy.benchmark.team import Team
from nnatomy.benchmark.worker import WorkerError
from nnatomy.errors import UserError

COMPARED = 3
"""Steps."""
CLOSE = 0.02
"""The largest relative difference of losses in bfloat16, whose numbers have three digits."""
REPEATS, SECONDS, LONGEST = 7, 3.0, 150.0
"""Blocks of each library, what one takes, and what all of a workload's may take."""


@dataclass(frozen=True)
class Settings:
    """The checked settings of a benchmark: `chosen` raises UserError for settings that cannot be."""

    workloads: tuple[Workload, ...]
    peers: tuple[str, ...]
    tiny: bool
    batch: int | None

    @property
    def names(self) -> tuple[str, ...]:
        return (OURS, *self.peers)


def chosen(
    only: Sequence[str] | None = None, peers: Sequence[str] | None = None, batch: int | None = None, tiny: bool = False
) -> Settings:
    """The settings of a run; everything is measured that is not named otherwise, on a CPU without torch.compile."""
    sizes = TINY if tiny else FULL
    check_peers(peers, PEERS)
    found = tuple(find(name, sizes) for name in dict.fromkeys(only)) if only else workloads(sizes)
    if batch is not None and (batch < 1 or len(found) > 1):
        raise UserError(
            f"--batch needs a whole number above 0 and one workload that it is for. Received {batch} for {len(found)}. "
            "Give --only as well."
        )
    return Settings(found, tuple(dict.fromkeys(peers)) if peers else PEERS[:1] if tiny else PEERS, tiny, batch)


def bench(settings: Settings, log: Log = lambda line: None) -> Report:
    """Measure all; return the report for page.py and JSON. A library that is missing or fails is left out, with the reason."""
    began = time.perf_counter()
    if why := KINDS[OURS].missing():
        raise UserError(f"This benchmark needs JAX. Received a Python without: {why}.")
    device = device_name(settings)
    names, absent = available(KINDS, settings.names, log)
    rate = product_rate(settings)
    described: dict[str, str] = {}
    results = []
    for i, workload in enumerate(settings.workloads):
        log(f"{workload.name} ({i + 1} of {len(settings.workloads)}) ...")
        results.append(run(workload, names, settings, described))
    return {
        "by": f"{MARK}: benchmarks/gpu.py", "machine": machine(), "device": device,
        "peak": {"published": card.published(device), "measured": rate},
        "settings": {"tiny": settings.tiny, "implementations": names, "repeats": REPEATS, "seconds": SECONDS},
        "versions": described, "absent": absent, "results": results, "seconds": time.perf_counter() - began,
    }  # fmt: skip


def device_name(settings: Settings) -> str:
    """The card as its driver names it; raises UserError where there is none and the run is not a tiny one."""
    if settings.tiny:
        return "CPU"
    try:
        import torch

        if torch.cuda.is_available():
            return str(torch.cuda.get_device_name(0))
    except ImportError:
        pass
    raise UserError(
        "This benchmark needs a CUDA device and a PyTorch and a JAX that see it. Received a machine without. "
        "Give --tiny to run the same code at tiny sizes on the CPU."
    )


def product_rate(settings: Settings) -> float:
    """Measure the rate of a large product on the device; raise WorkerError where nothing runs there."""
    with Team(functools.partial(start, settings.workloads[0].name, settings.tiny), [OURS], {}) as team:
        return float(team[OURS].ask("rate", 256 if settings.tiny else 8192))


# One workload


def run(workload: Workload, names: Sequence[str], settings: Settings, described: dict[str, str]) -> dict[str, Any]:
    """Run one workload: compare results in float32, then in bfloat16, then time the libraries that agree."""
    from gpu.operations import operations

    size = settings.batch or workload.size
    result: dict[str, Any] = {
        "name": workload.name, "what": workload.what, "size": size, "unit": workload.unit, "units": size * workload.units,
        "operations": size * operations(workload), "timed": {}, "differ": {}, "failed": {}, "notes": {},
    }  # fmt: skip
    begin = functools.partial(start, workload.name, settings.tiny)
    try:
        with Team(begin, names, result) as team:
            described |= team.ask("build", "float32", workload.compared)
            close = functools.partial(compare, allowed=workload.tolerance)
            team.hold("float32", team.ask("train", COMPARED), lambda name, ours, theirs: close(ours, theirs))
            agreeing = team.names
        with Team(begin, agreeing, result) as team:
            team.ask("build", "bfloat16", size)
            near = functools.partial(compare_losses, allowed=max(CLOSE, workload.tolerance))
            team.hold("bfloat16", team.ask("train", COMPARED), lambda name, ours, theirs: near(ours, theirs))
            result["timed"]["train"] = {"implementations": _timed(team, settings, result)}
            result["notes"] = team.notes()
    except WorkerError as problem:
        result["failed"][OURS] = str(problem)
    return result


def _timed(team: Team, settings: Settings, result: dict[str, Any]) -> dict[str, Any]:
    repeats, seconds, longest = (3, 0.05, 3.0) if settings.tiny else (REPEATS, SECONDS, LONGEST)
    figures = team.timed("time_training", repeats, seconds, longest)
    for name, memory in team.ask("memory").items():
        one = figures[name]
        ms = one["ms"]
        slowest_first = {"low": ms["high"], "median": ms["median"], "high": ms["low"]}
        one["rate"] = {name: 1e3 * result["units"] / taken for name, taken in slowest_first.items()}
        one |= {"operations_a_second": 1e3 * result["operations"] / ms["median"], **memory}
    return figures
