"""Attention: values and gradients against PyTorch and central differences, the seam's reference against the composed form."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

import nnatomy as nn
from nnatomy.backends import numpy_reference
from nnatomy.ops.attention import attention_weights

F = nn.functional
theirs = torch.nn.functional.scaled_dot_product_attention
RNG = np.random.default_rng(2)

SHAPES: list[tuple[tuple[int, ...], ...]] = [
    ((5, 4), (5, 4), (5, 4)), ((5, 4), (7, 4), (7, 6)), ((2, 7, 3), (2, 5, 3), (2, 5, 2)),
    ((2, 3, 4, 5), (2, 3, 4, 5), (2, 3, 4, 5)), ((2, 3, 1, 4), (2, 3, 6, 4), (2, 3, 6, 1)), ((3, 2, 1), (3, 2, 1), (3, 2, 1)),
    ((2, 0, 4), (2, 3, 4), (2, 3, 4)), ((0, 3, 4), (0, 3, 4), (0, 3, 4)),
]  # fmt: skip
OPTIONS: list[dict[str, Any]] = [{}, {"is_causal": True}, {"scale": 0.3}, {"is_causal": True, "scale": 1.5}]


def arrays(shapes: Any, dtype: str = "float64") -> list[np.ndarray]:
    return [RNG.normal(size=s).astype(dtype) for s in shapes]


def compare(inputs: list[np.ndarray], options: dict[str, Any], tolerance: float) -> None:
    """Value and gradients against PyTorch, arrays against Tensors."""
    ours = [nn.tensor(a, requires_grad=True) for a in inputs]
    twins = [torch.tensor(a, requires_grad=True) for a in inputs]
    masks = {k: torch.tensor(v) if isinstance(v, np.ndarray) else v for k, v in options.items()}
    y, z = F.scaled_dot_product_attention(*ours, **options), theirs(*twins, **masks)
    assert y.dtype == inputs[0].dtype
    np.testing.assert_allclose(y.data, z.detach().numpy(), rtol=tolerance, atol=tolerance)
    plain = F.scaled_dot_product_attention(*inputs, **options)
    assert not isinstance(plain, nn.Tensor)
    np.testing.assert_array_equal(plain, y.data)
    g = RNG.normal(size=y.shape).astype(inputs[0].dtype)
    got = nn.grad(y, ours, g)
    for found, expected in zip(got, torch.autograd.grad(z, twins, torch.tensor(g)), strict=True):
        np.testing.assert_allclose(found.data, expected.numpy(), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("dtype, tolerance", [("float64", 1e-11), ("float32", 3e-5)])
@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("shapes", SHAPES)
def test_equals_pytorch(shapes: Any, options: dict[str, Any], dtype: str, tolerance: float) -> None:
    compare(arrays(shapes, dtype), options, tolerance)


SEEN = np.array([[True, False, True], [False, True, True], [True, True, False], [False, False, True]])


@pytest.mark.parametrize("mask", [
    SEEN, SEEN & (np.arange(4) != 2)[:, None], np.where(SEEN, 0.5, -math.inf), np.broadcast_to(SEEN, (2, 3, 4, 3)).copy(),
    *(RNG.normal(size=shape) for shape in ((4, 3), (2, 1, 4, 3), (3, 4, 3), (1, 3))),
])  # fmt: skip
def test_masks(mask: np.ndarray) -> None:
    inputs = arrays([(2, 3, 4, 5), (2, 3, 3, 5), (2, 3, 3, 2)])
    compare(inputs, {"attn_mask": mask}, 1e-11)
    if mask.dtype.kind == "f" and np.isfinite(mask).all():
        nn.check_gradients(lambda q, k, v, m: nn.scaled_dot_product_attention(q, k, v, mask=m), [*inputs, mask])


def test_a_causal_mask_and_another_join() -> None:
    q, k, v = arrays([(4, 5), (3, 5), (3, 2)])
    y = nn.scaled_dot_product_attention(q, k, v, causal=True, mask=SEEN)
    expected = nn.scaled_dot_product_attention(q, k, v, mask=SEEN & np.tri(4, 3, dtype=bool))
    np.testing.assert_array_equal(y, expected)
    assert (y[1] == v[1]).all(), "query 1 sees key 1 only"


def test_leading_axes_broadcast() -> None:
    inputs = arrays([(2, 3, 4, 5), (3, 6, 5), (2, 1, 6, 2)])
    compare(inputs, {}, 1e-11)
    nn.check_gradients(lambda *a: nn.scaled_dot_product_attention(*a, causal=True), inputs)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("shapes", SHAPES[:6])
def test_equals_central_differences(shapes: Any, causal: bool) -> None:
    nn.check_gradients(lambda *a: nn.scaled_dot_product_attention(*a, causal=causal, scale=-0.8), arrays(shapes), order=2)


@pytest.mark.parametrize("which", [(0,), (1,), (2,), (0, 2)])
def test_gradients_of_some_inputs_only(which: tuple[int, ...]) -> None:
    inputs = arrays([(2, 4, 3), (2, 5, 3), (2, 5, 3)])
    every = [nn.tensor(a, requires_grad=True) for a in inputs]
    some = [nn.tensor(a, requires_grad=i in which) for i, a in enumerate(inputs)]
    nn.scaled_dot_product_attention(*every).sum().backward()
    nn.scaled_dot_product_attention(*some).sum().backward()
    for i, (a, b) in enumerate(zip(some, every)):
        assert (a.grad is None) == (i not in which)
        if i in which:
            np.testing.assert_array_equal(a.grad.data, b.grad.data)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("scores", [1, 7, 40, 1 << 20])
def test_reference_equals_the_composed_form_in_blocks_of_any_size(
    scores: int, causal: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(numpy_reference, "_SCORES", scores)
    q, k, v, g = arrays([(2, 3, 6, 4), (2, 3, 5, 4), (2, 3, 5, 3), (2, 3, 6, 3)])
    how = {"causal": causal, "scale": 0.7}
    y, logs = numpy_reference.attention(q, k, v, **how)
    weights = attention_weights(q, k, **how)
    np.testing.assert_allclose(y, weights @ v, rtol=1e-12, atol=1e-14)
    seen = np.tri(6, 5, dtype=bool) if causal else np.ones((6, 5), bool)
    exact = np.log(np.where(seen, np.exp(0.7 * (q @ k.swapaxes(-1, -2))), 0).sum(-1))
    np.testing.assert_allclose(logs, exact, rtol=1e-12)
    leaves = [nn.tensor(a, requires_grad=True) for a in (q, k, v)]
    composed = nn.grad(attention_weights(*leaves[:2], **how) @ leaves[2], leaves, g)
    for got, expected in zip(numpy_reference.attention_vjp(g, q, k, v, y, logs, **how), composed, strict=True):
        np.testing.assert_allclose(got, expected.data, rtol=1e-11, atol=1e-13)


def test_large_scores_do_not_overflow() -> None:
    q = np.array([[[300.0, -300.0]]], np.float32)
    k = np.array([[[300.0, 0.0], [299.9, 0.0], [-300.0, 0.0]]], np.float32)
    compare([q, k, np.eye(3, dtype=np.float32)[None]], {"scale": 1.0}, 1e-5)


def test_what_is_hidden_does_not_matter() -> None:
    q, k, v = arrays([(6, 4), (6, 4), (6, 4)])
    before = nn.scaled_dot_product_attention(q, k, v, causal=True)
    k[4:] += 1
    v[4:] += 1
    after = nn.scaled_dot_product_attention(q, k, v, causal=True)
    np.testing.assert_array_equal(before[:4], after[:4])
    assert not np.allclose(before[4:], after[4:])


def test_no_scores_are_kept() -> None:
    """The memory of a node grows with T + S, not with T S."""
    q, k, v = (nn.tensor(a, requires_grad=True) for a in arrays([(1, 64, 4)] * 3))
    node = nn.scaled_dot_product_attention(q, k, v).node
    sizes = [o.size for o in node.out]
    assert sizes == [64 * 4, 64]


def test_dropout() -> None:
    q, k, v = arrays([(8, 50, 4), (8, 40, 4), (8, 40, 40)], "float32")
    v = np.broadcast_to(np.eye(40, dtype=np.float32), v.shape)
    weights = F.scaled_dot_product_attention(q, k, v)
    dropped = F.scaled_dot_product_attention(q, k, v, dropout_p=0.25, generator=nn.Generator(1))
    gone = dropped == 0
    assert 0.22 < gone.mean() < 0.28
    np.testing.assert_allclose(dropped[~gone], weights[~gone] / 0.75, rtol=1e-5)
    again = F.scaled_dot_product_attention(q, k, v, dropout_p=0.25, generator=nn.Generator(1))
    np.testing.assert_array_equal(dropped, again)
    assert (F.scaled_dot_product_attention(q, k, v, dropout_p=1.0) == 0).all()


WRONG: list[tuple[type[Exception], str, Any]] = [
    (nn.UserError, r"queries \(..., T, d\).*\(3, 4\), \(3, 5\)",
     lambda x: F.scaled_dot_product_attention(x(3, 4), x(3, 5), x(3, 4))),
    (nn.UserError, r"values \(..., S, e\)", lambda x: nn.scaled_dot_product_attention(x(3, 4), x(3, 4), x(2, 4))),
    (nn.UserError, "queries", lambda x: nn.scaled_dot_product_attention(x(4), x(3, 4), x(3, 4))),
    (nn.UserError, "at least one key", lambda x: nn.scaled_dot_product_attention(x(3, 4), x(0, 4), x(0, 4))),
    (nn.UserError, "broadcast", lambda x: nn.scaled_dot_product_attention(x(2, 3, 4), x(3, 3, 4), x(3, 3, 4))),
    (nn.UserError, "Received both",
     lambda x: F.scaled_dot_product_attention(x(3, 4), x(3, 4), x(3, 4), np.ones((3, 3), bool), is_causal=True)),
    (nn.UserError, "between 0 and 1", lambda x: F.scaled_dot_product_attention(x(3, 4), x(3, 4), x(3, 4), dropout_p=1.5)),
    (TypeError, "float64, float32", lambda x: nn.scaled_dot_product_attention(x(3, 4), x(3, 4).astype("float32"), x(3, 4))),
    (TypeError, "int64", lambda x: nn.scaled_dot_product_attention(*[x(3, 4).astype("int64")] * 3)),
]  # fmt: skip


@pytest.mark.parametrize("kind, words, call", WRONG)
def test_wrong_arguments_are_told(kind: type[Exception], words: str, call: Any) -> None:
    with pytest.raises(kind, match=words):
        call(lambda *shape: np.ones(shape))
