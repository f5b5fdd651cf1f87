"""Faces of packages that import a name's module when the name is first used."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any


def face(package: str, places: Mapping[str, tuple[str, ...]]) -> Callable[[str], Any]:
    """Return a module's `__getattr__` that finds each of the names in its module, by the module's path in the package."""
    where = {name: module for module, names in places.items() for name in names}

    def get(name: str) -> Any:
        if name in where:
            return getattr(importlib.import_module(f"{package}.{where[name]}"), name)
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    return get
