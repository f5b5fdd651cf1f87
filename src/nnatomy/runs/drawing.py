"""Pictures of runs: learning curves, and how any figure becomes a file. What a task measured is drawn by the task."""

from __future__ import annotations

import io
import math
import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nnatomy.errors import UserError
from nnatomy.showing import label
from nnatomy.tasks.figures import BLUE, GRAY, GREEN, ORANGE
from nnatomy.training.evaluation import Metric

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def check_matplotlib() -> None:
    """Raise UserError where MPLBACKEND keeps Matplotlib from being imported, before work that ends in a picture."""
    if os.environ.get("MPLBACKEND", "agg").lower() == "agg":
        return
    try:
        import matplotlib  # noqa: F401
    except ValueError:
        name = os.environ["MPLBACKEND"]
        raise UserError(f"MPLBACKEND names a backend of Matplotlib. Received {name!r}. Unset it, or use agg.") from None


def save(figure: Figure, path: Path) -> None:
    """Write a figure atomically, in the format of its name's ending."""
    from nnatomy.runs.folder import write_atomically

    write_atomically(path, render(figure, path.suffix.lower().lstrip(".")))


def render(figure: Figure, kind: str) -> bytes:
    """A figure as the bytes of a png or svg; dollars in users' names stay dollars and start no formula."""
    from matplotlib.text import Text

    for text in figure.findobj(Text):
        if isinstance(text, Text) and r"\mathdefault" not in text.get_text():  # Matplotlib's own, on logarithmic axes
            text.set_parse_math("$" not in text.get_text())
    buffer = io.BytesIO()
    with warnings.catch_warnings():  # characters that the font lacks and margins that long names overrun: nothing to fix
        warnings.simplefilter("ignore")
        figure.savefig(buffer, format=kind, dpi=110, bbox_inches="tight", metadata={"Date": None} if kind == "svg" else None)
    return buffer.getvalue()


def curves(history: list[dict[str, Any]], metric: Metric, telling: Metric) -> Figure:
    """Training and validation loss by epoch, the telling metric next to them, and the best epoch marked."""
    from matplotlib.figure import Figure

    epochs = [line["epoch"] for line in history]
    best = history[-1]["best_epoch"]
    figure = Figure(figsize=(10, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    marker = "o" if len(epochs) < 12 else None
    left.plot(
        epochs, [line["train_loss"] for line in history], color=BLUE, label="training (while learning)", marker=marker, ms=4
    )
    if "loss" in history[-1]["validation"]:
        held = [line["validation"]["loss"] for line in history]
        left.plot(epochs, held, color=ORANGE, label="validation", marker=marker, ms=4)
    left.set(title="Loss", xlabel="epoch")
    shown = telling if metric.name == "loss" and telling.name in history[-1]["validation"] else metric
    right.plot(epochs, [line["validation"].get(shown.name, math.nan) for line in history], color=GREEN, marker=marker, ms=4)
    right.set(title=f"Validation {label(shown.name)} ({shown.better} is better)", xlabel="epoch")
    for axes in (left, right):
        least_height(axes)
        axes.axvline(best, color=GRAY, ls="--", lw=1, label=f"best epoch: {best}")
        axes.grid(alpha=0.25)
        axes.legend(frameon=False, fontsize=9)
        axes.xaxis.get_major_locator().set_params(integer=True)
    return figure


def least_height(axes: Any, part: float = 0.1) -> None:
    """Let an axis span at least `part` of its largest value, so that noise does not fill the panel."""
    low, high = axes.get_ylim()
    least = part * max(abs(low), abs(high))
    if high - low < least:
        axes.set_ylim((low + high - least) / 2, (low + high + least) / 2)


NAMED = 10
"""The most layers that have a line with a name; of more, color alone shows the depth."""


def signal(lines: list[dict[str, Any]]) -> Figure:
    """The norm of each layer's gradient, relative to its weights, by epoch."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 3.4), layout="constrained")
    axes = figure.subplots()
    draw_signal(axes, lines, relative=True)
    axes.set(title="Norm of the gradient over norm of the weights", xlabel="epoch")
    if len(lines[0]["gradients"]) <= NAMED:
        axes.legend(frameon=False, fontsize=9, loc="center left", bbox_to_anchor=(1.01, 0.5))
    return figure


def draw_signal(axes: Any, lines: list[dict[str, Any]], relative: bool, styles: Sequence[Mapping[str, Any]] = ()) -> None:
    """Draw the norm of each layer's gradient by epoch, `relative` to that of its weights; a line a layer, in a `style` each."""
    from matplotlib import colormaps
    from matplotlib.ticker import MaxNLocator

    layers = list(lines[0]["gradients"])
    for k, layer in enumerate(layers):
        norms, weights = (
            np.array([line[of].get(layer) or math.nan for line in lines], float) for of in ("gradients", "weights")
        )
        style = styles[k] if styles else {"color": colormaps["viridis"](0.9 * k / max(len(layers) - 1, 1))}
        axes.plot(
            [line["epoch"] for line in lines], norms / weights if relative else norms, lw=1.5,
            label=(layer or "the model itself") if len(layers) <= NAMED else None, **style,
        )  # fmt: skip
    if any(np.isfinite(line.get_ydata()).any() for line in axes.get_lines()):  # a perceptron without mistakes has none
        axes.set_yscale("log")
    axes.grid(alpha=0.25)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
