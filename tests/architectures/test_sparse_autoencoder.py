"""The sparse autoencoder: means reach rho, penalties cannot be evaded, and only kept units have a gradient."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest

from nnatomy import data, random
from nnatomy.architectures.autoencoders.sparse_autoencoder import model as architecture
from nnatomy.architectures.autoencoders.sparse_autoencoder.picture import draw, usage
from nnatomy.architectures.autoencoders.sparse_autoencoder.recipe import digits as recipe
from nnatomy.errors import UserError
from nnatomy.functional import masked_examples
from nnatomy.tasks import task_for
from nnatomy.tensor import Tensor
from nnatomy.training import fit as training

Array = np.ndarray[Any, Any]
DIGITS = data.load("digits", accepts=("image",))
TEST: Array = DIGITS.test.all()[0]


@cache
def fit(epochs: int = recipe.epochs, **options: Any) -> architecture.SparseAutoencoder:
    """A model of the digits, trained as the recipe says."""
    random.seed(0)
    shorter = replace(recipe, epochs=epochs)
    model = recipe.build(DIGITS, **{**recipe.options, **options})
    training.fit(shorter, model, DIGITS, task_for(recipe, DIGITS), 0)
    assert isinstance(model, architecture.SparseAutoencoder)
    return model


def explained(model: architecture.SparseAutoencoder) -> float:
    """The fraction of the test images' variance that returns."""
    return float(task_for(recipe, DIGITS).evaluate(model, DIGITS.test).metrics["explained"])


def codes(model: architecture.SparseAutoencoder, x: Array = TEST) -> Array:
    return np.asarray(model.encode(Tensor(x)).numpy())


# The divergence


def test_mean_activation_reaches_rho() -> None:
    """Held-out means of all units are near rho; without the penalty they are not."""
    for rho in (0.05, 0.1):
        means = codes(fit(rho=rho)).mean(axis=0)
        assert means.mean() == pytest.approx(rho, abs=0.01)
        assert np.abs(means - rho).max() < 0.04
    assert codes(fit(epochs=2, weight=0.0)).mean(axis=0).mean() > 0.3


def test_divergence_is_zero_at_rho_and_convex() -> None:
    r = np.linspace(0.001, 0.999, 999)
    for rho in (0.05, 0.3):
        p = Tensor(r.copy(), requires_grad=True)
        found = architecture.divergence(rho, p)
        found.sum().backward()
        values, slopes = found.numpy(), p.grad.numpy()  # type: ignore[union-attr]
        assert r[values.argmin()] == pytest.approx(rho)
        assert values.min() == pytest.approx(0, abs=1e-12)
        assert (np.diff(slopes) > 0).all()
        np.testing.assert_allclose(slopes, -rho / r + (1 - rho) / (1 - r), rtol=1e-9, atol=1e-9)
    assert np.isfinite(architecture.divergence(0.1, Tensor(np.array([0.0, 1.0]))).numpy()).all()


def test_the_mean_is_over_examples() -> None:
    """Two units that are each on for one of two examples have the mean 1/2 and cost nothing at rho = 1/2."""
    model = architecture.build(2, 2, "kl", weight=1.0, rho=0.5)
    h = Tensor(np.array([[1.0, 0.0], [0.0, 1.0]]))
    assert model.penalty(h).item() == pytest.approx(0, abs=1e-9)
    assert model.penalty(Tensor(np.array([[1.0, 0.0]]))).item() > 10


def test_padding_rows_do_not_count_in_the_mean() -> None:
    h = np.random.default_rng(0).uniform(size=(5, 3))
    with masked_examples(np.array([True, True, True, False, False])):
        found = architecture.mean_activation(Tensor(h)).numpy()
    np.testing.assert_allclose(found, h[:3].mean(axis=0))
    np.testing.assert_allclose(architecture.mean_activation(Tensor(h)).numpy(), h.mean(axis=0))


def test_sigmoid_units_stay_where_the_divergence_exists() -> None:
    x = (30 * np.random.default_rng(0).normal(size=(20, 4))).astype(np.float32)
    h = codes(architecture.build(4, 9, "kl"), x)
    assert h.min() >= 0
    assert h.max() <= 1
    assert codes(architecture.build(4, 9, "l1"), x).max() > 1


# The L1 penalty


def test_the_l1_penalty_cannot_be_scaled_away() -> None:
    """A tenth of the activations with ten times the columns: the same output, and the same loss."""
    model = architecture.build(6, 8, "l1", weight=0.5).astype("float64")
    x = Tensor(np.random.default_rng(0).normal(size=(7, 6)))
    value, y = architecture.loss(model, x, x)
    before = model.encode(x).numpy().sum()
    s = model.state_dict()
    model.load_state_dict({
        "encoder.weight": s["encoder.weight"] / 10, "encoder.bias": s["encoder.bias"] / 10,
        "decoder.weight": s["decoder.weight"] * 10, "decoder.bias": s["decoder.bias"],
    })  # fmt: skip
    assert model.encode(x).numpy().sum() == pytest.approx(before / 10)
    again, z = architecture.loss(model, x, x)
    np.testing.assert_allclose(z.numpy(), y.numpy())
    assert again.item() == pytest.approx(value.item())


# The k largest


def test_keep_largest_keeps_k_by_value() -> None:
    z = np.random.default_rng(0).normal(size=(50, 12))
    kept = architecture.keep_largest(Tensor(z), 3).numpy()
    assert ((kept != 0).sum(axis=1) == 3).all()
    np.testing.assert_array_equal(kept, np.where(z >= np.sort(z, axis=1)[:, -3:-2], z, 0.0))
    same = architecture.keep_largest(Tensor(np.ones((2, 5))), 2).numpy()
    np.testing.assert_array_equal(same, [[1, 1, 0, 0, 0]] * 2)  # of equals the first


def test_gradient_flows_through_kept_units_only() -> None:
    model = architecture.build(5, 10, "topk", k=2).astype("float64")
    x = Tensor(np.random.default_rng(0).normal(size=(1, 5)))
    kept = model.encode(x).numpy()[0] != 0
    architecture.loss(model, x, x)[0].backward()
    g = model.encoder.bias.grad.numpy()  # type: ignore[union-attr]
    assert kept.sum() == 2
    assert (g[~kept] == 0).all()
    assert (g[kept] != 0).all()


# On the digits


def test_sixteen_of_many_units_explain_more_than_sixteen_components() -> None:
    components = task_for(recipe, DIGITS).baselines["principal components"](DIGITS, [recipe])
    assert "16" in components.chosen
    linear = task_for(recipe, DIGITS).score(components.outputs, DIGITS.test).metrics["explained"]
    model = fit(sparsity="topk")
    assert ((codes(model) != 0).sum(axis=1) <= 16).all()
    assert explained(model) > linear + 0.03


@pytest.mark.parametrize("options, active, value", [
    ({"rho": 0.05}, None, 0.76), ({"rho": 0.1}, None, 0.87), ({"sparsity": "topk", "k": 8}, 8, 0.84),
    ({"sparsity": "topk"}, 16, 0.91), ({"sparsity": "l1", "weight": 0.3}, 21, 0.88),
])  # fmt: skip
def test_explained_variance_of_each_form(options: dict[str, Any], active: float | None, value: float) -> None:
    """The table of the page."""
    model = fit(**options)
    assert explained(model) == pytest.approx(value, abs=0.015)
    if active is not None:
        assert (codes(model) != 0).sum(axis=1).mean() == pytest.approx(active, rel=0.1)


def test_topk_leaves_dead_units_and_the_divergence_does_not() -> None:
    assert (usage(fit(sparsity="topk"), TEST) == 0).sum() > 24
    assert usage(fit(rho=0.1), TEST).min() > 0.05


def test_parameters_are_those_of_the_formula() -> None:
    for d, h in ((64, 160), (7, 3)):
        for sparsity in architecture.SPARSITY:
            assert architecture.build(d, h, sparsity, k=2).count_parameters() == 2 * h * d + h + d
    assert architecture.build(64, 160).count_parameters() == 20_704


# Pictures and wrong inputs


@pytest.mark.parametrize("sparsity", ["kl", "topk"])
def test_picture_shows_the_columns_and_their_use(sparsity: str) -> None:
    model = fit(rho=0.1) if sparsity == "kl" else fit(sparsity="topk")
    figure = draw(model, DIGITS)
    use = usage(model, TEST)
    columns = model.decoder.weight.numpy()
    most = int(np.argmax(use * np.linalg.norm(columns, axis=0)))
    first = next(axes for axes in figure.axes if axes.images)
    np.testing.assert_allclose(np.asarray(first.images[0].get_array()), columns[:, most].reshape(8, 8))
    assert first.get_title() == f"{use[most]:.0%}"
    assert f"{explained(model):.0%}" in str(figure.get_suptitle())


def test_wrong_options() -> None:
    cases: tuple[tuple[dict[str, Any], str], ...] = (
        ({"units": 0}, "at least 1"), ({"sparsity": "kls"}, "Did you mean 'kl'"), ({"weight": -1.0}, "weight is a number"),
        ({"rho": 1.0}, "between 0 and 1"), ({"sparsity": "topk", "units": 5, "k": 6}, "k is from 1"),
    )  # fmt: skip
    for wrong, said in cases:
        with pytest.raises(UserError, match=said):
            architecture.build(8, **wrong)
