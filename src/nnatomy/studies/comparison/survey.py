"""The architectures that can be compared on some data: those with a common task, each with the recipe and the data for it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from nnatomy import data
from nnatomy.catalog import Architecture
from nnatomy.data.dataset import Dataset
from nnatomy.data.kinds import kind as kind_named
from nnatomy.errors import UserError
from nnatomy.runs.prepare import choose
from nnatomy.studies.comparison.protocol import Entry, Plan, Protocol
from nnatomy.training.evaluation import metric_named
from nnatomy.training.recipe import Recipe
from nnatomy.training.settings import override

Found = dict[str, tuple[Recipe, Dataset, str]]
"""By architecture: its recipe, its data and the name of the task that it does with them."""


def survey(protocol: Protocol, threads: int) -> tuple[Plan, Dataset]:
    """Return the plan (the architectures that do what most of them do with the data, and what each needs) and the first fold.

    Raises UserError where no architecture fits, with the reasons, and where architectures share no task.
    """
    found: Found = {}
    refused: dict[str, str] = {}
    architectures = protocol.found
    for architecture in architectures.values():
        _try(protocol, architecture, None, found, refused)
    if not found:
        raise _none_fits(refused)
    kind, task = _shared(protocol, architectures, found, refused)
    order = {name: found[name] for name in architectures if name in found}
    first = next(recipe for recipe, _, _ in order.values())
    metrics = next(t.metrics for t in first.tasks if t.name == task)
    metric = metric_named(protocol.metric or metrics[0].name, metrics, {}, task)
    entries = {}
    for name, (recipe, _, _) in order.items():
        epochs = override(recipe, epochs=protocol.epochs).epochs
        entries[name] = Entry(epochs, epochs, key=architectures[name].key)
    dataset = load_for_baseline(protocol, kind, task, tuple(order), 0)
    return Plan(
        kind, task, metric.name, entries, refused, (0.1, 0.3) if protocol.curve else (), threads,
        dataset.name, dataset.description, dataset.ordered, dataset.notices, bool(dataset.classes), protocol.budget is None,
    ), dataset  # fmt: skip


def _shared(
    protocol: Protocol, architectures: Mapping[str, Architecture], found: Found, refused: dict[str, str]
) -> tuple[str, str]:
    """Return the kind and task that most architectures have in common; the others are moved from `found` to `refused`.

    Raises UserError where another task has as many architectures: there is no single metric to compare all by.
    """
    kind, task = Counter((recipe.kind, task) for recipe, _, task in found.values()).most_common(1)[0][0]
    others: dict[str, str] = {}
    for name in [name for name, (recipe, _, other) in found.items() if (recipe.kind, other) != (kind, task)]:
        recipe, _, other = found.pop(name)
        refused[name] = f"It does {other} on {_noun(recipe.kind)} here, and this comparison is of {task} on {_noun(kind)}."
        suited = recipes_for(architectures[name], kind, task)
        if suited:
            _try(protocol, architectures[name], suited, found, refused)
        if name not in found and other != task:
            others[name] = other
    if others and Counter(others.values()).most_common(1)[0][1] >= len(found):
        name, other = next(iter(others.items()))
        raise UserError(
            f"Architectures are compared where they share a task. Received {next(iter(found))} for {task} and {name} for "
            f"{other}. Compare each with others of the same task."
        )
    return kind, task


def _try(
    protocol: Protocol, architecture: Architecture, recipes: Sequence[Recipe] | None, found: Found, refused: dict[str, str]
) -> None:
    """Enter an architecture into `found`, or the reason why it cannot learn these data into `refused`."""
    try:
        recipe, dataset = choose(architecture, protocol.source, recipes, **protocol.options(0))
        recipe.learn.begin(recipe.build(dataset, **recipe.options), dataset)
    except UserError as reason:
        refused[architecture.name] = str(reason)
        return
    refused.pop(architecture.name, None)
    found[architecture.name] = recipe, dataset, str(recipe.does(dataset))


def _none_fits(refused: Mapping[str, str]) -> UserError:
    reasons = list(dict.fromkeys(refused.values()))
    if len(reasons) == 1:
        return UserError(reasons[0])
    listed = "; ".join(f"{name}: {reason.rstrip('.')}" for name, reason in refused.items())
    return UserError(
        f"An architecture must fit the data. Received some that do not ({listed}). Choose other architectures or other data."
    )


def _noun(kind: str) -> str:
    return kind_named(kind).noun


def recipes_for(architecture: Architecture, kind: str, task: str) -> list[Recipe]:
    """Return an architecture's recipes for one kind of data and one task."""
    return [recipe for recipe in architecture.recipes if recipe.kind == kind and task in recipe.task_names]


def load_for_architecture(protocol: Protocol, plan: Plan, name: str, fold: int, share: float = 1.0) -> tuple[Recipe, Dataset]:
    """Return an architecture's recipe as planned, and a fold of the data as the recipe wants them."""
    architecture = protocol.found[name]
    recipes = recipes_for(architecture, plan.kind, plan.task)
    recipe, dataset = choose(
        architecture, protocol.source, recipes, **protocol.options(fold, share * plan.architectures[name].share)
    )
    return override(recipe, epochs=plan.architectures[name].epochs), dataset


def load_for_baseline(
    protocol: Protocol, kind: str, task: str, names: Sequence[str], fold: int, share: float = 1.0
) -> Dataset:
    """Return a fold of the data as they are read by default.

    Where a task measures inputs, such as the likelihood of pixels, they are read as all compared architectures read them.
    """
    fitting = [recipes_for(protocol.found[name], kind, task) for name in names]
    if not all(fitting):
        raise UserError(
            f"A comparison's plan names a kind of data and a task of its architectures. Received {kind} and {task}. "
            "Start the comparison again in a new folder."
        )
    recipes = [found[0] for found in fitting]
    given = [recipe.load for recipe in recipes if any(t.name == task and t.measures_inputs for t in recipe.tasks)]
    first = given[0] if given else {}
    common = {option: value for option, value in first.items() if all(load.get(option) == value for load in given)}
    return data.load(protocol.source, (kind,), tasks=(task,), **(common | protocol.options(fold, share)))
