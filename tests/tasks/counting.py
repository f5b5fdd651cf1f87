"""A task, its data and its recipe that live in the tests alone: how many dots a row has. Nothing in src knows of them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from toy_data import AsGiven, thirds

from nnatomy import functional as F
from nnatomy import random
from nnatomy.data import fields
from nnatomy.data.dataset import Dataset
from nnatomy.data.fields import DEFAULT, Field
from nnatomy.data.kinds import ExportedInputs, InputSpec
from nnatomy.layers import Linear
from nnatomy.layers.module import Module
from nnatomy.optim import Adam
from nnatomy.tasks import Answer, Baseline, Evaluation, FittedBaseline, Metric, Task
from nnatomy.tensor import Tensor, grad
from nnatomy.training.learners import GradientDescent
from nnatomy.training.recipe import Recipe

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Array = np.ndarray[Any, Any]
PLACES = 6


class Dots(AsGiven):
    kind = "dots"


def dataset_of(task: str, arrays: tuple[Array, ...], named: tuple[Field, ...] = DEFAULT, kind: str = "dots") -> Dataset:
    return Dataset("dots", kind, task, *thirds(arrays, named), (), Dots(), (), arrays[0].shape[1:], "rows of dots", 1)


def dots(seed: int = 0, n: int = 240) -> Dataset:
    x = (np.random.default_rng(seed).uniform(size=(n, PLACES)) < 0.5).astype(np.float32)
    return dataset_of("counting", (x, x.sum(axis=1).astype(np.int64)))


class Meter:
    """Sums, so that nothing of a split is kept."""

    def __init__(self, named: tuple[Field, ...]) -> None:
        self.named, self.off, self.exact, self.count = named, 0.0, 0, 0

    def add(self, outputs: Array, batch: tuple[Array, ...]) -> None:
        (true,) = fields.select(self.named, batch, "target")
        self.off += float(np.abs(outputs[:, 0] - true).sum(dtype=np.float64))
        self.exact += int((np.rint(outputs[:, 0]) == true).sum())
        self.count += len(true)

    def result(self) -> Evaluation:
        return Evaluation({"off": self.off / self.count, "exact": self.exact / self.count})


def always_half(dataset: Dataset, recipes: Sequence[Recipe]) -> FittedBaseline:
    """Half of the places, whatever they hold."""
    return FittedBaseline(lambda x: np.full((len(x), 1), PLACES / 2), 0, 0, "half of the places")


class Counting(Task):
    """The distance of a count from the true one."""

    name = "counting"
    metrics: ClassVar[tuple[Metric, ...]] = (Metric("off", "lower", "dots"), Metric("exact", "higher"))
    gives = (("count", "how many dots there are"),)
    by_row = False
    baselines: ClassVar[dict[str, Baseline]] = {"always half": always_half}

    def meter(self) -> Meter:
        return Meter(self.dataset.fields)

    def interpret(self, outputs: Any, inputs: tuple[Any, ...]) -> Any:
        return outputs[:, 0]

    def present(self, meant: Array, inputs: tuple[Array, ...]) -> Answer:
        """One line a dot, so several for an input or none; and the counts as a file."""
        counts = np.maximum(np.rint(meant).astype(int), 0)
        rows = np.repeat(np.arange(len(counts)), counts)
        place = np.concatenate([np.arange(k) for k in counts]) if len(rows) else np.zeros(0, int)

        def write(path: Path) -> None:
            path.write_text("\n".join(map(str, counts)), encoding="utf-8")

        return Answer({"dot": place}, rows, {"counts.txt": write})

    def figure(self, evaluation: Evaluation) -> Figure:
        from matplotlib.figure import Figure

        figure = Figure()
        figure.subplots().bar(list(evaluation.metrics), list(evaluation.metrics.values()))
        return figure


class Drawing(Counting):
    """Makes examples from noise: its exported model takes that, and no data."""

    name = "drawing"

    def export_inputs(self) -> ExportedInputs:
        return ExportedInputs(self.dataset, InputSpec("noise", (PLACES,), "float32", "normal noise"))


def loss(model: Module, x: Tensor, count: Tensor) -> tuple[Tensor, Tensor]:
    outputs = model(x)
    return F.mse_loss(outputs[:, 0], count.astype("float32")), outputs


def penalized(model: Module, x: Tensor, count: Tensor) -> tuple[Tensor, Tensor]:
    """The loss and the squared slope of the outputs: a loss that takes a gradient itself."""
    x = x.detach()
    x.requires_grad = True
    outputs = model(x)
    (slope,) = grad(outputs.sum(), [x], create_graph=True)
    return F.mse_loss(outputs[:, 0], count.astype("float32")) + slope.square().sum(axis=1).mean(), outputs


class Noisy(Module):
    """A linear map that draws noise in evaluation too, from the default generator."""

    def __init__(self) -> None:
        self.linear = Linear(PLACES, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x) + Tensor(random.default.normal((x.shape[0], 1)))


def recipe_of(task: type[Task] = Counting, build: Any = lambda dataset: Linear(PLACES, 1), **learn: Any) -> Recipe:
    given = {"loss": loss, "optimizer": partial(Adam, lr=0.05)} | learn
    return Recipe("dots", (task,), "dots", build, {}, GradientDescent(**given), 5, 16, task.metrics[0].name)
