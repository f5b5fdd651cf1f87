"""What a comparison does, in plain values that its folder keeps: what was asked for, the plan, and each unit of work."""

from __future__ import annotations

import hashlib
import json
import shlex
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from nnatomy import data
from nnatomy.catalog import Architecture
from nnatomy.catalog import architecture as find_architecture
from nnatomy.data.dataset import Dataset
from nnatomy.data.folds import Fold
from nnatomy.data.kinds import kind as kind_named
from nnatomy.errors import UserError, unknown_name
from nnatomy.runs.training import choose
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
class Protocol:
    """What was asked for: the architectures, the data, and how often and how long each architecture is trained."""

    architectures: tuple[str, ...]
    data: str
    target: str | None = None
    keep: tuple[str, ...] = ()
    types: Mapping[str, str] = field(default_factory=dict)
    labels: str | None = None
    window: int | None = None
    horizon: int | None = None
    limit: int | None = None
    groups: str | None = None
    cv: int = 5
    seeds: int = 3
    seed: int = 0
    epochs: int | None = None
    metric: str | None = None
    curve: bool = True
    budget: float | None = None
    backend: str = "numpy"
    offline: bool = False

    def __post_init__(self) -> None:
        for name, least in (("cv", 2), ("seeds", 1), ("seed", 0)):
            if getattr(self, name) < least:
                raise UserError(f"--{name} must be at least {least}, received {getattr(self, name)}; give a larger number.")
        if not self.architectures:
            raise UserError("A comparison needs the names of architectures, received none; nnatomy list shows them.")
        twice = [name for name, count in Counter(self.architectures).items() if count > 1]
        if twice:
            raise UserError(f"Each architecture is compared once, received {twice[0]} twice; leave one out.")
        if self.budget is not None and not 0 < self.budget < float("inf"):
            raise UserError(f"--budget must be a positive time, received {self.budget:g} s; give one such as 10m.")

    def fold(self, number: int, share: float = 1.0) -> Fold:
        """Fold `number`, with a share of its training rows."""
        return Fold(number, self.cv, self.seed, limit=self.limit, groups=self.groups, share=share)

    def options(self, number: int, share: float = 1.0) -> dict[str, Any]:
        """What `data.load` is asked for beside the source."""
        given = {name: getattr(self, name) for name in ("target", "keep", "types", "labels", "seed", "offline")}
        sizes = {name: getattr(self, name) for name in ("window", "horizon") if getattr(self, name) is not None}
        return given | sizes | {"fold": self.fold(number, share)}

    def command(self) -> str:
        """The command line that asks for the same."""
        words = ["nnatomy", "compare", *self.architectures]
        for name, value in vars(self).items():
            default = type(self).__dataclass_fields__[name].default
            if name in ("architectures", "types", "keep", "curve") or value == default:
                continue
            flag = "--" + name.replace("_", "-")
            words += [flag] if value is True else [flag, f"{value:g}s" if name == "budget" else str(value)]
        words += [word for name in self.keep for word in ("--keep", name)]
        words += [word for name, kind in self.types.items() for word in ("--types", f"{name}={kind}")]
        return shlex.join(words + ([] if self.curve else ["--no-curve"]))

    @classmethod
    def from_json(cls, saved: Mapping[str, Any]) -> Protocol:
        return cls(**{**saved, "architectures": tuple(saved["architectures"]), "keep": tuple(saved["keep"])})


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
    return kind_named(kind).noun


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
