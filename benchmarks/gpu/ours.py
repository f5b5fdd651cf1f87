"""nnatomy: the step that the training loop takes, on the JAX backend, compiled by XLA as a whole with donated state."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import nnatomy as nn
from gpu.implementations import BETAS, DECAY, MOMENTUM, RATE, sample
from gpu.outline import outline, tensors
from gpu.workloads import Workload
from nnatomy import functional as F
from nnatomy.benchmark.implementation import Array, Arrays, Implementation
from nnatomy.benchmark.implementations.ours import learner_of
from nnatomy.optim import SGD, AdamW
from nnatomy.training.learners import Learner, Setup
from nnatomy.training.parallel.devices import Devices
from nnatomy.training.precision import PRECISIONS


class Network(Implementation):
    """float32 is exact; bfloat16 is `--precision bfloat16`: half precision around float32 weights."""

    def __init__(self, workload: Workload, size: int, precision: str, device: str, compiled: bool) -> None:
        nn.use("jax", device="cpu" if device == "cpu" else "gpu")
        model = outline(lambda: workload.build(nn))
        named = tensors(model)
        for name, value in workload.values({name: t.shape for name, t in named.items()}).items():
            named[name].data = jnp.asarray(value, dtype=named[name].dtype)
        model.train()
        learner = learner_for(workload, model, precision)
        self.state: Any = learner.state()
        self.train: Any = nn.compile(learner)
        self.batches = [tuple(jax.device_put(_narrow(a)) for a in batch) for batch in workload.batches(size)]
        self.count = 0

    def step(self) -> Any:
        self.state, metrics = self.train(self.state, self.batches[self.count % len(self.batches)])
        self.count += 1
        return metrics["loss"]

    def synchronize(self) -> None:
        jax.block_until_ready(self.state["model"])

    def moments(self) -> Arrays:
        kept = self.state["optimizers"]["all"]["state"]
        return {name: sample(next(a for key, a in arrays.items() if key in ("exp_avg", "momentum_buffer")))
                for name, arrays in kept.items()}  # fmt: skip

    def peak_mib(self) -> float | None:
        stats = jax.local_devices()[0].memory_stats()
        return float(stats["peak_bytes_in_use"]) / 2**20 if stats else None

    def describe(self) -> str:
        return f"nnatomy {nn.__version__} on JAX {jax.__version__}"


def learner_for(workload: Workload, model: Any, precision: str, devices: Devices | None = None) -> Learner:
    """The learner of a workload's network."""
    sgd = partial(SGD, lr=RATE, momentum=MOMENTUM)
    optimizer = sgd if workload.optimizer == "sgd" else partial(AdamW, lr=RATE, betas=BETAS, weight_decay=DECAY)
    return learner_of(model, F.cross_entropy, optimizer, Setup(PRECISIONS[precision], devices=devices or Devices()))


def _narrow(a: Array) -> Array:
    """Indices as int32: no batch needs more."""
    return a.astype(np.int32) if a.dtype.kind == "i" else a
