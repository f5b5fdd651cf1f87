"""Primitives: array functions that take arrays and Tensors alike and know their vector-Jacobian product."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy import generic

from nnatomy import graph
from nnatomy.backends import B
from nnatomy.backends.dtypes import is_floating, is_half
from nnatomy.errors import UserError
from nnatomy.foreign import unknown_keyword
from nnatomy.graph import is_grad_enabled
from nnatomy.tensor import Tensor, result

Vjp = Callable[..., Any] | None
FLOAT64 = np.dtype("float64")
FLOAT32 = np.dtype("float32")
_NO_OPTIONS: dict[str, Any] = {}
_BOTH, _LEFT, _RIGHT = (True, True), (True, False), (False, True)  # which arguments want a gradient


class Primitive:
    """The name and derivatives of a primitive.

    `vjps[i](g, y, *args, **kwargs)` is the gradient of argument i, given that of the output y; None where there is none.
    `joint(needs, g, y, *args, **kwargs)` returns all of them in one call, where they share work; `needs[i]` says which count.
    The last `saved` outputs of the forward function are kept for the derivatives and not handed out.
    `real`: its outputs are not integers, so integers and booleans are converted to floating-point numbers.
    """

    __slots__ = ("arguments", "joint", "name", "real", "saved", "short", "vjps")

    def __init__(self, name: str, vjps: tuple[Any, ...], joint: Vjp, saved: int, short: bool, real: bool) -> None:
        self.name, self.vjps, self.joint, self.saved, self.real = name, vjps, joint, saved, real
        self.arguments: tuple[str, ...] = ()
        self.short = short  # whether it takes one argument or two and no options, and has a gradient for each

    def vjp(self, node: graph.Node, gs: list[Any], needs: Sequence[bool], create_graph: bool) -> Sequence[Any]:
        """The gradients of the node's arguments, each shaped as its argument is; None where none is needed."""
        args, values, y = node.args, node.values, node.out
        if args is None or values is None:
            raise RuntimeError(graph.FREED)
        if self.short and not create_graph:  # what follows below, without its loops: small networks spend their time here
            (g,) = gs
            if len(args) == 1:
                (a,), (x,) = args, values
                if a.data is not x:
                    raise self._changed(a)
                share = self.vjps[0](g, y, x)
                return (share if share.dtype is x.dtype and share.shape == x.shape else unbroadcast(share, x, self.name),)
            (a, b), (x, z) = args, values
            if a is not x and a.data is not x:
                raise self._changed(a)
            if b is not z and b.data is not z:
                raise self._changed(b)
            left = right = None
            if needs[0]:
                left = self.vjps[0](g, y, x, z)
                if left.dtype is not x.dtype or left.shape != x.shape:
                    left = unbroadcast(left, x, self.name)
            if needs[1]:
                right = self.vjps[1](g, y, x, z)
                if right.dtype is not z.dtype or right.shape != z.shape:
                    right = unbroadcast(right, z, self.name)
            return left, right
        for a, value in zip(args, values):
            if a is not value and a.data is not value:
                raise self._changed(a)
        several = type(y) is tuple
        g = gs[0]
        if several and (len(y) - self.saved > 1 or not self.saved):
            g = tuple(B.zeros(o.shape, dtype=o.dtype) if g is None else g for g, o in zip(gs, y[: len(y) - self.saved]))
        inputs: Sequence[Any] = values
        if create_graph:  # the gradient depends on the arguments and on the output, and they on what came before
            inputs = [a if isinstance(a, Tensor) else v for a, v in zip(args, values)]
            y = tuple(_result(o, node, i) for i, o in enumerate(y)) if several else _result(y, node, 0)
        if self.joint is not None:
            found = self.joint(needs, g, y, *inputs, **node.kwargs)
        else:
            found = [
                vjp(g, y, *inputs, **node.kwargs) if need and vjp is not None else None for need, vjp in zip(needs, self.vjps)
            ]
        return [
            unbroadcast(r, v, self.name) if need and r is not None else None for r, v, need in zip(found, values, needs)
        ]

    def _changed(self, a: Tensor) -> RuntimeError:
        return RuntimeError(
            f"An input of {self.name} (shape {a.shape}) was changed in place after it was used, so its gradient "
            "is lost. Change it after backward(), or use a new Tensor."
        )


def unbroadcast(g: Any, value: Any, name: str) -> Any:
    """Sums a gradient back to the shape that was broadcast: the only place where broadcasting is undone.

    Half precision counts as float32 next to float32 (a penalty on half weights joins a loss): its gradient is narrowed again.
    """
    shape, have = value.shape, g.shape
    if g.dtype == FLOAT32 and is_half(value.dtype):
        from nnatomy.ops import pointwise

        g = pointwise.astype(g, value.dtype)
    if g.dtype != value.dtype:
        raise TypeError(f"The gradient of {name} has dtype {g.dtype}, its argument {value.dtype}: a silent promotion.")
    if have == shape:
        return g
    from nnatomy.ops import reductions, shapes

    lead = len(have) - len(shape)
    axes = tuple(range(lead)) + tuple(i + lead for i, n in enumerate(shape) if n == 1 and have[i + lead] != 1)
    return shapes.reshape(reductions.sum(g, axis=axes), shape)


def check_dtype(name: str, values: Sequence[Any], out: Any, arguments: Sequence[str] = ()) -> Any:
    """Keep float64 out of what is not float64: integers become float32. Raises TypeError where floating types meet."""
    if out.dtype != FLOAT64:
        if getattr(out.dtype, "kind", "?") in "cO?":
            raise strange(name, values) or UserError(
                f"{name}() computes with real numbers. Received {', '.join(map(_said, values))}. Leave out complex numbers."
            )
        return out
    kinds = {v.dtype for v in values if hasattr(v, "dtype") and is_floating(v.dtype)}
    if len(kinds) > 1:
        raise MixedTypes(name, values, arguments)
    return out if kinds == {FLOAT64} else out.astype(FLOAT32)


class MixedTypes(TypeError):
    """The refusal of floating types that differ, with the argument to convert: a layer's input, or else the float64 one."""

    def __init__(self, name: str, values: Sequence[Any], arguments: Sequence[str]) -> None:
        names = [*arguments[: len(values)], *(f"argument {i + 1}" for i in range(len(arguments), len(values)))]
        given = {n: v.dtype for n, v in zip(names, values) if hasattr(v, "dtype") and is_floating(v.dtype)}
        listed = ", ".join(f"{n} of {dtype}" for n, dtype in given.items())
        weight = given.get("w", given.get("weight"))
        if weight is not None and given.get("x", weight) != weight:
            super().__init__(
                f"{name}() computes in the type of the layer's weights. Received the input {listed}. "
                f"Convert the input with x.astype('{weight}'), or the model with model.astype('{given['x']}')."
            )
            return
        wide = next(n for n, dtype in given.items() if dtype == FLOAT64)
        other = next(dtype for dtype in given.values() if dtype != FLOAT64)
        super().__init__(
            f"{name}() takes floating-point numbers of one type, as none is promoted silently. Received {listed}. "
            f"Convert {wide} with .astype('{other}')."
        )


def _in_real_numbers(args: Sequence[Any], values: Sequence[Any]) -> tuple[Any, Any]:
    """Arguments and values, arrays of integers and booleans in the floating type of the others, or in float32."""
    kinds = [v.dtype for v in values if hasattr(v, "dtype") and is_floating(v.dtype)]
    made = [v.astype(kinds[0] if kinds else FLOAT32) if _is_whole(v) else v for v in values]
    return [a if v is m else m for a, v, m in zip(args, values, made)], made


def _is_whole(value: Any) -> bool:
    return hasattr(value, "dtype") and not isinstance(value, generic) and not is_floating(value.dtype)


def primitive(
    *vjps: Vjp, joint: Vjp = None, saved: int = 0, real: bool = False
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Make an operation on arrays and Tensors of an array function. `vjps` are above the function they derive."""

    def decorate(forward: Callable[..., Any]) -> Callable[..., Any]:
        name = forward.__name__.strip("_")
        count = _arguments(forward) if joint is None and not saved else 0
        short = count in (1, 2) and len(vjps) == count and None not in vjps
        spec = Primitive(name, vjps, joint, saved, short, real)
        spec.arguments = forward.__code__.co_varnames[: forward.__code__.co_argcount]
        differentiable = bool(vjps) or joint is not None

        @functools.wraps(forward)
        def op(*args: Any, **kwargs: Any) -> Any:
            values: list[Any] = []
            needs: list[bool] = []
            tensors = numbers = False
            for a in args:
                if isinstance(a, Tensor):
                    tensors = True
                    values.append(a.data)
                    needs.append(a.requires_grad)
                else:
                    if type(a).__module__ == "torch":
                        raise strange(name, (a,)) or TypeError
                    numbers = numbers or isinstance(a, generic)
                    values.append(a)
                    needs.append(False)
            if tensors and numbers:  # next to a Tensor, a NumPy scalar counts as a Python number, which has no dtype
                args = tuple([a.item() if isinstance(a, generic) else a for a in args])
                values = [a.data if isinstance(a, Tensor) else a for a in args]
            if real and True in map(_is_whole, values):
                args, values = _in_real_numbers(args, values)
            try:
                out = forward(*values, **kwargs) if kwargs else forward(*values)
            except (ValueError, TypeError, IndexError) as error:
                raise explained(name, values, error) from error
            if not tensors:
                if not saved:
                    return out
                return out[:-saved] if len(out) - saved > 1 else out[0]
            track = differentiable and is_grad_enabled() and True in needs
            if type(out) is tuple:
                node = graph.Node(spec, args, values, needs, kwargs, out) if track else None
                if saved and len(out) - saved == 1:
                    return _result(out[0], node, 0)
                return tuple(_result(o, node, i) for i, o in enumerate(out[: len(out) - saved]))
            if out.dtype is not FLOAT32 and "dtype" not in kwargs:
                out = check_dtype(name, values, out, spec.arguments)
            return _result(out, graph.Node(spec, args, values, needs, kwargs, out), 0) if track else result(out)

        found: Any = op if not spec.short else _unary(spec, forward, op) if count == 1 else _binary(spec, forward, op)
        found.primitive = spec
        return found

    return decorate


def named_as(function: Callable[..., Any], wrapper: Any) -> Callable[..., Any]:
    """Return the wrapper with the function's name and help, also in its frames, by which a trace names an operation."""
    wrapper.__code__ = wrapper.__code__.replace(co_name=function.__name__)
    return functools.wraps(function)(wrapper)


def _arguments(function: Callable[..., Any]) -> int:
    """Return the number of arguments of a function, 0 if it has options."""
    code = function.__code__
    starred = code.co_flags & 12  # *args or **kwargs
    return 0 if starred or function.__defaults__ or code.co_kwonlyargcount else code.co_argcount


def _unary(spec: Primitive, forward: Callable[..., Any], general: Callable[..., Any]) -> Callable[..., Any]:
    """`general`, written out for one argument: see `Primitive.short`."""
    real = spec.real

    @functools.wraps(forward)
    def op(a: Any, **other: Any) -> Any:
        if other:
            raise unknown_keyword(spec.name, next(iter(other)), ("a",))
        if not isinstance(a, Tensor):
            return general(a)
        x = a.data
        if real and x.dtype is not FLOAT32 and not is_floating(x.dtype):
            return general(a)
        try:
            out = forward(x)
        except (ValueError, TypeError, IndexError) as error:
            raise explained(spec.name, (x,), error) from error
        if out.dtype is not FLOAT32:
            out = check_dtype(spec.name, (x,), out)
        t = result(out)
        if a.requires_grad and is_grad_enabled():
            t.requires_grad = True
            t.node = graph.Node(spec, (a,), (x,), (True,), _NO_OPTIONS, out)
        return t

    return op


def _binary(spec: Primitive, forward: Callable[..., Any], general: Callable[..., Any]) -> Callable[..., Any]:
    """`general`, written out for two arguments: see `Primitive.short`."""
    if spec.real:
        return general

    @functools.wraps(forward)
    def op(a: Any, b: Any, **other: Any) -> Any:
        if other:
            raise unknown_keyword(spec.name, next(iter(other)), ("a", "b"))
        if not isinstance(a, Tensor):
            if not isinstance(b, Tensor):
                return general(a, b)
            if isinstance(a, generic) or type(a).__module__ == "torch":
                return general(a, b)
            x, z = a, b.data
        elif type(b) is float:
            x, z = a.data, b
        elif isinstance(b, Tensor):
            x, z = a.data, b.data
        elif isinstance(b, generic):
            return general(a, b)
        else:
            x, z = a.data, b
        try:
            out = forward(x, z)
        except (ValueError, TypeError, IndexError) as error:
            raise explained(spec.name, (x, z), error) from error
        if out.dtype is not FLOAT32:
            out = check_dtype(spec.name, (x, z), out, spec.arguments)
        t = result(out)
        if x is not a and a.requires_grad:
            needs = _BOTH if z is not b and b.requires_grad else _LEFT
        elif z is not b and b.requires_grad:
            needs = _RIGHT
        else:
            return t
        if is_grad_enabled():
            t.requires_grad = True
            t.node = graph.Node(spec, (a, b), (x, z), needs, _NO_OPTIONS, out)
        return t

    return op


def through(composed: Callable[..., Any], needs: Sequence[bool], g: Any, inputs: Sequence[Any], **kwargs: Any) -> list[Any]:
    """The gradients of a fused primitive by way of its composed form, so that they can be differentiated themselves.

    For a `joint` whose inputs are Tensors (`create_graph`). `composed(*inputs, **kwargs)` returns what the primitive hands out.
    """
    from nnatomy.ops.pointwise import clone

    cut = [clone(a) if need else a for a, need in zip(inputs, needs, strict=True)]  # no way round by each other
    y = composed(*cut, **kwargs)
    ys, gs = (y, g) if isinstance(y, tuple) else ((y,), (g,))
    wanted = [c for c, need in zip(cut, needs, strict=True) if need]
    found = iter(graph.backward(ys, gs, retain_graph=True, create_graph=True, inputs=wanted))
    return [next(found) if need else None for need in needs]


def _result(out: Any, node: graph.Node | None, index: int) -> Tensor:
    t = result(out)
    if node is not None and (out.dtype is FLOAT32 or is_floating(out.dtype)):
        t.requires_grad, t.node, t.index = True, node, index
    return t


def _said(value: Any) -> str:
    return f"shape {tuple(value.shape)}" if hasattr(value, "shape") else repr(value)[:40]


def strange(name: str, values: Sequence[Any]) -> Exception | None:
    """The refusal of a value that is no array and no number: PyTorch's, text or None; None if there is no such one."""
    for value in values:
        if type(value).__module__ == "torch":
            return UserError(f"{name}() takes arrays and Tensors of ours. Received a torch.Tensor. Use nn.tensor().")
        if value is None or isinstance(value, str | bytes | dict | set):
            return TypeError(f"{name}() takes arrays and numbers. Received {value!r}; give an array, or leave it out."[:300])
    return None


_SAID = ((ValueError, UserError), (IndexError, IndexError), (TypeError, TypeError))


def explained(name: str, values: Sequence[Any], error: Exception) -> Exception:
    """The same error with the operation's name and the shapes it received."""
    if isinstance(error, UserError):
        return error
    if isinstance(error, MixedTypes):
        return error
    if (odd := strange(name, values)) is not None:
        return odd
    if isinstance(error, TypeError) and type(error) is not TypeError:
        return error  # errors of a trace already name the cause
    received = ", ".join(map(_said, values))
    text = f"{name}() takes operands that fit together. Received {received}: {error}. Reshape or convert them."
    if isinstance(error, TypeError) and "shape" in str(error):  # JAX raises TypeError where NumPy raises ValueError
        return UserError(text)
    return next(said(text) for kind, said in _SAID if isinstance(error, kind))
