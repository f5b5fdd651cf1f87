"""The operations of a workload, counted by hand, and the fraction of the roofline that follows."""

from __future__ import annotations

import numpy as np
import pytest

import nnatomy as nn
from nnatomy.benchmark import roofline
from nnatomy.benchmark.implementations.ours import attend
from nnatomy.benchmark.roofline import Need, Peak
from nnatomy.benchmark.workloads import find


def test_the_mlp_by_hand() -> None:
    """784-256-128-10 at batch 64."""
    sizes = [784 * 256, 256 * 128, 128 * 10]
    need = roofline.need(find("mlp"))
    assert need.flops == 2 * 64 * (3 * sum(sizes) - sizes[0])  # no gradient of the inputs
    parameters = sum(sizes) + 256 + 128 + 10
    batch = 64 * 784 * 4 + 64 * 8
    assert need.bytes == 6 * 4 * parameters + batch + 2 * 4 * 64 * (256 + 128 + 10)
    asked = roofline.need(find("mlp"), 7)
    assert asked.flops == 2 * 7 * sum(sizes)
    assert asked.bytes == 4 * parameters + 7 * 784 * 4 + 4 * 7 * 10


def test_a_recurrent_network_by_hand() -> None:
    """LSTM 100 x 64, hidden 128, then 10 classes, batch 32."""
    by_inputs, by_state, out = 100 * 64 * 512, 100 * 128 * 512, 128 * 10
    assert roofline.need(find("lstm")).flops == 2 * 32 * (3 * (by_inputs + by_state + out) - by_inputs)


def test_attention_by_hand() -> None:
    """Of a causal one the half counts; both have products that need no weights."""
    block = 128 * (3 * 128 + 128 + 512 + 512)
    T, steps = 64, 64 * 65 // 2
    full = T * block * 2 + 2 * 2 * T * T * 128
    assert roofline.need(find("encoder"), 1).flops == 2 * (full + 128 * 10)
    T, steps = 128, 128 * 129 // 2
    causal = 4 * (T * block + 2 * steps * 128)
    assert roofline.need(find("gpt"), 1).flops == 2 * (causal + T * 128 * 256)


@pytest.mark.parametrize("name", ["mlp-small-8", "lenet", "autoencoder", "mobilenet", "resnet20", "lstm", "bigru", "encoder"])
def test_the_forward_count_is_that_of_the_products(name: str) -> None:
    """The summary counts where the backend multiplies; normalization, which it adds, is taken off."""
    workload = find(name)
    model = workload.build(nn, attend)
    summary = model.summary(workload.question(1))
    products = sum(row.multiply_adds for row in summary.rows if "Norm" not in row.layer)
    assert roofline.need(workload, 1).flops == 2 * products


def test_the_least_time() -> None:
    machine = Peak(100.0, ((10.0, 50.0), (1000.0, 5.0)))
    assert Need(200.0, 1.0).seconds(machine) == 2.0  # bound by arithmetic
    assert Need(1.0, 100.0).seconds(machine) == 2.0  # by the cache's rate
    assert Need(1.0, 2000.0).seconds(machine) == 400.0  # by the memory's


def test_the_machine_is_measured() -> None:
    peak = roofline.measure(1)
    assert 1e9 < peak.flops < 1e12
    assert [size for size, _ in peak.bandwidths] == sorted(size for size, _ in peak.bandwidths)
    assert all(1e8 < rate < 1e12 for _, rate in peak.bandwidths)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_the_kernels_compute_what_they_say(threads: int) -> None:
    from nnatomy.kernels import machine
    from nnatomy.kernels.sources import roofline as kernels
    from nnatomy.kernels.vectors import LANES

    before = machine.get_num_threads()
    machine.set_num_threads(threads)
    try:
        n = 37 * LANES
        x, y, z = (machine.aligned(n, np.float32) for _ in range(3))
        y[:], z[:] = np.arange(n), np.linspace(-1, 1, n)
        operands = machine.aligned(threads * kernels.OPERANDS, np.float32)
        operands[:] = np.random.default_rng(0).normal(size=operands.size)
        parts = operands.reshape(threads, -1)
        A, B, C = np.split(parts, [kernels.A_SIZE, kernels.A_SIZE + kernels.B_SIZE], axis=1)
        program = machine.Program()
        program.add("roofline", "triad", [x.ctypes.data, y.ctypes.data, z.ctypes.data, n], parallel=True)
        program.add("roofline", "multiply", [operands.ctypes.data, 3], parallel=True)
        program.run()
    finally:
        machine.set_num_threads(before)
    np.testing.assert_allclose(x, y + 3 * z, rtol=1e-6, atol=1e-6)
    for a, b, c in zip(A, B, C, strict=True):
        a, b = a.reshape(kernels.DEPTH, -1), b.reshape(kernels.DEPTH, -1)
        np.testing.assert_allclose(c.reshape(a.shape[1], -1), a.T @ b, rtol=1e-4, atol=1e-4)
