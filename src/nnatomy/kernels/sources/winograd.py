"""Winograd's convolution F(4 x 4, 3 x 3) for a kernel of 3 x 3 and stride 1: a quarter of the multiplications.

Tiles of 6 x 6 inputs give 4 x 4 outputs: y = A^T [ (G w G^T) * (B^T x B) ] A, where * multiplies the 36 elements one by one;
summed over the channels, that is 36 products of matrices (Lavin and Gray 2016, equation 12). Interpolated at 0, r/2, -r/2, r
and -r with r the root of 2: results are off by a quarter of what they are with 1, -1, 2 and -2. Images are stored as
(channels, rows, columns, batch). Infinity or NaN in one input reaches all outputs of its tiles.

The gradient of the weights is the same transposed, dw = G^T [ sum over tiles of (B^T x B) * (A dy A^T) ] G: the products sum
over tiles and batch, so that vectors run over channels here. Infinity or NaN reaches all of a channel's nine weights.
"""


from __future__ import annotations

import math

import numpy as np

from nnatomy.kernels.microkernels import tile
from nnatomy.kernels.sources.convolution import clear, finish
from nnatomy.kernels.sources.convolution_tiles import FORWARD, WINOGRAD_WEIGHT
from nnatomy.kernels.vectors import (
    LANES,
    add,
    f32,
    fma,
    inner,
    load,
    load_part,
    multiply,
    share,
    store,
    store_part,
    subtract,
    transpose,
)  # fmt: skip

ZERO = np.float32(0)
R = math.sqrt(2)
HALF = R / 2


@inner
def before(d0, d1, d2, d3, d4, d5):
    """B^T d."""
    t, u = fma(d2, -2.0, d4), fma(d3, HALF, multiply(d1, -R))
    v, w = fma(d2, -0.5, d4), fma(d3, R, multiply(d1, -HALF))
    return (add(fma(d2, -2.5, d0), d4), add(t, u), subtract(t, u), add(v, w), subtract(v, w),
            add(fma(d3, -2.5, d1), d5))  # fmt: skip


@inner
def after(m0, m1, m2, m3, m4, m5):
    """A^T m."""
    s, d = add(m1, m2), subtract(m1, m2)
    t, e = add(m3, m4), subtract(m3, m4)
    return (add(m0, add(s, t)), fma(e, R, multiply(d, HALF)), fma(t, 2.0, multiply(s, 0.5)),
            add(fma(e, 2.0 * R, multiply(d, 0.5 * HALF)), m5))  # fmt: skip


@inner
def stretched(g0, g1, g2):
    """G g."""
    s, t = fma(g0, -2.0 / 3, multiply(g2, -1.0 / 3)), multiply(g1, R / 3)
    u, v = fma(g0, 1.0 / 6, multiply(g2, 1.0 / 3)), multiply(g1, R / 6)
    return g0, subtract(s, t), add(s, t), add(u, v), subtract(u, v), g2


def weights(a, thread, threads):
    """a: w  1-4 its strides by output and input channel, row and column  5 outputs  6 inputs  7 rows of a panel  8 result,
    (panels, 36, inputs, rows)  9 scratch, 27 vectors for each thread. Negative strides rotate the kernel by 180 degrees."""
    outputs, inputs, rows = a[5], a[6], a[7]
    g = f32(a[9] + 4 * 27 * LANES * thread)
    half = f32(a[9] + 4 * (27 * thread + 9) * LANES)
    clear(a[9] + 4 * 27 * LANES * thread, 27 * LANES)
    first, end = share((outputs + rows - 1) // rows * inputs, 1, thread, threads)
    for item in range(first, end):
        panel, c = item // inputs, item % inputs
        for r in range(rows):
            if panel * rows + r < outputs:
                w = f32(a[0] + 4 * ((panel * rows + r) * a[1] + c * a[2]))
                for i in range(3):
                    for j in range(3):
                        g[(3 * i + j) * LANES + r] = w[i * a[3] + j * a[4]]
            else:
                for k in range(9):
                    g[k * LANES + r] = ZERO
        for j in range(3):
            at = j * LANES
            h = stretched(load(g, at), load(g, at + 3 * LANES), load(g, at + 6 * LANES))
            store(half, at, h[0])
            store(half, at + 3 * LANES, h[1])
            store(half, at + 6 * LANES, h[2])
            store(half, at + 9 * LANES, h[3])
            store(half, at + 12 * LANES, h[4])
            store(half, at + 15 * LANES, h[5])
        to, step = f32(a[8] + 4 * (panel * 36 * inputs + c) * rows), inputs * rows
        for i in range(6):
            at = 3 * i * LANES
            u = stretched(load(half, at), load(half, at + LANES), load(half, at + 2 * LANES))
            at = 6 * i * step
            store_part(to, at, u[0], rows)
            store_part(to, at + step, u[1], rows)
            store_part(to, at + 2 * step, u[2], rows)
            store_part(to, at + 3 * step, u[3], rows)
            store_part(to, at + 4 * step, u[4], rows)
            store_part(to, at + 5 * step, u[5], rows)


@inner
def take_apart(a, v, zeros, between, tile_number, place):
    """B^T x B of one tile, of all channels: to v, (36, channels, tiles, batch)."""
    n, height, width = a[4], a[5], a[6]
    top, left = tile_number // a[13] * 4 - a[8], tile_number % a[13] * 4 - a[9]
    temporary = f32(between)
    for c in range(a[7]):
        source = a[0] + 4 * c * a[1]
        to = f32(v + 4 * (c * a[16] + place * n))
        for b in range(0, n, LANES):
            count = min(n - b, LANES)
            for j in range(6):
                column = left + j
                inside = 0 <= column < width
                at = source + 4 * (top * a[2] + column * a[3] + b)
                step = 4 * a[2]
                d = before(
                    load_part(f32(at if inside and 0 <= top < height else zeros), 0, count),
                    load_part(f32(at + step if inside and 0 <= top + 1 < height else zeros), 0, count),
                    load_part(f32(at + 2 * step if inside and 0 <= top + 2 < height else zeros), 0, count),
                    load_part(f32(at + 3 * step if inside and 0 <= top + 3 < height else zeros), 0, count),
                    load_part(f32(at + 4 * step if inside and 0 <= top + 4 < height else zeros), 0, count),
                    load_part(f32(at + 5 * step if inside and 0 <= top + 5 < height else zeros), 0, count),
                )
                store(temporary, j * LANES, d[0])
                store(temporary, (6 + j) * LANES, d[1])
                store(temporary, (12 + j) * LANES, d[2])
                store(temporary, (18 + j) * LANES, d[3])
                store(temporary, (24 + j) * LANES, d[4])
                store(temporary, (30 + j) * LANES, d[5])
            for i in range(6):
                at = 6 * i * LANES
                d = before(load(temporary, at), load(temporary, at + LANES), load(temporary, at + 2 * LANES),
                           load(temporary, at + 3 * LANES), load(temporary, at + 4 * LANES),
                           load(temporary, at + 5 * LANES))  # fmt: skip
                at, step = 6 * i * a[17] + b, a[17]
                store_part(to, at, d[0], count)
                store_part(to, at + step, d[1], count)
                store_part(to, at + 2 * step, d[2], count)
                store_part(to, at + 3 * step, d[3], count)
                store_part(to, at + 4 * step, d[4], count)
                store_part(to, at + 5 * step, d[5], count)


@inner
def put_together(m, step, between, n):
    """A^T m A of one channel and tile: to `between`, (4 rows, 4 columns, batch) behind 24 vectors."""
    source, half, result = f32(m), f32(between), f32(between + 4 * 24 * LANES)
    for b in range(0, n, LANES):
        count = min(n - b, LANES)
        for j in range(6):
            at = j * step + b
            y = after(load_part(source, at, count), load_part(source, at + 6 * step, count),
                      load_part(source, at + 12 * step, count), load_part(source, at + 18 * step, count),
                      load_part(source, at + 24 * step, count), load_part(source, at + 30 * step, count))  # fmt: skip
            store(half, j * LANES, y[0])
            store(half, (6 + j) * LANES, y[1])
            store(half, (12 + j) * LANES, y[2])
            store(half, (18 + j) * LANES, y[3])
        for i in range(4):
            at = 6 * i * LANES
            y = after(load(half, at), load(half, at + LANES), load(half, at + 2 * LANES), load(half, at + 3 * LANES),
                      load(half, at + 4 * LANES), load(half, at + 5 * LANES))  # fmt: skip
            at = 4 * i * n + b
            store_part(result, at, y[0], count)
            store_part(result, at + n, y[1], count)
            store_part(result, at + 2 * n, y[2], count)
            store_part(result, at + 3 * n, y[3], count)


def _forward(rows, width):
    product = tile(rows, width)

    def forward(a, thread, threads):
        """a: x  1-3 its strides by channel, row and column  4 batch  5-6 rows and columns of x  7 channels  8-9 padding before
        10-11 rows and columns of y  12-13 rows and columns of tiles  14 tiles of a block  15 vectors of a block's tiles
        16 floats from channel to channel of a block, and between rows of products  17 from element to element of the 36
        18 transformed weights  19 outputs  20 their panels  21 y  22-24 its strides by channel, row and column
        25 bias or 0  26 activation  27 scratch  28 floats of it for each thread: block, products, 37 vectors and 16 batches
        29 panels whose products are computed before they are put together."""
        n, some, vectors, pitch, channels = a[4], a[14], a[15], a[16], a[7]
        v = a[27] + 4 * thread * a[28]
        m = v + 4 * 36 * a[17]
        between = m + 4 * 36 * a[29] * rows * pitch
        zeros = between + 4 * (36 * LANES + 16 * n)
        clear(zeros, LANES)
        count = a[12] * a[13]
        first, end = share((count + some - 1) // some, 1, thread, threads)
        for item in range(first, end):
            start = item * some
            here = min(some, count - start)
            for t in range(here):
                take_apart(a, v, zeros, between, start + t, t)
            for first_panel in range(0, a[20], a[29]):
                last_panel = min(first_panel + a[29], a[20])
                for k in range(36):
                    for panel in range(first_panel, last_panel):
                        u = f32(a[18] + 4 * (panel * 36 + k) * channels * rows)
                        to = m + 4 * ((panel - first_panel) * 36 + k) * rows * pitch
                        for j in range(0, vectors, width):
                            at = 4 * LANES * min(j, vectors - width)
                            product(channels, u, f32(v + 4 * k * a[17] + at), pitch, f32(to + at), pitch, LANES, 0)
                for channel in range(first_panel * rows, min(last_panel * rows, a[19])):
                    bias = f32(a[25])[channel] if a[25] else ZERO
                    panel, r = channel // rows - first_panel, channel % rows
                    for t in range(here):
                        top, left = (start + t) // a[13] * 4, (start + t) % a[13] * 4
                        to = a[21] + 4 * (channel * a[22] + top * a[23] + left * a[24])
                        put_together(m + 4 * ((panel * 36 * rows + r) * pitch + t * n), rows * pitch, between, n)
                        for i in range(min(4, a[10] - top)):
                            finish(to + 4 * i * a[23], between + 4 * (24 * LANES + 4 * i * n), min(4, a[11] - left) * n, bias,
                                   a[26])  # fmt: skip

    return forward


for _rows, _vectors in FORWARD:
    globals()[f"forward_{_rows}"] = _forward(_rows, _vectors)


# The gradient of the weights.


@inner
def widened(y0, y1, y2, y3):
    """A y."""
    s, d = fma(y2, 0.5, y0), fma(y3, 0.5 * HALF, multiply(y1, HALF))
    t, e = fma(y2, 2.0, y0), fma(y3, 2.0 * R, multiply(y1, R))
    return y0, add(s, d), subtract(s, d), add(t, e), subtract(t, e), y3


@inner
def shrunk(h0, h1, h2, h3, h4, h5):
    """G^T h."""
    s, d, t, e = add(h1, h2), subtract(h2, h1), add(h3, h4), subtract(h3, h4)
    return (fma(t, 1.0 / 6, fma(s, -2.0 / 3, h0)), fma(e, R / 6, multiply(d, R / 3)),
            fma(subtract(t, s), 1.0 / 3, h5))  # fmt: skip


@inner
def gather(a, image, side, top, left, start, count, channel, channels, to):
    """A square of an image for some examples, transposed so that channels are next to each other: (side, side, count, LANES).
    image: where in a its address is, followed by the strides by channel, row and column, and by rows and columns."""
    source = a[image] + 4 * (channel * a[image + 1] + start)
    for i in range(side):
        for j in range(side):
            row, column = top + i, left + j
            square = to + 4 * (i * side + j) * count * LANES
            if 0 <= row < a[image + 4] and 0 <= column < a[image + 5]:
                at = source + 4 * (row * a[image + 2] + column * a[image + 3])
                for b in range(0, count, LANES):
                    there = f32(square + 4 * b * LANES)
                    transpose(f32(at + 4 * b), a[image + 1], there, LANES, channels, min(count - b, LANES))
            else:
                clear(square, count * LANES)


@inner
def six_by_six(square, v, step, pitch, count, temporary):
    """B^T x B of `count` examples, written to v: `step` from one element to the next, `pitch` from one example to the next."""
    s, t, to = f32(square), f32(temporary), f32(v)
    row = 6 * count * LANES
    for b in range(count):
        for j in range(6):
            at = (j * count + b) * LANES
            d = before(load(s, at), load(s, at + row), load(s, at + 2 * row), load(s, at + 3 * row), load(s, at + 4 * row),
                       load(s, at + 5 * row))  # fmt: skip
            store(t, j * LANES, d[0])
            store(t, (6 + j) * LANES, d[1])
            store(t, (12 + j) * LANES, d[2])
            store(t, (18 + j) * LANES, d[3])
            store(t, (24 + j) * LANES, d[4])
            store(t, (30 + j) * LANES, d[5])
        for i in range(6):
            at = 6 * i * LANES
            d = before(load(t, at), load(t, at + LANES), load(t, at + 2 * LANES), load(t, at + 3 * LANES),
                       load(t, at + 4 * LANES), load(t, at + 5 * LANES))  # fmt: skip
            at = 6 * i * step + b * pitch
            store(to, at, d[0])
            store(to, at + step, d[1])
            store(to, at + 2 * step, d[2])
            store(to, at + 3 * step, d[3])
            store(to, at + 4 * step, d[4])
            store(to, at + 5 * step, d[5])


@inner
def four_by_four(square, v, step, pitch, count, temporary):
    """A dy A^T likewise."""
    s, t, to = f32(square), f32(temporary), f32(v)
    row = 4 * count * LANES
    for b in range(count):
        for j in range(4):
            at = (j * count + b) * LANES
            d = widened(load(s, at), load(s, at + row), load(s, at + 2 * row), load(s, at + 3 * row))
            store(t, j * LANES, d[0])
            store(t, (4 + j) * LANES, d[1])
            store(t, (8 + j) * LANES, d[2])
            store(t, (12 + j) * LANES, d[3])
            store(t, (16 + j) * LANES, d[4])
            store(t, (20 + j) * LANES, d[5])
        for i in range(6):
            at = 4 * i * LANES
            d = widened(load(t, at), load(t, at + LANES), load(t, at + 2 * LANES), load(t, at + 3 * LANES))
            at = 6 * i * step + b * pitch
            store(to, at, d[0])
            store(to, at + step, d[1])
            store(to, at + 2 * step, d[2])
            store(to, at + 3 * step, d[3])
            store(to, at + 4 * step, d[4])
            store(to, at + 5 * step, d[5])


def _weight(rows, width):
    product = tile(rows, width, packed=False)

    def weight(a, thread, threads):
        """a: x  1-3 its strides by channel, row and column  4-5 its rows and columns  6 dy  7-9 its strides  10-11 its rows and
        columns  12 batch  13 examples of a block  14 channels  15 outputs  16-17 padding before  18 tiles  19 tiles in a row
        20 tiles of a block  21-22 floats from example to example of a block, of x and of dy  23-24 from element to element of
        the 36, likewise  25 scratch  26 floats of it for each thread: both blocks, 36 squares of vectors for the examples of a
        block and 36 vectors  27 products, (threads, 36, outputs, channels)  28 their outputs, whole tiles  29 their channels,
        likewise."""
        n, some, examples, pitch, steep = a[12], a[20], a[13], a[21], a[22]
        v = a[25] + 4 * thread * a[26]
        u = v + 4 * 36 * a[23]
        square = u + 4 * 36 * a[24]
        temporary = square + 4 * 36 * examples * LANES
        each = a[28] * a[29]
        mine = a[27] + 4 * thread * 36 * each
        clear(v, a[26])
        clear(mine, 36 * each)
        chunks = (n + examples - 1) // examples
        first, end = share((a[18] + some - 1) // some * chunks, 1, thread, threads)
        for item in range(first, end):
            start, begin = item // chunks * some, item % chunks * examples
            here, count = min(some, a[18] - start), min(examples, n - begin)
            for t in range(here):
                top, left = (start + t) // a[19] * 4, (start + t) % a[19] * 4
                for c in range(0, a[14], LANES):
                    gather(a, 0, 6, top - a[16], left - a[17], begin, count, c, min(a[14] - c, LANES), square)
                    six_by_six(square, v + 4 * (t * count * pitch + c), a[23], pitch, count, temporary)
                for o in range(0, a[15], LANES):
                    gather(a, 6, 4, top, left, begin, count, o, min(a[15] - o, LANES), square)
                    four_by_four(square, u + 4 * (t * count * steep + o), a[24], steep, count, temporary)
            for k in range(36):
                for c in range(0, a[29], width * LANES):
                    for o in range(0, a[28], rows):
                        product(here * count, f32(u + 4 * (k * a[24] + o)), 1, steep, f32(v + 4 * (k * a[23] + c)), pitch,
                                f32(mine + 4 * (k * each + o * a[29] + c)), a[29], LANES, 1)  # fmt: skip

    return weight


for _rows, _vectors in WINOGRAD_WEIGHT:
    globals()[f"weight_{_rows}x{_vectors}"] = _weight(_rows, _vectors)


def weight_sum(a, thread, threads):
    """a: products, (parts, 36, their outputs, their channels)  1 parts  2 their outputs  3 their channels  4 outputs
    5 channels  6 dw, (outputs, channels, 3, 3)  7 scratch, 54 vectors for each thread. The parts are added in their order."""
    step = a[2] * a[3]
    sums, half = f32(a[7] + 4 * 54 * LANES * thread), f32(a[7] + 4 * (54 * thread + 36) * LANES)
    vectors = (a[5] + LANES - 1) // LANES
    first, end = share(a[4] * vectors, 1, thread, threads)
    for item in range(first, end):
        o, c = item // vectors, item % vectors * LANES
        for k in range(36):
            source = f32(a[0] + 4 * (k * step + o * a[3] + c))
            s = load(source, 0)
            for part in range(1, a[1]):
                s = add(s, load(source, part * 36 * step))
            store(sums, k * LANES, s)
        for j in range(6):
            at, row = j * LANES, 6 * LANES
            h = shrunk(load(sums, at), load(sums, at + row), load(sums, at + 2 * row), load(sums, at + 3 * row),
                       load(sums, at + 4 * row), load(sums, at + 5 * row))  # fmt: skip
            store(half, at, h[0])
            store(half, at + row, h[1])
            store(half, at + 2 * row, h[2])
        for i in range(3):
            at = 6 * i * LANES
            h = shrunk(load(half, at), load(half, at + LANES), load(half, at + 2 * LANES), load(half, at + 3 * LANES),
                       load(half, at + 4 * LANES), load(half, at + 5 * LANES))  # fmt: skip
            store(sums, 3 * i * LANES, h[0])
            store(sums, (3 * i + 1) * LANES, h[1])
            store(sums, (3 * i + 2) * LANES, h[2])
        w = f32(a[6] + 4 * 9 * (o * a[5] + c))
        for i in range(min(LANES, a[5] - c)):
            for k in range(9):
                w[9 * i + k] = sums[k * LANES + i]
