"""One training step as a pure function of arrays: step(state, batch) -> (state, metrics)."""

from __future__ import annotations

from typing import Any

import numpy as np

from nnatomy import random
from nnatomy.experiments.recipe import Loss
from nnatomy.layers.module import Module
from nnatomy.optim import Optimizer, clip_grad_norm
from nnatomy.tensor import Tensor

State = dict[str, Any]


class Step:
    """Forward, backward and update of a model, as plain imperative code between taking a state in and handing one out.

    The state is a tree of arrays (parameters, buffers, optimizer, random generator): whoever traces the call sees a pure
    function, whoever steps through it in a debugger sees every line.
    """

    def __init__(
        self, model: Module, optimizer: Optimizer, loss: Loss, clip: float | None = None, average: float | None = None
    ) -> None:
        self.model, self.optimizer, self.loss, self.clip, self.average = model, optimizer, loss, clip, average
        self._tensors = dict(model.named_parameters()) | dict(model.named_buffers())

    def state(self) -> State:
        """The arrays as they stand now."""
        model = {name: t.data for name, t in self._tensors.items()}
        state = {"model": model, "optimizer": self.optimizer.state_tree(), "generator": random.default.state_dict()}
        return state | {"average": model} if self.average is not None else state

    def bind(self, state: State) -> None:
        """Makes model, optimizer and generator stand where `state` says."""
        for name, t in self._tensors.items():
            t.data = state["model"][name]
        self.optimizer.bind(state["optimizer"])
        random.default.load_state_dict(state["generator"])

    def __call__(self, state: State, batch: tuple[np.ndarray[Any, Any], ...]) -> tuple[State, dict[str, Any]]:
        self.bind(state)
        loss = self.loss(self.model, *[Tensor(a) for a in batch])
        self.optimizer.zero_grad()
        loss.backward()
        metrics = {"loss": loss.data}
        if self.clip is not None:
            metrics["gradient_norm"] = clip_grad_norm(self.model.parameters(), self.clip)
        self.optimizer.step()
        new = self.state()
        if self.average is not None:
            old, decay = state["average"], self.average
            new["average"] = {
                name: decay * old[name] + (1 - decay) * value if value.dtype.kind == "f" else value
                for name, value in new["model"].items()
            }
        return new, metrics

    def evaluated(self, state: State) -> dict[str, Any]:
        """The weights that count: their moving average where one is kept."""
        return dict(state["average"] if self.average is not None else state["model"])
