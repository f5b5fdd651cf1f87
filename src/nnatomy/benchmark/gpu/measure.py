"""Compares answers in float32, then times the libraries in bfloat16, block by block in turn."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from nnatomy.benchmark.gpu import card
from nnatomy.benchmark.gpu.sides import KINDS, PEERS
from nnatomy.benchmark.gpu.worker import Worker
from nnatomy.benchmark.gpu.workloads import FULL, TINY, Workload, find, workloads
from nnatomy.benchmark.measure import Team, alternate, compare, machine, spread
from nnatomy.benchmark.report import MARK
from nnatomy.benchmark.sides import OURS
from nnatomy.benchmark.worker import WorkerError
from nnatomy.errors import UserError, unknown_name

COMPARED = 3
"""Steps."""
CLOSE = 0.02
"""How far losses in bfloat16 may be apart: its numbers have three digits."""
REPEATS, SECONDS, LONGEST = 7, 3.0, 150.0
"""Blocks of each library, what one takes, and what all of a workload's may take."""

Report = dict[str, Any]
Tell = Callable[[str], None]


@dataclass(frozen=True)
class Settings:
    """What to run, checked: `chosen` raises UserError for what cannot be."""

    workloads: tuple[Workload, ...]
    peers: tuple[str, ...]
    tiny: bool
    batch: int | None

    @property
    def sides(self) -> tuple[str, ...]:
        return (OURS, *self.peers)

    @property
    def device(self) -> str:
        return "cpu" if self.tiny else "cuda"


def chosen(
    only: Sequence[str] | None = None, peers: Sequence[str] | None = None, batch: int | None = None, tiny: bool = False
) -> Settings:
    """The settings of a run; everything is measured that is not named otherwise, on a CPU without torch.compile."""
    sizes = TINY if tiny else FULL
    for name in peers or ():
        if name not in PEERS:
            raise unknown_name("peer", name, PEERS)
    found = tuple(find(name, sizes) for name in dict.fromkeys(only)) if only else workloads(sizes)
    if batch is not None and (batch < 1 or len(found) > 1):
        raise UserError(
            f"--batch needs a whole number above 0 and one workload that it is for, received {batch} for {len(found)}; "
            "give --only as well."
        )
    return Settings(found, tuple(dict.fromkeys(peers)) if peers else PEERS[:1] if tiny else PEERS, tiny, batch)


def bench(settings: Settings, tell: Tell = lambda line: None) -> Report:
    """Measures all; returns what page.py shows and JSON holds. A side that is not there or fails is left out, with why."""
    began = time.perf_counter()
    absent = {side: why for side in settings.sides if (why := KINDS[side].missing())}
    if OURS in absent:
        raise UserError('This benchmark needs JAX, which is not installed; pip install "nnatomy[jax]", on CUDA "jax[cuda12]".')
    name = device_name(settings)
    for side, why in absent.items():
        tell(f"{KINDS[side].label} is left out: {why}.")
    sides = [side for side in settings.sides if side not in absent]
    first = Worker(OURS, settings.workloads[0].name, settings.tiny, settings.device)
    rate = _asked(first, "rate", 256 if settings.tiny else 8192)
    described: dict[str, str] = {}
    results = []
    for i, workload in enumerate(settings.workloads):
        tell(f"{workload.name} ({i + 1} of {len(settings.workloads)}) ...")
        results.append(run(workload, sides, settings, described))
    return {
        "by": f"{MARK}: benchmarks/gpu.py", "machine": machine(), "device": name,
        "peak": {"published": card.published(name), "measured": rate},
        "settings": {"tiny": settings.tiny, "sides": sides, "repeats": REPEATS, "seconds": SECONDS},
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
        "This benchmark needs a CUDA device and a PyTorch and a JAX that see it, received a machine without; "
        "give --tiny to run the same code at tiny sizes on the CPU."
    )


def _asked(worker: Worker, what: str, *args: Any) -> Any:
    try:
        worker.receive()  # of `start`
        return worker.ask(what, *args)
    finally:
        worker.close()


# One workload


def run(workload: Workload, sides: Sequence[str], settings: Settings, described: dict[str, str]) -> dict[str, Any]:
    """All of one workload: its answers in float32, then in bfloat16, then the times of those that agree."""
    from nnatomy.benchmark.gpu.operations import operations

    size = settings.batch or workload.size
    result: dict[str, Any] = {
        "name": workload.name, "what": workload.what, "size": size, "unit": workload.unit, "units": size * workload.units,
        "operations": size * operations(workload), "timed": {}, "differ": {}, "failed": {}, "notes": {},
    }  # fmt: skip
    try:
        with _team(workload, sides, settings, result) as team:
            described |= team.ask("build", "float32", workload.compared)
            answers = team.ask("train", COMPARED)
            ours = answers.pop(OURS)
            team.hold("float32", {s: compare(ours, a, allowed=workload.tolerance) for s, a in answers.items()})
            left = [w.side for w in team.workers]
        with _team(workload, left, settings, result) as team:
            team.ask("build", "bfloat16", size)
            losses = {side: found for side, (found, _) in team.ask("train", COMPARED).items()}
            for side, found in losses.items():
                apart = max(abs(a - b) / abs(b) for a, b in zip(losses[OURS], found, strict=True))
                if side != OURS:
                    result["agreement"].setdefault("bfloat16", {})[side] = {"loss": apart}
                if not apart <= max(CLOSE, workload.tolerance):
                    result["differ"][side] = {"in": "bfloat16", "loss": apart, "gradient": 0.0, "gradient_in": ""}
                    team.workers = [w for w in team.workers if w.side != side]
            result["timed"] = _timed(team, settings, result)
            result["notes"] = {side: told for side, told in team.ask("notes").items() if told}
    except WorkerError as problem:
        result["failed"][OURS] = str(problem)
    return result


@contextlib.contextmanager
def _team(workload: Workload, sides: Sequence[str], settings: Settings, result: dict[str, Any]) -> Any:
    """The sides' processes, ended at the end."""
    workers: list[Any] = [Worker(side, workload.name, settings.tiny, settings.device) for side in sides]
    try:
        yield Team(workers, result)
    finally:
        for worker in workers:
            worker.close()


def _timed(team: Team, settings: Settings, result: dict[str, Any]) -> dict[str, Any]:
    repeats, seconds, longest = (3, 0.05, 3.0) if settings.tiny else (REPEATS, SECONDS, LONGEST)
    times, steps = alternate(team.workers, "time_training", repeats, seconds, longest)
    figures: dict[str, Any] = {}
    for worker in team.workers:
        taken = times[worker.side]
        figures[worker.side] = {
            "ms": spread([1e3 * s for s in taken]),
            "rate": spread([result["units"] / s for s in taken]),
            "operations_a_second": result["operations"] / spread(taken)["median"],
            "steps_per_block": steps[worker.side], "blocks": len(taken),
            **worker.ask("memory"),
        }  # fmt: skip
        if worker.side != OURS:
            figures[worker.side]["ratio"] = spread([other / own for own, other in zip(times[OURS], taken, strict=True)])
    return figures
