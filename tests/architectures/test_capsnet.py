"""CapsNet: squashing, couplings over the outputs, what routing does, the margin loss, and what its decoder draws from."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

import nnatomy as nn
from nnatomy import data
from nnatomy.architectures.hybrid.capsnet import CapsNet, build, couplings, loss, margin_loss, squash
from nnatomy.architectures.hybrid.capsnet.model import ClassCapsules, PrimaryCapsules
from nnatomy.architectures.hybrid.capsnet.picture import MOVES, draw, moved
from nnatomy.architectures.hybrid.capsnet.recipe import build_for, class_scores, digits, mnist
from nnatomy.cli.main import main
from nnatomy.errors import UserError
from nnatomy.runs.fitting import fit_recipe
from nnatomy.tensor import Tensor

pytestmark = pytest.mark.any_kernels
Array = np.ndarray[Any, Any]
SMALL: dict[str, Any] = {
    "shape": (1, 8, 8), "classes": 3, "maps": 4, "kernel": 3, "capsules": 2, "primary_size": 3, "size": 4, "decoder": (6, 5),
    "weight_std": 1.0,
}  # fmt: skip


def noise(*shape: int, seed: int = 0, scale: float = 1.0) -> Array:
    return (scale * np.random.default_rng(seed).normal(size=shape)).astype(np.float32)


# Sizes


def test_published_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    """6,804,224 parameters, and 1,411,344 more in the decoder, by the page's formula and in the model."""
    for name in ("normal", "uniform"):
        monkeypatch.setattr(f"nnatomy.init.{name}", lambda shape, *_, **__: np.empty(shape, np.float32))
    model = build()
    assert model.decoder is not None
    assert model.count_parameters() == 8_215_568
    assert model.decoder.count_parameters() == 1_411_344
    assert build(decoder=()).count_parameters() == 6_804_224
    assert model.digitcaps.weight.shape == (10, 1152, 16, 8)


def test_parameters_are_those_of_the_formula() -> None:
    model = build(**{**SMALL, "decoder": ()})
    maps, kernel, capsules, n, K, d, inputs = 4, 3, 2, 3, 3, 4, 2 * 2 * 2
    assert model.count_parameters() == (kernel**2 + 1) * maps + (maps * kernel**2 + 1) * capsules * n + inputs * K * d * n


# Squash


@pytest.mark.parametrize("scale", [0.0, 1e-3, 0.1, 1.0, 30.0])
def test_the_norm_of_squash_is_below_one_and_its_direction_is_kept(scale: float) -> None:
    s = (scale * np.random.default_rng(0).normal(size=(50, 8))).astype(np.float64)
    v = squash(Tensor(s)).numpy()
    length = np.linalg.norm(s, axis=1)
    assert (np.linalg.norm(v, axis=1) < 1).all()
    np.testing.assert_allclose(np.linalg.norm(v, axis=1), length**2 / (1 + length**2), rtol=1e-12, atol=1e-300)
    np.testing.assert_allclose(v * length[:, None], s * np.linalg.norm(v, axis=1)[:, None], atol=1e-10)


def test_squash_is_monotone_in_the_length() -> None:
    lengths = np.concatenate([np.linspace(0, 3, 60), np.geomspace(3, 1e4, 40)[1:]])
    found = np.linalg.norm(squash(Tensor(lengths[:, None] * np.array([[0.6, -0.8]]))).numpy(), axis=1)
    assert all(less < more for less, more in pairwise(found))


def test_squash_has_a_gradient_at_zero() -> None:
    s = nn.tensor(np.zeros((1, 3)), requires_grad=True)
    squash(s).sum().backward()
    assert s.grad is not None
    assert (s.grad.numpy() == 0).all()


# Couplings and routing


def test_couplings_sum_to_one_over_the_outputs() -> None:
    """Each input divides what it sends; over the inputs the sums are anything, as a softmax over them would not be."""
    logits = noise(2, 3, 5)
    c = couplings(Tensor(logits)).numpy()
    np.testing.assert_allclose(c.sum(axis=1), np.ones((2, 5)), rtol=1e-6)
    assert np.abs(c.sum(axis=2) - 1).max() > 0.3
    assert np.abs(c.sum(axis=0) - 1).max() > 0.3


def test_the_first_couplings_are_equal() -> None:
    layer = build(**SMALL).digitcaps
    rounds = layer.route(Tensor(noise(2, 3, 8, 4)))[1]
    assert len(rounds) == 3
    np.testing.assert_allclose(rounds[0].numpy(), np.full((2, 3, 8), 1 / 3), rtol=1e-6)
    for c in rounds:
        np.testing.assert_allclose(c.numpy().sum(axis=1), np.ones((2, 8)), rtol=1e-5)


def test_logits_are_no_parameters_and_each_example_has_its_own() -> None:
    """The result of an example is the same in every batch: the logits start at 0 for each, and nothing of them is kept."""
    model = build(**SMALL)
    x = noise(4, 1, 8, 8)
    whole = model(Tensor(x)).numpy()
    np.testing.assert_allclose(model(Tensor(x[2:3])).numpy(), whole[2:3], rtol=1e-5, atol=1e-7)
    np.testing.assert_array_equal(model(Tensor(x)).numpy(), whole)
    assert not any("logit" in name or name.endswith(".b") for name in model.state_dict())


def test_votes_that_agree_are_routed_together() -> None:
    """Four inputs vote alike for output 0 and against each other for output 1: routing moves all of them to output 0."""
    alike, apart = np.tile([[2.0, 0.0]], (4, 1)), np.array([[2.0, 0], [-2, 0], [0, 2], [0, -2]])
    votes = Tensor(np.stack([alike, apart])[None].astype(np.float32))
    v, rounds = ClassCapsules(4, 2, 2, 2, 3, True, 1.0).route(votes)
    toward = [c.numpy()[0, 0] for c in rounds]
    assert (toward[0] == 0.5).all()
    assert (toward[1] > 0.8).all()
    assert (toward[2] > toward[1]).all()
    assert float(np.linalg.norm(v.numpy()[0, 0])) > 0.95
    assert float(np.linalg.norm(v.numpy()[0, 1])) < 1e-6


def test_detached_votes_make_couplings_constant() -> None:
    """With `detach` the gradient is that of fixed couplings; without, it is that of the whole procedure."""
    given = noise(1, 3, 5, 4).astype(np.float64)
    found = {}
    for detach in (True, False):
        layer = ClassCapsules(5, 2, 3, 4, 3, detach, 1.0)
        votes = nn.tensor(given, requires_grad=True)
        v, rounds = layer.route(votes)
        v.sum().backward()
        assert votes.grad is not None
        found[detach] = votes.grad.numpy()
    fixed = nn.tensor(given, requires_grad=True)
    c = rounds[-1].numpy()
    squash((Tensor(c[..., None]) * fixed).sum(axis=2)).sum().backward()
    assert fixed.grad is not None
    np.testing.assert_allclose(found[True], fixed.grad.numpy(), rtol=1e-9, atol=1e-12)
    assert np.abs(found[False] - found[True]).max() > 1e-3


def test_one_round_is_a_sum_with_equal_weights() -> None:
    layer = ClassCapsules(5, 2, 3, 4, 1, True, 1.0)
    votes = Tensor(noise(2, 3, 5, 4))
    np.testing.assert_allclose(layer.route(votes)[0].numpy(), squash(votes.mean(axis=2) * (5 / 3)).numpy(), rtol=1e-5)


# Primary capsules


def test_a_primary_capsule_is_of_one_position() -> None:
    """A pixel in a corner changes only the capsules whose window sees it: their numbers are channels, not neighbors."""
    layer = PrimaryCapsules(1, 2, 3, 3)  # 7 x 7 -> 3 x 3 positions of 2 capsules
    x = noise(1, 1, 7, 7)
    changed = x.copy()
    changed[0, 0, 0, 0] += 1
    before, after = (layer(Tensor(a)).numpy().reshape(2, 3, 3, 3) for a in (x, changed))
    moved_places = np.abs(after - before).max(axis=(0, 3)) > 1e-6
    assert moved_places[0, 0]
    assert moved_places.sum() == 1
    conv = layer.conv2d(Tensor(x)).numpy()[0]  # (channels, rows, columns)
    np.testing.assert_allclose(before[1, 2, 0], squash(Tensor(conv[3:6, 2, 0])).numpy(), rtol=1e-5)


# Loss


def test_the_margin_loss_is_squared() -> None:
    lengths = np.array([[0.7, 0.4, 0.05], [0.95, 0.1, 0.2]])
    found = margin_loss(Tensor(lengths), Tensor(np.array([0, 0]))).numpy()
    np.testing.assert_allclose(found, [0.2**2 + 0.5 * 0.3**2, 0.5 * 0.1**2], rtol=1e-12)


def test_reconstruction_is_the_weighted_sum_of_squared_errors_of_pixels() -> None:
    """A sum over pixels, not their mean, and of pixels from 0 to 1, whatever the images were scaled by."""
    options = {**SMALL, "shape": (2, 8, 8), "mean": (0.2, 0.4), "std": (0.5, 0.3), "reconstruction": 0.01}
    model = build(**options)
    pixels = np.random.default_rng(0).uniform(size=(3, 2, 8, 8)).astype(np.float32)
    mean, std = (np.array(options[name], np.float32)[:, None, None] for name in ("mean", "std"))
    x, y = Tensor((pixels - mean) / std), Tensor(np.array([0, 1, 2]))
    value, lengths = loss(model, x, y)
    drawn = model.reconstruct(x, y).numpy()
    expected = margin_loss(lengths, y).numpy() + 0.01 * ((drawn - pixels) ** 2).sum(axis=(1, 2, 3))
    np.testing.assert_allclose(value.item(), expected.mean(), rtol=1e-5)


def test_the_decoder_sees_one_capsule() -> None:
    """That of the label in training, the longest one without labels; the others may be anything."""
    model = build(**SMALL)
    x = Tensor(noise(5, 1, 8, 8))
    poses, longest = model.poses(x).numpy(), model(x).numpy().argmax(axis=1)
    others = poses + noise(*poses.shape, seed=1)
    others[np.arange(5), longest] = poses[np.arange(5), longest]
    np.testing.assert_array_equal(model.decode(Tensor(others), Tensor(longest)).numpy(), model.reconstruct(x).numpy())
    labels = (longest + 1) % 3
    assert np.abs(model.reconstruct(x, Tensor(labels)).numpy() - model.reconstruct(x).numpy()).max() > 1e-4


def test_scores_have_lengths_as_probabilities() -> None:
    lengths = np.array([[0.9, 0.3, 0.3]])
    p = np.exp(class_scores(Tensor(lengths)).numpy())
    np.testing.assert_allclose(p / p.sum(), lengths / lengths.sum(), rtol=1e-6)


# Options and errors


@pytest.mark.parametrize(
    ("options", "words"),
    [({"kernel": 5}, "2 kernel - 1 pixels"), ({"routings": 0}, "at least 1"), ({"decoder": (0,)}, "at least 1")],
)
def test_sizes_that_do_not_fit_are_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        build(**{**SMALL, **options})


def test_images_of_another_shape_and_missing_decoders_are_refused() -> None:
    with pytest.raises(UserError, match=r"reads images of shape \(1, 8, 8\)"):
        build(**SMALL)(Tensor(noise(1, 1, 9, 8)))
    model = build(**{**SMALL, "decoder": ()})
    with pytest.raises(UserError, match="need a decoder"):
        model.reconstruct(Tensor(noise(1, 1, 8, 8)))


# A trained one


@pytest.fixture(scope="module")
def trained() -> tuple[CapsNet, Any]:
    """A smaller CapsNet after 12 epochs on the digits."""
    dataset = data.load("digits")
    options = {**digits.options, "maps": 32, "capsules": 4, "decoder": (32,)}
    recipe = replace(digits, options=options, epochs=12, batch_size=32)
    return fit_recipe(recipe, dataset).model, dataset  # type: ignore[return-value]


def test_a_trained_capsule_is_long_where_its_class_is_there(trained: tuple[CapsNet, Any]) -> None:
    model, dataset = trained
    x, y = dataset.test.take(np.arange(len(dataset.test)))
    lengths = model(Tensor(x)).numpy()
    own = lengths[np.arange(len(y)), y]
    rest = np.where(np.eye(10, dtype=bool)[y], np.nan, lengths)
    assert (lengths.argmax(axis=1) == y).mean() > 0.93
    assert own.mean() > 0.7
    assert np.nanmean(rest) < 0.2


def test_routing_lengthens_the_right_capsule(trained: tuple[CapsNet, Any]) -> None:
    """The true class's coupling grows from 1/10 in the first round to more in the last, on the mean of test images."""
    model, dataset = trained
    x, y = dataset.test.take(np.arange(100))
    rounds = model.digitcaps.route(model.digitcaps.votes(model.inputs(Tensor(x))))[1]
    own = [c.numpy()[np.arange(100), y].mean() for c in rounds]
    assert own[0] == pytest.approx(0.1)
    assert own[0] < own[1] < own[2]


def test_dimensions_change_what_is_drawn_and_zero_does_not(trained: tuple[CapsNet, Any]) -> None:
    model, dataset = trained
    x = dataset.test.take(np.arange(1))[0]
    pose = model.poses(Tensor(x)).numpy()
    drawings = moved(model, pose)
    assert drawings.shape == (16, 11, 1, 8, 8)
    original = model.reconstruct(Tensor(x)).numpy()[0]
    np.testing.assert_allclose(drawings[:, list(MOVES).index(0)], np.repeat(original[None], 16, axis=0), rtol=1e-4, atol=1e-5)
    assert (np.abs(drawings[:, 0] - drawings[:, -1]).max(axis=(1, 2, 3)) > 0.01).all()


def test_picture(trained: tuple[CapsNet, Any]) -> None:
    model, dataset = trained
    figure = draw(model, dataset)
    words = [text.get_text() for axes in figure.axes for text in (axes.title, *axes.get_xticklabels(), *axes.get_yticklabels())]
    assert {"drawn from\nits capsule", "-0.25", "0", "+0.25", "image", "drawn"} <= set(words)
    nothing: Any = build_for(dataset, **{**digits.options, "maps": 4, "capsules": 1, "decoder": ()})
    assert any("no decoder" in text.get_text() for axes in draw(nothing, dataset).axes for text in axes.texts)


def test_recipes_are_small() -> None:
    """105 thousand parameters for the digits, 287 thousand for MNIST; the pixels' weights are alike for both sizes."""
    dataset = data.load("digits")
    assert 100_000 < build_for(dataset, **digits.options).count_parameters() < 110_000
    assert digits.options["reconstruction"] * 64 == pytest.approx(mnist.options["reconstruction"] * 784, rel=0.03)


def test_a_wrong_option_is_reported(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "capsnet", "--set", "kernel=6", "--epochs", "1"]) == 2
    assert "2 kernel - 1 pixels" in capsys.readouterr().err
