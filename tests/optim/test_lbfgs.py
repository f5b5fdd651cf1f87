"""L-BFGS against torch.optim.LBFGS, and on problems with a known minimum."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

import nnatomy as nn
from nnatomy import optim
from nnatomy.errors import UserError

A = np.random.default_rng(0).normal(size=(8, 5))
Y = np.random.default_rng(1).normal(size=8)


def logistic(w: Any, b: Any, A: Any, Y: Any, log1p_exp: Any) -> Any:
    """A smooth convex loss that is not a quadratic."""
    z = A @ w + b
    return (log1p_exp(z) - Y * z).sum() + 0.1 * (w * w).sum()


def rosenbrock(x: Any) -> Any:
    return ((1 - x[:-1]) ** 2).sum() + 100 * ((x[1:] - x[:-1] ** 2) ** 2).sum()


def ours(options: dict[str, Any], problem: str, steps: int) -> list[Any]:
    if problem == "logistic":
        params = [nn.Parameter(np.ones(5)), nn.Parameter(np.zeros(()))]
        a, y = nn.Tensor(A), nn.Tensor(Y)
    else:
        params = [nn.Parameter(np.array([-1.2, 1.0, 0.5]))]
    optimizer = optim.LBFGS(params, **options)
    losses = []

    def closure() -> Any:
        optimizer.zero_grad()
        loss = logistic(*params, a, y, nn.functional.softplus) if problem == "logistic" else rosenbrock(params[0])
        loss.backward()
        return loss

    for _ in range(steps):
        losses.append(float(optimizer.step(closure)))
    return [losses, *[p.numpy() for p in params]]


def theirs(options: dict[str, Any], problem: str, steps: int) -> list[Any]:
    torch = pytest.importorskip("torch")
    if problem == "logistic":
        params = [torch.ones(5).double().requires_grad_(), torch.zeros(()).double().requires_grad_()]
        a, y = torch.tensor(A), torch.tensor(Y)
    else:
        params = [torch.tensor([-1.2, 1.0, 0.5], dtype=torch.float64, requires_grad=True)]
    optimizer = torch.optim.LBFGS(params, **options)
    losses = []

    def closure() -> Any:
        optimizer.zero_grad()
        loss = logistic(*params, a, y, torch.nn.functional.softplus) if problem == "logistic" else rosenbrock(params[0])
        loss.backward()
        return loss

    for _ in range(steps):
        losses.append(optimizer.step(closure).item())
    return [losses, *[p.detach().numpy() for p in params]]


CASES: list[tuple[str, int, dict[str, Any]]] = [
    ("logistic", 20, {"lr": 0.1, "max_iter": 1}),
    ("logistic", 5, {"lr": 0.2, "max_iter": 4, "history_size": 2}),
    ("logistic", 2, {"max_iter": 4, "line_search_fn": "strong_wolfe"}),
    ("logistic", 20, {"max_iter": 20, "line_search_fn": "strong_wolfe"}),
    ("rosenbrock", 20, {"max_iter": 1, "line_search_fn": "strong_wolfe"}),
    ("rosenbrock", 5, {"max_iter": 4, "history_size": 3, "line_search_fn": "strong_wolfe"}),
    ("rosenbrock", 4, {"lr": 30.0, "max_iter": 5, "max_eval": 7, "line_search_fn": "strong_wolfe"}),
]


@pytest.mark.parametrize("problem, steps, options", CASES, ids=str)
def test_equals_torch(problem: str, steps: int, options: dict[str, Any]) -> None:
    for got, expected in zip(ours(options, problem, steps), theirs(options, problem, steps)):
        np.testing.assert_allclose(got, expected, rtol=1e-8, atol=1e-10)


def test_finds_the_minimum_of_rosenbrocks_valley() -> None:
    for x in ours({"max_iter": 100, "tolerance_change": 1e-14, "line_search_fn": "strong_wolfe"}, "rosenbrock", 2)[1:]:
        np.testing.assert_allclose(x, 1.0, atol=1e-7)


def test_resumes_bit_exactly() -> None:
    def run(stop: int | None) -> np.ndarray:
        p = nn.Parameter(np.array([-1.2, 1.0, 0.5], np.float32))
        optimizer = optim.LBFGS([p], max_iter=2, line_search_fn="strong_wolfe")

        def closure() -> Any:
            optimizer.zero_grad()
            loss = rosenbrock(p)
            loss.backward()
            return loss

        for i in range(8):
            if i == stop:
                saved = optimizer.state_dict()
                arrays = {k: v for k, v in saved.items() if isinstance(v, np.ndarray)}
                plain = json.loads(json.dumps({k: v for k, v in saved.items() if k not in arrays}))
                optimizer = optim.LBFGS([p], lr=0.5)
                optimizer.load_state_dict(arrays | plain)
            optimizer.step(closure)
        assert p.dtype == np.dtype("float32")
        return p.numpy()

    for stop in (0, 1, 5):
        np.testing.assert_array_equal(run(None), run(stop))


def test_wrong_use_is_told() -> None:
    p, q = nn.Parameter(np.zeros(2)), nn.Parameter(np.zeros(3, np.float32))
    optimizer = optim.LBFGS([p])
    for wrong, message in (
        (lambda: optimizer.step(), "needs a closure"),
        (lambda: optimizer.state_tree(), "Received a step that is compiled whole"),
        (lambda: optim.LBFGS([{"params": [p]}, {"params": [q]}]), "one group"),
        (lambda: optim.LBFGS([p, q]), "one dtype"),
        (lambda: optim.LBFGS([p], line_search_fn="armijo"), "line_search_fn must be"),  # type: ignore[arg-type]
        (lambda: optim.LBFGS([p], max_iter=0), "max_iter must be a whole number >= 1. Received 0"),
        (lambda: optimizer.load_state_dict({}), "without iterations"),
        (lambda: optimizer.load_state_dict({**optimizer.state_dict(), "state.gradient": np.zeros(3)}), "each of the 2 numbers"),
    ):
        with pytest.raises(UserError, match=message):
            wrong()
