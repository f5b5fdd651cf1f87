"""Which device JAX computes on, and the settings without which its numbers would be others than NumPy's."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import jax

from nnatomy.backends import jax_cache
from nnatomy.errors import UserError

_SETTINGS = ("jax_enable_x64", "jax_default_device", "jax_default_matmul_precision")


def select(device: str | None, matmul: str) -> None:
    """64-bit types, products in precision `matmul`, and `device` ("cpu", "gpu:1", ...; JAX's choice if None) from now on.

    Raises UserError for a device that is not here. Without a name nothing is started yet.
    """
    jax_cache.keep()
    chosen = None if device is None else find(device)
    jax.config.update("jax_enable_x64", True)  # float64 and int64 exist; float32 stays what Tensors are made of by default
    jax.config.update("jax_default_matmul_precision", matmul)
    jax.config.update("jax_default_device", chosen)


def settings() -> dict[str, Any]:
    """The settings that `select` changes, as they are now."""
    return {name: getattr(jax.config, name) for name in _SETTINGS}


def restore(kept: dict[str, Any]) -> None:
    """Put back what `settings` returned."""
    for name, value in kept.items():
        jax.config.update(name, value)


def find(device: str) -> Any:
    """The device of that name: a platform ("cpu", "gpu", "tpu"), and after a colon its number among this process's, or 0."""
    platform, _, number = device.partition(":")
    devices = _local(platform)
    index = int(number) if number.isdecimal() else -1 if number or device.endswith(":") else 0
    if not 0 <= index < len(devices):
        raise UserError(f"device must name one of {', '.join(names())}. Received {device!r}. The number may be left out.")
    return devices[index]


def names() -> list[str]:
    """The devices of this process, by name."""
    platforms = dict.fromkeys([jax.default_backend(), "cpu"])
    return [f"{platform}:{i}" for platform in platforms for i in range(len(_local(platform)))]


def described() -> str:
    """The device that computations run on, as text: its name and its kind."""
    device = jax.config.jax_default_device or jax.local_devices()[0]
    return f"{device.platform}:{device.id} ({device.device_kind})"


def divide_cpu(count: int) -> None:
    """Make the CPU count as so many devices. Without effect where JAX has started, or XLA_FLAGS says how many."""
    if "xla_force_host_platform_device_count" not in os.environ.get("XLA_FLAGS", ""):
        with suppress(RuntimeError):
            jax.config.update("jax_num_cpu_devices", count)


def of_process(index: int, platform: str | None) -> list[Any]:
    """The devices of one process of several, or of the only one (0): of a platform, or of JAX's choice if None."""
    try:
        return [device for device in jax.devices(platform) if device.process_index == index]
    except RuntimeError:  # JAX knows no such platform here
        return []


def compute_capability() -> float:
    """That of the NVIDIA GPU that computations run on; 0 on any other device."""
    chosen = jax.config.jax_default_device
    device = chosen if hasattr(chosen, "platform") else jax.local_devices(backend=chosen)[0]
    found = str(getattr(device, "compute_capability", "")) if device.platform == "gpu" else ""
    return float(found) if found.replace(".", "").isdecimal() else 0.0


def _local(platform: str) -> Sequence[Any]:
    try:
        return jax.local_devices(backend=platform)
    except RuntimeError:  # JAX knows no such platform here
        return ()
