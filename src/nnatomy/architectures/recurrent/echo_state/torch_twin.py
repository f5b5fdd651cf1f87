"""The echo state network in PyTorch: an independent twin, written from Jaeger (2001) and Jaeger et al. (2007).
It shares nothing with the architecture's model but the names and shapes of its state."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

RIDGE = 0.1


class Reservoir(nn.Module):
    """r <- (1 - a) r + a tanh(W r + V x + bias), nothing of which is trained; V is Win, or Wfb where outputs drive it."""

    W: Tensor
    bias: Tensor

    def __init__(self, inputs: int, units: int, leak: float, feedback: bool) -> None:
        super().__init__()
        self.leak, self.driver = leak, "Wfb" if feedback else "Win"
        self.register_buffer("W", torch.randn(units, units) / units**0.5)
        self.register_buffer(self.driver, 2 * torch.rand(units, inputs) - 1)
        self.register_buffer("bias", torch.zeros(units))

    def forward(self, x: Tensor, r: Tensor) -> Tensor:
        new = torch.tanh(F.linear(r, self.W) + F.linear(x, getattr(self, self.driver), self.bias))
        return torch.lerp(r, new, self.leak)


class EchoState(nn.Module):
    """A linear read-out of the reservoir's states."""

    def __init__(
        self, inputs: int, hidden: int, outputs: int, readout: str, washout: int, feedback: bool, horizon: int, direct: bool,
        leak: float,
    ) -> None:  # fmt: skip
        super().__init__()
        self.readout, self.washout, self.feedback, self.horizon, self.direct = readout, washout, feedback, horizon, direct
        self.reservoir = Reservoir(inputs, hidden, leak, feedback)
        self.output = nn.Linear(hidden + inputs if direct else hidden, outputs)
        self.seen: list[tuple[Tensor, Tensor]] = []

    def run(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Inputs of the read-out in each step, (batch, time, N or N + D), and the last state."""
        r, states = x.new_zeros(len(x), self.reservoir.W.shape[0]), []
        for step in x.unbind(1):
            r = self.reservoir(step, r)
            states.append(self.shown(r, step))
        return torch.stack(states, 1), r

    def shown(self, r: Tensor, x: Tensor) -> Tensor:
        return torch.cat([r, x], 1) if self.direct else r

    def forward(self, x: Tensor) -> Tensor:
        states, r = self.run(x)
        if not self.feedback:
            return self.output(states if self.readout == "each" else states[:, -1])
        outputs = [self.output(states[:, -1])]
        while len(outputs) < self.horizon:
            r = self.reservoir(outputs[-1], r)
            outputs.append(self.output(self.shown(r, outputs[-1])))
        return torch.stack(outputs, 1)


def build(
    inputs: int,
    hidden: int,
    outputs: int,
    readout: str = "last",
    washout: int = 0,
    feedback: bool = False,
    horizon: int = 1,
    direct: bool = False,
    radius: float = 0.9,
    leak: float = 1.0,
    connectivity: float = 0.1,
    input_scale: float = 1.0,
    bias_scale: float = 0.0,
) -> EchoState:
    """The network; how its reservoir is drawn does not matter, since states are loaded."""
    if readout not in ("last", "each"):
        raise ValueError(f"readout is 'last' or 'each'. Received {readout!r}. Use readout='last'.")
    if feedback and inputs != outputs:
        raise ValueError(f"A network driven by its own outputs has inputs=outputs. Received {inputs} and {outputs}.")
    return EchoState(inputs, hidden, outputs, readout, washout, feedback, horizon, direct, leak)


def loss(model: EchoState, x: Tensor, targets: Tensor) -> Tensor:
    """Mean squared error; with an output for each step, those of the washout do not count."""
    y = model(x)
    errors = y - targets.reshape(y.shape)
    return (errors[:, model.washout :] if model.readout == "each" and not model.feedback else errors).square().mean()


@torch.no_grad()  # type: ignore[untyped-decorator]
def learn(model: EchoState, progress: float, x: Tensor, targets: Tensor) -> None:
    """Ridge regression of the targets on the states seen since progress was 0; centered, so that the bias is free."""
    if progress == 0:
        model.seen = []
    states, _ = model.run(x)
    columns = model.output.out_features
    if model.feedback:
        model.seen.append((states[:, -1], targets[:, 0]))
    elif model.readout == "last":
        model.seen.append((states[:, -1], targets.reshape(len(x), columns)))
    else:
        model.seen.append((states[:, model.washout :].flatten(0, 1), targets[:, model.washout :].flatten(0, 1)))
    h, t = (torch.cat(parts).double() for parts in zip(*model.seen))
    h0, t0 = h - h.mean(0), t - t.mean(0)
    weight = torch.linalg.solve(h0.T @ h0 + RIDGE * torch.eye(h.shape[1], dtype=h.dtype), h0.T @ t0).T
    model.output.weight.copy_(weight)
    model.output.bias.copy_(t.mean(0) - weight @ h.mean(0))
