"""Our convolution kernels, forward and both gradients, next to PyTorch's: milliseconds and billions of operations a second.

    python benchmarks/convolution.py

One thread each, processor time, the least of many repeats: other processes do not count. Operations are those of the direct
algorithm, so that Winograd's may seem to do more than the processor can. Results are compared before anything is timed.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from nnatomy.kernels import machine
from nnatomy.kernels.lowering import Emitter, allocate, find
from nnatomy.kernels.machine import Program

SHAPES = [
    (64, 32, 64, 28, 3, 1, 1, 1), (64, 64, 128, 14, 3, 1, 1, 1), (32, 256, 256, 14, 3, 1, 1, 1), (64, 1, 6, 28, 5, 1, 2, 1),
    (64, 6, 16, 14, 5, 1, 0, 1), (64, 3, 16, 32, 3, 1, 1, 1), (64, 64, 128, 28, 3, 2, 1, 1), (64, 64, 256, 14, 1, 1, 0, 1),
    (32, 64, 64, 28, 3, 1, 1, 64), (1, 64, 64, 28, 3, 1, 1, 1),
]  # fmt: skip
"""Batch, channels in and out, side of the image, side of the kernel, stride, padding, groups."""


def least(work: Callable[[], Any], seconds: float = 0.5) -> float:
    """Seconds of processor time, the least of as many repeats as fit."""
    work()
    best, end = float("inf"), time.thread_time() + seconds
    while time.thread_time() < end:
        start = time.thread_time()
        work()
        best = min(best, time.thread_time() - start)
    return best


def batch_last(values: Any) -> Any:
    """The values as kernels store images: batch innermost in memory."""
    out = allocate(values.shape, np.float32, (1, 2, 3, 0))
    out[...] = values
    return out


def program(name: str, args: tuple[Any, ...], how: dict[str, Any]) -> tuple[Program, Any]:
    """A program of one call, and where its result will be."""
    lowering = find(name)
    assert lowering is not None
    ((shape, dtype),) = lowering.outputs(args, how)
    out = allocate(shape, dtype, lowering.order(args, how)[0] if lowering.order else None)
    result = Program()
    assert lowering.emit(Emitter(result, threads=1), [out], args, how)
    return result, out


def compare(n: int, channels: int, outputs: int, side: int, kernel: int, stride: int, pad: int, groups: int) -> None:
    rng = np.random.default_rng(0)
    how = {"stride": (stride, stride), "padding": ((pad, pad), (pad, pad)), "dilation": (1, 1), "groups": groups}
    x = batch_last(rng.standard_normal((n, channels, side, side)))
    w = rng.standard_normal((outputs, channels // groups, kernel, kernel)).astype(np.float32)
    forward = program("conv", (x, w), how)
    g = batch_last(rng.standard_normal(forward[1].shape))
    ours = [forward, program("conv_input", (g, w), how | {"space": (side, side)}),
            program("conv_weight", (x, g), how | {"kernel": (kernel, kernel)})]  # fmt: skip
    tx, tw, tg = (torch.tensor(np.ascontiguousarray(a)) for a in (x, w, g))

    def backward(mask: list[bool]) -> Any:
        both = [stride, stride], [pad, pad]
        return torch.ops.aten.convolution_backward(tg, tx, tw, None, *both, [1, 1], False, [0, 0], groups, mask)

    theirs: list[Callable[[], Any]] = [
        lambda: torch.nn.functional.conv2d(tx, tw, None, stride, pad, 1, groups),
        lambda: backward([True, False, False])[0],
        lambda: backward([False, True, False])[1],
    ]
    operations = 2.0 * g.size * channels // groups * kernel * kernel
    cells = []
    for (mine, out), peer in zip(ours, theirs, strict=True):
        mine.run()
        expected = peer().numpy()
        np.testing.assert_allclose(out, expected, atol=2e-5 * np.abs(expected).max())
        a, b = least(mine.run), least(peer)
        cells.append(f"{a * 1e3:8.3f} {operations / a / 1e9:4.0f} {b * 1e3:8.3f} {operations / b / 1e9:4.0f}")
    what = f"{n}x{channels}->{outputs} {side}x{side} k{kernel} s{stride}" + (f" g{groups}" if groups > 1 else "")
    print(f"{what:32}" + "  |".join(cells), flush=True)


def main() -> None:
    torch.set_num_threads(1)
    machine.set_num_threads(1)
    print(f"{'':32}" + "  |".join(f"{name:^27}" for name in ("forward", "gradient of input", "of weight")))
    print(f"{'':32}" + "  |".join(["    ours   G/s  PyTorch  G/s"] * 3))
    for shape in SHAPES:
        compare(*shape)


if __name__ == "__main__":
    main()
