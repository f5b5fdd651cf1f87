"""The values that a deep Q-network gives the actions of each state, and the greedy policy that follows the largest."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from nnatomy.architectures.reinforcement.dqn.model import DQN
from nnatomy.data.dataset import Dataset
from nnatomy.data.kinds.environment.environment import EPISODES, TRAIN, EnvironmentPreprocessing
from nnatomy.data.kinds.environment.grid import MOVES, GridWorld, value_iteration
from nnatomy.data.kinds.environment.rollouts import trajectory
from nnatomy.data.kinds.environment.scenes import maze
from nnatomy.data.kinds.looks import COLORS, INK
from nnatomy.tasks import forward
from nnatomy.tasks.control import GAMMA, Episode, Policy, play

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Array = npt.NDArray[Any]


def draw(model: DQN, dataset: Dataset) -> Figure:
    """Of a grid: values and greedy policy in each cell next to the exact ones. Of other worlds: an episode with its values."""
    known: Any = dataset.preprocessing
    preprocessing: EnvironmentPreprocessing = known
    environment = preprocessing.world().environment

    def values(inputs: Array) -> Array:
        return np.asarray(forward(model, (inputs,)).data, np.float64)

    if isinstance(environment, GridWorld):
        return _grid(environment, values(np.eye(preprocessing.states, dtype=np.float32)))
    return _episode(preprocessing, values)


def _grid(world: GridWorld, learned: Array) -> Figure:
    exact = value_iteration(world, GAMMA)
    free = np.array(world.layout.cells(".", "S"))
    height, width = world.layout.shape
    low, high = exact[free].max(axis=1).min(), exact[free].max(axis=1).max()
    figure = Figure(figsize=(12.5, 0.5 + 3.9 * max(height / width, 0.75) + 1.2), layout="constrained")
    figure.suptitle("Each cell: the value of its best action (color and number) and that action (arrow)", fontsize=12)
    left, middle, right = figure.subplots(1, 3)
    for axes, q, title in ((left, learned, "Learned from remembered steps"), (middle, exact, "Exact: value iteration")):
        _cells(axes, world, q, free, low, high)
        axes.set_title(title, fontsize=11)
    right.scatter(exact[free].ravel(), learned[free].ravel(), s=14, color=COLORS[0], alpha=0.6, label="an action in a cell")
    best = exact[free].argmax(axis=1)
    rows = np.arange(len(free))
    right.scatter(exact[free][rows, best], learned[free][rows, best], s=26, color=COLORS[1], label="the best action of a cell")
    ends = [min(exact[free].min(), learned[free].min()), max(exact[free].max(), learned[free].max())]
    right.plot(ends, ends, color=INK, lw=1, ls="--", label="equal")
    same = np.mean([exact[s, learned[s].argmax()] >= exact[s].max() - 1e-6 for s in free])
    right.set_title(f"All action values: learned against exact\n({same:.0%} of the cells have an optimal arrow)", fontsize=11)
    right.set(xlabel="exact Q(s, a)", ylabel="learned Q(s, a)")
    right.locator_params(nbins=5)
    right.legend(fontsize=8, frameon=False)
    right.grid(alpha=0.25)
    return figure


def _cells(axes: Axes, world: GridWorld, q: Array, free: Array, low: float, high: float) -> None:
    height, width = world.layout.shape
    shown = np.full(height * width, np.nan)
    shown[free] = q[free].max(axis=1)
    axes.imshow(shown.reshape(height, width), cmap="YlGnBu", vmin=low - 0.25 * (high - low), vmax=high + 0.35 * (high - low))
    maze(axes, world.layout)
    for cell in free:
        row, column = divmod(int(cell), width)
        down, across = MOVES[int(q[cell].argmax())]
        axes.annotate(
            "", (column + 0.34 * across, row + 0.12 + 0.26 * down), (column - 0.3 * across, row + 0.12 - 0.22 * down),
            arrowprops={"arrowstyle": "-|>", "color": INK, "lw": 1.4},
        )  # fmt: skip
        axes.text(column, row - 0.36, f"{shown[cell]:.2f}", ha="center", va="center", fontsize=7, color=INK)


def _episode(preprocessing: EnvironmentPreprocessing, values: Policy) -> Figure:
    (episode,) = play(values, preprocessing, [TRAIN + EPISODES])
    q = values(preprocessing.prepare(episode.observations[:-1])[0])
    beside = None if preprocessing.states or len(preprocessing.columns) < 2 else partial(_plane, preprocessing, values, episode)
    figure = trajectory(preprocessing, episode.observations, q, episode.actions, beside)
    end = "ended" if episode.terminated else "cut"
    steps, gained = len(episode.rewards), episode.rewards.sum()
    figure.suptitle(f"An episode of the greedy policy: {end} after {steps} steps, return {gained:.4g}", fontsize=12)
    return figure


def _plane(preprocessing: EnvironmentPreprocessing, values: Policy, episode: Episode, axes: Axes) -> None:
    """The best action over the last two numbers of an observation, the others at their median, and where the episode went."""
    seen = episode.observations[:-1]
    low, high = seen[:, -2:].min(axis=0), seen[:, -2:].max(axis=0)
    margin = 0.6 * np.maximum(high - low, 1e-6)
    sides = [np.linspace(*ends, 120) for ends in zip(low - margin, high + margin)]
    across, up = np.meshgrid(*sides)
    points = np.tile(np.median(seen, axis=0), (across.size, 1))
    points[:, -2], points[:, -1] = across.ravel(), up.ravel()
    best = values(preprocessing.prepare(points)[0]).argmax(axis=1).reshape(across.shape)
    count = len(preprocessing.actions)
    axes.contourf(across, up, best, levels=np.arange(count + 1) - 0.5, colors=COLORS[:count], alpha=0.3)
    for n, name in enumerate(preprocessing.actions):
        x, y = seen[episode.actions == n, -2:].T
        axes.scatter(x, y, s=9, color=COLORS[n], lw=0, label=name)
    axes.set(xlabel=preprocessing.columns[-2], ylabel=preprocessing.columns[-1])
    axes.set_title("The best action where the other numbers\nare at their median (dots: the episode)", fontsize=10)
    axes.legend(fontsize=8, loc="upper right")
