"""Where a compiled training step, or an inference, spends its time: each kernel of its plan, run by itself, in milliseconds.

    python benchmarks/plan_profile.py lstm --threads 2
    python benchmarks/plan_profile.py gpt --infer 1
"""

from __future__ import annotations

import argparse
import statistics
import time

from nnatomy.benchmark.implementations import ours
from nnatomy.benchmark.workloads import WORKLOADS
from nnatomy.kernels import library
from nnatomy.kernels.machine import Program


def instructions(program: Program) -> list[tuple[str, Program]]:
    """The kernel's name and its own program for each instruction."""
    names = {entry: name for name, entry in library._addresses.items()}
    found, at = [], 0
    while at < len(program.words):
        entry, length, flags = program.words[at : at + 3]
        alone = Program()
        alone.words = [entry, length, flags & 1, *program.words[at + 3 : at + length]]
        alone.keep(program)
        found.append((names[entry], alone))
        at += length
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("workload", choices=[w.name for w in WORKLOADS])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=30)
    parser.add_argument("--infer", type=int, metavar="BATCH", help="inference on so many examples, not a training step")
    chosen = parser.parse_args()
    ours.prepare(chosen.threads)
    workload = next(w for w in WORKLOADS if w.name == chosen.workload)
    network = ours.Network(workload, None, {})
    if chosen.infer:
        network.answer(network.question(network.batches[0][0][: chosen.infer]))
    else:
        network.step()
    plan = next(iter((network.forward if chosen.infer else network.train)._plans.values())).plan
    parts = [pair for part in plan._parts for pair in instructions(part.__self__)]
    times: list[list[float]] = [[] for _ in parts]
    whole = []
    for _ in range(chosen.repeats):
        start = time.perf_counter()
        plan.run()
        whole.append(time.perf_counter() - start)
        for i, (_, program) in enumerate(parts):
            start = time.perf_counter()
            program.run()
            times[i].append(time.perf_counter() - start)
    what = "an inference" if chosen.infer else "a step"
    print(f"{workload.name}: {what} {statistics.median(whole) * 1e3:.3f} ms, {len(parts)} instructions")
    rows: dict[str, list[float]] = {}
    for (name, _), taken in zip(parts, times, strict=True):
        rows.setdefault(name, []).append(statistics.median(taken) * 1e3)
    for name, each in sorted(rows.items(), key=lambda row: -sum(row[1])):
        print(f"{sum(each):9.3f} ms  {len(each):4d} x  {name:32s} largest {max(each):.3f}")


if __name__ == "__main__":
    main()
