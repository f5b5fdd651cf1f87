"""Training steps on many devices as XLA compiles them: with shapes in place of arrays, and never run.

The target is the GPU that H100 describes where JAX's CUDA plugin is installed (no GPU is needed), else as many virtual CPU
devices. Each number of devices has its own process, because JAX fixes its devices when it starts.
"""

from __future__ import annotations

import importlib
import importlib.util
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from typing import Any

from nnatomy.benchmark.worker import Worker, WorkerError

MODES = ("data parallel", "fully sharded")
TARGETS = ("h100", "cpu")
ACROSS = 8
"""GPUs of one machine."""
COLLECTIVES = ("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute")
_BYTES = {
    "pred": 1, "s8": 1, "u8": 1, "bf16": 2, "f16": 2, "s16": 2, "u16": 2, "f32": 4, "s32": 4, "u32": 4, "f64": 8, "s64": 8,
    "u64": 8,
}  # fmt: skip
H100 = """
gpu_device_info {
  name: "NVIDIA H100 80GB HBM3" cuda_compute_capability { major: 9 }
  core_count: 132 fpus_per_core: 128 clock_rate_ghz: 1.98 threads_per_warp: 32
  threads_per_block_limit: 1024 threads_per_core_limit: 2048
  block_dim_limit_x: 2147483647 block_dim_limit_y: 65535 block_dim_limit_z: 65535
  registers_per_core_limit: 65536 registers_per_block_limit: 65536
  shared_memory_per_block: 49152 shared_memory_per_block_optin: 232448 shared_memory_per_core: 233472
  l2_cache_size: 52428800 device_memory_size: 84942979072 memory_bandwidth: 3352320000000
  driver_version: "12.8.0" runtime_version: "12.8.0" compile_time_toolkit_version: "12.8.0" dnn_version: "9.10.0"
}
platform_name: "CUDA"
dnn_version_info { major: 9 minor: 10 patch: 0 }
runtime_version { major: 12 minor: 8 patch: 0 }
device_description_str: "NVIDIA H100 80GB HBM3"
"""
"""An H100 in the form that XLA's compiler needs."""


@dataclass(frozen=True)
class Request:
    """A GPT-2 step: its sizes, sequences on each device, devices, the split of the work, and the target of compilation."""

    depth: int
    width: int
    heads: int
    vocabulary: int
    steps: int
    sequences: int
    devices: int
    mode: str
    target: str


@dataclass(frozen=True)
class Found:
    """Of one device: bytes of its state, and of what a step needs next to it; its operations; bytes that collectives work on.

    Those are of the whole arrays that are gathered, reduced or scattered, by the kind of collective.
    """

    state: float
    temporary: float
    operations: float
    collectives: dict[str, float]

    def moved(self, devices: int) -> float:
        """Bytes a device sends with ring algorithms: (n - 1) / n of each array, twice that where all are to have the sum."""
        ways = sum((2 if kind == "all-reduce" else 1) * size for kind, size in self.collectives.items())
        return ways * (devices - 1) / devices


def extrapolated(found: tuple[Found, Found], depths: tuple[int, int], depth: int) -> Found:
    """Return the figures for another depth; all are linear in it."""
    first, second = found

    def line(a: float, b: float) -> float:
        return a + (b - a) * (depth - depths[0]) / (depths[1] - depths[0])

    kinds = sorted(first.collectives.keys() | second.collectives.keys())
    return Found(
        line(first.state, second.state), line(first.temporary, second.temporary), line(first.operations, second.operations),
        {kind: line(first.collectives.get(kind, 0.0), second.collectives.get(kind, 0.0)) for kind in kinds},
    )  # fmt: skip


def default_target() -> str:
    """ "h100" where JAX's CUDA plugin is installed, else "cpu"."""
    return "h100" if importlib.util.find_spec("jax_plugins") and importlib.util.find_spec("jax_plugins.xla_cuda12") else "cpu"


def compiled(requests: list[Request]) -> list[Found]:
    """Compile requests for one number of devices, in a new process. Raises WorkerError with its last words if it fails."""
    flags = "--xla_gpu_autotune_level=0"  # nothing can be timed
    if requests[0].target == "cpu":
        flags = f"--xla_force_host_platform_device_count={requests[0].devices}"
    environment = {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu", "JAX_SKIP_CUDA_CONSTRAINTS_CHECK": "1"}
    worker = Worker("compiler", "scale.compiled", requests, environment=environment)
    try:
        found: list[Found] = worker.receive()
    except WorkerError as problem:
        raise WorkerError(f"Compiling for {requests[0].devices} devices failed: {problem}") from None
    finally:
        worker.close()
    return found


class Server:
    """The request to such a process."""

    def start(self, requests: list[Request]) -> list[Found]:
        return [compile_here(request) for request in requests]


def collective_bytes(program: str, devices: int) -> dict[str, float]:
    """Bytes of the whole arrays that each kind of collective works on, from a compiled program's text.

    An all-gather's result is whole, a reduce-scatter's is one n-th; one that is started and awaited later returns operands and
    results together, n + 1 n-ths of the whole.
    """
    found: dict[str, float] = {}
    for result, kind, start in re.findall(rf"= (\S.*?) ({'|'.join(COLLECTIVES)})(-start)?\(", program):
        shapes = re.findall(r"(\w+)\[([\d,]*)\]", result)
        size: float = sum(_BYTES.get(dtype, 0) * prod(map(int, filter(None, dims.split(",")))) for dtype, dims in shapes)
        if kind in ("all-gather", "reduce-scatter"):
            size *= devices / (devices + 1) if start else devices if kind == "reduce-scatter" else 1
        found[kind] = found.get(kind, 0.0) + size
    return found


def compile_here(r: Request) -> Found:
    """Compile in this process."""
    import jax
    from jax.sharding import NamedSharding, PartitionSpec

    import nnatomy as nn
    from gpu.ours import learner_for
    from gpu.outline import outline, tensors
    from gpu.workloads import Workload, gpt2, text
    from nnatomy.training.parallel.devices import AXIS, SHARDS, ShardedDevices
    from nnatomy.training.parallel.hosts import Hosts

    rows = r.sequences * r.devices
    workload = Workload(
        "gpt2", "", gpt2(r.vocabulary, r.width, r.heads, r.depth, r.steps), text(r.vocabulary, r.steps), rows, rows, "tokens"
    )
    sharded = ShardedDevices(_devices(r), SHARDS[MODES.index(r.mode)], Hosts())
    nn.use("jax")
    model = outline(lambda: workload.build(nn))
    steps: list[Any] = []

    def first_state(values: dict[str, Any]) -> Any:
        for name, t in tensors(model).items():
            t.data = values[name]
        steps.extend(learner_for(workload, model, "bfloat16", devices) for devices in (sharded, None))
        return steps[0].state()

    state = jax.eval_shape(first_state, {name: t.data for name, t in tensors(model).items()})
    batch = jax.ShapeDtypeStruct((rows, r.steps), "int32"), jax.ShapeDtypeStruct((rows * r.steps,), "int32")

    layouts = jax.tree.map(lambda leaf: sharded.layout(leaf.shape), state)
    by_row = NamedSharding(sharded.mesh, PartitionSpec(AXIS))
    step, alone = steps
    program = jax.jit(step, in_shardings=(layouts, by_row), out_shardings=(layouts, None), donate_argnums=0)
    counted = jax.jit(alone).lower(state, batch).cost_analysis()["flops"]  # of all devices, as written
    with _target(r):
        platform = "cuda" if r.target == "h100" else "cpu"
        done = program.trace(state, batch).lower(lowering_platforms=(platform,)).compile()
    memory = done.memory_analysis()
    batch_bytes = sum(a.size * a.dtype.itemsize for a in batch) / r.devices
    return Found(
        memory.argument_size_in_bytes - batch_bytes, memory.temp_size_in_bytes + batch_bytes, counted / r.devices,
        collective_bytes(done.as_text(), r.devices),
    )  # fmt: skip


@contextmanager
def _target(r: Request) -> Iterator[None]:
    """A block in which attention sees the abilities of the target's GPU in place of this machine's."""
    import jax

    jax_xla: Any = importlib.import_module("nnatomy.backends.jax_xla")
    if r.target == "cpu":
        yield
        return
    asked = jax_xla._compute_capability
    jax.clear_caches()  # of what was traced for the CPU, for the same shapes
    jax_xla._compute_capability = lambda: 9.0
    try:
        yield
    finally:
        jax_xla._compute_capability = asked
        jax.clear_caches()


def _devices(r: Request) -> list[Any]:
    import jax

    if r.target == "cpu":
        return list(jax.devices()[: r.devices])
    from jax.experimental import topologies

    each = min(r.devices, ACROSS)
    described = topologies.get_topology_desc(platform="cuda", target_config=H100, topology=f"1x{r.devices // each}x{each}")
    return list(described.devices)
