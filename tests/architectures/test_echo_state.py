"""The echo state network: reservoirpy's states and read-out, echo states, washout, feedback and a chaotic series."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest

import nnatomy as nn
from nnatomy import UserError, data
from nnatomy.architectures.recurrent.echo_state import EchoState, Reservoir, absorb, begin_rows, build, fit, spectral_radius
from nnatomy.architectures.recurrent.echo_state.recipe import build_for, chaos, oil_temperature
from nnatomy.tensor import Tensor
from nnatomy.training.learners import Setup
from nnatomy.training.precision import PRECISIONS

Array = np.ndarray[Any, Any]


def series(rows: int, columns: int = 1, seed: int = 0) -> Array:
    return np.random.default_rng(seed).normal(size=(1, rows, columns))


def reservoir(hidden: int = 40, inputs: int = 2, seed: int = 0, **options: Any) -> Reservoir:
    nn.seed(seed)
    return Reservoir(inputs, hidden, **options).astype("float64")


def states(model: Reservoir, x: Array, start: Array | None = None) -> Array:
    with nn.no_grad():
        return np.asarray(model(Tensor(x), None if start is None else Tensor(start)).numpy())


def network(*args: Any, **options: Any) -> EchoState:
    nn.seed(1)
    return build(*args, **options).astype("float64")


def outputs(model: EchoState, x: Array) -> Array:
    with nn.no_grad():
        return np.asarray(model(Tensor(x)).numpy())


# Against reservoirpy


@pytest.mark.parametrize("leak", [1.0, 0.3])
def test_states_and_read_out_are_those_of_reservoirpy(leak: float) -> None:
    """States to 1e-12; the ridge regression of the read-out, whose bias is free, to 1e-9; with a washout of 20 steps."""
    nodes = pytest.importorskip("reservoirpy").nodes
    model = network(2, 30, 1, readout="each", washout=20, leak=leak, bias_scale=0.3)
    x = series(150, 2)
    target = 3 + np.tanh(np.cumsum(x[:, :, :1], axis=1) / 5)
    W, Win, bias = (np.asarray(getattr(model.reservoir, name).numpy()) for name in ("W", "Win", "bias"))
    theirs = nodes.Reservoir(units=30, lr=leak, W=W, Win=Win, bias=bias).run(x[0])
    np.testing.assert_allclose(states(model.reservoir, x)[0], theirs, rtol=0, atol=1e-12)
    ridge = nodes.Ridge(ridge=0.5).fit(theirs[20:], target[0, 20:])
    fit(model, x, target, 0.5)
    np.testing.assert_allclose(model.output.weight.numpy().T, ridge.Wout, rtol=0, atol=1e-9)
    np.testing.assert_allclose(outputs(model, x)[0], ridge.run(theirs), rtol=0, atol=1e-9)


# The reservoir


def test_the_spectral_radius_is_by_eigenvalues() -> None:
    assert spectral_radius(np.array([[0, 4.0], [0.04, 0]])) == pytest.approx(0.4)
    assert spectral_radius(np.array([[0, -2.0], [2.0, 0]])) == pytest.approx(2)  # complex ones
    W = reservoir(200, radius=0.9, connectivity=0.1).W.numpy()
    assert np.abs(np.linalg.eigvals(W)).max() == pytest.approx(0.9, abs=1e-5)
    assert 1.5 < np.linalg.norm(W, 2) < 2.5
    assert (W != 0).mean() == pytest.approx(0.1, abs=0.01)
    scaled = reservoir(50, input_scale=0.2, bias_scale=0.7)
    assert scaled.Win is not None
    assert 0.15 < np.abs(scaled.Win.numpy()).max() <= 0.2
    assert 0.6 < np.abs(scaled.bias.numpy()).max() <= 0.7


@pytest.mark.parametrize("leak", [1.0, 0.4])
def test_a_norm_below_one_contracts_at_every_step(leak: float) -> None:
    """The distance of two states shrinks at least by (1 - a) + a sigma, at each step, for any input."""
    model = reservoir(30, leak=leak)
    model.W.data = model.W.numpy() / np.linalg.norm(model.W.numpy(), 2) * 0.8
    starts = np.random.default_rng(1).uniform(-1, 1, (2, 30))
    path = np.concatenate([starts[:, None], states(model, np.repeat(series(50, 2), 2, axis=0), starts)], axis=1)
    apart = np.linalg.norm(path[0] - path[1], axis=1)
    assert (apart[1:] <= ((1 - leak) + leak * 0.8) * apart[:-1] + 1e-12).all()


def test_two_starts_become_one_or_never_do() -> None:
    """Radius 0.9: one state, with input and without. Radius 1.5 without input: never; even a tiny state grows."""
    starts = np.random.default_rng(1).uniform(-1, 1, (2, 60))
    for x in (np.zeros((2, 400, 2)), np.repeat(series(400, 2), 2, axis=0)):
        both = states(reservoir(60, radius=0.9), x, starts)
        assert np.abs(both[0, -1] - both[1, -1]).max() < 1e-8
        assert np.abs(both[0, 0] - both[1, 0]).max() > 0.1
    both = states(reservoir(60, radius=1.5), np.zeros((2, 400, 2)), starts)
    assert np.linalg.norm(both[0, -50:] - both[1, -50:], axis=1).min() > 0.1
    tiny = states(reservoir(60, radius=1.5), np.zeros((1, 400, 2)), 1e-6 * starts[:1])
    assert np.abs(tiny[0, -1]).max() > 0.1


def test_states_go_on_from_a_state() -> None:
    model, x = reservoir(leak=0.5), series(20, 2)
    whole = states(model, x)
    np.testing.assert_allclose(states(model, x[:, 8:], whole[:, 7]), whole[:, 8:], rtol=1e-12)


# The read-out


def test_the_washout_does_not_count() -> None:
    """Neither in the solution, which wild first targets do not change, nor in the loss; with it they would."""
    from nnatomy.architectures.recurrent.echo_state import loss

    x, target = series(60), np.sin(np.arange(60))[None, :, None]
    wild = target.copy()
    wild[:, :10] = 1000
    found = {}
    for washout in (0, 10):
        for name, t in (("tame", target), ("wild", wild)):
            model = fit(network(1, 20, 1, readout="each", washout=washout), x, t, 0.1)
            found[washout, name] = model.output.weight.numpy(), float(loss(model, Tensor(x), Tensor(t))[0].item())
    np.testing.assert_array_equal(found[10, "tame"][0], found[10, "wild"][0])
    assert found[10, "tame"][1] == found[10, "wild"][1]
    assert np.abs(found[0, "tame"][0] - found[0, "wild"][0]).max() > 1


def test_the_bias_is_not_penalized() -> None:
    """A huge ridge leaves no weights, and the mean of the targets; the objective's gradient is 0 at the solution."""
    x, target = series(80), 7 + series(80, seed=3)
    model = fit(network(1, 20, 1, readout="each"), x, target, 1e12)
    np.testing.assert_allclose(outputs(model, x), target.mean(), atol=1e-6)
    model = fit(network(1, 20, 1, readout="each"), x, target, 0.3)
    h, off = states(model.reservoir, x)[0], (outputs(model, x) - target)[0]
    np.testing.assert_allclose(off.T @ h + 0.3 * model.output.weight.numpy(), 0, atol=1e-9)
    assert abs(float(off.sum())) < 1e-9


def test_rows_that_pad_a_batch_do_not_count() -> None:
    model = network(1, 8, 1, readout="each", washout=3)
    x, target = np.random.default_rng(0).normal(size=(2, 4, 9, 1))
    sums = {name: Tensor(a) for name, a in begin_rows(model).items()}
    with nn.no_grad():
        masked = absorb(model, sums, Tensor(x), Tensor(target), mask=Tensor(np.array([1.0, 1, 1, 0])))
        short = absorb(model, sums, Tensor(x[:3]), Tensor(target[:3]))
    for name in ("R", "N"):
        np.testing.assert_allclose(np.abs(masked[name].numpy()), np.abs(short[name].numpy()), atol=1e-12)
    assert float(short["N"].item()) == 3 * 6


def test_direct_connections_show_the_input_to_the_read_out() -> None:
    """What is a linear function of the present input alone is learned exactly with them."""
    x = series(100, 3)
    target = x @ np.array([[1.0], [-2.0], [0.5]]) + 4
    for direct in (True, False):
        model = fit(network(3, 20, 1, readout="each", direct=direct, radius=0.5), x, target)
        error = np.abs(outputs(model, x) - target).max()
        assert (error < 1e-9) == direct


# Feedback


def test_feedback_is_the_same_as_a_closed_loop() -> None:
    """Free running is the same network called again and again, each time with its own last output behind the true past."""
    model = network(1, 15, 1, feedback=True, horizon=5, leak=0.6)
    assert [name for name, _ in model.reservoir.named_buffers()] == ["W", "Wfb", "bias"]
    x = series(12)
    found = outputs(model, x)
    assert found.shape == (1, 5, 1)
    model.horizon, heard = 1, x
    for n in range(5):
        y = outputs(model, heard)
        np.testing.assert_allclose(y[:, 0], found[:, n], rtol=1e-12)
        heard = np.concatenate([heard, y], axis=1)


def test_feedback_is_taught_one_step_ahead() -> None:
    """Teacher forcing: only the first value after the past is a target of the solution."""
    x, future = np.random.default_rng(0).normal(size=(2, 30, 8, 1))
    one = fit(network(1, 10, 1, feedback=True, horizon=8), x, future, 0.1)
    future[:, 1:] = 99
    other = fit(network(1, 10, 1, feedback=True, horizon=8), x, future, 0.1)
    np.testing.assert_array_equal(one.output.weight.numpy(), other.output.weight.numpy())


@cache
def windows() -> tuple[Array, Array, Array, Array]:
    found = data.load("mackey_glass", ("series",), window=60, horizon=1)
    x, t = found.train.take(np.arange(1200))
    return x, t, *found.test.take(np.arange(300))  # type: ignore[return-value]


def test_mackey_glass_is_forecast_and_continued() -> None:
    """One step ahead by an NRMSE below 0.001, and 84 steps by the network itself below 0.05, next to what a copy reaches."""
    x, t, held, after = windows()
    nn.seed(0)
    model = build(1, 200, 1, leak=0.5, input_scale=0.5, bias_scale=0.2)
    fit(model, x, t, 1e-8)
    error = outputs(model, held) - after.reshape(-1, 1)
    assert np.sqrt((error**2).mean()) < 1e-3
    assert np.sqrt(((held[:, -1] - after[:, 0]) ** 2).mean()) > 0.05
    with nn.no_grad():
        free = model.run_freely(Tensor(held[:1]), 84).numpy()[0]
    assert np.sqrt(((free - after[:84, 0]) ** 2).mean()) < 0.05


def test_a_run_is_the_recipe(tmp_path: Any) -> None:
    """`nnatomy train` solves the same read-out, and --variant free_running gives as many values as the horizon has."""
    result = nn.train("echo_state", out=tmp_path / "run", baselines=False, limit=300, settings={"hidden": 60})
    assert result.metrics["mse"] < 1e-3
    dataset = data.load("mackey_glass", ("series",), window=20, horizon=7)
    nn.seed(0)
    model = build_for(dataset, hidden=10, feedback=True)
    assert outputs(model, dataset.test.take(np.arange(2))[0]).shape == (2, 7, 1)
    assert outputs(build_for(dataset, hidden=10), dataset.test.take(np.arange(2))[0]).shape == (2, 7)
    assert chaos.load == {"window": 100, "horizon": 1}


def test_the_forecaster_learns_moves_from_the_last_value() -> None:
    """A series and the same one 50 higher have the same forecasts, 50 higher."""
    dataset = data.load("sines", ("series",), window=30, horizon=3, limit=200)
    past, future = dataset.train.all()
    found = []
    for level in (0.0, 50.0):
        nn.seed(0)
        model = oil_temperature.build(dataset, hidden=40).astype("float64")
        learner = oil_temperature.learn.begin(model, setup=Setup(PRECISIONS["float64"]))
        state, _ = learner(learner.state(), (past.astype(float) + level, future.astype(float) + level))
        learner.bind(learner.finish_epoch(state))
        with nn.no_grad():
            found.append(model(Tensor(past.astype(float) + level)).numpy())
    np.testing.assert_allclose(found[1] - 50, found[0], atol=1e-6)
    last = np.repeat(past[:, -1], 3, axis=1)
    assert np.square(found[0] - future[:, :, 0]).mean() < 0.8 * np.square(last - future[:, :, 0]).mean()


def test_what_is_wrong_is_refused() -> None:
    for options, word in (
        ({"leak": 0.0}, "leak=1.0"), ({"connectivity": 1.5}, "connectivity=0.1"), ({"radius": -1.0}, "radius=0.9"),
        ({"washout": -1}, "washout=0"), ({"feedback": True}, "equal numbers"), ({"readout": "all", "radius": 1.0}, "each"),
        ({"connectivity": 1e-9}, "connectivity=1.0"),
    ):  # fmt: skip
        with pytest.raises(UserError, match=word):
            build(2, 5, 1, **options)  # type: ignore[arg-type]
    with pytest.raises(UserError, match="ridge"):
        fit(build(1, 20, 1), series(5), np.zeros((1, 1)), -1.0)
