"""Convolution, its adjoints and pooling: their geometry is worked out here, once for each shape."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from nnatomy.kernels.lowering import Array, Emitter, Shape, address, lowers, steps
from nnatomy.kernels.processor import LANES, ROWS
from nnatomy.kernels.shapes import conv_shape
from nnatomy.kernels.sources import convolution_tiles as tiles

ACTIVATIONS = {None: tiles.NOTHING, "relu": tiles.RELU, "tanh": tiles.TANH}
BLOCK = 160_000
"""Floats of a block of input, at most: half of a large L2 cache, next to the weights and the results."""
WINOGRAD_BLOCK = 160_000
"""Floats of the transformed inputs of a block that stays in the L2 cache."""
DEPTH = 64
"""Tiles times examples of a block of Winograd's weight gradient, at most."""
EXAMPLES = 64
"""Examples of such a block, at most."""
SUMS = 50_000_000
"""Floats of the sums that all threads have of it, at most."""
LARGEST = 1_200_000
"""Floats of the transformed inputs and products of any other, at most."""
LARGE = 250_000
"""Floats that stay in the L2 cache."""
FAST = 10_500
"""Floats that stay in the L1 cache."""


def batch_innermost(ndim: int) -> tuple[int, ...]:
    """The order in memory of images: (channels, *space, batch)."""
    return (*range(1, ndim), 0)


@dataclass(frozen=True)
class Axis:
    """One axis of space of a convolution with stride 1 among the residues of its input.

    Output q meets, by tap (position in the kernel, residue, shift), the input stride (q + shift) + residues[residue] - padding.
    It is at start + step q.
    """

    size: int
    count: int
    taps: tuple[tuple[int, int, int], ...]
    residues: tuple[int, ...]
    stride: int
    padding: int
    start: int = 0
    step: int = 1

    @property
    def reach(self) -> int:
        """The largest shift."""
        return max((shift for _, _, shift in self.taps), default=0)


def forward_axis(size: int, kernel: int, stride: int, padding: tuple[int, int], dilation: int) -> Axis:
    """An axis of `conv`."""
    (count,) = conv_shape((size,), (kernel,), (stride,), (padding,), (dilation,))
    residues = tuple(sorted({dilation * k % stride for k in range(kernel)}))
    taps = tuple((k, residues.index(dilation * k % stride), dilation * k // stride) for k in range(kernel))
    return Axis(size, count, taps, residues, stride, padding[0])


def backward_axes(size: int, out: int, kernel: int, stride: int, padding: tuple[int, int], dilation: int) -> list[Axis]:
    """An axis of `conv_input`, once for each residue r of i + padding.

    i = stride q + r - padding meets g[q - (dilation k - r) / stride] for those k for which the stride divides.
    """
    axes = []
    for r in range(stride):
        first = -((r - padding[0]) // stride)
        start = stride * first + r - padding[0]
        count = max(-((start - size) // stride), 0)
        back = [(k, (dilation * k - r) // stride) for k in range(kernel) if (dilation * k - r) % stride == 0]
        furthest = max((b for _, b in back), default=0)
        taps = tuple((k, 0, furthest - b) for k, b in back)
        if count:
            axes.append(Axis(out, count, taps, (0,), 1, furthest - first, start, stride))
    return axes


@dataclass(frozen=True)
class Blocks:
    """The blocks of a convolution, and the place of its inputs in a block."""

    rows: int
    columns: int
    in_rows: int
    in_columns: int
    residue: int
    channel: int
    flat: bool

    def floats(self, channels: int) -> int:
        return self.channel * channels


def up(count: int, size: int) -> int:
    """Return the number of pieces of this size that cover `count`."""
    return -(-count // size)


def _odd_lines(floats: int) -> int:
    """Rounded up to an odd number of vectors: steps between channels that are powers of two would share few cache sets."""
    return (up(floats, LANES) | 1) * LANES


def _block(v: Axis, h: Axis, n: int, rows: int, columns: int, flat: bool) -> Blocks:
    in_rows, in_columns = rows + v.reach, columns + h.reach
    residue = in_rows * in_columns * n
    if n % LANES == 0:
        residue = up(residue, LANES) * LANES
    return Blocks(rows, columns, in_rows, in_columns, residue, _odd_lines(residue * len(v.residues) * len(h.residues)), flat)


def _sizes(count: int) -> list[int]:
    """Sizes of blocks worth a look: those that cut an axis into equal parts."""
    return sorted({up(count, parts) for parts in range(1, count + 1)})


@lru_cache(maxsize=1024)
def cut(v: Axis, h: Axis, n: int, channels: int, depth: int, rows: int, panels: int, groups: int, threads: int) -> Blocks:
    """The blocks for which the products and copies of the busiest thread take the least time, as counted in cycles."""
    width = dict(tiles.FORWARD)[rows]
    best, least = None, math.inf
    for tall in _sizes(v.count):
        for wide in _sizes(h.count):
            for flat in (False, True) if tall > 1 else (False,):
                block = _block(v, h, n, tall, wide, flat)
                size = block.floats(channels)
                if size > BLOCK and (tall, wide) != (1, 1):
                    continue
                run = (tall - 1) * block.in_columns * n + wide * n if flat else wide * n
                count = up(up(run, LANES), width) * (1 if flat else tall)
                cost = panels * count * ((depth + 4) * rows * width / 2 + rows * width * 3) + size * 0.2 + 200
                items = groups * up(v.count, tall) * up(h.count, wide)
                cost *= max(up(items, threads), items / threads)
                if cost < least:
                    best, least = block, cost
    assert best is not None
    return best


def _offsets(v: Axis, h: Axis, blocks: Blocks, channels: int, n: int) -> list[int]:
    """The offset of each (kernel row, channel, kernel column) in a block, for the first output position."""
    return [
        c * blocks.channel + (i * len(h.residues) + j) * blocks.residue + (down * blocks.in_columns + across) * n
        for _, i, down in v.taps for c in range(channels) for _, j, across in h.taps
    ]  # fmt: skip


def _head(
    emitter: Emitter, x: Array, v: Axis, h: Axis, groups: int, blocks: Blocks, scratch: Array, each: int
) -> list[int]:
    """The arguments that describe a block; x is (channels, rows, columns, batch)."""
    residues = emitter.constant([*v.residues, *h.residues], np.int64)
    return [
        address(x), *_steps(x)[:3], x.shape[3], v.size, h.size, groups, x.shape[0] // groups, len(v.residues), len(h.residues),
        address(residues), v.stride, h.stride, v.padding, h.padding, v.count, h.count, blocks.rows, blocks.columns,
        blocks.in_rows, blocks.in_columns, blocks.residue, blocks.channel, address(scratch), each,
    ]  # fmt: skip


def _steps(x: Array) -> list[int]:
    """Strides in elements, those of axes of length 1 as in a contiguous array: NumPy leaves them undefined."""
    found = list(steps(x))
    for i in reversed(range(x.ndim)):
        if x.shape[i] == 1:
            found[i] = found[i + 1] * x.shape[i + 1] if i + 1 < x.ndim else 1
    return found


def _images(emitter: Emitter, x: Array, whole_rows: bool = False) -> Array:
    """x (batch, channels, *space) as (channels, rows, columns, batch) with examples next to each other (whole_rows: columns
    too), a view or a copy."""
    if x.ndim == 3:
        x = x[:, :, None, :]
    y = x.transpose(1, 2, 3, 0)
    if _steps(y)[3] == 1 and not (whole_rows and _steps(y)[2] != y.shape[3]):
        return y
    copy = emitter.scratch(y.size, np.float32).reshape(y.shape)
    arguments = [address(x), *_steps(x), *x.shape, address(copy)]
    emitter.add("convolution", "batch_last", arguments, parallel=x.size > 20_000)
    return copy


def _plane(pairs: Sequence[Any], alone: Any) -> tuple[Any, Any]:
    """An option for rows and columns; a signal has one row."""
    return (alone, pairs[0]) if len(pairs) == 1 else (pairs[0], pairs[1])


def _supported(*arrays: Array) -> bool:
    return all(a.dtype == np.float32 and a.ndim in (3, 4) and a.size for a in arrays)


def _products(
    emitter: Emitter, x: Array, w: Array, by: tuple[int, int, int], outputs: int, y: Array, axes: tuple[Axis, Axis],
    groups: int, bias: Array | None = None, activation: str | None = None,
) -> None:  # fmt: skip
    """y (channels, rows, columns, batch) from x; w's strides `by` group, output and input channel, then its two of space."""
    v, h = axes
    n, channels = x.shape[3], x.shape[0] // groups
    if pays_winograd(n, channels, outputs, v, h, groups) and _steps(y)[2] == n:
        _winograd(emitter, x, w, by, outputs, y, axes, bias, activation)
        return
    rows = up(outputs, up(outputs, ROWS))
    panels, depth = up(outputs, rows), channels * len(v.taps) * len(h.taps)
    blocks = cut(v, h, n, channels, depth, rows, panels, groups, emitter.threads)
    down, across = _steps(w)[2:]
    weights = [c * by[2] + i * down + j * across for i, _, _ in v.taps for c in range(channels) for j, _, _ in h.taps]
    packed = emitter.scratch(groups * panels * depth * rows)
    where = emitter.constant(weights, np.int64)
    arguments = [address(w), by[0], by[1], address(where), depth, outputs, rows, groups, address(packed)]
    emitter.add("convolution", "pack", arguments, parallel=packed.size > 20_000)
    width = dict(tiles.FORWARD)[rows]
    run = ((blocks.rows - 1) * blocks.in_columns if blocks.flat else 0) * n + blocks.columns * n
    strip = (up(run, LANES) + width) * LANES * rows
    held = _odd_lines(blocks.floats(channels) + width * LANES)
    each = held + _odd_lines(strip)
    items = groups * up(v.count, blocks.rows) * up(h.count, blocks.columns)
    parts = 1 if items >= 2 * emitter.threads else min(panels, -(-2 * emitter.threads // items))
    scratch = emitter.scratch(each * emitter.threads)
    table = emitter.constant(_offsets(v, h, blocks, channels, n), np.int64)
    meets = [v.residues[i] + down * v.stride - v.padding for _, i, down in v.taps]
    flops = 2 * depth * outputs * groups * v.count * h.count * n
    y = y[:, v.start :: v.step, h.start :: h.step]
    by_channel, by_row, by_column = (s for s in _steps(y)[:3])
    emitter.add("convolution", f"forward_{rows}", [
        *_head(emitter, x, v, h, groups, blocks, scratch, each), address(packed), depth, outputs, panels, address(table),
        address(y), by_channel, by_row, by_column, 0 if bias is None else address(bias), ACTIVATIONS[activation], blocks.flat,
        held, parts, len(meets), address(emitter.constant(meets, np.int64)),
    ], parallel=flops > 1e6)  # fmt: skip


def _three_by_three(v: Axis, h: Axis) -> bool:
    """Return True if a kernel is 3 x 3, with stride and dilation 1."""
    return all(a.stride == a.step == 1 and len(a.taps) == 3 and a.reach == 2 for a in (v, h))


def pays_winograd(n: int, channels: int, outputs: int, v: Axis, h: Axis, groups: int) -> bool:
    """Return True if Winograd's algorithm is the faster, as measured: 3 x 3, stride 1, full vectors, and enough channels."""
    return _three_by_three(v, h) and groups == 1 and n >= LANES and min(channels, outputs) >= 16 and min(v.count, h.count) >= 4


@lru_cache(maxsize=1024)
def cut_winograd(n: int, channels: int, outputs: int, count: int, threads: int) -> tuple[int, int, int]:
    """Return the tiles of a block, the rows of the products' tiles, and the panels made together, for the least time.

    Time is counted in cycles. A block in the L2 cache is read again for each panel; a larger one only once, element by
    element of the 36, but then the products of all panels are written and read."""
    best, least = (1, 4, 1), math.inf
    for some in range(1, min(up(count, threads), 64) + 1):
        for rows, width in tiles.FORWARD[3:LANES]:
            floats = 36 * up(up(some * n, LANES), width) * width * LANES
            panels = up(outputs, rows)
            small = floats * channels <= WINOGRAD_BLOCK
            if some > 1 and not small and floats * (channels + outputs) > LARGEST:
                continue
            cost = channels * panels * rows * (floats * (1 + 3 / channels) / LANES / 2 + 36 * 0.4)
            cost += 0 if small else floats * (channels + outputs) + 0.1 * cost
            cost *= up(count, some * threads)
            if cost < least:
                best, least = (some, rows, 1 if small else panels), cost
    return best


def _winograd(
    emitter: Emitter, x: Array, w: Array, by: tuple[int, int, int], outputs: int, y: Array, axes: tuple[Axis, Axis],
    bias: Array | None, activation: str | None,
) -> None:  # fmt: skip
    """Emit what `_products` computes, where `pays_winograd`."""
    v, h = axes
    n, channels, threads = x.shape[3], x.shape[0], emitter.threads
    down, across = up(v.count, 4), up(h.count, 4)
    some, rows, together = cut_winograd(n, channels, outputs, down * across, threads)
    panels, width = up(outputs, rows), dict(tiles.FORWARD)[rows]
    vectors = max(up(some * n, LANES), width)
    pitch = vectors * LANES
    element = _odd_lines(channels * pitch)
    each = _odd_lines(36 * (element + together * rows * pitch) + 37 * LANES + 16 * n)
    step_down, step_across = _steps(w)[2:]
    start = address(w)
    if v.taps[0][2]:  # the gradient of the input: from the last weight to the first
        start += 4 * 2 * (step_down + step_across)
        step_down, step_across = -step_down, -step_across
    transformed, scratch = emitter.scratch(36 * panels * rows * channels), emitter.scratch(each * threads)
    emitter.add("winograd", "weights", [
        start, by[1], by[2], step_down, step_across, outputs, channels, rows, address(transformed),
        address(emitter.scratch(27 * LANES * threads)),
    ], parallel=outputs * channels > 500)  # fmt: skip
    emitter.add("winograd", f"forward_{rows}", [
        address(x), *_steps(x)[:3], n, v.size, h.size, channels, v.padding, h.padding, v.count, h.count, down, across, some,
        vectors, pitch, element, address(transformed), outputs, panels, address(y), *_steps(y)[:3],
        0 if bias is None else address(bias), ACTIVATIONS[activation], address(scratch), each, together,
    ], parallel=True)  # fmt: skip


def _conv_outputs(args: Any, how: Any) -> list[tuple[Shape, Any]]:
    x, w = args[:2]
    space = conv_shape(x.shape[2:], w.shape[2:], how["stride"], how["padding"], how["dilation"])
    return [((x.shape[0], w.shape[0], *space), x.dtype)]


def _conv_work(args: Any, how: Any) -> float:
    ((shape, _),) = _conv_outputs(args, how)
    return 2.0 * math.prod(shape) * math.prod(args[1].shape[1:])


@lowers("conv", outputs=_conv_outputs, work=_conv_work, order=lambda args, how: [batch_innermost(args[0].ndim)])
def conv(emitter: Emitter, outs: Sequence[Array], args: Sequence[Any], how: dict[str, Any]) -> bool:
    x, w, y = args[0], args[1], outs[0]
    bias, activation = how.get("bias"), how.get("activation")
    if not _supported(x, w, y) or activation not in ACTIVATIONS:
        return False
    if bias is not None and (bias.dtype != np.float32 or _steps(bias)[-1] != 1):
        return False
    if w.ndim == 3:
        w = w[:, :, None, :]
    groups, outputs = how["groups"], w.shape[0] // how["groups"]
    image = _images(emitter, x)
    axes = _axes(forward_axis, image.shape[1:3], w.shape[2:], how)
    by = _steps(w)
    _products(emitter, image, w, (by[0] * outputs, by[0], by[1]), outputs, _view(y), axes, groups, bias, activation)
    return True


def _view(y: Array) -> Array:
    return (y[:, :, None, :] if y.ndim == 3 else y).transpose(1, 2, 3, 0)


def _axes(make: Any, space: Sequence[int], kernel: Sequence[int], how: dict[str, Any]) -> tuple[Axis, Axis]:
    strides, padding, dilation = (_plane(how["stride"], 1), _plane(how["padding"], (0, 0)), _plane(how["dilation"], 1))
    v, h = (make(*option) for option in zip(space, kernel, strides, map(tuple, padding), dilation))
    return v, h


@lowers(
    "conv_input",
    outputs=lambda args, how: [((args[0].shape[0], how["groups"] * args[1].shape[1], *how["space"]), args[0].dtype)],
    work=lambda args, how: 2.0 * args[0].size * math.prod(args[1].shape[1:]),
    order=lambda args, how: [batch_innermost(args[0].ndim)],
)
def conv_input(emitter: Emitter, outs: Sequence[Array], args: Sequence[Any], how: dict[str, Any]) -> bool:
    g, w, y = args[0], args[1], outs[0]
    if not _supported(g, w, y):
        return False
    if w.ndim == 3:
        w = w[:, :, None, :]
    groups, outputs = how["groups"], w.shape[0] // how["groups"]
    image, result = _images(emitter, g), _view(y)
    options = zip(result.shape[1:3], image.shape[1:3], w.shape[2:], _plane(how["stride"], 1), _plane(how["padding"], (0, 0)),
                  _plane(how["dilation"], 1))  # fmt: skip
    vertical, horizontal = (backward_axes(size, out, k, s, tuple(p), d) for size, out, k, s, p, d in options)
    by = _steps(w)
    for v in vertical:
        for h in horizontal:
            _products(emitter, image, w, (by[0] * outputs, by[1], by[0]), w.shape[1], result, (v, h), groups)
    return True


@lru_cache(maxsize=1024)
def cut_weight(
    v: Axis, h: Axis, n: int, channels: int, outputs: int, groups: int, threads: int
) -> tuple[Blocks, int, tuple[int, int]]:
    """The blocks, their channels and the tile for which a weight gradient takes the busiest thread the least time."""
    best, least = None, math.inf
    halves = sorted({up(channels, 1 << i) for i in range(channels.bit_length())})
    for tall, wide in itertools.product(_sizes(v.count), _sizes(h.count)):
        length = tall * up(wide * n, LANES)
        if length * LANES > 2 * FAST // 5 and (tall, wide) != (1, 1):
            continue
        block = _block(v, h, n, tall, wide, False)
        for some in halves:
            size = block.floats(some)
            if size > BLOCK and (tall, wide, some) != (1, 1, 1):
                continue
            items = groups * up(v.count, tall) * up(h.count, wide) * up(channels, some)
            rounds = max(up(items, threads), items / threads)
            depth = some * len(v.taps) * len(h.taps)
            for r, c in tiles.WEIGHT:
                count = up(outputs, r) * up(depth, c)
                strips = length * LANES * outputs * 0.1  # g is read once for a block
                held = length * LANES * (r + c * len(h.residues) / len(h.taps))  # what a tile reads should stay in the L1 cache
                slower = 1 + 0.5 * min(max(held / FAST - 1, 0), 2) + (0.8 if size + length * LANES * outputs > LARGE else 0)
                cost = count * (length * max(r * c / 2, (r + c) / 2 + 1) * slower + r * c * 3 + 10 * tall + 50)
                cost += size * 0.2 + strips + 200
                if cost * rounds < least:
                    best, least = (block, some, (r, c)), cost * rounds
    assert best is not None
    return best


def pays_winograd_weight(n: int, channels: int, outputs: int, v: Axis, h: Axis, groups: int, threads: int) -> bool:
    """Return True if Winograd's algorithm is the faster for the gradient of the weights, as measured.

    It is for 3 x 3 and stride 1, with enough channels for the work between the products, and where padding of tiles and of
    vectors of channels adds not much more than half as many values."""
    filled = math.prod(
        up(size, whole) * whole for size, whole in ((channels, LANES), (outputs, LANES), (v.count, 4), (h.count, 4))
    )
    enough = min(channels, outputs) >= 16 and channels * outputs >= 512 and n * channels * outputs >= 10_000
    fits = filled <= 1.6 * channels * outputs * v.count * h.count and threads * 36 * channels * outputs <= SUMS
    return _three_by_three(v, h) and groups == 1 and enough and fits


def _winograd_weight(emitter: Emitter, x: Array, g: Array, y: Array, axes: tuple[Axis, Axis]) -> None:
    """The gradient of the weights, from images (channels, rows, columns, batch)."""
    v, h = axes
    n, channels, outputs, threads = x.shape[3], x.shape[0], g.shape[0], emitter.threads
    down, across = up(v.count, 4), up(h.count, 4)
    chunks = up(n, EXAMPLES)
    examples = up(up(n, chunks), LANES) * LANES if chunks > 1 else n
    some = max(1, min(DEPTH // examples, up(down * across * chunks, threads), down * across))

    def cost(option: tuple[int, int]) -> int:
        rows, width = option
        return up(outputs, rows) * up(channels, width * LANES) * max(rows * width, rows + width)

    rows, width = min(tiles.WINOGRAD_WEIGHT, key=cost)
    tall, wide = up(outputs, rows) * rows, up(channels, width * LANES) * width * LANES
    pitch, steep = (_odd_lines(f) if f >= 8 * LANES else up(f, LANES) * LANES for f in (wide, tall))
    element, steeper = _odd_lines(some * examples * pitch), _odd_lines(some * examples * steep)
    each = _odd_lines(36 * (element + steeper + examples * LANES + LANES))
    scratch, products = emitter.scratch(each * threads), emitter.scratch(threads * 36 * tall * wide)
    emitter.add("winograd", f"weight_{rows}x{width}", [
        address(x), *_steps(x)[:3], v.size, h.size, address(g), *_steps(g)[:3], v.count, h.count, n, examples, channels,
        outputs, v.padding, h.padding, down * across, across, some, pitch, steep, element, steeper, address(scratch), each,
        address(products), tall, wide,
    ], parallel=True)  # fmt: skip
    emitter.add("winograd", "weight_sum", [
        address(products), threads, tall, wide, outputs, channels, address(y), address(emitter.scratch(54 * LANES * threads)),
    ], parallel=outputs * channels > 500)  # fmt: skip


@lowers(
    "conv_weight",
    outputs=lambda args, how: [((args[1].shape[1], args[0].shape[1] // how["groups"], *how["kernel"]), args[0].dtype)],
    work=lambda args, how: 2.0 * args[1].size * args[0].shape[1] // how["groups"] * math.prod(how["kernel"]),
)
def conv_weight(emitter: Emitter, outs: Sequence[Array], args: Sequence[Any], how: dict[str, Any]) -> bool:
    x, g, y = args[0], args[1], outs[0]
    if not _supported(x, g, y) or not y.flags.c_contiguous:
        return False
    image, groups = _images(emitter, x), how["groups"]
    n, channels, outputs = image.shape[3], image.shape[0] // groups, g.shape[1] // groups
    v, h = _axes(forward_axis, image.shape[1:3], _plane(how["kernel"], 1), how)
    if pays_winograd_weight(n, channels, outputs, v, h, groups, emitter.threads):
        _winograd_weight(emitter, image, _images(emitter, g), y, (v, h))
        return True
    gradient = _images(emitter, g, whole_rows=True)
    threads = emitter.threads
    blocks, some, (r, c) = cut_weight(v, h, n, channels, outputs, groups, threads)
    taps = len(v.taps) * len(h.taps)
    offsets = np.asarray(_offsets(v, h, blocks, some, n), np.int64)
    offsets = offsets.reshape(len(v.taps), some, len(h.taps)).swapaxes(0, 1).reshape(-1)  # as in y: by channel first
    offsets = np.append(offsets, np.zeros(-offsets.size % c, np.int64))
    depth = channels * taps
    by = _steps(gradient)
    rows = [min(o, outputs - 1) * by[0] for o in range(up(outputs, r) * r)]
    held = _odd_lines(blocks.floats(some) + LANES)
    each = held + _odd_lines(r * c)
    scratch = emitter.scratch(each * threads)
    parallel = threads > 1 and 2 * depth * gradient.size > 1e6
    parts = threads if parallel else 1
    partial = emitter.scratch(parts * y.size) if parts > 1 else y
    emitter.add("convolution", f"weight_{r}x{c}", [
        *_head(emitter, image, v, h, groups, blocks, scratch, each), address(gradient), by[0], by[1], outputs, depth,
        address(emitter.constant(offsets, np.int64)), address(emitter.constant(rows, np.int64)), held, address(partial), some,
        taps,
    ], parallel=parallel)  # fmt: skip
    if parts > 1:
        emitter.add("convolution", "add_up", [address(partial), parts, y.size, address(y)])
    return True


# Pooling.

Meetings = tuple[tuple[int, ...], tuple[tuple[int, int], ...]]


@lru_cache(maxsize=1024)
def meetings(
    size: int, out: int, kernel: int, stride: int, padding: tuple[int, int], dilation: int, backward: bool
) -> Meetings:
    """For each output, or backward for each input, of an axis: the (input or output, position in the kernel) that it meets."""
    found: list[list[tuple[int, int]]] = [[] for _ in range(size if backward else out)]
    for k, q in itertools.product(range(kernel), range(out)):
        i = stride * q + dilation * k - padding[0]
        if 0 <= i < size:
            found[i if backward else q].append((q, k) if backward else (i, k))
    starts = itertools.accumulate((len(f) for f in found), initial=0)
    return tuple(starts), tuple(pair for f in found for pair in f)


def _pool(
    emitter: Emitter, name: str, result: Array, source: Array, position: Array | None, how: dict[str, Any], backward: bool
) -> bool:
    written = [result] if position is None or name != "largest" else [result, position]
    if not _supported(result, source) or any(_steps(_view(a)) != _contiguous(_view(a).shape) for a in written):
        return False
    if position is not None and position.dtype != np.int32:
        return False
    y, x = _view(result), _images(emitter, source)
    one = (1,) * len(how["kernel"])
    tables = []
    columns = _plane(how["kernel"], 1)[1]
    space, out = (y.shape[1:3], x.shape[1:3]) if backward else (x.shape[1:3], y.shape[1:3])
    for option in zip(space, out, _plane(how["kernel"], 1), _plane(how["stride"], 1), _plane(how["padding"], (0, 0)),
                      _plane(how.get("dilation", one), 1)):  # fmt: skip
        size, there, k, s, p, d = option
        starts, pairs = meetings(size, there, k, s, tuple(p), d, backward)
        tables += [emitter.constant(starts, np.int64), emitter.constant(np.asarray(pairs, np.int64).reshape(-1))]
    n = y.shape[3]
    arguments = [*map(address, tables), columns, *y.shape[:3], n, address(y), address(x), *_steps(x)[:3]]
    if position is not None:
        chosen = _view(position) if name == "largest" else _images(emitter, position)
        arguments += [address(chosen), *_steps(chosen)[:3]]
    emitter.add("pooling", name, arguments, parallel=max(y.size, x.size) > 30_000)
    return True


def _contiguous(shape: Shape) -> list[int]:
    return [math.prod(shape[i + 1 :]) for i in range(len(shape))]


def _pooled(args: Any, how: Any) -> Shape:
    x = args[0]
    space = conv_shape(x.shape[2:], how["kernel"], how["stride"], how["padding"], how.get("dilation", (1,) * (x.ndim - 2)))
    return (*x.shape[:2], *space)


def _pooling_work(args: Any, how: Any) -> float:
    """The reference takes several passes for each kernel position: as long as products of some 500 operations an element."""
    return 500.0 * args[0].size


def _summing_work(args: Any, how: Any) -> float:
    return 30.0 * args[0].size


def _batch_last(count: int = 1) -> Any:
    return lambda args, how: [batch_innermost(args[0].ndim)] * count


@lowers("max_pool", outputs=lambda args, how: [(_pooled(args, how), args[0].dtype), (_pooled(args, how), np.int32)],
        work=_pooling_work, order=_batch_last(2))  # fmt: skip
def max_pool(emitter: Emitter, outs: Sequence[Array], args: Sequence[Any], how: dict[str, Any]) -> bool:
    return _pool(emitter, "largest", outs[0], args[0], outs[1], how, backward=False)


@lowers("pool_gather", outputs=lambda args, how: [(args[1].shape, args[0].dtype)], work=_pooling_work, order=_batch_last())
def pool_gather(emitter: Emitter, outs: Sequence[Array], args: Sequence[Any], how: dict[str, Any]) -> bool:
    return _pool(emitter, "read", outs[0], args[0], args[1], how, backward=False)


@lowers("pool_scatter", outputs=lambda args, how: [((*args[0].shape[:2], *how["space"]), args[0].dtype)], work=_pooling_work,
        order=_batch_last())  # fmt: skip
def pool_scatter(emitter: Emitter, outs: Sequence[Array], args: Sequence[Any], how: dict[str, Any]) -> bool:
    return _pool(emitter, "spread", outs[0], args[0], args[1], how, backward=True)


@lowers("sum_pool", outputs=lambda args, how: [(_pooled(args, how), args[0].dtype)], work=_summing_work, order=_batch_last())
def sum_pool(emitter: Emitter, outs: Sequence[Array], args: Sequence[Any], how: dict[str, Any]) -> bool:
    return _pool(emitter, "add_windows", outs[0], args[0], None, how, backward=False)


@lowers("sum_pool_input", outputs=lambda args, how: [((*args[0].shape[:2], *how["space"]), args[0].dtype)],
        work=_summing_work, order=_batch_last())  # fmt: skip
def sum_pool_input(emitter: Emitter, outs: Sequence[Array], args: Sequence[Any], how: dict[str, Any]) -> bool:
    return _pool(emitter, "add_windows", outs[0], args[0], None, how, backward=True)
