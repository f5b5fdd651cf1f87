"""Weight averages against torch.optim.swa_utils.AveragedModel, and the options that PyTorch lacks against their formulas."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import nnatomy as nn
from nnatomy import optim
from nnatomy.errors import UserError
from nnatomy.layers.module import Module


class Model(Module):
    """Two parameters, a floating-point buffer and a counter."""

    def __init__(self) -> None:
        self.weight = nn.Parameter(np.zeros((2, 3)))
        self.bias = nn.Parameter(np.zeros(3))
        self.running_mean = nn.Tensor(np.zeros(3))
        self.count = nn.Tensor(np.zeros((), np.int64))


SHAPES = {"weight": (2, 3), "bias": (3,), "running_mean": (3,)}


def course(steps: int = 20) -> list[dict[str, np.ndarray]]:
    rng = np.random.default_rng(0)
    return [
        {**{name: rng.normal(size=shape) for name, shape in SHAPES.items()}, "count": np.array(i)}
        for i in range(steps)
    ]


@pytest.mark.parametrize("buffers", [False, True])
@pytest.mark.parametrize("kind", ["ema", "swa"])
def test_equals_torch(kind: str, buffers: bool) -> None:
    torch = pytest.importorskip("torch")
    from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

    theirs = torch.nn.Module()
    theirs.weight, theirs.bias = torch.nn.Parameter(torch.zeros(2, 3).double()), torch.nn.Parameter(torch.zeros(3).double())
    theirs.register_buffer("running_mean", torch.zeros(3).double())
    reference = AveragedModel(theirs, multi_avg_fn=get_ema_multi_avg_fn(0.8) if kind == "ema" else None, use_buffers=buffers)
    model = Model()
    average = optim.EMA(model, 0.8, buffers=buffers) if kind == "ema" else optim.SWA(model, buffers=buffers)
    for weights in course():
        model.load_state_dict(weights)
        theirs.load_state_dict({k: torch.tensor(v) for k, v in weights.items() if k != "count"})
        average.update()
        reference.update_parameters(theirs)
    for path, value in reference.module.state_dict().items():
        if path in average.average:
            np.testing.assert_allclose(average.average[path], value.numpy(), rtol=1e-10, atol=1e-12)
    assert set(average.average) == ({"weight", "bias", "running_mean", "count"} if buffers else {"weight", "bias"})
    if buffers:
        assert average.average["count"] == 19


def test_debias_and_warmup_are_their_formulas() -> None:
    model = Model()
    debiased, warm = optim.EMA(model, 0.9, debias=True), optim.EMA(model, 0.9, warmup=True)
    a: Any = np.zeros((2, 3))
    b: Any = None
    for n, weights in enumerate(course()):
        model.load_state_dict(weights)
        debiased.update()
        warm.update()
        a = 0.9 * a + 0.1 * weights["weight"]
        d = min(0.9, (1 + n) / (10 + n))
        b = weights["weight"] if b is None else d * b + (1 - d) * weights["weight"]
        np.testing.assert_allclose(debiased.average["weight"], a / (1 - 0.9 ** (n + 1)), rtol=1e-10)
        np.testing.assert_allclose(warm.average["weight"], b, rtol=1e-10)


def test_applied_lends_the_average_and_gives_back_everything() -> None:
    model = Model()
    average = optim.SWA(model)
    for weights in course(3):
        model.load_state_dict(weights)
        average.update()
    before = model.state_dict()

    def use() -> None:
        with average.applied() as lent:
            assert lent is model
            np.testing.assert_array_equal(model.weight.numpy(), average.average["weight"])
            model.running_mean.copy_(np.full(3, 7.0))  # as a training-mode forward pass would
            raise KeyError("an evaluation that fails")

    with pytest.raises(KeyError):
        use()
    for path, value in model.state_dict().items():
        np.testing.assert_array_equal(value, before[path])


def test_resumes_bit_exactly_and_keeps_float32() -> None:
    model = Model().astype("float32")
    weights = [{k: v.astype("float32") if v.dtype.kind == "f" else v for k, v in w.items()} for w in course()]
    whole, first = optim.EMA(model, 0.9, debias=True, buffers=True), optim.EMA(model, 0.9, debias=True, buffers=True)
    for i, w in enumerate(weights):
        model.load_state_dict(w)
        whole.update()
        if i == 10:
            saved = first.state_dict()
            first = optim.EMA(model, 0.9, debias=True, buffers=True)
            first.load_state_dict(saved)
        first.update()
    for path, value in whole.average.items():
        np.testing.assert_array_equal(value, first.average[path])
        assert value.dtype == weights[0][path].dtype


def test_wrong_use_is_told() -> None:
    model = Model()
    with pytest.raises(UserError, match="decay must be"):
        optim.EMA(model, 1.0)
    with pytest.raises(UserError, match="Leave warmup out"):
        optim.EMA(model, 0.9, warmup=True, debias=True)
    with pytest.raises(UserError, match="needs a first update"), optim.SWA(model).applied():
        pass
    with pytest.raises(UserError, match="names and shapes of Model"):
        optim.SWA(model).load_state_dict({"count": 2, "average.weight": np.zeros((2, 3))})
