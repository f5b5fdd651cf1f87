"""The least work of a workload, the most that the machine can do, and the ratio of their times.

Counted are the products of a step, two operations for each multiply-add: forward, and the two products of backward, less the
gradient of the network's inputs, which nothing needs. Convolutions count as their definition says; Winograd's way needs
fewer, so that a fraction may exceed 100 %. Causal attention counts the half that is not masked. All other arithmetic counts as
nothing.

Bytes are a lower bound: in training, every parameter and its two Adam moments read and written once; the batch read once;
what each product gives written once and read once by backward (what follows up to the next product can be recomputed). In
inference, parameters and inputs read once, outputs written once.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

import nnatomy as nn
from nnatomy.benchmark.implementations.ours import attend
from nnatomy.benchmark.workloads import Workload

FLOAT = 4  # bytes
SIZES = tuple(2**k for k in (16, 18, 20, 22, 24))
"""Elements of each of three arrays: 0.8 to 200 MB together."""


@dataclass(frozen=True)
class Need:
    """Operations and bytes of a training step or an inference call."""

    flops: float
    bytes: float

    def seconds(self, machine: Peak) -> float:
        """The least time that this machine could take."""
        return max(self.flops / machine.flops, self.bytes / machine.bandwidth_at(self.bytes))


@dataclass(frozen=True)
class Peak:
    """Operations and bytes a second that the machine reached, at best."""

    flops: float
    bandwidths: tuple[tuple[float, float], ...]
    """(bytes in use, bytes a second), from the smallest: what fits into caches moves faster."""

    def bandwidth_at(self, used: float) -> float:
        """The rate for the largest measured size up to `used` bytes, so that the time that follows is a lower bound."""
        fitting = [rate for size, rate in self.bandwidths if size <= used]
        return fitting[-1] if fitting else self.bandwidths[0][1]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Counts:
    """Of one example: what products cost, and what they give."""

    forward: float = 0
    backward: float = 0
    activations: float = 0
    """Elements that the products give."""
    outputs: float = 0
    parameters: float = 0

    def training(self, examples: int, batch_bytes: float) -> Need:
        moved = 6 * FLOAT * self.parameters + batch_bytes + 2 * FLOAT * examples * self.activations
        return Need(examples * (self.forward + self.backward), moved)

    def inference(self, examples: int, batch_bytes: float) -> Need:
        return Need(examples * self.forward, FLOAT * (self.parameters + examples * self.outputs) + batch_bytes)


def need(workload: Workload, size: int | None = None) -> Need:
    """Of a training step, or of inference on `size` examples."""
    counts = count(workload)
    if size is None:
        x, y = workload.batches()[0]
        return counts.training(workload.size, x.nbytes + (0 if y is x else y.nbytes))
    return counts.inference(size, workload.question(size).nbytes)


def count(workload: Workload) -> Counts:
    """Run the network on one example and add up what its layers do."""
    forward = backward = activations = 0.0

    def add(operations: float, elements: float, inputs_too: bool, by_inputs: float | None = None) -> None:
        """`by_inputs`: those of the products that the gradient of the inputs mirrors; all if not given."""
        nonlocal forward, backward, activations
        forward += operations
        backward += 2 * operations
        if not inputs_too:
            backward -= operations if by_inputs is None else by_inputs
        activations += elements

    def watched_attention(q: Any, k: Any, v: Any, causal: bool) -> Any:
        y = attend(q, k, v, causal)
        T, S, width = q.shape[-2], k.shape[-2], q.shape[-1]
        pairs = math.prod(q.shape[:-2]) * (T * (T + 1) // 2 if causal else T * S)
        add(2 * 2 * pairs * width, math.prod(y.shape), True)
        return y

    model = workload.build(nn, watched_attention)
    model.eval()
    watch(model, add)
    y = model(nn.Tensor(workload.question(1)))
    return Counts(forward, backward, activations, math.prod(y.shape), model.count_parameters())


def watch(model: Any, add: Callable[..., None]) -> None:
    """From now on each layer with a product calls `add(operations, elements, inputs_too, by_inputs)` when it has run.

    Its operations, the elements that it gives, whether its inputs want a gradient, and the operations which that mirrors.
    """
    for module in model.modules():
        if operations := _OPERATIONS.get(type(module)):

            def hook(module: Any, args: Any, y: Any, operations: Any = operations) -> None:
                x, y = args[0], y[0] if isinstance(y, tuple) else y
                all_, by_inputs = operations(module, x.shape, y.shape)
                add(2 * all_, math.prod(y.shape), x.requires_grad, 2 * by_inputs)

            module.register_forward_hook(hook)


# Multiply-adds of a layer: all, and those that its gradient by the inputs mirrors


def _dense(layer: Any, x: tuple[int, ...], y: tuple[int, ...]) -> tuple[int, int]:
    n = math.prod(y) * x[-1]
    return n, n


def _convolution(layer: Any, x: tuple[int, ...], y: tuple[int, ...]) -> tuple[int, int]:
    n = math.prod(y) * math.prod(layer.weight.shape[1:])  # weight [outputs, inputs / groups, ...]
    return n, n


def _transposed(layer: Any, x: tuple[int, ...], y: tuple[int, ...]) -> tuple[int, int]:
    n = math.prod(x) * math.prod(layer.weight.shape[1:])  # weight [inputs, outputs / groups, ...]
    return n, n


def _recurrent(layer: Any, x: tuple[int, ...], y: tuple[int, ...]) -> tuple[int, int]:
    steps = math.prod(x[:-1])
    weights = dict(layer.named_parameters())
    return (
        sum(steps * w.size for name, w in weights.items() if name.startswith("weight_")),
        sum(steps * w.size for name, w in weights.items() if name.startswith("weight_ih_l0")),
    )


_OPERATIONS = {
    nn.Linear: _dense, nn.Conv2d: _convolution, nn.ConvTranspose2d: _transposed, nn.LSTM: _recurrent, nn.GRU: _recurrent,
}  # fmt: skip


# The machine


def measure(threads: int) -> Peak:
    """The best rates of a tile of registers on operands in the nearest cache, and of x = y + 3 z on arrays of several sizes."""
    from nnatomy.kernels.machine import Program, aligned, set_num_threads
    from nnatomy.kernels.sources import roofline as kernels

    set_num_threads(threads)
    rounds = 500
    operands = aligned(threads * kernels.OPERANDS, np.float32)
    tile = Program()
    tile.keep(operands)
    tile.add("roofline", "multiply", [operands.ctypes.data, rounds], parallel=True)
    arrays = [aligned(SIZES[-1], np.float32) for _ in range(3)]
    for array in arrays:
        array[:] = 1.0  # pages are given at the first touch
    bandwidths = []
    for n in SIZES:
        triad = Program()
        triad.keep(*arrays)
        triad.add("roofline", "triad", [*(a.ctypes.data for a in arrays), n], parallel=True)
        moved = 3.0 * FLOAT * n
        bandwidths.append((moved, moved / _least(triad)))
    flops: float = kernels.FLOPS * rounds * threads
    return Peak(flops / _least(tile), tuple(bandwidths))


def _least(program: Any, seconds: float = 0.4) -> float:
    """Seconds of the fastest of many runs, however long a busy machine makes them wait."""
    best, end, runs = math.inf, time.perf_counter() + seconds, 0
    while (began := time.perf_counter()) < end or runs < 30:
        program.run()
        best = min(best, time.perf_counter() - began)
        runs += 1
    return best
