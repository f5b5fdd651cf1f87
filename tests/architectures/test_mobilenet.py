"""MobileNet: its sizes and names, the cost of separable convolutions, linear bottlenecks, gates and uneven padding."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nnatomy as nn
from nnatomy import data, random
from nnatomy import functional as F
from nnatomy.architectures.convolutional.mobilenet.library import build as build_library
from nnatomy.architectures.convolutional.mobilenet.model import (
    TABLES,
    DepthwiseSeparable,
    InvertedResidual,
    Parts,
    Row,
    SameConv2d,
    build,
    loss,
    make_divisible,
    width,
)  # fmt: skip
from nnatomy.architectures.convolutional.mobilenet.names import tables
from nnatomy.architectures.convolutional.mobilenet.picture import draw
from nnatomy.architectures.convolutional.mobilenet.recipe import build_for
from nnatomy.errors import UserError
from nnatomy.graph import no_grad
from nnatomy.layers import BatchNorm2d, Conv2d, Hardswish, ReLU, ReLU6
from nnatomy.layers.summary import summary
from nnatomy.tensor import Tensor

Array = np.ndarray[Any, Any]
PARTS = Parts("same", 1e-3, 0.1)


def noise(*shape: int) -> Tensor:
    return Tensor(np.random.default_rng(0).normal(size=shape).astype(np.float32))


def out_of(model: Any, x: Tensor) -> Array:
    with no_grad():
        return np.asarray(model(x).numpy())


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whole networks without the time that drawing their weights takes."""
    for name in ("normal", "uniform"):
        monkeypatch.setattr(f"nnatomy.init.{name}", lambda shape, *_, **__: np.zeros(shape, np.float32))


# Sizes and names


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize(
    ("options", "parameters"),
    [
        ({"version": "v1"}, 4_231_976), ({"version": "v2"}, 3_504_872), ({"version": "v3-small"}, 2_542_856),
        ({"version": "v3-large"}, 5_483_032), ({"version": "v1", "classes": 1001}, 4_233_001),
        ({"version": "v2", "classes": 1001}, 3_506_153),
    ],
)  # fmt: skip
def test_published_sizes(options: dict[str, Any], parameters: int) -> None:
    assert build(**options).count_parameters() == parameters


@pytest.mark.usefixtures("undrawn")
def test_multiply_adds_of_the_papers() -> None:
    """In millions, for images of 224 x 224: 569, 300, 56 and 219 in the papers; normalizations are not counted there."""
    for version, millions in (("v1", 569), ("v2", 300), ("v3-small", 56), ("v3-large", 219)):
        rows = summary(build(version), np.zeros((1, 3, 224, 224), np.float32)).rows
        found = sum(row.multiply_adds for row in rows if row.layer != "BatchNorm2d") / 1e6
        assert found == pytest.approx(millions, rel=0.015), version


def test_names_are_torchvisions() -> None:
    second = set(build(alpha=0.1).state_dict())
    assert {"features.0.0.weight", "features.0.1.running_var", "features.1.conv.0.0.weight", "features.1.conv.1.weight",
            "features.1.conv.2.bias", "features.2.conv.0.1.weight", "features.2.conv.1.0.weight", "features.2.conv.2.weight",
            "features.17.conv.3.running_mean", "features.18.0.weight", "classifier.1.bias"} <= second  # fmt: skip
    assert not any(name.startswith("features.1.conv.3") for name in second)
    third = set(build("v3-small", alpha=0.1).state_dict())
    assert {"features.1.block.0.0.weight", "features.1.block.1.fc1.bias", "features.1.block.2.1.weight",
            "features.4.block.2.fc2.weight", "features.4.block.3.0.weight", "features.12.0.weight", "classifier.0.weight",
            "classifier.3.bias"} <= third  # fmt: skip
    assert sum("fc1.weight" in name for name in third) == 9
    first: Any = build("v1", alpha=0.25)
    assert first.features[13][3].weight.shape == (256, 256, 1, 1)


def test_widths_are_multiples_of_8() -> None:
    """Nearest multiple, at least 8, not more than 10% below; version 1 only truncates."""
    assert [make_divisible(v) for v in (3, 8, 11.9, 12, 18, 24, 42, 67.2)] == [8, 8, 16, 16, 24, 24, 40, 64]
    assert [width("v2", 24, alpha) for alpha in (0.35, 0.5, 0.75, 1.4)] == [8, 16, 24, 32]
    assert [width("v1", 32, alpha) for alpha in (0.1, 0.75)] == [8, 24]
    heads: list[Any] = [build(alpha=alpha, blocks=1).classifier[1] for alpha in (0.35, 1.4)]
    assert [head.weight.shape[1] for head in heads] == [1280, 1792]


def test_initial_weights() -> None:
    random.seed(0)
    model: Any = build("v1", blocks=6)
    for conv, n in ((model.features[0][0], 9 * 32), (model.features[6][0], 9), (model.features[6][3], 512)):
        assert conv.weight.numpy().std() == pytest.approx((2 / n) ** 0.5, rel=0.06)
    assert model.classifier[1].weight.numpy().std() == pytest.approx(0.01, rel=0.05)
    assert not model.classifier[1].bias.numpy().any()


# The cost of a separable convolution


@pytest.mark.parametrize(("inputs", "outputs", "kernel"), [(4, 6, 3), (16, 32, 3), (8, 24, 5), (3, 1, 3)])
def test_the_cost_of_a_separable_convolution_is_1_over_n_and_1_over_k_squared(inputs: int, outputs: int, kernel: int) -> None:
    """(k^2 M + M N) / (k^2 M N) = 1 / N + 1 / k^2, in weights and in multiply-adds, of live layers."""
    x = noise(1, inputs, 10, 7)
    block = DepthwiseSeparable(inputs, outputs, Row(outputs, 1, 1, kernel), PARTS)
    plain = Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False)
    convolutions = [layer for layer in block if isinstance(layer, Conv2d)]
    weights = sum(layer.weight.size for layer in convolutions) / plain.weight.size
    rows = [row for row in summary(block, x).rows if row.layer == "Conv2d"]
    work = sum(row.multiply_adds for row in rows) / summary(plain, x).multiply_adds
    assert weights == pytest.approx(1 / outputs + 1 / kernel**2, rel=1e-12)
    assert work == pytest.approx(1 / outputs + 1 / kernel**2, rel=1e-12)
    assert block(x).shape == plain(x).shape


def test_a_separable_convolution_is_a_plain_one_of_low_rank() -> None:
    """Without normalization and activation between them, depthwise and pointwise are one convolution: W = P times D."""
    random.seed(0)
    depthwise, pointwise = Conv2d(3, 3, 3, padding=1, groups=3, bias=False), Conv2d(3, 5, 1, bias=False)
    plain = Conv2d(3, 5, 3, padding=1, bias=False)
    plain.load_state_dict({"weight": pointwise.weight.numpy() * depthwise.weight.numpy()[:, 0]})
    x = noise(2, 3, 6, 6)
    np.testing.assert_allclose(out_of(pointwise, depthwise(x)), out_of(plain, x), atol=1e-6)


def test_most_of_the_work_of_version_1_is_pointwise() -> None:
    """95% of the multiply-adds and 75% of the parameters (2017, table 2)."""
    result = summary(build("v1"), np.zeros((1, 3, 224, 224), np.float32))
    rows = [row for row in result.rows if row.layer != "BatchNorm2d"]
    pointwise = [row for row in rows if row.path.endswith(".3")]
    work = sum(row.multiply_adds for row in pointwise) / sum(row.multiply_adds for row in rows)
    assert work == pytest.approx(0.949, abs=0.002)
    assert sum(row.parameters for row in pointwise) / result.parameters == pytest.approx(0.746, abs=0.005)


def test_the_width_multiplier_acts_about_squared() -> None:
    half, whole = (build("v1", alpha=alpha, blocks=13).features for alpha in (0.5, 1.0))
    counts: Any = [sum(layer.weight.size for layer in net.modules() if isinstance(layer, Conv2d)) for net in (half, whole)]
    assert 0.25 < counts[0] / counts[1] < 0.26


# The bottleneck


def test_the_bottleneck_ends_linearly() -> None:
    """No activation after the projection: what a block adds has negative values, and those above 6."""
    block = InvertedResidual(8, 8, Row(8, 1, 6), PARTS)
    kinds = [type(layer).__name__ for layer in block.modules()]
    assert kinds.count("ReLU6") == 2
    assert isinstance(list(block.conv)[-1], BatchNorm2d)
    last: Any = block.conv[3]
    last.load_state_dict(last.state_dict() | {"weight": np.full(8, 9.0)})
    y = out_of(block.branch, noise(4, 8, 6, 6))
    assert y.min() < -6
    assert y.max() > 6


def test_relu_in_many_maps_loses_little() -> None:
    """A point of the plane can be computed back from n random maps after ReLU with probability 1 - (n + 1) / 2^n."""
    rng = np.random.default_rng(0)
    for maps in (2, 3, 12):
        weights, points = rng.normal(size=(4000, maps, 2)), rng.normal(size=(4000, 2))
        kept = np.maximum(np.einsum("tmi,ti->tm", weights, points), 0)
        back = 0
        for w, y, x in zip(weights, kept, points, strict=True):
            found, _, rank, _ = np.linalg.lstsq(w[y > 0], y[y > 0], rcond=None)
            back += rank == 2 and np.allclose(found, x, atol=1e-6)
        assert back / 4000 == pytest.approx(1 - (maps + 1) / 2**maps, abs=0.025)


def test_a_block_adds_its_input_where_shapes_agree() -> None:
    adding = TABLES["v2"]
    model: Any = build(alpha=0.5)
    found = [block.adds for block in list(model.features)[1:18]]
    repeats = [row.stride == 1 and k > 0 and adding[k - 1].outputs == row.outputs for k, row in enumerate(adding)]
    assert found == repeats
    assert sum(found) == 10
    block: Any = model.features[3].eval()
    x = noise(1, 16, 6, 6)
    np.testing.assert_allclose(out_of(block, x) - out_of(block.branch, x), x.numpy(), atol=1e-5)


def test_activations() -> None:
    first: Any = build("v1", alpha=0.25)
    assert {type(layer) for layer in first.modules() if "LU" in type(layer).__name__} == {ReLU6}
    x = np.linspace(-5, 8, 27)
    np.testing.assert_allclose(Hardswish()(Tensor(x)).numpy(), x * np.clip(x + 3, 0, 6) / 6, atol=1e-12)
    third: Any = build("v3-small", alpha=0.25)
    assert isinstance(third.features[3].block[0][2], ReLU)
    assert isinstance(third.features[4].block[0][2], Hardswish)
    gate = third.features[4].block[2]
    x4 = noise(2, gate.fc1.weight.shape[1], 5, 5)
    means = x4.numpy().mean((2, 3))
    inner = np.maximum(means @ gate.fc1.weight.numpy()[:, :, 0, 0].T + gate.fc1.bias.numpy(), 0)
    score = inner @ gate.fc2.weight.numpy()[:, :, 0, 0].T + gate.fc2.bias.numpy()
    factor = np.clip(score + 3, 0, 6) / 6
    np.testing.assert_allclose(out_of(gate, x4), x4.numpy() * factor[:, :, None, None], atol=1e-5)


# Padding and strides


@pytest.mark.parametrize(("side", "kernel", "before", "after"), [(6, 3, 0, 1), (7, 3, 1, 1), (6, 5, 1, 2), (7, 5, 2, 2)])
def test_padding_of_stride_2_is_uneven(side: int, kernel: int, before: int, after: int) -> None:
    conv = SameConv2d(1, 1, kernel, 2, bias=False)
    x = noise(1, 1, side, side)
    expected = F.conv2d(np.pad(x.numpy(), ((0, 0), (0, 0), (before, after), (before, after))), conv.weight, None, 2)
    assert np.array_equal(out_of(conv, x), expected.numpy())
    assert expected.shape[2] == -(-side // 2)


def test_the_two_paddings_have_one_size_and_other_outputs() -> None:
    same, symmetric = (build("v1", 3, alpha=0.25, blocks=3, padding=p).eval() for p in ("same", "symmetric"))
    symmetric.load_state_dict(same.state_dict())
    even, odd = noise(2, 3, 32, 32), noise(2, 3, 33, 33)
    assert not np.allclose(out_of(same, even), out_of(symmetric, even), rtol=1e-3, atol=1e-6)
    np.testing.assert_allclose(out_of(same, odd), out_of(symmetric, odd), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("version", TABLES)
def test_downsample_keeps_the_last_strides(version: str) -> None:
    for downsample in (32, 8, 1):
        model: Any = build(version, 3, 1, 0.05, downsample=downsample).eval()
        assert model.features(noise(1, 1, 32, 32)).shape[2] == 32 // downsample
        strides = [layer.stride[0] for layer in model.modules() if isinstance(layer, Conv2d) and layer.stride[0] > 1]
        assert 2 ** len(strides) == downsample


def test_running_means_follow_by_one_thousandth() -> None:
    model: Any = build("v1", 3, alpha=0.25, blocks=1)
    norm = model.features[0][1]
    assert (norm.eps, norm.momentum) == (1e-3, 1e-3)
    seen = model.features[0][0](noise(4, 3, 16, 16)).numpy()
    model(noise(4, 3, 16, 16))
    np.testing.assert_allclose(norm.running_mean.numpy(), seen.mean((0, 2, 3)) / 1000, rtol=1e-3, atol=1e-7)


# Libraries


@pytest.mark.parametrize("options", [{"version": "v1", "alpha": 0.25}, {"version": "v2", "alpha": 0.35}])
def test_files_of_transformers_load(tmp_path: Path, options: dict[str, Any]) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    pytest.importorskip("transformers", reason="transformers is not installed")
    pytest.importorskip("safetensors", reason="safetensors is not installed")
    options = {"classes": 5, **options}
    theirs = build_library(**options).model[0]
    torch.manual_seed(0)
    with torch.no_grad():
        for name, weight in theirs.state_dict().items():
            if weight.ndim == 4:
                weight.normal_(0, (2 / weight[0].numel()) ** 0.5)
            elif weight.dtype == torch.float32:
                weight.uniform_(0.5, 1.5) if name.endswith(("normalization.weight", "var")) else weight.normal_(0, 0.1)
    theirs.eval().save_pretrained(tmp_path)
    found = nn.interchange.load(nn.architecture("mobilenet"), tmp_path / "model.safetensors", **options)
    assert not found.missing
    assert not found.unexpected
    x = noise(2, 3, 40, 33)
    with torch.no_grad():
        expected = theirs(torch.tensor(x.numpy())).logits.numpy()
    assert np.abs(expected[0] - expected[1]).max() > 1e-2  # they depend on the image
    np.testing.assert_allclose(out_of(found.model.eval(), x), expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize(
    ("version", "name", "suffix"),
    [("v1", "MobileNet", ".h5"), ("v2", "MobileNetV2", ".keras"), ("v3-small", "MobileNetV3Small", ".h5"),
     ("v3-large", "MobileNetV3Large", ".keras")],
)  # fmt: skip
def test_files_of_keras_load(tmp_path: Path, version: str, name: str, suffix: str) -> None:
    """Whole networks of keras.applications with a quarter of the maps, random scales and running means."""
    pytest.importorskip("keras", reason="Keras is not installed")
    pytest.importorskip("h5py", reason="h5py is not installed")
    from nnatomy.verification.implementations import tensorflow_and_keras

    _, keras = tensorflow_and_keras()
    keras.utils.set_random_seed(0)
    third = {"include_preprocessing": False} if version.startswith("v3") else {}
    theirs = getattr(keras.applications, name)(
        weights=None, input_shape=(32, 64, 3), alpha=0.25, classes=5, classifier_activation=None, **third
    )
    rng = np.random.default_rng(0)
    for weight in theirs.weights:
        if weight.name in ("bias", "beta", "moving_mean"):
            weight.assign(rng.normal(size=weight.shape, scale=0.1))
        if weight.name in ("gamma", "moving_variance"):
            weight.assign(rng.uniform(0.5, 1.5, weight.shape))
        if len(weight.shape) == 4:  # (height, width, in, out), or (height, width, in, 1) where in is also out
            inputs = int(np.prod(weight.shape[:2])) * (1 if weight.shape[3] == 1 else weight.shape[2])
            weight.assign(rng.normal(size=weight.shape, scale=(2 / inputs) ** 0.5))
    path = tmp_path / f"{version}{suffix}"
    theirs.save(path)
    found = nn.interchange.load(nn.architecture("mobilenet"), path, version=version, alpha=0.25, classes=5)
    assert not found.missing
    assert not found.unexpected
    assert found.model.count_parameters() == sum(int(np.prod(w.shape)) for w in theirs.trainable_weights)
    x = noise(2, 3, 32, 64)
    expected = np.asarray(theirs(x.numpy().transpose(0, 2, 3, 1), training=False))
    assert np.abs(expected[0] - expected[1]).max() > 1e-3  # they depend on the image
    np.testing.assert_allclose(out_of(found.model.eval(), x), expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())


def test_only_whole_networks_have_tables_of_names() -> None:
    assert tables("v2", blocks=3) == {}
    assert set(tables("v2", blocks=17)) == {"transformers", "keras", "keras, .h5"}
    assert set(tables("v3-large")) == {"keras", "keras, .h5"}


# Pictures and wrong inputs


@pytest.mark.parametrize("options", [{"version": "v1", "blocks": 3}, {"version": "v3-small", "blocks": 3}])
def test_every_version_has_a_picture(options: dict[str, Any]) -> None:
    dataset = data.load("digits")
    figure = draw(build_for(dataset, alpha=0.1, **options).eval(), dataset)
    titles = " ".join(axes.get_title() for part in figure.subfigs for axes in part.axes)
    assert "Multiply-adds" in titles


def test_wrong_inputs() -> None:
    wrong: tuple[tuple[dict[str, Any], str], ...] = (
        ({"version": "v4"}, "version"), ({"padding": "valid"}, "padding"), ({"alpha": 0.0}, "alpha above 0"),
        ({"blocks": 18}, "1 to 17 blocks"), ({"downsample": 64}, "downsample of 1"), ({"classes": 0}, "at least 1"),
    )  # fmt: skip
    for options, words in wrong:
        with pytest.raises(UserError, match=words):
            build(**options)
    with pytest.raises(UserError, match=r"takes images \(batch, 3"):
        build(alpha=0.1, blocks=1)(noise(1, 1, 8, 8))
    value, scores = loss(build(classes=3, alpha=0.1, blocks=1), noise(2, 3, 8, 8), Tensor(np.array([0, 2])))
    assert value.shape == ()
    assert scores.shape == (2, 3)
