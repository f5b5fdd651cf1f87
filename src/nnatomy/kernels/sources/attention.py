"""Attention by blocks of queries and keys (Dao et al. 2022): scores are made, used and forgotten while they are in cache.

For each head, the left operand of scores is packed as rows, the right operand as panels: PANEL keys side by side, feature
after feature. The right operand of each other product is packed as rows too, their width a multiple of LANES, so that
no tile of a result is cut off at its side; at its end results have space for the last tile's further rows.

Under a causal mask, tiles above the diagonal are not computed. In the reference their weights are 0, and 0 times NaN or
infinity is NaN. To give the same result, sums here start with 0 times the hidden values.
"""


from __future__ import annotations

from nnatomy.kernels.microkernels import tile
from nnatomy.kernels.processor import ROWS
from nnatomy.kernels.sources.attention_blocks import KEYS, PANEL, QUERIES, STEP
from nnatomy.kernels.sources.mathematics import expf, logf, vexp
from nnatomy.kernels.vectors import (
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

INFINITY, NAN = float("inf"), float("nan")

_double, _single = tile(ROWS, 2, packed=False), tile(ROWS, 1, packed=False)


@inner
def _pack_rows(source, row, count, columns, target, width, factor):
    """target[i, j] = factor source[i, j], in rows of `width` that end in zeros; the source's row stride is `row`."""
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
    """target[i, j] = factor source[i, j]; the target's row stride is `row`."""
    for i in range(count):
        p, t = f32(source + 4 * i * width), f32(target + 4 * i * row)
        for j in range(0, width, LANES):
            store_part(t, j, multiply(load(p, j), factor), columns - j)


@inner
def _begin(target, rows, width, hidden, count, causal, first_query):
    """Each tile of the target's rows becomes 0 times the sum of the rows hidden from it: 0, or NaN where not all is finite.

    With rows that are queries, from first_query on, those are keys from where the tile ends. With first_query -1, rows are keys
    and those hidden are queries before the tile.
    """
    t, p = f32(target), f32(hidden)
    for c in range(0, width, LANES):
        sums, done = splat(0.0), 0
        for n in range(0, rows, ROWS):
            i = n if first_query < 0 else (rows - 1) // ROWS * ROWS - n
            if causal:
                until = min(count, i) if first_query < 0 else count - first_query - i - ROWS
                while done < until:
                    at = done if first_query < 0 else count - 1 - done
                    sums = fma(load(p, at * width + c), 0.0, sums)
                    done += 1
            for r in range(i, min(i + ROWS, rows)):
                store(t, r * width + c, sums)


@inner
def _seen(causal, row, first_key, keys):
    """Return the number of keys of a block that the query number `row` sees."""
    return min(keys, row + 1 - first_key) if causal else keys


@inner
def _product(depth, left, row, step, right, width, result, next_row, add):
    """ROWS rows of the result = left right, or += if `add`; right has rows of `width`."""
    whole = width // PANEL * PANEL
    for j in range(0, whole, PANEL):
        _double(depth, f32(left), row, step, f32(right + 4 * j), width, f32(result + 4 * j), next_row, LANES, add)
    if whole < width:
        _single(depth, f32(left), row, step, f32(right + 4 * whole), width, f32(result + 4 * whole), next_row, LANES, add)


@inner
def _scores(left, width, features, panels, first_query, queries, first_key, keys, causal, scores):
    """A block of q k^T, or of g v^T: rows of the left, and panels from the block's first key."""
    for i in range(0, queries, ROWS):
        limit = _seen(causal, first_query + i + ROWS - 1, first_key, keys)
        for j in range(0, limit, PANEL):
            _product(features, left + 4 * i * width, width, 1, panels + 4 * (first_key + j) * features, PANEL,
                     scores + 4 * (i * STEP + j), STEP, 0)  # fmt: skip


@inner
def _largest(scores, count):
    p, best = f32(scores), splat(-INFINITY)
    for j in range(0, count, LANES):
        best = vmax(best, select(first(count - j), load(p, j), -INFINITY))
    return largest(best)


@inner
def _exponentials(scores, count, width, shift):
    """scores = e^(scores - shift), and 0 from the count to the width; returns their sum."""
    p, sums = f32(scores), splat(0.0)
    for j in range(0, width, LANES):
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

    a: q, k, v, y, lse; scratch, its size for a thread, where therein q, y, scores, tops, sums, k and v start; heads (outer,
    inner), queries, keys, features of q, of v, these as multiples of LANES, causal, scale; the steps of q, k, v and y (outer,
    inner, row). Sizes and steps are in floats, features neighbors, lse contiguous.
    """
    heads, queries, keys, features, columns, width, y_width = a[15], a[16], a[17], a[18], a[19], a[20], a[21]
    causal, scale = a[22], as_double(a[23])
    own = a[5] + 4 * thread * a[6]
    q, y, scores, k, v = own + 4 * a[7], own + 4 * a[8], own + 4 * a[9], own + 4 * a[12], own + 4 * a[13]
    m, s = f32(own + 4 * a[10]), f32(own + 4 * a[11])
    blocks = (queries + QUERIES - 1) // QUERIES
    begin, end = share(a[14] * heads * blocks, 1, thread, threads)
    packed = -1
    for item in range(begin, end):
        head, start = item // blocks, item % blocks * QUERIES
        o, h = head // heads, head % heads
        if head != packed:
            packed = head
            _pack_panels(a[1] + 4 * (o * a[27] + h * a[28]), a[29], keys, features, k)
            _pack_rows(a[2] + 4 * (o * a[30] + h * a[31]), a[32], keys, columns, v, y_width, 1.0)
        count = min(queries - start, QUERIES)
        _pack_rows(a[0] + 4 * (o * a[24] + h * a[25] + start * a[26]), a[26], count, features, q, width, scale)
        _begin(y, count, y_width, v, keys, causal, start)
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
                _product(limit, scores + 4 * i * STEP, STEP, 1, v + 4 * key * y_width, y_width, y + 4 * i * y_width, y_width, 1)
        lse = f32(a[4] + 4 * (head * queries + start))
        target = a[3] + 4 * (o * a[33] + h * a[34] + start * a[35])
        for i in range(count):
            lse[i] = NAN if s[i] == 0.0 else m[i] + logf(s[i])
            _unpack_rows(y + 4 * i * y_width, y_width, 1.0 / s[i], 1, columns, target + 4 * i * a[35], a[35])


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

    a: g, q, k, v, y, lse, dq, dk, dv; scratch, its size for a thread, where therein q, g, dq, weights, changes, k, dk, dv, the
    panels of k and of v start; sizes, causal and scale as in `forward`; the steps of g, q, k, v, y, dq, dk and dv.
    """
    heads, queries, keys, features, columns, width, y_width = a[22], a[23], a[24], a[25], a[26], a[27], a[28]
    causal, scale = a[29], as_double(a[30])
    own = a[9] + 4 * thread * a[10]
    q, g, dq, weights, changes = own + 4 * a[11], own + 4 * a[12], own + 4 * a[13], own + 4 * a[14], own + 4 * a[15]
    k, dk, dv, k_panels, v_panels = own + 4 * a[16], own + 4 * a[17], own + 4 * a[18], own + 4 * a[19], own + 4 * a[20]
    begin, end = share(a[21] * heads, 1, thread, threads)
    for head in range(begin, end):
        o, h = head // heads, head % heads
        at_g, at_y = a[0] + 4 * (o * a[31] + h * a[32]), a[4] + 4 * (o * a[43] + h * a[44])
        at_k, at_dq = a[2] + 4 * (o * a[37] + h * a[38]), a[6] + 4 * (o * a[46] + h * a[47])
        lse = f32(a[5] + 4 * head * queries)
        _pack_rows(a[1] + 4 * (o * a[34] + h * a[35]), a[36], queries, features, q, width, scale)
        _pack_rows(at_g, a[33], queries, columns, g, y_width, 1.0)
        _pack_rows(at_k, a[39], keys, features, k, width, 1.0)
        _pack_panels(at_k, a[39], keys, features, k_panels)
        _pack_panels(a[3] + 4 * (o * a[40] + h * a[41]), a[42], keys, columns, v_panels)
        _begin(dk, keys, width, q, queries, causal, -1)
        _begin(dv, keys, y_width, g, queries, causal, -1)
        for start in range(0, queries, QUERIES):
            count = min(queries - start, QUERIES)
            at, g_at = q + 4 * start * width, g + 4 * start * y_width
            _begin(dq, count, width, k, keys, causal, start)
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
                        along = _dot(at_g + 4 * n * a[33], at_y + 4 * n * a[45], columns)
                        here = 4 * r * STEP
                        _changes(weights + here, changes + here, _seen(causal, n, key, block), limit, lse[n], along)
                    _product(limit, changes + 4 * i * STEP, STEP, 1, k + 4 * key * width, width, dq + 4 * i * width, width, 1)
                for j in range(0, block, ROWS):
                    skip = max(key + j - start, 0) if causal else 0  # queries before the first that sees these keys
                    if skip < count:
                        here = 4 * (skip * STEP + j)
                        _product(count - skip, weights + here, 1, STEP, g_at + 4 * skip * y_width, y_width,
                                 dv + 4 * (key + j) * y_width, y_width, 1)  # fmt: skip
                        _product(count - skip, changes + here, 1, STEP, at + 4 * skip * width, width,
                                 dk + 4 * (key + j) * width, width, 1)  # fmt: skip
            _unpack_rows(dq, width, scale, count, features, at_dq + 4 * start * a[48], a[48])
        _unpack_rows(dk, width, 1.0, keys, features, a[7] + 4 * (o * a[49] + h * a[50]), a[51])
        _unpack_rows(dv, y_width, 1.0, keys, columns, a[8] + 4 * (o * a[52] + h * a[53]), a[54])
