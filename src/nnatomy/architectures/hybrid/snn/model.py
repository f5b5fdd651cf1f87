"""Spiking neural networks: neurons that integrate a current, leak, and send a spike when a threshold is passed.

Here are the neuron, the spike with its surrogate gradient, three codes for the inputs, a network of two layers that learns by
gradients, and a layer that learns by spike timing alone. Training by the project's loop is in recipe.py, the theory in page.md.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np
import numpy.typing as npt

from nnatomy import init, ops, random
from nnatomy.backends import B
from nnatomy.errors import UserError, unknown_name
from nnatomy.functional import cross_entropy, rows_that_count
from nnatomy.layers import Linear
from nnatomy.layers.module import Module
from nnatomy.ops.indexing import one_hot
from nnatomy.tensor import Parameter, Tensor
from nnatomy.typing import Float

if TYPE_CHECKING:
    from nnatomy.data.dataset import Split

Array = npt.NDArray[Any]

LEARNING, RESETS, READOUTS = ("surrogate", "stdp"), ("subtract", "zero", "none"), ("count", "membrane")

# The spike


def atan(u: Any, alpha: float) -> Any:
    """(alpha / 2) / (1 + (pi alpha u / 2)^2), the slope of arctan(pi alpha u / 2) / pi. Source: Fang et al. (2021)."""
    return alpha / 2 / (1 + (math.pi / 2 * alpha * u).square())


def fast_sigmoid(u: Any, k: float) -> Any:
    """1 / (1 + k |u|)^2, the slope of u / (1 + k |u|). Source: Zenke and Ganguli (2018)."""
    return 1 / (1 + k * u.abs()).square()


SURROGATES: Mapping[str, tuple[Callable[[Any, float], Any], float]] = {
    "atan": (atan, 2.0),
    "fast_sigmoid": (fast_sigmoid, 25.0),
}
"""The slope that stands in for the step's, and its usual steepness."""


def spike(u: Tensor, surrogate: str = "atan", slope: float | None = None) -> Tensor:
    """Return 1 where u > 0, else 0; its gradient is the surrogate's.

    A step is flat, so no gradient passes it. The line H(u0) + h(u0) (u - u0) through the point u0 = u, which has the slope h of
    the surrogate, has exactly the step's value there.

    Source: Neftci, Mostafa and Zenke (2019), section "Surrogate gradients".
    """
    u0 = u.detach()
    step = (u0 > 0).astype(u.dtype)
    if not u.requires_grad:
        return step
    h, usual = SURROGATES[surrogate]
    return step + h(u0, usual if slope is None else slope) * (u - u0)  # type: ignore[no-any-return]


# The neuron


class LIF(Module):
    """Leaky integrate-and-fire neurons: U_t = beta U_(t-1) + I_t - S_(t-1) threshold, and a spike S_t where U_t > threshold.

    The reset follows the spike by one step, so U_t shows by how much the threshold was passed. No gradient goes through it.
    Buffers: beta (), threshold () or (neurons).

    Args:
        beta: fraction of the membrane that is left after a step without input, e^(-dt / tau)
        threshold: membrane above which the neuron spikes
        reset: "subtract": as above; "zero": U_t = beta (1 - S_(t-1)) U_(t-1) + I_t; "none": spikes change nothing
        surrogate, slope: of `spike`

    Source: Lapicque (1907); Eshraghian et al. (2023), equation 4.
    """

    def __init__(
        self,
        beta: float = 0.9,
        threshold: Any = 1.0,
        reset: str = "subtract",
        surrogate: str = "atan",
        slope: float | None = None,
    ) -> None:
        if reset not in RESETS:
            raise unknown_name("reset", reset, RESETS)
        if surrogate not in SURROGATES:
            raise unknown_name("surrogate", surrogate, SURROGATES)
        if not 0 <= beta <= 1:
            raise UserError(f"The decay beta is a number from 0 to 1. Received {beta!r}. Use beta=0.9.")
        if not np.all(np.asarray(threshold) > 0) or (slope is not None and not slope > 0):
            raise UserError(
                f"The threshold and the slope of a surrogate are positive. Received {threshold!r} and {slope!r}. "
                "Use threshold=1.0."
            )
        self.reset, self.surrogate, self.slope = reset, surrogate, slope
        self.beta = Tensor(B.asarray(beta, dtype="float32"))
        self.threshold = Tensor(B.asarray(threshold, dtype="float32"))

    def forward(
        self, current: Float[Tensor, "batch neurons"], before: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Float[Tensor, "batch neurons"], Float[Tensor, "batch neurons"]]:
        """Return spikes and membrane after one step, from those `before` it; at first both are 0."""
        membrane = current
        if before is not None:
            spikes, left = before[0].detach(), before[1]
            if self.reset == "zero":
                left = left * (1 - spikes)
            membrane = self.beta * left + current
            if self.reset == "subtract":
                membrane = membrane - spikes * self.threshold
        return spike(membrane - self.threshold, self.surrogate, self.slope), membrane


# The codes: p (batch, features) in [0, 1] as the inputs of each step


def direct(p: Tensor, steps: int, training: bool) -> Iterator[Tensor]:
    """The numbers themselves at every step: a constant current; they need not be in [0, 1]."""
    return iter([p] * steps)


def rate(p: Tensor, steps: int, training: bool) -> Iterator[Tensor]:
    """A spike with probability p at each step in training; else floor(t p) - floor((t - 1) p), evenly spaced.

    Both have p spikes a step on average. Without chance, a prediction is the same each time.
    """
    if training:
        drawn = random.default.uniform((p.shape[0], steps, p.shape[1]), dtype=p.dtype)  # by example: padding changes nothing
        return ((p > Tensor(drawn[:, t])).astype(p.dtype) for t in range(steps))
    return (ops.floor((t + 1) * p) - ops.floor(t * p) for t in range(steps))


def latency(p: Tensor, steps: int, training: bool) -> Iterator[Tensor]:
    """One spike, the earlier the larger p is: at step floor((1 - p)(T - 1) + 1/2), counted from 0; none where p is 0."""
    at = ops.where(p > 0, ops.floor((1 - p) * (steps - 1) + 0.5), -1.0)
    return ((at == t).astype(p.dtype) for t in range(steps))


CODES: Mapping[str, Callable[[Tensor, int, bool], Iterator[Tensor]]] = {"direct": direct, "rate": rate, "latency": latency}


def intensities(x: Float[Tensor, "batch ..."], mean: Array, std: Array) -> Float[Tensor, "batch features"]:
    """Undo the standardization of pixels, x std + mean by channel, and keep the result in [0, 1]."""
    scale, shift = (values.astype(x.dtype).reshape(-1, *(1,) * (x.ndim - 2)) for values in (std, mean))
    return ops.clip(x * Tensor(scale) + Tensor(shift), 0.0, 1.0).flatten(1)  # type: ignore[no-any-return]


# The network that learns by surrogate gradients


class Moment(NamedTuple):
    """Inputs, spikes and membranes of both layers at one time step, each (batch, its neurons)."""

    inputs: Tensor
    hidden: Tensor
    hidden_membrane: Tensor
    output: Tensor
    output_membrane: Tensor


class SNN(Module):
    """Two layers of LIF neurons over `steps` time steps; class scores are spike counts, or the greatest membranes.

    Args:
        features: numbers in an example; images are flattened
        classes, hidden: neurons of the two layers
        steps: T
        beta, threshold, surrogate, slope, reset: of the neurons
        coding: one of CODES
        readout: "count": spikes of each output neuron; "membrane": its greatest membrane, and then it neither fires nor resets
        mean, std: of pixels that were standardized, for the codes of numbers in [0, 1]; one, or one a channel
    """

    def __init__(
        self, features: int, classes: int, hidden: int, steps: int, beta: float, threshold: float, surrogate: str,
        slope: float | None, reset: str, coding: str, readout: str, mean: Sequence[float], std: Sequence[float],
    ) -> None:  # fmt: skip
        if coding not in CODES:
            raise unknown_name("coding", coding, CODES)
        if readout not in READOUTS:
            raise unknown_name("readout", readout, READOUTS)
        self.steps, self.coding, self.readout = steps, coding, readout
        self.mean, self.std = np.array(mean), np.array(std)
        self.fc1 = Linear(features, hidden)
        self.lif1 = LIF(beta, threshold, reset, surrogate, slope)
        self.fc2 = Linear(hidden, classes)
        self.lif2 = LIF(beta, threshold, "none" if readout == "membrane" else reset, surrogate, slope)

    def forward(self, x: Float[Tensor, "batch ..."]) -> Float[Tensor, "batch classes"]:
        """Return the class scores."""
        moments = list(self.path(x))
        if self.readout == "membrane":
            return ops.stack([moment.output_membrane for moment in moments]).max(axis=0)  # type: ignore[no-any-return]
        return ops.stack([moment.output for moment in moments]).sum(axis=0)  # type: ignore[no-any-return]

    def path(self, x: Float[Tensor, "batch ..."]) -> Iterator[Moment]:
        """Yield what happens at each time step."""
        p = x.flatten(1) if self.coding == "direct" else intensities(x, self.mean, self.std)
        constant = self.fc1(p) if self.coding == "direct" else None  # the same current at all steps
        hidden = output = None
        for inputs in CODES[self.coding](p, self.steps, self.training):
            hidden = self.lif1(self.fc1(inputs) if constant is None else constant, hidden)
            output = self.lif2(self.fc2(hidden[0]), output)
            yield Moment(inputs, *hidden, *output)


# The layer that learns by spike timing


class STDPLayer(Module):
    """LIF neurons that see each number p as an ON input p and an OFF input 1 - p, both by latency; the first to fire wins.

    `weight` (neurons, 2 features) stays in [0, 1]. `lif.threshold` (neurons) moves so that all neurons win alike often.
    `labels` (neurons, 1) are class ids, at first in turn: a buffer that `label_neurons` fills.

    Source: Diehl and Cook (2015), for one spike an example; ON and OFF inputs as in Masquelier and Thorpe (2007).
    """

    def __init__(
        self, features: int, classes: int, neurons: int, steps: int, beta: float, threshold: float, mean: Sequence[float],
        std: Sequence[float],
    ) -> None:  # fmt: skip
        self.classes, self.steps = classes, steps
        self.mean, self.std = np.array(mean), np.array(std)
        self.weight = Parameter(init.uniform((neurons, 2 * features), 0.0, 1.0))
        self.lif = LIF(beta, np.full(neurons, threshold), "none")
        self.labels = Tensor(B.asarray(np.arange(neurons)[:, None] % classes, dtype="float32"))

    def path(self, x: Float[Tensor, "batch ..."]) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield input spikes (batch, 2 features), and by how much each membrane passes its threshold, (batch, neurons)."""
        p = intensities(x, self.mean, self.std)
        state = None
        for spikes in latency(ops.concatenate([p, 1 - p], axis=1), self.steps, self.training):
            state = self.lif(spikes @ self.weight.T, state)
            yield spikes, state[1] - self.lif.threshold

    def responses(self, x: Float[Tensor, "batch ..."]) -> Float[Tensor, "batch neurons"]:
        """Return the greatest excess of each neuron, up to the step at which the layer's first spike inhibits all others."""
        (_, r), *later = self.path(x)
        for _, excess in later:
            r = ops.where(r.max(axis=1, keepdims=True) > 0, r, ops.maximum(r, excess))
        return r

    def forward(self, x: Float[Tensor, "batch ..."]) -> Float[Tensor, "batch classes"]:
        """Return class scores: the response of the best neuron with that label; 1 below the worst neuron where none has it."""
        r = self.responses(x)
        own = self.labels == Tensor(B.arange(self.classes)).astype(self.labels.dtype)  # (neurons, classes)
        none = r.min(axis=1, keepdims=True) - 1
        return ops.where(own, r.reshape(*r.shape, 1), none.reshape(-1, 1, 1)).max(axis=1)  # type: ignore[no-any-return]


def stdp(
    model: STDPLayer, progress: Any, x: Tensor, *targets: Tensor, a_plus: float = 0.2, a_minus: float = 0.2, trace: float = 0.9,
    homeostasis: float = 2.0,
) -> Tensor:  # fmt: skip
    """Present a batch, change the weights by spike timing, and return the loss of `loss` before.

    An input spike n >= 0 steps before the neuron's own moves the weight toward 1 by a_plus trace^n (1 - w), one that comes
    n >= 1 steps after it toward 0 by a_minus trace^(n-1) w. The traces keep these sums as time passes. Then each threshold
    moves by `homeostasis` times the neuron's wins an example, less 1 / neurons, the wins that it should have.

    Args:
        progress, targets: not looked at, but for the loss
        x: examples (batch, ...)

    Source: Song, Miller and Abbott (2000); Morrison, Diesmann and Gerstner (2008), section 4.1.
    """
    if not (0 <= trace <= 1 and min(a_plus, a_minus, homeostasis) >= 0):
        raise UserError(
            f"trace is from 0 to 1, the rates are not negative. Received {trace}, {a_plus}, {a_minus} and {homeostasis}. "
            "Use trace=0.9, a_plus=0.2, a_minus=0.2 and homeostasis=2.0."
        )
    before, _ = loss(model, x, *targets)
    rows, neurons = x.shape[0], model.weight.shape[0]
    kept = rows_that_count(x.flatten(1))
    free = Tensor(B.ones((rows, 1), dtype=x.dtype))  # 1 until a neuron has fired, then all are inhibited
    free = free if kept is None else ops.where(kept, free, 0.0)
    examples = free.sum()
    post, pre, causal, acausal, wins = Tensor(B.zeros((rows, neurons), dtype=x.dtype)), *[cast(Any, 0.0)] * 4
    for spikes, excess in model.path(x):
        first = one_hot(excess.argmax(axis=1), neurons, dtype=x.dtype) * free
        fired = ops.where(excess > 0, first, 0.0)
        free = free - fired.sum(axis=1, keepdims=True)
        pre = trace * pre + spikes
        causal, acausal = causal + fired.T @ pre, acausal + post.T @ spikes  # (neurons, 2 features)
        post = trace * post + fired
        wins = wins + fired.sum(axis=0)
    w = model.weight
    w.copy_(ops.clip(w + a_plus * (1 - w) * causal - a_minus * w * acausal, 0.0, 1.0).astype(w.dtype))
    threshold = model.lif.threshold
    threshold.copy_((threshold + homeostasis * (wins / examples - 1 / neurons)).astype(threshold.dtype))
    return before


def label_neurons(model: STDPLayer, split: Split) -> None:
    """Give each neuron the class whose examples it wins most, of equally many the first; -1 to one that wins none."""
    votes = np.zeros((len(model.weight), model.classes))
    for start in range(0, len(split), 256):
        x, classes = split.take(np.arange(start, min(start + 256, len(split))))[:2]
        best = np.asarray(model.responses(Tensor(B.asarray(x, dtype=model.weight.dtype))).data).argmax(axis=1)
        np.add.at(votes, (best, classes), 1)
    labels = np.where(votes.sum(axis=1) > 0, votes.argmax(axis=1), -1)
    model.labels.data = B.asarray(labels[:, None], dtype=model.labels.dtype)


# Both


def build(
    learning: str = "surrogate", features: int = 784, classes: int = 10, hidden: int = 100, steps: int = 25, beta: float = 0.9,
    threshold: float = 1.0, surrogate: str = "atan", slope: float | None = None, reset: str = "subtract",
    coding: str = "direct", readout: str = "count", mean: Sequence[float] = (0.0,), std: Sequence[float] = (1.0,),
) -> SNN | STDPLayer:  # fmt: skip
    """Return a network from plain values: "surrogate" for `SNN`, "stdp" for `STDPLayer` with `hidden` neurons.

    The options from `surrogate` to `readout` are of the first alone. Raises UserError for sizes below 1 and unknown names.
    """
    if learning not in LEARNING:
        raise unknown_name("kind of learning", learning, LEARNING)
    if min(features, classes, hidden, steps) < 1:
        raise UserError(
            f"All sizes of a spiking network are at least 1. Received features {features}, classes {classes}, hidden {hidden} "
            f"and steps {steps}. Use hidden=100 and steps=25."
        )
    if learning == "stdp":
        return STDPLayer(features, classes, hidden, steps, beta, threshold, mean, std)
    return SNN(features, classes, hidden, steps, beta, threshold, surrogate, slope, reset, coding, readout, mean, std)


def loss(model: SNN | STDPLayer, x: Float[Tensor, "batch ..."], targets: Tensor) -> tuple[Float[Tensor, ""], Tensor]:
    """Return the mean cross-entropy of the class scores, and the scores."""
    scores = model(x)
    return cross_entropy(scores, targets), scores
