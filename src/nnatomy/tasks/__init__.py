"""What is measured: a task turns a model and a split into metrics and the arrays that a report draws."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from nnatomy import ops
from nnatomy.backends import B, compiles_by_shape
from nnatomy.data.dataset import ArraySplit, Dataset, Split, batches
from nnatomy.functional import masked_examples, softmax
from nnatomy.graph import no_grad
from nnatomy.layers.module import Module
from nnatomy.plan import Compiled, compile
from nnatomy.random import Generator
from nnatomy.tensor import Tensor
from nnatomy.training.batches import LATE, Feed, Given
from nnatomy.training.parallel.devices import Devices
from nnatomy.training.precision import FLOAT32, Precision
from nnatomy.training.recipe import Recipe

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Evaluation:
    """Metrics by name, and what they were computed from: arrays by name, for pictures and tests."""

    metrics: dict[str, float]
    arrays: dict[str, Array] = field(default_factory=dict)


@contextmanager
def _evaluating(model: Module) -> Iterator[None]:
    """A block in which the model behaves as after training, nothing is recorded, and overflow makes no noise."""
    training = model.training
    model.eval()
    try:
        with no_grad(), np.errstate(all="ignore"):
            yield
    finally:
        model.train(training)


def forward(model: Module, arrays: tuple[Array, ...]) -> Any:
    """The model's output for a batch of inputs (targets not among them), in evaluation mode and unrecorded."""
    with _evaluating(model):
        return model(*[Tensor(a) for a in arrays])


class Answer:
    """The loss of a batch and the decided outputs, as a function of the model's arrays: so it can be compiled."""

    def __init__(self, model: Module, recipe: Recipe, precision: Precision, devices: Devices) -> None:
        self.model, self.recipe, self.precision, self.devices = model, recipe, precision, devices
        self._tensors = dict(model.named_parameters()) | dict(model.named_buffers())

    def arrays(self) -> dict[str, Array]:
        """The parameters and buffers as they stand now."""
        return {name: t.data for name, t in self._tensors.items()}

    def bind(self, arrays: dict[str, Array]) -> None:
        """Makes the model stand where `arrays` says."""
        for name, t in self._tensors.items():
            t.data = arrays[name]

    def __call__(self, arrays: dict[str, Array], batch: tuple[Array, ...], mask: Any = None) -> tuple[Array, Array]:
        self.bind(arrays)
        tensors = [Tensor(a) for a in self.precision.evaluated(batch)]
        with _evaluating(self.model), self.devices.whole(self._tensors), masked_examples(mask):
            loss = self.recipe.loss(self.model, *tensors)
            out = self.model(*tensors[:-1])
            return loss.data, self.recipe.decide(out).data


class Decided(Answer):
    """The decided outputs alone, of inputs without targets; rows that only fill a batch up are left to the caller."""

    def __call__(self, arrays: dict[str, Array], batch: tuple[Array, ...], mask: Any = None) -> Any:
        self.bind(arrays)
        with _evaluating(self.model), self.devices.whole(self._tensors):
            return self.recipe.decide(self.model(*[Tensor(a) for a in self.precision.evaluated(batch)])).data


class Foretold(Decided):
    """The decided outputs of inputs that come with targets."""

    def __call__(self, arrays: dict[str, Array], batch: tuple[Array, ...], mask: Any = None) -> Any:
        return super().__call__(arrays, batch[:-1])


class Task(ABC):
    """The measurements that fit a data set's targets. `planned`: they are worth a plan, as the training was."""

    def __init__(self, recipe: Recipe, dataset: Dataset, precision: Precision = FLOAT32) -> None:
        self.recipe, self.dataset, self.precision = recipe, dataset, precision
        self.planned = False
        self.feed = Feed()
        self._compiled: dict[type[Answer], tuple[Answer, Compiled]] = {}

    @abstractmethod
    def measure(self, outputs: Array, targets: Array) -> Evaluation:
        """Metrics of all decided outputs of a split against its targets."""

    def target(self, batch: tuple[Array, ...]) -> Array:
        """What the outputs of a batch are measured against."""
        return batch[-1]

    def evaluate(self, model: Module, split: Split, batch_size: int = 256) -> Evaluation:
        """Metrics over a split; "loss" is the recipe's, averaged over examples."""
        total, outputs, targets = 0.0, [], []
        count = 0
        for given, (loss, out) in self._run(Answer, model, split, batch_size):
            total += float(loss) * given.examples
            outputs.append(self.feed.devices.to_host(out)[: given.examples])
            targets.append(self.target(given.made))
            count += given.examples
        found = self.measure(np.concatenate(outputs), np.concatenate(targets))
        return Evaluation({"loss": total / count, **found.metrics}, found.arrays)

    def _run(self, kind: type[Answer], model: Module, split: Split, batch_size: int) -> Iterator[tuple[Given, Any]]:
        """Each batch of a split with what is computed of it, LATE batches behind the one that was begun last."""
        answer, compiled = self._function(kind, model)
        run = compiled if self.planned or compiles_by_shape() else answer
        rows = min(batch_size, max(len(split), 1))
        begun: deque[tuple[Given, Any]] = deque()
        with closing(self.feed(split, rows)) as batch:
            for given in batch:
                begun.append((given, run(answer.arrays(), *given.args)))
                if len(begun) > LATE:
                    yield begun.popleft()
        yield from begun

    def _function(self, kind: type[Answer], model: Module) -> tuple[Answer, Compiled]:
        """What computes this of the model, as it is and compiled; the same as long as the model is."""
        if kind not in self._compiled or self._compiled[kind][0].model is not model:
            answer = kind(model, self.recipe, self.precision, self.feed.devices)
            self._compiled[kind] = answer, compile(answer, warn=False)
        return self._compiled[kind]

    def predict(self, model: Module, inputs: tuple[Array, ...], batch_size: int = 256) -> dict[str, Array]:
        """Predictions for model-ready inputs, one array a column of the answer."""
        found = self._run(Decided, model, ArraySplit(inputs), batch_size)
        parts = [self.feed.devices.to_host(out)[: given.examples] for given, out in found]
        return self.answer(np.concatenate(parts), inputs)

    def answer(self, outputs: Array, inputs: tuple[Array, ...]) -> dict[str, Array]:
        """Decided outputs as columns for a user."""
        return self.columns(np.asarray(self.told(outputs.astype(np.float64), inputs)))

    means: ClassVar[str]
    """What `told` gives, in a word."""

    @abstractmethod
    def told(self, outputs: Any, inputs: tuple[Any, ...]) -> Any:
        """What decided outputs mean to a user: of arrays, and of the Tensors of a model that is exported."""

    @abstractmethod
    def columns(self, told: Array) -> dict[str, Array]:
        """That as the columns of an answer."""


class Classification(Task):
    """Accuracy and its kin; outputs are one score a class, or a single score whose sign decides between two."""

    means = "probabilities"

    def told(self, outputs: Any, inputs: tuple[Any, ...]) -> Any:
        """Softmax of the scores, or the sigmoid of a single one."""
        if outputs.shape[-1] == 1:
            outputs = ops.concatenate([ops.zeros_like(outputs), outputs], axis=-1)
        return softmax(outputs, axis=-1)

    def probabilities(self, outputs: Array) -> Array:
        """The probabilities of all classes, in float64."""
        return np.asarray(self.told(outputs.astype(np.float64), ()))

    def measure(self, outputs: Array, targets: Array) -> Evaluation:
        from sklearn.metrics import balanced_accuracy_score, f1_score, roc_auc_score

        p = self.probabilities(outputs)
        chosen = p.argmax(axis=-1)
        metrics = {
            "accuracy": float((chosen == targets).mean()),
            "balanced_accuracy": float(_quietly(balanced_accuracy_score, targets, chosen)),
            "f1": float(f1_score(targets, chosen, average="macro", zero_division=0)),
        }
        if np.isfinite(p).all() and len(np.unique(targets)) == p.shape[1]:
            metrics["auc"] = float(
                roc_auc_score(targets, p[:, 1]) if p.shape[1] == 2 else roc_auc_score(targets, p, multi_class="ovr")
            )
        return Evaluation(metrics, {"targets": targets, "predictions": chosen, "probabilities": p})

    def columns(self, told: Array) -> dict[str, Array]:
        names = np.array(self.dataset.classes)
        columns = {"prediction": names[told.argmax(axis=-1)], "probability": told.max(axis=-1)}
        return columns | {f"p({name})": told[:, i] for i, name in enumerate(names)} if len(names) <= 20 else columns


def _quietly(function: Any, *args: Any) -> Any:
    """Without the warning about classes or a variance that a small split does not hold; the answer is NaN then."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return function(*args)


class Regression(Task):
    """Errors in the target's own units, and R²."""

    means = "prediction"

    def measure(self, outputs: Array, targets: Array) -> Evaluation:
        from sklearn.metrics import mean_absolute_error, r2_score

        y = self.dataset.preprocessing.inverse_targets(targets.astype(np.float64))
        guess = self.dataset.preprocessing.inverse_targets(outputs.astype(np.float64))
        if not np.isfinite(guess).all():
            return Evaluation({"r2": -math.inf, "mae": math.inf, "rmse": math.inf}, {"targets": y, "predictions": guess})
        metrics = {
            "r2": float(_quietly(r2_score, y, guess)),
            "mae": float(mean_absolute_error(y, guess)),
            "rmse": float(np.sqrt(np.mean((y - guess) ** 2))),
        }
        return Evaluation(metrics, {"targets": y, "predictions": guess})

    def told(self, outputs: Any, inputs: tuple[Any, ...]) -> Any:
        return self.dataset.preprocessing.inverse_targets(outputs)

    def columns(self, told: Array) -> dict[str, Array]:
        if told.shape[1] == 1:
            return {"prediction": told[:, 0]}
        return {f"prediction_{i}": told[:, i] for i in range(told.shape[1])}


class Forecast(Task):
    """Errors of forecast windows, standardised as the papers report them and in the target's units, against the last value."""

    means = "forecast"

    def measure(self, outputs: Array, targets: Array) -> Evaluation:
        error = outputs.astype(np.float64).reshape(targets.shape) - targets
        y = self.dataset.preprocessing.inverse_targets(targets.astype(np.float64))
        guess = self.dataset.preprocessing.inverse_targets(outputs.astype(np.float64).reshape(targets.shape))
        metrics = {
            "mse": float(np.mean(error**2)),
            "mae": float(np.mean(np.abs(error))),
            "rmse_in_units": float(np.sqrt(np.mean((y - guess) ** 2))),
        }
        return Evaluation(metrics, {"targets": y, "predictions": guess})

    def evaluate(self, model: Module, split: Split, batch_size: int = 256) -> Evaluation:
        found = super().evaluate(model, split, batch_size)
        whole = getattr(split, "targets", None)
        columns = list(whole) if whole is not None else None
        errors = [
            np.abs(batch[0][:, -1:, columns] - batch[-1]).mean(axis=(1, 2))
            for batch in batches(split, 1024)
            if columns is not None and batch[-1].ndim == 3
        ]
        naive = {"naive_mae": float(np.concatenate(errors).mean())} if errors else {}
        return Evaluation(found.metrics | naive, found.arrays)

    def told(self, outputs: Any, inputs: tuple[Any, ...]) -> Any:
        shaped = ops.reshape(outputs, (outputs.shape[0], -1, self.dataset.outputs))
        return self.dataset.preprocessing.inverse_targets(shaped)

    def columns(self, told: Array) -> dict[str, Array]:
        return {f"step_{h + 1}": told[:, h, 0] for h in range(told.shape[1])}


WRITTEN, TEMPERATURE = 200, 0.7  # how much is written after a prompt, and how far from the likeliest it strays


class Language(Task):
    """How well the next token is predicted, in nats, bits and perplexity, against the unigram entropy of the text."""

    means = "scores"

    def measure(self, outputs: Array, targets: Array) -> Evaluation:
        raise TypeError("Language is measured batch by batch; see evaluate().")

    def evaluate(self, model: Module, split: Split, batch_size: int = 64) -> Evaluation:
        total, hits, count = 0.0, 0, 0
        counts = np.zeros(self.dataset.outputs, np.int64)
        for given, out in self._run(Foretold, model, split, batch_size):
            scores, following = self.feed.devices.to_host(out)[: given.examples], given.made[-1]
            with np.errstate(all="ignore"):
                top = scores.max(axis=-1, keepdims=True)
                log_p = scores - top - np.log(np.exp(scores - top).sum(axis=-1, keepdims=True))
            total -= float(np.take_along_axis(log_p, following[..., None], -1).sum(dtype=np.float64))
            hits += int((scores.argmax(-1) == following).sum())
            count += following.size
            counts += np.bincount(following.reshape(-1), minlength=len(counts))
        return Evaluation(language_metrics(total / count, hits / count, counts))

    def predict(self, model: Module, inputs: tuple[Array, ...], batch_size: int = 256) -> dict[str, Array]:
        """How the text goes on: WRITTEN tokens, each drawn from the probabilities after the window before it."""
        window, generator = self.dataset.input_shape[0], Generator(0)
        tokens = inputs[0]
        for _ in range(WRITTEN):
            scores = self._next(model, tokens[:, -window:], window)
            p = np.asarray(softmax(scores.astype(np.float64) / TEMPERATURE, axis=-1))
            drawn = (p.cumsum(axis=-1) < generator.uniform((len(p), 1), dtype="float64")).sum(axis=-1)
            tokens = np.concatenate([tokens, drawn[:, None]], axis=1)
        return self.columns(tokens[:, -WRITTEN:])

    def _next(self, model: Module, tokens: Array, window: int) -> Array:
        """The scores of what follows tokens (batch, time). Who compiles gives whole windows: what follows changes nothing."""
        if not compiles_by_shape():
            return np.asarray(self.recipe.decide(forward(model, (tokens,))).data)[:, -1]
        steps = tokens.shape[1]
        whole = np.pad(tokens, ((0, 0), (0, window - steps)), mode="edge")
        answer, compiled = self._function(Decided, model)
        scores = compiled(answer.arrays(), (B.asarray(whole),))
        return np.asarray(self.feed.devices.to_host(scores)[:, steps - 1])

    def told(self, outputs: Any, inputs: tuple[Any, ...]) -> Any:
        return outputs

    def columns(self, told: Array) -> dict[str, Array]:
        """The text of tokens [n, length]."""
        characters = np.array(getattr(self.dataset.preprocessing, "vocabulary"))  # noqa: B009
        return {"continuation": np.array(["".join(characters[row]) for row in told])}


def language_metrics(loss: float, accuracy: float, counts: Array) -> dict[str, float]:
    """The metrics of a mean loss in nats, the share of tokens foretold, and how often each token was to be foretold."""
    share = counts[counts > 0] / counts.sum()
    return {
        "loss": loss,
        "bits_per_token": loss / math.log(2),
        "perplexity": math.exp(min(loss, 700.0)),
        "accuracy": accuracy,
        "unigram_entropy": float(-(share * np.log(share)).sum()),
    }


class Reconstruction(Task):
    """How much of the inputs' variance comes back out."""

    means = "error"

    def target(self, batch: tuple[Array, ...]) -> Array:
        return batch[0]

    def measure(self, outputs: Array, targets: Array) -> Evaluation:
        rows = len(targets)
        x, back = targets.reshape(rows, -1).astype(np.float64), outputs.reshape(rows, -1).astype(np.float64)
        errors = ((x - back) ** 2).mean(axis=1)
        spread = ((x - x.mean(axis=0)) ** 2).mean()
        metrics = {"mse": float(errors.mean()), "explained": float(1 - errors.mean() / max(spread, 1e-12))}
        return Evaluation(metrics, {"targets": x, "predictions": back, "errors": errors})

    def told(self, outputs: Any, inputs: tuple[Any, ...]) -> Any:
        """The mean squared error of each example."""
        off = ops.flatten(outputs, 1) - ops.flatten(inputs[0], 1)
        return ops.mean(off * off, axis=1)

    def columns(self, told: Array) -> dict[str, Array]:
        return {"error": told}


class Anomaly(Reconstruction):
    """The error of each window as its anomaly score; AUC where the data set labels the test windows."""

    def evaluate(self, model: Module, split: Split, batch_size: int = 256) -> Evaluation:
        found = super().evaluate(model, split, batch_size)
        flags, scores = np.concatenate([batch[-1] for batch in batches(split, 1024)]), found.arrays["errors"]
        return Evaluation(found.metrics | detection(flags, scores), found.arrays | {"labels": flags, "scores": scores})


def detection(flags: Array, scores: Array) -> dict[str, float]:
    """How well scores[n] tell examples with flag 1 from those with 0; nothing where all flags are the same."""
    from sklearn.metrics import average_precision_score, roc_auc_score

    if len(np.unique(flags)) < 2:
        return {}
    return {
        "auc": float(roc_auc_score(flags, scores)),
        "average_precision": float(average_precision_score(flags, scores)),
    }


TASKS: dict[str, type[Task]] = {
    "classification": Classification,
    "regression": Regression,
    "forecast": Forecast,
    "language": Language,
    "anomaly": Anomaly,
    "reconstruction": Reconstruction,
}


def task_for(recipe: Recipe, dataset: Dataset, precision: Precision = FLOAT32) -> Task:
    """The task that measures a data set: its own, or reconstruction where that is what the recipe does."""
    return TASKS[task_name(recipe, dataset)](recipe, dataset, precision)


def task_name(recipe: Recipe, dataset: Dataset) -> str:
    """The name of that task."""
    return dataset.task if dataset.task in recipe.tasks else recipe.tasks[0]


__all__ = ["TASKS", "Evaluation", "Task", "forward", "task_for", "task_name"]
