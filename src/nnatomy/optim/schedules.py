"""Learning-rate schedules: schedule(step) is the factor of the base rate at step 0, 1, 2, ...

They are evaluated on the host, in Python floats; a compiled step takes the factor as an input (`optimizer.factor`).
Each is made with the total number of steps first, so that a recipe can hold `partial(Cosine, warmup=100)`. A length inside it
is a number of steps, or below 1 a fraction of the total. After its end a schedule keeps its last value.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, ClassVar, Literal

from nnatomy.errors import UserError


def steps_in(length: float, total: int) -> int:
    """A length as a number of steps: itself from 1 on, a fraction of the total below."""
    return round(length * total) if length < 1 else int(length)


def warmed_up(step: int, warmup: int) -> float:
    """Linear warm-up that starts above 0 and reaches 1 in its last step: (step + 1) / warmup, at most 1."""
    return min((step + 1) / warmup, 1.0) if warmup else 1.0


def annealed(start: float, end: float, part: float) -> float:
    """From `start` to `end` along half a cosine wave while `part` goes from 0 to 1."""
    return end + (start - end) * (1 + math.cos(math.pi * part)) / 2


@dataclass(frozen=True)
class Schedule(ABC):
    """A factor of the base learning rate for each step. Raises UserError for settings out of range."""

    NON_NEGATIVE: ClassVar[tuple[str, ...]] = ("warmup", "end", "start", "gamma", "factor", "power", "growth", "pct_start")
    POSITIVE: ClassVar[tuple[str, ...]] = ("total", "step_size", "cycles", "div_factor", "final_div_factor")

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if name in self.NON_NEGATIVE or name in self.POSITIVE:
                number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
                if not number or value < 0 or (value == 0 and name in self.POSITIVE):
                    rule = "a positive number" if name in self.POSITIVE else "a number >= 0"
                    raise UserError(f"{name} of {type(self).__name__} must be {rule}. Received {value!r}. Give another.")

    @abstractmethod
    def __call__(self, step: int) -> float:
        """The factor at a step, counted from 0."""


@dataclass(frozen=True)
class Constant(Schedule):
    """factor, always."""

    total: int = 1
    factor: float = 1.0

    def __call__(self, step: int) -> float:
        return self.factor


@dataclass(frozen=True)
class StepDecay(Schedule):
    """gamma^floor(step / step_size) (torch's StepLR)."""

    total: int
    step_size: float = 1 / 3
    gamma: float = 0.1

    def __call__(self, step: int) -> float:
        return self.gamma ** (step // max(steps_in(self.step_size, self.total), 1))


@dataclass(frozen=True)
class MultiStep(Schedule):
    """gamma^(number of milestones reached) (torch's MultiStepLR)."""

    total: int
    milestones: tuple[float, ...] = (0.5, 0.75)
    gamma: float = 0.1

    def __call__(self, step: int) -> float:
        reached = [m for m in self.milestones if step >= steps_in(m, self.total)]
        return float(self.gamma ** len(reached))


@dataclass(frozen=True)
class Exponential(Schedule):
    """end^(step / total): by the same ratio at each step (torch's ExponentialLR with gamma = end^(1 / total))."""

    total: int
    end: float = 0.01

    def __call__(self, step: int) -> float:
        return float(self.end ** (min(step, self.total) / self.total))


@dataclass(frozen=True)
class Polynomial(Schedule):
    """end + (1 - end) (1 - x)^power with x = step / total after the linear warm-up (torch's PolynomialLR)."""

    total: int
    power: float = 1.0
    warmup: float = 0
    end: float = 0.0

    def __call__(self, step: int) -> float:
        warmup = steps_in(self.warmup, self.total)
        if step < warmup:
            return warmed_up(step, warmup)
        return float(self.end + (1 - self.end) * (1 - progress(step, warmup, self.total)) ** self.power)


@dataclass(frozen=True)
class Linear(Schedule):
    """start + (end - start) step / total after the linear warm-up (torch's LinearLR)."""

    total: int
    start: float = 1.0
    end: float = 0.0
    warmup: float = 0

    def __call__(self, step: int) -> float:
        warmup = steps_in(self.warmup, self.total)
        if step < warmup:
            return self.start * warmed_up(step, warmup)
        return self.start + (self.end - self.start) * progress(step, warmup, self.total)


@dataclass(frozen=True)
class Cosine(Schedule):
    """From 1 to `end` along half a cosine wave, after a linear warm-up (Loshchilov & Hutter 2017, equation 5, one cycle)."""

    total: int
    warmup: float = 0
    end: float = 0.0

    def __call__(self, step: int) -> float:
        warmup = steps_in(self.warmup, self.total)
        return warmed_up(step, warmup) if step < warmup else annealed(1.0, self.end, progress(step, warmup, self.total))


@dataclass(frozen=True)
class CosineRestarts(Schedule):
    """SGDR: `cycles` cosine waves, each `growth` times as long as the one before (Loshchilov & Hutter 2017).

    torch's CosineAnnealingWarmRestarts with T_mult = growth and T_0 = total / (1 + growth + ... + growth^(cycles - 1)).
    """

    total: int
    cycles: int = 3
    growth: float = 2.0
    end: float = 0.0

    def __call__(self, step: int) -> float:
        lengths = [self.growth**i for i in range(self.cycles)]
        ends = [round(self.total * sum(lengths[: i + 1]) / sum(lengths)) for i in range(self.cycles)]
        for start, end in zip([0, *ends], ends):
            if step < end:
                return annealed(1.0, self.end, (step - start) / (end - start))
        return self.end


@dataclass(frozen=True)
class InverseSquareRoot(Schedule):
    """min(s / warmup, sqrt(warmup / s)) with s = step + 1: the Transformer's (Vaswani et al. 2017, equation 3) with peak 1.

    The paper's rate itself comes with the base rate 1 / sqrt(d_model warmup).
    """

    total: int
    warmup: float = 4000

    def __call__(self, step: int) -> float:
        warmup = max(steps_in(self.warmup, self.total), 1)
        return min((step + 1) / warmup, math.sqrt(warmup / (step + 1)))


@dataclass(frozen=True)
class OneCycle(Schedule):
    """Up from 1 / div_factor to 1, then down to 1 / (div_factor final_div_factor) (Smith & Topin 2018; torch's OneCycleLR).

    The base learning rate is the largest one. Momentum is left alone: cycle_momentum=False in PyTorch's terms.
    """

    total: int
    pct_start: float = 0.3
    anneal_strategy: Literal["cos", "linear"] = "cos"
    div_factor: float = 25.0
    final_div_factor: float = 1e4
    three_phase: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.pct_start > 1:
            raise UserError(f"pct_start of OneCycle must be between 0 and 1. Received {self.pct_start!r}. Try 0.3.")
        if self.anneal_strategy not in ("cos", "linear"):
            raise UserError(f"anneal_strategy must be 'cos' or 'linear'. Received {self.anneal_strategy!r}. Use 'cos'.")

    def __call__(self, step: int) -> float:
        low, rise = 1 / self.div_factor, self.pct_start * self.total
        stops = [(0.0, low), (rise - 1, 1.0)]  # (step, factor); between them it anneals
        stops += [(2 * rise - 2, low)] if self.three_phase else []
        stops += [(float(self.total - 1), low / self.final_div_factor)]
        for (t0, start), (t1, end) in pairwise(stops):
            if step <= t1:
                part = (step - t0) / (t1 - t0) if t1 > t0 else 1.0
                return annealed(start, end, part) if self.anneal_strategy == "cos" else start + (end - start) * part
        return stops[-1][1]


@dataclass(frozen=True)
class Warmup(Schedule):
    """A linear warm-up of `steps` steps, (step + 1) / steps, before another schedule, which then starts from its own step 0."""

    schedule: Schedule
    steps: int

    def __post_init__(self) -> None:
        if self.steps < 0:
            raise UserError(f"steps of Warmup must be at least 0. Received {self.steps}. Use 0 to switch it off.")

    def __call__(self, step: int) -> float:
        return warmed_up(step, self.steps) if step < self.steps else self.schedule(step - self.steps)


@dataclass(frozen=True)
class Piecewise(Schedule):
    """Schedules one after the other, each from its own step 0; the next takes over at a milestone (torch's SequentialLR)."""

    schedules: Sequence[Schedule]
    milestones: Sequence[int]

    def __post_init__(self) -> None:
        if len(self.schedules) != len(self.milestones) + 1 or list(self.milestones) != sorted(self.milestones):
            raise UserError(
                "Piecewise needs one milestone between each two schedules, in rising order. "
                f"Received {len(self.schedules)} schedules and milestones {list(self.milestones)}. Add or sort them."
            )

    def __call__(self, step: int) -> float:
        index = len([m for m in self.milestones if step >= m])
        return self.schedules[index](step - (self.milestones[index - 1] if index else 0))


@dataclass(frozen=True)
class ReduceOnPlateau(Schedule):
    """Times `factor` whenever a metric has not improved for more than `patience` observations (torch's ReduceLROnPlateau).

    The only one with a memory: `observe(metric)` after each evaluation; the step does not matter. `min_factor` is torch's
    min_lr divided by the base rate.
    """

    mode: Literal["min", "max"] = "min"
    factor: float = 0.1
    patience: int = 10
    threshold: float = 1e-4
    threshold_mode: Literal["rel", "abs"] = "rel"
    cooldown: int = 0
    min_factor: float = 0.0
    memory: dict[str, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.mode not in ("min", "max") or self.threshold_mode not in ("rel", "abs"):
            raise UserError(
                "ReduceOnPlateau has modes 'min' and 'max', threshold modes 'rel' and 'abs'. "
                f"Received {self.mode!r} and {self.threshold_mode!r}. Use the defaults 'min' and 'rel'."
            )
        if self.factor >= 1:
            raise UserError(f"factor of ReduceOnPlateau must be below 1. Received {self.factor}. The usual one is 0.1.")
        self.memory.update(current=1.0, best=None, bad=0, resting=0)

    def __call__(self, step: int) -> float:
        return float(self.memory["current"])

    def observe(self, metric: float) -> float:
        """Take note of a metric and return the factor from now on. NaN counts as no improvement."""
        m, metric = self.memory, float(metric)
        if self._better(metric):
            m.update(best=metric, bad=0)
        else:
            m["bad"] += 1
        if m["resting"] > 0:
            m.update(resting=m["resting"] - 1, bad=0)
        if m["bad"] > self.patience:
            m.update(current=max(m["current"] * self.factor, self.min_factor), resting=self.cooldown, bad=0)
        return float(m["current"])

    def _better(self, metric: float) -> bool:
        best = self.memory["best"]
        if best is None:
            return not math.isnan(metric)
        margin = self.threshold * best if self.threshold_mode == "rel" else self.threshold
        return bool(metric < best - margin if self.mode == "min" else metric > best + margin)

    def state_dict(self) -> dict[str, Any]:
        """Return its memory, in plain numbers."""
        return dict(self.memory)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from `state_dict()`; raises UserError where something is missing."""
        if set(state) != set(self.memory):
            raise UserError(
                f"The state of ReduceOnPlateau has {sorted(self.memory)}. Received {sorted(state)}. "
                "Give what state_dict() returned."
            )
        self.memory.update(state)


def progress(step: int, start: int, total: int) -> float:
    """Return the fraction of the way from `start` to `total` that is done, between 0 and 1."""
    return min((step - start) / (total - start), 1.0) if total > start else 1.0
