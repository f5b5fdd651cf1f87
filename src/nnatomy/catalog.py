"""Which architectures there are: one folder each, discovered by the front matter of its page; no model is imported."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from nnatomy.errors import UserError, unknown_name
from nnatomy.training.recipe import Case, Recipe

FOLDER = Path(__file__).parent / "architectures"


@dataclass(frozen=True)
class Architecture:
    """An architecture's folder; what is in it is imported when it is asked for."""

    name: str
    family: str
    folder: Path
    front: dict[str, Any]
    """The front matter of page.md: title, year, paper, url, idea, predecessors, successors, builds_on."""

    def module(self, part: str) -> ModuleType:
        """One of the architecture's files: "model", "recipe", "picture", "torch_twin", "keras_twin"."""
        return importlib.import_module(f"nnatomy.architectures.{self.family}.{self.name}.{part}")

    @property
    def recipes(self) -> tuple[Recipe, ...]:
        """How the architecture is trained, one recipe for each kind of data; the first is the default."""
        return tuple(self.module("recipe").recipes)

    @property
    def cases(self) -> tuple[Case, ...]:
        """The small instances that the contracts build."""
        return tuple(self.module("recipe").cases)

    @property
    def page(self) -> str:
        """The text of page.md after its front matter."""
        return split_front_matter((self.folder / "page.md").read_text(encoding="utf-8"), self.folder / "page.md")[1]


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


def architecture(name: str) -> Architecture:
    """The architecture of that name. Raises UserError, with the nearest name, where there is none."""
    known = architectures()
    if name not in known:
        raise unknown_name("architecture", name, known)
    return known[name]


def folders() -> list[Path]:
    """All folders that hold an architecture, or the beginning of one."""
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
        raise UserError(f'A page begins with front matter between two lines of "---", {path} does not; add it.')
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
