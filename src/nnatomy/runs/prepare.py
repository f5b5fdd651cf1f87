"""A request made real, before anything is written: the data, the recipe that fits them, the model and its task."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nnatomy import backends, data, random
from nnatomy.catalog import Architecture
from nnatomy.catalog import architecture as find_architecture
from nnatomy.data import fields
from nnatomy.data.dataset import Dataset
from nnatomy.errors import UserError, unknown_name
from nnatomy.layers.module import Module
from nnatomy.runs.own import NOTHING, Own, check_model, own_model, task_of
from nnatomy.runs.own_data import load_own
from nnatomy.runs.request import Request
from nnatomy.tasks import Task, task_for
from nnatomy.training.learners import LearnerSpec
from nnatomy.training.precision import precision_named
from nnatomy.training.recipe import Recipe
from nnatomy.training.settings import override


@dataclass
class Prepared:
    """A request made real: data, recipe, model and the task that measures it."""

    request: Request
    architecture: Architecture
    recipe: Recipe
    dataset: Dataset
    model: Module
    task: Task
    distillation: tuple[Dataset, LearnerSpec] | None = None
    """The data and the learner of a student, where there is a teacher."""
    own: Own = NOTHING
    """The user's objects in place of names."""


def prepare(request: Request, own: Own = NOTHING) -> Prepared:
    """Load the data, choose the recipe that fits them and build the model. Raises UserError for all that does not fit."""
    precision = precision_named(request.precision, request.backend)
    backends.use(request.backend, request.device, precision.matmul)
    architecture, recipe, dataset = _chosen(request, own)
    recipe = requested(recipe, request)
    if not 1 <= request.accumulate <= recipe.batch_size:
        raise UserError(
            f"--accumulate takes the batch in parts of at least one example. Received {request.accumulate} for batches of "
            f"{recipe.batch_size}. Give a number from 1 to {recipe.batch_size}."
        )
    if request.accumulate > 1:
        fields.require_rows(dataset.fields, "cut into parts")
    if (request.devices or 1) > 1:
        fields.require_rows(dataset.fields, "divided among devices")
    random.seed(request.seed)
    model = recipe.build(dataset, **recipe.options).astype(precision.master)
    task = task_for(recipe, dataset, precision)
    task.metric(recipe.metric)
    if own.model is not None:
        model.to_backend()
        check_model(model, recipe, dataset, precision, task)
    return Prepared(request, architecture, recipe, dataset, model, task, own=own)


def requested(recipe: Recipe, request: Request) -> Recipe:
    """Return a recipe with the changes of a request."""
    return override(recipe, request.settings, epochs=request.epochs, batch_size=request.batch_size, lr=request.lr)


def _chosen(request: Request, own: Own) -> tuple[Architecture, Recipe, Dataset]:
    """Return the architecture, the recipe and the data of a request; without a source, the data of the first recipe."""
    if own.model is not None:
        architecture, dataset = own_model(own, _data_for_model(request, own))
        return architecture, architecture.recipe, dataset
    found = find_architecture(request.architecture)
    if own.data is not None:
        wanted = tuple(name for recipe in found.recipes for name in recipe.task_names)
        dataset = load_own(own.data, request, wanted, tuple(dict.fromkeys(recipe.kind for recipe in found.recipes)))
        return found, fitting(found, dataset, recipes_of(found, request)).sized(dataset), dataset
    options, recipes = request.load_options(), recipes_of(found, request)
    if request.data is None:
        return found, *choose(found, recipes[0].data, recipes[:1], **options)
    return found, *choose(found, request.data, recipes, **options)


def recipes_of(architecture: Architecture, request: Request) -> tuple[Recipe, ...]:
    """Return the recipes that a request may take: all, or the one that it names. Raises UserError for an unknown name."""
    if request.variant is None:
        return architecture.recipes
    named = {recipe.name: recipe for recipe in architecture.recipes if recipe.name}
    if not named:
        raise UserError(
            f"--variant names one of an architecture's recipes. Received {request.variant!r}, and {architecture.name} names "
            "none. Leave it out."
        )
    if request.variant not in named:
        raise unknown_name(f"recipe of {architecture.name}", request.variant, named)
    return (named[request.variant],)


def _data_for_model(request: Request, own: Own) -> Dataset:
    """Return the data of a user's model, of any kind; a task that is given decides how they are read."""
    wanted = None if own.task is None else (task_of(own.task).name,)
    if own.data is not None:
        return load_own(own.data, request, wanted)
    if request.data is None:
        raise UserError('Your own model has no own data. Received no data. Give some: nn.train(model, "digits").')
    options = request.load_options()
    return data.load(request.data, **(options if wanted is None else options | {"tasks": wanted}))


def choose(
    architecture: Architecture, source: str | Path, recipes: Sequence[Recipe] | None = None, **options: Any
) -> tuple[Recipe, Dataset]:
    """Return an architecture's recipe for the data, and the data as that recipe wants them.

    `options` are those of `data.load`, such as fold=Fold(0, 5) for data split for cross-validation.
    Raises UserError where no recipe fits.
    """
    recipes = list(architecture.recipes if recipes is None else recipes)
    while True:
        kinds = tuple(dict.fromkeys(r.kind for r in recipes))
        tasks = tuple(dict.fromkeys(t for r in recipes for t in r.task_names))
        common = dict(recipes[0].load) if all(r.load == recipes[0].load for r in recipes) else {}
        dataset = data.load(source, kinds, tasks=tasks, **(common | options))
        recipe = fitting(architecture, dataset, recipes)
        if common == dict(recipe.load):
            return recipe.sized(dataset), dataset
        recipes = [recipe]  # read it again, as this recipe wants it


def fitting(architecture: Architecture, dataset: Dataset, recipes: Sequence[Recipe] | None = None) -> Recipe:
    """Return the recipe for a data set: of those for its kind and task the one that names it, else the first.

    Raises UserError where the architecture has none.
    """
    able = [recipe for recipe in (architecture.recipes if recipes is None else recipes) if recipe.does(dataset) is not None]
    if able:
        return next((recipe for recipe in able if recipe.data == dataset.name), able[0])
    raise UserError(
        f"An architecture needs a recipe for its data. Received {architecture.name}, which has none for {dataset.task} on data "
        f"of the kind {dataset.kind}. Choose other data or another architecture."
    )
