"""The record of a computation and the walk back through it. What a Tensor offers to users is in tensor.py."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from heapq import heappop, heappush, heappushpop
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from nnatomy.tensor import Tensor

Hook = Callable[[Any], Any]


class RemovableHandle:
    """A hook that was registered: `remove()` takes it out again, and so does the end of a `with` block."""

    def __init__(self, remove: Callable[[], Any]) -> None:
        self._remove: Callable[[], Any] | None = remove

    def remove(self) -> None:
        """Remove the hook; once is enough, more does nothing."""
        remove, self._remove = self._remove, None
        if remove is not None:
            remove()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failure: object) -> None:
        self.remove()


FREED = (
    "backward() was called a second time through a graph that the first call freed; "
    "give retain_graph=True to the first call to keep it."
)

SEALED = (
    "backward() cannot go on through what a compiled function returned; "
    "compile the whole step, with backward() inside, or call the function uncompiled."
)


_recording = ContextVar("recording", default=True)
is_grad_enabled: Callable[[], bool] = _recording.get
"""True if operations on Tensors that require gradients are being recorded, in this thread or task."""

_tensor: Any = None  # the class Tensor, which tensor.py puts here when it is imported, so that imports point downwards only
_next_order = itertools.count(0, -1).__next__


def now() -> int:
    """A moment: operations recorded before it have a larger `order`, those after it a smaller one."""
    return _next_order()


def bind(tensor: type[Tensor]) -> None:
    """Set the class that gradients are made of."""
    global _tensor
    _tensor = tensor


@contextmanager
def set_grad_enabled(enabled: bool) -> Iterator[None]:
    """Record operations inside the block (or not), whatever held outside."""
    before = _recording.get()
    _recording.set(enabled)
    try:
        yield
    finally:
        _recording.set(before)


def no_grad() -> Any:
    """A block (or decorator) in which nothing is recorded for differentiation."""
    return set_grad_enabled(False)


def enable_grad() -> Any:
    """A block (or decorator) inside `no_grad` in which operations are recorded again."""
    return set_grad_enabled(True)


class Node:
    """One recorded operation: the primitive, its arguments (Tensors and others), their raw values, and its output(s)."""

    __slots__ = ("args", "hooks", "kwargs", "needs", "order", "out", "primitive", "retained", "values")

    def __init__(
        self, primitive: Any, args: tuple[Any, ...], values: Sequence[Any], needs: Sequence[bool],
        kwargs: dict[str, Any], out: Any,
    ) -> None:  # fmt: skip
        self.primitive = primitive
        self.args: tuple[Any, ...] | None = args
        self.values: Sequence[Any] | None = values
        self.needs = needs  # which arguments wanted a gradient when the operation ran
        self.kwargs = kwargs
        self.out = out  # the raw array, or a tuple of them: no cycle from a Tensor to itself
        self.order = _next_order()  # falling: creation order is a topological order, and the newest is first in a heap
        self.hooks: dict[int, list[Hook]] | None = None
        self.retained: dict[int, Any] | None = None

    def parents(self) -> list[Tensor]:
        """The arguments that wanted a gradient."""
        if self.args is None:
            raise RuntimeError(FREED)
        return [a for a, need in zip(self.args, self.needs) if need]

    def free(self) -> None:
        self.args = self.values = self.out = None


class Sealed(Node):
    """The history of what a compiled function returned: it was left inside, so that backward() cannot continue from there."""

    __slots__ = ()
    name = "compiled"
    saved = 0

    def __init__(self) -> None:
        super().__init__(Sealed, (), (), (), {}, None)

    def parents(self) -> list[Tensor]:
        raise RuntimeError(SEALED)

    @staticmethod
    def vjp(*_: Any) -> Any:
        raise RuntimeError(SEALED)


def between(roots: Sequence[Tensor], inputs: Sequence[Tensor]) -> set[Node]:
    """The nodes on a way from `inputs` to `roots`. Iterative: depth is not a limit."""
    seen = {t.node for t in roots if t.node is not None}
    stack = list(seen)
    while stack:
        for parent in stack.pop().parents():
            if parent.node is not None and parent.node not in seen:
                seen.add(parent.node)
                stack.append(parent.node)
    wanted = {(t.node, t.index if t.node else id(t)) for t in inputs}
    found: set[Node] = set()
    for node in sorted(seen, key=lambda node: -node.order):
        if any(p.node in found or (p.node, p.index if p.node else id(p)) in wanted for p in node.parents()):
            found.add(node)
    return found


def backward(
    roots: Sequence[Tensor],
    gradients: Sequence[Any],
    *,
    retain_graph: bool,
    create_graph: bool,
    inputs: Sequence[Tensor] | None = None,
) -> list[Any]:
    """Walk from `roots` to the leaves, newest node first, and accumulate into `.grad`.

    With `inputs`, returns their gradients instead. Gradients are plain arrays (nothing is recorded), or with `create_graph`
    Tensors that remember how they were made.
    """
    pending: dict[int, list[Any]] = {}  # by a node's order: the gradients of its outputs, summed so far, and the node
    queue: list[int] = []  # the keys of `pending`, as a heap: the newest is the first
    leaves: dict[int, tuple[Tensor, Any]] = {}
    through = None if inputs is None else between(roots, inputs)
    wanted = {(t.node, t.index): None for t in inputs or () if t.node is not None}
    wanted_leaves = {id(t) for t in inputs or () if t.node is None}

    with set_grad_enabled(create_graph):
        arriving = _starting(roots, gradients, create_graph)
        while True:  # one pass for each node; plain loops and local names, because it runs once for each operation of a step
            first = None  # the key of the first node that is new to the queue
            for t, g in arriving:
                if g is None:
                    continue
                node = t.node
                if node is None:
                    leaves[id(t)] = (t, leaves[id(t)][1] + g if id(t) in leaves else g)
                elif (key := node.order) in pending:
                    gs = pending[key]
                    gs[t.index] = g if gs[t.index] is None else gs[t.index] + g
                elif node.args is None:
                    raise RuntimeError(FREED)
                else:
                    if type(node.out) is tuple:
                        pending[key] = gs = [None] * (len(node.out) - node.primitive.saved) + [node]
                        gs[t.index] = g
                    else:
                        pending[key] = [g, node]
                    if first is None:
                        first = key
                    else:
                        heappush(queue, key)
            if first is not None:
                gs = pending.pop(heappushpop(queue, first))
            elif queue:
                gs = pending.pop(heappop(queue))
            else:
                break
            node = gs.pop()
            if node.hooks is not None or node.retained is not None:
                _observe(node, gs, create_graph)
            needs = node.needs
            if through is not None:
                for i, g in enumerate(gs):
                    if (node, i) in wanted:
                        wanted[node, i] = g
                if node not in through:
                    arriving = ()
                    continue
                needs = [
                    need and (id(a) in wanted_leaves or a.node in through or (a.node, a.index) in wanted)
                    for a, need in zip(node.args or (), needs)
                ]
            arriving = zip(node.args, node.primitive.vjp(node, gs, needs, create_graph))
            if not retain_graph:
                node.args = node.values = node.out = None
        for i, (t, g) in leaves.items():
            if t.hooks:
                leaves[i] = (t, run_hooks(t.hooks, g, create_graph))
        if inputs is None:
            for t, g in leaves.values():
                accumulate(t, g)
            return []
    return [wanted[t.node, t.index] if t.node is not None else leaves.get(id(t), (t, None))[1] for t in inputs]


def _starting(roots: Sequence[Tensor], gradients: Sequence[Any], create_graph: bool) -> Iterable[tuple[Tensor, Any]]:
    """The roots that have a history, each with its gradient as the walk passes it on: a Tensor with `create_graph`."""
    if create_graph:
        gradients = [g if isinstance(g, _tensor) else _tensor(g) for g in gradients]
    else:
        gradients = [g.data if isinstance(g, _tensor) else g for g in gradients]
    return [(t, g) for t, g in zip(roots, gradients, strict=True) if t.requires_grad]


def _observe(node: Node, gs: list[Any], create_graph: bool) -> None:
    """Run the hooks of a result and keep its gradient where `retain_grad` requested it."""
    for i, g in enumerate(gs):
        if g is None:
            continue
        if node.hooks and i in node.hooks:
            gs[i] = g = run_hooks(node.hooks[i], g, create_graph)
        if node.retained and i in node.retained and (t := node.retained[i]()) is not None:
            accumulate(t, g)


def accumulate(t: Tensor, g: Any) -> None:
    """`t.grad += g`, as a new Tensor: gradients seen earlier keep their values."""
    new = g if isinstance(g, _tensor) else _tensor(g)
    t.grad = new if t.grad is None else t.grad + new


def run_hooks(hooks: list[Hook], g: Any, create_graph: bool) -> Any:
    """Pass a gradient through hooks: each sees a Tensor and may return its replacement."""
    t = g if isinstance(g, _tensor) else _tensor(g)
    for hook in list(hooks):
        replacement = hook(t)
        if replacement is not None:
            t = replacement if isinstance(replacement, _tensor) else _tensor(replacement)
    return t if create_graph else t.data
