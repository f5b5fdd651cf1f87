"""Layer, RMS and batch norm with their gradients.

Rows (the last axis of layer and RMS norm) and runs (what is in one piece of a batch norm's channel) are summed by vectors in
float32, and many such sums are added in float64. Moments are taken in two passes over what is in the cache.
"""


from __future__ import annotations

import math

from numba import float32, float64

from nnatomy.kernels.vectors import (
    LANES,
    as_double,
    f32,
    fma,
    inner,
    is_less,
    load,
    load_filled,
    load_part,
    root,
    select,
    share,
    splat,
    store,
    store_part,
    total,
    vmax,
)

BLOCK = 4096
"""Elements that are summed in float32, and read again before they leave the first cache."""
ROWS = 128
"""Rows that are summed in float32, likewise."""


@inner
def sum_of(x, at, n):
    """The sum of x[at], ..., x[at + n - 1]."""
    s0 = s1 = s2 = s3 = splat(float32(0))
    end = at + n
    while at + 4 * LANES <= end:
        s0, s1 = s0 + load(x, at), s1 + load(x, at + LANES)
        s2, s3 = s2 + load(x, at + 2 * LANES), s3 + load(x, at + 3 * LANES)
        at += 4 * LANES
    while at + LANES <= end:
        s0 = s0 + load(x, at)
        at += LANES
    if at < end:
        s1 = s1 + load_part(x, at, end - at)
    return total((s0 + s1) + (s2 + s3))


@inner
def squares_of(x, at, n, center):
    """The sum of (x - center)^2 over the same."""
    c = splat(center)
    s0 = s1 = s2 = s3 = splat(float32(0))
    end = at + n
    while at + 4 * LANES <= end:
        d0, d1 = load(x, at) - c, load(x, at + LANES) - c
        d2, d3 = load(x, at + 2 * LANES) - c, load(x, at + 3 * LANES) - c
        s0, s1, s2, s3 = fma(d0, d0, s0), fma(d1, d1, s1), fma(d2, d2, s2), fma(d3, d3, s3)
        at += 4 * LANES
    while at + LANES <= end:
        d0 = load(x, at) - c
        s0 = fma(d0, d0, s0)
        at += LANES
    if at < end:
        d0 = load_filled(x, at, end - at, center) - c
        s1 = fma(d0, d0, s1)
    return total((s0 + s1) + (s2 + s3))


def layer_norm(a, thread, threads):
    """a: rows, n, x, its step, y, its step, mean, rstd, weight, bias, eps, centered (else RMS norm)."""
    rows, n, x_step, y_step = a[0], a[1], a[3], a[5]
    x, y, means, rstds, weight, bias = f32(a[2]), f32(a[4]), f32(a[6]), f32(a[7]), f32(a[8]), f32(a[9])
    eps, centered = as_double(a[10]), a[11]
    whole = n - n % LANES
    first, end = share(rows, LANES, thread, threads)
    for row in range(first, end):
        at, to = row * x_step, row * y_step
        mean = float32(0)
        if centered:
            mean = float32(sum_of(x, at, n) / float32(n))
            means[row] = mean
        rstd = float32(1.0 / math.sqrt(float64(squares_of(x, at, n, mean)) / n + eps))
        rstds[row] = rstd
        m, r = splat(mean), splat(rstd)
        for i in range(0, whole, LANES):
            store(y, to + i, fma((load(x, at + i) - m) * r, load(weight, i), load(bias, i)))
        if whole < n:
            left = n - whole
            value = (load_part(x, at + whole, left) - m) * r
            store_part(y, to + whole, fma(value, load_part(weight, whole, left), load_part(bias, whole, left)), left)


def layer_norm_vjp(a, thread, threads):
    """a: rows, n, g, its step, x, its step, dx, its step, mean, rstd, weight, centered, sums, parts.

    The rows are cut into `parts`. For each, `sums` has 4 lines of n numbers, n rounded up to whole vectors: the sums of g n
    and of g of some rows, and of all. Where it is 0, they are not wanted.
    """
    rows, n, g_step, x_step, d_step = a[0], a[1], a[3], a[5], a[7]
    g, x, dx, means, rstds, weight = f32(a[2]), f32(a[4]), f32(a[6]), f32(a[8]), f32(a[9]), f32(a[10])
    centered, parts = a[11], a[13]
    width = (n + LANES - 1) // LANES * LANES
    whole = n - n % LANES
    left = n - whole
    zero = splat(float32(0))
    for part in range(thread, parts, threads):
        sums = f32(a[12] + 16 * width * part)
        if a[12]:
            for i in range(0, 4 * width, LANES):
                store(sums, i, zero)
        first, end = share(rows, LANES, part, parts)
        for row in range(first, end):
            g_at, at, to = row * g_step, row * x_step, row * d_step
            mean = float32(0)
            if centered:
                mean = means[row]
            m, r = splat(mean), splat(rstds[row])
            # The means of h = g w and of h n.
            h0 = h1 = n0 = n1 = zero
            i = 0
            while i + 2 * LANES <= n:
                h = load(g, g_at + i) * load(weight, i)
                k = load(g, g_at + i + LANES) * load(weight, i + LANES)
                h0, h1 = h0 + h, h1 + k
                n0, n1 = fma(h, load(x, at + i) - m, n0), fma(k, load(x, at + i + LANES) - m, n1)
                i += 2 * LANES
            while i < n:
                count = min(n - i, LANES)
                h = load_part(g, g_at + i, count) * load_part(weight, i, count)
                h0 = h0 + h
                n0 = fma(h, load_part(x, at + i, count) - m, n0)
                i += LANES
            c1 = zero
            if centered:
                c1 = splat(float32(total(h0 + h1) / float32(n)))
            c2 = splat(float32(total(n0 + n1) / float32(n))) * r
            if a[12]:
                for i in range(0, whole, LANES):
                    dy, z = load(g, g_at + i), (load(x, at + i) - m) * r
                    store(dx, to + i, (fma(dy, load(weight, i), zero - c1) - z * c2) * r)
                    store(sums, i, fma(dy, z, load(sums, i)))
                    store(sums, width + i, load(sums, width + i) + dy)
                if left:
                    dy, z = load_part(g, g_at + whole, left), (load_part(x, at + whole, left) - m) * r
                    store_part(dx, to + whole, (fma(dy, load_part(weight, whole, left), zero - c1) - z * c2) * r, left)
                    store(sums, whole, fma(dy, z, load(sums, whole)))
                    store(sums, width + whole, load(sums, width + whole) + dy)
                if (row - first) % ROWS == ROWS - 1 or row == end - 1:
                    for i in range(0, 2 * width, LANES):
                        store(sums, 2 * width + i, load(sums, 2 * width + i) + load(sums, i))
                        store(sums, i, zero)
            else:
                for i in range(0, whole, LANES):
                    z = (load(x, at + i) - m) * r
                    store(dx, to + i, (fma(load(g, g_at + i), load(weight, i), zero - c1) - z * c2) * r)
                if left:
                    z = (load_part(x, at + whole, left) - m) * r
                    h = load_part(g, g_at + whole, left) * load_part(weight, whole, left)
                    store_part(dx, to + whole, (h - c1 - z * c2) * r, left)


def add_parts(a, thread, threads):
    """a: n, sums, parts, dweight, dbias (or 0). Adds what `layer_norm_vjp` left of each part of the rows, in their order."""
    n, parts = a[0], a[2]
    width = (n + LANES - 1) // LANES * LANES
    for line in range(2):
        if a[3 + line]:
            out = f32(a[3 + line])
            for i in range(0, n, LANES):
                s = splat(float32(0))
                for part in range(parts):
                    s = s + load(f32(a[1] + 16 * width * part), (2 + line) * width + i)
                store_part(out, i, s, min(n - i, LANES))


# Batch norm where a channel's values are in runs: `outer` of them, each of `run` numbers.


def batch_norm(a, thread, threads):
    """a: channels, outer, run, x, its step of a channel and of a run, y, its steps, mean, variance, weight, bias, eps, relu."""
    channels, outer, run, x_channel, x_outer, y_channel, y_outer = a[0], a[1], a[2], a[4], a[5], a[7], a[8]
    x, y, means, variances, weight, bias = f32(a[3]), f32(a[6]), f32(a[9]), f32(a[10]), f32(a[11]), f32(a[12])
    eps = as_double(a[13])
    floor = splat(float32(0) if a[14] else float32(-math.inf))
    first, end = share(channels, 1, thread, threads)
    for channel in range(first, end):
        # Each block's own moments, joined to those so far (Chan et al. 1979).
        seen, whole_sum, spread = 0, 0.0, 0.0
        for o in range(outer):
            for start in range(0, run, BLOCK):
                at, count = channel * x_channel + o * x_outer + start, min(run - start, BLOCK)
                s = sum_of(x, at, count)
                own = float32(s / float32(count))
                spread += squares_of(x, at, count, own)
                if seen > 0:
                    apart = float64(own) - whole_sum / seen
                    spread += apart * apart * count * seen / (seen + count)
                seen += count
                whole_sum += s
        mean = whole_sum / seen
        means[channel], variances[channel] = float32(mean), float32(spread / seen)
        m, b = splat(float32(mean)), splat(bias[channel])
        scale = splat(float32(weight[channel] / math.sqrt(spread / seen + eps)))
        for back in range(outer):  # backwards: what was read last is nearest
            o = outer - 1 - back
            at, to = channel * x_channel + o * x_outer, channel * y_channel + o * y_outer
            whole = run - run % LANES
            if whole < run:
                value = fma(load_part(x, at + whole, run - whole) - m, scale, b)
                store_part(y, to + whole, vmax(value, floor), run - whole)
            i = whole - LANES
            while i >= 0:
                store(y, to + i, vmax(fma(load(x, at + i) - m, scale, b), floor))
                i -= LANES


@inner
def live(g, y):
    """The gradient before a relu of result y."""
    return select(is_less(float32(0), y), g, float32(0))


def batch_norm_vjp(a, thread, threads):
    """a: channels, outer, run, g, its step of a channel and of a run, x, its steps, dx, its steps, y (or 0), its steps,
    mean, variance, weight, dweight, dbias, eps. With y, g counts where y > 0."""
    channels, outer, run = a[0], a[1], a[2]
    g, x, dx, masked = f32(a[3]), f32(a[6]), f32(a[9]), a[12] != 0
    y = f32(a[12] if masked else a[3])
    y_channel, y_outer = (a[13], a[14]) if masked else (a[4], a[5])
    means, variances, weight, dw, db = f32(a[15]), f32(a[16]), f32(a[17]), f32(a[18]), f32(a[19])
    eps = as_double(a[20])
    zero = splat(float32(0))
    first, end = share(channels, 1, thread, threads)
    for channel in range(first, end):
        m = splat(means[channel])
        sum_g, sum_gx = 0.0, 0.0
        for o in range(outer):
            g_run, x_run, y_run = channel * a[4] + o * a[5], channel * a[7] + o * a[8], channel * y_channel + o * y_outer
            for start in range(0, run, BLOCK):
                stop = min(run, start + BLOCK)
                s0 = s1 = p0 = p1 = zero
                i = start
                if masked:
                    while i + 2 * LANES <= stop:
                        g0 = live(load(g, g_run + i), load(y, y_run + i))
                        g1 = live(load(g, g_run + i + LANES), load(y, y_run + i + LANES))
                        s0, s1 = s0 + g0, s1 + g1
                        p0 = fma(g0, load(x, x_run + i) - m, p0)
                        p1 = fma(g1, load(x, x_run + i + LANES) - m, p1)
                        i += 2 * LANES
                else:
                    while i + 2 * LANES <= stop:
                        g0, g1 = load(g, g_run + i), load(g, g_run + i + LANES)
                        s0, s1 = s0 + g0, s1 + g1
                        p0 = fma(g0, load(x, x_run + i) - m, p0)
                        p1 = fma(g1, load(x, x_run + i + LANES) - m, p1)
                        i += 2 * LANES
                while i < stop:
                    count = min(stop - i, LANES)
                    g0 = load_part(g, g_run + i, count)
                    if masked:
                        g0 = live(g0, load_part(y, y_run + i, count))
                    s0 = s0 + g0
                    p0 = fma(g0, load_filled(x, x_run + i, count, means[channel]) - m, p0)
                    i += LANES
                sum_g += total(s0 + s1)
                sum_gx += total(p0 + p1)
        rstd = 1.0 / math.sqrt(float64(variances[channel]) + eps)
        dw[channel], db[channel] = float32(sum_gx * rstd), float32(sum_g)
        scale = splat(float32(weight[channel] * rstd))
        c1 = splat(float32(sum_g / (outer * run)))
        c2 = splat(float32(-weight[channel] * rstd * rstd * rstd * sum_gx / (outer * run)))
        for back in range(outer):
            o = outer - 1 - back
            g_run, x_run, y_run = channel * a[4] + o * a[5], channel * a[7] + o * a[8], channel * y_channel + o * y_outer
            to = channel * a[10] + o * a[11]
            whole = run - run % LANES
            if whole < run:
                count = run - whole
                g0 = load_part(g, g_run + whole, count)
                if masked:
                    g0 = live(g0, load_part(y, y_run + whole, count))
                store_part(dx, to + whole, fma(g0 - c1, scale, (load_part(x, x_run + whole, count) - m) * c2), count)
            i = whole - LANES
            if masked:
                while i >= 0:
                    g0 = live(load(g, g_run + i), load(y, y_run + i))
                    store(dx, to + i, fma(g0 - c1, scale, (load(x, x_run + i) - m) * c2))
                    i -= LANES
            else:
                while i >= 0:
                    store(dx, to + i, fma(load(g, g_run + i) - c1, scale, (load(x, x_run + i) - m) * c2))
                    i -= LANES


# Batch norm where the channels of a row are side by side: each lane has a channel, whose values have the stride `step`.


def batch_norm_columns(a, thread, threads):
    """a: rows, channels, x, its step, y, its step, mean, variance, weight, bias, eps, relu."""
    rows, channels, x_step, y_step = a[0], a[1], a[3], a[5]
    x, y, means, variances, weight, bias = f32(a[2]), f32(a[4]), f32(a[6]), f32(a[7]), f32(a[8]), f32(a[9])
    eps = splat(float32(as_double(a[10])))
    zero = splat(float32(0))
    floor = splat(float32(0) if a[11] else float32(-math.inf))
    first, end = share(channels, LANES, thread, threads)
    for channel in range(first, end, LANES):
        width = min(end - channel, LANES)
        whole_sum = spread = zero
        for start in range(0, rows, ROWS):
            stop = min(rows, start + ROWS)
            count = float32(stop - start)
            s0 = s1 = zero
            row = start
            while row + 2 <= stop:
                s0 = s0 + load_part(x, row * x_step + channel, width)
                s1 = s1 + load_part(x, (row + 1) * x_step + channel, width)
                row += 2
            if row < stop:
                s0 = s0 + load_part(x, row * x_step + channel, width)
            own = (s0 + s1) * splat(float32(1) / count)
            s0 = s1 = zero
            row = start
            while row + 2 <= stop:
                d0 = load_part(x, row * x_step + channel, width) - own
                d1 = load_part(x, (row + 1) * x_step + channel, width) - own
                s0, s1 = fma(d0, d0, s0), fma(d1, d1, s1)
                row += 2
            if row < stop:
                d0 = load_part(x, row * x_step + channel, width) - own
                s0 = fma(d0, d0, s0)
            spread = spread + (s0 + s1)
            if start > 0:
                apart = own - whole_sum * splat(float32(1.0 / start))
                spread = spread + apart * apart * splat(float32(count * start / stop))
            whole_sum = whole_sum + own * splat(count)
        mean = whole_sum * splat(float32(1) / float32(rows))
        variance = spread * splat(float32(1) / float32(rows))
        store_part(means, channel, mean, width)
        store_part(variances, channel, variance, width)
        scale = load_part(weight, channel, width) / root(variance + eps)
        b = load_part(bias, channel, width)
        for row in range(rows):
            value = fma(load_part(x, row * x_step + channel, width) - mean, scale, b)
            store_part(y, row * y_step + channel, vmax(value, floor), width)


def batch_norm_columns_vjp(a, thread, threads):
    """a: rows, channels, g, its step, x, its step, dx, its step, y (or 0), its step, mean, variance, weight, dweight, dbias,
    eps. With y, g counts where y > 0."""
    rows, channels, g_step, x_step, d_step, masked = a[0], a[1], a[3], a[5], a[7], a[8] != 0
    g, x, dx, y = f32(a[2]), f32(a[4]), f32(a[6]), f32(a[8] if masked else a[2])
    means, variances, weight, dw, db = f32(a[10]), f32(a[11]), f32(a[12]), f32(a[13]), f32(a[14])
    eps = splat(float32(as_double(a[15])))
    zero = splat(float32(0))
    first, end = share(channels, LANES, thread, threads)
    for channel in range(first, end, LANES):
        width = min(end - channel, LANES)
        mean = load_part(means, channel, width)
        sum_g = sum_gx = zero
        for start in range(0, rows, ROWS):
            s = p = zero
            for row in range(start, min(rows, start + ROWS)):
                g0 = load_part(g, row * g_step + channel, width)
                if masked:
                    g0 = live(g0, load_part(y, row * a[9] + channel, width))
                s = s + g0
                p = fma(g0, load_part(x, row * x_step + channel, width) - mean, p)
            sum_g, sum_gx = sum_g + s, sum_gx + p
        rstd = splat(float32(1)) / root(load_part(variances, channel, width) + eps)
        store_part(dw, channel, sum_gx * rstd, width)
        store_part(db, channel, sum_g, width)
        scale = load_part(weight, channel, width) * rstd
        c1 = sum_g * splat(float32(1) / float32(rows))
        c2 = zero - scale * rstd * rstd * sum_gx * splat(float32(1) / float32(rows))
        for row in range(rows):
            g0 = load_part(g, row * g_step + channel, width)
            if masked:
                g0 = live(g0, load_part(y, row * a[9] + channel, width))
            value = fma(g0 - c1, scale, (load_part(x, row * x_step + channel, width) - mean) * c2)
            store_part(dx, row * d_step + channel, value, width)
