"""The work of one unit: a fit, a baseline, the cost of a candidate, or the step cost of an architecture."""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from nnatomy import backends
from nnatomy.data import fields
from nnatomy.data.dataset import Batch, Dataset
from nnatomy.errors import UserError
from nnatomy.runs.fitting import fit_recipe
from nnatomy.runs.folder import finite
from nnatomy.runs.known import KnownData
from nnatomy.studies.comparison.protocol import Plan, Protocol, Unit
from nnatomy.studies.comparison.survey import load_for_architecture, load_for_baseline, recipes_for
from nnatomy.tasks import FittedBaseline, forward, task_for
from nnatomy.training.callbacks import Callback
from nnatomy.training.loop import Loop
from nnatomy.training.recipe import Recipe

KEPT = 4  # data sets that a worker keeps: units that follow each other often share theirs
MANY = 256  # examples of the larger batch whose latency is measured
AGAIN = "Restore them, or start again."
WARM = 3  # steps before the clock starts
LONG = 0.02, 3.0  # when it stops: the part of the budget, and seconds at most


class Bench:
    """A comparison's folder as a worker sees it: the protocol, the plan, and the folds of the data that were read last."""

    def __init__(self, folder: Path) -> None:
        self.protocol = Protocol.of(folder)
        self._folder = folder
        self._known = KnownData.of(folder, AGAIN)
        self._kept: OrderedDict[tuple[Any, ...], Any] = OrderedDict()
        backends.use(self.protocol.backend)

    def run(self, unit: Unit) -> dict[str, Any]:
        """Return the result of a unit, as plain values; {"failed": reason} where a candidate cannot do it."""
        self.plan = Plan.of(self._folder)  # a budget may have changed it
        try:
            found = {"fit": self.fit, "baseline": self.baseline, "cost": self.cost, "timing": self.timing}[unit.what](unit)
        except UserError as reason:
            return {"failed": str(reason)}
        return {key: finite(value) for key, value in found.items()}

    def fit(self, unit: Unit) -> dict[str, Any]:
        """Train an architecture on one fold from one seed, and measure it on the fold's test part."""
        recipe, dataset = self._architecture(unit.candidate, unit.fold, unit.share)
        fitted = fit_recipe(recipe, dataset, unit.seed)
        position = fitted.position
        return {
            "metrics": fitted.test().metrics, "epochs": position.epoch, "best_epoch": position.best_epoch,
            "parameters": fitted.model.count_parameters(),
            "stopped": position.stopped, "seconds": round(position.seconds, 4), **_sizes(dataset),
        }  # fmt: skip

    def baseline(self, unit: Unit) -> dict[str, Any]:
        """Fits a baseline on one fold and measures it on the fold's test part."""
        dataset = self._data(unit.fold, unit.share)
        before = time.perf_counter()
        fitted = self._fitted(unit.candidate, dataset)
        seconds = time.perf_counter() - before
        found = self.plan.does(self._recipes()[0], dataset).score(fitted.outputs, dataset.test)
        return {
            "metrics": found.metrics, "parameters": fitted.parameters, "chosen": fitted.chosen,
            "multiply_adds": fitted.multiply_adds, "seconds": round(seconds, 4), **_sizes(dataset),
        }  # fmt: skip

    def cost(self, unit: Unit) -> dict[str, Any]:
        """Parameters, multiply-adds for one example, and the median latency of one example and of many, in seconds."""
        if unit.candidate not in self.plan.architectures:
            whole = len(self._data(0, 1.0).train)
            small = self._data(0, min(1.0, 500 / whole))  # the number of training rows does not change the latency
            outputs = self._fitted(unit.candidate, small).outputs
            return _latencies(outputs, small, lambda batch: fields.select(small.fields, batch, "input"))
        from nnatomy.layers.summary import summary

        recipe, dataset = self._architecture(unit.candidate, 0, 1.0)
        model = recipe.build(dataset, **recipe.options).eval()
        task = task_for(recipe, dataset)
        found = summary(model, *task.model_inputs(dataset.test.take(np.arange(1))))
        sizes = {"parameters": found.parameters, "multiply_adds": found.multiply_adds}
        return sizes | _latencies(lambda *x: forward(model, x), dataset, task.model_inputs)

    def timing(self, unit: Unit) -> dict[str, Any]:
        """Seconds a step, for judging the validation part and for getting under way, from the first steps of a fit."""
        before = time.perf_counter()
        recipe, dataset = self._architecture(unit.candidate, unit.fold, 1.0)
        reading = time.perf_counter() - before
        share, most = LONG
        watch, again = _Stopwatch(min(share * (self.protocol.budget or math.inf), most)), _Stopwatch(0.0)
        fitted = fit_recipe(recipe, dataset, self.protocol.seed, callbacks=[watch])
        fitted.task.evaluate(fitted.model, dataset.validation)  # the first time it is planned, too
        before = time.perf_counter()
        fit_recipe(recipe, dataset, self.protocol.seed, callbacks=[again])  # its start is that of all fits but a worker's first
        start = reading + time.perf_counter() - before - again.seconds
        before = time.perf_counter()
        fitted.task.evaluate(fitted.model, dataset.validation)
        return {
            "step": watch.seconds / max(watch.steps, 1), "start": start, "judging": time.perf_counter() - before,
            "steps": -(-len(dataset.train) // recipe.batch_size), **_sizes(dataset),
        }  # fmt: skip

    def _recipes(self) -> list[Recipe]:
        """Return a recipe of each compared architecture."""
        found = self.protocol.found
        return [recipes_for(found[name], self.plan.kind, self.plan.task)[0] for name in self.plan.architectures]

    def _fitted(self, name: str, dataset: Dataset) -> FittedBaseline:
        from threadpoolctl import threadpool_limits

        with np.errstate(all="ignore"), threadpool_limits(self.plan.threads, user_api="blas"):
            return self.plan.does.baselines[name](dataset, self._recipes())

    def _architecture(self, name: str, fold: int, share: float) -> tuple[Recipe, Dataset]:
        def read() -> tuple[Recipe, Dataset]:
            recipe, dataset = load_for_architecture(self.protocol, self.plan, name, fold, share)
            self._known.check(dataset, splits=False)
            return recipe, dataset

        return self._keep((name, fold, share, self.plan.architectures[name]), read)  # type: ignore[no-any-return]

    def _data(self, fold: int, share: float) -> Dataset:
        def read() -> Dataset:
            plan = self.plan
            dataset = load_for_baseline(self.protocol, plan.kind, plan.task, tuple(plan.architectures), fold, share)
            self._known.check(dataset, splits=False)
            return dataset

        return self._keep((fold, share), read)  # type: ignore[no-any-return]

    def _keep(self, key: tuple[Any, ...], make: Callable[[], Any]) -> Any:
        if key not in self._kept:
            while len(self._kept) >= KEPT:
                self._kept.popitem(last=False)
            self._kept[key] = make()
        self._kept.move_to_end(key)
        return self._kept[key]


class _Stopwatch(Callback):
    """Times the steps after the first few, and ends the fit when it has seen enough."""

    def __init__(self, long: float) -> None:
        self.steps, self.seconds, self.long = 0, 0.0, long

    def after_step(self, loop: Loop) -> None:
        if loop.position.step == WARM:
            self._started = time.perf_counter()
        elif loop.position.step > WARM:
            self.steps, self.seconds = self.steps + 1, time.perf_counter() - self._started
            loop.interrupted = loop.interrupted or self.seconds > self.long


def _sizes(dataset: Dataset) -> dict[str, int]:
    return {"train": len(dataset.train), "validation": len(dataset.validation), "test": len(dataset.test)}


def _latencies(answer: Callable[..., Any], dataset: Dataset, inputs_of: Callable[[Batch], Batch]) -> dict[str, Any]:
    many = min(MANY, len(dataset.test))
    batches = {"latency_one": dataset.test.take(np.arange(1)), "latency_many": dataset.test.take(np.arange(many))}
    inputs = {name: inputs_of(batch) for name, batch in batches.items()}
    return {name: _median_seconds(answer, arrays) for name, arrays in inputs.items()} | {"many": many}


def _median_seconds(answer: Callable[..., Any], inputs: tuple[Any, ...]) -> float:
    """The median of at least 5 calls, or of as many as half a second allows, after two that warm up."""
    answer(*inputs)
    answer(*inputs)
    taken: list[float] = []
    while len(taken) < 5 or (sum(taken) < 0.5 and len(taken) < 200):
        before = time.perf_counter()
        answer(*inputs)
        taken.append(time.perf_counter() - before)
    return float(np.median(taken))
