"""Running one instruction on arrays, as a plan would, and arrays in many layouts to run it on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from nnatomy.kernels import machine
from nnatomy.kernels.lowering import Emitter, allocate, find
from nnatomy.kernels.machine import Program

THREADS = (1, 2, 3)


@contextmanager
def on_threads(threads: int) -> Iterator[None]:
    """That many threads, and the former number again after it."""
    before = machine.get_num_threads()
    machine.set_num_threads(threads)
    try:
        yield
    finally:
        machine.set_num_threads(before)


def outputs(name: str, args: Sequence[Any], kwargs: dict[str, Any]) -> list[Any]:
    """New arrays for the results, in the order of axes that the lowering wishes, filled with what must not stay."""
    lowering = find(name)
    assert lowering is not None
    orders = lowering.order(args, kwargs) if lowering.order is not None else None
    outs = []
    for i, (shape, dtype) in enumerate(lowering.outputs(args, kwargs)):
        outs.append(allocate(shape, dtype, None if orders is None else orders[i]))
        outs[-1].fill(77)
    return outs


def run(name: str, args: Sequence[Any], kwargs: dict[str, Any] | None = None, outs: Any = None, threads: int = 1) -> Any:
    """The outputs of one instruction; run twice, with the same bits, unless `outs` are given; None if it is not supported."""
    kwargs = kwargs or {}
    with on_threads(threads):
        results = outputs(name, args, kwargs) if outs is None else list(outs)
        program = Program()
        lowering = find(name)
        assert lowering is not None
        if not lowering.emit(Emitter(program), results, args, kwargs):
            assert program.words == []
            return None
        program.run()
        if outs is None:
            first = [r.copy() for r in results]
            program.run()
            for a, b in zip(first, results):
                assert a.tobytes() == b.tobytes()
    return results[0] if len(results) == 1 else results


def layouts(x: Any) -> dict[str, Any]:
    """The same values in arrays of different strides."""
    if x.ndim == 0:
        return {"contiguous": np.array(x)}
    padded = np.zeros([2 * n + 3 for n in x.shape], x.dtype)[tuple(slice(1, 1 + n) for n in x.shape)]
    padded[...] = x
    strided = np.zeros([3 * n for n in x.shape], x.dtype)[tuple(slice(None, None, 3) for _ in x.shape)]
    strided[...] = x
    axes = tuple(reversed(range(x.ndim)))
    turned = np.ascontiguousarray(x.transpose(axes)).transpose(axes)
    last = np.ascontiguousarray(np.moveaxis(x, 0, -1))
    flipped = np.ascontiguousarray(np.flip(x))
    return {
        "contiguous": np.ascontiguousarray(x), "padded": padded, "strided": strided, "turned": turned,
        "first axis last": np.moveaxis(last, -1, 0), "flipped": np.flip(flipped),
    }  # fmt: skip
