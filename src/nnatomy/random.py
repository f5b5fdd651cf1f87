"""Random numbers from an explicit generator: the same stream on every machine, saved, restored and split at will."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from nnatomy.backends import B

Shape = int | Sequence[int]


class Generator:
    """A stream of random numbers: Threefry-2x32 (Salmon et al. 2011) of a key made from `seed` and a counter.

    Numbers depend on the seed and on what was drawn before, and on nothing else.
    """

    def __init__(self, seed: int = 0) -> None:
        self.key: tuple[int, int] = ((seed >> 32) & 0xFFFFFFFF, seed & 0xFFFFFFFF)
        self.counter = 0

    def bits(self, count: int) -> Any:
        """`count` uint32, uniform over all values."""
        drawn = B.random_bits(self.key, self.counter, count)
        self.counter += (count + 1) // 2
        return drawn

    def uniform(self, shape: Shape = (), low: float = 0.0, high: float = 1.0, dtype: Any = "float32") -> Any:
        """Uniform in [low, high)."""
        shape = _shape(shape)
        unit = (self.bits(math.prod(shape)) >> 8).astype("float64") * 2.0**-24
        return (low + (high - low) * unit).reshape(shape).astype(dtype)

    def normal(self, shape: Shape = (), mean: float = 0.0, std: float = 1.0, dtype: Any = "float32") -> Any:
        """Normal with the given mean and standard deviation (Box and Muller 1958)."""
        shape = _shape(shape)
        n = math.prod(shape)
        half = (n + 1) // 2
        bits = self.bits(2 * half).astype("float64")
        radius = B.sqrt(-2.0 * B.log((bits[:half] + 1.0) * 2.0**-32))
        angle = bits[half:] * (2.0 * math.pi * 2.0**-32)
        z = B.concatenate([radius * B.cos(angle), radius * B.sin(angle)])[:n]
        return (mean + std * z).reshape(shape).astype(dtype)

    def truncated_normal(
        self, shape: Shape = (), mean: float = 0.0, std: float = 1.0, low: float = -2.0, high: float = 2.0,
        dtype: Any = "float32",
    ) -> Any:  # fmt: skip
        """Normal, conditioned on lying in [low, high], by inverting the distribution function."""
        from scipy.special import ndtr, ndtri

        a, b = ndtr((low - mean) / std), ndtr((high - mean) / std)
        z = ndtri(np.asarray(self.uniform(shape, float(a), float(b), dtype="float64")))
        return B.asarray(np.clip(mean + std * z, low, high), dtype=dtype)

    def bernoulli(self, shape: Shape, p: float) -> Any:
        """True with probability p."""
        shape = _shape(shape)
        return (self.bits(math.prod(shape)) < min(int(p * 2.0**32), 0xFFFFFFFF)).reshape(shape) | (p >= 1)

    def integers(self, low: int, high: int, shape: Shape = ()) -> Any:
        """Uniform integers in [low, high)."""
        shape = _shape(shape)
        words = self.bits(2 * math.prod(shape)).astype("uint64").reshape(-1, 2)
        wide = (words[:, 0] << np.uint64(32)) | words[:, 1]
        return (low + (wide % np.uint64(high - low)).astype("int64")).reshape(shape)

    def permutation(self, n: int) -> np.ndarray[Any, Any]:
        """The numbers 0 to n - 1 in random order."""
        return np.argsort(np.asarray(self.bits(n)), kind="stable")

    def split(self, n: int) -> list[Generator]:
        """`n` generators whose streams are independent of one another and of this one's later draws."""
        words = [int(w) for w in np.asarray(self.bits(2 * n))]
        children = []
        for i in range(n):
            child = Generator()
            child.key = (words[2 * i], words[2 * i + 1])
            children.append(child)
        return children

    def state_dict(self) -> dict[str, list[int]]:
        """All that determines the next draw, in plain integers."""
        return {"key": list(self.key), "counter": [self.counter]}

    def load_state_dict(self, state: dict[str, list[int]]) -> None:
        """Continues where the generator that wrote `state` stood."""
        self.key = (int(state["key"][0]), int(state["key"][1]))
        self.counter = int(state["counter"][0])


default = Generator(0)
"""Used where no generator is given; `nn.seed()` restarts it."""


def seed(value: int) -> None:
    """Restarts the default generator."""
    default.key, default.counter = Generator(value).key, 0


def _shape(shape: Shape) -> tuple[int, ...]:
    return (shape,) if isinstance(shape, int) else tuple(shape)
