"""The kinds of data, one folder each, found by name and imported when first needed; nothing lists them."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

from nnatomy.data.dataset import Dataset, Preprocessing
from nnatomy.data.kinds.kind import BARELY, NO, PERHAPS, SURELY, ExportedInputs, InputSpec, Kind
from nnatomy.data.sets import Named, Public
from nnatomy.errors import unknown_name

__all__ = [
    "BARELY", "NO", "PERHAPS", "SURELY", "ExportedInputs", "InputSpec", "Kind", "kind", "kind_of", "kinds", "names", "public",
    "register", "sets", "unregister",
]  # fmt: skip

_registered: dict[str, Kind[Any]] = {}


@cache
def _folders() -> tuple[str, ...]:
    return tuple(sorted(path.parent.name for path in Path(__file__).parent.glob("*/__init__.py")))


def names() -> tuple[str, ...]:
    """Return the names of all kinds, without importing one."""
    return (*_folders(), *_registered)


def kind(name: str) -> Kind[Any]:
    """Return the kind of that name. Raises UserError where there is none."""
    if name in _registered:
        return _registered[name]
    if name not in _folders():
        raise unknown_name("kind of data", name, names())
    found: Kind[Any] = import_module(f"{__name__}.{name}").KIND
    return found


def kinds() -> tuple[Kind[Any], ...]:
    """Return all kinds."""
    return tuple(map(kind, names()))


def kind_of(known: Dataset | Preprocessing) -> Kind[Any]:
    """Return the kind of a data set, which is that of its preprocessing, or of a preprocessing."""
    return kind((known.preprocessing if isinstance(known, Dataset) else known).kind)


def register(new: Kind[Any]) -> None:
    """Add a kind that has no folder here: a user's own. One of the same name is replaced."""
    _registered[new.name] = new


def unregister(name: str) -> None:
    """Remove a kind that `register` added."""
    _registered.pop(name, None)


def sets() -> dict[str, tuple[Kind[Any], Named]]:
    """Return the sets that have names: embedded, then generated, then public ones, each with its kind."""
    found = [(name, (owner, known)) for owner in kinds() for name, known in owner.sets.items()]
    return dict(sorted(found, key=lambda one: ("embedded", "generated", "public").index(one[1][1].origin)))


def public() -> dict[str, Public]:
    """Return the public sets, by name: where their files are and where these come from."""
    return {name: known for name, (_, known) in sets().items() if isinstance(known, Public)}
