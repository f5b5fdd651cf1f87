"""Elementwise chains, sums and copies by kernels next to NumPy: nanoseconds of one processor for an element.

    python benchmarks/pointwise.py --elements 1000000

The least of many runs of each, on one thread, into arrays that exist already.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.special import erf

from nnatomy.kernels import machine
from nnatomy.kernels.lowering import Emitter, find
from nnatomy.kernels.machine import Program, aligned

ADAM = [
    ("multiply", ("in", 1), ("const", 0.9)), ("multiply", ("in", 3), ("const", 0.1)), ("add", ("tmp", 0), ("tmp", 1)),
    ("multiply", ("in", 2), ("const", 0.999)), ("square", ("in", 3)), ("multiply", ("tmp", 4), ("const", 0.001)),
    ("add", ("tmp", 3), ("tmp", 5)), ("sqrt", ("tmp", 6)), ("multiply", ("tmp", 7), ("in", 5)),
    ("add", ("tmp", 8), ("const", 1e-8)), ("multiply", ("in", 4), ("tmp", 2)), ("divide", ("tmp", 10), ("tmp", 9)),
    ("subtract", ("in", 0), ("tmp", 11)),
]  # fmt: skip


def adam(p: Any, m: Any, v: Any, g: Any, rate: Any, scale: Any) -> None:
    np.copyto(m, m * np.float32(0.9) + g * np.float32(0.1))
    np.copyto(v, v * np.float32(0.999) + np.square(g) * np.float32(0.001))
    np.copyto(p, p - np.float32(rate) * m / (np.sqrt(v) * np.float32(scale) + np.float32(1e-8)))


def least(run: Callable[[], Any], times: int = 30) -> float:
    """Seconds of processor time."""
    run()
    best = float("inf")
    for _ in range(times):
        start = time.thread_time()
        run()
        best = min(best, time.thread_time() - start)
    return best


def kernel(name: str, outs: list[Any], args: list[Any], **kwargs: Any) -> Callable[[], None]:
    """A program of this one instruction."""
    lowering, program = find(name), Program()
    assert lowering is not None
    assert lowering.emit(Emitter(program), outs, args, kwargs)
    return program.run


def chain(outs: list[Any], args: list[Any], code: list[Any], results: list[Any] | None = None) -> Callable[[], None]:
    return kernel("pointwise", outs, args, code=code, results=results or [("tmp", len(code) - 1)])


def new(values: Any) -> Any:
    """A copy that starts on a cache line."""
    array = aligned(values.size, values.dtype).reshape(values.shape)
    array[...] = values
    return array


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--elements", type=int, default=1_000_000)
    n = parser.parse_args().elements
    machine.set_num_threads(1)
    rng = np.random.default_rng(0)
    x, y, out = (new(rng.normal(size=n).astype(np.float32)) for _ in range(3))
    side = int(n**0.5)
    square, flat = x[: side * side].reshape(side, side), out[: side * side].reshape(side, side)
    row, column, truth = new(y[:side]), new(y[:side, None]), new(y > 0)
    add = [("add", ("in", 0), ("in", 1))]
    cases: list[tuple[str, Callable[[], None], Callable[[], Any]]] = [
        ("x + y", chain([out], [x, y], add), lambda: np.add(x, y, out=out)),
        ("x / y", chain([out], [x, y], [("divide", ("in", 0), ("in", 1))]), lambda: np.divide(x, y, out=out)),
        ("relu", chain([out], [x], [("relu", ("in", 0))]), lambda: np.maximum(x, 0, out=out)),
        ("x * mask", chain([out], [x, truth], [("multiply", ("in", 0), ("in", 1))]), lambda: np.multiply(x, truth, out=out)),
        ("x + row", chain([flat], [square, row], add), lambda: np.add(square, row, out=flat)),
        ("x + column", chain([flat], [square, column], add), lambda: np.add(square, column, out=flat)),
        ("x + x.T", chain([flat], [square, square.T], add), lambda: np.add(square, square.T, out=flat)),
        ("copy of x.T", kernel("copy", [flat], [square.T]), lambda: np.copyto(flat, square.T)),
        ("sum of all", kernel("sum", [out[:1].reshape(())], [x]), x.sum),
        ("sum of rows", kernel("sum", [out[:side]], [square], axis=1), lambda: square.sum(axis=1)),
        ("sum of columns", kernel("sum", [out[:side]], [square], axis=0), lambda: square.sum(axis=0)),
    ]
    functions: dict[str, Any] = {
        "exp": np.exp, "tanh": np.tanh, "log": np.log, "log1p": np.log1p, "expm1": np.expm1, "sin": np.sin, "cos": np.cos,
        "erf": erf, "sigmoid": lambda v: 1 / (1 + np.exp(-v)),
    }  # fmt: skip
    positive = new(np.abs(x) + np.float32(0.1))
    for name, f in functions.items():
        cases.append((name, chain([out], [positive], [(name, ("in", 0))]), lambda f=f: f(positive)))  # type: ignore[misc]
    state = [new(positive), new(x), new(positive), new(y)]
    rate, scale = np.array(1e-3), np.array(1.2)
    results = [("tmp", 12), ("tmp", 2), ("tmp", 6)]
    cases.append(("Adam", chain(state[:3], [*state, rate, scale], ADAM, results), lambda: adam(*state, rate, scale)))
    print(f"{'':16}{'kernel':>10}{'NumPy':>10}   ns per element, {n} elements")
    for name, ours, theirs in cases:
        print(f"{name:16}{least(ours) / n * 1e9:10.3f}{least(theirs, 10) / n * 1e9:10.3f}")


if __name__ == "__main__":
    main()
