"""The spiking network of snntorch's Leaky neurons, with its own latency code, spike counts and surrogate gradients."""

from collections.abc import Iterator
from typing import Any

import torch
from snntorch import Leaky, functional, spikegen, surrogate
from torch import Tensor, nn

LIBRARY = "snntorch"


class ATan(surrogate.ATan):
    """The library's, with spikes in the membrane's dtype: its own are float32 and round the gradient."""

    @staticmethod
    def forward(ctx: Any, u: Tensor, alpha: float) -> Tensor:
        return surrogate.ATan.forward(ctx, u, alpha).to(u.dtype)


class FastSigmoid(surrogate.FastSigmoid):
    """As ATan."""

    @staticmethod
    def forward(ctx: Any, u: Tensor, slope: float) -> Tensor:
        return surrogate.FastSigmoid.forward(ctx, u, slope).to(u.dtype)


SPIKES: dict[str, tuple[Any, float]] = {"atan": (ATan, 2.0), "fast_sigmoid": (FastSigmoid, 25.0)}


def ships(learning: str = "surrogate", coding: str = "direct", **_: Any) -> bool:
    """Return True for the network that learns by gradients; the library's rate code is random."""
    return learning == "surrogate" and coding != "rate"


def neuron(beta: float, threshold: float, reset: str, kind: str, slope: float | None) -> Leaky:
    """A Leaky whose reset comes one step late, as its default is; constants that we have no buffers for are attributes."""
    function, usual = SPIKES[kind]
    steepness = usual if slope is None else slope
    leaky = Leaky(beta, threshold, spike_grad=lambda u: function.apply(u, steepness), reset_mechanism=reset)
    for constant in ("graded_spikes_factor", "reset_mechanism_val"):
        value = leaky._buffers.pop(constant)
        setattr(leaky, constant, value)
    return leaky


class Net(nn.Module):
    """The network of the library's fifth tutorial."""

    def __init__(self, features: int, classes: int, hidden: int, lif1: Leaky, lif2: Leaky) -> None:
        super().__init__()
        self.fc1, self.lif1 = nn.Linear(features, hidden), lif1
        self.fc2, self.lif2 = nn.Linear(hidden, classes), lif2

    def inputs(self, x: Tensor) -> Iterator[Tensor]:
        if self.coding == "direct":
            return iter([x] * self.steps)
        p = x.clamp(0, 1)
        spikes = spikegen.latency(p, num_steps=self.steps, normalize=True, linear=True, threshold=1e-9, clip=True)
        return iter(spikes.to(x.dtype))

    def layers(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Output spikes and membranes, (steps, batch, classes)."""
        hidden, output = self.lif1.reset_mem(), self.lif2.reset_mem()
        spikes, membranes = [], []
        for now in self.inputs(x.flatten(1)):
            fired, hidden = self.lif1(self.fc1(now), hidden)
            out, output = self.lif2(self.fc2(fired), output)
            spikes.append(out)
            membranes.append(output)
        return torch.stack(spikes), torch.stack(membranes)

    def forward(self, x: Tensor) -> Tensor:
        spikes, membranes = self.layers(x)
        return spikes.sum(0) if self.readout == "count" else membranes.amax(0)


def build(
    features: int = 784, classes: int = 10, hidden: int = 100, steps: int = 25, beta: float = 0.9, threshold: float = 1.0,
    surrogate: str = "atan", slope: float | None = None, reset: str = "subtract", coding: str = "direct",
    readout: str = "count", **_: Any,
) -> Net:  # fmt: skip
    """The model that recipe.py's options describe."""
    last = "none" if readout == "membrane" else reset
    parts = [neuron(beta, threshold, kind, surrogate, slope) for kind in (reset, last)]
    model = Net(features, classes, hidden, *parts)
    model.steps, model.coding, model.readout = steps, coding, readout
    return model


def loss(model: Net, x: Tensor, targets: Tensor) -> Tensor:
    """The library's losses of counts, and of greatest membranes."""
    spikes, membranes = model.layers(x)
    found: Tensor = (
        functional.ce_count_loss()(spikes, targets)
        if model.readout == "count"
        else functional.ce_max_membrane_loss()(membranes, targets)
    )
    return found
