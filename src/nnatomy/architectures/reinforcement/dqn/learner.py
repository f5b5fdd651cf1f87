"""The agent around the network: it acts epsilon-greedily, remembers steps, and hands out random ones to learn from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from nnatomy import random
from nnatomy.architectures.reinforcement.dqn.model import DQN
from nnatomy.backends import B
from nnatomy.data.dataset import Dataset
from nnatomy.errors import UserError
from nnatomy.graph import no_grad
from nnatomy.layers.module import Module
from nnatomy.tensor import Tensor
from nnatomy.training.learners import Agent

if TYPE_CHECKING:
    from nnatomy.data.kinds.environment.environment import EnvironmentPreprocessing

Array = npt.NDArray[Any]


class Memory:
    """The last `capacity` steps (s, a, r, s', discount), of which random ones are drawn: neighbors in time are separated.

    Source: Lin (1992); Mnih et al. (2015), "experience replay".
    """

    def __init__(self, capacity: int, inputs: int) -> None:
        self.state, self.following = (np.zeros((capacity, inputs), np.float32) for _ in range(2))
        self.action = np.zeros(capacity, np.int64)
        self.reward, self.discount = (np.zeros(capacity, np.float32) for _ in range(2))
        self.added = 0

    def __len__(self) -> int:
        return min(self.added, len(self.action))

    def add(self, state: Array, action: int, reward: float, following: Array, discount: float) -> None:
        """Remember a step; the oldest is forgotten where the memory is full."""
        row = self.added % len(self.action)
        self.state[row], self.action[row], self.reward[row] = state, action, reward
        self.following[row], self.discount[row] = following, discount
        self.added += 1

    def sample(self, count: int, rng: np.random.Generator) -> tuple[Array, ...]:
        """Return `count` steps, each drawn uniformly and independently: state, action, reward, following, discount."""
        rows = rng.integers(0, len(self), count)
        return tuple(array[rows] for array in self.arrays().values())

    def arrays(self) -> dict[str, Array]:
        """Return the arrays by name, in the order in which the loss takes them."""
        return {
            "state": self.state, "action": self.action, "reward": self.reward, "following": self.following,
            "discount": self.discount,
        }  # fmt: skip


class DQNAgent(Agent):
    """Acts in the data set's environment and learns from its memory.

    Args:
        gamma: discount of the rewards to come
        epsilon: probability of a random action, at last; it falls linearly from 1
        explore: steps in the world over which it falls
        memory: steps that are remembered
        warmup: random steps before the first update
        acts: steps in the world for each update
        tau, every: of `DQN.move_target`
    """

    def __init__(
        self, model: Module, dataset: Dataset | None, gamma: float = 0.99, epsilon: float = 0.05, explore: int = 10_000,
        memory: int = 10_000, warmup: int = 500, acts: int = 1, tau: float = 1.0, every: int = 500,
    ) -> None:  # fmt: skip
        positive = {"explore": explore, "memory": memory, "warmup": warmup, "acts": acts, "every": every}
        for name, value in positive.items():
            if value < 1:
                raise UserError(f"--set {name} is at least 1. Received {value}. Give a larger number.")
        for name, part in {"gamma": gamma, "epsilon": epsilon, "tau": tau}.items():
            if not 0 <= part <= 1:
                raise UserError(f"--set {name} is between 0 and 1. Received {part:g}. Give such a number.")
        self.gamma, self.epsilon, self.explore, self.warmup, self.acts = gamma, epsilon, explore, warmup, acts
        self.tau, self.every = tau, every
        self._capacity = memory
        self._seed = [int(word) for word in np.asarray(random.default.bits(2))]
        if dataset is not None:
            self._enter(dataset)

    def _enter(self, dataset: Dataset) -> None:
        known: Any = dataset.preprocessing
        self.preprocessing: EnvironmentPreprocessing = known
        self.world = known.world()
        self.memory = Memory(self._capacity, dataset.input_shape[0])
        self.rng = np.random.Generator(np.random.PCG64(self._seed))
        self.state: Array | None = None  # what the network sees now; None before an episode

    def rate(self) -> float:
        """Return the probability of a random action now."""
        done = (self.memory.added - self.warmup) / self.explore
        return min(1.0, max(self.epsilon, 1 - done * (1 - self.epsilon)))

    def collect(self, model: Module, batch: tuple[Any, ...]) -> tuple[Array, ...]:
        """Act for a while, and return as many remembered steps as the batch has seeds, which start the next episodes."""
        seeds = iter(np.resize(batch[-1], self.warmup + self.acts).tolist())  # an episode has at least one step
        for _ in range(self.acts + max(0, self.warmup - self.memory.added)):
            self._act(model, seeds)
        return self.memory.sample(len(batch[-1]), self.rng)

    def _act(self, model: Any, seeds: Any) -> None:
        state = self._seen(self.world.reset(next(seeds))) if self.state is None else self.state
        if self.rng.uniform() < self.rate():
            action = int(self.rng.integers(len(self.world.actions)))
        else:
            with no_grad():
                kind = next(model.online.parameters()).dtype
                action = int(np.asarray(model.online(Tensor(B.asarray(state[None], dtype=kind))).data).argmax())
        observation, reward, terminated, truncated = self.world.step(action)
        following = self._seen(observation)
        self.memory.add(state, action, reward, following, 0.0 if terminated else self.gamma)
        self.state = None if terminated or truncated else following

    def _seen(self, observation: Array) -> Array:
        return np.asarray(self.preprocessing.prepare(observation[None])[0][0])

    def after_update(self, model: Module) -> None:
        assert isinstance(model, DQN)
        model.move_target(self.tau, self.every)

    def external_state(self) -> dict[str, Any]:
        """Return the memory, the stream of random numbers and the episode; an empty dict without a world."""
        if not hasattr(self, "world"):
            return {}
        return {
            "memory": self.memory.arrays(), "added": self.memory.added, "stream": self.rng.bit_generator.state,
            "episode": {} if self.state is None else self.world.state(),
        }  # fmt: skip

    def restore_external_state(self, saved: dict[str, Any]) -> None:
        """Continue: repeat the episode from its seed and its actions. Raises UserError if that ends in another state."""
        if not saved:
            return
        for name, array in self.memory.arrays().items():
            array[:] = saved["memory"][name]
        self.memory.added = int(saved["added"])
        self.rng.bit_generator.state = saved["stream"]
        self.state = None
        if saved["episode"]:
            self.state = self._seen(self.world.restore(saved["episode"]))
            last = (self.memory.added - 1) % len(self.memory.action)
            if not np.array_equal(self.state, self.memory.following[last]):
                raise UserError(
                    f"An episode is continued by playing it again from its seed. Received another one from {self.world.name}. "
                    "Draw all random numbers of the environment from reset(seed=)."
                )
