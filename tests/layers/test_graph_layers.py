"""Layers of graphs equal torch_geometric's of the same name: weights by name, outputs, gradients; and their own properties."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from layer_parity import load, same, same_signature, torch

import nnatomy as nn
from nnatomy.errors import UserError
from nnatomy.interchange.onnx import check, to_onnx

pyg = pytest.importorskip("torch_geometric.nn", reason="torch-geometric is not installed")
RNG = np.random.default_rng(2)
X = RNG.normal(size=(7, 5))
# a node without edges (6), a loop (2 -> 2), an edge in one direction only (5 -> 0), and one that is there twice (0 -> 1)
EDGES = np.array([[0, 1, 1, 2, 2, 2, 3, 4, 5, 0], [1, 0, 2, 1, 2, 3, 4, 3, 0, 1]])


def perceptron(library: Any) -> Any:
    return library.Sequential(library.Linear(5, 6), library.ReLU(), library.Linear(6, 4))


CASES: list[tuple[str, Any, Any]] = [
    ("GCNConv", lambda: nn.GCNConv(5, 4), lambda: pyg.GCNConv(5, 4)),
    ("GCNConv without bias", lambda: nn.GCNConv(5, 4, bias=False), lambda: pyg.GCNConv(5, 4, bias=False)),
    ("GATConv", lambda: nn.GATConv(5, 4), lambda: pyg.GATConv(5, 4)),
    ("GATConv of 3 heads", lambda: nn.GATConv(5, 4, heads=3), lambda: pyg.GATConv(5, 4, heads=3)),
    (
        "GATConv of 2 averaged heads", lambda: nn.GATConv(5, 4, 2, concat=False, negative_slope=0.1),
        lambda: pyg.GATConv(5, 4, 2, concat=False, negative_slope=0.1),
    ),
    ("SAGEConv", lambda: nn.SAGEConv(5, 4), lambda: pyg.SAGEConv(5, 4)),
    ("SAGEConv of the largest", lambda: nn.SAGEConv(5, 4, "max", bias=False), lambda: pyg.SAGEConv(5, 4, "max", bias=False)),
    ("GINConv", lambda: nn.GINConv(perceptron(nn)), lambda: pyg.GINConv(perceptron(torch.nn))),
    (
        "GINConv that learns eps", lambda: nn.GINConv(perceptron(nn), 0.5, train_eps=True),
        lambda: pyg.GINConv(perceptron(torch.nn), 0.5, train_eps=True),
    ),
]  # fmt: skip
each = pytest.mark.parametrize("ours, theirs", [pair for _, *pair in CASES], ids=[name for name, *_ in CASES])


@each
def test_a_layer_equals_torch_geometrics(ours: Any, theirs: Any) -> None:
    """Outputs and gradients from the same weights, which are loaded by name."""
    same(ours(), theirs(), X, EDGES)


@each
def test_a_layer_takes_a_graph_without_edges(ours: Any, theirs: Any) -> None:
    same(ours(), theirs(), X, EDGES[:, :0])


@pytest.mark.parametrize("name", ["GCNConv", "GATConv", "SAGEConv", "GINConv"])
def test_arguments_are_torch_geometrics(name: str) -> None:
    same_signature(getattr(nn, name), getattr(pyg, name))


@each
def test_a_layer_is_the_same_on_jax_and_in_onnx(ours: Any, theirs: Any) -> None:
    """Edges are an input of the exported layer; only their number is fixed."""
    layer = ours()
    x, other = X.astype("float32"), EDGES[:, ::-1].copy()
    layer.eval()
    expected = layer(nn.tensor(x), nn.tensor(EDGES)).numpy()
    state = layer.state_dict()
    with nn.backend("jax"):
        twin = ours()
        twin.load_state_dict(state)
        twin.eval()
        found = nn.compile(lambda x, e: twin(x, e))(nn.tensor(x), nn.tensor(EDGES)).numpy()
    np.testing.assert_allclose(found, expected, atol=1e-5)
    made = to_onnx(layer, x, EDGES, axes=(None, None))
    check(made, lambda x, e: layer(nn.tensor(x), nn.tensor(e)), (x, EDGES), (x, other))


def test_dropped_attention_keeps_its_mean() -> None:
    """Dropout acts on the attention in training, divides by what is kept, and is off in evaluation."""
    nn.seed(0)
    layer = nn.GATConv(5, 4, heads=2, dropout=0.6).astype("float64")
    x, edges = nn.tensor(X), nn.tensor(EDGES)
    layer.eval()
    calm = layer(x, edges).numpy()
    assert np.array_equal(calm, layer(x, edges).numpy())
    layer.train()
    drawn = np.array([layer(x, edges).numpy() for _ in range(4000)])
    assert drawn.std(axis=0).min() > 0.01
    np.testing.assert_allclose(drawn.mean(axis=0), calm, atol=0.1)


def test_attention_of_each_node_sums_to_one() -> None:
    layer = nn.GATConv(5, 4, heads=3).astype("float64")
    weights, edges = layer.attention(nn.tensor(X), nn.tensor(EDGES))
    np.testing.assert_allclose(nn.segment_sum(weights, edges[1], 7).numpy(), np.ones((7, 3)))
    assert (weights.numpy()[:, 0][: EDGES.shape[1]] == 0).sum() == 1  # the loop that was there is replaced, not doubled


def test_messages_see_edges() -> None:
    """m_i and x'_i by plain loops, with features of edges."""
    message, update = nn.Linear(5 + 5 + 2, 3), nn.Linear(5 + 3, 4)
    layer = nn.MessagePassing(message, update).astype("float64")
    features = RNG.normal(size=(EDGES.shape[1], 2))
    found = layer(nn.tensor(X), nn.tensor(EDGES), nn.tensor(features)).numpy()
    W, b, U, c = (p.numpy() for p in layer.parameters())
    for i in range(7):
        m = sum((W @ [*X[i], *X[s], *e] + b for (s, t), e in zip(EDGES.T, features, strict=True) if t == i), np.zeros(3))
        np.testing.assert_allclose(found[i], U @ [*X[i], *m] + c)


def test_wrong_edges_are_refused() -> None:
    layer = nn.GCNConv(5, 4)
    for edges in (EDGES.T, EDGES.astype("float32"), EDGES[0]):
        with pytest.raises(UserError, match=r"shape \(2, edges\)"):
            layer(nn.tensor(X.astype("float32")), nn.tensor(edges))
    with pytest.raises(UserError, match="mean or max"):
        nn.SAGEConv(5, 4, "median")
    with pytest.raises(UserError, match="one segment for each row"):
        nn.segment_sum(nn.zeros(3, 2), np.array([0, 1]), 2)


def test_weights_of_torch_geometric_load_by_name() -> None:
    for ours, theirs in ((nn.GCNConv(5, 4), pyg.GCNConv(5, 4)), (nn.GATConv(5, 4, 2), pyg.GATConv(5, 4, 2))):
        load(ours, theirs)
