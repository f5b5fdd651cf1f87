"""ResNet: its sizes and names, the identity that blocks start from, and why deep networks need it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nnatomy as nn
from nnatomy import data, random
from nnatomy.architectures.convolutional.resnet.library import build as build_library
from nnatomy.architectures.convolutional.resnet.model import PaddingShortcut, ResNet, build, gradients_by_block, loss
from nnatomy.architectures.convolutional.resnet.names import tables
from nnatomy.architectures.convolutional.resnet.picture import draw
from nnatomy.architectures.convolutional.resnet.recipe import build_for, digits
from nnatomy.errors import UserError
from nnatomy.graph import no_grad
from nnatomy.layers import Conv2d
from nnatomy.runs.fitting import fit_recipe
from nnatomy.tensor import Tensor

Array = np.ndarray[Any, Any]


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
    ("depth", "parameters"), [(18, 11_689_512), (34, 21_797_672), (50, 25_557_032), (101, 44_549_160), (152, 60_192_808)]
)
def test_published_sizes(depth: int, parameters: int) -> None:
    assert build(depth).count_parameters() == parameters


@pytest.mark.parametrize(
    ("depth", "shortcut", "parameters"),
    [(20, "A", 269_722), (56, "A", 853_018), (110, "A", 1_727_962), (20, "B", 272_474)],
)
def test_sizes_for_cifar(depth: int, shortcut: str, parameters: int) -> None:
    model = build(depth, classes=10, shortcut=shortcut)
    assert model.count_parameters() == parameters
    convolutions = [name for name, layer in model.named_modules() if isinstance(layer, Conv2d) and "downsample" not in name]
    assert len(convolutions) + 1 == depth  # and the linear layer


@pytest.mark.usefixtures("undrawn")
def test_sizes_of_keras_are_ours_and_biases() -> None:
    """Keras's convolutions have biases: all of ResNet50, the first, the last of each block and projections in ResNet50V2."""
    model, second = build(50), build(50, version=2)
    biases = {name: conv.weight.shape[0] for name, conv in model.named_modules() if isinstance(conv, Conv2d)}
    assert model.count_parameters() + sum(biases.values()) == 25_583_592
    some = sum(n for name, n in biases.items() if name == "conv1" or "conv3" in name or "downsample" in name)
    assert second.count_parameters() == 25_549_352
    assert second.count_parameters() + some == 25_568_360


def test_names_are_torchvisions() -> None:
    batch_norm = ("weight", "bias", "running_mean", "running_var")
    expected = {"conv1.weight", "fc.weight", "fc.bias", *(f"bn1.{name}" for name in batch_norm)}
    for stage, blocks in enumerate((3, 4, 6, 3), start=1):
        for block in range(blocks):
            path = f"layer{stage}.{block}"
            convolutions = {f"{path}.conv{k}": f"{path}.bn{k}" for k in (1, 2, 3)}
            if block == 0:
                convolutions[f"{path}.downsample.0"] = f"{path}.downsample.1"
            expected |= {f"{conv}.weight" for conv in convolutions}
            expected |= {f"{bn}.{name}" for bn in convolutions.values() for name in batch_norm}
    assert set(build(50, width=1).state_dict()) == expected


def test_initial_weights() -> None:
    """N(0, 2 / n) with n = kernel area times output maps; normalization starts as the identity."""
    random.seed(0)
    model: Any = build(18, layers=(1, 1))
    for conv in (model.conv1, model.layer1[0].conv1, model.layer2[0].conv2, model.layer2[0].downsample[0]):
        outputs, _, high, wide = conv.weight.shape
        assert conv.weight.numpy().std() == pytest.approx((2 / (outputs * high * wide)) ** 0.5, rel=0.05)
    assert (model.layer2[0].bn2.weight.numpy() == 1).all()


# The identity


def last_layers(model: ResNet) -> list[Any]:
    """What ends each branch: its last normalization, or in version 2 its last convolution."""
    name = "bn" if model.version == 1 else "conv"
    return [getattr(block, f"{name}3", getattr(block, f"{name}2")) for block in model.blocks()]


def silence(model: ResNet) -> ResNet:
    """Set to zero what the blocks add."""
    for layer in last_layers(model):
        layer.load_state_dict(layer.state_dict() | {"weight": np.zeros(layer.weight.shape)})
    return model


@pytest.mark.parametrize("training", [True, False])
def test_branches_of_zero_give_the_identity(training: bool) -> None:
    """Of 54 layers nothing is left but option A's subsampling and zeros."""
    model = silence(build(56, 3, 2, 4)).train(training)
    x = noise(3, 2, 8, 8)
    with no_grad():
        start = model.stem(x).numpy()
        y = model.stem(x)
        for block in model.blocks():
            y = block(y)
    assert np.array_equal(y.numpy()[:, :4], start[:, :, ::4, ::4])
    assert not y.numpy()[:, 4:].any()


def test_every_block_can_become_the_identity_alone() -> None:
    for depth, version in ((18, 1), (50, 1), (18, 2), (50, 2)):
        model: Any = silence(build(depth, 3, 1, 4, layers=(3,), version=version))
        x = noise(2, 4 * (4 if depth == 50 else 1), 5, 5)
        x = Tensor(np.abs(x.numpy())) if version == 1 else x  # version 1 clips its sum at 0
        assert np.array_equal(model.layer1[2](x).numpy(), x.numpy())


def test_the_stream_of_version_2_is_a_sum() -> None:
    """x_L = x_l + the sum of what the blocks between them add (2016, equation 4), where no shape changes."""
    model = build(18, 3, 1, 4, layers=(5,), version=2).eval()
    with no_grad():
        states, added = [model.stem(noise(2, 1, 16, 16))], []
        for block in model.blocks():
            a = states[-1] if block.bn1 is None else block.bn1(states[-1]).relu()
            added.append(block.branch(a).numpy())
            states.append(block(states[-1]))
    np.testing.assert_allclose(states[-1].numpy(), states[1].numpy() + sum(added[1:]), rtol=1e-5, atol=1e-5)
    assert (states[-1].numpy() < 0).any()


# Why depth needs it


def gradient_ratio(depth: int, residual: bool, version: int = 1) -> float:
    random.seed(0)
    model = build(depth, 10, 1, version=version, residual=residual)
    norms = gradients_by_block(model, noise(32, 1, 8, 8), Tensor(np.arange(32) % 10))
    return norms[0] / norms[-1]


def test_gradients_explode_with_depth_without_skips() -> None:
    """Of the first block's input over that of the last block's output: it multiplies with depth, with skips it grows slowly."""
    plain, residual = ([gradient_ratio(depth, skips) for depth in (20, 56)] for skips in (False, True))
    assert plain[0] < 100
    assert plain[1] > 500
    assert plain[1] > 0.3 * plain[0] ** 2
    assert residual[1] < 100
    assert residual[1] < 5 * residual[0]


def test_the_plain_network_of_56_layers_degrades() -> None:
    """The same recipe, epochs and first weights of the same seed: the training loss of the plain network stays higher."""
    dataset = data.load("digits")
    found = {}
    for residual in (True, False):
        options = {**digits.options, "depth": 56, "width": 4, "residual": residual}
        fitted = fit_recipe(replace(digits, epochs=5, options=options), dataset)
        found[residual] = fitted.task.evaluate(fitted.model, dataset.train).metrics
    assert found[True]["accuracy"] > 0.5
    assert found[False]["accuracy"] < found[True]["accuracy"] - 0.2
    assert found[False]["loss"] > found[True]["loss"] + 0.5


# Variants


def test_the_padding_shortcut() -> None:
    x = noise(2, 3, 5, 4)
    y = PaddingShortcut(3, 7, 2)(x).numpy()
    assert y.shape == (2, 7, 3, 2)
    assert np.array_equal(y[:, :3], x.numpy()[:, :, ::2, ::2])
    assert not y[:, 3:].any()


def test_the_places_of_the_stride_have_one_size_and_other_outputs() -> None:
    three, one = (build(50, 3, 1, 4, layers=(1, 1), stride_in=place) for place in ("3x3", "1x1"))
    one.load_state_dict(three.state_dict())
    x = noise(2, 1, 32, 32)
    assert not np.allclose(out_of(three, x), out_of(one, x), atol=1e-3)
    last: Any = list(one.blocks())[1]
    assert (last.conv1.stride, last.conv2.stride) == ((2, 2), (1, 1))


def test_version_2_ends_with_normalization_and_starts_without() -> None:
    model: Any = build(50, 3, 1, 4, layers=(2, 1), version=2)
    names = set(dict(model.named_parameters()))
    assert {"norm.weight", "layer1.1.bn1.weight", "layer2.0.downsample.0.weight"} <= names
    assert not {"layer1.0.bn1.weight", "layer2.0.downsample.1.weight"} & names
    assert model.layer1[1].bn1.weight.shape == (16,)


def test_the_plain_network_has_the_same_layers_without_shortcuts() -> None:
    plain, residual = build(18, residual=False, width=4), build(18, width=4)
    extra = {name for name in residual.state_dict() if "downsample" in name}
    assert extra
    assert set(plain.state_dict()) == set(residual.state_dict()) - extra


# Libraries


@pytest.mark.parametrize(
    "options",
    [{"depth": 18, "layers": (1, 2)}, {"depth": 50, "layers": (1, 1)}, {"depth": 50, "layers": (1, 1), "stride_in": "1x1"}],
)
def test_files_of_transformers_load(tmp_path: Path, options: dict[str, Any]) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    pytest.importorskip("transformers", reason="transformers is not installed")
    pytest.importorskip("safetensors", reason="safetensors is not installed")
    options = {"classes": 5, "channels": 3, "width": 4, **options}
    torch.manual_seed(0)
    theirs = build_library(**options).model[0]
    for buffer in theirs.buffers():
        if buffer.dtype == torch.float32:
            buffer.uniform_(0.5, 1.5)
    theirs.eval().save_pretrained(tmp_path)
    found = nn.interchange.load(nn.architecture("resnet"), tmp_path / "model.safetensors", **options)
    assert not found.missing
    assert not found.unexpected
    x = noise(2, 3, 33, 40)
    with torch.no_grad():
        expected = theirs(torch.tensor(x.numpy())).logits.numpy()
    model: Any = found.model
    np.testing.assert_allclose(out_of(model.eval(), x), expected, rtol=1e-4, atol=1e-4)


def test_only_the_form_for_imagenet_has_a_table_of_names() -> None:
    assert tables(depth=20) == {}
    assert "resnet.encoder.stages.0.layers.0.shortcut.convolution" not in tables(depth=18)["transformers"]


def test_resnet_of_keras_has_the_stride_in_1x1(tmp_path: Path) -> None:
    """Its functions with fewer blocks; a bias before a normalization is a shift of its running mean."""
    pytest.importorskip("keras", reason="Keras is not installed")
    from nnatomy.verification.implementations import tensorflow_and_keras

    _, keras = tensorflow_and_keras()
    from keras.src.applications import resnet as theirs

    def stages(x: Any) -> Any:
        return theirs.stack_residual_blocks_v1(theirs.stack_residual_blocks_v1(x, 64, 1, 1, "a"), 128, 1, 2, "b")

    keras.utils.set_random_seed(0)
    network = theirs.ResNet(stages, False, True, True, None, None, (32, 32, 3), None, 5, None)
    rng = np.random.default_rng(0)
    for weight in network.weights:
        if weight.name in ("bias", "beta", "moving_mean"):
            weight.assign(rng.normal(size=weight.shape, scale=0.1))
        if weight.name in ("gamma", "moving_variance"):
            weight.assign(rng.uniform(0.5, 1.5, weight.shape))
    model = build(50, 5, layers=(1, 1), stride_in="1x1").eval()
    layers = {"conv1_conv": ("conv1", "bn1", "conv1_bn")}
    for name, stage in (("a", 1), ("b", 2)):
        ours = f"layer{stage}.0"
        layers[f"{name}_block1_0_conv"] = (f"{ours}.downsample.0", f"{ours}.downsample.1", f"{name}_block1_0_bn")
        for k in (1, 2, 3):
            layers[f"{name}_block1_{k}_conv"] = (f"{ours}.conv{k}", f"{ours}.bn{k}", f"{name}_block1_{k}_bn")
    state: dict[str, Array] = {}
    for conv, (to, to_norm, norm) in layers.items():
        kernel, bias = (w.numpy() for w in network.get_layer(conv).weights)
        scale, shift, mean, variance = (w.numpy() for w in network.get_layer(norm).weights)
        state |= {f"{to}.weight": kernel.transpose(3, 2, 0, 1), f"{to_norm}.weight": scale, f"{to_norm}.bias": shift}
        state |= {f"{to_norm}.running_mean": mean - bias, f"{to_norm}.running_var": variance}
    kernel, bias = (w.numpy() for w in network.get_layer("predictions").weights)
    model.load_state_dict(state | {"fc.weight": kernel.T, "fc.bias": bias})
    x = noise(2, 3, 32, 32)
    expected = network.predict_on_batch(x.numpy().transpose(0, 2, 3, 1))
    np.testing.assert_allclose(out_of(model, x), expected, rtol=1e-4, atol=1e-4)
    assert sum(int(np.prod(w.shape)) for w in network.trainable_weights) == model.count_parameters() + sum(
        conv.weight.shape[0] for _, conv in model.named_modules() if isinstance(conv, Conv2d)
    )


# Pictures and wrong inputs


@pytest.mark.parametrize("options", [{"depth": 8, "version": 2}, {"depth": 8, "residual": False}, {"depth": 50, "width": 2}])
def test_every_form_has_a_picture(options: dict[str, Any]) -> None:
    dataset = data.load("digits")
    figure = draw(build_for(dataset, **options).eval(), dataset)
    titles = [axes.get_title() for part in figure.subfigs for axes in part.axes]
    assert "block 1" in titles
    assert any("gradient" in title for title in titles)
    assert ("Plain network" in str(figure.get_suptitle())) == (not options.get("residual", True))


def test_wrong_inputs() -> None:
    wrong: tuple[tuple[dict[str, Any], str], ...] = (
        ({"depth": 19}, "depth of 18, 34, 50, 101, 152 or 6n"), ({"version": 3}, "version"), ({"shortcut": "C"}, "shortcut"),
        ({"stride_in": "5x5"}, "stride_in"), ({"width": 0}, "at least 1"), ({"layers": ()}, "at least 1"),
        ({"classes": 0}, "at least 1"),
    )  # fmt: skip
    for options, words in wrong:
        with pytest.raises(UserError, match=words):
            build(**{"depth": 8, **options})
    with pytest.raises(UserError, match="block"):
        ResNet("bottle")
    with pytest.raises(UserError, match=r"takes images \(batch, 3"):
        build(8)(noise(1, 1, 8, 8))
    value, scores = loss(build(8, 3, 1, 4), noise(2, 1, 8, 8), Tensor(np.array([0, 2])))
    assert value.shape == ()
    assert scores.shape == (2, 3)
