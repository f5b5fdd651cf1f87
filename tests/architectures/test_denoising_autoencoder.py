"""The denoising autoencoder: noise as the papers define it, a gain at levels it has not seen, and arrows along the score."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest

from nnatomy import data, random
from nnatomy.architectures.autoencoders.denoising_autoencoder import model as architecture
from nnatomy.architectures.autoencoders.denoising_autoencoder.picture import SIGMA, circle, corrupted, decibels, draw, on_circle
from nnatomy.architectures.autoencoders.denoising_autoencoder.recipe import digits as recipe
from nnatomy.architectures.autoencoders.denoising_autoencoder.task import bounds
from nnatomy.errors import UserError
from nnatomy.tasks import task_for
from nnatomy.tensor import Tensor
from nnatomy.training import fit as training

Array = np.ndarray[Any, Any]
DIGITS = data.load("digits", accepts=("image",))
TEST: Array = DIGITS.test.all()[0]
EPOCHS = 25


@cache
def fit(**options: Any) -> architecture.DenoisingAutoencoder:
    """A model of the digits, trained as the recipe says, for fewer epochs."""
    random.seed(0)
    model = recipe.build(DIGITS, **{**recipe.options, **options})
    training.fit(replace(recipe, epochs=EPOCHS), model, DIGITS, task_for(recipe, DIGITS), 0)
    assert isinstance(model, architecture.DenoisingAutoencoder)
    return model


def cleaned(model: architecture.DenoisingAutoencoder, noisy: Array) -> float:
    """The PSNR of a model's outputs for noisy test images, in dB."""
    return decibels(model, TEST, model(Tensor(noisy)).numpy())


# The noise


def test_the_three_kinds_of_noise() -> None:
    """Deviation and fractions are those of the level; all other numbers stay as they are."""
    rng = np.random.default_rng(0)
    x, normal, uniform = rng.uniform(-1, 3, (200, 500)), rng.normal(size=(200, 500)), rng.uniform(size=(200, 500))
    off = architecture.gaussian(x, normal, 0.3, -1.0, 3.0) - x
    assert off.std() == pytest.approx(0.3 * 4, rel=0.01)
    assert abs(off.mean()) < 0.02
    masked = architecture.masking(x, uniform, 0.3, -1.0, 3.0)
    assert (masked == -1).mean() == pytest.approx(0.3, abs=0.005)
    assert ((masked == x) | (masked == -1)).all()  # the kept numbers are not divided by 1 - 0.3, as dropout's are
    mixed = architecture.salt_and_pepper(x, uniform, 0.3, -1.0, 3.0)
    assert (mixed == -1).mean() == pytest.approx(0.15, abs=0.005)
    assert (mixed == 3).mean() == pytest.approx(0.15, abs=0.005)
    assert (mixed == x).mean() == pytest.approx(0.7, abs=0.005)


@pytest.mark.parametrize("noise", architecture.NOISE)
def test_noise_is_drawn_again_each_time_and_the_target_is_clean(noise: str) -> None:
    model = architecture.build((6,), 5, noise, 0.5).astype("float64")
    x = Tensor(np.random.default_rng(0).uniform(size=(8, 6)))
    random.seed(0)
    first, y = architecture.denoising_error(model, x)
    again, _ = architecture.denoising_error(model, x)
    assert first.item() != again.item()
    assert first.item() == pytest.approx(((y.numpy() - x.numpy()) ** 2).mean())
    random.seed(0)
    draws = model.draw(x.shape, x.dtype)
    np.testing.assert_array_equal(model(model.corrupt(x, draws)).numpy(), y.numpy())
    assert (draws.numpy().min() < 0) == (noise == "gaussian")


def test_evaluation_has_the_same_noise_each_time() -> None:
    model, task = recipe.build(DIGITS, **recipe.options), task_for(recipe, DIGITS)
    found = task.evaluate(model, DIGITS.test).metrics
    assert found == task.evaluate(model, DIGITS.test).metrics
    low, high = bounds(DIGITS)
    assert found["psnr"] == pytest.approx(10 * np.log10((high - low) ** 2 / found["mse"]))


def test_black_and_white_are_those_of_the_data() -> None:
    low, high = bounds(DIGITS)
    assert TEST.min() == pytest.approx(low, abs=1e-5)
    assert TEST.max() == pytest.approx(high, abs=1e-5)
    with pytest.raises(UserError, match="range from black to white"):
        recipe.build(data.load("wine"), **recipe.options)


# What it learns


def test_it_beats_the_plain_autoencoder_at_noise_it_has_not_seen() -> None:
    """Trained at 0.5 only, it gains on the noisy image and on a plain autoencoder from 0.3 to 0.9; clean images it blurs."""
    denoising, plain = fit(), fit(level=0.0)
    assert denoising.count_parameters() == plain.count_parameters()
    for level in (0.3, 0.5, 0.7, 0.9):
        probe = architecture.build((1, 8, 8), 1, level=level, low=denoising.low, high=denoising.high)
        noisy = corrupted(probe, TEST)
        found = cleaned(denoising, noisy)
        assert found > decibels(denoising, TEST, noisy) + 4
        assert found > cleaned(plain, noisy) + 3
    assert cleaned(plain, TEST) > cleaned(denoising, TEST) + 10


def test_the_level_of_training_is_a_compromise() -> None:
    """The table of the page: decibels at three levels, for networks that were trained at three levels and without noise."""
    table = {0.0: (13.9, 8.8, 3.6), 0.25: (17.8, 13.0, 6.6), 0.5: (15.9, 14.6, 9.7), 1.0: (12.0, 12.4, 12.4)}
    for trained, row in table.items():
        model = fit(level=trained) if trained != 0.5 else fit()
        for level, value in zip((0.25, 0.5, 1.0), row, strict=True):
            probe = architecture.build((1, 8, 8), 1, level=level, low=model.low, high=model.high)
            assert cleaned(model, corrupted(probe, TEST)) == pytest.approx(value, abs=0.4)


def test_the_best_linear_denoiser_shrinks_toward_the_mean() -> None:
    """For x ~ N(0, 1) and noise of variance s^2 it is x~ / (1 + s^2): the answer of the page's exercise."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=100_000)
    noisy = architecture.gaussian(x, rng.normal(size=x.shape), 0.5, 0.0, 1.0)
    assert (noisy @ x) / (noisy @ noisy) == pytest.approx(1 / 1.25, abs=0.01)


@pytest.mark.parametrize("noise", ["masking", "salt_and_pepper"])
def test_each_noise_is_removed_best_by_the_network_that_had_it(noise: str) -> None:
    own = fit(noise=noise)
    noisy = corrupted(own, TEST)
    assert cleaned(own, noisy) > cleaned(fit(level=0.0), noisy) + 3
    assert cleaned(own, noisy) > cleaned(fit(), noisy) + 0.5


def test_it_beats_the_best_linear_map() -> None:
    task = task_for(recipe, DIGITS)
    scores = {name: task.score(made(DIGITS, [recipe]).outputs, DIGITS.test).metrics["psnr"]
              for name, made in task.baselines.items()}  # fmt: skip
    assert scores["linear map"] > scores["mean"] > scores["noisy input"]
    assert task.evaluate(fit(), DIGITS.test).metrics["psnr"] > scores["linear map"]


def test_arrows_are_the_score_times_the_variance_of_the_noise() -> None:
    """r(x) - x = sigma^2 d log p / dx of the noisy points' density p, which is known for points of a circle."""
    model, rng = circle(), np.random.default_rng(0)
    places = on_circle(rng.uniform(0, 2 * np.pi, 500)) * rng.uniform(0.6, 1.5, (500, 1))

    def log_p(x: Array) -> Array:
        centers = on_circle(np.linspace(0, 2 * np.pi, 1000, endpoint=False)).astype(np.float64)
        return np.asarray(np.log(np.exp(-((x[:, None] - centers) ** 2).sum(axis=2) / (2 * SIGMA**2)).mean(axis=1)))

    h = 1e-4
    steps = h * np.eye(2)
    score = np.stack([(log_p(places + e) - log_p(places - e)) / (2 * h) for e in steps], axis=1)
    moves = model(Tensor(places.astype(np.float32))).numpy() - places
    assert ((moves - SIGMA**2 * score) ** 2).sum() < 0.15**2 * (SIGMA**4 * score**2).sum()


# Sizes, the picture and wrong inputs


def test_parameters_are_those_of_the_formula() -> None:
    for d, h in ((64, 512), (6, 4)):
        assert architecture.build((1, 2, d // 2), h).count_parameters() == 2 * d * h + h + d
        assert architecture.build((1, 2, d // 2), h, tied=True).count_parameters() == d * h + h + d
    assert architecture.build((1, 8, 8)).count_parameters() == 66_112


def test_picture_shows_the_gain() -> None:
    model = fit()
    figure = draw(model, DIGITS)
    noisy = corrupted(model, TEST)
    gain = cleaned(model, noisy) - decibels(model, TEST, noisy)
    assert f"{gain:+.1f} dB" in str(figure.get_suptitle())
    assert model.level == 0.5
    curves = next(axes for axes in figure.axes if axes.get_xlabel() == "noise level").lines
    np.testing.assert_allclose(np.asarray(curves[2].get_ydata())[5], cleaned(model, noisy), rtol=1e-5)


def test_wrong_options() -> None:
    cases: tuple[tuple[dict[str, Any], str], ...] = (
        ({"units": 0}, "at least 1"), ({"noise": "maskin"}, "Did you mean 'masking'"), ({"activation": "rel"}, "'relu'"),
        ({"level": -0.1}, "level is at least 0"), ({"noise": "masking", "level": 1.5}, "level is"),
        ({"low": 1.0, "high": 1.0}, "low is below high"),
    )  # fmt: skip
    for wrong, said in cases:
        with pytest.raises(UserError, match=said):
            architecture.build((8,), **wrong)
