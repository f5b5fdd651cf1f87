"""Spiking networks in PyTorch: an independent twin, written from Neftci, Mostafa and Zenke (2019) for surrogate gradients,
and from Morrison, Diesmann and Gerstner (2008) and Diehl and Cook (2015) for learning by the times of spikes.
It shares nothing with the architecture's model but the names and shapes of its state."""

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Spike(torch.autograd.Function):
    """1 where u > 0, else 0; backward the derivative of a soft step in place of the derivative, which is 0."""

    @staticmethod
    def forward(ctx: Any, u: Tensor, surrogate: str, slope: float) -> Tensor:
        ctx.save_for_backward(u)
        ctx.surrogate, ctx.slope = surrogate, slope
        return (u > 0).to(u.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        (u,) = ctx.saved_tensors
        if ctx.surrogate == "atan":
            slope = ctx.slope / 2 / (1 + (math.pi / 2 * ctx.slope * u).square())
        else:
            slope = (1 + ctx.slope * u.abs()).pow(-2)
        return grads[0] * slope, None, None


class LIF(nn.Module):
    """The decay and the threshold of leaky integrate-and-fire neurons, as buffers."""

    beta: Tensor
    threshold: Tensor

    def __init__(self, beta: float, threshold: Tensor) -> None:
        super().__init__()
        self.register_buffer("beta", torch.tensor(beta))
        self.register_buffer("threshold", threshold)

    def charge(self, u: Tensor, fired: Tensor, current: Tensor, reset: str) -> Tensor:
        """The membrane one step later; the reset has no gradient."""
        fired = fired.detach()
        if reset == "zero":
            return self.beta * (1 - fired) * u + current
        u = self.beta * u + current
        return u - fired * self.threshold if reset == "subtract" else u


class Pixels(nn.Module):
    """Numbers between 0 and 1, from standardized ones, and their spikes in time."""

    def __init__(self, steps: int, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.steps, self.mean, self.std = steps, tuple(mean), tuple(std)

    def unit(self, x: Tensor) -> Tensor:
        mean, std = x.new_tensor(self.mean), x.new_tensor(self.std)
        if x.ndim > 2:
            mean, std = (value.reshape(-1, *[1] * (x.ndim - 2)) for value in (mean, std))
        return (x * std + mean).clamp(0, 1).flatten(1)

    def latency(self, p: Tensor) -> list[Tensor]:
        """One spike each, the earlier the greater the number; none for 0."""
        when = ((1 - p) * (self.steps - 1) + 0.5).floor()
        return [((when == t) & (p > 0)).to(p.dtype) for t in range(self.steps)]

    def rate(self, p: Tensor) -> list[Tensor]:
        """As many spikes in a unit of time as the number says: by chance in training, else evenly spaced."""
        if self.training:
            return [torch.bernoulli(p) for _ in range(self.steps)]
        return [(t * p).floor() - ((t - 1) * p).floor() for t in range(1, self.steps + 1)]


class Surrogate(nn.Module):
    """Two layers of spiking neurons; output spikes are counted, or the greatest membranes are read."""

    def __init__(
        self, features: int, classes: int, hidden: int, beta: float, threshold: float, surrogate: str, slope: float,
        reset: str, coding: str, readout: str, pixels: Pixels,
    ) -> None:  # fmt: skip
        super().__init__()
        self.surrogate, self.slope, self.reset, self.coding, self.readout = surrogate, slope, reset, coding, readout
        self.pixels = pixels
        self.fc1, self.lif1 = nn.Linear(features, hidden), LIF(beta, torch.tensor(threshold))
        self.fc2, self.lif2 = nn.Linear(hidden, classes), LIF(beta, torch.tensor(threshold))

    def inputs(self, x: Tensor) -> list[Tensor]:
        if self.coding == "direct":
            return [x.flatten(1)] * self.pixels.steps
        p = self.pixels.unit(x)
        return self.pixels.latency(p) if self.coding == "latency" else self.pixels.rate(p)

    def fire(self, u: Tensor, lif: LIF) -> Tensor:
        spikes: Tensor = Spike.apply(u - lif.threshold, self.surrogate, self.slope)
        return spikes

    def forward(self, x: Tensor) -> Tensor:
        u1 = s1 = x.new_zeros(len(x), self.fc1.out_features)
        u2 = s2 = x.new_zeros(len(x), self.fc2.out_features)
        counts, membranes = u2, []
        for given in self.inputs(x):
            u1 = self.lif1.charge(u1, s1, self.fc1(given), self.reset)
            s1 = self.fire(u1, self.lif1)
            u2 = self.lif2.charge(u2, s2, self.fc2(s1), self.reset if self.readout == "count" else "none")
            if self.readout == "count":
                s2 = self.fire(u2, self.lif2)
                counts = counts + s2
            membranes.append(u2)
        return counts if self.readout == "count" else torch.stack(membranes).amax(0)


class Competition(nn.Module):
    """One layer of neurons that see numbers and their opposites, and have a class each."""

    labels: Tensor

    def __init__(self, features: int, classes: int, hidden: int, beta: float, threshold: float, pixels: Pixels) -> None:
        super().__init__()
        self.classes, self.pixels = classes, pixels
        self.weight = nn.Parameter(torch.rand(hidden, 2 * features))
        self.lif = LIF(beta, torch.full((hidden,), threshold))
        self.register_buffer("labels", (torch.arange(hidden) % classes).to(self.weight.dtype)[:, None])

    def spikes(self, x: Tensor) -> list[Tensor]:
        p = self.pixels.unit(x)
        return self.pixels.latency(torch.cat([p, 1 - p], dim=1))

    def excesses(self, spikes: list[Tensor]) -> list[Tensor]:
        """How far each membrane is above its threshold, at each step."""
        u, found = torch.zeros(len(self.weight), dtype=self.weight.dtype), []
        for s in spikes:
            u = self.lif.beta * u + F.linear(s, self.weight)
            found.append(u - self.lif.threshold)
        return found

    def forward(self, x: Tensor) -> Tensor:
        first, *later = self.excesses(self.spikes(x))
        r = first
        for e in later:
            r = torch.where((r > 0).any(1, keepdim=True), r, torch.maximum(r, e))
        scores = []
        for c in range(self.classes):
            own = self.labels[:, 0] == c
            scores.append(r[:, own].amax(1) if own.any() else r.amin(1) - 1)
        return torch.stack(scores, dim=1)


def build(
    learning: str = "surrogate",
    features: int = 784,
    classes: int = 10,
    hidden: int = 100,
    steps: int = 25,
    beta: float = 0.9,
    threshold: float = 1.0,
    surrogate: str = "atan",
    slope: float | None = None,
    reset: str = "subtract",
    coding: str = "direct",
    readout: str = "count",
    mean: Sequence[float] = (0.0,),
    std: Sequence[float] = (1.0,),
) -> Surrogate | Competition:
    """The network with PyTorch's own initial weights."""
    allowed = {
        "learning": (learning, ("surrogate", "stdp")),
        "surrogate": (surrogate, ("atan", "fast_sigmoid")),
        "reset": (reset, ("subtract", "zero", "none")),
        "coding": (coding, ("direct", "rate", "latency")),
        "readout": (readout, ("count", "membrane")),
    }
    for name, (value, values) in allowed.items():
        if value not in values:
            raise ValueError(f"{name} is one of {values}. Received {value!r}. Use {name}={values[0]!r}.")
    pixels = Pixels(steps, mean, std)
    if learning == "stdp":
        return Competition(features, classes, hidden, beta, threshold, pixels)
    steepness = slope if slope is not None else 2.0 if surrogate == "atan" else 25.0
    return Surrogate(features, classes, hidden, beta, threshold, surrogate, steepness, reset, coding, readout, pixels)


def loss(model: nn.Module, x: Tensor, targets: Tensor) -> Tensor:
    """Mean cross-entropy of the counts, membranes or responses."""
    return F.cross_entropy(model(x), targets)


@torch.no_grad()  # type: ignore[untyped-decorator]
def learn(
    model: Competition, progress: float, x: Tensor, targets: Tensor, a_plus: float = 0.2, a_minus: float = 0.2,
    trace: float = 0.9, homeostasis: float = 2.0,
) -> None:  # fmt: skip
    """Show a batch once: the first neuron to fire in each example moves toward what came before, away from what follows."""
    spikes = model.spikes(x)
    batch, hidden = len(x), len(model.weight)
    pre, post = torch.zeros_like(spikes[0]), model.weight.new_zeros(batch, hidden)
    before, after = torch.zeros_like(model.weight), torch.zeros_like(model.weight)
    done, fired = torch.zeros(batch, dtype=torch.bool), torch.zeros_like(model.lif.threshold)
    for s, excess in zip(spikes, model.excesses(spikes), strict=True):
        best, winner = excess.max(1)
        now = ~done & (best > 0)
        wins = F.one_hot(winner, hidden).to(s.dtype) * now[:, None]
        done |= now
        pre = trace * pre + s
        before += wins.T @ pre
        after += post.T @ s
        post = trace * post + wins
        fired += wins.sum(0)
    change = a_plus * (1 - model.weight) * before - a_minus * model.weight * after
    model.weight.copy_((model.weight + change).clamp(0, 1))
    model.lif.threshold += homeostasis * (fired / batch - 1 / hidden)
