"""nnatomy: the step that the training loop takes, on the JAX backend, compiled by XLA as a whole with donated state."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import nnatomy as nn
from nnatomy import functional as F
from nnatomy.benchmark.gpu.outline import outline, tensors
from nnatomy.benchmark.gpu.sides import BETAS, DECAY, MOMENTUM, RATE, sample
from nnatomy.benchmark.gpu.workloads import Workload
from nnatomy.benchmark.workloads import Array
from nnatomy.optim import SGD, AdamW
from nnatomy.training.parallel.devices import Devices
from nnatomy.training.precision import PRECISIONS
from nnatomy.training.step import Step


class Network:
    """float32 is exact; bfloat16 is `--precision bfloat16`: half precision around float32 weights."""

    def __init__(self, workload: Workload, size: int, precision: str, device: str, compiled: bool) -> None:
        nn.use("jax", device="cpu" if device == "cpu" else "gpu")
        model = outline(lambda: workload.build(nn))
        named = tensors(model)
        for name, value in workload.values({name: t.shape for name, t in named.items()}).items():
            named[name].data = jnp.asarray(value, dtype=named[name].dtype)
        model.train()
        self.step_ = step_of(workload, model, precision)
        self.state: Any = self.step_.state()
        self.train: Any = nn.compile(self.step_)
        self.batches = [tuple(jax.device_put(_narrow(a)) for a in batch) for batch in workload.batches(size)]
        self.count = 0

    def step(self) -> Any:
        self.state, metrics = self.train(self.state, self.batches[self.count % len(self.batches)])
        self.count += 1
        return metrics["loss"]

    def wait(self) -> None:
        jax.block_until_ready(self.state["model"])

    def release(self) -> None:
        pass

    def momentum(self) -> dict[str, Array]:
        kept = self.state["optimizer"]["state"]
        return {name: sample(next(a for key, a in arrays.items() if key in ("exp_avg", "momentum_buffer")))
                for name, arrays in kept.items()}  # fmt: skip

    def peak_bytes(self) -> int | None:
        stats = jax.local_devices()[0].memory_stats()
        return int(stats["peak_bytes_in_use"]) if stats else None

    def describe(self) -> str:
        return f"nnatomy {nn.__version__} on JAX {jax.__version__}"

    def notes(self) -> list[str]:
        return []


def step_of(workload: Workload, model: Any, precision: str, devices: Devices | None = None) -> Step:
    """The training step of a workload's network."""
    if workload.optimizer == "sgd":
        optimizer: Any = SGD(model.named_parameters(), lr=RATE, momentum=MOMENTUM)
    else:
        optimizer = AdamW(model.named_parameters(), lr=RATE, betas=BETAS, weight_decay=DECAY)
    return Step(model, optimizer, _loss, precision=PRECISIONS[precision], devices=devices)


def _loss(model: Any, x: Any, y: Any) -> Any:
    return F.cross_entropy(model(x), y)


def _narrow(a: Array) -> Array:
    """Indices as int32: no batch needs more."""
    return a.astype(np.int32) if a.dtype.kind == "i" else a
