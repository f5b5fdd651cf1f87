"""A task: a streaming meter, reproducible evaluation, and the meaning of predictions. The tasks are next to it."""

from __future__ import annotations

import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from nnatomy.backends import compiles_by_shape
from nnatomy.data import fields
from nnatomy.data.dataset import ArraySplit, Dataset, Split, batches
from nnatomy.errors import UserError
from nnatomy.layers.module import Module
from nnatomy.random import Generator
from nnatomy.tasks.baselines import Baseline
from nnatomy.tasks.forward import Forward, Stream
from nnatomy.tasks.parts import Answer, Array, Batch, Coloring, Meter, Mistakes, Score
from nnatomy.training.batches import Feed, PlacedBatch
from nnatomy.training.compilation import compiled
from nnatomy.training.evaluation import Evaluation, Metric, metric_named
from nnatomy.training.precision import FLOAT32, Precision
from nnatomy.training.recipe import Recipe

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from nnatomy.data.kinds import ExportedInputs


Predictor = Callable[[Batch], Any]
"""From inputs to what their outputs mean, as `Task.interpret` returns it: a model, or a file that it was exported to."""


class Task(ABC):
    """A task measures a model on a data set, and says what its outputs mean."""

    name: ClassVar[str]
    metrics: ClassVar[tuple[Metric, ...]]
    """The metrics of a model; comparisons use the first unless another is named. A meter may report more."""
    needs_targets: ClassVar[bool] = True
    """True if the data must have targets of this task; without, any data of the recipe's kind will do."""
    takes_data: ClassVar[bool] = True
    """True if the model predicts for data, False where it generates examples."""
    gives: ClassVar[tuple[tuple[str, str], ...]] = (("prediction", "what the model predicts"),)
    """The outputs of an exported model, (name, what it is) each: what `interpret` returns, then what the network returns."""
    measures_inputs: ClassVar[bool] = False
    """True if metrics are about the inputs themselves, so that they can be compared only where inputs are read alike."""
    drawn_as: ClassVar[Literal["classes", "values", "future", "tokens", "inputs", ""]] = ""
    """The form of decided outputs for pictures: scores of classes, values, the values that follow a window, scores of the
    token after each one, the inputs again; "" for another form."""
    explains: ClassVar[str] = ""
    """The name of `saliency_score`, for captions: "the predicted value"."""
    by_row: ClassVar[bool] = True
    """True if an example's prediction is independent of the other rows, so that several requests can be one batch.
    False where predictions have files, which belong to a whole request."""
    baselines: ClassVar[Mapping[str, Baseline]] = {}
    """Predictors without a network by the names that tables show, the simplest first: a network that is not ahead of it has
    learned nothing."""
    outputs_are: ClassVar[Literal["class scores", "numbers", ""]] = ""
    """The way to average and to distill the outputs of models: as scores of classes, as numbers, or not at all."""
    batch_size: ClassVar[int] = 256
    """Examples that are evaluated in one batch."""

    def __init__(self, recipe: Recipe, dataset: Dataset, precision: Precision = FLOAT32) -> None:
        self.recipe, self.dataset, self.precision = recipe, dataset, precision
        self.planned = False
        """True if the forward pass is worth a plan, as the training was."""
        self.feed = Feed()
        self._functions: dict[tuple[bool, bool, tuple[fields.Field, ...]], tuple[Forward, Any]] = {}

    # What a task says

    @abstractmethod
    def meter(self) -> Meter:
        """Return a meter for one split."""

    def meter_for(self, model: Module | None, split: Split) -> Meter:
        """Return a meter for this split, whose batches it gets in order; overridden where outputs and batches do not say all.

        `model` is None where a predictor without a network is measured.
        """
        return self.meter()

    @abstractmethod
    def interpret(self, outputs: Any, inputs: tuple[Any, ...]) -> Any:
        """Return what decided outputs mean: of arrays, and of the Tensors of a model that is exported."""

    def columns(self, meant: Any) -> dict[str, Array]:
        """Return what `interpret` returned as columns for a user, one value an example each."""
        raise UserError(f"Predictions of {self.name} are not a table. Received a request for columns. Use its files.")

    def present(self, meant: Any, inputs: Batch) -> Answer:
        """Return what `interpret` returned as a user wants it; overridden where that is more than one line an example."""
        return Answer(self.columns(meant))

    def sample(self, model: Any, count: int, seed: int, label: int | None = None) -> Answer:
        """Return `count` new examples that a model makes, of the class `label` if given; the same ones for the same seed.

        Raises UserError where the task makes none.
        """
        raise UserError(
            f"A sample comes from a recipe with sample=, or from a task that makes examples. Received a run for {self.name}. "
            "Use nnatomy predict."
        )

    def write(
        self, model: Any, prompt: str = "\n", seed: int = 0, temperature: float = 0.8, top_k: int = 0, length: int = 600
    ) -> str:
        """Return `length` tokens that a model writes after a prompt, as text; the same ones for the same seed.

        Raises UserError where the task is not about text.
        """
        raise UserError(f"A model that predicts the next token writes texts. Received a run for {self.name}. Use sample().")

    def model_inputs(self, batch: Batch) -> Batch:
        """Return what the model is called with, for as many examples as a batch has: its inputs; noise, for a generator."""
        return fields.select(self.dataset.fields, batch, "input", "given")

    def export_inputs(self) -> ExportedInputs | None:
        """Return the inputs of an exported model where they are not data, such as a generator's noise; else None."""
        return None

    @classmethod
    def loss(cls, outputs: Any, *batch: Any) -> Any:
        """Return the task's usual loss of decided outputs, for models that bring none. Raises UserError where there is none."""
        raise UserError(f"The task {cls.name} has no usual loss. Received a model without one. Give loss=.")

    def figure(self, evaluation: Evaluation) -> Figure | None:
        """Return what the test split showed as a figure for the report; None where there is nothing to draw."""
        return None

    def mistakes(self, evaluation: Evaluation) -> Mistakes:
        """Return the examples of a split in the order of their errors. Raises UserError where the task has no errors."""
        raise UserError(f"Examples of {self.name} have no error each. Received a request for the worst ones. See its metrics.")

    def saliency_score(self, outputs: Array, batch: Batch) -> Score:
        """Return the number that is explained for a batch of one example, given its decided outputs in float64.

        Raises UserError where the task has no such number.
        """
        raise UserError(f"Saliency explains one number. Received outputs of {self.name}. Choose another view.")

    def coloring(self, model: Module, batch: Batch) -> Coloring:
        """Return the names of a batch's examples, such as their classes. Raises UserError where nothing does."""
        raise UserError(f"Examples of {self.name} have no own color. Received a request for it. Choose another view.")

    def targets(self, batch: Batch) -> tuple[Array, ...]:
        """Return the targets of a batch; none where it has none."""
        return fields.select(self.dataset.fields, batch, "target")

    # What is the same for all

    def can(self, ability: str) -> bool:
        """Return True if the task defines one of "mistakes", "saliency_score", "coloring", "figure" and "write" itself."""
        return getattr(type(self), ability) is not getattr(Task, ability)

    def metric(self, name: str) -> Metric:
        """Return the metric of that name, or a loss. Raises UserError, with the nearest name, where there is none."""
        return metric_named(name, self.metrics, self.recipe.learn.losses, self.name)

    def evaluate(self, model: Module, split: Split, batch_size: int | None = None, part: str = "test") -> Evaluation:
        """Return the metrics of a model on a split; each loss is averaged over examples.

        Noise comes from its own stream, seeded by the part: evaluated twice, a stochastic model has the same scores.
        """
        meter, totals, examples = self.meter_for(model, split), dict[str, float](), 0
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

    def score(self, outputs: Callable[..., Any], split: Split) -> Evaluation:
        """Return the metrics on a split of decided outputs that no network gave: outputs(*inputs), such as a baseline's."""
        meter = self.meter_for(None, split)
        for batch in batches(split, self.batch_size):
            meter.add(outputs(*fields.select(split.fields, batch, "input")), batch)
        return meter.result()

    def errors(self, evaluation: Evaluation) -> Array | None:
        """Return one number an example, in order, whose mean falls as the first metric gets better; None where there is none.

        Two predictors of the same examples are compared by them.
        """
        return None

    def predict(self, model: Module, inputs: Batch, batch_size: int | None = None) -> dict[str, Array]:
        """Return predictions for model-ready inputs as columns, one value an example each."""
        return self.answer(model, inputs, batch_size).columns

    def answer(self, model: Module, inputs: Batch, batch_size: int | None = None) -> Answer:
        """Return predictions for model-ready inputs; arrays after the model's own go to `present` alone."""
        return self.answer_from(self.predictor(model, batch_size), inputs)

    def answer_from(self, predictor: Predictor, inputs: Batch) -> Answer:
        """Return predictions for inputs of whatever predicts: a model, or a file that it was exported to."""
        return self.present(predictor(inputs), inputs)

    def predictor(self, model: Module, batch_size: int | None = None) -> Predictor:
        """Return a function from model-ready inputs to what the model's outputs mean."""

        def predict(inputs: Batch) -> Any:
            inputs = inputs[: len(self.dataset.input_fields)]
            split, rows = ArraySplit(inputs, self.dataset.input_fields), batch_size or self.batch_size
            found = [outputs for _, (_, outputs) in self.run(model, split, False, rows, "predict")]
            return in_double(self.interpret(in_double(joined(found)), inputs))

        return predict


def joined(parts: list[Any]) -> Any:
    """Return the outputs of several batches as those of one: arrays, or tuples or dictionaries of them."""
    if isinstance(parts[0], Mapping):
        return {name: joined([part[name] for part in parts]) for name in parts[0]}
    return tuple(joined(list(part)) for part in zip(*parts)) if isinstance(parts[0], tuple) else np.concatenate(parts)


def in_double(outputs: Any) -> Any:
    """Return outputs with their floats as float64 arrays."""
    if isinstance(outputs, Mapping):
        return {name: in_double(part) for name, part in outputs.items()}
    if isinstance(outputs, tuple):
        return tuple(in_double(part) for part in outputs)
    array = np.asarray(outputs)
    return array.astype(np.float64) if array.dtype.kind == "f" else array


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
