"""Chains of elementwise operations: one instruction for many operations."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from nnatomy.kernels import library
from nnatomy.kernels.lowering import Array, Emitter, Shape, address, lowers

BLOCK = 1024
"""Elements of a block, so that its operands stay in the first cache."""
PARALLEL = 10_000.0
"""Nanoseconds of work from which threads pay."""

DIRECT, SCALAR, EVERY, ROWS, COPIED = 0, 1, 2, 3, 4  # as in kernels/pointwise.py, which is not imported: it needs the compiler
CALL = 8
TYPES = {"float32": 0, "bool": 1, "uint8": 1, "int32": 2, "int64": 3, "float64": 4}

STEPS = (
    "copy", "add", "subtract", "multiply", "divide", "negative", "abs", "sqrt", "square", "cube", "reciprocal", "maximum",
    "minimum", "clip", "relu", "where", "sign", "floor", "ceil", "round", "equal", "not_equal", "less", "less_equal", "greater",
    "greater_equal", "logical_and", "logical_or", "logical_not", "isnan", "isfinite",
)  # fmt: skip
"""Steps by number, as in kernels/microoperations.py."""
TRUTHS = frozenset(STEPS[STEPS.index("equal") :])
FUNCTIONS = frozenset(("exp", "expm1", "tanh", "sigmoid", "erf", "log", "log1p", "sin", "cos", "power"))
_POWERS = {2.0: "square", 3.0: "cube", 0.5: "sqrt", -1.0: "reciprocal", 1.0: "copy"}

Ref = tuple[str, Any]
Line = tuple[str, tuple[Ref, ...]]


def supported(name: str) -> bool:
    """Return True if a chain may contain this operation."""
    return name in STEPS or name in FUNCTIONS or name == "astype"


def _lines(code: Sequence[Sequence[Any]]) -> list[Line]:
    """The code with powers resolved."""
    lines: list[Line] = []
    for op, *refs in code:
        if op == "power" and refs[1][0] == "const" and float(refs[1][1]) in _POWERS:
            op, refs = _POWERS[float(refs[1][1])], refs[:1]
        lines.append(("copy" if op == "astype" else op, tuple(tuple(r) for r in refs)))
    return lines


def _outputs(args: Sequence[Any], kwargs: dict[str, Any]) -> list[tuple[Shape, Any]]:
    shape = np.broadcast_shapes(*(np.shape(x) for x in args))

    def kind(ref: Ref) -> Any:
        if ref[0] == "in":
            return np.bool_ if args[ref[1]].dtype == np.bool_ else np.float32
        return np.bool_ if ref[0] == "tmp" and kwargs["code"][ref[1]][0] in TRUTHS else np.float32

    return [(shape, kind(r)) for r in kwargs["results"]]


def _order(args: Sequence[Any], kwargs: dict[str, Any]) -> list[tuple[int, ...] | None]:
    shape = np.broadcast_shapes(*(np.shape(x) for x in args))
    like = next((x for x in args if x.shape == shape), None)
    if like is None or like.flags.c_contiguous:
        return [None] * len(kwargs["results"])
    order = tuple(sorted(range(like.ndim), key=lambda i: -abs(like.strides[i])))
    return [order] * len(kwargs["results"])


def _work(args: Sequence[Any], kwargs: dict[str, Any]) -> float:
    return float(math.prod(np.broadcast_shapes(*(np.shape(x) for x in args))) * len(kwargs["code"]))


def common_axes(shape: Shape, strides: Sequence[Sequence[int]]) -> tuple[list[int], list[list[int]]]:
    """Lengths, and each array's steps, of the fewest axes that all can be walked along, in the first one's memory order."""
    kept = [i for i, n in enumerate(shape) if n != 1]
    kept.sort(key=lambda i: tuple(-abs(s[i]) for s in strides))
    lengths: list[int] = []
    steps: list[list[int]] = [[] for _ in strides]
    for i in kept:
        if lengths and all(s[-1] == step[i] * shape[i] for s, step in zip(steps, strides)):
            lengths[-1] *= shape[i]
            for s, step in zip(steps, strides):
                s[-1] = step[i]
        else:
            lengths.append(shape[i])
            for s, step in zip(steps, strides):
                s.append(step[i])
    return lengths, steps


def overlap(x: Array, y: Array) -> bool:
    """Return True if two arrays share memory, or it is not known."""
    if not np.may_share_memory(x, y):
        return False
    if (x.base if x.base is not None else x) is (y.base if y.base is not None else y):
        return bool(np.shares_memory(x, y))
    return True


def _same(x: Array, y: Array) -> bool:
    return address(x) == address(y) and x.strides == y.strides and x.dtype == y.dtype and x.shape == y.shape


def round_up(n: int, to: int) -> int:
    return (n + to - 1) // to * to


def evenly(n: int, most: int) -> int:
    """The size of the fewest equal parts of at most `most`."""
    parts = (n + most - 1) // most
    return (n + parts - 1) // parts


@lowers("pointwise", outputs=_outputs, work=_work, order=_order)
def pointwise(emitter: Emitter, outs: Sequence[Array], args: Sequence[Any], kwargs: dict[str, Any]) -> bool:
    """code = [(operation, ref, ...)], results = [ref for each out]; ref = ("in", i), ("const", number) or ("tmp", line)."""
    from nnatomy.kernels.processor import LANES

    if not all(isinstance(x, np.ndarray) and x.dtype.name in TYPES for x in args):
        return False
    shape = outs[0].shape
    if not _suits(outs, args, shape) or not all(supported(line[0]) for line in kwargs["code"]):
        return False
    inputs = [x if x.shape == shape else np.broadcast_to(x, shape) for x in args]
    arrays = [*outs, *inputs]
    lengths, steps = common_axes(shape, [[s // x.itemsize for s in x.strides] for x in arrays])
    while len(lengths) < 2:
        lengths.insert(0, 1)
        for s in steps:
            s.insert(0, 0)
    if lengths[-1] == 1:
        for s, out in zip(steps, arrays):
            s[-1] = int(out is not None and any(out is o for o in outs))
    *outer, rows, columns = lengths
    steps = steps[len(outs) :] + steps[: len(outs)]  # inputs first, as in the kernel
    arrays = [*inputs, *outs]
    height, width = _block(rows, columns, steps, sum(any(s) for s in steps))
    ways = [_way(s, x, k < len(inputs), rows, columns, height, width) for k, (s, x) in enumerate(zip(steps, arrays))]
    code = _Code(kwargs["code"], kwargs["results"], inputs, outs, ways)

    size = round_up(height * width, LANES) + LANES
    at = round_up(8 * (CALL + len(arrays)), 64)
    tails, at = at, at + 4 * LANES * len(arrays)
    places = []
    for way in ways:
        places.append(at)
        at += 0 if way == DIRECT else 4 * (LANES if way in (SCALAR, EVERY) else size)
    temporaries = []
    for uniform in code.uniform:
        temporaries.append(at)
        at += 4 * (LANES if uniform else size)
    bytes_ = round_up(at, 64)

    nanoseconds = math.prod(shape) * (0.1 * len(arrays) + sum(0.5 if name in FUNCTIONS else 0.1 for name, *_ in code.steps))
    parallel = nanoseconds > PARALLEL
    threads = emitter.threads if parallel else 1
    workspace = address(emitter.scratch(threads * bytes_ // 4))
    table = np.zeros((threads, round_up(2 * (len(ways) + len(code.constants) + len(temporaries)), 8)), np.int64)
    for k, way in enumerate(ways):
        table[:, 2 * k + 1] = 0 if way in (SCALAR, EVERY) else 4 * LANES
    k = len(ways)
    if code.constants:
        numbers = emitter.constant(np.repeat(np.array(code.constants, np.float32), LANES))
        for i in range(len(code.constants)):
            table[:, 2 * (k + i)] = address(numbers) + 4 * LANES * i
        k += len(code.constants)
    for i, (place, uniform) in enumerate(zip(temporaries, code.uniform)):
        table[:, 2 * (k + i)] = workspace + place + bytes_ * np.arange(threads)
        table[:, 2 * (k + i) + 1] = 0 if uniform else 4 * LANES
    words: list[int] = []
    for name, target, *operands in code.steps:
        function = library.address("pointwise", name) if name in FUNCTIONS else 0
        operands += [operands[0]] * (3 - len(operands))
        words += [0 if function else STEPS.index(name), function, target, *operands]
    geometry = [len(outer), *outer]
    for s in steps:
        geometry += s[:-2]
    gathering = any(way in (ROWS, COPIED) for way in ways[: len(inputs)])
    scattering = COPIED in ways[len(inputs) :]
    arguments = [
        workspace, bytes_, address(emitter.constant(table)), 8 * table.shape[1],
        address(emitter.constant(words, np.int64)), code.once, len(code.steps) - code.once,
        address(emitter.constant(geometry, np.int64)), rows, columns, height, width, len(arrays), len(inputs), tails,
        library.address("pointwise", "gather") if gathering else 0,
        library.address("pointwise", "scatter") if scattering else 0, threads,
    ]  # fmt: skip
    for x, way, s, place in zip(arrays, ways, steps, places):
        arguments += [address(x), way, TYPES[x.dtype.name], s[-2], s[-1], place]
    emitter.add("pointwise", "chain", arguments, parallel)
    return True


def _suits(outs: Sequence[Array], args: Sequence[Array], shape: Shape) -> bool:
    """Types, strides and shared memory as the kernel can take them."""
    if math.prod(shape) == 0 or any(o.shape != shape or o.dtype.name not in ("float32", "bool") for o in outs):
        return False
    if any(s % x.itemsize for x in (*outs, *args) for s in x.strides):
        return False
    if any(x.dtype == np.float64 and x.size != 1 for x in args):
        return False
    for i, out in enumerate(outs):
        if any(s == 0 and n > 1 for s, n in zip(out.strides, shape)):
            return False
        if any(overlap(out, other) for other in outs[:i]):
            return False
        if any(not _same(out, x) and overlap(out, x) for x in args):
            return False
    return True


def _block(rows: int, columns: int, steps: Sequence[Sequence[int]], arrays: int) -> tuple[int, int]:
    """Rows and columns of a block: a square one where some array is walked across its memory, else as many columns as fit."""
    most = BLOCK if arrays <= 8 else BLOCK // 2
    if rows >= 8 and columns >= 8 and any(0 < abs(s[-2]) < abs(s[-1]) for s in steps):
        return 16, round_up(evenly(columns, most // 16), 16)
    if columns > most:
        return 1, min(round_up(evenly(columns, most), 16), most)
    return evenly(rows, most // columns), columns


def _way(s: Sequence[int], x: Array, is_input: bool, rows: int, columns: int, height: int, width: int) -> int:
    """The access to an operand in a block."""
    row, column = s[-2:]
    if is_input and not any(s):
        return SCALAR
    whole = height == 1 or (width == columns and row == columns)
    if x.dtype == np.float32 and column == 1 and whole:
        return DIRECT
    if is_input and height == 1 and column == 0:
        return EVERY
    if is_input and row == 0 and width == columns and not any(s[:-2]):
        return ROWS
    return COPIED


class _Code:
    """Code whose operands are numbers of a table: operands (inputs, outs), then constants, then temporaries."""

    def __init__(
        self, code: Sequence[Sequence[Any]], results: Sequence[Ref], inputs: Sequence[Array], outs: Sequence[Array],
        ways: Sequence[int],
    ) -> None:  # fmt: skip
        lines = _lines(code)
        self.constants: list[float] = []
        self.uniform: list[bool] = []  # for each temporary: whether it is one number
        self._operands = len(ways)
        last: dict[Ref, int] = {}
        for j, (_, refs) in enumerate(lines):
            last.update((ref, j) for ref in refs)
        uniform = {("in", i) for i in range(len(inputs)) if ways[i] == SCALAR}
        place: dict[Ref, tuple[str, int]] = {("in", i): ("table", i) for i in range(len(inputs))}
        home: dict[Ref, int] = {}  # lines whose result is written to an out immediately
        for o, ref in enumerate(results):
            j = ref[1]
            if ref[0] == "tmp" and ref not in home:
                mine = [("in", i) for i, x in enumerate(inputs) if _same(x, outs[o])]
                if all(last.get(r, -1) <= j for r in mine):  # what the out holds before is not read later
                    home[ref] = o
        written = set(home.values())
        free: list[int] = []
        once: list[tuple[Any, ...]] = []
        steps: list[tuple[Any, ...]] = []

        def operand(ref: Ref) -> tuple[str, int]:
            if ref[0] != "const":
                return place[ref]
            number = float(ref[1])
            found = [i for i, c in enumerate(self.constants) if c == number and math.copysign(1, c) == math.copysign(1, number)]
            if not found:
                self.constants.append(number)
            return ("constant", found[0] if found else len(self.constants) - 1)

        def temporary(one_number: bool) -> tuple[str, int]:
            if not one_number and free:
                return ("temporary", free.pop())
            self.uniform.append(one_number)
            return ("temporary", len(self.uniform) - 1)

        for j, (name, refs) in enumerate(lines):
            me = ("tmp", j)
            operands = [operand(r) for r in refs]
            one_number = all(r[0] == "const" or r in uniform for r in refs)
            if one_number:
                uniform.add(me)
                place[me] = temporary(True)
                written -= {home.pop(me)} if me in home else set()
                once.append((name, place[me], *operands))
                continue
            for r in set(refs):
                if r[0] == "tmp" and last[r] == j and r not in uniform and r not in home and r not in results:
                    free.append(place[r][1])
            place[me] = ("table", len(inputs) + home[me]) if me in home else temporary(False)
            steps.append((name, place[me], *operands))
        for o, ref in enumerate(results):
            if o not in written:
                steps.append(("copy", ("table", len(inputs) + o), operand(ref)))
        self.once = len(once)
        self.steps = [(name, *map(self._number, operands)) for name, *operands in (*once, *steps)]

    def _number(self, operand: tuple[str, int]) -> int:
        kind, i = operand
        if kind == "table":
            return i
        return self._operands + i + (len(self.constants) if kind == "temporary" else 0)
