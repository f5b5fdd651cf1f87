"""Copies between any two layouts: rows, transposed tiles in registers, single elements."""


from __future__ import annotations

from nnatomy.kernels.vectors import LANES, copy_memory, f32, i64, inner, share, splat, store_part, transpose, u8


@inner
def move(target, target_row, target_step, source, source_row, source_step, rows, columns):
    """Copy a block of 4-byte elements between two addresses, with these steps from row to row and from column to column."""
    if target_step == 1 and source_step == 1:
        for r in range(rows):
            copy_memory(target + 4 * r * target_row, source + 4 * r * source_row, 4 * columns)
        return
    if target_row == 1 and source_step == 1:  # the same as the next case, seen by columns
        target_row, target_step, source_row, source_step = target_step, target_row, source_step, source_row
        rows, columns = columns, rows
    y, x = f32(target), f32(source)
    if target_step == 1 and source_step == 0:
        for r in range(rows):
            value = splat(x[r * source_row])
            for c in range(0, columns, LANES):
                store_part(y, r * target_row + c, value, min(LANES, columns - c))
        return
    if target_step == 1 and source_row == 1:
        for c in range(0, columns, LANES):
            for r in range(0, rows, LANES):
                place, to = f32(source + 4 * (r + c * source_step)), f32(target + 4 * (r * target_row + c))
                transpose(place, source_step, to, target_row, min(LANES, columns - c), min(LANES, rows - r))
        return
    for r in range(rows):
        for c in range(columns):
            y[r * target_row + c * target_step] = x[r * source_row + c * source_step]


def copy(a, thread, threads):
    """Copy an array.

    a: target, source, bytes of an element; rows, columns; rows and columns of a block; steps of the target from row to row and
    from column to column; the same of the source; outer dimensions: how many, their lengths, the target's steps, the source's.
    """
    size, height, width, block_rows, block_columns = a[2], a[3], a[4], a[5], a[6]
    target_row, target_step, source_row, source_step, dimensions = a[7], a[8], a[9], a[10], a[11]
    across = (width + block_columns - 1) // block_columns
    down = (height + block_rows - 1) // block_rows
    blocks = across * down
    for d in range(dimensions):
        blocks *= a[12 + d]
    first, last = share(blocks, 1, thread, threads)
    for block in range(first, last):
        column = block % across * block_columns
        rest = block // across
        row = rest % down * block_rows
        rest = rest // down
        rows, columns = min(block_rows, height - row), min(block_columns, width - column)
        to, at = row * target_row + column * target_step, row * source_row + column * source_step
        for d in range(dimensions - 1, -1, -1):
            to += rest % a[12 + d] * a[12 + dimensions + d]
            at += rest % a[12 + d] * a[12 + 2 * dimensions + d]
            rest = rest // a[12 + d]
        to, at = a[0] + size * to, a[1] + size * at
        if size == 4 and source_step != 0:
            move(to, target_row, target_step, at, source_row, source_step, rows, columns)
        elif target_step == 1 and source_step == 1:
            for r in range(rows):
                copy_memory(to + size * r * target_row, at + size * r * source_row, size * columns)
        else:
            _elements(size, to, target_row, target_step, at, source_row, source_step, rows, columns)


@inner
def _elements(size, to, target_row, target_step, at, source_row, source_step, rows, columns):
    """Copy one element after another."""
    for r in range(rows):
        for c in range(columns):
            i, j = r * target_row + c * target_step, r * source_row + c * source_step
            if size == 8:
                i64(to)[i] = i64(at)[j]
            elif size == 4:
                f32(to)[i] = f32(at)[j]
            else:
                u8(to)[i] = u8(at)[j]
