"""Softmax, its logarithm and the cross-entropy of rows, with their gradients. What is beyond a row's end counts as -inf."""


from __future__ import annotations

import math

from numba import float32, int64

from nnatomy.kernels.sources.mathematics import expm1f, logf, vexp, vlog
from nnatomy.kernels.vectors import (
    LANES,
    f32,
    fma,
    i32,
    i64,
    inner,
    is_less,
    largest,
    load,
    load_filled,
    load_part,
    select,
    share,
    splat,
    store_part,
    total,
    vmax,
)

NAN = float32(math.nan)
LOWEST = float32(-math.inf)
DEEP = float32(-87.0)


@inner
def exp_of(x):
    """e^x for x <= 0, and 0 where it would be denormal: next to a sum of at least 1 that is nothing, but it takes its time."""
    return select(is_less(x, DEEP), float32(0), vexp(vmax(x, DEEP)))


@inner
def top_of(x, at, n):
    """The largest of x[at], ..., x[at + n - 1]; NaN if one is."""
    end = at + n
    m0 = m1 = splat(LOWEST)
    while at + 2 * LANES <= end:
        m0, m1 = vmax(m0, load(x, at)), vmax(m1, load(x, at + LANES))
        at += 2 * LANES
    while at < end:
        m0 = vmax(m0, load_filled(x, at, min(end - at, LANES), LOWEST))
        at += LANES
    return largest(vmax(m0, m1))


@inner
def exponentials_of(x, at, n, top):
    """The sum of e^(x - top) over the same."""
    end = at + n
    m = splat(top)
    s0 = s1 = splat(float32(0))
    while at + 2 * LANES <= end:
        s0, s1 = s0 + exp_of(load(x, at) - m), s1 + exp_of(load(x, at + LANES) - m)
        at += 2 * LANES
    while at < end:
        s0 = s0 + exp_of(load_filled(x, at, min(end - at, LANES), LOWEST) - m)
        at += LANES
    return total(s0 + s1)


def softmax(a, thread, threads):
    """a: rows, n, x, its step, y, its step, logarithm."""
    rows, n, x, x_step, y, y_step, logarithm = a[0], a[1], f32(a[2]), a[3], f32(a[4]), a[5], a[6]
    first, end = share(rows, LANES, thread, threads)
    for row in range(first, end):
        at, to = row * x_step, row * y_step
        top = top_of(x, at, n)
        m = splat(top)
        if logarithm:
            log_total = splat(logf(exponentials_of(x, at, n, top)))
            for i in range(0, n, LANES):
                left = min(n - i, LANES)
                store_part(y, to + i, load_part(x, at + i, left) - m - log_total, left)
        else:
            s = splat(float32(0))
            for i in range(0, n, LANES):
                left = min(n - i, LANES)
                e = exp_of(load_filled(x, at + i, left, LOWEST) - m)
                s = s + e
                store_part(y, to + i, e, left)
            scale = splat(float32(1) / total(s))
            for i in range(0, n, LANES):
                left = min(n - i, LANES)
                store_part(y, to + i, load_part(y, to + i, left) * scale, left)


def softmax_vjp(a, thread, threads):
    """a: rows, n, g, its step, y, its step, dx, its step, logarithm."""
    rows, n, g_step, y_step, d_step, logarithm = a[0], a[1], a[3], a[5], a[7], a[8]
    g, y, dx = f32(a[2]), f32(a[4]), f32(a[6])
    first, end = share(rows, LANES, thread, threads)
    for row in range(first, end):
        g_at, at, to = row * g_step, row * y_step, row * d_step
        s = splat(float32(0))
        if logarithm:
            for i in range(0, n, LANES):
                s = s + load_part(g, g_at + i, min(n - i, LANES))
            s = splat(total(s))
            for i in range(0, n, LANES):
                left = min(n - i, LANES)
                store_part(dx, to + i, load_part(g, g_at + i, left) - exp_of(load_part(y, at + i, left)) * s, left)
        else:
            for i in range(0, n, LANES):
                left = min(n - i, LANES)
                s = fma(load_part(g, g_at + i, left), load_part(y, at + i, left), s)
            s = splat(total(s))
            for i in range(0, n, LANES):
                left = min(n - i, LANES)
                store_part(dx, to + i, (load_part(g, g_at + i, left) - s) * load_part(y, at + i, left), left)


@inner
def label_of(labels, at, wide):
    """The class number at a place of int64 or int32."""
    return i64(labels)[at] if wide else int64(i32(labels)[at])


def cross_entropy(a, thread, threads):
    """a: rows, classes, x, its step, labels, their step, whether they are int64, losses, lse, and space for `rows` numbers."""
    rows, n, x, x_step = a[0], a[1], f32(a[2]), a[3]
    losses, lses, tops = f32(a[7]), f32(a[8]), f32(a[9])
    first, end = share(rows, LANES, thread, threads)
    for group in range(first, end, LANES):
        count = min(end - group, LANES)
        for row in range(group, group + count):
            at = row * x_step
            top = top_of(x, at, n)
            tops[row] = top
            lses[row] = exponentials_of(x, at, n, top)
            label = label_of(a[4], row * a[5], a[6])
            losses[row] = x[at + label] - top if 0 <= label < n else NAN
        log_total = vlog(load_part(lses, group, count))
        store_part(lses, group, load_part(tops, group, count) + log_total, count)
        store_part(losses, group, log_total - load_part(losses, group, count), count)


def cross_entropy_vjp(a, thread, threads):
    """a: rows, classes, g, its step, x, its step, labels, their step, whether they are int64, lse, its step, dx, its step."""
    rows, n, g, x, x_step, lses, dx, d_step = a[0], a[1], f32(a[2]), f32(a[4]), a[5], f32(a[9]), f32(a[11]), a[12]
    first, end = share(rows, LANES, thread, threads)
    for row in range(first, end):
        at, to = row * x_step, row * d_step
        lse, scale = splat(lses[row * a[10]]), splat(g[row * a[3]])
        for i in range(0, n, LANES):
            left = min(n - i, LANES)
            store_part(dx, to + i, exp_of(load_part(x, at + i, left) - lse) * scale, left)
        label = label_of(a[6], row * a[7], a[8])
        if 0 <= label < n:
            dx[to + label] = expm1f(x[at + label] - lses[row * a[10]]) * g[row * a[3]]
