"""Which architectures there are: one folder each, discovered by the front matter of its page; no model is imported.

A user's folder that is laid out alike is an architecture too.
"""

from __future__ import annotations

import hashlib
import importlib
import os
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from nnatomy.errors import UserError, unknown_name
from nnatomy.training.recipe import Case, Recipe

FOLDER = Path(__file__).parent / "architectures"
OWN = "_nnatomy_"
"""The prefix of the modules that are imported from a user's folder."""


@dataclass(frozen=True)
class Architecture:
    """An architecture's folder; what is in it is imported when it is requested."""

    name: str
    family: str
    folder: Path
    front: dict[str, Any]
    """The front matter of page.md: title, year, paper, url, idea, predecessors, successors, builds_on."""

    @property
    def key(self) -> str:
        """The name by which `architecture` finds it, from anywhere."""
        return self.name

    def module(self, part: str) -> ModuleType:
        """Return one of the architecture's files: "model", "recipe", "picture", "torch_twin", "keras_twin"."""
        return importlib.import_module(f"nnatomy.architectures.{self.family}.{self.name}.{part}")

    def has(self, part: str) -> bool:
        """Return True if the architecture has that file."""
        return (self.folder / f"{part}.py").is_file()

    @property
    def recipes(self) -> tuple[Recipe, ...]:
        """The recipes, one for each kind of data; the first is the default."""
        return tuple(self.module("recipe").recipes)

    @property
    def cases(self) -> tuple[Case, ...]:
        """The small instances that the contracts build."""
        return tuple(self.module("recipe").cases)

    @property
    def page(self) -> str:
        """The text of page.md after its front matter."""
        return split_front_matter((self.folder / "page.md").read_text(encoding="utf-8"), self.folder / "page.md")[1]


@dataclass(frozen=True)
class OwnArchitecture(Architecture):
    """A user's folder with model.py and recipe.py, and what else an architecture may have."""

    @property
    def key(self) -> str:
        return str(self.folder)

    def module(self, part: str) -> ModuleType:
        """Return one of the folder's files, imported under a private name, so that `from .model import ...` works in it.

        Raises UserError where it is missing or cannot be imported.
        """
        if not self.has(part):
            raise UserError(f"An architecture needs its {part}.py. Received {self.folder} without it. Add it.")
        package = f"{OWN}{self.name}_{hashlib.sha256(str(self.folder).encode()).hexdigest()[:12]}"
        if package not in sys.modules:
            made = ModuleType(package, f"The architecture in {self.folder}.")
            made.__path__ = [str(self.folder)]
            sys.modules[package] = made
        try:
            return importlib.import_module(f"{package}.{part}")
        except Exception as problem:
            raise UserError(
                f"{self.folder / part}.py must be importable. Received {type(problem).__name__}: {problem}. Correct it; files "
                "of one folder import each other as in: from .model import Net."
            ) from problem

    @property
    def recipes(self) -> tuple[Recipe, ...]:
        found = getattr(self.module("recipe"), "recipes", ())
        if not (found and isinstance(found, tuple | list) and all(isinstance(recipe, Recipe) for recipe in found)):
            raise UserError(f"{self.folder / 'recipe.py'} has recipes = (Recipe(...),). Received {found!r}. Add it.")
        return tuple(found)

    @property
    def cases(self) -> tuple[Case, ...]:
        return tuple(getattr(self.module("recipe"), "cases", ()))

    @property
    def page(self) -> str:
        return super().page if (self.folder / "page.md").is_file() else ""


@cache
def architectures() -> dict[str, Architecture]:
    """All architectures by name, in the order of their years; folders whose page cannot be read are left out."""
    found = []
    for path in FOLDER.glob("*/*/page.md"):
        if why_unfinished(path.parent) is None:
            front, _ = split_front_matter(path.read_text(encoding="utf-8"), path)
            found.append(Architecture(path.parent.name, path.parent.parent.name, path.parent, front))
    return {
        architecture.name: architecture
        for architecture in sorted(found, key=lambda architecture: (int(architecture.front["year"]), architecture.name))
    }


def architecture(name: str | Path) -> Architecture:
    """Return the architecture of that name, or in that folder; its data.py is imported, which may register a kind of data.

    Raises UserError where there is none, with the nearest name.
    """
    found = _found(name)
    if found.has("data"):  # here, because a trained run is restored, served and compared without its recipe being read first
        found.module("data")
    return found


def _found(name: str | Path) -> Architecture:
    known = architectures()
    if str(name) in known:
        return known[str(name)]
    path = Path(str(name)).expanduser()
    if (path / "recipe.py").is_file():
        return _own(path.resolve())
    if isinstance(name, Path) or os.sep in str(name):
        what = "a folder without recipe.py" if path.is_dir() else "a file" if path.exists() else "none"
        raise UserError(f"An architecture's folder has model.py and recipe.py. Received {path}, {what}. Correct the path.")
    raise unknown_name("architecture", name, known)


def blank_front(name: str, idea: str = "") -> dict[str, Any]:
    """Return the front matter of an architecture that has no page."""
    return {"title": name, "year": "", "paper": "", "url": "", "idea": idea} | {
        key: [] for key in ("predecessors", "successors", "builds_on")
    }


def _own(folder: Path) -> OwnArchitecture:
    front, page = blank_front(folder.name), folder / "page.md"
    if page.is_file():
        front |= split_front_matter(page.read_text(encoding="utf-8"), page)[0]
    return OwnArchitecture(folder.name, "own", folder, front)


def folders() -> list[Path]:
    """All folders that hold an architecture, or the start of one."""
    return sorted({path.parent for path in FOLDER.glob("*/*/*") if path.suffix in (".py", ".md")})


def why_unfinished(folder: Path) -> str | None:
    """Return why a folder is not listed: it has no page, or one without title and year; None where it is."""
    page = folder / "page.md"
    if not page.is_file():
        return f"{folder.name} has no page.md"
    try:
        front, _ = split_front_matter(page.read_text(encoding="utf-8"), page)
    except (UserError, OSError, UnicodeDecodeError) as problem:
        return str(problem)
    missing = [key for key in ("title", "year", "idea", "paper") if not front.get(key)]
    if missing:
        return f"the front matter of {folder.name}/page.md lacks {', '.join(missing)}"
    return None if str(front["year"]).isdigit() else f"the year of {folder.name}/page.md is {front['year']!r}, no number"


def split_front_matter(text: str, path: Path) -> tuple[dict[str, Any], str]:
    """The "key: value" lines between two lines of "---", and the text after them; [a, b] is a list."""
    lines = text.splitlines()
    if not lines or lines[0] != "---" or "---" not in lines[1:]:
        raise UserError(f'A page starts with front matter between two lines of "---". Received {path}, which does not. Add it.')
    end = lines.index("---", 1)
    front: dict[str, Any] = {}
    for line in lines[1:end]:
        key, _, value = line.partition(":")
        value = value.strip()
        if value.startswith("[") and value.endswith("]"):
            front[key.strip()] = [item.strip() for item in value[1:-1].split(",") if item.strip()]
        else:
            front[key.strip()] = value
    return front, "\n".join(lines[end + 1 :]).strip() + "\n"
