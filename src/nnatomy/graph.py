"""The record of a computation and the walk back through it. What a Tensor offers to users is in tensor.py."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nnatomy.tensor import Tensor

Hook = Callable[[Any], Any]

FREED = (
    "backward() was called a second time through a graph that the first call freed; "
    "give retain_graph=True to the first call to keep it."
)


class _Mode(threading.local):
    recording = True


mode = _Mode()
_next_order = itertools.count().__next__


class Clock:
    """Counts in-place changes of Tensors, so that backward notices a value that changed after it was used."""

    now = 0


@contextmanager
def set_grad_enabled(enabled: bool) -> Iterator[None]:
    """Records operations inside the block (or not), whatever held outside."""
    before = mode.recording
    mode.recording = enabled
    try:
        yield
    finally:
        mode.recording = before


def no_grad() -> Any:
    """A block (or decorator) in which nothing is recorded for differentiation."""
    return set_grad_enabled(False)


def enable_grad() -> Any:
    """A block (or decorator) inside `no_grad` in which operations are recorded again."""
    return set_grad_enabled(True)


def is_grad_enabled() -> bool:
    """Whether operations on Tensors that require gradients are being recorded."""
    return mode.recording


class Node:
    """One recorded operation: the primitive, its arguments, and its output(s)."""

    __slots__ = ("args", "clock", "hooks", "kwargs", "order", "out", "primitive", "retained")

    def __init__(self, primitive: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> None:
        self.primitive = primitive
        self.args: tuple[Any, ...] | None = args
        self.kwargs = kwargs
        self.out = out  # the raw array, or a tuple of them: no cycle from a Tensor to itself
        self.order = _next_order()  # creation order is a topological order
        self.clock = Clock.now
        self.hooks: dict[int, list[Hook]] | None = None
        self.retained: dict[int, Any] | None = None


def reachable(roots: Sequence[Node]) -> list[Node]:
    """All nodes from which `roots` were computed, newest first. Iterative: depth is no limit."""
    seen = {id(node): node for node in roots}
    stack = list(seen.values())
    while stack:
        args = stack.pop().args
        if args is None:
            raise RuntimeError(FREED)
        for arg in args:
            parent = getattr(arg, "node", None)
            if parent is not None and id(parent) not in seen:
                seen[id(parent)] = parent
                stack.append(parent)
    return sorted(seen.values(), key=lambda node: node.order, reverse=True)


def leading_to(nodes: list[Node], inputs: Sequence[Tensor]) -> set[int]:
    """The ids of those nodes (newest first) whose output depends on one of `inputs`."""
    wanted = {id(t) for t in inputs}
    producers = {id(t.node) for t in inputs if t.node is not None}
    needed: set[int] = set()
    for node in reversed(nodes):
        for arg in node.args or ():
            parent = getattr(arg, "node", None)
            if id(arg) in wanted or (parent is not None and (id(parent) in needed or id(parent) in producers)):
                needed.add(id(node))
                break
    return needed


def backward(
    roots: Sequence[Tensor],
    gradients: Sequence[Any],
    *,
    retain_graph: bool,
    create_graph: bool,
    inputs: Sequence[Tensor] | None = None,
) -> list[Any]:
    """Walks from `roots` to the leaves and accumulates into `.grad`, or returns the gradients of `inputs` if given.

    Gradients are plain arrays (nothing is recorded), or with `create_graph` Tensors that remember how they were made.
    """
    from nnatomy.tensor import Tensor

    nodes = reachable([t.node for t in roots if t.node is not None])
    needed = None if inputs is None else leading_to(nodes, inputs)
    pending: dict[tuple[int, int], Any] = {}  # gradient of output `index` of a node
    leaves: dict[int, tuple[Tensor, Any]] = {}
    captured: dict[tuple[int, int], Any] = {}
    capture = {(id(t.node), t.index) for t in inputs or () if t.node is not None}

    def deposit(t: Tensor, g: Any) -> None:
        if t.node is not None:
            key = (id(t.node), t.index)
            pending[key] = pending[key] + g if key in pending else g
        elif t.requires_grad:
            leaves[id(t)] = (t, leaves[id(t)][1] + g if id(t) in leaves else g)

    with set_grad_enabled(create_graph):
        for t, g in zip(roots, gradients, strict=True):
            deposit(t, Tensor(g) if create_graph and not isinstance(g, Tensor) else g)
        for node in nodes:
            several = isinstance(node.out, tuple)
            outs = node.out if several else (node.out,)
            gs = [pending.pop((id(node), i), None) for i in range(len(outs))]
            for i, g in enumerate(gs):
                if g is None:
                    continue
                if node.hooks and i in node.hooks:
                    gs[i] = g = run_hooks(node.hooks[i], g, create_graph)
                if node.retained and i in node.retained and (t := node.retained[i]()) is not None:
                    accumulate(t, g)
                if (id(node), i) in capture:
                    captured[id(node), i] = g
            if needed is not None and id(node) not in needed:
                continue
            if all(g is None for g in gs):
                continue
            for arg, g in node.primitive.pull_back(node, gs, create_graph, Tensor):
                deposit(arg, g)
            if not retain_graph:
                node.args = None
                node.out = tuple(None for _ in outs) if several else None
        for i, (t, g) in leaves.items():
            if t.hooks:
                leaves[i] = (t, run_hooks(t.hooks, g, create_graph))
    if inputs is None:
        for t, g in leaves.values():
            accumulate(t, g)
        return []
    return [
        captured.get((id(t.node), t.index)) if t.node is not None else leaves.get(id(t), (None, None))[1]
        for t in inputs
    ]


def accumulate(t: Tensor, g: Any) -> None:
    """`t.grad += g`, as a new Tensor: gradients seen earlier keep their values."""
    new = g if hasattr(g, "requires_grad") else type(t).plain(g)
    t.grad = new if t.grad is None else t.grad + new


def run_hooks(hooks: list[Hook], g: Any, create_graph: bool) -> Any:
    """Passes a gradient through hooks: each sees a Tensor and may return its replacement."""
    from nnatomy.tensor import Tensor

    t = g if isinstance(g, Tensor) else Tensor(g)
    for hook in hooks:
        replacement = hook(t)
        if replacement is not None:
            t = replacement if isinstance(replacement, Tensor) else Tensor(replacement)
    return t if create_graph else t.data
