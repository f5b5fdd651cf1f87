"""Matrix products: which operands are copied into panels, and the blocks in which A and B meet in the caches."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

from nnatomy.kernels.lowering import Array, Emitter, Shape, address, lowers, steps
from nnatomy.kernels.processor import LANES, REGISTERS

ROWS, WIDTH = 6, (4 if REGISTERS == 32 else 2) * LANES
"""The kernels' tile of C."""
ACTIVATIONS = {None: 0, "relu": 0, "tanh": 1, "sigmoid": 2}
"""Those that are their own kernels: the compiler takes a second for them."""
DEPTH = 384
"""The most of K in one pass: ROWS rows of A and WIDTH columns of B of that depth."""
BLOCK = 128 * 1024
"""The most elements of a block of B or of a copy of A: half a megabyte, to stay in a second-level cache."""
PARALLEL = 2e6
"""Floating-point operations from which a second thread is worth a meeting: some 15 us."""
COPIED = 20_000
"""Elements from which copying on several threads is."""


def _outputs(args: Sequence[Any], kwargs: dict[str, Any]) -> list[tuple[Shape, Any]]:
    a, b = args
    shape = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    shape += (() if a.ndim == 1 else a.shape[-2:-1]) + (() if b.ndim == 1 else b.shape[-1:])
    return [(shape, np.result_type(a, b))]


def _work(args: Sequence[Any], kwargs: dict[str, Any]) -> float:
    return 2.0 * math.prod(_outputs(args, kwargs)[0][0]) * args[0].shape[-1]


@lowers("matmul", outputs=_outputs, work=_work)
def matmul(emitter: Emitter, outs: Sequence[Array], args: Sequence[Any], kwargs: dict[str, Any]) -> bool:
    """out = activation(a @ b + bias), or out += a @ b.

    bias: one number for each column, or None; activation: None, "relu", "tanh" or "sigmoid"; add: bool. All float32; `out` has
    step 1 in one of its last two axes.
    """
    (a, b), out = args, outs[0]
    bias, activation, add = kwargs.get("bias"), kwargs.get("activation"), bool(kwargs.get("add"))
    arrays = (a, b, out, *(() if bias is None else (bias,)))
    if not all(isinstance(x, np.ndarray) and x.dtype == np.float32 for x in arrays) or out.size == 0:
        return False
    if bias is not None and (bias.ndim != 1 or (steps(bias) != (1,) and bias.size > 1)):
        return False
    if activation not in ACTIVATIONS or (add and (bias is not None or activation is not None)):
        return False
    if b.ndim == 1:
        b, out = b[:, None], out[..., None]
    if a.ndim == 1:
        a, out = a[None], out[..., None, :] if args[1].ndim > 1 else out[None]
    lead = out.shape[:-2]
    a, b, out = _merged(np.broadcast_to(a, lead + a.shape[-2:]), np.broadcast_to(b, lead + b.shape[-2:]), out)
    down, across = steps(out)[-2:]
    M, N = out.shape[-2:]
    by_row = False
    if (across != 1 and N > 1) or (N == 1 < M and down == 1):
        if down != 1 and M > 1:
            return False
        a, b, out, by_row = b.swapaxes(-1, -2), a.swapaxes(-1, -2), out.swapaxes(-1, -2), True
    _blocks(emitter, a, b, out, bias, by_row, activation == "relu", add)
    if ACTIVATIONS[activation]:
        table = emitter.constant(_offsets(out), np.int64)
        emitter.add("products", "activate", (address(out), *out.shape[-2:], steps(out)[-2], ACTIVATIONS[activation],
                    len(table), address(table)), parallel=out.size > COPIED)  # fmt: skip
    return True


def _merged(a: Array, b: Array, out: Array) -> tuple[Array, Array, Array]:
    """Leading axes along which B is the same and A's rows continue become rows; those of size 1 go."""
    while out.ndim > 2:
        rows = out.shape[-2]
        if out.shape[-3] != 1 and (
            b.strides[-3] != 0 or a.strides[-3] != rows * a.strides[-2] or out.strides[-3] != rows * out.strides[-2]
        ):
            break
        a, out = (
            as_strided(x, (*x.shape[:-3], x.shape[-3] * rows, x.shape[-1]), x.strides[:-3] + x.strides[-2:]) for x in (a, out)
        )
        b = b[..., 0, :, :]
    return a, b, out


def _offsets(array: Array) -> Any:
    """Where each item (each index of the leading axes) starts, in elements."""
    found = np.zeros(1, np.int64)
    for size, step in zip(array.shape[:-2], steps(array)):
        found = (found[:, None] + step * np.arange(size)).reshape(-1)
    return found


def _blocks(
    emitter: Emitter, a: Array, b: Array, out: Array, bias: Array | None, by_row: bool, relu: bool, add: bool
) -> None:
    """Instructions for out (+)= a b, whose rows have step 1: for blocks of items, columns, depth and rows."""
    (M, N), K = out.shape[-2:], a.shape[-1]
    (a_row, a_k), (b_k, b_column), row_step = steps(a)[-2:], steps(b)[-2:], steps(out)[-2]
    offsets = [_offsets(x) for x in (a, b, out)]
    if a_k == 1 and b_k == 1 and not add and dots_pay(M, N):
        eight = emitter.constant(np.arange(8) * b_column, np.int64)
        table = emitter.constant(np.stack(offsets, 1), np.int64)
        emitter.add("products", "rows_of_dots", (
            address(a), address(b), address(out), M, N, K, a_row, b_column, row_step, 0 if bias is None else address(bias),
            by_row, relu, len(table) // 3, address(table), address(eight),
        ), parallel=2.0 * out.size * K > PARALLEL)  # fmt: skip
        return
    pack_a, pack_b = choose(M, N, (a_row, a_k), (b_k, b_column), address(b) % (4 * LANES) == 0)
    depth = _even(K, DEPTH, LANES) if M > ROWS else max(K, 1)
    width = _even(N, max(BLOCK // depth // WIDTH, 1) * WIDTH, WIDTH)
    height = _even(M, max(BLOCK // depth // ROWS, 1) * ROWS, ROWS) if pack_a else M
    items = len(offsets[2])
    together = items
    if pack_a or pack_b:
        together = min(items, max(1, BLOCK // max(depth * width if pack_b else 0, depth * height if pack_a else 0)))
    panels_size, rows_size = depth * _up(width, WIDTH), height * _up(depth, LANES)
    panels = emitter.scratch(together * panels_size if pack_b else 0)
    rows = emitter.scratch(together * rows_size if pack_a else 0)
    for first in range(0, items, together):
        at_a, at_b, at_out = (o[first : first + together] for o in offsets)
        n = len(at_out)
        if pack_a:
            source_a, at_a = emitter.constant(at_a), np.arange(n) * rows_size
        if pack_b:
            source_b, at_b = emitter.constant(at_b), np.arange(n) * panels_size
        table = emitter.constant(np.stack((at_a, at_b, at_out), 1), np.int64)
        for j in range(0, N, width):
            wide = min(width, N - j)
            for k in range(0, max(K, 1), depth):
                deep = min(depth, K - k)
                here_b, b_step, next_panel = address(b) + 4 * (k * b_k + j * b_column), b_k, WIDTH
                if pack_b:
                    emitter.add("products", "pack", (here_b, address(panels), deep, wide, b_k, b_column, WIDTH, n,
                                address(source_b), panels_size), parallel=n * deep * wide > COPIED)  # fmt: skip
                    here_b, b_step, next_panel = address(panels), WIDTH, deep * WIDTH
                for i in range(0, M, height):
                    tall = min(height, M - i)
                    here_a, steps_a = address(a) + 4 * (i * a_row + k * a_k), (a_row, a_k)
                    if pack_a:
                        emitter.add("products", "pack", (here_a, address(rows), tall, deep, a_row, a_k, _up(deep, LANES), n,
                                    address(source_a), rows_size), parallel=n * tall * deep > COPIED)  # fmt: skip
                        here_a, steps_a = address(rows), (_up(deep, LANES), 1)
                    last = k + depth >= K
                    here_bias = address(bias) + 4 * (i if by_row else j) if bias is not None and last else 0
                    emitter.add("products", "product", (
                        here_a, here_b, address(out) + 4 * (i * row_step + j), tall, wide, deep, *steps_a, b_step, next_panel,
                        row_step, add or k > 0, here_bias, by_row, relu and last, n, address(table),
                        _axis(n, tall, wide, emitter.threads),
                    ), parallel=2.0 * n * tall * wide * deep > PARALLEL)  # fmt: skip


def _up(count: int, grain: int) -> int:
    return -(-count // grain) * grain


def _even(count: int, most: int, grain: int) -> int:
    """A size of blocks of at most `most`, all about as large, a multiple of `grain` if there is more than one."""
    blocks = -(-count // most)
    return max(count, 1) if blocks <= 1 else _up(-(-count // blocks), grain)


def _axis(items: int, M: int, N: int, threads: int) -> int:
    """The axis of C that is split among threads: the one whose tiles divide more evenly; rows if both divide equally."""
    units = items * -(-M // ROWS), items * -(-N // WIDTH)
    filled = [u / (-(-u // threads) * threads) for u in units]
    return int(filled[1] > filled[0])


# Each choice was timed separately, by the method of benchmarks/products.py, in GF/s of one thread (AVX-512, 48 KB and 1.25 MB
# caches, other processes running):
#
#   x w.T, K x N:        32 x 32          32 x 10         128 x 128        784 x 256
#     M                 1   4   8  32    1   4   8  32    1   4   8  32    1   4   8  32
#     w packed          4  19  34  61    2   8  14  25    6  21  45  75    7  32  57 108
#     dot products     22  15  20  23   12  18  17  16   34  24  32  33   27  46  51  53
#
#   g w, M:              8  32  64 256                       x.T y, M x K x N:      in place   A packed
#     512 x 128, in place 90 140 153 158   packed 55 112 134 154     10 x 2048 x 128      69         60
#     256 x 784           96 126 135 144          52 104 123 137     128 x 512 x 128      98         87
#     1024 x 1024         58  71  61  77          47  96 106 140     512 x 512 x 128     106        114
#                                                                    256 x 64 x 784      110        132


def dots_pay(M: int, N: int) -> bool:
    """Return True if rows of A times rows of B.T are faster as they are, with vectors along K, than after a copy of B."""
    return M <= 4 or (N <= LANES and M <= 8)


def choose(M: int, N: int, a: tuple[int, int], b: tuple[int, int], aligned: bool) -> tuple[bool, bool]:
    """Decide whether to copy A into rows and B into panels first, by shapes, steps of A (row, k) and of B (k, column)."""
    # A column of A costs a cache line for each tile: a long step (many pages) or many tiles repay a copy.
    pack_a = a[1] != 1 and M > 1 and (N > 2 * WIDTH or (N > WIDTH and a[1] >= 512))
    # Rows of B with a long step fall into few sets of a cache; rows across cache lines cost 30%. Few tiles repay neither.
    pack_b = b[1] != 1 or (M > 4 * ROWS and (not aligned or b[0] % LANES != 0 or b[0] >= 1024))
    return pack_a, pack_b
