"""VGG: the columns of its table, its names and sizes, receptive fields, dense evaluation, and VGG16 and VGG19 of Keras."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nnatomy as nn
from nnatomy import data, random
from nnatomy.architectures.convolutional.vgg.model import VGG, build, loss, receptive_fields
from nnatomy.architectures.convolutional.vgg.names import tables
from nnatomy.architectures.convolutional.vgg.picture import draw
from nnatomy.architectures.convolutional.vgg.recipe import build_for
from nnatomy.errors import UserError
from nnatomy.graph import no_grad
from nnatomy.layers import Conv2d, Linear, LocalResponseNorm, MaxPool2d
from nnatomy.tensor import Tensor, grad

Array = np.ndarray[Any, Any]
SMALL: dict[str, Any] = {"classes": 3, "channels": 2, "size": 16, "width": 4, "hidden": 6, "stages": 3, "dropout": 0.0}


def noise(*shape: int) -> Tensor:
    return Tensor(np.random.default_rng(0).normal(size=shape).astype(np.float32))


def out_of(model: Any, x: Tensor) -> Array:
    with no_grad():
        return np.asarray(model(x).numpy())


# Sizes, names and columns


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whole networks without the time that drawing their weights takes."""
    for name in ("normal", "uniform"):
        monkeypatch.setattr(f"nnatomy.init.{name}", lambda shape, *_, **__: np.empty(shape, np.float32))


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize(
    ("configuration", "layers", "plain", "normalized"),
    [
        ("A", 11, 132_863_336, 132_868_840), ("A-LRN", 11, 132_863_336, 132_868_840), ("B", 13, 133_047_848, 133_053_736),
        ("C", 16, 133_638_952, 133_647_400), ("D", 16, 138_357_544, 138_365_992), ("E", 19, 143_667_240, 143_678_248),
    ],
)  # fmt: skip
def test_published_sizes(configuration: str, layers: int, plain: int, normalized: int) -> None:
    model = build(configuration)
    assert model.count_parameters() == plain
    assert sum(isinstance(layer, Conv2d | Linear) for layer in model.modules()) == layers
    assert build(configuration, batch_norm=True).count_parameters() == normalized


def test_names_are_torchvisions() -> None:
    places = {
        ("A", False): [0, 3, 6, 8, 11, 13, 16, 18], ("B", False): [0, 2, 5, 7, 10, 12, 15, 17, 20, 22],
        ("D", False): [0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28], ("A", True): [0, 4, 8, 11, 15, 18, 22, 25],
        ("E", True): [0, 3, 7, 10, 14, 17, 20, 23, 27, 30, 33, 36, 40, 43, 46, 49],
    }  # fmt: skip
    for (configuration, batch_norm), convolutions in places.items():
        expected = {f"features.{k}.{part}" for k in convolutions for part in ("weight", "bias")}
        if batch_norm:
            parts = ("weight", "bias", "running_mean", "running_var")
            expected |= {f"features.{k + 1}.{part}" for k in convolutions for part in parts}
        expected |= {f"classifier.{k}.{part}" for k in (0, 3, 6) for part in ("weight", "bias")}
        assert set(build(configuration, batch_norm, width=1, hidden=2).state_dict()) == expected


def test_c_has_kernels_of_1x1_and_a_lrn_normalizes_the_first_layer() -> None:
    kernels = [layer.weight.shape[-1] for layer in build("C", width=1, hidden=1).features if isinstance(layer, Conv2d)]
    assert kernels == [3, 3, 3, 3, 3, 3, 1, 3, 3, 1, 3, 3, 1]
    places = [k for k, layer in enumerate(build("A-LRN", width=1, hidden=1).features) if isinstance(layer, LocalResponseNorm)]
    assert places == [2]


def test_response_normalization_multiplies_the_sum() -> None:
    """b_i = a_i / (2 + 1e-4 sum over 5 neighbors of a_j^2)^0.75 (Krizhevsky et al. 2012); with the mean, it would be weaker."""
    layer: Any = build("A-LRN", **{**SMALL, "width": 7}).features[2]
    a = 100 * np.random.default_rng(0).uniform(size=(1, 7, 2, 3))
    sums = np.stack([np.square(a[:, max(0, i - 2) : i + 3]).sum(axis=1) for i in range(7)], axis=1)
    np.testing.assert_allclose(layer(Tensor(a)).numpy(), a / (2 + 1e-4 * sums) ** 0.75, rtol=1e-12)


def test_initial_weights() -> None:
    random.seed(0)
    model: Any = build("D", True, width=16, hidden=256, size=64)
    for layer in (model.features[7], model.features[20], model.classifier[0]):
        inputs = layer.weight.numpy()[0].size
        assert layer.weight.numpy().std() == pytest.approx((2 / inputs) ** 0.5, rel=0.05)
        assert not layer.bias.numpy().any()
    assert model.classifier[6].weight.numpy().std() == pytest.approx(0.01, rel=0.05)


def rms(model: Any, x: Tensor) -> list[float]:
    """The root mean square of the maps behind each convolution."""
    found = []
    with no_grad():
        for layer in model.features:
            x = layer(x)
            if isinstance(layer, Conv2d):
                found.append(float(np.sqrt(np.square(x.numpy()).mean())))
    return found


def test_signals_keep_their_size_at_the_start() -> None:
    """With variance 2 / inputs. With half of it, as without the factor for ReLU, 16 convolutions shrink them to 1/256."""
    random.seed(0)
    model: Any = build("E", size=32, width=16, hidden=4, channels=3)
    convolutions = [layer for layer in model.features if isinstance(layer, Conv2d)]
    x = noise(8, 3, 32, 32)
    kept = rms(model, x)
    assert 0.1 < kept[-1] / kept[0] < 10
    for layer in convolutions:
        layer.load_state_dict({"weight": layer.weight.numpy() / 2**0.5, "bias": layer.bias.numpy()})
    halved = rms(model, x)
    assert (halved[-1] / halved[0]) / (kept[-1] / kept[0]) == pytest.approx(2 ** (-15 / 2), rel=0.01)


# Receptive fields


def seen(layers: list[Any], channels: int, side: int, unit: tuple[int, int]) -> Array:
    """Which pixels change a unit behind the layers: where any of many gradients is more than the rounding of fast kernels."""
    given = Tensor(np.random.default_rng(1).uniform(size=(32, channels, side, side)).astype(np.float32), requires_grad=True)
    x: Any = given
    for layer in layers:
        x = layer(x)
    (slopes,) = grad(x[:, :, unit[0], unit[1]].square().sum(), [given])
    strength = np.abs(slopes.numpy()).sum(axis=(0, 1))
    return np.asarray(strength > 1e-5 * strength.max())


def test_three_layers_of_3x3_see_what_one_of_7x7_sees() -> None:
    """The stage of D with three layers: 7x7 inputs, neither more nor fewer, for 27/49 of the weights."""
    random.seed(0)
    model = build("D", width=4, hidden=2, size=32)
    stage: list[Any] = list(model.features)[10:16]  # conv, ReLU, three times
    expected = np.zeros((15, 15), bool)
    expected[4:11, 4:11] = True
    assert np.array_equal(seen(stage, 8, 15, (7, 7)), expected)
    one: list[Any] = [Conv2d(8, 16, 7, padding=3)]
    assert np.array_equal(seen(one, 8, 15, (7, 7)), expected)
    three = [Conv2d(12, 12, 3, bias=False) for _ in range(3)]
    assert sum(layer.count_parameters() for layer in three) * 49 == 27 * Conv2d(12, 12, 7, bias=False).count_parameters()


def test_fields_are_what_gradients_reach() -> None:
    """`receptive_fields` against gradients, behind every convolution and pooling of which a field fits."""
    random.seed(0)
    model = build("D", classes=3, channels=1, size=64, width=4, hidden=4, stages=3)
    checked = 0
    for field in receptive_fields(model):
        unit = 16 // field.stride + 8 // field.stride
        first = field.start + unit * field.stride
        expected = np.zeros((64, 64), bool)
        expected[max(0, first) : first + field.size, max(0, first) : first + field.size] = True
        assert np.array_equal(seen(list(model.features)[: field.layer + 1], 1, 64, (unit, unit)), expected)
        checked += 1
    assert checked == 10


def test_published_fields() -> None:
    """VGG-16: 212 pixels behind the last pooling, 32 apart."""
    fields = receptive_fields(build("D", width=1, hidden=1))
    assert [field.size for field in fields[:8]] == [3, 5, 6, 10, 14, 16, 24, 32]
    assert (fields[-1].size, fields[-1].stride) == (212, 32)


def test_three_layers_can_compute_more_than_one_of_7x7() -> None:
    """Without their ReLUs they are one linear map; with them they are not."""
    random.seed(0)
    model: Any = build("D", width=4, hidden=2, size=32)
    stage = list(model.features)[10:16]

    def run(x: Tensor, layers: list[Any]) -> Array:
        with no_grad():
            for layer in layers:
                x = layer(x)
        return np.asarray(x.numpy())

    x, y = noise(2, 8, 9, 9), noise(2, 8, 9, 9) * 2 + 1
    linear = [layer for layer in stage if isinstance(layer, Conv2d)]
    np.testing.assert_allclose(run(x + y, linear), run(x, linear) + run(y, linear), rtol=1e-3, atol=1e-4)
    assert not np.allclose(run(x + y, stage), run(x, stage) + run(y, stage), atol=1e-2)


# Dense evaluation


def test_dense_evaluation_of_one_place_is_the_network() -> None:
    model = build("D", True, **SMALL).eval()
    x = noise(3, 2, 16, 16)
    with no_grad():
        np.testing.assert_allclose(model.dense(x).numpy(), model(x).numpy(), rtol=1e-5, atol=1e-6)


def test_dense_evaluation_is_the_mean_over_places() -> None:
    """The mean of the classifier's scores over all places of its window on the maps."""
    model = build("B", **{**SMALL, "stages": 1, "size": 8}).eval()
    x = noise(1, 2, 12, 20)
    with no_grad():
        maps = model.features(x)
        places = [model.classifier(maps[:, :, i : i + 4, j : j + 4].reshape(1, -1)).numpy() for i in range(3) for j in range(7)]
        np.testing.assert_allclose(model.dense(x).numpy(), np.mean(places, axis=0), rtol=1e-5, atol=1e-6)


# Keras


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize(("configuration", "suffix"), [("D", ".h5"), ("E", ".weights.h5")])
def test_vgg_of_keras_loads(tmp_path: Path, configuration: str, suffix: str) -> None:
    """Whole VGG16 and VGG19 of keras.applications, on images of 64 x 64, so that the order of flattened maps matters."""
    pytest.importorskip("keras", reason="Keras is not installed")
    pytest.importorskip("h5py", reason="h5py is not installed")
    from nnatomy.verification.implementations import tensorflow_and_keras

    _, keras = tensorflow_and_keras()
    keras.utils.set_random_seed(0)
    ships = {"D": keras.applications.VGG16, "E": keras.applications.VGG19}[configuration]
    theirs = ships(weights=None, input_shape=(64, 64, 3), classes=5, classifier_activation=None)
    path = tmp_path / f"vgg{suffix}"
    (theirs.save if suffix == ".h5" else theirs.save_weights)(path)
    options: dict[str, Any] = {"configuration": configuration, "classes": 5, "size": 64}
    found = nn.interchange.load(nn.architecture("vgg"), path, **options)
    assert not found.missing
    assert not found.unexpected
    assert found.model.count_parameters() == theirs.count_params()
    x = noise(2, 3, 64, 64)
    expected = theirs.predict_on_batch(x.numpy().transpose(0, 2, 3, 1))
    scores = out_of(found.model.eval(), x)
    np.testing.assert_allclose(scores, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())
    first: Any = found.model.get_submodule("classifier.0")
    maps = first.weight.numpy().reshape(-1, 512, 2, 2).transpose(0, 2, 3, 1).reshape(4096, -1)
    first.load_state_dict({"weight": maps, "bias": first.bias.numpy()})  # in Keras's order, as without the table
    assert not np.allclose(out_of(found.model, x), expected, atol=1e-2 * np.abs(expected).max())


def test_only_d_and_e_have_tables_of_names() -> None:
    assert tables("B") == tables("D", batch_norm=True) == tables("D", stages=3) == {}
    assert len(tables("E")["keras"]) == 19


# Pictures and wrong inputs


@pytest.mark.parametrize("options", [{"configuration": "A-LRN", "batch_norm": False, "stages": 2}, {"configuration": "C"}])
def test_every_form_has_a_picture(options: dict[str, Any]) -> None:
    dataset = data.load("digits", resize=(16, 16))
    figure = draw(build_for(dataset, width=4, hidden=8, **options).eval(), dataset)
    titles = [axes.get_title() for part in figure.subfigs for axes in part.axes]
    assert "conv1_1\n3 x 3" in titles


def test_wrong_inputs() -> None:
    wrong: tuple[tuple[dict[str, Any], str], ...] = (
        ({"configuration": "F"}, "configuration"), ({"stages": 6}, "1 to 5 stages"), ({"width": 0}, "at least 1"),
        ({"size": 20}, "multiple of 8"),
    )  # fmt: skip
    for options, words in wrong:
        with pytest.raises(UserError, match=words):
            build(**{**SMALL, **options})
    with pytest.raises(UserError, match=r"takes images \(batch, 2, 16, 16\)"):
        build(**SMALL)(noise(1, 2, 24, 16))
    with pytest.raises(UserError, match="square images"):
        build_for(data.load("digits", resize=(16, 24)))
    value, scores = loss(build(**SMALL), noise(2, 2, 16, 16), Tensor(np.array([0, 2])))
    assert value.shape == ()
    assert scores.shape == (2, 3)
    assert isinstance(build(**SMALL), VGG)
    assert sum(isinstance(layer, MaxPool2d) for layer in build(**SMALL).features) == 3
