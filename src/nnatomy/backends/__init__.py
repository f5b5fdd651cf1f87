"""The seam between primitives and arrays: a backend is a module of array functions, and one of them is active.

Nothing above `ops/` knows which. `B` is the active backend: `B.exp(x)` calls its `exp`.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType, SimpleNamespace
from typing import Any

from nnatomy.errors import unknown_name

MODULES = {"numpy": "nnatomy.backends.numpy_reference"}
"""Backends by the name that a user gives."""

B: Any = SimpleNamespace()
"""The active backend's functions. Switching replaces its contents, so that a look-up costs one attribute."""


def activate(module: ModuleType | SimpleNamespace) -> None:
    """Makes the functions of `module` the active backend; `use` does this by name."""
    functions = {name: value for name, value in vars(module).items() if not name.startswith("_")}
    B.__dict__.clear()
    B.__dict__.update(functions)


def use(name: str) -> None:
    """Chooses the backend for all that follows, by name: `nn.use("numpy")`."""
    if name not in MODULES:
        raise unknown_name("backend", name, MODULES)
    activate(importlib.import_module(MODULES[name]))


def current() -> str:
    """The active backend's name."""
    return str(B.name)


@contextmanager
def backend(name: str) -> Iterator[None]:
    """Chooses the backend inside a `with` block and restores the former one after it."""
    before = SimpleNamespace(**vars(B))
    use(name)
    try:
        yield
    finally:
        activate(before)


use("numpy")
