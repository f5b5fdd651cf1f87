"""Dropout and its kin: the law of the masks, what is scaled, and what is left alone."""

import numpy as np
import pytest

import nnatomy as nn

F = nn.functional
N = 40_000


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_dropout_keeps_the_share_and_the_mean(p):
    x = np.ones(N)
    y = F.dropout(x, p, generator=nn.Generator(1))
    assert set(np.unique(y)) == {0.0, 1 / (1 - p)}
    assert abs((y == 0).mean() - p) < 5 * np.sqrt(p * (1 - p) / N)


def test_dropout_masks_are_independent_of_their_neighbors():
    kept = F.dropout(np.ones(N), 0.5, generator=nn.Generator(2)) > 0
    for lag in (1, 2, 7):
        assert abs((kept[lag:] == kept[:-lag]).mean() - 0.5) < 5 * 0.5 / np.sqrt(N)


def test_dropout_gradient_is_the_mask():
    x = nn.tensor(np.random.default_rng(0).normal(size=100), requires_grad=True)
    y = F.dropout(x, 0.3, generator=nn.Generator(3))
    y.sum().backward()
    np.testing.assert_allclose(y.data, x.data * x.grad.data, rtol=1e-12)


@pytest.mark.parametrize("function", [F.dropout, F.alpha_dropout, F.stochastic_depth])
def test_ends_and_evaluation(function):
    x = np.random.default_rng(0).normal(size=(5, 4))
    np.testing.assert_array_equal(function(x, 0.5, training=False), x)
    np.testing.assert_array_equal(function(x, 0.0), x)
    np.testing.assert_array_equal(function(x, 1.0), np.zeros_like(x))
    assert function(nn.tensor(x.astype("float32")), 0.5).dtype == np.float32


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_channels_are_dropped_whole(axes):
    x = np.ones((50, 20, *(3,) * axes))
    y = getattr(F, f"dropout{axes}d")(x, 0.4, generator=nn.Generator(4)).reshape(50, 20, -1)
    assert (y == y[:, :, :1]).all()
    assert abs((y[:, :, 0] == 0).mean() - 0.4) < 5 * np.sqrt(0.24 / 1000)


def test_alpha_dropout_keeps_mean_and_variance():
    x = nn.Generator(5).normal((200_000,), dtype="float64")
    for p in (0.1, 0.5):
        y = F.alpha_dropout(x, p, generator=nn.Generator(6))
        assert abs(y.mean()) < 0.02
        assert abs(y.var() - 1) < 0.02
        values, counts = np.unique(y, return_counts=True)
        alpha = 1.7580993408473766  # PyTorch's constant for the limit
        dropped = -alpha * (1 - p) / np.sqrt((alpha**2 * p + 1) * (1 - p))
        assert values[counts.argmax()] == pytest.approx(dropped, rel=1e-6)
        assert abs(counts.max() / y.size - p) < 0.01


def test_stochastic_depth_modes():
    x = np.ones((400, 3, 2))
    rows = F.stochastic_depth(x, 0.25, "row", generator=nn.Generator(7)).reshape(400, -1)
    assert (rows == rows[:, :1]).all()
    assert abs((rows[:, 0] == 0).mean() - 0.25) < 0.11
    batch = F.stochastic_depth(x, 0.25, "batch", generator=nn.Generator(7))
    assert len(np.unique(batch)) == 1


def test_the_shared_generator_repeats_after_seed():
    nn.seed(8)
    first = F.dropout(np.ones(100), 0.5)
    second = F.dropout(np.ones(100), 0.5)
    nn.seed(8)
    np.testing.assert_array_equal(F.dropout(np.ones(100), 0.5), first)
    assert (first != second).any()


@pytest.mark.parametrize(
    "call",
    [
        lambda: F.dropout(np.ones(3), 1.5),
        lambda: F.dropout(np.ones(3), float("nan")),
        lambda: F.dropout2d(np.ones((2, 3)), 0.5),
        lambda: F.stochastic_depth(np.ones((2, 3)), 0.5, "column"),
    ],
)
def test_wrong_arguments(call):
    with pytest.raises(nn.UserError):
        call()
