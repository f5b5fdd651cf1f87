"""Solvers of differential equations: orders of convergence, SciPy, torchdiffeq, and gradients both ways."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
import torchdiffeq
from scipy.integrate import solve_ivp

import nnatomy as nn
from nnatomy import UserError
from nnatomy import functional as F
from nnatomy.functional.odes import DORMAND_PRINCE, ODE_METHODS, _moved, _slope, _step
from nnatomy.tensor import Tensor

Array = np.ndarray[Any, Any]
FIXED = ("euler", "midpoint", "rk4", "rk4_38")
THEIRS = {"euler": "euler", "midpoint": "midpoint", "rk4_38": "rk4"}
"""torchdiffeq's "rk4" is the 3/8 rule."""


def pendulum(t: Any, y: Any) -> Any:
    """Swinging with friction and a push that depends on time; y (..., 2) as an array or a Tensor."""
    push = 0.3 * (t * t if isinstance(t, Tensor) else t**2)
    angle, speed = y[..., 0], y[..., 1]
    return nn.stack([speed, push - 0.2 * speed - nn.sin(angle)], axis=-1)


START = np.array([[1.0, 0.5], [-0.4, 2.0], [2.5, 0.0]])


def exact(t: float) -> Array:
    return np.stack([
        solve_ivp(lambda s, y: [y[1], 0.3 * s**2 - 0.2 * y[1] - np.sin(y[0])], (0, t), row, rtol=1e-12, atol=1e-13).y[:, -1]
        for row in START
    ])  # fmt: skip


# The methods


@pytest.mark.parametrize(("method", "order"), [("euler", 1), ("midpoint", 2), ("rk4", 4), ("rk4_38", 4)])
def test_order_of_convergence_of_fixed_steps(method: str, order: int) -> None:
    """Half the step: the error falls by 2^order."""
    true = exact(2.0)
    errors = [np.abs(F.odeint(pendulum, START, [0.0, 2.0], method, n)[-1] - true).max() for n in (20, 40, 80)]
    for coarse, fine in pairwise(errors):
        assert np.log2(coarse / fine) == pytest.approx(order, abs=0.25)


def test_dormand_and_prince_have_order_five_and_their_estimate_order_four() -> None:
    """Of a rotation: after a whole turn the error falls as h^5, the estimate of one step of order 4 as h^5 too."""
    turn = np.array([[0.0, -1.0], [1.0, 0.0]])
    f, errors, estimates = _slope(lambda t, y: y @ turn.T, True), [], []
    for n in (32, 64):
        h, y = 2 * np.pi / n, (START,)
        estimates.append(np.abs(_moved((0 * START,), h, DORMAND_PRINCE.error, _step(f, DORMAND_PRINCE, 0.0, h, y)[1])[0]).max())
        for i in range(n):
            y, _ = _step(f, DORMAND_PRINCE, i * h, h, y)
        errors.append(np.abs(y[0] - START).max())
    assert np.log2(errors[0] / errors[1]) == pytest.approx(5, abs=0.2)
    assert np.log2(estimates[0] / estimates[1]) == pytest.approx(5, abs=0.2)


def test_tableaus_are_consistent() -> None:
    for name, rule in ODE_METHODS.items():
        assert sum(rule.b) == pytest.approx(1), name
        for c, a in zip(rule.c, rule.a, strict=True):
            assert sum(a) == pytest.approx(c), name
    assert sum(DORMAND_PRINCE.error) == pytest.approx(0, abs=1e-15)


def test_adaptive_solutions_are_those_of_scipy() -> None:
    """At uneven times, forwards and backwards."""
    times = [0.0, 0.1, 1.7, 2.0]
    path = F.odeint(pendulum, START, times, rtol=1e-9, atol=1e-10)
    assert path.shape == (4, 3, 2)
    for t, found in zip(times[1:], path[1:]):
        np.testing.assert_allclose(found, exact(t), atol=1e-8)
    back = F.odeint(pendulum, path[-1], times[::-1], rtol=1e-9, atol=1e-10)
    np.testing.assert_allclose(back[-1], START, atol=1e-7)


def test_the_last_slope_of_a_step_is_the_first_of_the_next_one() -> None:
    """Six new slopes a step, two more for the first step's length: the seventh stage is computed once (FSAL)."""
    calls = []

    def f(t: Any, y: Any) -> Any:
        calls.append(t)
        return -y

    F.odeint(f, np.array([1.0]), [0.0, 1.0, 2.0], rtol=1e-3, atol=1e-3)
    assert (len(calls) - 2) % 6 == 0
    assert len(set(calls)) > len(calls) / 2


@pytest.mark.parametrize("tolerance", [1e-4, 1e-6, 1e-8])
def test_smaller_tolerances_give_smaller_errors(tolerance: float) -> None:
    found = F.odeint(pendulum, START, [0.0, 2.0], rtol=tolerance, atol=tolerance)[-1]
    error = np.abs(found - exact(2.0)).max()
    assert tolerance / 100 < error < 10 * tolerance


def test_error_is_a_root_mean_square() -> None:
    """Copies of the same equation take the same steps as one of it: a sum of squares would take smaller ones."""
    one = F.odeint(pendulum, START[:1], [0.0, 2.0], rtol=1e-4, atol=1e-4)[-1]
    many = F.odeint(pendulum, np.repeat(START[:1], 50, axis=0), [0.0, 2.0], rtol=1e-4, atol=1e-4)[-1]
    np.testing.assert_allclose(many, np.repeat(one, 50, axis=0), rtol=1e-12)


@pytest.mark.parametrize("method", THEIRS)
def test_fixed_steps_are_those_of_torchdiffeq(method: str) -> None:
    times = np.array([0.0, 0.3, 0.5, 1.1])
    ours = F.odeint(pendulum, START, times, method)
    y = torch.tensor(START)
    theirs = torchdiffeq.odeint(
        lambda t, y: torch.stack([y[..., 1], 0.3 * t**2 - 0.2 * y[..., 1] - torch.sin(y[..., 0])], -1), y,
        torch.tensor(times), method=THEIRS[method],
    )  # fmt: skip
    np.testing.assert_allclose(ours, theirs.numpy(), rtol=1e-13)


def test_the_classical_rule_is_not_torchdiffeqs_rk4() -> None:
    classical, other = (F.odeint(pendulum, START, [0.0, 1.0], method)[-1] for method in ("rk4", "rk4_38"))
    assert np.abs(classical - other).max() > 1e-4


def test_several_parts_of_a_state() -> None:
    def f(t: Any, state: Any) -> Any:
        return pendulum(t, state[0]), state[0][:, 0]

    y, area = F.odeint(f, (START, np.zeros(3)), [0.0, 0.5, 1.0], "rk4", 20)
    np.testing.assert_allclose(y[-1], exact(1.0), atol=1e-7)
    fine = F.odeint(pendulum, START, np.linspace(0, 1, 201), "rk4")[..., 0]
    np.testing.assert_allclose(area[-1], np.trapezoid(fine, dx=1 / 200, axis=0), atol=1e-4)


# Gradients

WEIGHT = np.array([[0.6, -1.1], [0.9, 0.3]])
TIMES = np.array([0.0, 0.3, 0.5, 1.1])
SEED = np.random.default_rng(0).normal(size=(4, 3, 2))


def gradients(solve: Callable[..., Any], **settings: Any) -> list[Array]:
    """The gradients of the start, of a weight and of the times."""
    y, w, t = (Tensor(a).requires_grad_() for a in (START, WEIGHT, TIMES))

    def f(t: Any, y: Any) -> Any:
        return nn.tanh(y @ w.T) * (1 + t * t)

    more = {"parameters": [w]} if solve is F.odeint_adjoint else {}
    (solve(f, y, t, **more, **settings) * SEED).sum().backward()
    return [p.grad.numpy() for p in (y, w, t)]


def distance(a: list[Array], b: list[Array]) -> float:
    return max(float(np.abs(x - y).max()) for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize("method", FIXED)
def test_direct_gradients_are_those_of_central_differences(method: str) -> None:
    """Of the solver's own result, however coarse its steps are."""
    found, eps = gradients(F.odeint, method=method, steps=2), 1e-6

    def value(y: Array, w: Array, t: Array) -> float:
        path = F.odeint(lambda s, z: np.tanh(z @ w.T) * (1 + s * s), y, t, method, 2)
        return float((path * SEED).sum())

    arrays = [START, WEIGHT, TIMES]
    for place, (array, gradient) in enumerate(zip(arrays, found, strict=True)):
        for index in np.ndindex(array.shape):
            move = np.zeros_like(array)
            move[index] = eps
            up, down = ([a + s * move if n == place else a for n, a in enumerate(arrays)] for s in (1, -1))
            assert gradient[index] == pytest.approx((value(*up) - value(*down)) / (2 * eps), abs=1e-7)


def test_the_adjoint_gradient_is_the_direct_one_to_the_solvers_tolerance() -> None:
    """Of the start, the weights and the times, signs included: a later start takes away, a later end adds."""
    best = gradients(F.odeint, rtol=1e-11, atol=1e-11)
    loose, tight = (distance(gradients(F.odeint_adjoint, rtol=e, atol=e), best) for e in (1e-4, 1e-9))
    assert tight < 1e-7
    assert 1e-7 < loose < 1e-2
    coarse, fine = (distance(gradients(F.odeint_adjoint, method="rk4", steps=n), best) for n in (2, 4))
    assert np.log2(coarse / fine) > 3


@pytest.mark.parametrize("method", ["midpoint", "rk4_38"])
def test_adjoint_gradients_are_those_of_torchdiffeq(method: str) -> None:
    class Field(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w = torch.nn.Parameter(torch.tensor(WEIGHT))

        def forward(self, t: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            return torch.tanh(y @ self.w.T) * (1 + t * t)

    field, y = Field(), torch.tensor(START, requires_grad=True)
    path = torchdiffeq.odeint_adjoint(field, y, torch.tensor(TIMES), method=THEIRS[method])
    (path * torch.tensor(SEED)).sum().backward()
    assert y.grad is not None
    assert field.w.grad is not None
    theirs = [y.grad.numpy(), field.w.grad.numpy()]
    assert distance(gradients(F.odeint_adjoint, method=method)[:2], theirs) < 1e-13


def test_the_adjoint_method_stores_no_steps() -> None:
    """Its record is one operation, however many steps there are."""
    w = Tensor(WEIGHT).requires_grad_()
    for steps in (1, 50):
        path = F.odeint_adjoint(lambda t, y: y @ w.T, Tensor(START), [0.0, 1.0], [w], "rk4", steps)
        assert path.node is not None
        assert [p is w for p in path.node.parents()] == [True]


def test_the_adjoint_method_inside_a_compiled_step() -> None:
    start = Tensor(START.astype("float32"))

    def step(weight: Tensor) -> Any:
        path = F.odeint_adjoint(lambda t, y: nn.tanh(y @ weight.T), start, [0.0, 0.5, 1.0], [weight], "rk4")
        return nn.grad(path.square().sum(), weight)

    planned, weight = nn.compile(step), Tensor(WEIGHT.astype("float32")).requires_grad_()
    np.testing.assert_allclose(planned(weight).numpy(), step(weight).numpy(), rtol=1e-5)
    assert planned.reason is None


def test_adaptive_steps_inside_a_compiled_step_say_why_there_is_no_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NNATOMY_KERNELS", "auto")  # without kernels there is no plan to refuse
    planned = nn.compile(lambda y: F.odeint(pendulum, y, [0.0, 1.0]))
    with pytest.warns(RuntimeWarning, match="dopri5 chooses its steps from values; rk4, midpoint and euler do not"):
        found = planned(Tensor(START))
    np.testing.assert_allclose(found.numpy()[-1], exact(1.0), atol=1e-4)


# Refusals


def test_refusals() -> None:
    y = np.ones(2)
    for times in ([0.0], [0.0, 0.0], [0.0, 1.0, 0.5]):
        with pytest.raises(UserError, match="all rise or all fall"):
            F.odeint(lambda t, y: y, y, times)
    with pytest.raises(UserError, match="rk45"):
        F.odeint(lambda t, y: y, y, [0.0, 1.0], "rk45")
    with pytest.raises(UserError, match="at least 1 step"):
        F.odeint(lambda t, y: y, y, [0.0, 1.0], "rk4", 0)
    with pytest.raises(UserError, match="has the shape of y"):
        F.odeint(lambda t, y: y[:1], y, [0.0, 1.0], "rk4")
    with pytest.raises(UserError, match="at most 20 steps"):
        F.odeint(lambda t, y: -1e6 * y, y, [0.0, 1.0], max_steps=20)
    with pytest.raises(UserError, match="finite slopes"):
        F.odeint(lambda t, y: y**2, 5 * y, [0.0, 1.0])
    with pytest.raises(UserError, match="create_graph"):
        nn.grad(F.odeint_adjoint(lambda t, y: -y, w := Tensor(y).requires_grad_(), [0.0, 1.0], []).sum(), w, create_graph=True)
