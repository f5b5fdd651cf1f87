"""Graph neural networks (2005-): GCN, GAT, GraphSAGE, GIN and message passing in general."""

from nnatomy.architectures.graph.gnn.model import GNN, GraphNetwork, NodeNetwork, build, dirichlet_energy, loss

__all__ = ["GNN", "GraphNetwork", "NodeNetwork", "build", "dirichlet_energy", "loss"]
