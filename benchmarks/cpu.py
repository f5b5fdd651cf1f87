"""Our training steps and PyTorch eager's on this machine's CPU: the same work, from the same weights, in alternation.

    python benchmarks/cpu.py --threads 2 --json cpu.json --out docs/performance.md
    python benchmarks/cpu.py --only lenet gpt --profile

The answers are compared first: losses of several steps, and Adam's first moments, which are the gradients. What differs is not
timed. Both sides then run blocks of steps in turn. Each block starts from the first weights again, after a rest in which the
other side's threads fall asleep, and its first steps are not timed. Peak memory is that of a process of its own for each side.
"""

from __future__ import annotations

import argparse
import datetime
import functools
import gc
import itertools
import json
import math
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
Batch = tuple[Array, Array]

STATUS = (
    "These are the **reference kernels**, plain NumPy written to be read as the specification: the state before any work on\n"
    "speed, and the mark that such work is measured by."
)
BATCHES = 16  # different ones, taken in turn: a single batch would be learned by heart, and units die of it
COMPARED = 5  # steps
TOLERANCE = 1e-3
LOOP_BLAS_THREADS = 1  # what the training loop gives to NumPy's products
QUIET = 0.1  # cores that other processes may take
REST = 0.03  # seconds; idle BLAS and OpenMP threads spin for some milliseconds and would take the other side's cores


# The workloads. `nn` is nnatomy or torch.nn: they name their parts alike, so that the text of a model serves both.


@dataclass(frozen=True)
class Workload:
    """A model, what it is fed with, and what it is in words."""

    name: str
    what: str
    build: Callable[[Any, Callable[..., Any]], Any]  # (nn, causal attention) -> model
    batch: Callable[[np.random.Generator], Batch]


def mlp(*sizes: int) -> Callable[[Any, Any], Any]:
    def build(nn: Any, attend: Any) -> Any:
        layers: list[Any] = []
        for inputs, outputs in itertools.pairwise(sizes):
            layers += [nn.Linear(inputs, outputs), nn.ReLU()]
        return nn.Sequential(*layers[:-1])

    return build


def lenet(nn: Any, attend: Any) -> Any:
    return nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2), nn.Tanh(), nn.AvgPool2d(2), nn.Conv2d(6, 16, 5), nn.Tanh(), nn.AvgPool2d(2),
        nn.Flatten(), nn.Linear(400, 120), nn.Tanh(), nn.Linear(120, 84), nn.Tanh(), nn.Linear(84, 10),
    )  # fmt: skip


def convnet(nn: Any, attend: Any) -> Any:
    def stage(inputs: int, outputs: int) -> list[Any]:
        return [nn.Conv2d(inputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.ReLU()]

    return nn.Sequential(
        *stage(1, 32), *stage(32, 64), nn.MaxPool2d(2), *stage(64, 128), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(128, 10),
    )  # fmt: skip


def lstm(nn: Any, attend: Any) -> Any:
    class Last(nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.lstm = nn.LSTM(64, 128, batch_first=True)
            self.output = nn.Linear(128, 10)

        def forward(self, x: Any) -> Any:
            return self.output(self.lstm(x)[0][:, -1])

    return Last()


def gpt(nn: Any, attend: Any, vocabulary: int = 256, width: int = 128, heads: int = 4, depth: int = 4, steps: int = 128) -> Any:
    class Block(nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
            self.qkv, self.project = nn.Linear(width, 3 * width), nn.Linear(width, width)
            self.widen, self.gelu, self.narrow = nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)

        def forward(self, x: Any) -> Any:
            B, T, C = x.shape
            q, k, v = self.qkv(self.norm1(x)).reshape(B, T, 3, heads, C // heads).permute(2, 0, 3, 1, 4)  # [B, heads, T, ...]
            x = x + self.project(attend(q, k, v).permute(0, 2, 1, 3).reshape(B, T, C))
            return x + self.narrow(self.gelu(self.widen(self.norm2(x))))

    class GPT(nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.tokens, self.positions = nn.Embedding(vocabulary, width), nn.Embedding(steps, width)
            self.blocks = nn.Sequential(*[Block() for _ in range(depth)])
            self.norm, self.output = nn.LayerNorm(width), nn.Linear(width, vocabulary)

        def forward(self, tokens: Any) -> Any:
            x = self.blocks(self.tokens(tokens) + self.positions.weight)
            return self.output(self.norm(x)).reshape(-1, vocabulary)  # [B T, vocabulary]

    return GPT()


def examples(*shape: int) -> Callable[[np.random.Generator], Batch]:
    """Normal inputs and one of ten classes for each; the first axis is the batch."""
    return lambda rng: (rng.normal(size=shape).astype(np.float32), rng.integers(0, 10, shape[0]))


def text(rng: np.random.Generator) -> Batch:
    tokens = rng.integers(0, 256, (16, 129))
    return np.ascontiguousarray(tokens[:, :-1]), tokens[:, 1:].reshape(-1)


WORKLOADS = (
    Workload("mlp", "784-256-128-10, ReLU, batch 64", mlp(784, 256, 128, 10), examples(64, 784)),
    Workload("mlp-small-1", "32-32-32-10, ReLU, batch 1", mlp(32, 32, 32, 10), examples(1, 32)),
    Workload("mlp-small-8", "32-32-32-10, ReLU, batch 8", mlp(32, 32, 32, 10), examples(8, 32)),
    Workload("mlp-small-64", "32-32-32-10, ReLU, batch 64", mlp(32, 32, 32, 10), examples(64, 32)),
    Workload("lenet", "LeNet-5, tanh, mean pooling, 1x28x28, batch 64", lenet, examples(64, 1, 28, 28)),
    Workload("convnet", "3 x (conv 3x3, batch norm, ReLU), 32/64/128, 1x28x28, batch 64", convnet, examples(64, 1, 28, 28)),
    Workload("lstm", "100 steps of 64, hidden 128, last step to 10 classes, batch 32", lstm, examples(32, 100, 64)),
    Workload("gpt", "4 layers, width 128, 4 heads, 128 tokens of 256, pre-norm, GELU, batch 16", gpt, text),
)


# The sides. Each imports its library when it is made, so that a process can measure the memory of one alone.


class Ours:
    """nnatomy's training step, as the training loop calls it."""

    name = "nnatomy"

    def __init__(self, workload: Workload, batches: Sequence[Batch]) -> None:
        import nnatomy as nn
        from nnatomy import functional as F
        from nnatomy.experiments.step import Step
        from nnatomy.optim import Adam

        @functools.cache
        def causal(steps: int) -> Array:
            return np.triu(np.full((steps, steps), -np.inf, np.float32), 1)

        def attend(q: Any, k: Any, v: Any) -> Any:
            scores = (q * q.shape[-1] ** -0.5) @ k.swapaxes(-1, -2)
            return F.softmax(scores + causal(q.shape[-2]), axis=-1) @ v

        nn.seed(0)
        self.batches = batches
        self.model = workload.build(nn, attend)
        self.model.train()
        optimizer = Adam(self.model.named_parameters(), lr=1e-3)
        self.train = Step(self.model, optimizer, lambda model, x, y: F.cross_entropy(model(x), y))
        self.start = self.train.state()
        self.restart()

    def weights(self) -> dict[str, Array]:
        """The weights that both sides start from."""
        return {name: np.array(a) for name, a in self.start["model"].items()}

    def restart(self) -> None:
        self.state, self.count = self.start, 0  # a step changes no array of the state that it is given

    def step(self) -> float:
        self.state, metrics = self.train(self.state, self.batches[self.count % len(self.batches)])
        self.count += 1
        return float(metrics["loss"])

    def moments(self) -> dict[str, Array]:
        return {name: arrays["exp_avg"] for name, arrays in self.state["optimizer"]["state"].items()}


class Torch:
    """The same step in PyTorch eager. `fused`: Adam in one kernel, which PyTorch does not choose by itself on a CPU."""

    name = "torch"

    def __init__(
        self, workload: Workload, batches: Sequence[Batch], weights: dict[str, Array] | None = None, fused: bool = False
    ) -> None:
        import torch

        attend = functools.partial(torch.nn.functional.scaled_dot_product_attention, is_causal=True)
        self.batches = [(torch.from_numpy(x), torch.from_numpy(y)) for x, y in batches]
        self.model = workload.build(torch.nn, attend)
        self.fused = fused
        if weights is not None:
            missing, unexpected = self.model.load_state_dict({n: torch.tensor(a) for n, a in weights.items()}, strict=False)
            missing = [name for name in missing if not name.endswith("num_batches_tracked")]
            if missing or unexpected:
                raise SystemExit(f"{workload.name}: the two models do not have the same weights: {missing}, {unexpected}.")
        self.start = {name: t.clone() for name, t in self.model.state_dict().items()}
        self.restart()

    def restart(self) -> None:
        import torch

        self.model.load_state_dict(self.start)
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=1e-3, fused=True if self.fused else None)
        self.loss, self.count = torch.nn.functional.cross_entropy, 0

    def step(self) -> float:
        x, y = self.batches[self.count % len(self.batches)]
        self.count += 1
        self.optimizer.zero_grad()
        loss = self.loss(self.model(x), y)
        loss.backward()
        self.optimizer.step()
        return float(loss.item())

    def moments(self) -> dict[str, Array]:
        return {name: self.optimizer.state[p]["exp_avg"].numpy() for name, p in self.model.named_parameters()}


Side = Ours | Torch


# Comparing, timing, memory


@dataclass(frozen=True)
class Agreement:
    """How far the answers are apart: losses relative to the loss, first moments relative to the largest of each parameter."""

    loss: float
    moment: float
    worst: str  # the parameter

    def __bool__(self) -> bool:
        return self.loss <= TOLERANCE and self.moment <= TOLERANCE


def compare(ours: Side, theirs: Side, steps: int = COMPARED) -> Agreement:
    """Runs both sides from their first weights. NaN on any side is no agreement."""
    ours.restart()
    theirs.restart()
    losses, moment, worst = [], 0.0, ""
    for i in range(steps):
        a, b = ours.step(), theirs.step()
        losses.append(abs(a - b) / abs(b))
        if i == 0:
            mine, others = ours.moments(), theirs.moments()
            # A bias before a batch norm has no gradient but rounding's: what is tiny beside all others is measured by those.
            floor = 0.05 * max(float(np.abs(m).max()) for m in others.values())
            for name, other in others.items():
                apart = float(np.abs(mine[name] - other).max()) / max(float(np.abs(other).max()), floor)
                if not apart <= moment:
                    moment, worst = apart, name
    return Agreement(float(np.max(losses)), moment, worst)


def time_blocks(sides: Sequence[Side], repeats: int, seconds: float) -> tuple[list[list[float]], int]:
    """Seconds a step of each side, block by block in alternation, and the number of timed steps in a block."""
    for side in sides:
        side.restart()
        side.step()
    began = time.perf_counter()
    for side in sides:
        side.step()
    mean = (time.perf_counter() - began) / len(sides)
    steps = max(1, min(200, math.ceil(seconds / mean)))
    warm = max(1, min(10, steps // 4))
    times: list[list[float]] = [[] for _ in sides]
    for repeat in range(repeats):
        order = list(enumerate(sides))
        for i, side in order if repeat % 2 == 0 else order[::-1]:
            side.restart()
            gc.collect()
            time.sleep(REST)
            for _ in range(warm):
                side.step()
            began = time.perf_counter()
            for _ in range(steps):
                side.step()
            times[i].append((time.perf_counter() - began) / steps)
    return times, steps


class Others:
    """How many cores' worth of time other processes took since this was made; None where the system does not tell."""

    def __init__(self) -> None:
        self.began, self.start = time.perf_counter(), self._seconds()

    def _seconds(self) -> float | None:
        stat = Path("/proc/stat")
        if not stat.exists():
            return None
        user, nice, system, _, _, irq, soft, steal = map(int, stat.read_text().split()[1:9])
        own = os.times()
        return (user + nice + system + irq + soft + steal) / os.sysconf("SC_CLK_TCK") - own.user - own.system

    def busy(self) -> float | None:
        now = self._seconds()
        return None if now is None or self.start is None else max(0.0, now - self.start) / (time.perf_counter() - self.began)


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median and quartiles."""
    low, middle, high = (float(v) for v in np.percentile(values, (25, 50, 75)))
    return {"median": middle, "low": low, "high": high}


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


def memory_of(kind: type[Side], workload: Workload, args: argparse.Namespace) -> dict[str, float]:
    """Peak memory of a fresh process that imports one side and trains five steps."""
    command = [
        sys.executable, __file__, "--memory-of", kind.name, "--only", workload.name, "--threads", str(args.threads),
        "--blas-threads", str(args.blas_threads),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def measure_memory(kind: type[Side], workload: Workload, args: argparse.Namespace) -> dict[str, float]:
    """What `memory_of` starts: the peak of this process, and how much of it came after importing the library."""
    if kind is Ours:
        import nnatomy.experiments.step
        import nnatomy.functional
        import nnatomy.layers
        import nnatomy.optim  # noqa: F401
    else:
        import torch  # noqa: F401
    before = resident(peak=False)
    with fixed_threads(args, torch_too=kind is Torch):
        side = kind(workload, make_batches(workload))
        for _ in range(5):
            side.step()
    peak = resident(peak=True)
    return {"peak_mib": peak, "after_import_mib": peak - before}


def make_batches(workload: Workload) -> list[Batch]:
    rng = np.random.default_rng(0)
    return [workload.batch(rng) for _ in range(BATCHES)]


@contextmanager
def fixed_threads(args: argparse.Namespace, torch_too: bool = True) -> Iterator[None]:
    """Each side has its number of threads; NumPy is quiet about infinities, as in the training loop."""
    from threadpoolctl import threadpool_limits

    if torch_too:
        import torch

        torch.set_num_threads(args.threads)
    with threadpool_limits(args.blas_threads, user_api="blas"), np.errstate(all="ignore"):
        yield


def run(workload: Workload, args: argparse.Namespace) -> dict[str, Any]:
    """One workload: compared, timed if the answers agree, and weighed."""
    batches = make_batches(workload)
    ours = Ours(workload, batches)
    theirs = Torch(workload, batches, ours.weights(), fused=args.fused_adam)
    agreement = compare(ours, theirs)
    result: dict[str, Any] = {
        "name": workload.name, "what": workload.what, "agree": bool(agreement), "loss_difference": agreement.loss,
        "gradient_difference": agreement.moment, "gradient_difference_in": agreement.worst,
    }  # fmt: skip
    if not agreement:
        return result
    meanwhile = Others()
    times, steps = time_blocks([ours, theirs], args.repeats, args.seconds)
    result["others_busy"] = meanwhile.busy()
    result |= {"repeats": args.repeats, "steps_per_block": steps}
    result |= {side.name: {"ms": spread([1e3 * t for t in ts])} for side, ts in zip((ours, theirs), times, strict=True)}
    result["ratio"] = spread([b / a for a, b in zip(*times, strict=True)])
    if args.memory:
        for kind in (Ours, Torch):
            result[kind.name] |= memory_of(kind, workload, args)
    return result


# Where our time goes


def profile(workload: Workload, seconds: float) -> tuple[float, list[tuple[str, float, float]]]:
    """Milliseconds a step, and (operation, calls a step, ms a step), the dearest first.

    Every primitive's forward and backward is wrapped; what it calls counts as its own. Timing itself adds to small operations.
    """
    from nnatomy.experiments.step import Step
    from nnatomy.ops.primitive import Primitive

    ours = Ours(workload, make_batches(workload))
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
    places += [(Primitive, "pull_back", Primitive.pull_back), (Step, "state", Step.state), (Step, "bind", Step.bind)]
    rule = type(ours.train.optimizer)
    places.append((rule, "step", rule.step))
    named = {
        "pull_back": lambda primitive, *_: f"{primitive.name}, backward",
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


# Telling


def machine(args: argparse.Namespace) -> dict[str, Any]:
    """What the figures depend on, without the machine's name."""
    import threadpoolctl
    import torch

    import nnatomy

    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    fields = dict(reversed([tuple(p.strip() for p in line.split(":", 1)) for line in lines if ":" in line]))
    sets = [s for s in ("avx2", "fma", "avx512f") if s in fields.get("flags", "").split()]
    blas = [
        f"{p['internal_api']} {p['version']} ({p.get('architecture', 'unknown')} kernels)"
        for p in threadpoolctl.threadpool_info()
        if p["user_api"] == "blas" and "numpy" in p["filepath"]
    ]
    return {
        "date": datetime.date.today().isoformat(),
        "processor": fields.get("model name", platform.machine()),
        "instruction_sets": sets,
        "cores": os.cpu_count(),
        "torch_threads": args.threads,
        "numpy_blas_threads": args.blas_threads,
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "nnatomy": nnatomy.__version__,
        "backend": nnatomy.backends.current(),
        "numpy": np.__version__,
        "numpy_blas": ", ".join(blas) or "unknown",
        "torch": torch.__version__,
        "torch_instructions": torch.backends.cpu.get_cpu_capability(),
    }


def number(value: float) -> str:
    """Three digits, without an exponent."""
    return f"{value:.0f}" if value >= 99.95 else f"{value:.1f}" if value >= 9.995 else f"{value:.2f}"


def interval(s: dict[str, float]) -> str:
    return f"{number(s['median'])} ({number(s['low'])}–{number(s['high'])})"


def table(report: dict[str, Any]) -> str:
    """The results in Markdown. Timings are medians with quartiles."""
    lines = [
        "| workload | nnatomy, ms a step | PyTorch, ms a step | PyTorch / nnatomy | peak memory, MiB | of it after import |",
        "|---|---|---|---|---|---|",
    ]
    for r in report["results"]:
        if not r["agree"]:
            lines.append(
                f"| {r['name']} | answers differ, not timed | loss by {r['loss_difference']:.1e} | "
                f"gradient of {r['gradient_difference_in']} by {r['gradient_difference']:.1e} | | |"
            )
            continue
        mine, other = r["nnatomy"], r["torch"]
        memory = [f"{mine[key]:.0f} / {other[key]:.0f}" if key in mine else "" for key in ("peak_mib", "after_import_mib")]
        cells = [r["name"], interval(mine["ms"]), interval(other["ms"]), interval(r["ratio"]), *memory]
        lines.append(f"| {' | '.join(cells)} |")
    if report["geometric_mean"] is not None:
        lines.append(f"| geometric mean | | | {number(report['geometric_mean'])} | | |")
    return "\n".join(lines)


def busy_by_workload(report: dict[str, Any]) -> dict[str, float]:
    return {r["name"]: r["others_busy"] for r in report["results"] if r.get("others_busy") is not None}


def others(report: dict[str, Any]) -> str:
    """In words: how quiet the machine was."""
    busy = busy_by_workload(report)
    if not busy:
        return "How much other processes did meanwhile is not known."
    worst = max(busy, key=lambda name: busy[name])
    if busy[worst] <= QUIET:
        return f"Other processes took at most {busy[worst]:.2f} of {report['machine']['cores']} cores: the machine was quiet."
    return (
        f"**The machine was not quiet**: other processes took up to {busy[worst]:.2f} of {report['machine']['cores']} cores "
        f"({worst}).\nThreads that wait for one another suffer most from that: these ratios are provisional, not to be cited."
    )


def page(report: dict[str, Any], picture: str) -> str:
    """docs/performance.md."""
    m, s = report["machine"], report["settings"]
    timed = [r for r in report["results"] if r["agree"]]
    loss = max((r["loss_difference"] for r in timed), default=math.nan)
    gradient = max((r["gradient_difference"] for r in timed), default=math.nan)
    works = "\n".join(f"- **{r['name']}**: {r['what']}" for r in report["results"])
    adam = "fused" if s["fused_adam"] else "as it comes"
    return f"""# Performance on a CPU

{STATUS}

A training step is forward, cross-entropy, backward and Adam, in float32. Ours is the step that the training loop takes;
the other is PyTorch eager's (Adam {adam}; its own fused LSTM and attention). A ratio above 1 says that ours is faster.

{others(report)}

{table(report)}

![How many times as fast as PyTorch each training step is]({picture})

Timings are medians and, in brackets, quartiles of {s["repeats"]} blocks. Memory is ours / PyTorch's: of a process that imports
one library and trains five steps.

## The work

{works}

## How it was measured

Written on {m["date"]} by `benchmarks/cpu.py` on {m["processor"]} ({", ".join(m["instruction_sets"])}), {m["cores"]} cores,
{m["system"]}, Python {m["python"]}.

- nnatomy {m["nnatomy"]}, backend {m["backend"]}, NumPy {m["numpy"]} with {m["numpy_blas"]},
  {m["numpy_blas_threads"]} thread(s) for its products (the training loop gives them {LOOP_BLAS_THREADS}).
- PyTorch {m["torch"]} ({m["torch_instructions"]}), {m["torch_threads"]} thread(s).

Both sides start from the same weights and see the same batches. Before anything is timed, {COMPARED} steps are compared: losses
agreed to {loss:.1e} of the loss, gradients to {gradient:.1e} of the largest of their parameter. Beyond {TOLERANCE:g} a workload
would not be timed. Then blocks of steps alternate in one process, each from the first weights, after a rest, its first steps
untimed. Ratios are taken pair by pair. Machines differ and are shared: measure on yours.

    pip install "nnatomy[verify]"
    python benchmarks/cpu.py --threads {m["torch_threads"]} --out docs/performance.md
    python benchmarks/cpu.py --only lenet --profile      # where our time goes
"""


def draw(report: dict[str, Any], path: Path) -> None:
    """A bar for each workload: the ratio on a logarithmic axis, quartiles as whiskers."""
    from matplotlib.figure import Figure

    rows = [r for r in report["results"] if r["agree"]][::-1]
    ratios = [r["ratio"]["median"] for r in rows]
    whiskers = [[abs(r["ratio"][side] - r["ratio"]["median"]) for r in rows] for side in ("low", "high")]
    figure = Figure(figsize=(10, 1.2 + 0.45 * len(rows)), layout="constrained")
    axes = figure.subplots()
    colours = ["#2563a8" if ratio >= 1 else "#d1662a" for ratio in ratios]
    axes.barh(range(len(rows)), [ratio - 1 for ratio in ratios], left=1, color=colours, height=0.6)
    axes.errorbar(ratios, range(len(rows)), xerr=whiskers, fmt="none", ecolor="#374151", elinewidth=1, capsize=3)
    for i, (row, ratio) in enumerate(zip(rows, ratios, strict=True)):
        right = ratio >= 1
        end = row["ratio"]["high" if right else "low"]
        axes.annotate(
            f"{number(ratio)}x", (end, i), xytext=(6 if right else -6, 0), textcoords="offset points", va="center",
            ha="left" if right else "right", fontsize=9,
        )  # fmt: skip
    axes.set_xscale("log", base=2)
    axes.set_xlim(min(0.5, *ratios) / 1.6, max(2, *ratios) * 1.6)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}x")
    axes.set_yticks(range(len(rows)), [r["name"] for r in rows])
    axes.axvline(1, color="#374151", lw=1)
    axes.grid(axis="x", alpha=0.25)
    axes.set_axisbelow(True)
    noisy = max(busy_by_workload(report).values(), default=0.0) > QUIET
    axes.set(
        title=f"Speed of a training step beside PyTorch eager's on {report['machine']['torch_threads']} thread(s)"
        + (" - provisional: the machine was not quiet" if noisy else ""),
        xlabel="slower than PyTorch   |   faster than PyTorch",
    )
    figure.savefig(path, dpi=120)


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    names = [w.name for w in WORKLOADS]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, choices=(1, 2), default=min(2, os.cpu_count() or 1), help="of PyTorch")
    parser.add_argument(
        "--blas-threads", type=int, choices=(1, 2), default=LOOP_BLAS_THREADS, help="of NumPy's products (1, as in the loop)"
    )
    parser.add_argument("--only", nargs="+", choices=names, default=names, metavar="WORKLOAD", help=", ".join(names))
    parser.add_argument("--repeats", type=int, help="blocks of each side (7; with --quick 3)")
    parser.add_argument("--seconds", type=float, help="that a block should take, 200 steps at most (0.1; with --quick 0.02)")
    parser.add_argument("--quick", action="store_true", help="short blocks, to see that it runs")
    parser.add_argument("--fused-adam", action="store_true", help="let PyTorch use its fused Adam")
    parser.add_argument("--no-memory", dest="memory", action="store_false", help="do not measure peak memory")
    parser.add_argument("--profile", action="store_true", help="show our steps' dearest operations instead")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures")
    parser.add_argument("--out", type=Path, metavar="FILE.md", help="write the page, and its picture beside it")
    parser.add_argument("--memory-of", choices=("nnatomy", "torch"), help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    args.repeats = args.repeats or (3 if args.quick else 7)
    args.seconds = args.seconds or (0.02 if args.quick else 0.1)
    return args


def main(argv: Sequence[str] | None = None) -> int:
    """Returns 1 if the answers of any workload differ."""
    args = parse(argv)
    chosen = [w for w in WORKLOADS if w.name in args.only]
    if args.memory_of:
        print(json.dumps(measure_memory(Ours if args.memory_of == "nnatomy" else Torch, chosen[0], args)))
        return 0
    if args.profile:
        with fixed_threads(args, torch_too=False):
            for workload in chosen:
                total, rows = profile(workload, 0.2 if args.quick else 1.0)
                print(f"\n{workload.name}: {number(total)} ms a step")
                for name, calls, ms in rows[:10]:
                    print(f"  {100 * ms / total:5.1f} %  {number(ms):>6} ms  {calls:6.0f} x  {name}")
        return 0
    began = time.perf_counter()
    results = []
    with fixed_threads(args):
        for workload in chosen:
            print(f"{workload.name} ...", file=sys.stderr, flush=True)
            results.append(run(workload, args))
    ratios = [r["ratio"]["median"] for r in results if r["agree"]]
    report = {
        "machine": machine(args),
        "settings": {"repeats": args.repeats, "seconds": args.seconds, "fused_adam": args.fused_adam, "compared": COMPARED},
        "seconds": time.perf_counter() - began,
        "results": results,
        "geometric_mean": statistics.geometric_mean(ratios) if ratios else None,
    }
    print(f"{table(report)}\n\n{others(report)}")
    if args.json:
        args.json.write_text(json.dumps(report, indent=2) + "\n")
    if args.out:
        picture = args.out.with_suffix(".png")
        args.out.write_text(page(report, picture.name))
        if ratios:
            draw(report, picture)
    return 0 if len(ratios) == len(results) else 1


if __name__ == "__main__":
    sys.exit(main())
