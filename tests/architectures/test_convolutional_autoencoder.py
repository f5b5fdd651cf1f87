"""The convolutional autoencoder: the decoder restores every size, and what its kernels overlap shows."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest

from nnatomy import data, random
from nnatomy.architectures.autoencoders.convolutional_autoencoder import model as architecture
from nnatomy.architectures.autoencoders.convolutional_autoencoder.picture import draw, smooth
from nnatomy.architectures.autoencoders.convolutional_autoencoder.recipe import digits as recipe
from nnatomy.architectures.autoencoders.convolutional_autoencoder.task import code_size
from nnatomy.errors import UserError
from nnatomy.tasks import task_for
from nnatomy.tensor import Tensor
from nnatomy.training import fit as training

Array = np.ndarray[Any, Any]
DIGITS = data.load("digits", accepts=("image",))


@cache
def fit(epochs: int = 15, **options: Any) -> architecture.ConvolutionalAutoencoder:
    """A model of the digits, trained as the recipe says, for fewer epochs."""
    random.seed(0)
    model = recipe.build(DIGITS, **{**recipe.options, **options})
    training.fit(replace(recipe, epochs=epochs), model, DIGITS, task_for(recipe, DIGITS), 0)
    assert isinstance(model, architecture.ConvolutionalAutoencoder)
    return model


# Sizes


@pytest.mark.parametrize("form, kernel", [("strided", 2), ("strided", 3), ("strided", 4), ("strided", 5), ("pooled", 3)])
def test_the_decoder_restores_every_size(form: str, kernel: int) -> None:
    """Even and odd, high and wide: each stage of the decoder has the size of the encoder's stage."""
    tried = 0
    for height in range(1, 14):
        for width in (height, 9, 12):
            try:
                model = architecture.build((1, height, width), (2, 1), form, kernel)
            except UserError:
                assert min(height, width) < kernel + 4
                continue
            x = Tensor(np.zeros((2, 1, height, width), np.float32))
            assert model.encode(x).shape == (2, 1, *model.sizes[-1])
            assert model(x).shape == x.shape
            tried += 1
    assert tried > 15


def test_output_padding_says_which_of_two_sizes_it_was() -> None:
    for kernel in (2, 3, 4, 5):
        sizes = [architecture.halved((n, n), kernel, "strided")[0] for n in range(6, 40)]
        assert all(sizes.count(m) <= 2 for m in sizes)
        missing = {architecture.output_padding((m, m), (n, n), kernel)[0] for m, n in zip(sizes, range(6, 40), strict=True)}
        assert missing == {0, 1}
    assert architecture.halved((7, 8), 3, "strided") == (4, 4)
    assert architecture.output_padding((4, 4), (7, 8), 3) == (0, 1)


def test_pooling_takes_the_largest_and_upsampling_repeats() -> None:
    x = np.arange(15, dtype=np.float64).reshape(1, 1, 3, 5)
    small = architecture.pool(Tensor(x)).numpy()
    np.testing.assert_array_equal(small[0, 0], [[6, 8, 9], [11, 13, 14]])
    large = architecture.upsample(Tensor(small), (3, 5)).numpy()
    np.testing.assert_array_equal(large[0, 0], [[6, 6, 8, 8, 9], [6, 6, 8, 8, 9], [11, 11, 13, 13, 14]])


def test_parameters_are_those_of_the_formula() -> None:
    for kernel, form in ((3, "pooled"), (4, "strided")):
        model = architecture.build((1, 8, 8), (32, 4), form, kernel)
        assert model.count_parameters() == 2 * kernel**2 * (1 * 32 + 32 * 4) + (32 + 4) + (32 + 1)
        larger = architecture.build((1, 64, 48), (32, 4), form, kernel)
        assert larger.count_parameters() == model.count_parameters()  # whatever the size of the image
    assert architecture.build((1, 8, 8), (32, 4), kernel=4).count_parameters() == 5189


# What convolutions do


def test_a_transposed_convolution_is_the_transpose_of_a_convolution() -> None:
    """<conv(x), z> = <x, conv_transpose(z)> for the same kernel."""
    rng = np.random.default_rng(0)
    for shape in ((1, 7, 6), (1, 8, 5)):
        model = architecture.build(shape, (3,), kernel=4).astype("float64")
        layer: Any = model.decoder[0]
        kernel = model.encoder[0].weight.numpy()
        model.encoder[0].load_state_dict({"weight": kernel, "bias": np.zeros(3)})
        layer.load_state_dict({"weight": kernel, "bias": np.zeros(1)})
        x, z = rng.normal(size=(1, *shape)), rng.normal(size=(1, 3, *model.sizes[-1]))
        there, back = model.encode(Tensor(x)).numpy(), model.decode(Tensor(z)).numpy()
        assert (there * z).sum() == pytest.approx((x * back).sum(), rel=1e-12)


def test_codes_move_with_the_image() -> None:
    """An image that is shifted by 4 pixels has a code that is shifted by 1, away from the edges."""
    for form, kernel in (("strided", 4), ("strided", 3), ("pooled", 3)):
        model = architecture.build((1, 32, 32), (4, 2), form, kernel).astype("float64")
        x = np.zeros((1, 1, 32, 32))
        x[..., 8:20, 8:20] = np.random.default_rng(0).normal(size=(12, 12))
        code, moved = (model.encode(Tensor(a)).numpy() for a in (x, np.roll(x, 4, axis=3)))
        np.testing.assert_allclose(moved[..., 1:-1, 2:-1], code[..., 1:-1, 1:-2], atol=1e-12)
        assert np.abs(code[..., 1:-1, 1:-1] - code[..., 1:-1, 1:2]).max() > 1e-3


def test_a_checkerboard_appears_where_the_stride_does_not_divide_the_kernel() -> None:
    inside = slice(3, -3)
    boards = {key: smooth(*key)[inside, inside] for key in (("strided", 3), ("strided", 4), ("strided", 5), ("pooled", 3))}
    assert np.ptp(boards["strided", 4]) < 1e-6
    assert np.ptp(boards["pooled", 3]) < 1e-6
    for kernel in (3, 5):
        board = boards["strided", kernel]
        assert np.ptp(board) > 0.3
        np.testing.assert_allclose(board[2:], board[:-2], rtol=1e-6)  # a pattern of period 2
    np.testing.assert_allclose(sorted(set(np.round(boards["strided", 3].ravel() * 9 / 4, 4))), [1, 2, 4])


# On the digits


def test_the_code_says_where() -> None:
    """A pixel of the image changes the code near its own place only."""
    model = fit()
    x = DIGITS.test.all()[0][:1].astype(np.float32)
    changed = x.copy()
    changed[..., 0, 0] += 1.0
    off = np.abs(model.encode(Tensor(changed)).numpy() - model.encode(Tensor(x)).numpy()).max(axis=(0, 1))
    assert off[0, 0] > 0
    assert off[1, 1] == 0


def test_digits_return_better_than_from_as_many_components() -> None:
    task = task_for(recipe, DIGITS)
    components = task.baselines["principal components"](DIGITS, [recipe])
    assert code_size(DIGITS, recipe) == 16
    assert "16" in components.chosen
    linear = task.score(components.outputs, DIGITS.test).metrics["explained"]
    assert task.evaluate(fit(30), DIGITS.test).metrics["explained"] > linear
    larger = replace(recipe, options={**recipe.options, "channels": (8, 8)})
    assert code_size(DIGITS, larger) == 32
    assert "32" in task.baselines["principal components"](DIGITS, [larger]).chosen


# Pictures and wrong inputs


def test_picture_shows_inputs_maps_and_outputs() -> None:
    model = fit()
    figure = draw(model, DIGITS)
    x, labels = DIGITS.test.all()
    first = x[int(np.flatnonzero(labels == 0)[0])][None]
    code = model.encode(Tensor(first)).numpy()[0]
    drawn = [np.asarray(axes.images[0].get_array()) for axes in figure.axes if axes.images]
    np.testing.assert_allclose(drawn[10], code[0], atol=1e-5)  # below ten inputs
    assert "4 maps of 2 × 2" in str(figure.get_suptitle())


def test_wrong_options() -> None:
    cases: tuple[tuple[dict[str, Any], str], ...] = (
        ({"channels": ()}, "at least 1"), ({"channels": (4, 0)}, "at least 1"), ({"form": "stride"}, "Did you mean 'strided'"),
        ({"activation": "rely"}, "Did you mean 'relu'"), ({"form": "pooled", "kernel": 4}, "Use 5"),
        ({"channels": (2, 2, 2, 2, 2), "kernel": 4}, "Use fewer channels"),
    )  # fmt: skip
    for wrong, said in cases:
        with pytest.raises(UserError, match=said):
            architecture.build((1, 8, 8), **wrong)
    with pytest.raises(UserError, match="3 axes"):
        architecture.build((8, 8))
