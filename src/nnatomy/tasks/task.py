"""What a task is: a streaming meter, reproducible evaluation, and what predictions mean to a user. The tasks are beside it."""

from __future__ import annotations

import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

import numpy as np

from nnatomy.backends import compiles_by_shape
from nnatomy.data import fields
from nnatomy.data.dataset import ArraySplit, Dataset, Split
from nnatomy.errors import UserError
from nnatomy.layers.module import Module
from nnatomy.random import Generator
from nnatomy.tasks.forward import Forward, Stream
from nnatomy.training.batches import Feed, PlacedBatch
from nnatomy.training.compilation import compiled
from nnatomy.training.evaluation import Evaluation, Metric, metric_named
from nnatomy.training.precision import FLOAT32, Precision
from nnatomy.training.recipe import Recipe

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Array = np.ndarray[Any, Any]
Batch = tuple[Array, ...]


class Meter(Protocol):
    """Measures a split batch by batch; keeps of it what its metrics need, and no more."""

    def add(self, outputs: Any, batch: Batch) -> None:
        """Take the decided outputs of a batch, and the batch itself with its targets."""
        ...

    def result(self) -> Evaluation:
        """Return the metrics of all that was added."""
        ...


@dataclass(frozen=True)
class Answer:
    """What a model predicts, as a user wants it: columns with one value a line, or files."""

    columns: dict[str, Array]
    rows: Array | None = None
    """Which input each line belongs to, counted from 0, where an input has several lines or none; None: one line each."""
    files: dict[str, Callable[[Path], None]] = field(default_factory=dict)
    """Functions that write a file, by the file's name: a mask as PNG, a sound as WAV."""


class Task(ABC):
    """What is measured of a model on a data set, and what its outputs mean."""

    name: ClassVar[str]
    metrics: ClassVar[tuple[Metric, ...]]
    """What a meter reports; the first is what comparisons use unless another is named."""
    needs_targets: ClassVar[bool] = True
    """Whether the data must have targets of this task; without, any data of the recipe's kind will do."""
    gives: ClassVar[tuple[tuple[str, str], ...]] = ()
    """The outputs of an exported model, (name, what it is) each: what `interpret` returns, then what the network returns."""
    outputs_are: ClassVar[Literal["class scores", "numbers", ""]] = ""
    """How outputs of several models are averaged and learned from: as scores of classes, as numbers, or not at all."""
    batch_size: ClassVar[int] = 256
    """Examples that are evaluated in one batch."""

    def __init__(self, recipe: Recipe, dataset: Dataset, precision: Precision = FLOAT32) -> None:
        self.recipe, self.dataset, self.precision = recipe, dataset, precision
        self.planned = False
        """Whether the forward pass is worth a plan, as the training was."""
        self.feed = Feed()
        self._functions: dict[tuple[bool, bool, tuple[fields.Field, ...]], tuple[Forward, Any]] = {}

    # What a task says

    @abstractmethod
    def meter(self) -> Meter:
        """Return a meter for one split."""

    @abstractmethod
    def interpret(self, outputs: Any, inputs: tuple[Any, ...]) -> Any:
        """Return what decided outputs mean: of arrays, and of the Tensors of a model that is exported."""

    @abstractmethod
    def columns(self, meant: Array) -> dict[str, Array]:
        """Return what `interpret` returned as columns for a user."""

    @classmethod
    def loss(cls, outputs: Any, *batch: Any) -> Any:
        """Return the task's usual loss of decided outputs, for models that bring none. Raises UserError where there is none."""
        raise UserError(f"The task {cls.name} has no usual loss. Received a model without one; give loss=.")

    def figure(self, evaluation: Evaluation) -> Figure | None:
        """Return what the test split showed as a figure for the report; None where there is nothing to draw."""
        return None

    # What is the same for all

    def metric(self, name: str) -> Metric:
        """Return the metric of that name, or a loss. Raises UserError, with the nearest name, where there is none."""
        return metric_named(name, self.metrics, self.recipe.learn.losses, self.name)

    def evaluate(self, model: Module, split: Split, batch_size: int | None = None, part: str = "test") -> Evaluation:
        """Return the metrics of a model on a split; each loss is averaged over examples.

        Noise comes from a stream of its own, seeded by the part: evaluated twice, a stochastic model has the same scores.
        """
        meter, totals, examples = self.meter(), dict[str, float](), 0
        for batch, (losses, outputs) in self.run(model, split, True, batch_size or self.batch_size, part):
            for name, value in losses.items():
                totals[name] = totals.get(name, 0.0) + float(value) * batch.examples
            examples += batch.examples
            meter.add(outputs, batch.host)
        found = meter.result()
        means = {name: total / max(examples, 1) for name, total in totals.items()}
        return Evaluation(means | found.metrics, found.arrays)

    def run(
        self, model: Module, split: Split, losses: bool, batch_size: int, part: str
    ) -> Iterator[tuple[PlacedBatch, tuple[dict[str, Any], Any]]]:
        """Yield each batch of a split with its losses and decided outputs, on the host and without padding."""
        forward, function = self.function(model, split.fields, losses)
        rows = min(batch_size, max(len(split), 1))
        arrays, number = forward.arrays(), 0

        def step(*args: Any) -> Any:
            nonlocal number
            number += 1
            return function(arrays, stream(part, number), *args)

        with closing(self.feed(split, rows)) as batches:
            for batch, (found, outputs) in self.feed.map(step, batches):
                yield batch, (found, self._examples(outputs, batch))

    def _examples(self, outputs: Any, batch: PlacedBatch) -> Any:
        """Outputs on the host; the rows that padded the batch are cut off."""
        if isinstance(outputs, dict):
            return {name: self._examples(a, batch) for name, a in outputs.items()}
        if isinstance(outputs, tuple):
            return tuple(self._examples(a, batch) for a in outputs)
        found = self.feed.devices.to_host(outputs)
        return found[: batch.examples] if batch.mask is not None else found

    def function(self, model: Module, named: tuple[fields.Field, ...], losses: bool) -> tuple[Forward, Any]:
        """Return the forward pass of a model as an object and as what runs it; the same ones as long as the model is."""
        planned = self.planned or compiles_by_shape()
        key = losses, planned, named
        if key not in self._functions or self._functions[key][0].model is not model:
            forward = Forward(model, self.recipe, named, losses, self.precision, self.feed.devices)
            self._functions[key] = forward, compiled(forward) if planned else forward
        return self._functions[key]

    def predict(self, model: Module, inputs: Batch, batch_size: int = 256) -> dict[str, Array]:
        """Return predictions for model-ready inputs as columns, one value an example each."""
        return self.answer(model, inputs, batch_size).columns

    def answer(self, model: Module, inputs: Batch, batch_size: int = 256) -> Answer:
        """Return predictions for model-ready inputs."""
        split = ArraySplit(inputs, self.dataset.input_fields)
        found = [outputs for _, (_, outputs) in self.run(model, split, False, batch_size, "predict")]
        outputs = np.concatenate(found)
        return Answer(self.columns(np.asarray(self.interpret(outputs.astype(np.float64), inputs))))


def stream(part: str, number: int) -> Stream:
    """Return the random stream of a batch of a part: the same one at every evaluation, on every machine."""
    return Generator(zlib.crc32(part.encode()) << 32 | number).state_dict()


@dataclass(frozen=True)
class UsualLoss:
    """The usual loss of a task, for models that bring none: loss(model, *batch) -> (loss, outputs)."""

    task: type[Task]
    named: tuple[fields.Field, ...]
    decide: Callable[[Any], Any]

    def __call__(self, model: Any, *batch: Any) -> tuple[Any, Any]:
        outputs = model(*fields.select(self.named, batch, "input", "given"))
        return self.task.loss(self.decide(outputs), *batch), outputs


class Joined:
    """A meter that keeps outputs and targets, for metrics that cannot be summed: an AUC, a coefficient of determination."""

    def __init__(self, measure: Callable[[Array, Array], Evaluation], named: tuple[fields.Field, ...], *roles: Any) -> None:
        self._measure, self._named, self._roles = measure, named, roles or ("target",)
        self._outputs: list[Array] = []
        self._targets: list[Array] = []

    def add(self, outputs: Array, batch: Batch) -> None:
        self._outputs.append(outputs)
        self._targets.append(fields.select(self._named, batch, *self._roles)[0])

    def result(self) -> Evaluation:
        return self._measure(np.concatenate(self._outputs), np.concatenate(self._targets))
