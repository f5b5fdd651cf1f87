"""Products of matrices, C = A B: blocks of B (and of A, where its rows are not contiguous) are copied, then register tiles.

Which operands are copied, and how a product is cut into blocks that fit the caches, is decided in lowering/products.py.
"""

from __future__ import annotations

from nnatomy.kernels.microkernels import dots, tile
from nnatomy.kernels.sources.mathematics import vsigmoid, vtanh
from nnatomy.kernels.vectors import (
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
BAND = 2 * ROWS
"""Rows that go through the panels of B together: tiles of BAND rows fill the registers where C is narrow."""
TANH, SIGMOID = 1, 2


_wide_most, _wide_4, _wide_1 = (tile(rows, VECTORS, packed=False) for rows in (ROWS, 4, 1))
_double_most, _double_4, _double_1 = (tile(rows, 2, packed=False) for rows in (BAND if VECTORS > 2 else ROWS, 4, 1))
_single_most, _single_4, _single_1 = (tile(rows, 1, packed=False) for rows in (BAND, 4, 1))


@inner
def _panel(rows, depth, A, step_i, step_k, B, step, C, row_step, columns, add):
    """Up to BAND rows and WIDTH columns of C, in tiles as large as the registers hold, of 4 rows, and of one."""
    while columns > 0:
        vectors = VECTORS if columns > WIDTH - LANES else 2 if columns > LANES else 1
        last = min(columns - (vectors - 1) * LANES, LANES)
        tall = ROWS if vectors == VECTORS else BAND
        left, x, y = rows, A, C
        while left > 0:
            # 8 rows are better 4 and 4 than 6, 1 and 1.
            done = tall if left >= tall and (left != 8 or tall > 8) else 4 if left >= 4 else 1
            a, b, c = f32(x), f32(B), f32(y)
            if vectors == VECTORS:
                if done == tall:
                    _wide_most(depth, a, step_i, step_k, b, step, c, row_step, last, add)
                elif done == 4:
                    _wide_4(depth, a, step_i, step_k, b, step, c, row_step, last, add)
                else:
                    _wide_1(depth, a, step_i, step_k, b, step, c, row_step, last, add)
            elif vectors == 2:
                if done == tall:
                    _double_most(depth, a, step_i, step_k, b, step, c, row_step, last, add)
                elif done == 4:
                    _double_4(depth, a, step_i, step_k, b, step, c, row_step, last, add)
                else:
                    _double_1(depth, a, step_i, step_k, b, step, c, row_step, last, add)
            elif done == tall:
                _single_most(depth, a, step_i, step_k, b, step, c, row_step, last, add)
            elif done == 4:
                _single_4(depth, a, step_i, step_k, b, step, c, row_step, last, add)
            else:
                _single_1(depth, a, step_i, step_k, b, step, c, row_step, last, add)
            x += 4 * done * step_i
            y += 4 * done * row_step
            left -= done
        B += 4 * vectors * LANES
        C += 4 * vectors * LANES
        columns -= vectors * LANES


@inner
def _finish(C, row_step, rows, columns, bias, by_row, relu):
    """Add the bias (at address `bias`: one number for each column, or for each row; 0: none), then relu."""
    for i in range(rows):
        y = f32(C + 4 * i * row_step)
        for j in range(0, columns, LANES):
            n = min(columns - j, LANES)
            x = load_part(y, j, n)
            if bias != 0:
                x = x + (splat(f32(bias)[i]) if by_row else load_part(f32(bias), j, n))
            store_part(y, j, vmax(x, splat(0.0)) if relu else x, n)


def product(a, thread, threads):
    """C (+)= A B for a list of items, then bias and relu.

    a: A, B, C, M, N, K, A's steps (row, k), B's row step, from one panel of WIDTH columns to the next, C's row step, add,
    bias or 0, whether it is by row, relu, items, table of each item's offsets in A, B and C, axis to split (0: rows).
    """
    M, N, K, step_i, step_k, step, next_panel, row_step, add = a[3], a[4], a[5], a[6], a[7], a[8], a[9], a[10], a[11]
    bias, by_row, relu, items, table, axis = a[12], a[13], a[14], a[15], i64(a[16]), a[17]
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
        for i in range(top, bottom, BAND):
            rows = min(BAND, bottom - i)
            for j in range(left, right, WIDTH):
                _panel(rows, K, A + 4 * i * step_i, step_i, step_k, B + 4 * (j // WIDTH) * next_panel, step,
                       C + 4 * (i * row_step + j), row_step, min(WIDTH, right - j), add)  # fmt: skip
            if bias != 0 or relu != 0:
                here = bias + 4 * (i if by_row else left) if bias != 0 else 0
                _finish(C + 4 * (i * row_step + left), row_step, rows, right - left, here, by_row, relu)


def pack(a, thread, threads):
    """Copy matrices of any strides into panels: target[column // width, row, column % width].

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


_eight, _alone = dots(1, 8), dots(1, 1)


def rows_of_dots(a, thread, threads):
    """C = A B for a list of items, where the rows of A and the columns of B have step 1; then bias and relu.

    a: A, B, C, M, N, K, A's row step, B's column step, C's row step, bias or 0, whether it is by row, relu, items, table of
    each item's offsets in A, B and C, a table of 8 multiples of B's column step. The columns are split among threads.
    """
    M, N, K, step_i, step_j, row_step, bias, by_row = a[3], a[4], a[5], a[6], a[7], a[8], a[9], a[10]
    table, eight = i64(a[13]), i64(a[14])
    left, right = share(N, LANES, thread, threads)
    for item in range(a[12]):
        A, B, C = a[0] + 4 * table[3 * item], a[1] + 4 * table[3 * item + 1], a[2] + 4 * table[3 * item + 2]
        for i in range(M):
            x, y = f32(A + 4 * i * step_i), C + 4 * i * row_step
            j = left
            while j + 8 <= right:
                _eight(1, K, x, eight, 0, f32(B + 4 * j * step_j), eight, 0, f32(y + 4 * j))
                j += 8
            while j < right:
                _alone(1, K, x, eight, 0, f32(B + 4 * j * step_j), eight, 0, f32(y + 4 * j))
                j += 1
        if (bias != 0 or a[11] != 0) and left < right:
            here = bias + 4 * (0 if by_row else left) if bias != 0 else 0
            _finish(C + 4 * left, row_step, M, right - left, here, by_row, a[11])


def activate(a, thread, threads):
    """C = tanh(C) or sigmoid(C).

    a: C, rows, columns, row step, TANH or SIGMOID, items, table of each item's offset.
    """
    rows, columns, table = a[1], a[2], i64(a[6])
    row, end = share(a[5] * rows, 1, thread, threads)
    while row < end:
        y = f32(a[0] + 4 * (table[row // rows] + row % rows * a[3]))
        for j in range(0, columns, LANES):
            n = min(columns - j, LANES)
            x = load_part(y, j, n)
            store_part(y, j, vtanh(x) if a[4] == TANH else vsigmoid(x), n)
        row += 1
