"""The devices of a run: which they are, how state and batches are split, and how arrays come back to the host.

XLA moves arrays between devices where needed; nothing here sends or receives.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from nnatomy.backends import B, load_jax_devices
from nnatomy.errors import UserError, unknown_name
from nnatomy.tensor import Tensor
from nnatomy.training.parallel.hosts import Hosts, join

Tree = dict[str, Any]
SHARDS = ("data", "full")
AXIS = "devices"


class Devices:
    """One device, on one host: everything stays where it is."""

    count = 1
    hosts = Hosts()

    def placed(self, tree: Tree) -> Tree:
        """The arrays of a state or of a model where the step takes them."""
        return tree

    def batch(self, arrays: tuple[Any, ...], rows: int) -> tuple[Any, ...]:
        """This host's part of a batch of `rows` examples, as the whole batch where the step takes it."""
        return tuple(B.asarray(a) for a in arrays)

    def part(self, rows: int) -> slice:
        """Which of `rows` examples of a batch this host is to load."""
        return slice(0, rows)

    def to_host(self, tree: Any) -> Any:
        """Arrays, or a tree of them, as NumPy arrays that are whole on this host."""
        return _mapped(lambda a: np.array(a) if hasattr(a, "dtype") else a, tree)

    @contextmanager
    def whole(self, tensors: Mapping[str, Tensor]) -> Iterator[None]:
        """A block in which every device holds parameters and buffers whole."""
        yield

    def split(self, arrays: dict[str, Any]) -> dict[str, Any]:
        """Traced arrays split as `placed` splits them."""
        return arrays


class ShardedDevices(Devices):
    """Several devices: each takes its part of every batch.

    `shard`: with "data", all hold the whole state; with "full", each holds 1/n of every array of the state that has an axis
    divisible by n, and parameters are put together only while they are used (Rajbhandari et al. 2020, stage 3).
    """

    def __init__(self, devices: list[Any], shard: str, hosts: Hosts) -> None:
        from jax.sharding import Mesh, NamedSharding, PartitionSpec

        self.count, self.full, self.hosts = len(devices), shard == "full", hosts
        self.mesh = Mesh(np.array(devices), (AXIS,))
        self._everywhere = NamedSharding(self.mesh, PartitionSpec())
        self._by_row = NamedSharding(self.mesh, PartitionSpec(AXIS))
        mine = [i for i, device in enumerate(devices) if device.process_index == hosts.index]
        self._mine = slice(mine[0], mine[-1] + 1)
        self._gather: Any = None

    def placed(self, tree: Tree) -> Tree:
        import jax

        def place(value: Any) -> Any:
            if not hasattr(value, "dtype") or (isinstance(value, jax.Array) and value.sharding == self.layout(value.shape)):
                return value
            array = self.hosts.same_array(np.asarray(value))
            return jax.make_array_from_callback(array.shape, self.layout(array.shape), lambda index: array[index])

        found: Tree = _mapped(place, tree)
        return found

    def layout(self, shape: tuple[int, ...]) -> Any:
        """Return the layout of an array of the state; a split one is split along its largest axis that divides evenly."""
        from jax.sharding import NamedSharding, PartitionSpec

        axes = [axis for axis, size in enumerate(shape) if size and size % self.count == 0] if self.full else []
        if not axes:
            return self._everywhere
        axis = max(axes, key=lambda axis: shape[axis])
        return NamedSharding(self.mesh, PartitionSpec(*[None] * axis, AXIS))

    def batch(self, arrays: tuple[Any, ...], rows: int) -> tuple[Any, ...]:
        import jax

        return tuple(jax.make_array_from_process_local_data(self._by_row, a, (rows, *a.shape[1:])) for a in arrays)

    def part(self, rows: int) -> slice:
        each = rows // self.count
        return slice(self._mine.start * each, self._mine.stop * each)

    def to_host(self, tree: Any) -> Any:
        import jax

        if self._gather is None:
            self._gather = jax.jit(lambda a: a, out_shardings=self._everywhere)

        def fetch(value: Any) -> Any:
            if isinstance(value, jax.Array) and not (value.is_fully_addressable or value.is_fully_replicated):
                value = self._gather(value)
            return np.array(value) if hasattr(value, "dtype") else value

        return _mapped(fetch, tree)

    @contextmanager
    def whole(self, tensors: Mapping[str, Tensor]) -> Iterator[None]:
        if not self.full:
            yield
            return
        from jax.lax import with_sharding_constraint

        parts = {name: t.data for name, t in tensors.items()}
        gathered = {name: with_sharding_constraint(a, self._everywhere) for name, a in parts.items()}
        for name, t in tensors.items():
            t.data = gathered[name]
        try:
            yield
        finally:
            for name, t in tensors.items():
                if t.data is gathered[name]:  # a buffer may have been changed
                    t.data = parts[name]

    def split(self, arrays: dict[str, Any]) -> dict[str, Any]:
        if not self.full:
            return arrays
        from jax.lax import with_sharding_constraint

        return {name: with_sharding_constraint(a, self.layout(a.shape)) for name, a in arrays.items()}


def arrange(
    backend: str = "numpy", device: str | None = None, devices: int | None = None, shard: str = "data",
    hosts: str | None = None, host_index: int | None = None,
) -> Devices:  # fmt: skip
    """The devices of a run, before JAX has computed anything: `devices` of each host, of the kind that `device` names.

    None: one where there is one host, all of each where there are several. `hosts` and `host_index` are those of `hosts.join`.
    Raises UserError for more devices than there are.
    """
    if shard not in SHARDS:
        raise unknown_name("--shard", shard, SHARDS)
    if devices is not None and devices < 1:
        raise UserError(f"--devices must be at least 1. Received {devices}. Use --devices 1.")
    if host_index is not None and hosts is None:
        raise UserError(f"--host-index says which line of --hosts this machine is. Received {host_index} alone. Add --hosts.")
    if hosts is None and devices in (None, 1):
        return Devices()
    if backend != "jax":
        raise UserError(f"Several devices need the jax backend. Received --backend {backend}. Add --backend jax.")
    if device is not None and ":" in device:
        raise UserError(f"--device names one device by its number. Received {device} for several. Leave the number out.")
    jax_devices = load_jax_devices()
    if devices is not None and device in (None, "cpu"):
        jax_devices.divide_cpu(devices)
    met = join(hosts, host_index) if hosts is not None else Hosts()
    chosen: list[Any] = []
    for host, name in enumerate(met.names):
        there = jax_devices.of_process(host, device)
        if len(there) < (devices or 1):
            raise UserError(_too_few(devices or 1, len(there), device or (there[0].platform if there else "such"), name))
        chosen += there[:devices]
    return ShardedDevices(chosen, shard, met) if len(chosen) > 1 else Devices()


def _too_few(wanted: int, there: int, kind: str, host: str) -> str:
    remedy = f"Give --devices {max(there, 1)}"
    if kind == "cpu":
        remedy = f"Start again with JAX_NUM_CPU_DEVICES={wanted} in the environment, which JAX reads when it starts"
    return f"--devices {wanted} needs as many {kind} devices. Received {there} on {host}. {remedy}."


def _mapped(function: Callable[[Any], Any], tree: Any) -> Any:
    """The nested dictionary or list with each value replaced by the function's."""
    if isinstance(tree, Mapping):
        return {key: _mapped(function, value) for key, value in tree.items()}
    return [_mapped(function, value) for value in tree] if isinstance(tree, list) else function(tree)
