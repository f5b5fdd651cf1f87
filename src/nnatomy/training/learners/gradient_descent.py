"""Gradient descent on one loss: forward, backward, update."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar

from nnatomy import optim
from nnatomy.data import fields
from nnatomy.data.dataset import Dataset
from nnatomy.errors import UserError, unknown_name
from nnatomy.functional import masked_examples
from nnatomy.layers.module import Module
from nnatomy.optim import Optimizer, clip_grad_norm
from nnatomy.tensor import Tensor, wrap
from nnatomy.training.learners.learner import (
    ADAMW,
    Batch,
    Learner,
    LearnerSpec,
    Loss,
    Setup,
    Tree,
    parameters_of,
    require_parameters,
)
from nnatomy.training.precision import Scaling

ALL = "all"
"""The name of the only optimizer, of all parameters."""


@dataclass(frozen=True)
class GradientDescent(LearnerSpec):
    """w <- w - rule(dL/dw): every parameter follows the gradient of one loss."""

    can: ClassVar[frozenset[str]] = frozenset(
        {"accumulate", "half precision", "several devices", "freeze or rates", "distill", "weights"}
    )
    loss: Loss
    """loss(model, *batch) -> (loss, outputs): what is minimized."""
    optimizer: partial[Any] = ADAMW
    """partial(Adam, lr=1e-3): called with the named parameters."""
    schedule: partial[Any] | None = None
    """partial(Cosine, warmup=100): called with the total number of steps."""
    clip: float | None = None
    """Gradients are scaled down to this norm."""
    average: float | None = None
    """Decay of an exponential moving average of the weights, which is what is evaluated and saved as the best."""
    gradients_in_evaluation: bool = False
    undecayed: tuple[str, ...] = ()
    """Parts of the names of parameters that weight decay leaves alone, such as "bias"."""

    @property
    def losses(self) -> Mapping[str, Loss]:
        return {"loss": self.loss}

    def settings(self) -> dict[str, Any]:
        rates = {k: v for k, v in keywords(self.optimizer.func).items() if k != "params"} | self.optimizer.keywords
        schedule = "none" if self.schedule is None else self.schedule.func.__name__
        named = {"optimizer": self.optimizer.func.__name__, "schedule": schedule}
        return rates | named | {"clip": self.clip, "average": self.average}

    def changed(self, name: str, value: Any) -> GradientDescent:
        if name == "optimizer":
            return replace(self, optimizer=optimizer_named(str(value), self.optimizer))
        if name == "schedule":
            return replace(self, schedule=schedule_named(str(value)))
        if name == "clip":
            return replace(self, clip=in_range(name, value))
        if name == "average":
            return replace(self, average=in_range(name, value))
        if name not in self.settings():
            raise KeyError(name)
        return replace(self, optimizer=partial(self.optimizer, **{name: value}))

    def with_loss(self, loss: Loss) -> GradientDescent:
        return replace(self, loss=loss)

    def plain(self) -> dict[str, Any]:
        return {
            "learner": type(self).__name__, "loss": getattr(self.loss, "__name__", type(self.loss).__name__),
            "optimizer": call(self.optimizer), "schedule": call(self.schedule), "clip": self.clip, "average": self.average,
            **({"undecayed": list(self.undecayed)} if self.undecayed else {}),
        }  # fmt: skip

    def decays(self, name: str) -> bool:
        """Return True if weight decay shrinks the parameter of this name."""
        return not any(part in name for part in self.undecayed)

    def begin(self, model: Module, dataset: Dataset | None = None, setup: Setup | None = None) -> GradientDescentLearner:
        setup = setup or Setup()
        self.check(setup, model)
        require_parameters(model)
        return GradientDescentLearner(self, model, dataset, setup)


class GradientDescentLearner(Learner):
    """Forward, backward and update of a model.

    With `accumulate` the batch goes through the model in so many parts, whose gradients are added before the one update; with
    half precision forward and backward compute in it, and float16 gradients are scaled.
    """

    def __init__(self, spec: GradientDescent, model: Module, dataset: Dataset | None, setup: Setup) -> None:
        super().__init__(model, dataset, setup)
        self.spec, self.loss, self.clip, self.average = spec, spec.loss, spec.clip, spec.average
        self.scaling = Scaling() if self.precision.scaled else None
        self.optimizer: Optimizer = setup.optimizer(spec.optimizer, parameters_of(model))
        if spec.undecayed:
            split_decay(self.optimizer, spec)
        self.optimizers = {ALL: self.optimizer}
        self.schedule: Callable[[int], float] | None = None
        self._parameters = dict(model.named_parameters())

    def set_total(self, total: int) -> None:
        self.schedule = None if self.spec.schedule is None else self.spec.schedule(total)

    def prepare(self, state: Tree, step: int, scale: float) -> None:
        state["optimizers"][ALL]["factor"] = scale * (1.0 if self.schedule is None else float(self.schedule(step)))

    def objectives(self) -> list[tuple[Loss, frozenset[str]]]:
        return [(self.loss, frozenset(self._parameters))]

    def own_state(self) -> Tree:
        return {} if self.scaling is None else {"scaling": self.scaling.state()}

    def bind_own(self, tree: Tree) -> None:
        if self.scaling is not None:
            self.scaling.bind(tree["scaling"])

    def update(self, batch: Batch, mask: Any = None) -> dict[str, Tensor]:
        metrics = {"loss": self._gradients(batch, mask)}
        if self.clip is not None:
            metrics["gradient_norm"] = wrap(clip_grad_norm(self.model.parameters(), self.clip))
        self.optimizer.step()
        return metrics

    def finished(self, old: Tree, new: Tree) -> Tree:
        return new if self.scaling is None else self.scaling.select_finite(old, new, self._parameters.values())

    def _gradients(self, batch: Batch, mask: Any) -> Tensor:
        """Give each parameter the gradient of the mean loss over the examples, and return that loss."""
        accumulate = self.setup.accumulate
        if accumulate == 1:
            loss, gradients = self._backward(batch, mask)
        else:
            loss, gradients = 0.0, {}
            rows = fields.count(self.named(batch), batch)
            for k, part in enumerate(fields.parts(self.named(batch), batch, accumulate)):
                kept = None if mask is None else mask[k::accumulate]
                fraction = len(part[0]) / rows if kept is None else (kept > 0).sum() / (mask > 0).sum()
                part_loss, found = self._backward(part, kept)
                fraction = fraction if isinstance(fraction, float) else fraction.astype(part_loss.dtype)
                loss = loss + part_loss * fraction
                for name, g in found.items():
                    gradients[name] = gradients[name] + g * fraction if name in gradients else g * fraction
        gradients = self.devices.split(gradients)
        for name, p in self._parameters.items():
            p.grad = wrap(gradients[name]) if name in gradients else None
        return wrap(loss)

    def _backward(self, batch: Batch, mask: Any) -> tuple[Any, dict[str, Any]]:
        """The loss and its gradient by each parameter that it depends on, in the type of the master weights."""
        self.optimizer.zero_grad()
        with self.lowered(), self.devices.whole(self._tensors), masked_examples(mask):
            loss, _ = self.loss(self.model, *self.precision.inputs(self.named(batch), batch))
            (loss if self.scaling is None else loss * wrap(self.scaling.scale)).backward()
        gradients = {name: p.grad.data for name, p in self._parameters.items() if p.grad is not None}
        if self.precision.half is not None:
            gradients = {name: g.astype(self.precision.master) for name, g in gradients.items()}
        if self.scaling is not None:
            gradients = {name: g / self.scaling.scale for name, g in gradients.items()}
        return loss.data, gradients


# Settings that learners with optimizers share


def split_decay(optimizer: Optimizer, spec: GradientDescent) -> None:
    """Give the parameters without weight decay their own group, next to each group of an optimizer that decays."""
    for group in [group for group in optimizer.param_groups if group.get("weight_decay")]:
        members = list(zip(group["names"], group["params"], strict=True))
        kept, spared = ([m for m in members if spec.decays(m[0]) is decays] for decays in (True, False))
        if kept and spared:
            optimizer.param_groups.append({**group, "names": [n for n, _ in spared], "params": [p for _, p in spared],
                                           "weight_decay": 0.0})  # fmt: skip
            group |= {"names": [n for n, _ in kept], "params": [p for _, p in kept]}
        elif spared:
            group["weight_decay"] = 0.0


def keywords(function: Callable[..., Any]) -> dict[str, Any]:
    """Return a function's parameters by name, with their defaults."""
    return {p.name: p.default for p in inspect.signature(function).parameters.values() if p.name not in ("params", "self")}


def in_range(name: str, value: float | None) -> float | None:
    """Return a value of `clip` or `average`. Raises UserError where it is not positive, or an average's is not below 1."""
    most = 1.0 if name == "average" else math.inf
    if value is not None and not 0 < value < most:
        rule = "between 0 and 1" if most == 1 else "positive"
        raise UserError(f"--set {name} must be {rule}. Received {value:g}. Give such a number or none.")
    return value


def optimizer_named(name: str, now: partial[Any]) -> partial[Any]:
    """Return the optimizer of that name, with those settings of `now` that it has too."""
    classes = {n: getattr(optim, n) for n in optim.__all__}
    known = {
        n: c for n, c in classes.items()
        if inspect.isclass(c) and issubclass(c, Optimizer) and c is not Optimizer and n != "LBFGS"
    }  # fmt: skip
    if name not in known:
        raise unknown_name("optimizer", name, known)
    return partial(known[name], **{k: v for k, v in now.keywords.items() if k in keywords(known[name])})


def schedule_named(name: str) -> partial[Any] | None:
    """Return the schedule of that name that needs nothing but the total number of steps; None for "none"."""
    known = {}
    for n in optim.__all__:
        c = getattr(optim, n)
        if inspect.isclass(c) and issubclass(c, optim.Schedule) and c is not optim.Schedule:
            needed = [p.name for p in inspect.signature(c).parameters.values() if p.default is inspect.Parameter.empty]
            if needed == ["total"]:
                known[n] = c
    if name.lower() != "none" and name not in known:
        raise unknown_name("schedule", name, ["none", *known])
    return None if name.lower() == "none" else partial(known[name])


def call(function: partial[Any] | None) -> dict[str, Any] | None:
    """Return a partial in plain values: its function's name and its keywords."""
    return None if function is None else {"name": function.func.__name__, **function.keywords}
