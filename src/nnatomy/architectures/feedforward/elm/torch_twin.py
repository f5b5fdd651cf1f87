"""The extreme learning machine in PyTorch: an independent twin, written from Huang, Zhu and Siew (2006).
It shares nothing with the architecture's model but the names and shapes of its state."""

import torch
from torch import Tensor, nn

RIDGE = 10.0


class RandomNodes(nn.Module):
    """Additive nodes g(a . x + b), or radial ones exp(-b |x - a|^2); nothing here is trained."""

    weight: Tensor
    bias: Tensor

    def __init__(self, features: int, hidden: int, activation: str) -> None:
        super().__init__()
        if activation not in ("tanh", "sigmoid", "rbf"):
            raise ValueError(f"activation must be 'tanh', 'sigmoid' or 'rbf', got {activation!r}")
        self.activation = activation
        self.register_buffer("weight", torch.randn(hidden, features))
        self.register_buffer("bias", torch.rand(hidden))

    def forward(self, x: Tensor) -> Tensor:
        if self.activation == "rbf":
            return torch.exp(-self.bias * ((x[:, None, :] - self.weight[None]) ** 2).sum(-1))
        z = nn.functional.linear(x, self.weight, self.bias)
        return torch.tanh(z) if self.activation == "tanh" else torch.sigmoid(z)


class ELM(nn.Module):
    """A linear map of random nodes."""

    def __init__(self, features: int, hidden: int, outputs: int, activation: str, bias: bool) -> None:
        super().__init__()
        self.hidden = RandomNodes(features, hidden, activation)
        self.output = nn.Linear(hidden, outputs, bias)
        self.seen: list[tuple[Tensor, Tensor]] = []

    def forward(self, x: Tensor) -> Tensor:
        return self.output(self.hidden(x))


def build(
    features: int, hidden: int, outputs: int, activation: str = "sigmoid", scale: float = 1.0, bias: bool = False
) -> ELM:
    """The network; `scale` concerns only how the random weights are drawn, and these are loaded."""
    return ELM(features, hidden, outputs, activation, bias)


def wanted(model: ELM, targets: Tensor) -> Tensor:
    """One column a class with a 1 where an example belongs, or the numbers to fit."""
    columns, dtype = model.output.out_features, model.output.weight.dtype
    if not targets.is_floating_point():
        return nn.functional.one_hot(targets, columns).to(dtype)
    return targets.reshape(len(targets), columns)


def loss(model: ELM, x: Tensor, targets: Tensor) -> Tensor:
    """Squared errors, summed over outputs and averaged over examples."""
    return ((model(x) - wanted(model, targets)) ** 2).sum(1).mean()


@torch.no_grad()  # type: ignore[untyped-decorator]
def learn(model: ELM, progress: float, x: Tensor, targets: Tensor) -> None:
    """Solve for the output weights with all examples since progress was 0: the system (H^T H + RIDGE I) B = H^T T.

    A constant is not penalized, which is the same as to center H and T first.
    """
    if progress == 0:
        model.seen = []
    model.seen.append((model.hidden(x), wanted(model, targets)))
    h, t = (torch.cat(parts).double() for parts in zip(*model.seen))
    center = model.output.bias is not None
    h_mean, t_mean = (a.mean(0) if center else torch.zeros(a.shape[1], dtype=a.dtype) for a in (h, t))
    h0, t0 = h - h_mean, t - t_mean
    beta = torch.linalg.solve(h0.T @ h0 + RIDGE * torch.eye(h.shape[1], dtype=h.dtype), h0.T @ t0)
    model.output.weight.copy_(beta.T)
    if center:
        model.output.bias.copy_(t_mean - h_mean @ beta)
