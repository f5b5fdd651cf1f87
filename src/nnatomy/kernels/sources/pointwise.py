"""Chains of elementwise operations in one pass over memory, block by block; and the elementary functions of a block."""


from __future__ import annotations

import math

import numpy as np

from nnatomy.kernels.sources.copies import move
from nnatomy.kernels.sources.mathematics import TURNED, erff, expf, expm1f, log1pf, logf, sigmoidf, tanhf, turned
from nnatomy.kernels.sources.microoperations import step
from nnatomy.kernels.vectors import (
    LANES,
    absolute,
    address_of,
    call_kernel,
    f32,
    f64,
    i32,
    i64,
    inner,
    largest,
    load,
    load_part,
    load_truth,
    share,
    splat,
    store,
    store_part,
    store_truth,
    u8,
)  # fmt: skip

DIRECT, SCALAR, EVERY, ROWS, COPIED = 0, 1, 2, 3, 4
"""The access to an operand in a block: read or written in place; one number for all blocks; one number for each block; the same
rows for all blocks, copied once; copied for each block."""
FLOAT, TRUTH, INT32, INT64, DOUBLE = 0, 1, 2, 3, 4
HEAD, WORDS = 18, 6  # words before the operands, and of each operand
CALL = 8  # words of a workspace for calling a function; the operands' places follow


@inner
def _element(operand, at):
    """Element `at` of an operand, as float32."""
    address, kind = i64(operand)[0], i64(operand)[2]
    if kind == FLOAT:
        return f32(address)[at]
    if kind == TRUTH:
        return np.float32(u8(address)[at])
    if kind == INT32:
        return np.float32(i32(address)[at])
    if kind == INT64:
        return np.float32(i64(address)[at])
    return np.float32(f64(address)[at])


@inner
def _copy(function, operand, start, rows, columns, place, call):
    """Call `gather` or `scatter`."""
    arguments = i64(call)
    arguments[0], arguments[1], arguments[2], arguments[3], arguments[4] = operand, start, rows, columns, place
    call_kernel(function, call, 0, 1)


@inner
def _run(code, first, end, table, call, vectors):
    """Run some of the steps on one block. A step: number, function or 0, target, operands."""
    for j in range(first, end):
        at = 6 * j
        to, x, y, z = 2 * code[at + 2], 2 * code[at + 3], 2 * code[at + 4], 2 * code[at + 5]
        function = code[at + 1]
        if function == 0:
            step(code[at], table[to], table[x], table[x + 1], table[y], table[y + 1], table[z], table[z + 1], vectors)
        else:
            arguments = i64(call)
            arguments[0], arguments[1], arguments[2] = table[to], vectors, table[x]
            arguments[3], arguments[4], arguments[5] = table[x + 1] // 4, table[y], table[y + 1] // 4
            call_kernel(function, call, 0, 1)


def chain(a, thread, threads):
    """All steps of a chain on all blocks.

    a: workspaces, bytes of each; tables, bytes of each; code, steps that come once, steps of a block; outer dimensions; rows,
    columns; rows and columns of a block; operands, inputs; where a workspace keeps what is beyond the last whole vector;
    the kernels `gather` and `scatter`, where needed; how many threads have a workspace;
    for each operand its address, way, type, steps from row to row and from column to column, and place in the workspace.
    A table holds (address, bytes from vector to vector) of whatever a step can name, operands first.
    Outer dimensions: how many, their lengths, then for each operand the steps along them.
    """
    none, one = np.int64(0), np.int64(1)  # a literal as an argument would have the function compiled for it
    base, table = a[0] + thread * a[1], i64(a[2] + thread * a[3])
    code, once, count, outer = i64(a[4]), a[5], a[6], i64(a[7])
    height, width, block_rows, block_columns, operands, inputs = a[8], a[9], a[10], a[11], a[12], a[13]
    tails, gathering, scattering = base + a[14], a[15], a[16]
    here, starts = address_of(a), i64(base + 8 * CALL)
    dimensions = outer[0]
    across = (width + block_columns - 1) // block_columns
    down = (height + block_rows - 1) // block_rows
    blocks = across * down
    for d in range(dimensions):
        blocks *= outer[1 + d]
    first, last = share(blocks, 1, thread, min(threads, a[17]))
    if thread >= a[17] or first >= last:
        return
    for k in range(inputs):
        o = HEAD + WORDS * k
        place = base + a[o + 5]
        if a[o + 1] == SCALAR:
            store(f32(place), 0, splat(_element(here + 8 * o, none)))
            table[2 * k] = place
        elif a[o + 1] == ROWS:
            _copy(gathering, here + 8 * o, none, block_rows, block_columns, place, base)
    _run(code, none, once, table, base, one)
    for block in range(first, last):
        rest, row, column = block, 0, 0
        if across > 1:
            column = rest % across * block_columns
            rest = rest // across
        if down > 1:
            row = rest % down * block_rows
            rest = rest // down
        rows, columns = min(block_rows, height - row), min(block_columns, width - column)
        n = rows * columns
        vectors = n // LANES
        left = n - vectors * LANES
        for k in range(operands):
            o = HEAD + WORDS * k
            way = a[o + 1]
            if way == SCALAR:
                continue
            start = row * a[o + 3] + column * a[o + 4]
            r = rest
            for d in range(dimensions - 1, -1, -1):
                start += r % outer[1 + d] * outer[1 + dimensions * (k + 1) + d]
                r = r // outer[1 + d]
            starts[k] = start
            if way == DIRECT:
                table[2 * k] = a[o] + 4 * start
                continue
            place = base + a[o + 5]
            table[2 * k] = place
            if way == EVERY:
                store(f32(place), 0, splat(_element(here + 8 * o, start)))
            elif way == COPIED and k < inputs:
                _copy(gathering, here + 8 * o, start, rows, columns, place, base)
        if vectors > 0:
            _run(code, once, once + count, table, base, vectors)
        if left > 0:
            done = 4 * vectors * LANES
            for k in range(operands):
                way = a[HEAD + WORDS * k + 1]
                if way == DIRECT:
                    tail = tails + 4 * LANES * k
                    if k < inputs:
                        store(f32(tail), 0, load_part(f32(table[2 * k] + done), 0, left))
                    table[2 * k] = tail
                elif way in (ROWS, COPIED):
                    table[2 * k] += done
            _run(code, once, once + count, table, base, one)
            for k in range(inputs, operands):
                o = HEAD + WORDS * k
                if a[o + 1] == DIRECT:
                    store_part(f32(a[o] + 4 * starts[k] + done), 0, load(f32(tails + 4 * LANES * k), 0), left)
        for k in range(inputs, operands):
            o = HEAD + WORDS * k
            if a[o + 1] == COPIED:
                _copy(scattering, here + 8 * o, starts[k], rows, columns, base + a[o + 5], base)


def gather(a, thread, threads):
    """Copy a block of an operand, converted, to (rows, columns) in one piece.

    a: operand, first element, rows, columns, target.
    """
    o, start, rows, columns, to = i64(a[0]), a[1], a[2], a[3], a[4]
    row_step, column_step = o[3], o[4]
    if o[2] == FLOAT:
        move(to, columns, 1, o[0] + 4 * start, row_step, column_step, rows, columns)
        return
    y = f32(to)
    for r in range(rows):
        done = 0
        if o[2] == TRUTH and column_step == 1:
            for c in range(0, columns - LANES + 1, LANES):
                store(y, r * columns + c, load_truth(u8(o[0]), start + r * row_step + c))
            done = columns - columns % LANES
        for c in range(done, columns):
            y[r * columns + c] = _element(a[0], start + r * row_step + c * column_step)


def scatter(a, thread, threads):
    """Copy (rows, columns) in one piece to a block of an operand, numbers or truth values.

    a: operand, first element, rows, columns, source.
    """
    o, start, rows, columns, source = i64(a[0]), a[1], a[2], a[3], a[4]
    row_step, column_step = o[3], o[4]
    if o[2] == FLOAT:
        move(o[0] + 4 * start, row_step, column_step, source, columns, 1, rows, columns)
        return
    x, y = f32(source), u8(o[0])
    for r in range(rows):
        done = 0
        if column_step == 1:
            for c in range(0, columns - LANES + 1, LANES):
                store_truth(y, start + r * row_step + c, load(x, r * columns + c))
            done = columns - columns % LANES
        for c in range(done, columns):
            y[start + r * row_step + c * column_step] = x[r * columns + c] != 0


# Functions of a block. a: result, vectors, x, elements from vector to vector in x (0: the same), y, the same of y.


def exp(a, thread, threads):
    """e^x."""
    y, x, by = f32(a[0]), f32(a[2]), a[3]
    for i in range(a[1]):
        store(y, i * LANES, expf(load(x, i * by)))


def expm1(a, thread, threads):
    """e^x - 1."""
    y, x, by = f32(a[0]), f32(a[2]), a[3]
    for i in range(a[1]):
        store(y, i * LANES, expm1f(load(x, i * by)))


def tanh(a, thread, threads):
    """The hyperbolic tangent."""
    y, x, by = f32(a[0]), f32(a[2]), a[3]
    for i in range(a[1]):
        store(y, i * LANES, tanhf(load(x, i * by)))


def sigmoid(a, thread, threads):
    """1 / (1 + e^-x)."""
    y, x, by = f32(a[0]), f32(a[2]), a[3]
    for i in range(a[1]):
        store(y, i * LANES, sigmoidf(load(x, i * by)))


def erf(a, thread, threads):
    """The error function."""
    y, x, by = f32(a[0]), f32(a[2]), a[3]
    for i in range(a[1]):
        store(y, i * LANES, erff(load(x, i * by)))


def log(a, thread, threads):
    """The natural logarithm."""
    y, x, by = f32(a[0]), f32(a[2]), a[3]
    for i in range(a[1]):
        store(y, i * LANES, logf(load(x, i * by)))


def log1p(a, thread, threads):
    """ln(1 + x)."""
    y, x, by = f32(a[0]), f32(a[2]), a[3]
    for i in range(a[1]):
        store(y, i * LANES, log1pf(load(x, i * by)))


def sin(a, thread, threads):
    """The sine."""
    y, x, by = f32(a[0]), f32(a[2]), a[3]
    for i in range(a[1]):
        value = load(x, i * by)
        if largest(absolute(value)) <= TURNED:
            store(y, i * LANES, turned(value, 0.0))
        else:
            for lane in range(LANES):
                y[i * LANES + lane] = np.float32(math.sin(x[i * by + lane]))


def cos(a, thread, threads):
    """The cosine."""
    y, x, by = f32(a[0]), f32(a[2]), a[3]
    for i in range(a[1]):
        value = load(x, i * by)
        if largest(absolute(value)) <= TURNED:
            store(y, i * LANES, turned(value, 1.0))
        else:
            for lane in range(LANES):
                y[i * LANES + lane] = np.float32(math.cos(x[i * by + lane]))


def power(a, thread, threads):
    """x^y."""
    z, x, x_by, y, y_by = f32(a[0]), f32(a[2]), a[3], f32(a[4]), a[5]
    for i in range(a[1]):
        for lane in range(LANES):
            z[i * LANES + lane] = x[i * x_by + lane] ** y[i * y_by + lane]
