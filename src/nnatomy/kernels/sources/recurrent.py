"""Recurrent layers: all steps of a sequence in one kernel. Each thread runs its examples through all steps without meeting.

W_hh is copied beforehand into panels, whose rows of B the micro-kernel reads one after another: forwards panel p has for each
k the weights from h[k] to the gates of LANES units, gate by gate, so that a unit's gates are side by side after their
product; backwards it is W_hh itself, WIDTH columns at a time. The gradient of W_hh is one product after the scan.

The weights' gradients need what a state was before a step; the backward kernels write it out in the order of the steps, so that
the product may take all steps as rows of a matrix.

Arrays (batch, steps, ...) have step 1 along their last axis; the kernels' arguments give for each its address and its steps by
example and by time. Running from the end is a negative step. Scratch is one block of `stride` floats for each thread.
"""

from __future__ import annotations

from nnatomy.kernels.microkernels import tile
from nnatomy.kernels.sources.mathematics import vsigmoid, vtanh
from nnatomy.kernels.vectors import (
    LANES,
    REGISTERS,
    add,
    f32,
    fma,
    inner,
    is_less,
    load,
    load_part,
    multiply,
    prefetch,
    select,
    share,
    splat,
    store,
    store_part,
    subtract,
    transpose,
    vmax,
)

VECTORS = 4 if REGISTERS == 32 else 2
WIDTH = VECTORS * LANES
"""Columns of a panel of W_hh for the way back, and of the plain layer's for the way forward."""
DEPTH = 64
"""Rows of such a panel that are read for all examples before the next: they stay in the first cache."""
COLUMNS = 512
"""Columns of the gates' gradients that are copied at a time for the gradient of W_hh: with DEPTH, half of a second cache."""
RELU = 1


def _strip(vectors):
    """C (+)= A B for any number of rows, `vectors` vectors wide: first the largest tiles that fit the registers."""
    most = min((REGISTERS - 1 - vectors) // vectors, 8) // 2 * 2
    largest, four, two, one = (tile(rows, vectors, packed=False) for rows in (most, min(most, 4), 2, 1))

    @inner
    def strip(rows, depth, A, step_i, step_k, B, C, row_step, more):
        step = vectors * LANES
        while rows >= most:
            largest(depth, f32(A), step_i, step_k, f32(B), step, f32(C), row_step, LANES, more)
            A, C, rows = A + 4 * most * step_i, C + 4 * most * row_step, rows - most
        if rows & 4:
            four(depth, f32(A), step_i, step_k, f32(B), step, f32(C), row_step, LANES, more)
            A, C = A + 16 * step_i, C + 16 * row_step
        if rows & 2:
            two(depth, f32(A), step_i, step_k, f32(B), step, f32(C), row_step, LANES, more)
            A, C = A + 8 * step_i, C + 8 * row_step
        if rows & 1:
            one(depth, f32(A), step_i, step_k, f32(B), step, f32(C), row_step, LANES, more)

    return strip


_four_gates, _three_gates, _panel = _strip(4), _strip(3), _strip(VECTORS)


@inner
def _slope(y):
    """The derivative of the sigmoid, from its value."""
    return multiply(y, subtract(1.0, y))


@inner
def _tanh_slope(y):
    """The derivative of tanh, from its value."""
    return fma(multiply(y, -1.0), y, 1.0)


@inner
def _prefetch(p, offset, count, step):
    """Prefetch memory: where the batch is the first axis, the gates of one example are far from those of the next."""
    for k in range(count):
        prefetch(p, offset + k * step)


@inner
def _up(count):
    return (count + LANES - 1) // LANES * LANES


@inner
def _copy(target, target_step, source, source_step, rows, columns):
    """Rows of floats from address to address."""
    for i in range(rows):
        to, at = f32(target + 4 * i * target_step), f32(source + 4 * i * source_step)
        for j in range(0, columns, LANES):
            n = min(LANES, columns - j)
            store_part(to, j, load_part(at, j, n), n)


@inner
def _clear(target, count):
    to = f32(target)
    for i in range(count):
        to[i] = 0.0


def pack(a, thread, threads):
    """Panels of W_hh for the way forward: out[p, k, v] = W[p panel + v vector + lane, k], 0 beyond the last unit.

    a: W, its row step, units (columns of W), vectors of a panel, from vector to vector in rows of W, from panel to panel, the
    same two as counted in units, panels, out.
    """
    w, row_step, units, vectors = a[0], a[1], a[2], a[3]
    next_vector, next_panel, vector_units, panel_units = a[4], a[5], a[6], a[7]
    step = vectors * LANES
    first, end = share(a[8], 1, thread, threads)
    for p in range(first, end):
        out = a[9] + 4 * p * units * step
        for v in range(vectors):
            rows = min(LANES, units - p * panel_units - v * vector_units)
            source = w + 4 * (p * next_panel + v * next_vector) * row_step
            for k in range(0, units, LANES):
                columns = min(LANES, units - k)
                target = out + 4 * (k * step + v * LANES)
                if rows < LANES:
                    for j in range(columns):
                        store(f32(target + 4 * j * step), 0, splat(0.0))
                if rows > 0:
                    transpose(f32(source + 4 * k), row_step, f32(target), step, rows, columns)


def unpacked(a, thread, threads):
    """Panels of W_hh for the way back: out[p, k] = W[k, p WIDTH : (p + 1) WIDTH], 0 beyond the last column.

    a: W, its row step, rows, columns, out.
    """
    rows, columns = a[2], a[3]
    first, end = share(rows, 1, thread, threads)
    for p in range((columns + WIDTH - 1) // WIDTH):
        for k in range(first, end):
            to, at = f32(a[4] + 4 * (p * rows + k) * WIDTH), f32(a[0] + 4 * (k * a[1] + p * WIDTH))
            for j in range(0, WIDTH, LANES):
                n = max(min(LANES, columns - p * WIDTH - j), 0)
                store(to, j, load_part(at, j, n) if n else splat(0.0))


def weights(a, thread, threads):
    """W's gradient = D^T H: D (examples x steps, gates x units), H the states before. b_hh's: the sum of D's rows.

    a: D, its row step, columns, H in panels, rows, panels, gradient of W, its row step, gradient of b_hh, scratch,
    stride: DEPTH x COLUMNS.
    """
    row_step, rows, panels = a[1], a[4], a[5]
    first, end = share(a[2], LANES, thread, threads)
    copy = a[9] + 4 * thread * a[10]
    for left in range(first, end, COLUMNS):
        columns = min(COLUMNS, end - left)
        bias = f32(a[8] + 4 * left)
        for j in range(columns):
            bias[j] = 0.0
        for top in range(0, rows, DEPTH):
            depth = min(DEPTH, rows - top)
            for k in range(depth):
                at = f32(a[0] + 4 * ((top + k) * row_step + left))
                for j in range(0, columns, LANES):
                    n = min(LANES, columns - j)
                    value = load_part(at, j, n)
                    store(f32(copy + 4 * (j * DEPTH + k * LANES)), 0, value)
                    store_part(bias, j, add(load_part(bias, j, n), value), n)
            for j in range(0, columns, LANES):
                for p in range(panels):
                    _panel(min(LANES, columns - j), depth, copy + 4 * j * DEPTH, 1, LANES, a[3] + 4 * (p * rows + top) * WIDTH,
                           a[6] + 4 * ((left + j) * a[7] + p * WIDTH), a[7], top)  # fmt: skip


@inner
def _times_weights(rows, d, d_step, gates, units, panels, dh, dh_step, more):
    """dh (+)= d W: d (rows, gates x padded units), W in panels, dh (rows, units padded to whole panels)."""
    width = _up(units)
    for p in range((units + WIDTH - 1) // WIDTH):
        for g in range(gates):
            for k in range(0, units, DEPTH):
                panel = panels + 4 * ((p * gates + g) * units + k) * WIDTH
                _panel(rows, min(DEPTH, units - k), d + 4 * (g * width + k), d_step, 1, panel, dh + 4 * p * WIDTH, dh_step,
                       more + g + k > 0)  # fmt: skip


def lstm(a, thread, threads):
    """All steps of an LSTM: gates i, f, g, o; c' = f c + i g; h' = o tanh c'.

    a: 0 x_gates 1-2 its steps  3 h0 4 its row step  5 c0 6 its row step  7 panels  8 b_hh or 0  9 y 10-11 its steps
    12 gates to keep, or 0  13-14 their steps  15 cells to keep 16-17 their steps  18 last h  19 last c
    20 batch 21 steps 22 units  23 scratch 24 stride: rows x 7 padded units.
    """
    units = a[22]
    first, end = share(a[20], 1, thread, threads)
    rows, width, blocks = end - first, _up(units), (units + LANES - 1) // LANES
    if rows <= 0:
        return
    h = a[23] + 4 * thread * a[24]
    c = h + 8 * rows * width
    sums = c + 4 * rows * width
    _copy(h, width, a[3] + 4 * first * a[4], a[4], rows, units)
    _copy(c, width, a[5] + 4 * first * a[6], a[6], rows, units)
    for t in range(a[21]):
        before, after = h + 4 * (t % 2) * rows * width, h + 4 * ((t + 1) % 2) * rows * width
        for j in range(blocks):
            for k in range(0, units, DEPTH):
                panel = a[7] + 16 * (j * units + k) * LANES
                _four_gates(rows, min(DEPTH, units - k), before + 4 * k, width, 1, panel, sums + 16 * j * rows * LANES,
                            4 * LANES, k)  # fmt: skip
        for r in range(rows):
            x, y = f32(a[0] + 4 * ((first + r) * a[1] + t * a[2])), f32(a[9] + 4 * ((first + r) * a[10] + t * a[11]))
            kept, cells = a[12] + 4 * ((first + r) * a[13] + t * a[14]), a[15] + 4 * ((first + r) * a[16] + t * a[17])
            for j in range(blocks):
                u = j * LANES
                n = min(LANES, units - u)
                s = f32(sums + 16 * (j * rows + r) * LANES)
                i, f = add(load(s, 0), load_part(x, u, n)), add(load(s, LANES), load_part(x, units + u, n))
                g = add(load(s, 2 * LANES), load_part(x, 2 * units + u, n))
                o = add(load(s, 3 * LANES), load_part(x, 3 * units + u, n))
                if a[8] != 0:
                    b = f32(a[8] + 4 * u)
                    i, f = add(i, load_part(b, 0, n)), add(f, load_part(b, units, n))
                    g, o = add(g, load_part(b, 2 * units, n)), add(o, load_part(b, 3 * units, n))
                _prefetch(x, a[1] + u, 4, units)
                _prefetch(y, a[10] + u, 1, units)
                i, f, g, o = vsigmoid(i), vsigmoid(f), vtanh(g), vsigmoid(o)
                cell = f32(c + 4 * (r * width + u))
                new = fma(f, load(cell, 0), multiply(i, g))
                store(cell, 0, new)
                out = multiply(o, vtanh(new))
                store(f32(after + 4 * (r * width + u)), 0, out)
                store_part(y, u, out, n)
                if a[12] != 0:
                    _prefetch(f32(kept), a[13] + u, 4, units)
                    _prefetch(f32(cells), a[16] + u, 1, units)
                    store_part(f32(kept), u, i, n)
                    store_part(f32(kept), units + u, f, n)
                    store_part(f32(kept), 2 * units + u, g, n)
                    store_part(f32(kept), 3 * units + u, o, n)
                    store_part(f32(cells), u, new, n)
    _copy(a[18] + 4 * first * units, units, h + 4 * (a[21] % 2) * rows * width, width, rows, units)
    _copy(a[19] + 4 * first * units, units, c, width, rows, units)


def lstm_back(a, thread, threads):
    """The gradients of `lstm`, last step first: of x_gates, h0 and c0; what h was before each step.

    a: 0 gradient of y 1-2 its steps  3 of the last h 4 its row step  5 of the last c 6 its row step  7 gates 8-9 their steps
    10 cells 11-12 their steps  13 y 14-15 its steps  16 h0 17 its row step  18 c0 19 its row step  20 panels
    21 gradient of x_gates 22-23 its steps  24 of h0  25 of c0  26 states before, in panels 27-28 their steps
    29 batch 30 steps 31 units  32 scratch 33 stride: rows x (5 padded units + units padded to WIDTH).
    """
    units, steps = a[31], a[30]
    first, end = share(a[29], 1, thread, threads)
    rows, width, wide = end - first, _up(units), (units + WIDTH - 1) // WIDTH * WIDTH
    if rows <= 0:
        return
    d = a[32] + 4 * thread * a[33]
    next_panel = a[29] * steps * WIDTH
    dc = d + 16 * rows * width
    dh = dc + 4 * rows * width
    _copy(dh, wide, a[3] + 4 * first * a[4], a[4], rows, units)
    _copy(dc, width, a[5] + 4 * first * a[6], a[6], rows, units)
    for t in range(steps - 1, -1, -1):
        for r in range(rows):
            e = first + r
            kept, dx = f32(a[7] + 4 * (e * a[8] + t * a[9])), f32(a[21] + 4 * (e * a[22] + t * a[23]))
            cells, g_y = a[10] + 4 * (e * a[11] + t * a[12]), f32(a[0] + 4 * (e * a[1] + t * a[2]))
            c_before = f32(cells - 4 * a[12] if t else a[18] + 4 * e * a[19])
            h_before = f32(a[13] + 4 * (e * a[14] + (t - 1) * a[15]) if t else a[16] + 4 * e * a[17])
            before = a[26] + 4 * (e * a[27] + t * a[28])
            local = f32(d + 16 * r * width)
            for u in range(0, units, LANES):
                n = min(LANES, units - u)
                i, f = load_part(kept, u, n), load_part(kept, units + u, n)
                g, o = load_part(kept, 2 * units + u, n), load_part(kept, 3 * units + u, n)
                _prefetch(kept, a[8] + u, 4, units)
                _prefetch(dx, a[22] + u, 4, units)
                _prefetch(c_before, a[11] + u, 1, units)
                _prefetch(h_before, a[14] + u, 1, units)
                _prefetch(g_y, a[1] + u, 1, units)
                tanh_c = vtanh(load_part(f32(cells), u, n))
                out = add(load(f32(dh + 4 * r * wide), u), load_part(g_y, u, n))
                new = fma(multiply(out, o), _tanh_slope(tanh_c), load(f32(dc + 4 * r * width), u))
                d_i, d_f = multiply(new, multiply(g, _slope(i))), multiply(new, multiply(load_part(c_before, u, n), _slope(f)))
                d_g, d_o = multiply(new, multiply(i, _tanh_slope(g))), multiply(out, multiply(tanh_c, _slope(o)))
                store(f32(dc + 4 * r * width), u, multiply(new, f))
                store(local, u, d_i)
                store(local, width + u, d_f)
                store(local, 2 * width + u, d_g)
                store(local, 3 * width + u, d_o)
                store_part(dx, u, d_i, n)
                store_part(dx, units + u, d_f, n)
                store_part(dx, 2 * units + u, d_g, n)
                store_part(dx, 3 * units + u, d_o, n)
                store_part(f32(before + 4 * (u // WIDTH) * next_panel), u % WIDTH, load_part(h_before, u, n), n)
        _times_weights(rows, d, 4 * width, 4, units, a[20], dh, wide, 0)
    _copy(a[24] + 4 * first * units, units, dh, wide, rows, units)
    _copy(a[25] + 4 * first * units, units, dc, width, rows, units)


def gru(a, thread, threads):
    """All steps of a GRU: gates r, z, n; with s = W h + b, n = tanh(x_n + r s_n); h' = n + z (h - n).

    a: 0 x_gates 1-2 its steps  3 h0 4 its row step  5 panels  6 b_hh or 0  7 y 8-9 its steps
    10 gates to keep, or 0  11-12 their steps  13 s_n to keep 14-15 its steps  16 last h
    17 batch 18 steps 19 units  20 scratch 21 stride: rows x 5 padded units.
    """
    units = a[19]
    first, end = share(a[17], 1, thread, threads)
    rows, width = end - first, _up(units)
    if rows <= 0:
        return
    h = a[20] + 4 * thread * a[21]
    sums = h + 8 * rows * width
    _copy(h, width, a[3] + 4 * first * a[4], a[4], rows, units)
    for t in range(a[18]):
        before, after = h + 4 * (t % 2) * rows * width, h + 4 * ((t + 1) % 2) * rows * width
        for j in range(width // LANES):
            panel = a[5] + 12 * j * units * LANES
            _three_gates(rows, units, before, width, 1, panel, sums + 12 * j * rows * LANES, 3 * LANES, 0)
        for i in range(rows):
            x, y = f32(a[0] + 4 * ((first + i) * a[1] + t * a[2])), f32(a[7] + 4 * ((first + i) * a[8] + t * a[9]))
            kept, inner = a[10] + 4 * ((first + i) * a[11] + t * a[12]), a[13] + 4 * ((first + i) * a[14] + t * a[15])
            for j in range(width // LANES):
                u = j * LANES
                m = min(LANES, units - u)
                s = f32(sums + 12 * (j * rows + i) * LANES)
                r, z = add(load(s, 0), load_part(x, u, m)), add(load(s, LANES), load_part(x, units + u, m))
                s_n = load(s, 2 * LANES)
                if a[6] != 0:
                    b = f32(a[6] + 4 * u)
                    r, z = add(r, load_part(b, 0, m)), add(z, load_part(b, units, m))
                    s_n = add(s_n, load_part(b, 2 * units, m))
                _prefetch(x, a[1] + u, 3, units)
                _prefetch(y, a[8] + u, 1, units)
                r, z = vsigmoid(r), vsigmoid(z)
                n = vtanh(fma(r, s_n, load_part(x, 2 * units + u, m)))
                out = fma(z, subtract(load(f32(before + 4 * (i * width + u)), 0), n), n)
                store(f32(after + 4 * (i * width + u)), 0, out)
                store_part(y, u, out, m)
                if a[10] != 0:
                    _prefetch(f32(kept), a[11] + u, 3, units)
                    _prefetch(f32(inner), a[14] + u, 1, units)
                    store_part(f32(kept), u, r, m)
                    store_part(f32(kept), units + u, z, m)
                    store_part(f32(kept), 2 * units + u, n, m)
                    store_part(f32(inner), u, s_n, m)
    _copy(a[16] + 4 * first * units, units, h + 4 * (a[18] % 2) * rows * width, width, rows, units)


def gru_back(a, thread, threads):
    """The gradients of `gru`, last step first: of x_gates, h0 and s_n; what h was before each step.

    a: 0 gradient of y 1-2 its steps  3 of the last h 4 its row step  5 gates 6-7 their steps  8 s_n 9-10 its steps
    11 y 12-13 its steps  14 h0 15 its row step  16 panels
    17 gradient of x_gates 18-19 its steps  20 of h0  21 of s_n 22-23 its steps
    24 states before, in panels 25-26 their steps
    27 batch 28 steps 29 units  30 scratch 31 stride: rows x (3 padded units + units padded to WIDTH).
    """
    units, steps = a[29], a[28]
    first, end = share(a[27], 1, thread, threads)
    rows, width, wide = end - first, _up(units), (units + WIDTH - 1) // WIDTH * WIDTH
    if rows <= 0:
        return
    d = a[30] + 4 * thread * a[31]
    next_panel = a[27] * steps * WIDTH
    dh = d + 12 * rows * width
    _clear(dh, rows * wide)
    _copy(dh, wide, a[3] + 4 * first * a[4], a[4], rows, units)
    for t in range(steps - 1, -1, -1):
        for i in range(rows):
            e = first + i
            kept, dx = f32(a[5] + 4 * (e * a[6] + t * a[7])), f32(a[17] + 4 * (e * a[18] + t * a[19]))
            inner, d_inner = f32(a[8] + 4 * (e * a[9] + t * a[10])), f32(a[21] + 4 * (e * a[22] + t * a[23]))
            h_before = f32(a[11] + 4 * (e * a[12] + (t - 1) * a[13]) if t else a[14] + 4 * e * a[15])
            before, g_y = a[24] + 4 * (e * a[25] + t * a[26]), f32(a[0] + 4 * (e * a[1] + t * a[2]))
            local, state = f32(d + 12 * i * width), f32(dh + 4 * i * wide)
            for u in range(0, units, LANES):
                m = min(LANES, units - u)
                _prefetch(kept, a[6] + u, 3, units)
                _prefetch(dx, a[18] + u, 3, units)
                _prefetch(inner, a[9] + u, 1, units)
                _prefetch(d_inner, a[22] + u, 1, units)
                _prefetch(h_before, a[12] + u, 1, units)
                _prefetch(g_y, a[1] + u, 1, units)
                r, z, n = load_part(kept, u, m), load_part(kept, units + u, m), load_part(kept, 2 * units + u, m)
                s_n, h = load_part(inner, u, m), load_part(h_before, u, m)
                out = add(load(state, u), load_part(g_y, u, m))
                store(state, u, multiply(out, z))
                d_n = multiply(out, multiply(subtract(1.0, z), _tanh_slope(n)))
                d_z = multiply(out, multiply(subtract(h, n), _slope(z)))
                d_r, d_s = multiply(d_n, multiply(s_n, _slope(r))), multiply(d_n, r)
                store(local, u, d_r)
                store(local, width + u, d_z)
                store(local, 2 * width + u, d_s)
                store_part(dx, u, d_r, m)
                store_part(dx, units + u, d_z, m)
                store_part(dx, 2 * units + u, d_n, m)
                store_part(d_inner, u, d_s, m)
                store_part(f32(before + 4 * (u // WIDTH) * next_panel), u % WIDTH, h, m)
        _times_weights(rows, d, 3 * width, 3, units, a[16], dh, wide, 1)
    _copy(a[20] + 4 * first * units, units, dh, wide, rows, units)


def rnn(a, thread, threads):
    """All steps of a plain recurrent layer: h' = tanh(x + W h + b), or relu.

    a: 0 x_gates 1-2 its steps  3 h0 4 its row step  5 panels  6 b_hh or 0  7 y 8-9 its steps  10 last h
    11 batch 12 steps 13 units  14 RELU or 0  15 scratch 16 stride: rows x (2 padded units + units padded to WIDTH).
    """
    units = a[13]
    first, end = share(a[11], 1, thread, threads)
    rows, width, wide = end - first, _up(units), (units + WIDTH - 1) // WIDTH * WIDTH
    if rows <= 0:
        return
    h = a[15] + 4 * thread * a[16]
    sums = h + 8 * rows * width
    _copy(h, width, a[3] + 4 * first * a[4], a[4], rows, units)
    for t in range(a[12]):
        before, after = h + 4 * (t % 2) * rows * width, h + 4 * ((t + 1) % 2) * rows * width
        for p in range(0, units, WIDTH):
            _panel(rows, units, before, width, 1, a[5] + 4 * p * units, sums + 4 * p, wide, 0)
        for r in range(rows):
            x, y = f32(a[0] + 4 * ((first + r) * a[1] + t * a[2])), f32(a[7] + 4 * ((first + r) * a[8] + t * a[9]))
            for u in range(0, units, LANES):
                n = min(LANES, units - u)
                out = add(load(f32(sums + 4 * r * wide), u), load_part(x, u, n))
                if a[6] != 0:
                    out = add(out, load_part(f32(a[6]), u, n))
                out = vmax(out, splat(0.0)) if a[14] == RELU else vtanh(out)
                store(f32(after + 4 * (r * width + u)), 0, out)
                store_part(y, u, out, n)
    _copy(a[10] + 4 * first * units, units, h + 4 * (a[12] % 2) * rows * width, width, rows, units)


def rnn_back(a, thread, threads):
    """The gradients of `rnn`, last step first: of x_gates and h0; what h was before each step.

    a: 0 gradient of y 1-2 its steps  3 of the last h 4 its row step  5 y 6-7 its steps  8 h0 9 its row step  10 panels
    11 gradient of x_gates 12-13 its steps  14 of h0  15 states before, in panels 16-17 their steps
    18 batch 19 steps 20 units  21 RELU or 0  22 scratch 23 stride: rows x (padded units + units padded to WIDTH).
    """
    units, steps = a[20], a[19]
    first, end = share(a[18], 1, thread, threads)
    rows, width, wide = end - first, _up(units), (units + WIDTH - 1) // WIDTH * WIDTH
    if rows <= 0:
        return
    d = a[22] + 4 * thread * a[23]
    next_panel = a[18] * steps * WIDTH
    dh = d + 4 * rows * width
    _copy(dh, wide, a[3] + 4 * first * a[4], a[4], rows, units)
    for t in range(steps - 1, -1, -1):
        for r in range(rows):
            e = first + r
            y, dx = a[5] + 4 * (e * a[6] + t * a[7]), f32(a[11] + 4 * (e * a[12] + t * a[13]))
            h_before = f32(y - 4 * a[7] if t else a[8] + 4 * e * a[9])
            before, g_y = a[15] + 4 * (e * a[16] + t * a[17]), f32(a[0] + 4 * (e * a[1] + t * a[2]))
            for u in range(0, units, LANES):
                n = min(LANES, units - u)
                h = load_part(f32(y), u, n)
                out = add(load(f32(dh + 4 * r * wide), u), load_part(g_y, u, n))
                out = multiply(out, select(is_less(0.0, h), 1.0, splat(0.0)) if a[21] == RELU else _tanh_slope(h))
                store(f32(d + 4 * r * width), u, out)
                store_part(dx, u, out, n)
                store_part(f32(before + 4 * (u // WIDTH) * next_panel), u % WIDTH, load_part(h_before, u, n), n)
        _times_weights(rows, d, width, 1, units, a[10], dh, wide, 0)
    _copy(a[14] + 4 * first * units, units, dh, wide, rows, units)
