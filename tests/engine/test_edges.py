"""The edges of the engine, on both backends: kinds of numbers, half precision, infinities, no elements, no axes, wrong calls.

The right values are computed by NumPy in float64 or by hand. What PyTorch has too is compared with it in tests/ops.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import nnatomy as nn
from nnatomy import functional as F
from nnatomy.backends import MODULES
from nnatomy.errors import UserError

pytestmark = pytest.mark.any_kernels
Array = np.ndarray[Any, Any]


@pytest.fixture(params=list(MODULES), autouse=True)
def on_each_backend(request: pytest.FixtureRequest) -> Iterator[None]:
    if request.param == "jax":
        pytest.importorskip("jax")
    with nn.backend(request.param), np.errstate(all="ignore"):
        yield


# Integers and booleans are real numbers where outputs are none

REAL: dict[str, tuple[Callable[..., Any], int]] = {
    **{name: (getattr(nn, name), 1) for name in (
        "exp", "expm1", "log", "log1p", "log2", "sqrt", "rsqrt", "sin", "cos", "tan", "sinh", "cosh", "tanh", "arctan",
        "arcsin", "arccos", "erf", "sigmoid", "softplus", "reciprocal", "softmax", "log_softmax", "logsumexp", "mean", "std",
        "var", "norm",
    )},
    **{name: (getattr(F, name), 1) for name in (
        "silu", "gelu", "elu", "selu", "celu", "mish", "softsign", "logsigmoid", "hardsigmoid", "hardswish", "softmin",
    ) if hasattr(F, name)},
    "arctan2": (nn.arctan2, 2), "logaddexp": (nn.logaddexp, 2), "divide": (nn.divide, 2),
    "normalize": (lambda x: F.normalize(x.reshape(2, 2)), 1),
    "layer_norm": (lambda x: F.layer_norm(x, (4,)), 1),
    "rms_norm": (lambda x: F.rms_norm(x, (4,)), 1),
    "group_norm": (lambda x: F.group_norm(x.reshape(1, 2, 2), 1), 1),
    "instance_norm": (lambda x: F.instance_norm(x.reshape(1, 1, 4)), 1),
    "batch_norm": (lambda x: F.batch_norm(x.reshape(2, 2), None, None, training=True), 1),
    "local_response_norm": (lambda x: F.local_response_norm(x.reshape(1, 2, 2), 2), 1),
    "interpolate": (lambda x: nn.interpolate(x.reshape(1, 1, 4), scale=2, mode="linear"), 1),
    "avg_pool": (lambda x: nn.avg_pool(x.reshape(1, 1, 4), 2), 1),
    "mse_loss": (F.mse_loss, 2), "huber_loss": (F.huber_loss, 2),
    "cosine_similarity": (lambda a, b: F.cosine_similarity(a, b, 0), 2),
}  # fmt: skip
KINDS = ("bool", "uint8", "int8", "int32", "int64")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", REAL)
def test_whole_numbers_are_taken_as_real_ones(name: str, kind: str) -> None:
    operation, count = REAL[name]
    values = [np.array([1, 0, 1, 1], kind), np.array([1, 1, 0, 1], kind)][:count]
    if kind != "bool" and name not in ("arcsin", "arccos"):
        values = [v * np.array(6, kind) + np.array([1, 0, 2, 1], kind) for v in values]
    found = operation(*map(nn.tensor, values))
    expected = operation(*(nn.tensor(v.astype("float32")) for v in values))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found.numpy(), expected.numpy(), rtol=2e-6, atol=1e-6)


# Half precision adds up in single

SUMS: dict[str, tuple[Callable[[Any], Any], Array, float]] = {
    "mean of ones": (nn.mean, np.ones(70_000), 1.0),
    "mean of halves": (nn.mean, np.full(66_000, 0.5), 0.5),
    "mean along an axis": (lambda x: nn.mean(x, 1)[0], np.ones((2, 70_000)), 1.0),
    "variance": (nn.var, np.tile([1.0, 3.0], 35_000), 1.0),
    "standard deviation": (nn.std, np.tile([1.0, 3.0], 35_000), 1.0),
    "norm": (nn.norm, np.full(400, 300.0), 6000.0),
    "norm, p = 3": (lambda x: nn.norm(x, p=3), np.full(8, 300.0), 600.0),
    "logsumexp": (nn.logsumexp, np.zeros(70_000), math.log(70_000)),
    "softmax": (lambda x: nn.softmax(x).sum(), np.full(4_000, 9.0), 1.0),
    "log_softmax": (lambda x: -nn.log_softmax(x)[0], np.zeros(70_000), math.log(70_000)),
    "sum of what cancels": (nn.sum, np.concatenate([np.full(3_000, 30.0), np.full(3_000, -30.0)]), 0.0),
    "cumsum": (lambda x: nn.cumsum(x, 0)[-1], np.full(5_000, 0.1), 5_000 * float(np.float16(0.1))),
    "local response": (
        lambda x: F.local_response_norm(x.reshape(1, 1, -1), 1, alpha=1.0, beta=0.5, k=0.0)[0, 0, 0], np.full(4, 300.0), 1.0
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SUMS)
def test_half_precision_adds_up_in_single(name: str) -> None:
    operation, values, expected = SUMS[name]
    found = operation(nn.tensor(values.astype("float16")))
    assert found.dtype == np.float16
    assert float(found) == pytest.approx(expected, rel=2e-3, abs=1e-6)


def test_the_gradient_of_a_half_precise_mean_is_exact() -> None:
    x = nn.tensor(np.ones(70_000, "float16"), requires_grad=True)
    (nn.mean(x) * 4096.0).backward()
    assert x.grad is not None
    assert x.grad.dtype == np.float16
    np.testing.assert_allclose(x.grad.numpy().astype(float), 4096 / 70_000, rtol=1e-3)


# Slopes at infinity, at zero and between equals; None: any slope, as there is none

INF = math.inf
SLOPES: dict[str, tuple[Callable[..., Any], tuple[float, ...], float, tuple[float, ...]]] = {
    "0^0": (nn.power, (0.0, 0.0), 1.0, (0.0, 0.0)),
    "0^1": (nn.power, (0.0, 1.0), 0.0, (1.0, 0.0)),
    "inf^0": (nn.power, (INF, 0.0), 1.0, (0.0, INF)),
    "inf^2": (nn.power, (INF, 2.0), INF, (INF, INF)),
    "0^-1": (nn.power, (0.0, -1.0), INF, (-INF, -INF)),
    "angle of the origin": (nn.arctan2, (0.0, 0.0), 0.0, (0.0, 0.0)),
    "angle at infinity": (nn.arctan2, (INF, INF), math.pi / 4, (0.0, 0.0)),
    "angle of a large point": (nn.arctan2, (3e200, 4e200), math.atan2(3, 4), (4 / 25e200, -3 / 25e200)),
    "angle of a small point": (nn.arctan2, (3e-200, 4e-200), math.atan2(3, 4), (4 / 25e-200, -3 / 25e-200)),
    "ln(0 + 0)": (nn.logaddexp, (-INF, -INF), -INF, (0.5, 0.5)),
    "ln(inf + inf)": (nn.logaddexp, (INF, INF), INF, (0.5, 0.5)),
    "ln(e^1e5 + e^1e5)": (nn.logaddexp, (1e5, 1e5), 1e5 + math.log(2), (0.5, 0.5)),
    "huber at infinity": (F.huber_loss, (INF, 0.0), INF, (1.0, -1.0)),
    "huber of large ones": (F.huber_loss, (1e300, -1e300), 2e300, (1.0, -1.0)),
    "huber of equal ones": (F.huber_loss, (1e300, 1e300), 0.0, (0.0, 0.0)),
    "smooth l1 at infinity": (F.smooth_l1_loss, (INF, 0.0), INF, (1.0, -1.0)),
    "focal loss of a sure score": (
        lambda x: F.sigmoid_focal_loss(x, nn.tensor([1.0], "float64"), gamma=0.5), (800.0,), 0.0, (0.0,)
    ),
    "norm of zeros": (nn.norm, (0.0,), 0.0, (0.0,)),
    "logsumexp of minus infinity": (nn.logsumexp, (-INF,), -INF, (0.0,)),
}  # fmt: skip


@pytest.mark.parametrize("name", SLOPES)
def test_slopes_at_hard_points(name: str) -> None:
    operation, values, expected, slopes = SLOPES[name]
    inputs = [nn.tensor(np.array([v]), requires_grad=True) for v in values]
    y = nn.sum(operation(*inputs))
    assert float(y) == pytest.approx(expected, rel=1e-12)
    y.backward()
    for x, slope in zip(inputs, slopes, strict=True):
        assert x.grad is not None
        assert float(x.grad[0]) == pytest.approx(slope, rel=1e-9, nan_ok=False)


def test_focal_loss_has_a_slope_where_the_score_is_right_in_single_precision() -> None:
    x = nn.tensor([[20.0]], requires_grad=True)
    F.sigmoid_focal_loss(x, nn.tensor([[1.0]]), gamma=0.5).backward()
    wrong = 1 / (1 + math.exp(20))
    slope = -0.25 * wrong**0.5 * (1 - wrong) * (wrong / (1 - wrong) + 0.5 * -math.log(1 - wrong)) * (1 - wrong)
    assert x.grad is not None
    assert x.grad.item() == pytest.approx(slope, rel=1e-3)


# Statistics


def test_cosine_of_what_is_broadcast() -> None:
    a, b = np.ones((2, 1)), np.arange(1.0, 17).reshape(2, 8)
    wide = np.broadcast_to(a, b.shape)
    expected = (wide * b).sum(1) / np.linalg.norm(wide, axis=1) / np.linalg.norm(b, axis=1)
    np.testing.assert_allclose(F.cosine_similarity(nn.tensor(a), nn.tensor(b)).numpy(), expected)


def test_a_median_knows_of_nan() -> None:
    assert math.isnan(nn.median(nn.tensor([1.0, math.nan, 3.0])).item())
    assert nn.median(nn.tensor([[4.0, 1.0, 2.0], [1.0, math.nan, 3.0]]), axis=-1).numpy()[0] == 2.0


def test_nearest_neighbors_are_pytorchs() -> None:
    torch = pytest.importorskip("torch")
    for size, scale in ((88, 1.3), (50, 1.7), (61, 0.7), (10, 3.0)):
        x = np.arange(float(size)).reshape(1, 1, size)
        expected = torch.nn.functional.interpolate(torch.tensor(x), scale_factor=scale, mode="nearest").numpy()
        np.testing.assert_array_equal(nn.interpolate(nn.tensor(x), scale=scale).numpy(), expected)


def test_small_integers_add_up_in_large_ones() -> None:
    assert nn.cumsum(nn.tensor(np.array([100, 100], "int8")), 0).numpy().tolist() == [100, 200]
    assert nn.cumprod(nn.tensor(np.array([100, 100], "int8")), 0).numpy().tolist() == [100, 10_000]


# Bits


def test_operators_of_integers_are_those_of_their_bits() -> None:
    a, b = np.array([6, 5, -8]), np.array([3, 4, 1])
    x, y = nn.tensor(a), nn.tensor(b)
    pairs = ((x & y, a & b), (x | y, a | b), (x ^ y, a ^ b), (~x, ~a), (x << y, a << b), (x >> y, a >> b), (3 & x, 3 & a))
    for found, expected in pairs:
        assert found.dtype == np.int64
        np.testing.assert_array_equal(found.numpy(), expected)
    truth = nn.tensor(a) > 0
    np.testing.assert_array_equal((~truth | (truth & (x > 5))).numpy(), ~(a > 0) | (a > 5))
    assert (~truth).dtype == np.bool_
    with pytest.raises(UserError, match=r"bitwise_and\(\) takes integers or booleans"):
        _ = nn.tensor([1.0]) & nn.tensor([2.0])


# No elements, no axes

EMPTY: dict[str, Callable[[], Any]] = {
    "attention": lambda: nn.MultiheadAttention(4, 2, batch_first=True)(*[nn.zeros(0, 3, 4)] * 3)[0],
    "group_norm": lambda: F.group_norm(nn.zeros(0, 4, 3), 2),
    "local_response_norm": lambda: F.local_response_norm(nn.zeros(0, 4, 3, 3), 2),
    "layer_norm": lambda: F.layer_norm(nn.zeros(0, 4), (4,)),
    "softmax": lambda: nn.softmax(nn.zeros(0, 4)),
    "softmax over nothing": lambda: nn.softmax(nn.zeros(2, 0)),
    "log_softmax over nothing": lambda: nn.log_softmax(nn.zeros(2, 0)),
    "unfold": lambda: nn.unfold(nn.zeros(0, 2, 3, 3), 2),
    "linear": lambda: nn.Linear(4, 2)(nn.zeros(0, 4)),
    "conv": lambda: nn.Conv2d(1, 2, 3)(nn.zeros(0, 1, 5, 5)),
}  # fmt: skip
SHAPES = {
    "attention": (0, 3, 4), "group_norm": (0, 4, 3), "local_response_norm": (0, 4, 3, 3), "layer_norm": (0, 4),
    "softmax": (0, 4), "softmax over nothing": (2, 0), "log_softmax over nothing": (2, 0), "unfold": (0, 8, 4),
    "linear": (0, 2), "conv": (0, 2, 3, 3),
}  # fmt: skip


@pytest.mark.parametrize("name", EMPTY)
def test_no_examples(name: str) -> None:
    assert EMPTY[name]().shape == SHAPES[name]


def test_the_log_of_the_sum_of_nothing() -> None:
    assert nn.logsumexp(nn.zeros(2, 0), axis=1).numpy().tolist() == [-INF, -INF]


WITHOUT_AXES: dict[str, tuple[Callable[[Any], Any], float, float]] = {
    **{name: (lambda x, name=name: getattr(nn, name)(x, axis=0), 2.0, 1.0) for name in (
        "sum", "mean", "max", "min", "prod", "cumsum", "cumprod", "flip", "logsumexp", "median", "norm",
    )},
    "softmax": (lambda x: nn.softmax(x, 0), 1.0, 0.0),
    "last axis": (lambda x: nn.sum(x, -1), 2.0, 1.0),
    "keepdims": (lambda x: nn.sum(x, 0, keepdims=True), 2.0, 1.0),
    "sort": (lambda x: nn.sort(x, 0)[0], 2.0, 1.0),
    "topk": (lambda x: nn.topk(x, 1, 0)[0], 2.0, 1.0),
}  # fmt: skip


@pytest.mark.parametrize("name", WITHOUT_AXES)
def test_one_number_has_an_axis_0(name: str) -> None:
    operation, expected, slope = WITHOUT_AXES[name]
    x = nn.tensor(np.array(2.0), requires_grad=True)
    y = operation(x)
    assert y.shape == ()
    assert y.item() == expected
    y.backward()
    assert x.grad is not None
    assert x.grad.item() == slope


def test_orders_of_one_number() -> None:
    x = nn.tensor(2.0)
    assert [nn.argsort(x, 0).item(), nn.argmax(x, 0).item(), nn.argmin(x).item()] == [0, 0, 0]
    assert [i.numpy().tolist() for i in nn.nonzero(x, as_tuple=True)] == [[0]]


def test_integers_of_numpy_and_lists_name_axes_and_sizes() -> None:
    x = nn.tensor(np.ones((2, 3)), requires_grad=True)
    (x.sum(np.int64(0)).sum() + x.mean(axis=[0, 1]) + x.max(axis=(np.int32(1),)).sum() + nn.flip(x, [0]).sum()).backward()
    assert x.grad is not None
    assert nn.Linear(4, np.int64(3))(nn.zeros(1, 4)).shape == (1, 3)
    assert nn.Conv2d(1, np.int64(2), np.int64(3))(nn.zeros(1, 1, 5, 5)).shape == (1, 2, 3, 3)
    assert nn.arange(np.int64(3)).dtype == np.int64


# Refused calls, with our messages

HOT = {"weight": np.zeros((1, 1)), "bias": np.zeros(1)}
REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "take beyond the end": (lambda: nn.take(nn.arange(3.0), nn.tensor([7])), "7"),
    "take before the start": (lambda: nn.take(nn.arange(3.0), nn.tensor([-4])), "-4"),
    "index": (lambda: nn.arange(3.0)[np.array([7])], "7"),
    "index behind an ellipsis": (lambda: nn.zeros(2, 3)[..., np.array([3])], "3"),
    "gather": (lambda: nn.gather(nn.zeros(2, 3), nn.tensor([[3], [0]]), 1), "3"),
    "gather with too few axes": (lambda: nn.gather(nn.zeros(2, 3), nn.tensor([0]), 1), "needs 2 axes"),
    "scatter_add": (lambda: nn.scatter_add(nn.zeros(3), nn.tensor([3]), nn.ones(1), 0), "3"),
    "index_put": (lambda: nn.index_put(nn.zeros(3), nn.tensor([3]), nn.ones(1)), "3"),
    "embedding": (lambda: nn.embedding(nn.zeros(3, 2), nn.tensor([3])), "3"),
    "a class": (lambda: F.cross_entropy(nn.zeros(1, 3), nn.tensor([7])), "between 0 and 2. Received 7"),
    "one_hot": (lambda: nn.one_hot(nn.tensor([0, 5]), 3), "from 0 to 2. Received 0 to 5"),
    "integers over 0": (lambda: nn.tensor([1]) // nn.tensor([0]), "cannot be divided by 0"),
    "rest of integers over 0": (lambda: nn.tensor([1]) % 0, "cannot be divided by 0"),
    "variance of few": (lambda: nn.var(nn.arange(3.0), correction=5), "Received 3 elements and correction 5"),
    "deviation of few": (lambda: nn.std(nn.arange(3.0), correction=3), "Received 3 elements and correction 3"),
    "variance of nothing": (lambda: nn.var(nn.zeros(0)), "Received 0 elements"),
    "eye": (lambda: nn.eye(-1), "integers >= 0"),
    "linspace": (lambda: nn.linspace(0, 1, 2.5), "integers >= 0"),  # type: ignore[arg-type]
    "arange": (lambda: nn.arange(0, 3, 0), "step other than 0"),
    "softshrink": (lambda: F.softshrink(nn.ones(1), -0.5), "lambd >= 0"),
    "hardshrink": (lambda: F.hardshrink(nn.ones(1), -0.5), "lambd >= 0"),
    "hardtanh": (lambda: F.hardtanh(nn.ones(1), 1.0, -1.0), "min_val <= max_val"),
    "split": (lambda: nn.split(nn.ones(4), 0), "at least 1"),
    "chunk": (lambda: nn.chunk(nn.ones(4), 0), "at least 1"),
    "repeat": (lambda: nn.repeat(nn.ones(2, 2), (2,)), "each axis of"),
    "pad": (lambda: nn.pad(nn.ones(2), [(-1, 0)]), "both >= 0"),
    "interpolate": (lambda: nn.interpolate(nn.ones(1, 1, 2), scale=0.1), "leave one place"),
    "an axis": (lambda: nn.sum(nn.ones(2), 0.5), "An axis is an integer"),  # type: ignore[arg-type]
    "gradients of integers": (lambda: nn.Tensor(np.array([1]), requires_grad=True), "floating-point"),
    "texts": (lambda: nn.tensor(np.array(["a"])), "real numbers"),
    "objects": (lambda: nn.tensor(np.array([None])), "real numbers"),
    "complex numbers": (lambda: nn.tensor(np.array([1j])), "real numbers"),
    "complex weights": (lambda: nn.Linear(1, 1).load_state_dict(HOT | {"weight": np.array([[1j]])}), "holds complex128"),
    "large weights": (lambda: nn.Linear(1, 1).load_state_dict(HOT | {"weight": np.array([[1e300]])}), "beyond"),
    "boolean weights": (lambda: nn.Linear(1, 1).load_state_dict(HOT | {"weight": np.array([[True]])}), "holds bool"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused(name: str) -> None:
    call, said = REFUSED[name]
    with pytest.raises((UserError, IndexError), match=said.replace("(", r"\(")) as refusal:
        call()
    assert "numpy" not in str(refusal.value).lower()


def test_an_array_as_gradient_is_refused_when_it_is_used() -> None:
    layer = nn.Linear(1, 1)
    layer.weight.grad = np.ones((1, 1), "float32")  # type: ignore[assignment]
    with pytest.raises(UserError, match="must be a Tensor"):
        nn.optim.SGD(layer.parameters(), lr=1.0).step()


def test_tensors_of_pytorch_are_refused_by_name() -> None:
    torch = pytest.importorskip("torch")
    with pytest.raises((UserError, TypeError), match=r"torch"):
        nn.exp(torch.ones(2))
    with pytest.raises((UserError, TypeError), match=r"torch"):
        nn.Linear(2, 1)(torch.ones(1, 2))
