"""Steps in parts, in half precision, and on padded batches: what a step's options must not change, and what they must."""

from __future__ import annotations

import copy
from functools import partial
from typing import Any

import numpy as np
import pytest

import nnatomy as nn
from nnatomy import optim
from nnatomy.architectures.feedforward import mlp
from nnatomy.data import fields
from nnatomy.training.learners import GradientDescent, Setup
from nnatomy.training.learners.gradient_descent import GradientDescentLearner
from nnatomy.training.precision import FLOAT32, PRECISIONS, Precision

pytestmark = pytest.mark.any_kernels

RNG = np.random.default_rng(2)
X, Y = RNG.normal(size=(10, 6)), RNG.integers(0, 3, 10)


def step(precision: Precision = PRECISIONS["float64"], **options: Any) -> GradientDescentLearner:
    nn.seed(0)
    model = mlp.build(6, 3, (8, 8), "tanh", l1=1e-3).astype(precision.master)
    learn = GradientDescent(mlp.loss, partial(optim.Adam, lr=0.01))
    return learn.begin(model, setup=Setup(precision, **options))


def weights(trained: dict[str, Any]) -> dict[str, Any]:
    return {name: np.asarray(a) for name, a in trained["model"].items()}


@pytest.mark.parametrize("compiled", [False, True])
def test_a_generator_of_a_layers_own_is_part_of_the_state(compiled: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its masks differ from step to step, and a state that is taken up again draws the same ones."""
    monkeypatch.setenv("NNATOMY_KERNELS", "auto")
    nn.seed(0)
    model = nn.Sequential(nn.Linear(6, 32), nn.Dropout(0.5, generator=nn.Generator(4)), nn.Linear(32, 3))
    learn = GradientDescent(lambda m, x, y: (nn.functional.cross_entropy(m(x), y), None), partial(optim.SGD, lr=0.0))
    learner = learn.begin(model)
    model.train()
    run: Any = nn.compile(learner) if compiled else learner
    state, losses, kept = learner.state(), [], None
    for step in range(6):
        if step == 3:
            kept = copy.deepcopy(learner.plain(state))
        state, metrics = run(state, (X.astype(np.float32), Y))
        losses.append(float(metrics["loss"]))
    assert len(set(losses)) == 6, "the masks are the same in every step"
    assert kept is not None
    again = []
    for _ in range(3):
        kept, metrics = learner(kept, (X.astype(np.float32), Y))
        again.append(float(metrics["loss"]))
    np.testing.assert_allclose(again, losses[3:], rtol=1e-6)


@pytest.mark.parametrize("rows", [10, 7, 3])
@pytest.mark.parametrize("parts", [2, 4, 10])
def test_a_batch_in_parts_is_the_whole(parts: int, rows: int) -> None:
    whole, some, masked = step(), step(accumulate=parts), step(accumulate=parts)
    batch = X[:rows], Y[:rows]
    expected, metrics = whole(whole.state(), batch)
    found, found_metrics = some(some.state(), batch)
    filled, mask = fields.pad_rows(fields.DEFAULT, batch, 10)
    also, also_metrics = masked(masked.state(), filled, mask)
    for name, value in weights(expected).items():
        np.testing.assert_allclose(weights(found)[name], value, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(weights(also)[name], value, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose([found_metrics["loss"], also_metrics["loss"]], metrics["loss"], rtol=1e-12)


def test_half_precision_keeps_float32_weights_and_learns_as_well() -> None:
    losses = {}
    for precision in (FLOAT32, PRECISIONS["float16"]):
        ours = step(precision)
        state, seen = ours.state(), []
        for _ in range(40):
            state, metrics = ours(state, (X.astype(np.float32), Y))
            seen.append(float(metrics["loss"]))
        assert {str(a.dtype) for a in weights(state).values()} == {"float32"}
        assert {str(a.dtype) for s in state["optimizers"]["all"]["state"].values() for a in s.values()} == {"float32"}
        assert metrics["loss"].dtype == np.float32
        losses[precision.name] = seen
    assert losses["float16"] != losses["float32"]
    np.testing.assert_allclose(losses["float16"], losses["float32"], rtol=0.02, atol=0.005)
    assert losses["float16"][-1] < 0.5 * losses["float16"][0]


def test_a_step_that_overflows_changes_nothing_but_the_scale() -> None:
    ours = step(PRECISIONS["float16"])
    assert ours.scaling is not None
    ours.scaling.scale = 2.0**30
    state = ours.state()
    before = weights(state)
    batch = X.astype(np.float32), Y
    with np.errstate(over="ignore", invalid="ignore"):
        state, metrics = ours(state, batch)
    assert np.isfinite(metrics["loss"])
    assert float(state["own"]["scaling"]["scale"]) == 2.0**29
    assert {int(t) for t in state["optimizers"]["all"]["steps"].values()} == {0}
    for name, value in weights(state).items():
        np.testing.assert_array_equal(value, before[name])
    for _ in range(20):
        with np.errstate(over="ignore", invalid="ignore"):
            state, _ = ours(state, batch)
    assert float(state["own"]["scaling"]["scale"]) < 2.0**20
    assert all(not np.array_equal(value, before[name]) for name, value in weights(state).items())


def test_the_scale_grows_after_steps_without_overflow() -> None:
    ours = step(PRECISIONS["float16"])
    assert ours.scaling is not None
    ours.scaling.scale, ours.scaling.interval = 8.0, 3
    state = ours.state()
    scales = []
    for _ in range(7):
        state, _ = ours(state, (X.astype(np.float32), Y))
        scales.append(float(state["own"]["scaling"]["scale"]))
    assert scales == [8, 8, 16, 16, 16, 32, 32]
