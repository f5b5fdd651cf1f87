"""Neural ODEs in PyTorch: an independent twin, written from Chen et al. (2018), Dupont et al. (2019), Grathwohl et al. (2019).
It shares only the names and shapes of its state with the model. Fixed steps, and gradients through the solver."""

from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.distributions import Normal

# Butcher tableaus: the stages' times, what each stage takes of the earlier slopes, and the weights of the result.
Tableau = tuple[tuple[float, ...], tuple[tuple[float, ...], ...], tuple[float, ...]]
TABLEAUS: dict[str, Tableau] = {
    "euler": ((0,), ((),), (1,)),
    "midpoint": ((0, 1 / 2), ((), (1 / 2,)), (0, 1)),
    "rk4": ((0, 1 / 2, 1 / 2, 1), ((), (1 / 2,), (0, 1 / 2), (0, 0, 1)), (1 / 6, 1 / 3, 1 / 3, 1 / 6)),
    "rk4_38": ((0, 1 / 3, 2 / 3, 1), ((), (1 / 3,), (-1 / 3, 1), (1, -1, 1)), (1 / 8, 3 / 8, 3 / 8, 1 / 8)),
}


def solve(f: Callable[[float, Tensor], Tensor], y: Tensor, start: float, end: float, steps: int, method: str) -> Tensor:
    """y at the end, by equal steps of an explicit Runge-Kutta method."""
    times, takes, weights = TABLEAUS[method]
    h = (end - start) / steps
    for n in range(steps):
        slopes: list[Tensor] = []
        for c, row in zip(times, takes, strict=True):
            stage = y + sum(h * a * k for a, k in zip(row, slopes, strict=True))
            slopes.append(f(start + (n + c) * h, stage))
        y = y + sum(h * b * k for b, k in zip(weights, slopes, strict=True))
    return y


class Field(nn.Module):
    """A perceptron with tanh between its layers."""

    def __init__(self, widths: list[int]) -> None:
        super().__init__()
        parts: list[nn.Module] = []
        for a, b in pairwise(widths):
            parts += [nn.Linear(a, b), nn.Tanh()]
        self.net = nn.Sequential(*parts[:-1])

    def forward(self, z: Tensor) -> Tensor:
        y: Tensor = self.net(z)
        return y


class Trajectory(nn.Module):
    """The last row of the past, with learned coordinates beside it, moves along the field; its values at each time."""

    def __init__(
        self, features: int, hidden: list[int], method: str, steps: int, horizon: int, interval: float,
        targets: tuple[int, ...] | None, window: int, extra: int,
    ) -> None:  # fmt: skip
        super().__init__()
        self.method, self.steps, self.horizon, self.interval = method, steps, horizon, interval
        self.targets = list(range(features)) if targets is None else list(targets)
        self.field = Field([features + extra, *hidden, features + extra])
        self.start = nn.Linear(window * features, extra) if extra else None

    def forward(self, past: Tensor) -> Tensor:
        z = past[:, -1]
        if self.start is not None:
            z = torch.cat([z, self.start(past.flatten(1))], 1)
        rows = []
        for n in range(self.horizon):
            span = n * self.interval, (n + 1) * self.interval
            z = solve(lambda _, z: self.field(z), z, *span, self.steps, self.method)
            rows.append(z[:, self.targets])
        return torch.stack(rows, 1)


class ConcatSquash(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.layer = nn.Linear(inputs, outputs)
        self.hyper_gate = nn.Linear(1, outputs)
        self.hyper_bias = nn.Linear(1, outputs, bias=False)

    def forward(self, t: Tensor, z: Tensor) -> Tensor:
        y: Tensor = self.layer(z) * torch.sigmoid(self.hyper_gate(t)) + self.hyper_bias(t)
        return y


class TimeField(nn.Module):
    def __init__(self, widths: list[int]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(ConcatSquash(a, b) for a, b in pairwise(widths))

    def forward(self, t: Tensor, z: Tensor) -> Tensor:
        for k, layer in enumerate(self.layers):
            z = layer(t, torch.tanh(z) if k else z)
        return z


class Flow(nn.Module):
    """log p(x): back from the data at t = 1 to the noise at t = 0, with the trace of the Jacobian beside the point."""

    def __init__(self, features: int, hidden: list[int], method: str, steps: int, fine: int) -> None:
        super().__init__()
        self.features, self.method, self.steps, self.fine = features, method, steps, fine
        self.field = TimeField([features, *hidden, features])

    def change(self, time: float, state: Tensor) -> Tensor:
        """The slopes of z and of l: f, and minus the trace of df/dz; each row's trace on its own."""
        with torch.enable_grad():
            z = state[:, :-1] if state.requires_grad else state[:, :-1].detach().requires_grad_()
            f = self.field(torch.full((1, 1), time, dtype=z.dtype), z)
            rows = [torch.autograd.grad(f[:, k].sum(), z, create_graph=True)[0][:, k] for k in range(self.features)]
        return torch.cat([f, -torch.stack(rows).sum(0)[:, None]], 1)

    def forward(self, x: Tensor) -> Tensor:
        state = torch.cat([x, torch.zeros_like(x[:, :1])], 1)
        end = solve(self.change, state, 1.0, 0.0, self.steps if self.training else self.steps * self.fine, self.method)
        z, change = end[:, :-1], end[:, -1]  # change: what ln p gains from 1 down to 0
        return Normal(torch.zeros_like(z), 1.0).log_prob(z).sum(1) - change


def build(
    form: str = "trajectory", features: int = 2, hidden: tuple[int, ...] = (50,), method: str = "rk4", steps: int = 1,
    gradient: str = "direct", horizon: int = 10, interval: float = 0.1, targets: tuple[int, ...] | None = None,
    window: int = 1, extra: int = 0, trace: str = "exact", rtol: float = 1e-5, atol: float = 1e-6, fine: int = 1,
) -> Trajectory | Flow:  # fmt: skip
    """The model with PyTorch's own initial weights.

    `gradient`, `rtol` and `atol` concern solvers that are not here; the trace is exact, which "hutchinson" estimates.
    """
    if method not in TABLEAUS or form not in ("trajectory", "flow"):
        raise ValueError(f"not in this twin: form={form!r}, method={method!r}")
    if form == "flow":
        return Flow(features, list(hidden), method, steps, fine)
    return Trajectory(features, list(hidden), method, steps, horizon, interval, targets, window, extra)


def loss(model: Trajectory | Flow, x: Tensor, *rest: Tensor) -> Tensor:
    """Mean squared error of the trajectories, or minus the mean of log p in nats."""
    y: Tensor = model(x)
    return -y.mean() if isinstance(model, Flow) else nn.functional.mse_loss(y, rest[0])
