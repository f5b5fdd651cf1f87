"""What makes an array function a primitive: it takes arrays and Tensors alike and knows its vector-Jacobian product."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from nnatomy import graph
from nnatomy.backends import B
from nnatomy.errors import UserError
from nnatomy.tensor import Tensor

Vjp = Callable[..., Any] | None
FLOAT64 = np.dtype("float64")
FLOAT32 = np.dtype("float32")


class Primitive:
    """The name and derivatives of a primitive.

    `vjps[i](g, y, *args, **kwargs)` is the gradient of argument i, given that of the output y; None where there is none.
    `joint(needs, g, y, *args, **kwargs)` returns all of them at once, where they share work; `needs[i]` says which count.
    The last `saved` outputs of the forward function are kept for the derivatives and not handed out.
    """

    __slots__ = ("joint", "name", "saved", "vjps")

    def __init__(self, name: str, vjps: tuple[Vjp, ...], joint: Vjp, saved: int) -> None:
        self.name, self.vjps, self.joint, self.saved = name, vjps, joint, saved

    def pull_back(self, node: graph.Node, gs: list[Any], needs: Sequence[bool], create_graph: bool) -> list[Any]:
        """The gradients of the node's arguments, each shaped as its argument is; None where none is needed."""
        args, values, y = node.args, node.values, node.out
        if args is None or values is None:
            raise RuntimeError(graph.FREED)
        for a, value in zip(args, values, strict=True):
            if isinstance(a, Tensor) and a.data is not value:
                raise RuntimeError(
                    f"An input of {self.name} (shape {a.shape}) was changed in place after it was used, so its gradient "
                    "is lost; change it after backward(), or use a new Tensor."
                )
        several = type(y) is tuple
        g: Any = gs[0]
        if several and len(y) - self.saved > 1:
            g = tuple(B.zeros(o.shape, dtype=o.dtype) if g is None else g for g, o in zip(gs, y[: len(y) - self.saved]))
        inputs: Sequence[Any] = values
        if create_graph:  # the gradient depends on the arguments and on the output, and they on what came before
            inputs = [a if isinstance(a, Tensor) else v for a, v in zip(args, values, strict=True)]
            y = tuple(_result(o, node, i) for i, o in enumerate(y)) if several else _result(y, node, 0)
        if self.joint is not None:
            found = self.joint(needs, g, y, *inputs, **node.kwargs)
        else:
            found = [
                vjp(g, y, *inputs, **node.kwargs) if need and vjp is not None else None
                for need, vjp in zip(needs, self.vjps, strict=False)
            ]
        return [
            unbroadcast(r, v, self.name) if need and r is not None else None
            for r, v, need in zip(found, values, needs, strict=False)
        ]


def unbroadcast(g: Any, value: Any, name: str) -> Any:
    """Sums a gradient back to the shape that was broadcast: the only place where broadcasting is undone."""
    shape, have = value.shape, g.shape
    if g.dtype != value.dtype:
        raise TypeError(f"The gradient of {name} has dtype {g.dtype}, its argument {value.dtype}: a silent promotion.")
    if have == shape:
        return g
    from nnatomy.ops import reductions, shapes

    lead = len(have) - len(shape)
    axes = tuple(range(lead)) + tuple(i + lead for i, n in enumerate(shape) if n == 1 and have[i + lead] != 1)
    return shapes.reshape(reductions.sum(g, axis=axes), shape)


def settle(name: str, values: Sequence[Any], out: Any) -> Any:
    """Keeps float64 out of what is not float64: integers become float32. Raises TypeError where floating types meet."""
    if out.dtype != FLOAT64:
        return out
    kinds = {v.dtype for v in values if hasattr(v, "dtype") and v.dtype.kind == "f"}
    if len(kinds) > 1:
        raise TypeError(
            f"{name} received arrays of {' and '.join(sorted(str(k) for k in kinds))}; "
            "convert one of them with .astype(): types are not promoted silently."
        )
    return out if kinds == {FLOAT64} else out.astype(FLOAT32)


def primitive(*vjps: Vjp, joint: Vjp = None, saved: int = 0) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Turns an array function into an operation on arrays and Tensors. `vjps` stand above the function they derive."""

    def decorate(forward: Callable[..., Any]) -> Callable[..., Any]:
        name = forward.__name__.strip("_")
        spec = Primitive(name, vjps, joint, saved)
        differentiable = bool(vjps) or joint is not None

        @functools.wraps(forward)
        def op(*args: Any, **kwargs: Any) -> Any:
            tensors = numbers = False
            values, needs = [], []
            for a in args:
                if isinstance(a, Tensor):
                    tensors = True
                    values.append(a.data)
                    needs.append(a.requires_grad)
                else:
                    values.append(a)
                    needs.append(False)
                    numbers = numbers or isinstance(a, np.generic)
            if tensors and numbers:  # beside a Tensor, a NumPy scalar counts as a Python number, which has no dtype
                values = [v.item() if isinstance(a, np.generic) else v for a, v in zip(args, values, strict=True)]
            try:
                out = forward(*values, **kwargs)
            except (ValueError, TypeError, IndexError) as error:
                raise explained(name, values, error) from error
            if not tensors:
                if not saved:
                    return out
                return out[:-saved] if len(out) - saved > 1 else out[0]
            track = differentiable and graph.mode.recording and True in needs
            if type(out) is tuple:
                node = graph.Node(spec, args, values, needs, kwargs, out) if track else None
                if len(out) - saved == 1:
                    return _result(out[0], node, 0)
                return tuple(_result(o, node, i) for i, o in enumerate(out[: len(out) - saved]))
            if out.dtype is not FLOAT32 and "dtype" not in kwargs:
                out = settle(name, values, out)
            return _result(out, graph.Node(spec, args, values, needs, kwargs, out) if track else None, 0)

        op.primitive = spec  # type: ignore[attr-defined]
        return op

    return decorate


def through(composed: Callable[..., Any], needs: Sequence[bool], g: Any, inputs: Sequence[Any], **kwargs: Any) -> list[Any]:
    """The gradients of a fused primitive by way of its composed form, so that they can be differentiated themselves.

    For a `joint` whose inputs are Tensors (`create_graph`). `composed(*inputs, **kwargs)` returns what the primitive hands out.
    """
    from nnatomy.ops.pointwise import clone

    cut = [clone(a) if need else a for a, need in zip(inputs, needs, strict=True)]  # no way round by one another
    y = composed(*cut, **kwargs)
    ys, gs = (y, g) if isinstance(y, tuple) else ((y,), (g,))
    wanted = [c for c, need in zip(cut, needs, strict=True) if need]
    found = iter(graph.backward(ys, gs, retain_graph=True, create_graph=True, inputs=wanted))
    return [next(found) if need else None for need in needs]


def _result(out: Any, node: graph.Node | None, index: int) -> Tensor:
    t = Tensor(out)
    if node is not None and out.dtype.kind == "f":
        t.requires_grad, t.node, t.index = True, node, index
    return t


def explained(name: str, values: Sequence[Any], error: Exception) -> Exception:
    """The same error with the operation's name and the shapes it received."""
    if isinstance(error, UserError):
        return error
    received = ", ".join(f"shape {tuple(v.shape)}" if hasattr(v, "shape") else repr(v)[:40] for v in values)
    text = f"{name}() cannot take {received}: {error}"
    return UserError(text) if isinstance(error, ValueError) else type(error)(text)
