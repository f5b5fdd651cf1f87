"""What a tuning does, in plain values that its folder keeps: what was asked for, and the data of each of its searches."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nnatomy.catalog import architecture as find_architecture
from nnatomy.data.dataset import Dataset
from nnatomy.data.folds import Fold
from nnatomy.errors import UserError, unknown_name
from nnatomy.runs.training import choose
from nnatomy.studies.files import read_json
from nnatomy.studies.tuning.space import Space, own_settings, read_space, usual_space
from nnatomy.training.recipe import Recipe
from nnatomy.training.settings import override

HOW = ("bayes", "random", "grid")
WHOLE = -1
"""The search on all data, whose best recipe is written; the others are numbered as their outer folds."""


@dataclass(frozen=True)
class Plan:
    """What was asked for. Each search has `trials`; there is one in each of `cv` outer folds, and one on all data."""

    architecture: str
    data: str
    target: str | None = None
    keep: tuple[str, ...] = ()
    types: Mapping[str, str] = field(default_factory=dict)
    labels: str | None = None
    window: int | None = None
    horizon: int | None = None
    limit: int | None = None
    groups: str | None = None
    trials: int = 30
    cv: int = 3
    seeds: int = 2
    seed: int = 0
    how: str = "bayes"
    prune: bool = True
    epochs: int | None = None
    budget: float | None = None
    backend: str = "numpy"
    offline: bool = False
    space: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, str] = field(default_factory=dict)
    storage: str | None = None

    def __post_init__(self) -> None:
        for name, least in (("trials", 1), ("seeds", 1), ("seed", 0)):
            if getattr(self, name) < least:
                raise UserError(f"--{name} must be at least {least}, received {getattr(self, name)}; give a larger number.")
        if self.cv == 1 or self.cv < 0:
            raise UserError(f"--cv must be at least 2, or 0 for no outer folds, received {self.cv}; 3 is usual.")
        if self.how not in HOW:
            raise unknown_name("way to search", self.how, HOW)
        if self.budget is not None and not 0 < self.budget < math.inf:
            raise UserError(f"--budget must be a positive time, received {self.budget:g} s; give one such as 10m.")
        fixed = set(self.settings) & set(self.space)
        if fixed:
            raise UserError(f"A setting is fixed or searched, received {min(fixed)} in both --set and --space; leave one out.")
        read_space(self.space)

    @property
    def searches(self) -> list[int]:
        """The outer folds, then the whole."""
        return [*range(self.cv), WHOLE]

    def command(self) -> str:
        """The command line that asks for the same."""
        words = ["nnatomy", "tune", self.architecture]
        for name, value in vars(self).items():
            default = type(self).__dataclass_fields__[name].default
            if name in ("architecture", "types", "keep", "space", "settings", "prune") or value == default:
                continue
            flag = "--" + name.replace("_", "-")
            words += [flag] if value is True else [flag, f"{value:g}s" if name == "budget" else str(value)]
        for flag, pairs in (("--types", self.types), ("--space", self.space), ("--set", self.settings)):
            words += [word for key, value in pairs.items() for word in (flag, f"{key}={value}")]
        words += [word for name in self.keep for word in ("--keep", name)]
        return shlex.join(words + ([] if self.prune else ["--no-prune"]))

    def load(self, search: int) -> tuple[Recipe, Dataset]:
        """The recipe as requested, and the data of a search; the test part of an outer fold is not searched in."""
        given = {name: getattr(self, name) for name in ("target", "keep", "types", "labels", "seed", "offline")}
        sizes = {name: getattr(self, name) for name in ("window", "horizon") if getattr(self, name) is not None}
        part: dict[str, Any] = {"limit": self.limit}
        if search != WHOLE:
            part = {"fold": Fold(search, self.cv, self.seed, limit=self.limit, groups=self.groups)}
        recipe, dataset = choose(find_architecture(self.architecture), self.data, None, **given, **sizes, **part)
        return override(recipe, self.settings, epochs=self.epochs), dataset

    def searched(self, recipe: Recipe) -> Space:
        """What is searched: what --space says, else what is usual for the recipe."""
        return read_space(self.space) or {k: v for k, v in usual_space(recipe).items() if k not in self.settings}

    def own(self, recipe: Recipe) -> dict[str, str]:
        """The recipe's own settings in that space."""
        return own_settings(recipe, self.searched(recipe))

    @classmethod
    def of(cls, folder: Path) -> Plan:
        """The plan that a folder keeps. Raises UserError where it is none."""
        if not (folder / "tuning.json").is_file():
            raise UserError(f"{folder} is not the folder of a tuning: it has no tuning.json; name one that was begun.")
        try:
            saved = read_json(folder / "tuning.json")["plan"]
            return cls(**{**saved, "keep": tuple(saved["keep"])})
        except (KeyError, TypeError):
            raise UserError(f"{folder / 'tuning.json'} is damaged: it does not say what was asked; tune anew.") from None
