"""Activations equal PyTorch's, also where their slopes jump."""

import numpy as np
import pytest
from function_parity import same, torch

import nnatomy as nn

F, T = nn.functional, torch.nn.functional
RNG = np.random.default_rng(1)
X = RNG.normal(0, 3, (4, 6, 5))
CORNERS = np.array([[-1e4, -30, -6, -3, -1, -0.5, -0.0], [0.0, 0.5, 1, 3, 6, 20, 1e4]])
CASES = {
    "sigmoid": (F.sigmoid, torch.sigmoid),
    "tanh": (F.tanh, torch.tanh),
    "relu": (F.relu, T.relu),
    "relu6": (F.relu6, T.relu6),
    "leaky_relu": (F.leaky_relu, T.leaky_relu),
    "leaky_relu 0.2": (lambda x: F.leaky_relu(x, 0.2), lambda x: T.leaky_relu(x, 0.2)),
    "elu": (F.elu, T.elu),
    "elu 0.3": (lambda x: F.elu(x, 0.3), lambda x: T.elu(x, 0.3)),
    "celu 0.3": (lambda x: F.celu(x, 0.3), lambda x: T.celu(x, 0.3)),
    "selu": (F.selu, T.selu),
    "gelu": (F.gelu, T.gelu),
    "gelu tanh": (lambda x: F.gelu(x, "tanh"), lambda x: T.gelu(x, approximate="tanh")),
    "silu": (F.silu, T.silu),
    "mish": (F.mish, T.mish),
    "softplus": (F.softplus, T.softplus),
    "softplus beta": (lambda x: F.softplus(x, 2.0, 5.0), lambda x: T.softplus(x, 2.0, 5.0)),
    "softsign": (F.softsign, T.softsign),
    "logsigmoid": (F.logsigmoid, T.logsigmoid),
    "hardsigmoid": (F.hardsigmoid, T.hardsigmoid),
    "hardswish": (F.hardswish, T.hardswish),
    "hardtanh": (F.hardtanh, T.hardtanh),
    "hardtanh -3 0.5": (lambda x: F.hardtanh(x, -3, 0.5), lambda x: T.hardtanh(x, -3, 0.5)),
    "tanhshrink": (F.tanhshrink, T.tanhshrink),
    "softshrink": (F.softshrink, T.softshrink),
    "hardshrink": (F.hardshrink, T.hardshrink),
    "softmax": (F.softmax, lambda x: T.softmax(x, -1)),
    "softmax 0": (lambda x: F.softmax(x, axis=0), lambda x: T.softmax(x, 0)),
    "log_softmax": (F.log_softmax, lambda x: T.log_softmax(x, -1)),
    "softmin": (F.softmin, lambda x: T.softmin(x, -1)),
    "step": (F.step, lambda x: torch.heaviside(x.detach(), torch.ones((), dtype=x.dtype))),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("x", [X, CORNERS], ids=["random", "corners"])
def test_activation(name, x):
    rounded = name in ("celu 0.3", "hardsigmoid")  # PyTorch keeps 0.3 and 1/6 in float32 there
    same(*CASES[name], x, tolerance=1e-7 if rounded else 1e-10)


@pytest.mark.parametrize("name", CASES)
def test_activation_keeps_float32(name):
    x = nn.tensor(X.astype("float32"), requires_grad=True)
    y = CASES[name][0](x)
    assert y.dtype == np.float32
    if y.requires_grad:
        y.sum().backward()
        assert x.grad.dtype == np.float32


@pytest.mark.parametrize("axis", [1, -1])
def test_glu(axis):
    x = X[:, :, :4]
    same(lambda x: F.glu(x, axis=axis), lambda x: T.glu(x, axis), x)


@pytest.mark.parametrize("weights", [1, 6])
def test_prelu(weights):
    same(F.prelu, T.prelu, X, RNG.normal(size=weights))
    same(F.prelu, T.prelu, np.where(X > 0, X, 0.0), RNG.normal(size=weights))


def test_maxout_takes_neighboring_features():
    same(lambda x: F.maxout(x, 3), lambda x: x.reshape(4, 2, 3, 5).amax(2), X)
    same(lambda x: F.maxout(x, 5, axis=-1), lambda x: x.amax(-1, keepdim=True), X)


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: F.glu(X[:, :3]), "even length"),
        (lambda: F.maxout(X, 4), "multiple of pieces"),
        (lambda: F.gelu(X, "fast"), "'fast'"),
        (lambda: F.prelu(X, np.ones(5)), "6 channels"),
    ],
)
def test_wrong_arguments(call, words):
    with pytest.raises(nn.UserError, match=words):
        call()
