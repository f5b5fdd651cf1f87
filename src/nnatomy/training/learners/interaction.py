"""Agents: they act in a world outside the step, and learn inside it from stored experience."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from nnatomy.data.dataset import Dataset
from nnatomy.layers.module import Module
from nnatomy.optim import clip_grad_norm
from nnatomy.tensor import Tensor
from nnatomy.training.learners.gradient_descent import call, in_range, keywords, optimizer_named
from nnatomy.training.learners.learner import ADAMW, Batch, Learner, LearnerSpec, Loss, Setup, Tree, parameters_of


class Agent(ABC):
    """An agent: acts in the world with a model, stores experience, and returns batches to learn from."""

    @abstractmethod
    def collect(self, model: Module, batch: tuple[Any, ...]) -> tuple[Any, ...]:
        """Act with the model and return the arrays that the loss takes; `batch` is the data set's."""

    @abstractmethod
    def external_state(self) -> Tree:
        """Return world, memory and random streams, in arrays and plain values; a NumPy stream's whole state counts."""

    @abstractmethod
    def restore_external_state(self, saved: Tree) -> None:
        """Continue from what `external_state` returned."""

    def after_update(self, model: Module) -> None:
        """Inside the compiled step, after the optimizer's: move a target network. Static control flow only."""


@dataclass(frozen=True)
class Interaction(LearnerSpec):
    """Act, store experience, and follow the gradient of a loss on it."""

    agent: Callable[..., Agent]
    """agent(model, dataset, **settings): makes the agent of a run."""
    loss: Loss
    """loss(model, *remembered) -> (loss, outputs)."""
    optimizer: partial[Any] = ADAMW
    parts: tuple[str, ...] = ()
    """Attribute paths of the model that learn, such as the online network; all if empty."""
    clip: float | None = None
    options: Mapping[str, Any] | None = None
    """Settings of the agent, such as its exploration."""

    def settings(self) -> dict[str, Any]:
        named = {"optimizer": self.optimizer.func.__name__, "clip": self.clip}
        return dict(self.options or {}) | keywords(self.optimizer.func) | self.optimizer.keywords | named

    def changed(self, name: str, value: Any) -> Interaction:
        if name not in self.settings():
            raise KeyError(name)
        if self.options is not None and name in self.options:
            return replace(self, options={**self.options, name: value})
        if name == "clip":
            return replace(self, clip=in_range(name, value))
        if name == "optimizer":
            return replace(self, optimizer=optimizer_named(str(value), self.optimizer))
        return replace(self, optimizer=partial(self.optimizer, **{name: value}))

    def plain(self) -> dict[str, Any]:
        return {
            "learner": type(self).__name__, "agent": getattr(self.agent, "__name__", str(self.agent)),
            "loss": getattr(self.loss, "__name__", type(self.loss).__name__), "optimizer": call(self.optimizer),
            "clip": self.clip, **(self.options or {}),
        }  # fmt: skip

    def begin(self, model: Module, dataset: Dataset | None = None, setup: Setup | None = None) -> InteractionLearner:
        setup = setup or Setup()
        self.check(setup, model)
        return InteractionLearner(self, model, dataset, setup)


class InteractionLearner(Learner):
    """An agent and its optimizer."""

    def __init__(self, spec: Interaction, model: Module, dataset: Dataset | None, setup: Setup) -> None:
        super().__init__(model, dataset, setup)
        self.spec = spec
        self.agent = spec.agent(model, dataset, **(spec.options or {}))
        self._own = parameters_of(model, spec.parts or None)
        self.optimizer = setup.optimizer(spec.optimizer, self._own)
        self.optimizers = {"all": self.optimizer}

    def collect(self, batch: tuple[Any, ...]) -> tuple[Any, ...]:
        return self.precision.evaluated(self.agent.collect(self.model, batch))

    def external_state(self) -> Tree:
        return self.agent.external_state()

    def restore_external_state(self, saved: Tree) -> None:
        self.agent.restore_external_state(saved)

    def prepare(self, state: Tree, step: int, scale: float) -> None:
        state["optimizers"]["all"]["factor"] = scale

    def update(self, batch: Batch, mask: Any = None) -> dict[str, Tensor]:
        self.optimizer.zero_grad()
        loss, _ = self.spec.loss(self.model, *batch)
        loss.backward()
        if self.spec.clip is not None:
            clip_grad_norm([p for _, p in self._own], self.spec.clip)
        self.optimizer.step()
        self.agent.after_update(self.model)
        return {"loss": loss.detach()}
