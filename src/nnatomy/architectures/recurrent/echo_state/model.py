"""The echo state network: a random recurrent layer that never learns, and a linear read-out by least squares.

Here are the reservoir, its spectral radius, the network, free running, and the solution of the read-out. Training by the
project's loop is in recipe.py, the theory in page.md.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from nnatomy import ops, random
from nnatomy.backends import B
from nnatomy.errors import UserError
from nnatomy.functional import batch_mean
from nnatomy.functional.least_squares import add_rows, no_rows
from nnatomy.graph import no_grad
from nnatomy.layers import Linear
from nnatomy.layers.module import Module
from nnatomy.layers.sequences import check_readout
from nnatomy.tensor import Tensor
from nnatomy.typing import Float

Array = npt.NDArray[Any]


def spectral_radius(W: Array) -> float:
    """Return the largest |eigenvalue| of a square matrix; its norm is larger, unless it is normal."""
    return float(np.abs(np.linalg.eigvals(np.asarray(W, np.float64))).max())


class Reservoir(Module):
    """r(t) = (1 - a) r(t-1) + a tanh(W r(t-1) + V x(t) + bias): random weights, which are buffers and stay.

    Args:
        inputs, hidden: numbers in a step, units
        radius: W is scaled to this spectral radius
        leak: a in (0, 1]; a small one makes the units slow
        connectivity: fraction of the entries of W that are not 0
        input_scale, bias_scale: V and bias are uniform from minus this number to it
        feedback: the inputs are the network's own outputs, and V is called `Wfb` instead of `Win`

    Source: Jaeger (2001), equation 1; Jaeger et al. (2007), equation 2, for the leak outside of tanh.
    """

    def __init__(
        self, inputs: int, hidden: int, radius: float = 0.9, leak: float = 1.0, connectivity: float = 0.1,
        input_scale: float = 1.0, bias_scale: float = 0.0, feedback: bool = False,
    ) -> None:  # fmt: skip
        self.leak = leak
        self.W = Tensor(_scaled(hidden, radius, connectivity))
        V = Tensor(random.default.uniform((hidden, inputs), -input_scale, input_scale))
        self.Win: Tensor | None = None if feedback else V
        self.Wfb: Tensor | None = V if feedback else None
        self.bias = Tensor(random.default.uniform((hidden,), -bias_scale, bias_scale))

    def forward(
        self, x: Float[Tensor, "batch time inputs"], r: Float[Tensor, "batch hidden"] | None = None
    ) -> Float[Tensor, "batch time hidden"]:
        """Return the states at all steps, from r (0 if None)."""
        driven = ops.unstack(self.drive(x), axis=1)  # of all steps in one product
        states = []
        for d in driven:
            r = self.step(d, r)
            states.append(r)
        return ops.stack(states, axis=1)  # type: ignore[no-any-return]

    def drive(self, x: Float[Tensor, "... inputs"]) -> Float[Tensor, "... hidden"]:
        """Return V x + bias."""
        return ops.linear(x, self.Win if self.Wfb is None else self.Wfb, self.bias)  # type: ignore[no-any-return]

    def step(self, driven: Float[Tensor, "batch hidden"], r: Float[Tensor, "batch hidden"] | None) -> Tensor:
        """Return r(t) from V x(t) + bias and r(t-1)."""
        if r is None:
            return self.leak * driven.tanh()
        return (1 - self.leak) * r + self.leak * (driven + r @ self.W.T).tanh()


def _scaled(hidden: int, radius: float, connectivity: float) -> Array:
    """Return sparse normal weights with this spectral radius. Raises UserError where too few entries are left for one."""
    W = random.default.normal((hidden, hidden), dtype="float64") * random.default.bernoulli((hidden, hidden), connectivity)
    W = np.asarray(W)
    own = spectral_radius(W)
    if own < 1e-6:
        raise UserError(
            f"A reservoir needs loops. Received {hidden} units of which a fraction of {connectivity} is connected, without a "
            "loop. Use more units, or connectivity=1.0."
        )
    return np.asarray(W * (radius / own), np.float32)


class EchoState(Module):
    """y(t) = W_out r(t) + c, the read-out of a reservoir; only W_out and c are learned.

    Args:
        inputs, hidden, outputs: numbers in a step, units of the reservoir, numbers in an output
        readout: "last": one output, after the last step; "each": one for each step
        washout: steps at the start of each sequence that neither the loss nor the solution counts, with "each"
        feedback: the network is driven by its own outputs: forward takes their true past, then runs freely
        horizon: steps that it then gives
        direct: the read-out sees the input of the step as well: y(t) = W_out [r(t), x(t)] + c
        radius, leak, connectivity, input_scale, bias_scale: as for `Reservoir`

    Raises:
        UserError: for sizes below 1, numbers outside their range, and options that do not fit together
    """

    def __init__(
        self, inputs: int, hidden: int, outputs: int, readout: str = "last", washout: int = 0, feedback: bool = False,
        horizon: int = 1, direct: bool = False, radius: float = 0.9, leak: float = 1.0, connectivity: float = 0.1,
        input_scale: float = 1.0, bias_scale: float = 0.0,
    ) -> None:  # fmt: skip
        if min(inputs, hidden, outputs, horizon) < 1 or washout < 0:
            raise UserError(
                "An echo state network needs at least 1 input, unit, output and step, and a washout of at least 0. Received "
                f"{inputs}, {hidden}, {outputs}, {horizon} and {washout}. Use hidden=300 and washout=0."
            )
        if not (0 < leak <= 1 and 0 < connectivity <= 1):
            raise UserError(
                f"The leak and the connectivity are above 0 and at most 1. Received leak={leak!r} and "
                f"connectivity={connectivity!r}. Use leak=1.0 and connectivity=0.1."
            )
        if min(radius, input_scale, bias_scale) < 0 or not math.isfinite(radius + input_scale + bias_scale):
            raise UserError(
                "The spectral radius and the scales are finite and at least 0. Received "
                f"{radius!r}, {input_scale!r} and {bias_scale!r}. Use radius=0.9, input_scale=1.0 and bias_scale=0.0."
            )
        if feedback and inputs != outputs:
            raise UserError(
                f"With feedback, inputs are earlier outputs. Received {inputs} inputs and {outputs} outputs. Use equal numbers."
            )
        self.readout, self.washout, self.feedback, self.horizon, self.direct = (
            check_readout(readout), washout, feedback, horizon, direct,
        )  # fmt: skip
        self.reservoir = Reservoir(inputs, hidden, radius, leak, connectivity, input_scale, bias_scale, feedback)
        self.output = Linear(hidden + inputs * direct, outputs)

    def forward(self, x: Float[Tensor, "batch time inputs"]) -> Float[Tensor, "batch ..."]:
        """Return (batch, outputs) for "last", (batch, time, outputs) for "each", (batch, horizon, outputs) with feedback."""
        if self.feedback:
            return self.run_freely(x, self.horizon)
        return self.output(self.seen(x))  # type: ignore[no-any-return]

    def seen(self, x: Float[Tensor, "batch time inputs"]) -> Tensor:
        """Return what the read-out sees, the states and with `direct` the inputs: of each step, or of the last one."""
        states = self.reservoir(x)
        if self.feedback or self.readout == "last":
            states, x = states[:, -1], x[:, -1]
        return ops.concatenate([states, x], axis=-1) if self.direct else states  # type: ignore[no-any-return]

    def run_freely(self, x: Float[Tensor, "batch time outputs"], steps: int) -> Float[Tensor, "batch steps outputs"]:
        """Return the `steps` outputs after the true ones x: x drives the reservoir first (teacher forcing), then each output.

        A network without feedback that forecasts the next step of its inputs can run freely, too.
        """
        r, last, outputs = self.reservoir(x)[:, -1], x[:, -1], []
        for n in range(steps):
            if n:
                r = self.reservoir.step(self.reservoir.drive(last), r)
            last = self.output(ops.concatenate([r, last], axis=-1) if self.direct else r)
            outputs.append(last)
        return ops.stack(outputs, axis=1)  # type: ignore[no-any-return]


def build(
    inputs: int, hidden: int, outputs: int, readout: str = "last", washout: int = 0, feedback: bool = False, horizon: int = 1,
    direct: bool = False, radius: float = 0.9, leak: float = 1.0, connectivity: float = 0.1, input_scale: float = 1.0,
    bias_scale: float = 0.0,
) -> EchoState:  # fmt: skip
    """Return a network from plain values."""
    return EchoState(
        inputs, hidden, outputs, readout, washout, feedback, horizon, direct, radius, leak, connectivity, input_scale,
        bias_scale,
    )  # fmt: skip


def loss(model: EchoState, x: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean of (y - t)^2 over all numbers that count, and y."""
    y: Tensor = model(x)
    off = (y - targets.reshape(y.shape)).square()
    if model.readout == "each" and not model.feedback:
        off = off[:, model.washout :]
    return batch_mean(off.flatten(1).mean(axis=1)), y


# The read-out: min |H w + c - T|^2 + ridge |w|^2 over all rows h of H, of which c is not penalized


def begin_rows(model: EchoState, ridge: float = 0.0) -> dict[str, Array]:
    """Return no rows, and their triangle R, with a row and a column for each column of [H, 1, T].

    Raises:
        UserError: for a ridge below 0
    """
    outputs, seen = model.output.weight.shape
    return no_rows(seen + 1 + outputs, ridge)


def absorb(model: EchoState, sums: dict[str, Tensor], x: Tensor, targets: Tensor, mask: Any = None) -> dict[str, Tensor]:
    """Return R with the rows [h, 1, t] of a batch added, in float64; with feedback t is the first step after x."""
    outputs = model.output.weight.shape[0]
    h = model.seen(x).astype("float64")
    t = (targets[:, 0] if model.feedback else targets.reshape((*h.shape[:-1], outputs))).astype("float64")
    rows = ops.concatenate([h, ops.ones((*h.shape[:-1], 1), dtype="float64"), t], axis=-1)
    if len(h.shape) == 3:
        rows = rows[:, model.washout :]
        steps = rows.shape[1]
        mask = None if mask is None else ops.stack([mask] * steps, axis=1).reshape(-1)
        rows = rows.reshape(-1, rows.shape[-1])
    return add_rows(sums, rows, mask)


def solve(model: EchoState, sums: dict[str, Array], ridge: float = 0.0) -> float:
    """Set the read-out to the minimum of |H w + c - T|^2 + ridge |w|^2, given R of [H, 1, T]; by singular values.

    Returns:
        The mean over the rows of |y - t|^2.
    """
    outputs, seen = model.output.weight.shape
    A, D = np.hsplit(np.asarray(sums["R"]), [-outputs])
    penalty = math.sqrt(ridge) * np.eye(seen, seen + 1)
    found = np.linalg.lstsq(np.vstack([A, penalty]), np.vstack([D, np.zeros((seen, outputs))]), rcond=None)[0]
    for name, values in (("weight", found[:-1].T), ("bias", found[-1])):
        parameter = getattr(model.output, name)
        parameter.data = B.asarray(values, dtype=parameter.dtype)
    return float(np.square(A @ found - D).sum() / max(float(sums["N"]), 1.0))


def fit(model: EchoState, x: Any, targets: Any, ridge: float = 0.0) -> EchoState:
    """Solve for whole sequences in one call: x (batch, time, inputs), targets as for `loss`; return the model."""
    zeros = {name: Tensor(B.asarray(a)) for name, a in begin_rows(model, ridge).items()}
    dtype = model.output.weight.dtype
    with no_grad():
        sums = absorb(model, zeros, Tensor(B.asarray(x, dtype=dtype)), Tensor(B.asarray(targets, dtype=dtype)))
    solve(model, {name: np.asarray(t.data) for name, t in sums.items()}, ridge)
    return model
