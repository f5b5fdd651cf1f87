"""Every update rule against torch.optim over 20 steps in float64; those that PyTorch lacks against their paper's algorithm."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import nnatomy as nn
from nnatomy import optim

SHAPES = ((4, 3), (3,), (), (2, 3, 4))


def gradients(steps: int = 20, dtype: Any = np.float64) -> list[list[np.ndarray]]:
    rng = np.random.default_rng(1)
    return [[np.asarray(rng.normal(size=shape), dtype) for shape in SHAPES] for _ in range(steps)]


def start(dtype: Any = np.float64) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [np.asarray(rng.normal(size=shape), dtype) for shape in SHAPES]


def ours(make: Callable[[Any], optim.Optimizer], steps: int = 20, dtype: Any = np.float64) -> list[np.ndarray]:
    """The parameters after updates with prescribed gradients; parameter 1 gets one at every second step only."""
    params = [nn.Parameter(p.copy()) for p in start(dtype)]
    optimizer = make(params)
    for i, gs in enumerate(gradients(steps, dtype)):
        for k, (p, g) in enumerate(zip(params, gs)):
            p.grad = None if k == 1 and i % 2 else nn.Tensor(g)
        optimizer.step()
    return [p.numpy() for p in params]


CASES = [
    ("SGD", {}),
    ("SGD", {"lr": 0.1, "momentum": 0.9}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "dampening": 0.3, "weight_decay": 0.1}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.01}),
    ("SGD", {"lr": 0.1, "momentum": 0.5, "maximize": True}),
    ("Adagrad", {}),
    ("Adagrad", {"lr": 0.1, "lr_decay": 0.05, "weight_decay": 0.1, "initial_accumulator_value": 0.2, "eps": 1e-3}),
    ("Adagrad", {"maximize": True}),
    ("RMSprop", {}),
    ("RMSprop", {"lr": 0.1, "alpha": 0.9, "eps": 1e-3, "weight_decay": 0.1, "momentum": 0.5}),
    ("RMSprop", {"centered": True}),
    ("RMSprop", {"centered": True, "momentum": 0.9, "maximize": True}),
    ("Adadelta", {}),
    ("Adadelta", {"lr": 0.5, "rho": 0.7, "eps": 1e-3, "weight_decay": 0.1, "maximize": True}),
    ("Adam", {}),
    ("Adam", {"lr": 0.1, "betas": (0.8, 0.9), "eps": 1e-3, "weight_decay": 0.1}),
    ("Adam", {"lr": 0.1, "betas": (0.0, 0.9), "amsgrad": True, "maximize": True}),
    ("AdamW", {}),
    ("AdamW", {"lr": 0.1, "weight_decay": 0.5, "amsgrad": True}),
    ("AdamW", {"lr": 0.1, "betas": (0.5, 0.7), "eps": 1e-2, "maximize": True}),
    ("Adafactor", {}),
    ("Adafactor", {"lr": 0.5, "beta2_decay": -0.5, "eps": (1e-3, 1e-2), "d": 1.5, "weight_decay": 0.1}),
    ("Adafactor", {"lr": 0.1, "maximize": True}),
    ("Adamax", {}),
    ("Adamax", {"lr": 0.1, "betas": (0.8, 0.9), "eps": 1e-3, "weight_decay": 0.1, "maximize": True}),
    ("NAdam", {}),
    ("NAdam", {"lr": 0.1, "betas": (0.8, 0.9), "eps": 1e-3, "weight_decay": 0.1, "momentum_decay": 0.1}),
    ("NAdam", {"lr": 0.1, "weight_decay": 0.5, "decoupled_weight_decay": True, "maximize": True}),
    ("RAdam", {}),
    ("RAdam", {"lr": 0.1, "betas": (0.8, 0.9), "eps": 1e-3, "weight_decay": 0.1}),
    ("RAdam", {"lr": 0.1, "weight_decay": 0.5, "decoupled_weight_decay": True, "maximize": True}),
    ("Rprop", {}),
    ("Rprop", {"lr": 0.1, "etas": (0.3, 1.5), "step_sizes": (0.05, 0.2), "maximize": True}),
    ("ASGD", {}),
    ("ASGD", {"lr": 0.1, "lambd": 0.1, "alpha": 0.5, "t0": 5, "weight_decay": 0.1, "maximize": True}),
]


@pytest.mark.parametrize("name, options", CASES, ids=str)
def test_equals_torch(name: str, options: dict[str, Any]) -> None:
    torch = pytest.importorskip("torch")
    theirs = [torch.tensor(p, requires_grad=True) for p in start()]
    reference = getattr(torch.optim, name)(theirs, **options)
    for i, gs in enumerate(gradients()):
        for k, (p, g) in enumerate(zip(theirs, gs)):
            p.grad = None if k == 1 and i % 2 else torch.tensor(g)
        reference.step()
    for got, expected in zip(ours(lambda params: getattr(optim, name)(params, **options)), theirs):
        tolerance = 1e-6 if name in ("NAdam", "ASGD") else 1e-10  # PyTorch keeps their momentums and rates in float32
        np.testing.assert_allclose(got, expected.detach().numpy(), rtol=tolerance, atol=tolerance)


def test_asgd_averages_as_torch_does() -> None:
    torch = pytest.importorskip("torch")
    p, twin = nn.Parameter(start()[0]), torch.tensor(start()[0], requires_grad=True)
    rule, reference = optim.ASGD([p], lr=0.1, t0=3), torch.optim.ASGD([twin], lr=0.1, t0=3)
    for gs in gradients(10):
        p.grad, twin.grad = nn.Tensor(gs[0]), torch.tensor(gs[0])
        rule.step()
        reference.step()
        np.testing.assert_allclose(rule.state["0"]["ax"], reference.state[twin]["ax"].numpy(), rtol=1e-6)


def transcribed(rule: Callable[..., Any], **options: Any) -> list[np.ndarray]:
    """The same course with a rule (p, g, m, v, t) -> (p, m, v) written out in NumPy."""
    params = start()
    m, v, t = [np.zeros_like(p) for p in params], [np.zeros_like(p) for p in params], [0] * len(params)
    for i, gs in enumerate(gradients()):
        for k, g in enumerate(gs):
            if not (k == 1 and i % 2):
                t[k] += 1
                params[k], m[k], v[k] = rule(params[k], g, m[k], v[k], t[k], **options)
    return params


def lion(theta: Any, g: Any, m: Any, v: Any, t: int, lr: float, b1: float, b2: float, wd: float) -> Any:
    """Chen et al. 2023, algorithm 2: c = interp(m, g); theta -= lr (sign(c) + wd theta); m = interp(m, g)."""
    c = np.sign(b1 * m + (1 - b1) * g)
    return theta - lr * (c + wd * theta), b2 * m + (1 - b2) * g, v


def lamb(x: Any, g: Any, m: Any, v: Any, t: int, lr: float, b1: float, b2: float, eps: float, wd: float) -> Any:
    """You et al. 2020, algorithm 2, layer by layer, with phi the identity."""
    m = b1 * m + (1 - b1) * g
    v = b2 * v + (1 - b2) * g * g
    r = (m / (1 - b1**t)) / (np.sqrt(v / (1 - b2**t)) + eps)
    update = r + wd * x
    return x - lr * np.linalg.norm(x) / np.linalg.norm(update) * update, m, v


@pytest.mark.parametrize("lr, b1, b2, wd", [(1e-4, 0.9, 0.99, 0.0), (0.1, 0.8, 0.95, 0.3)])
def test_lion_is_its_papers_algorithm(lr: float, b1: float, b2: float, wd: float) -> None:
    for got, expected in zip(
        ours(lambda params: optim.Lion(params, lr, (b1, b2), weight_decay=wd)), transcribed(lion, lr=lr, b1=b1, b2=b2, wd=wd)
    ):
        np.testing.assert_allclose(got, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("lr, b1, b2, eps, wd", [(1e-3, 0.9, 0.999, 1e-6, 0.01), (0.1, 0.8, 0.95, 1e-3, 0.0)])
def test_lamb_is_its_papers_algorithm(lr: float, b1: float, b2: float, eps: float, wd: float) -> None:
    for got, expected in zip(
        ours(lambda params: optim.LAMB(params, lr, (b1, b2), eps, weight_decay=wd)),
        transcribed(lamb, lr=lr, b1=b1, b2=b2, eps=eps, wd=wd),
    ):
        np.testing.assert_allclose(got, expected, rtol=1e-10, atol=1e-10)


def test_lamb_takes_a_plain_step_from_zero() -> None:
    p = nn.Parameter(np.zeros(3))
    p.grad = nn.Tensor(np.array([1.0, -2.0, 0.0]))
    optim.LAMB([p], lr=0.1, weight_decay=0.0).step()
    np.testing.assert_allclose(p.numpy(), [-0.1, 0.1, 0.0], rtol=1e-5)


PURE = [case for case in CASES if case[1]] + [("Lion", {"weight_decay": 0.1}), ("LAMB", {})]


@pytest.mark.parametrize("name, options", PURE, ids=str)
def test_float32_stays_float32(name: str, options: dict[str, Any]) -> None:
    made: list[optim.Optimizer] = []

    def make(params: Any) -> optim.Optimizer:
        made.append(getattr(optim, name)(params, **options))
        made[0].lr = np.float64(0.1)
        made[0].factor = np.float64(0.5)
        return made[0]

    single = ours(make, steps=5, dtype=np.float32)
    assert {p.dtype for p in single} == {np.dtype("float32")}
    assert {a.dtype for s in made[0].state.values() for a in s.values()} <= {np.dtype("float32")}
    lr = 0.1 if name == "Rprop" else 0.05  # whose rate is only where its own steps start
    for got, exact in zip(single, ours(lambda params: getattr(optim, name)(params, **{**options, "lr": lr}), steps=5)):
        np.testing.assert_allclose(got, exact, rtol=2e-4, atol=2e-5)


@pytest.mark.parametrize("name, options", PURE, ids=str)
def test_an_update_changes_none_of_its_inputs(name: str, options: dict[str, Any]) -> None:
    rule = getattr(optim, name)([nn.Parameter(np.zeros(1))], **options)
    group = rule.param_groups[0]
    for p, g in zip(start(), gradients(1)[0]):
        s = rule.initial(p, group)
        for array in (p, g, *s.values()):
            array.flags.writeable = False
        before = dict(group), {k: v.copy() for k, v in s.items()}
        first, _ = rule.update(p, g, s, group, 1)
        again, after = rule.update(p, g, s, group, 1)
        np.testing.assert_array_equal(first, again)
        assert group == before[0]
        assert all((s[k] == v).all() for k, v in before[1].items())
        assert list(after) == list(s)
        assert all(np.shape(after[k]) == s[k].shape for k in s)


@pytest.mark.any_kernels
@pytest.mark.parametrize("name, options", PURE, ids=str)
def test_a_step_compiled_for_jax_equals_numpys(name: str, options: dict[str, Any]) -> None:
    """XLA compiles step() with lr, factor and step counts as inputs; the numbers are those of the eager float64 course."""
    pytest.importorskip("jax")
    expected = ours(lambda params: getattr(optim, name)(params, **options), steps=4)
    with nn.backend("jax"):
        params = [nn.Parameter(p) for p in start()]
        optimizer = getattr(optim, name)(params, **options)

        def step(state: Any, gs: Any) -> Any:
            optimizer.bind(state["optimizer"])
            for p, value, g in zip(params, state["values"], gs):
                p.data, p.grad = value, None if g is None else nn.Tensor(g)
            optimizer.step()
            return {"values": [p.data for p in params], "optimizer": optimizer.state_tree()}, len(gs)

        compiled = nn.compile(step)
        state: Any = {"values": [p.data for p in params], "optimizer": optimizer.state_tree()}
        for i, gs in enumerate(gradients(4)):
            state, _ = compiled(state, [None if k == 1 and i % 2 else g for k, g in enumerate(gs)])
        optimizer.bind(state["optimizer"])
        assert compiled.reason is None
        assert len(compiled.parts()) == 2  # with and without a gradient for parameter 1
        assert optimizer.steps == {"0": 4, "1": 2, "2": 4, "3": 4}
        assert all(type(t) is int for t in optimizer.steps.values())
        for got, want in zip(state["values"], expected):
            np.testing.assert_allclose(np.asarray(got), want, rtol=1e-10, atol=1e-10)
