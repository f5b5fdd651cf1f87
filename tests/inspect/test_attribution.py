"""Attributions against what is known in closed form; completeness is checked where it is promised."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import nnatomy as nn
from nnatomy.inspect import integrated_gradients, occlusion, windows

pytestmark = pytest.mark.any_kernels

W = np.array([2.0, -1.0, 0.5], np.float32)
X, BASE = np.array([1.0, 2.0, 4.0], np.float32), np.array([0.0, 1.0, -2.0], np.float32)


def linear(x: Any) -> Any:
    return (x * W).sum(axis=1)


def test_a_linear_score_is_attributed_exactly_by_both() -> None:
    found = integrated_gradients(linear, X, BASE)
    np.testing.assert_allclose(found.values, W * (X - BASE), rtol=1e-6)
    assert (found.score, found.baseline_score) == (2.0, -2.0)
    np.testing.assert_allclose(occlusion(linear, X, BASE, list(np.eye(3, dtype=bool))), W * (X - BASE), rtol=1e-6)


def test_a_product_is_shared_in_halves() -> None:
    """f = x1 x2 from 0: each gets x1 x2 / 2, where the gradient at x alone would give each the whole."""
    x = np.array([3.0, 5.0], np.float32)
    found = integrated_gradients(lambda x: x[:, 0] * x[:, 1], x, np.zeros(2, np.float32))
    np.testing.assert_allclose(found.values, [7.5, 7.5], rtol=1e-5)


def test_attributions_of_a_network_are_complete() -> None:
    model = nn.Sequential(nn.Linear(6, 32), nn.ReLU(), nn.Linear(32, 16), nn.Tanh(), nn.Linear(16, 1)).eval()
    rng = np.random.default_rng(0)
    x, base = rng.normal(size=(2, 6)).astype(np.float32) * 3
    found = integrated_gradients(lambda x: model(x)[:, 0], x, base, tolerance=1e-3)
    ends = model(nn.tensor(np.stack([x, base]))).numpy()[:, 0]
    assert found.values.sum() == pytest.approx(ends[0] - ends[1], abs=2e-3 * abs(float(ends[0] - ends[1])))
    assert found.gap == pytest.approx(0, abs=1.1e-3 * abs(float(ends[0] - ends[1])))


def test_more_points_are_taken_until_it_adds_up() -> None:
    def steep(x: Any) -> Any:
        return (50 * x[:, 0] - 20).sigmoid()

    found = integrated_gradients(steep, np.ones(1, np.float32), np.zeros(1, np.float32), steps=2, tolerance=1e-3)
    assert found.steps > 8
    assert found.values[0] == pytest.approx(1.0, abs=2e-3)


def test_a_score_whose_gradients_do_not_tell_its_change_is_refused() -> None:
    """Half of the score is hidden from differentiation: what is attributed cannot add up."""
    with pytest.raises(
        nn.UserError, match=r"must add up to 4, the change of the score. Received 2.* more or less with 64 points"
    ):
        integrated_gradients(lambda x: linear(x) * 0.5 + linear(x).detach() * 0.5, X, BASE, most=64)


def test_shapes_must_agree() -> None:
    with pytest.raises(nn.UserError, match="have one shape"):
        integrated_gradients(linear, X, BASE[:2])


@pytest.mark.parametrize("size, stride", [(3, 2), (2, 2), (5, 3), (9, 1)])
def test_windows_cover_every_pixel_and_are_squares(size: int, stride: int) -> None:
    masks = windows((2, 7, 8), size, stride)
    assert np.logical_or.reduce(masks).all()
    assert {int(m.sum()) for m in masks} == {2 * min(size, 7) * min(size, 8)}
    assert len({m.tobytes() for m in masks}) == len(masks)
