"""Worlds: environments of gymnasium, of a user's file or of our own, behind one face that can be restored in mid-episode."""

from __future__ import annotations

import copy
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nnatomy.data.kinds.environment.grid import GRIDS, GridWorld
from nnatomy.errors import UserError

__all__ = ["GYMNASIUM", "World", "keep", "open_world"]

Array = npt.NDArray[Any]
GYMNASIUM, OBJECT = "gymnasium:", "object:"
LONGEST = 1000
"""Steps after which an episode is truncated where the environment does not set a limit."""
NAMES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "CartPole": (("position", "velocity", "angle", "angular_velocity"), ("left", "right")),
    "MountainCar": (("position", "velocity"), ("left", "coast", "right")),
    "Acrobot": (
        ("cos_1", "sin_1", "cos_2", "sin_2", "angular_velocity_1", "angular_velocity_2"), ("torque_-1", "torque_0", "torque_1")
    ),
}  # fmt: skip
"""The meaning of an observation's numbers and of the actions, by gymnasium's environment names without their version."""
_kept: dict[str, Callable[[], Any]] = {}


class World:
    """An environment: an episode is started by a seed, and observations are arrays (numbers,) in float64.

    Its state is the seed of the episode and the actions taken since: the episode is played again to restore it, so that any
    environment that its seed determines can be interrupted.
    """

    def __init__(self, environment: Any, name: str) -> None:
        self.environment, self.name = environment, name
        self.states, self.low, self.high = _observations(environment, name)
        size, actions = len(self.low), _actions(environment, name)
        spec = getattr(environment, "spec", None)
        columns, acts = NAMES.get(str(getattr(spec, "id", "")).partition("-v")[0], ((), ()))
        self.columns = _named(getattr(environment, "observation_names", columns), size, "state" if self.states else "x")
        self.actions = _named(getattr(environment, "action_names", acts), actions, "action")
        self._seed, self._taken = -1, list[int]()

    def reset(self, seed: int) -> Array:
        """Start the episode of a seed and return its first observation."""
        found = self.environment.reset(seed=int(seed))
        if not isinstance(found, tuple) or len(found) != 2:
            raise UserError(
                f"reset(seed=) returns (observation, info), as gymnasium's does. Received {type(found).__name__} from "
                f"{self.name}. Return both."
            )
        self._seed, self._taken = int(seed), []
        return self._array(found[0])

    def step(self, action: int) -> tuple[Array, float, bool, bool]:
        """Act; returns the observation, the reward, and whether the episode has terminated or is truncated."""
        found = self.environment.step(int(action))
        if not isinstance(found, tuple) or len(found) != 5:
            raise UserError(
                "step(action) returns (observation, reward, terminated, truncated, info), as gymnasium's does. Received "
                f"{len(found) if isinstance(found, tuple) else type(found).__name__} from {self.name}. Return all five."
            )
        observation, reward, terminated, truncated, _ = found
        self._taken.append(int(action))
        cut = bool(truncated) or (not terminated and len(self._taken) >= LONGEST)
        return self._array(observation), float(reward), bool(terminated), cut

    def state(self) -> dict[str, Any]:
        """Return the seed of the episode and the actions taken since it started, in plain values."""
        return {"seed": self._seed, "taken": list(self._taken)}

    def restore(self, saved: dict[str, Any]) -> Array:
        """Play an episode again up to where `state` was called, and return the observation there."""
        observation = self.reset(saved["seed"])
        for action in saved["taken"]:
            observation, *_ = self.step(action)
        return observation

    def _array(self, observation: Any) -> Array:
        found = np.asarray(observation, np.float64).reshape(-1)
        if len(found) != len(self.low):
            raise UserError(
                f"An observation of {self.name} has {len(self.low)} numbers, by its observation_space. Received {len(found)}. "
                "Make both the same."
            )
        return found


def keep(environment: Any) -> str:
    """Return the source of a user's own environment, a class or an object; `open_world` makes copies of it."""
    made = environment if isinstance(environment, type) else type(environment)
    source = f"{OBJECT}{made.__name__}"
    _kept[source] = environment if isinstance(environment, type) else lambda: copy.deepcopy(environment)
    return source


def open_world(source: str) -> World:
    """Return a new world: a grid by its name, "gymnasium:ID", a .py file with a class, or what `keep` returned.

    Raises UserError where there is none, or where its actions or observations are of another form.
    """
    if source in GRIDS:
        return World(GridWorld(GRIDS[source]), source)
    if source.startswith(GYMNASIUM):
        return World(_of_gymnasium(source.removeprefix(GYMNASIUM)), source)
    if source.startswith(OBJECT):
        if source not in _kept:
            name = source.removeprefix(OBJECT)
            raise UserError(f"This run's environment is your own, {name}. Received none. Give data= to nn.load_run.")
        return World(_kept[source](), source.removeprefix(OBJECT))
    return World(class_in(Path(source))(), source)


def class_in(path: Path) -> Callable[[], Any]:
    """Return the class of a .py file that has reset and step. Raises UserError unless there is exactly one."""
    if not path.is_file():
        raise UserError(
            f"An environment of your own is a .py file with a class. Received {path}, which is absent. Correct the path."
        )
    try:
        found = runpy.run_path(str(path), run_name=path.stem)
    except Exception as problem:  # the user's code may raise anything
        raise UserError(
            f"An environment's file must run. Received {path}, which raises {type(problem).__name__}: {problem}. Correct it."
        ) from problem
    classes = [made for made in found.values() if isinstance(made, type) and made.__module__ == path.stem and is_class(made)]
    if len(classes) != 1:
        names = ", ".join(made.__name__ for made in classes) or "none"
        raise UserError(f"An environment's file has one class with reset and step. Received {names} in {path}. Keep one.")
    return classes[0]


def is_class(value: Any) -> bool:
    """Return True for a class or an object with gymnasium's reset and step."""
    return callable(getattr(value, "reset", None)) and callable(getattr(value, "step", None))


def _of_gymnasium(name: str) -> Any:
    try:
        import gymnasium
    except ImportError:
        raise UserError(
            f"Environments with such names need gymnasium. Received {name!r} without it. "
            'Run pip install "nnatomy[rl]", or use --data grid.'
        ) from None
    try:
        return gymnasium.make(name, disable_env_checker=True)
    except Exception as problem:  # unknown names, missing libraries: errors of gymnasium
        reason = " ".join(str(problem).split())
        raise UserError(
            f"gymnasium makes environments by their id. Received {name!r}: {reason}. Use another id, such as CartPole-v1."
        ) from None


def _observations(environment: Any, name: str) -> tuple[int, Array, Array]:
    """The number of states (0 where an observation is numbers), and the bounds of each number."""
    space: Any = getattr(environment, "observation_space", None)
    if isinstance(getattr(space, "n", None), int | np.integer) and not getattr(space, "start", 0):
        return int(space.n), np.zeros(1), np.full(1, float(space.n - 1))
    shape = getattr(space, "shape", None)
    if not isinstance(shape, tuple) or len(shape) != 1 or not shape[0]:
        raise UserError(
            "The observation_space of an environment is Discrete(n) from 0, or a Box with one axis. "
            f"Received {space!r} of {name}. Wrap the environment."
        )
    low, high = (
        np.broadcast_to(np.asarray(getattr(space, end, v), np.float64), shape)
        for end, v in (("low", -np.inf), ("high", np.inf))
    )
    return 0, low, high


def _actions(environment: Any, name: str) -> int:
    space: Any = getattr(environment, "action_space", None)
    n = getattr(space, "n", None)
    if not isinstance(n, int | np.integer) or int(n) < 2 or int(getattr(space, "start", 0)):
        raise UserError(
            f"The action_space of an environment is Discrete(n) from 0, n at least 2. Received {space!r} of {name}. Wrap the "
            "environment."
        )
    return int(n)


def _named(given: Any, count: int, word: str) -> tuple[str, ...]:
    """`count` names: those that are given, else word_1, word_2, or the word alone."""
    names = tuple(map(str, given))
    if len(names) == count:
        return names
    return (word,) if count == 1 else tuple(f"{word}_{n + 1}" for n in range(count))
