"""Grid worlds: small mazes with gymnasium's API that need no other library, and their exact solution by value iteration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["ACTIONS", "GRIDS", "Discrete", "GridWorld", "Layout", "value_iteration"]

Array = npt.NDArray[Any]
ACTIONS = ("up", "right", "down", "left")
MOVES = ((-1, 0), (0, 1), (1, 0), (0, -1))
FREE, WALL, GOAL, PIT, START = ".#GPS"


@dataclass(frozen=True)
class Discrete:
    """The numbers 0 to n - 1, as states or actions."""

    n: int


@dataclass(frozen=True)
class Layout:
    """A maze: rows of . (free), # (wall), G (goal: +1 and the end), P (pit: -1 and the end), S (free; where episodes start)."""

    rows: tuple[str, ...]
    slip: float = 0.0
    """The probability that a move goes to the left or to the right of where it was meant to go, half of it each."""
    cost: float = 0.02
    """The cost of each step, subtracted from the reward."""
    limit: int = 50
    """The steps after which an episode is truncated."""

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width)."""
        return len(self.rows), len(self.rows[0])

    def cells(self, *marks: str) -> list[int]:
        """Return the numbers, row * width + column, of the cells with one of `marks`."""
        return [i for i, mark in enumerate("".join(self.rows)) if mark in marks]


GRIDS = {
    "grid": Layout((".....G", ".##.#P", ".#....", "...#..", "#....."), slip=0.1),
    "cliff": Layout(("........", "........", "........", "SPPPPPPG")),
}


class GridWorld:
    """A walker in a maze. An observation is the number of its cell; a move into a wall or out of the maze stays where it is.

    Episodes start in a random free cell, or in the cell S where the layout has one.
    """

    action_names = ACTIONS
    observation_names = ("cell",)

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        height, width = layout.shape
        self.observation_space, self.action_space = Discrete(height * width), Discrete(len(MOVES))
        self._starts = layout.cells(START) or layout.cells(FREE)
        self._rng = np.random.default_rng()
        self._at, self._steps = self._starts[0], 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[int, dict[str, Any]]:
        """Start an episode; the seed decides its first cell and where it slips."""
        if seed is not None:
            self._rng = np.random.default_rng(seed)
        self._at, self._steps = self._starts[self._rng.integers(len(self._starts))], 0
        return self._at, {}

    def step(self, action: int) -> tuple[int, float, bool, bool, dict[str, Any]]:
        """Move; returns observation, reward, whether the episode has terminated, whether it is truncated, and nothing else."""
        slipped = self._rng.uniform()
        if slipped < self.layout.slip:
            action = (action + (1 if slipped < self.layout.slip / 2 else -1)) % len(MOVES)
        self._at, self._steps = self.moved(self._at, action), self._steps + 1
        reward, terminated = self.entered(self._at)
        return self._at, reward, terminated, not terminated and self._steps >= self.layout.limit, {}

    def moved(self, cell: int, action: int) -> int:
        """Return the cell where a move that does not slip ends."""
        height, width = self.layout.shape
        row, column = divmod(cell, width)
        row, column = row + MOVES[action][0], column + MOVES[action][1]
        inside = 0 <= row < height and 0 <= column < width
        return row * width + column if inside and self.layout.rows[row][column] != WALL else cell

    def entered(self, cell: int) -> tuple[float, bool]:
        """Return the reward of a step that ends in a cell, and whether the episode ends there."""
        mark = self.layout.rows[cell // self.layout.shape[1]][cell % self.layout.shape[1]]
        return {GOAL: 1.0, PIT: -1.0}.get(mark, 0.0) - self.layout.cost, mark in (GOAL, PIT)

    def dynamics(self) -> tuple[Array, Array, Array]:
        """Return P(s' | s, a) (states, actions, states), the rewards (states,) and the ends (states,) of entering s'."""
        states, actions = self.observation_space.n, len(MOVES)
        p = np.zeros((states, actions, states))
        for s in range(states):
            for a in range(actions):
                for turn, chance in ((0, 1 - self.layout.slip), (1, self.layout.slip / 2), (-1, self.layout.slip / 2)):
                    p[s, a, self.moved(s, (a + turn) % actions)] += chance
        rewards, ends = zip(*map(self.entered, range(states)), strict=True)
        return p, np.array(rewards), np.array(ends)


def value_iteration(world: GridWorld, gamma: float, tolerance: float = 1e-12) -> Array:
    """Return the optimal action values of a grid world without its time limit, (states, actions) in float64.

    Q(s, a) <- sum_s' P(s' | s, a) (r(s') + gamma [s' is not an end] max_a' Q(s', a')), until nothing moves by `tolerance`.
    Of walls, goals and pits, which no step leaves, the rows are what the formula gives and mean nothing.

    Source: Bellman (1957).
    """
    p, rewards, ends = world.dynamics()
    q = np.zeros(p.shape[:2])
    while True:
        new = p @ (rewards + gamma * np.where(ends, 0.0, q.max(axis=1)))
        if np.abs(new - q).max() <= tolerance:
            return new
        q = new
