"""Neural ODEs solved by torchdiffeq, the authors' own library; its "rk4" is the 3/8 rule, and it has no classical rule."""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
import torchdiffeq
from torch import Tensor, nn

LIBRARY = "torchdiffeq"
METHODS = {"euler": "euler", "midpoint": "midpoint", "rk4_38": "rk4"}


def ships(method: str = "rk4", steps: int = 1, form: str = "trajectory", **_: Any) -> bool:
    """Return True for fixed steps that the library has."""
    return method in METHODS


class Plain(nn.Module):
    def __init__(self, size: int, hidden: Sequence[int]) -> None:
        super().__init__()
        widths = [size, *hidden, size]
        layers = [layer for a, b in pairwise(widths) for layer in (nn.Linear(a, b), nn.Tanh())]
        self.net = nn.Sequential(*layers[:-1])

    def forward(self, t: Tensor, z: Tensor) -> Tensor:
        slope: Tensor = self.net(z)
        return slope


class Squash(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.layer, self.hyper_gate = nn.Linear(inputs, outputs), nn.Linear(1, outputs)
        self.hyper_bias = nn.Linear(1, outputs, bias=False)


class Timed(nn.Module):
    def __init__(self, size: int, hidden: Sequence[int]) -> None:
        super().__init__()
        widths = [size, *hidden, size]
        self.layers = nn.ModuleList(Squash(a, b) for a, b in pairwise(widths))

    def forward(self, t: Tensor, z: Tensor) -> Tensor:
        now = t.reshape(1, 1)
        for n, part in enumerate(self.layers):
            z = part.layer(z) * part.hyper_gate(now).sigmoid() + part.hyper_bias(now)
            z = z if n == len(self.layers) - 1 else z.tanh()
        return z


class Forecasts(nn.Module):
    def __init__(
        self,
        features: int,
        hidden: Sequence[int],
        horizon: int,
        interval: float,
        targets: Sequence[int],
        window: int,
        extra: int,
    ) -> None:
        super().__init__()
        self.field, self.targets = Plain(features + extra, hidden), list(targets)
        self.horizon, self.interval = horizon, interval
        self.start = nn.Linear(window * features, extra) if extra else None

    def forward(self, past: Tensor) -> Tensor:
        z = past[:, -1]
        if self.start is not None:
            z = torch.cat([z, self.start(past.flatten(1))], dim=1)
        times = self.interval * torch.arange(self.horizon + 1, dtype=past.dtype)
        path: Tensor = torchdiffeq.odeint(self.field, z, times, **self.settings)
        return path[1:].transpose(0, 1)[..., self.targets]


class Densities(nn.Module):
    def __init__(self, features: int, hidden: Sequence[int]) -> None:
        super().__init__()
        self.field = Timed(features, hidden)

    def slope(self, t: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        with torch.enable_grad():
            z = state[0] if state[0].requires_grad else state[0].requires_grad_()
            v = self.field(t, z)
            trace = sum(torch.autograd.grad(v[:, i].sum(), z, create_graph=True)[0][:, i] for i in range(z.shape[1]))
        return v, -trace

    def forward(self, x: Tensor) -> Tensor:
        times = torch.tensor([1.0, 0.0], dtype=x.dtype)
        z, change = torchdiffeq.odeint(self.slope, (x.clone(), x.new_zeros(len(x))), times, **self.settings)
        return -0.5 * (math.log(2 * math.pi) * x.shape[1] + z[-1].square().sum(1)) - change[-1]


def build(
    form: str = "trajectory", features: int = 2, hidden: Sequence[int] = (50,), method: str = "rk4", steps: int = 1,
    horizon: int = 10, interval: float = 0.1, targets: Sequence[int] | None = None, window: int = 1, extra: int = 0, **_: Any,
) -> nn.Module:  # fmt: skip
    """The model that recipe.py's options describe; the trace is exact."""
    chosen = range(features) if targets is None else targets
    model = (
        Densities(features, hidden) if form == "flow" else Forecasts(features, hidden, horizon, interval, chosen, window, extra)
    )
    length = (1.0 if form == "flow" else interval) / steps
    model.settings = {"method": METHODS[method], "options": {"step_size": length}}
    return model


def loss(model: nn.Module, x: Tensor, *rest: Tensor) -> Tensor:
    """Mean squared error of forecasts, or the mean of -log p(x)."""
    outputs = model(x)
    return -outputs.mean() if isinstance(model, Densities) else (outputs - rest[0]).square().mean()
