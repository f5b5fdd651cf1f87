"""The interface of every learner: a frozen description, and one step as a pure function of arrays. Learners are next to it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar, Protocol

import numpy as np

from nnatomy import random
from nnatomy.backends.dtypes import is_floating
from nnatomy.data import fields
from nnatomy.data.dataset import Dataset
from nnatomy.data.fields import Field
from nnatomy.errors import UserError
from nnatomy.layers.module import Module
from nnatomy.optim import AdamW, Optimizer
from nnatomy.tensor import Parameter, Tensor, wrap
from nnatomy.training.parallel.devices import Devices
from nnatomy.training.precision import FLOAT32, Precision

Tree = dict[str, Any]
Batch = tuple[Tensor, ...]
Named = list[tuple[str, Parameter]]
ADAMW = partial(AdamW, lr=1e-3)
"""The optimizer where none is named."""


class Loss(Protocol):
    """loss(model, *batch) -> (loss, outputs): one forward pass serves training, evaluation and distillation."""

    def __call__(self, model: Any, /, *batch: Any) -> tuple[Tensor, Any]: ...


def _optimizer(rule: partial[Any], parameters: Named) -> Optimizer:
    return rule(parameters)  # type: ignore[no-any-return]


@dataclass(frozen=True)
class Setup:
    """The setup of a learner: the decisions of a run, not of its recipe."""

    precision: Precision = FLOAT32
    accumulate: int = 1
    devices: Devices = field(default_factory=Devices)
    optimizer: Callable[[partial[Any], Named], Optimizer] = _optimizer
    """optimizer(rule, named parameters): makes the optimizer, with other learning rates or without frozen parameters."""
    freezes: bool = False
    """True if parameters are frozen, or learn at their own rates, by `optimizer`."""


class LearnerSpec(ABC):
    """The frozen description of a learner: plain values, which a run's folder and --set can hold."""

    can: ClassVar[frozenset[str]] = frozenset()
    """Of "accumulate", "half precision", "several devices", "freeze or rates", "distill", "weights" (of examples): what the
    learner takes part in."""
    gradients_in_evaluation: bool = False
    """True if the losses take gradients themselves; they are then evaluated with recording on."""

    @property
    def losses(self) -> Mapping[str, Loss]:
        """The losses that an evaluation reports, by name; the first one's outputs are what the task measures."""
        return {}

    def settings(self) -> dict[str, Any]:
        """Return what --set, --lr and tuning may change, with the values now; a value's type is the setting's type."""
        return {}

    def changed(self, name: str, value: Any) -> LearnerSpec:
        """Return this description with another value of one of `settings()`. Raises UserError for a value out of range."""
        raise KeyError(name)

    def plain(self) -> dict[str, Any]:
        """Return the description in plain values, for people and for a run's folder."""
        return {"learner": type(self).__name__} | self.settings()

    @abstractmethod
    def begin(self, model: Module, dataset: Dataset | None = None, setup: Setup | None = None) -> Learner:
        """Return a learner of a model; without a data set, batches are inputs and targets.

        Raises UserError for what the learner cannot do, by name.
        """

    def with_loss(self, loss: Loss) -> LearnerSpec:
        """Return this description with another loss. Raises UserError for a learner that does not follow a single one."""
        raise UserError(f"A student follows one loss by gradients. Received a learner by {type(self).__name__}. "
                        "Choose an architecture that learns by GradientDescent.")  # fmt: skip

    def check(self, setup: Setup, model: Module) -> None:
        """Raise UserError, which names the flag, where a run wants what this learner cannot do."""
        wants = {
            "accumulate": (setup.accumulate != 1, "--accumulate"),
            "half precision": (setup.precision.half is not None, "--precision"),
            "several devices": (setup.devices.count > 1, "--devices"),
            "freeze or rates": (setup.freezes, "--freeze and --rates"),
        }
        for capability, (wanted, flag) in wants.items():
            if wanted and capability not in self.can:
                raise UserError(f"{type(self).__name__} does not take {flag}. Received it. Leave it out.")


def _in_order(array: Any) -> Any:
    """Return a transposed array of the host in the order of its rows, as a checkpoint holds it: products round by the order."""
    return np.ascontiguousarray(array) if isinstance(array, np.ndarray) and not array.flags.c_contiguous else array



class Learner(ABC):
    """One step of learning: `update` is plain imperative code on the bound model between taking a state in and handing one out.

    The state is a tree of arrays and numbers (parameters, buffers, optimizers, random generator, the learner's own memory): a
    tracer of `step` sees a pure function, a reader in a debugger sees every line.
    """

    average: float | None = None
    """Decay of an exponential moving average of the weights, which is what is evaluated."""

    def __init__(self, model: Module, dataset: Dataset | None = None, setup: Setup | None = None) -> None:
        self.model, self.setup = model, setup or Setup()
        self.precision, self.devices = self.setup.precision, self.setup.devices
        self.fields: tuple[Field, ...] | None = None if dataset is None else dataset.fields
        self.optimizers: dict[str, Optimizer] = {}
        self.version = 0
        """Changes when compiled steps must be traced again, because something that they took for granted has changed."""
        self._tensors: dict[str, Tensor] = dict(model.named_parameters()) | dict(model.named_buffers())
        self._generators = {"": random.default} | random.generators_of(model)

    # What a learner says

    @abstractmethod
    def update(self, batch: Batch, mask: Any = None) -> dict[str, Tensor]:
        """Change the bound model by one batch and return metrics; "loss" is what the log shows of training.

        Pure on bound tensors, with static control flow: this is what is compiled. `mask` marks the rows that are examples.
        """

    def collect(self, batch: tuple[Any, ...]) -> tuple[Any, ...]:
        """Return the arrays that `update` learns from. Runs outside the compiled step: act, sample a memory, draw noise."""
        return batch

    def external_state(self) -> Tree:
        """Return what `collect` needs to continue exactly, in arrays and plain values; checkpoints hold it."""
        return {}

    def restore_external_state(self, saved: Tree) -> None:
        """Continue from what `external_state` returned."""

    def begin_epoch(self, epoch: int) -> None:
        """Before the batches of an epoch, or what is left of them when a run is continued."""

    def end_epoch(self) -> None:
        """After the last batch of an epoch, on the bound model: a closed form is solved here."""

    def epoch_loss(self, mean: float) -> float:
        """Return what the log shows as the training loss of the epoch that has ended, given the mean over its steps."""
        return mean

    def own_state(self) -> Tree:
        """Return the arrays and numbers that the learner remembers from step to step, besides model and optimizers."""
        return {}

    def bind_own(self, tree: Tree) -> None:
        """Put a tree as `own_state` returns it in place."""

    def objectives(self) -> list[tuple[Loss, frozenset[str]]]:
        """Return each loss whose gradient is followed, with the names of the parameters that follow it."""
        return []

    def set_total(self, total: int) -> None:
        """Take the number of steps of the whole run, from which schedules are drawn."""

    def prepare(self, state: Tree, step: int, scale: float) -> None:
        """Write into a state the numbers that depend on the step: the factor of the learning rate, the progress."""

    def named(self, batch: tuple[Any, ...]) -> tuple[Field, ...]:
        """Return what the arrays of a batch are. Raises UserError for a batch with more arrays than its split has fields."""
        if self.fields is None:
            return fields.named(len(batch))
        if len(batch) > len(self.fields):
            raise UserError(
                f"A batch has one array for each field of its split. Received {len(batch)} arrays for the fields "
                f"{', '.join(field.name for field in self.fields)}. Name them all in the split's `fields`."
            )
        return self.fields

    # For the loop

    @property
    def tensors(self) -> dict[str, Tensor]:
        """The model's parameters and buffers by name."""
        return self._tensors

    @property
    def collects(self) -> bool:
        """True if `collect` does anything, so that it needs the model as the state has it."""
        return type(self).collect is not Learner.collect

    def state(self) -> Tree:
        """Return the arrays as they are now."""
        model = {name: _in_order(t.data) for name, t in self._tensors.items()}
        state: Tree = {"model": model, "optimizers": {name: o.state_tree() for name, o in self.optimizers.items()}}
        state["generator"] = {name: generator.state_dict() for name, generator in self._generators.items()}
        state["own"] = self.own_state()
        if self.average is not None:
            state["average"] = model
        return state

    def bind(self, state: Tree) -> None:
        """Put model, optimizers, generator and the learner's own memory where `state` says."""
        for name, t in self._tensors.items():
            t.data, t.grad = state["model"][name], None
        for name, optimizer in self.optimizers.items():
            optimizer.bind(state["optimizers"][name])
        for name, generator in self._generators.items():
            generator.load_state_dict(state["generator"][name])
        self.bind_own(state["own"])

    def plain(self, state: Tree) -> Tree:
        """Return the same state with its numbers as Python's own, which a compiled step returns as arrays without axes."""
        self.bind(state)
        return self.state() | ({"average": state["average"]} if self.average is not None else {})

    def step(self, state: Tree, batch: tuple[Any, ...], mask: Any = None) -> tuple[Tree, dict[str, Any]]:
        """Return the next state and the metrics of a batch; `mask` (batch,) marks its examples where others pad it."""
        self.bind(state)
        metrics = {name: value.data for name, value in self.update(tuple(wrap(a) for a in batch), mask).items()}
        new = self.state()
        if self.average is not None:
            old, decay = state["average"], self.average
            new["average"] = {
                name: decay * old[name] + (1 - decay) * value if is_floating(value.dtype) else value
                for name, value in new["model"].items()
            }
        return self.finished(state, new), metrics

    __call__ = step

    def finished(self, old: Tree, new: Tree) -> Tree:
        """Return the state after a step, given those before and after the update."""
        return new

    def finish_epoch(self, state: Tree) -> Tree:
        """Return the state after `end_epoch`."""
        if type(self).end_epoch is Learner.end_epoch:
            return state
        self.bind(state)
        self.end_epoch()
        return self.state() | ({"average": state["average"]} if self.average is not None else {})

    def evaluated(self, state: Tree) -> dict[str, Any]:
        """Return the weights that count: their moving average where one is kept."""
        return dict(state["average"] if self.average is not None else state["model"])

    def lowered(self) -> AbstractContextManager[None]:
        """Return a block in which the model computes in the precision of the forward pass."""
        return self.precision.lowered(self._tensors)

    def lr(self, state: Tree) -> float | None:
        """Return the learning rate of the first optimizer at the step that was prepared last; None where there is none."""
        first = next(iter(state["optimizers"].values()), None)
        return None if first is None else float(first["lr"][0] * first["factor"])


def parameters_of(model: Module, parts: Iterable[str] | None = None) -> Named:
    """Return the named parameters of some parts of a model, or of all; a part is an attribute path.

    Raises UserError for a part without parameters.
    """
    if parts is None:
        return list(model.named_parameters())
    found: Named = []
    for part in parts:
        own = [(name, p) for name, p in model.named_parameters() if name == part or name.startswith(f"{part}.")]
        if not own:
            raise UserError(
                f"A player learns the parameters of a part of its model. Received {part!r}, which has none. "
                "Name a part with parameters."
            )
        found += own
    return found


def require_parameters(model: Module) -> None:
    """Raise UserError for a model that has nothing to learn by gradients."""
    if not any(True for _ in model.parameters()):
        raise UserError("A model needs parameters to be trained. Received one without. Choose other options.")
