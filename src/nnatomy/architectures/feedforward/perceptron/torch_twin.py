"""The perceptron in PyTorch: an independent twin, written from Rosenblatt (1962) and Widrow & Hoff (1960).
It shares nothing with the architecture's model but the names and shapes of its state: weight, bias."""

import torch
from torch import Tensor, nn


class Perceptron(nn.Module):
    """Linear scores s = x W^T + b, one per output."""

    def __init__(self, features: int, outputs: int, rule: str) -> None:
        super().__init__()
        if rule not in ("perceptron", "delta"):
            raise ValueError(f"rule must be 'perceptron' or 'delta', got {rule!r}")
        self.rule = rule
        self.weight = nn.Parameter(torch.zeros(outputs, features))
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.weight.T + self.bias


def build(features: int, outputs: int = 1, rule: str = "perceptron") -> Perceptron:
    """The model, weights at zero."""
    return Perceptron(features, outputs, rule)


def loss(model: Perceptron, x: Tensor, targets: Tensor) -> Tensor:
    """Batch mean of the perceptron criterion max(0, -t s) or of (t - s)^2 / 2, summed over outputs, t in {-1, +1}."""
    scores: Tensor = model(x)
    t = signs(scores, targets)
    if model.rule == "delta":
        return (0.5 * (t - scores) ** 2).sum(1).mean()
    margin = t * scores  # `<=`: a score of exactly zero counts as wrong and is corrected
    return torch.where(margin <= 0, -margin, torch.zeros_like(margin)).sum(1).mean()


def signs(scores: Tensor, targets: Tensor) -> Tensor:
    """+1 for the output of an example's class and -1 for the others; a single output belongs to class 1."""
    outputs = scores.shape[1]
    classes = torch.ones(1, dtype=targets.dtype) if outputs == 1 else torch.arange(outputs, dtype=targets.dtype)
    return torch.where(targets[:, None] == classes.to(targets.device), 1.0, -1.0).to(scores.dtype)


@torch.no_grad()  # type: ignore[untyped-decorator]
def learn(model: Perceptron, progress: float, x: Tensor, targets: Tensor) -> None:
    """One correction for a batch: the sum over its examples of t x where t s <= 0, or of 0.02 (t - s) x / (|x|^2 + 1)."""
    scores: Tensor = model(x)
    weight, bias = model.weight.clone(), model.bias.clone()
    for x_n, s_n, t_n in zip(x, scores, signs(scores, targets)):
        for unit in range(len(s_n)):
            s, t = s_n[unit], t_n[unit]
            if model.rule == "delta":
                step = 0.02 * (t - s) / (1 + x_n @ x_n)
            else:
                step = t if t * s <= 0 else torch.zeros_like(t)
            weight[unit] += step * x_n
            bias[unit] += step
    model.weight.copy_(weight)
    model.bias.copy_(bias)
