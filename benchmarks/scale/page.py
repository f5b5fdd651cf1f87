"""docs/scale.md: how a run grows from one CPU to a cluster, its arithmetic, and a table that XLA's compiler filled in."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from nnatomy.benchmark.implementation import Log
from nnatomy.benchmark.report import Table, in_markdown, listed, number, wrapped
from nnatomy.kernels.machine import processors
from scale import arithmetic
from scale.arithmetic import COPY, GRADIENT, MODELS, MOMENTS, STATE, STEPS, WEIGHT, Model
from scale.compiled import ACROSS, MODES, Found, Request, compiled, extrapolated

DEVICES = (1, 8, 256)
SEQUENCES = 8
"""On each device, of 1,024 tokens."""
VOCABULARY = 50304
"""A multiple of 64: what the compiler is given."""
DEPTHS = (1, 2)
"""Layers that are compiled; other depths follow linearly."""
MEMORY, RATE, REACHED, NVLINK, NETWORK = 80e9, 989e12, 0.4, 450e9, 50e9
"""An H100: bytes of memory, bfloat16 operations a second, the fraction of them that a step reaches, and bytes a second to the
other GPUs of its machine (NVLink, one way) and to other machines (a network of 400 Gbit/s for each GPU)."""

Case = tuple[Model, int, str]
"""A model, the number of devices, and the split of the work among them."""


# What is compiled


def request(model: Model, depth: int, devices: int, mode: str, target: str) -> Request:
    return Request(depth, model.width, model.heads, VOCABULARY, STEPS, SEQUENCES, devices, mode, target)


def simulate(
    target: str, models: Sequence[Model] = MODELS, devices: Iterable[int] = DEVICES, log: Log = lambda line: None
) -> dict[str, Any]:
    """Compile every model for every number of devices, in both ways, and the smallest in full depth to check what follows."""
    groups = []
    for n in devices:
        cases = [(model, n, mode) for model in models for mode in (MODES if n > 1 else MODES[:1])]
        wanted = [request(model, depth, n, mode, target) for model, _, mode in cases for depth in DEPTHS]
        groups.append((cases, [*wanted, request(models[0], models[0].depth, n, cases[0][2], target)]))
    log(f"compiling {sum(len(wanted) for _, wanted in groups)} steps ...")
    rows, checks = [], []
    with ThreadPoolExecutor(processors()) as pool:
        for (cases, _), found in zip(groups, pool.map(compiled, [wanted for _, wanted in groups]), strict=True):
            linear = [extrapolated((found[2 * i], found[2 * i + 1]), DEPTHS, case[0].depth) for i, case in enumerate(cases)]
            rows += [(*case, guess) for case, guess in zip(cases, linear, strict=True)]
            checks.append((cases[0], linear[0], found[-1]))
    return {"target": target, "rows": rows, "checks": checks}


# The tables


def giga(value: float) -> str:
    return number(value / 1e9)


def parameter_table() -> Table:
    activations = f"activations of {SEQUENCES} sequences, GB"
    header = ("", "parameters", "state, GB", "copies and gradients, GB", activations, "TFLOP a step")
    tokens = SEQUENCES * STEPS
    return header, [
        (m.name, f"{m.parameters:,}", giga(arithmetic.state_bytes(m.parameters)), giga((GRADIENT + 2 * COPY) * m.parameters),
         giga(m.activations(tokens)), number(m.operations(tokens) / 1e12))
        for m in MODELS
    ]  # fmt: skip


def hiding_table() -> Table:
    """Tokens on each device from which communication is shorter than computing, in the limit of many devices."""
    header = ("", "bytes a parameter and step", "tokens a device, NVLink", "tokens a device, network")
    many, rate = 10**9, RATE * REACHED
    ways = (
        ("all-reduce of float32 gradients", arithmetic.data_parallel_bytes(1, many)),
        ("all-reduce of bfloat16 gradients", arithmetic.data_parallel_bytes(1, many, COPY)),
        ("fully sharded, bfloat16", arithmetic.fully_sharded_bytes(1, many)),
    )
    return header, [
        (name, number(moved), *(f"{arithmetic.tokens_to_hide(moved, 1, rate, width):,.0f}" for width in (NVLINK, NETWORK)))
        for name, moved in ways
    ]


def simulated_table(rows: Sequence[tuple[Model, int, str, Found]]) -> Table:
    header = (
        "", "devices", "", "state, GB", "next to it, GB", f"fits {MEMORY / 1e9:.0f} GB", "TFLOP", "moved, GB", "computing, ms",
        "moving, ms",
    )  # fmt: skip
    return header, [
        (model.name, str(n), mode if n > 1 else "alone", giga(f.state), giga(f.temporary),
         "yes" if f.state + f.temporary < MEMORY else "**no**", number(f.operations / 1e12), giga(f.moved(n)) if n > 1 else "-",
         number(1e3 * f.operations / (RATE * REACHED)),
         number(1e3 * f.moved(n) / (NVLINK if n <= ACROSS else NETWORK)) if n > 1 else "-")
        for model, n, mode, f in rows
    ]  # fmt: skip


# The page


def markdown(simulation: dict[str, Any]) -> str:
    smallest, largest = MODELS[0], MODELS[-1]
    parts = [
        "# From one CPU to a cluster",
        """Written by `python benchmarks/scale.py`: the numbers below come from the formulas next to them and from XLA's
        compiler. Nothing was run on the devices that are named, so no time here is a measurement.""",
        "## The steps of growing",
        *listed(list(_GROWING)),
        "## What a parameter costs",
        f"""In mixed precision a parameter is a float32 weight ({WEIGHT} bytes) with AdamW's two float32 moments
        ({MOMENTS}): {STATE} bytes of state, which stay from step to step. During a step there are a bfloat16 copy
        ({COPY}), its bfloat16 gradient ({COPY}) and at most a float32 gradient ({GRADIENT}) next to it; XLA frees and
        fuses most of that. Activations grow with the batch: for each token and layer 34 bytes a unit of width
        (Korthikanti et al. 2022, eq. 1, without attention's weights, which are computed again), and for each token the
        vocabulary's scores and their gradient. A step takes 6 operations for each parameter and token, and 12 L d T for
        attention over T tokens.""",
        in_markdown(parameter_table()),
        f"""So one 80 GB device holds the state of {MEMORY / STATE / 1e9:.1f} billion parameters and nothing else.
        {largest.name} takes {giga(STATE * largest.parameters)} GB of it, and copies, gradients and activations come on top:
        `--accumulate` makes a large batch of parts that fit.""",
        "## What moves between devices",
        f"""**Data parallel** (`--shard data`): every device holds the state and takes its part of the batch; gradients are
        summed over all. A ring all-reduce sends 2 (n - 1) / n of them from each device, whatever n is: {smallest.name}
        in float32 {giga(arithmetic.data_parallel_bytes(smallest.parameters, 8))} GB a step on 8 devices, {largest.name}
        {giga(arithmetic.data_parallel_bytes(largest.parameters, 8))} GB. **Fully sharded** (`--shard full`): each
        device holds 1/n of the state; weights are gathered in bfloat16 for forward and once more for backward,
        gradients are scattered: 3 (n - 1) / n of the weights' bfloat16 bytes
        ({giga(arithmetic.fully_sharded_bytes(largest.parameters, 8))} GB for {largest.name} on 8), or less where what
        was gathered for forward is kept.""",
        f"""Communication hides behind computing when it takes less time: bytes / bandwidth <= 6 P tokens / rate. The
        parameters cancel, so that what counts is how many tokens each device has in a step. At {100 * REACHED:.0f} % of
        an H100's {RATE / 1e12:.0f} TFLOP/s, with {NVLINK / 1e9:.0f} GB/s between the GPUs of a machine and
        {NETWORK / 1e9:.0f} GB/s between machines:""",
        in_markdown(hiding_table()),
        "## When to shard",
        *listed(list(_WHEN)),
        "## As XLA compiles it",
        f"""GPT-2's step (AdamW, bfloat16, {SEQUENCES} sequences of {STEPS} tokens on each device, a vocabulary of
        {VOCABULARY:,}), compiled for {_TARGETS[simulation["target"]]} State and what a step needs next to it, in
        temporary buffers, are those of one device by `memory_analysis()`; operations are its part of
        `cost_analysis()`, in which attention's products count in full and once more for backward; what is moved follows
        from the collectives in the compiled program, each counted with ring algorithms. Computing takes what these
        operations take at {100 * REACHED:.0f} % of the peak; moving goes over NVLink up to {ACROSS} devices, and over
        the network beyond. Models of {" and ".join(map(str, DEPTHS))} layers were compiled; deeper ones follow linearly.""",
        in_markdown(simulated_table(simulation["rows"])),
        """Where no axis of an array divides by the number of devices it stays whole on each of them; at a width of 1600
        that is much of the state on 256.""",
        "Some were compiled in full depth too, to check that:",
        *listed([_checked(*check) for check in simulation["checks"]]),
        f"Written on {datetime.date.today().isoformat()}.",
        "    python benchmarks/scale.py --out docs/scale.md",
    ]
    return wrapped(parts)


def _checked(case: Case, guess: Found, whole: Found) -> str:
    model, n, mode = case
    return (
        f"{model.name}, {f'{n} devices, {mode}' if n > 1 else 'alone'}: next to the state {giga(whole.temporary)} GB (linear: "
        f"{giga(guess.temporary)}), {number(whole.operations / 1e12)} TFLOP ({number(guess.operations / 1e12)}), "
        f"{giga(whole.moved(n))} GB moved ({giga(guess.moved(n))})"
    )


_TARGETS = {
    "h100": """H100 GPUs of 80 GB, eight to a machine, by XLA's GPU compiler. That needs no GPU, but cannot time kernels to
        choose the fastest: its programs may differ a little from those of a machine that has one.""",
    "cpu": """as many virtual CPU devices. XLA's CPU compiler widens bfloat16, keeps attention's weights for a moment and does
        not make reduce-scatters of all-reduces: a GPU needs less memory and moves less.""",
}
_GROWING = (
    "**One CPU**: `nnatomy train ARCHITECTURE`, by the kernels of the numpy backend.",
    "**One GPU or TPU**: `--backend jax --device gpu`. The whole step is one XLA program; its state stays on the device.",
    "**Half precision**: `--precision bfloat16`. Products run on matrix units; weights and moments stay float32.",
    "**A batch larger than memory**: `--accumulate 4`. The same update from four parts of the batch.",
    "**All devices of a machine**: `--devices 8`. Each takes an eighth of every batch.",
    "**State larger than a device**: `--devices 8 --shard full`. Each holds an eighth of weights and moments.",
    "**Several machines**: `--hosts FILE`, a line for each, and the same command on all of them.",
)
_WHEN = (
    "As long as state and activations fit into one device, do not: `--shard data` moves gradients once, at the end.",
    f"When {STATE} bytes a parameter leave no memory for the batch: `--shard full`. State shrinks to 1/n.",
    "When it is activations that do not fit: fewer sequences at a time, by `--accumulate`; sharding does not divide them.",
    "With fewer tokens on a device than the table above needs, devices wait: give each more, or take fewer devices.",
)
