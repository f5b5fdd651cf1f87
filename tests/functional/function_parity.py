"""Holds one of our functions against PyTorch's: value, dtype, and the gradient of every floating-point argument."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import nnatomy as nn

torch = pytest.importorskip("torch")


def same(ours: Callable[..., Any], theirs: Callable[..., Any], *arrays: Any, tolerance: float = 1e-10) -> None:
    """Both functions of the same arrays agree in float64, and ours returns a plain array for plain arrays."""
    leaves = [nn.tensor(a, requires_grad=a.dtype.kind == "f") for a in arrays]
    twins = [torch.tensor(a, requires_grad=a.dtype.kind == "f") for a in arrays]
    y, expected = ours(*leaves), theirs(*twins)
    assert y.dtype == np.float64
    np.testing.assert_allclose(y.data, expected.detach().numpy(), rtol=tolerance, atol=tolerance)
    plain = ours(*arrays)
    assert not isinstance(plain, nn.Tensor)
    np.testing.assert_array_equal(plain, y.data)
    if not expected.requires_grad:
        assert not y.requires_grad
        return
    weights = np.random.default_rng(0).normal(size=y.shape)
    (y * weights).sum().backward()
    (expected * torch.tensor(weights)).sum().backward()
    for i, (leaf, twin) in enumerate(zip(leaves, twins)):
        if twin.grad is not None:
            got = np.zeros(leaf.shape) if leaf.grad is None else leaf.grad.data
            np.testing.assert_allclose(got, twin.grad.numpy(), rtol=tolerance, atol=tolerance, err_msg=f"gradient {i}")
