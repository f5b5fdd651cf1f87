"""Graph neural networks: layers that pass messages along edges, and heads that classify nodes or whole graphs.

The layers themselves, which other architectures share, are in layers/graph.py; training is in recipe.py, the theory in page.md.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

from nnatomy import functional as F
from nnatomy import ops
from nnatomy.backends import B
from nnatomy.errors import UserError, unknown_name
from nnatomy.layers import Dropout, GATConv, GCNConv, GINConv, Linear, MessagePassing, ReLU, SAGEConv, Sequential
from nnatomy.layers.module import Module
from nnatomy.ops.indexing import raw
from nnatomy.tensor import Tensor
from nnatomy.typing import Float, Int

LAYERS = ("gcn", "gat", "sage", "gin", "mpnn")
READOUTS: dict[str, Callable[..., Any]] = {"sum": ops.segment_sum, "mean": ops.segment_mean, "max": ops.segment_max}

# One layer of each kind: h'_i = update(h_i, messages of the neighbors j of i)


def perceptron(inputs: int, hidden: int, outputs: int) -> Sequential:
    """Return a perceptron with one hidden layer, as GIN and message passing use it."""
    return Sequential(Linear(inputs, hidden), ReLU(), Linear(hidden, outputs))


def gcn(inputs: int, outputs: int, **_: Any) -> GCNConv:
    """Mean-like sum of neighbors and i, each edge j - i weighted by 1 / sqrt(d_j d_i). Source: Kipf and Welling (2017)."""
    return GCNConv(inputs, outputs)


def gat(inputs: int, outputs: int, *, heads: int, attention_dropout: float, last: bool, **_: Any) -> GATConv:
    """Weighted mean whose weights each head computes from both ends; `outputs` is split among heads except at the last layer.

    Source: Velickovic et al. (2018).
    """
    if last:
        return GATConv(inputs, outputs, heads=1, concat=False, dropout=attention_dropout)
    if outputs % heads:
        raise UserError(f"Heads divide the hidden units evenly. Received {heads} heads for hidden={outputs}. Use heads=1.")
    return GATConv(inputs, outputs // heads, heads=heads, dropout=attention_dropout)


def sage(inputs: int, outputs: int, **_: Any) -> SAGEConv:
    """The mean of the neighbors, and i with a separate weight. Source: Hamilton, Ying and Leskovec (2017)."""
    return SAGEConv(inputs, outputs)


def gin(inputs: int, outputs: int, *, hidden: int, **_: Any) -> GINConv:
    """A perceptron of (1 + eps) h_i plus the sum of the neighbors, with a learned eps. Source: Xu et al. (2019)."""
    return GINConv(perceptron(inputs, hidden, outputs), train_eps=True)


def mpnn(inputs: int, outputs: int, *, hidden: int, edge_features: int, **_: Any) -> MessagePassing:
    """A perceptron for the message, a linear map for the update; messages also read the edge. Source: Gilmer et al. (2017)."""
    return MessagePassing(perceptron(2 * inputs + edge_features, hidden, hidden), Linear(inputs + hidden, outputs))


CONVOLUTIONS: dict[str, Callable[..., Module]] = {"gcn": gcn, "gat": gat, "sage": sage, "gin": gin, "mpnn": mpnn}

# The networks


class GNN(Module):
    """Layers that pass messages: after k of them, a node has seen what is at most k edges away.

    Between layers is ReLU, or ELU for "gat"; before each layer is dropout.

    Args:
        widths: features of a node before the first layer and after each
        layer: one of LAYERS
        hidden: units inside the perceptrons of "gin" and "mpnn"
        open_end: whether the last layer's outputs are scores, which pass no nonlinearity
        edge_features: numbers that describe an edge; only "mpnn" reads them
        decay, decayed: weight of the squared parameters of the first `decayed` layers in the loss

    Raises UserError for another layer, for no layers, and for edge features that the layer does not read.
    """

    def __init__(
        self, widths: tuple[int, ...], layer: str, hidden: int, heads: int, dropout: float, attention_dropout: float,
        open_end: bool, edge_features: int = 0, decay: float = 0.0, decayed: int = 1,
    ) -> None:  # fmt: skip
        if layer not in LAYERS:
            raise unknown_name("layer", layer, LAYERS)
        if len(widths) < 2:
            raise UserError("A graph neural network has at least 1 layer. Received 0. Use layers=2.")
        if edge_features and layer != "mpnn":
            raise UserError(f"Edges with features need messages that read them. Received layer={layer!r}. Use layer=mpnn.")
        pairs = list(pairwise(widths))
        self.layer, self.open_end, self.edge_features = layer, open_end, edge_features
        self.decay, self.decayed = decay, decayed
        self.dropout = Dropout(dropout)
        self.convs = [
            CONVOLUTIONS[layer](
                inputs, outputs, hidden=hidden, heads=heads, attention_dropout=attention_dropout,
                edge_features=edge_features, last=open_end and k == len(pairs) - 1,
            )
            for k, (inputs, outputs) in enumerate(pairs)
        ]  # fmt: skip

    def embed(
        self, x: Float[Tensor, "nodes features"], edges: Int[Tensor, "edges 2"], edge_features: Any = None
    ) -> list[Float[Tensor, "nodes width"]]:
        """Return the features of all nodes after each layer; the messages of an edge (s, t) flow from s to t."""
        edge_index, found = raw(edges).T, []
        activation = F.elu if self.layer == "gat" else ops.relu
        for k, conv in enumerate(self.convs):
            x = self.dropout(x)
            x = conv(x, edge_index, edge_features) if self.edge_features else conv(x, edge_index)
            if not (self.open_end and k == len(self.convs) - 1):
                x = activation(x)
            found.append(x)
        return found

    def penalty(self) -> Any:
        """Return decay / 2 times the sum of the squared parameters of the first `decayed` layers."""
        squares = [p.square().sum() for conv in self.convs[: self.decayed] for p in conv.parameters()]
        return sum(squares[1:], squares[0]) * (self.decay / 2)


class NodeNetwork(GNN):
    """A score for each class of some nodes of a graph: the last layer has one output a class."""

    def forward(
        self, x: Float[Tensor, "nodes features"], edges: Int[Tensor, "edges 2"], chosen: Int[Tensor, " examples"],
        edge_features: Float[Tensor, "edges edge_features"] | None = None,
    ) -> Float[Tensor, "examples outputs"]:  # fmt: skip
        return ops.embedding(self.embed(x, edges, edge_features)[-1], chosen)  # type: ignore[no-any-return]


class GraphNetwork(GNN):
    """A score for each class of whole graphs, from the nodes' features before the first layer and after each.

    h_G = concat over k of readout(h_i^(k) for all nodes i of G). Source: Xu et al. (2019), equation 4.2.
    """

    def __init__(
        self, widths: tuple[int, ...], layer: str, hidden: int, heads: int, dropout: float, attention_dropout: float,
        outputs: int, readout: str, edge_features: int = 0, decay: float = 0.0, decayed: int = 1,
    ) -> None:  # fmt: skip
        if readout not in READOUTS:
            raise unknown_name("readout", readout, READOUTS)
        super().__init__(widths, layer, hidden, heads, dropout, attention_dropout, False, edge_features, decay, decayed)
        self.readout = readout
        self.output = Linear(sum(widths), outputs)

    def forward(
        self, x: Float[Tensor, "nodes features"], edges: Int[Tensor, "edges 2"], graph_of: Int[Tensor, " nodes"],
        sizes: Int[Tensor, " graphs"], edge_features: Float[Tensor, "edges edge_features"] | None = None,
    ) -> Float[Tensor, "graphs outputs"]:  # fmt: skip
        graphs = sizes.shape[0]  # the number of graphs is a shape: what follows needs no value
        features = [x, *self.embed(x, edges, edge_features)]
        read = [READOUTS[self.readout](h, graph_of, graphs) for h in features]  # each (graphs, width)
        return self.output(ops.concatenate(read, axis=-1))  # type: ignore[no-any-return]


def build(
    features: int, outputs: int, layer: str = "gcn", hidden: int = 16, layers: int = 2, heads: int = 8, dropout: float = 0.0,
    attention_dropout: float = 0.0, readout: str | None = None, edge_features: int = 0, decay: float = 0.0, decayed: int = 1,
) -> NodeNetwork | GraphNetwork:  # fmt: skip
    """Return a network from plain values: of nodes, or of whole graphs where there is a `readout`."""
    common = layer, hidden, heads, dropout, attention_dropout
    if readout is None:
        widths = (features, *(hidden,) * (layers - 1), *(outputs,) * min(layers, 1))
        return NodeNetwork(widths, *common, True, edge_features, decay, decayed)
    return GraphNetwork((features, *(hidden,) * layers), *common, outputs, readout, edge_features, decay, decayed)


def loss(model: NodeNetwork | GraphNetwork, *batch: Tensor) -> tuple[Float[Tensor, ""], Tensor]:
    """Return the mean cross-entropy of the examples' classes, in training plus the penalty on weights, and the scores."""
    scores = model(*batch[:-1])
    value = F.cross_entropy(scores, batch[-1])
    return (value + model.penalty() if model.training and model.decay else value), scores


def dirichlet_energy(h: Any, edges: Any) -> float:
    """Return how much neighbors differ: E(H) = 1/2 sum over edges s -> t of |h_s / sqrt(1 + d_s) - h_t / sqrt(1 + d_t)|^2.

    Every edge is there in both directions; loops count nothing. Source: Cai and Wang (2020), definition 3.1.
    """
    h, edges = raw(h), raw(edges)
    source, target = edges[:, 0], edges[:, 1]
    apart = B.not_equal(source, target).astype(h.dtype)
    degree = 1 + B.add_rows((h.shape[0],), target, apart)
    scaled = h / B.sqrt(degree)[:, None]
    return float((((scaled[source] - scaled[target]) ** 2).sum(axis=1) * apart).sum()) / 2
