"""Where the time of an eager training step goes, by operation.

    python benchmarks/eager_profile.py lenet gpt --threads 1

Every primitive's forward and backward is wrapped; what it calls counts as its own. Timing itself adds to small operations. A
compiled step runs the same operations, fused and without Python between them.
"""

from __future__ import annotations

import argparse
import functools
import sys
import time
from collections.abc import Callable
from typing import Any

from nnatomy.benchmark.implementations.ours import Network, prepare
from nnatomy.benchmark.report import number
from nnatomy.benchmark.workloads import WORKLOADS, Workload, find
from nnatomy.ops.primitive import Primitive
from nnatomy.training.learners import Learner


def profile(workload: Workload, seconds: float) -> tuple[float, list[tuple[str, float, float]]]:
    """Milliseconds a step, and (operation, calls a step, ms a step), the dearest first."""
    ours = Network(workload, None, {"eager": True})
    spent: dict[str, list[float]] = {}
    inside = False

    def timed(name: Callable[..., str], function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            nonlocal inside
            if inside:
                return function(*args, **kwargs)
            inside, began = True, time.perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                inside = False
                entry = spent.setdefault(name(*args), [0, 0.0])
                entry[0] += 1
                entry[1] += time.perf_counter() - began

        return wrapper

    wrapped: dict[int, Any] = {}
    places: list[tuple[Any, str, Any]] = []
    for module in [m for name, m in sys.modules.items() if name.split(".")[0] == "nnatomy"]:
        for key, value in list(vars(module).items()):
            if callable(value) and isinstance(spec := getattr(value, "primitive", None), Primitive):
                if id(value) not in wrapped:
                    wrapped[id(value)] = timed(lambda *_, name=spec.name: name, value)
                places.append((module, key, value))
    places.append((Primitive, "vjp", Primitive.vjp))
    places += [(Learner, "state", Learner.state), (Learner, "bind", Learner.bind)]
    rule = type(ours.learner.optimizers["all"])
    places.append((rule, "step", rule.step))
    named = {
        "vjp": lambda primitive, *_: f"{primitive.name}, backward",
        "step": lambda *_: "Adam",
        "state": lambda *_: "state in and out",
        "bind": lambda *_: "state in and out",
    }
    inherited = "step" not in vars(rule)
    for _ in range(3):
        ours.step()
    try:
        for owner, key, value in places:
            setattr(owner, key, wrapped[id(value)] if id(value) in wrapped else timed(named[key], value))
        began, steps = time.perf_counter(), 0
        while (total := time.perf_counter() - began) < seconds or steps < 3:
            ours.step()
            steps += 1
    finally:
        for owner, key, value in places:
            if owner is rule and inherited:
                delattr(owner, key)
            else:
                setattr(owner, key, value)
    rows = [(name, calls / steps, 1e3 * t / steps) for name, (calls, t) in spent.items()]
    rest = 1e3 * total / steps - sum(row[2] for row in rows)
    rows.append(("(the rest: tape, modules, sums of gradients)", 1, rest))
    return 1e3 * total / steps, sorted(rows, key=lambda row: -row[2])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = [w.name for w in WORKLOADS]
    parser.add_argument("names", nargs="+", choices=names, metavar="WORKLOAD", help=", ".join(names))
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    prepare(args.threads)
    for name in args.names:
        total, rows = profile(find(name), args.seconds)
        print(f"\n{name}: {number(total)} ms a step")
        for operation, calls, ms in rows[:10]:
            print(f"  {100 * ms / total:5.1f} %  {number(ms):>6} ms  {calls:6.0f} x  {operation}")


if __name__ == "__main__":
    main()
