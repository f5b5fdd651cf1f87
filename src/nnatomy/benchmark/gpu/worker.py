"""A process that holds one library and one network on the device, and the handle that asks it."""

from __future__ import annotations

import gc
import os
import sys
import tempfile
import time

from nnatomy.benchmark import worker
from nnatomy.benchmark.gpu.sides import KINDS, Side
from nnatomy.benchmark.gpu.workloads import FULL, TINY, find
from nnatomy.benchmark.worker import resident, serve_pipes
from nnatomy.benchmark.workloads import Array


class Worker(worker.Worker):
    """One for each library, workload and precision: `ask` and wait, or `send` now and `receive` later."""

    def __init__(self, side: str, workload: str, tiny: bool, device: str) -> None:
        self.side = side
        self.errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed by close()
        # Several processes share the card, so none may take all of its memory at once.
        environment = os.environ | {"XLA_PYTHON_CLIENT_PREALLOCATE": "false", "TF_CPP_MIN_LOG_LEVEL": "3"}
        if device == "cpu":
            environment |= {"JAX_PLATFORMS": "cpu", "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
        self._begin([sys.executable, "-m", __name__, side, workload, "tiny" if tiny else "full", device], environment)
        self.send("start")


class Server:
    """What a worker can be asked: its public methods."""

    def __init__(self, side: str, workload: str, sizes: str, device: str) -> None:
        self._kind, self._workload = KINDS[side], find(workload, TINY if sizes == "tiny" else FULL)
        self._device = device

    def start(self) -> None:
        """Imports the library."""
        self._network = self._kind.load()

    def build(self, precision: str, size: int) -> str:
        """Makes the network; returns what the side is in words."""
        self._net: Side = self._network(self._workload, size, precision, self._device, self._kind.compiled)
        return self._net.describe()

    def train(self, steps: int) -> tuple[list[float], dict[str, Array]]:
        """The losses of the next steps, and samples of the optimizer's momentum after the first of them."""
        losses = [float(self._net.step())]
        momentum = self._net.momentum()
        return losses + [float(self._net.step()) for _ in range(steps - 1)], momentum

    def time_training(self, steps: int, warm: int) -> float:
        """Seconds a step, after steps that are not timed."""
        gc.collect()
        for _ in range(warm):
            self._net.step()
        self._net.wait()
        began = time.perf_counter()
        for _ in range(steps):
            self._net.step()
        self._net.wait()
        seconds = (time.perf_counter() - began) / steps
        self._net.release()
        return seconds

    def memory(self) -> dict[str, float]:
        """Peak memory in MiB: of the device, or of the process where the device has none of its own."""
        peak = self._net.peak_bytes()
        return {"peak_mib": resident(peak=True) if peak is None else peak / 2**20}

    def processor_seconds(self) -> float:
        return time.process_time()

    def rate(self, side: int) -> float:
        """Operations a second of the product of two square bfloat16 matrices on this device, the best of some."""
        from nnatomy.benchmark.gpu.card import product_rate

        return product_rate(side)

    def notes(self) -> list[str]:
        """What the side has to say about how it ran."""
        return self._net.notes()


if __name__ == "__main__":
    serve_pipes(lambda: Server(*sys.argv[1:]))
