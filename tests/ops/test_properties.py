"""Random shapes, indices and formulas (Hypothesis): our results and gradients against NumPy and PyTorch."""

from __future__ import annotations

from typing import Any

import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st
import numpy as np
import torch
from hypothesis import given, settings

import nnatomy as nn

quick = settings(max_examples=150, deadline=None, derandomize=True)


def values(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape)


@quick
@given(hnp.mutually_broadcastable_shapes(num_shapes=2, max_dims=4, min_side=0, max_side=3))
def test_broadcasting(shapes: Any) -> None:
    a, b = (values(s, i) for i, s in enumerate(shapes.input_shapes))
    x, y = nn.tensor(a, requires_grad=True), nn.tensor(b, requires_grad=True)
    u, v = torch.tensor(a, requires_grad=True), torch.tensor(b, requires_grad=True)
    ours, theirs = x * y + x.sin(), u * v + u.sin()
    np.testing.assert_allclose(ours.numpy(), theirs.detach().numpy(), rtol=1e-12)
    weights = values(ours.shape, 2)
    ours.backward(weights)
    theirs.backward(torch.tensor(weights))
    np.testing.assert_allclose(x.grad.numpy(), u.grad.numpy(), rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(y.grad.numpy(), v.grad.numpy(), rtol=1e-11, atol=1e-12)


@st.composite
def indexed(draw: Any) -> tuple[tuple[int, ...], Any]:
    shape = draw(hnp.array_shapes(min_dims=1, max_dims=4, min_side=1, max_side=4))
    basic = hnp.basic_indices(shape, allow_newaxis=True, allow_ellipsis=True)
    integers = hnp.integer_array_indices(shape)
    mask = hnp.arrays(bool, shape)
    rows = hnp.arrays(np.int64, hnp.array_shapes(max_dims=2, max_side=3), elements=st.integers(-shape[0], shape[0] - 1))
    mixed = st.tuples(rows, *[st.slices(n) for n in shape[1:]])
    return shape, draw(st.one_of(basic, integers, mask, mixed))


@quick
@given(indexed())
def test_indexing(drawn: tuple[tuple[int, ...], Any]) -> None:
    shape, index = drawn
    a = values(shape)
    x = nn.tensor(a, requires_grad=True)
    y = x[index]
    np.testing.assert_array_equal(y.numpy(), a[index])
    weights = values(y.shape, 1)
    y.backward(weights)
    expected = np.zeros(shape)
    np.add.at(expected, index, weights)
    np.testing.assert_allclose(x.grad.numpy(), expected, rtol=1e-12, atol=1e-12)
    written = a.copy()
    written[index] = 7.0
    np.testing.assert_array_equal(nn.index_put(nn.tensor(a), index, 7.0).numpy(), written)


@quick
@given(indexed())
def test_tensors_as_indices(drawn: tuple[tuple[int, ...], Any]) -> None:
    shape, index = drawn
    parts = index if isinstance(index, tuple) else (index,)
    wrapped = tuple(nn.tensor(i) if isinstance(i, np.ndarray) else i for i in parts)
    np.testing.assert_array_equal(nn.tensor(values(shape))[wrapped].numpy(), values(shape)[index])


@st.composite
def formulas(draw: Any) -> tuple[str, list[tuple[int, ...]]]:
    sizes = {c: draw(st.integers(1, 3)) for c in "abcd"}
    terms = draw(st.lists(st.text("abcd", min_size=1, max_size=4), min_size=1, max_size=3))
    used = sorted(set("".join(terms)))
    output = "".join(draw(st.permutations(used))[: draw(st.integers(0, len(used)))])
    return ",".join(terms) + "->" + output, [tuple(sizes[c] for c in term) for term in terms]


@quick
@given(formulas())
def test_einsum(drawn: tuple[str, list[tuple[int, ...]]]) -> None:
    formula, shapes = drawn
    arrays = [values(s, i) for i, s in enumerate(shapes)]
    ours = [nn.tensor(a, requires_grad=True) for a in arrays]
    theirs = [torch.tensor(a, requires_grad=True) for a in arrays]
    y, z = nn.einsum(formula, *ours), torch.einsum(formula, *theirs)
    np.testing.assert_allclose(y.numpy(), z.detach().numpy(), rtol=1e-10, atol=1e-11)
    weights = values(y.shape, 9)
    y.backward(weights)
    z.backward(torch.tensor(weights))
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a.grad.numpy(), b.grad.numpy(), rtol=1e-10, atol=1e-11)
