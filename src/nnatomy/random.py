"""Random numbers from an explicit generator: the same stream on every machine, saved, restored and split at will."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np

from nnatomy.backends import B
from nnatomy.errors import UserError
from nnatomy.foreign import understood
from nnatomy.ops.creation import sizes
from nnatomy.printing import shown
from nnatomy.tensor import Tensor, wrap

Shape = int | Sequence[int]


BYTES = 16  # that each number takes while it is made


@cache
def memory() -> float:
    """Return the bytes of this machine's memory, infinity where it does not say."""
    try:
        return float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    except (AttributeError, ValueError, OSError):
        return math.inf


class Generator:
    """A stream of random numbers: Threefry-2x32 (Salmon et al. 2011) of a key made from `seed` and a counter.

    Numbers depend on the seed and on what was drawn before, and on nothing else. Raises UserError unless 0 <= seed < 2^64.
    """

    def __init__(self, seed: int = 0) -> None:
        if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or not 0 <= seed < 2**64:
            raise UserError(f"A seed is an integer from 0 to 2^64 - 1. Received {shown(seed)}. Use 0.")
        self.key: tuple[int, int] = (int(seed) >> 32, int(seed) & 0xFFFFFFFF)
        self.counter = 0

    def bits(self, count: int) -> Any:
        """`count` uint32, uniform over all values. Raises MemoryError for more than this machine's memory could hold."""
        if BYTES * count > memory():
            raise MemoryError
        drawn = B.random_bits(self.key, self.counter, count)
        self.counter += (count + 1) // 2
        return drawn

    def uniform(self, shape: Shape = (), low: float = 0.0, high: float = 1.0, dtype: Any = "float32") -> Any:
        """Uniform in [low, high): multiples of 2^-24 of its width in float32, of 2^-53 in float64."""
        shape = sizes((shape,))
        n = math.prod(shape)
        if np.dtype(dtype) == np.float64:
            words = self.bits(2 * n).astype("float64")
            unit = (B.floor(words[:n] * 2.0**-5) * 2.0**26 + B.floor(words[n:] * 2.0**-6)) * 2.0**-53
        else:
            unit = (self.bits(n) >> 8).astype("float64") * 2.0**-24
        return (low + (high - low) * unit).reshape(shape).astype(dtype)

    def normal(self, shape: Shape = (), mean: float = 0.0, std: float = 1.0, dtype: Any = "float32") -> Any:
        """Normal with the given mean and standard deviation (Box and Muller 1958)."""
        shape = sizes((shape,))
        if std < 0:
            raise UserError(f"normal() needs std >= 0. Received {std}. Use std=1.0.")
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

        if std <= 0 or not low < high:
            raise UserError(
                f"truncated_normal() needs std > 0 and low < high. Received std {std}, low {low}, high {high}. "
                "Use std=1.0, low=-2.0 and high=2.0."
            )
        a, b = ndtr((low - mean) / std), ndtr((high - mean) / std)
        z = ndtri(np.asarray(self.uniform(shape, float(a), float(b), dtype="float64")))
        return B.asarray(np.clip(mean + std * z, low, high), dtype=dtype)

    def bernoulli(self, shape: Shape, p: float) -> Any:
        """True with probability p."""
        shape = sizes((shape,))
        if not 0 <= p <= 1:
            raise UserError(f"A probability is between 0 and 1. Received {p}. Use 0.5, for example.")
        return (self.bits(math.prod(shape)) < min(int(p * 2.0**32), 0xFFFFFFFF)).reshape(shape) | (p >= 1)

    def integers(self, low: int, high: int, shape: Shape = ()) -> Any:
        """Uniform integers in [low, high)."""
        shape = sizes((shape,))
        if not low < high:
            raise UserError(f"integers() needs low < high. Received {low} and {high}. Exchange them, or use a larger high.")
        words = self.bits(2 * math.prod(shape)).astype("uint64").reshape(-1, 2)
        wide = words[:, 0] * 2**32 + words[:, 1]
        return (low + (wide % (high - low)).astype("int64")).reshape(shape)

    def permutation(self, n: int) -> np.ndarray[Any, Any]:
        """The numbers 0 to n - 1 in random order."""
        (n,) = sizes((n,))
        return np.argsort(np.asarray(self.bits(n)), kind="stable")

    def split(self, n: int) -> list[Generator]:
        """`n` generators whose streams are independent of each other and of this one's later draws."""
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
        """Continue from the position of the generator that wrote `state`."""
        self.key = (_whole(state["key"][0]), _whole(state["key"][1]))
        self.counter = _whole(state["counter"][0])


def _whole(value: Any) -> Any:
    """A Python integer; a traced scalar, which cannot be one, stays as it is."""
    try:
        return int(value)
    except TypeError:
        return value


default = Generator(0)
"""Used where no generator is given; `nn.seed()` restarts it."""


def generators_of(model: Any) -> dict[str, Generator]:
    """Return the generators that a model's modules hold themselves, by attribute path; each once, without the default one."""
    found: dict[str, Generator] = {}
    seen = {id(default)}
    for path, module in model.named_modules():
        for name, value in vars(module).items():
            if isinstance(value, Generator) and id(value) not in seen:
                seen.add(id(value))
                found[f"{path}.{name}" if path else name] = value
    return found


def seed(value: int) -> None:
    """Restart the default generator."""
    default.key, default.counter = Generator(value).key, 0


# New Tensors of random numbers, by PyTorch's names, from the default generator unless one is given


@understood
def rand(*shape: Any, generator: Generator | None = None, dtype: Any = "float32", requires_grad: bool = False) -> Tensor:
    """Uniform in [0, 1): nn.rand(2, 3) or nn.rand((2, 3))."""
    return wrap((generator or default).uniform(sizes(shape), dtype=dtype), requires_grad)


@understood
def randn(*shape: Any, generator: Generator | None = None, dtype: Any = "float32", requires_grad: bool = False) -> Tensor:
    """Normal with mean 0 and standard deviation 1."""
    return wrap((generator or default).normal(sizes(shape), dtype=dtype), requires_grad)


@understood
def randint(low: int, high: Any, shape: Any = None, generator: Generator | None = None) -> Tensor:
    """Uniform integers in [low, high), of a shape: randint(1, 7, (2, 3)), or from 0: randint(7, (2, 3))."""
    if shape is None:
        low, high, shape = 0, low, high
    return wrap((generator or default).integers(low, high, shape))


@understood
def randperm(n: int, generator: Generator | None = None) -> Tensor:
    """The numbers 0 to n - 1 in random order."""
    return wrap(B.asarray((generator or default).permutation(n)))
