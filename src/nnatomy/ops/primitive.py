"""What makes an array function a primitive: it takes arrays and Tensors alike and knows its vector-Jacobian product."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from nnatomy import graph
from nnatomy.backends import B
from nnatomy.tensor import Tensor

Vjp = Callable[..., Any] | None
FLOAT64 = np.dtype("float64")
FLOAT32 = np.dtype("float32")


class Primitive:
    """The name and derivatives of a primitive.

    `vjps[i](g, y, *args, **kwargs)` is the gradient of argument i, given that of the output y; None where there is none.
    `joint(needs, g, y, *args, **kwargs)` returns all of them at once, where they share work; `needs[i]` says which count.
    """

    __slots__ = ("joint", "name", "vjps")

    def __init__(self, name: str, vjps: tuple[Vjp, ...], joint: Vjp) -> None:
        self.name, self.vjps, self.joint = name, vjps, joint

    def pull_back(
        self, node: graph.Node, gs: list[Any], as_tensors: bool, tensor: type[Tensor]
    ) -> Iterator[tuple[Tensor, Any]]:
        """The arguments of `node` that want a gradient, each with its gradient, shaped as the argument is."""
        args = node.args
        if args is None:
            raise RuntimeError(graph.FREED)
        several = isinstance(node.out, tuple)
        outs = node.out if several else (node.out,)
        if several:
            gs = [B.zeros(o.shape, dtype=o.dtype) if g is None else g for g, o in zip(gs, outs, strict=True)]
        for a in args:
            if isinstance(a, tensor) and a.changed > node.clock:
                raise RuntimeError(
                    f"An input of {self.name} (shape {a.shape}) was changed in place after it was used, so its gradient is lost; "
                    "change it after backward(), or use a new Tensor."
                )
        y: Any
        if as_tensors:  # the graph continues through the arguments and through the output
            wrapped = []
            for i, out in enumerate(outs):
                t = tensor(out, requires_grad=out.dtype.kind == "f")
                t.node, t.index = node, i
                wrapped.append(t)
            y, values = tuple(wrapped) if several else wrapped[0], args
        else:
            y, values = node.out, tuple(a.data if isinstance(a, tensor) else a for a in args)
        g = tuple(gs) if several else gs[0]
        needs = [isinstance(a, tensor) and a.requires_grad for a in args]
        if self.joint is not None:
            results = self.joint(needs, g, y, *values, **node.kwargs)
            for a, need, r in zip(args, needs, results, strict=True):
                if need and r is not None:
                    yield a, unbroadcast(r, a, self.name)
            return
        for a, need, vjp in zip(args, needs, self.vjps, strict=False):
            if need and vjp is not None:
                yield a, unbroadcast(vjp(g, y, *values, **node.kwargs), a, self.name)


def unbroadcast(g: Any, t: Tensor, name: str) -> Any:
    """Sums a gradient back to the shape that was broadcast: the only place where broadcasting is undone."""
    shape, have = t.data.shape, g.shape
    if g.dtype != t.data.dtype:
        raise TypeError(f"The gradient of {name} has dtype {g.dtype}, its argument {t.dtype}: a silent promotion.")
    if have == shape:
        return g
    from nnatomy.ops import reductions, shapes

    lead = len(have) - len(shape)
    axes = tuple(range(lead)) + tuple(i + lead for i, n in enumerate(shape) if n == 1 and have[i + lead] != 1)
    return shapes.reshape(reductions.sum(g, axis=axes), shape)


def settle(
    name: str, forward: Callable[..., Any], args: tuple[Any, ...], values: list[Any], kwargs: dict[str, Any], out: Any
) -> Any:
    """Keeps float64 out of a float32 computation: NumPy scalars count as Python numbers, integers become float32.

    Raises TypeError where arrays of different floating types meet.
    """
    strong = [not isinstance(a, np.generic | float | int) and hasattr(v, "dtype") for a, v in zip(args, values, strict=True)]
    kinds = {v.dtype for v, s in zip(values, strong, strict=True) if s and v.dtype.kind == "f"}
    if kinds == {FLOAT64}:
        return out
    if len(kinds) > 1:
        raise TypeError(
            f"{name} received arrays of {' and '.join(sorted(str(k) for k in kinds))}; "
            "convert one of them with .astype(): types are not promoted silently."
        )
    weak = [v.item() if isinstance(v, np.generic) and not s else v for v, s in zip(values, strong, strict=True)]
    again = forward(*weak, **kwargs)
    return again.astype(FLOAT32) if again.dtype == FLOAT64 else again


def primitive(*vjps: Vjp, joint: Vjp = None) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Turns an array function into an operation on arrays and Tensors. `vjps` stand above the function they derive."""

    def decorate(forward: Callable[..., Any]) -> Callable[..., Any]:
        name = forward.__name__.strip("_")
        spec = Primitive(name, vjps, joint)
        differentiable = bool(vjps) or joint is not None

        @functools.wraps(forward)
        def op(*args: Any, **kwargs: Any) -> Any:
            tensors = track = False
            values = []
            for a in args:
                if isinstance(a, Tensor):
                    tensors = True
                    if a.requires_grad:
                        track = True
                    values.append(a.data)
                else:
                    values.append(a)
            out = forward(*values, **kwargs)
            if not tensors:
                return out
            track = track and differentiable and graph.mode.recording
            if type(out) is tuple:
                node = graph.Node(spec, args, kwargs, out) if track else None
                return tuple(_result(o, node, i) for i, o in enumerate(out))
            if out.dtype is FLOAT64 or out.dtype == FLOAT64:
                out = settle(name, forward, args, values, kwargs, out)
            y = Tensor(out)
            if track:
                y.requires_grad = True
                y.node = graph.Node(spec, args, kwargs, out)
            return y

        op.primitive = spec  # type: ignore[attr-defined]
        return op

    return decorate


def _result(out: Any, node: graph.Node | None, index: int) -> Tensor:
    t = Tensor(out)
    if node is not None and out.dtype.kind == "f":
        t.requires_grad, t.node, t.index = True, node, index
    return t
