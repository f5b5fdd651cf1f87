"""The neural ODE: the block, forecasts at any time, and a flow whose density is that of its own map."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.integrate import solve_ivp

import nnatomy as nn
from nnatomy import UserError, data
from nnatomy.architectures.hybrid.neural_ode import (
    ContinuousFlow,
    Field,
    Forecaster,
    MovingField,
    NeuralODE,
    Solver,
    build,
    divergence,
    loss,
)
from nnatomy.architectures.hybrid.neural_ode.recipe import recipes
from nnatomy.tensor import Tensor

Array = np.ndarray[Any, Any]


def rows(n: int = 6, features: int = 2, seed: int = 0) -> Array:
    return np.random.default_rng(seed).normal(size=(n, features))


def flow(features: int = 2, **options: Any) -> ContinuousFlow:
    nn.seed(1)
    made = build("flow", features, (8, 8), **options)
    assert isinstance(made, ContinuousFlow)
    with nn.no_grad():
        for p in made.parameters():  # a field that changes the density by much
            p.copy_(0.6 * nn.randn(*p.shape))
    return made.astype("float64")


def forecaster(**options: Any) -> Forecaster:
    nn.seed(2)
    made = build(**{"features": 2, "hidden": (8,), "horizon": 5, **options})
    assert isinstance(made, Forecaster)
    return made.astype("float64")


def jacobian(f: Any, x: Array) -> Array:
    """df_i/dx_j of one row, by automatic differentiation."""
    z = Tensor(x[None]).requires_grad_()
    y = f(z)
    return np.stack([nn.grad(y[0, i], z, retain_graph=True).numpy()[0] for i in range(x.size)])


# The block


def test_residual_layers_are_euler_steps_of_one() -> None:
    """y + f(y), n times, is Euler's method from 0 to n with steps of 1."""
    nn.seed(0)
    field, x = Field(3, (7,)).astype("float64"), Tensor(rows(4, 3))
    y = x
    for _ in range(5):
        y = y + field(0.0, y)
    path = nn.functional.odeint(field, x, [0.0, 5.0], "euler", 5)
    np.testing.assert_allclose(path[-1].numpy(), y.numpy(), rtol=1e-12)


def test_the_block_is_the_solution_at_time_1_and_has_an_inverse() -> None:
    nn.seed(0)
    block, x = NeuralODE(MovingField(2, (7,)), Solver(steps=40)).astype("float64"), rows(3)
    y = block(Tensor(x)).numpy()
    for start, end in zip(x, y):

        def slope(t: float, z: Array) -> Array:
            return np.asarray(block.field(t, Tensor(z[None])).numpy()[0])

        true = solve_ivp(slope, (0, 1), start, rtol=1e-10, atol=1e-12).y[:, -1]
        np.testing.assert_allclose(end, true, atol=1e-7)
    back = nn.functional.odeint(block.field, Tensor(y), [1.0, 0.0], "rk4", 40)[-1]
    np.testing.assert_allclose(back.numpy(), x, atol=1e-7)


def test_trajectories_in_one_dimension_never_cross() -> None:
    """So a block of width 1 keeps the order of its inputs and cannot learn x -> -x; a residual layer can."""
    for seed in range(5):
        nn.seed(seed)
        block = NeuralODE(MovingField(1, (16,)), Solver(steps=40)).astype("float64")
        with nn.no_grad():
            for p in block.parameters():
                p.copy_(3 * p)
        y = block(Tensor(np.linspace(-2, 2, 50)[:, None])).numpy()[:, 0]
        assert (np.diff(y) > 0).all()


def test_an_extra_coordinate_lets_them_pass() -> None:
    """x -> -x is half a turn of (x, 0) in the plane (Dupont et al. 2019)."""
    turn = np.array([[0.0, -np.pi], [np.pi, 0.0]])
    x = np.stack([np.linspace(-2, 2, 9), np.zeros(9)], axis=1)
    end = nn.functional.odeint(lambda t, y: y @ turn.T, x, [0.0, 1.0], rtol=1e-9, atol=1e-10)[-1]
    np.testing.assert_allclose(end[:, 0], -x[:, 0], atol=1e-7)


@pytest.mark.parametrize("form", ["trajectory", "flow"])
def test_both_gradients_agree(form: str) -> None:
    """The adjoint's to the solver's tolerance: of the loss by all parameters, the trace included."""
    batch = (Tensor(rows(5)[:, None]), Tensor(rows(5, 10, 3).reshape(5, 5, 2))) if form == "trajectory" else (Tensor(rows(5)),)
    found = []
    for gradient in ("direct", "adjoint"):
        nn.seed(3)
        model = build(form, 2, (8,), steps=12, gradient=gradient, horizon=5).astype("float64")
        loss(model, *batch)[0].backward()
        found.append({name: p.grad.numpy() for name, p in model.named_parameters()})
    for name in found[0]:
        np.testing.assert_allclose(found[1][name], found[0][name], atol=1e-6, err_msg=name)
    assert any((found[0][name] != found[1][name]).any() for name in found[0])


# Trajectories


def test_forecasts_are_the_solution_from_the_last_row_at_multiples_of_the_interval() -> None:
    model = forecaster(targets=(1,), window=3, interval=0.2)
    past = rows(4 * 3).reshape(4, 3, 2)
    found = model(Tensor(past)).numpy()
    assert found.shape == (4, 5, 1)
    path = model.path(Tensor(past[:, -1]), [0.2 * n for n in range(6)]).numpy()
    np.testing.assert_allclose(found[:, :, 0], path[1:, :, 1].T, rtol=1e-12)


def test_uneven_times_give_the_same_solution() -> None:
    model = forecaster(method="dopri5", rtol=1e-9, atol=1e-10)
    z, uneven = Tensor(rows()), [0.0, 0.03, 0.31, 0.32, 0.9]
    path = model.path(z, uneven).numpy()
    for t, found in zip(uneven[1:], path[1:]):
        np.testing.assert_allclose(found, model.path(z, [0.0, t])[-1].numpy(), atol=1e-7)


def test_extra_coordinates_start_from_the_whole_window_and_are_not_forecast() -> None:
    model, past = forecaster(window=3, extra=2), rows(4 * 3).reshape(4, 3, 2)
    state = model.state(Tensor(past)).numpy()
    assert state.shape == (4, 4)
    np.testing.assert_array_equal(state[:, :2], past[:, -1])
    assert model(Tensor(past)).shape == (4, 5, 2)
    other = past.copy()
    other[:, 0] += 1
    assert (model.state(Tensor(other)).numpy()[:, 2:] != state[:, 2:]).any()


def test_an_autonomous_field_forgets_where_a_series_of_one_column_goes() -> None:
    """From equal last rows it forecasts the same, whether the series rises or falls; extra coordinates see the window."""
    up, down = np.array([[[-0.1], [0.0]]]), np.array([[[0.1], [0.0]]])
    blind, seeing = (forecaster(features=1, window=2, extra=extra) for extra in (0, 2))
    np.testing.assert_array_equal(blind(Tensor(up)).numpy(), blind(Tensor(down)).numpy())
    assert (seeing(Tensor(up)).numpy() != seeing(Tensor(down)).numpy()).any()


# Densities


def test_the_exact_trace_is_that_of_the_jacobian_of_each_row() -> None:
    model, x = flow(3), rows(4, 3)
    slope, trace = divergence(model.field, 0.3, Tensor(x))
    np.testing.assert_array_equal(slope.numpy(), model.field(0.3, Tensor(x)).numpy())
    for row, found in zip(x, trace.numpy()):
        assert found == pytest.approx(np.trace(jacobian(lambda z: model.field(0.3, z), row)), rel=1e-10)


def test_hutchinsons_estimate_is_right_on_average() -> None:
    """Over all 2^3 signs of the noise the mean is exact; one draw is not."""
    model, x = flow(3), rows(4, 3)
    signs = np.stack(np.meshgrid(*[[-1.0, 1.0]] * 3), axis=-1).reshape(-1, 3)
    found = np.stack([divergence(model.field, 0.3, Tensor(x), Tensor(np.tile(s, (4, 1))))[1].numpy() for s in signs])
    exact = divergence(model.field, 0.3, Tensor(x))[1].numpy()
    np.testing.assert_allclose(found.mean(axis=0), exact, rtol=1e-10)
    assert found.std(axis=0).min() > 1e-3


def test_the_change_of_density_is_the_log_determinant_of_the_map() -> None:
    """log p(x) = log N(z) + ln |det dz/dx|, the determinant by automatic differentiation through the solver."""
    model, x = flow(steps=16), rows(2)
    z, change = model.to_noise(Tensor(x))
    for row, found in zip(x, change.numpy()):
        determinant = np.linalg.det(jacobian(lambda y: model.to_noise(y)[0], row))
        assert -found == pytest.approx(np.log(abs(determinant)), abs=1e-4)
    assert np.abs(change.numpy()).max() > 0.1
    log_p = model(Tensor(x)).numpy()
    np.testing.assert_allclose(log_p, -np.log(2 * np.pi) - 0.5 * np.square(z.numpy()).sum(axis=1) - change.numpy(), rtol=1e-12)


def test_the_density_is_one() -> None:
    """The integral over a grid, of the fine solver."""
    model = flow(steps=8).eval()
    side = np.linspace(-9, 9, 110)
    grid = np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2)
    with nn.no_grad():
        total = float(np.exp(model(Tensor(grid)).numpy()).sum()) * (side[1] - side[0]) ** 2
    assert total == pytest.approx(1, abs=2e-3)


def test_samples_flow_back_to_their_noise() -> None:
    model = flow(steps=16)
    noise = Tensor(rows(20))
    x = model.flow(noise)[-1]
    np.testing.assert_allclose(model.to_noise(x)[0].numpy(), noise.numpy(), atol=1e-5)


def test_noise_is_drawn_once_a_solve_and_never_in_evaluation() -> None:
    model, x = flow(trace="hutchinson", steps=3), Tensor(rows())
    nn.seed(5)
    first, second = model(x).numpy(), model(x).numpy()
    assert (first != second).any()
    model.eval()
    np.testing.assert_array_equal(model(x).numpy(), flow(steps=3).eval()(x).numpy())
    drawn = []
    model.train()

    def recorded(f: Any, t: Any, z: Any, noise: Any = None) -> Any:
        drawn.append(noise)
        return divergence(f, t, z, noise)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("nnatomy.architectures.hybrid.neural_ode.model.divergence", recorded)
        model(x)
    assert len(drawn) == 12
    assert all(noise is drawn[0] for noise in drawn)


def test_evaluation_takes_finer_steps() -> None:
    """So a density that only the coarse steps of training claim does not count."""
    coarse, fine = flow(method="euler", steps=2, fine=20), flow(method="euler", steps=40)
    x = Tensor(rows())
    assert (coarse.train()(x).numpy() != fine(x).numpy()).any()
    np.testing.assert_array_equal(coarse.eval()(x).numpy(), fine.eval()(x).numpy())


def test_a_field_without_weights_leaves_the_normal_density() -> None:
    model = flow()
    with nn.no_grad():
        for p in model.parameters():
            p.copy_(0 * p)
    x = rows()
    expected = -np.log(2 * np.pi) - 0.5 * np.square(x).sum(axis=1)
    np.testing.assert_allclose(model(Tensor(x)).numpy(), expected, rtol=1e-12)


# Sizes, recipes, refusals


def test_parameters_are_those_of_the_formulas() -> None:
    trajectory, density = build(features=2, hidden=(64, 64)), build("flow", 2, (64, 64))
    assert trajectory.count_parameters() == 2 * 64 + 64 + 64 * 64 + 64 + 64 * 2 + 2 == 4482
    assert density.count_parameters() == 4482 + 3 * (64 + 64 + 2)
    assert build(features=2, hidden=(8,), window=5, extra=3).count_parameters() == 5 * 8 + 8 + 8 * 5 + 5 + 3 * 10 + 3


def test_the_field_of_the_spiral_is_learned_and_carries_on_beyond_the_horizon(tmp_path: Path) -> None:
    """A short training: the forecasts are better than those of the best linear map, also twice as far as training went."""
    from nnatomy.data.kinds.series.sets import spiral

    result = nn.train("neural_ode", "cubic_spiral", epochs=10, baselines=False, out=tmp_path / "run")
    assert result.metrics["mse"] < 0.05
    found = data.load("cubic_spiral", ("series",), window=1, horizon=20)
    start = np.array([[1.5, 0.0], [0.0, -1.2]])
    scaled = found.preprocessing.prepare(start)[0]
    model = result.model.eval()
    path = model.path(Tensor(scaled), [0.1 * n for n in range(41)]).numpy()[-1]
    true = spiral(start, 41)[:, -1]
    assert np.abs(found.preprocessing.inverse_targets(path.astype(np.float64)) - true).max() < 0.6
    assert np.abs(start - true).max() > 1.5


def test_recipes_name_every_option_of_their_models() -> None:
    for recipe in recipes:
        model = recipe.build(data.load(recipe.data, (recipe.kind,), tasks=recipe.task_names, **recipe.load), **recipe.options)
        assert model.count_parameters() > 0


def test_refusals() -> None:
    with pytest.raises(UserError, match="form"):
        build("stream")
    with pytest.raises(UserError, match="method"):
        build(method="rk45")
    with pytest.raises(UserError, match="gradient"):
        build(gradient="backprop")
    with pytest.raises(UserError, match="trace"):
        build("flow", trace="rademacher")
    with pytest.raises(UserError, match="from 0 to 1"):
        build(targets=(2,))
    with pytest.raises(UserError, match="at least 1"):
        build(steps=0)
    with pytest.raises(UserError, match=r"\(batch, 1, 2\)"):
        build()(Tensor(np.zeros((3, 2, 2), np.float32)))
