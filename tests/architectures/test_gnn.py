"""Graph neural networks: what the page claims, published sizes, torch_geometric's layers inside, and users' folders."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nnatomy as nn
from nnatomy import data
from nnatomy.architectures.graph.gnn import build, dirichlet_energy, loss
from nnatomy.architectures.graph.gnn import recipe as recipes
from nnatomy.data import fields
from nnatomy.data.dataset import batches
from nnatomy.data.kinds.graph import NeighborSampling, drawing, fields_of, undirected
from nnatomy.errors import UserError
from nnatomy.tasks import task_for
from nnatomy.tensor import Tensor

Array = np.ndarray[Any, Any]
RNG = np.random.default_rng(0)
PAGE = nn.architecture("gnn").page
LAYERS = ("gcn", "gat", "sage", "gin", "mpnn")
each_layer = pytest.mark.parametrize("layer", LAYERS)


def random_graph(nodes: int, edges: int, rng: np.random.Generator = RNG) -> Array:
    return undirected(rng.integers(0, nodes, (edges, 2)))[0]


def network(layer: str, features: int = 3, **options: Any) -> Any:
    nn.seed(1)
    model = build(features, 4, layer, **({"hidden": 8, "layers": 2, "heads": 2} | options)).astype("float64")
    with nn.no_grad():
        for p in model.parameters():  # eps and biases, which start at 0, count too
            p.copy_(p + Tensor(RNG.normal(size=p.shape) * 0.1))
    model.eval()
    return model


def scores(model: Any, x: Array, edges: Array) -> Array:
    found: Array = model(Tensor(x), Tensor(edges), Tensor(np.arange(len(x)))).numpy()
    return found


def graph_scores(model: Any, *graphs: tuple[Array, Array]) -> Array:
    """Scores of graphs (nodes, edges), joined to one batch."""
    named = fields_of(True)[:-1]
    joined = fields.joined(named, [(x, e, np.zeros(len(x), np.int64), np.array([len(x)])) for x, e in graphs])
    found: Array = model(*map(Tensor, joined)).numpy()
    return found


# What the page claims


@each_layer
def test_nodes_move_with_their_numbers(layer: str) -> None:
    """Permutation equivariance: f(Px, PA) = P f(x, A)."""
    model, x, edges = network(layer), RNG.normal(size=(9, 3)), random_graph(9, 14)
    order = RNG.permutation(9)  # node i is called order[i]
    renamed = np.empty_like(x)
    renamed[order] = x
    np.testing.assert_allclose(scores(model, renamed, order[edges])[order], scores(model, x, edges), atol=1e-12)


@each_layer
@pytest.mark.parametrize("readout", ["sum", "mean", "max"])
def test_graphs_do_not_depend_on_the_numbers_of_their_nodes(layer: str, readout: str) -> None:
    """Permutation invariance, and no graph of a batch sees another."""
    model = network(layer, readout=readout)
    one, other = ((RNG.normal(size=(n, 3)), random_graph(n, 2 * n)) for n in (6, 4))
    order = RNG.permutation(6)
    renamed = np.empty_like(one[0])
    renamed[order] = one[0]
    found = graph_scores(model, one, other, (renamed, order[one[1]]))
    np.testing.assert_allclose(found[2], found[0], atol=1e-12)
    np.testing.assert_allclose(graph_scores(model, one)[0], found[0], atol=1e-12)
    np.testing.assert_allclose(graph_scores(model, other)[0], found[1], atol=1e-12)


@each_layer
@pytest.mark.parametrize("layers", [1, 2, 3])
def test_k_layers_see_k_hops(layer: str, layers: int) -> None:
    """On a path, changing a node changes the scores of exactly those at most k edges away."""
    path = undirected(np.stack([np.arange(9), np.arange(1, 10)], axis=1))[0]
    model, x = network(layer, layers=layers, hidden=32), RNG.normal(size=(10, 3))
    reached = np.zeros(10, bool)
    for _ in range(5):  # a ReLU may hide a change
        changed = x.copy()
        changed[0] = RNG.normal(size=3) * 5
        reached |= np.abs(scores(model, changed, path) - scores(model, x, path)).max(axis=1) > 0
    assert reached.tolist() == [n <= layers for n in range(10)]


STAR = undirected(np.array([(0, 1), (0, 2), (0, 3), (4, 5)]))[0]  # centers 0 and 4, with three leaves and one


def test_a_sum_counts_neighbors_and_a_mean_does_not() -> None:
    """Where all features are equal, a mean or attention gives every node the same; GIN distinguishes 3 neighbors from 1."""
    x = np.ones((6, 3))
    for layer in ("gat", "sage"):
        found = scores(network(layer), x, STAR)
        np.testing.assert_allclose(found, np.broadcast_to(found[:1], found.shape), atol=1e-12)
    found = scores(network("gin"), x, STAR)
    assert np.abs(found[0] - found[4]).max() > 1e-3


HEXAGON = undirected(np.array([(n, (n + 1) % 6) for n in range(6)]))[0]
TRIANGLES = undirected(np.array([(0, 1), (1, 2), (2, 0), (3, 4), (4, 5), (5, 3)]))[0]


@each_layer
def test_what_weisfeiler_and_leman_cannot_tell_apart_no_layer_can(layer: str) -> None:
    """A hexagon and two triangles: every node has two neighbors of its own kind."""
    found = graph_scores(network(layer, layers=4, readout="sum"), (np.ones((6, 3)), HEXAGON), (np.ones((6, 3)), TRIANGLES))
    np.testing.assert_allclose(found[0], found[1], atol=1e-12)
    told = graph_scores(network("gin", layers=4, readout="sum"), (np.ones((6, 3)), HEXAGON), (np.ones((6, 3)), STAR))
    assert np.abs(told[0] - told[1]).max() > 1e-3


def test_smoothing_brings_neighbors_together() -> None:
    """E(P H) <= (1 - lambda)^2 E(H) for P = D^-1/2 (A + I) D^-1/2, lambda the eigenvalue of I - P that shrinks least."""
    karate = data.load("karate").train.take(np.array([0]))
    edges, n = karate[1], len(karate[0])
    A = np.eye(n)
    A[edges[:, 1], edges[:, 0]] = 1
    P = A / np.sqrt(np.outer(A.sum(1), A.sum(1)))
    eigenvalues = np.linalg.eigvalsh(P)
    factor = max(abs(eigenvalues[0]), eigenvalues[-2]) ** 2
    assert factor < 1
    layer = nn.GCNConv(5, 5, bias=False).astype("float64")
    layer.load_state_dict({"lin.weight": np.eye(5)})
    h = Tensor(RNG.normal(size=(n, 5)))
    energies = [dirichlet_energy(h, edges)]
    for _ in range(8):
        h = layer(h, Tensor(edges.T))
        energies.append(dirichlet_energy(h, edges))
        assert energies[-1] <= factor * energies[-2] * (1 + 1e-9)
    expected = np.trace(h.numpy().T @ (np.eye(n) - P) @ h.numpy())
    assert energies[-1] == pytest.approx(expected)


def test_sampling_all_neighbors_is_the_whole_graph() -> None:
    """Counts of at least every degree change no score of a chosen node; smaller ones bound the edges."""
    edges = random_graph(40, 100)
    x, chosen = RNG.normal(size=(40, 3)), np.array([3, 17, 3, 29])
    named = fields_of(False)
    batch = (x, edges, chosen, np.zeros(4, np.int64))
    model = network("sage")
    whole = scores(model, x, edges)[chosen]
    most = int(np.bincount(edges[:, 1]).max())
    for seed in range(3):
        part = NeighborSampling((most, most))(named, batch, np.random.default_rng(seed))
        assert len(part[0]) < 40
        np.testing.assert_allclose(model(*map(Tensor, part[:-1])).numpy(), whole, atol=1e-12)
    nodes, joins, places, _ = NeighborSampling((2, 1))(named, batch, np.random.default_rng(0))
    assert np.array_equal(nodes[places], x[chosen])
    assert np.bincount(joins[:, 1], minlength=len(nodes))[np.unique(places)].max() <= 2
    drawn = {len(NeighborSampling((2, 1))(named, batch, np.random.default_rng(seed))[0]) for seed in range(20)}
    assert len(drawn) > 1


def test_each_neighbor_is_sampled_as_often() -> None:
    star = undirected(np.array([(0, n) for n in range(1, 6)]))[0]
    batch = (np.arange(6.0)[:, None], star, np.array([0]), np.array([0]))
    seen = np.zeros(6)
    for seed in range(2000):
        nodes, *_ = NeighborSampling((2,))(fields_of(False), batch, np.random.default_rng(seed))
        assert len(nodes) == 3
        seen[nodes[:, 0].astype(int)] += 1
    np.testing.assert_allclose(seen / 2000, [1, *(0.4,) * 5], atol=0.05)


# Sizes


def test_published_sizes() -> None:
    """Kipf and Welling's GCN and Velickovic's GAT on Cora."""
    gcn, gat = (build(1433, 7, *options) for options in (("gcn", 16), ("gat", 64, 2, 8)))
    assert gcn.count_parameters() == 23_063
    assert gat.count_parameters() == 92_373


def test_the_penalty_is_adams_weight_decay_on_the_first_layer() -> None:
    """Kipf and Welling's loss: the gradient is larger by decay times the weight, in training alone."""
    model = network("gcn", decay=0.1, decayed=1)
    batch = tuple(map(Tensor, (RNG.normal(size=(5, 3)), random_graph(5, 8), np.arange(5), np.arange(5) % 4)))
    found = {}
    for decay in (0.1, 0.0):
        model.decay = decay
        model.train()
        model.zero_grad()
        loss(model, *batch)[0].backward()
        found[decay] = {name: p.grad.numpy() for name, p in model.named_parameters()}
    for name, p in model.named_parameters():
        more = 0.1 * p.numpy() if name.startswith("convs.0.") else 0.0
        np.testing.assert_allclose(found[0.1][name], found[0.0][name] + more, atol=1e-12)
    model.decay = 0.1
    model.eval()
    calm = float(loss(model, *batch)[0].item())
    model.decay = 0.0
    assert calm == float(loss(model, *batch)[0].item())


# Training, and users' folders


def test_padding_changes_no_prediction() -> None:
    """On JAX, where batches of graphs are padded with dead nodes, edges and graphs, predictions are NumPy's."""
    dataset = data.load("motifs", limit=40)
    recipe = recipes.motifs
    found = []
    for backend in ("numpy", "jax"):
        with nn.backend(backend):
            nn.seed(0)
            model = recipe.build(dataset, **recipe.options)
            model.to_backend()
            task = task_for(recipe, dataset)
            found.append(task.evaluate(model, dataset.test, batch_size=7))
    np.testing.assert_allclose(found[1].arrays["probabilities"], found[0].arrays["probabilities"], atol=1e-5)
    assert found[1].metrics["loss"] == pytest.approx(found[0].metrics["loss"], rel=1e-4)


def test_a_fold_of_cora_is_refused() -> None:
    from nnatomy.data.sets import locate

    known = data.kinds.public()["cora"]
    try:
        locate(known, offline=True)
    except UserError as problem:
        pytest.skip(str(problem))
    cora = data.load("cora")
    assert [len(part) for part in (cora.train, cora.validation, cora.test)] == [140, 500, 1000]
    x, edges, *_ = cora.train.all()
    assert (x.shape, len(edges)) == ((2708, 1433), 2 * 5278)
    np.testing.assert_allclose(x.sum(axis=1), 1, atol=1e-5)
    with pytest.raises(UserError, match=r"published parts\. Received a fold"):
        data.load("cora", fold=data.Fold(0, 3))


def test_karate_is_zacharys() -> None:
    karate = data.load("karate")
    x, edges, chosen, classes = karate.train.all()
    assert (len(x), len(edges)) == (34, 2 * 78)
    assert chosen.tolist() == [0, 33]
    assert classes.tolist() == [0, 1]
    assert sum(len(part) for part in (karate.train, karate.validation, karate.test)) == 34
    factions = np.concatenate([part.all()[-1] for part in (karate.train, karate.validation, karate.test)])
    assert np.bincount(factions).tolist() == [17, 17]


def written(folder: Path, wild: bool = False) -> Path:
    """Two groups of nodes; those of one group mostly know each other. Some have no class."""
    rng = np.random.default_rng(3)
    folder.mkdir()
    group = np.arange(60) % 2
    lines = [f"n{n},{rng.normal() + group[n]},{'' if n >= 50 else 'ab'[group[n]]}" for n in range(60)]
    (folder / "nodes.csv").write_text("\n".join(["id,size,label", *lines]))
    ends = [(a, b) for a in range(60) for b in range(a) if rng.uniform() < (0.3 if group[a] == group[b] else 0.02)]
    (folder / "edges.csv").write_text("\n".join(["from,to", *(f"n{a},n{b}" for a, b in ends)]))
    return folder


def test_a_users_folder_goes_in_and_predictions_come_out(tmp_path: Path) -> None:
    folder = written(tmp_path / "friends")
    result = nn.train("gnn", str(folder), out=tmp_path / "run", report=False, settings={"dropout": "0.2"})
    assert result.metrics["accuracy"] >= 0.8
    answer = nn.predict(tmp_path / "run", folder)
    assert answer.columns["row"].tolist() == [f"n{n}" for n in range(60)]
    assert (answer.columns["prediction"][50:] == np.array(["a", "b"] * 5)).mean() >= 0.8
    assert nn.evaluate(tmp_path / "run", folder).metrics["accuracy"] >= 0.8


@pytest.mark.parametrize("nodes, edges, words", [
    ("id,label\na,x\nb,y", "s,t\na,z", "Received 'z' in row 2 of edges.csv"),
    ("id,label\na,x\na,y", "s,t\na,a", "Ids are unique. Received 'a'"),
    ("id,label\na,x\nb,x", "s,t\na,b", "two or more. Received 1"),
    ("id,label\na,x\nb,y", "s\na", "two ends"),
    ("id\na\nb", "s,t\na,b", "needs a target"),
    ("id,split,label\na,train,x\nb,later,y", "s,t\na,b", "train, validation or test. Received 'later'"),
    ("id,split,label\na,train,x\nb,train,y", "s,t\na,b", "without one of them"),
])  # fmt: skip
def test_a_wrong_folder_gets_one_sentence(nodes: str, edges: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "nodes.csv").write_text(nodes)
    (tmp_path / "edges.csv").write_text(edges)
    with pytest.raises(UserError, match=words):
        data.load(tmp_path)


def test_published_parts_of_a_folder_hold(tmp_path: Path) -> None:
    rows = [f"{n},{n % 2},{('train', 'val', 'test')[n % 3]}" for n in range(12)]
    (tmp_path / "nodes.csv").write_text("\n".join(["id,class,split", *rows]))
    (tmp_path / "edges.csv").write_text("\n".join(["source,target", *(f"{n},{(n + 1) % 12}" for n in range(12))]))
    found = data.load(tmp_path)
    assert [part.all()[2].tolist() for part in (found.train, found.validation, found.test)] == [
        [n for n in range(12) if n % 3 == k] for k in range(3)
    ]
    assert found.input_shape == (12,)  # nodes without features differ by their ids


def test_wrong_options_get_one_sentence() -> None:
    for options, words in (
        ({"layer": "gnc"}, "No layer has this name. Received .gnc."), ({"layers": 0}, "at least 1 layer"),
        ({"layer": "gat", "hidden": 9}, "divide the hidden"),
        ({"edge_features": 2}, "layer=mpnn"), ({"readout": "median"}, "readout"),
    ):  # fmt: skip
        with pytest.raises(UserError, match=words):
            build(3, 4, **options)
    with pytest.raises(UserError, match="recipe of gnn"):
        nn.train("gnn", variant="cora-gnc")


def test_a_sampled_batch_is_part_of_an_epoch() -> None:
    """The recipe with neighbor sampling sees every labeled node once an epoch, each time with other neighbors."""
    dataset = data.load("karate", fold=data.Fold(0, 3))
    augment = recipes.cora_sage.augment
    first, second = (list(batches(dataset.train, 5, seed, augment=augment)) for seed in (0, 1))
    assert sum(len(targets) for *_, targets in first) == len(dataset.train)
    seen = np.concatenate([nodes[chosen].argmax(axis=1) for nodes, _, chosen, _ in first])
    assert np.array_equal(np.sort(seen), np.sort(dataset.train.all()[2]))
    assert [len(edges) for _, edges, *_ in first] != [len(edges) for _, edges, *_ in second]


def test_a_named_recipe_is_trained_and_restored(tmp_path: Path) -> None:
    """GraphSAGE in sampled batches, on other data than its own; the run's folder says so, and the run comes back."""
    result = nn.train("gnn", "karate", variant="cora-sage", epochs=3, out=tmp_path / "run", report=False)
    assert result.prepared.recipe.name == "cora-sage"
    saved = result.run.read_json("run.json")["recipe"]
    assert saved["augment"] == [{"name": "NeighborSampling", "counts": [10, 10]}]
    run = nn.load_run(tmp_path / "run")
    assert run.recipe.name == "cora-sage"
    assert run.model.layer == "sage"
    assert nn.evaluate(run).metrics == pytest.approx(result.metrics)


def test_views_show_graphs_or_say_why_not() -> None:
    from matplotlib.collections import PathCollection

    from nnatomy import views
    from nnatomy.runs.prepare import prepare
    from nnatomy.runs.request import Request

    for variant in ("karate", "motifs"):
        prepared = prepare(Request("gnn", variant=variant, limit=30))
        prepared.model.eval()
        for name in ("activations", "embedding", "saliency"):
            with pytest.raises(UserError, match="needs examples that are rows"):
                views.view(name, prepared)
        shown = views.view("errors", prepared).axes
        worst = prepared.task.mistakes(prepared.task.evaluate(prepared.model, prepared.dataset.test)).order[:8]
        for axes, number in zip(shown, worst, strict=False):
            batch = prepared.dataset.test.take(np.array([number]))
            points = next(c for c in axes.collections if isinstance(c, PathCollection))
            expected = len(batch[0]) if variant == "motifs" else len(drawing.around(batch[1], int(batch[2][0]), 34))
            assert len(points.get_offsets()) == expected


def test_graphs_are_neither_cut_nor_divided() -> None:
    """Several devices are refused where batches are made: test_a_graph_is_never_cut."""
    with pytest.raises(UserError, match=r"by examples\. Received the field 'nodes'"):
        nn.train("gnn", epochs=1, report=False, accumulate=2)


# The page


def test_the_pages_code_gives_its_output(capsys: pytest.CaptureFixture[str]) -> None:
    blocks = re.findall(r"```python\n(.*?)```\s+```output\n(.*?)```", PAGE, re.DOTALL)
    assert blocks
    for code, output in blocks:
        exec(compile(code, "page.md", "exec"), {})
        assert capsys.readouterr().out == output


def test_the_pages_anchors_are_there() -> None:
    model = nn.architecture("gnn").module("model")
    for path in re.findall(r"<!-- code: (\S+) -->", PAGE):
        found: Any = model
        for name in path.split("."):
            found = getattr(found, name)
    tests = re.findall(r"<!-- test: (\S+) -->", PAGE)
    assert tests
    assert set(tests) <= globals().keys()
