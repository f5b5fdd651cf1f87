"""What a library must be able to do to be measured on a GPU; each stands in a file of its own and runs in its own process."""

from __future__ import annotations

import importlib
import importlib.util
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from nnatomy.benchmark.gpu.workloads import Workload
from nnatomy.benchmark.workloads import Array

PRECISIONS = ("float32", "bfloat16")
RATE, BETAS, DECAY, MOMENTUM = 1e-4, (0.9, 0.95), 0.1, 0.9
"""Of the optimizers: AdamW's first three, SGD's rate and momentum."""
SAMPLES = 4096


class Side(Protocol):
    """How one library trains a workload's network. Names and layouts of arrays are PyTorch's."""

    def __init__(self, workload: Workload, size: int, precision: str, device: str, compiled: bool) -> None: ...

    def step(self) -> Any:
        """Forward, loss, backward and update on the next batch; returns the loss on the device, without waiting for it."""

    def wait(self) -> None:
        """Returns when all steps are done."""

    def release(self) -> None:
        """Gives memory back that only the next steps need."""

    def momentum(self) -> dict[str, Array]:
        """The optimizer's momentum of each parameter, sampled: after one step, the gradient or a tenth of it."""

    def peak_bytes(self) -> int | None:
        """The most memory of the device that was in use, or None where there is no device of its own."""

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
    needs: str
    """A package to import."""
    compiled: bool = True

    def missing(self) -> str | None:
        """Why it cannot be measured here, or None."""
        return None if importlib.util.find_spec(self.needs) else f"{self.needs} is not installed"

    def load(self) -> type[Side]:
        """Imports the library."""
        found: type[Side] = importlib.import_module(f"nnatomy.benchmark.gpu.{self.module}").Network
        return found


KINDS = {
    "nnatomy": Kind("nnatomy", "ours", "jax"),
    "torch": Kind("PyTorch", "pytorch", "torch", compiled=False),
    "compile": Kind("torch.compile", "pytorch", "torch"),
}
PEERS = ("torch", "compile")


def sample(values: Array) -> Array:
    """At most some thousand elements, evenly spread, in float32."""
    flat = np.asarray(values).reshape(-1)
    return np.array(flat[:: max(1, -(-flat.size // SAMPLES))], dtype=np.float32)
