"""What a comparison does, in plain values that its folder keeps: what was asked for, the plan, and each unit of work."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from nnatomy import data
from nnatomy.catalog import Architecture
from nnatomy.catalog import architecture as find_architecture
from nnatomy.data.dataset import Dataset
from nnatomy.data.load import NOUNS
from nnatomy.errors import UserError, unknown_name
from nnatomy.runs.options import INTEGER, SWITCH, TEXT, command_line, option
from nnatomy.runs.prepare import choose
from nnatomy.runs.request import WorkRequest
from nnatomy.training.recipe import Recipe
from nnatomy.training.settings import override

METRICS = {
    "classification": ("accuracy", "balanced_accuracy", "f1", "auc"),
    "regression": ("r2", "mae", "rmse"),
    "forecast": ("mse", "mae", "rmse_in_units"),
    "language": ("bits_per_token", "perplexity", "accuracy"),
    "anomaly": ("auc", "average_precision"),
    "reconstruction": ("explained", "mse"),
}
"""What each task can be compared by; the first is the default."""
CODE = 16


@dataclass(frozen=True)
class Protocol(WorkRequest):
    """What was asked for: the architectures, the data, and how often and how long each architecture is trained."""

    architectures: tuple[str, ...]
    cv: int = option(INTEGER, "Folds of the cross-validation.", 5, least=2)
    seeds: int = option(INTEGER, "Fits of each architecture in each fold.", 3, least=1)
    metric: str | None = option(TEXT, "Metric that decides; the task's first if not given.")
    curve: bool = option(SWITCH, "Learning curves over smaller training sets.", True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.architectures:
            raise UserError("A comparison needs the names of architectures, received none; nnatomy list shows them.")
        twice = [name for name, count in Counter(self.architectures).items() if count > 1]
        if twice:
            raise UserError(f"Each architecture is compared once, received {twice[0]} twice; leave one out.")

    def options(self, number: int, share: float = 1.0) -> dict[str, Any]:
        """What `data.load` is asked for beside the source."""
        return self.load_options(number, self.cv, share)

    def command(self) -> str:
        """Return the command line that asks for the same."""
        return command_line(self, "compare", *self.architectures)


@dataclass(frozen=True)
class Entry:
    """One architecture in the comparison: its recipe's epochs, and what a budget left of them and of the training rows."""

    epochs: int
    whole: int
    """The epochs of its recipe, or those asked for."""
    share: float = 1.0

    @property
    def cut(self) -> bool:
        return self.epochs < self.whole or self.share < 1


@dataclass(frozen=True)
class Plan:
    """What will be done, decided once: which architectures fit, by which metric, and for how long each is trained."""

    kind: str
    task: str
    metric: str
    architectures: Mapping[str, Entry]
    refused: Mapping[str, str]
    """The reason why, by architecture."""
    shares: tuple[float, ...]
    """Shares of the training rows for learning curves, below the whole."""
    threads: int
    """Of each worker: results depend on it in their last bits, so a resumed comparison keeps it."""
    fingerprint: str
    name: str
    description: str
    ordered: bool = False
    """Whether folds go forward in time."""
    notices: tuple[str, ...] = ()
    code: int = CODE
    """Components of the linear baseline for reconstruction: as many as the narrowest architecture has."""
    settled: bool = True
    """Whether the lengths are decided; under a budget they are once the architectures' pace is known."""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, saved: Mapping[str, Any]) -> Plan:
        architectures = {name: Entry(**entry) for name, entry in saved["architectures"].items()}
        return cls(
            **{**saved, "architectures": architectures, "shares": tuple(saved["shares"]), "notices": tuple(saved["notices"])}
        )


@dataclass(frozen=True)
class Unit:
    """One piece of work for a worker: `what` is "fit", "baseline", "cost" or "timing" of a candidate."""

    what: str
    candidate: str
    fold: int = 0
    seed: int = 0
    share: float = 1.0

    @property
    def file(self) -> str:
        """Where the answer lies in the comparison's folder."""
        name = self.candidate.replace(" ", "-")
        if self.what in ("cost", "timing"):
            return f"{self.what}/{name}.json"
        share = "" if self.share == 1 else f"-share{self.share:g}"
        return f"fits/{name}-fold{self.fold}-seed{self.seed}{share}.json"


def recipes_for(architecture: Architecture, kind: str, task: str) -> list[Recipe]:
    """An architecture's recipes for one kind of data and one task."""
    return [recipe for recipe in architecture.recipes if recipe.kind == kind and task in recipe.tasks]


def task_of(recipe: Recipe, dataset: Dataset) -> str:
    """What a recipe does with a data set: the set's own task, or its first where that is another."""
    return dataset.task if dataset.task in recipe.tasks else recipe.tasks[0]


def load_for_architecture(protocol: Protocol, plan: Plan, name: str, fold: int, share: float = 1.0) -> tuple[Recipe, Dataset]:
    """An architecture's recipe as planned, and a fold of the data as the recipe wants them."""
    architecture = find_architecture(name)
    recipes = recipes_for(architecture, plan.kind, plan.task)
    recipe, dataset = choose(
        architecture, protocol.data, recipes, **protocol.options(fold, share * plan.architectures[name].share)
    )
    return override(recipe, epochs=plan.architectures[name].epochs), dataset


def load_for_baseline(protocol: Protocol, kind: str, task: str, fold: int, share: float = 1.0) -> Dataset:
    """A fold of the data as they are read by default."""
    return data.load(protocol.data, (kind,), tasks=(task,), **protocol.options(fold, share))


def survey(protocol: Protocol, threads: int) -> Plan:
    """Finds the architectures that fit the data, the task that most of them do, and what each would need.

    Raises UserError where no architecture fits, with the reasons.
    """
    found: dict[str, tuple[Recipe, Dataset, str]] = {}
    refused: dict[str, str] = {}
    architectures = {name: find_architecture(name) for name in protocol.architectures}
    for architecture in architectures.values():
        _try(protocol, architecture, None, found, refused)
    if not found:
        raise _none_fits(refused)
    kind, task = Counter((recipe.kind, task) for recipe, _, task in found.values()).most_common(1)[0][0]
    for name in [name for name, (recipe, _, other) in found.items() if (recipe.kind, other) != (kind, task)]:
        recipe, _, other = found.pop(name)
        suited = recipes_for(architectures[name], kind, task)
        refused[name] = f"It does {other} on {_noun(recipe.kind)} here, and this comparison is of {task} on {_noun(kind)}."
        if suited:
            _try(protocol, architectures[name], suited, found, refused)
    metric = protocol.metric or METRICS[task][0]
    if metric not in METRICS[task]:
        raise unknown_name(f"metric of {task}", metric, METRICS[task])
    order = {name: found[name] for name in protocol.architectures if name in found}
    entries = {}
    for name, (recipe, _, _) in order.items():
        epochs = override(recipe, epochs=protocol.epochs).epochs
        entries[name] = Entry(epochs, epochs)
    dataset = load_for_baseline(protocol, kind, task, 0)
    codes = [int(recipe.options["code"]) for recipe, _, _ in order.values() if "code" in recipe.options]
    return Plan(
        kind, task, metric, entries, refused, (0.1, 0.3) if protocol.curve else (), threads, fingerprint(dataset),
        dataset.name, dataset.description, dataset.ordered, dataset.notices, min(codes, default=CODE), protocol.budget is None,
    )  # fmt: skip


def _try(
    protocol: Protocol, architecture: Architecture, recipes: list[Recipe] | None, found: dict[str, tuple[Recipe, Dataset, str]],
    refused: dict[str, str],
) -> None:  # fmt: skip
    try:
        recipe, dataset = choose(architecture, protocol.data, recipes, **protocol.options(0))
        model = recipe.build(dataset, **recipe.options)
        if not any(True for _ in model.parameters()):
            raise UserError("It has nothing to learn by gradients.")
    except UserError as reason:
        refused[architecture.name] = str(reason)
        return
    refused.pop(architecture.name, None)
    found[architecture.name] = recipe, dataset, task_of(recipe, dataset)


def _none_fits(refused: Mapping[str, str]) -> UserError:
    reasons = list(dict.fromkeys(refused.values()))
    if len(reasons) == 1:
        return UserError(reasons[0])
    listed = "; ".join(f"{name}: {reason.rstrip('.')}" for name, reason in refused.items())
    return UserError(f"None of these architectures fits the data ({listed}); choose other architectures or other data.")


def _noun(kind: str) -> str:
    return NOUNS.get(kind, kind)


def fingerprint(dataset: Dataset) -> str:
    """A digest of the first fold: changed data are noticed before they are mixed with earlier results."""
    sizes = [len(dataset.train), len(dataset.validation), len(dataset.test)]
    digest = hashlib.sha256(json.dumps([sizes, dataset.preprocessing.to_json()], sort_keys=True).encode())
    for split in (dataset.train, dataset.test):
        for array in split.take(_some(len(split))):
            digest.update(array.tobytes())
    return digest.hexdigest()[:16]


def _some(n: int) -> Any:
    import numpy as np

    return np.unique(np.linspace(0, n - 1, min(n, 500)).astype(int))


def baseline_units(protocol: Protocol, shares: tuple[float, ...], names: tuple[str, ...]) -> list[Unit]:
    """Baselines are fitted once a fold: they have no seeds."""
    return [Unit("baseline", name, fold, 0, share) for share in shares for fold in range(protocol.cv) for name in names]


def architecture_units(protocol: Protocol, plan: Plan) -> list[Unit]:
    """All fits of the architectures; under a budget by seed first, so that what is done is whole when time runs out."""
    whole = [
        Unit("fit", architecture, fold, protocol.seed + seed)
        for fold in range(protocol.cv)
        for seed in range(protocol.seeds)
        for architecture in plan.architectures
    ]
    if protocol.budget is not None:
        whole.sort(key=lambda unit: (unit.seed, unit.fold))
    curve = [replace(unit, share=share) for share in reversed(plan.shares) for unit in whole if unit.seed == protocol.seed]
    return whole + curve


def read_json(path: Path, remedy: str = "remove it and continue with --resume") -> Any:
    """The plain values in a file of the comparison's folder; raises UserError, which ends with `remedy`, where damaged."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise UserError(f"{path} is damaged or absent: it must hold JSON; {remedy}.") from None
