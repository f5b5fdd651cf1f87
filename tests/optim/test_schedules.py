"""Every schedule against torch.optim.lr_scheduler over 50 steps, base rate 1; the Transformer's against its formula."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from nnatomy import optim
from nnatomy.errors import UserError


def torchs(make: Callable[[Any, Any], Any], steps: int = 50) -> list[float]:
    torch = pytest.importorskip("torch")
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    scheduler = make(torch.optim.lr_scheduler, optimizer)
    rates = []
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates


def warmed(S: Any, o: Any, steps: int, then: Callable[[Any, Any], Any]) -> Any:
    """PyTorch's way to spell (step + 1) / steps and then another schedule."""
    return S.SequentialLR(o, [S.LinearLR(o, 1 / steps, total_iters=steps - 1), then(S, o)], [steps])


CASES: list[tuple[Any, Callable[[Any, Any], Any]]] = [
    (optim.Constant(50, 0.3), lambda S, o: S.ConstantLR(o, 0.3, 1000)),
    (optim.StepDecay(50, 7, 0.5), lambda S, o: S.StepLR(o, 7, 0.5)),
    (optim.StepDecay(50, 0.2), lambda S, o: S.StepLR(o, 10)),
    (optim.MultiStep(50, (5, 12, 40), 0.3), lambda S, o: S.MultiStepLR(o, [5, 12, 40], 0.3)),
    (optim.MultiStep(40), lambda S, o: S.MultiStepLR(o, [20, 30])),
    (optim.Exponential(60, 0.01), lambda S, o: S.ExponentialLR(o, 0.01 ** (1 / 60))),
    (optim.Polynomial(30), lambda S, o: S.PolynomialLR(o, 30)),
    (optim.Polynomial(40, power=2.5), lambda S, o: S.PolynomialLR(o, 40, 2.5)),
    (optim.Polynomial(40, power=2, warmup=10), lambda S, o: warmed(S, o, 10, lambda S, o: S.PolynomialLR(o, 30, 2))),
    (optim.Linear(40), lambda S, o: S.LinearLR(o, 1.0, 0.0, 40)),
    (optim.Linear(30, 0.2, 0.9), lambda S, o: S.LinearLR(o, 0.2, 0.9, 30)),
    (optim.Linear(50, warmup=0.1), lambda S, o: warmed(S, o, 5, lambda S, o: S.LinearLR(o, 1.0, 0.0, 45))),
    (optim.Cosine(50), lambda S, o: S.CosineAnnealingLR(o, 50)),
    (optim.Cosine(60, end=0.1), lambda S, o: S.CosineAnnealingLR(o, 60, 0.1)),
    (optim.Cosine(50, warmup=8), lambda S, o: warmed(S, o, 8, lambda S, o: S.CosineAnnealingLR(o, 42))),
    (optim.CosineRestarts(70), lambda S, o: S.CosineAnnealingWarmRestarts(o, 10, 2)),
    (optim.CosineRestarts(56, cycles=8, growth=1, end=0.2), lambda S, o: S.CosineAnnealingWarmRestarts(o, 7, 1, 0.2)),
    (optim.OneCycle(50), lambda S, o: S.OneCycleLR(o, 1.0, 50, cycle_momentum=False)),
    (
        optim.OneCycle(55, 0.4, "linear", 10.0, 100.0, three_phase=True),
        lambda S, o: S.OneCycleLR(
            o, 1.0, 55, pct_start=0.4, anneal_strategy="linear", div_factor=10.0, final_div_factor=100.0, three_phase=True,
            cycle_momentum=False,
        ),
    ),
    (optim.Warmup(optim.StepDecay(50, 7, 0.5), 6), lambda S, o: warmed(S, o, 6, lambda S, o: S.StepLR(o, 7, 0.5))),
    (
        optim.Piecewise([optim.Linear(10, 0.5, 1.0), optim.Cosine(20), optim.Constant(1, 0.3)], [10, 25]),
        lambda S, o: S.SequentialLR(
            o, [S.LinearLR(o, 0.5, 1.0, 10), S.CosineAnnealingLR(o, 20), S.ConstantLR(o, 0.3, 1000)], [10, 25]
        ),
    ),
]  # fmt: skip


@pytest.mark.parametrize("schedule, make", CASES, ids=lambda value: repr(value) if isinstance(value, optim.Schedule) else "")
@pytest.mark.filterwarnings("ignore:The epoch parameter")
def test_equals_torch(schedule: optim.Schedule, make: Callable[[Any, Any], Any]) -> None:
    factors = [schedule(step) for step in range(50)]
    assert all(type(f) is float for f in factors)
    np.testing.assert_allclose(factors, torchs(make), rtol=1e-10, atol=1e-12)


def test_inverse_square_root_is_the_transformers() -> None:
    d_model, warmup = 64, 10
    schedule, base = optim.InverseSquareRoot(50, warmup), (d_model * warmup) ** -0.5
    for step in range(50):
        s = step + 1
        assert math.isclose(base * schedule(step), d_model**-0.5 * min(s**-0.5, s * warmup**-1.5))
    assert max(schedule(step) for step in range(50)) == schedule(warmup - 1) == 1.0


ENDS = [optim.Cosine(20, end=0.1), optim.Linear(20, end=0.1), optim.Polynomial(20, end=0.1), optim.CosineRestarts(20, end=0.1),
        optim.Exponential(20, end=0.1)]  # fmt: skip


@pytest.mark.parametrize("schedule", ENDS, ids=repr)
def test_keeps_its_last_value(schedule: optim.Schedule) -> None:
    for step in (20, 21, 1000):
        assert math.isclose(schedule(step), 0.1, rel_tol=1e-12)


KINDS = [optim.Constant, optim.StepDecay, optim.MultiStep, optim.Exponential, optim.Polynomial, optim.Linear, optim.Cosine,
         optim.CosineRestarts, optim.InverseSquareRoot, optim.OneCycle]  # fmt: skip


@pytest.mark.parametrize("total", [1, 2, 3, 7, 10])
@pytest.mark.parametrize("kind", KINDS)
def test_short_runs_have_a_factor_at_each_step(kind: Any, total: int) -> None:
    assert all(0 <= kind(total)(step) <= 1 for step in range(total + 3))
    assert all(0 <= optim.OneCycle(total, pct_start=0.1)(step) <= 1 for step in range(total + 3))
    assert all(0 < optim.Cosine(total, warmup=100)(step) <= 1 for step in range(total))


PLATEAUS: list[dict[str, Any]] = [
    {"patience": 2},
    {"patience": 1, "factor": 0.5, "threshold": 0.05, "cooldown": 3},
    {"mode": "max", "patience": 0, "factor": 0.7, "threshold": 0.1, "threshold_mode": "abs"},
]


@pytest.mark.parametrize("options", PLATEAUS, ids=str)
def test_reduce_on_plateau_equals_torch_and_resumes(options: dict[str, Any]) -> None:
    torch = pytest.importorskip("torch")
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    reference = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, eps=0, min_lr=1e-3, **options)
    schedule = optim.ReduceOnPlateau(min_factor=1e-3, **options)
    rng = np.random.default_rng(0)
    for step in range(50):
        metric = 1 / (1 + step) + 0.3 * rng.random() if step != 7 else math.nan
        reference.step(metric)
        got = schedule.observe(metric)
        assert math.isclose(got, optimizer.param_groups[0]["lr"], rel_tol=1e-12)
        assert schedule(step) == got
        saved, schedule = schedule.state_dict(), optim.ReduceOnPlateau(min_factor=1e-3, **options)
        schedule.load_state_dict(json.loads(json.dumps(saved)))
    assert schedule(0) < 1


WRONG: list[tuple[Callable[[], Any], str]] = [
    (lambda: optim.Cosine(0), "total of Cosine must be a positive number. Received 0"),
    (lambda: optim.Cosine(10, warmup=-1), "warmup of Cosine must be a number >= 0. Received -1"),
    (lambda: optim.StepDecay(10, 0), "step_size of StepDecay"),
    (lambda: optim.Exponential(10, math.nan), "end of Exponential"),
    (lambda: optim.OneCycle(10, pct_start=1.5), "pct_start"),
    (lambda: optim.OneCycle(10, anneal_strategy="wave"), "anneal_strategy"),  # type: ignore[arg-type]
    (lambda: optim.Piecewise([optim.Constant()], [3]), "milestone"),
    (lambda: optim.Warmup(optim.Constant(), -2), "steps of Warmup"),
    (lambda: optim.ReduceOnPlateau(factor=1.0), "factor of ReduceOnPlateau"),
    (lambda: optim.ReduceOnPlateau(mode="up"), "'min' and 'max'"),  # type: ignore[arg-type]
    (lambda: optim.ReduceOnPlateau().load_state_dict({}), "state of ReduceOnPlateau"),
]


@pytest.mark.parametrize("make, message", WRONG)
def test_wrong_settings_are_told(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        make()
