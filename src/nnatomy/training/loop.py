"""The training loop: the one place where a network learns. Read it from `fit` downwards."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from nnatomy.backends import compiles_by_shape, kernels
from nnatomy.data.dataset import Dataset
from nnatomy.errors import UserError
from nnatomy.graph import no_grad
from nnatomy.layers.module import Module
from nnatomy.plan import Compiled, compile
from nnatomy.tasks import Task
from nnatomy.tensor import Tensor
from nnatomy.training.batches import LATE, Feed, Given
from nnatomy.training.parallel.devices import Devices
from nnatomy.training.recipe import Recipe, better
from nnatomy.training.step import State, Step

WORTH_PLANNING = 10.0  # seconds that a run would take eagerly; below, even loading the kernels is not worth it
CALIBRATION = 20  # steps after which a budget is turned into a number of steps anew


@dataclass
class Position:
    """How far a run has come; together with the state it is all that a checkpoint needs."""

    epoch: int = 0
    batch: int = 0  # batches of this epoch that are done
    step: int = 0
    total: int = 0  # steps in all, from which the schedule is drawn
    seconds: float = 0.0
    loss_sum: float = 0.0  # over the examples of this epoch so far
    examples: int = 0
    best: float | None = None
    best_epoch: int = 0
    stopped: str = ""


class Callback:
    """Something that happens beside the loop; override what you need. `state` is saved with each checkpoint."""

    state: dict[str, Any]

    def begin(self, loop: Loop) -> None:
        """Before the first step."""

    def before_epoch(self, loop: Loop) -> None:
        """Before each epoch, or what is left of it when a run is continued; the model is in training mode."""

    def after_step(self, loop: Loop) -> None:
        """After each step."""

    def after_epoch(self, loop: Loop, line: dict[str, Any]) -> None:
        """After each epoch's validation; `line` is what metrics.jsonl will hold of it."""

    def end(self, loop: Loop) -> None:
        """After the last epoch, or when the run is interrupted."""


@dataclass(frozen=True)
class Begun:
    """A step that was begun, and whose loss has not been read."""

    epoch: int
    step: int
    given: Given
    loss: Any


@dataclass
class Loop:
    """One run: what is trained, on what, how long, and what watches it.

    On a backend that compiles, steps are begun before the losses of those before them are known: `settle` waits for these, and
    is called before anything looks at the state.
    """

    recipe: Recipe
    dataset: Dataset
    task: Task
    step: Step
    epochs: int
    batch_size: int
    seed: int = 0
    budget: float | None = None  # seconds
    schedule: Any = None
    callbacks: Sequence[Callback] = ()
    position: Position = field(default_factory=Position)
    best: dict[str, Any] = field(default_factory=dict)  # the best weights so far

    scale: float = 1.0
    """A further factor of the learning rate, which callbacks may change."""
    interrupted: bool = False
    """Set from outside (Ctrl-C): the loop stops after the step it is in, in a state that can be continued."""
    outcome: str = "running"
    """"running", then "finished", "interrupted" or "failed"."""
    feed: Feed = field(default_factory=Feed)
    """How batches come to the step."""
    _planned: Callable[..., Any] | None = None
    _begun: deque[Begun] = field(default_factory=deque)

    def fit(self, state: State) -> State:
        """Trains from `state` to the last epoch, the end of the budget, or until a callback sets `position.stopped`."""
        at = self.position
        at.total = at.total or self.epochs * self.steps_per_epoch
        self.state: State = self.devices.placed(state)
        self._started, self._before = time.perf_counter(), at.seconds
        self._agreed = False, False, at.seconds
        self._first = self._warm = 0.0  # the step after which all is compiled, and when it was
        for callback in self.callbacks:
            callback.begin(self)
        try:
            # What is not finite is found below, and named. Products of this size gain nothing from a second BLAS thread,
            # and lose all where another process wants the core: the threads wait for one another by spinning.
            with np.errstate(all="ignore"), threadpool_limits(1, user_api="blas"):
                while at.epoch < self.epochs and not at.stopped and not self._stops():
                    self._epoch()
            self.outcome = "interrupted" if self._stops() else "finished"
        except BaseException:
            self.outcome = "failed"
            raise
        finally:
            at.seconds = self.elapsed()
            for callback in self.callbacks:
                callback.end(self)
        return self.state

    def _epoch(self) -> None:
        at = self.position
        self.step.model.train()
        for callback in self.callbacks:
            callback.before_epoch(self)
        order = np.random.Generator(np.random.Philox(key=[self.seed, at.epoch + 1]))  # the same whether resumed or not
        train, augment = self.dataset.train, self.recipe.augment
        with closing(self.feed(train, self.batch_size, order, augment=augment, start=at.batch, share=True)) as given:
            for one in given:
                self.state["optimizer"]["factor"] = self.factor()
                self.state, metrics = self._advance(one)(self.state, *one.args)
                self._begun.append(Begun(at.epoch, at.step, one, metrics["loss"]))
                at.batch += 1
                at.step += 1
                self.settle(LATE if compiles_by_shape() else 0)
                if not self._warm:
                    self._first, self._warm = at.step, self._clock()
                for callback in self.callbacks:
                    callback.after_step(self)
                if self._stops():
                    return self.settle()
                if self.budget is not None and self._budget_is_spent():
                    at.stopped = f"the budget of {self.budget:g} s was spent"
                    break
        self._finish_epoch()

    def settle(self, later: int = 0) -> None:
        """Reads the losses of all steps but the `later` newest; with none left, model and position are those of the state."""
        while len(self._begun) > later:
            done = self._begun.popleft()
            loss = float(done.loss)
            if not math.isfinite(loss):
                raise UserError(self._explain(loss, done))
            self.position.loss_sum += loss * done.given.examples
            self.position.examples += done.given.examples
        if not later and compiles_by_shape():
            self.step.bind(self.state)

    def _advance(self, given: Given) -> Callable[..., Any]:
        """The step as this run takes it: planned where that pays. This depends on the work alone, and is the same next time.

        Ragged batches are not planned: each length would want a plan of its own. What compiles is always compiled.
        """
        if self._planned is None:
            compiled = compile(self.step, warn=False)
            pays = compiles_by_shape() or (
                not self.dataset.train.ragged and (kernels() == "fast" or self._long(compiled, given.batch))
            )
            self._planned = compiled if pays else self.step
            self.task.planned = pays
        return self._planned

    def retrace(self) -> None:
        """Forgets the plans of the step, because something that they took for granted has changed."""
        if self._planned is not None and self._planned is not self.step:
            self._planned = compile(self.step, warn=False)

    def _long(self, compiled: Compiled, batch: Any) -> bool:
        whole = self.epochs * self.steps_per_epoch * compiled.eager_seconds(self.state, batch)
        return min(whole, self.budget or math.inf) >= WORTH_PLANNING

    @property
    def devices(self) -> Devices:
        """Where the state and the batches lie."""
        return self.feed.devices

    def agreed(self, save: bool) -> bool:
        """Whether all hosts save now, as the first one wants; they also learn here whether to stop, and what time it is.

        Callbacks ask after each step or epoch, all hosts alike.
        """
        self._agreed = self.devices.hosts.agreed(self.interrupted, save, self.elapsed())
        return self._agreed[1]

    def _stops(self) -> bool:
        return self._agreed[0] if self.devices.hosts.count > 1 else self.interrupted

    def _clock(self) -> float:
        """Seconds of training by which all hosts decide."""
        return self._agreed[2] if self.devices.hosts.count > 1 else self.elapsed()

    @property
    def steps_per_epoch(self) -> int:
        """Batches in the training split, the last and possibly smaller one included."""
        return -(-len(self.dataset.train) // self.batch_size)

    def _finish_epoch(self) -> None:
        self.settle()
        at = self.position
        metrics: dict[str, float] = {}
        if len(self.dataset.validation):
            weights = self.step.evaluated(self.state)
            with self.weights(weights):
                metrics = self.task.evaluate(self.step.model, self.dataset.validation).metrics
                metrics = dict(self.devices.hosts.same(metrics))
                if math.isnan(metrics["loss"]):  # the last step of the epoch broke the weights
                    batch = self.dataset.validation.take(np.arange(1))
                    one = Given(batch, None, batch, 1)
                    raise UserError(self._explain(metrics["loss"], Begun(at.epoch, at.step, one, None)))
            if better(self.recipe.metric, metrics[self.recipe.metric], at.best):
                at.best, at.best_epoch = metrics[self.recipe.metric], at.epoch + 1
                self.best = self.devices.to_host(weights)
        train_loss = at.loss_sum / max(at.examples, 1)
        line = {
            "epoch": at.epoch + 1, "step": at.step, "lr": self.lr(), "train_loss": train_loss,
            "validation": metrics, "seconds": round(self.elapsed(), 3), "best_epoch": at.best_epoch,
        }  # fmt: skip
        at.epoch += 1
        at.batch, at.loss_sum, at.examples = 0, 0.0, 0
        for callback in self.callbacks:
            callback.after_epoch(self, line)

    def factor(self) -> float:
        """The schedule's factor of the base learning rate at this step; a budget stretches or shrinks the schedule."""
        return self.scale * (1.0 if self.schedule is None else float(self.schedule(self.position.step)))

    def lr(self) -> float:
        """The learning rate of the step that was taken last."""
        return float(self.state["optimizer"]["lr"][0] * self.state["optimizer"]["factor"])

    def elapsed(self) -> float:
        """Seconds of training, those before a resumption included."""
        return self._before + time.perf_counter() - self._started

    def weights(self, weights: dict[str, Any]) -> Any:
        """A block in which the model holds other weights."""
        return _Swapped(self.step, self.state, weights)

    def _budget_is_spent(self) -> bool:
        """Also says, from time to time, how many steps the budget allows, so that the schedule ends when the time does."""
        at, budget = self.position, self.budget or math.inf
        if at.step % CALIBRATION == 0:
            if at.step > self._first:
                each = max(self._clock() - self._warm, 1e-9) / (at.step - self._first)
            else:
                each = max(self._clock(), 1e-9) / at.step
            possible = at.step + int(max(budget - self._clock(), 0) / each)
            at.total = max(at.step + 1, min(possible, self.epochs * self.steps_per_epoch))
            if self.recipe.schedule is not None:
                self.schedule = self.recipe.schedule(at.total)
        return self._clock() >= budget

    def _explain(self, loss: float, done: Begun) -> str:
        """Names the first layer whose values are not finite: the one that produced the bad loss."""
        self.step.bind(self.devices.to_host(self.state))
        with self.step.lowered():
            count = len(self.dataset.train.take(np.arange(1))) - self.step.targets
            inputs = [Tensor(a) for a in self.step.precision.inputs(done.given.made)[:count]]
            where = first_bad_layer(self.step.model, inputs)
        return (
            f"Training needs a finite loss, received {loss} at epoch {done.epoch + 1}, step {done.step + 1} ({where}); "
            f"lower --lr (now {self.lr():g}) or limit the gradients with --set clip=1."
        )


class _Swapped:
    """Puts weights into a model for the length of a block."""

    def __init__(self, step: Step, state: State, weights: dict[str, Any]) -> None:
        self.step, self.state, self.new = step, state, weights

    def __enter__(self) -> None:
        self.step.bind(self.state | {"model": self.new})

    def __exit__(self, *problem: object) -> None:
        self.step.bind(self.state)


def first_bad_layer(model: Module, inputs: list[Tensor]) -> str:
    """In words: the first parameter, else the first layer's output, that holds NaN or infinity."""
    bad = next((name for name, p in model.named_parameters() if not np.isfinite(np.asarray(p.data)).all()), None)
    found: list[str] = []

    def watch(path: str) -> Any:
        def hook(module: Module, args: tuple[Any, ...], out: Any) -> None:
            first = out[0] if isinstance(out, tuple) else out
            if isinstance(first, Tensor) and not found and not np.isfinite(np.asarray(first.data)).all():
                found.append(f"layer {path or 'the model itself'} ({type(module).__name__})")

        return hook

    removers = [module.register_forward_hook(watch(path)) for path, module in model.named_modules()]
    try:
        with no_grad():
            model(*inputs)
    finally:
        for remove in removers:
            remove()
    layer = f"the first values that are not finite come out of {found[0]}" if found else "every layer's output is finite"
    return layer + (f", after an update broke the parameter {bad}" if bad else "")
