"""An environment as a data set: an example is the first observation of an episode, and the seed that starts it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from nnatomy.data.dataset import ArraySplit, Batch, Dataset, Preprocessing, generator
from nnatomy.data.fields import Field
from nnatomy.data.kinds.environment.worlds import World, open_world
from nnatomy.data.reading import Reading
from nnatomy.data.scaling import deviation
from nnatomy.errors import UserError
from nnatomy.saved import Natural

__all__ = ["EPISODES", "FIELDS", "EnvironmentPreprocessing", "environment_dataset"]

Array = npt.NDArray[Any]
FIELDS = (Field("observation"), Field("seed", role="target"))
TRAIN, EPISODES = 6400, 20
"""The numbers of seeds for training, and for validation and test each."""
EXPLORED = 1000
"""Steps of random play by which unbounded numbers are scaled."""


@dataclass(frozen=True)
class EnvironmentPreprocessing(Preprocessing):
    """States become one-hot rows; numbers are scaled by their bounds to [-1, 1], or else by random play on training seeds."""

    kind: ClassVar[str] = "environment"
    source: str
    columns: tuple[str, ...]  # of an observation
    actions: tuple[str, ...]
    states: Natural  # 0 where an observation is numbers
    shift: tuple[float, ...]
    scale: tuple[float, ...]

    @classmethod
    def fit(cls, source: str, seeds: Array) -> EnvironmentPreprocessing:
        """Fit on the episodes that `seeds` start."""
        world = open_world(source)
        bounded = (np.abs(world.low) < 1e6) & (np.abs(world.high) < 1e6)  # float32's largest number also means no bound
        low, high = np.where(bounded, world.low, 0.0), np.where(bounded, world.high, 0.0)
        shift, scale = (low + high) / 2, (high - low) / 2
        if not world.states and not bounded.all():
            seen = _random_play(world, seeds)
            shift = np.where(bounded, shift, seen.mean(axis=0))
            scale = np.where(bounded, scale, deviation(seen))
        scale = np.where(scale > 0, scale, 1.0)
        return cls(source, world.columns, world.actions, world.states, tuple(shift.tolist()), tuple(scale.tolist()))

    def world(self) -> World:
        """Return a new world. Raises UserError where it cannot be made here."""
        return open_world(self.source)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Of the network's input for one observation."""
        return (self.states or len(self.columns),)

    def raw(self, given: Any) -> Batch:
        """Return (observations (n, columns) as float64,). Raises UserError for another shape, and for unknown states."""
        try:
            found = np.asarray(given, np.float64)
        except (TypeError, ValueError):
            raise UserError(f"Observations are numbers. Received {type(given).__name__}. Use np.asarray.") from None
        found = found[:, None] if found.ndim == 1 and len(self.columns) == 1 else found
        if found.ndim != 2 or found.shape[1] != len(self.columns):
            raise UserError(
                f"Observations have the shape (n, {len(self.columns)}): {', '.join(self.columns)}. Received {found.shape}. "
                "Reshape them."
            )
        if not np.isfinite(found).all():
            row = int(np.argwhere(~np.isfinite(found))[0][0])
            raise UserError(f"Observations are finite numbers. Received NaN or infinity in row {row + 1}. Remove it.")
        if self.states and not np.isin(found, np.arange(self.states)).all():
            wrong = found[~np.isin(found, np.arange(self.states))][0]
            raise UserError(
                f"A {self.columns[0]} is a whole number from 0 to {self.states - 1}. Received {wrong:g}. Correct it."
            )
        return (found,)

    def prepare(self, *raw: Array) -> Batch:
        if self.states:
            return ((raw[0] == np.arange(self.states)).astype(np.float32),)
        return (((raw[0] - np.array(self.shift)) / np.array(self.scale)).astype(np.float32),)

    def transform(self, raw: Any) -> Batch:
        """Return (inputs (n, features) as float32,)."""
        return self.prepare(*self.raw(raw))

    @property
    def features(self) -> tuple[str, ...]:
        """The names of the network's inputs."""
        return tuple(f"{self.columns[0]} {n}" for n in range(self.states)) if self.states else self.columns

    def inverse(self, inputs: Array) -> Array:
        """Return the observations (n, columns) that become these inputs."""
        if self.states:
            return np.asarray(inputs.argmax(axis=1, keepdims=True), np.float64)
        return np.asarray(inputs * np.array(self.scale) + np.array(self.shift))


def environment_dataset(name: str, source: str, reading: Reading) -> Dataset:
    """Return the episodes of a world: seeds for training, validation and test, which no two splits share."""
    n = TRAIN + 2 * EPISODES
    parts = reading.part(n, official=(np.arange(TRAIN), np.arange(TRAIN, n - EPISODES), np.arange(n - EPISODES, n)))
    preprocessing = EnvironmentPreprocessing.fit(source, parts.train)
    world = preprocessing.world()
    first = np.stack([world.reset(seed) for seed in range(n)])
    (inputs,) = preprocessing.transform(first)
    splits = [ArraySplit((inputs[seeds], seeds.astype(np.int64)), FIELDS) for seeds in parts]
    seen = f"{world.states} states" if world.states else f"{len(world.columns)} numbers"
    text = f"an environment with {seen} and {len(world.actions)} actions ({', '.join(world.actions)})"
    return Dataset(
        name, "environment", "control", splits[0], splits[1], splits[2], (), preprocessing, (), preprocessing.input_shape, text,
        len(world.actions),
    )  # fmt: skip


def _random_play(world: World, seeds: Array) -> Array:
    """The observations (EXPLORED, numbers) of random actions in the episodes of `seeds`."""
    rng, seen, number, ended = generator(0), list[Array](), 0, True
    while len(seen) < EXPLORED:
        if ended:
            seen.append(world.reset(seeds[number % len(seeds)]))
            number, ended = number + 1, False
            continue
        observation, _, terminated, truncated = world.step(int(rng.integers(len(world.actions))))
        seen.append(observation)
        ended = terminated or truncated
    return np.stack(seen)
