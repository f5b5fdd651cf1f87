"""The requests that a worker of the CPU benchmark takes: to train, and to predict."""

from __future__ import annotations

import importlib
from typing import Any

from nnatomy.benchmark import worker
from nnatomy.benchmark.implementation import Array, Arrays
from nnatomy.benchmark.implementations import KINDS, Answering
from nnatomy.benchmark.worker import resident
from nnatomy.benchmark.workloads import find


class Server(worker.Server):
    """One implementation and one workload."""

    network: Answering

    def start(self, name: str, workload: str, threads: int, options: dict[str, Any]) -> float:
        """Import the library; return the memory that holds it, in MiB."""
        self._workload, self._options = find(workload), options | {name: True}
        self._module = KINDS[name].load()
        self._module.prepare(threads)
        if name == "compile":
            importlib.import_module("torch._dynamo")
        self._imported = resident(peak=False)
        return self._imported

    def build(self, weights: Arrays | None) -> str:
        """Build the network; return a description of the implementation."""
        self.network = self._module.Network(self._workload, weights, self._options)
        return self.network.describe()

    def weights(self) -> Arrays:
        return self.network.weights()

    def answer(self, size: int) -> Array:
        """The outputs for `size` examples."""
        self._x = self.network.question(self._workload.question(size))
        return self.network.array(self.network.answer(self._x))

    def time_answering(self, calls: int, warm: int) -> float:
        """Seconds a call, for the examples of the last `answer`."""
        return self._timed(lambda: self.network.answer(self._x), calls, warm)

    def memory(self) -> dict[str, float]:
        """Peak memory in MiB, and how much of it came after importing the library."""
        found = super().memory()
        return found | {"after_import_mib": found["peak_mib"] - self._imported}
