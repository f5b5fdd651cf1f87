"""Normalization functions equal PyTorch's; running moments follow as PyTorch's do."""

import numpy as np
import pytest
from function_parity import same, torch

import nnatomy as nn

F, T = nn.functional, torch.nn.functional
RNG = np.random.default_rng(3)
X = RNG.normal(2, 3, (4, 6, 5))
W, V = RNG.normal(size=6), RNG.normal(size=6)


@pytest.mark.parametrize("p, axis", [(2.0, 1), (1.0, -1), (3.0, 0), (np.inf, 2)])
def test_normalize(p, axis):
    same(lambda x: F.normalize(x, p, axis), lambda x: T.normalize(x, p, axis), X)


def test_normalize_zeros():
    same(F.normalize, T.normalize, np.zeros((2, 3)))


@pytest.mark.parametrize("shape", [(5,), (6, 5), (4, 6, 5)])
def test_layer_and_rms_norm(shape):
    w, b = RNG.normal(size=shape), RNG.normal(size=shape)
    same(lambda x: F.layer_norm(x, shape), lambda x: T.layer_norm(x, shape), X)
    same(lambda x, w, b: F.layer_norm(x, shape, w, b, 1e-3), lambda x, w, b: T.layer_norm(x, shape, w, b, 1e-3), X, w, b)
    same(lambda x: F.rms_norm(x, shape), lambda x: T.rms_norm(x, shape), X)
    same(lambda x, w: F.rms_norm(x, shape, w, 1e-3), lambda x, w: T.rms_norm(x, shape, w, 1e-3), X, w)


@pytest.mark.parametrize("shape", [(7, 6), (4, 6, 5), (2, 6, 3, 4), (2, 6, 2, 3, 2)])
def test_batch_norm(shape):
    x, mean, var = RNG.normal(2, 3, shape), RNG.normal(size=6), RNG.uniform(0.5, 2, 6)
    same(
        lambda x, w, b: F.batch_norm(x, mean, var, w, b),
        lambda x, w, b: T.batch_norm(x, torch.tensor(mean), torch.tensor(var), w, b),
        x, W, V,
    )  # fmt: skip
    same(
        lambda x, w, b: F.batch_norm(x, None, None, w, b, training=True),
        lambda x, w, b: T.batch_norm(x, None, None, w, b, training=True),
        x, W, V,
    )  # fmt: skip
    ours, theirs = (nn.tensor(mean), nn.tensor(var)), (torch.tensor(mean), torch.tensor(var))
    F.batch_norm(nn.tensor(x), *ours, training=True, momentum=0.3)
    T.batch_norm(torch.tensor(x), *theirs, training=True, momentum=0.3)
    for got, expected in zip(ours, theirs):
        np.testing.assert_allclose(got.data, expected.numpy(), rtol=1e-12)


@pytest.mark.parametrize("shape", [(4, 6, 5), (2, 6, 3, 4)])
def test_instance_and_group_norm(shape):
    x = RNG.normal(2, 3, shape)
    same(
        lambda x, w, b: F.instance_norm(x, weight=w, bias=b), lambda x, w, b: T.instance_norm(x, weight=w, bias=b), x, W, V
    )
    same(lambda x, w, b: F.group_norm(x, 3, w, b), lambda x, w, b: T.group_norm(x, 3, w, b), x, W, V)
    ours, theirs = (nn.tensor(W), nn.tensor(V * V)), (torch.tensor(W), torch.tensor(V * V))
    F.instance_norm(nn.tensor(x), *ours)
    T.instance_norm(torch.tensor(x), *theirs)
    for got, expected in zip(ours, theirs):
        np.testing.assert_allclose(got.data, expected.numpy(), rtol=1e-12)


@pytest.mark.parametrize("size", [1, 2, 3, 5, 8])
@pytest.mark.parametrize("shape", [(4, 6, 5), (2, 6, 3, 4), (2, 3, 2, 2, 2)])
def test_local_response_norm(shape, size):
    same(
        lambda x: F.local_response_norm(x, size, 0.1, 0.75, 2.0), lambda x: T.local_response_norm(x, size, 0.1, 0.75, 2.0),
        RNG.normal(2, 3, shape),
    )  # fmt: skip


@pytest.mark.parametrize(
    "name, call",
    [
        ("layer", lambda x, w: F.layer_norm(x, (5,), w)),
        ("rms", lambda x, w: F.rms_norm(x, (5,), w, 1e-5)),
        ("batch", lambda x, w: F.batch_norm(nn.swapaxes(x, 1, 2), None, None, w, training=True)),
        ("group", lambda x, w: F.group_norm(nn.swapaxes(x, 1, 2), 1, w)),
    ],
)
def test_second_derivative(name, call):
    nn.check_gradients(call, [RNG.normal(size=(3, 2, 5)), RNG.normal(size=5)], order=2, tolerance=1e-5)


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: F.batch_norm(X[:1, :, :1], None, None, training=True), "more than one value"),
        (lambda: F.batch_norm(X, None, None), "running moments"),
        (lambda: F.instance_norm(X[:, :, :1]), "more than one place"),
        (lambda: F.group_norm(X, 4), "4 groups"),
        (lambda: F.layer_norm(X, (6,)), r"last axes are \(6,\)"),
        (lambda: F.local_response_norm(X[0], 3), "space"),
    ],
)
def test_wrong_arguments(call, words):
    with pytest.raises(nn.UserError, match=words):
        call()
