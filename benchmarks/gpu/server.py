"""The requests that a worker of the GPU benchmark takes, and how one is started."""

from __future__ import annotations

from gpu.card import product_rate
from gpu.implementations import KINDS
from gpu.workloads import FULL, TINY, find
from nnatomy.benchmark import worker
from nnatomy.benchmark.worker import Worker


def start(workload: str, tiny: bool, name: str) -> Worker:
    """A worker that has received its settings."""
    environment = {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"}  # several processes use the card, so none may take all memory
    if tiny:
        environment |= {"JAX_PLATFORMS": "cpu", "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    return Worker(name, "gpu.server", name, workload, tiny, environment=environment)


class Server(worker.Server):
    """One implementation and one workload, on the CUDA device or, at tiny sizes, on the CPU."""

    def start(self, name: str, workload: str, tiny: bool) -> None:
        """Import the library."""
        self._workload, self._compiled = find(workload, TINY if tiny else FULL), name == "compile"
        self._device = "cpu" if tiny else "cuda"
        self._module = KINDS[name].load()

    def build(self, precision: str, size: int) -> str:
        """Make the network; return what the implementation is as text."""
        self.network = self._module.Network(self._workload, size, precision, self._device, self._compiled)
        return self.network.describe()

    def rate(self, side: int) -> float:
        """Operations a second of the product of two square bfloat16 matrices on this device, the best of some."""
        return product_rate(side)
