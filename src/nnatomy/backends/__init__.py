"""The seam between primitives and arrays: a backend is a module of array functions, and one of them is active.

Nothing above `ops/` knows which. `B` is the active backend: `B.exp(x)` calls its `exp`.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np

from nnatomy.errors import UserError, unknown_name

_MODES = ("auto", "fast", "reference")


def kernels() -> str:
    """Return NNATOMY_KERNELS: "auto" (kernels where they pay), "fast" (wherever there is one) or "reference" (none)."""
    mode = os.environ.get("NNATOMY_KERNELS") or "auto"
    if mode not in _MODES:
        raise UserError(f'NNATOMY_KERNELS must be "auto", "fast" or "reference". Received {mode!r}. Unset it for "auto".')
    return mode if _compiler() else "reference"


@cache
def _compiler() -> bool:
    """Return True if kernels can be compiled here."""
    return importlib.util.find_spec("numba") is not None


class _Refused(SimpleNamespace):
    """No functions, as NNATOMY_KERNELS is wrong: reported when the first is used, so that no import fails."""

    def __getattr__(self, name: str) -> Any:
        kernels()
        raise AttributeError(name)


B: Any
"""The active backend's functions. Switching replaces its contents, so that a look-up costs one attribute."""

try:
    _numpy = "numpy_reference" if kernels() == "reference" else "numpy_fast"
    B = SimpleNamespace()
except UserError:
    _numpy = "numpy_fast"
    B = _Refused()

MODULES = {"numpy": f"nnatomy.backends.{_numpy}", "jax": "nnatomy.backends.jax_xla"}
"""Backends by the name that a user gives."""


def activate(module: ModuleType | SimpleNamespace) -> None:
    """Make the functions of `module` the active backend; `use` does this by name."""
    functions = {name: value for name, value in vars(module).items() if not name.startswith("_")}
    B.__dict__.clear()
    B.__dict__.update(functions)


def use(name: str, device: str | None = None, matmul: str = "highest") -> None:
    """Choose the backend for all that follows: `nn.use("jax")`, `nn.use("jax", device="gpu:1")`.

    `device` is "cpu", or on the jax backend "cpu", "gpu" or "tpu" with a number after a colon; the backend's choice if None.
    `matmul` is what JAX calls the precision of float32 products: "highest" is float32 itself, "tensorfloat32" rounds factors.
    Values that exist stay where they are; `Module.to_backend()` moves a model. Raises UserError for a backend or a device that
    is not there.
    """
    if name not in MODULES:
        raise unknown_name("backend", name, MODULES)
    kernels()
    if name == "jax":
        devices = load_jax_devices()
        devices.select(device, matmul)
    elif device not in (None, "cpu"):
        raise UserError(f'The numpy backend computes on the CPU. Received device {device!r}. Give backend "jax" for another.')
    activate(importlib.import_module(MODULES[name]))


def current() -> str:
    """The active backend's name."""
    return str(B.name)


def device() -> str:
    """Where the active backend computes, as text."""
    return str(load_jax_devices().described()) if current() == "jax" else "cpu"


def compiles_by_shape() -> bool:
    """Return True if the active backend compiles a program for each shape, which then runs while Python continues: XLA does."""
    return current() == "jax"


def known(array: Any) -> Any:
    """Return the values of an array as NumPy's; None where a compiled step does not know them yet."""
    if isinstance(array, np.ndarray):
        return array
    return B.known(array) if current() == "jax" else None


def load_jax_devices() -> Any:
    """The module that knows JAX's devices. Raises UserError where JAX is not installed."""
    try:
        return importlib.import_module("nnatomy.backends.jax_devices")
    except ImportError as missing:
        if (missing.name or "").partition(".")[0] not in ("jax", "jaxlib"):
            raise
        raise UserError(
            'The jax backend needs JAX. Received an environment without it. Run pip install "nnatomy[jax]".'
        ) from None


@contextmanager
def backend(name: str, device: str | None = None) -> Iterator[None]:
    """Choose the backend inside a `with` block and restore the former one, and its device, after it."""
    before = SimpleNamespace(**vars(B))
    kept = load_jax_devices().settings() if "jax" in (name, B.name) else None
    use(name, device)
    try:
        yield
    finally:
        activate(before)
        if kept is not None:
            load_jax_devices().restore(kept)


if not isinstance(B, _Refused):
    use("numpy")
