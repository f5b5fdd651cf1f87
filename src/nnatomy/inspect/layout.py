"""Layout of a diagram's boxes: blocks that know their size and draw themselves on a canvas, in points, y downwards.

A module's parts are laid out from top to bottom. Where paths part and meet again they are side by side; a path with nothing
on it goes round the others as a separate line, which is how residual connections show.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from math import log
from typing import Protocol

from nnatomy.inspect.flow import INPUT, OUTPUT, Edge, Part

GAP, PAD, HEAD, LANE, FORK, GUTTER = 15.0, 10.0, 19.0, 13.0, 11.0, 34.0
WIDE = 1.4  # the breadth that is sought for pictures of several columns, for each unit of height


class Canvas(Protocol):
    """The canvas that blocks draw on."""

    def leaf(self, part: Part, parent: Part, x: float, y: float, width: float, height: float) -> None: ...

    def frame(self, part: Part, parent: Part, x: float, y: float, width: float, height: float, depth: int) -> None: ...

    def line(self, points: list[tuple[float, float]], *, arrow: bool = True, skip: bool = False, count: int = 1) -> None: ...

    def size(self, part: Part, parent: Part) -> tuple[float, float]: ...


class Block(Protocol):
    """Something with a size; data come in at (axis, 0) and go out at (axis, height)."""

    width: float
    height: float
    axis: float

    def draw(self, canvas: Canvas, x: float, y: float) -> None: ...


@dataclass
class Leaf:
    """One box or operation."""

    part: Part
    parent: Part
    width: float
    height: float
    axis: float = 0.0

    def __post_init__(self) -> None:
        self.axis = self.width / 2

    def draw(self, canvas: Canvas, x: float, y: float) -> None:
        canvas.leaf(self.part, self.parent, x, y, self.width, self.height)


@dataclass
class Frame:
    """A module with its parts inside."""

    part: Part
    parent: Part
    inner: Block
    head: float
    depth: int
    width: float = 0.0
    height: float = 0.0
    axis: float = 0.0

    def __post_init__(self) -> None:
        self.width = max(self.inner.width + (2 * LANE if self.part.turns > 1 else 0), self.head) + 2 * PAD
        self.height = HEAD + 4 + self.inner.height + PAD + 4
        self.axis = PAD + max(0.0, (self.width - 2 * PAD - self.inner.width) / 2) + self.inner.axis

    def draw(self, canvas: Canvas, x: float, y: float) -> None:
        canvas.frame(self.part, self.parent, x, y, self.width, self.height, self.depth)
        top = y + HEAD + 4
        self.inner.draw(canvas, x + self.axis - self.inner.axis, top)
        if not isinstance(self.inner, Nothing):
            canvas.line([(x + self.axis, top + self.inner.height), (x + self.axis, y + self.height)], arrow=False)
        if self.part.turns > 1:  # the state that a step gives to the next
            middle, right, foot = x + self.axis, x + self.width - PAD, y + self.height - 7
            canvas.line([(middle, foot), (right, foot), (right, top + 2), (middle, top + 2)], skip=True)


@dataclass
class Nothing:
    """A module that returns its input."""

    width: float = 20.0
    height: float = 8.0
    axis: float = 10.0

    def draw(self, canvas: Canvas, x: float, y: float) -> None:
        canvas.line([(x + self.axis, y), (x + self.axis, y + self.height)], arrow=False)


@dataclass
class Stack:
    """Blocks one below the other; `joins[k]` Tensors go from what is before block k (or the stack's entry) into it."""

    blocks: list[Block]
    joins: list[int]
    width: float = 0.0
    height: float = 0.0
    axis: float = 0.0

    def __post_init__(self) -> None:
        wide = max((b.width for b in self.blocks if isinstance(b, Leaf) and not b.part.is_operation), default=0.0)
        for b in self.blocks:
            if isinstance(b, Leaf) and not b.part.is_operation:
                b.width, b.axis = wide, wide / 2
        self.axis = max(b.axis for b in self.blocks)
        self.width = self.axis + max(b.width - b.axis for b in self.blocks)
        self.height = sum(b.height for b in self.blocks) + sum(self._gap(k) for k in range(len(self.blocks)))

    @property
    def lead(self) -> float:
        """The way from the entry to the first block."""
        return 0.0 if isinstance(self.blocks[0], Parallel) else GAP - 3

    def _gap(self, k: int) -> float:
        if k == 0:
            return self.lead
        return GAP * 0.4 if isinstance(self.blocks[k], Parallel) else GAP

    def draw(self, canvas: Canvas, x: float, y: float) -> None:
        at = y
        for k, block in enumerate(self.blocks):
            top = at + self._gap(k)
            if self.joins[k] and top > at:
                line = [(x + self.axis, at), (x + self.axis, top)]
                canvas.line(line, arrow=not isinstance(block, Parallel), count=self.joins[k])
            block.draw(canvas, x + self.axis - block.axis, top)
            at = top + block.height


@dataclass
class Columns:
    """A tall stack cut into columns, read from left to right; a line leads from the foot of each to the head of the next."""

    stacks: list[Stack]
    width: float = 0.0
    height: float = 0.0
    axis: float = 0.0

    def __post_init__(self) -> None:
        self.width = sum(s.width for s in self.stacks) + GUTTER * (len(self.stacks) - 1)
        self.height = max(s.height for s in self.stacks) + 2 * FORK
        self.axis = self.stacks[0].axis
        self.leaves = self.width - self.stacks[-1].width + self.stacks[-1].axis
        self.foot = 2 * FORK + self.stacks[-1].height

    def draw(self, canvas: Canvas, x: float, y: float) -> None:
        left, top = x, y + 2 * FORK
        for k, stack in enumerate(self.stacks):
            axis = left + stack.axis
            if k == 0:
                canvas.line([(axis, y), (axis, top + stack.lead)], arrow=stack.lead > 0)
            stack.draw(canvas, left, top)
            end, left = top + stack.height, left + stack.width + GUTTER
            if k + 1 < len(self.stacks):
                lane, then = left - GUTTER / 2, left + self.stacks[k + 1].axis
                lead = self.stacks[k + 1].lead
                way = [(axis, end), (axis, end + FORK), (lane, end + FORK), (lane, y), (then, y), (then, top + lead)]
                canvas.line(way, arrow=lead > 0)


def in_columns(block: Block, height: float) -> Block:
    """A stack taller than `height` as so many columns that the whole is a little wider than high; others as they are."""
    if not isinstance(block, Stack) or block.height <= height or len(block.blocks) < 2:
        return block
    choices: list[Block] = [_divided(block, count) for count in range(2, min(len(block.blocks), 8) + 1)]
    return min([block, *choices], key=lambda b: abs(log(b.width / b.height / WIDE)))


def _divided(stack: Stack, count: int) -> Columns:
    """At most `count` columns, as low as they can be."""
    low, high = 0.0, 2 * stack.height
    while high - low > 1:  # the least height at which so many columns are enough
        middle = (low + high) / 2
        low, high = (low, middle) if len(_cut(stack, middle)) <= count else (middle, high)
    return Columns([Stack(stack.blocks[a:b], [0, *stack.joins[a + 1 : b]]) for a, b in _cut(stack, high)])


def _cut(stack: Stack, height: float) -> list[tuple[int, int]]:
    """Return the start and end of columns of at most this height; a taller block has one to itself."""
    cuts, first, total = [], 0, 0.0
    for k, block in enumerate(stack.blocks):
        if k > first and total + block.height + GAP > height:
            cuts.append((first, k))
            first, total = k, 0.0
        total += block.height + GAP
    return [*cuts, (first, len(stack.blocks))]


@dataclass
class Branch:
    """One of several paths, and how many Tensors come into it and go out of it."""

    block: Block
    comes: int
    goes: int


@dataclass
class Parallel:
    """Paths side by side that part at the top and meet at the bottom; `skip` Tensors go past all of them."""

    branches: list[Branch]
    skip: int
    width: float = 0.0
    height: float = 0.0
    axis: float = 0.0

    def __post_init__(self) -> None:
        self.branches.sort(key=lambda b: -b.block.height)
        self.height = 2 * FORK + max(b.block.height for b in self.branches)
        self.width = sum(b.block.width for b in self.branches) + 2 * PAD * (len(self.branches) - 1) + LANE * bool(self.skip)
        first, last = self.branches[0].block, self.branches[-1].block
        alike = len(self.branches) > 1 and first.height == last.height
        center = (first.axis + self.width - LANE * bool(self.skip) - last.width + last.axis) / 2
        self.axis = center if alike else first.axis

    def draw(self, canvas: Canvas, x: float, y: float) -> None:
        axis, bottom, left = x + self.axis, y + self.height, x
        for branch in self.branches:
            block, at = branch.block, left + branch.block.axis
            top, end = y + FORK, y + FORK + block.height
            if branch.comes:
                canvas.line([(axis, y), (at, y), (at, top)], arrow=False, count=branch.comes)
            block.draw(canvas, left, top)
            if branch.goes:
                canvas.line([(at, end), (at, bottom), (axis, bottom)], arrow=False, count=branch.goes)
            left += block.width + 2 * PAD
        if self.skip:
            lane = x + self.width - 3
            canvas.line([(axis, y), (lane, y), (lane, bottom), (axis, bottom)], arrow=False, skip=True, count=self.skip)


@dataclass
class Woven:
    """Parts whose paths cross too much to be distinguished: one below the other, lines at the side between all that meet."""

    blocks: list[Block]
    edges: list[Edge]
    lanes: list[int] = field(default_factory=list)
    width: float = 0.0
    height: float = 0.0
    axis: float = 0.0

    def __post_init__(self) -> None:
        busy: list[int] = []  # where the last line in each lane ends
        for e in self.edges:
            start, end = self._span(e)
            lane = next((k for k, until in enumerate(busy) if until <= start), len(busy))
            busy[lane : lane + 1] = [end]
            self.lanes.append(lane)
        self.axis = max(b.axis for b in self.blocks)
        self.side = self.axis + max(b.width - b.axis for b in self.blocks) + 6
        self.width = self.side + LANE * 0.7 * (len(busy) + 1)
        self.height = GAP + sum(b.height + GAP for b in self.blocks)

    def _span(self, e: Edge) -> tuple[int, int]:
        return e.source, len(self.blocks) if e.target == OUTPUT else e.target

    def draw(self, canvas: Canvas, x: float, y: float) -> None:
        tops, at = [], y + GAP
        for block in self.blocks:
            tops.append(at)
            block.draw(canvas, x + self.axis - block.axis, at)
            at += block.height + GAP
        middle = x + self.axis
        for e, number in zip(self.edges, self.lanes, strict=True):
            start, end = self._span(e)
            if end == start + 1:
                top = y if start == INPUT else tops[start] + self.blocks[start].height
                canvas.line(
                    [(middle, top), (middle, at if end == len(tops) else tops[end])], arrow=end < len(tops), count=e.count
                )
                continue
            lane = x + self.side + LANE * 0.7 * (number + 0.5)
            here = (
                [(middle, y)]
                if start == INPUT
                else [(self._right(start, middle), tops[start] + 0.7 * self.blocks[start].height)]
            )
            there = (
                [(middle, at)] if end == len(tops) else [(self._right(end, middle), tops[end] + 0.3 * self.blocks[end].height)]
            )
            points = [*here, (lane, here[0][1]), (lane, there[0][1]), *there]
            canvas.line(points, arrow=end < len(tops), skip=True, count=e.count)

    def _right(self, k: int, middle: float) -> float:
        return middle + self.blocks[k].width - self.blocks[k].axis


def block_of(part: Part, parent: Part, canvas: Canvas, depth: int = 0) -> Block:
    """The block of a part: a frame around what is inside it, or a leaf."""
    width, height = canvas.size(part, parent)
    if not part.parts:
        return Leaf(part, parent, width, height)
    return Frame(part, parent, inside(part, canvas, depth + 1), width, depth)


def inside(part: Part, canvas: Canvas, depth: int) -> Block:
    """The block of all that happens in a part."""
    blocks = [block_of(p, part, canvas, depth) for p in part.parts]
    return _region(list(range(len(blocks))), part.edges, blocks) if blocks else Nothing()


def _region(places: list[int], edges: tuple[Edge, ...] | list[Edge], blocks: list[Block]) -> Block:
    """Parts, given by place, between one entry and one exit; `edges` between them, from INPUT and to OUTPUT.

    A part that no path goes round divides the region: each stretch between two of them is a separate step.
    """
    order = {place: k for k, place in enumerate(places)} | {INPUT: -1, OUTPUT: len(places)}
    spans = [(order[e.source], order[e.target], e.count) for e in edges]
    dividers = [-1, *(k for k in range(len(places)) if not any(a < k < b for a, b, _ in spans)), len(places)]
    stack: list[Block] = []
    joins: list[int] = []
    pending = 0
    for a, b in pairwise(dividers):
        direct = sum(n for s, t, n in spans if (s, t) == (a, b))
        between = places[a + 1 : b]
        if between:
            inner = [
                e
                for e in edges
                if a <= order[e.source] and order[e.target] <= b and (order[e.source], order[e.target]) != (a, b)
            ]
            stack.append(_between(between, inner, places, (a, b), direct, blocks, order))
            joins.append(sum(n for s, t, n in spans if s == a and t > a) and 1)
            pending = 1
        else:
            pending = direct
        if b < len(places):
            stack.append(blocks[places[b]])
            joins.append(pending)
    return Stack(stack, joins) if stack else Nothing()


def _between(
    inner: list[int], edges: list[Edge], places: list[int], ends: tuple[int, int], direct: int, blocks: list[Block],
    order: dict[int, int],
) -> Block:  # fmt: skip
    """The parts between two dividers: each group of parts that hang together is a branch."""
    groups = _components(inner, edges)
    local = [Edge(e.source if e.source in inner else INPUT, e.target if e.target in inner else OUTPUT, e.count) for e in edges]
    if len(groups) == 1 and not direct:
        moved = {place: k for k, place in enumerate(inner)} | {INPUT: INPUT, OUTPUT: OUTPUT}
        return Woven([blocks[p] for p in inner], [Edge(moved[e.source], moved[e.target], e.count) for e in local])
    branches = []
    for group in groups:
        own = [e for e in local if e.source in group or e.target in group]
        comes = sum(e.count for e in own if e.source == INPUT)
        goes = sum(e.count for e in own if e.target == OUTPUT)
        branches.append(Branch(_region(group, own, blocks), min(comes, 1), min(goes, 1)))
    return Parallel(branches, direct)


def _components(places: list[int], edges: list[Edge]) -> list[list[int]]:
    """Groups of parts that edges connect, each in order."""
    label = {p: p for p in places}

    def find(p: int) -> int:
        while label[p] != p:
            p = label[p]
        return p

    for e in edges:
        if e.source in label and e.target in label:
            a, b = sorted((find(e.source), find(e.target)))
            label[b] = a
    groups: dict[int, list[int]] = {}
    for p in places:
        groups.setdefault(find(p), []).append(p)
    return list(groups.values())
