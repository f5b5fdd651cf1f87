"""Training of graph neural networks on nodes and on whole graphs, and the small instances that the contracts build."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from nnatomy.architectures.graph.gnn.model import GraphNetwork, NodeNetwork, build, loss
from nnatomy.data.augment import Augmentation
from nnatomy.data.dataset import Dataset
from nnatomy.data.kinds.graph import NeighborSampling, fields_of, undirected
from nnatomy.optim import Adam, Cosine
from nnatomy.tasks import GraphClassification, NodeClassification
from nnatomy.training.learners import GradientDescent
from nnatomy.training.recipe import Case, Contract, Recipe

Array = npt.NDArray[Any]
WHOLE = 1 << 16
"""Examples in a batch where a batch costs the whole graph, however many nodes are chosen."""


def fit_nodes(
    dataset: Dataset, layer: str = "gcn", hidden: int = 16, layers: int = 2, heads: int = 8, dropout: float = 0.5,
    attention_dropout: float = 0.0, decay: float = 5e-4, decayed: int = 1,
) -> NodeNetwork | GraphNetwork:  # fmt: skip
    """Return a network with a score for each class of a node."""
    sizes = dataset.input_shape[0], dataset.outputs, layer, hidden, layers
    return build(*sizes, heads, dropout, attention_dropout, None, edge_features_of(dataset), decay, decayed)


def fit_graphs(
    dataset: Dataset, layer: str = "gin", hidden: int = 32, layers: int = 3, heads: int = 4, dropout: float = 0.0,
    attention_dropout: float = 0.0, readout: str = "sum",
) -> NodeNetwork | GraphNetwork:  # fmt: skip
    """Return a network with a score for each class of a graph."""
    sizes = dataset.input_shape[0], dataset.outputs, layer, hidden, layers
    return build(*sizes, heads, dropout, attention_dropout, readout, edge_features_of(dataset))


def edge_features_of(dataset: Dataset) -> int:
    """Return how many numbers describe an edge."""
    preprocessing: Any = dataset.preprocessing
    return len(preprocessing.edge_columns.features)


karate = Recipe(
    kind="graph",
    tasks=(NodeClassification,),
    data="karate",
    build=fit_nodes,
    options={"layer": "gcn", "hidden": 16, "layers": 2, "dropout": 0.5, "decay": 5e-4, "decayed": 1},
    learn=GradientDescent(loss, partial(Adam, lr=1e-2)),
    epochs=200,
    batch_size=WHOLE,
    metric="loss",
    score={"accuracy": 0.9},
    name="karate",
)
motifs = Recipe(
    kind="graph",
    tasks=(GraphClassification,),
    data="motifs",
    build=fit_graphs,
    options={"layer": "gin", "hidden": 32, "layers": 3, "readout": "sum"},
    learn=GradientDescent(loss, partial(Adam, lr=5e-3), schedule=partial(Cosine, warmup=0.05)),
    epochs=20,
    batch_size=32,
    metric="loss",
    score={"accuracy": 0.95},
    name="motifs",
)
# The settings of the papers. Kipf and Welling penalize the weights of the first layer alone.
cora_gcn = Recipe(
    kind="graph",
    tasks=(NodeClassification,),
    data="cora",
    build=fit_nodes,
    options={"layer": "gcn", "hidden": 16, "layers": 2, "dropout": 0.5, "decay": 5e-4, "decayed": 1},
    learn=GradientDescent(loss, partial(Adam, lr=1e-2)),
    epochs=200,
    batch_size=WHOLE,
    metric="accuracy",
    score={"accuracy": 0.81},
    name="cora-gcn",
)
cora_gat = Recipe(
    kind="graph",
    tasks=(NodeClassification,),
    data="cora",
    build=fit_nodes,
    options={
        "layer": "gat", "hidden": 64, "layers": 2, "heads": 8, "dropout": 0.6, "attention_dropout": 0.6, "decay": 5e-4,
        "decayed": 2,
    },
    learn=GradientDescent(loss, partial(Adam, lr=5e-3)),
    epochs=200,
    batch_size=WHOLE,
    metric="accuracy",
    score={"accuracy": 0.81},
    name="cora-gat",
)  # fmt: skip
# Batches of nodes, each with a part of the graph: what makes graphs possible that do not fit in memory.
cora_sage = Recipe(
    kind="graph",
    tasks=(NodeClassification,),
    data="cora",
    build=fit_nodes,
    options={"layer": "sage", "hidden": 64, "layers": 2, "dropout": 0.5, "decay": 5e-4, "decayed": 2},
    learn=GradientDescent(loss, partial(Adam, lr=1e-2)),
    epochs=50,
    batch_size=35,
    metric="accuracy",
    augment=Augmentation((NeighborSampling((10, 10)),)),
    name="cora-sage",
)
recipes = (karate, motifs, cora_gcn, cora_gat, cora_sage)


def _nodes(rng: np.random.Generator) -> tuple[Array, ...]:
    """A ring of 7 nodes with a chord; 5 of them have classes."""
    edges, _ = undirected(np.array([(n, (n + 1) % 7) for n in range(7)] + [(0, 3)]))
    return rng.normal(size=(7, 4)), edges, np.array([5, 0, 3, 1, 6]), np.array([0, 1, 2, 0, 1])


def _graphs(edge_features: int = 0) -> Any:
    """A triangle, a path and a star, and the reverse: four graphs of two classes."""

    def batch(rng: np.random.Generator) -> tuple[Array, ...]:
        joins = [(0, 1), (1, 2), (2, 0), (3, 4), (4, 5), (6, 7), (6, 8), (6, 9), (10, 11), (11, 12)]
        edges, rows = undirected(np.array(joins))
        sizes = np.array([3, 3, 4, 3])
        described = rng.normal(size=(len(joins), edge_features))[rows]
        rest = (described,) if edge_features else ()
        return rng.normal(size=(13, 3)), edges, np.repeat(np.arange(4), sizes), sizes, *rest, np.array([0, 1, 0, 1])

    return batch


ONE_SIZE = "the exported graph would need two sizes that change, its nodes and its edges, and export knows one, the batch"
NO_ONNX = {Contract.EXPORT: ONE_SIZE}
NODE, GRAPH = fields_of(False), fields_of(True)
cases = (
    Case("GCN", {"features": 4, "outputs": 3, "hidden": 8}, _nodes, loss, without=NO_ONNX, fields=NODE),
    Case("GAT", {"features": 4, "outputs": 3, "layer": "gat", "hidden": 8, "heads": 2}, _nodes, loss, without=NO_ONNX,
         fields=NODE),
    Case("GraphSAGE", {"features": 4, "outputs": 3, "layer": "sage", "hidden": 8, "decay": 0.01}, _nodes, loss,
         without=NO_ONNX, fields=NODE, overfit=0.15),
    Case("GIN", {"features": 3, "outputs": 2, "layer": "gin", "hidden": 8, "readout": "sum"}, _graphs(), loss, without=NO_ONNX,
         fields=GRAPH),
    Case("MPNN", {"features": 3, "outputs": 2, "layer": "mpnn", "hidden": 8, "readout": "mean", "edge_features": 2}, _graphs(2),
         loss, without=NO_ONNX, fields=fields_of(True, True)),
)  # fmt: skip
