"""Graph neural networks in PyTorch: an independent twin, written from Kipf and Welling (2017), Velickovic et al. (2018),
Hamilton et al. (2017), Xu et al. (2019) and Gilmer et al. (2017), with dense matrices. It shares names and shapes alone."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def adjacency(edges: Tensor, n: int, like: Tensor) -> Tensor:
    """A[i, j] = how many edges flow from j to i."""
    found = torch.zeros(n, n, dtype=like.dtype)
    return found.index_put((edges[:, 1], edges[:, 0]), torch.ones(len(edges), dtype=like.dtype), accumulate=True)


class GCN(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.lin = nn.Linear(inputs, outputs, bias=False)

    def forward(self, x: Tensor, edges: Tensor) -> Tensor:
        a = adjacency(edges, len(x), x)
        a = a - torch.diag(torch.diag(a)) + torch.eye(len(x), dtype=x.dtype)
        d = torch.diag(a.sum(1) ** -0.5)
        return d @ a @ d @ self.lin(x) + self.bias


class GAT(nn.Module):
    def __init__(self, inputs: int, outputs: int, heads: int, average: bool, dropout: float) -> None:
        super().__init__()
        self.heads, self.outputs, self.average, self.dropout = heads, outputs, average, dropout
        self.att_src = nn.Parameter(torch.randn(1, heads, outputs))
        self.att_dst = nn.Parameter(torch.randn(1, heads, outputs))
        self.bias = nn.Parameter(torch.zeros(outputs if average else heads * outputs))
        self.lin = nn.Linear(inputs, heads * outputs, bias=False)

    def forward(self, x: Tensor, edges: Tensor) -> Tensor:
        n = len(x)
        seen = (adjacency(edges, n, x) + torch.eye(n, dtype=x.dtype)) > 0
        h = self.lin(x).view(n, self.heads, self.outputs)
        results = []
        for k in range(self.heads):
            scores = (h[:, k] @ self.att_dst[0, k])[:, None] + (h[:, k] @ self.att_src[0, k])[None, :]
            scores = F.leaky_relu(scores, 0.2).masked_fill(~seen, -torch.inf)
            weights = F.dropout(torch.softmax(scores, dim=1), self.dropout, self.training)
            results.append(weights @ h[:, k])
        y = torch.stack(results).mean(0) if self.average else torch.cat(results, dim=1)
        return y + self.bias


class SAGE(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.lin_l = nn.Linear(inputs, outputs)
        self.lin_r = nn.Linear(inputs, outputs, bias=False)

    def forward(self, x: Tensor, edges: Tensor) -> Tensor:
        a = adjacency(edges, len(x), x)
        mean = a @ x / a.sum(1, keepdim=True).clamp(min=1)
        return self.lin_l(mean) + self.lin_r(x)


def perceptron(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, outputs))


class GIN(nn.Module):
    def __init__(self, inputs: int, hidden: int, outputs: int) -> None:
        super().__init__()
        self.eps = nn.Parameter(torch.zeros(1))
        self.nn = perceptron(inputs, hidden, outputs)

    def forward(self, x: Tensor, edges: Tensor) -> Tensor:
        y: Tensor = self.nn(x + self.eps * x + adjacency(edges, len(x), x) @ x)
        return y


class MPNN(nn.Module):
    def __init__(self, inputs: int, hidden: int, outputs: int, edge_features: int) -> None:
        super().__init__()
        self.hidden = hidden
        self.message = perceptron(2 * inputs + edge_features, hidden, hidden)
        self.update = nn.Linear(inputs + hidden, outputs)

    def forward(self, x: Tensor, edges: Tensor, described: Tensor | None = None) -> Tensor:
        messages = torch.zeros(len(x), self.hidden, dtype=x.dtype)
        for e, (s, t) in enumerate(edges.tolist()):
            seen = torch.cat([x[t], x[s]] if described is None else [x[t], x[s], described[e]])
            messages = messages.index_add(0, torch.tensor([t]), self.message(seen)[None])
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
        for k, (a, b) in enumerate(zip(widths[:-1], widths[1:])):
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
