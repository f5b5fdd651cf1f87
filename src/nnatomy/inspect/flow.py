"""Which module's output feeds which: found by running the model once, from the calls of its modules and the recorded graph.

Each operation belongs to the innermost call that was running (calls.py); an operation that takes what another made is a path
for data between their owners.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from inspect import signature
from typing import Any

import numpy as np

from nnatomy import graph
from nnatomy.inspect.calls import CUTTING, Call, Function, Run, watching_functions
from nnatomy.inspect.recording import evaluating, tensors
from nnatomy.layers.module import Module
from nnatomy.layers.summary import counting
from nnatomy.tensor import Tensor

INPUT, OUTPUT = -1, -2
"""The ends of an edge that are outside: what a part was given, and what it returns."""

MOST_OPERATIONS = 60
"""A module with more own operations between its calls is shown by one turn of its loop, or closed where it has none."""


@dataclass(frozen=True)
class Edge:
    """Data from one part of a module to another, by their places in `parts`; INPUT and OUTPUT are the module's own ends."""

    source: int
    target: int
    count: int = 1
    """The number of different Tensors on this path."""


@dataclass(frozen=True)
class Part:
    """One call of a module, or one operation that a module's own code does between its calls."""

    path: str
    """The module's path in `named_modules`; for an operation, the path of the module that calls it."""
    kind: str
    """The module's class, or the operation's name."""
    family: str
    """The file of nnatomy.layers that the class comes from, such as "convolution", or "" for other classes; "operation";
    "input" for one of several Tensors that a module is given; "group" for parts that `fold` has put together."""
    shape: tuple[int, ...]
    """Of the output; of the first where there are several."""
    parameters: int
    """Numbers learned in it; 0 where an earlier call of the module has them."""
    multiply_adds: int
    detail: str = ""
    """The settings of a module, the parameters that an operation uses."""
    parts: tuple[Part, ...] = ()
    """The parts inside, in order; none for modules without modules inside."""
    edges: tuple[Edge, ...] = ()
    inputs: tuple[tuple[int, ...], ...] = ()
    """Shapes of the Tensors among a module's positional arguments."""
    repeat: int = 1
    """The number of such parts in a row, where `fold` has made them one; all figures are those of one of them."""
    until: str = ""
    """The path of the last of them."""
    turns: int = 1
    """How often the operations inside repeat, each turn with the state of the one before; one turn is shown."""

    @property
    def is_operation(self) -> bool:
        """True if this is not a module: an operation, or one of several inputs."""
        return self.family in ("operation", "input")

    def walk(self) -> Iterator[Part]:
        """This part and all inside it."""
        yield self
        for part in self.parts:
            yield from part.walk()


def trace(model: Module, *inputs: Any) -> Part:
    """The model's call for `inputs` as a tree of parts with shapes, costs and the data's paths; the model is left as it was.

    Runs it once, in eval mode. Modules go by their attribute paths; operations between them are their own parts.
    """
    run = Run(model)
    given = [Tensor(x.data if isinstance(x, Tensor) else np.asarray(x)) for x in inputs]
    for x in given:
        x.requires_grad = x.dtype.kind == "f"
    with evaluating(model), _differentiable(model), graph.enable_grad(), np.errstate(all="ignore"):
        with run.watching(), counting(run.spend), watching_functions(run.functions):
            output = model(*given)
        return _Flow(run, given, list(tensors(output))).part(run.root)


@contextmanager
def _differentiable(model: Module) -> Iterator[None]:
    """A block in which all parameters are recorded, so that no path is missing for being frozen."""
    frozen = [p for p in model.parameters() if not p.requires_grad]
    for p in frozen:
        p.requires_grad = True
    try:
        yield
    finally:
        for p in frozen:
            p.requires_grad = False


class _Flow:
    """From the recorded graph to parts and edges."""

    def __init__(self, run: Run, given: list[Tensor], outputs: list[Tensor]) -> None:
        self.run, self.given = run, given
        self.names = {id(p): name for name, p in run.model.named_parameters()}
        self.buffers = {id(b.data) for _, b in run.model.named_buffers()}
        self.counted: set[int] = set()
        self.parameters_of: dict[graph.Node, list[str]] = {}
        self.sources: dict[graph.Node, list[tuple[graph.Node | None, Any]]] = {}  # of live nodes: (maker, key); None: the input
        self.edges: dict[Call, dict[tuple[Any, Any], set[Any]]] = {}
        nodes = _ancestors(outputs)
        for node in nodes:
            self._examine(node)
        inside: dict[Call, dict[Function, None]] = {}
        for node in nodes:
            if node in self.sources and not run.functions[node].rearranges:
                inside.setdefault(run.owner(node), {})[run.functions[node]] = None
        self.same: dict[Function, Function] = {}  # operations of other turns of a loop: those of the turn that is shown
        self.turns: dict[Call, int] = {}
        for call, functions in inside.items():
            while len(functions) > MOST_OPERATIONS and (loop := find_loop([f.name for f in functions])):
                listed, self.turns[call] = list(functions), loop.turns
                self.same |= {listed[i]: listed[k] for i, k in loop.same.items()}
                functions = inside[call] = dict.fromkeys(f for f in listed if f not in self.same)
        self.closed = {call for call, functions in inside.items() if len(functions) > MOST_OPERATIONS}
        for call, functions in inside.items():
            call.items += functions
        states: dict[Call, dict[Function, Any]] = {}
        for node in nodes:
            if node in self.sources and not self._passed(node) and run.functions[node] not in self.same:
                for maker, key in self._resolved(node):
                    if maker is not None and self._goes_back(maker, node):
                        states.setdefault(run.owner(node), {})[self._chain(node)[-1]] = self._shown(maker, key)
                    else:
                        self._connect(None if maker is None else self._chain(maker), self._chain(node), self._shown(maker, key))
        for call, of in states.items():
            for function, key in of.items():
                if not any(target is function for _, target in self.edges.get(call, {})):
                    self._add(call, INPUT, function, key)  # the state comes in at the top; other parts have their own lines
        for t in outputs:
            if t.node in self.sources:
                for maker, key in self._behind([(t.node, (t.node.order, t.index))]):
                    self._connect(None if maker is None else self._chain(maker), None, self._shown(maker, key))

    def _opens(self, call: Call) -> bool:
        """Return True if the inside of a call is shown: the model, and calls that run modules, unless they are too large."""
        inner = call.parent is None or call in self.turns or any(isinstance(item, Call) for item in call.items)
        return call not in self.closed and inner

    def _shown(self, maker: graph.Node | None, key: Any) -> Any:
        """Return the key of a Tensor; all turns of a loop share one."""
        function = None if maker is None else self.run.functions[maker]
        return ("turn", id(self.same[function]), key[1]) if function in self.same else key

    def _goes_back(self, maker: graph.Node, node: graph.Node) -> bool:
        """Return True for the state that a turn of a loop gives to the next one."""
        source, target = self.run.functions[maker], self.run.functions[node]
        return source in self.same and -self.same[source].begin >= -target.begin

    # Which operations carry data

    def _examine(self, node: graph.Node) -> None:
        """Find where an operation's arguments come from: the input, other operations, parameters."""
        found: list[tuple[graph.Node | None, Any]] = []
        names: list[str] = []
        for a in node.args or ():
            if not isinstance(a, Tensor):
                continue
            if id(a) in self.names:
                names.append(self.names[id(a)])
            elif a.node is None:
                if self._is_given(a.data):
                    found.append((None, (id(a.data), 0)))
            elif a.node in self.sources:
                found.append((a.node, (a.node.order, a.index)))
            else:
                names += self.parameters_of.get(a.node, [])
        found += [(None, (id(index), 0)) for index in _arrays(node.kwargs) if self._is_given(index)]
        self.parameters_of[node] = list(dict.fromkeys(names))
        if found:
            self.sources[node] = found

    def _is_given(self, array: Any) -> bool:
        """Return True if an array is an input, or whole numbers made of one, such as tokens reversed."""
        for x in self.given:
            if array is x.data:
                return True
            whole = x.dtype.kind in "iu" and array.dtype.kind in "iu" and id(array) not in self.buffers
            if whole and (array.size == x.size or np.shares_memory(np.asarray(array), np.asarray(x.data))):
                return True
        return False

    def _passed(self, node: graph.Node) -> bool:
        """Return True if an operation only passes values on; operations inside a module that is shown closed are the module."""
        return self._opens(self.run.owner(node)) and self.run.functions[node].rearranges

    def _resolved(self, node: graph.Node) -> list[tuple[graph.Node | None, Any]]:
        """Return the sources of an operation's data."""
        return self._behind(self.sources[node])

    def _behind(self, stack: list[tuple[graph.Node | None, Any]]) -> list[tuple[graph.Node | None, Any]]:
        """(maker, key), makers that only hand on replaced by those before them; pieces of a Tensor have their own keys."""
        found: list[tuple[graph.Node | None, Any]] = []
        seen, stack = set(), list(stack)
        while stack:
            maker, key = stack.pop()
            if (maker, key) in seen:
                continue
            seen.add((maker, key))
            if maker is None or not self._passed(maker):
                found.append((maker, key))
                continue
            piece = maker.primitive.name in CUTTING or len(key) > 2
            stack += [(before, (*key, "piece")[:3] if piece else inner) for before, inner in self.sources[maker]]
        return found

    # Paths between parts

    def _chain(self, node: graph.Node) -> list[Any]:
        """The calls around an operation from the model inwards, and the operation itself where it is a separate part."""
        call = self.run.owner(node)
        chain: list[Any] = []
        for at in call.chain():
            chain.append(at)
            if not self._opens(at):
                return chain
        return [*chain, self.same.get(self.run.functions[node], self.run.functions[node])]

    def _connect(self, source: list[Any] | None, target: list[Any] | None, key: Any) -> None:
        start, end = source or [self.run.root], target or [self.run.root]
        shared = 0
        while shared < min(len(start), len(end)) and start[shared] is end[shared]:
            shared += 1
        if source is not None and target is not None and shared == min(len(start), len(end)):
            return  # inside one part
        for k in range(shared + 1, len(start)):
            self._add(start[k - 1], start[k], OUTPUT, key)
        for k in range(shared + 1, len(end)):
            self._add(end[k - 1], INPUT, end[k], key)
        self._add(
            start[shared - 1],
            INPUT if source is None else start[shared],
            OUTPUT if target is None else end[shared] if shared < len(end) else OUTPUT,
            key,
        )

    def _add(self, call: Call, source: Any, target: Any, key: Any) -> None:
        self.edges.setdefault(call, {}).setdefault((source, target), set()).add(key)

    # Parts

    def part(self, call: Call) -> Part:
        module = call.module
        assert module is not None
        opens = self._opens(call)
        items = sorted(call.items, key=lambda item: -item.begin) if opens else []
        parameters = self._newly_counted(module)
        parts = tuple(self.part(item) if isinstance(item, Call) else self._operation(call, item) for item in items)
        places = {item: i for i, item in enumerate(items)}
        found: dict[tuple[int, int], int] = {}
        for (a, b), keys in self.edges.get(call, {}).items():
            found[places.get(a, INPUT), places.get(b, OUTPUT)] = len(keys)
        if opens:
            parts, found = self._with_ports(call, parts, places, found)
        edges = tuple(Edge(a, b, count) for (a, b), count in found.items())
        inner = sum(p.multiply_adds for p in parts)
        if not opens:
            inner = sum(c.multiply_adds for c in _calls(call) if c is not call)
        family = type(module).__module__.removeprefix("nnatomy.layers.")
        return Part(
            call.path, type(module).__name__, "" if "." in family else family, call.shape, parameters,
            call.multiply_adds + inner, _settings(module), parts, edges, tuple(t.shape for t in call.args),
            turns=self.turns.get(call, 1) if opens else 1,
        )  # fmt: skip

    def _with_ports(
        self, call: Call, parts: tuple[Part, ...], places: Mapping[Any, int], edges: dict[tuple[int, int], int]
    ) -> tuple[tuple[Part, ...], dict[tuple[int, int], int]]:
        """Add a part for each input of a module with several different inputs, named as in its `forward`."""
        names = list(signature(call.module.forward).parameters) if call.module is not None else []
        ports: dict[Any, int] = {}  # by the key of what comes in: which argument it is
        for number, t in enumerate(call.args):
            keys = [(id(t.data), 0)] if t.node is None else [k for _, k in self._behind([(t.node, (t.node.order, t.index))])]
            for key in keys:
                ports.setdefault(key[:2], number)
        comes = {
            (ports.get(key[:2], -1), places.get(b, OUTPUT)): None
            for (a, b), keys in self.edges.get(call, {}).items() if a is INPUT for key in keys
        }  # fmt: skip
        used = sorted({number for number, _ in comes if number >= 0})
        if len(used) < 2 or any(number < 0 for number, _ in comes):
            return parts, edges
        shift = len(used)
        heads = tuple(
            Part(call.path, names[n] if n < len(names) else f"input {n + 1}", "input", call.args[n].shape, 0, 0) for n in used
        )
        moved = {(a + shift, b + shift if b >= 0 else b): n for (a, b), n in edges.items() if a >= 0}
        into = {(used.index(n), b + shift if b >= 0 else b): 1 for n, b in comes}
        return heads + parts, {(INPUT, k): 1 for k in range(shift)} | into | moved

    def _operation(self, call: Call, function: Function) -> Part:
        last = function.nodes[-1].out
        out = last[0] if isinstance(last, tuple) else last
        names = dict.fromkeys(name for node in function.nodes for name in self.parameters_of.get(node, ()))
        detail = ", ".join(name.removeprefix(f"{call.path}.") for name in names)
        return Part(call.path, function.name, "operation", tuple(out.shape), 0, 0, detail)

    def _newly_counted(self, module: Module) -> int:
        """Parameters of a module and all below it, at the first of its calls."""
        if id(module) in self.counted:
            return 0
        self.counted.add(id(module))
        return module.count_parameters()


@dataclass(frozen=True)
class Loop:
    """A loop in a list of operations."""

    turns: int
    same: Mapping[int, int]
    """From the place of each operation of other turns to that of the same operation in the turn that is shown."""


def find_loop(names: list[str]) -> Loop | None:
    """Return the longest run of names that follows itself at least twice, of the shortest period; None if there is none.

    The turn before the first whole one may lack operations, such as products with a state of zeros.
    """
    count, longest = len(names), (0, 0, 0)  # names, their period and where they start
    for period in range(1, count // 3 + 1):
        run = 0
        for i in range(count - period):
            run = run + 1 if names[i] == names[i + period] else 0
            if run >= 2 * period and run + period > longest[0]:
                longest = run + period, period, i - run + 1
    length, period, start = longest
    if not length:
        return None
    turns, more = divmod(length, period)
    start += more  # the last turn is whole; the first may lack operations
    same = {start + turn * period + k: start + k for turn in range(1, turns) for k in range(period)}
    k = period - 1
    for i in reversed(range(start)):  # what is left of the turn before
        while k >= 0 and names[start + k] != names[i]:
            k -= 1
        if k < 0:
            break
        same[i] = start + k
        k -= 1
    return Loop(turns + (more > 0), same)


def _calls(call: Call) -> Iterator[Call]:
    yield call
    for item in call.items:
        if isinstance(item, Call):
            yield from _calls(item)


def _ancestors(outputs: list[Tensor]) -> list[graph.Node]:
    """All operations that the outputs come from, the earliest first."""
    seen = {t.node for t in outputs if t.node is not None}
    stack = list(seen)
    while stack:
        for parent in stack.pop().parents():
            if parent.node is not None and parent.node not in seen:
                seen.add(parent.node)
                stack.append(parent.node)
    return sorted(seen, key=lambda node: -node.order)


def _arrays(value: Any) -> Iterator[Any]:
    """The arrays among the options of an operation: rows of a table, indices."""
    if isinstance(value, Tensor):
        yield value.data
    elif hasattr(value, "dtype") and hasattr(value, "size"):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _arrays(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _arrays(item)


SETTINGS = {
    "kernel_size": "{}", "stride": "stride {}", "dilation": "dilation {}", "groups": "{} groups", "num_heads": "{} heads",
    "p": "p = {}", "layers": "{} layers", "num_layers": "{} layers", "bidirectional": "both ways",
}  # fmt: skip
"""The most informative settings of modules, and how they are put; those that change nothing are left out."""


def _settings(module: Module) -> str:
    values = {
        name: value for name, value in vars(module).items() if name in SETTINGS and isinstance(value, int | float | tuple)
    }
    if values.get("stride") == values.get("kernel_size"):
        values.pop("stride", None)
    told = []
    for name, form in SETTINGS.items():
        value = values.get(name)
        one = value[0] if isinstance(value, tuple) and len(set(value)) == 1 else value
        if name in values and (one is True or one not in (0, 1) or name == "kernel_size"):
            told.append(form.format(" × ".join(map(str, value)) if name == "kernel_size" and isinstance(value, tuple) else one))
    return ", ".join(told)
