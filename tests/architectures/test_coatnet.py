"""CoAtNet: its sizes and names, what a position sees after each stage, and biases that depend on offsets alone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from nnatomy import data
from nnatomy.architectures.hybrid.coatnet import CoAtNet, build, relative_index
from nnatomy.architectures.hybrid.coatnet.model import MBConvBlock, RelativeAttention, TransformerBlock, receptive_field
from nnatomy.architectures.hybrid.coatnet.picture import draw, sensitivity, window
from nnatomy.architectures.hybrid.coatnet.recipe import build_for, digits
from nnatomy.cli.main import main
from nnatomy.errors import UserError
from nnatomy.runs.fitting import fit_recipe
from nnatomy.tensor import Tensor

pytestmark = pytest.mark.any_kernels
Array = np.ndarray[Any, Any]
SMALL: dict[str, Any] = {
    "image_size": (16, 16), "channels": 1, "classes": 3, "widths": (4, 8, 8), "depths": (1, 1, 1), "stem": 4, "layout": "CCT",
    "strides": (1, 1, 2, 1), "head_size": 4, "head_width": 0,
}  # fmt: skip


def noise(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


# Sizes and names


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whole networks without the time that drawing their weights takes."""
    for name in ("normal", "uniform", "trunc_normal", "kaiming_normal", "xavier_uniform"):
        monkeypatch.setattr(f"nnatomy.init.{name}", lambda shape, *_, **__: np.empty(shape, np.float32))


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize(("size", "parameters"), [("0", 25_036_820), ("1", 42_225_776), ("2", 74_684_744), ("3", 166_966_264)])
def test_published_sizes(size: str, parameters: int) -> None:
    assert build(size).count_parameters() == parameters


@pytest.mark.usefixtures("undrawn")
def test_names_and_shapes_are_timms() -> None:
    found = {name: array.shape for name, array in build("0").state_dict().items()}
    expected = {
        "stem.conv1.weight": (64, 3, 3, 3),
        "stages.0.blocks.0.shortcut.expand.bias": (96,),
        "stages.0.blocks.1.pre_norm.running_mean": (96,),
        "stages.1.blocks.0.conv1_1x1.weight": (768, 96, 1, 1),
        "stages.1.blocks.2.conv2_kxk.weight": (768, 1, 3, 3),
        "stages.1.blocks.0.se.fc1.weight": (48, 768, 1, 1),
        "stages.2.blocks.0.norm1.norm.weight": (192,),
        "stages.2.blocks.1.norm1.weight": (384,),
        "stages.2.blocks.0.attn.qkv.weight": (1152, 192, 1, 1),
        "stages.2.blocks.0.attn.rel_pos.relative_position_bias_table": (27 * 27, 12),
        "stages.3.blocks.1.mlp.fc2.weight": (768, 3072, 1, 1),
        "head.pre_logits.fc.weight": (768, 768),
        "head.fc.bias": (1000,),
    }
    assert {name: found.get(name) for name in expected} == expected


def test_parameters_of_blocks_are_those_of_the_formulas() -> None:
    D, E, s = 8, 32, 2
    convolution = MBConvBlock(D, D, 1, "3x3", 0.25)
    assert convolution.count_parameters() == 2 * D + D * E + 2 * E + 9 * E + 2 * E + (2 * E * s + s + E) + (E + 1) * D
    attention = TransformerBlock(D, D, 1, 4, (3, 5))
    table = 2 * 5 * 9
    assert attention.count_parameters() == 4 * D + (D + 1) * 3 * D + (D + 1) * D + table + (D + 1) * E + (E + 1) * D


def test_squeeze_and_excitation_is_a_quarter_of_the_output() -> None:
    """A quarter of the block's output, a sixteenth of its inner width: the published sizes need it."""
    block: Any = MBConvBlock(8, 16, 2, "3x3", 0.25)
    assert block.se.fc1.weight.shape[:2] == (4, 64)


# Local, then global


@pytest.mark.parametrize("stride_in", ["3x3", "1x1"])
def test_convolution_sees_locally_and_attention_globally(stride_in: str) -> None:
    """The gradient of the first position reaches exactly the window of the formula, and after attention every pixel."""
    model = build(**{**SMALL, "squeeze": 0.0, "stride_in": stride_in})
    fields = receptive_field(model)
    assert fields == ([5, 7, 9, None] if stride_in == "3x3" else [5, 7, 11, None])
    x = noise(3, 1, 16, 16)
    for stage in range(3):
        seen = sensitivity(model, x, stage, (0, 0)) > 0
        rows, columns = window(model, stage) or (0, 0)
        assert seen[rows - 1].any()
        assert seen[:, columns - 1].any()
        assert not seen[rows:].any()
        assert not seen[:, columns:].any()
    every = sensitivity(model, x, 3, (0, 0)) > 0
    assert every.mean() > (0.99 if stride_in == "3x3" else 0.6)  # a strided 1x1 convolution passes some pixels over
    assert every[-3:, -3:].any()


def test_squeeze_and_excitation_lets_a_little_of_the_whole_image_in() -> None:
    model = build(**SMALL)
    seen = sensitivity(model, noise(3, 1, 16, 16), 1, (0, 0))
    rows, columns = window(model, 1) or (0, 0)
    outside = seen.sum() - seen[:rows, :columns].sum()
    assert 0 < outside < 0.2 * seen.sum()


@pytest.mark.usefixtures("undrawn")
def test_receptive_fields_of_coatnet_0() -> None:
    assert receptive_field(build("0")) == [7, 19, 59, None, None]


# Offsets


def test_the_bias_is_one_number_for_each_offset() -> None:
    """All pairs of positions at one offset have one row of the table, and no two offsets share one."""
    height, width = 3, 4
    index = relative_index(height, width)
    places = [(y, x) for y in range(height) for x in range(width)]
    rows: dict[tuple[int, int], set[int]] = {}
    for i, (yi, xi) in enumerate(places):
        for j, (yj, xj) in enumerate(places):
            rows.setdefault((yi - yj, xi - xj), set()).add(int(index[i, j]))
    assert all(len(found) == 1 for found in rows.values())
    assert sorted(row for found in rows.values() for row in found) == list(range(5 * 7))
    assert index[0, 0] == index[5, 5] == 2 * 7 + 3
    assert index[0, 1] == 2 * 7 + 2  # one to the right is looked at: xi - xj = -1


def test_without_content_attention_depends_on_offsets_alone() -> None:
    """With q and k of 0, pairs at equal offsets have weights of equal ratio: a pattern that moves with the position."""
    attention = RelativeAttention(4, 4, 4, (4, 4))
    attention.rel_pos.relative_position_bias_table.data = noise(49, 1)
    attention.qkv.weight.data = np.zeros_like(attention.qkv.weight.data)
    attention.qkv.bias.data = np.zeros_like(attention.qkv.bias.data)  # type: ignore[union-attr]
    weights = attention.weights(Tensor(noise(1, 4, 4, 4)))[0].numpy()[0, 0].reshape(4, 4, 4, 4)
    table = np.exp(attention.rel_pos.relative_position_bias_table.numpy()[:, 0].reshape(7, 7))
    for y in range(4):
        for x in range(4):
            expected = table[y : y + 4, x : x + 4][::-1, ::-1]
            np.testing.assert_allclose(weights[y, x], expected / expected.sum(), rtol=1e-5)
    ratio = weights[0, 0, 1, 2] / weights[0, 0, 0, 0]
    np.testing.assert_allclose(weights[1, 1, 2, 3] / weights[1, 1, 1, 1], ratio, rtol=1e-5)


def test_attention_is_the_softmax_of_products_and_bias() -> None:
    """Equation 3 by NumPy, with the channels of q, k and v next to each other in each head."""
    attention = RelativeAttention(3, 8, 4, (2, 3))
    x = noise(1, 3, 2, 3)
    W, b = attention.qkv.weight.numpy()[:, :, 0, 0], attention.qkv.bias.numpy()  # type: ignore[union-attr]
    qkv = (W @ x.reshape(3, 6) + b[:, None]).reshape(2, 3, 4, 6)  # (heads, q k v, features, positions)
    bias = attention.rel_pos.relative_position_bias_table.numpy()[relative_index(2, 3)]
    y = []
    for head, (q, k, v) in enumerate(qkv):
        e = np.exp(q.T @ k / 2 + bias[:, :, head])
        y.append(v @ (e / e.sum(axis=1, keepdims=True)).T)
    P, c = attention.proj.weight.numpy()[:, :, 0, 0], attention.proj.bias.numpy()  # type: ignore[union-attr]
    expected = (P @ np.concatenate(y) + c[:, None]).reshape(1, 8, 2, 3)
    np.testing.assert_allclose(attention(Tensor(x)).numpy(), expected, rtol=1e-4, atol=1e-5)


def test_without_the_bias_attention_does_not_know_places() -> None:
    """With tables of 0, a permutation of positions permutes the result; with a learned table it does not."""
    attention = RelativeAttention(4, 4, 4, (2, 3))
    x = noise(1, 4, 2, 3)
    order = np.random.default_rng(0).permutation(6)
    turned = x.reshape(1, 4, 6)[:, :, order].reshape(x.shape)

    def both() -> tuple[Array, Array]:
        first = attention(Tensor(x)).numpy().reshape(1, 4, 6)[:, :, order]
        return first, attention(Tensor(turned)).numpy().reshape(1, 4, 6)

    attention.rel_pos.relative_position_bias_table.data = noise(15, 1)
    assert np.abs(np.subtract(*both())).max() > 1e-3
    attention.rel_pos.relative_position_bias_table.data = np.zeros((15, 1), np.float32)
    np.testing.assert_allclose(*both(), rtol=1e-4, atol=1e-6)


# Blocks


def test_blocks_are_pre_activated_and_their_shortcut_pools() -> None:
    """With the last convolutions at 0 a block is its shortcut: the mean of 2 x 2 positions, and a 1x1 convolution."""
    x = noise(2, 4, 6, 6)
    block = MBConvBlock(4, 4, 2, "3x3", 0.25)
    block.conv3_1x1.weight.data = np.zeros_like(block.conv3_1x1.weight.data)
    block.conv3_1x1.bias.data = np.zeros(4, np.float32)  # type: ignore[union-attr]
    pooled = x.reshape(2, 4, 3, 2, 3, 2).mean(axis=(3, 5))
    np.testing.assert_allclose(block(Tensor(x)).numpy(), pooled, rtol=1e-5, atol=1e-6)
    wider = TransformerBlock(4, 8, 2, 4, (3, 3))
    for layer in (wider.attn.proj, wider.mlp.fc2):
        layer.weight.data, layer.bias.data = np.zeros_like(layer.weight.data), np.zeros(8, np.float32)  # type: ignore[union-attr]
    W = wider.shortcut.expand.weight.numpy()[:, :, 0, 0]  # type: ignore[union-attr]
    c = wider.shortcut.expand.bias.numpy()  # type: ignore[union-attr]
    expected = np.einsum("oc,bchw->bohw", W, pooled) + c[:, None, None]
    np.testing.assert_allclose(wider(Tensor(x)).numpy(), expected, rtol=1e-4, atol=1e-5)


def test_no_activation_between_the_norm_and_the_first_convolution() -> None:
    """Negative normalized values reach the expansion, which a gelu after the norm (the _rw variants) would nearly stop."""
    block = MBConvBlock(1, 1, 1, "3x3", 0.0)
    block.eval()
    block.conv1_1x1.weight.data = -np.ones_like(block.conv1_1x1.weight.data)
    low, high = (block(Tensor(np.full((1, 1, 3, 3), value, np.float32))).numpy() - value for value in (-4.0, -2.0))
    assert np.abs(low - high).max() > 1e-3


# Options and errors


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"image_size": (15, 16)}, "must divide the sides"), ({"layout": "CXT"}, 'Received \'CXT\''),
        ({"depths": (1, 1)}, "as many widths and depths"), ({"strides": (1, 1, 3, 1)}, "stride of 1 or 2"),
        ({"head_size": 3}, "heads that divide"), ({"stride_in": "5x5"}, "stride_in"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        build(**{**SMALL, **options})


def test_an_unknown_size_and_images_of_another_size_are_refused() -> None:
    with pytest.raises(UserError, match="size"):
        build("9")
    with pytest.raises(UserError, match=r"reads images of shape \(1, 16, 16\)"):
        build(**SMALL)(Tensor(noise(1, 1, 16, 15)))


# A trained one


@pytest.fixture(scope="module")
def trained() -> tuple[CoAtNet, Any]:
    """A smaller CoAtNet after 5 epochs on the digits."""
    dataset = data.load("digits")
    options = {**digits.options, "widths": (8, 16, 32), "depths": (1, 1, 1), "stem": 8}
    found: Any = fit_recipe(replace(digits, options=options, epochs=5), dataset).model
    return found, dataset


def test_a_few_epochs_are_enough_for_digits(trained: tuple[CoAtNet, Any]) -> None:
    model, dataset = trained
    model.eval()
    x, y = dataset.test.take(np.arange(len(dataset.test)))
    assert (model(Tensor(x)).numpy().argmax(axis=1) == y).mean() > 0.9


def test_picture(trained: tuple[CoAtNet, Any]) -> None:
    model, dataset = trained
    before = model.state_dict()
    words = [axes.get_title() for axes in draw(model, dataset).axes]
    assert any("stage 3: attention" in title for title in words)
    assert {"head 1\nbias by offset", "taken by\noffset alone", "by offset\nand content"} <= set(words)
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, before[name])
    convolutions: Any = build_for(
        dataset, **{**digits.options, "layout": "CC", "widths": (4, 4), "depths": (1, 1), "strides": (1, 1, 2)}
    )
    assert any("no stage of attention" in text.get_text() for axes in draw(convolutions, dataset).axes for text in axes.texts)


def test_a_wrong_option_is_reported(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "coatnet", "--set", "head_size=7", "--epochs", "1"]) == 2
    assert "heads that divide" in capsys.readouterr().err
