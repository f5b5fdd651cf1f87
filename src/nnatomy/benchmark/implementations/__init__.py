"""The implementations of the CPU benchmark: one file for each library, imported only in the process that measures it.

Each has `prepare(threads)`, which sets up that process, and `Network(workload, weights, options)`, an Answering.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

from nnatomy.benchmark.implementation import OURS, Array, Arrays, Implementation, Kind


class Answering(Implementation):
    """An implementation with inference, which starts each block from the first weights."""

    @abstractmethod
    def weights(self) -> Arrays:
        """The parameters and buffers that training starts from."""

    @abstractmethod
    def question(self, x: Array) -> Any:
        """The inputs as the library wants them."""

    @abstractmethod
    def answer(self, x: Any) -> Any:
        """The network's output for inputs from `question`, without recording, finished."""

    @abstractmethod
    def array(self, y: Any) -> Array:
        """An output as a NumPy array."""


COMPILED = "kernels were compiled in this process"
"""A note: the next process finds them in the cache."""


def _kind(name: str, module: str, needs: tuple[str, ...] = (), extra: str = "") -> Kind:
    return Kind(name, f"{__name__}.{module}", needs, f'pip install "nnatomy[{extra}]"')


KINDS = {
    kind.name: kind
    for kind in (
        _kind(OURS, "ours"),
        _kind("eager", "ours"),
        _kind("torch", "pytorch", ("torch",), "verify"),
        _kind("compile", "pytorch", ("torch",), "verify"),
        _kind("jax", "jax_jit", ("jax",), "jax"),
        _kind("keras", "keras_tensorflow", ("keras", "tensorflow"), "verify"),
    )
}
PEERS = ("torch", "compile", "jax", "keras")
