"""Sums and extreme values along axes: of rows, whose elements are next to each other, and of columns."""


from __future__ import annotations

import numpy as np

from nnatomy.kernels.vectors import (
    LANES,
    add,
    f32,
    inner,
    largest,
    load,
    load_filled,
    share,
    smallest,
    splat,
    store,
    store_part,
    total,
    vmax,
    vmin,
)  # fmt: skip

CHUNK = 64 * LANES  # elements summed in float32 before they are added to a float64
HEIGHT = 64  # rows that are summed before they are added to what came before: fewer roundings


@inner
def _sum(x, y):
    return x + y


@inner
def _larger(x, y):
    return x if x > y or x != x else y


@inner
def _smaller(x, y):
    return x if x < y or x != x else y


def _rows(combine, combine_numbers, across, neutral):
    @inner
    def row(x, count):
        """One run of elements, as float64."""
        result = np.float64(neutral)
        fill = np.float32(neutral)
        for start in range(0, count, CHUNK):
            n = min(CHUNK, count - start)
            p, q, r, s = splat(fill), splat(fill), splat(fill), splat(fill)
            whole = n - n % (4 * LANES)
            for i in range(start, start + whole, 4 * LANES):
                p = combine(p, load(x, i))
                q = combine(q, load(x, i + LANES))
                r = combine(r, load(x, i + 2 * LANES))
                s = combine(s, load(x, i + 3 * LANES))
            for i in range(start + whole, start + n, LANES):
                p = combine(p, load_filled(x, i, min(LANES, start + n - i), fill))
            result = combine_numbers(result, np.float64(across(combine(combine(p, q), combine(r, s)))))
        return result

    def kernel(a, thread, threads):
        """out[k, j] over i and a run, for k, j in kept axes.

        a: out, x; lengths of k, j, i and the run; steps of out along k and j, of x along k, j and i; parts; which of i (0) and
        the run (1) they divide; step of out from part to part.
        """
        out, keep, keep2, outer, run = f32(a[0]), a[2], a[3], a[4], a[5]
        parts = a[11]
        first, last = share(keep * keep2 * parts, 1, thread, threads)
        for task in range(first, last):
            part = task % parts
            k = task // parts
            j = k % keep2
            k = k // keep2
            first_i, last_i, first_x, last_x = 0, outer, 0, run
            if a[12] == 0:
                first_i, last_i = share(outer, 1, part, parts)
            else:
                first_x, last_x = share(run, 4 * LANES, part, parts)
            result = np.float64(neutral)
            for i in range(first_i, last_i):
                x = f32(a[1] + 4 * (k * a[8] + j * a[9] + i * a[10] + first_x))
                result = combine_numbers(result, row(x, last_x - first_x))
            out[k * a[6] + j * a[7] + part * a[13]] = np.float32(result)

    return kernel


def _columns(combine, neutral):
    def kernel(a, thread, threads):
        """out[k, j] over i, where the elements of a row j are next to each other.

        a: out, x; lengths of k, i and j; steps of out along k, of x along k and i; parts of i; step of out from part to part.
        """
        keep, rows, columns, parts = a[2], a[3], a[4], a[8]
        fill = np.float32(neutral)
        panel = 4 * LANES
        panels = (columns + panel - 1) // panel
        first, last = share(keep * parts * panels, 1, thread, threads)
        for task in range(first, last):
            at = task % panels * panel
            rest = task // panels
            part = rest % parts
            k = rest // parts
            first_i, last_i = share(rows, 1, part, parts)
            out, x = f32(a[0] + 4 * (k * a[5] + part * a[9] + at)), f32(a[1] + 4 * (k * a[6] + at))
            width = min(panel, columns - at)
            for start in range(first_i, max(last_i, first_i + 1), HEIGHT):
                end = min(last_i, start + HEIGHT)
                if width == panel:
                    p, q, r, s = splat(fill), splat(fill), splat(fill), splat(fill)
                    for i in range(start, end):
                        p = combine(p, load(x, i * a[7]))
                        q = combine(q, load(x, i * a[7] + LANES))
                        r = combine(r, load(x, i * a[7] + 2 * LANES))
                        s = combine(s, load(x, i * a[7] + 3 * LANES))
                    if start > first_i:
                        p, q = combine(load(out, 0), p), combine(load(out, LANES), q)
                        r, s = combine(load(out, 2 * LANES), r), combine(load(out, 3 * LANES), s)
                    store(out, 0, p)
                    store(out, LANES, q)
                    store(out, 2 * LANES, r)
                    store(out, 3 * LANES, s)
                else:
                    for c in range(0, width, LANES):
                        n = min(LANES, width - c)
                        p = splat(fill)
                        for i in range(start, end):
                            p = combine(p, load_filled(x, i * a[7] + c, n, fill))
                        if start > first_i:
                            p = combine(load_filled(out, c, n, fill), p)
                        store_part(out, c, p, n)

    return kernel


sum_rows = _rows(add, _sum, total, 0.0)
max_rows = _rows(vmax, _larger, largest, -np.inf)
min_rows = _rows(vmin, _smaller, smallest, np.inf)
sum_columns = _columns(add, 0.0)
max_columns = _columns(vmax, -np.inf)
min_columns = _columns(vmin, np.inf)
