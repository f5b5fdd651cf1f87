"""Fused operations equal their small-step forms and PyTorch's; their gradients hold against central differences, twice."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import nnatomy as nn
from nnatomy import functional as F
from nnatomy.backends import B
from nnatomy.ops import normalization as fused

T = torch.nn.functional
RNG = np.random.default_rng(5)
X, W, V = RNG.normal(1, 2, (4, 3, 6)), RNG.normal(size=6), RNG.normal(size=6)
IMAGES, U, S = RNG.normal(1, 2, (4, 3, 2, 5)), RNG.normal(size=3), RNG.normal(size=3)
SCORES, LABELS = RNG.normal(0, 3, (5, 4)), np.array([3, 0, 1, 1, 2])
EPS = 1e-3

CASES: dict[str, tuple[Callable[..., Any], Callable[..., Any], Callable[..., Any], list[np.ndarray]]] = {
    "layer_norm": (
        lambda x, w, b: fused.layer_norm(x, w, b, eps=EPS), lambda x, w, b: fused.layer_norm_by_steps(x, w, b, eps=EPS),
        lambda x, w, b: T.layer_norm(x, (6,), w, b, EPS), [X, W, V],
    ),
    "layer_norm, weight": (
        lambda x, w: fused.layer_norm(x, w, eps=EPS), lambda x, w: fused.layer_norm_by_steps(x, w, None, eps=EPS),
        lambda x, w: T.layer_norm(x, (6,), w, None, EPS), [X[0], W],
    ),
    "layer_norm, bias": (
        lambda x, b: fused.layer_norm(x, None, b, eps=EPS), lambda x, b: fused.layer_norm_by_steps(x, None, b, eps=EPS),
        lambda x, b: T.layer_norm(x, (6,), torch.ones_like(b), b, EPS), [X, V],  # its own has no second derivative without w
    ),
    "layer_norm, one row": (
        lambda x: fused.layer_norm(x, eps=EPS), lambda x: fused.layer_norm_by_steps(x, None, None, eps=EPS),
        lambda x: T.layer_norm(x, (6,), None, None, EPS), [W],
    ),
    "rms_norm": (
        lambda x, w: fused.rms_norm(x, w, eps=EPS), lambda x, w: fused.rms_norm_by_steps(x, w, eps=EPS),
        lambda x, w: T.rms_norm(x, (6,), w, EPS), [X, W],
    ),
    "rms_norm, plain": (
        lambda x: fused.rms_norm(x, eps=EPS), lambda x: fused.rms_norm_by_steps(x, None, eps=EPS),
        lambda x: T.rms_norm(x, (6,), None, EPS), [X],
    ),
    "batch_norm": (
        lambda x, w, b: fused.batch_norm(x, w, b, eps=EPS), lambda x, w, b: fused.batch_norm_by_steps(x, w, b, eps=EPS),
        lambda x, w, b: T.batch_norm(x, None, None, w, b, True, 0, EPS), [IMAGES, U, S],
    ),
    "batch_norm of vectors": (
        lambda x, w: fused.batch_norm(x, w, eps=EPS), lambda x, w: fused.batch_norm_by_steps(x, w, None, eps=EPS),
        lambda x, w: T.batch_norm(x, None, None, w, None, True, 0, EPS), [IMAGES[:, :, 0, 0], U],
    ),
    "batch_norm, bias": (
        lambda x, b: fused.batch_norm(x, None, b, eps=EPS), lambda x, b: fused.batch_norm_by_steps(x, None, b, eps=EPS),
        lambda x, b: T.batch_norm(x, None, None, torch.ones_like(b), b, True, 0, EPS), [IMAGES[:, :, 0], S],
    ),
    "cross entropy": (
        lambda x: fused.softmax_cross_entropy(x, LABELS), lambda x: fused.softmax_cross_entropy_by_steps(x, labels=LABELS),
        lambda x: T.cross_entropy(x, torch.tensor(LABELS), reduction="none"), [SCORES],
    ),
    "softmax": (lambda x: nn.softmax(x, 1), lambda x: nn.exp(nn.log_softmax(x, 1)), lambda x: torch.softmax(x, 1), [X]),
    "log_softmax": (
        lambda x: nn.log_softmax(x, 1), lambda x: x - nn.logsumexp(x, 1, keepdims=True), lambda x: torch.log_softmax(x, 1), [X],
    ),
    "gelu": (F.gelu, lambda x: 0.5 * x * (1 + nn.erf(x / 2**0.5)), T.gelu, [X]),
    "gelu by tanh": (
        lambda x: F.gelu(x, "tanh"), lambda x: 0.5 * x * (1 + nn.tanh((2 / np.pi) ** 0.5 * (x + 0.044715 * x * x * x))),
        lambda x: T.gelu(x, approximate="tanh"), [X],
    ),
    "silu": (F.silu, lambda x: x * nn.sigmoid(x), T.silu, [X]),
}  # fmt: skip
each = pytest.mark.parametrize("name", CASES)


def leaves(arrays: list[np.ndarray]) -> list[nn.Tensor]:
    return [nn.tensor(a, requires_grad=True) for a in arrays]


@each
def test_equals_small_steps_and_pytorch(name: str) -> None:
    ours, by_steps, theirs, arrays = CASES[name]
    a, b, c = leaves(arrays), leaves(arrays), [torch.tensor(x, requires_grad=True) for x in arrays]
    y, z, t = ours(*a), by_steps(*b), theirs(*c)
    weights = RNG.normal(size=y.shape)
    np.testing.assert_allclose(y.data, z.data, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(y.data, t.detach().numpy(), rtol=1e-12, atol=1e-12)
    found, expected = nn.grad(y, a, weights), nn.grad(z, b, weights)
    torchs = torch.autograd.grad(t, c, torch.tensor(weights))
    for f, e, p in zip(found, expected, torchs, strict=True):
        np.testing.assert_allclose(f.data, e.data, rtol=1e-11, atol=1e-11)
        np.testing.assert_allclose(f.data, p.numpy(), rtol=1e-11, atol=1e-11)


@each
def test_equals_central_differences(name: str) -> None:
    ours, _, _, arrays = CASES[name]
    nn.check_gradients(ours, arrays, order=2, tolerance=1e-5)


@each
def test_second_derivative_equals_pytorch(name: str) -> None:
    ours, _, theirs, arrays = CASES[name]
    a, c = leaves(arrays), [torch.tensor(x, requires_grad=True) for x in arrays]
    y, t = ours(*a), theirs(*c)
    g = nn.tensor(RNG.normal(size=y.shape), requires_grad=True)
    p = torch.tensor(g.data, requires_grad=True)
    squares = sum((s * s).sum() for s in nn.grad(y, a, g, create_graph=True))
    twins = sum((s * s).sum() for s in torch.autograd.grad(t, c, p, create_graph=True))
    expected = torch.autograd.grad(twins, [*c, p], allow_unused=True, materialize_grads=True)
    scale = max(float(e.abs().max()) for e in expected)
    for f, e in zip(nn.grad(squares, [*a, g]), expected, strict=True):
        got = np.zeros(e.shape) if f is None else f.data  # a bias has no second derivative
        np.testing.assert_allclose(got, e.numpy(), rtol=1e-9, atol=1e-11 * scale)


@each
def test_one_operation_keeps_only_its_input(name: str) -> None:
    """Fused: the result's node hangs on the inputs themselves (a lone bias is added by one more)."""
    ours, _, _, arrays = CASES[name]
    a = leaves(arrays)
    node = ours(*a).node
    parents = node.parents()
    if "bias" in name:
        parents = [q for p in parents for q in ([p] if p.node is None else p.node.parents())]
        parents = [q for p in parents for q in ([p] if p.node is None else p.node.parents())]
    assert {id(p) for p in parents} == {id(t) for t in a}


@pytest.mark.parametrize("name", [n for n in CASES if "norm" in n])
def test_types_are_not_promoted_silently(name: str) -> None:
    ours, _, _, arrays = CASES[name]
    if len(arrays) == 1:
        y = ours(*(nn.tensor(a.astype("float32")) for a in arrays))
        assert y.dtype == np.float32
        return
    with pytest.raises(TypeError, match=r"in the type of the layer's weights|promoted silently"):
        ours(nn.tensor(arrays[0].astype("float32")), *(nn.tensor(a) for a in arrays[1:]))


def test_several_trailing_axes_are_one() -> None:
    w, b = RNG.normal(size=(3, 6)), RNG.normal(size=(3, 6))
    got = F.layer_norm(X, (3, 6), w, b)
    np.testing.assert_allclose(got, T.layer_norm(torch.tensor(X), (3, 6), torch.tensor(w), torch.tensor(b)), rtol=1e-12)


def test_a_label_that_is_no_class_gives_nan_and_is_safe() -> None:
    labels = np.array([3, -1, 4, 2**40, 2])
    losses, lse = B.softmax_cross_entropy(SCORES, labels)
    np.testing.assert_array_equal(np.isnan(losses), [False, True, True, True, False])
    dx = B.softmax_cross_entropy_vjp(np.array([1.0, 0, 2, 0, 1]), SCORES, labels, lse)
    np.testing.assert_array_equal(dx[1], 0)
    np.testing.assert_allclose(dx[2], 2 * B.softmax(SCORES[2], axis=0), rtol=1e-12)


def test_moments_are_handed_over_once_as_plain_arrays() -> None:
    seen: list[Any] = []
    x = nn.tensor(IMAGES, requires_grad=True)
    y = fused.batch_norm(x, eps=EPS, moments=lambda *m: seen.append(m))
    nn.grad((nn.grad((y * y).sum(), x, create_graph=True)[0] ** 2).sum(), x)
    [(mean, variance)] = seen
    np.testing.assert_allclose(mean, IMAGES.mean((0, 2, 3)), rtol=1e-12)
    np.testing.assert_allclose(variance, IMAGES.var((0, 2, 3)), rtol=1e-12)


def test_losses_do_not_ask_for_more_than_needed() -> None:
    """A step of plain classification is one operation and a mean: nothing is masked where nothing can be ignored."""
    x = nn.tensor(SCORES, requires_grad=True)
    loss = F.cross_entropy(x, LABELS)
    names, node = [], loss.node
    while node is not None:
        names.append(node.primitive.name)
        node = node.parents()[0].node
    assert names == ["divide", "sum", "softmax_cross_entropy"]
