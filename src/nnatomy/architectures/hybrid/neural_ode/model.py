"""Neural ODEs: a network is the slope of the state, dz/dt = f(t, z), and a solver of such equations is the forward pass.

The solvers and the adjoint method are in functional/odes.py, training in recipe.py, the theory in page.md.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np

from nnatomy import functional as F
from nnatomy import ops, random
from nnatomy.backends import B
from nnatomy.errors import UserError, unknown_name
from nnatomy.functional.odes import ODE_METHODS
from nnatomy.graph import enable_grad, is_grad_enabled
from nnatomy.layers import Linear, Sequential, Tanh
from nnatomy.layers.module import Module
from nnatomy.tensor import Tensor, grad
from nnatomy.typing import Float

FORMS = ("trajectory", "flow")
GRADIENTS = ("direct", "adjoint")
TRACES = ("exact", "hutchinson")

# The vector fields


class Field(Module):
    """f(z) = W_n tanh(... tanh(W_0 z + b_0) ...) + b_n: the slope at z, the same at all times."""

    def __init__(self, size: int, hidden: Sequence[int]) -> None:
        parts: list[Module] = []
        for narrow, wide in pairwise([size, *hidden, size]):
            parts += [Linear(narrow, wide), Tanh()]
        self.net = Sequential(*parts[:-1])

    def forward(self, t: Any, z: Float[Tensor, "batch size"]) -> Float[Tensor, "batch size"]:
        """Return dz/dt."""
        return self.net(z)  # type: ignore[no-any-return]


class ConcatSquash(Module):
    """(W z + b) sigmoid(t u + v) + t w: a linear layer whose outputs are scaled and moved by the time (Grathwohl et al.)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        self.layer = Linear(inputs, outputs)
        self.hyper_gate = Linear(1, outputs)
        self.hyper_bias = Linear(1, outputs, bias=False)

    def forward(self, t: Float[Tensor, "1 1"], z: Float[Tensor, "batch inputs"]) -> Float[Tensor, "batch outputs"]:
        """Return the layer's outputs at time t."""
        return self.layer(z) * ops.sigmoid(self.hyper_gate(t)) + self.hyper_bias(t)  # type: ignore[no-any-return]


class MovingField(Module):
    """f(t, z): layers that see the time, tanh after each but the last."""

    def __init__(self, size: int, hidden: Sequence[int]) -> None:
        self.layers = [ConcatSquash(narrow, wide) for narrow, wide in pairwise([size, *hidden, size])]

    def forward(self, t: Any, z: Float[Tensor, "batch size"]) -> Float[Tensor, "batch size"]:
        """Return dz/dt at time t, a number or a Tensor without axes."""
        now = t.reshape(1, 1) if isinstance(t, Tensor) else Tensor(B.full((1, 1), t, dtype=z.dtype))
        for layer in self.layers[:-1]:
            z = ops.tanh(layer(now, z))
        return self.layers[-1](now, z)  # type: ignore[no-any-return]


# The block


@dataclass(frozen=True)
class Solver:
    """The way to solve an equation, and to get gradients through the solution.

    Args:
        method: one of ODE_METHODS
        steps: equal steps between two requested times; "dopri5" chooses its own
        gradient: "direct", through the solver's operations, or "adjoint", by a second equation backwards in time
        rtol, atol: tolerances of "dopri5"

    Raises UserError for unknown names.
    """

    method: str = "rk4"
    steps: int = 1
    gradient: str = "direct"
    rtol: float = 1e-5
    atol: float = 1e-6

    def __post_init__(self) -> None:
        if self.method not in ODE_METHODS:
            raise unknown_name("method", self.method, tuple(ODE_METHODS))
        if self.gradient not in GRADIENTS:
            raise unknown_name("gradient", self.gradient, GRADIENTS)

    def __call__(self, f: Any, y: Any, t: Any, parameters: Iterable[Tensor]) -> Any:
        """Return y at all times t, the first one included; `parameters` are those of f."""
        settings: dict[str, Any] = {"method": self.method, "steps": self.steps, "rtol": self.rtol, "atol": self.atol}
        if self.gradient == "adjoint":
            return F.odeint_adjoint(f, y, t, tuple(parameters), **settings)
        return F.odeint(f, y, t, **settings)


class NeuralODE(Module):
    """A layer of continuous depth: y(0) goes in and y(1) comes out, where dy/dt = f(t, y).

    A residual network computes y + f(y) layer by layer, which is Euler's method with steps of 1 (Chen et al. 2018).
    """

    def __init__(self, field: Module, solver: Solver | None = None) -> None:
        self.field, self.solver = field, solver or Solver(steps=4)

    def forward(self, y: Float[Tensor, "batch *size"]) -> Float[Tensor, "batch *size"]:
        """Return y(1)."""
        return self.solver(self.field, y, (0.0, 1.0), self.field.parameters())[-1]  # type: ignore[no-any-return]


# Trajectories


class Forecaster(Module):
    """The rows that follow a window of a series: the solution that starts from its last row.

    The state z is the last row, with `extra` coordinates that a linear map reads from the whole window: where the columns
    alone do not decide what follows, these can (extra coordinates, from 0, are Dupont et al.'s, 2019; reading them is ours).

    Args:
        features: columns of the series
        hidden: widths of the field's hidden layers
        solver: how the equation is solved
        horizon: rows that are forecast
        interval: time between two rows
        targets: columns that are forecast; all if None
        window: rows of the past
        extra: coordinates besides the columns

    Raises UserError for sizes below 1 and for targets that are no columns.
    """

    def __init__(
        self, features: int, hidden: Sequence[int], solver: Solver, horizon: int, interval: float,
        targets: Sequence[int] | None, window: int, extra: int,
    ) -> None:  # fmt: skip
        chosen = tuple(range(features)) if targets is None else tuple(targets)
        if not chosen or not all(0 <= place < features for place in chosen):
            raise UserError(f"Targets are columns from 0 to {features - 1}. Received {chosen}. Use targets=(0,).")
        self.solver, self.horizon, self.interval, self.targets = solver, horizon, interval, chosen
        self.features, self.window, self.extra = features, window, extra
        self.field = Field(features + extra, hidden)
        self.start = Linear(window * features, extra) if extra else None

    def forward(self, past: Float[Tensor, "batch window features"]) -> Float[Tensor, "batch horizon targets"]:
        """Return the forecasts."""
        path = self.path(self.state(past), [n * self.interval for n in range(self.horizon + 1)])
        return ops.swapaxes(path[1:], 0, 1)[:, :, list(self.targets)]  # type: ignore[no-any-return]

    def state(self, past: Float[Tensor, "batch window features"]) -> Float[Tensor, "batch size"]:
        """Return z(0)."""
        if past.ndim != 3 or past.shape[1:] != (self.window, self.features):
            raise UserError(
                f"This neural ODE reads windows (batch, {self.window}, {self.features}). Received shape {past.shape}. Cut them."
            )
        last = past[:, -1]
        return last if self.start is None else ops.concatenate([last, self.start(ops.flatten(past, 1))], axis=1)

    def path(self, z: Float[Tensor, "batch size"], t: Any) -> Float[Tensor, "times batch size"]:
        """Return z at the times t, evenly spaced or not; it is `z` at the first one."""
        return self.solver(self.field, z, t, self.field.parameters())  # type: ignore[no-any-return]


# Densities


def divergence(
    f: Any, t: Any, z: Float[Tensor, "batch size"], noise: Float[Tensor, "batch size"] | None = None
) -> tuple[Float[Tensor, "batch size"], Float[Tensor, " batch"]]:
    """Return f(t, z) and tr(df/dz) of each row, which is exact, or with `noise` e Hutchinson's estimate e^T (df/dz) e.

    The exact trace costs one vector-Jacobian product for each coordinate, the estimate one in all; its mean is the trace if the
    elements of e are independent with mean 0 and variance 1. Each row of f must depend on its own row of z alone.

    Source: Hutchinson (1990); Grathwohl et al. (2019), equation 7.
    """
    recorded = is_grad_enabled()
    with enable_grad():
        z = z if z.requires_grad and recorded else z.detach().requires_grad_()
        slope = f(t, z)

        def product(e: Any) -> Tensor:
            found = grad(slope, z, e, retain_graph=True, create_graph=recorded)
            return (found * e).sum(axis=1)  # type: ignore[no-any-return]

        if noise is not None:
            trace = product(noise)
        else:
            trace = sum((product(_axis(n, slope)) for n in range(1, z.shape[1])), product(_axis(0, slope)))
    return (slope, trace) if recorded else (slope.detach(), trace.detach())


def _axis(n: int, like: Tensor) -> Tensor:
    """The unit vector along coordinate n in each row."""
    return Tensor(B.broadcast_to(B.asarray(np.eye(like.shape[1], dtype=like.dtype)[n]), like.shape))


class ContinuousFlow(Module):
    """A continuous normalizing flow: normal noise at t = 0 moves along dz/dt = f(t, z) and has the data's density at t = 1.

    d log p(z(t)) / dt = -tr(df/dz) along each trajectory, so that a point's density is that of the noise it came from, less the
    integral of the trace. With trace="hutchinson" training estimates the trace; evaluation is exact.

    A solver's coarse steps have an error that training can exploit: the density that it reports may then exceed the true one.
    So evaluation divides each step into `fine` ones, and shows it.

    Source: Chen et al. (2018), theorem 1; Grathwohl et al. (2019).
    """

    def __init__(self, features: int, hidden: Sequence[int], solver: Solver, trace: str, fine: int) -> None:
        if trace not in TRACES:
            raise unknown_name("trace", trace, TRACES)
        self.features, self.trace = features, trace
        self.solver, self.finer = solver, replace(solver, steps=fine * solver.steps)
        self.field = MovingField(features, hidden)

    def forward(self, x: Float[Tensor, "batch features"]) -> Float[Tensor, " batch"]:
        """Return log p(x) in nats."""
        z, change = self.to_noise(x)
        return -0.5 * self.features * math.log(2 * math.pi) - 0.5 * z.square().sum(axis=1) - change

    def to_noise(self, x: Float[Tensor, "batch features"]) -> tuple[Float[Tensor, "batch features"], Float[Tensor, " batch"]]:
        """Return the noise z(0) that x came from, and the integral of the trace from t = 0 to 1.

        log p(x) = log N(z(0)) minus this integral. Hutchinson's noise is drawn once: within a solve, the estimate is a smooth
        function of t.
        """
        noise = None
        if self.training and self.trace == "hutchinson":
            noise = Tensor(random.default.bernoulli(x.shape, 0.5).astype(x.dtype) * 2 - 1)

        def slope(t: Any, state: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
            velocity, trace = divergence(self.field, t, state[0], noise)
            return velocity, -trace

        solver = self.solver if self.training else self.finer
        z, change = solver(slope, (x, 0.0 * x[:, 0]), (1.0, 0.0), self.field.parameters())
        return z[-1], change[-1]

    def flow(self, z: Float[Tensor, "batch features"], t: Any = (0.0, 1.0)) -> Float[Tensor, "times batch features"]:
        """Return where points z are at the times t, from the first one on."""
        return self.finer(self.field, z, t, self.field.parameters())  # type: ignore[no-any-return]

    def sample(self, count: int) -> Float[Tensor, "count features"]:
        """Return new points; the noise comes from the default generator of random numbers."""
        noise = random.randn(count, self.features, dtype=self.field.layers[0].layer.weight.dtype)
        return self.flow(noise)[-1]


def build(
    form: str = "trajectory", features: int = 2, hidden: Sequence[int] = (50,), method: str = "rk4", steps: int = 1,
    gradient: str = "direct", horizon: int = 10, interval: float = 0.1, targets: Sequence[int] | None = None, window: int = 1,
    extra: int = 0, trace: str = "exact", fine: int = 1, rtol: float = 1e-5, atol: float = 1e-6,
) -> Forecaster | ContinuousFlow:  # fmt: skip
    """Return a forecaster (form="trajectory") or a continuous normalizing flow ("flow") from plain values.

    `horizon`, `interval`, `targets`, `window` and `extra` are the forecaster's, `trace` and `fine` are the flow's.
    """
    if form not in FORMS:
        raise unknown_name("form", form, FORMS)
    if min(features, horizon, window, steps, fine, *hidden) < 1 or extra < 0 or not interval > 0:
        sizes = f"features {features}, hidden {tuple(hidden)}, steps {steps}, fine {fine}, horizon {horizon}, window {window}"
        raise UserError(
            f"All sizes of a neural ODE are at least 1, and interval is positive. Received {sizes}, extra {extra} and "
            f"interval {interval}. Use larger ones."
        )
    solver = Solver(method, steps, gradient, rtol, atol)
    if form == "flow":
        return ContinuousFlow(features, hidden, solver, trace, fine)
    return Forecaster(features, hidden, solver, horizon, interval, targets, window, extra)


def loss(model: Forecaster | ContinuousFlow, x: Tensor, *rest: Tensor) -> tuple[Float[Tensor, ""], Tensor]:
    """Return the mean squared error of forecasts, or the mean of -log p(x) in nats; and the outputs.

    The batch is (past, future), or (points,) and whatever else their data set has.
    """
    outputs = model(x)
    if isinstance(model, ContinuousFlow):
        return -F.batch_mean(outputs), outputs
    return F.mse_loss(outputs, rest[0]), outputs
