"""The interface of a measured library. Each runs in its own process, which alone imports it."""

from __future__ import annotations

import importlib
import importlib.util
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nnatomy.errors import unknown_name

Array = np.ndarray[Any, Any]
Arrays = dict[str, Array]
Log = Callable[[str], None]

OURS = "nnatomy"
LABELS = {
    OURS: "nnatomy", "eager": "nnatomy eager", "torch": "PyTorch", "compile": "torch.compile", "jax": "JAX", "keras": "Keras",
}  # fmt: skip
"""In tables, in this order."""


class Implementation(ABC):
    """One library's training of a workload's network. Names and layouts of arrays are PyTorch's."""

    @abstractmethod
    def step(self) -> Any:
        """Forward, loss, backward and update on the next batch; returns the loss, which may still be on a device."""

    @abstractmethod
    def moments(self) -> Arrays:
        """The optimizer's first moment of each parameter: after one step, the gradient or a tenth of it."""

    @abstractmethod
    def describe(self) -> str:
        """The library with its version and what it uses."""

    def restart(self) -> None:
        """Back to the first weights, before any step, where blocks start there."""

    def synchronize(self) -> None:
        """Wait for what still runs in the background."""

    def release(self) -> None:
        """Give memory back that only the next steps need."""

    def peak_mib(self) -> float | None:
        """The most memory of a device that was in use, or None where that is the process's own."""
        return None

    def notes(self) -> list[str]:
        """Return remarks about the run; usually none."""
        return []


@dataclass(frozen=True)
class Kind:
    """An implementation by the name that a user gives it."""

    name: str
    module: str
    """The module of its class `Network`, an Implementation."""
    needs: tuple[str, ...] = ()
    """Packages to import."""
    remedy: str = ""
    """The command that installs them."""

    @property
    def label(self) -> str:
        """In tables."""
        return LABELS[self.name]

    def missing(self) -> str | None:
        """Return why it cannot be measured here, or None."""
        absent = [name for name in self.needs if importlib.util.find_spec(name) is None]
        return f"{' and '.join(absent)} not installed" + (f": {self.remedy}" if self.remedy else "") if absent else None

    def load(self) -> Any:
        """Import the library; return the module of the implementation."""
        return importlib.import_module(self.module)


def check_peers(given: Sequence[str] | None, known: Sequence[str]) -> None:
    """Raise UserError for a name that no peer has."""
    for name in given or ():
        if name not in known:
            raise unknown_name("peer", name, known)


def available(kinds: Mapping[str, Kind], wanted: Sequence[str], log: Log) -> tuple[list[str], dict[str, str]]:
    """Those of the wanted implementations that can be measured here, and why the others cannot, which is logged."""
    absent = {name: why for name in wanted if (why := kinds[name].missing())}
    for name, why in absent.items():
        log(f"{kinds[name].label} is left out: {why}.")
    return [name for name in wanted if name not in absent], absent
