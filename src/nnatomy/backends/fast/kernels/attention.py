"""Attention by blocks of queries and keys (Dao et al. 2022): scores are made, used and forgotten while they are in cache.

For each head, what stands on the left of scores is packed as rows, on the right as panels: PANEL keys side by side, feature
after feature. All that stands on the right of other products is packed as rows too, their width a multiple of LANES, so that
no tile of a result is cut off at its side; at its end results have room for the last tile's further rows.

Under a causal mask, tiles above the diagonal are not computed. In the reference their weights are 0, and 0 times what is NaN or
infinite is NaN; so that it is here too, sums begin with 0 times the sum of all rows.
"""


from __future__ import annotations

import math

from nnatomy.backends.fast.kernels.mathematics import expf, logf, vexp
from nnatomy.backends.fast.microkernels import ROWS, tile
from nnatomy.backends.fast.vectors import (
    LANES,
    add,
    as_double,
    f32,
    first,
    fma,
    inner,
    largest,
    load,
    load_part,
    multiply,
    select,
    share,
    splat,
    store,
    store_part,
    subtract,
    total,
    transpose,
    vmax,
)

PANEL = 2 * LANES
_UNIT = math.lcm(PANEL, ROWS)
KEYS = max(128 // _UNIT, 1) * _UNIT
"""Keys of a block: whole panels, and whole tiles where keys are rows of a result."""
QUERIES = 64 // ROWS * ROWS
STEP = KEYS + LANES
"""From one row of a block of scores to the next: rows of a power of two would share few places in the cache."""
INFINITY, NAN = float("inf"), float("nan")

_double, _single = tile(ROWS, 2, packed=False), tile(ROWS, 1, packed=False)


@inner
def padded(count, grain):
    return (count + grain - 1) // grain * grain


@inner
def _pack_rows(source, row, count, columns, target, width, factor):
    """target[i, j] = factor source[i, j], in rows of `width` that end in zeros; rows of the source stand `row` apart."""
    for i in range(count):
        p, t = f32(source + 4 * i * row), f32(target + 4 * i * width)
        for j in range(0, width, LANES):
            store(t, j, multiply(load_part(p, j, columns - j), factor))


@inner
def _pack_panels(source, row, count, features, target):
    """target[panel, j, i] = source[panel PANEL + i, j]."""
    for i in range(0, count, LANES):
        to = i // PANEL * (PANEL * features) + i % PANEL
        for j in range(0, features, LANES):
            transpose(f32(source + 4 * (i * row + j)), row, f32(target + 4 * (to + j * PANEL)), PANEL,
                      min(count - i, LANES), min(features - j, LANES))  # fmt: skip


@inner
def _unpack_rows(source, width, factor, count, columns, target, row):
    """target[i, j] = factor source[i, j]; rows of the target stand `row` apart."""
    for i in range(count):
        p, t = f32(source + 4 * i * width), f32(target + 4 * i * row)
        for j in range(0, width, LANES):
            store_part(t, j, multiply(load(p, j), factor), columns - j)


@inner
def _begin(packed, width, count, target, rows):
    """Each of the target's rows becomes 0 times the sum of all packed rows: 0, or NaN where not all is finite."""
    p, t = f32(packed), f32(target)
    for j in range(0, width, LANES):
        sums = splat(0.0)
        for i in range(count):
            sums = fma(load(p, i * width + j), 0.0, sums)
        for i in range(rows):
            store(t, i * width + j, sums)


@inner
def _seen(causal, row, first_key, keys):
    """How many keys of a block the query number `row` sees."""
    return min(keys, row + 1 - first_key) if causal else keys


@inner
def _scores(left, width, features, panels, first_query, queries, first_key, keys, causal, scores):
    """A block of q k^T, or of g v^T: rows of the left, and panels from the block's first key."""
    for i in range(0, queries, ROWS):
        limit = _seen(causal, first_query + i + ROWS - 1, first_key, keys)
        for j in range(0, limit, PANEL):
            _double(features, f32(left + 4 * i * width), width, 1, f32(panels + 4 * (first_key + j) * features), PANEL,
                    f32(scores + 4 * (i * STEP + j)), STEP, LANES, 0)  # fmt: skip


@inner
def _product(depth, left, row, step, right, width, result):
    """ROWS rows of the result += left right."""
    whole = width // PANEL * PANEL
    for j in range(0, whole, PANEL):
        _double(depth, f32(left), row, step, f32(right + 4 * j), width, f32(result + 4 * j), width, LANES, 1)
    if whole < width:
        _single(depth, f32(left), row, step, f32(right + 4 * whole), width, f32(result + 4 * whole), width, LANES, 1)


@inner
def _largest(scores, count):
    p, best = f32(scores), splat(-INFINITY)
    whole = count // LANES * LANES
    for j in range(0, whole, LANES):
        best = vmax(best, load(p, j))
    if whole < count:
        best = vmax(best, select(first(count - whole), load(p, whole), -INFINITY))
    return largest(best)


@inner
def _exponentials(scores, count, width, shift):
    """scores = e^(scores - shift), and 0 from the count to the width; returns their sum."""
    p, sums = f32(scores), splat(0.0)
    whole = count // LANES * LANES
    for j in range(0, whole, LANES):
        e = vexp(subtract(load(p, j), shift))
        store(p, j, e)
        sums = add(sums, e)
    for j in range(whole, width, LANES):
        e = splat(0.0)
        if j < count:
            e = select(first(count - j), vexp(subtract(load(p, j), shift)), 0.0)
        store(p, j, e)
        sums = add(sums, e)
    return total(sums)


@inner
def _scale_row(row, width, factor):
    p = f32(row)
    for j in range(0, width, LANES):
        store(p, j, multiply(load(p, j), factor))


def forward(a, thread, threads):
    """y and lse of `attention`.

    a: q, k, v, y, lse, scratch, its size for a thread, heads (outer, inner), queries, keys, features of q, of v, causal, scale;
    the steps of q, k, v and y (outer, inner, row). Features are neighbours; lse is contiguous. Sizes and steps are in floats.
    """
    outer, heads, queries, keys, features, columns = a[7], a[8], a[9], a[10], a[11], a[12]
    causal, scale = a[13], as_double(a[14])
    width, y_width = padded(features, LANES), padded(columns, LANES)
    q = a[5] + 4 * thread * a[6]
    y = q + 4 * QUERIES * width
    tops = y + 4 * QUERIES * y_width
    sums = tops + 4 * QUERIES
    scores = sums + 4 * QUERIES
    k = scores + 4 * QUERIES * STEP
    v = k + 4 * padded(keys, PANEL) * features
    m, s = f32(tops), f32(sums)
    blocks = (queries + QUERIES - 1) // QUERIES
    begin, end = share(outer * heads * blocks, 1, thread, threads)
    packed = -1
    for item in range(begin, end):
        head, start = item // blocks, item % blocks * QUERIES
        o, h = head // heads, head % heads
        if head != packed:
            packed = head
            _pack_panels(a[1] + 4 * (o * a[18] + h * a[19]), a[20], keys, features, k)
            _pack_rows(a[2] + 4 * (o * a[21] + h * a[22]), a[23], keys, columns, v, y_width, 1.0)
        count = min(queries - start, QUERIES)
        _pack_rows(a[0] + 4 * (o * a[15] + h * a[16] + start * a[17]), a[17], count, features, q, width, scale)
        _begin(v, y_width, keys if causal else 0, y, count)
        for i in range(count):
            m[i] = -INFINITY
            s[i] = 0.0
        last = _seen(causal, start + count - 1, 0, keys)
        for key in range(0, last, KEYS):
            block = min(keys - key, KEYS)
            _scores(q, width, features, k, start, count, key, block, causal, scores)
            for i in range(0, count, ROWS):
                limit = _seen(causal, start + i + ROWS - 1, key, block)
                if limit <= 0:
                    continue
                for r in range(i, min(i + ROWS, count)):
                    row = scores + 4 * r * STEP
                    seen = _seen(causal, start + r, key, block)
                    top = vmax(m[r], _largest(row, seen))
                    shift = select(top == -INFINITY, 0.0, top)  # else -inf - -inf, where later blocks may be finite
                    part = _exponentials(row, seen, limit, shift)
                    if key > 0:
                        factor = expf(subtract(m[r], shift))
                        s[r] = fma(s[r], factor, part)
                        _scale_row(y + 4 * r * y_width, y_width, factor)
                    else:
                        s[r] = part
                    m[r] = top
                _product(limit, scores + 4 * i * STEP, STEP, 1, v + 4 * key * y_width, y_width, y + 4 * i * y_width)
        lse = f32(a[4] + 4 * (head * queries + start))
        target = a[3] + 4 * (o * a[24] + h * a[25] + start * a[26])
        for i in range(count):
            lse[i] = NAN if s[i] == 0.0 else m[i] + logf(s[i])
            _unpack_rows(y + 4 * i * y_width, y_width, 1.0 / s[i], 1, columns, target + 4 * i * a[26], a[26])


@inner
def _changes(weights, changes, count, width, lse, along):
    """weights = e^(weights - lse), changes = weights (changes - along); both 0 from the count to the width."""
    p, c = f32(weights), f32(changes)
    for j in range(0, width, LANES):
        seen = first(count - j)
        e = select(seen, vexp(subtract(load(p, j), lse)), 0.0)
        store(p, j, e)
        store(c, j, select(seen, multiply(e, subtract(load(c, j), along)), 0.0))


@inner
def _dot(x, y, count):
    p, q, sums = f32(x), f32(y), splat(0.0)
    for j in range(0, count, LANES):
        sums = fma(load_part(p, j, count - j), load_part(q, j, count - j), sums)
    return total(sums)


def backward(a, thread, threads):
    """The gradients of `attention`; a head's weights are computed again, block by block.

    a: g, q, k, v, y, lse, dq, dk, dv, scratch, its size for a thread, heads (outer, inner), queries, keys, features of q, of v,
    causal, scale; the steps of g, q, k, v, y, dq, dk and dv (outer, inner, row). The rest as in `forward`.
    """
    outer, heads, queries, keys, features, columns = a[11], a[12], a[13], a[14], a[15], a[16]
    causal, scale = a[17], as_double(a[18])
    width, y_width = padded(features, LANES), padded(columns, LANES)
    q = a[9] + 4 * thread * a[10]
    g = q + 4 * queries * width
    dq = g + 4 * queries * y_width
    weights = dq + 4 * QUERIES * width
    changes = weights + 4 * QUERIES * STEP
    k = changes + 4 * QUERIES * STEP
    dk = k + 4 * keys * width
    dv = dk + 4 * padded(keys, ROWS) * width
    k_panels = dv + 4 * padded(keys, ROWS) * y_width
    v_panels = k_panels + 4 * padded(keys, PANEL) * features
    begin, end = share(outer * heads, 1, thread, threads)
    for head in range(begin, end):
        o, h = head // heads, head % heads
        at_g, at_y = a[0] + 4 * (o * a[19] + h * a[20]), a[4] + 4 * (o * a[31] + h * a[32])
        at_k, at_dq = a[2] + 4 * (o * a[25] + h * a[26]), a[6] + 4 * (o * a[34] + h * a[35])
        lse = f32(a[5] + 4 * head * queries)
        _pack_rows(a[1] + 4 * (o * a[22] + h * a[23]), a[24], queries, features, q, width, scale)
        _pack_rows(at_g, a[21], queries, columns, g, y_width, 1.0)
        _pack_rows(at_k, a[27], keys, features, k, width, 1.0)
        _pack_panels(at_k, a[27], keys, features, k_panels)
        _pack_panels(a[3] + 4 * (o * a[28] + h * a[29]), a[30], keys, columns, v_panels)
        _begin(q, width, queries if causal else 0, dk, keys)
        _begin(g, y_width, queries if causal else 0, dv, keys)
        for start in range(0, queries, QUERIES):
            count = min(queries - start, QUERIES)
            at, g_at = q + 4 * start * width, g + 4 * start * y_width
            _begin(k, width, keys if causal else 0, dq, count)
            last = _seen(causal, start + count - 1, 0, keys)
            for key in range(0, last, KEYS):
                block = min(keys - key, KEYS)
                _scores(at, width, features, k_panels, start, count, key, block, causal, weights)
                _scores(g_at, y_width, columns, v_panels, start, count, key, block, causal, changes)
                for i in range(0, count, ROWS):
                    limit = _seen(causal, start + i + ROWS - 1, key, block)
                    if limit <= 0:
                        continue
                    for r in range(i, min(i + ROWS, count)):
                        n = start + r
                        along = _dot(at_g + 4 * n * a[21], at_y + 4 * n * a[33], columns)
                        here = 4 * r * STEP
                        _changes(weights + here, changes + here, _seen(causal, n, key, block), limit, lse[n], along)
                    _product(limit, changes + 4 * i * STEP, STEP, 1, k + 4 * key * width, width, dq + 4 * i * width)
                for j in range(0, block, ROWS):
                    skip = max(key + j - start, 0) if causal else 0  # queries before the first that sees these keys
                    if skip < count:
                        here = 4 * (skip * STEP + j)
                        _product(count - skip, weights + here, 1, STEP, g_at + 4 * skip * y_width, y_width,
                                 dv + 4 * (key + j) * y_width)  # fmt: skip
                        _product(count - skip, changes + here, 1, STEP, at + 4 * skip * width, width,
                                 dk + 4 * (key + j) * width)  # fmt: skip
            _unpack_rows(dq, width, scale, count, features, at_dq + 4 * start * a[36], a[36])
        _unpack_rows(dk, width, 1.0, keys, features, a[7] + 4 * (o * a[37] + h * a[38]), a[39])
        _unpack_rows(dv, y_width, 1.0, keys, columns, a[8] + 4 * (o * a[40] + h * a[41]), a[42])


def forward_scratch(queries, keys, features, columns):
    """Floats that a thread needs in `forward`, in multiples of a cache line."""
    width, y_width = _up(features, LANES), _up(columns, LANES)
    floats = QUERIES * (width + y_width + 2 + STEP) + _up(keys, PANEL) * features + keys * y_width
    return _up(floats + ROWS * (width + STEP), 16)


def backward_scratch(queries, keys, features, columns):
    """Floats that a thread needs in `backward`, in multiples of a cache line."""
    width, y_width = _up(features, LANES), _up(columns, LANES)
    blocks = QUERIES * (width + 2 * STEP) + queries * (width + y_width)
    floats = blocks + keys * width + _up(keys, ROWS) * (width + y_width) + _up(keys, PANEL) * (features + columns)
    return _up(floats + ROWS * (width + y_width), 16)


def _up(count, grain):
    return -(-count // grain) * grain
