"""Convolution without im2col, and its two adjoints. Images are stored as (channels, rows, columns, batch).

A thread takes a block of output positions, copies the inputs that these meet into scratch memory (zeros around the image, the
residues of a stride separately), and then runs the micro-kernel along (columns, batch): each channel and kernel
position is an offset in the block. The gradient of the input is the same with transposed weights, once for each residue of
the stride. All geometry is decided by the lowering; kernels only follow it.

`forward_*` and `weight_*` start with the same arguments, which describe a block:

    0 x  1-3 its strides by channel, row and column  4 batch  5-6 rows and columns of x  7 groups  8 channels of a group
    9-10 how many residues by row and by column  11 their table, rows first  12-13 stride  14-15 padding before
    16-17 rows and columns of output  18-19 the same of a block  20-21 rows and columns of input in a block, for one residue
    22 floats from residue to residue  23 from channel to channel  24 scratch  25 floats of it for each thread
"""


from __future__ import annotations

import numpy as np

from nnatomy.kernels.microkernels import dots, tile
from nnatomy.kernels.sources.convolution_tiles import FORWARD, RELU, TANH, WEIGHT
from nnatomy.kernels.sources.mathematics import vtanh
from nnatomy.kernels.vectors import (
    LANES,
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
)  # fmt: skip

ZERO = np.float32(0)


@inner
def copy(to, source, count):
    """count floats from address to address."""
    t, s = f32(to), f32(source)
    whole = count // LANES * LANES
    for i in range(0, whole, LANES):
        store(t, i, load(s, i))
    if whole < count:
        store_part(t, whole, load_part(s, whole, count - whole), count - whole)


@inner
def clear(to, count):
    """count zeros at an address."""
    t = f32(to)
    whole = count // LANES * LANES
    for i in range(0, whole, LANES):
        store(t, i, splat(ZERO))
    if whole < count:
        store_part(t, whole, splat(ZERO), count - whole)


@inner
def fill_row(to, source, column, n, width, first, stride, count):
    """Inputs first, first + stride, ... of a row, with n examples each; zeros outside the row."""
    before = min(max((stride - 1 - first) // stride, 0), count)
    end = min(max((width - first + stride - 1) // stride, before), count)
    clear(to, before * n)
    if stride * column == n:
        copy(to + 4 * before * n, source + 4 * (first + before) * n, (end - before) * n)
    else:
        for q in range(before, end):
            copy(to + 4 * q * n, source + 4 * (first + q * stride) * column, n)
    clear(to + 4 * end * n, (count - end) * n)


@inner
def fill(a, block, start, channels, top, left):
    """Copy what the output positions from (top, left) meet of some channels: (channels, residues, rows, columns, batch)."""
    n, height, width = a[4], a[5], a[6]
    residues = i64(a[11])
    rows, columns = a[20], a[21]
    for c in range(channels):
        source = a[0] + 4 * (start + c) * a[1]
        for u in range(a[9]):
            for v in range(a[10]):
                to = block + 4 * (c * a[23] + (u * a[10] + v) * a[22])
                row = top * a[12] + residues[u] - a[14]
                first = left * a[13] + residues[a[9] + v] - a[15]
                for _ in range(rows):
                    if 0 <= row < height:
                        fill_row(to, source + 4 * row * a[2], a[3], n, width, first, a[13], columns)
                    else:
                        clear(to, columns * n)
                    to += 4 * columns * n
                    row += a[12]


@inner
def finish(to, source, count, bias, activation):
    """y = activation(sums + bias)."""
    t, s = f32(to), f32(source)
    b = splat(bias)
    whole = count // LANES * LANES
    rest = count - whole
    if activation == TANH:
        for i in range(0, whole, LANES):
            store(t, i, vtanh(load(s, i) + b))
        if rest:
            store_part(t, whole, vtanh(load_part(s, whole, rest) + b), rest)
    elif activation == RELU:
        for i in range(0, whole, LANES):
            store(t, i, vmax(load(s, i) + b, splat(ZERO)))
        if rest:
            store_part(t, whole, vmax(load_part(s, whole, rest) + b, splat(ZERO)), rest)
    else:
        for i in range(0, whole, LANES):
            store(t, i, load(s, i) + b)
        if rest:
            store_part(t, whole, load_part(s, whole, rest) + b, rest)


def _forward(rows, width):
    """The kernel whose tiles have so many rows of output channels."""
    product = tile(rows, width, packed=True, indirect=True)

    def forward(a, thread, threads):
        """After the block: 26 packed weights  27 depth  28 output channels of a group  29 their panels  30 table of offsets
        31 y  32-34 its strides by channel, row and column  35 bias or 0  36 activation  37 whether rows continue into the next
        38 the offset of the sums in a thread's scratch  39 parts of the panels, which are split as the blocks are
        40 rows of the kernel  41 table of the row of input that each meets from output row 0. The depth goes by rows of the
        kernel first: rows that are outside the image are left out."""
        n, groups, depth, outputs, panels, flat = a[4], a[7], a[27], a[28], a[29], a[37]
        height, width_out, tall, wide = a[16], a[17], a[18], a[19]
        block = a[24] + 4 * thread * a[25]
        sums = block + 4 * a[38]
        pitch, parts = a[21] * n, a[39]
        taps, meets, each = a[40], i64(a[41]), depth // max(a[40], 1)
        down, across = (height + tall - 1) // tall, (width_out + wide - 1) // wide
        first, end = share(groups * down * across * parts, 1, thread, threads)
        kept = -1
        for item in range(first, end):
            where, part = item // parts, item % parts
            group, top, left = where // (down * across), where // across % down * tall, where % across * wide
            if where != kept:
                fill(a, block, group * a[8], a[8], top, left)
                kept = where
            here, there = min(tall, height - top), min(wide, width_out - left) * n
            runs = 1 if flat else here
            length = (here - 1) * pitch + there if flat else there
            vectors = max((length + LANES - 1) // LANES, width)
            for panel in range(panels * part // parts, panels * (part + 1) // parts):
                weights = a[26] + 4 * (group * panels + panel) * depth * rows
                channel = group * outputs + panel * rows
                for run in range(runs):
                    low, high = 0, taps
                    if runs == here:
                        row = (top + run) * a[12]
                        while low < high and not 0 <= row + meets[low] < a[5]:
                            low += 1
                        while low < high and not 0 <= row + meets[high - 1] < a[5]:
                            high -= 1
                    skipped = low * each
                    for v in range(0, vectors, width):
                        at = 4 * LANES * min(v, vectors - width)
                        product((high - low) * each, f32(weights + 4 * skipped * rows), f32(block + 4 * run * pitch + at),
                                i64(a[30] + 8 * skipped), f32(sums + at), vectors * LANES, LANES, 0)  # fmt: skip
                    for r in range(min(rows, outputs - panel * rows)):
                        bias = f32(a[35])[channel + r] if a[35] else ZERO
                        for h in range(run, here if flat else run + 1):
                            source = sums + 4 * (r * vectors * LANES + (h - run) * pitch)
                            to = a[31] + 4 * ((channel + r) * a[32] + (top + h) * a[33] + left * a[34])
                            if a[34] == n:
                                finish(to, source, there, bias, a[36])
                            else:
                                for q in range(there // n):
                                    finish(to + 4 * q * a[34], source + 4 * q * n, n, bias, a[36])

    return forward


for _rows, _vectors in FORWARD:
    globals()[f"forward_{_rows}"] = _forward(_rows, _vectors)


def pack(a, thread, threads):
    """a: weights, stride by group, stride by row, table of offsets by depth, depth, rows of a group, rows of a panel, groups,
    packed. Panels of rows, (groups, panels, depth, rows of a panel), with zeros in the rows that do not exist."""
    table, depth, count, rows = i64(a[3]), a[4], a[5], a[6]
    panels = (count + rows - 1) // rows
    first, end = share(a[7] * panels, 1, thread, threads)
    for item in range(first, end):
        group, start = item // panels, item % panels * rows
        to = f32(a[8] + 4 * item * depth * rows)
        for r in range(rows):
            source = f32(a[0] + 4 * (group * a[1] + (start + r) * a[2]))
            if start + r < count:
                for k in range(depth):
                    to[k * rows + r] = source[table[k]]
            else:
                for k in range(depth):
                    to[k * rows + r] = ZERO


def _weight(rows, columns):
    """The kernel whose tiles take so many output channels and so many (channel, kernel position) in one call."""
    product = dots(rows, columns)

    def weight(a, thread, threads):
        """After the block: 26 g  27-28 its strides by channel and row  29 output channels of a group  30 depth  31 table of
        offsets by depth, padded to whole tiles  32 table of offsets of g by output channel, likewise
        33 the offset of a tile's sums in a thread's scratch  34 the threads' sums (threads, outputs, depth)
        35 input channels that a block has  36 kernel positions."""
        n, groups, outputs, depth = a[4], a[7], a[29], a[30]
        height, width, tall, wide = a[16], a[17], a[18], a[19]
        block = a[24] + 4 * thread * a[25]
        sums = f32(block + 4 * a[33])
        mine = a[34] + 4 * thread * groups * outputs * depth
        clear(mine, groups * outputs * depth)
        down, across = (height + tall - 1) // tall, (width + wide - 1) // wide
        chunks = (a[8] + a[35] - 1) // a[35]
        first, end = share(groups * down * across * chunks, 1, thread, threads)
        for item in range(first, end):
            start, where = item % chunks * a[35], item // chunks
            group, top, left = where // (down * across), where // across % down * tall, where % across * wide
            channels = min(a[35], a[8] - start)
            fill(a, block, group * a[8] + start, channels, top, left)
            part = channels * a[36]
            here, there = min(tall, height - top), min(wide, width - left) * n
            g = f32(a[26] + 4 * (group * outputs * a[27] + top * a[28] + left * n))
            to = f32(mine + 4 * (group * outputs * depth + start * a[36]))
            for k in range(0, part, columns):
                for o in range(0, outputs, rows):
                    product(here, there, g, i64(a[32] + 8 * o), a[28], f32(block), i64(a[31] + 8 * k), a[21] * n, sums)
                    for i in range(min(rows, outputs - o)):
                        for j in range(min(columns, part - k)):
                            to[(o + i) * depth + k + j] += sums[i * columns + j]

    return weight


for _outputs, _depth in WEIGHT:
    globals()[f"weight_{_outputs}x{_depth}"] = _weight(_outputs, _depth)


def add_up(a, thread, threads):
    """a: sums, parts, count, y. y[i] = the sum over parts of sums[part, i]."""
    y = f32(a[3])
    first, end = share(a[2], LANES, thread, threads)
    for i in range(first, end):
        s = f32(a[0])[i]
        for part in range(1, a[1]):
            s += f32(a[0])[part * a[2] + i]
        y[i] = s


def batch_last(a, thread, threads):
    """a: x, its strides by example, channel, row and column, batch, channels, rows, columns, y. A copy of x as (channels, rows,
    columns, batch) in memory."""
    n, channels, rows, columns = a[5], a[6], a[7], a[8]
    first, end = share(channels * rows, 1, thread, threads)
    for item in range(first, end):
        source = a[0] + 4 * (item // rows * a[2] + item % rows * a[3])
        to = a[9] + 4 * item * columns * n
        for b in range(0, n, LANES):
            for q in range(0, columns, LANES):
                x, y = f32(source + 4 * (b * a[1] + q * a[4])), f32(to + 4 * (q * n + b))
                examples, places = min(n - b, LANES), min(columns - q, LANES)
                if a[4] == 1:
                    transpose(x, a[1], y, n, examples, places)
                else:
                    for i in range(places):
                        for j in range(examples):
                            y[i * n + j] = x[j * a[1] + i * a[4]]
