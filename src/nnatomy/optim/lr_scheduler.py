"""Schedules as objects next to an optimizer, with PyTorch's names: `scheduler = StepLR(optimizer, 30)`, `scheduler.step()`.

Each sets `group["lr"]` of the optimizer's groups, counted in calls of step(). The formulas are those of schedules.py where that
has them; a compiled step reads the rates as its inputs.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal

from nnatomy.errors import UserError
from nnatomy.optim import schedules
from nnatomy.optim.optimizer import Group, Optimizer

__all__ = [
    "ChainedScheduler", "ConstantLR", "CosineAnnealingLR", "CosineAnnealingWarmRestarts", "CyclicLR", "ExponentialLR",
    "LRScheduler", "LambdaLR", "LinearLR", "MultiStepLR", "MultiplicativeLR", "OneCycleLR", "PolynomialLR", "ReduceLROnPlateau",
    "SequentialLR", "StepLR",
]  # fmt: skip


class LRScheduler(ABC):
    """Sets each group's rate to rate(base, t, i) after t calls of step(); base is the rate that the group started with."""

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1) -> None:
        if not isinstance(optimizer, Optimizer):
            raise UserError(f"A schedule needs an optimizer. Received {type(optimizer).__name__}. Give nn.optim.SGD(...), ...")
        self.optimizer = optimizer
        self.base_lrs = [float(group["initial_lr" if "initial_lr" in group else "lr"]) for group in optimizer.param_groups]
        for group, base in zip(optimizer.param_groups, self.base_lrs):
            group["initial_lr"] = base
        self.last_epoch = last_epoch + 1
        self._set()

    @abstractmethod
    def rate(self, base: float, t: int, i: int) -> float:
        """The rate of group i after t steps."""

    def step(self) -> None:
        """Count one epoch, or one step of training, and set the rates that follow it."""
        self.last_epoch += 1
        self._set()

    def _set(self) -> None:
        for i, group in enumerate(self.optimizer.param_groups):
            group["lr"] = self.rate(self.base_lrs[i], self.last_epoch, i)

    def get_last_lr(self) -> list[float]:
        """The rates of the groups now."""
        return [group["lr"] for group in self.optimizer.param_groups]

    def state_dict(self) -> dict[str, Any]:
        """What a later run needs to continue, in plain values that JSON can hold."""
        return {"last_epoch": self.last_epoch, "base_lrs": list(self.base_lrs)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from `state_dict()`."""
        own = self.state_dict()
        if set(state) != set(own):
            raise UserError(
                f"The state of {type(self).__name__} has {sorted(own)}. Received {sorted(state)}. "
                "Load the state of such a schedule."
            )
        self.last_epoch, self.base_lrs = state["last_epoch"], list(state["base_lrs"])
        self._set()


_LRScheduler = LRScheduler


def _each(name: str, value: Any, optimizer: Optimizer) -> list[Any]:
    """One value for each group, from one for all or from as many as there are groups."""
    groups = len(optimizer.param_groups)
    many = list(value) if isinstance(value, list | tuple) else [value] * groups
    if len(many) != groups:
        raise UserError(
            f"{name} must be one value, or {groups}: one for each group. Received {len(many)}. "
            "Give one for each group."
        )
    return many


class LambdaLR(LRScheduler):
    """base times lr_lambda(t); a list has a function for each group."""

    def __init__(
        self, optimizer: Optimizer, lr_lambda: Callable[[int], float] | list[Callable[[int], float]], last_epoch: int = -1
    ) -> None:
        self.lr_lambdas = _each("lr_lambda", lr_lambda, optimizer)
        super().__init__(optimizer, last_epoch)

    def rate(self, base: float, t: int, i: int) -> float:
        return base * float(self.lr_lambdas[i](t))


class MultiplicativeLR(LambdaLR):
    """base times lr_lambda(1) lr_lambda(2) ... lr_lambda(t)."""

    def rate(self, base: float, t: int, i: int) -> float:
        return base * math.prod(float(self.lr_lambdas[i](k)) for k in range(1, t + 1))


class _Scheduled(LRScheduler):
    """base times a schedule of schedules.py, which its class makes before it calls the constructor."""

    schedule: schedules.Schedule

    def rate(self, base: float, t: int, i: int) -> float:
        return base * self.schedule(t)


class StepLR(_Scheduled):
    """base gamma^floor(t / step_size)."""

    def __init__(self, optimizer: Optimizer, step_size: int, gamma: float = 0.1, last_epoch: int = -1) -> None:
        self.schedule = schedules.StepDecay(1, step_size, gamma)
        super().__init__(optimizer, last_epoch)


class MultiStepLR(_Scheduled):
    """base gamma^(number of milestones reached)."""

    def __init__(self, optimizer: Optimizer, milestones: Iterable[int], gamma: float = 0.1, last_epoch: int = -1) -> None:
        self.schedule = schedules.MultiStep(1, tuple(milestones), gamma)
        super().__init__(optimizer, last_epoch)


class ExponentialLR(LRScheduler):
    """base gamma^t."""

    def __init__(self, optimizer: Optimizer, gamma: float, last_epoch: int = -1) -> None:
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def rate(self, base: float, t: int, i: int) -> float:
        return float(base * self.gamma**t)


class ConstantLR(LRScheduler):
    """base times `factor` for the first `total_iters` steps."""

    def __init__(
        self, optimizer: Optimizer, factor: float = 1.0 / 3, total_iters: int = 5, last_epoch: int = -1
    ) -> None:
        self.factor, self.total_iters = factor, total_iters
        super().__init__(optimizer, last_epoch)

    def rate(self, base: float, t: int, i: int) -> float:
        return base * (self.factor if t < self.total_iters else 1.0)


class LinearLR(_Scheduled):
    """base times a factor that goes from `start_factor` to `end_factor` in `total_iters` steps."""

    def __init__(
        self, optimizer: Optimizer, start_factor: float = 1.0 / 3, end_factor: float = 1.0, total_iters: int = 5,
        last_epoch: int = -1,
    ) -> None:  # fmt: skip
        self.schedule = schedules.Linear(total_iters, start_factor, end_factor)
        super().__init__(optimizer, last_epoch)


class PolynomialLR(_Scheduled):
    """base (1 - t / total_iters)^power, then 0."""

    def __init__(self, optimizer: Optimizer, total_iters: int = 5, power: float = 1.0, last_epoch: int = -1) -> None:
        self.schedule = schedules.Polynomial(total_iters, power)
        super().__init__(optimizer, last_epoch)


class CosineAnnealingLR(LRScheduler):
    """eta_min + (base - eta_min) (1 + cos(pi t / T_max)) / 2: half a wave takes T_max steps, and the next one back up."""

    def __init__(self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0, last_epoch: int = -1) -> None:
        self.T_max, self.eta_min = T_max, eta_min
        super().__init__(optimizer, last_epoch)

    def rate(self, base: float, t: int, i: int) -> float:
        return schedules.annealed(base, self.eta_min, t / self.T_max)


class CosineAnnealingWarmRestarts(LRScheduler):
    """Half waves from base to `eta_min` that start again: after T_0 steps, and then each T_mult times as long as the last."""

    def __init__(
        self, optimizer: Optimizer, T_0: int, T_mult: int = 1, eta_min: float = 0.0, last_epoch: int = -1
    ) -> None:
        if T_0 < 1 or T_mult < 1:
            raise UserError(
                f"CosineAnnealingWarmRestarts needs T_0 and T_mult of at least 1. Received {T_0} and {T_mult}. "
                "Use T_0=10 and T_mult=1."
            )
        self.T_0, self.T_mult, self.eta_min = T_0, T_mult, eta_min
        super().__init__(optimizer, last_epoch)

    def rate(self, base: float, t: int, i: int) -> float:
        length = self.T_0
        while t >= length:
            t, length = t - length, length * self.T_mult
        return schedules.annealed(base, self.eta_min, t / length)


class _WithMomentum(LRScheduler):
    """A cycle of the rate and, with `cycle_momentum`, the opposite one of the momentum, or of Adam's first beta."""

    cycle_momentum: bool

    @abstractmethod
    def momentum(self, t: int, i: int) -> float:
        """The momentum of group i after t steps."""

    def _check_momentum(self, optimizer: Optimizer) -> None:
        if self.cycle_momentum and not {"momentum", "betas"} & set(optimizer.defaults):
            raise UserError(
                f"{type(self).__name__} cycles the momentum. Received {type(optimizer).__name__}, which has none. "
                "Give cycle_momentum=False."
            )

    def _set(self) -> None:
        super()._set()
        if self.cycle_momentum:
            for i, group in enumerate(self.optimizer.param_groups):
                _set_momentum(group, self.momentum(self.last_epoch, i))


def _set_momentum(group: Group, value: float) -> None:
    if "betas" in group:
        group["betas"] = (value, *group["betas"][1:])
    else:
        group["momentum"] = value


class CyclicLR(_WithMomentum):
    """From base_lr up to max_lr in `step_size_up` steps, and down in `step_size_down` (Smith 2017).

    Modes: "triangular" repeats, "triangular2" halves the height at each cycle, "exp_range" multiplies it by gamma at each step;
    `scale_fn` of the cycle (from 1) or of the steps ("iterations") takes the place of a mode.
    """

    def __init__(
        self, optimizer: Optimizer, base_lr: float | list[float], max_lr: float | list[float], step_size_up: int = 2000,
        step_size_down: int | None = None, mode: Literal["triangular", "triangular2", "exp_range"] = "triangular",
        gamma: float = 1.0, scale_fn: Callable[[float], float] | None = None,
        scale_mode: Literal["cycle", "iterations"] = "cycle", cycle_momentum: bool = True, base_momentum: float = 0.8,
        max_momentum: float = 0.9, last_epoch: int = -1,
    ) -> None:  # fmt: skip
        if mode not in ("triangular", "triangular2", "exp_range") and scale_fn is None:
            raise UserError(
                f'CyclicLR needs mode "triangular", "triangular2" or "exp_range". Received {mode!r}. '
                'Use mode="triangular".'
            )
        self.lows, self.highs = _each("base_lr", base_lr, optimizer), _each("max_lr", max_lr, optimizer)
        self.up, self.total = float(step_size_up), float(step_size_up) + float(step_size_down or step_size_up)
        self.mode, self.gamma, self.scale_fn = mode, gamma, scale_fn
        self.by_cycle = scale_mode == "cycle" if scale_fn is not None else mode != "exp_range"
        self.cycle_momentum, self.base_momentum, self.max_momentum = cycle_momentum, base_momentum, max_momentum
        self._check_momentum(optimizer)
        super().__init__(optimizer, last_epoch)

    def _height(self, t: int) -> float:
        """How far up the cycle is after t steps, from 0 to 1, times the mode's factor."""
        cycle = math.floor(1 + t / self.total)
        x, rise = 1 + t / self.total - cycle, self.up / self.total
        height = x / rise if x <= rise else (x - 1) / (rise - 1)
        at = cycle if self.by_cycle else t
        if self.scale_fn is not None:
            return height * float(self.scale_fn(at))
        return height * {"triangular": 1.0, "triangular2": 2.0 ** (1 - at), "exp_range": self.gamma**at}[self.mode]

    def rate(self, base: float, t: int, i: int) -> float:
        return float(self.lows[i] + (self.highs[i] - self.lows[i]) * self._height(t))

    def momentum(self, t: int, i: int) -> float:
        return self.max_momentum - (self.max_momentum - self.base_momentum) * self._height(t)


class OneCycleLR(_WithMomentum):
    """One cycle: up from max_lr / div_factor to max_lr, and down to 1 / final_div_factor of the start (Smith & Topin 2018)."""

    def __init__(
        self, optimizer: Optimizer, max_lr: float | list[float], total_steps: int | None = None, epochs: int | None = None,
        steps_per_epoch: int | None = None, pct_start: float = 0.3, anneal_strategy: Literal["cos", "linear"] = "cos",
        cycle_momentum: bool = True, base_momentum: float | list[float] = 0.85, max_momentum: float | list[float] = 0.95,
        div_factor: float = 25.0, final_div_factor: float = 1e4, three_phase: bool = False, last_epoch: int = -1,
    ) -> None:  # fmt: skip
        total = total_steps if total_steps is not None else (epochs or 0) * (steps_per_epoch or 0)
        if total < 1:
            raise UserError("OneCycleLR needs total_steps, or epochs and steps_per_epoch. Received neither. Give total_steps.")
        how: dict[str, Any] = {"pct_start": pct_start, "anneal_strategy": anneal_strategy, "three_phase": three_phase}
        self.schedule = schedules.OneCycle(total, div_factor=div_factor, final_div_factor=final_div_factor, **how)
        self.dip = schedules.OneCycle(total, div_factor=1e300, final_div_factor=1.0, **how)  # from 0 to 1 and back
        self.total, self.highs = total, _each("max_lr", max_lr, optimizer)
        self.cycle_momentum = cycle_momentum
        self.base_momentums = _each("base_momentum", base_momentum, optimizer)
        self.max_momentums = _each("max_momentum", max_momentum, optimizer)
        self._check_momentum(optimizer)
        super().__init__(optimizer, last_epoch)

    def rate(self, base: float, t: int, i: int) -> float:
        if t > self.total:
            raise UserError(f"OneCycleLR has {self.total} steps. Received one more. Give a larger total_steps.")
        return float(self.highs[i] * self.schedule(t))

    def momentum(self, t: int, i: int) -> float:
        return float(self.max_momentums[i] - (self.max_momentums[i] - self.base_momentums[i]) * self.dip(t))


class SequentialLR(LRScheduler):
    """Schedules one after the other, each from its own step 0; the next takes over at a milestone."""

    def __init__(
        self, optimizer: Optimizer, schedulers: list[LRScheduler], milestones: list[int], last_epoch: int = -1
    ) -> None:
        if len(schedulers) != len(milestones) + 1 or list(milestones) != sorted(milestones):
            raise UserError(
                "SequentialLR needs one milestone between each two schedulers, in rising order. "
                f"Received {len(schedulers)} schedulers and milestones {list(milestones)}. Add or sort them."
            )
        self.schedulers, self.milestones = list(schedulers), list(milestones)
        super().__init__(optimizer, last_epoch)

    def rate(self, base: float, t: int, i: int) -> float:
        index = len([m for m in self.milestones if t >= m])
        return self.schedulers[index].rate(base, t - (self.milestones[index - 1] if index else 0), i)


class ChainedScheduler(LRScheduler):
    """Several schedules at the same time: their factors of the base rate are multiplied."""

    def __init__(self, schedulers: Sequence[LRScheduler], optimizer: Optimizer | None = None) -> None:
        if not schedulers:
            raise UserError("ChainedScheduler needs at least one scheduler. Received none. Give [StepLR(...), ...].")
        self.schedulers = list(schedulers)
        super().__init__(optimizer or schedulers[0].optimizer)

    def rate(self, base: float, t: int, i: int) -> float:
        return base * math.prod(s.rate(base, t, i) / base for s in self.schedulers)


class ReduceLROnPlateau:
    """Multiplies the rates by `factor` where a metric has not improved for more than `patience` calls of step(metric)."""

    def __init__(
        self, optimizer: Optimizer, mode: Literal["min", "max"] = "min", factor: float = 0.1, patience: int = 10,
        threshold: float = 1e-4, threshold_mode: Literal["rel", "abs"] = "rel", cooldown: int = 0,
        min_lr: list[float] | float = 0, eps: float = 1e-8,
    ) -> None:  # fmt: skip
        self.optimizer, self.eps, self.min_lrs = optimizer, eps, _each("min_lr", min_lr, optimizer)
        self.schedule = schedules.ReduceOnPlateau(mode, factor, patience, threshold, threshold_mode, cooldown)

    def step(self, metrics: Any) -> None:
        """Take note of a metric, a number or a Tensor with one, and lower the rates where it is time to."""
        before = self.schedule(0)
        if self.schedule.observe(float(metrics)) < before:
            for group, least in zip(self.optimizer.param_groups, self.min_lrs):
                new = max(group["lr"] * self.schedule.factor, least)
                if group["lr"] - new > self.eps:
                    group["lr"] = new

    def get_last_lr(self) -> list[float]:
        """The rates of the groups now."""
        return [group["lr"] for group in self.optimizer.param_groups]

    def state_dict(self) -> dict[str, Any]:
        """What a later run needs to continue; the rates are in the optimizer's state."""
        return self.schedule.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from `state_dict()`."""
        self.schedule.load_state_dict(state)
