"""A tuning in plain values that its folder keeps: the request, and the data of each of its searches."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nnatomy.catalog import architecture as find_architecture
from nnatomy.data.dataset import Dataset
from nnatomy.errors import UserError, unknown_name
from nnatomy.runs.options import INTEGER, PAIRS, SWITCH, TEXT, command_line, option
from nnatomy.runs.prepare import choose
from nnatomy.runs.request import WorkRequest
from nnatomy.saved import typed
from nnatomy.studies.files import read_values
from nnatomy.studies.tuning.space import Space, own_settings, read_space, usual_space
from nnatomy.training.recipe import Recipe
from nnatomy.training.settings import override

METHODS = ("bayes", "random", "grid")
ALL_ROWS = -1
"""The search on all data, whose best recipe is written; the others are numbered as their outer folds."""


@dataclass(frozen=True, kw_only=True)
class Plan(WorkRequest):
    """The request. Each search has `trials`; there is one in each of `cv` outer folds, and one on all data."""

    architecture: str = field(kw_only=False)
    trials: int = option(INTEGER, "Settings tried in each search.", 30, least=1)
    cv: int = option(INTEGER, "Outer folds, each with its own search; 0 for none.", 3, least=0)
    seeds: int = option(INTEGER, "Fits for each score on an outer fold.", 2, least=1)
    how: str = option(TEXT, "Search: bayes, random or grid.", "bayes")
    prune: bool = option(SWITCH, "Stop trials that lag behind.", True)
    space: Mapping[str, str] = option(PAIRS, "Search a setting: lr=1e-4..1e-1, hidden=64|128,64.", metavar="KEY=RANGE",
                                      example="lr=1e-4..1e-1")  # fmt: skip
    settings: Mapping[str, str] = option(PAIRS, "Fix a setting of the recipe.", flag="--set", metavar="KEY=VALUE",
                                         example="hidden=64,32")  # fmt: skip
    storage: str | None = option(TEXT, "Database of the trials; a file in the folder if not given.", metavar="URL")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.cv == 1:
            raise UserError(f"--cv must be at least 2, or 0 for no outer folds. Received {self.cv}. Use --cv 3.")
        if self.how not in METHODS:
            raise unknown_name("way to search", self.how, METHODS)
        fixed = set(self.settings) & set(self.space)
        if fixed:
            raise UserError(f"A setting is fixed or searched. Received {min(fixed)} in both --set and --space. Leave one out.")
        read_space(self.space)

    @property
    def searches(self) -> list[int]:
        """The outer folds, then the whole."""
        return [*range(self.cv), ALL_ROWS]

    def command(self) -> str:
        """Return the command line that requests the same."""
        return command_line(self, "tune", self.architecture)

    def load(self, search: int) -> tuple[Recipe, Dataset]:
        """The recipe as requested, and the data of a search; the test part of an outer fold is not searched in."""
        options = self.load_options() if search == ALL_ROWS else self.load_options(search, self.cv)
        recipe, dataset = choose(find_architecture(self.architecture), str(self.data), None, **options)
        return override(recipe, self.settings, epochs=self.epochs), dataset

    def searched(self, recipe: Recipe) -> Space:
        """Return the searched settings: those of --space, else those that are usual for the recipe."""
        return read_space(self.space) or {k: v for k, v in usual_space(recipe).items() if k not in self.settings}

    def own(self, recipe: Recipe) -> dict[str, str]:
        """The recipe's own settings in that space."""
        return own_settings(recipe, self.searched(recipe))

    @classmethod
    def of(cls, folder: Path) -> Plan:
        """The plan that a folder keeps. Raises UserError where it is none."""
        if not (folder / "tuning.json").is_file():
            raise UserError(
                f"A tuning's folder has a tuning.json. Received {folder} without it. Name the folder of a started tuning."
            )
        path, remedy = folder / "tuning.json", "Restore it from a backup, or start a new tuning."
        saved = read_values(path, dict[str, Any], remedy)
        return typed(cls, saved.get("plan"), f"{path}, plan", remedy)
