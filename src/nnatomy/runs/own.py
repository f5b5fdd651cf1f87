"""Objects that a user gives in place of names: a Module, arrays, a frame, a loss. A recipe follows from the data's task."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from nnatomy import optim, random, tasks
from nnatomy.catalog import Architecture, blank_front
from nnatomy.catalog import architecture as find_architecture
from nnatomy.data.dataset import Dataset
from nnatomy.data.fields import Field, select
from nnatomy.errors import UserError, unknown_name
from nnatomy.layers.module import Module
from nnatomy.runs.own_data import Absent, data_name
from nnatomy.tasks import Task
from nnatomy.tasks.forward import evaluating
from nnatomy.tasks.task import UsualLoss
from nnatomy.tensor import Tensor
from nnatomy.training.learners import GradientDescent
from nnatomy.training.learners.gradient_descent import call, keywords
from nnatomy.training.learners.learner import ADAMW, Loss
from nnatomy.training.precision import Precision
from nnatomy.training.recipe import Recipe

EPOCHS, BATCH_SIZE = 10, 32
"""Of a user's model, unless others are given."""
VARIABLE = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


@dataclass(frozen=True)
class Own:
    """A user's objects, which a run's folder cannot keep: it keeps their names, and they are given again."""

    model: Any = None
    """A Module, which is trained in place, or what makes one: model(), or model(dataset)."""
    data: Any = None
    """Arrays (X, y), a data frame or a Dataset."""
    task: Any = None
    """A class of tasks/, or its name; the data's own if None."""
    loss: Any = None
    """loss(model, *batch) -> (loss, outputs), or a criterion(outputs, targets) -> loss; the task's usual loss if None."""
    optimizer: Any = None
    """An optimizer's class, or a partial of one."""

    def __post_init__(self) -> None:
        given = [name for name in ("task", "loss", "optimizer") if getattr(self, name) is not None]
        if given and self.model is None:
            raise UserError(f"An architecture's recipe has its own {given[0]}. Received {given[0]}= with a name. Leave it out.")

    def plain(self) -> dict[str, Any]:
        """Return the names of the given objects, as a run's folder keeps them."""
        found: dict[str, Any] = {} if self.model is None else {"model": name_of(self.model)}
        if self.data is not None:
            found["data"] = data_name(self.data)
        if self.task is not None:
            found["task"] = task_of(self.task).name
        if self.loss is not None:
            found["loss"] = getattr(self.loss, "__name__", type(self.loss).__name__)
        if self.optimizer is not None:
            found["optimizer"] = call(_rule(self.optimizer))
        return found


NOTHING = Own()


@dataclass(frozen=True)
class OwnModel(Architecture):
    """A user's Module where an architecture is expected: it has one recipe and no page."""

    recipe: Recipe

    @property
    def recipes(self) -> tuple[Recipe, ...]:
        return (self.recipe,)

    @property
    def page(self) -> str:
        return ""

    def has(self, part: str) -> bool:
        return False


def name_of(model: Any) -> str:
    """Return the name of a model: its class, or the function that makes it."""
    named = model if inspect.isroutine(model) or isinstance(model, type) else type(model)
    return str(getattr(named, "__name__", "model")).strip("<>")


def named_only(model: Any, caller: str) -> str:
    """Return the name or path of an architecture for another process. Raises UserError for an object, which cannot be sent."""
    if not isinstance(model, str | PathLike | None):
        raise UserError(
            f"{caller}() trains in processes that find architectures by a name or a folder. Received {name_of(model)}. Put it "
            "into a folder with model.py and recipe.py, and give its path."
        )
    named: Any = model
    return find_architecture(named).key


def task_of(task: Any) -> type[Task]:
    """Return a class of tasks/ by itself or by its name. Raises UserError for another value."""
    if isinstance(task, type) and issubclass(task, Task):
        return task
    known = _tasks()
    if task not in known:
        raise unknown_name("task", str(task), known)
    return known[task]


def _tasks() -> dict[str, type[Task]]:
    return {c.name: c for c in vars(tasks).values() if isinstance(c, type) and issubclass(c, Task) and c is not Task}


# Models


def own_model(own: Own, dataset: Dataset) -> tuple[OwnModel, Dataset]:
    """Return a user's model as an architecture with the recipe that fits the data, and the data with the task it does.

    Raises UserError for a model, a loss or an optimizer of another type.
    """
    task = task_of(own.task or dataset.task)
    dataset = replace(dataset, task=task.name)
    loss = UsualLoss(task, dataset.fields, _as_it_is) if own.loss is None else loss_of(own.loss, dataset.fields)
    name = name_of(own.model)
    build = Build(own.model)
    recipe = Recipe(
        kind=dataset.kind, tasks=(task,), data=dataset.name, build=build, options={},
        learn=GradientDescent(loss, ADAMW if own.optimizer is None else _rule(own.optimizer)), epochs=EPOCHS,
        batch_size=BATCH_SIZE, metric="loss",
    )  # fmt: skip
    return OwnModel(name, "own", Path(), blank_front(name), recipe), dataset


class Build:
    """A recipe's build(dataset, **options) for a Module, which is returned as it is, or for a function that makes one."""

    def __init__(self, model: Any) -> None:
        self._model, self._takes_data, options = model, False, list[inspect.Parameter]()
        if not isinstance(model, Module):
            if not callable(model):
                raise UserError(
                    f"A model is a name, a folder's path or a Module. Received {type(model).__name__}. "
                    "Give, for example, 'mlp' or an nn.Module."
                )
            parameters = [p for p in inspect.signature(model).parameters.values() if p.kind not in VARIABLE]
            needed = [p.name for p in parameters if p.default is p.empty]
            if len(needed) > 1:
                raise UserError(
                    f"A model's function takes nothing or the data set. Received {name_of(model)}, which needs "
                    f"{', '.join(needed)}. Wrap it: "
                    f"lambda dataset: {name_of(model)}(...)."
                )
            self._takes_data = bool(needed)
            options = [p.replace(kind=p.KEYWORD_ONLY) for p in parameters if p.default is not p.empty]
        self.__signature__ = inspect.Signature([inspect.Parameter("dataset", inspect.Parameter.POSITIONAL_ONLY), *options])

    def __call__(self, dataset: Dataset, **options: Any) -> Module:
        if isinstance(self._model, Module):
            return self._model
        made = self._model(dataset, **options) if self._takes_data else self._model(**options)
        if not isinstance(made, Module):
            raise UserError(
                f"A model's function returns a Module. Received {type(made).__name__} from {name_of(self._model)}. "
                "Return the model."
            )
        return made


@dataclass(frozen=True)
class Criterion:
    """A criterion(outputs, targets) -> loss as loss(model, *batch) -> (loss, outputs)."""

    criterion: Callable[..., Any]
    named: tuple[Field, ...]

    def __call__(self, model: Any, *batch: Any) -> tuple[Any, Any]:
        outputs = model(*select(self.named, batch, "input", "given"))
        return self.criterion(outputs, *select(self.named, batch, "target")), outputs

    @property
    def __name__(self) -> str:
        return str(getattr(self.criterion, "__name__", type(self.criterion).__name__))


def loss_of(loss: Any, named: tuple[Field, ...]) -> Loss:
    """Return a user's loss as a recipe has it: a function whose first parameter is `model`, or else a criterion."""
    if not callable(loss):
        raise UserError(
            f"A loss is loss(model, *batch) or criterion(outputs, targets). Received {type(loss).__name__}. "
            "Give such a function, for example nn.functional.cross_entropy."
        )
    first = next(iter(inspect.signature(loss).parameters), "")
    return loss if first == "model" else Criterion(loss, named)


def _rule(optimizer: Any) -> partial[Any]:
    function = optimizer.func if isinstance(optimizer, partial) else optimizer
    if not (isinstance(function, type) and issubclass(function, optim.Optimizer)):
        raise UserError(
            f"An optimizer is a class, or a partial of one. Received {optimizer!r}. Give partial(nn.optim.Adam, lr=1e-3)."
        )
    rule, rates = partial(optimizer), keywords(function)
    return partial(rule, lr=1e-3) if "lr" not in rule.keywords and rates.get("lr") is inspect.Parameter.empty else rule


def _as_it_is(outputs: Any) -> Any:
    return outputs


# Checks before anything is written, and objects that are given again


def check_model(model: Module, recipe: Recipe, dataset: Dataset, precision: Precision, task: Task) -> None:
    """Raise UserError for a model that cannot take its data: one batch goes through it, and nothing is changed."""
    batch = precision.evaluated(dataset.train.take(np.arange(min(2, len(dataset.train)))))
    shapes = ", ".join(f"{field.name} {np.shape(array)}" for field, array in zip(dataset.fields, batch))
    kept = random.default.state_dict()
    try:
        with evaluating(model):
            loss, outputs = next(iter(recipe.learn.losses.values()))(model, *map(Tensor, batch))
    except Exception as problem:
        raise UserError(
            f"A model takes the batches of its data ({shapes}). Received {type(problem).__name__} from {type(model).__name__} "
            f"or its loss: {problem} Change it, or give loss=."
        ) from problem
    finally:
        random.default.load_state_dict(kept)
    if np.size(getattr(loss, "data", loss)) != 1:
        raise UserError(f"A loss is a single number. Received shape {np.shape(loss.data)}. Average it.")
    width = np.shape(recipe.decide(outputs).data)[-1:]
    if task.outputs_are == "class scores" and width not in ((dataset.outputs,), (1,) * (dataset.outputs == 2)):
        raise UserError(
            f"A classifier has one output a class, here {dataset.outputs}. Received outputs of shape "
            f"{np.shape(recipe.decide(outputs).data)}. Change the last layer."
        )


def again(saved: Mapping[str, Any], given: Own, folder: Path, *, trains: bool) -> Own:
    """Return a run's own objects, given again. Raises UserError for a missing object that the folder names.

    `trains`: whether the run is to continue, which needs the data and the optimizer too.
    """
    for name in ("model", "data"):
        if name not in saved and getattr(given, name) is not None:
            raise UserError(f"The run in {folder} knows its {name}. Received {name}= too. Leave it out.")
    known: dict[str, Any] = {}
    if "optimizer" in saved and given.optimizer is None:
        known["optimizer"] = _rule_of(saved["optimizer"])
    if saved.get("task") in _tasks() and given.task is None:
        known["task"] = saved["task"]
    for name in ("model", "task", *(("data", "loss", "optimizer") if trains else ())):
        if name in saved and getattr(given, name) is None and known.get(name) is None:
            raise UserError(
                f"The run in {folder} was trained on your own {name}, {saved[name]}. Received none. Give it in Python: "
                f"nn.load_run({str(folder)!r}, {name}=...)."
            )
    if "data" in saved and given.data is None:
        known["data"] = Absent(str(saved["data"]))
    if "loss" in saved and given.loss is None:
        known["loss"] = Absent(str(saved["loss"]))
    return replace(given, **known)


def _rule_of(saved: Mapping[str, Any]) -> partial[Any] | None:
    """Return an optimizer of nn.optim by its plain values; None for a user's own class."""
    rule = getattr(optim, saved["name"], None)
    return None if rule is None else partial(rule, **{name: value for name, value in saved.items() if name != "name"})
