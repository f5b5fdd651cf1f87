"""The self-organizing map: its rules against a plain loop and minisom, and the order that arises."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nnatomy as nn
from nnatomy import UserError
from nnatomy.architectures.unsupervised.som import (
    SOM,
    batch_map,
    build,
    decayed,
    kohonen,
    label_units,
    learn,
    principal_plane,
    u_matrix,
)
from nnatomy.data.dataset import ArraySplit
from nnatomy.graph import no_grad
from nnatomy.tensor import Tensor

Array = np.ndarray[Any, Any]


def fresh(features: int = 3, rows: int = 6, columns: int = 7, grid: str = "hexagonal", method: str = "batch") -> SOM:
    nn.seed(4)
    return build(features, rows, columns, grid, method).astype("float64")


def flowers() -> Array:
    """Iris in centimeters, all 150."""
    from sklearn.datasets import load_iris

    return np.asarray(load_iris().data, np.float64)


def trained(model: SOM, x: Array, epochs: int = 40, sigma: float = 4.0, **settings: Any) -> SOM:
    with no_grad():
        for epoch in range(epochs):
            learn(model, epoch / epochs, Tensor(x), sigma=sigma, **settings)
    return model


def answers(model: SOM, x: Array) -> Array:
    with no_grad():
        return model(Tensor(x)).numpy()


def codebook(model: SOM) -> Array:
    return model.codebook.numpy().copy()


# The grid


def test_inner_units_have_six_or_eight_neighbors() -> None:
    for grid, count in (("hexagonal", 6), ("rectangular", 8)):
        model = fresh(rows=5, columns=5, grid=grid)
        assert model.adjacent.sum(axis=1).reshape(5, 5)[1:-1, 1:-1].tolist() == [[count] * 3] * 3
        np.testing.assert_array_equal(model.adjacent, model.adjacent.T)
    places = fresh(rows=5, columns=5).places
    apart = np.linalg.norm(places[:, None] - places[None], axis=2)
    np.testing.assert_allclose(apart[fresh(rows=5, columns=5).adjacent], 1.0)


# The rules


@pytest.mark.parametrize("grid", ["hexagonal", "rectangular"])
def test_three_steps_of_kohonens_rule_are_a_plain_loop(grid: str) -> None:
    model, x = fresh(grid=grid, method="online"), np.random.default_rng(0).normal(size=(5, 3))
    w, r = codebook(model), model.places
    with no_grad():
        for step in range(3):
            learn(model, step / 3, Tensor(x), sigma=2.0, sigma_end=0.5, rate=0.4, rate_end=0.1, decay="linear")
    for step in range(3):
        sigma, rate = 2.0 - 1.5 * step / 3, 0.4 - 0.3 * step / 3
        for example in x:
            best = min(range(len(w)), key=lambda j: float(((example - w[j]) ** 2).sum()))
            for j in range(len(w)):
                h = np.exp(-((r[best] - r[j]) ** 2).sum() / (2 * sigma**2))
                w[j] = w[j] + rate * h * (example - w[j])
    np.testing.assert_allclose(codebook(model), w, rtol=1e-12)


def test_without_a_neighborhood_the_batch_map_is_a_step_of_k_means() -> None:
    from sklearn.cluster import KMeans

    model, x = fresh(4), flowers()
    principal_plane(model, x)
    start = codebook(model)
    near = np.square(x[:, None] - start[None]).sum(axis=2).argmin(axis=1)
    expected = np.array([x[near == j].mean(axis=0) if (near == j).any() else start[j] for j in range(len(start))])
    with no_grad():
        batch_map(model, Tensor(x), sigma=0.05)
    np.testing.assert_allclose(codebook(model), expected, rtol=1e-10)
    hit = np.unique(near)
    lloyd = KMeans(len(hit), init=start[hit], n_init=1, max_iter=1, algorithm="lloyd").fit(x)  # then moved once more at most
    assert lloyd.inertia_ <= np.square(x - expected[near]).sum() + 1e-9


@pytest.mark.parametrize("grid", ["hexagonal", "rectangular"])
def test_a_step_of_the_batch_map_never_raises_its_energy(grid: str) -> None:
    """sum_n sum_j h_cj |x_n - w_j|^2 falls when w moves and c is fixed; to choose c again by the distance may raise it."""
    from nnatomy.architectures.unsupervised.som.model import neighborhoods

    x = flowers()
    for sigma in (3.0, 2.0, 1.0, 0.5):
        model = fresh(4, grid=grid)
        h = neighborhoods(model, sigma).numpy()
        best = np.square(x[:, None] - codebook(model)[None]).sum(axis=2).argmin(axis=1)

        def energy(model: SOM = model, best: Array = best, h: Array = h) -> float:
            return float((h[best] * np.square(x[:, None] - codebook(model)[None]).sum(axis=2)).sum())

        before = energy()
        with no_grad():
            batch_map(model, Tensor(x), sigma)
        minimum = energy()
        assert minimum < before
        moved = model.weights.numpy() + 1e-3 * np.random.default_rng(0).normal(size=model.weights.shape)
        kept, model.weights.data = model.weights.data, moved
        assert energy() > minimum
        model.weights.data = kept


def test_a_unit_that_no_example_reaches_stays() -> None:
    model = fresh(2, 1, 20)
    w = codebook(model)
    w[-1] = 1e3
    model.weights.data = w.reshape(1, 20, 2)
    with no_grad():
        batch_map(model, Tensor(w[:1].copy()), sigma=0.1)
    np.testing.assert_array_equal(codebook(model)[-1], w[-1])


def test_schedules_end_where_they_say() -> None:
    for decay in ("linear", "exponential", "asymptotic"):
        values = [decayed(5.0, 0.7, p, decay) for p in (0, 0.25, 0.5, 0.75, 1)]
        assert values[0] == pytest.approx(5.0)
        assert values[-1] == pytest.approx(0.7)
        assert sorted(values, reverse=True) == values
    assert decayed(1.5, 0.5, 0.3, "asymptotic") == pytest.approx(1.5 / (1 + 2 * 0.3))  # minisom's default


# Against minisom, and what arises


@pytest.mark.parametrize("grid", ["hexagonal", "rectangular"])
def test_errors_and_the_u_matrix_are_those_of_minisom(grid: str) -> None:
    from minisom import MiniSom

    x = flowers()
    model = trained(fresh(4, 7, 6, grid), x, sigma=3.0)  # with an even number of rows, minisom's U-matrix shifts the others
    other = MiniSom(6, 7, 4, topology=grid)
    other._weights = model.weights.numpy().transpose(1, 0, 2).copy()
    found = answers(model, x)
    assert found[:, 2].mean() == pytest.approx(other.quantization_error(x), rel=1e-9)
    assert 1 - found[:, 3].mean() == pytest.approx(other.topographic_error(x), abs=1e-12)
    winners = np.array([other.winner(row) for row in x])[:, ::-1]
    np.testing.assert_array_equal(found[:, :2], winners)
    ours = u_matrix(model)
    np.testing.assert_allclose(ours / ours.max(), other.distance_map("mean").T, rtol=1e-9)


@pytest.mark.parametrize("method", ["batch", "online"])
@pytest.mark.parametrize("grid", ["hexagonal", "rectangular"])
def test_order_arises_from_a_random_start(method: str, grid: str) -> None:
    """The topographic error falls far below that of the same weights on shuffled places; the quantization error falls too."""
    x = flowers()
    model = fresh(4, 6, 7, grid, method)
    before = answers(model, x)[:, 2].mean()
    trained(model, x, epochs=20, sigma=3.0)
    found = answers(model, x)
    error = 1 - found[:, 3].mean()
    w = codebook(model)
    shuffled = []
    for seed in range(5):
        order = np.random.default_rng(seed).permutation(len(w))
        other = fresh(4, 6, 7, grid)
        other.weights.data = w[order].reshape(model.weights.shape)
        shuffled.append(1 - answers(other, x)[:, 3].mean())
    assert error < 0.15
    assert min(shuffled) > 0.5
    assert found[:, 2].mean() < 0.2 * before


def test_iris_in_centimeters_is_within_a_third_of_one() -> None:
    model = fresh(4, 8, 8)
    principal_plane(model, flowers())
    found = answers(trained(model, flowers()), flowers())
    assert found[:, 2].mean() < 0.35
    assert 1 - found[:, 3].mean() < 0.1


def test_the_principal_plane_is_flat_centered_and_two_deviations_wide() -> None:
    model, x = fresh(4, 5, 9), flowers()
    principal_plane(model, x)
    w = codebook(model)
    np.testing.assert_allclose(w.mean(axis=0), x.mean(axis=0), atol=1e-9)
    assert np.linalg.matrix_rank(w - w.mean(axis=0), tol=1e-8) == 2
    values, axes = np.linalg.eigh(np.cov(x.T))
    first = (w - w.mean(axis=0)) @ axes[:, -1]
    assert np.abs(first).max() == pytest.approx(2 * np.sqrt(values[-1]))
    assert np.ptp(first.reshape(5, 9), axis=0).max() < 1e-9  # the longer side is along the first component
    single = fresh(1, 3, 4)
    principal_plane(single, x[:, :1])
    assert np.isfinite(codebook(single)).all()


# Labels, and the commands


def test_labels_are_majorities_and_empty_units_take_the_nearest() -> None:
    model = fresh(1, 1, 4)
    model.weights.data = np.array([0.0, 1.0, 2.0, 9.0]).reshape(1, 4, 1)
    x = np.array([0.1, -0.1, 0.2, 1.0, 1.1, 8.8])[:, None]
    label_units(model, ArraySplit((x, np.array([2, 2, 1, 0, 1, 1]))))
    assert model.labels.numpy().ravel().tolist() == [2, 0, 0, 1]  # a tie goes to the first class; unit 2 has no example
    other = fresh(1, 1, 4)
    label_units(other, ArraySplit((x, np.zeros((6, 1)))))
    assert set(other.labels.numpy().ravel()) == {-1.0}


def test_a_table_with_classes_is_predicted_as_places_and_classes(tmp_path: Path) -> None:
    result = nn.train("som", epochs=10, out=tmp_path / "run", report=False, offline=True)
    assert set(result.metrics) >= {"quantization_error", "topographic_error", "explained", "purity"}
    columns = nn.predict(tmp_path / "run", _csv(tmp_path)).columns
    assert list(columns)[-4:] == ["prediction", "map_row", "map_column", "distance"]
    assert columns["prediction"].tolist() == ["setosa"] * 3
    assert ((columns["map_row"] >= 0) & (columns["map_row"] < 8)).all()


def _csv(folder: Path) -> Path:
    header = "sepal length (cm),sepal width (cm),petal length (cm),petal width (cm)\n"
    rows = "\n".join(",".join(map(str, row)) for row in flowers()[:3])
    path = folder / "new.csv"
    path.write_text(header + rows + "\n")
    return path


def test_a_table_without_a_target_is_mapped_too(tmp_path: Path) -> None:
    path = tmp_path / "plain.csv"
    path.write_text("a,b,c\n" + "\n".join(",".join(f"{v:.3f}" for v in row[:3]) for row in flowers()) + "\n")
    result = nn.train("som", path, epochs=5, out=tmp_path / "run", report=False)
    assert "purity" not in result.metrics
    assert list(nn.predict(tmp_path / "run", path).columns)[-3:] == ["map_row", "map_column", "distance"]


@pytest.mark.parametrize(("options", "message"), [
    ({"rows": 1, "columns": 1}, "at least 1 feature and 2 units"), ({"rows": 0}, "at least 1 feature and 2 units"),
    ({"grid": "square"}, "No grid has this name. Received 'square'"), ({"method": "onlin"}, "Did you mean 'online'"),
])  # fmt: skip
def test_wrong_options_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        build(3, **options)


@pytest.mark.parametrize(("settings", "message"), [
    ({"sigma": 0.0}, "The setting sigma is a positive number"), ({"sigma_end": -1.0}, "sigma_end"),
    ({"rate": float("nan")}, "rate"), ({"decay": "linaer"}, "Did you mean 'linear'"),
])  # fmt: skip
def test_wrong_settings_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        learn(fresh(), 0.0, Tensor(np.zeros((2, 3))), **settings)


def test_padded_rows_change_neither_rule() -> None:
    from nnatomy.functional import masked_examples

    x = np.random.default_rng(1).normal(size=(6, 3))
    for rule in (lambda m, t: batch_map(m, t, 1.0), lambda m, t: kohonen(m, t, 0.3, 1.0)):
        short, padded = fresh(), fresh()
        with no_grad():
            rule(short, Tensor(x[:4]))
            with masked_examples(np.arange(6) < 4):
                rule(padded, Tensor(x))
        np.testing.assert_allclose(codebook(padded), codebook(short), rtol=1e-12)
