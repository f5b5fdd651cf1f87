"""Fewer nodes that say the same: a product with a transposed weight and a bias as Gemm, a mean as AveragePool."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def tidied(
    nodes: Sequence[Any], initializers: Mapping[str, Array], ranks: Mapping[str, int], outputs: Sequence[str]
) -> list[Any]:
    """The nodes, simplified, without those that nothing reads. `ranks`: the number of axes of what is known."""
    kept = _divided(_affine(_products(list(nodes), initializers, ranks), initializers, outputs), initializers)
    return _named(_read(kept, outputs), outputs)


def _made(nodes: Sequence[Any]) -> dict[str, Any]:
    return {name: node for node in nodes for name in node.output}


def reads(nodes: Sequence[Any], outputs: Sequence[str] = ()) -> Counter[str]:
    """Return how often each name is read, inside the bodies of scans too."""
    found = Counter(outputs)
    for node in nodes:
        found.update(node.input)
        for attribute in node.attribute:
            if attribute.HasField("g"):
                found.update(reads(attribute.g.node, [o.name for o in attribute.g.output]))
    return found


def _attribute(node: Any, name: str) -> Any:
    return next((a for a in node.attribute if a.name == name), None)


def _products(nodes: list[Any], initializers: Mapping[str, Array], ranks: Mapping[str, int]) -> list[Any]:
    """MatMul(x, Transpose(W)) of matrices as Gemm(x, W, transB)."""
    from onnx import helper

    made = _made(nodes)
    for place, node in enumerate(nodes):
        transposed = made.get(node.input[1]) if node.op_type == "MatMul" else None
        if transposed is None or transposed.op_type != "Transpose" or list(_attribute(transposed, "perm").ints) != [1, 0]:
            continue
        weight = transposed.input[0]
        if ranks.get(node.input[0]) == 2 and weight in initializers and initializers[weight].dtype.kind == "f":
            nodes[place] = helper.make_node("Gemm", [node.input[0], weight], list(node.output), name=node.output[0], transB=1)
    return nodes


def _affine(nodes: list[Any], initializers: Mapping[str, Array], outputs: Sequence[str]) -> list[Any]:
    """Add(Gemm(x, W), b) as Gemm(x, W, b), and a convolution and its bias, brought into shape for it, likewise."""
    made, uses = _made(nodes), reads(nodes, outputs)
    merged: set[int] = set()
    for node in nodes:
        if node.op_type != "Add":
            continue
        for first, second in (node.input, reversed(node.input)):
            product = made.get(first)
            if product is None or product.op_type not in _BIASED or len(product.input) > 2 or uses[first] > 1:
                continue
            bias = second if product.op_type == "Gemm" else _for_each_channel(made.get(second), initializers)
            if bias in initializers and initializers[bias].ndim == 1:
                product.input.append(bias)
                product.output[0] = node.output[0]
                merged.add(id(node))
                break
    return [node for node in nodes if id(node) not in merged]


_BIASED = ("Gemm", "Conv", "ConvTranspose")


def _for_each_channel(node: Any, initializers: Mapping[str, Array]) -> str:
    """Return the input that is reshaped to (channels, 1, ...), or "" where something else is done."""
    if node is None or node.op_type != "Reshape" or node.input[1] not in initializers:
        return ""
    channels, *ones = initializers[node.input[1]].tolist()
    return str(node.input[0]) if channels != 1 and set(ones) == {1} else ""


def _divided(nodes: list[Any], initializers: Mapping[str, Array]) -> list[Any]:
    """Div(Mul(AveragePool(x), k), k) as AveragePool(x)."""
    made = _made(nodes)
    for node in nodes:
        total = made.get(node.input[0]) if node.op_type == "Div" else None
        if total is None or total.op_type != "Mul" or total.input[1] != node.input[1] or node.input[1] not in initializers:
            continue
        mean = made.get(total.input[0])
        if mean is not None and mean.op_type == "AveragePool":
            node.op_type = "Identity"
            node.input[:] = [mean.output[0]]
    return _without_identities(nodes)


def _without_identities(nodes: list[Any]) -> list[Any]:
    """Remove each Identity: its readers read its input; those that name an output of the graph stay."""
    passed: dict[str, str] = {}
    for node in nodes:
        if node.op_type == "Identity":
            passed[node.output[0]] = passed.get(node.input[0], node.input[0])
        else:
            node.input[:] = [passed.get(name, name) for name in node.input]
    return nodes


def _read(nodes: list[Any], outputs: Sequence[str]) -> list[Any]:
    """Return only the nodes that the outputs depend on."""
    needed = set(outputs)
    kept = []
    for node in reversed(nodes):
        if needed & set(node.output):
            kept.append(node)
            needed |= set(reads([node]))
    return kept[::-1]


def _named(nodes: list[Any], outputs: Sequence[str]) -> list[Any]:
    """Give the maker of a graph's output the output's name, where nothing prevents it."""
    made, inner = _made(nodes), set(reads(nodes)) - {name for node in nodes for name in node.input}
    new: dict[str, str] = {}
    for node in nodes:
        source = node.input[0] if node.op_type == "Identity" else ""
        if node.output[0] in outputs and source in made and source not in (*new, *outputs, *inner):
            new[source] = node.output[0]
    kept = [node for node in nodes if not (node.op_type == "Identity" and new.get(node.input[0]) == node.output[0])]
    for node in kept:
        node.input[:] = [new.get(name, name) for name in node.input]
        node.output[:] = [new.get(name, name) for name in node.output]
    return kept
