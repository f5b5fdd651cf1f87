"""Attention by our kernels next to PyTorch's on one thread: ms of processor time forward + backward, the least of many repeats.

    python benchmarks/attention.py             # prints a table
    python benchmarks/attention.py gpt long    # only those whose names contain one of the words

Queries, keys and values are parts of one projection, as in a model. Results are compared before anything is timed. Ours are
instructions of one program, as in a plan. PyTorch has two ways on a CPU: "flash" goes by blocks, "math" keeps all weights;
its backward time is that of both less that of forward. GF/s counts the multiply-adds of pairs that see each other.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from nnatomy.kernels import machine
from nnatomy.kernels.lowering import Emitter, allocate, find
from nnatomy.kernels.machine import Program

CASES = {  # batch, heads, steps, features of a head, causal
    "gpt": (16, 4, 128, 32, True),
    "encoder": (16, 4, 128, 32, False),
    "small": (32, 2, 32, 16, True),
    "wide heads": (8, 8, 256, 64, True),
    "images": (8, 3, 197, 64, False),
    "long": (1, 4, 2048, 64, True),
}
WAYS = {"flash": SDPBackend.FLASH_ATTENTION, "math": SDPBackend.MATH}


def program(name: str, args: Sequence[Any], options: dict[str, Any]) -> tuple[Program, list[Any]]:
    """One instruction of a plan, and the place of its results."""
    lowering = find(name)
    assert lowering is not None
    assert lowering.order is not None
    orders = lowering.order(args, options)
    outs = [allocate(*kind, order) for kind, order in zip(lowering.outputs(args, options), orders)]
    made = Program()
    assert lowering.emit(Emitter(made), outs, args, options)
    return made, outs


def least(works: Sequence[Callable[[], Any]], seconds: float = 2.0) -> list[float]:
    """Milliseconds of processor time of each work, in alternation, until the time is over."""
    best, end = [float("inf")] * len(works), time.perf_counter() + seconds * len(works)
    while time.perf_counter() < end:
        for i, work in enumerate(works):
            start = time.thread_time()
            work()
            best[i] = min(best[i], time.thread_time() - start)
    return [1e3 * b for b in best]


def compare(name: str) -> None:
    batch, heads, steps, features, causal = CASES[name]
    rng = np.random.default_rng(0)
    together = rng.normal(size=(batch, steps, 3, heads, features)).astype("float32")
    g = rng.normal(size=(batch, steps, heads, features)).astype("float32").transpose(0, 2, 1, 3)
    q, k, v = (together[:, :, i].transpose(0, 2, 1, 3) for i in range(3))
    options = {"causal": causal, "scale": features**-0.5}
    forward, (y, lse) = program("attention", [q, k, v], options)
    backward, gradients = program("attention_vjp", [g, q, k, v, y, lse], options)
    leaf, twin = torch.tensor(together, requires_grad=True), torch.tensor(g)

    def theirs(way: SDPBackend) -> Any:
        with sdpa_kernel(way):
            parts = (leaf[:, :, i].transpose(1, 2) for i in range(3))
            return torch.nn.functional.scaled_dot_product_attention(*parts, is_causal=causal)

    def theirs_and_back(way: SDPBackend) -> None:
        leaf.grad = None
        theirs(way).backward(twin)

    forward.run()
    backward.run()
    for way in WAYS.values():
        theirs_and_back(way)
        np.testing.assert_allclose(y, theirs(way).detach().numpy(), atol=1e-5)
        for i, gradient in enumerate(gradients):
            np.testing.assert_allclose(gradient, leaf.grad.numpy()[:, :, i].transpose(0, 2, 1, 3), atol=3e-5)
    works: list[Callable[[], Any]] = [forward.run, backward.run]
    for way in WAYS.values():
        works += [lambda way=way: theirs(way), lambda way=way: theirs_and_back(way)]
    ours, ours_back, *others = least(works)
    pairs = batch * heads * (steps * (steps + 1) // 2 if causal else steps * steps)
    rates = (4 * pairs * features / ours / 1e6, 10 * pairs * features / ours_back / 1e6)
    row = [f"{ours:.2f} + {ours_back:.2f}", f"{rates[0]:.0f}, {rates[1]:.0f}"]
    for one, both in zip(others[::2], others[1::2]):
        row += [f"{one:.2f} + {both - one:.2f}", f"{both / (ours + ours_back):.1f}x"]
    shape = f"{batch} x {heads} x {steps} x {features}{', causal' if causal else ''}"
    print(f"| {name} ({shape}) | " + " | ".join(row) + " |", flush=True)


def main() -> None:
    machine.set_num_threads(1)
    torch.set_num_threads(1)
    words = sys.argv[1:]
    print("| attention | ours, ms | GF/s | PyTorch flash, ms | | PyTorch math, ms | |\n|---|---|---|---|---|---|---|")
    for name in CASES:
        if not words or any(word in name for word in words):
            compare(name)


if __name__ == "__main__":
    main()
