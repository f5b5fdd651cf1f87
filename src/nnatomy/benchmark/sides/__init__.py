"""The sides of the benchmark: one file for each library, imported only in the process that measures it.

Each has `prepare(threads)`, which sets up that process, and `Network`, a Side.
"""

from __future__ import annotations

import importlib
import importlib.util
from dataclasses import dataclass
from typing import Any, Protocol

from nnatomy.benchmark.workloads import Array, Workload

Weights = dict[str, Array]


class Side(Protocol):
    """How one library trains a workload's network and answers with it. Names and layouts of arrays are PyTorch's."""

    def __init__(self, workload: Workload, weights: Weights | None, options: dict[str, Any]) -> None: ...

    def weights(self) -> Weights:
        """The parameters and buffers that training starts from."""

    def restart(self) -> None:
        """Back to the first weights, before any step."""

    def step(self) -> float:
        """Forward, loss, backward and Adam on the next batch; returns the loss."""

    def settle(self) -> None:
        """Waits for what still runs in the background."""

    def moments(self) -> Weights:
        """Adam's first moment of each parameter: after one step, a tenth of the gradient."""

    def question(self, x: Array) -> Any:
        """The inputs as the library wants them."""

    def answer(self, x: Any) -> Any:
        """The network's output for inputs from `question`, without recording, finished."""

    def array(self, y: Any) -> Array:
        """An output as a NumPy array."""

    def describe(self) -> str:
        """The library with its version and what it uses."""

    def notes(self) -> list[str]:
        """What must be known about how it ran: nothing, as a rule."""


@dataclass(frozen=True)
class Kind:
    """A side by the name that a user gives it."""

    label: str
    """In tables."""
    module: str
    """Of this folder."""
    needs: tuple[str, ...] = ()
    """Packages to import."""
    extra: str = ""
    """Of nnatomy, which installs them."""

    def missing(self) -> str | None:
        """Why it cannot be measured here, or None."""
        absent = [name for name in self.needs if importlib.util.find_spec(name) is None]
        return f'{" and ".join(absent)} not installed: pip install "nnatomy[{self.extra}]"' if absent else None

    def load(self, threads: int) -> type[Side]:
        """Imports the library and sets up this process for it."""
        module = importlib.import_module(f"{__name__}.{self.module}")
        module.prepare(threads)
        found: type[Side] = module.Network
        return found


OURS = "nnatomy"
COMPILED = "kernels were compiled in this process"
"""A note: the next process finds them in the cache."""
KINDS = {
    OURS: Kind("nnatomy", "ours"),
    "eager": Kind("nnatomy eager", "ours"),
    "torch": Kind("PyTorch", "pytorch", ("torch",), "verify"),
    "compile": Kind("torch.compile", "pytorch", ("torch",), "verify"),
    "jax": Kind("JAX", "jax_jit", ("jax",), "jax"),
    "keras": Kind("Keras", "keras_tensorflow", ("keras", "tensorflow"), "verify"),
}
PEERS = ("torch", "compile", "jax", "keras")
