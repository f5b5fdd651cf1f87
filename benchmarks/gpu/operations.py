"""The operations of a workload's training step: the products of its layers, counted without running them."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

import nnatomy as nn
from gpu.outline import outline
from gpu.workloads import Workload
from nnatomy.benchmark import roofline


def operations(workload: Workload) -> float:
    """Floating-point operations of a step, for each example: three times those of the forward products, two a multiply-add.

    Attention counts all pairs of queries and keys, masked or not; so for GPT-2 this is 6 N + 12 L d T for each of T tokens, N
    the weights of its products (Chowdhery et al. 2022, appendix B).
    """
    counted = 2 * workload.products
    x = workload.batch(np.random.default_rng(0), 1)[0]

    def add(operations: float, *rest: Any) -> None:
        nonlocal counted
        counted += operations

    def forward(x: Any) -> Any:
        model = workload.build(nn).eval()
        roofline.watch(model, add)
        return model(nn.Tensor(x)).data

    with nn.backend("jax"):
        jax.eval_shape(forward, x)
    return 3 * counted


def parameters(workload: Workload) -> int:
    """Return the number of learned numbers, without making the network."""
    return int(outline(lambda: workload.build(nn)).count_parameters())
