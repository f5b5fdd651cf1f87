"""Products of matrices, C = A B: blocks of B (and of A, where its rows are not contiguous) are copied, then register tiles.

Which operands are copied, and how a product is cut into blocks that fit the caches, is decided in lowering/products.py.
"""

from __future__ import annotations

from nnatomy.backends.fast.kernels.mathematics import vsigmoid, vtanh
from nnatomy.backends.fast.microkernels import tile
from nnatomy.backends.fast.vectors import (
    LANES,
    REGISTERS,
    f32,
    i64,
    inner,
    load,
    load_part,
    share,
    splat,
    store,
    store_part,
    transpose,
    vmax,
)

ROWS, VECTORS = (6, 4) if REGISTERS == 32 else (6, 2)
"""The tile: widths of networks are multiples of 64 more often than of 48."""
WIDTH = VECTORS * LANES
RELU, TANH, SIGMOID = 1, 2, 3


def _strip(vectors):
    """Up to ROWS rows of C, `vectors` vectors wide: one tile if all rows are there, else smaller ones."""
    six, four, two, one = (tile(rows, vectors, packed=False) for rows in (ROWS, 4, 2, 1))

    @inner
    def strip(rows, depth, A, step_i, step_k, B, step, C, row_step, columns, add):
        if rows == ROWS:
            six(depth, f32(A), step_i, step_k, f32(B), step, f32(C), row_step, columns, add)
            return
        if rows & 4:
            four(depth, f32(A), step_i, step_k, f32(B), step, f32(C), row_step, columns, add)
            A += 16 * step_i
            C += 16 * row_step
        if rows & 2:
            two(depth, f32(A), step_i, step_k, f32(B), step, f32(C), row_step, columns, add)
            A += 8 * step_i
            C += 8 * row_step
        if rows & 1:
            one(depth, f32(A), step_i, step_k, f32(B), step, f32(C), row_step, columns, add)

    return strip


_widest, _double, _single = _strip(VECTORS), _strip(2), _strip(1)


@inner
def _panel(rows, depth, A, step_i, step_k, B, step, C, row_step, columns, add):
    """Up to ROWS rows and WIDTH columns of C."""
    if columns > WIDTH - LANES:
        _widest(rows, depth, A, step_i, step_k, B, step, C, row_step, columns - (WIDTH - LANES), add)
        return
    while columns > LANES:
        _double(rows, depth, A, step_i, step_k, B, step, C, row_step, min(columns - LANES, LANES), add)
        B += 8 * LANES
        C += 8 * LANES
        columns -= 2 * LANES
    if columns > 0:
        _single(rows, depth, A, step_i, step_k, B, step, C, row_step, columns, add)


@inner
def _activate(x, activation):
    if activation == RELU:
        return vmax(x, splat(0.0))
    if activation == TANH:
        return vtanh(x)
    if activation == SIGMOID:
        return vsigmoid(x)
    return x


@inner
def finish(C, row_step, rows, columns, bias, by_row, activation):
    """Adds the bias (at address `bias`; one number for each column, or for each row; 0: none), then the activation."""
    for i in range(rows):
        y = f32(C + 4 * i * row_step)
        for j in range(0, columns, LANES):
            n = min(columns - j, LANES)
            x = load_part(y, j, n)
            if bias != 0:
                x = x + (splat(f32(bias)[i]) if by_row else load_part(f32(bias), j, n))
            store_part(y, j, _activate(x, activation), n)


def product(a, thread, threads):
    """C (+)= A B for a list of items, then bias and activation.

    a: A, B, C, M, N, K, A's steps (row, k), B's row step, from one panel of WIDTH columns to the next, C's row step, add,
    bias or 0, whether it is by row, activation, items, table of each item's offsets in A, B and C, axis to share (0: rows).
    """
    M, N, K, step_i, step_k, step, next_panel, row_step, add = a[3], a[4], a[5], a[6], a[7], a[8], a[9], a[10], a[11]
    bias, by_row, activation, items, table, axis = a[12], a[13], a[14], a[15], i64(a[16]), a[17]
    size, most = (WIDTH, N) if axis else (ROWS, M)
    units = (most + size - 1) // size
    unit, end = share(items * units, 1, thread, threads)
    while unit < end:
        item, begin = unit // units, unit % units
        stop = min(units, begin + end - unit)
        unit += stop - begin
        begin, stop = begin * size, min(stop * size, most)
        top, bottom, left, right = (0, M, begin, stop) if axis else (begin, stop, 0, N)
        A, B, C = a[0] + 4 * table[3 * item], a[1] + 4 * table[3 * item + 1], a[2] + 4 * table[3 * item + 2]
        for i in range(top, bottom, ROWS):
            rows = min(ROWS, bottom - i)
            for j in range(left, right, WIDTH):
                _panel(rows, K, A + 4 * i * step_i, step_i, step_k, B + 4 * (j // WIDTH) * next_panel, step,
                       C + 4 * (i * row_step + j), row_step, min(WIDTH, right - j), add)  # fmt: skip
            if bias != 0 or activation != 0:
                here = bias + 4 * (i if by_row else left) if bias != 0 else 0
                finish(C + 4 * (i * row_step + left), row_step, rows, right - left, here, by_row, activation)


def pack(a, thread, threads):
    """Copies matrices of any strides into panels: target[column // width, row, column % width].

    a: source, target, rows, columns, the source's steps (row, column), width (a multiple of LANES), items, table of each item's
    offset in the source, the target's size of an item.
    """
    rows, columns, step, along, width, items, table = a[2], a[3], a[4], a[5], a[6], a[7], i64(a[8])
    panels, groups = (columns + width - 1) // width, (rows + LANES - 1) // LANES
    unit, end = share(items * panels * groups, 1, thread, threads)
    while unit < end:
        item, panel, row = unit // (panels * groups), unit // groups % panels, unit % groups * LANES
        count, wide = min(LANES, rows - row), min(width, columns - panel * width)
        source = a[0] + 4 * (table[item] + row * step + panel * width * along)
        target = a[1] + 4 * (item * a[9] + (panel * rows + row) * width)
        _copy(source, step, along, target, width, count, wide)
        unit += 1


@inner
def _copy(source, step, along, target, width, rows, columns):
    """target[i, j] = source[i, j] for at most LANES rows."""
    if along == 1:
        for i in range(rows):
            x, y = f32(source + 4 * i * step), f32(target + 4 * i * width)
            whole = columns // LANES * LANES
            for j in range(0, whole, LANES):
                store(y, j, load(x, j))
            if whole < columns:
                store_part(y, whole, load_part(x, whole, columns - whole), columns - whole)
    elif step == 1:
        for j in range(0, columns, LANES):
            transpose(f32(source + 4 * j * along), along, f32(target + 4 * j), width, min(LANES, columns - j), rows)
    else:
        for i in range(rows):
            x, y = f32(source + 4 * i * step), f32(target + 4 * i * width)
            for j in range(columns):
                y[j] = x[j * along]
