"""Layers that pass messages along the edges of a graph. Names, weights and defaults are those of torch_geometric.

`x` (nodes, features) describes the nodes; `edge_index` (2, edges) holds sources in row 0 and targets in row 1, so that
messages flow from edge_index[0] to edge_index[1]. An undirected graph has both directions of every edge.
"""

from __future__ import annotations

import math
from typing import Any

from nnatomy import functional as F
from nnatomy import init, ops
from nnatomy.backends import B
from nnatomy.errors import UserError
from nnatomy.layers import checks
from nnatomy.layers.linear import Linear
from nnatomy.layers.module import Module
from nnatomy.ops.indexing import raw
from nnatomy.random import Generator
from nnatomy.tensor import Parameter, Tensor

__all__ = ["GATConv", "GCNConv", "GINConv", "MessagePassing", "SAGEConv"]


def sources_and_targets(x: Any, edge_index: Any) -> tuple[Any, Any]:
    """Return the two rows of `edge_index` as arrays. Raises UserError for other shapes and types."""
    edges = raw(edge_index)
    if len(edges.shape) != 2 or edges.shape[0] != 2 or edges.dtype.kind not in "iu":
        raise UserError(
            f"edge_index holds whole numbers of shape (2, edges). Received {edges.dtype} of shape {tuple(edges.shape)}. "
            "Transpose pairs (edges, 2)."
        )
    if len(x.shape) != 2:
        raise UserError(
            f"A graph's features have the shape (nodes, features). Received {tuple(x.shape)}. "
            "Reshape them to that."
        )
    return edges[0], edges[1]


def with_self_loops(source: Any, target: Any, nodes: int) -> tuple[Any, Any, Any]:
    """Return sources, targets and booleans that say which edges count: a loop is added to each node, earlier ones do not count.

    The number of edges then depends on shapes alone, so that a compiler can know it.
    """
    loops = B.arange(nodes).astype(source.dtype)
    kept = B.concatenate([B.not_equal(source, target), B.ones((nodes,), dtype=bool)])
    return B.concatenate([source, loops]), B.concatenate([target, loops]), kept


def glorot(shape: tuple[int, ...], generator: Generator | None) -> Parameter:
    """Return a parameter from U(-a, a) with a = sqrt(6 / (last two sizes)). Source: Glorot and Bengio (2010), equation 16."""
    bound = math.sqrt(6 / (shape[-1] + shape[-2]))
    return Parameter(init.uniform(shape, -bound, bound, generator))


class GCNConv(Module):
    """X' = D^-1/2 (A + I) D^-1/2 X W^T + b, where D counts the edges that reach a node, its loop among them.

    lin.weight (out, in) by Glorot's law; bias (out) 0. Source: Kipf and Welling (2017), equation 2.
    """

    def __init__(self, in_channels: int, out_channels: int, bias: bool = True, *, generator: Generator | None = None) -> None:
        checks.sizes("GCNConv", in_channels=in_channels, out_channels=out_channels)
        self.in_channels, self.out_channels = in_channels, out_channels
        self.bias = Parameter(init.zeros((out_channels,))) if bias else None
        self.lin = Linear(in_channels, out_channels, bias=False, generator=generator)
        self.lin.weight = glorot((out_channels, in_channels), generator)

    def forward(self, x: Any, edge_index: Any) -> Any:
        """Return new features (nodes, out) of x (nodes, in)."""
        source, target, kept = with_self_loops(*sources_and_targets(x, edge_index), x.shape[0])
        degree = B.add_rows((x.shape[0],), target, kept.astype("float32"))  # at least 1: each node has its loop
        root = B.sqrt(degree.astype(x.dtype))  # float32 counts to 2**24, half precision to 256
        weight = kept.astype(x.dtype) / (root[source] * root[target])  # (edges + nodes)
        h = self.lin(x)
        y = ops.segment_sum(ops.embedding(h, source) * weight[:, None], target, x.shape[0])
        return y if self.bias is None else y + self.bias


class GATConv(Module):
    """x'_i = sum over j of a_ij W x_j, with a_ij = softmax over j of LeakyReLU(att_src . W x_j + att_dst . W x_i).

    lin.weight (heads out, in), att_src and att_dst (1, heads, out) by Glorot's law; bias 0. j runs over the neighbors of i and
    i itself. Each head has its own W and attention; heads are concatenated, or averaged without `concat`. The weights a_ij are
    dropped with probability `dropout`.
    Source: Velickovic et al. (2018), equations 3 to 6.
    """

    def __init__(
        self, in_channels: int, out_channels: int, heads: int = 1, concat: bool = True, negative_slope: float = 0.2,
        dropout: float = 0.0, bias: bool = True, *, generator: Generator | None = None,
    ) -> None:  # fmt: skip
        checks.sizes("GATConv", in_channels=in_channels, out_channels=out_channels, heads=heads)
        checks.probability("GATConv", dropout)
        self.in_channels, self.out_channels, self.heads, self.concat = in_channels, out_channels, heads, concat
        self.negative_slope, self.dropout = negative_slope, dropout
        self.att_src = glorot((1, heads, out_channels), generator)
        self.att_dst = glorot((1, heads, out_channels), generator)
        self.bias = Parameter(init.zeros((heads * out_channels if concat else out_channels,))) if bias else None
        self.lin = Linear(in_channels, heads * out_channels, bias=False, generator=generator)
        self.lin.weight = glorot((heads * out_channels, in_channels), generator)

    def forward(self, x: Any, edge_index: Any) -> Any:
        """Return new features (nodes, heads out), or (nodes, out) without `concat`, of x (nodes, in)."""
        n = x.shape[0]
        source, target, kept = with_self_loops(*sources_and_targets(x, edge_index), n)
        h = self.lin(x).reshape(n, self.heads, self.out_channels)
        a = F.dropout(self._attention(h, source, target, kept), self.dropout, self.training)  # (edges + nodes, heads)
        y = ops.segment_sum(ops.embedding(h, source) * a[:, :, None], target, n)  # (nodes, heads, out)
        y = y.reshape(n, self.heads * self.out_channels) if self.concat else y.mean(axis=1)
        return y if self.bias is None else y + self.bias

    def _attention(self, h: Any, source: Any, target: Any, kept: Any) -> Any:
        """Return a_ij for each edge j -> i and head."""
        from_source, from_target = (h * self.att_src).sum(axis=-1), (h * self.att_dst).sum(axis=-1)  # (nodes, heads)
        scores = F.leaky_relu(ops.embedding(from_source, source) + ops.embedding(from_target, target), self.negative_slope)
        return ops.segment_softmax(ops.where(kept[:, None], scores, -math.inf), target, h.shape[0])

    def attention(self, x: Any, edge_index: Any) -> tuple[Any, Any]:
        """Return the weights a_ij (edges + nodes, heads) and the edges (2, edges + nodes) that they belong to."""
        source, target, kept = with_self_loops(*sources_and_targets(x, edge_index), x.shape[0])
        h = self.lin(x).reshape(x.shape[0], self.heads, self.out_channels)
        return self._attention(h, source, target, kept), B.stack([source, target])


class SAGEConv(Module):
    """x'_i = W_l mean of x_j over the neighbors j of i, plus b, plus W_r x_i; the mean does not include i.

    lin_l (out, in) with a bias, lin_r (out, in) without. `aggr` "max" takes the largest in each feature in place of the mean. A
    node without neighbors has the mean 0. Source: Hamilton, Ying and Leskovec (2017), algorithm 1, with the sum of two products
    for the concatenation.
    """

    def __init__(
        self, in_channels: int, out_channels: int, aggr: str = "mean", bias: bool = True, *, generator: Generator | None = None
    ) -> None:
        checks.sizes("SAGEConv", in_channels=in_channels, out_channels=out_channels)
        if aggr not in AGGREGATIONS:
            raise UserError(f"SAGEConv aggregates by {' or '.join(AGGREGATIONS)}. Received {aggr!r}. Choose one of these.")
        self.in_channels, self.out_channels, self.aggr = in_channels, out_channels, aggr
        self.lin_l = Linear(in_channels, out_channels, bias, generator=generator)
        self.lin_r = Linear(in_channels, out_channels, bias=False, generator=generator)

    def forward(self, x: Any, edge_index: Any) -> Any:
        """Return new features (nodes, out) of x (nodes, in)."""
        source, target = sources_and_targets(x, edge_index)
        near = AGGREGATIONS[self.aggr](ops.embedding(x, source), target, x.shape[0])
        return self.lin_l(near) + self.lin_r(x)


class GINConv(Module):
    """x'_i = nn((1 + eps) x_i + sum of x_j over the neighbors j of i).

    `nn` is the network that is applied to each node; eps (1) is learned with `train_eps`.
    Source: Xu et al. (2019), equation 4.1.
    """

    def __init__(self, nn: Module, eps: float = 0.0, train_eps: bool = False) -> None:
        start = B.full((1,), eps, dtype="float32")
        self.eps = Parameter(start) if train_eps else Tensor(start)
        self.nn = nn

    def forward(self, x: Any, edge_index: Any) -> Any:
        """Return nn's output for each node of x (nodes, in)."""
        source, target = sources_and_targets(x, edge_index)
        near = ops.segment_sum(ops.embedding(x, source), target, x.shape[0])
        return self.nn((1 + self.eps) * x + near)


class MessagePassing(Module):
    """m_i = sum over edges j -> i of message([x_i, x_j, e_ji]), then x'_i = update([x_i, m_i]).

    `message` takes rows (edges, 2 in + edge features), `update` rows (nodes, in + width of the messages).
    Source: Gilmer et al. (2017), equations 1 and 2.
    """

    def __init__(self, message: Module, update: Module) -> None:
        self.message, self.update = message, update

    def forward(self, x: Any, edge_index: Any, edge_attr: Any = None) -> Any:
        """Return update's output for each node of x (nodes, in); `edge_attr` (edges, features) describes the edges."""
        source, target = sources_and_targets(x, edge_index)
        ends = [ops.embedding(x, target), ops.embedding(x, source)]
        messages = self.message(ops.concatenate(ends if edge_attr is None else [*ends, edge_attr], axis=-1))
        near = ops.segment_sum(messages, target, x.shape[0])
        return self.update(ops.concatenate([x, near], axis=-1))


AGGREGATIONS = {"mean": ops.segment_mean, "max": ops.segment_max}
