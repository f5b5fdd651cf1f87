"""Initial weights: their laws by mean, spread, limits and the Kolmogorov-Smirnov distance, fans and gains as PyTorch's."""

import math

import numpy as np
import pytest
from scipy import stats

import nnatomy as nn
from nnatomy import init

torch = pytest.importorskip("torch")
SHAPE = (120, 40, 3)
FAN_IN, FAN_OUT = 120, 360

UNIFORM = {  # function, limit
    "xavier_uniform": (lambda g: init.xavier_uniform(SHAPE, 2.0, g, "float64"), 2 * math.sqrt(6 / (FAN_IN + FAN_OUT))),
    "kaiming_uniform": (lambda g: init.kaiming_uniform(SHAPE, generator=g, dtype="float64"), math.sqrt(6 / FAN_IN)),
    "kaiming_uniform out": (
        lambda g: init.kaiming_uniform(SHAPE, 0.5, "fan_out", generator=g, dtype="float64"),
        math.sqrt(2 / 1.25) * math.sqrt(3 / FAN_OUT),
    ),
    "lecun_uniform": (lambda g: init.lecun_uniform(SHAPE, g, "float64"), math.sqrt(3 / FAN_IN)),
    "uniform": (lambda g: init.uniform(SHAPE, -0.7, 0.7, g, "float64"), 0.7),
}
NORMAL = {  # function, standard deviation
    "xavier_normal": (lambda g: init.xavier_normal(SHAPE, 2.0, g, "float64"), 2 * math.sqrt(2 / (FAN_IN + FAN_OUT))),
    "kaiming_normal": (
        lambda g: init.kaiming_normal(SHAPE, nonlinearity="relu", generator=g, dtype="float64"), math.sqrt(2 / FAN_IN)
    ),
    "kaiming_normal tanh out": (
        lambda g: init.kaiming_normal(SHAPE, 0, "fan_out", "tanh", g, "float64"), 5 / 3 / math.sqrt(FAN_OUT)
    ),
    "lecun_normal": (lambda g: init.lecun_normal(SHAPE, g, "float64"), 1 / math.sqrt(FAN_IN)),
    "normal": (lambda g: init.normal(SHAPE, 0.0, 0.3, g, "float64"), 0.3),
}  # fmt: skip


@pytest.mark.parametrize("name", UNIFORM)
def test_uniform_laws(name):
    draw, limit = UNIFORM[name]
    w = draw(nn.Generator(1))
    assert w.shape == SHAPE
    assert stats.kstest(w.ravel(), "uniform", args=(-limit, 2 * limit)).pvalue > 1e-3
    np.testing.assert_array_equal(w, draw(nn.Generator(1)))


@pytest.mark.parametrize("name", NORMAL)
def test_normal_laws(name):
    draw, std = NORMAL[name]
    w = draw(nn.Generator(2))
    assert w.shape == SHAPE
    assert stats.kstest(w.ravel(), "norm", args=(0, std)).pvalue > 1e-3


def test_trunc_normal():
    w = init.trunc_normal((20_000,), 0.5, 2.0, -1.0, 3.0, nn.Generator(3), "float64")
    law = stats.truncnorm((-1 - 0.5) / 2, (3 - 0.5) / 2, 0.5, 2.0)
    assert w.min() >= -1
    assert w.max() <= 3
    assert stats.kstest(w, law.cdf).pvalue > 1e-3


@pytest.mark.parametrize("shape", [(5, 5), (3, 8), (8, 3), (6, 2, 3, 3), (20, 2, 3)])
def test_orthogonal(shape):
    w = init.orthogonal(shape, 2.0, nn.Generator(4), "float64").reshape(shape[0], -1)
    product = w @ w.T if w.shape[0] <= w.shape[1] else w.T @ w
    np.testing.assert_allclose(product, 4 * np.eye(len(product)), atol=1e-12)


def test_orthogonal_prefers_no_direction():
    first = np.array([init.orthogonal((3, 3), 1.0, nn.Generator(i), "float64")[0, 0] for i in range(2000)])
    assert stats.kstest(first, "uniform", args=(-1, 2)).pvalue > 1e-3  # a coordinate of a uniform point on the sphere


def test_constants():
    assert (init.zeros((2, 3)) == 0).all()
    assert (init.ones((2, 3)) == 1).all()
    assert (init.constant((2, 3), 0.5) == 0.5).all()
    assert init.zeros((2,)).dtype == np.float32


@pytest.mark.parametrize("shape", [(7, 5), (7, 5, 3), (7, 5, 3, 2)])
def test_fans(shape):
    assert init.calculate_fan(shape) == torch.nn.init._calculate_fan_in_and_fan_out(torch.empty(shape))


@pytest.mark.parametrize("name", ["linear", "sigmoid", "tanh", "relu", "leaky_relu", "selu"])
def test_gains(name):
    assert init.calculate_gain(name) == pytest.approx(torch.nn.init.calculate_gain(name), rel=1e-15)
    assert init.calculate_gain("leaky_relu", 0.3) == torch.nn.init.calculate_gain("leaky_relu", 0.3)


@pytest.mark.parametrize(
    "call",
    [
        lambda: init.calculate_fan((3,)),
        lambda: init.calculate_gain("relux"),
        lambda: init.kaiming_normal((3, 3), mode="fan_inn"),
        lambda: init.orthogonal((3,)),
        lambda: init.trunc_normal((3,), a=1, b=-1),
    ],
)
def test_wrong_arguments(call):
    with pytest.raises(nn.UserError):
        call()
