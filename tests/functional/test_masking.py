"""Masked examples: every loss and every batch statistic of a padded batch is that of the smaller one, gradients too."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import nnatomy as nn
from nnatomy import functional as F
from nnatomy.errors import UserError

pytestmark = pytest.mark.any_kernels

RNG = np.random.default_rng(0)
ROWS = np.array([0, 1, 2, 3, 0, 1, 2])  # four examples, and three copies
MASK = np.arange(7) < 4
X, Y = RNG.normal(size=(4, 5)), RNG.normal(size=(4, 5))
P = RNG.uniform(0.1, 0.9, size=(4, 5))
LABELS = np.array([0, 4, 2, 2])
SIDES = np.array([1, -1, 1, -1])
IMAGES = RNG.uniform(0.1, 0.9, size=(4, 2, 3, 3))
SHARES = np.exp(Y) / np.exp(Y).sum(1, keepdims=True)
WEIGHT = np.array([1.0, 2.0, 0.5, 3.0, 1.5])

LOSSES: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = {
    "mse": (F.mse_loss, (X, Y)),
    "l1": (F.l1_loss, (X, Y)),
    "huber": (F.huber_loss, (X, Y)),
    "smooth l1": (F.smooth_l1_loss, (X, Y)),
    "binary cross-entropy": (F.binary_cross_entropy, (P, (Y > 0).astype(float))),
    "with logits": (F.binary_cross_entropy_with_logits, (X, (Y > 0).astype(float))),
    "cross-entropy": (F.cross_entropy, (X, LABELS)),
    "weighted": (lambda x, t, **k: F.cross_entropy(x, t, weight=WEIGHT, **k), (X, LABELS)),
    "smoothed": (lambda x, t, **k: F.cross_entropy(x, t, label_smoothing=0.1, **k), (X, LABELS)),
    "ignoring": (lambda x, t, **k: F.cross_entropy(x, t, ignore_index=2, **k), (X, LABELS)),
    "of probabilities": (F.cross_entropy, (X, SHARES)),
    "of maps": (F.cross_entropy, (IMAGES, RNG.integers(0, 2, (4, 3, 3)))),
    "of steps": (lambda x, t, **k: F.cross_entropy(x.reshape(-1, 3), t.reshape(-1), **k),
                 (RNG.normal(size=(4, 6, 3)), RNG.integers(0, 3, (4, 6)))),
    "nll": (F.nll_loss, (np.log(SHARES), LABELS)),
    "hinge": (F.hinge_loss, (X[:, 0], SIDES.astype(float))),
    "soft margin": (F.soft_margin_loss, (X[:, 0], SIDES.astype(float))),
    "multi margin": (F.multi_margin_loss, (X, LABELS)),
    "focal": (F.sigmoid_focal_loss, (X, (Y > 0).astype(float))),
    "dice": (F.dice_loss, (IMAGES, (IMAGES > 0.5).astype(float))),
    "kl": (F.kl_div, (np.log(SHARES), SHARES[::-1].copy())),
    "kl, batchmean": (lambda x, t, reduction="mean": F.kl_div(x, t, "batchmean"), (np.log(SHARES), SHARES[::-1].copy())),
    "cosine": (F.cosine_embedding_loss, (X, Y, SIDES)),
    "triplet": (F.triplet_margin_loss, (X, Y, P)),
    "info nce": (F.info_nce_loss, (X, Y)),
    "batch mean": (lambda x, reduction="mean": F.batch_mean(x * x), (X,)),
}  # fmt: skip


def found(loss: Callable[..., Any], args: tuple[Any, ...], mask: Any, reduction: str) -> tuple[Any, Any]:
    x = nn.Tensor(args[0], requires_grad=True)
    with F.masked_examples(mask):
        value = loss(x, *map(nn.Tensor, args[1:]), reduction=reduction)
        value.backward()
    assert x.grad is not None
    return value.numpy(), x.grad.numpy()


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("name", LOSSES)
def test_every_loss(name: str, reduction: str) -> None:
    loss, args = LOSSES[name]
    expected, slope = found(loss, args, None, reduction)
    value, padded = found(loss, tuple(a[ROWS] for a in args), MASK, reduction)
    np.testing.assert_allclose(value, expected, rtol=1e-12)
    np.testing.assert_allclose(padded[:4], slope, rtol=1e-10, atol=1e-14)
    assert not padded[4:].any()


def test_the_table_has_every_loss() -> None:
    named = {getattr(loss, "__name__", "") for loss, _ in LOSSES.values()}
    assert set(F.losses.__all__) - named == {"cosine_similarity", "pairwise_distance"}


@pytest.mark.parametrize("shape", [(4, 3), (4, 3, 5), (4, 3, 2, 2)])
@pytest.mark.parametrize("kind", ["batch", "instance"])
def test_batch_statistics(shape: tuple[int, ...], kind: str) -> None:
    if kind == "instance" and len(shape) == 2:
        pytest.skip("instance statistics need space")
    x, g = RNG.normal(size=shape), RNG.normal(size=shape)
    rows = []
    for data, up, mask in ((x, g, None), (x[ROWS], np.where(MASK[(...,) + (None,) * (x.ndim - 1)], g[ROWS], 0), MASK)):
        t = nn.Tensor(data, requires_grad=True)
        w, b = (nn.Tensor(np.linspace(start, 2, 3), requires_grad=True) for start in (0.5, -1))
        running = nn.Tensor(np.zeros(3)), nn.Tensor(np.ones(3))
        with F.masked_examples(mask):
            y = F.batch_norm(t, *running, w, b, training=True) if kind == "batch" else F.instance_norm(t, *running, w, b)
        (y * up).sum().backward()
        rows.append([y.numpy()[:4], t.grad.numpy()[:4], w.grad.numpy(), b.grad.numpy(), *(r.numpy() for r in running)])
    for expected, value in zip(*rows, strict=True):
        np.testing.assert_allclose(value, expected, rtol=1e-10, atol=1e-13)


def test_one_example_alone_moves_no_running_statistics() -> None:
    running = nn.Tensor(np.zeros(5)), nn.Tensor(np.ones(5))
    with F.masked_examples(np.arange(7) < 1):
        y = F.batch_norm(nn.Tensor(X[ROWS]), *running, training=True)
    assert np.isfinite(y.numpy()).all()
    np.testing.assert_array_equal(running[0].numpy(), 0)
    np.testing.assert_array_equal(running[1].numpy(), 1)


def test_a_part_without_examples_has_no_loss_and_no_gradient() -> None:
    for name in ("cross-entropy", "mse", "weighted", "smoothed"):
        loss, args = LOSSES[name]
        value, slope = found(loss, args, np.zeros(4, bool), "mean")
        assert float(value) == 0.0
        assert not slope.any()


def test_rows_that_are_no_examples_are_refused() -> None:
    with F.masked_examples(MASK), pytest.raises(UserError, match=r"padded batch of 7 examples .* Received 5 rows"):
        F.mse_loss(nn.Tensor(np.zeros((5, 7))), nn.Tensor(np.ones((5, 7))))
