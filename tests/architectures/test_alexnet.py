"""AlexNet: its sizes and names, groups as towers, response normalization, and what its start needs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from nnatomy import data, random
from nnatomy.architectures.convolutional.alexnet.model import AlexNet, build, loss, response_norm, side_behind
from nnatomy.architectures.convolutional.alexnet.picture import draw
from nnatomy.architectures.convolutional.alexnet.recipe import build_for
from nnatomy.errors import UserError
from nnatomy.graph import no_grad
from nnatomy.layers import Conv2d, Dropout, Linear, LocalResponseNorm, MaxPool2d
from nnatomy.tensor import Tensor

Array = np.ndarray[Any, Any]
SMALL: dict[str, Any] = {"classes": 3, "channels": 2, "width": 12, "hidden": 16, "stem": "small", "dropout": 0.0, "start": "he"}
LAYERS = ((34_944, 307_456, 885_120, 663_936, 442_624), (23_296, 307_392, 663_936, 884_992, 590_080))


def noise(*shape: int) -> Tensor:
    return Tensor(np.random.default_rng(0).normal(size=shape).astype(np.float32))


def out_of(model: Any, x: Tensor) -> Array:
    with no_grad():
        return np.asarray(model(x).numpy())


# Sizes and names


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whole networks without the time that drawing their weights takes."""
    for name in ("normal", "uniform"):
        monkeypatch.setattr(f"nnatomy.init.{name}", lambda shape, *_, **__: np.empty(shape, np.float32))


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize(
    ("form", "parameters", "layers"), [("two_towers", 60_965_224, LAYERS[0]), ("one_tower", 61_100_840, LAYERS[1])]
)
def test_published_sizes(form: str, parameters: int, layers: tuple[int, ...]) -> None:
    model = build(form)
    assert model.count_parameters() == parameters
    assert tuple(conv.count_parameters() for conv in model.features if isinstance(conv, Conv2d)) == layers
    assert model.classifier.count_parameters() == 58_631_144


def test_names_are_torchvisions() -> None:
    def names(features: tuple[int, ...], classifier: tuple[int, ...]) -> set[str]:
        paths = [f"features.{k}" for k in features] + [f"classifier.{k}" for k in classifier]
        return {f"{path}.{part}" for path in paths for part in ("weight", "bias")}

    assert set(build("one_tower", **SMALL).state_dict()) == names((0, 3, 6, 8, 10), (1, 4, 6))
    assert set(build("two_towers", **SMALL).state_dict()) == names((0, 4, 8, 10, 12), (0, 3, 6))


def test_sides() -> None:
    """55, 27, 13 and 6 in both forms; the small stem leaves 1 of 32 pixels."""
    for form, size in (("two_towers", 227), ("one_tower", 224)):
        model = build(form, 2, 1, width=6, hidden=1)
        x = noise(1, 1, size, size)
        sides = []
        with no_grad():
            for layer in model.features:
                x = layer(x)
                if isinstance(layer, Conv2d | MaxPool2d):
                    sides.append(x.shape[-1])
        assert sides == [55, 27, 27, 13, 13, 13, 13, 6]
    assert side_behind(227, 11, 4, 0) == side_behind(224, 11, 4, 2) == 6
    assert side_behind(32, 7, 2, 3) == 1


def test_the_image_of_224_does_not_fit_the_stride() -> None:
    """Without padding, 224 - 11 is not divisible by 4: three rows are ignored, and 54 are left of the paper's 55."""
    assert (224 - 11) % 4
    assert not (227 - 11) % 4
    conv = build("two_towers", 2, 1, size=224, width=6, hidden=1).features[0]
    assert out_of(conv, noise(1, 1, 224, 224)).shape[-1] == 54


# Towers


def test_groups_are_two_towers_with_weights_in_blocks() -> None:
    """A grouped network as one without groups whose kernels are zero between the towers, to the last score."""
    random.seed(0)
    grouped = build("two_towers", **SMALL).eval()
    x = noise(2, 2, 32, 32)
    expected = out_of(grouped, x)
    blocks = build("two_towers", **SMALL).eval()
    blocks.load_state_dict(grouped.state_dict())
    changed = 0
    for place, layer in enumerate(blocks.features):
        if isinstance(layer, Conv2d) and layer.groups == 2:
            outputs, within, side, _ = layer.weight.shape
            weight = np.zeros((outputs, 2 * within, side, side), np.float32)
            weight[: outputs // 2, :within], weight[outputs // 2 :, within:] = np.split(layer.weight.numpy(), 2)
            whole = Conv2d(2 * within, outputs, side, padding=side // 2)
            whole.load_state_dict({"weight": weight, "bias": layer.bias.numpy()})
            blocks.features[place] = whole
            changed += 1
    assert changed == 3
    np.testing.assert_allclose(out_of(blocks, x), expected, rtol=1e-4, atol=1e-6)
    assert np.abs(expected).max() > 1e-3


def test_only_the_third_layer_joins_the_towers() -> None:
    """Maps of the second tower change nothing in the first through conv2, and something through conv3."""
    model: Any = build("two_towers", **SMALL).eval()
    conv1, conv2, conv3, conv4, conv5 = (layer for layer in model.features if isinstance(layer, Conv2d))
    for layer, joins in ((conv2, False), (conv3, True), (conv4, False), (conv5, False)):
        inputs = layer.in_channels
        x = noise(1, inputs, 5, 5).numpy()
        other = x.copy()
        other[:, inputs // 2 :] += 1
        first = layer.out_channels // 2
        changed = not np.allclose(out_of(layer, Tensor(x))[:, :first], out_of(layer, Tensor(other))[:, :first])
        assert changed == joins
    assert conv1.groups == 1


# Response normalization and dropout


def test_response_normalization_multiplies_the_sum() -> None:
    """b_i = a_i / (2 + 1e-4 sum over 5 neighbors of a_j^2)^0.75 (section 3.3), cut off at both ends."""
    a = 100 * np.random.default_rng(0).uniform(size=(1, 9, 2, 3))
    sums = np.stack([np.square(a[:, max(0, i - 2) : i + 3]).sum(axis=1) for i in range(9)], axis=1)
    norm = response_norm()
    np.testing.assert_allclose(norm(Tensor(a)).numpy(), a / (2 + 1e-4 * sums) ** 0.75, rtol=1e-12)
    weaker = a / (2 + 1e-4 * sums / 5) ** 0.75
    assert np.abs(norm(Tensor(a)).numpy() - weaker).max() > 1


def test_response_normalization_is_between_relu_and_pooling_in_two_towers_alone() -> None:
    layers = [type(layer).__name__ for layer in build("two_towers", **SMALL).features]
    assert layers[:8] == ["Conv2d", "ReLU", "LocalResponseNorm", "MaxPool2d"] * 2
    assert not any(isinstance(layer, LocalResponseNorm) for layer in build("one_tower", **SMALL).features)


@pytest.mark.parametrize("form", ["two_towers", "one_tower"])
def test_dropout_only_in_training(form: str) -> None:
    """Where the form has it: on outputs of the hidden layers in two towers, on their inputs in one."""
    random.seed(0)
    model = build(form, **{**SMALL, "dropout": 0.5})
    x = noise(4, 2, 32, 32)
    assert not np.allclose(out_of(model.train(), x), out_of(model, x))
    assert np.array_equal(out_of(model.eval(), x), out_of(model, x))
    places = [k for k, layer in enumerate(model.classifier) if isinstance(layer, Dropout)]
    assert places == ([2, 5] if form == "two_towers" else [0, 3])


# The start


def weighted(model: AlexNet) -> list[Any]:
    return [layer for layer in model.modules() if isinstance(layer, Conv2d | Linear)]


def test_initial_weights() -> None:
    random.seed(0)
    options: dict[str, Any] = {**SMALL, "width": 48, "hidden": 64, "classes": 10, "channels": 3}
    paper, he = weighted(build(**{**options, "start": "paper"})), weighted(build(**options))
    assert [float(layer.bias.numpy().mean()) for layer in paper] == [0, 1, 0, 1, 1, 1, 1, 0]
    assert not any(layer.bias.numpy().any() for layer in he)
    for number, (one, other) in enumerate(zip(paper, he, strict=True)):
        assert one.weight.numpy().std() == pytest.approx(0.01, rel=0.08)
        inputs = other.weight.numpy()[0].size
        expected = 0.01 if number in (0, 7) else (2 / inputs) ** 0.5
        assert other.weight.numpy().std() == pytest.approx(expected, rel=0.08)


def test_the_papers_start_needs_width() -> None:
    """How much two images differ in the last hidden layer, by how much they differ: it fades in narrow networks."""
    x = noise(8, 3, 32, 32)
    found = {}
    for width, hidden, start in ((24, 128, "paper"), (96, 512, "paper"), (24, 128, "he")):
        random.seed(0)
        model = build(classes=10, width=width, hidden=hidden, stem="small", start=start).eval()
        with no_grad():
            y = model.features(x).reshape(8, -1)
            for layer in list(model.classifier)[:-1]:
                y = layer(y)
        found[width, start] = float(y.numpy().std(axis=0).mean() / np.abs(y.numpy()).mean())
    assert found[24, "paper"] < 1e-4
    assert found[96, "paper"] > 3 * found[24, "paper"]
    assert found[24, "he"] > 0.05


# Pictures and wrong inputs


@pytest.mark.parametrize("form", ["two_towers", "one_tower"])
def test_every_form_has_a_picture(form: str) -> None:
    dataset = data.load("digits", resize=(32, 32))
    figure = draw(build_for(dataset, form=form, width=12, hidden=8).eval(), dataset)
    titles = [axes.get_title() for part in figure.subfigs for sub in (part, *part.subfigs) for axes in sub.axes]
    words = "no map sees the other tower" if form == "two_towers" else "every map sees every map"
    assert any(words in title for title in titles)
    assert "the image" in titles


def test_wrong_inputs() -> None:
    wrong: tuple[tuple[dict[str, Any], str], ...] = (
        ({"form": "three_towers"}, "form"), ({"stem": "large"}, "stem"), ({"start": "xavier"}, "start"),
        ({"width": 16}, "divisible by 6"), ({"hidden": 0}, "at least 1"), ({"size": 20}, "leave something"),
    )  # fmt: skip
    for options, words in wrong:
        with pytest.raises(UserError, match=words):
            build(**{**SMALL, **options})
    with pytest.raises(UserError, match=r"takes images \(batch, 2, 32, 32\)"):
        build(**SMALL)(noise(1, 2, 33, 32))
    with pytest.raises(UserError, match="square images"):
        build_for(data.load("digits", resize=(32, 40)))
    value, scores = loss(build(**SMALL), noise(2, 2, 32, 32), Tensor(np.array([0, 2])))
    assert value.shape == ()
    assert scores.shape == (2, 3)
