"""DCGAN: published sizes, rules on layers, labels in both networks, and a label that decides the digit."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest

from nnatomy import data, random
from nnatomy.architectures.generative.dcgan import model as architecture
from nnatomy.architectures.generative.dcgan.picture import between, draw, images
from nnatomy.architectures.generative.dcgan.recipe import digits as recipe
from nnatomy.architectures.generative.dcgan.task import classifier
from nnatomy.errors import UserError
from nnatomy.tasks import task_for
from nnatomy.tensor import Tensor
from nnatomy.training import fit as training

Array = np.ndarray[Any, Any]
DIGITS = data.load("digits", accepts=("image",))
EPOCHS = 40


@cache
def fit() -> architecture.DCGAN:
    """A smaller DCGAN of the digits, trained as the recipe says, for fewer epochs."""
    random.seed(0)
    model = recipe.build(DIGITS, **{**recipe.options, "width": 16})
    training.fit(replace(recipe, epochs=EPOCHS), model, DIGITS, task_for(recipe, DIGITS), 0)
    assert isinstance(model, architecture.DCGAN)
    return model.eval()


def normal(*shape: int) -> Array:
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def test_published_sizes() -> None:
    model = architecture.build()
    assert model.generator.count_parameters() == 3_576_704
    assert model.discriminator.count_parameters() == 2_765_568
    labeled = architecture.build(classes=10)
    assert labeled.generator.count_parameters() == 3_576_704 + 10 * 512 * 16
    assert labeled.discriminator.count_parameters() == 2_765_568 + 10 * 64 * 16


def test_batch_normalization_is_neither_at_the_output_nor_at_the_input() -> None:
    model = architecture.build((1, 16, 16), 3, 2, 3)
    names = [[type(layer).__name__ for layer in part.main] for part in (model.generator, model.discriminator)]
    block = ["BatchNorm2d", "ReLU", "ConvTranspose2d"]
    assert names[0] == ["ConvTranspose2d", *block, *block, *block]
    assert names[1] == ["Conv2d", "LeakyReLU", *["Conv2d", "BatchNorm2d", "LeakyReLU"] * 2, "Conv2d"]


def test_kernels_start_small_and_losses_at_ln_2() -> None:
    random.seed(0)
    model = architecture.build((1, 32, 32), 20, 16, 3)
    kernels = [p.numpy() for p in model.parameters() if p.ndim == 4]
    assert np.std(np.concatenate([k.ravel() for k in kernels])) == pytest.approx(0.02, rel=0.02)
    x = Tensor(np.tanh(normal(16, 1, 32, 32)))
    assert architecture.discriminator_loss(model, x)[0].item() == pytest.approx(2 * np.log(2), abs=0.15)
    assert architecture.generator_loss(model, x)[0].item() == pytest.approx(np.log(2), abs=0.15)


def test_both_networks_see_the_label() -> None:
    """Another label changes the image of the same noise, and the score of the same image."""
    random.seed(0)
    model = architecture.build((1, 8, 8), 4, 8, 2, classes=3).eval()
    z, x = Tensor(normal(6, 4)), Tensor(normal(6, 1, 8, 8))
    zeros, ones = Tensor(np.zeros(6, np.int64)), Tensor(np.ones(6, np.int64))
    for see, given in ((model, z), (model.discriminate, x)):
        first, second = see(given, zeros).numpy(), see(given, ones).numpy()
        assert (np.abs(first - second).reshape(6, -1).max(axis=1) > 1e-7).all()
    np.testing.assert_array_equal(model(z).numpy(), model(z, Tensor(np.arange(6) % 3)).numpy())


def test_an_image_is_independent_of_its_batch_in_evaluation() -> None:
    model = architecture.build((1, 8, 8), 4, 8, 2)
    z = normal(6, 4)
    assert not np.allclose(model(Tensor(z)).numpy()[:3], model(Tensor(z[:3])).numpy(), atol=1e-6)
    model.eval()
    np.testing.assert_allclose(model(Tensor(z)).numpy()[:3], model(Tensor(z[:3])).numpy(), atol=1e-6)


def test_images_stay_between_black_and_white() -> None:
    model = architecture.build((1, 8, 8), 4, 8, 2, bounds=(-0.5, 2.0))
    for p in model.parameters():
        p.data = 1000 * p.data
    made = model.sample(50).numpy()
    assert made.min() == pytest.approx(-0.5, abs=1e-3)
    assert made.max() == pytest.approx(2.0, abs=1e-3)


def test_the_label_decides_the_digit() -> None:
    """A classifier of real digits agrees with the label, and with the wrong label it does not."""
    model, judge = fit(), classifier(DIGITS)
    z = normal(60, model.noise)
    seen = np.stack([judge.predict(images(model, z, label).reshape(60, -1)) for label in range(10)])
    assert (seen == np.arange(10)[:, None]).mean() > 0.9
    assert (seen == (np.arange(10)[:, None] + 1) % 10).mean() < 0.05


def test_agreement_counts_labels_that_the_classifier_sees() -> None:
    """Real images agree with their labels, and the same images in another order by chance only."""
    task, (x, y) = task_for(recipe, DIGITS), DIGITS.test.all()
    for order, low, high in ((np.arange(len(x)), 0.95, 1.0), (np.random.default_rng(0).permutation(len(x)), 0.05, 0.17)):
        meter = task.meter()
        for rows in np.array_split(np.arange(len(x)), 3):
            meter.add(x[order][rows], (x[rows], y[rows]))
        assert low <= meter.result().metrics["agreement"] <= high


def test_picture_has_a_row_a_label_and_a_column_a_draw() -> None:
    model = fit()
    figure = draw(model, DIGITS)
    shown = [axes for axes in figure.axes if axes.images]
    assert len(shown) == (10 + 3) * 8
    arc = between(*normal(2, 16), count=5)
    np.testing.assert_allclose(arc[[0, -1]], normal(2, 16), atol=1e-5)
    lengths = np.linalg.norm(arc, axis=1)
    np.testing.assert_allclose(lengths, np.linspace(lengths[0], lengths[-1], 5), rtol=1e-5)


def test_wrong_options() -> None:
    cases: tuple[tuple[dict[str, Any], str], ...] = (
        ({"stages": 0}, "from 1"), ({"shape": (1, 12, 8), "stages": 3}, "divided by 2"),
        ({"bounds": (1.0, 0.0)}, "Black is below"),
        ({"shape": (8, 8)}, "channels, height, width"),
    )  # fmt: skip
    for wrong, said in cases:
        with pytest.raises(UserError, match=said):
            architecture.build(**{"shape": (1, 8, 8), "stages": 2, **wrong})
    with pytest.raises(UserError, match="black and a white"):
        recipe.build(data.load("wine"), **recipe.options)
