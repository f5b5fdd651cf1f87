"""Tensors: their values, their looks, their place among NumPy arrays, copying and pickling."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest

import nnatomy as nn
from nnatomy.layers.module import Module


def test_making_tensors() -> None:
    assert nn.tensor([1.0, 2.0]).dtype == np.float32
    assert nn.tensor(1.5).shape == ()
    assert nn.tensor([1, 2]).dtype == np.int64
    assert nn.tensor([True]).dtype == np.bool_
    assert nn.tensor(np.ones(2)).dtype == np.float64
    assert nn.tensor([1, 2], dtype="float64").dtype == np.float64
    assert nn.tensor(nn.ones(2)).tolist() == [1.0, 1.0]
    assert nn.Parameter([1.0, 2.0]).dtype == np.float32
    for wrong in ([[1, 2], [3]], ["a"], [None], {"a": 1}, 1j):
        with pytest.raises(nn.UserError, match="rows of equal length"):
            nn.tensor(wrong)
    with pytest.raises(nn.UserError, match=r"nn\.stack"):
        nn.tensor([nn.ones(2), nn.ones(2)])
    for make in (
        lambda: nn.tensor([1, 2], requires_grad=True), lambda: nn.Parameter(np.arange(3)),
        lambda: nn.tensor([1]).requires_grad_(),
    ):  # fmt: skip
        with pytest.raises(nn.UserError, match="floating-point"):
            make()


def test_numpy_is_a_read_only_view() -> None:
    t = nn.tensor([1.0, 2.0])
    for view in (t.numpy(), np.asarray(t)):
        with pytest.raises(ValueError, match="read-only"):
            view[0] = 5.0
    np.array(t)[0] = 5.0
    assert t.tolist() == [1.0, 2.0]
    assert np.asarray(t, dtype="float64").dtype == np.float64


def test_looks() -> None:
    assert repr(nn.tensor([1.0, 2.5])) == "tensor([1. , 2.5], float32)"
    assert repr(nn.tensor(3)) == "tensor(3, int64)"
    x = nn.tensor([1.0], requires_grad=True)
    assert repr(x) == "tensor([1.], float32, requires_grad)"
    assert repr(x * 2) == "tensor([2.], float32, from multiply)"
    assert "..." in repr(nn.zeros(100, 100))
    assert f"{nn.tensor(0.12345):.2f}" == "0.12"
    assert f"{nn.tensor([1])}" == "tensor([1], int64)"


def test_one_element_as_a_number() -> None:
    t = nn.tensor([[2.5]])
    assert (t.item(), float(t), int(t), bool(t)) == (2.5, 2.5, 2, True)
    assert [10, 20, 30][nn.tensor(1)] == 20
    with pytest.raises(TypeError, match="integer"):
        _ = [1, 2][nn.tensor(1.0)]
    for call in (bool, float, lambda t: t.item()):
        with pytest.raises(nn.UserError):
            call(nn.ones(2))
    with pytest.raises(nn.UserError, match="Received 2 elements"):
        bool(nn.ones(2) > 0)


def test_length_and_iteration() -> None:
    t = nn.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    assert len(t) == 2
    first, second = t
    (first * second).sum().backward()
    assert t.grad.tolist() == [[3.0, 4.0], [1.0, 2.0]]
    assert list(nn.zeros(0, 3)) == []
    for call in (len, iter):
        with pytest.raises(TypeError):
            call(nn.tensor(1.0))
    with pytest.raises(IndexError):
        _ = t[2]


def test_arrays_on_the_left() -> None:
    a, t = np.array([3.0, 4.0], np.float32), nn.tensor([1.0, 2.0], requires_grad=True)
    pairs = [
        (a + t, a + t.numpy()), (a - t, a - t.numpy()), (a * t, a * t.numpy()), (a / t, a / t.numpy()), (a**t, a ** t.numpy()),
        (a @ t, a @ t.numpy()), (a % t, a % t.numpy()), (a // t, a // t.numpy()),
        (a > t, a > t.numpy()), (a == t, a == t.numpy()),
    ]  # fmt: skip
    for ours, expected in pairs:
        assert isinstance(ours, nn.Tensor)
        np.testing.assert_allclose(ours.numpy(), expected)
    with pytest.raises(TypeError):
        np.exp(t)


def test_equality_and_hashing() -> None:
    t = nn.tensor([1.0, 2.0])
    assert (t == t).tolist() == [True, True]
    assert (t != np.array([1.0, 3.0], np.float32)).tolist() == [False, True]
    assert (t == 2.0).tolist() == [False, True]
    assert (t == None) is False  # noqa: E711
    assert (t != None) is True  # noqa: E711
    assert len({t, t, nn.tensor([1.0, 2.0])}) == 2
    assert {t: "a"}[t] == "a"


def test_logic() -> None:
    a, b = nn.tensor([True, True, False]), nn.tensor([True, False, False])
    assert (a & b).tolist() == [True, False, False]
    assert (a | b).tolist() == [True, True, False]
    assert (~a).tolist() == [False, False, True]


def test_copies() -> None:
    x = nn.tensor([1.0, 2.0], requires_grad=True)
    (x * x).sum().backward()
    for twin in (copy.deepcopy(x), pickle.loads(pickle.dumps(x))):
        assert twin.tolist() == x.tolist()
        assert twin.requires_grad
        assert twin.data is not x.data
        assert twin.grad.tolist() == [2.0, 4.0]
    with pytest.raises(RuntimeError, match="detach"):
        copy.deepcopy(x * 2)
    copy.deepcopy((x * 2).detach())


class Pair(Module):
    def __init__(self) -> None:
        self.a = nn.Parameter([1.0, 2.0])
        self.b = self.a
        self.mean = nn.zeros(2)

    def forward(self, x: Any) -> Any:
        return x * self.a + self.b


def test_deepcopy_of_a_module() -> None:
    model = Pair()
    twin = copy.deepcopy(model)
    assert isinstance(twin.a, nn.Parameter)
    assert twin.a is twin.b
    assert twin.a is not model.a
    with nn.no_grad():
        twin.a += 1
    assert model.a.tolist() == [1.0, 2.0]
    assert twin(nn.ones(2)).tolist() == [4.0, 6.0]


def test_methods_say_what_functions_say() -> None:
    x = nn.tensor(np.random.default_rng(0).uniform(0.2, 0.8, size=(3, 4)), requires_grad=True)
    plain = ("exp", "expm1", "log", "log1p", "sqrt", "square", "abs", "sin", "cos", "tanh", "sigmoid", "relu", "sign",
             "floor", "ceil", "round", "isnan", "isfinite", "clone", "softmax", "log_softmax", "sum", "mean", "var", "std",
             "prod", "max", "min", "norm", "logsumexp", "argmax", "argmin", "any", "all", "flatten", "squeeze", "flip",
             "tril", "triu", "diagonal", "argsort", "median", "transpose")  # fmt: skip
    calls: dict[str, tuple[Any, ...]] = dict.fromkeys(plain, ())
    calls |= {
        "clip": (0.3, 0.5), "astype": ("float32",), "masked_fill": (x.numpy() > 0.5, 0.0), "cumsum": (1,), "cumprod": (0,),
        "swapaxes": (0, 1), "unsqueeze": (1,), "broadcast_to": ((2, 3, 4),), "gather": (np.zeros((3, 1), int), 1),
        "roll": (1, 0),
        "moveaxis": (0, 1), "take": ([0, 2], 1), "matmul": (np.ones((4, 2)),), "index_put": (0, 1.0),
        "scatter": (np.zeros((3, 1), int), np.ones((3, 1)), 1), "scatter_add": (np.zeros((3, 1), int), np.ones((3, 1)), 1),
    }  # fmt: skip
    for name, args in calls.items():
        np.testing.assert_array_equal(getattr(x, name)(*args).numpy(), getattr(nn, name)(x, *args).numpy(), err_msg=name)
    several = {"split": (2, 1), "chunk": (2, 1), "unstack": (1,), "sort": (1, True), "topk": (2,), "nonzero": (True,)}
    for name, args in several.items():
        for ours, theirs in zip(getattr(x, name)(*args), getattr(nn, name)(x, *args), strict=True):
            np.testing.assert_array_equal(ours.numpy(), theirs.numpy(), err_msg=name)
    assert x.reshape(2, 6).shape == x.reshape((2, 6)).shape == x.reshape([-1, 6]).shape == (2, 6)
    assert x.permute(1, 0).shape == x.permute((1, 0)).shape == x.T.shape == (4, 3)
    assert x.repeat(2, 1).shape == x.repeat((2, 1)).shape == (6, 4)
    assert x.pow(2).tolist() == (x**2).tolist()
