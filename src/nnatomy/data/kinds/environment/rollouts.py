"""An episode as an animation (GIF) and as one picture (PNG), drawn without a library of games."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from nnatomy.data.kinds.environment.environment import EnvironmentPreprocessing
from nnatomy.data.kinds.environment.scenes import scene
from nnatomy.data.kinds.looks import COLOURS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["trajectory", "write_animation", "write_trajectory"]

Array = npt.NDArray[Any]
FRAMES, RATE = 120, 20
"""The most frames of an animation, and how many are shown in a second."""


def write_animation(path: Path, preprocessing: EnvironmentPreprocessing, observations: Array, rewards: Array) -> None:
    """Write an episode as a GIF of at most FRAMES frames; of longer ones, evenly spaced steps."""
    from matplotlib.animation import PillowWriter
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    draw = scene(preprocessing.source, preprocessing.columns)
    figure = Figure(figsize=(4.8, 3.2), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    gained = np.concatenate([[0.0], np.cumsum(rewards)])
    steps = np.unique(np.linspace(0, len(observations) - 1, min(FRAMES, len(observations))).round().astype(int))
    writer = PillowWriter(fps=RATE if len(steps) > 30 else 3)
    with writer.saving(figure, str(path), dpi=80):
        for step in steps:
            axes.clear()
            draw(axes, observations[step])
            axes.set_title(f"step {step}, return {gained[step]:.3g}", fontsize=10)
            writer.grab_frame()


def write_trajectory(
    path: Path, preprocessing: EnvironmentPreprocessing, observations: Array, values: Array, actions: Array
) -> None:
    """Write the picture of `trajectory` as a PNG."""
    trajectory(preprocessing, observations, values, actions).savefig(path, dpi=110)


def trajectory(preprocessing: EnvironmentPreprocessing, observations: Array, values: Array, actions: Array) -> Figure:
    """Return how an episode went: a few scenes, and over the steps what was seen, the action values and the actions.

    Args:
        observations: (steps + 1, numbers)
        values: the agent's action values before each step, (steps, actions)
        actions: those that were taken, (steps,)
    """
    from matplotlib.figure import Figure

    draw = scene(preprocessing.source, preprocessing.columns)
    figure = Figure(figsize=(11.5, 6), layout="constrained")
    above, below = figure.subfigures(2, 1, height_ratios=(1, 1.5))
    shown = np.unique(np.linspace(0, len(observations) - 1, 5).round().astype(int))
    for axes, step in zip(above.subplots(1, len(shown), squeeze=False)[0], shown):
        draw(axes, observations[step])
        axes.set_title(f"step {step}", fontsize=10)
    left, right = below.subplots(1, 2)
    for n, name in enumerate(preprocessing.columns[: len(COLOURS)]):
        left.plot(observations[:, n], label=name, lw=1.3, color=COLOURS[n])
    left.set_title("What the agent sees", fontsize=11)
    floor = values.min() - 0.06 * max(np.ptp(values), 1e-9)
    for n, name in enumerate(preprocessing.actions[: len(COLOURS)]):
        right.plot(values[:, n], label=name, lw=1.3, color=COLOURS[n])
        right.scatter(np.flatnonzero(actions == n), np.full((actions == n).sum(), floor), s=9, color=COLOURS[n], lw=0)
    right.set_title("The value of each action (dots below: the action taken)", fontsize=11)
    for axes in (left, right):
        axes.set_xlabel("step")
        axes.legend(fontsize=8, frameon=False, ncols=2)
        axes.grid(alpha=0.25)
    return figure
