"""Makes fewer calls of many: the same call twice, calls without effect, epilogues of products, chains of elementwise calls."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np

from nnatomy.plan.trace import ELEMENTWISE, Call, Var, substitute

VIEWS = frozenset(("reshape", "transpose", "broadcast_to", "moveaxis", "view"))
"""Calls whose result shares its argument's memory, or may."""


def is_view(call: Call) -> bool:
    """Return True if a call's result is in its first argument's memory (a reshape may still copy)."""
    if call.name == "getitem":
        parts = call.args[1] if isinstance(call.args[1], tuple) else (call.args[1],)
        return all(p is None or p is Ellipsis or isinstance(p, slice | int | np.integer) for p in parts)
    if call.name == "asarray":
        return isinstance(call.args[0], Var) and not call.args[0].number and call.outs[0].dtype == call.args[0].dtype
    return call.name in VIEWS


def simplified(calls: Sequence[Call], wanted: Sequence[Var]) -> tuple[list[Call], dict[Var, Var]]:
    """Remove repeated calls and calls whose results are unused. Also return what replaces the results of repeated calls."""
    same: dict[Var, Var] = {}
    first: dict[Any, Call] = {}
    kept: list[Call] = []
    for call in calls:
        args = substitute(call.args, lambda v: same.get(v, v) if isinstance(v, Var) else v)
        kwargs = substitute(call.kwargs, lambda v: same.get(v, v) if isinstance(v, Var) else v)
        call = Call(call.name, call.function, args, kwargs, call.outs)
        key = (call.name, _key(args), _key(kwargs), tuple((o.shape, str(o.dtype)) for o in call.outs))
        known = first.setdefault(key, call)
        if known is call:
            kept.append(call)
        else:
            same.update(zip(call.outs, known.outs, strict=True))
    return _needed(kept, [same.get(v, v) for v in wanted]), same


def _needed(calls: Sequence[Call], wanted: Sequence[Var]) -> list[Call]:
    """The calls that the wanted results depend on."""
    needed = set(wanted)
    kept: list[Call] = []
    for call in reversed(calls):
        if any(o in needed for o in call.outs):
            kept.append(call)
            needed.update(call.inputs())
    return kept[::-1]


def _key(tree: Any) -> Any:
    if isinstance(tree, Var):
        return ("var", tree.id)
    if isinstance(tree, np.ndarray):
        return ("array", id(tree))
    if isinstance(tree, list | tuple):
        return tuple(_key(part) for part in tree)
    if isinstance(tree, dict):
        return tuple((key, _key(part)) for key, part in tree.items())
    if isinstance(tree, slice):
        return ("slice", tree.start, tree.stop, tree.step)
    return (type(tree).__name__, repr(tree))


# Epilogues: what a product, a convolution or a normalization can do while it writes its result.

ACTIVATIONS = {"tanh": "tanh", "sigmoid": "sigmoid", "maximum": "relu"}
TAKES_BIAS = {"matmul": ("relu", "tanh", "sigmoid"), "conv": ("relu", "tanh")}


class _Uses:
    """Who reads and who makes each Var."""

    def __init__(self, calls: Sequence[Call], wanted: Sequence[Var]) -> None:
        self.count: Counter[Var] = Counter(v for call in calls for v in call.inputs())
        self.count.update(wanted)
        self.readers: dict[Var, list[Call]] = defaultdict(list)
        self.maker: dict[Var, Call] = {}
        for call in calls:
            for v in call.inputs():
                self.readers[v].append(call)
            for o in call.outs:
                self.maker[o] = call

    def only_reader(self, v: Var) -> Call | None:
        return self.readers[v][0] if self.count[v] == 1 and self.readers[v] else None


def _is_relu(call: Call) -> bool:
    return call.name == "maximum" and type(call.args[1]) in (int, float) and call.args[1] == 0


def with_epilogues(calls: Sequence[Call], wanted: Sequence[Var]) -> list[Call]:
    """Products and convolutions with their bias and activation, batch norms with their relu, as one call each."""
    uses = _Uses(calls, wanted)
    gone: set[int] = set()
    moved: dict[int, Call] = {}  # the last call of a pattern is replaced by the fused one: its inputs are all there by then
    for call in calls:
        if id(call) in gone:
            continue
        if call.name in TAKES_BIAS and call.outs[0].dtype == np.float32 and not call.kwargs.get("bias"):
            last, extra = call, dict[str, Any]()
            following = uses.only_reader(last.outs[0])
            bias = _bias_of(call, following, uses) if following is not None else None
            if bias is not None:
                assert following is not None
                gone.add(id(last))
                last, extra = following, {"bias": bias}
                following = uses.only_reader(last.outs[0])
            if following is not None and following.name in ACTIVATIONS and (following.name != "maximum" or _is_relu(following)):
                activation = ACTIVATIONS[following.name]
                if activation in TAKES_BIAS[call.name]:
                    gone.add(id(last))
                    last, extra = following, extra | {"activation": activation}
            if last is not call:
                moved[id(last)] = Call(call.name, call.function, call.args, call.kwargs | extra, last.outs)
        elif call.name == "batch_norm" and call.outs[0].dtype == np.float32:
            following = uses.only_reader(call.outs[0])
            if following is not None and _is_relu(following):
                # Its moments may be read before the relu is computed; so the fused call takes the batch norm's place.
                gone.add(id(following))
                moved[id(call)] = Call(
                    call.name, call.function, call.args, call.kwargs | {"activation": "relu"},
                    [following.outs[0], *call.outs[1:]],
                )  # fmt: skip
        elif call.name == "batch_norm_vjp" and isinstance(call.args[0], Var):
            masked = uses.maker.get(call.args[0])
            y, g = _behind_relu(masked, uses) if masked is not None and uses.count[call.args[0]] == 1 else (None, None)
            if y is not None:
                gone.add(id(masked))
                moved[id(call)] = Call(
                    call.name, call.function, (g, *call.args[1:]), call.kwargs | {"y": y}, call.outs
                )  # fmt: skip
    return _needed([moved.get(id(call), call) for call in calls if id(call) not in gone], wanted)


def _bias_of(product: Call, call: Call, uses: _Uses) -> Any:
    """The vector that `call` adds along the product's columns (a convolution's channels), or None."""
    if call.name != "add" or call.outs[0].shape != product.outs[0].shape:
        return None
    other = call.args[1] if call.args[0] is product.outs[0] else call.args[0]
    if not isinstance(other, Var) or other.number or other.dtype != np.float32:
        return None
    y = product.outs[0].shape or ()
    if product.name == "matmul":
        return other if len(y) >= 2 and other.shape == y[-1:] else None
    made = uses.maker.get(other)
    if made is not None and made.name == "reshape" and isinstance(made.args[0], Var):
        vector = made.args[0]
        if vector.shape == (y[1],) and other.shape in ((y[1],) + (1,) * (len(y) - 2), (1, y[1]) + (1,) * (len(y) - 2)):
            return vector
    return None


def _behind_relu(call: Call, uses: _Uses) -> tuple[Any, Any]:
    """(y, g) if the call is where(y > 0, g, 0): the gradient behind a relu."""
    if call.name != "where" or not isinstance(call.args[0], Var):
        return None, None
    condition, g, zero = call.args
    made = uses.maker.get(condition)
    if made is None or made.name != "greater" or made.args[1] != 0 or not isinstance(made.args[0], Var):
        return None, None
    if not (isinstance(zero, np.ndarray) and zero.ndim == 0 and zero == 0):
        return None, None
    y = made.args[0]
    return (y, g) if y.shape == call.outs[0].shape and isinstance(g, Var) else (None, None)


# Chains of elementwise calls

_POINTWISE = """
    add subtract multiply divide negative abs sqrt square exp expm1 log log1p tanh sigmoid erf sin cos power maximum minimum
    where clip sign floor ceil round equal not_equal less less_equal greater greater_equal logical_and logical_or logical_not
    isnan isfinite astype and or invert
"""
POINTWISE = frozenset(_POINTWISE.split())
COMPARISONS = frozenset(("equal", "not_equal", "less", "less_equal", "greater", "greater_equal"))
ARITHMETIC_ON_BOOL = frozenset(("logical_and", "logical_or", "logical_not", "and", "or", "invert", "where", "astype"))
BOOL, FLOAT32 = np.dtype(bool), np.dtype(np.float32)


def pointwise(call: Call) -> bool:
    """Return True if the pointwise kernel computes this call."""
    if call.name not in POINTWISE or len(call.outs) != 1 or call.outs[0].number or call.outs[0].dtype not in (FLOAT32, BOOL):
        return False
    if call.kwargs and call.name != "astype":
        return False
    for a in call.args:
        if isinstance(a, np.float32):
            continue
        if isinstance(a, np.generic):
            return False
        if isinstance(a, Var | np.ndarray) and not (isinstance(a, Var) and a.number):
            if a.dtype == FLOAT32:
                continue
            if a.dtype == BOOL and (call.name in ARITHMETIC_ON_BOOL or call.outs[0].dtype == FLOAT32):
                continue
            if a.dtype in (np.dtype(np.int32), np.dtype(np.int64)) and _exact(call):
                continue
            return False
        if isinstance(a, float | int) and call.outs[0].dtype == FLOAT32 and isinstance(a, int) and abs(a) > 2**24:
            return False
    if call.name in ("and", "or", "invert"):
        return bool(call.outs[0].dtype == BOOL)
    return True


def _exact(call: Call) -> bool:
    """Return True if float32 can hold the integers of this call: they are compared with a small constant or rounded."""
    if call.name == "astype":
        return bool(call.outs[0].dtype == FLOAT32)
    constants = [a for a in call.args if isinstance(a, int | float) and not isinstance(a, bool)]
    return call.name in COMPARISONS and len(constants) == 1 and abs(constants[0]) < 2**24


NAMES = {"and": "logical_and", "or": "logical_or", "invert": "logical_not"}


class _Group:
    """Elementwise calls of one shape that will run as one."""

    def __init__(self, shape: Any) -> None:
        self.shape = shape
        self.calls: list[Call] = []
        self.made: set[Var] = set()


def grouped(calls: Sequence[Call], wanted: Sequence[Var]) -> list[Call]:
    """Elementwise calls gathered into "pointwise" calls. A group runs before its first reader."""
    readers: dict[Var, list[Call]] = defaultdict(list)
    for call in calls:
        for v in call.inputs():
            readers[v].append(call)
    outside = set(wanted)
    home: dict[Var, _Group] = {}  # the open group that makes a Var
    ordered: list[Call] = []
    position = {id(call): i for i, call in enumerate(calls)}

    def close(group: _Group) -> None:
        for v in group.made:
            home.pop(v, None)
        ordered.append(_as_one(group, readers, outside))

    for at, call in enumerate(calls):
        groups = list(dict.fromkeys(home[v] for v in call.inputs() if v in home))
        if not pointwise(call):
            for group in groups:
                close(group)
            ordered.append(call)
            continue
        shape = call.outs[0].shape
        joined = [g for g in groups if g.shape == shape and len(g.calls) < 60]
        for group in groups:
            if group not in joined:
                close(group)
        if joined:
            mine = joined[0]
            for other in joined[1:]:
                mine.calls += other.calls
                mine.made |= other.made
                for v in other.made:
                    home[v] = mine
        else:
            mine = _Group(shape)
        mine.calls.append(call)
        mine.made.add(call.outs[0])
        for v in mine.made:
            home[v] = mine
        # Nothing that may still join: run now, so that what it reads can be forgotten.
        open_readers = [
            r for v in mine.made for r in readers[v] if position[id(r)] > at and pointwise(r) and r.outs[0].shape == shape
        ]
        if not open_readers:
            close(mine)
    for group in dict.fromkeys(home.values()):
        close(group)
    return ordered


def _as_one(group: _Group, readers: dict[Var, list[Call]], outside: set[Var]) -> Call:
    """The group as one call: args are its inputs, kwargs its code, in the pointwise kernel's terms."""
    members = {id(call) for call in group.calls}
    inputs: list[Any] = []
    place: dict[Any, int] = {}
    line: dict[Var, int] = {}
    code: list[tuple[Any, ...]] = []

    def ref(a: Any) -> Any:
        if isinstance(a, Var) and a in line:
            return ("tmp", line[a])
        if a is None:
            return None
        if isinstance(a, bool | int | float | np.float32) or (isinstance(a, np.ndarray) and a.ndim == 0):
            return ("const", float(a))
        key = a if isinstance(a, Var) else id(a)
        if key not in place:
            place[key] = len(inputs)
            inputs.append(a)
        return ("in", place[key])

    for call in group.calls:
        out = call.outs[0]
        if call.name == "clip":
            refs = [ref(a) for a in call.args]
            lines = [(op, bound) for op, bound in (("maximum", refs[1]), ("minimum", refs[2])) if bound is not None]
            current = refs[0]
            for op, bound in lines or [("copy", None)]:
                code.append((op, current) if bound is None else (op, current, bound))
                current = ("tmp", len(code) - 1)
        elif call.name == "astype":
            to_bool = call.outs[0].dtype == BOOL
            code.append(("not_equal", ref(call.args[0]), ("const", 0.0)) if to_bool else ("astype", ref(call.args[0])))
        else:
            code.append((NAMES.get(call.name, call.name), *[ref(a) for a in call.args]))
        line[out] = len(code) - 1
    outs = [
        call.outs[0] for call in group.calls
        if call.outs[0] in outside or any(id(r) not in members for r in readers[call.outs[0]])
    ]  # fmt: skip
    results = [("tmp", line[v]) for v in outs]
    return Call("pointwise", _one_by_one(group.calls, inputs, outs), tuple(inputs), {"code": code, "results": results}, outs)


def _one_by_one(calls: Sequence[Call], inputs: Sequence[Any], outs: Sequence[Var]) -> Any:
    """Compute a group by its calls' own functions, for arrays that the kernel does not take."""

    def function(*values: Any, code: Any = None, results: Any = None) -> Any:
        known: dict[Any, Any] = {a if isinstance(a, Var) else id(a): v for a, v in zip(inputs, values, strict=True)}
        for call in calls:
            args = substitute(call.args, lambda a: known[a] if isinstance(a, Var) else known.get(id(a), a))
            known[call.outs[0]] = call.function(*args, **call.kwargs)
        found = tuple(known[v] for v in outs)
        return found[0] if len(found) == 1 else found

    return function


assert {"and", "or", "invert"} >= POINTWISE - ELEMENTWISE
