"""The multilayer perceptron in PyTorch: an independent twin, written from Rumelhart, Hinton & Williams (1986).
It shares nothing with the architecture's model but the names and shapes of its state: linears.k, norms.k."""

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": F.relu,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "gelu": F.gelu,
    "silu": F.silu,
    "elu": F.elu,
    "leaky_relu": F.leaky_relu,
    "selu": F.selu,
}


class BatchNorm(nn.Module):
    """torch.nn.BatchNorm1d without the counter num_batches_tracked, which our state does not have."""

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, features: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(features))
        self.bias = nn.Parameter(torch.zeros(features))
        self.register_buffer("running_mean", torch.zeros(features))
        self.register_buffer("running_var", torch.ones(features))

    def forward(self, x: Tensor) -> Tensor:
        return F.batch_norm(
            x, self.running_mean, self.running_var, self.weight, self.bias, self.training, momentum=0.1, eps=1e-5
        )


class Numbers(nn.Module):
    """Chosen columns by piecewise linear encoding, a linear layer for each of them, and ReLU (Gorishniy et al. 2022)."""

    edges: Tensor

    def __init__(self, columns: Sequence[int], bins: int, embedding: int) -> None:
        super().__init__()
        self.columns = list(columns)
        self.register_buffer("edges", torch.linspace(-2, 2, bins + 1).repeat(len(columns), 1))
        self.weight = nn.Parameter(torch.rand(len(columns), bins, embedding) / bins)
        self.bias = nn.Parameter(torch.zeros(len(columns), 1, embedding))

    def forward(self, x: Tensor) -> Tensor:
        pieces = []
        for j, column in enumerate(self.columns):
            start, end = self.edges[j, :-1], self.edges[j, 1:]
            encoded = ((x[:, column, None] - start) / (end - start)).clamp(0, 1)
            pieces.append(F.relu(encoded @ self.weight[j] + self.bias[j]))
        return torch.cat(pieces, dim=1)


class MLP(nn.Module):
    """Per hidden layer: linear, normalization (if requested), activation, dropout; then a linear output layer."""

    def __init__(
        self, features: int, outputs: int, hidden: Sequence[int], activation: str, dropout: float, batch_norm: bool,
        numbers: Numbers | None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.numbers = numbers
        sizes = [features + (numbers.bias.numel() if numbers is not None else 0), *hidden, outputs]
        self.linears = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(sizes))
        self.norms = nn.ModuleList(BatchNorm(size) for size in hidden) if batch_norm else None
        self.activation = ACTIVATIONS[activation]
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        if self.numbers is not None:
            x = torch.cat([x, self.numbers(x)], dim=1)
        for k, linear in enumerate(self.linears):
            x = linear(x)
            if k == len(self.linears) - 1:
                break
            if self.norms is not None:
                x = self.norms[k](x)
            x = self.dropout(self.activation(x))
        return x


def build(
    features: int,
    outputs: int,
    hidden: Sequence[int] = (64, 64),
    activation: str = "relu",
    dropout: float = 0.0,
    batch_norm: bool = False,
    numbers: Sequence[int] = (),
    bins: int = 0,
    embedding: int = 8,
) -> MLP:
    """The model with PyTorch's own initial weights."""
    embedded = Numbers(numbers, bins, embedding) if numbers and bins else None
    return MLP(features, outputs, hidden, activation, dropout, batch_norm, embedded)


def loss(model: MLP, x: Tensor, targets: Tensor) -> Tensor:
    """Mean cross-entropy for class ids [B], mean squared error for float targets [B, outputs]."""
    outputs: Tensor = model(x)
    if targets.is_floating_point():
        return F.mse_loss(outputs, targets)
    return F.cross_entropy(outputs, targets)
