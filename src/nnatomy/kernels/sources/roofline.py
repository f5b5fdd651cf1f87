"""The machine's limits: products of a tile that stays in the nearest cache, and a sum that streams from memory."""

from __future__ import annotations

from nnatomy.kernels.microkernels import tile
from nnatomy.kernels.processor import ROWS, VECTORS
from nnatomy.kernels.vectors import LANES, f32, fma, load, share, splat, store

DEPTH = 128
A_SIZE, B_SIZE, C_SIZE = ROWS * DEPTH, VECTORS * LANES * DEPTH, ROWS * VECTORS * LANES
OPERANDS = A_SIZE + B_SIZE + C_SIZE
"""float32 numbers that each thread works on."""
FLOPS = 2 * C_SIZE * DEPTH
"""Operations of a round of `multiply` on each thread."""
_tile = tile(ROWS, VECTORS)
_PACE = VECTORS * LANES


def multiply(a, thread, threads):
    """a: operands (OPERANDS for each thread), rounds. Every round is a product of depth DEPTH on the thread's own operands."""
    at = a[0] + 4 * OPERANDS * thread
    A, B, C = f32(at), f32(at + 4 * A_SIZE), f32(at + 4 * (A_SIZE + B_SIZE))
    for _ in range(a[1]):
        _tile(DEPTH, A, B, _PACE, C, _PACE, LANES, 0)


def triad(a, thread, threads):
    """a: x, y, z, size (a multiple of LANES). x = y + 3 z."""
    x, y, z = f32(a[0]), f32(a[1]), f32(a[2])
    first, end = share(a[3], LANES, thread, threads)
    three = splat(3.0)
    for i in range(first, end, LANES):
        store(x, i, fma(three, load(z, i), load(y, i)))
