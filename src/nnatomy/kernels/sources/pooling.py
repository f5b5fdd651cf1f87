"""Pooling of images that are stored as (channels, rows, columns, batch), along the batch.

Each axis has a table of windows: to place p belong the pairs starts[p] to starts[p + 1] of (place in the source,
position in the kernel), in the order of the kernel. Forward, places are outputs; backward, inputs: each is written once.

All kernels start with the same arguments:

    0-1 tables of rows, starts and pairs  2-3 of columns  4 columns of the kernel  5 channels
    6-7 rows and columns of the result  8 batch  9 result  10 source  11-13 its strides by channel, row and column
"""


from __future__ import annotations

import numpy as np

from nnatomy.kernels.vectors import (
    LANES,
    as_float,
    f32,
    i64,
    is_less,
    is_nan,
    is_same,
    load_part,
    select,
    share,
    splat,
    store_part,
)  # fmt: skip

ZERO = np.float32(0)
LOWEST = np.float32(-np.inf)


def largest(a, thread, threads):
    """Then 14 positions (int32), as the result. The largest of each window, NaN where there is one, and where it is."""
    row_starts, rows, column_starts, columns = i64(a[0]), i64(a[1]), i64(a[2]), i64(a[3])
    height, width, n = a[6], a[7], a[8]
    first, end = share(a[5] * height, 1, thread, threads)
    for item in range(first, end):
        h = item % height
        source = f32(a[10] + 4 * (item // height * a[11]))
        y, positions = f32(a[9] + 4 * item * width * n), f32(a[14] + 4 * item * width * n)
        for w in range(width):
            for b in range(0, n, LANES):
                count = min(n - b, LANES)
                best, where = splat(LOWEST), splat(ZERO)
                for i in range(row_starts[h], row_starts[h + 1]):
                    for j in range(column_starts[w], column_starts[w + 1]):
                        value = load_part(source, rows[2 * i] * a[12] + columns[2 * j] * a[13] + b, count)
                        k = splat(as_float(np.int32(rows[2 * i + 1] * a[4] + columns[2 * j + 1])))
                        more, no_number = is_less(best, value), is_nan(value)
                        where = select(more, k, select(no_number, k, where))
                        best = select(more, value, select(no_number, value, best))
                store_part(y, w * n + b, best, count)
                store_part(positions, w * n + b, where, count)


def read(a, thread, threads):
    """Then 14 positions (int32) of the windows  15-17 their strides: the value of each window at its position."""
    row_starts, rows, column_starts, columns = i64(a[0]), i64(a[1]), i64(a[2]), i64(a[3])
    height, width, n = a[6], a[7], a[8]
    first, end = share(a[5] * height, 1, thread, threads)
    for item in range(first, end):
        h = item % height
        source = f32(a[10] + 4 * (item // height * a[11]))
        y, positions = f32(a[9] + 4 * item * width * n), f32(a[14] + 4 * (item // height * a[15] + h * a[16]))
        for w in range(width):
            for b in range(0, n, LANES):
                count = min(n - b, LANES)
                chosen, value = load_part(positions, w * a[17] + b, count), splat(ZERO)
                for i in range(row_starts[h], row_starts[h + 1]):
                    for j in range(column_starts[w], column_starts[w + 1]):
                        k = splat(as_float(np.int32(rows[2 * i + 1] * a[4] + columns[2 * j + 1])))
                        here = load_part(source, rows[2 * i] * a[12] + columns[2 * j] * a[13] + b, count)
                        value = select(is_same(chosen, k), here, value)
                store_part(y, w * n + b, value, count)


def spread(a, thread, threads):
    """Then 14 positions (int32) of the windows  15-17 their strides: each input's sum over the windows that chose it."""
    row_starts, rows, column_starts, columns = i64(a[0]), i64(a[1]), i64(a[2]), i64(a[3])
    height, width, n = a[6], a[7], a[8]
    first, end = share(a[5] * height, 1, thread, threads)
    for item in range(first, end):
        h = item % height
        source, positions = f32(a[10] + 4 * (item // height * a[11])), f32(a[14] + 4 * (item // height * a[15]))
        y = f32(a[9] + 4 * item * width * n)
        for w in range(width):
            for b in range(0, n, LANES):
                count = min(n - b, LANES)
                value = splat(ZERO)
                for i in range(row_starts[h], row_starts[h + 1]):
                    for j in range(column_starts[w], column_starts[w + 1]):
                        k = splat(as_float(np.int32(rows[2 * i + 1] * a[4] + columns[2 * j + 1])))
                        at = rows[2 * i] * a[12] + columns[2 * j] * a[13] + b
                        chosen = load_part(positions, rows[2 * i] * a[16] + columns[2 * j] * a[17] + b, count)
                        value = value + select(is_same(chosen, k), load_part(source, at, count), splat(ZERO))
                store_part(y, w * n + b, value, count)


def add_windows(a, thread, threads):
    """Each place's sum over its pairs: sums of windows, and their adjoint."""
    row_starts, rows, column_starts, columns = i64(a[0]), i64(a[1]), i64(a[2]), i64(a[3])
    height, width, n = a[6], a[7], a[8]
    first, end = share(a[5] * height, 1, thread, threads)
    for item in range(first, end):
        h = item % height
        source = f32(a[10] + 4 * (item // height * a[11]))
        y = f32(a[9] + 4 * item * width * n)
        for w in range(width):
            for b in range(0, n, LANES):
                count = min(n - b, LANES)
                value = splat(ZERO)
                for i in range(row_starts[h], row_starts[h + 1]):
                    for j in range(column_starts[w], column_starts[w + 1]):
                        value = value + load_part(source, rows[2 * i] * a[12] + columns[2 * j] * a[13] + b, count)
                store_part(y, w * n + b, value, count)
