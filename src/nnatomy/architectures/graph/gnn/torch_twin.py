"""Graph neural networks in PyTorch: an independent twin, written from Kipf and Welling (2017), Velickovic et al. (2018),
Hamilton et al. (2017), Xu et al. (2019) and Gilmer et al. (2017). It shares only names and shapes with the model."""

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def gathered(values: Tensor, edges: Tensor, n: int) -> Tensor:
    """For each of n nodes, the sum of the values (edges, ...) of the edges that end there."""
    return torch.zeros(n, *values.shape[1:], dtype=values.dtype).index_add(0, edges[:, 1], values)


def looped(edges: Tensor, n: int) -> Tensor:
    """The edges between different nodes, and a loop for each node."""
    loops = torch.arange(n)
    return torch.cat([edges[edges[:, 0] != edges[:, 1]], torch.stack([loops, loops], dim=1)])


class GCN(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.lin = nn.Linear(inputs, outputs, bias=False)

    def forward(self, x: Tensor, edges: Tensor) -> Tensor:
        edges = looped(edges, len(x))
        d = gathered(torch.ones(len(edges), dtype=x.dtype), edges, len(x))[:, None] ** -0.5
        h = d * self.lin(x)
        return d * gathered(h[edges[:, 0]], edges, len(x)) + self.bias


class GAT(nn.Module):
    def __init__(self, inputs: int, outputs: int, heads: int, average: bool, dropout: float) -> None:
        super().__init__()
        self.heads, self.outputs, self.average, self.dropout = heads, outputs, average, dropout
        self.att_src = nn.Parameter(torch.randn(1, heads, outputs))
        self.att_dst = nn.Parameter(torch.randn(1, heads, outputs))
        self.bias = nn.Parameter(torch.zeros(outputs if average else heads * outputs))
        self.lin = nn.Linear(inputs, heads * outputs, bias=False)

    def forward(self, x: Tensor, edges: Tensor) -> Tensor:
        n, edges = len(x), looped(edges, len(x))
        h = self.lin(x).view(n, self.heads, self.outputs)
        results = []
        for k in range(self.heads):
            ends = (h[:, k] @ self.att_src[0, k])[edges[:, 0]] + (h[:, k] @ self.att_dst[0, k])[edges[:, 1]]
            scores = F.leaky_relu(ends, 0.2)
            e = torch.exp(scores - scores.max().detach())
            weights = F.dropout(e / gathered(e, edges, n)[edges[:, 1]], self.dropout, self.training)
            results.append(gathered(weights[:, None] * h[edges[:, 0], k], edges, n))
        y = torch.stack(results).mean(0) if self.average else torch.cat(results, dim=1)
        return y + self.bias


class SAGE(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.lin_l = nn.Linear(inputs, outputs)
        self.lin_r = nn.Linear(inputs, outputs, bias=False)

    def forward(self, x: Tensor, edges: Tensor) -> Tensor:
        count = gathered(torch.ones(len(edges), 1, dtype=x.dtype), edges, len(x)).clamp(min=1)
        return self.lin_l(gathered(x[edges[:, 0]], edges, len(x)) / count) + self.lin_r(x)


def perceptron(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, outputs))


class GIN(nn.Module):
    def __init__(self, inputs: int, hidden: int, outputs: int) -> None:
        super().__init__()
        self.eps = nn.Parameter(torch.zeros(1))
        self.nn = perceptron(inputs, hidden, outputs)

    def forward(self, x: Tensor, edges: Tensor) -> Tensor:
        y: Tensor = self.nn(x + self.eps * x + gathered(x[edges[:, 0]], edges, len(x)))
        return y


class MPNN(nn.Module):
    def __init__(self, inputs: int, hidden: int, outputs: int, edge_features: int) -> None:
        super().__init__()
        self.message = perceptron(2 * inputs + edge_features, hidden, hidden)
        self.update = nn.Linear(inputs + hidden, outputs)

    def forward(self, x: Tensor, edges: Tensor, described: Tensor | None = None) -> Tensor:
        parts = [x[edges[:, 1]], x[edges[:, 0]]] + ([] if described is None else [described])
        messages = gathered(self.message(torch.cat(parts, dim=1)), edges, len(x))
        y: Tensor = self.update(torch.cat([x, messages], dim=1))
        return y


class Network(nn.Module):
    """Layers with dropout before each; scores of chosen nodes, or of graphs from the readouts of all layers."""

    def __init__(
        self, features: int, outputs: int, layer: str, hidden: int, layers: int, heads: int, dropout: float,
        attention_dropout: float, readout: str | None, edge_features: int, decay: float, decayed: int,
    ) -> None:  # fmt: skip
        super().__init__()
        self.kind, self.dropout, self.readout = layer, dropout, readout
        self.edge_features, self.decay, self.decayed = edge_features, decay, decayed
        widths = [features] + [hidden] * layers
        if readout is None:
            widths[-1] = outputs
        self.convs = nn.ModuleList()
        for k, (a, b) in enumerate(pairwise(widths)):
            last = readout is None and k == layers - 1
            if layer == "gcn":
                self.convs.append(GCN(a, b))
            elif layer == "gat":
                self.convs.append(GAT(a, b if last else b // heads, 1 if last else heads, last, attention_dropout))
            elif layer == "sage":
                self.convs.append(SAGE(a, b))
            elif layer == "gin":
                self.convs.append(GIN(a, hidden, b))
            elif layer == "mpnn":
                self.convs.append(MPNN(a, hidden, b, edge_features))
            else:
                raise ValueError(f"unknown layer {layer!r}")
        if readout is not None:
            self.output = nn.Linear(sum(widths), outputs)

    def forward(self, x: Tensor, edges: Tensor, first: Tensor, *rest: Tensor) -> Tensor:
        described = rest[-1:] if self.edge_features else ()
        seen = [x]
        for k, conv in enumerate(self.convs):
            x = conv(F.dropout(x, self.dropout, self.training), edges, *described)
            if self.readout is not None or k < len(self.convs) - 1:
                x = F.elu(x) if self.kind == "gat" else F.relu(x)
            seen.append(x)
        if self.readout is None:
            return x[first]
        graphs = []
        for g in range(len(rest[0])):
            parts = []
            for h in seen:
                own = h[first == g]
                if len(own) == 0:
                    parts.append(torch.zeros(h.shape[1], dtype=h.dtype))
                elif self.readout == "sum":
                    parts.append(own.sum(0))
                elif self.readout == "mean":
                    parts.append(own.mean(0))
                else:
                    parts.append(own.max(0).values)
            graphs.append(torch.cat(parts))
        y: Tensor = self.output(torch.stack(graphs))
        return y


def build(
    features: int, outputs: int, layer: str = "gcn", hidden: int = 16, layers: int = 2, heads: int = 8, dropout: float = 0.0,
    attention_dropout: float = 0.0, readout: str | None = None, edge_features: int = 0, decay: float = 0.0, decayed: int = 1,
) -> Network:  # fmt: skip
    """The network with PyTorch's own initial weights."""
    return Network(
        features, outputs, layer, hidden, layers, heads, dropout, attention_dropout, readout, edge_features, decay, decayed
    )


def loss(model: Network, *batch: Tensor) -> Tensor:
    """Mean cross-entropy; in training, decay / 2 times the squared weights of the first layers more."""
    value = F.cross_entropy(model(*batch[:-1]), batch[-1])
    if model.training and model.decay:
        for conv in list(model.convs)[: model.decayed]:
            for p in conv.parameters():
                value = value + model.decay / 2 * (p**2).sum()
    return value
