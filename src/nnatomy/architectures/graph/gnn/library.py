"""Graph neural networks from the layers of torch_geometric, which ships GCN, GAT, GraphSAGE and GIN by these names."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LIBRARY = "torch_geometric"


def ships(layer: str = "gcn", **_: Any) -> bool:
    """Return False for the message passing of Gilmer et al., for which the library has a base class, not a layer."""
    return layer != "mpnn"


class Network(nn.Module):
    def __init__(self, convs: list[nn.Module], activation: Any, widths: list[int], outputs: int, readout: str | None) -> None:
        super().__init__()
        self.convs, self.activation, self.readout = nn.ModuleList(convs), activation, readout
        if readout is not None:
            self.output = nn.Linear(sum(widths), outputs)

    def forward(self, x: Tensor, edges: Tensor, first: Tensor, *rest: Tensor) -> Tensor:
        from torch_geometric import nn as pyg

        seen = [x]
        for k, conv in enumerate(self.convs):
            x = conv(x, edges.T)
            if self.readout is not None or k < len(self.convs) - 1:
                x = self.activation(x)
            seen.append(x)
        if self.readout is None:
            return x[first]
        pool = {"sum": pyg.global_add_pool, "mean": pyg.global_mean_pool, "max": pyg.global_max_pool}[self.readout]
        y: Tensor = self.output(torch.cat([pool(h, first, size=len(rest[0])) for h in seen], dim=1))
        return y


def build(
    features: int, outputs: int, layer: str = "gcn", hidden: int = 16, layers: int = 2, heads: int = 8,
    readout: str | None = None, decay: float = 0.0, decayed: int = 1, **_: Any,
) -> Network:  # fmt: skip
    """The network that recipe.py's options describe; dropout is 0 in what is compared."""
    from torch_geometric import nn as pyg

    widths = [features] + [hidden] * layers
    if readout is None:
        widths[-1] = outputs

    def conv(k: int) -> nn.Module:
        a, b, last = widths[k], widths[k + 1], readout is None and k == layers - 1
        if layer == "gat":
            return pyg.GATConv(a, b if last else b // heads, heads=1 if last else heads, concat=not last)
        if layer == "gin":
            net = nn.Sequential(nn.Linear(a, hidden), nn.ReLU(), nn.Linear(hidden, b))
            return pyg.GINConv(net, train_eps=True)
        return {"gcn": pyg.GCNConv, "sage": pyg.SAGEConv}[layer](a, b)

    network = Network([conv(k) for k in range(layers)], F.elu if layer == "gat" else F.relu, widths, outputs, readout)
    network.decay, network.decayed = decay, decayed
    return network


def loss(model: Network, *batch: Tensor) -> Tensor:
    """Mean cross-entropy, and decay / 2 times the squared weights of the first layers."""
    value = F.cross_entropy(model(*batch[:-1]), batch[-1])
    squares = [p.square().sum() for conv in list(model.convs)[: model.decayed] for p in conv.parameters()]
    return value + model.decay / 2 * torch.stack(squares).sum()
