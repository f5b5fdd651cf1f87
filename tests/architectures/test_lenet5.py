"""LeNet-5: the parts that the paper describes, its sizes, and the tolerance of shifts that convolution is for."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.signal import correlate2d

from nnatomy import data, layers, random
from nnatomy.architectures.convolutional.lenet5 import model as architecture
from nnatomy.architectures.convolutional.lenet5.picture import draw
from nnatomy.architectures.convolutional.lenet5.recipe import fit_to, image
from nnatomy.errors import UserError
from nnatomy.functional import cross_entropy
from nnatomy.optim import Adam
from nnatomy.runs.train import train
from nnatomy.tasks import task_for
from nnatomy.tensor import Tensor
from nnatomy.training import fit as training
from nnatomy.training.learners import GradientDescent
from nnatomy.training.recipe import Recipe

Array = np.ndarray[Any, Any]


@pytest.fixture(scope="module")
def digits() -> data.Dataset:
    return data.load("digits", accepts=("image",), resize=(28, 28))


def fit(recipe: Recipe, dataset: data.Dataset, build: Callable[[], Any], epochs: int = 5) -> Any:
    """A model trained as the recipe says."""
    random.seed(0)
    model = build()
    training.fit(replace(recipe, epochs=epochs), model, dataset, task_for(recipe, dataset))
    return model.eval()


@pytest.fixture(scope="module")
def unshifted(digits: data.Dataset) -> architecture.LeNet5:
    """Trained without augmentation, so that tolerance of shifts is the architecture's own."""
    return fit(dataclasses.replace(image, augment=None), digits, lambda: fit_to(digits))  # type: ignore[no-any-return]


def accuracy(model: Any, x: Array, y: Array) -> float:
    return float((np.asarray(model(Tensor(x)).data).argmax(axis=1) == y).mean())


# Sizes


def test_parameters_of_each_layer() -> None:
    counts: dict[str, int] = {}
    for name, parameter in architecture.LeNet5Paper().named_parameters():
        counts[name.split(".")[0]] = counts.get(name.split(".")[0], 0) + parameter.size
    assert counts == {"c1": 156, "s2": 12, "c3": 1516, "s4": 32, "c5": 48120, "f6": 10164}
    assert architecture.LeNet5Paper().count_parameters() == architecture.LeNet5Paper(26).count_parameters() == 60_000
    assert architecture.LeNet5().count_parameters() == 61_706


@pytest.mark.parametrize("size", [28, 32])
def test_sizes_of_the_maps(size: int) -> None:
    model, sizes = architecture.LeNet5Paper(), {}
    for name, layer in model.named_modules():
        layer.register_forward_hook(lambda m, a, out, name=name: sizes.update({name: out.shape[1:]}))
    model(Tensor(np.zeros((2, 1, size, size), np.float32)))
    assert sizes == {"c1": (6, 28, 28), "s2": (6, 14, 14), "c3": (16, 10, 10), "s4": (16, 5, 5), "c5": (120, 1, 1), "f6": (84,),
                     "": (10,)}  # fmt: skip


def test_receptive_fields() -> None:
    """The side of the square of pixels whose gradient is not 0, for one value of each layer."""
    model, found = architecture.LeNet5Paper(), {}
    layers_of = (model.c1, model.s2, model.c3, model.s4, model.c5)
    for name, layer in zip(("c1", "s2", "c3", "s4", "c5"), layers_of):
        x = Tensor(np.random.default_rng(0).normal(size=(1, 1, 32, 32)).astype(np.float32), requires_grad=True)
        y: Any = x
        for each in layers_of[: layers_of.index(layer) + 1]:
            y = architecture.squash(each(y))
        y[0, :, y.shape[2] // 2, y.shape[3] // 2].sum().backward()
        assert x.grad is not None
        rows, columns = np.nonzero(x.grad.numpy()[0, 0])
        assert np.ptp(rows) == np.ptp(columns)
        found[name] = int(np.ptp(rows)) + 1
    assert found == {"c1": 5, "s2": 6, "c3": 14, "s4": 16, "c5": 32}


def test_initial_weights_lie_within_the_papers_bounds_and_fill_them() -> None:
    model = architecture.LeNet5Paper()
    fan_in = {"c1": 25, "s2": 4, "s4": 4, "c5": 400, "f6": 120}
    for name, parameter in model.named_parameters():
        layer = name.split(".")[0]
        sizes = {3: 75, 4: 100, 6: 150} if layer == "c3" else {0: fan_in[layer]}
        assert np.abs(parameter.numpy()).max() <= 2.4 / min(sizes.values())
    rows = np.repeat([len(row) for row in architecture.TABLE_I], [len(row) for row in architecture.TABLE_I])
    for maps in (3, 4, 6):
        found = np.abs(model.c3.weight.numpy()[rows == maps]).max()
        assert 0.9 * 2.4 / (25 * maps) < found <= 2.4 / (25 * maps)


# The paper's parts


def test_squash_keeps_one_at_one() -> None:
    assert architecture.squash(np.array([-1.0, 0.0, 1.0])) == pytest.approx([-1, 0, 1], abs=2e-5)
    assert np.abs(architecture.squash(np.array([-50.0, 50.0]))) == pytest.approx([1.7159, 1.7159])


def test_subsampling_sums_squares_of_four() -> None:
    layer, x = architecture.Subsampling(2), np.random.default_rng(0).normal(size=(1, 2, 6, 4)).astype(np.float32)
    y = layer(Tensor(x)).numpy()
    for m, r, c in np.ndindex(2, 3, 2):
        square = x[0, m, 2 * r : 2 * r + 2, 2 * c : 2 * c + 2]
        assert y[0, m, r, c] == pytest.approx(layer.weight.numpy()[m] * square.sum() + layer.bias.numpy()[m], abs=1e-5)


def test_table_of_connections() -> None:
    table = architecture.TABLE_I
    assert [len(row) for row in table] == [3] * 6 + [4] * 9 + [6]
    assert len(set(table)) == 16
    seen = np.bincount(np.concatenate([np.array(row) for row in table]))
    assert seen.tolist() == [10] * 6  # every map of S2 goes to ten of C3


def test_partial_convolution_sees_the_maps_of_its_table_alone() -> None:
    layer, x = architecture.PartialConv(), np.random.default_rng(0).normal(size=(6, 9, 8))
    y = layer.astype("float64")(Tensor(x[None])).numpy()[0]
    kernels, bias, k = layer.weight.numpy(), layer.bias.numpy(), 0
    for o, row in enumerate(architecture.TABLE_I):
        expected = np.full((5, 4), bias[o])
        for i in row:
            expected = expected + correlate2d(x[i], kernels[k], mode="valid")
            k += 1
        assert np.allclose(y[o], expected, atol=1e-12)
    assert k == 60


def test_codes_are_drawn_digits_or_fixed_random_signs() -> None:
    codes = architecture.digit_codes()
    assert codes.shape == (10, 84)
    assert set(codes.reshape(-1)) == {-1.0, 1.0}
    apart = ((codes[:, None] - codes[None]) ** 2).sum(axis=2)
    assert apart[~np.eye(10, dtype=bool)].min() >= 16  # any two digits differ in at least four pixels
    assert apart[3, 8] < apart[3, 4]  # like characters have like codes
    assert np.array_equal(architecture.LeNet5Paper().codes.numpy(), codes)
    random.seed(5)
    assert np.array_equal(architecture.LeNet5Paper(26).codes.numpy(), architecture.random_codes(26))
    assert abs(architecture.random_codes(200).mean()) < 0.05
    assert "codes" in dict(architecture.LeNet5Paper().named_buffers())


def test_outputs_are_squared_distances_from_the_codes() -> None:
    model, seen = architecture.LeNet5Paper(), {}
    model.f6.register_forward_hook(lambda m, a, out: seen.update(f6=out.numpy()))
    x = Tensor(np.random.default_rng(0).normal(size=(3, 1, 32, 32)).astype(np.float32))
    y = model(x).numpy()
    f6 = 1.7159 * np.tanh(2 / 3 * seen["f6"])
    expected = [[((f6[n] - code) ** 2).sum() for code in architecture.digit_codes()] for n in range(3)]
    assert y == pytest.approx(np.array(expected), rel=1e-5)
    model.scores = True
    assert np.array_equal(model(x).numpy(), -y)


def test_images_of_28_get_their_edge_repeated() -> None:
    model, x = architecture.LeNet5Paper(), np.random.default_rng(0).normal(size=(2, 1, 28, 28)).astype(np.float32)
    framed = np.pad(x, ((0, 0), (0, 0), (2, 2), (2, 2)), mode="edge")
    assert np.array_equal(model(Tensor(x)).numpy(), model(Tensor(framed)).numpy())


# The criterion


def test_map_criterion_is_equation_9() -> None:
    y = np.random.default_rng(0).uniform(0, 6, (5, 10))
    t = np.array([0, 3, 9, 9, 1])
    expected = np.mean([y[n, t[n]] + np.log(np.exp(-1.0) + np.exp(-y[n]).sum()) for n in range(5)])
    assert architecture.map_criterion(Tensor(y), Tensor(t)).item() == pytest.approx(expected, abs=1e-12)


def test_map_criterion_of_large_penalties_and_its_pull_and_push() -> None:
    y = Tensor(np.array([[900.0, 2000.0, 3.0]]), requires_grad=True)
    loss = architecture.map_criterion(y, Tensor(np.array([0])))
    assert loss.item() == pytest.approx(900 + np.log(np.exp(-1) + np.exp(-3)))
    loss.backward()
    assert y.grad is not None
    pull, far, near = y.grad.numpy()[0]
    assert pull == pytest.approx(1)  # the right penalty shall fall
    assert far == pytest.approx(0, abs=1e-12)  # a wrong one beyond j is left alone
    assert near < -0.1  # a wrong one that is small shall grow


# Shifts


def test_maps_move_with_the_image() -> None:
    model, x = architecture.LeNet5(), np.zeros((1, 1, 28, 28), np.float32)
    x[0, 0, 8:18, 8:18] = np.random.default_rng(0).normal(size=(10, 10))
    moved = np.roll(x, (2, 4), axis=(2, 3))
    c1, c1_moved = (model.c1(Tensor(a)).numpy() for a in (x, moved))
    assert np.allclose(np.roll(c1, (2, 4), axis=(2, 3)), c1_moved, atol=1e-6)
    s2, s2_moved = (model.s2(Tensor(a)).numpy() for a in (c1, c1_moved))
    assert np.allclose(np.roll(s2, (1, 2), axis=(2, 3)), s2_moved, atol=1e-6)


def test_after_two_poolings_maps_move_with_shifts_by_four() -> None:
    model, x = architecture.LeNet5(), np.zeros((1, 1, 28, 28), np.float32)
    x[0, 0, 10:12, 10:12] = 1.0
    s4, by_two, by_four = (
        model.s4(model.c3(model.s2(model.c1(Tensor(np.roll(x, (k, k), axis=(2, 3))))))).numpy() for k in (0, 2, 4)
    )
    assert np.allclose(np.roll(s4, (1, 1), axis=(2, 3)), by_four, atol=1e-6)
    assert not any(np.allclose(np.roll(s4, (k, k), axis=(2, 3)), by_two, atol=1e-3) for k in (0, 1))


def test_shifts_cost_less_than_they_cost_a_fully_connected_network(
    digits: data.Dataset, unshifted: architecture.LeNet5
) -> None:
    plain = dataclasses.replace(
        image, learn=GradientDescent(lambda m, x, y: (cross_entropy(m(x), y), m(x)), partial(Adam, lr=1e-3)),
        batch_size=32, augment=None,
    )  # fmt: skip
    mlp = fit(
        plain, digits,
        lambda: layers.Sequential(layers.Flatten(), layers.Linear(784, 100), layers.ReLU(), layers.Linear(100, 10)), epochs=12,
    )  # fmt: skip
    x, y = digits.test.all()
    shifts = [(r, c) for r in (-2, 0, 2) for c in (-2, 0, 2) if (r, c) != (0, 0)] + [(-1, 0), (1, 0), (0, -1), (0, 1)]
    lost = []
    for model in (unshifted, mlp):
        still = accuracy(model, x, y)
        assert still > 0.94
        moved = [_shifted(x, r, c) for r, c in shifts]
        lost.append(still - float(np.mean([accuracy(model, m, y) for m in moved])))
    assert lost[0] < 0.75 * lost[1], lost


def test_images_that_are_no_digits_are_far_from_all_codes(digits: data.Dataset) -> None:
    """The smallest penalty of shuffled pixels is more than five times a digit's, at the median; a softmax always chooses."""
    model = fit(image, digits, lambda: fit_to(digits, form="paper"), epochs=3)
    x, _ = digits.test.all()
    shuffled = np.random.default_rng(0).permuted(x.reshape(len(x), -1), axis=1).reshape(x.shape)
    smallest = [float(np.median(-model(Tensor(images)).numpy().max(axis=1))) for images in (x, shuffled)]
    assert smallest[1] > 5 * smallest[0]


def _shifted(x: Array, rows: int, columns: int) -> Array:
    """Moved by whole pixels, the edge repeated."""
    padded = np.pad(x, ((0, 0), (0, 0), (2, 2), (2, 2)), mode="edge")
    return np.ascontiguousarray(padded[:, :, 2 - rows : 30 - rows, 2 - columns : 30 - columns])


# Training and pictures


def test_the_papers_form_learns_from_the_command_line(tmp_path: Path, digits: data.Dataset) -> None:
    result = train("lenet5", out=tmp_path / "run", settings={"form": "paper"}, epochs=3, report=False)
    assert isinstance(result.model, architecture.LeNet5Paper)
    assert result.metrics["accuracy"] > 0.93
    figure = draw(result.model, digits)
    titles = [axes.get_title() for axes in figure.axes]
    assert any("fixed codes" in title for title in titles)


def test_filters_are_pictured(digits: data.Dataset, unshifted: architecture.LeNet5) -> None:
    figure = draw(unshifted, digits)
    shown = np.asarray(figure.axes[0].images[0].get_array())
    for i, kernel in enumerate(unshifted.c1.weight.numpy()[:, 0]):
        assert np.array_equal(shown[:, 7 * i : 7 * i + 5], kernel)
    x, y = digits.test.all()
    assert f"{accuracy(unshifted, x, y):.1%}" in str(figure.get_suptitle())


@pytest.mark.slow
def test_eight_thousand_images_of_mnist(real_data: Path, tmp_path: Path) -> None:
    accuracies = [
        train("lenet5", real_data / "mnist", out=tmp_path / str(seed), seed=seed, limit=8000, report=False).metrics["accuracy"]
        for seed in range(2)
    ]
    assert np.mean(accuracies) >= 0.983


# Wrong inputs


def test_wrong_inputs(digits: data.Dataset) -> None:
    with pytest.raises(UserError, match="Did you mean 'paper'"):
        architecture.build("papers")
    with pytest.raises(UserError, match="activation"):
        architecture.build(activation="selu")
    for form in ("modern", "paper"):
        with pytest.raises(UserError, match="two or more classes"):
            architecture.build(form, classes=1)
    with pytest.raises(UserError, match="28 x 28 or 32 x 32"):
        architecture.build("paper")(Tensor(np.zeros((1, 1, 30, 30), np.float32)))
    for shape in ((1, 1, 32, 32), (1, 3, 28, 28)):
        with pytest.raises(UserError, match=r"reads images \[batch, 1, 28, 28\]"):
            architecture.build()(Tensor(np.zeros(shape, np.float32)))
    color = dataclasses.replace(digits, input_shape=(3, 28, 28))
    assert fit_to(color).c1.weight.shape == (6, 3, 5, 5)
    with pytest.raises(UserError, match="Use --gray"):
        fit_to(color, form="paper")
    with pytest.raises(UserError, match="Use --resize 28x28"):
        fit_to(dataclasses.replace(digits, input_shape=(1, 8, 8)))
    with pytest.raises(UserError, match="form"):
        fit_to(digits, form="other")
