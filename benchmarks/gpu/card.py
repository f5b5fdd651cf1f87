"""The device's limits: the published rate of its tensor cores, and the rate that a large product reaches."""

from __future__ import annotations

import re
import time

PUBLISHED = (
    (r"\bH100 PCIe\b", 756e12), (r"\bH100 NVL\b", 835e12), (r"\bH100\b", 989e12), (r"\bH200 NVL\b", 835e12),
    (r"\bH200\b", 989e12), (r"\bA100\b", 312e12), (r"\bA30\b", 165e12), (r"\bA10\b", 125e12), (r"\bL40S\b", 362e12),
    (r"\bL4\b", 121e12), (r"\bRTX 4090\b", 165e12), (r"\bRTX 3090\b", 71e12),
)  # fmt: skip
"""Dense bfloat16 operations a second, sums in float32, from NVIDIA's data sheets: half of what they give "with sparsity"."""


def published(name: str) -> float | None:
    """The published rate of a card by the name that its driver gives it, or None."""
    return next((rate for pattern, rate in PUBLISHED if re.search(pattern, name)), None)


def product_rate(side: int, repeats: int = 10) -> float:
    """Operations a second of the product of two (side, side) bfloat16 matrices on JAX's first device, the best of some runs."""
    import jax
    import jax.numpy as jnp

    x = jax.random.normal(jax.random.key(0), (side, side), jnp.bfloat16)
    multiply = jax.jit(lambda x: x @ x)
    best = float("inf")
    for _ in range(repeats + 1):  # the first compiles
        began = time.perf_counter()
        multiply(x).block_until_ready()
        best = min(best, time.perf_counter() - began)
    return 2 * side**3 / best
