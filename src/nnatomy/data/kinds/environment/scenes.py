"""Pictures of a world: a cart with its pole, a car in its valley, two swinging links, a maze; other observations as bars."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from nnatomy.data.kinds.environment.grid import GRIDS, PIT, WALL, Layout
from nnatomy.data.kinds.environment.worlds import GYMNASIUM
from nnatomy.data.kinds.looks import COLORS, INK

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["maze", "scene"]

Array = npt.NDArray[Any]
Scene = Callable[["Axes", Array], None]
"""scene(axes, observation): draw the environment."""


def scene(source: str, columns: tuple[str, ...]) -> Scene:
    """Return the Scene of a source, whose observations have these columns."""
    if source in GRIDS:
        return lambda axes, observation: walker(axes, GRIDS[source], int(observation[0]))
    known = {"CartPole": cart_pole, "MountainCar": mountain_car, "Acrobot": acrobot}
    found = known.get(source.removeprefix(GYMNASIUM).partition("-v")[0])
    return found or (lambda axes, observation: bars(axes, observation, columns))


def maze(axes: Axes, layout: Layout) -> None:
    """Draw walls, the goal and pits; cell (row, column) is the unit square around (column, row)."""
    from matplotlib.patches import Rectangle

    height, width = layout.shape
    axes.add_patch(Rectangle((-0.5, -0.5), width, height, fill=False, edgecolor=INK, lw=1.5))
    for cell, mark in enumerate("".join(layout.rows)):
        row, column = divmod(cell, width)
        if mark == WALL:
            axes.add_patch(Rectangle((column - 0.5, row - 0.5), 1, 1, color=INK))
        elif mark in "GP":
            color = COLORS[1] if mark == PIT else COLORS[2]
            axes.add_patch(Rectangle((column - 0.5, row - 0.5), 1, 1, color=color, alpha=0.85))
            word = "pit\n-1" if mark == PIT else "goal\n+1"
            axes.text(column, row, word, ha="center", va="center", color="white", fontsize=9)
    axes.set(xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5), aspect="equal", xticks=[], yticks=[])


def walker(axes: Axes, layout: Layout, cell: int) -> None:
    """Draw a maze and the agent in it."""
    maze(axes, layout)
    row, column = divmod(cell, layout.shape[1])
    axes.plot([column], [row], "o", ms=16, color=COLORS[0], mec="white", mew=1.5)


def cart_pole(axes: Axes, observation: Array) -> None:
    """Draw the cart on its track and the pole, at the scale of the physics; the pole is 1 long."""
    from matplotlib.patches import Rectangle

    x, _, angle, _ = observation
    axes.axhline(0, color=INK, lw=1)
    axes.add_patch(Rectangle((x - 0.25, 0.0), 0.5, 0.28, color=COLORS[0]))
    axes.plot([x, x + np.sin(angle)], [0.28, 0.28 + np.cos(angle)], color=COLORS[4], lw=6, solid_capstyle="round")
    axes.plot([x], [0.28], "o", color=INK, ms=4)
    axes.plot([-2.4, -2.4, np.nan, 2.4, 2.4], [-0.1, 0.1, np.nan, -0.1, 0.1], color=COLORS[1], lw=2)
    axes.set(xlim=(-2.7, 2.7), ylim=(-0.35, 1.6), aspect="equal", yticks=[])


def mountain_car(axes: Axes, observation: Array) -> None:
    """Draw the valley sin(3 x), the car and the flag at 0.5."""
    x = np.linspace(-1.2, 0.6, 200)
    axes.plot(x, np.sin(3 * x), color=INK, lw=1.5)
    axes.plot([0.5, 0.5], [np.sin(1.5), np.sin(1.5) + 0.35], color=COLORS[2], lw=2)
    axes.plot([0.5], [np.sin(1.5) + 0.3], ">", color=COLORS[2], ms=9)
    axes.plot([observation[0]], [np.sin(3 * observation[0]) + 0.06], "o", ms=13, color=COLORS[0])
    axes.set(xlim=(-1.25, 0.65), ylim=(-1.15, 1.5), yticks=[])


def acrobot(axes: Axes, observation: Array) -> None:
    """Draw two links of length 1 that hang from (0, 0), and the height that the tip must reach."""
    first = np.arctan2(observation[1], observation[0])
    second = first + np.arctan2(observation[3], observation[2])
    x, y = np.cumsum([0, np.sin(first), np.sin(second)]), np.cumsum([0, -np.cos(first), -np.cos(second)])
    axes.axhline(1.0, color=COLORS[2], lw=2)
    axes.plot(x, y, color=COLORS[0], lw=6, marker="o", ms=9, mfc=INK, mec=INK, solid_capstyle="round")
    axes.set(xlim=(-2.3, 2.3), ylim=(-2.3, 2.3), aspect="equal", xticks=[], yticks=[])


def bars(axes: Axes, observation: Array, columns: tuple[str, ...]) -> None:
    """Draw the numbers of an observation."""
    axes.barh(range(len(observation)), observation, color=COLORS[0])
    axes.axvline(0, color=INK, lw=0.8)
    axes.set_yticks(range(len(columns)), columns)
