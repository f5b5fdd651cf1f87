"""The training loop: the one place where a network learns. Read it from `fit` downwards."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from nnatomy.data.dataset import Dataset
from nnatomy.errors import UserError
from nnatomy.layers.normalization import BatchNorm1d
from nnatomy.training.batches import Feed, Pending, PlacedBatch, alike
from nnatomy.training.callbacks import Callback
from nnatomy.training.compilation import Steps
from nnatomy.training.diagnosis import explain
from nnatomy.training.evaluation import Measures, Metric
from nnatomy.training.learners import Learner
from nnatomy.training.parallel.devices import Devices
from nnatomy.training.position import Budget, PendingStep, Position
from nnatomy.training.recipe import Recipe

__all__ = ["Callback", "Loop", "Position"]


@dataclass
class Loop:
    """One training run: the learner, its data, its length and its callbacks.

    A step may be dispatched before earlier losses are read. Before anything looks at the state, `read_losses` waits for these.
    """

    recipe: Recipe
    dataset: Dataset
    task: Measures
    learner: Learner
    epochs: int
    batch_size: int
    seed: int = 0
    budget: float | None = None  # seconds
    callbacks: Sequence[Callback] = ()
    position: Position = field(default_factory=Position)
    best: dict[str, Any] = field(default_factory=dict)  # the best weights so far
    feed: Feed = field(default_factory=Feed)

    scale: float = 1.0
    """A further factor of the learning rate, which callbacks may change."""
    interrupted: bool = False
    """Set from outside (Ctrl-C): the loop stops after the step it is in, in a state that can be continued."""
    outcome: str = "running"
    """"running", then "finished", "interrupted" or "failed"."""

    def fit(self, state: dict[str, Any]) -> dict[str, Any]:
        """Train from `state` to the last epoch, the end of the budget, or until a callback sets `position.stopped`."""
        position = self.position
        position.total = position.total or self.epochs * self.steps_per_epoch
        self.learner.set_total(position.total)
        self.metric: Metric = self.task.metric(self.recipe.metric)
        self.state = self.devices.placed(state)
        same = alike(self.dataset.train, self.recipe.augment)
        self.step = Steps(self.learner, self.epochs * self.steps_per_epoch, same, self.budget)
        self._pending: Pending[PendingStep] = Pending()
        self._started, self._before = time.perf_counter(), position.seconds
        self._agreed = False, False, position.seconds
        judged = (len(self.dataset.validation) + len(self.dataset.test)) / self.batch_size
        self.clock = None if self.budget is None else Budget(self.budget, self.epochs * self.steps_per_epoch, judged)
        for callback in self.callbacks:
            callback.begin(self)
        try:
            # What is not finite is found below, and named. Products of this size gain nothing from a second BLAS thread,
            # and lose all where another process wants the core: the threads wait for each other by spinning.
            with np.errstate(all="ignore"), threadpool_limits(1, user_api="blas"):
                while position.epoch < self.epochs and not position.stopped and not self._stops():
                    self._epoch()
            self.outcome = "interrupted" if self._stops() else "finished"
        except BaseException:
            self.outcome = "failed"
            raise
        finally:
            position.seconds = self.elapsed()
            for callback in self.callbacks:
                callback.end(self)
        return self.state

    def _epoch(self) -> None:
        position = self.position
        self.learner.model.train()
        self.learner.begin_epoch(position.epoch)
        for callback in self.callbacks:
            callback.before_epoch(self)
        order = np.random.Generator(np.random.Philox(key=[self.seed, position.epoch + 1]))  # the same whether resumed or not
        train, augment = self.dataset.train, self.recipe.augment
        fed = self.feed(
            train, self.batch_size, order, augment=augment, start=position.batch, share=True, drop_last=self.drops_single
        )
        with closing(fed) as batches:
            for batch in batches:
                self.learner.prepare(self.state, position.step, self.scale)
                if self.learner.collects:
                    batch = self._collected(batch)
                self.state, metrics = self.step(self.state, batch)
                self.task.planned = bool(self.step.planned)
                self._note(self._pending.push(PendingStep(position.epoch, position.step, batch, metrics["loss"])))
                position.batch += 1
                position.step += 1
                for callback in self.callbacks:
                    callback.after_step(self)
                if self._stops():
                    return self.read_losses()
                if self._is_spent():
                    break
        self._finish_epoch()
        if position.epoch < self.epochs and not position.stopped:
            self._is_spent()

    def _is_spent(self) -> bool:
        """Return True, and stop the run, if its time budget leaves just enough to judge the network."""
        if self.clock is None or not self.clock.is_spent(self.position, self._clock(), self.learner):
            return False
        self.position.stopped = f"the time budget was spent (the recipe has {self.epochs} epochs)"
        return True

    def _collected(self, batch: PlacedBatch) -> PlacedBatch:
        """The batch that the learner makes of one, outside the compiled step."""
        self.read_losses()
        made = self.learner.collect(batch.host)
        return PlacedBatch(self.devices.batch(made, len(made[0])), None, made, batch.examples)

    def read_losses(self) -> None:
        """Read the losses of all steps; model and position are then those of the state."""
        self._note(self._pending.drain())
        self.learner.bind(self.state)

    def _note(self, steps: Any) -> None:
        for done in steps:
            loss = float(done.loss)
            if not math.isfinite(loss):
                raise UserError(explain(self.learner, self.state, done.batch.host, loss, done.epoch, done.step))
            self.position.loss_sum += loss * done.batch.examples
            self.position.examples += done.batch.examples

    def _finish_epoch(self) -> None:
        self.read_losses()
        self.state = self.devices.placed(self.learner.finish_epoch(self.state))
        position, metrics = self.position, dict[str, float]()
        if len(self.dataset.validation):
            weights, began = self.learner.evaluated(self.state), time.perf_counter()
            with self.weights(weights):
                found = self.task.evaluate(self.learner.model, self.dataset.validation, part="validation")
            metrics, seconds = self.devices.hosts.broadcast((dict(found.metrics), time.perf_counter() - began))
            if self.clock is not None:
                self.clock.judging = seconds * (1 + len(self.dataset.test) / len(self.dataset.validation))
            value = metrics.get(self.metric.name)
            if math.isnan(metrics.get("loss", 0.0)):  # the last step of the epoch broke the weights
                example = self.dataset.validation.take(np.arange(1))
                raise UserError(explain(self.learner, self.state, example, math.nan, position.epoch, position.step))
            if value is not None and self.metric.improves(value, position.best):
                position.best, position.best_epoch = value, position.epoch + 1
                self.best = self.devices.to_host(weights)
        loss = position.loss_sum / max(position.examples, 1)
        line = {
            "epoch": position.epoch + 1, "step": position.step, "lr": self.lr(), "seconds": round(self.elapsed(), 3),
            "train_loss": self.learner.epoch_loss(loss), "validation": metrics, "best_epoch": position.best_epoch,
        }  # fmt: skip
        position.epoch, position.batch, position.loss_sum, position.examples = position.epoch + 1, 0, 0.0, 0
        for callback in self.callbacks:
            callback.after_epoch(self, line)

    @property
    def devices(self) -> Devices:
        """The devices of the state and the batches."""
        return self.feed.devices

    @property
    def steps_per_epoch(self) -> int:
        """Batches in the training split, the last and possibly smaller one included."""
        return -(-len(self.dataset.train) // self.batch_size) - self.drops_single

    @cached_property
    def drops_single(self) -> bool:
        """True if a last batch of one example is left out, another one each epoch: batch norm has no statistics of it."""
        n = len(self.dataset.train)
        normalizes = any(isinstance(module, BatchNorm1d) for _, module in self.learner.model.named_modules())
        return n > self.batch_size > 1 and n % self.batch_size == 1 and normalizes

    def lr(self) -> float | None:
        """The learning rate of the step that was taken last; None for learners that have none."""
        return self.learner.lr(self.state)

    def elapsed(self) -> float:
        """Seconds of training, those before a resumption included."""
        return self._before + time.perf_counter() - self._started

    @contextmanager
    def _swapped(self, weights: dict[str, Any]) -> Iterator[None]:
        self.learner.bind(self.state | {"model": weights})
        try:
            yield
        finally:
            self.learner.bind(self.state)

    def weights(self, weights: dict[str, Any]) -> AbstractContextManager[None]:
        """Return a block in which the model holds other weights."""
        return self._swapped(weights)

    def agreed(self, save: bool) -> bool:
        """Return True if all hosts save now, as the first one decides; the hosts also agree on stopping and on the time."""
        self._agreed = self.devices.hosts.agreed(self.interrupted, save, self.elapsed())
        return self._agreed[1]

    def _stops(self) -> bool:
        return self._agreed[0] if self.devices.hosts.count > 1 else self.interrupted

    def _clock(self) -> float:
        """Seconds of training by which all hosts decide."""
        return self._agreed[2] if self.devices.hosts.count > 1 else self.elapsed()
