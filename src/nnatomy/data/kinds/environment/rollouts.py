"""An episode as an animation (GIF) and as one picture (PNG), drawn without a library of games."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from nnatomy.data.kinds.environment.environment import EnvironmentPreprocessing
from nnatomy.data.kinds.environment.scenes import scene
from nnatomy.data.kinds.looks import COLORS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["trajectory", "write_animation", "write_trajectory"]

Array = npt.NDArray[Any]
FRAMES, RATE = 120, 20
"""The most frames of an animation, and how many are shown in a second."""
SHOWN = 100
"""Steps of an episode that curves show."""


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


def trajectory(
    preprocessing: EnvironmentPreprocessing, observations: Array, values: Array, actions: Array,
    beside: Callable[[Axes], None] | None = None,
) -> Figure:  # fmt: skip
    """Return how an episode went: a few scenes, and over its first steps what was seen, the action values and the actions.

    Args:
        observations: (steps + 1, numbers)
        values: the agent's action values before each step, (steps, actions)
        actions: those that were taken, (steps,)
        beside: draws one more panel
    """
    from matplotlib.figure import Figure

    draw = scene(preprocessing.source, preprocessing.columns)
    figure = Figure(figsize=(12.5, 6.4), layout="constrained")
    parts: Any = figure.subfigures(2, 1, height_ratios=(1, 1.7))
    above, below = parts
    frames = np.unique(np.linspace(0, len(observations) - 1, 5).round().astype(int))
    for axes, step in zip(above.subplots(1, len(frames), squeeze=False)[0], frames):
        draw(axes, observations[step])
        axes.set_title(f"step {step}", fontsize=10)
    panels = below.subplots(1, 2 if beside is None else 3, squeeze=False)[0]
    steps = min(len(actions), SHOWN)
    for n, name in enumerate(preprocessing.columns[: len(COLORS)]):
        panels[0].plot(observations[: steps + 1, n], label=name, lw=1.3, color=COLORS[n])
    panels[0].set_title("What the agent sees", fontsize=11)
    shown, taken = values[:steps], actions[:steps]
    floor = shown.min() - 0.06 * max(np.ptp(shown), 1e-9)
    for n, name in enumerate(preprocessing.actions[: len(COLORS)]):
        panels[1].plot(shown[:, n], label=name, lw=1.3, color=COLORS[n])
        panels[1].scatter(np.flatnonzero(taken == n), np.full((taken == n).sum(), floor), s=12, color=COLORS[n], lw=0)
    panels[1].set_title("The value of each action (dots: the one taken)", fontsize=11)
    for axes in panels[:2]:
        axes.set_xlabel("step" if steps == len(actions) else f"step (the first {steps} of {len(actions)})")
        axes.legend(fontsize=8, frameon=False, ncols=2)
        axes.grid(alpha=0.25)
    if beside is not None:
        beside(panels[2])
    return figure
