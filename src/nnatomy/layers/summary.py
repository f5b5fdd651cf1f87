"""The parts of a model and their cost: one row a layer, from one forward pass that hooks record.

A multiply-add is counted where it happens, in the products and convolutions that the backend computes, so the count holds
for any model. Elementwise arithmetic is left out, except normalization layers: they cost one multiply-add an element to scale
and shift, and one more where the moments come from the input itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from nnatomy import graph
from nnatomy.backends import B
from nnatomy.layers import normalization
from nnatomy.layers.module import Module
from nnatomy.showing import Face, Shown
from nnatomy.tensor import Tensor

__all__ = ["Row", "Summary", "summary"]


@dataclass(frozen=True)
class Row:
    """One layer: the shape of its output (of the first, where it gives several), and its own parameters and multiply-adds."""

    path: str
    layer: str
    output_shape: tuple[int, ...]
    parameters: int
    multiply_adds: int


@dataclass(frozen=True, repr=False)
class Summary(Shown):
    """The rows in the order of the model's attributes; `str()` is a table."""

    model: str
    rows: tuple[Row, ...]
    parameters: int
    multiply_adds: int

    def to_json(self) -> dict[str, Any]:
        """Plain numbers, strings, lists and dictionaries."""
        return asdict(self) | {"rows": [asdict(row) | {"output_shape": list(row.output_shape)} for row in self.rows]}

    def face(self) -> Face:
        total = f"{self.parameters:,} parameters, {self.multiply_adds:,} multiply-adds for one call"
        return Face(self.model, total, self._cells())

    def _cells(self) -> list[tuple[str, ...]]:
        """A header and one line for each row."""
        cells: list[tuple[str, ...]] = [("path", "layer", "output shape", "parameters", "multiply-adds")]
        for row in self.rows:
            shape = " x ".join(map(str, row.output_shape))
            cells.append((row.path or "(model)", row.layer, shape, f"{row.parameters:,}", f"{row.multiply_adds:,}"))
        return cells

    def __str__(self) -> str:
        cells = self._cells()
        cells.append(("in all", "", "", f"{self.parameters:,}", f"{self.multiply_adds:,}"))
        widths = [max(len(line[i]) for line in cells) for i in range(5)]
        lines = [
            "  ".join(text.rjust(w) if i > 2 else text.ljust(w) for i, (text, w) in enumerate(zip(line, widths))).rstrip()
            for line in cells
        ]
        rule = "-" * (sum(widths) + 8)
        return "\n".join([lines[0], rule, *lines[1:-1], rule, lines[-1]])


def summary(model: Module, *example: Any) -> Summary:
    """The layers of `model` as they work on `example`, in eval mode and without recording; the model is left as it was.

    Layers that only hold others have no row. A shared parameter counts once, a layer that runs twice costs twice.
    """
    modes = [(module, module.training) for module in model.modules()]
    paths = {id(module): path for path, module in model.named_modules()}
    shapes: dict[str, tuple[int, ...]] = {}
    costs = dict.fromkeys(paths.values(), 0)
    running: list[str] = [""]

    def enter(module: Module, args: tuple[Any, ...]) -> None:
        running.append(paths[id(module)])

    def leave(module: Module, args: tuple[Any, ...], output: Any) -> None:
        path = running.pop()
        shapes[path] = _shape(output)
        costs[path] += normalization_cost(module, args)

    def spend(multiply_adds: int) -> None:
        costs[running[-1]] += multiply_adds

    handles = []
    try:
        for module, _ in modes:
            handles += [module.register_forward_pre_hook(enter), module.register_forward_hook(leave)]
        with graph.no_grad(), counting(spend):
            model.eval()(*[x if isinstance(x, Tensor) else Tensor(x) for x in example])
    finally:
        for handle in handles:
            handle.remove()
        for module, training in modes:
            module.training = training
    own = dict.fromkeys(paths.values(), 0)
    for name, parameter in model.named_parameters():
        own[_owner(name, own)] += parameter.size
    holders = {path for path, module in model.named_modules() if len(list(module.modules())) > 1}
    rows = tuple(
        Row(path, type(module).__name__, shapes.get(path, ()), own[path], costs[path])
        for path, module in model.named_modules()
        if path not in holders or own[path] or costs[path]
    )
    return Summary(type(model).__name__, rows, sum(own.values()), sum(costs.values()))


def _owner(name: str, paths: dict[str, int]) -> str:
    """The module that a parameter belongs to: the longest path that its name starts with."""
    while name not in paths:
        name = name.rpartition(".")[0]
    return name


def _shape(output: Any) -> tuple[int, ...]:
    while isinstance(output, tuple | list) and output:
        output = output[0]
    return tuple(getattr(output, "shape", ()))


def normalization_cost(module: Module, args: tuple[Any, ...]) -> int:
    if not args or not hasattr(args[0], "shape"):
        return 0
    elements = math.prod(args[0].shape)
    if isinstance(module, normalization._BatchNorm):
        return elements
    own_moments = (normalization.LayerNorm, normalization.RMSNorm, normalization.GroupNorm, normalization._InstanceNorm)
    return 2 * elements if isinstance(module, own_moments) else 0


# What each product costs, from its arguments and its result. A backend's further products join here.


def _matmul(y: Any, a: Any, b: Any) -> int:
    return math.prod(y.shape) * a.shape[-1]


def _conv(y: Any, x: Any, w: Any, **how: Any) -> int:
    return math.prod(y.shape) * math.prod(w.shape[1:])


def _conv_input(y: Any, g: Any, w: Any, **how: Any) -> int:
    return math.prod(g.shape) * math.prod(w.shape[1:])


def _einsum(y: Any, formula: str, *operands: Any, **how: Any) -> int:
    """Operands are contracted pair by pair, in the order that NumPy finds."""
    inputs, output = formula.split("->")
    terms = inputs.split(",")
    sizes = {c: n for term, operand in zip(terms, operands) for c, n in zip(term, operand.shape)}
    total = 0
    for pair in np.einsum_path(formula, *(np.broadcast_to(0.0, o.shape) for o in operands), optimize=True)[0][1:]:
        taken = "".join(terms.pop(i) for i in sorted(pair, reverse=True))
        total += math.prod(sizes[c] for c in set(taken)) if len(pair) > 1 else 0
        terms.append("".join(set(taken) & set(output + "".join(terms))))
    return total


def _scan(y: Any, x_gates: Any, h0: Any, *others: Any, **how: Any) -> int:
    """W_hh times the state, at each step."""
    return math.prod(x_gates.shape) * h0.shape[-1]


def _attention(y: Any, q: Any, k: Any, v: Any, *, causal: bool, scale: float) -> int:
    """Two products over the pairs of a query and a key that it sees."""
    *lead, queries, features = q.shape
    keys = k.shape[-2]
    seen = min(queries, keys)  # under a causal mask, query i sees keys 0 to i, of those there are
    pairs = seen * (seen + 1) // 2 + (queries - seen) * keys if causal else queries * keys
    return math.prod(lead) * pairs * (features + v.shape[-1])


PRODUCTS: dict[str, Callable[..., int]] = {
    "attention": _attention, "matmul": _matmul, "conv": _conv, "conv_input": _conv_input, "einsum": _einsum,
    "lstm_scan": _scan, "gru_scan": _scan, "rnn_scan": _scan,
}  # fmt: skip


@contextmanager
def counting(spend: Callable[[int], None]) -> Iterator[None]:
    """Make every product of the active backend report its cost while the block runs."""
    plain = {name: getattr(B, name) for name in PRODUCTS}

    def counted(name: str) -> Callable[..., Any]:
        def product(*args: Any, **kwargs: Any) -> Any:
            y = plain[name](*args, **kwargs)
            spend(PRODUCTS[name](y, *args, **kwargs))
            return y

        return product

    for name in PRODUCTS:
        setattr(B, name, counted(name))
    try:
        yield
    finally:
        for name, function in plain.items():
            setattr(B, name, function)
