"""Matrix products by our kernels next to NumPy's (OpenBLAS, one thread): GF/s of processor time, the least of many repeats.

    python benchmarks/products.py            # the products of five networks, forward and backward
    python benchmarks/products.py gpt 1024   # only those whose names contain one of the words

Results are compared before anything is timed. A product is named (M x K) (K x N); "t" marks an operand stored transposed. Ours
are instructions of one program, as in a plan; NumPy's include its call from Python, which is most of their time below 1 us.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from nnatomy.kernels import machine
from nnatomy.kernels.lowering import Emitter, allocate, find
from nnatomy.kernels.machine import Program

Case = tuple[str, int, int, int, int, bool, bool]
"""Network, items, M, K, N, whether A and whether B are stored transposed."""


def layer(name: str, batch: int, inputs: int, outputs: int) -> Iterator[Case]:
    """The three products of a linear layer: y = x w.T, dx = g w, dw = g.T x."""
    yield f"{name} y", 1, batch, inputs, outputs, False, True
    yield f"{name} dx", 1, batch, outputs, inputs, False, False
    yield f"{name} dw", 1, outputs, batch, inputs, True, False


def cases() -> Iterator[Case]:
    for batch in (1, 8, 64):
        for inputs, outputs in ((32, 32), (32, 10)):
            yield from layer(f"small{batch}", batch, inputs, outputs)
    for inputs, outputs in ((784, 256), (256, 128), (128, 10)):
        yield from layer("mlp", 64, inputs, outputs)
    for inputs, outputs in ((128, 384), (128, 128), (128, 512), (512, 128), (128, 256)):
        yield from layer("gpt", 2048, inputs, outputs)
    yield "lstm dw", 1, 128, 3200, 512, True, False
    yield "attention", 64, 128, 32, 128, False, True
    yield "attention", 64, 128, 128, 32, False, False
    yield "attention", 64, 128, 128, 32, True, False
    yield "square 1024", 1, 1024, 1024, 1024, False, False
    yield "vector", 1, 1, 1024, 1024, False, False
    yield "vector", 1, 1, 1024, 1024, False, True


def least(works: Sequence[tuple[Callable[[], Any], float]]) -> list[float]:
    """Seconds of processor time of each work, given roughly how many operations it is: the least of repeats, in alternation."""
    best = [float("inf")] * len(works)
    for _ in range(25):
        for i, (work, operations) in enumerate(works):
            loops = max(1, int(1e8 / (operations + 1e5)))
            start = time.thread_time()
            for _ in range(loops):
                work()
            best[i] = min(best[i], (time.thread_time() - start) / loops)
    return best


def stored(generator: np.random.Generator, shape: tuple[int, ...], transposed: bool) -> Any:
    array = allocate((*shape[:-2], shape[-1], shape[-2]) if transposed else shape, np.float32)
    array[...] = generator.standard_normal(array.shape)
    return array.swapaxes(-1, -2) if transposed else array


def measure(case: Case) -> tuple[float, float, float]:
    """GF/s of ours and of NumPy's, and our microseconds, less those of starting a program."""
    _, items, m, k, n, a_turned, b_turned = case
    generator = np.random.default_rng(0)
    lead = (items,) if items > 1 else ()
    a, b = stored(generator, (*lead, m, k), a_turned), stored(generator, (*lead, k, n), b_turned)
    lowering = find("matmul")
    assert lowering is not None
    (shape, dtype), *_ = lowering.outputs((a, b), {})
    out, theirs = allocate(shape, dtype), allocate(shape, dtype)
    copies = max(1, int(2e6 / (2.0 * items * m * k * n)))  # in one program, so that starting it does not count
    program = Program()
    for _ in range(copies):
        if not lowering.emit(Emitter(program), [out], (a, b), {}):
            raise SystemExit(f"No kernel for {case}.")
    program.run()
    exact = np.matmul(a.astype(np.float64), b.astype(np.float64))
    np.testing.assert_allclose(out, exact, rtol=1e-5, atol=1e-5 * np.abs(exact).max())
    operations = 2.0 * items * m * k * n
    ours, numpys = least([(program.run, operations * copies), (lambda: np.matmul(a, b, out=theirs), operations)])
    ours /= copies
    return operations / ours / 1e9, operations / numpys / 1e9, 1e6 * ours


def main(words: list[str]) -> None:
    machine.set_num_threads(1)
    print(f"{'':12} {'product':32} {'us':>9} {'GF/s':>7} {'NumPy':>7} {'ratio':>6}")
    for case in cases():
        if words and not any(word in case[0] for word in words):
            continue
        name, items, m, k, n, a_turned, b_turned = case
        ours, numpys, micro = measure(case)
        text = f"({m} x {k}){'t' * a_turned} ({k} x {n}){'t' * b_turned}" + (f" x {items}" if items > 1 else "")
        print(f"{name:12} {text:32} {micro:9.2f} {ours:7.1f} {numpys:7.1f} {ours / numpys:6.2f}", flush=True)


if __name__ == "__main__":
    with threadpool_limits(1):
        main(sys.argv[1:])
