"""Clipping against torch.nn.utils, the max-norm constraint against torch.renorm."""

from __future__ import annotations

import math

import numpy as np
import pytest

import nnatomy as nn
from nnatomy import optim
from nnatomy.errors import UserError

SHAPES = ((4, 3), (3,), (), (2, 3, 4))


def parameters(dtype: str = "float64", scale: float = 1.0) -> list[nn.Parameter]:
    rng = np.random.default_rng(0)
    params = [nn.Parameter(np.asarray(rng.normal(size=shape), dtype)) for shape in SHAPES]
    for p in params[:-1]:  # the last one has no gradient
        p.grad = nn.Tensor(np.asarray(scale * rng.normal(size=p.shape), dtype))
    return params


@pytest.mark.parametrize("max_norm, norm_type", [(1.0, 2.0), (100.0, 2.0), (0.5, 1.0), (0.5, 3.0), (0.5, math.inf), (0.0, 2.0)])
@pytest.mark.parametrize("dtype, rtol", [("float64", 1e-12), ("float32", 1e-5)])
def test_clip_grad_norm_equals_torch(max_norm: float, norm_type: float, dtype: str, rtol: float) -> None:
    torch = pytest.importorskip("torch")
    params = parameters(dtype)
    theirs = [torch.tensor(p.numpy().copy(), requires_grad=True) for p in params]
    for p, q in zip(params, theirs):
        q.grad = None if p.grad is None else torch.tensor(p.grad.numpy().copy())
    expected = torch.nn.utils.clip_grad_norm_(theirs, max_norm, norm_type)
    total = optim.clip_grad_norm(iter(params), max_norm, norm_type)
    np.testing.assert_allclose(total, expected.numpy(), rtol=rtol)
    for p, q in zip(params, theirs):
        if p.grad is None:
            assert q.grad is None
        else:
            assert p.grad.dtype == np.dtype(dtype)
            np.testing.assert_allclose(p.grad.numpy(), q.grad.numpy(), rtol=rtol, atol=1e-12)


def test_clip_grad_value_equals_torch() -> None:
    torch = pytest.importorskip("torch")
    params = parameters("float32")
    theirs = [torch.tensor(p.numpy().copy(), requires_grad=True) for p in params]
    for p, q in zip(params, theirs):
        q.grad = None if p.grad is None else torch.tensor(p.grad.numpy().copy())
    torch.nn.utils.clip_grad_value_(theirs, 0.3)
    optim.clip_grad_value(params, 0.3)
    for p, q in zip(params, theirs):
        if p.grad is not None:
            np.testing.assert_array_equal(p.grad.numpy(), q.grad.numpy())
            assert p.grad.dtype == np.dtype("float32")


def test_constrain_max_norm_equals_torch_renorm_and_leaves_biases_alone() -> None:
    torch = pytest.importorskip("torch")
    params = parameters()
    before = [p.numpy().copy() for p in params]
    optim.constrain_max_norm(params, 1.5)
    for p, old in zip(params, before):
        expected = torch.renorm(torch.tensor(old), 2, 0, 1.5).numpy() if old.ndim >= 2 else old
        np.testing.assert_allclose(p.numpy(), expected, rtol=1e-12)
    assert any((p.numpy() != old).any() for p, old in zip(params, before))


def test_clipping_leaves_the_former_gradient_arrays_alone() -> None:
    params = parameters(scale=100.0)
    grads = [p.grad.data for p in params if p.grad is not None]
    copies = [g.copy() for g in grads]
    optim.clip_grad_norm(params, 1.0)
    optim.clip_grad_value(params, 0.01)
    for g, copy in zip(grads, copies):
        np.testing.assert_array_equal(g, copy)


def test_wrong_limits_are_told() -> None:
    params = parameters()
    with pytest.raises(UserError, match="max_norm must be at least 0"):
        optim.clip_grad_norm(params, -1)
    with pytest.raises(UserError, match="clip_value must be at least 0"):
        optim.clip_grad_value(params, math.nan)
    with pytest.raises(UserError, match="norm_type must be positive"):
        optim.clip_grad_norm(params, 1.0, 0)
    params[0].grad = nn.Tensor(np.full((4, 3), np.nan))
    with pytest.raises(UserError, match="must be finite"):
        optim.clip_grad_norm(params, 1.0, error_if_nonfinite=True)
    assert optim.clip_grad_norm([nn.Parameter(np.zeros(2))], 1.0) == 0
