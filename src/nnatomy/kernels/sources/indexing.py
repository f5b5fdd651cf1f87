"""Rows of a table by number: reading them, and adding to them."""


from __future__ import annotations

import numpy as np

from nnatomy.kernels.vectors import LANES, add, copy_memory, f32, i64, load, load_part, share, splat, store, store_part


def take_rows(a, thread, threads):
    """out[i] = table[rows[i]]; rows that the table has not are NaN.

    a: out, table, rows; how many rows the table has, step from row to row, width; how many to take.
    """
    out, rows, height, width = f32(a[0]), i64(a[2]), a[3], a[5]
    first, last = share(a[6], 8, thread, threads)
    for i in range(first, last):
        row = rows[i]
        if row < 0:
            row += height
        if 0 <= row < height:
            copy_memory(a[0] + 4 * i * width, a[1] + 4 * row * a[4], 4 * width)
        else:
            for j in range(width):
                out[i * width + j] = np.float32(np.nan)


def add_rows(a, thread, threads):
    """out = 0, then out[rows[i]] += values[i], one i after another; rows that it has not are left out.

    a: out, values, rows; how many rows out has, width, step of values from row to row; how many to add. Threads divide the rows
    of out, so that each sum is added up in the same order.
    """
    rows, height, width, step = i64(a[2]), a[3], a[4], a[5]
    first, last = share(height, 1, thread, threads)
    zero = splat(np.float32(0.0))
    out = f32(a[0])
    size = (last - first) * width
    for j in range(0, size, LANES):
        store_part(out, first * width + j, zero, min(LANES, size - j))
    for i in range(a[6]):
        row = rows[i]
        if row < 0:
            row += height
        if first <= row < last:
            y, x = f32(a[0] + 4 * row * width), f32(a[1] + 4 * i * step)
            whole = width - width % LANES
            for j in range(0, whole, LANES):
                store(y, j, add(load(y, j), load(x, j)))
            if whole < width:
                n = width - whole
                store_part(y, whole, add(load_part(y, whole, n), load_part(x, whole, n)), n)
