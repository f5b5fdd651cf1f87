"""One run of a model as it happened: which calls of modules and functions were running when each operation was recorded."""

from __future__ import annotations

import os
import sys
from bisect import bisect_right
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from nnatomy import graph
from nnatomy.inspect.recording import tensors
from nnatomy.layers.module import Module
from nnatomy.layers.summary import normalization_cost
from nnatomy.ops.pointwise import clone
from nnatomy.tensor import Tensor

CUTTING = frozenset(["split", "unstack", "getitem"])
REARRANGING = CUTTING | frozenset(
    ["reshape", "transpose", "broadcast_to", "index_put", "astype", "clone", "flip", "stack", "tril", "triu"]
)
"""Operations that compute nothing: data pass through them to where they are used."""
SHOWN = frozenset(("flatten",))
"""Functions that compute nothing and are shown all the same: a step that readers look for."""


@dataclass(eq=False)
class Function:
    """One call of a function of nnatomy.functional or nnatomy.ops, and the operations that it is made of."""

    name: str
    begin: int
    nodes: list[graph.Node] = field(default_factory=list)

    @property
    def rearranges(self) -> bool:
        return self.name not in SHOWN and all(node.primitive.name in REARRANGING for node in self.nodes)


@dataclass(eq=False)
class Call:
    """One call of a module: what runs in it, in order."""

    module: Module | None
    path: str
    parent: Call | None
    begin: int
    items: list[Call | Function] = field(default_factory=list)
    multiply_adds: int = 0
    shape: tuple[int, ...] = ()
    args: tuple[Tensor, ...] = ()

    def chain(self) -> list[Any]:
        """From the model's own call to this one."""
        return [self] if self.parent is None else [*self.parent.chain(), self]


@contextmanager
def watching_functions(found: dict[graph.Node, Function]) -> Iterator[None]:
    """A block in which each recorded operation is put with the outermost function of ours that was running: mean, gelu ..."""
    plain = graph.Node
    calls: dict[Any, Function] = {}  # by the function's frame, which lives as long as it is kept here

    def node(*args: Any) -> graph.Node:
        made = plain(*args)
        key: Any = made
        name, frame = made.primitive.name, sys._getframe(1).f_back
        while frame is not None and frame.f_code.co_filename.startswith(OURS):
            if not frame.f_code.co_filename.endswith(PLUMBING):
                key, name = frame, frame.f_code.co_name
            frame = frame.f_back
        found[made] = calls.setdefault(key, Function(name.strip("_"), made.order))
        found[made].nodes.append(made)
        return made

    setattr(graph, "Node", node)  # noqa: B010
    try:
        yield
    finally:
        setattr(graph, "Node", plain)  # noqa: B010


_FOLDER = os.path.dirname(os.path.abspath(graph.__file__))
OURS = tuple(os.path.join(_FOLDER, name) for name in ("ops" + os.sep, "functional" + os.sep, "tensor.py", "foreign.py"))
PLUMBING = ("primitive.py", "tensor.py")


class Run:
    """The calls of one run, and at which times they start and end."""

    def __init__(self, model: Module) -> None:
        self.model = model
        self.paths = {id(module): path for path, module in model.named_modules()}
        self.root = self.running = Call(None, "", None, graph.now())
        self.times: list[int] = []
        self.calls: list[Call] = []
        self.functions: dict[graph.Node, Function] = {}

    @contextmanager
    def watching(self) -> Iterator[None]:
        handles = []
        for module in list(self.model.modules()):
            handles += [module.register_forward_pre_hook(self._enter), module.register_forward_hook(self._leave)]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()
        self.root = next(item for item in self.root.items if isinstance(item, Call))
        self.root.parent = None

    def spend(self, multiply_adds: int) -> None:
        self.running.multiply_adds += multiply_adds

    def _enter(self, module: Module, args: tuple[Any, ...]) -> None:
        call = Call(module, self.paths[id(module)], self.running, graph.now())
        self.running.items.append(call)
        call.args = tuple(tensors(args))
        self._mark(call)

    def _leave(self, module: Module, args: tuple[Any, ...], output: Any) -> Any:
        call = self.running
        call.multiply_adds += normalization_cost(module, args)
        call.shape = next((t.shape for t in tensors(output)), ())
        taken = {id(t) for t in tensors(args)}
        if isinstance(output, Tensor) and id(output) in taken:  # unchanged, as by dropout: a copy makes the call visible
            output = clone(output)
        assert call.parent is not None
        self._mark(call.parent)
        return output

    def _mark(self, call: Call) -> None:
        self.running = call
        self.times.append(-graph.now())
        self.calls.append(call)

    def owner(self, node: graph.Node) -> Call:
        """The call that was running when an operation was recorded."""
        return self.calls[bisect_right(self.times, -node.order) - 1]
