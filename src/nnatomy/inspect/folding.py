"""Making a traced model small enough to be read: chains of operations as one, repeated parts as one, deep modules closed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from nnatomy.inspect.flow import INPUT, OUTPUT, Edge, Part

WORTH = 3  # parts that folding must save
ALONE = frozenset(["add", "concatenate", "linear", "conv", "scaled_dot_product_attention", "attention_weights"])
"""Operations that are shown by themselves in a chain: paths meet there, or readers look for them."""


def fold(part: Part) -> Part:
    """The same tree with parts that repeat made one, whose `repeat` counts them, and operations in a chain made one."""
    if not part.parts:
        return part
    part = _joined(replace(part, parts=tuple(fold(p) for p in part.parts)))
    place = 0
    while place < len(part.parts):
        part = _folded_at(part, place)
        place += 1
    return part


def closed(part: Part, depth: int) -> Part:
    """The same tree without what is deeper than `depth` modules below this one."""
    if depth == 0:
        return replace(part, parts=(), edges=())
    return replace(part, parts=tuple(closed(p, depth - (p.family != "group")) for p in part.parts))


def _joined(part: Part) -> Part:
    """Operations each of which alone takes the result of the one before, as one part: multiply → tanh."""
    at = 0
    while at + 1 < len(part.parts):
        a, b = part.parts[at], part.parts[at + 1]
        out = [e for e in part.edges if e.source == at]
        into = [e for e in part.edges if e.target == at + 1]
        chained = len(out) == len(into) == 1 and out[0] is into[0] and out[0].count == 1
        if chained and a.family == b.family == "operation" and not {a.kind, b.kind} & ALONE - _own(a, b):
            detail = ", ".join(filter(None, (a.detail, b.detail)))
            one = replace(b, kind=f"{a.kind} → {b.kind}", detail=detail)
            part = _replaced(part, at, 2, one)
        else:
            at += 1
    return part


def _own(a: Part, b: Part) -> set[str]:
    """Sums with a parameter are not a meeting of paths."""
    return {p.kind for p in (a, b) if p.detail}


def _folded_at(part: Part, at: int) -> Part:
    """The longest repetition that starts at this place, made one part where that is worth it."""
    best = (0, 0, 0)
    for period in range(1, (len(part.parts) - at) // 2 + 1):
        times = _repeats(part, at, period)
        saved = (times - 1) * sum(_size(p) for p in part.parts[at : at + period])
        best = max(best, (saved, -period, times))
    saved, period, times = best[0], -best[1], best[2]
    if saved < WORTH:
        return part
    block = part.parts[at : at + period]
    last = part.parts[at + (times - 1) * period]
    if period == 1:
        one = replace(block[0], repeat=times * block[0].repeat, until=last.until or last.path)
    else:
        inner = _inside(part, at, period)
        one = Part(
            part.path, "", "group", block[-1].shape, sum(p.parameters * p.repeat for p in block),
            sum(p.multiply_adds * p.repeat for p in block), "", block, inner, (), times,
        )  # fmt: skip
    return _replaced(part, at, period * times, one)


def _repeats(part: Part, at: int, period: int) -> int:
    """Return how often the `period` parts from `at` on repeat, each time fed and feeding in the same way."""
    signs = [_sign(p) for p in part.parts]
    times = 1
    while at + (times + 1) * period <= len(part.parts):
        start = at + times * period
        if signs[start : start + period] != signs[at : at + period]:
            break
        if _fed(part, start, period, at) != _fed(part, at + period, period, at):
            break
        if {f for f in _fed(part, start, period, at) if f[1] >= 0} != {f for f in _fed(part, at, period, at) if f[1] >= 0}:
            break
        times += 1
    while times > 1 and _leaks(part, at, period, times):
        times -= 1
    return times


def _fed(part: Part, start: int, period: int, at: int) -> set[tuple[int, int, int]]:
    """Return the sources of the block at `start`: (place in the block, source, count).

    The source is a place in this block (0 and more), in the one before (below 0), or outside the repetition (far below).
    """
    found = set()
    for e in part.edges:
        if start <= e.target < start + period:
            source = e.source - start if e.source >= at else -10_000 - e.source
            found.add((e.target - start, source if source >= -period or e.source < at else -5_000 + source, e.count))
    return found


def _leaks(part: Part, at: int, period: int, times: int) -> bool:
    """Return True if a block other than the last feeds something beyond the one after it."""
    end = at + period * times
    for e in part.edges:
        if at <= e.source < end - period:
            block = (e.source - at) // period
            if e.target == OUTPUT or not at <= e.target < at + period * (block + 2):
                return True
    return False


def _inside(part: Part, at: int, period: int) -> tuple[Edge, ...]:
    """The edges of one block, with its own input and output."""
    inner: dict[tuple[int, int], int] = {}
    for e in part.edges:
        into, out = at <= e.target < at + period, at <= e.source < at + period
        if into or out:
            key = (e.source - at if out else INPUT, e.target - at if into else OUTPUT)
            inner[key] = max(inner.get(key, 0), e.count)
    return tuple(Edge(a, b, n) for (a, b), n in inner.items())


def _replaced(part: Part, at: int, count: int, one: Part) -> Part:
    """The part with `count` of its parts from `at` on replaced by one, and the edges led to that."""

    def moved(place: int) -> int:
        return place if place < at else at if place < at + count else place - count + 1

    edges: dict[tuple[int, int], int] = {}
    for e in part.edges:
        key = (moved(e.source), moved(e.target))
        if key[0] != key[1]:
            edges[key] = max(edges.get(key, 0), e.count)
    parts = (*part.parts[:at], one, *part.parts[at + count :])
    return replace(part, parts=parts, edges=tuple(Edge(a, b, n) for (a, b), n in edges.items()))


def _sign(part: Part) -> Any:
    """Return the key by which two parts are alike: everything but their names."""
    inner = tuple(_sign(p) for p in part.parts)
    return (part.kind, part.shape, part.parameters, part.multiply_adds, part.detail, part.repeat, inner, frozenset(part.edges))


def _size(part: Part) -> int:
    return sum(1 for _ in part.walk())


def shallowed(part: Part, fits: Callable[[Part], bool], depths: Iterable[int]) -> Part:
    """The deepest of the given views of a tree that fits; the last one if none does."""
    view = part
    for depth in depths:
        view = closed(part, depth)
        if fits(view):
            break
    return view
