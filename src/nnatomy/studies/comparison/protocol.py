"""A comparison in plain values that its folder keeps: the request, the plan, and each unit of work."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from nnatomy.catalog import Architecture
from nnatomy.catalog import architecture as find_architecture
from nnatomy.errors import UserError
from nnatomy.runs.options import INTEGER, SWITCH, TEXT, command_line, option
from nnatomy.runs.request import WorkRequest
from nnatomy.saved import Count, Positive, typed
from nnatomy.studies.files import AGAIN, read_values
from nnatomy.tasks import Metric, Task
from nnatomy.training.evaluation import metric_named

RESTART = "Restore it from a backup, or start a new comparison."


@dataclass(frozen=True, kw_only=True)
class Protocol(WorkRequest):
    """The request: the architectures, the data, and how often and how long each architecture is trained."""

    architectures: tuple[str, ...] = field(kw_only=False)
    cv: int = option(INTEGER, "Folds of the cross-validation.", 5, least=2)
    seeds: int = option(INTEGER, "Fits of each architecture in each fold.", 3, least=1)
    metric: str | None = option(TEXT, "Metric that decides; the task's first if not given.")
    curve: bool = option(SWITCH, "Learning curves over smaller training sets.", True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.architectures:
            raise UserError("A comparison needs the names of architectures. Received none. Run nnatomy list to see them.")
        names = Counter(Path(key).name for key in self.architectures)
        twice = [name for name, count in names.items() if count > 1]
        if twice:
            raise UserError(f"Each architecture is compared once. Received {twice[0]} twice. Leave one out.")

    @property
    def found(self) -> dict[str, Architecture]:
        """The architectures by name; a user's folder goes by its own name."""
        return {found.name: found for found in map(find_architecture, self.architectures)}

    @property
    def source(self) -> str:
        """Which data: those that were named, or the first architecture's own."""
        first = next(iter(self.found.values()))  # found before any data are read: an architecture may bring its kind of data
        return self.data or first.recipes[0].data

    def options(self, number: int, share: float = 1.0) -> dict[str, Any]:
        """Return what `data.load` takes besides the source."""
        return self.load_options(number, self.cv, share)

    def command(self) -> str:
        """Return the command line that requests the same."""
        return command_line(self, "compare", *self.architectures)

    @classmethod
    def of(cls, folder: Path) -> Protocol:
        """Return the request that a comparison's folder keeps. Raises UserError where it is damaged."""
        path = folder / "comparison.json"
        saved = read_values(path, dict[str, Any], RESTART)
        return typed(cls, saved.get("protocol"), f"{path}, protocol", RESTART)


@dataclass(frozen=True)
class Entry:
    """One architecture in the comparison: its recipe's epochs, and what a budget left of them and of the training rows."""

    epochs: Count
    whole: Count
    """The epochs of its recipe, or those requested."""
    share: Positive = 1.0
    key: str = ""
    """The architecture's name, or a user's folder."""

    @property
    def cut(self) -> bool:
        return self.epochs < self.whole or self.share < 1


@dataclass(frozen=True)
class Plan:
    """The plan, decided once: which architectures fit, by which metric, and for how long each is trained."""

    kind: str
    task: str
    metric: str
    architectures: Mapping[str, Entry]
    refused: Mapping[str, str]
    """The reason why, by architecture."""
    shares: tuple[float, ...]
    """Fractions of the training rows for learning curves, below the whole."""
    threads: Count
    """Of each worker: results depend on it in their last bits, so a resumed comparison keeps it."""
    name: str
    description: str
    ordered: bool = False
    """True if folds go forward in time."""
    notices: tuple[str, ...] = ()
    stratified: bool = False
    """True if each fold has the classes in proportion."""
    lengths_decided: bool = True
    """True if the lengths are decided; under a budget they are once the architectures' pace is known."""

    @property
    def does(self) -> type[Task]:
        """The class of the task, as the recipes of the compared architectures have it."""
        for name, entry in self.architectures.items():
            for recipe in find_architecture(entry.key or name).recipes:
                for task in recipe.tasks:
                    if task.name == self.task:
                        return task
        raise UserError(f"A comparison needs a recipe for its task. Received {self.task}, which none has. Start a new one.")

    @property
    def judged_by(self) -> Metric:
        """The metric, which knows its direction. Raises UserError for one that the task does not have."""
        return metric_named(self.metric, self.does.metrics, {}, self.task)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def of(cls, folder: Path) -> Plan:
        """Return the plan that a comparison's folder keeps. Raises UserError where it is damaged."""
        return read_values(folder / "plan.json", cls, RESTART)


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
        """Path of the result in the comparison's folder."""
        name = self.candidate.replace(" ", "-")
        if self.what in ("cost", "timing"):
            return f"{self.what}/{name}.json"
        share = "" if self.share == 1 else f"-share{self.share:g}"
        return f"fits/{name}-fold{self.fold}-seed{self.seed}{share}.json"


@dataclass(frozen=True, kw_only=True)
class FitRecord:
    """The file of a fit, or of a baseline."""

    unit: Unit
    metrics: Mapping[str, float | None]
    seconds: float
    train: Count
    validation: Count
    test: Count
    epochs: int = 0
    best_epoch: int = 0
    stopped: str = ""
    parameters: int = 0
    multiply_adds: int = 0
    chosen: str = ""


@dataclass(frozen=True, kw_only=True)
class CostRecord:
    """The file of a candidate's cost."""

    unit: Unit
    latency_one: float
    latency_many: float
    many: int
    parameters: int = 0
    multiply_adds: int = 0


@dataclass(frozen=True, kw_only=True)
class FailedRecord:
    """The file of a unit that a candidate cannot do."""

    unit: Unit
    failed: str


def read_unit(folder: Path, unit: Unit) -> dict[str, Any]:
    """Return the result of a unit from its file. Raises UserError where it is damaged or that of another unit."""
    path = folder / unit.file
    saved = read_values(path, dict[str, Any])
    kind: type[Any] = FailedRecord if "failed" in saved else CostRecord if unit.what == "cost" else FitRecord
    if typed(kind, saved, str(path), AGAIN, other_keys="failed" in saved).unit != unit:
        raise UserError(f"{path} must hold the result of {unit}. Received that of another unit. {AGAIN}")
    return saved


def baseline_units(protocol: Protocol, shares: tuple[float, ...], names: tuple[str, ...]) -> list[Unit]:
    """Baselines are fitted once a fold: they have no seeds. Under a budget a slow one comes after all folds of the others."""
    found = [Unit("baseline", name, fold, 0, share) for share in shares for fold in range(protocol.cv) for name in names]
    return found if protocol.budget is None else sorted(found, key=lambda unit: names.index(unit.candidate))


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
