"""The cost of our own code on arrays so small that arithmetic is free: a node, an inference call, a training step.

    python benchmarks/overhead.py

A node is one operation of a chain of 1000, forward and backward together, less the same NumPy calls without us. The network is
32-32-32-10 with ReLU. Processor time of this thread, the least of many repeats: other processes do not count.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

import nnatomy as nn

LENGTH = 1000

Chain = Callable[[Any, Any], Any]
Bare = Callable[[Any, Any], Any]

CHAINS: dict[str, tuple[Chain, Bare, Bare]] = {
    "y = x * 1.01": (lambda x, b: x * 1.01, lambda x, b: x * 1.01, lambda g, b: g * 1.01),
    "y = x + b": (lambda x, b: x + b, lambda x, b: x + b, lambda g, b: g),
    "y = -x": (lambda x, b: -x, lambda x, b: -x, lambda g, b: -g),
}
"""The operation on Tensors, on arrays, and the calls of its derivative; b takes no gradient."""


def least(work: Callable[[], Any], repeats: int = 100) -> float:
    """Seconds of processor time, the least of `repeats`."""
    best = float("inf")
    for _ in range(repeats):
        start = time.thread_time()
        work()
        best = min(best, time.thread_time() - start)
    return best


def node(name: str, elements: int) -> dict[str, float]:
    """Microseconds of one node of a chain: in all, and the NumPy calls alone."""
    ours, forward, backward = CHAINS[name]
    start, other = np.ones(elements, np.float32), np.full(elements, 1e-3, np.float32)
    seed = np.ones(elements, np.float32)
    leaf, fixed = nn.tensor(start, requires_grad=True), nn.tensor(other)

    def chain() -> None:
        leaf.grad = None
        y = leaf
        for _ in range(LENGTH):
            y = ours(y, fixed)
        y.backward(seed)

    def bare() -> None:
        y = start
        for _ in range(LENGTH):
            y = forward(y, other)
        g = seed
        for _ in range(LENGTH):
            g = backward(g, other)

    total, numpy = (1e6 * least(work) / LENGTH for work in (chain, bare))
    return {"total": total, "numpy": numpy, "node": total - numpy}


def network() -> tuple[Any, Any, Any]:
    """The network and a batch of one."""
    generator = nn.Generator(0)
    model = nn.Sequential(
        nn.Linear(32, 32, generator=generator), nn.ReLU(), nn.Linear(32, 32, generator=generator), nn.ReLU(),
        nn.Linear(32, 10, generator=generator),
    )  # fmt: skip
    return model, nn.tensor(generator.normal((1, 32))), np.array([3])


def inference() -> dict[str, float]:
    """Microseconds of a call of the network on one example: in all, and its NumPy calls alone."""
    model, x, _ = network()
    parameters = [p.data for p in model.parameters()]
    calls = 200

    def ours() -> None:
        with nn.no_grad():
            for _ in range(calls):
                model(x)

    def bare() -> None:
        w1, b1, w2, b2, w3, b3 = parameters
        raw = x.data
        for _ in range(calls):
            h = np.maximum(raw @ w1.T + b1, 0)
            h = np.maximum(h @ w2.T + b2, 0)
            h @ w3.T + b3

    total, numpy = (1e6 * least(work) / calls for work in (ours, bare))
    return {"total": total, "numpy": numpy}


def training() -> dict[str, float]:
    """Microseconds of a training step of the network on one example, and of the parts of it."""
    model, x, labels = network()
    optimizer = nn.optim.Adam(model.named_parameters(), lr=1e-3)
    calls = 20

    def forward() -> Any:
        return nn.functional.cross_entropy(model(x), labels)

    def gradients() -> None:
        for _ in range(calls):
            optimizer.zero_grad()
            forward().backward()

    def update() -> None:
        for _ in range(calls):
            optimizer.step()

    parts = {"forward": lambda: [forward() for _ in range(calls)], "forward and backward": gradients, "Adam": update}
    found = {name: 1e6 * least(work) / calls for name, work in parts.items()}
    return {**found, "total": found["forward and backward"] + found["Adam"]}


if __name__ == "__main__":
    for name in CHAINS:
        for elements in (1, 32):
            print(f"node {name:14} {elements:3} elements:", *(f"{k} {v:.2f} us" for k, v in node(name, elements).items()))
    print("inference, batch 1:", *(f"{k} {v:.1f} us" for k, v in inference().items()))
    print("training step, batch 1:", *(f"{k} {v:.1f} us" for k, v in training().items()))
