"""Claims of the page of the vision transformer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nnatomy as nn
from nnatomy import data
from nnatomy.architectures.transformers.vit import ViT, build, loss, patches, rollout
from nnatomy.architectures.transformers.vit.picture import draw, similarity
from nnatomy.architectures.transformers.vit.recipe import build_for, digits, usual_patch
from nnatomy.errors import UserError
from nnatomy.interchange import load
from nnatomy.tensor import Tensor

Array = np.ndarray[Any, Any]
SMALL = {
    "image_size": 6, "patch_size": 2, "channels": 2, "classes": 5, "hidden_size": 16, "depth": 2, "heads": 4, "mlp_size": 24,
}  # fmt: skip


def noise(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def scaled(**options: Any) -> ViT:
    """A small ViT with larger weights than at the start: its attention chooses and its positions count, so that errors show."""
    nn.seed(1)
    model = build(**{**SMALL, **options}).eval()
    with nn.no_grad():
        for name, parameter in model.named_parameters():
            grows = "embeddings" in name and parameter.ndim == 3
            parameter.copy_(parameter * (50.0 if grows else 2.0) + (0.1 if parameter.ndim == 1 else 0.0))
    return model


def scores(model: ViT, x: Array) -> Array:
    with nn.no_grad():
        return np.asarray(model(Tensor(x)).numpy())


def shuffled(x: Array, order: Array, size: int = 2) -> Array:
    """The images with their patches in another order."""
    n, channels, height, width = x.shape
    cut = x.reshape(n, channels, height // size, size, width // size, size).transpose(2, 4, 0, 1, 3, 5)
    moved = cut.reshape(-1, n, channels, size, size)[order].reshape(cut.shape)
    return np.ascontiguousarray(moved.transpose(2, 3, 0, 4, 1, 5).reshape(x.shape))


# Order and positions


@pytest.mark.parametrize("pool", ["cls", "mean"])
def test_without_positions_the_order_of_patches_is_irrelevant(pool: str) -> None:
    """With them it is not: the same permutation then changes every image's scores."""
    x, order = noise(4, 2, 6, 6), np.random.default_rng(1).permutation(9)
    moved = shuffled(x, order)
    assert not np.array_equal(x, moved)
    plain, placed = scaled(pool=pool, positions=False), scaled(pool=pool)
    np.testing.assert_allclose(scores(plain, moved), scores(plain, x), rtol=0, atol=1e-5)
    assert (np.abs(scores(placed, moved) - scores(placed, x)).max(axis=1) > 0.01).all()


def test_positions_move_with_their_patches() -> None:
    """Permuting patches and positions alike changes nothing: a position is a mark on a patch, and nothing else."""
    x, order = noise(3, 2, 6, 6), np.random.default_rng(1).permutation(9)
    model = scaled()
    before = scores(model, x)
    table: Any = model.embeddings.position_embeddings
    with nn.no_grad():
        table.copy_(Tensor(np.concatenate([table.numpy()[:, :1], table.numpy()[:, 1:][:, order]], axis=1)))
    np.testing.assert_allclose(scores(model, shuffled(x, order)), before, rtol=0, atol=1e-5)


# Patches


def test_a_patch_is_channel_row_column() -> None:
    x = np.arange(2 * 4 * 6, dtype=np.float32).reshape(1, 2, 4, 6)
    found = patches(Tensor(x), 2).numpy()[0]
    assert found.shape == (6, 8)
    np.testing.assert_array_equal(found[0], [0, 1, 6, 7, 24, 25, 30, 31])
    np.testing.assert_array_equal(found[1, :2], [2, 3])  # to the right first
    np.testing.assert_array_equal(found[3, :2], [12, 13])  # then the next row


def test_the_map_of_patches_is_a_convolution() -> None:
    embed = scaled(image_size=(4, 6)).embeddings.patch_embeddings
    x = Tensor(noise(3, 2, 4, 6))
    with nn.no_grad():
        by_convolution = embed.projection(x).numpy()  # (batch, width, down, across)
        np.testing.assert_allclose(embed(x).numpy(), by_convolution.reshape(3, 16, -1).transpose(0, 2, 1), rtol=0, atol=1e-5)


# Sizes and names


def test_vit_base_has_its_published_size(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("normal", "uniform", "xavier_uniform"):
        monkeypatch.setattr(f"nnatomy.init.{name}", lambda shape, *_, **__: np.empty(shape, np.float32))
    assert build().count_parameters() == 86_567_656


@pytest.mark.parametrize(
    ("size", "patch", "count"), [("base", 32, 88_224_232), ("large", 16, 304_326_632), ("huge", 14, 632_045_800)]
)
def test_other_published_sizes(size: str, patch: int, count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The page's formula gives the published counts, and one layer of each size has the formula's parameters."""
    for name in ("normal", "uniform", "xavier_uniform"):
        monkeypatch.setattr(f"nnatomy.init.{name}", lambda shape, *_, **__: np.empty(shape, np.float32))
    D, L, M = {"base": (768, 12, 3072), "large": (1024, 24, 4096), "huge": (1280, 32, 5120)}[size]
    N = (224 // patch) ** 2

    def formula(layers: int) -> int:
        return (3 * patch**2 + 1) * D + (N + 2) * D + layers * (4 * D * D + 2 * D * M + 9 * D + M) + 2 * D + 1000 * (D + 1)

    assert formula(L) == count
    assert build(size, patch_size=patch, depth=1).count_parameters() == formula(1)


def test_the_key_bias_has_no_gradient() -> None:
    """A constant added to a query's scores does not change their softmax: only rounding is left."""
    model = scaled().astype("float64")
    value, _ = loss(model, Tensor(noise(3, 2, 6, 6).astype(np.float64)), Tensor(np.array([0, 1, 2])))
    value.backward()
    attention = model.layers[0].attention
    key, query = attention.k_proj.bias.grad, attention.q_proj.bias.grad
    assert key is not None
    assert query is not None
    assert np.abs(key.numpy()).max() < 1e-12 < 1e-6 < np.abs(query.numpy()).max()


def test_the_embeddings_start_small() -> None:
    """N(0, 0.02^2) for the map of patches, the class token and the positions; Glorot's law for linear maps."""
    nn.seed(0)
    model = build(image_size=16, patch_size=2, hidden_size=64, depth=1, heads=2, mlp_size=64, classes=64)
    for name, parameter in model.named_parameters():
        if "embeddings" in name and "bias" not in name:
            assert float(parameter.numpy().std()) == pytest.approx(0.02, rel=0.3 if "cls" in name else 0.1), name
        elif parameter.ndim == 2:
            assert float(parameter.numpy().std()) == pytest.approx((2 / 128) ** 0.5, rel=0.1), name
    wide = nn.init.xavier_uniform((64, 4))
    assert 0.2 < float((wide @ np.sign(noise(4, 500))).std()) < 0.9  # a patch of the digits under Glorot's weights


# transformers


def of_transformers(**options: Any) -> Any:
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = transformers.ViTConfig(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=4, intermediate_size=24, image_size=6, patch_size=2,
        num_channels=2, num_labels=5, **options,
    )  # fmt: skip
    model = transformers.ViTForImageClassification(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return model


def answers(model: Any, x: Array, **options: Any) -> Array:
    import torch

    with torch.no_grad():
        return np.asarray(model(torch.tensor(x), **options).logits.numpy())


@pytest.mark.parametrize("form", ["published", "transformers 5", "ViTModel"])
def test_a_file_of_transformers_is_loaded_by_name(tmp_path: Path, form: str) -> None:
    """`save_pretrained` writes the names of published files; a state dictionary has those of transformers 5."""
    theirs = of_transformers()
    x = noise(3, 2, 6, 6)
    expected = answers(theirs, x)
    file = tmp_path / "model.safetensors"
    if form == "published":
        theirs.save_pretrained(tmp_path)
    else:
        import torch
        import transformers
        from safetensors.torch import save_file

        if form == "transformers 5":
            save_file(theirs.state_dict(), file)
        else:  # with a pooler and without a head, as google/vit-base-patch16-224-in21k
            torch.manual_seed(0)
            body = transformers.ViTModel(theirs.config).eval()
            body.load_state_dict(theirs.vit.state_dict(), strict=False)
            body.save_pretrained(tmp_path)
    found = load(nn.architecture("vit"), file, **SMALL, strict=form != "ViTModel")
    assert not found.unexpected
    assert list(found.missing) == (["classifier.weight", "classifier.bias"] if form == "ViTModel" else [])
    model: Any = found.model
    if form == "ViTModel":
        head = theirs.classifier
        with nn.no_grad():
            model.classifier.weight.copy_(Tensor(head.weight.detach().numpy()))
            model.classifier.bias.copy_(Tensor(head.bias.detach().numpy()))
    assert np.abs(expected).max() > 0.3
    np.testing.assert_allclose(scores(model.eval(), x), expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("image", [(10, 10), (4, 8), (6, 6)])
def test_positions_are_interpolated_as_in_transformers(image: tuple[int, int], tmp_path: Path) -> None:
    theirs = of_transformers()
    theirs.save_pretrained(tmp_path)
    model: Any = load(nn.architecture("vit"), tmp_path / "model.safetensors", **SMALL).model.eval()
    other = model.resized(image)
    x = noise(2, 2, *image)
    np.testing.assert_allclose(scores(other, x), answers(theirs, x, interpolate_pos_encoding=True), rtol=0, atol=1e-4)
    assert other.count_parameters() - model.count_parameters() == 16 * (image[0] * image[1] // 4 - 9)
    assert model.embeddings.grid == (3, 3)  # the original reads its own size as before


def test_a_resized_model_learns() -> None:
    model = scaled(pool="mean").resized((4, 4))
    value, _ = loss(model, Tensor(noise(2, 2, 4, 4)), Tensor(np.array([0, 1])))
    value.backward()
    table: Any = model.embeddings.position_embeddings
    assert table.shape == (1, 4, 16)
    assert float(np.abs(table.grad.numpy()).min()) > 0


def test_the_epsilon_is_that_of_the_files() -> None:
    """1e-12 in transformers and its published files; 1e-6, that of the authors, shows where the tokens are small."""
    theirs = of_transformers()
    assert theirs.config.layer_norm_eps == build(**SMALL).layernorm.eps == 1e-12
    ours, authors = scaled(), scaled(eps=1e-6)
    for model in (ours, authors):
        with nn.no_grad():
            for name, parameter in model.embeddings.named_parameters():
                parameter.copy_(parameter * (1e-3 if name else 1.0))
    x = noise(2, 2, 6, 6)
    assert np.abs(scores(ours, x) - scores(authors, x)).max() > 1e-4


# Attention


def test_the_rows_of_a_rollout_sum_to_one() -> None:
    weights = scaled().attention(Tensor(noise(2, 2, 6, 6)))
    assert weights.shape == (2, 2, 4, 10, 10)
    found = rollout(weights).numpy()
    np.testing.assert_allclose(found.sum(axis=-1), 1, atol=1e-5)
    first, second = (weights.numpy()[n].mean(axis=1) for n in (0, 1))
    np.testing.assert_allclose(found, (second + np.eye(10)) @ (first + np.eye(10)) / 4, atol=1e-6)


def test_the_stream_is_normalized_before_each_branch() -> None:
    """Where both output maps are zero, a layer is the identity: the sum itself is never normalized."""
    layer = scaled().layers[0]
    with nn.no_grad():
        for part in (layer.attention.o_proj, layer.mlp.fc2):
            part.weight.copy_(part.weight * 0)
            part.bias.copy_(part.bias * 0)
        z = Tensor(noise(2, 10, 16))
        np.testing.assert_array_equal(layer(z).numpy(), z.numpy())


# Recipes, pictures and wrong inputs


def test_the_default_recipe_is_small() -> None:
    dataset = data.load("digits")
    model = build_for(dataset, **digits.options)
    assert model.count_parameters() == 69_194
    assert model.embeddings.grid == (4, 4)
    assert len(dataset.train) == 1259


def test_the_usual_patch() -> None:
    found = {side: usual_patch("x", *side) for side in ((8, 8), (28, 28), (32, 32), (224, 224), (96, 128), (7, 7), (30, 20))}
    assert found == {(8, 8): 2, (28, 28): 4, (32, 32): 4, (224, 224): 28, (96, 128): 16, (7, 7): 1, (30, 20): 5}
    for side in ((37, 53), (500, 375), (1, 3)):
        with pytest.raises(UserError, match="--resize 32x32"):
            usual_patch("holiday", *side)


@pytest.mark.parametrize("options", [{"pool": "mean"}, {"positions": False}, {"patch_size": 4, "heads": 1}])
def test_every_form_has_a_picture(options: dict[str, Any]) -> None:
    dataset = data.load("digits")
    nn.seed(0)
    figure = draw(build_for(dataset, **{"hidden_size": 16, **options}).eval(), dataset)
    words = " ".join(text.get_text() for axes in figure.subfigs[2].axes for text in axes.texts)
    assert ("every order of the patches" in words) == (options.get("positions") is False)


def test_similar_positions_have_a_cosine_of_one() -> None:
    model = scaled()
    found = similarity(model)
    assert found.shape == (3, 3, 3, 3)
    np.testing.assert_allclose(np.einsum("ijij->ij", found), 1, atol=1e-6)
    np.testing.assert_allclose(found.reshape(9, 9), found.reshape(9, 9).T, atol=1e-6)


def test_wrong_inputs() -> None:
    wrong: tuple[tuple[dict[str, Any], str], ...] = (
        ({"size": "tiny"}, "size"), ({"pool": "max"}, "pool"), ({"patch_size": 4}, "Patches must fill the image"),
        ({"heads": 3}, "heads divide"), ({"image_size": 0}, "Patches must fill"), ({"depth": 0}, "at least 1"),
    )  # fmt: skip
    for options, words in wrong:
        with pytest.raises(UserError, match=words):
            build(**{**SMALL, **options})
    with pytest.raises(UserError, match=r"reads images of shape \(2, 6, 6\)\. Received \(2, 8, 8\)"):
        scores(build(**SMALL), noise(1, 2, 8, 8))
    with pytest.raises(UserError, match="fill the image"):
        build(**SMALL).resized(7)
