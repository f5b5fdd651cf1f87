"""TabM: each member is an MLP, numbers by their bins as the authors' packages have them, and averages of predictions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nnatomy as nn
from nnatomy import UserError, data
from nnatomy.architectures.feedforward.mlp import build as build_mlp
from nnatomy.architectures.feedforward.tabm import (
    PiecewiseLinearEmbeddings,
    PiecewiseLinearEncoding,
    TabM,
    build,
    loss,
    quantile_bins,
)
from nnatomy.architectures.feedforward.tabm.picture import draw
from nnatomy.architectures.feedforward.tabm.recipe import build_for
from nnatomy.runs.restore import restore
from nnatomy.tensor import Tensor

Array = np.ndarray[Any, Any]
SMALL: dict[str, Any] = {"features": 4, "outputs": 3, "k": 5, "blocks": 2, "width": 7, "dropout": 0.0}
EDGES = [np.array([-1.0, 0.0, 2.0, 5.0]), np.array([0.0, 4.0]), np.array([-2.0, 0.5, 1.0])]
"""Three bins, a single one, and two."""


def network(**options: Any) -> TabM:
    nn.seed(4)
    return build(**{**SMALL, **options}).astype("float64")


def examples(rows: int = 9, features: int = 4, classes: int = 3, seed: int = 1) -> tuple[Array, Array]:
    rng = np.random.default_rng(seed)
    return 2 * rng.normal(size=(rows, features)), np.arange(rows, dtype=np.int64) % classes


def members(model: TabM, x: Array) -> Array:
    return np.asarray(model.members(Tensor(x)).data)


def put(parameter: Any, value: Array) -> None:
    parameter.data = np.array(value, np.float64)


# Members


@pytest.mark.parametrize("variant", ["tabm", "mini", "packed"])
@pytest.mark.parametrize("k", [1, 5])
def test_each_member_is_an_mlp(variant: str, k: int) -> None:
    """With W_i = W o (s_i r_i^T); k = 1 is therefore one MLP."""
    model, (x, _) = network(variant=variant, k=k), examples()
    rng = np.random.default_rng(2)
    for parameter in model.parameters():  # also those that start alike
        put(parameter, rng.normal(size=parameter.shape))
    z = members(model, x)
    for i in range(k):
        mlp = build_mlp(4, 3, (7, 7)).astype("float64")
        for number, block in enumerate(model.backbone.blocks):
            layer = block[0]
            weight, bias = layer.weight.numpy(), layer.bias.numpy()
            if variant == "tabm":
                weight, bias = layer.s.numpy()[i][:, None] * weight * layer.r.numpy()[i], bias[i]
            elif variant == "packed":
                weight, bias = weight[i].T, bias[i]
            elif number == 0 and model.backbone.affine is not None:
                weight = weight * model.backbone.affine.weight.numpy()[i]
            put(mlp.linears[number].weight, weight)
            put(mlp.linears[number].bias, bias)
        put(mlp.linears[2].weight, model.output.weight.numpy()[i].T)
        put(mlp.linears[2].bias, model.output.bias.numpy()[i])
        expected = mlp(Tensor(x)).numpy()
        np.testing.assert_allclose(z[:, i], expected, atol=1e-12)
        if k == 1:
            p = np.exp(expected) / np.exp(expected).sum(axis=1, keepdims=True)
            np.testing.assert_allclose(np.exp(model(Tensor(x)).numpy()), p, atol=1e-12)


def test_members_differ_at_first_in_the_first_scale_and_the_output_alone() -> None:
    first, second = (block[0] for block in network().backbone.blocks)
    assert np.ptp(first.r.numpy(), axis=0).min() > 0.1
    for same in (second.r, first.s, second.s):
        np.testing.assert_array_equal(same.numpy(), np.ones(same.shape))
    for layer in (first, second):
        np.testing.assert_array_equal(layer.bias.numpy(), np.tile(layer.bias.numpy()[:1], (5, 1)))
    assert np.ptp(network().output.weight.numpy(), axis=0).min() > 0


def test_the_features_of_a_column_start_with_one_scale() -> None:
    """Of an embedded number too; without groups each feature has its own."""
    for variant in ("tabm", "mini"):
        model = network(variant=variant, numbers=(1,), bins=3, embedding=2, groups=(0, 1, 2, 2), start="random_signs", k=40)
        scale = model.backbone.affine.weight if variant == "mini" else model.backbone.blocks[0][0].r
        r = scale.numpy()  # of the number's two features, then of features 0, 2 and 3
        assert set(np.unique(r)) == {-1.0, 1.0}
        np.testing.assert_array_equal(r[:, 0], r[:, 1])
        np.testing.assert_array_equal(r[:, 3], r[:, 4])
        assert (r[:, 0] != r[:, 2]).any()
        assert (r[:, 2] != r[:, 3]).any()
    own = network(k=40).backbone.blocks[0][0].r.numpy()
    assert all((own[:, a] != own[:, b]).any() for a in range(4) for b in range(a))


def test_sizes_are_those_of_the_formula_and_of_the_package() -> None:
    """The package's own defaults, k = 32, three blocks of 512 units, are compared whole."""
    import tabm

    whole = build(8, 2, k=32, blocks=3, width=512)
    theirs = tabm.TabM.make(n_num_features=8, d_out=2)
    assert {name: p.shape for name, p in whole.named_parameters()} == {
        name: tuple(p.shape) for name, p in theirs.named_parameters()
    }
    k, d, h, c = 5, 4, 7, 3
    shared = d * h + h * h
    assert network().count_parameters() == shared + k * ((d + 2 * h) + 3 * h) + k * (h * c + c)
    assert network(variant="mini").count_parameters() == k * d + shared + 2 * h + k * (h * c + c)
    assert network(variant="packed").count_parameters() == k * build_mlp(d, c, (h, h)).count_parameters()
    embedded = network(numbers=(0, 2), bins=6, embedding=2)
    inputs = 2 * 2 + 2
    assert embedded.count_parameters() == 2 * 2 * (2 + 6) + (inputs + h) * h + k * ((inputs + 2 * h) + 3 * h) + k * (h * c + c)


# Numbers


def encoded(edges: list[Array], x: Array, bins: int = 3) -> Array:
    encoding = PiecewiseLinearEncoding(len(edges), bins)
    encoding.set_edges(edges)
    return np.asarray(encoding(Tensor(x.astype(np.float32))).data)


def test_the_encoding_is_equation_1_of_its_paper() -> None:
    """Computed bin by bin, with values outside of all edges."""
    x = np.linspace(-8, 9, 35)
    e = encoded(EDGES, np.stack([x] * 3, axis=1))
    for j, edges in enumerate(EDGES):
        last = len(edges) - 2
        for t in range(last + 1):
            u = (x - edges[t]) / (edges[t + 1] - edges[t])
            u = u if t == 0 else np.maximum(u, 0)
            u = u if t == last else np.minimum(u, 1)
            np.testing.assert_allclose(e[:, j, 2 if t == last else t], u, atol=1e-5)
        np.testing.assert_array_equal(e[:, j, last:2], 0)


def test_a_bin_of_the_outside_still_tells_numbers_apart() -> None:
    low, lower, high, higher = encoded(EDGES[:1], np.array([[-2.0], [-9.0], [6.0], [60.0]]))[:, 0]
    assert lower[0] < low[0] < 0
    assert 1 < high[2] < higher[2]


def test_the_package_encodes_alike_and_its_file_is_read(tmp_path: Path) -> None:
    """A TabM of the package with uneven bins and categories: our outputs from its file, with the masks that it also has."""
    import rtdl_num_embeddings
    import tabm
    import torch
    from safetensors.torch import save_file

    torch.manual_seed(0)
    bins = [torch.tensor(edges, dtype=torch.float32) for edges in EDGES]
    with pytest.warns(UserWarning, match="only one bin"):
        numbers = rtdl_num_embeddings.PiecewiseLinearEmbeddings(bins, 4, activation=False, version="B")
    theirs = tabm.TabM.make(
        n_num_features=3, cat_cardinalities=[2, 3], d_out=3, num_embeddings=numbers, k=5, d_block=7, n_blocks=2
    ).eval()
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.normal_()
    save_file(theirs.state_dict(), tmp_path / "theirs.safetensors")
    rng = np.random.default_rng(3)
    x = (4 * rng.normal(size=(11, 3))).astype(np.float32)
    places = rng.integers(0, (2, 3), size=(11, 2))
    levels = np.concatenate([np.eye(n, dtype=np.float32)[places[:, i]] for i, n in enumerate((2, 3))], axis=1)
    options = {**SMALL, "features": 8, "numbers": (0, 1, 2), "bins": 3, "embedding": 4}
    model: Any = nn.interchange.load(nn.architecture("tabm"), tmp_path / "theirs.safetensors", **options).model
    with torch.no_grad():
        expected = theirs(torch.tensor(x), torch.tensor(places)).numpy()
    np.testing.assert_allclose(members(model, np.concatenate([x, levels], axis=1)), expected, rtol=1e-4, atol=1e-4)


def test_bins_are_quantiles_each_once_as_in_the_package() -> None:
    import rtdl_num_embeddings
    import torch

    rng = np.random.default_rng(0)
    x = np.stack([rng.normal(size=500), rng.integers(0, 3, 500), np.round(rng.exponential(size=500), 1)], axis=1)
    theirs = rtdl_num_embeddings.compute_bins(torch.tensor(x), 16)
    for own, edges in zip(quantile_bins(x, 16), theirs, strict=True):
        assert len(own) == len(edges)
        np.testing.assert_allclose(own, edges.numpy(), atol=0.0051)
        assert np.diff(own).min() > 0.009
    np.testing.assert_allclose(quantile_bins(np.full((9, 1), 3.0), 16)[0], [3, 4])
    close = quantile_bins(np.concatenate([np.zeros(50), np.full(50, 1e-6), [1.0]])[:, None], 10)[0]
    np.testing.assert_allclose(close, [0, 1])


def test_an_embedding_starts_as_a_straight_line_and_learns_a_bend() -> None:
    embeddings = PiecewiseLinearEmbeddings(1, 8, 3).astype("float64")
    x = np.linspace(-2, 2, 41)[:, None]
    g = embeddings(Tensor(x))
    slopes = np.diff(g.numpy()[:, 0], axis=0)
    np.testing.assert_allclose(slopes, np.tile(slopes[:1], (40, 1)), atol=1e-12)
    (g - Tensor(np.abs(x)[:, :, None])).square().sum().backward()
    assert np.abs(np.asarray(embeddings.linear.weight.grad.data)).min() > 0


def test_a_relu_after_weights_of_zero_never_moves() -> None:
    """The reason why the package asks for activation=False with version B."""
    import rtdl_num_embeddings
    import torch

    for activation in (True, False):
        edges = [torch.linspace(-2, 2, 9)]
        numbers = rtdl_num_embeddings.PiecewiseLinearEmbeddings(edges, 3, activation=activation, version="B")
        numbers(torch.linspace(-2, 2, 41)[:, None]).square().sum().backward()
        assert bool((numbers.linear.weight.grad == 0).all()) == activation


# Averages


def test_probabilities_are_averaged_not_scores() -> None:
    model, (x, _) = network(), examples()
    z = members(model, x)
    p = np.exp(z - z.max(axis=2, keepdims=True))
    p = (p / p.sum(axis=2, keepdims=True)).mean(axis=1)
    np.testing.assert_allclose(np.exp(model(Tensor(x)).numpy()), p, rtol=1e-9)
    of_scores = np.exp(z.mean(axis=1))
    assert np.abs(of_scores / of_scores.sum(axis=1, keepdims=True) - p).max() > 1e-3
    numbers = network(classify=False)
    np.testing.assert_allclose(numbers(Tensor(x)).numpy(), members(numbers, x).mean(axis=1), rtol=1e-12)


def test_scores_of_hundreds_stay_finite() -> None:
    model, (x, _) = network(), examples()
    out = model(Tensor(1e4 * x)).numpy()
    assert np.isfinite(out).all()
    assert out.min() < -100
    np.testing.assert_allclose(np.exp(out).sum(axis=1), 1, rtol=1e-9)


@pytest.mark.parametrize("classify", [True, False])
def test_the_loss_is_the_mean_of_the_members_losses(classify: bool) -> None:
    """So each member's gradient is that of training alone: the output layer of one does not depend on another's."""
    model, (x, y) = network(classify=classify), examples()
    targets = y if classify else np.random.default_rng(7).normal(size=(9, 3))
    z = members(model, x)
    if classify:
        own = -np.take_along_axis(z - np.log(np.exp(z).sum(axis=2, keepdims=True)), y[:, None, None], axis=2).mean(axis=(0, 2))
    else:
        own = ((z - targets[:, None]) ** 2).mean(axis=(0, 2))

    def gradient() -> Array:
        model.zero_grad()
        value, _ = loss(model, Tensor(x), Tensor(targets))
        value.backward()
        np.testing.assert_allclose(float(value.item()), loss_of(model), rtol=1e-12)
        return np.array(model.output.weight.grad.data[0])

    def loss_of(model: TabM) -> float:
        return float(loss(model, Tensor(x), Tensor(targets))[0].item())

    np.testing.assert_allclose(loss_of(model), own.mean(), rtol=1e-12)
    before = gradient()
    put(model.output.bias, model.output.bias.numpy() + np.array([0, 1, 2, 3, 4])[:, None] * np.array([1.0, 0, -1]))
    np.testing.assert_allclose(gradient(), before, rtol=1e-12)  # the others have moved


def test_the_average_gains_the_variance_of_the_members() -> None:
    """Squared errors: mean of losses = loss of the mean + variance (Krogh and Vedelsby 1995). Cross-entropies: at least."""
    x, y = examples(40)
    targets = np.random.default_rng(7).normal(size=(40, 3))
    model = network(classify=False)
    z = members(model, x)
    together = ((z.mean(axis=1) - targets) ** 2).mean()
    value = float(loss(model, Tensor(x), Tensor(targets))[0].item())
    np.testing.assert_allclose(value, together + z.var(axis=1).mean(), rtol=1e-12)
    model = network()
    log_p = model(Tensor(x)).numpy()[np.arange(40), y]
    assert -log_p.mean() < float(loss(model, Tensor(x), Tensor(y))[0].item()) - 1e-3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"k": 0}, r"All sizes of a TabM are at least 1, and bins 0 or more\. Received .*k 0"),
        ({"bins": -1}, "bins -1"),
        ({"variant": "maxi"}, "variant"),
        ({"start": "ones"}, "start"),
        ({"numbers": (0, 4)}, r"places from 0 to 3\. Received \(0, 4\)"),
        ({"numbers": (1, 1)}, r"different features"),
        ({"groups": (0, 1)}, r"each of the 4 features\. Received 2"),
    ],
)
def test_errors_say_what_is_wrong(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        build(**{**SMALL, **options})


# Tables


TABLE = "age,town,wage,income\n" + "\n".join(
    f"{'' if n % 9 == 0 else 20 + n % 37},{'abc'[n % 3] if n % 11 else ''},{n % 23},{'high' if n % 23 > 11 else 'low'}"
    for n in range(150)
)


def test_bins_come_from_training_rows_and_are_kept(tmp_path: Path) -> None:
    """A run restored without its data has the bins and outputs of the trained one, on a file with other values."""
    (tmp_path / "t.csv").write_text(TABLE)
    result = nn.train(
        "tabm", tmp_path / "t.csv", target="income", out=tmp_path / "run", report=False, baselines=False, epochs=2,
        settings={"k": "3", "width": "8", "bins": "6"},
    )  # fmt: skip
    model: Any = result.model
    dataset = result.prepared.dataset
    assert dataset.preprocessing.feature_names[:2] == ("age", "age is missing")
    assert model.num_module.impl.weight.shape == (2, 6)
    again: Any = restore(result.run.folder)[0].model
    x = 3 * np.random.default_rng(0).normal(size=(5, *dataset.input_shape)).astype(np.float32)
    for name, buffer in model.named_buffers():
        np.testing.assert_array_equal(dict(again.named_buffers())[name].numpy(), buffer.numpy())
    np.testing.assert_array_equal(again.eval()(Tensor(x)).numpy(), model.eval()(Tensor(x)).numpy())
    expected = PiecewiseLinearEncoding(2, 6)
    rows = dataset.train.all()[0][:, list(dataset.preprocessing.numbers)]
    expected.set_edges(quantile_bins(rows, 6))
    np.testing.assert_array_equal(model.num_module.impl.weight.numpy(), expected.weight.numpy())


def test_features_of_a_table_know_their_columns() -> None:
    dataset = data.load("iris")
    assert dataset.preprocessing.columns == (0, 1, 2, 3)
    model = build_for(dataset, k=2, width=4, bins=5, embedding=3)
    r = model.backbone.blocks[0][0].r.numpy().reshape(2, 4, 3)
    np.testing.assert_array_equal(r, np.tile(r[:, :, :1], (1, 1, 3)))


@pytest.mark.parametrize(("name", "bins"), [("diabetes", 6), ("breast_cancer", 0)])
def test_the_picture_shows_the_live_model(name: str, bins: int) -> None:
    dataset = data.load(name, ("table",))
    model = build_for(dataset, k=3, width=4, bins=bins, embedding=2)
    figure = draw(model, dataset)
    assert len(figure.axes[2].patches) == 3  # one bar a member
    assert any("not embedded" in axes.get_title() for axes in figure.axes) == (bins == 0)
