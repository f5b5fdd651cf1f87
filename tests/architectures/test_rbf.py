"""The RBF network: SciPy's interpolants, the least squares that it solves, and where its centers and widths come from."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import nnatomy as nn
from nnatomy import UserError, data
from nnatomy.architectures.feedforward.rbf import (
    KERNELS,
    RBF,
    absorb,
    begin_rows,
    build,
    fit,
    interpolate,
    k_means,
    loss,
    neighbor_widths,
    place_centers,
)
from nnatomy.architectures.feedforward.rbf.picture import draw
from nnatomy.architectures.feedforward.rbf.recipe import build_for, learned, regression
from nnatomy.functional.least_squares import target_rows
from nnatomy.optim import Adam
from nnatomy.random import Generator
from nnatomy.runs.restore import restore
from nnatomy.tensor import Tensor

Array = np.ndarray[Any, Any]
DEGREES = {"gaussian": 0, "multiquadric": 0, "inverse_multiquadric": 0, "thin_plate": 1}


def network(kernel: str = "gaussian", degree: int | None = None, hidden: int = 12, outputs: int = 2, **options: Any) -> RBF:
    nn.seed(3)
    return build(3, hidden, outputs, kernel, DEGREES[kernel] if degree is None else degree, **options).astype("float64")


def examples(rows: int = 60, outputs: int = 2, features: int = 3, seed: int = 1) -> tuple[Array, Array]:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, features))
    return x, np.sin(x @ rng.normal(size=(features, outputs))) + 2.0


def responses(model: RBF, x: Array) -> Array:
    return np.asarray(model.hidden(Tensor(x)).data, np.float64)


# The kernels


@pytest.mark.parametrize("kernel", KERNELS)
def test_kernels_are_their_formulas(kernel: str) -> None:
    """Computed one distance at a time; the network is their weighted sum and the tail."""
    model, (x, _) = network(kernel, degree=1), examples(5)
    c, expected = model.hidden.centers.numpy(), np.empty((5, 12))
    sigma = np.ones(12) if model.hidden.log_widths is None else np.exp(model.hidden.log_widths.numpy())
    for i in range(5):
        for j in range(12):
            r = float(np.sqrt(((x[i] - c[j]) ** 2).sum()))
            s = r / sigma[j]
            expected[i, j] = {
                "gaussian": np.exp(-s * s), "multiquadric": np.sqrt(1 + s * s), "inverse_multiquadric": 1 / np.sqrt(1 + s * s),
                "thin_plate": r * r * np.log(r),
            }[kernel]  # fmt: skip
    np.testing.assert_allclose(responses(model, x), expected, rtol=1e-11, atol=1e-12)
    assert model.tail is not None
    y = expected @ model.output.weight.numpy().T + model.output.bias.numpy() + x @ model.tail.weight.numpy().T
    np.testing.assert_allclose(model(Tensor(x)).numpy(), y, rtol=1e-10)


def test_a_thin_plate_is_zero_at_its_center_and_has_a_gradient() -> None:
    model = network("thin_plate", learned=True)
    x = Tensor(model.hidden.centers.numpy().copy(), requires_grad=True)
    phi = model.hidden(x)
    np.testing.assert_allclose(np.diag(phi.numpy()), 0, atol=1e-12)
    phi.sum().backward()
    assert x.grad is not None
    assert np.isfinite(x.grad.numpy()).all()


def test_squared_distances_are_never_negative() -> None:
    """In float32, |x|^2 + |c|^2 - 2 x c is below 0 at some of these centers; responses stay at most 1."""
    x = np.random.default_rng(0).normal(size=(200, 3)).astype(np.float32) * 30
    raw = (x**2).sum(1) + (x**2).sum(1) - 2 * (x @ x.T).diagonal()
    assert raw.min() < 0
    model = build(3, 200, 1)
    model.hidden.centers.data = x
    assert float(model.hidden(Tensor(x)).numpy().max()) <= 1


# One center for each example


@pytest.mark.parametrize(
    ("kernel", "theirs", "degree"),
    [
        ("gaussian", "gaussian", -1), ("gaussian", "gaussian", 0), ("gaussian", "gaussian", 1),
        ("multiquadric", "multiquadric", 0), ("multiquadric", "multiquadric", 1),
        ("inverse_multiquadric", "inverse_multiquadric", -1), ("inverse_multiquadric", "inverse_multiquadric", 0),
        ("thin_plate", "thin_plate_spline", 1),
    ],
)  # fmt: skip
def test_a_center_at_each_example_interpolates_as_scipy_does(kernel: str, theirs: str, degree: int) -> None:
    """Exact at the examples, equal elsewhere and outside of them; SciPy's epsilon is 1 / width."""
    from scipy.interpolate import RBFInterpolator

    x, t = examples(40)
    new = np.random.default_rng(9).normal(size=(30, 3)) * 2
    model = interpolate(x, t, kernel, width=0.8, degree=degree)
    np.testing.assert_allclose(model(Tensor(x)).numpy(), t, atol=1e-8)
    expected = RBFInterpolator(x, t, kernel=theirs, epsilon=1 / 0.8, degree=degree)(new)
    np.testing.assert_allclose(model(Tensor(new)).numpy(), expected, atol=1e-8)


def test_half_as_many_centers_do_not_interpolate() -> None:
    x = examples(40)[0]
    t = np.random.default_rng(5).normal(size=(40, 1))  # noise: nothing to generalize
    model = place_centers(network(hidden=20, outputs=1), x, "random", generator=Generator(0))
    assert np.abs(fit(model, x, t)(Tensor(x)).numpy() - t).max() > 0.1
    assert np.abs(interpolate(x, t)(Tensor(x)).numpy() - t).max() < 1e-8


def test_thin_plates_without_a_tail_can_be_all_zero() -> None:
    """ln 1 = 0. With the tail, the same two points have a solution."""
    x, t = np.array([[0.0], [1.0]]), np.array([[1.0], [2.0]])
    model = interpolate(x, t, "thin_plate", degree=1)
    np.testing.assert_array_equal(responses(model, x), np.zeros((2, 2)))
    np.testing.assert_allclose(model(Tensor(x)).numpy(), t, atol=1e-12)
    with pytest.raises(UserError, match=r"Thin plates need a linear tail\. Received degree=0"):
        build(1, 2, 1, "thin_plate")


# The output weights


@pytest.mark.parametrize(("kernel", "degree"), [(k, d) for k in KERNELS for d in (-1, 0, 1) if k != "thin_plate" or d == 1])
def test_the_solution_is_a_minimum_in_every_allowed_direction(kernel: str, degree: int) -> None:
    """The gradient of N loss + ridge |lambda|^2 is 0 for the tail, and for lambda up to multiples of the side conditions."""
    model, (x, t), ridge = network(kernel, degree), examples(), 0.3
    P = np.asarray(model.polynomials(model.hidden.centers).data)
    allowed = np.linalg.qr(P, mode="complete")[0][:, P.shape[1] :]
    sizes = []
    for solved in (False, True):
        if solved:
            fit(model, x, t, ridge)
        model.zero_grad()
        (len(x) * loss(model, Tensor(x), Tensor(t))[0] + ridge * model.output.weight.square().sum()).backward()
        found = {name: np.asarray(p.grad.data) for name, p in model.named_parameters() if p.grad is not None}
        found["output.weight"] = found["output.weight"] @ allowed
        sizes.append(max(float(np.abs(g).max()) for g in found.values()))
    assert sizes[1] < 1e-9 * sizes[0]
    np.testing.assert_allclose(P.T @ model.output.weight.numpy().T, 0, atol=1e-9 * np.abs(model.output.weight.numpy()).max())


def test_without_a_tail_the_solution_is_scikit_learns_ridge() -> None:
    from sklearn.linear_model import Ridge

    model, (x, t) = network(degree=-1), examples()
    fit(model, x, t, ridge=0.7)
    theirs = Ridge(0.7, fit_intercept=False, solver="svd").fit(responses(model, x), t)
    np.testing.assert_allclose(model.output.weight.numpy(), theirs.coef_, rtol=1e-9)


def test_class_targets_are_ones_and_zeros() -> None:
    x, model = examples()[0], network(outputs=3)
    y = np.arange(len(x)) % 3
    by_class = fit(model, x, y, ridge=0.1).output.weight.numpy().copy()
    fit(model, x, np.asarray(target_rows(y, 3, "float64")), ridge=0.1)
    np.testing.assert_allclose(model.output.weight.numpy(), by_class, rtol=1e-12)
    np.testing.assert_allclose(model(Tensor(x)).numpy().sum(axis=1), 1.0, rtol=1e-9)  # as the columns of T do


def test_batches_give_the_solution_of_all_rows_and_padding_none() -> None:
    model, (x, t) = network("thin_plate"), examples()
    sums = {name: Tensor(a) for name, a in begin_rows(model).items()}
    for start in range(0, 60, 7):
        part = np.arange(start, min(start + 7, 60))
        padded = np.concatenate([part, np.full(7 - len(part), part[0], int)])
        mask = Tensor((np.arange(7) < len(part)).astype(np.float32))
        sums = dict(absorb(model, sums, Tensor(x[padded]), Tensor(t[padded]), mask=mask))
    assert float(sums["N"].data) == 60
    rows = np.hstack([responses(model, x), np.ones((60, 1)), x, t])
    R = np.asarray(sums["R"].data)
    np.testing.assert_allclose(R.T @ R, rows.T @ rows, rtol=1e-9, atol=1e-9)


# Centers and widths


def test_k_means_ends_where_each_center_is_the_mean_of_its_cluster() -> None:
    """And its inertia is near that of scikit-learn's best of ten starts."""
    from sklearn.cluster import KMeans

    rng = np.random.default_rng(0)
    x = np.concatenate([rng.normal(size=(60, 2)) + place for place in ((0, 0), (5, 0), (0, 5), (6, 6))])
    centers = k_means(x, 7, Generator(1))
    nearest = ((x[:, None] - centers) ** 2).sum(-1).argmin(1)
    assert set(nearest) == set(range(7))
    for j in range(7):
        np.testing.assert_allclose(centers[j], x[nearest == j].mean(axis=0), rtol=1e-12)
    inertia = ((x - centers[nearest]) ** 2).sum()
    assert inertia < 1.15 * KMeans(7, n_init=10, random_state=0).fit(x).inertia_
    np.testing.assert_array_equal(centers, k_means(x, 7, Generator(1)))
    assert not np.allclose(centers, k_means(x, 7, Generator(2)))


def test_k_means_of_repeated_examples_is_finite() -> None:
    x = np.repeat(np.eye(2), 10, axis=0)
    model = place_centers(build(2, 5, 1), x, generator=Generator(0))
    assert np.isfinite(model(Tensor(x.astype("float32"))).numpy()).all()


def test_widths_are_distances_of_neighbors() -> None:
    """On a line at 0, 3, 4, 8: roots of the means of the two smallest squared distances; equal places count once."""
    centers = np.array([[0.0], [3.0], [4.0], [8.0], [8.0]])
    expected = np.sqrt([(9 + 16) / 2, (1 + 9) / 2, (1 + 16) / 2, (16 + 25) / 2, (16 + 25) / 2])
    np.testing.assert_allclose(neighbor_widths(centers, 2), expected)
    np.testing.assert_allclose(neighbor_widths(centers, 1, overlap=2.0), 2 * np.array([3, 1, 1, 4, 4.0]))
    np.testing.assert_array_equal(neighbor_widths(np.ones((3, 2)), 2, overlap=1.5), [1.5, 1.5, 1.5])


def test_with_few_examples_each_is_a_center() -> None:
    for method in ("k_means", "random"):
        model, x = network(hidden=20), examples(15)[0]
        before = model.hidden.centers.numpy().copy()
        place_centers(model, x, method, generator=Generator(0))
        centers = model.hidden.centers.numpy()
        np.testing.assert_allclose(np.sort(centers[:15], axis=0), np.sort(x, axis=0))
        np.testing.assert_array_equal(centers[15:], before[15:])


def test_random_centers_are_different_examples() -> None:
    model, x = network(hidden=20), examples(60)[0]
    place_centers(model, x, "random", generator=Generator(0))
    distances = np.abs(model.hidden.centers.numpy()[:, None] - x).sum(-1)
    np.testing.assert_allclose(distances.min(axis=1), 0, atol=1e-12)
    assert len(set(distances.argmin(axis=1))) == 20


def test_moving_the_centers_lowers_the_error_of_the_best_output_weights() -> None:
    """From the least-squares solution, gradient descent on centers and widths reaches half the error; buffers do not move."""
    x, t = examples(60)
    errors = []
    for moves in (True, False):
        model = fit(place_centers(network(hidden=6, learned=moves), x, generator=Generator(0)), x, t)
        start = float(loss(model, Tensor(x), Tensor(t))[0].item())
        optimizer = Adam(model.parameters(), lr=2e-2)
        for _ in range(200):
            optimizer.zero_grad()
            value, _ = loss(model, Tensor(x), Tensor(t))
            value.backward()
            optimizer.step()
        errors.append(float(value.item()) / start)
    assert errors[0] < 0.5
    assert errors[1] > 0.7


@pytest.mark.parametrize("degree", [-1, 0, 1])
def test_sizes_are_those_of_the_formula(degree: int) -> None:
    fixed, moving = (build(64, 300, 10, "gaussian", degree, learned=learned) for learned in (False, True))
    output = 10 * (300 + (degree >= 0) + 64 * (degree == 1))
    assert fixed.count_parameters() == output
    assert moving.count_parameters() == output + 300 * (64 + 1)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: build(0, 4, 1), r"at least 1 feature, 1 center and 1 output\. Received 0, 4 and 1"),
        (lambda: build(2, 4, 1, "cubic"), "kernel"),
        (lambda: build(2, 4, 1, degree=2), r"degree of the tail is -1 \(no tail\), 0 or 1\. Received 2"),
        (lambda: place_centers(build(2, 4, 1), np.eye(2), "grid"), "method of placing centers"),
        (lambda: neighbor_widths(np.eye(2), 0), r"at least 1 neighbor and a positive overlap\. Received 0 and 1\.0"),
        (lambda: neighbor_widths(np.eye(2), 1, 0.0), "positive overlap"),
        (lambda: fit(build(2, 4, 1), np.eye(2), np.eye(2)[:, :1], ridge=-1.0), "A ridge is a number of at least 0"),
    ],
)
def test_errors_say_what_is_wrong(make: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        make()


# The recipes


def test_the_recipe_learns_in_one_pass_and_the_log_shows_the_loss_of_the_solution(tmp_path: Any) -> None:
    result = nn.train("rbf", limit=400, out=tmp_path / "run", report=False, offline=True, settings={"hidden": 80})
    x, y = result.prepared.dataset.train.all()
    value, _ = loss(result.model, Tensor(x), Tensor(y))
    (line,) = result.run.history()
    assert line["train_loss"] == pytest.approx(float(value.item()), rel=1e-2)
    assert result.metrics["accuracy"] > 0.8


def test_a_restored_run_has_its_centers(tmp_path: Any) -> None:
    result = nn.train("rbf", limit=60, out=tmp_path / "run", report=False, offline=True)
    model: Any = restore(result.run.folder)[0].model
    np.testing.assert_array_equal(model.hidden.centers.numpy(), result.model.hidden.centers.numpy())


def test_pictures_of_tables_show_where_the_centers_are() -> None:
    dataset = data.load("diabetes", ("table",))
    model = build_for(dataset, **regression.options)
    figure = draw(model, dataset)
    assert any("Where the centers are" in axes.get_title() for axes in figure.axes)
    assert learned.options["learned"]
