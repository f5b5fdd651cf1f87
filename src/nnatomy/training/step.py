"""One training step as a pure function of arrays: step(state, batch) -> (state, metrics)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any

from nnatomy import random
from nnatomy.backends.dtypes import is_floating
from nnatomy.functional import masked_examples
from nnatomy.layers.module import Module
from nnatomy.optim import Optimizer, clip_grad_norm
from nnatomy.tensor import Tensor
from nnatomy.training.parallel.devices import Devices
from nnatomy.training.precision import FLOAT32, Precision, Scaling
from nnatomy.training.recipe import Loss

State = dict[str, Any]
Batch = tuple[Any, ...]


class Step:
    """Forward, backward and update of a model, as plain imperative code between taking a state in and handing one out.

    The state is a tree of arrays (parameters, buffers, optimizer, random generator): whoever traces the call sees a pure
    function, whoever steps through it in a debugger sees every line. `accumulate`: the batch goes through the model in so many
    parts, whose gradients are added up before the one update. `precision`: what forward and backward compute in.
    """

    def __init__(
        self, model: Module, optimizer: Optimizer, loss: Loss, clip: float | None = None, average: float | None = None, *,
        precision: Precision = FLOAT32, accumulate: int = 1, devices: Devices | None = None,
    ) -> None:  # fmt: skip
        self.model, self.optimizer, self.loss, self.clip, self.average = model, optimizer, loss, clip, average
        self.precision, self.accumulate, self.devices = precision, accumulate, devices or Devices()
        self.targets: int = getattr(loss, "targets", 1)  # how many arrays at the end of a batch are no inputs
        self.scaling = Scaling() if precision.scaled else None
        self._parameters = dict(model.named_parameters())
        self._tensors: dict[str, Tensor] = {**self._parameters} | dict(model.named_buffers())

    def state(self) -> State:
        """The arrays as they stand now."""
        model = {name: t.data for name, t in self._tensors.items()}
        state = {"model": model, "optimizer": self.optimizer.state_tree(), "generator": random.default.state_dict()}
        if self.average is not None:
            state["average"] = model
        return state | {"scaling": self.scaling.state()} if self.scaling is not None else state

    def bind(self, state: State) -> None:
        """Makes model, optimizer and generator stand where `state` says."""
        for name, t in self._tensors.items():
            t.data, t.grad = state["model"][name], None
        self.optimizer.bind(state["optimizer"])
        random.default.load_state_dict(state["generator"])
        if self.scaling is not None:
            self.scaling.bind(state["scaling"])

    def plain(self, state: State) -> State:
        """The same state with its numbers as Python's own, which a compiled step hands out as arrays without axes."""
        self.bind(state)
        return self.state() | ({"average": state["average"]} if self.average is not None else {})

    def __call__(self, state: State, batch: Batch, mask: Any = None) -> tuple[State, dict[str, Any]]:
        """The next state, and {"loss": ...} of the batch; `mask` says which rows count, where some only fill it up."""
        self.bind(state)
        loss = self._gradients(batch, mask)
        metrics = {"loss": loss}
        if self.clip is not None:
            metrics["gradient_norm"] = clip_grad_norm(self.model.parameters(), self.clip)
        self.optimizer.step()
        new = self.state()
        if self.average is not None:
            old, decay = state["average"], self.average
            new["average"] = {
                name: decay * old[name] + (1 - decay) * value if is_floating(value.dtype) else value
                for name, value in new["model"].items()
            }
        return new if self.scaling is None else self.scaling.settled(state, new, self._parameters.values()), metrics

    def evaluated(self, state: State) -> dict[str, Any]:
        """The weights that count: their moving average where one is kept."""
        return dict(state["average"] if self.average is not None else state["model"])

    def lowered(self) -> AbstractContextManager[None]:
        """A block in which the model computes in the step's precision."""
        return self.precision.lowered(self._tensors)

    def _gradients(self, batch: Batch, mask: Any) -> Any:
        """Gives each parameter the gradient of the mean loss over the examples that count, and returns that loss."""
        if self.accumulate == 1:
            loss, gradients = self._backward(batch, mask)
        else:
            loss, gradients = 0.0, {}
            for part, kept, share in _parts(batch, mask, self.accumulate):
                part_loss, found = self._backward(part, kept)
                share = share if isinstance(share, float) else share.astype(part_loss.dtype)
                loss = loss + part_loss * share
                for name, g in found.items():
                    gradients[name] = gradients[name] + g * share if name in gradients else g * share
        gradients = self.devices.split(gradients)
        for name, p in self._parameters.items():
            p.grad = Tensor(gradients[name]) if name in gradients else None
        return loss

    def _backward(self, batch: Batch, mask: Any) -> tuple[Any, dict[str, Any]]:
        """The loss and its gradient by each parameter that it depends on, in the master's type."""
        self.optimizer.zero_grad()
        with self.lowered(), self.devices.whole(self._tensors), masked_examples(mask):
            loss = self.loss(self.model, *[Tensor(a) for a in self.precision.inputs(batch)])
            (loss if self.scaling is None else loss * Tensor(self.scaling.scale)).backward()
        gradients = {name: p.grad.data for name, p in self._parameters.items() if p.grad is not None}
        if self.precision.half is not None:
            gradients = {name: g.astype(self.precision.master) for name, g in gradients.items()}
        if self.scaling is not None:
            gradients = {name: g / self.scaling.scale for name, g in gradients.items()}
        return loss.data, gradients


def _parts(batch: Batch, mask: Any, n: int) -> Iterator[tuple[Batch, Any, Any]]:
    """`n` parts of a batch, each with its mask and its share of the examples that count.

    Part k has every n-th row from the k-th on: they differ by at most one example, those of a padded batch as well, and where
    rows lie on several devices each device has its share of every part.
    """
    rows = len(batch[0])
    for k in range(min(n, rows)):
        part = tuple(a[k::n] for a in batch)
        if mask is None:
            yield part, None, len(part[0]) / rows
        else:
            kept = mask[k::n]
            yield part, kept, kept.sum() / mask.sum()
