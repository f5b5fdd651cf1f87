"""The autoencoder: the linear one is PCA, tied weights are shared, codes are narrow, and unlike examples have large errors."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.linalg import subspace_angles
from sklearn.metrics import roc_auc_score

from nnatomy import data, random
from nnatomy.architectures.autoencoders.autoencoder import model as architecture
from nnatomy.architectures.autoencoders.autoencoder.picture import draw
from nnatomy.architectures.autoencoders.autoencoder.recipe import fit_to, image, series, table
from nnatomy.errors import UserError
from nnatomy.optim import Adam
from nnatomy.tasks import task_for
from nnatomy.tensor import Tensor
from nnatomy.training import fit as training
from nnatomy.training.recipe import Recipe

Array = np.ndarray[Any, Any]


def fit(
    recipe: Recipe, dataset: data.Dataset, seed: int = 0, epochs: int | None = None, **options: Any
) -> architecture.Autoencoder:
    """A model trained as the recipe says."""
    random.seed(seed)
    model = recipe.build(dataset, **{**recipe.options, **options})
    assert isinstance(model, architecture.Autoencoder)
    shorter = replace(recipe, epochs=epochs or recipe.epochs, patience=None)
    training.fit(shorter, model, dataset, task_for(recipe, dataset), seed)
    return model


def errors(model: architecture.Autoencoder, x: Array) -> Array:
    """The mean squared error of each example."""
    return np.asarray(((model(Tensor(x)).numpy() - x) ** 2).reshape(len(x), -1).mean(axis=1))


def pca_errors(train: Array, test: Array, code: int) -> Array:
    """The same for a projection on the first principal components of `train`."""
    train, test = train.reshape(len(train), -1).astype(np.float64), test.reshape(len(test), -1).astype(np.float64)
    center = train.mean(axis=0)
    axes = np.linalg.svd(train - center, full_matrices=False)[2][:code]
    back = (test - center) @ axes.T @ axes + center
    return np.asarray(((test - back) ** 2).mean(axis=1))


@pytest.fixture(scope="module")
def digits() -> data.Dataset:
    return data.load("digits", accepts=("image",))


@pytest.fixture(scope="module")
def of_digits(digits: data.Dataset) -> architecture.Autoencoder:
    return fit(image, digits)


@pytest.fixture(scope="module")
def cloud() -> Array:
    """300 points of 8 numbers whose variances along slanted directions fall from 9 to 0.02; their mean is not 0."""
    rng = np.random.default_rng(0)
    turn = np.linalg.qr(rng.normal(size=(8, 8)))[0]
    return rng.normal(size=(300, 8)) * np.geomspace(3, 0.15, 8) @ turn.T + rng.normal(size=8)


# The linear autoencoder is PCA (Baldi and Hornik 1989)


@pytest.mark.parametrize("tied", [False, True])
def test_linear_autoencoder_spans_the_principal_subspace_and_reaches_its_error(cloud: Array, tied: bool) -> None:
    model = architecture.build(8, (), 3, "identity", tied=tied).astype("float64")
    optimizer, x = Adam(model.named_parameters(), lr=0.03), Tensor(cloud)
    for step in range(1500):
        optimizer.lr = 0.03 * (1 + math.cos(math.pi * step / 1500)) / 2
        optimizer.zero_grad()
        architecture.reconstruction_error(model, x)[0].backward()
        optimizer.step()
    covariance = np.cov(cloud.T, bias=True)
    variances, axes = np.linalg.eigh(covariance)
    lost = variances[:5].sum() / 8  # the formula of the page
    assert pca_errors(cloud, cloud, 3).mean() == pytest.approx(lost)
    assert errors(model, cloud).mean() == pytest.approx(lost, rel=1e-4)
    decoder = model.encoder[0].weight.numpy().T if tied else model.decoder[0].weight.numpy()  # type: ignore[attr-defined]
    assert subspace_angles(decoder, axes[:, 5:]).max() < 0.01
    encoder = model.encoder[0].weight.numpy()
    assert subspace_angles(encoder.T, axes[:, 5:]).max() < 0.01


def test_no_linear_autoencoder_is_better_than_pca(cloud: Array) -> None:
    rng = np.random.default_rng(1)
    best = pca_errors(cloud, cloud, 3).mean()
    axes = np.linalg.eigh(np.cov(cloud.T, bias=True))[1]
    for scale in (0.0, 0.01, 0.1, 1.0):
        model = architecture.build(8, (), 3, "identity").astype("float64")
        mix = rng.normal(size=(3, 3))  # any invertible mixture of the components serves as well
        state = {
            "encoder.0.weight": mix @ axes[:, 5:].T, "encoder.0.bias": -mix @ axes[:, 5:].T @ cloud.mean(axis=0),
            "decoder.0.weight": axes[:, 5:] @ np.linalg.inv(mix), "decoder.0.bias": cloud.mean(axis=0),
        }  # fmt: skip
        model.load_state_dict({name: value + scale * rng.normal(size=value.shape) for name, value in state.items()})
        found = errors(model, cloud).mean()
        assert found == pytest.approx(best) if scale == 0 else found > best


def linear(encoder: Array, decoder: Array, tied: bool = False) -> architecture.Autoencoder:
    """A linear autoencoder with weights (code, features) and (features, code), without biases."""
    code, features = encoder.shape
    model = architecture.build(features, (), code, "identity", tied=tied).astype("float64")
    state = {"encoder.0.weight": encoder, "encoder.0.bias": np.zeros(code), "decoder.0.bias": np.zeros(features)}
    model.load_state_dict(state if tied else {**state, "decoder.0.weight": decoder})
    return model


def test_tied_weights_allow_rotations_only(cloud: Array) -> None:
    """The components, rotated, are as good as before; another invertible mixture needs another decoder."""
    rng = np.random.default_rng(1)
    x = cloud - cloud.mean(axis=0)
    axes = np.linalg.eigh(np.cov(x.T, bias=True))[1][:, 5:]
    best = pca_errors(x, x, 3).mean()
    rotation = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    mixture = rng.normal(size=(3, 3))
    assert errors(linear(rotation @ axes.T, axes, tied=True), x).mean() == pytest.approx(best)
    assert errors(linear(mixture @ axes.T, axes @ np.linalg.inv(mixture)), x).mean() == pytest.approx(best)
    assert errors(linear(mixture @ axes.T, axes, tied=True), x).mean() > 1.5 * best


def test_zero_weights_are_a_saddle(cloud: Array) -> None:
    """No gradient at zero, yet the error falls in one direction and rises in another."""
    x = cloud - cloud.mean(axis=0)
    zero = linear(np.zeros((3, 8)), np.zeros((8, 3)))
    value = architecture.loss(zero, Tensor(x), Tensor(x))[0]
    value.backward()
    assert all(np.abs(p.grad.numpy()).max() < 1e-12 for p in zero.parameters() if p.grad is not None)
    small = 0.01 * np.linalg.eigh(np.cov(x.T, bias=True))[1][:, 5:]
    assert errors(linear(small.T, small), x).mean() < value.item() < errors(linear(small.T, -small), x).mean()


def test_parameters_are_those_of_the_formula() -> None:
    for d, m, k in ((64, 128, 16), (7, 5, 2)):
        biases = 2 * m + k + d
        assert architecture.build(d, (m,), k).count_parameters() == 2 * m * (d + k) + biases
        assert architecture.build(d, (m,), k, tied=True).count_parameters() == m * (d + k) + biases
    assert architecture.build(64, (128,), 16).count_parameters() == 20_816


def test_a_code_as_wide_as_the_input_can_copy(cloud: Array) -> None:
    model = architecture.build(8, (), 8, "identity").astype("float64")
    nothing = np.zeros(8)
    model.load_state_dict({"encoder.0.weight": np.eye(8), "encoder.0.bias": nothing, "decoder.0.weight": np.eye(8),
                           "decoder.0.bias": nothing})  # fmt: skip
    assert errors(model, cloud).max() < 1e-25


# Tied weights


def test_tied_decoder_shares_the_encoders_weights() -> None:
    model = architecture.build(12, (10,), 5, "tanh", tied=True)
    assert set(model.state_dict()) == {
        "encoder.0.weight", "encoder.0.bias", "encoder.1.weight", "encoder.1.bias", "decoder.0.bias", "decoder.1.bias",
    }  # fmt: skip
    assert model.count_parameters() == 12 * 10 + 10 * 5 + 10 + 5 + 10 + 12
    z = Tensor(np.ones((1, 5), np.float32))
    before = model.decode(z).numpy().copy()
    state = model.state_dict()
    model.load_state_dict({**state, "encoder.1.weight": 2 * state["encoder.1.weight"]})
    assert np.abs(model.decode(z).numpy() - before).max() > 1e-3


def test_gradient_of_tied_weights_is_the_sum_of_both_uses() -> None:
    tied = architecture.build(6, (5,), 3, "tanh", tied=True).astype("float64")
    plain = architecture.build(6, (5,), 3, "tanh").astype("float64")
    state = tied.state_dict()
    turned = {"decoder.0.weight": state["encoder.1.weight"].T, "decoder.1.weight": state["encoder.0.weight"].T}
    plain.load_state_dict(state | turned)
    x = Tensor(np.random.default_rng(0).normal(size=(7, 6)))
    found = []
    for model in (tied, plain):
        architecture.loss(model, x, x)[0].backward()
        found.append({name: p.grad.numpy() for name, p in model.named_parameters() if p.grad is not None})
    assert np.allclose(found[0]["encoder.0.weight"], found[1]["encoder.0.weight"] + found[1]["decoder.1.weight"].T)
    assert np.allclose(found[0]["encoder.1.weight"], found[1]["encoder.1.weight"] + found[1]["decoder.0.weight"].T)
    assert np.allclose(found[0]["decoder.0.bias"], found[1]["decoder.0.bias"])


# Shapes and ranges


def test_mirror_of_widths_and_shapes() -> None:
    model = architecture.build(48, (32, 16), 4)
    assert [layer.weight.shape for layer in model.encoder] == [(32, 48), (16, 32), (4, 16)]
    assert [model.state_dict()[f"decoder.{k}.weight"].shape for k in range(3)] == [(16, 4), (32, 16), (48, 32)]
    x = Tensor(np.zeros((5, 3, 4, 4), np.float32))
    assert model.encode(x).shape == (5, 4)
    assert model.decode(model.encode(x)).shape == (5, 48)
    assert model(x).shape == x.shape
    assert architecture.build(48)(Tensor(np.zeros((2, 48), np.float32))).shape == (2, 48)


def test_hidden_layers_bend_but_the_code_does_not() -> None:
    model = architecture.build(4, (6,), 2, "relu").astype("float64")
    x = np.random.default_rng(0).normal(size=(50, 4))
    s = model.state_dict()
    hidden = np.maximum(x @ s["encoder.0.weight"].T + s["encoder.0.bias"], 0)
    code = hidden @ s["encoder.1.weight"].T + s["encoder.1.bias"]
    assert np.allclose(model.encode(Tensor(x)).numpy(), code)
    assert code.min() < 0  # no activation after the code
    hidden = np.maximum(code @ s["decoder.0.weight"].T + s["decoder.0.bias"], 0)
    assert np.allclose(model(Tensor(x)).numpy(), hidden @ s["decoder.1.weight"].T + s["decoder.1.bias"])


def test_sigmoid_outputs_lie_between_0_and_1() -> None:
    x = Tensor(10 * np.random.default_rng(0).normal(size=(20, 6)).astype(np.float32))
    state = architecture.build(6, (8,), 3).state_dict()
    plain, bounded = architecture.build(6, (8,), 3), architecture.build(6, (8,), 3, output_activation="sigmoid")
    plain.load_state_dict(state)
    bounded.load_state_dict(state)
    assert bounded(x).numpy() == pytest.approx(1 / (1 + np.exp(-plain(x).numpy())), abs=1e-6)


def test_loss_looks_at_targets_and_the_recipes_at_inputs_alone() -> None:
    model, x = architecture.build(6), Tensor(np.ones((4, 6), np.float32))
    targets = Tensor(np.zeros((4, 6), np.float32))
    assert architecture.loss(model, x, targets)[0].item() == pytest.approx((model(x).numpy() ** 2).mean(), rel=1e-5)
    labels = Tensor(np.arange(4))
    assert architecture.reconstruction_error(model, x, labels)[0].item() == architecture.loss(model, x, x)[0].item()


# Anomalies


def test_tanh_is_bounded_and_a_linear_network_extrapolates() -> None:
    model = architecture.build(6, (8,), 3, "tanh").astype("float64")
    s = model.state_dict()
    bound = np.abs(s["decoder.1.weight"]).sum(axis=1).max()
    direction = np.random.default_rng(0).normal(size=(1, 6))
    far = [model(Tensor(k * direction)).numpy() for k in (1e2, 1e4, 1e6)]
    assert max(np.abs(y - s["decoder.1.bias"]).max() for y in far) <= bound
    linear = architecture.build(6, (8,), 3, "identity").astype("float64")
    steps = [linear(Tensor(k * direction)).numpy() - linear(Tensor(0 * direction)).numpy() for k in (1.0, 1e4)]
    assert np.allclose(steps[1], 1e4 * steps[0])


def test_a_linear_network_is_blind_in_its_plane_and_tanh_is_not(cloud: Array) -> None:
    """Far away in the plane of a linear network the error is 0, off the plane it is not; with tanh the bound holds."""
    x = cloud - cloud.mean(axis=0)
    axes = np.linalg.eigh(np.cov(x.T, bias=True))[1]
    plane = linear(axes[:, 5:].T, axes[:, 5:])
    assert errors(plane, 1000 * axes[:, 5:].T).max() < 1e-12
    assert errors(plane, 1000 * axes[:, :5].T).min() > 1e4
    tanh = architecture.build(8, (6,), 3, "tanh").astype("float64")
    state = tanh.state_dict()
    bound = np.linalg.norm(np.abs(state["decoder.1.weight"]).sum(axis=1) + np.abs(state["decoder.1.bias"]))
    for scale in (10.0, 100.0, 1000.0):
        far = scale * axes.T
        assert (errors(tanh, far) >= (scale - bound) ** 2 / 8).all()


def test_unseen_kinds_come_back_worse(digits: data.Dataset) -> None:
    x, y = digits.train.all()
    practiced = dataclasses.replace(digits, train=data.ArraySplit((x[y < 5], y[y < 5])), validation=digits.train)
    held, labels = digits.validation.all()
    practiced = dataclasses.replace(practiced, validation=data.ArraySplit((held[labels < 5], labels[labels < 5])))
    model = fit(image, practiced, epochs=30)
    test, labels = digits.test.all()
    assert roc_auc_score(labels >= 5, errors(model, test)) > 0.9


def test_digits_come_back_better_than_from_pca_with_the_same_code(
    digits: data.Dataset, of_digits: architecture.Autoencoder
) -> None:
    train, test = digits.train.all()[0], digits.test.all()[0]
    assert errors(of_digits, test).mean() < 0.8 * pca_errors(train, test, 16).mean()


@pytest.mark.parametrize("code, ours, linear", [(2, 0.52, 0.28), (8, 0.84, 0.67), (16, 0.91, 0.85)])
def test_variance_that_returns_for_each_width_of_the_code(
    code: int, ours: float, linear: float, digits: data.Dataset, of_digits: architecture.Autoencoder
) -> None:
    """The table of the page."""
    train, test = digits.train.all()[0], digits.test.all()[0]
    model = of_digits if code == 16 else fit(image, digits, code=code)
    variance = ((test - train.mean(axis=0)) ** 2).mean()
    assert 1 - errors(model, test).mean() / variance == pytest.approx(ours, abs=0.02)
    assert 1 - pca_errors(train, test, code).mean() / variance == pytest.approx(linear, abs=0.006)


def test_machine_temperature_failures_stand_out(real_data: Path) -> None:
    path = real_data / "timeseries" / series.data
    dataset = data.load(path, accepts=("series",), tasks=("anomaly",))
    train, (test, labels) = dataset.train.all()[0], dataset.test.all()
    model = fit(series, dataset)
    auc = roc_auc_score(labels, errors(model, test))
    pca = roc_auc_score(labels, pca_errors(train, test, 4))
    relu, sigmoid = (roc_auc_score(labels, errors(fit(series, dataset, activation=name), test)) for name in ("relu", "sigmoid"))
    assert min(auc, sigmoid) > 0.87
    assert min(auc, sigmoid) > pca + 0.05
    assert min(auc, sigmoid) > relu + 0.02
    alarms = errors(model, test) > np.quantile(errors(model, dataset.validation.all()[0]), 0.99)
    assert labels[alarms].mean() == pytest.approx(0.47, abs=0.08)  # precision: later windows differ from the validation ones
    assert alarms[labels == 1].mean() == pytest.approx(0.95, abs=0.05)
    figure = draw(model, dataset)
    shaded = [len(axes.patches) for axes in figure.axes[:2]]
    assert shaded == [4, 4]  # the four labeled failures


# Pictures


def test_picture_of_images(digits: data.Dataset, of_digits: architecture.Autoencoder) -> None:
    figure = draw(of_digits, digits)
    x = digits.test.all()[0]
    pictures = [np.asarray(axes.images[0].get_array()) for axes in figure.axes if axes.images]
    above, below = pictures[0], pictures[12]
    to_images: Any = digits.preprocessing.to_images  # type: ignore[attr-defined]
    first = int(np.flatnonzero(digits.test.all()[1] == 0)[0])
    assert np.array_equal(above, to_images(x[first : first + 1])[0, 0])
    assert np.allclose(below, to_images(of_digits(Tensor(x[first : first + 1])).numpy())[0, 0], atol=1e-5)
    assert f"{errors(of_digits, x).mean():.3f}" in str(figure.get_suptitle())


@pytest.mark.parametrize("code", [1, 2, 3])
def test_picture_of_a_table(code: int) -> None:
    dataset = data.load("wine", accepts=("table",), tasks=("reconstruction",))
    figure = draw(fit(table, dataset, epochs=3, code=code), dataset)
    assert any("map of the codes" in axes.get_title() for axes in figure.axes)


# Wrong inputs


def test_wrong_inputs(digits: data.Dataset) -> None:
    with pytest.raises(UserError, match="width of at least 1"):
        architecture.build(8, (0,), 2)
    with pytest.raises(UserError, match="Did you mean 'sigmoid'"):
        architecture.build(8, activation="sigmoit")
    with pytest.raises(UserError, match="output activation"):
        architecture.build(8, output_activation="tanh")
    with pytest.raises(UserError, match="copying"):
        fit_to(digits, code=64)
