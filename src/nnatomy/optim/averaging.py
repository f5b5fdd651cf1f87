"""Averages of a model's weights over training: exponential (EMA) and equal (SWA).

Batch-norm statistics are buffers. They belong to the weights that made them: either average them too (`buffers=True`), or run
training-mode forward passes over some batches inside `applied()`, which puts the former ones back when it ends.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from nnatomy.backends import B
from nnatomy.backends.dtypes import is_floating
from nnatomy.errors import UserError
from nnatomy.graph import no_grad
from nnatomy.layers.module import Module
from nnatomy.tensor import Array, Tensor


class WeightAverage(ABC):
    """Keeps an average of a model's parameters, and with `buffers` of its buffers (integers among those are copied).

    `average`: arrays by path; `count`: how many times `update()` was called.
    """

    def __init__(self, model: Module, buffers: bool = False) -> None:
        self.model, self.buffers = model, buffers
        self.average: dict[str, Array] = {}
        self.count = 0

    @abstractmethod
    def blend(self, old: Array, new: Array, count: int) -> Array:
        """The average after `count` earlier updates."""

    def update(self) -> None:
        """Take the model's present weights into the average; the first ones are copied."""
        for path, tensor in self._averaged():
            floating = is_floating(tensor.dtype)
            first = self.count == 0 or not floating
            self.average[path] = B.array(tensor.data) if first else self.blend(self.average[path], tensor.data, self.count)
        self.count += 1

    def copy_to(self, model: Module) -> None:
        """Give the averaged weights to a model with the same paths."""
        if not self.count:
            raise UserError(
                "An average needs a first update(). Received none yet. Call update() after an optimizer step."
            )
        with no_grad():
            own = dict(model.named_parameters()) | dict(model.named_buffers())
            for path, value in self.average.items():
                own[path].copy_(Tensor(B.array(value)))

    @contextmanager
    def applied(self) -> Iterator[Module]:
        """A block in which the model has the averaged weights; then it has all it had before, buffers too."""
        before = {path: tensor.data for path, tensor in [*self.model.named_parameters(), *self.model.named_buffers()]}
        self.copy_to(self.model)
        try:
            yield self.model
        finally:
            with no_grad():
                for path, tensor in [*self.model.named_parameters(), *self.model.named_buffers()]:
                    tensor.copy_(Tensor(before[path]))

    def state_dict(self) -> dict[str, Any]:
        """"count" and "average.<path>" -> ndarray."""
        return {"count": self.count} | {f"average.{path}": np.array(value) for path, value in self.average.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from `state_dict()`; raises UserError where it does not fit the model."""
        own = dict(self._averaged()) if state.get("count") else {}
        if set(state) != {"count"} | {f"average.{path}" for path in own} or any(
            tuple(state[f"average.{path}"].shape) != tensor.shape for path, tensor in own.items()
        ):
            raise UserError(
                f"An average has the names and shapes of {type(self.model).__name__}. Received others. "
                "Build the model as it was when saved."
            )
        self.average = {path: B.array(state[f"average.{path}"], dtype=tensor.dtype) for path, tensor in own.items()}
        self.count = int(state["count"])

    def _averaged(self) -> list[tuple[str, Tensor]]:
        return [*self.model.named_parameters(), *(self.model.named_buffers() if self.buffers else ())]


class EMA(WeightAverage):
    """The exponential moving average a <- d a + (1 - d) p, starting from a copy of the first weights.

    `warmup`: d = min(decay, (1 + n) / (10 + n)) after n updates, so that early weights are forgotten soon.
    `debias`: a starts from 0 and is divided by 1 - decay^n, as Adam's moments are.
    """

    def __init__(
        self, model: Module, decay: float = 0.999, warmup: bool = False, debias: bool = False, buffers: bool = False
    ) -> None:
        if not 0 <= decay < 1:
            raise UserError(f"decay must be at least 0 and below 1. Received {decay!r}. The usual one is 0.999.")
        if warmup and debias:
            raise UserError("warmup and debias are two remedies for the same bias. Received both. Leave warmup out.")
        super().__init__(model, buffers)
        self.decay, self.warmup, self.debias = decay, warmup, debias

    def blend(self, old: Array, new: Array, count: int) -> Array:
        d = self.decay
        if self.warmup:
            d = min(d, (1 + count) / (10 + count))
        if self.debias:  # the division by 1 - decay^n is folded in: `old` is the debiased average
            d = d * (1 - d**count) / (1 - d ** (count + 1))
        return d * old + (1 - d) * new


class SWA(WeightAverage):
    """The equal average of all weights seen (Izmailov et al. 2018): a <- a + (p - a) / (n + 1)."""

    def blend(self, old: Array, new: Array, count: int) -> Array:
        return old + (new - old) / (count + 1)
