"""The implementations of the GPU benchmark, each in its own file; how they train, which all do alike."""

from __future__ import annotations

import numpy as np

from nnatomy.benchmark.implementation import OURS, Array, Kind

RATE, BETAS, DECAY, MOMENTUM = 1e-4, (0.9, 0.95), 0.1, 0.9
"""Of the optimizers: AdamW's first three, SGD's rate and momentum."""
SAMPLES = 4096

KINDS = {
    OURS: Kind(OURS, "gpu.ours", ("jax",), 'pip install "nnatomy[jax]", on CUDA "jax[cuda12]"'),
    "torch": Kind("torch", "gpu.pytorch", ("torch",)),
    "compile": Kind("compile", "gpu.pytorch", ("torch",)),
}
PEERS = ("torch", "compile")


def sample(values: Array) -> Array:
    """At most some thousand elements, evenly spread, in float32."""
    flat = np.asarray(values).reshape(-1)
    return np.array(flat[:: max(1, -(-flat.size // SAMPLES))], dtype=np.float32)
