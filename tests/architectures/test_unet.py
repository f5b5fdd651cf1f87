"""U-Net: its sizes, what it sees, its loss, and that the skips carry the borders."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nnatomy as nn
from nnatomy import data, views
from nnatomy.architectures.convolutional.unet import model as architecture
from nnatomy.architectures.convolutional.unet.model import (
    UNet,
    border_weights,
    loss,
    overlap_tile,
    valid_size,
    weighted_cross_entropy,
)
from nnatomy.architectures.convolutional.unet.picture import draw
from nnatomy.architectures.convolutional.unet.recipe import build_for, recipes, shapes
from nnatomy.data.augment import augmented, crop, flip, rotate
from nnatomy.data.fields import IGNORE
from nnatomy.data.kinds.segmentation.masks import FIELDS, read_mask
from nnatomy.errors import UserError
from nnatomy.graph import no_grad
from nnatomy.runs.answers import write_answer
from nnatomy.runs.fitting import fit_recipe
from nnatomy.runs.folder import Run
from nnatomy.runs.restore import restore_with_data
from nnatomy.tasks.segmentation import Confusion, near_borders
from nnatomy.tensor import Tensor

Array = np.ndarray[Any, Any]


def noise(*shape: int) -> Tensor:
    return Tensor(np.random.default_rng(0).normal(size=shape).astype(np.float32))


# Sizes


def test_the_papers_network_has_its_size_and_its_parameters() -> None:
    model = UNet()
    assert model.count_parameters() == 31_030_658
    assert valid_size(388, 4) == (572, 388)
    with no_grad():
        assert model(noise(1, 1, 188, 204)).shape == (1, 2, 4, 20)


def test_the_padded_form_has_the_names_and_the_size_of_the_widely_used_implementation() -> None:
    model = UNet(3, 2, padded=True, batch_norm=True)
    assert model.count_parameters() == 31_037_698
    names = {name.rsplit(".", 1)[0] for name, _ in model.named_parameters()}
    double = [f"double_conv.{n}" for n in (0, 1, 3, 4)]
    assert names == {
        *(f"inc.{part}" for part in double), "outc.conv",
        *(f"down{k}.maxpool_conv.1.{part}" for k in (1, 2, 3, 4) for part in double),
        *(f"up{k}.conv.{part}" for k in (1, 2, 3, 4) for part in double), *(f"up{k}.up" for k in (1, 2, 3, 4)),
    }  # fmt: skip


@pytest.mark.parametrize("size", [(8, 8), (9, 13), (31, 10), (15, 64), (17, 17)])
def test_any_size_goes_in_and_comes_out(size: tuple[int, int]) -> None:
    model = UNet(2, 5, width=2, depth=3, padded=True)
    assert model(noise(2, 2, *size)).shape == (2, 5, *size)


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_sizes_without_padding(depth: int) -> None:
    model = UNet(1, 2, width=1, depth=depth)
    for least in (1, 7, 30):
        given, made = valid_size(least, depth)
        assert made >= least
        assert model(noise(1, 1, given, given)).shape == (1, 2, made, made)
        for side in range(given - 2**depth + 1, given):
            with pytest.raises(UserError, match=f"Use sides of {given} pixels"):
                model(noise(1, 1, side, side))


@pytest.mark.parametrize("depth", [1, 2, 3, 4])
def test_receptive_field_of_the_bottleneck(depth: int) -> None:
    """With positive weights nothing cancels: a row that is raised changes a unit of the bottleneck if that sees the row."""
    model, field = UNet(1, 2, width=1, depth=depth).astype("float64"), 9 * 2**depth - 4
    x = np.random.default_rng(0).uniform(1, 2, (1, 1, valid_size(40, depth)[0], valid_size(1, depth)[0]))
    with no_grad():
        for _, parameter in model.named_parameters():
            parameter.copy_(np.abs(parameter.numpy()) + 0.1)
        before = model.encode(Tensor(x))[-1].numpy()[0, 0, :, 0]
        unit = len(before) // 2
        first = unit * 2**depth
        for row, seen in ((first - 1, False), (first, True), (first + field - 1, True), (first + field, False)):
            raised = x.copy()
            raised[0, 0, row] += 1000.0
            assert (model.encode(Tensor(raised))[-1].numpy()[0, 0, unit, 0] != before[unit]) == seen


def test_tiles_join_without_a_seam() -> None:
    model, depth = UNet(2, 3, width=2, depth=2).eval(), 2
    image = np.random.default_rng(1).normal(size=(2, 53, 41)).astype(np.float32)
    border, given = architecture.shrinkage(depth) // 2, valid_size(60, depth)
    whole = np.pad(image, [(0, 0), (border, border + given[1] - 53), (border, border + given[1] - 41)], mode="reflect")
    with no_grad():
        expected = model(Tensor(whole[None])).numpy()[0, :, :53, :41]
        found = overlap_tile(model, image, depth, tile=8)
    assert found.shape == (3, 53, 41)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    with pytest.raises(UserError, match="above 20 pixels"):
        overlap_tile(model, image[:, :20], depth, tile=8)


def test_scores_move_with_an_image_that_moves_by_the_stride() -> None:
    """Without padding: a shift of 2^depth pixels shifts the scores, one pixel alone changes them."""
    model = UNet(1, 2, width=2, depth=2).eval()
    x = np.random.default_rng(0).normal(size=(1, 1, 72, 72)).astype(np.float32)
    y = model(Tensor(x)).numpy()
    by_four, by_one = (model(Tensor(np.roll(x, k, axis=3))).numpy() for k in (4, 1))
    np.testing.assert_allclose(by_four[..., 4:], y[..., :-4], atol=1e-5)
    assert not np.allclose(by_one[..., 1:], y[..., :-1], atol=1e-3)


# The loss


def test_border_weights_are_the_papers_equation() -> None:
    cells = np.zeros((12, 16), int)
    cells[2:6, 2:5], cells[2:9, 8:12], cells[10:, :3] = 1, 2, 3
    found = border_weights(cells, w0=7.0, sigma=2.0)
    places = {n: np.argwhere(cells == n) for n in (1, 2, 3)}
    background = (cells == 0).sum()
    for row, column in np.ndindex(cells.shape):
        share = cells.size / (2 * (background if cells[row, column] == 0 else cells.size - background))
        if cells[row, column] == 0:
            first, second = sorted(np.hypot(*(at - (row, column)).T).min() for at in places.values())[:2]
            share += 7.0 * np.exp(-((first + second) ** 2) / (2 * 2.0**2))
        assert found[row, column] == pytest.approx(share, rel=1e-5)
    alone = border_weights(np.where(cells == 1, 1, 0))
    assert len(np.unique(alone)) == 2
    assert np.isfinite(border_weights(np.zeros((3, 3), int))).all()


def test_the_weighted_loss_is_the_sum_of_weighted_logarithms() -> None:
    rng = np.random.default_rng(0)
    scores, mask, weights = rng.normal(size=(2, 3, 4, 5)), rng.integers(0, 3, (2, 4, 5)), rng.uniform(0, 5, (2, 4, 5))
    mask[0, 0] = IGNORE
    p = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    total = sum(
        -weights[n, r, c] * np.log(p[n, mask[n, r, c], r, c]) for n, r, c in np.ndindex(mask.shape) if mask[n, r, c] != IGNORE
    )
    found = weighted_cross_entropy(Tensor(scores), Tensor(mask), Tensor(weights))
    assert found.item() == pytest.approx(total / mask.size, rel=1e-12)


def test_ignored_pixels_have_no_gradient() -> None:
    assert architecture.IGNORE == IGNORE
    scores = Tensor(np.random.default_rng(0).normal(size=(1, 3, 4, 4)), requires_grad=True)
    mask = np.random.default_rng(1).integers(0, 3, (1, 4, 4))
    mask[0, :2, 1:] = IGNORE

    class Fixed(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return scores

    for weights in (None, Tensor(np.ones((1, 4, 4)))):
        scores.grad = None
        value, _ = loss(Fixed(), Tensor(np.zeros((1, 1, 4, 4))), Tensor(mask), weights)
        value.backward()
        assert scores.grad is not None
        reached = (scores.grad.numpy()[0] != 0).any(axis=0)
        assert np.array_equal(reached, mask[0] != IGNORE)


def test_a_mask_is_cropped_to_the_middle_of_the_scores() -> None:
    model = UNet(1, 2, width=1, depth=1).eval()
    x, mask = noise(1, 1, 22, 22), np.zeros((1, 22, 22), np.int64)
    expected, _ = loss(model, x, Tensor(mask))
    mask[:, :8], mask[:, -8:], mask[:, :, :8], mask[:, :, -8:] = 1, 1, 1, 1  # all but the middle 6 x 6
    found, scores = loss(model, x, Tensor(mask))
    assert scores.shape == (1, 2, 6, 6)
    assert found.item() == expected.item()


# Data


@pytest.mark.parametrize("change", [flip, crop, rotate, partial(crop, padding=7), partial(flip, chance=1.0)])
def test_image_and_mask_move_alike(change: Any) -> None:
    """A marker pixel in each: where it is bright in the image it is of class 1 in the mask."""
    images, masks = np.zeros((64, 1, 15, 18), np.float32), np.zeros((64, 15, 18), np.int64)
    at = np.random.default_rng(0).integers(2, 12, (64, 2))
    images[np.arange(64), 0, at[:, 0], at[:, 1]] = 1.0
    masks[np.arange(64), at[:, 0], at[:, 1]] = 1
    if change is rotate:
        change = partial(rotate, order=0)
    moved, mask = augmented(change, FIELDS, (images, masks), np.random.default_rng(3))
    assert np.array_equal(moved[:, 0] > 0.5, mask == 1)
    assert not np.array_equal(moved, images)


def test_every_augmentation_of_the_recipes_moves_masks() -> None:
    for recipe in recipes:
        assert recipe.augment is not None
        images = np.random.default_rng(0).normal(size=(8, 1, 16, 16)).astype(np.float32)
        masks = (images[:, 0] > 0).astype(np.int64)
        moved, mask = augmented(recipe.augment, FIELDS, (images, masks), np.random.default_rng(3))
        assert np.array_equal(moved[:, 0] > 0, mask == 1)


# Skips


@pytest.fixture(scope="module")
def fitted() -> Any:
    """The default recipe's network, trained as it says for a third of its epochs."""
    return fit_recipe(replace(shapes, epochs=20), data.load(shapes.data))


def boundary_iou(fitted: Any, without: tuple[int, ...]) -> float:
    images, truth = fitted.dataset.test.all()
    model: UNet = fitted.model.eval()
    with no_grad():
        maps = [one * 0.0 if k in without else one for k, one in enumerate(model.encode(Tensor(images)))]
        chosen = model.decode(maps).numpy()
    meter = Confusion(fitted.dataset.outputs, FIELDS)
    meter.add(chosen, (images, np.where(near_borders(truth), truth, IGNORE)))
    return meter.result().metrics["miou"]


@pytest.mark.slow
def test_without_skips_borders_are_worse(fitted: Any) -> None:
    whole = boundary_iou(fitted, ())
    assert boundary_iou(fitted, (0,)) < whole
    assert boundary_iou(fitted, (0, 1, 2)) < whole - 0.1


@pytest.mark.slow
def test_the_picture_says_what_the_network_scores(fitted: Any) -> None:
    figure = draw(fitted.model.eval(), fitted.dataset)
    titles = [axes.get_title() for part in figure.subfigs for axes in part.axes]
    assert {f"without skip {k}" for k in (1, 2, 3)} <= set(titles)
    assert "mean IoU" in str(figure.get_suptitle())


# From a folder to masks


def folder_of_squares(folder: Path) -> Path:
    """Bright squares on noise in pictures of two sizes; masks of 0 and 255."""
    image = pytest.importorskip("PIL.Image", reason="Pillow is not installed")
    rng = np.random.default_rng(0)
    for part in ("images", "masks"):
        (folder / part).mkdir(parents=True)
    for n in range(24):
        side = 24 if n % 4 == 0 else 16
        mask = np.zeros((side, side), np.uint8)
        top, left = rng.integers(1, side // 2, 2)
        mask[top : top + side // 2, left : left + side // 2] = 255
        pixels = np.clip(60 + 0.5 * mask + rng.normal(0, 20, mask.shape), 0, 255).astype(np.uint8)
        image.fromarray(pixels).save(folder / "images" / f"{n:02}.png")
        image.fromarray(mask).save(folder / "masks" / f"{n:02}.png")
    return folder


def test_a_folder_of_images_and_masks_goes_through_every_command(tmp_path: Path) -> None:
    folder = folder_of_squares(tmp_path / "squares")
    result = nn.train("unet", folder, out=tmp_path / "run", epochs=8, batch_size=4)
    assert result.metrics["miou"] > 0.7
    assert nn.evaluate(result.run.folder, folder).metrics["miou"] > 0.7
    answer = nn.predict(result.run.folder, folder / "images")
    written = write_answer(answer, tmp_path / "masks")
    assert [path.name for path in written] == ["predictions.csv", *(f"{n:02}.png" for n in range(24))]
    right = []
    for n in range(24):
        truth, found = (read_mask(place / f"{n:02}.png")[0] for place in (folder / "masks", tmp_path / "masks"))
        assert found.shape == truth.shape
        assert set(np.unique(found)) <= {0, 255}
        right.append((found == truth).mean())
    assert np.mean(right) > 0.85
    prepared = restore_with_data(Run.open(result.run.folder))
    for what in views.names():
        if views.why_unsupported(what, prepared, None) is None:
            assert views.view(what, prepared, None).axes or what == "architecture", what
    with pytest.raises(UserError, match="Predictions are averaged of class scores or numbers"):
        nn.average([result.run.folder, result.run.folder], how="predictions")


def test_an_exported_model_gives_the_same_masks(tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    folder = folder_of_squares(tmp_path / "squares")
    result = nn.train("unet", folder, out=tmp_path / "run", epochs=1, batch_size=4, report=False)
    exported = nn.export(result.run.folder)
    own, same = (nn.predict(source, folder / "images") for source in (result.run.folder, exported.model))
    assert own.files.keys() == same.files.keys()
    for column, values in own.columns.items():
        if values.dtype.kind == "f":
            np.testing.assert_allclose(same.columns[column], values, atol=0.01)


# Wrong inputs


def test_wrong_inputs() -> None:
    for name in ("n_channels", "n_classes", "width", "depth"):
        with pytest.raises(UserError, match=f"{name} of at least 1"):
            UNet(**{name: 0})
    model = UNet(3, 2, width=2, depth=3, padded=True)
    with pytest.raises(UserError, match="sides of at least 8"):
        model(noise(1, 3, 7, 20))
    with pytest.raises(UserError, match=r"takes images \(batch, 3"):
        model(noise(1, 1, 16, 16))
    with pytest.raises(UserError, match=r"Received 40 in shape_masks\. Use --set depth=5"):
        build_for(data.load("shape_masks"), depth=6)
